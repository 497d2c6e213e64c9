"""Which classes are Data Set 1 and Data Set 2 of each split (readings 0.11 and 0.14)."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.paper_000.settings import ClassHalves
from experiments.reproduce import published
from experiments.reproduce.lab import Lab
from experiments.reproduce.rows import Table
from experiments.reproduce.trained import Results
from ltjax import data
from ltjax.data import Dataset, Parts

FIRST, SECOND = "first", "second"
TICKET, REDRAWN = TABLES = ("II", "III")

FIGURES = {
    TICKET: ("000-0033", "000-0035", "000-0036", "000-0037", "000-0038"),
    REDRAWN: ("000-0034", "000-0039", "000-0040", "000-0041", "000-0042"),
}
"""Entries that name the split of a figure, by the table that the figure belongs to."""

_CIFAR10 = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"
)  # fmt: skip

Halves = tuple[tuple[int, ...], tuple[int, ...]]


def named(entry: str) -> Halves:
    """The halves that a figure names, each in rising order.

    Raises:
      ValueError: where the two halves of the published entry overlap.
    """
    value = published.entry(entry).value
    first, second = (
        tuple(sorted(_CIFAR10.index(name) for name in value[f"data_set_{i}"])) for i in (1, 2)
    )
    data.check_disjoint(first, second)
    return first, second


def splits(settings: ClassHalves, classes: Sequence[int]) -> dict[str, list[Halves]]:
    """The splits of each table: those of its figures first, then drawn ones, none twice.

    With the same splits for both tables, the figures of both come first.

    Args:
      settings: of the paper.
      classes: of the data set.

    Raises:
      ValueError: where the classes have no equal halves, or not so many.
    """
    if own := settings.own_halves:
        return {TICKET: own, REDRAWN: own}
    wanted = {table: _named(settings, table) for table in TABLES}
    if settings.same_splits:
        both = list(dict.fromkeys([*wanted[TICKET], *wanted[REDRAWN]]))
        same = _fill(settings, both, classes, [])
        return {TICKET: same, REDRAWN: same}
    made: dict[str, list[Halves]] = {}
    for table in TABLES:
        others = [half for other in TABLES if other != table for half in wanted[other]]
        others += [half for done in made.values() for half in done]
        made[table] = _fill(settings, wanted[table], classes, others)
    return made


def _named(settings: ClassHalves, table: str) -> list[Halves]:
    if not settings.named_splits or settings.data != "cifar10":
        return []
    return list(dict.fromkeys(named(entry) for entry in FIGURES[table]))


def _fill(
    settings: ClassHalves,
    wanted: Sequence[Halves],
    classes: Sequence[int],
    others: Sequence[Halves],
) -> list[Halves]:
    """`wanted` and as many drawn splits as are missing, none of them in `others`."""
    missing = max(0, settings.splits - len(wanted))
    taken = [first for first, _ in (*wanted, *others)]
    drawn = data.draw_halves(classes, missing, seed=settings.seed, without=taken)
    return [*wanted, *drawn][: settings.splits]


def all_halves(
    whole: Dataset, tables: Mapping[str, Sequence[Halves]]
) -> dict[tuple[str, str], Parts]:
    """First and second halves of the splits of each table, as parts of one data set.

    All have as many training examples, so that one recipe is that of all.
    """
    listed = [(table, which, halves[i]) for table, every in tables.items()
              for i, which in enumerate((FIRST, SECOND)) for halves in every]  # fmt: skip
    parts = data.class_parts(whole, [half for _, _, half in listed])
    return {
        (table, which): parts.take(
            [n for n, (t, w, _) in enumerate(listed) if (t, w) == (table, which)]
        )
        for table in tables
        for which in (FIRST, SECOND)
    }


def task_name(settings: ClassHalves, table: str, count: int, which: str) -> str:
    """Name of the task of one half of some splits; equal ones have one name."""
    table = TICKET if settings.one_set else table
    number = "" if count == settings.splits else f"{count}"
    return f"{table}{number}_{which}"


def facts(settings: ClassHalves, lab: Lab) -> dict[str, Any]:
    """The classes of each half, for the record of a run: output i is the i-th class (0.6)."""
    found = {}
    for table in (TICKET,) if settings.one_set else TABLES:
        for which in (FIRST, SECOND):
            parts = lab.task(task_name(settings, table, settings.splits, which)).dataset
            assert isinstance(parts, Parts)
            words = "tables II and III" if settings.one_set else f"table {table}"
            found[f"{words}, {which} halves"] = [list(classes) for classes in parts.label_maps]
    return found


def split_table(results: Results) -> Table:
    """Which classes each split has, as the run recorded them."""
    recorded = results.run.latest_provenance().get("facts", {})
    return Table(
        title="Splits",
        heads=["", "split", "classes of outputs 0, 1, ..."],
        body=[
            [text, str(number), " ".join(map(str, classes))]
            for text, halves in recorded.items()
            for number, classes in enumerate(halves, 1)
        ],
        note="Numbers of the classes of the data set, in rising order (reading 0.6).",
    )
