"""Statistics: small expressions over series, from which all follows that a claim has to know.

`Values` are numbers by trial, as the steps to convergence at a density. Two of them make a
`Statistic`, paired by trial: `a - b`, `a / b`, `reduction(a, b)`; `a.mean()` one alone. Compared,
it makes a `Condition`: `.above(0)`, `.below(5)`, `.inside(-1, 1)`. Each knows in words what it is,
which trainings it needs, which settings act on it beside them, and raises `Missing` where something
is not there, so that no claim says so by hand.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
import math
import statistics
from typing import Any, NamedTuple

import numpy as np

from experiments.papers import convergence
from experiments.papers.results import Results
from experiments.papers.series import LOST, Missing, Place, Point, Series
from ltjax.statistics import analysis, intervals
from ltjax.statistics.intervals import Interval
from ltjax.training.records import Record

__all__ = ["Condition", "Missing", "Number", "Statistic", "Values"]

POINTS = 100.0
"""Fractions to percentage points."""


@dataclasses.dataclass(frozen=True)
class Number:
    """Our number beside a published one, in the published unit.

    Attributes:
      value: the number, or several of them; NaN for a worded claim.
      low: lower end of its 95 % interval; NaN without one.
      high: its upper end.
      n: trials it comes from.
      text: what there is to say in words; shown instead of the number where it is there.
      parts: of a worded claim, the number of each condition.
    """

    value: Any = math.nan
    low: float = math.nan
    high: float = math.nan
    n: int = 0
    text: str = ""
    parts: tuple["Number", ...] = ()

    def __str__(self) -> str:
        """The number with its interval, or its words."""
        if self.text:
            return self.text
        said = plain_number(self.value)
        if math.isnan(self.low):
            return said
        return f"{said} ({plain_number(self.low)} to {plain_number(self.high)})"


def plain_number(value: float) -> str:
    """A number as a report shows it."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


