"""The rows of paper 004 on parameters: F11 to F15."""

from collections.abc import Sequence
import itertools
import math
from typing import NamedTuple

from experiments.paper_004 import answers
from experiments.paper_004.answers import Series
from experiments.paper_004.common import DROP, drawn
from experiments.paper_004.settings import FrankleCarbin
from experiments.paper_004.trainings import Trainings
from experiments.reproduce import lines
from experiments.reproduce.lines import Line, Point, accuracy_of, step_of
from experiments.reproduce.rows import Claim, Experiment
from experiments.reproduce.rules import Absent, Near, Ordered, Side, Within
from experiments.reproduce.trained import Results
from ltjax.statistics import intervals


class Means(NamedTuple):
    """Steps and accuracy by trial, and the steps between tests."""

    steps: dict[int, float]
    accuracy: dict[int, float]
    grid: float


_WEIGHTS = Within(1.2)
"""About two of the one-shot levels to either side."""


def experiments(settings: FrankleCarbin) -> tuple[Experiment, ...]:
    """F11 to F15."""
    t = Trainings(settings)
    return (_large_sds(t), _small_sds(t), _sizes_one_shot(t), _sizes_iterative(t), _rates(t))


def _sd_lines(t: Trainings, sds: str) -> list[tuple[str, Series, str]]:
    return [(f"sd {sd:g}", series, "") for sd, series in t.by_sd(sds).items()]


def _sd_means(t: Trainings, sds: str, results: Results) -> dict[float, Means] | Absent:
    """Means over the densities from 25 % on, by standard deviation."""
    found = {}
    for sd, series in t.by_sd(sds).items():
        points = lines.line(results, series)
        if why := answers.ready(points):
            return why
        large = [p for p in points if p.nominal >= 0.25]
        steps, accuracy = (lines.averaged(large, v) for v in (step_of, accuracy_of))
        found[sd] = Means(steps, accuracy, points[0].grid)
    return found


def _slower(what: str, first: Means, second: Means) -> Side:
    """The first takes more steps than the second."""
    found = intervals.difference(first.steps, second.steps, grid=second.grid)
    return Side(f"{what}, steps", found)


def _better(what: str, first: Means, second: Means) -> Side:
    """The first is more accurate than the second."""
    found = intervals.difference(first.accuracy, second.accuracy)
    return Side(f"{what}, accuracy", answers.points_of(found), "points")


def _large_sds(t: Trainings) -> Experiment:
    sds = t.settings.large_sds

    def monotone(results: Results) -> Sequence[Side] | Absent:
        found = _sd_means(t, sds, results)
        if isinstance(found, Absent):
            return found
        sides = []
        for low, high in itertools.pairwise(sorted(found)):
            sides += [
                _slower(f"sd {high:g} minus {low:g}", found[high], found[low]),
                _better(f"sd {low:g} minus {high:g}", found[low], found[high]),
            ]
        return sides

    return Experiment(
        id="004-F11",
        also=t.settings.judged,
        shows="one-shot tickets of networks with larger initial weights",
        works=tuple(t.by_sd(sds).values()),
        figures=drawn(
            _sd_lines(t, sds),
            log=False,
            caption="One-shot tickets by standard deviation of the initialization, 0.1 and larger",
        ),
        claims=(
            Claim(
                published="004-0073",
                ours=answers.ordered(monotone),
                rule=Ordered("means over 100 to 25 %: steps rise and accuracy falls with each sd"),
            ),
        ),
    )


def _small_sds(t: Trainings) -> Experiment:
    sds = t.settings.small_sds

    def sweet_spots(results: Results) -> Sequence[Side] | Absent:
        found = _sd_means(t, sds, results)
        if isinstance(found, Absent):
            return found
        base, small = t.settings.init_sd, 0.025
        if small not in found:
            return answers.NOT_RUN
        sides = [
            _slower(f"sd {sd:g} minus {base:g}", found[sd], found[base])
            for sd in found
            if sd != base
        ]
        return [*sides, _better(f"sd {small:g} minus {base:g}", found[small], found[base])]

    return Experiment(
        id="004-F12",
        also=t.settings.judged,
        shows="one-shot tickets of networks with smaller initial weights",
        works=tuple(t.by_sd(sds).values()),
        figures=drawn(
            _sd_lines(t, sds),
            log=False,
            caption="One-shot tickets by standard deviation of the initialization, 0.1 and smaller",
        ),
        claims=(
            Claim(
                published="004-0074",
                ours=answers.ordered(sweet_spots),
                rule=Ordered(
                    "means over 100 to 25 %: 0.1 needs the fewest steps; 0.025 needs more and is "
                    "more accurate"
                ),
            ),
        ),
    )


def _weights(t: Trainings, size: str) -> tuple[float, ...]:
    """The numbers of weights that a one-shot line of a network can be read off at, and none."""
    chain = (784, *map(int, size.split("-")), 10)
    *hidden, output = (a * b for a, b in itertools.pairwise(chain))
    kept = ((d * sum(hidden) + (1 + d) / 2 * output) for d in t.settings.one_shot(parameters=True))
    return (*kept, 0.0)


