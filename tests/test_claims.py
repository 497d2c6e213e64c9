"""The claims of paper 004 in a world where all that it says holds, and where nothing differs."""

import itertools
import math
import types

from experiments.paper_004 import inside_rows
from experiments.paper_004.rows import PAPER
from experiments.paper_004.settings import FrankleCarbin
from experiments.paper_004.trainings import Trainings
from experiments.reproduce import lines, published
from experiments.reproduce.retrainings import Retrain
from experiments.reproduce.rows import AGREES, DIFFERS, judge
from experiments.reproduce.rules import Ordered
import numpy as np
import pytest

from experiments.papers.convergence import Convergence
from tests import fakes

SETTINGS = FrankleCarbin()
T = Trainings(SETTINGS)
RESULTS = types.SimpleNamespace(settings=SETTINGS)
CLAIMS = {c.published: c for row in PAPER.experiments(SETTINGS) for c in row.claims}
MNIST = [name for name in CLAIMS if name >= "004-0040"]
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


RATES = {0.1: (0.5, 0.01), 0.5: (2, -0.01), 0.7: (2, -0.01)}


def world():
    """By series: (density, weights kept) -> times the dense steps, accuracy minus dense."""
    (first, second), (one, two) = T.one_shot_controls, T.iterative_controls
    by_sd, by_rate = T.by_sd(SETTINGS.large_sds) | T.by_sd(SETTINGS.small_sds), T.by_rate
    found = {by_sd[sd]: moved(1 + n, -0.01 * n) for n, sd in enumerate((0.2, 0.4, 0.8), 1)}
    found |= {by_sd[sd]: moved(2, 0.01) for sd in (0.05, 0.025, 0.0125)}
    found |= {
        series: fastest_at(200e3 if size == "600-300" else 140e3)
        for size, series in T.by_size(iterative=False).items()
    }
    found |= dict.fromkeys(T.by_size(iterative=True).values(), bulge)
    found |= {by_rate[rate]: moved(2, -0.01) for rate in (0.5, 0.7)} | {
        by_rate[0.1]: moved(0.5, 0.01)
    }
    return found | {
        T.iterative: iterative, T.continued: less(iterative, 0.002, below=0.05),
        T.one_shot: one_shot, first: control, second: less(control, 0.001),
        one: drops(0.328), two: drops(0.512),
    }  # fmt: skip


def line_of(made, results, series, *, replicates=None):
    """A line of five trials that start alike, with a little noise of their own."""
    search = series.search if isinstance(series, Retrain) else series
    own = series.densities if isinstance(series, Retrain) else ()
    densities = own or [(1 - search.rate) ** n for n in range(1, search.levels + 1)]
    wider = isinstance(series, Retrain) and series.arm == "redrawn"
    chain = (784, *map(int, search.model.removeprefix("lenet-").split("-")), 10)
    *hidden, output = (a * b for a, b in itertools.pairwise(chain))
    points = []
    for d in (1.0, *densities):
        kept = round(d * sum(hidden) + (1 + d) / 2 * output)
        times, more = (1.0, 0.0) if d == 1 else made(d, kept)
        trials = []
        for i in range(5):
            noise = (7 * i + round(1e4 * d)) % 5 - 2
            apart = (-480, -480, -480, 720, 720)[i] if wider and d == 0.35 else 5 * noise
            steps = round(times * DENSE[0] * (1 + 0.002 * (i - 2)) + apart)
            record = fakes.record(replicate=i, curve={0: 0.1, 100: 0.9})
            end = Convergence(step=steps, accuracy=DENSE[1] + more + 2e-5 * noise, gain=0.0019)
            trials.append(lines.Trial(record, end))
        points.append(lines.Point(d, kept, tuple(trials)))
    return points


def initial_values(results, searches, level):
    """Twelve trials of each layer: the hidden ones without a middle, the output as it was."""
    rng = np.random.default_rng(0)
    whole = [np.clip(rng.normal(0, 0.1, 4000), -0.2, 0.2) for _ in range(12)]
    hollow = [v[abs(v) > 0.03] for v in whole]
    return {"first hidden layer": hollow, "second hidden layer": hollow, "output": whole}


def in_degrees(results, searches, level, *, dead_edges):
    """Of the second layer a third is cut off, of the first a few, in ten trials."""
    cut = {"first hidden layer": 0.05, "second hidden layer": 0.33, "output": 0.0}
    return {
        n: [np.arange(300) >= round(300 * c) + i % 2 for i in range(10)] for n, c in cut.items()
    }


@pytest.fixture
def hold(monkeypatch):
    """(claim, world) -> its verdict."""
    monkeypatch.setattr(inside_rows, "survivors", initial_values)
    monkeypatch.setattr(inside_rows, "degrees", in_degrees)

    def verdict(name, made):
        monkeypatch.setattr(
            lines, "line", lambda results, series, **_: line_of(made[series], results, series)
        )
        return judge(CLAIMS[name], published.entry(name), RESULTS)

    return verdict


@pytest.mark.parametrize("name", MNIST)
def test_what_the_paper_says_agrees_where_it_holds(name, hold):
    found = hold(name, world())
    assert found.verdict == AGREES, (found.ours, found.reason)


ALIKE = {"004-0042", "004-0044"}
"""Claims that nothing differs, or little."""


@pytest.mark.parametrize("name", [n for n in MNIST if isinstance(CLAIMS[n].rule, Ordered)])
def test_an_ordering_does_not_agree_where_nothing_differs_or_all_is_reversed(name, hold):
    if name in ("004-0071", "004-0072"):
        return  # Not of lines.
    null = dict.fromkeys(world(), moved(1.0, 0.0))
    assert (hold(name, null).verdict == AGREES) == (name in ALIKE)
    reverse = {
        s: lambda d, kept, f=f: tuple(np.array([2, 0]) - f(d, kept)) for s, f in world().items()
    }
    if name not in ALIKE:
        assert hold(name, reverse).verdict == DIFFERS
