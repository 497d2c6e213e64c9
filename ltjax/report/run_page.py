"""The page of a run: what its records say, as sections."""

from collections.abc import Iterable, Mapping, Sequence
import math
from typing import TYPE_CHECKING, Any

from ltjax.report import document, grouping, run_figures, wording
from ltjax.report.document import Cell, Fold, Picture, Section, Table
from ltjax.report.grouping import Level
from ltjax.statistics import analysis
from ltjax.statistics.analysis import Row, Verdict
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
_PAIRED = ("gain and 95 % interval", "pairs", "verdict")


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
        held = _against_controls(there)
        parts = [
            _results(there),
            *_pictures(there, trained, pictures),
            Fold("Every number by arm", _numbers(there)),
            *([Fold("Tickets against controls", held)] if held else []),
            Fold("Density of each layer (%)", _layers(there)),
        ]
        sections.append(Section(phase.capitalize(), parts))
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
) -> list[Picture]:
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


def _results(rows: Sequence[Row]) -> Table:
    """Levels down, arms across: accuracy and steps to the best evaluation."""
    names = analysis.arms(rows)
    counts = ["kept"] if grouping.one_size(rows) else ["kept", "of prunable", "of total"]
    body = []
    for level in grouping.by_level(rows):
        row = level.any
        sizes = [wording.count(n) for n in (row.kept, row.prunable, row.total)[: len(counts)]]
        densities = [wording.percent(row.nominal), wording.percent(row.density)]
        arms = [cell for arm in names for cell in _result(level, arm)]
        body.append([str(row.level), *densities, *sizes, *arms])
    return Table(
        ["level", "nominal", "density", *counts, *["accuracy", "steps", "to dense"] * len(names)],
        body,
        note="Density and accuracy in percent; steps to the best evaluation; the paired verdict. "
        f"Green and a star: a winning ticket. {wording.judged(rows)} {wording.sizes(rows)}".strip(),
        over=[("", 1), ("density", 2), ("", len(counts)), *((arm, 3) for arm in names)],
    )


def _result(level: Level, arm: str) -> list[Cell]:
    if arm not in level.rows:
        return [Cell("", "edge"), Cell(""), Cell("")]
    row, verdict = level.rows[arm], level.verdicts.get(arm)
    wins = verdict is not None and verdict.wins
    after = (f" ({row.failed} failed)" if row.failed else "") + "\N{DAGGER}" * bool(row.cut)
    look = " win" if wins else ""
    accuracy = wording.percent(row.accuracy)
    return [
        Cell(accuracy, f"edge{look}", _spread(row.accuracy_sd), after, star=wins),
        Cell(wording.count(row.best_step), look.strip()),
        Cell(verdict.word if verdict else ""),
    ]


def _numbers(rows: Sequence[Row]) -> list[Table]:
    """One table an arm with everything that a row holds, and its gain on the dense one."""
    heads = ["level", "density", "accuracy", "final accuracy", "steps to best", "trainings"]
    tables = []
    for arm, held in grouping.against_dense(rows).items():
        verdicts = {v.row.level: v for v in held}
        body = []
        for r in (r for r in rows if r.arm == arm):
            verdict = verdicts.get(r.level)
            look = "win" if verdict and verdict.wins else ""
            body.append(
                [
                    Cell(str(r.level), look),
                    Cell(wording.percent(r.density), look),
                    Cell(wording.percent(r.accuracy), look, _spread(r.accuracy_sd)),
                    Cell(wording.percent(r.final_accuracy), look, _spread(r.final_accuracy_sd)),
                    Cell(wording.count(r.best_step), look, _spread(r.best_step_sd / 100, "{:,.0f}")),
                    *(Cell(text, look) for text in (str(r.n), str(r.failed), *_paired(verdict))),
                ]
            )
        tables.append(Table([*heads, "failed", *_PAIRED], body, title=arm))
    return tables


def _against_controls(rows: Sequence[Row]) -> list[Table]:
    """One table for each start point and control: what the ticket gains on it."""
    return [
        Table(
            ["level", "density", *_PAIRED],
            [[str(v.row.level), wording.percent(v.row.density), *_paired(v)] for v in verdicts],
            title=f"{start} minus {control}",
        )
        for start, held in grouping.against_controls(rows).items()
        for control, verdicts in held.items()
        if verdicts
    ]


def _layers(rows: Sequence[Row]) -> list[Table]:
    """Density of each prunable layer by level; arms with the same layer counts share a table."""
    tables = []
    for title, group in grouping.same_layers(rows).items():
        sizes = [f"{name} ({wording.count(size)})" for name, (_, size) in group[0].layers.items()]
        body = [
            [
                str(row.level),
                *map(wording.percent, (row.density, *row.layer_densities.values())),
            ]
            for row in group
        ]
        tables.append(Table(["level", "all", *sizes], body, title=title))
    return tables


def _paired(verdict: Verdict | None) -> list[str]:
    if verdict is None:
        return [""] * len(_PAIRED)
    return [wording.gain(verdict), str(verdict.pairs), wording.word(verdict)]


def _spread(sd: float, form: str = "{:.2f}") -> str:
    """A deviation of a fraction in percent, and nothing where there is none."""
    return "" if math.isnan(sd) else f"\N{PLUS-MINUS SIGN} {form.format(100 * sd)}"
