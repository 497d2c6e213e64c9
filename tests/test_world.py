"""The claims of paper 004 in a world where all that it says holds, and where nothing differs."""

import itertools
import math

import numpy as np
import pytest

from experiments.papers import frankle_carbin, frankle_carbin_inside
from experiments.papers.claims import AGREES, DIFFERS, judge
from experiments.papers.convergence import Convergence
from experiments.papers.frankle_carbin import PAPER
from experiments.papers.series import Point, Series
from experiments.papers.trainings import Retrained
from tests import fakes

SETTINGS = PAPER.make()
NAMES = [c.id for figure in PAPER.figures(SETTINGS) for c in figure.claims if c.id >= "004-0040"]
DENSE = (10_000.0, 0.98)
"""Steps to convergence and accuracy there."""


def at(density, *knots):
    """Linear in log density between (density, value); level outside."""
    x, y = zip(*sorted(knots), strict=True)
    return float(np.interp(math.log(density), np.log(x), y))


def iterative(d, kept=0):
    fast = at(d, (0.9, 0), (0.41, 0.36), (0.0859, 0.385), (0.018, 0.01), (0.0144, -0.1))
    more = at(d, (0.99, 0), (0.035, 0.001), (0.028, -0.0002), (0.018, -0.001), (0.0144, -0.003))
    return 1 - fast, more


def one_shot(d, kept=0):
    fast = at(d, (0.95, 0.1), (0.75, 0.3), (0.55, 0.44), (0.4, 0.41), (0.35, 0.335), (0.25, 0.38),
              (0.15, 0.1), (0.1, -0.2))  # fmt: skip
    return 1 - fast, at(d, (0.25, 0.0005), (0.2, -0.0005), (0.15, -0.002), (0.05, -0.01))


def control(d, kept=0):
    slow = at(d, (0.95, 1.01), (0.75, 1.05), (0.35, 1.27), (0.25, 1.41), (0.05, 2))
    return slow, at(d, (0.95, -0.0004), (0.35, -0.001), (0.3, -0.002), (0.15, -0.006), (0.05, -0.1))


def less(of, by, below=1.0):
    """As another line, but less accurate from some density on."""
    return lambda d, kept: (of(d)[0], of(d)[1] - by * (d < below))


def drops(where):
    """A control that is less accurate from some density on."""
    return lambda d, kept: (1.1, -0.003 if d <= where * 1.01 else -0.0005)


def moved(times, more):
    """So many times slower, and more accurate, at every density."""
    return lambda d, kept: (times, more)


def fastest_at(peak):
    return lambda d, kept: (0.5 + abs(math.log(kept / peak)), -0.003 * (kept < 160e3))


def bulge(d, kept):
    return 1.0, 0.002 - 0.001 * abs(math.log(kept / 40e3))


def world(series):
    """What the paper says of a series: (density, weights kept) -> times the dense steps, more."""
    one_shots = isinstance(series.trainings, Retrained) and series.trainings.cut is not None
    arm, find = getattr(series.trainings, "arm", ""), series.search.find
    if "sd" in series.label and find.init != SETTINGS.init:
        large = ["sd 0.2", "sd 0.4", "sd 0.8"]
        n = large.index(series.label) + 1 if series.label in large else 0
        return moved(1 + n, -0.01 * n) if n else moved(2, 0.01)
    if find.init == SETTINGS.size_init:
        peak = 200e3 if find.model == "lenet-600-300" else 140e3
        return fastest_at(peak) if one_shots else bulge
    if find.rate != SETTINGS.rate:
        return moved(0.5, 0.01) if find.rate == 0.1 else moved(2, -0.01)
    if one_shots:
        return {"theta_0": one_shot, "redrawn": control}.get(arm, less(control, 0.001))
    if find.reset != SETTINGS.reset:
        return less(iterative, 0.002, below=0.05)
    return {"redrawn": drops(0.328), "shuffled_hidden": drops(0.512)}.get(arm, iterative)