class Condition(NamedTuple):
    """Where the whole interval of a statistic has to lie, for a worded claim."""

    statistic: "Statistic"
    low: float
    high: float

    @property
    def text(self) -> str:
        """The condition in words."""
        unit = f" {self.statistic.unit}" if self.statistic.unit else ""
        ends = (f"above {self.low:g}",) if math.isfinite(self.low) else ()
        ends += (f"below {self.high:g}",) if math.isfinite(self.high) else ()
        return f"{self.statistic.words} {' and '.join(ends)}{unit}"

    def said(self, number: Number) -> str:
        """What was found."""
        unit = f" {self.statistic.unit}" if self.statistic.unit else ""
        return f"{self.statistic.words} {number}{unit}"

    def holds(self, number: Number) -> bool | None:
        """Whether the interval lies inside, or wholly elsewhere; None: it cannot tell."""
        if self.low < number.low and number.high < self.high:
            return True
        return False if number.high <= self.low or number.low >= self.high else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Expression:
    """What all expressions know.

    Attributes:
      words: what it says.
      needs: the trainings that it is read from.
      depends: values of the settings that act on it beside its trainings.
      unit: of its numbers.
    """

    words: str
    needs: tuple = ()
    depends: tuple = ()
    unit: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Statistic(Expression):
    """A number with its interval.

    Attributes:
      measure: results -> the number; raises Missing.
      axis: answers that there could be, for the chance of a rule.
    """

    measure: Callable[[Results], Number]
    axis: Sequence[Any] = ()

    def above(self, low: float) -> Condition:
        """Its interval lies above a limit."""
        return Condition(self, low, math.inf)

    def below(self, high: float) -> Condition:
        """Its interval lies below a limit."""
        return Condition(self, -math.inf, high)

    def inside(self, low: float, high: float) -> Condition:
        """Its interval lies between two limits."""
        return Condition(self, low, high)

    def called(self, words: str, **changes: Any) -> "Statistic":
        """The same under other words."""
        return dataclasses.replace(self, words=words, **changes)

    def __neg__(self) -> "Statistic":
        """The number with the other sign."""

        def measure(results: Results) -> Number:
            found = self.measure(results)
            return Number(-found.value, -found.high, -found.low, found.n)

        return dataclasses.replace(self, words=f"minus ({self.words})", measure=measure)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Values(Expression):
    """Numbers by trial.

    Attributes:
      by_trial: results -> a number a trial, in `unit`; raises Missing.
      grid: results -> what they are multiples of, as steps of the distance between evaluations.
    """

    by_trial: Callable[[Results], Mapping[int, float]]
    grid: Callable[[Results], float] = lambda results: 0.0

    def called(self, words: str) -> "Values":
        """The same under other words."""
        return dataclasses.replace(self, words=words)

    def __sub__(self, other: "Values") -> Statistic:
        """The mean difference, paired by trial."""
        words = f"{self.words} minus {other.words}"
        return _paired(intervals.difference, words, self, other, unit=self.unit)

    def __truediv__(self, other: "Values") -> Statistic:
        """The ratio of the means, paired by trial."""
        return _paired(intervals.ratio, f"{self.words} over {other.words}", self, other, unit="")

    def __rmul__(self, factor: float) -> "Values":
        """A multiple of each."""
        return dataclasses.replace(
            self,
            words=f"{factor:g} times {self.words}",
            by_trial=lambda results: {i: factor * v for i, v in self.by_trial(results).items()},
            grid=lambda results: factor * self.grid(results),
        )

    def minus(self, other: "Values") -> "Values":
        """The difference trial by trial, to be compared further."""
        needs, depends = merged((self, other))

        def by_trial(results: Results) -> dict[int, float]:
            ours, theirs = self.by_trial(results), other.by_trial(results)
            return {i: ours[i] - theirs[i] for i in sorted(ours.keys() & theirs.keys())}

        words = f"{self.words} minus {other.words}"
        return Values(
            words=words,
            needs=needs,
            depends=depends,
            unit=self.unit,
            by_trial=by_trial,
            grid=lambda results: max(self.grid(results), other.grid(results)),
        )

    def mean(self) -> Statistic:
        """The mean over trials."""

        def measure(results: Results) -> Number:
            return number(intervals.mean(self.by_trial(results), grid=self.grid(results)))

        return Statistic(
            words=self.words,
            needs=self.needs,
            depends=self.depends,
            unit=self.unit,
            measure=measure,
        )


def number(found: Interval | None, *, scale: float = 1.0) -> Number:
    """An interval as our number.

    Raises:
      Missing: where there is no trial.
    """
    if found is None:
        raise Missing("no trials")
    return Number(*found.times(scale))


def merged(expressions: Iterable[Expression]) -> tuple[tuple, tuple]:
    """What several expressions need and depend on, each once."""
    both = list(expressions)
    needs = dict.fromkeys(n for e in both for n in e.needs)
    return tuple(needs), tuple(dict.fromkeys(d for e in both for d in e.depends))


def _paired(
    compare: Callable[..., Interval | None],
    words: str,
    ours: Values,
    theirs: Values,
    *,
    unit: str,
    scale: float = 1.0,
) -> Statistic:
    needs, depends = merged((ours, theirs))

    def measure(results: Results) -> Number:
        grid = max(ours.grid(results), theirs.grid(results))
        found = compare(ours.by_trial(results), theirs.by_trial(results), grid=grid)
        return number(found, scale=scale)

    return Statistic(words=words, needs=needs, depends=depends, unit=unit, measure=measure)


def reduction(ours: Values, theirs: Values, *, words: str) -> Statistic:
    """1 - ours / theirs of the means in %, paired by trial (reading 4.4)."""
    return _paired(intervals.reduction, words, ours, theirs, unit="%", scale=POINTS)


def constant(words: str, value: Any, *, axis: Sequence[Any] = (), text: str = "") -> Statistic:
    """A number that no training is needed for."""
    return Statistic(words=words, measure=lambda results: Number(value, text=text), axis=axis)


def span(low: float, high: float, *, log: bool = False) -> tuple[float, ...]:
    """A thousand answers, evenly spread over the range of an axis."""
    middles = (np.arange(1000) + 0.5) / 1000
    found = low * (high / low) ** middles if log else low + (high - low) * middles
    return tuple(map(float, found))


