"""Lines: what a figure draws against density, from the records of the levels of one series."""

from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
import itertools
import math
import statistics

from experiments.papers import convergence
from experiments.papers.convergence import Convergence
from experiments.reproduce.retrainings import Retrain
from experiments.reproduce.searches import Search
from experiments.reproduce.trained import Results
from ltjax.statistics import analysis, intervals
from ltjax.statistics.intervals import Interval
from ltjax.training.records import Record


@dataclasses.dataclass(frozen=True)
class Trial:
    """One training and where it converged."""

    record: Record
    convergence: Convergence


@dataclasses.dataclass(frozen=True)
class Point:
    """The trials of one level.

    Attributes:
      nominal: density asked, in [0, 1].
      kept: kept prunable weights.
      trials: all trainings; those that failed count as not converged.
    """

    nominal: float
    kept: int
    trials: tuple[Trial, ...]

    @property
    def converged(self) -> list[Trial]:
        """The trials that converged."""
        return [t for t in self.trials if t.convergence.step is not None]

    @property
    def near_chance(self) -> int:
        """How many converged near what guessing would reach (reading 4.2)."""
        return sum(t.convergence.near_chance for t in self.trials)

    @property
    def shown(self) -> bool:
        """Whether at least half of the trials converged; else the line is cut (reading 4.3)."""
        return 2 * len(self.converged) >= len(self.trials) > 0

    @property
    def grid(self) -> float:
        """Steps between evaluations, which steps to convergence are multiples of."""
        return float(max(convergence.distance(t.record.steps) for t in self.trials))

    def by_trial(self, value: Callable[[Trial], float]) -> dict[int, float]:
        """Mean over the converged repeats of each replicate."""
        found: dict[int, list[float]] = {}
        for trial in self.converged:
            found.setdefault(trial.record.replicate, []).append(value(trial))
        return {i: statistics.fmean(v) for i, v in sorted(found.items())}

    @property
    def steps(self) -> dict[int, float]:
        """Steps to convergence by replicate."""
        return self.by_trial(step_of)

    @property
    def accuracy(self) -> dict[int, float]:
        """Accuracy at convergence by replicate, in [0, 1]."""
        return self.by_trial(accuracy_of)


def step_of(trial: Trial) -> float:
    """Steps to convergence of a trial that converged."""
    assert trial.convergence.step is not None
    return float(trial.convergence.step)


def accuracy_of(trial: Trial) -> float:
    """Accuracy at convergence of a trial that converged, in [0, 1]."""
    assert trial.convergence.accuracy is not None
    return trial.convergence.accuracy


def gain_of(trial: Trial) -> float:
    """What was gained after convergence, as a fraction of the test set."""
    assert trial.convergence.gain is not None
    return trial.convergence.gain


Line = list[Point]
"""The points of one series, the dense network first."""


def line(
    results: Results, series: Search | Retrain, *, replicates: Iterable[int] | None = None
) -> Line:
    """The points of a series that have been trained, the dense network first.

    Args:
      results: of the run.
      series: a search, or trainings that start from one.
      replicates: the trials to be taken; all by default.
    """
    search = series if isinstance(series, Search) else series.search
    numbers = range(1, search.levels + 1) if isinstance(series, Search) else series.numbers
    chosen = None if replicates is None else set(replicates)
    points: Line = []
    if not results.has(search.dense):
        return points
    levels = [results.records(search.dense), *(series.records(results, i) for i in numbers)]
    for level in levels:
        records = [r for r in level if chosen is None or r.replicate in chosen]
        if records:
            points.append(point(records, results.criterion))
    return points


def point(records: Sequence[Record], how: convergence.Settings, *, classes: int = 10) -> Point:
    """The point of the trials of one level."""
    trials = []
    for record in records:
        found = Convergence(step=None)
        if not analysis.has_failed(record):
            found = _converged(record, how, classes)
        trials.append(Trial(record, found))
    first = records[0]
    return Point(first.nominal, first.kept, tuple(trials))


