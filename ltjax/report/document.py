"""The page: a whole report as one HTML file that needs nothing else."""

import base64
from collections.abc import Iterable, Mapping, Sequence
import html
from typing import TYPE_CHECKING, Any

from ltjax.report import blocks, plots, sheet, style, words
from ltjax.statistics import analysis
from ltjax.statistics.analysis import Row
from ltjax.training.records import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CAPTIONS = {
    "accuracy": "Mean and standard deviation over replicates; level by level from the dense "
    "network (left) to the least dense. The broken horizontal lines are the dense networks.",
    "steps": "Steps at which the best evaluation came, mean and standard deviation.",
    "curves": "Mean over replicates. The axis leaves out the steep beginning of the curves.",
    "layers": "Mean over replicates; arms of the same layer counts share a panel.",
}
_TITLES = {
    "accuracy": "Accuracy against density",
    "steps": "Steps to the best evaluation against density",
    "curves": "Learning curves",
    "layers": "Density of each layer",
}


def page(
    records: Iterable[Record],
    *,
    settings: Mapping[str, Any],
    provenance: Mapping[str, Any],
    notes: Sequence[str] = (),
    title: str,
    drawn: Mapping[str, "Figure"] | None = None,
) -> str:
    """The report as HTML: the same characters for the same input.

    Args:
      records: trainings of any phases.
      settings: what the run was asked for, by name.
      provenance: library versions, device, seed and the like, by name.
      notes: sentences on what a reader has to know, for instance how data were adapted; failed
        trainings are added from the records.
      title: headline of the page.
      drawn: what `figures` returned, where it was called before; else they are drawn here.
    """
    records = list(records)
    rows = analysis.summarize(records)
    pictures = plots.figures(records) if drawn is None else drawn
    parts = [blocks.paragraphs(words.summary(rows) or ["No dense network to judge by."], "lead")]
    if not style.available() and not pictures:
        parts.append(blocks.paragraphs([style.MISSING_PLOTS], "note"))
    for phase in analysis.phases(rows):
        there = [r for r in rows if r.phase == phase]
        held = blocks.opponents(there)
        parts += [
            f"<h2>{html.escape(phase.capitalize())}</h2>",
            blocks.results(there),
            *_figures(there, [r for r in records if r.phase == phase], pictures),
            blocks.details("Every number by arm", blocks.full(there)),
            *([blocks.details("Tickets against controls", held)] if held else []),
            blocks.details("Density of each layer (%)", blocks.layer_table(there)),
        ]
    everything = [*notes, *analysis.failures(records), *analysis.cut_layers(records)]
    if everything:
        parts += ["<h2>Notes</h2>", blocks.bullets(everything)]
    parts += [
        "<h2>The rule</h2>",
        blocks.paragraphs([analysis.RULE, analysis.VERDICT, blocks.READING], "rule"),
        "<h2>Settings</h2>",
        blocks.pairs(settings),
        "<h2>Where it comes from</h2>",
        blocks.pairs(provenance),
    ]
    return shell(title, parts)


def shell(title: str, parts: Sequence[str]) -> str:
    """A whole page of ready blocks under a headline; `title` is plain text."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{sheet.CSS}</style>\n</head>\n<body>\n"
        f"<h1>{html.escape(title)}</h1>\n" + "\n".join(parts) + "\n</body>\n</html>\n"
    )


def picture(figure: "Figure", head: str, caption: str = "") -> str:
    """A figure inside an image element, so that the ids of several do not clash."""
    code = base64.b64encode(style.svg(figure).encode()).decode()
    head = html.escape(head)
    return (
        f'<figure>\n<img src="data:image/svg+xml;base64,{code}" alt="{head}">\n'
        f"<figcaption><b>{head}.</b> {html.escape(caption)}</figcaption>\n</figure>"
    )


def _figures(
    rows: Sequence[Row], records: Sequence[Record], pictures: Mapping[str, "Figure"]
) -> list[str]:
    """The figures of one phase, and a sentence for each that would have nothing to show."""
    if not style.available() and not pictures:
        return []
    phase, found = rows[0].phase, []
    absent = plots.missing(rows, records)
    for kind, caption in _CAPTIONS.items():
        head = f"{_TITLES[kind]}, {phase}"
        if (figure := pictures.get(f"{phase}_{kind}")) is not None:
            found.append(picture(figure, head, f"{caption} {words.failed(rows)}".strip()))
        elif kind in absent:
            found.append(blocks.paragraphs([f"{head}: no figure, for {absent[kind]}."], "note"))
    return found
