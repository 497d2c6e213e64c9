"""The page of a run: what its records say, as sections."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ltjax.report import document, run_figures, run_tables, wording
from ltjax.report.document import Fold, Part, Picture, Section
from ltjax.statistics import analysis
from ltjax.statistics.analysis import Row
from ltjax.training.records import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_READING = (
    "Accuracies are in percent of the test set, as mean \N{PLUS-MINUS SIGN} standard deviation "
    "(n - 1) over the trainings that did not fail; how many failed stands beside them. Gains are "
    "paired by replicate, in percentage points, with the 95 % interval of Student's t; their "
    "spread counts as at least that of rounding to test examples. A dagger marks a level at which "
    "some layer keeps no weight; the notes name it."
)


def run_page(
    records: Iterable[Record],
    *,
    settings: Mapping[str, Any],
    provenance: Mapping[str, Any],
    notes: Sequence[str] = (),
    title: str,
    drawn: Mapping[str, "Figure"] | None = None,
) -> str:
    """The report of a run as HTML: the same characters for the same input.

    Args:
      records: trainings of any phases.
      settings: what the run was asked for, by name.
      provenance: library versions, device, seed and the like, by name.
      notes: sentences on what a reader has to know, for instance how data were adapted; failed
        trainings and layers that keep nothing are added from the records.
      title: headline of the page.
      drawn: what `figures` returned, where it was called before; else they are drawn here.
    """
    records = list(records)
    rows = analysis.summarize(records)
    pictures = run_figures.figures(records) if drawn is None else drawn
    sections = []
    for phase in analysis.phases(rows):
        there = [r for r in rows if r.phase == phase]
        trained = [r for r in records if r.phase == phase]
        gains = [*run_tables.against_dense(there), *run_tables.against_controls(there)]
        sections.append(
            Section(
                phase.capitalize(),
                [
                    document.Text([wording.title(there)], "caption"),
                    run_tables.results(there),
                    *_pictures(there, trained, pictures),
                    *([Fold("Paired gains", gains)] if gains else []),
                    Fold("Every number", [run_tables.numbers(there)]),
                    Fold("Density of each layer (%)", run_tables.layers(there)),
                ],
            )
        )
    return document.page(
        title,
        sections,
        lead=wording.summary(rows) or ["No dense network to judge by."],
        notes=[*notes, *analysis.failures(records), *analysis.cut_layers(records)],
        about=[analysis.RULE, analysis.VERDICT, _READING],
        settings=settings,
        provenance=provenance,
    )


def _pictures(
    rows: Sequence[Row], records: Sequence[Record], drawn: Mapping[str, "Figure"]
) -> list[Part]:
    phase, absent = rows[0].phase, run_figures.missing(rows, records)
    return [
        Picture(
            f"{title}, {phase}",
            drawn.get(f"{phase}_{kind}"),
            f"{caption} {wording.failed(rows)}".strip(),
            absent.get(kind, "nothing was drawn"),
        )
        for kind, (title, caption) in run_figures.KINDS.items()
    ]
