"""What a line over densities says: how fast, how accurate, from where on, down to where.

Densities are in % and accuracies in points, as papers print them.
"""

from collections.abc import Callable
import dataclasses
import itertools
import math
import statistics

from experiments.papers.results import Results
from experiments.papers.series import Line, Missing, Point, Series, shown
from experiments.papers.statistics import (
    POINTS,
    Number,
    Statistic,
    Values,
    accuracy,
    by_trial,
    constant,
    converged_accuracy,
    convergence_step,
    number,
    reduction,
    span,
    steps,
)
from ltjax.statistics import intervals

SPEEDS = span(0.0, 50.0)
"""Percent faster than dense: from not at all to just above the most that is printed."""

Worse = Callable[[Series, Results, Point, Point], bool]
"""(series, results, level, dense) -> whether the level is worse, in the mean."""


def faster(series: Series, *, at: float) -> Statistic:
    """How much earlier a level converges than the dense network, in %."""
    words = f"{series.label} at {100 * at:.3g} %: faster than dense"
    found = reduction(steps(series.at(at)), steps(series.dense), words=words)
    return dataclasses.replace(found, axis=SPEEDS)


def slower(series: Series, *, at: float) -> Statistic:
    """How much later a level converges than the dense network, in %."""
    words = f"{series.label} at {100 * at:.3g} %: slower than dense"
    return dataclasses.replace(-faster(series, at=at), words=words, axis=SPEEDS)


def below(series: Series, *, at: float) -> Statistic:
    """How much less accurate than the dense network a level is, in points."""
    found = accuracy(series.dense) - accuracy(series.at(at))
    words = f"{series.label} at {100 * at:.3g} %: accuracy below dense"
    return found.called(words, axis=span(0.0, 1.0))


def times_as_fast(series: Series, than: Series, *, at: float) -> Statistic:
    """Steps to convergence of another series over those of this one."""
    words = f"{series.label} times as fast as {than.label} at {100 * at:.3g} %"
    return (steps(than.at(at)) / steps(series.at(at))).called(words, axis=span(1.0, 3.0))


def is_slower(series: Series, results: Results, here: Point, dense: Point) -> bool:
    """Whether a level converges later than the dense network."""
    return _mean(series, results, here, convergence_step) > _mean(
        series, results, dense, convergence_step
    )


def less_accurate(by: float = 0.0) -> Worse:
    """Whether a level is less accurate than the dense network by more than `by` points."""

    def worse(series: Series, results: Results, here: Point, dense: Point) -> bool:
        accuracies = [_mean(series, results, p, converged_accuracy) for p in (here, dense)]
        return accuracies[0] < accuracies[1] - by

    return worse


def _mean(series: Series, results: Results, point: Point, measure: Callable) -> float:
    found = by_trial(series, results, point, measure)
    return statistics.fmean(found.values()) if found else float("nan")


def _levels(series: Series) -> tuple[float, ...]:
    """The densities, in %, that a line can be read off at, and none."""
    return (*(POINTS * d for d in series.trainings.densities), 0.0)


def _of_line(
    series: Series, words: str, read: Callable[[Results, Line], Number], **fields: object
) -> Statistic:
    """A number that is read off a whole line, whose dense network has to say something."""

    def measure(results: Results) -> Number:
        points = series.points(results)
        _ = _mean(series, results, points[0], convergence_step)  # Missing where it is lost.
        return read(results, points)

    return Statistic(
        words=f"{series.label}: {words}", needs=(series.trainings,), depends=series.depends,
        measure=measure, **{"axis": _levels(series), **fields},
    )  # fmt: skip


def first(
    series: Series, worse: Worse, *, printed: float, weights: bool = False, **fields: object
) -> Statistic:
    """The largest density from which down to the smallest every level is worse than dense.

    A level that did not converge is worse. Where the last level is not worse, that is an answer if
    the run goes down to what was printed.

    Args:
      series: whose levels.
      worse: than dense.
      printed: what the paper says, in % or weights.
      weights: the number of kept weights instead.
      **fields: others of `Statistic`.
    """

    def read(results: Results, points: Line) -> Number:
        found, last = None, points[-1]
        for p in reversed(points[1:]):
            if shown(series, results, p) and not worse(series, results, p, points[0]):
                break
            found = p
        if found is None:
            end = last.kept if weights else POINTS * last.nominal
            if end > printed:
                raise Missing(f"not worse down to {end:,.3g}, where this run ends")
            return Number(0.0, n=len(last.records), text=f"not worse down to {end:,.3g}")
        value = found.kept if weights else POINTS * found.nominal
        return Number(value, n=len(points[0].records))

    return _of_line(series, "the largest density from which on all are worse than dense", read,
                    **fields)  # fmt: skip


