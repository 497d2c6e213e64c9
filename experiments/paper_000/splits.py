"""Which classes are Data Set 1 and Data Set 2 of each split (readings 0.11 and 0.14)."""

from collections.abc import Sequence

from experiments.paper_000.settings import ClassHalves
from ltjax import data, published
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
        return dict.fromkeys(TABLES, own)
    wanted = {table: _named(settings, table) for table in TABLES}
    if settings.same_splits:
        both = list(dict.fromkeys([*wanted[TICKET], *wanted[REDRAWN]]))
        made = _fill(settings, both, classes, [])
        return {TICKET: made, REDRAWN: made}
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


def half_of(whole: Dataset, halves: Sequence[Halves], which: str) -> Parts:
    """The first or the second halves of several splits, as parts of one data set."""
    number = (FIRST, SECOND).index(which)
    return data.class_parts(whole, [half[number] for half in halves])
