"""Intervals: what they cover, and what has none; paired tests: signs, ends, corrections."""

import math

import numpy as np
import pytest

from ltjax.statistics import intervals


def by_number(values):
    return dict(enumerate(values))


def test_faster_is_one_minus_the_ratio_of_the_means():
    ours, theirs = {0: 50.0, 1: 70.0}, {0: 100.0, 1: 100.0}
    found = intervals.reduction(ours, theirs)
    assert found.value == pytest.approx(0.4)
    assert found.low < 0.3
    assert 0.5 < found.high < 1  # Of two trials, and no time is below zero.
    assert found.n == 2
    assert intervals.ratio(ours, theirs).value == pytest.approx(0.6)
    assert math.isnan(intervals.ratio(ours, {0: 0.0, 1: 0.0}).value)


def test_differences_are_paired_by_trial():
    ours = {0: 1.0, 1: 10.0, 2: 100.0, 7: 5.0}
    theirs = {2: 99.0, 1: 9.0, 0: 0.0, 8: 1.0}  # Trials that only one has are left out.
    found = intervals.difference(ours, theirs)
    assert found == pytest.approx((1.0, 1.0, 1.0, 3))
    assert found.times(-2) == pytest.approx((-2.0, -2.0, -2.0, 3))


@pytest.mark.parametrize("of", [intervals.difference, intervals.ratio, intervals.reduction])
def test_one_trial_has_a_value_and_no_interval_and_none_has_nothing(of):
    found = of({3: 2.0}, {3: 4.0})
    assert found.n == 1
    assert not math.isnan(found.value)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert of({0: 1.0}, {1: 1.0}) is None
    assert intervals.mean({3: 2.0})[0] == 2.0
    assert math.isnan(intervals.mean({3: 2.0}).low)
    assert intervals.mean({}) is None


COVERED = 2500  # Trials of a simulation: a share of 95 % then has an sd of 0.4 %.
NORMAL, SKEWED = (lambda z: 1 + 0.2 * z), (lambda z: np.exp(0.2 * z))
OF = {
    "mean": (intervals.mean, 1.0),
    "difference": (intervals.difference, 0.35),
    "ratio": (intervals.ratio, 0.65),
    "reduction": (intervals.reduction, 0.35),
}


def covered(of, truth, samples):
    hits = [found.low <= truth <= found.high for found in (of(*map(by_number, s)) for s in samples)]
    return sum(hits) / len(hits)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 10])  # Of every preset.
@pytest.mark.parametrize("statistic", OF)
@pytest.mark.parametrize("shape", [NORMAL, SKEWED])
def test_an_interval_covers_the_truth_as_often_as_it_says(n, statistic, shape):
    of, truth = OF[statistic]
    z = np.random.default_rng(n).normal(size=(2, COVERED, n))
    z[1] = 0.6 * z[0] + 0.8 * z[1]  # Trials that share a start are alike.
    theirs = shape(z[0])
    if statistic == "mean":
        truth = 1.0 if shape is NORMAL else math.exp(0.02)
        samples = [(row,) for row in theirs]
    else:
        ours = shape(z[1]) + 0.35 if statistic == "difference" else 0.65 * shape(z[1])
        samples = list(zip(ours, theirs, strict=True))
    assert 0.93 <= covered(of, truth, samples) <= 0.97


@pytest.mark.parametrize("n", [2, 5])
def test_steps_between_evaluations_are_told_from_certainty(n):
    # Two trainings that stop at one multiple of 500: without the grid their interval has no width.
    rng = np.random.default_rng(n)
    ours, theirs = (500 * np.round(rng.normal(m, 400, (COVERED, n)) / 500) for m in (4000, 3000))
    samples = list(zip(ours, theirs, strict=True))
    on_grid = covered(lambda a, b: intervals.difference(a, b, grid=500.0), 1000, samples)
    assert on_grid >= 0.945
    if n == 2:
        assert covered(intervals.difference, 1000, samples) < 0.9
        assert intervals.mean({0: 500.0, 1: 500.0}, grid=500.0).low < 500
        assert intervals.ratio({0: 500.0, 1: 500.0}, {0: 500.0, 1: 500.0}, grid=500.0).low < 1