def holds(series: Series, *, within: float) -> Statistic:
    """The smallest density down to which every level is within some points of dense accuracy."""

    def read(results: Results, points: Line) -> Number:
        worse, last = less_accurate(within), 1.0
        for p in points[1:]:
            if not shown(series, results, p) or worse(series, results, p, points[0]):
                break
            last = p.nominal
        return Number(POINTS * last, n=len(points[0].records))

    return _of_line(series, f"the density down to which all are within {within:g} points", read)


def fastest(series: Series, *, weights: bool = False, **fields: object) -> Statistic:
    """Where the convergence is earliest, the dense network included: a density, or weights."""

    def read(results: Results, points: Line) -> Number:
        there = [p for p in points if shown(series, results, p)]
        found = min(there, key=lambda p: _mean(series, results, p, convergence_step))
        value = found.kept if weights else POINTS * found.nominal
        return Number(value, n=len(found.records))

    return _of_line(series, "the density that converges first", read, **fields)


def last(series: Series) -> Statistic:
    """The density of its last level."""

    def read(results: Results, points: Line) -> Number:
        if len(points) <= len(series.trainings.levels):
            raise Missing("not trained in this run")
        return Number(POINTS * points[-1].nominal, n=len(points[-1].records))

    return _of_line(series, "the density of the last level", read)


def gains(series: Series, results: Results, points: Line) -> dict[int, list[float]]:
    """By trial, what each training of some levels gained after convergence, as a fraction."""
    assert series.criterion is not None
    found: dict[int, list[float]] = {}
    for record in (r for p in points for r in p.records):
        if (gain := results.converged(record, series.criterion).gain) is not None:
            found.setdefault(record.replicate, []).append(gain)
    return found


def gain(series: Series) -> Statistic:
    """Accuracy gained after convergence, as a fraction, over all tickets of all levels."""

    def read(results: Results, points: Line) -> Number:
        if series.trainings.stop is not None:
            raise Missing("these trainings were ended where their convergence was known")
        found = gains(series, results, points[1:])
        if sum(map(len, found.values())) < 2:
            raise Missing("not trained in this run")
        sd = statistics.stdev(g for by in found.values() for g in by)
        mean = number(intervals.mean({i: statistics.fmean(v) for i, v in found.items()}))
        text = f"{mean.value:.5f} (sd {sd:.5f} over tickets)"
        return dataclasses.replace(mean, text=text)

    return _of_line(series, "accuracy gained after convergence", read, axis=span(0.0, 0.01))


def trainings_to(density: float, rate: float) -> Statistic:
    """Trainings before the pruning that reaches about a density (reading 4.9)."""
    count = 1
    while (1 - rate) ** count > 1.05 * density:
        count += 1
    words = f"trainings to {100 * density:g} % at {100 * rate:g} % a round"
    return constant(words, count, axis=range(1, 31), text=f"{count} (by arithmetic)")


def interpolated(series: Series, measure: Callable[..., Values], density: float) -> Values:
    """A measure at a density between two levels, linear in the logarithm of the density.

    Args:
      series: whose levels.
      measure: `steps` or `accuracy`.
      density: in [0, 1].
    """

    def between(results: Results) -> tuple[float, Values, Values]:
        there = [p for p in series.points(results) if shown(series, results, p)]
        there.sort(key=lambda p: p.nominal)
        for a, b in itertools.pairwise(there):
            if a.nominal <= density <= b.nominal:
                weight = math.log(density / a.nominal) / math.log(b.nominal / a.nominal)
                low, high = (measure(series.round(p.number)) for p in (a, b))
                return weight, low, high
        raise Missing("no two converged levels lie about this density")

    def by_trial(results: Results) -> dict[int, float]:
        weight, low, high = between(results)
        a, b = low.by_trial(results), high.by_trial(results)
        return {i: a[i] + weight * (b[i] - a[i]) for i in a.keys() & b.keys()}

    one = measure(series.dense)
    return dataclasses.replace(
        one, words=f"{series.label} at {100 * density:.3g} %", by_trial=by_trial
    )
