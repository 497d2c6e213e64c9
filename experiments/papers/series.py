"""Series: what a line of a figure is made of, level by level, and places on it.

A series is trainings with a label. A *point* is one level of it: the records of all its trials. A
*place* picks points: a density, the dense network, all levels of a range.
"""

from collections.abc import Callable, Iterable
import dataclasses
import functools
from typing import NamedTuple

from experiments.papers import convergence
from experiments.papers.results import Results
from experiments.papers.trainings import Retrained, Search
from ltjax.training.records import Record

NOT_TRAINED = "not trained in this run"
LOST = "fewer than half of the trials converged"

_BESIDE = 0.06
"""How far, of its density, a level may lie from the one that is asked for."""


class Missing(Exception):
    """Why there is no number of ours."""


class Point(NamedTuple):
    """The trainings of one level, failed ones included.

    Attributes:
      number: of the level, or of the round, where a series counts otherwise.
      records: one a trial, or one a trial and draw.
    """

    number: int
    records: tuple[Record, ...]

    @property
    def nominal(self) -> float:
        """Density asked, in [0, 1]."""
        return self.records[0].nominal

    @property
    def kept(self) -> int:
        """Kept prunable weights."""
        return self.records[0].kept


Line = list[Point]
"""The points of one series that have been trained, the dense network first."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Series:
    """Trainings with a name.

    Attributes:
      label: what figures, tables and claims call it.
      trainings: a search, or trainings that start from one.
      criterion: what counts as converged, where that is asked.
      first: the number of level 0; a flipped search begins with round 1.
      trials: numbers of the replicates that are looked at; all by default.
    """

    label: str
    trainings: Search | Retrained
    criterion: convergence.Settings | None = None
    first: int = 0
    trials: tuple[int, ...] | None = None

    @property
    def search(self) -> Search:
        """The search, or where the trainings start from."""
        return self.trainings.search

    @property
    def depends(self) -> tuple:
        """What acts on its numbers beside its trainings."""
        return (self.criterion,)

    def called(self, label: str) -> "Series":
        """The same under another name."""
        return dataclasses.replace(self, label=label)

    def only(self, *trials: int, label: str) -> "Series":
        """The same for some trials."""
        return dataclasses.replace(self, trials=trials, label=label)

    def line(self, results: Results) -> Line:
        """What has been trained; empty without the dense network."""
        found = []
        if not results.has(self.search.dense):
            return found
        for level in (0, *self.trainings.levels):
            source = self.search if level == 0 else self.trainings
            records = source.records(results, level)
            if self.trials is not None:
                records = [r for r in records if r.replicate in self.trials]
            if records:
                found.append(Point(level + self.first, tuple(records)))
        return found

    def points(self, results: Results) -> Line:
        """What has been trained.

        Raises:
          Missing: without the dense network or without a level beside it.
        """
        if len(found := self.line(results)) < 2:
            raise Missing(NOT_TRAINED)
        return found

    @functools.cached_property
    def dense(self) -> "Place":
        """Its dense network."""

        def pick(results: Results) -> Line:
            if not (found := self.line(results)):
                raise Missing(NOT_TRAINED)
            return found[:1]

        return Place(self, "dense", pick)

    def at(self, density: float) -> "Place":
        """The level nearest to a density, at most 6 % of it away."""

        def pick(results: Results) -> Line:
            points = self.points(results)
            near = min(points, key=lambda p: abs(p.nominal - density))
            if abs(near.nominal - density) > _BESIDE * density:
                raise Missing(NOT_TRAINED)
            return [near]

        return Place(self, f"{self.label} at {100 * density:.3g} %", pick)

    def round(self, number: int) -> "Place":
        """The level of a number."""
        return self.rounds([number], words=f"{self.label}, round {number}")

    def rounds(self, numbers: Iterable[int], *, words: str = "") -> "Place":
        """Several levels, all of them."""
        wanted = list(numbers)

        def pick(results: Results) -> Line:
            there = {p.number: p for p in self.line(results)}
            if not wanted or any(n not in there for n in wanted):
                raise Missing(NOT_TRAINED)
            return [there[n] for n in wanted]

        told = f"{self.label}, rounds {wanted[0]} to {wanted[-1]}" if wanted else self.label
        return Place(self, words or told, pick)

    def between(self, high: float, low: float, *, beside: "Series | None" = None) -> "Place":
        """All levels with low <= density <= high, where they say something.

        Args:
          high: the largest density.
          low: the smallest.
          beside: another series whose level has to say something as well.
        """

        def pick(results: Results) -> Line:
            found = [p for p in self.points(results) if low <= p.nominal <= high]
            if beside is not None:
                theirs = {p.number for p in beside.points(results) if shown(beside, results, p)}
                found = [p for p in found if p.number in theirs]
            if not found:
                raise Missing(NOT_TRAINED)
            found = [p for p in found if shown(self, results, p)]
            if not found:
                raise Missing(LOST)
            return found

        words = f"{self.label}, mean over {100 * high:g} to {100 * low:g} %"
        return Place(self, words, pick)


class Place(NamedTuple):
    """Some points of a series.

    Attributes:
      series: whose they are.
      words: which, as `one-shot at 25 %`.
      pick: results -> the points; Missing where they are not there.
    """

    series: Series
    words: str
    pick: Callable[[Results], Line]


def shown(series: Series, results: Results, point: Point) -> bool:
    """Whether at least half of the trainings converged; else a line is cut (reading 4.3).

    Where nothing is asked of convergence, every level is shown.
    """
    if (how := series.criterion) is None:
        return True
    found = [results.converged(record, how).step is not None for record in point.records]
    return 2 * sum(found) >= len(found) > 0