def _converged(record: Record, how: convergence.Settings, classes: int) -> Convergence:
    """Judged on the test set, or on held-out examples where there are some (reading 4.21).

    Accuracy and gain are those on the test set.
    """
    if not record.validation_accuracy:
        return convergence.converged(
            record.steps, record.test_accuracy, settings=how, classes=classes
        )
    found = convergence.converged(
        record.steps, record.validation_accuracy, settings=how, classes=classes
    )
    if found.step is None:
        return found
    accuracy = record.test_accuracy[record.steps.index(found.step)]
    gain = record.final_accuracy - accuracy
    return dataclasses.replace(found, accuracy=accuracy, gain=gain)


def at(points: Line, density: float) -> Point | None:
    """The point nearest to a density, at most 6 % of it away; None where there is none."""
    near = min(points, key=lambda p: abs(p.nominal - density), default=None)
    if near is None or abs(near.nominal - density) > 0.06 * density:
        return None
    return near


def faster(here: Point, dense: Point) -> Interval | None:
    """How much faster than the dense network a level converges: 1 - T / T0 (reading 4.4)."""
    return intervals.reduction(here.steps, dense.steps, grid=dense.grid)


def later(here: Point, there: Point) -> Interval | None:
    """Steps to convergence of one level minus those of another."""
    return intervals.difference(here.steps, there.steps, grid=there.grid)


def gained(here: Point, there: Point) -> Interval | None:
    """Accuracy at convergence minus that of another level, as a fraction of the test set."""
    return intervals.difference(here.accuracy, there.accuracy)


def first_below(
    points: Line, worse: Callable[[Point, Point], bool], *, start: float = 1.0
) -> float | None:
    """The largest density, below `start`, from which on `worse(point, dense)` holds to the end.

    A level that did not converge is worse. None where the last level is not worse.
    """
    found = None
    for p in reversed(points[1:]):
        if p.nominal >= start or (p.shown and not worse(p, points[0])):
            break
        found = p.nominal
    return found


def mean(values: Mapping[int, float]) -> float:
    """The mean over trials; NaN without one."""
    return statistics.fmean(values.values()) if values else float("nan")


def slower(here: Point, dense: Point) -> bool:
    """Whether a level converges later than the dense network, in the mean."""
    return mean(here.steps) > mean(dense.steps)


def less_accurate(by: float) -> Callable[[Point, Point], bool]:
    """Whether a level is less accurate by more than `by` (a fraction), in the mean."""
    return lambda here, dense: mean(here.accuracy) < mean(dense.accuracy) - by


def interpolated(points: Line, density: float, value: Callable[[Trial], float]) -> dict[int, float]:
    """A value by trial at a density between two levels, linear in log density; none outside."""
    shown = sorted((p.nominal, p.by_trial(value)) for p in points if p.shown)
    for (low, a), (high, b) in itertools.pairwise(shown):
        if low <= density <= high:
            weight = math.log(density / low) / math.log(high / low)
            return {i: a[i] + weight * (b[i] - a[i]) for i in a.keys() & b.keys()}
    return {}


def averaged(points: Iterable[Point], value: Callable[[Trial], float]) -> dict[int, float]:
    """Mean of a value over the levels shown, by the trials that converged at all of them."""
    every = [p.by_trial(value) for p in points if p.shown]
    common = set.intersection(*map(set, every)) if every else set()
    return {i: statistics.fmean(by[i] for by in every) for i in sorted(common)}


def fastest(points: Line) -> Point | None:
    """The level that converges first, in the mean."""
    return min((p for p in points if p.shown), key=lambda p: mean(p.steps), default=None)


def smallest_winning(points: Line) -> dict[int, float | None]:
    """By trial, the smallest density at which it wins; None where it never does.

    A trial wins at a density where its ticket converges no later than its own dense network, at
    an accuracy no lower.
    """
    found: dict[int, float | None] = {}
    dense_steps, dense_accuracy = points[0].steps, points[0].accuracy
    for trial in dense_steps:
        wins = [
            p.nominal
            for p in points[1:]
            if trial in p.steps
            and p.steps[trial] <= dense_steps[trial]
            and p.accuracy[trial] >= dense_accuracy[trial]
        ]
        found[trial] = min(wins, default=None)
    return found