class World(fakes.Results):
    """Results in which every trial ends where a world says."""

    def __init__(self):
        super().__init__()
        self.ends, self.kept = {}, []

    def converged(self, record, how):
        return self.ends[id(record)]


def line_of(made, results, series):
    """A line of five trials that start alike, with a little noise of their own."""
    wider = getattr(series.trainings, "arm", "") == "redrawn"
    find = series.search.find
    chain = (784, *map(int, find.model.removeprefix("lenet-").split("-")), 10)
    *hidden, output = (a * b for a, b in itertools.pairwise(chain))
    points = []
    for number, d in enumerate((1.0, *series.trainings.densities)):
        kept = round(d * sum(hidden) + (1 + d) / 2 * output)
        times, more = (1.0, 0.0) if number == 0 else made(d, kept)
        trials = []
        for i in range(5):
            noise = (7 * i + round(1e4 * d)) % 5 - 2
            apart = (-480, -480, -480, 720, 720)[i] if wider and d == 0.35 else 5 * noise
            step = round(times * DENSE[0] * (1 + 0.002 * (i - 2)) + apart)
            one = fakes.record(replicate=i, curve={0: 0.1, 100: 0.9}, nominal=d, kept=kept)
            end = Convergence(step=step, accuracy=DENSE[1] + more + 2e-5 * noise, gain=0.0019)
            results.ends[id(one)] = end
            results.kept.append(one)  # So that no other record gets its id.
            trials.append(one)
        points.append(Point(number, tuple(trials)))
    return points


def initial_values(results, searches, level):
    """Twelve trials of each layer: the hidden ones without a middle, the output as it was."""
    rng = np.random.default_rng(0)
    whole = [np.clip(rng.normal(0, 0.1, 4000), -0.2, 0.2) for _ in range(12)]
    hollow = [v[abs(v) > 0.03] for v in whole]
    return {"first hidden layer": hollow, "second hidden layer": hollow, "output": whole}


def in_degrees(results, searches, level, *, dead_edges=False):
    """Of the second layer a third is cut off, of the first a few, in ten trials."""
    cut = {"first hidden layer": 0.05, "second hidden layer": 0.33, "output": 0.0}
    return {
        n: [np.arange(300) >= round(300 * c) + i % 2 for i in range(10)] for n, c in cut.items()
    }


@pytest.fixture
def hold(monkeypatch):
    """(claim, world) -> its verdict."""
    monkeypatch.setattr(frankle_carbin_inside, "survivors", initial_values)
    monkeypatch.setattr(frankle_carbin_inside, "degrees", in_degrees)
    claims = {c.id: c for f in frankle_carbin.figures(SETTINGS) for c in f.claims}

    def verdict(name, made=world):
        lines, results = {}, World()

        def line(series, results):
            if series not in lines:
                lines[series] = line_of(made(series), results, series)
            return lines[series]

        monkeypatch.setattr(Series, "line", line)
        return judge(claims[name], PAPER.published, results)

    return verdict


@pytest.mark.parametrize("name", NAMES)
def test_what_the_paper_says_agrees_where_it_holds(name, hold):
    found = hold(name)
    assert found.verdict == AGREES, (found.ours, found.reason)


ALIKE = {"004-0042", "004-0044"}
"""Claims that nothing differs, or little."""

WORDED = [
    c.id for f in PAPER.figures(SETTINGS) for c in f.claims if c.conditions and c.id >= "004-0040"
]


@pytest.mark.parametrize("name", sorted({*WORDED} - {"004-0071", "004-0072"}))
def test_an_ordering_does_not_agree_where_nothing_differs_or_all_is_reversed(name, hold):
    null = hold(name, lambda series: moved(1.0, 0.0))
    assert (null.verdict == AGREES) == (name in ALIKE)

    def reverse(series):
        made = world(series)
        return lambda d, kept: tuple(np.array([2, 0]) - made(d, kept))

    if name not in ALIKE:
        assert hold(name, reverse).verdict == DIFFERS
