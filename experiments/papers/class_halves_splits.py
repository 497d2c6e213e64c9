"""Which classes are Data Set 1 and Data Set 2 of each split (paper 000, readings 0.11 and 0.14)."""

from collections.abc import Sequence
import dataclasses
import functools
from typing import TYPE_CHECKING, Any

from experiments import build
from experiments.papers.paper import Tables, folded
from experiments.papers.published import Published
from experiments.papers.results import Results
from experiments.papers.tables import tables_needing
from experiments.papers.workshop import Workshop
from experiments.settings import FindTicket
from ltjax import data
from ltjax.data import Dataset, Parts
from ltjax.report.document import Fold

if TYPE_CHECKING:
    from experiments.papers.class_halves import ClassHalves

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

Split = tuple[tuple[int, ...], tuple[int, ...]]
"""Classes of Data Set 1 and of Data Set 2, each in rising order."""


def named(published: Published, entry: str) -> Split:
    """The split that a figure names.

    Raises:
      ValueError: where the two halves of the published entry overlap.
    """
    value = published[entry].value
    first, second = (
        tuple(sorted(_CIFAR10.index(name) for name in value[f"data_set_{i}"])) for i in (1, 2)
    )
    data.check_disjoint(first, second)
    return first, second


def read(text: str) -> tuple[Split, ...]:
    """Splits as given, as 0-4/5-9;0,2,4,6,8/1,3,5,7,9.

    Raises:
      ValueError: where one cannot be read or comes twice, or its halves overlap or differ in size.
    """
    made: list[Split] = []
    for each in filter(None, text.split(";")):
        parts = [tuple(sorted(data.parse_classes(part))) for part in each.split("/")]
        if len(parts) != 2 or len(parts[0]) != len(parts[1]):
            raise ValueError(
                f"a split is two halves of equally many classes, as 0-4/5-9; got {each!r}"
            )
        data.check_disjoint(*parts)
        if (parts[0], parts[1]) in made:
            raise ValueError(f"the split {each!r} is given twice; give each once")
        made.append((parts[0], parts[1]))
    return tuple(made)


@dataclasses.dataclass(frozen=True)
class Splits:
    """How the splits of both tables are chosen.

    Attributes:
      count: of each table.
      seed: of those that are drawn.
      own: given ones, for both tables; empty for the others.
      figures: those that the figures of each table name, which come first.
      same: both tables have the same; then the figures of both come first.
    """

    count: int
    seed: int
    own: tuple[Split, ...] = ()
    figures: tuple[tuple[Split, ...], tuple[Split, ...]] = ((), ())
    same: bool = False

    @property
    def one_set(self) -> bool:
        """Whether both tables have the same splits, so that they may be compared."""
        return self.same or bool(self.own)

    def of(self, classes: Sequence[int]) -> dict[str, list[Split]]:
        """The splits of each table, those of its figures first, then drawn ones, none twice.

        Args:
          classes: of the data set.

        Raises:
          ValueError: where the classes have no equal halves, or not so many.
        """
        if self.own:
            return {table: list(self.own) for table in TABLES}
        wanted = dict(zip(TABLES, map(list, self.figures), strict=True))
        if self.same:
            both = list(dict.fromkeys([*wanted[TICKET], *wanted[REDRAWN]]))
            same = self._fill(both, classes, [])
            return dict.fromkeys(TABLES, same)
        made: dict[str, list[Split]] = {}
        for table in TABLES:
            others = [half for other in TABLES if other != table for half in wanted[other]]
            others += [half for done in made.values() for half in done]
            made[table] = self._fill(wanted[table], classes, others)
        return made

    def _fill(
        self, wanted: Sequence[Split], classes: Sequence[int], others: Sequence[Split]
    ) -> list[Split]:
        """`wanted` and as many drawn splits as are missing, none of them in `others`."""
        missing = max(0, self.count - len(wanted))
        taken = [first for first, _ in (*wanted, *others)]
        drawn = data.draw_halves(classes, missing, seed=self.seed, without=taken)
        return [*wanted, *drawn][: self.count]


@dataclasses.dataclass(frozen=True)
class Halves:
    """One half of the classes of each of some splits, a part a replicate.

    Attributes:
      splits: how they are chosen.
      table: whose splits.
      which: `first` or `second`.
      count: how many splits, from the first.
      size: side that images are cropped or padded to; 0 leaves them.
    """

    splits: Splits
    table: str
    which: str
    count: int
    size: int

    @property
    def other(self) -> "Halves":
        """The other half of the same splits."""
        return dataclasses.replace(self, which=SECOND if self.which == FIRST else FIRST)

    def load(self, find: FindTicket) -> Parts:
        """The parts, of as many training examples each as any half of the run."""
        named = ("data", "classes", "half", "normalize", "data_dir")
        shared = FindTicket(**{name: getattr(find, name) for name in named})
        found = _all_halves(shared, self.splits, self.size)
        return found[self.table, self.which].take(range(self.count))


@functools.lru_cache(maxsize=2)
def _whole(find: FindTicket, size: int) -> Dataset:
    if not size:
        return build.dataset(find)
    return build.dataset(find, shape=(size, size, build.dataset(find).shape[-1]))


@functools.lru_cache(maxsize=2)
def _all_halves(find: FindTicket, splits: Splits, size: int) -> dict[tuple[str, str], Parts]:
    """First and second halves of the splits of each table, as parts of one data set."""
    whole = _whole(find, size)
    listed = [
        (table, which, split[i])
        for table, every in splits.of(whole.label_map).items()
        for i, which in enumerate((FIRST, SECOND))
        for split in every
    ]
    parts = data.class_parts(whole, [half for _, _, half in listed])
    return {
        (table, which): parts.take(
            [n for n, (t, w, _) in enumerate(listed) if (t, w) == (table, which)]
        )
        for table in TABLES
        for which in (FIRST, SECOND)
    }


def facts(settings: "ClassHalves", shop: Workshop) -> dict[str, Any]:
    """The classes of each half, for the record of a run: output i is the i-th class (0.6)."""
    found, one_set = {}, settings.chosen.one_set
    for table in (TICKET,) if one_set else TABLES:
        for which in (FIRST, SECOND):
            parts = shop.dataset(settings.find(), settings.halves_of(table, which))
            assert isinstance(parts, Parts)
            words = "tables II and III" if one_set else f"table {table}"
            found[f"{words}, {which} halves"] = [list(classes) for classes in parts.label_maps]
    return found


def split_table() -> Tables:
    """Which classes each split has, as the run recorded them."""

    def make(results: Results) -> list[Fold]:
        recorded = results.run.latest_provenance().get("facts", {})
        return [
            folded(
                title="Splits",
                heads=["", "split", "classes of outputs 0, 1, ..."],
                body=[
                    [text, str(number), " ".join(map(str, classes))]
                    for text, halves in recorded.items()
                    for number, classes in enumerate(halves, 1)
                ],
                note="Numbers of the classes of the data set, in rising order (reading 0.6).",
            )
        ]

    return tables_needing(make)
