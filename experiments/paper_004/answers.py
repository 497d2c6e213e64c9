"""What our lines say to the sentences of paper 004: one function a kind of statement."""

from collections.abc import Callable, Sequence
import dataclasses
import statistics

from experiments.reproduce import lines
from experiments.reproduce.lines import Line, Point
from experiments.reproduce.retrainings import Retrain
from experiments.reproduce.rules import Absent, Quantity, Side, ordering, quantity
from experiments.reproduce.searches import Search
from experiments.reproduce.trained import Results
from ltjax.statistics import intervals
from ltjax.statistics.intervals import Interval

Ours = Callable[[Results], Quantity | Absent]
Series = Search | Retrain

POINTS = 100.0
"""Fractions to percentage points."""

NOT_RUN = Absent("not trained in this run")
_LOST = Absent("fewer than half of the trials converged")


def ready(points: Line, *densities: float) -> Absent | None:
    """Why a line cannot be judged: not trained, or not converged where it would have to be."""
    if len(points) < 2:
        return NOT_RUN
    chosen = [points[0], *(lines.at(points, d) for d in densities)]
    if any(p is None for p in chosen):
        return NOT_RUN
    return None if all(p is not None and p.shown for p in chosen) else _LOST


def compared(
    series: Series, density: float, statistic: Callable[[Point, Point], Interval | None]
) -> Ours:
    """A statistic of one level and the dense network, in percentage points."""

    def ours(results: Results) -> Quantity | Absent:
        points = lines.line(results, series)
        if why := ready(points, density):
            return why
        here = lines.at(points, density)
        assert here is not None
        return quantity(statistic(here, points[0]), scale=POINTS)

    return ours


def faster_at(series: Series, density: float) -> Ours:
    """How much faster than the dense network, in %."""
    return compared(series, density, lines.faster)


def slower_at(series: Series, density: float) -> Ours:
    """How much slower than the dense network, in %."""

    def negative(here: Point, dense: Point) -> Interval | None:
        found = lines.faster(here, dense)
        return found and found.times(-1)

    return compared(series, density, negative)


def below_at(series: Series, density: float) -> Ours:
    """How much less accurate than the dense network, in percentage points."""
    return compared(series, density, lambda here, dense: lines.gained(dense, here))


def times_as_fast(ticket: Series, control: Series, density: float) -> Ours:
    """T of the control over T of the ticket."""

    def ours(results: Results) -> Quantity | Absent:
        ticket_line, control_line = (lines.line(results, s) for s in (ticket, control))
        if why := ready(ticket_line, density) or ready(control_line, density):
            return why
        t, c = lines.at(ticket_line, density), lines.at(control_line, density)
        assert t is not None
        assert c is not None
        return quantity(intervals.ratio(c.steps, t.steps, grid=t.grid))

    return ours


def each_level(
    series: Series, high: float, low: float, side: Callable[[Point, Point], Side]
) -> Ours:
    """A condition on every level in [low, high] and the dense network."""

    def sides(results: Results) -> Sequence[Side] | Absent:
        points = lines.line(results, series)
        inside = [p for p in points[1:] if low * 0.99 <= p.nominal <= high * 1.01]
        if why := ready(points):
            return why
        if not inside:
            return NOT_RUN
        return [side(p, points[0]) for p in inside] if all(p.shown for p in inside) else _LOST

    return ordered(sides)


def turning(
    series: Series,
    worse: Callable[[Point, Point], bool],
    *,
    printed: float,
    weights: bool = False,
) -> Ours:
    """The largest density (in %, or in weights) from which on all levels are worse than dense.

    Where no level is, that is an answer if the run goes down to what was `printed`.
    """

    def ours(results: Results) -> Quantity | Absent:
        points = lines.line(results, series)
        if why := ready(points):
            return why
        found = lines.first_below(points, worse)
        last = points[-1]
        if found is None:
            end = last.kept if weights else POINTS * last.nominal
            if end > printed:
                return Absent(f"not worse down to {end:,.3g}, where this run ends")
            return Quantity(0.0, n=len(last.trials), text=f"not worse down to {end:,.3g}")
        if weights:
            here = lines.at(points, found)
            assert here is not None
            return Quantity(here.kept, n=len(points[0].trials))
        return Quantity(POINTS * found, n=len(points[0].trials))

    return ours


def holds_until(series: Series, by: float) -> Ours:
    """The smallest density (in %) down to which every level is within `by` of dense accuracy."""

    def ours(results: Results) -> Quantity | Absent:
        points = lines.line(results, series)
        if why := ready(points):
            return why
        worse, last = lines.less_accurate(by), None
        for p in points[1:]:
            if not p.shown or worse(p, points[0]):
                break
            last = p
        if last is None:
            return Quantity(POINTS, n=len(points[0].trials))
        return Quantity(POINTS * last.nominal, n=len(points[0].trials))

    return ours


def where_fastest(series: Series, *, weights: bool = False) -> Ours:
    """Where the convergence is earliest: a density in %, or a number of weights."""

    def ours(results: Results) -> Quantity | Absent:
        points = lines.line(results, series)
        if why := ready(points):
            return why
        best = lines.fastest(points)
        assert best is not None
        value = best.kept if weights else POINTS * best.nominal
        return Quantity(value, n=len(best.trials))

    return ours


def gain_after(series: Series) -> Ours:
    """Accuracy gained after convergence, as a fraction, over all tickets of all levels."""

    def ours(results: Results) -> Quantity | Absent:
        if results.settings.stop_converged:
            return Absent("these trainings were ended where their convergence was known")
        tickets = [t for p in lines.line(results, series)[1:] for t in p.converged]
        gains: dict[int, list[float]] = {}
        for trial in tickets:
            gains.setdefault(trial.record.replicate, []).append(lines.gain_of(trial))
        if len(tickets) < 2:
            return NOT_RUN
        found = quantity(intervals.mean({i: statistics.fmean(v) for i, v in gains.items()}))
        sd = statistics.stdev(lines.gain_of(t) for t in tickets)
        return dataclasses.replace(found, text=f"{found.value:.5f} (sd {sd:.5f} over tickets)")

    return ours


def gains_of(points: Line) -> list[float]:
    """Gains after convergence of all trials that converged."""
    return [lines.gain_of(t) for p in points for t in p.converged]


def ordered(sides: Callable[[Results], Sequence[Side] | Absent]) -> Ours:
    """A worded claim by its conditions."""

    def ours(results: Results) -> Quantity | Absent:
        found = sides(results)
        return found if isinstance(found, Absent) else ordering(found)

    return ours


def points_of(found: Interval | None) -> Interval | None:
    """A difference of fractions in percentage points."""
    return found and found.times(POINTS)


def trainings_to(density: float, rate: float) -> Ours:
    """Trainings before the pruning that reaches about `density` (reading 4.9)."""

    def ours(results: Results) -> Quantity | Absent:
        del results
        count = 1
        while (1 - rate) ** count > 1.05 * density:
            count += 1
        return Quantity(count, text=f"{count} (by arithmetic)")

    return ours
