"""The learning curves of paper 000: F2 to F11, one named split each."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from experiments.paper_000 import pairs
from experiments.paper_000.pairs import NOT_RUN
from experiments.paper_000.splits import FIGURES, REDRAWN, TABLES, TICKET, Halves, named, splits
from experiments.paper_000.trainings import Trainings
from experiments.reproduce import published
from experiments.reproduce import figures
from experiments.reproduce.rows import Claim, Experiment
from experiments.reproduce.rules import Absent, Never, Quantity
from experiments.reproduce.trained import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HELD = Never("none: which classes a split has is a setting")


def experiments(t: Trainings) -> tuple[Experiment, ...]:
    """F2 to F11."""
    rows = [_curves(t, table, entry) for table in TABLES for entry in FIGURES[table]]
    return tuple(sorted(rows, key=lambda row: int(row.id.rpartition("F")[2])))


def number_of(t: Trainings, table: str, halves: Halves) -> int | None:
    """Which split of a table these halves are."""
    if t.settings.data != "cifar10":
        return None
    every = splits(t.settings, range(10))[table]
    return every.index(halves) if halves in every else None


def _curves(t: Trainings, table: str, entry: str) -> Experiment:
    e = published.entry(entry)
    halves = named(entry)
    series = t.ticket if table == TICKET else t.redrawn
    densities = t.settings.one_shot
    dense = t.dense(table, 1)
    what = {TICKET: "winning tickets", REDRAWN: "masks with redrawn weights"}[table]
    sources, targets = (", ".join(e.value[f"data_set_{i}"]) for i in (1, 2))

    def draw(results: Results) -> Mapping[str, "Figure"]:
        number = number_of(t, table, halves)
        if number is None:
            return {}
        levels = {"dense": results.records(dense.dense)}
        for i, density in enumerate(densities, 1):
            levels[f"{100 * density:g} % kept"] = series.records(results, i)
        lines = {
            name: (record.steps, [100 * (a or 0.0) for a in record.test_accuracy])
            for name, records in levels.items()
            for record in [pairs.good(records).get(number)]
            if record is not None
        }
        if len(lines) < 2:
            return {}
        caption = f"Test accuracy on {targets}, with {what} of networks trained on {sources}"
        return {caption: figures.plain_curves({"test accuracy (%)": lines})}

    return Experiment(
        id=f"000-{e.table_or_figure.replace('Fig. ', 'F')}",
        shows=f"learning curves of one split: {what} on {targets}",
        works=(series, dense),
        figures=draw,
        claims=(Claim(published=entry, ours=_held(t, table, halves), rule=_HELD),),
        also=t.settings.classes,
    )


def _held(t: Trainings, table: str, halves: Halves) -> Callable:
    def ours(results: Results) -> Quantity | Absent:
        del results
        number = number_of(t, table, halves)
        if number is None:
            return NOT_RUN
        return Absent(f"a setting, not a result: split {number + 1} of {t.settings.splits} here")

    return ours