def test_percentages():
    found = intervals.proportion(985, 1000)
    assert found.value == 0.985
    assert found.low == pytest.approx(0.9754, abs=2e-4)  # Wilson, by hand.
    assert found.high == pytest.approx(0.9909, abs=2e-4)
    assert intervals.proportion(1000, 1000).high == pytest.approx(1.0)
    assert intervals.proportions_differ(0.5, 1000, 0.5, 1000) == 0
    assert intervals.proportions_differ(1.0, 10, 1.0, 10) == 0
    assert intervals.proportions_differ(0.55, 1000, 0.5, 1000) == pytest.approx(2.24, abs=0.01)


def test_a_known_pair():
    # Differences 1, 2, 3: mean 2, sd 1, so t = 2 sqrt(3) with two degrees of freedom.
    found = intervals.compare(by_number([2.0, 4.0, 6.0]), by_number([1.0, 2.0, 3.0]))
    assert found.difference == pytest.approx(2)
    assert found.t == pytest.approx(2 * math.sqrt(3))
    assert found.p == pytest.approx(0.0742, abs=1e-4)
    assert (found.low, found.high) == pytest.approx((2 - 2.484, 2 + 2.484), abs=1e-3)
    assert found.wilcoxon_p == pytest.approx(0.25)
    assert found.n == 3


def test_the_sign_is_that_of_the_first_and_the_order_of_replicates_does_not_matter():
    a, b = {0: 0.7, 1: 0.9, 2: 0.8}, {2: 0.75, 0: 0.72, 1: 0.8, 5: 1.0}
    forth, back = intervals.compare(a, b), intervals.compare(b, a)
    assert forth.difference == -back.difference == pytest.approx(np.mean([-0.02, 0.1, 0.05]))
    assert forth.t == pytest.approx(-back.t)
    assert forth.p == pytest.approx(back.p)
    assert (forth.difference, forth.low, forth.high, forth.n) == intervals.difference(a, b)


def test_few_or_equal_pairs():
    assert intervals.compare({0: 1.0}, {0: 2.0}) is None
    assert intervals.compare({0: 1.0, 1: 2.0}, {2: 1.0}) is None
    same = intervals.compare({0: 0.5, 1: 0.7}, {0: 0.5, 1: 0.7})
    assert (same.difference, same.p) == (0, 1)
    shifted = intervals.compare({0: 0.5, 1: 0.75}, {0: 0.25, 1: 0.5})
    assert math.isnan(shifted.p)
    assert shifted.difference == 0.25
    # Differences of 0.2, -0.2 and 0.1 tie whatever their last bits.
    tied = intervals.compare(by_number([0.3, 0.5, 0.9]), by_number([0.1, 0.7, 0.8]))
    whole = intervals.compare(by_number([2.0, -2.0, 1.0]), by_number([0.0] * 3))
    assert tied.wilcoxon_p == pytest.approx(whole.wilcoxon_p)


def test_holm_by_hand():
    assert intervals.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert intervals.holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    with_nan = intervals.holm([0.02, math.nan])
    assert with_nan[0] == 0.02
    assert math.isnan(with_nan[1])


def test_the_papers_p_values_come_from_nine_degrees_of_freedom():
    # Table II of paper 000 at 75 % sparsity: t 2.27, p .0491 (reading 0.7).
    rng = np.random.default_rng(0)
    noise = rng.normal(size=10)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    gaps = noise + 2.27 / math.sqrt(10)
    found = intervals.compare(by_number(gaps), by_number(np.zeros(10)))
    assert found.t == pytest.approx(2.27)
    assert found.p == pytest.approx(0.0491, abs=5e-4)  # t is rounded.
