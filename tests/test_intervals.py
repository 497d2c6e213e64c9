"""Intervals: what they cover, and what has none."""

import math

import numpy as np
import pytest

from ltjax import intervals


def test_faster_is_one_minus_the_ratio_of_the_means():
    ours, theirs = {0: 50.0, 1: 70.0}, {0: 100.0, 1: 100.0}
    found = intervals.reduction(ours, theirs)
    assert found.value == pytest.approx(0.4)
    assert found.low == pytest.approx(0.3)
    assert found.high == pytest.approx(0.5)
    assert found.n == 2
    assert intervals.ratio(ours, theirs).value == pytest.approx(0.6)


def test_differences_are_paired_by_trial():
    ours = {0: 1.0, 1: 10.0, 2: 100.0, 7: 5.0}
    theirs = {2: 99.0, 1: 9.0, 0: 0.0, 8: 1.0}  # Trials that only one has are left out.
    found = intervals.difference(ours, theirs)
    assert found == pytest.approx((1.0, 1.0, 1.0, 3))


def test_one_trial_has_a_value_and_no_interval_and_none_has_nothing():
    found = intervals.mean({3: 2.0})
    assert found.value == 2.0
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert intervals.mean({}) is None
    assert intervals.difference({0: 1.0}, {1: 1.0}) is None


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(60):
        found = intervals.mean(dict(enumerate(rng.normal(0, 1, 30))))
        hits += found.low <= 0 <= found.high
    assert 51 <= hits <= 60


def test_the_same_numbers_give_the_same_interval():
    values = {0: 1.0, 1: 3.0, 2: 2.0}
    assert intervals.mean(values) == intervals.mean(values)


def test_percentages():
    found = intervals.proportion(985, 1000)
    assert found.value == 0.985
    assert found.low == pytest.approx(0.9754, abs=2e-4)  # Wilson, by hand.
    assert found.high == pytest.approx(0.9909, abs=2e-4)
    assert intervals.proportion(1000, 1000).high == pytest.approx(1.0)
    assert intervals.proportions_differ(0.5, 1000, 0.5, 1000) == 0
    assert intervals.proportions_differ(1.0, 10, 1.0, 10) == 0
    assert intervals.proportions_differ(0.55, 1000, 0.5, 1000) == pytest.approx(2.24, abs=0.01)