Measure = Callable[[Series, Results, Record], float | None]
"""(series, results, record) -> a number of one training; None where it has none."""


def by_trial(series: Series, results: Results, point: Point, measure: Measure) -> dict[int, float]:
    """A number of each trial, the mean over its draws that have one.

    Raises:
      Missing: where fewer than half of the trainings have one.
    """
    found: dict[int, list[float]] = {}
    for record in point.records:
        if (value := measure(series, results, record)) is not None:
            found.setdefault(record.replicate, []).append(value)
    if 2 * sum(map(len, found.values())) < len(point.records):
        raise Missing(LOST)
    return {i: statistics.fmean(v) for i, v in sorted(found.items())}


def values(
    place: Place, measure: Measure, words: str, *, unit: str = "", grid: bool = False
) -> Values:
    """A measure at a place: by trial, the mean over the points of those that all points have.

    Args:
      place: some points of a series.
      measure: a number of one training.
      words: what it is.
      unit: of the number.
      grid: whether the number is a step of an evaluation.
    """
    series = place.series

    def of_points(results: Results) -> dict[int, float]:
        points = place.pick(results)
        every = [by_trial(series, results, p, measure) for p in points]
        common = sorted(set.intersection(*map(set, every)))
        return {i: statistics.fmean(found[i] for found in every) for i in common}

    def rounding(results: Results) -> float:
        points = place.pick(results)
        apart = max(convergence.distance(r.steps) for p in points for r in p.records)
        return float(apart) / len(points) ** 0.5

    return Values(
        words=f"{words}, {place.words}", needs=(series.trainings,), depends=series.depends,
        unit=unit, by_trial=of_points, **({"grid": rounding} if grid else {}),
    )  # fmt: skip


# --- what a training is measured by ------------------------------------------------------------


def convergence_step(series: Series, results: Results, record: Record) -> float | None:
    """Steps to convergence."""
    assert series.criterion is not None
    return results.converged(record, series.criterion).step


def converged_accuracy(series: Series, results: Results, record: Record) -> float | None:
    """Test accuracy at convergence, in %."""
    assert series.criterion is not None
    found = results.converged(record, series.criterion).accuracy
    return None if found is None else POINTS * found


def best_step(series: Series, results: Results, record: Record) -> float | None:
    """The early-stopping iteration: that of the best validation result."""
    del series, results
    return None if analysis.has_failed(record) else float(record.best_step)


def best_accuracy(series: Series, results: Results, record: Record) -> float | None:
    """Test accuracy of the best weights, in %."""
    del series, results
    return None if analysis.has_failed(record) else POINTS * record.accuracy


def final_accuracy(series: Series, results: Results, record: Record) -> float | None:
    """Test accuracy at the end of training, in %."""
    del series, results
    return None if analysis.has_failed(record) else POINTS * record.final_accuracy


def steps(place: Place) -> Values:
    """Steps to convergence at a place."""
    return values(place, convergence_step, "steps to convergence", grid=True)


def accuracy(place: Place) -> Values:
    """Test accuracy at convergence at a place, in %."""
    return values(place, converged_accuracy, "accuracy at convergence", unit="points")


def stops(place: Place) -> Values:
    """The early-stopping iteration at a place."""
    return values(place, best_step, "early-stopping iteration", unit="iterations", grid=True)


def best(place: Place) -> Values:
    """Test accuracy of the best weights at a place, in %."""
    return values(place, best_accuracy, "test accuracy", unit="points")


def final(place: Place) -> Values:
    """Test accuracy at the end of training at a place, in %."""
    return values(place, final_accuracy, "final test accuracy", unit="points")


def fraction(place: Place) -> Values:
    """Test accuracy at the end of training at a place, in [0, 1]."""

    def measure(series: Series, results: Results, record: Record) -> float | None:
        found = final_accuracy(series, results, record)
        return None if found is None else found / POINTS

    return values(place, measure, "final test accuracy")