def _sizes_one_shot(t: Trainings) -> Experiment:
    series = t.by_size(iterative=False)
    claims = []
    for published, size in (("004-0075", "300-100"), ("004-0076", "600-300")):
        if size in series:
            ours = answers.where_fastest(series[size], weights=True)
            claims.append(
                Claim(published=published, ours=ours, rule=_WEIGHTS, axis=_weights(t, size))
            )
    if "300-100" in series:
        ours = answers.turning(
            series["300-100"], lines.less_accurate(DROP), printed=150_000, weights=True
        )
        claims.append(
            Claim(published="004-0077", ours=ours, rule=_WEIGHTS, axis=_weights(t, "300-100"))
        )
    return Experiment(
        id="004-F13",
        also=t.settings.judged,
        shows="one-shot tickets of networks of several sizes, by the number of weights",
        works=tuple(series.values()),
        figures=drawn(
            [(size, s, "") for size, s in series.items()],
            log=True,
            by="weights",
            bars=False,
            caption="One-shot tickets by size of the network (sd 0.05)",
        ),
        claims=tuple(claims),
    )


def _sizes_iterative(t: Trainings) -> Experiment:
    series = t.by_size(iterative=True)

    def bulge(results: Results) -> Sequence[Side] | Absent:
        sides, peaks = [], []
        for size, search in series.items():
            points = lines.line(results, search)
            if why := answers.ready(points):
                return why
            gain = answers.points_of(intervals.mean(_crossed_gain(points)))
            sides.append(Side(f"{size}: best level minus dense", gain, "points"))
            peaks.append(_peaks(points))
        common = set.intersection(*map(set, peaks)) if peaks else set()
        apart = {i: math.log(max(p[i] for p in peaks) / min(p[i] for p in peaks)) for i in common}
        what = "logarithm of the largest peak over the smallest, in weights"
        return [*sides, Side(what, intervals.mean(apart), "", -math.inf, math.log(2))]

    return Experiment(
        id="004-F14",
        also=t.settings.criterion,
        shows="iterative tickets of networks of several sizes, by the number of weights",
        works=tuple(series.values()),
        figures=drawn(
            [(size, s, "") for size, s in series.items()],
            log=True,
            by="weights",
            bars=False,
            caption="Iterative tickets by size of the network (sd 0.05)",
        ),
        claims=(
            Claim(
                published="004-0078",
                ours=answers.ordered(bulge),
                rule=Ordered(
                    "every size is more accurate than dense at the pruned level that its other "
                    "trials find best, and by trial the weights kept at the peaks differ by at "
                    "most a factor of 2"
                ),
            ),
        ),
    )


def _crossed_gain(points: Line) -> dict[int, float]:
    """By trial, accuracy less dense at the level that the other trials find best.

    A level chosen by the very trials that judge it would be ahead by choice.
    """
    found = {}
    for trial, dense in points[0].accuracy.items():
        others = {
            number: [a for i, a in p.accuracy.items() if i != trial]
            for number, p in enumerate(points)
            if number and p.shown and trial in p.accuracy and len(p.accuracy) > 1
        }
        if others:
            best = max(others, key=lambda n: sum(others[n]) / len(others[n]))
            found[trial] = points[best].accuracy[trial] - dense
    return found


def _peaks(points: Line) -> dict[int, int]:
    """By trial, the weights kept at the level where it is most accurate."""
    best: dict[int, Point] = {}
    for p in points:
        for i, accuracy in p.accuracy.items():
            if i not in best or accuracy > best[i].accuracy[i]:
                best[i] = p
    return {i: p.kept for i, p in best.items()}


def _rates(t: Trainings) -> Experiment:
    series = t.by_rate

    def slow_is_best(results: Results) -> Sequence[Side] | Absent:
        every, found = {rate: lines.line(results, s) for rate, s in series.items()}, {}
        for points in every.values():
            if why := answers.ready(points):
                return why
        at = max(points[-1].nominal for points in every.values())
        for rate, points in every.items():
            steps, accuracy = (lines.interpolated(points, at, v) for v in (step_of, accuracy_of))
            found[rate] = Means(steps, accuracy, points[0].grid)
        if {0.1, 0.5, 0.7} - found.keys():
            return answers.NOT_RUN
        if not all(means.steps for means in found.values()):
            return Absent("fewer than half of the trials converged")
        sides = []
        for rate in (0.5, 0.7):
            percent = 100 * rate
            sides += [
                _slower(f"{percent:g} % a round minus 10 %", found[rate], found[0.1]),
                _better(f"10 % a round minus {percent:g} %", found[0.1], found[rate]),
            ]
        return sides

    return Experiment(
        id="004-F15",
        also=t.settings.criterion,
        shows="iterative pruning at several rates",
        works=tuple(series.values()),
        figures=drawn(
            [(f"{100 * rate:g} % a round", s, "") for rate, s in series.items()],
            log=False,
            bars=False,
            caption="Iterative tickets by the share pruned in a round",
        ),
        claims=(
            Claim(
                published="004-0079",
                ours=answers.ordered(slow_is_best),
                rule=Ordered(
                    "interpolated at the smallest density that all rates reach (9 %), pruning 10 % "
                    "a round needs fewer steps and is more accurate than 50 and 70 %"
                ),
            ),
            Claim(
                published="004-0080",
                ours=answers.trainings_to(0.05, 0.1),
                rule=Near(0.5, "trainings"),
                axis=range(1, 31),
            ),
        ),
    )
