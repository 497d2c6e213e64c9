"""Convergence by footnote 5 of paper 004, on curves made by hand."""

import numpy as np
import pytest

from experiments.papers.convergence import RULES, Settings, converged, moving_means

# Tests every 100 steps; means of 3 tests that have to stay for 300 steps.
HOW = Settings(window=300, calm=300, change=0.01)


def curve(values, *, every=100):
    return [every * i for i in range(len(values))], list(values)


def test_the_mean_is_that_of_the_last_tests_and_none_before_the_window_is_full():
    steps, values = curve([0.0, 0.3, 0.6, 0.9])
    assert moving_means(steps, values, window=300) == [None, None, pytest.approx(0.3), 0.6]


def test_ten_tests_make_a_full_window_as_the_paper_measures():
    steps, values = curve(np.linspace(0, 1, 15))
    means = moving_means(steps, values, window=1000)
    assert means.index(next(m for m in means if m is not None)) == 9
    assert means[9] == pytest.approx(np.mean(values[:10]))


def test_a_plateau_converges_where_the_mean_first_stays():
    # Means: -, -, .2, .5, .767, .867, .9, .9, .9, .9: from step 600 on all within .01.
    steps, values = curve([0.0, 0.2, 0.4, 0.9, 1.0, 0.7, 1.0, 1.0, 0.7, 1.0])
    found = converged(steps, values, settings=HOW)
    assert found.step == 600
    assert found.accuracy == 1.0  # The raw test there ...
    assert found.mean == pytest.approx(0.9)  # ... and the mean.
    assert found.gain == pytest.approx(0.0)
    assert not found.near_chance


@pytest.mark.parametrize("rule", RULES)
def test_a_curve_that_goes_on_rising_never_converges(rule):
    steps, values = curve(np.linspace(0.1, 0.9, 30))
    found = converged(
        steps, values, settings=Settings(window=300, calm=300, change=0.01, rule=rule)
    )
    assert found.step is None
    assert found.accuracy is None
    assert found.gain is None


def test_a_curve_that_is_flat_from_the_start_converges_with_the_first_full_window():
    steps, values = curve([0.97] * 12)
    assert converged(steps, values, settings=HOW).step == 200


def test_what_is_stuck_at_chance_is_flagged_and_a_floor_refuses_it():
    steps, values = curve([0.1] * 12)
    found = converged(steps, values, settings=HOW, classes=10)
    assert found.step == 200
    assert found.near_chance
    assert not converged(steps, [0.3] * 12, settings=HOW, classes=10).near_chance
    assert converged(steps, [0.3] * 12, settings=HOW, classes=4).near_chance
    high = Settings(window=300, calm=300, change=0.01, floor=0.5)
    assert converged(steps, values, settings=high).step is None


def test_an_early_plateau_counts_unless_the_floor_is_above_it():
    steps, values = curve([0.3] * 8 + [0.9] * 10)
    assert converged(steps, values, settings=HOW).step == 200
    high = Settings(window=300, calm=300, change=0.01, floor=0.5)
    assert converged(steps, values, settings=high).step == 1000


def test_the_calm_time_has_to_lie_inside_the_curve():
    steps, values = curve([0.0, 0.0, 0.0, 0.9, 0.9, 0.9, 0.9, 0.9])  # Ends 200 after the mean.
    assert converged(steps, values, settings=HOW).step is None
    steps, values = curve([0.0, 0.0, 0.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9])
    assert converged(steps, values, settings=HOW).step == 500


@pytest.mark.parametrize("hole", [3, 5])
def test_a_window_with_a_missing_evaluation_is_not_judged(hole):
    steps, values = curve([0.5] * 12)
    whole = converged(steps, values, settings=HOW)
    assert whole.step == 200
    holed = [None if i == hole else v for i, v in enumerate(values)]
    # No calm time may touch the three windows that the hole lies in.
    assert converged(steps, holed, settings=HOW).step == 100 * (hole + 3)
    del steps[hole], values[hole]
    assert converged(steps, values, settings=HOW).step == 100 * (hole + 3)


def test_an_extra_evaluation_takes_part_and_shifts_nothing():
    steps, values = curve([0.5] * 12)
    steps.insert(4, 350)
    values.insert(4, 0.5)
    assert converged(steps, values, settings=HOW).step == 200


def test_the_gain_is_what_the_last_test_adds():
    steps, values = curve([0.9] * 8 + [0.95])
    assert converged(steps, values, settings=HOW).gain == pytest.approx(0.05)


def test_the_rules_are_of_rising_looseness_on_a_slow_climb():
    # The mean climbs by .004 a test: a range of .012 over three, .008 from the first over two.
    steps, values = curve(np.arange(20) * 0.004)
    for rule, calm, expected in (
        ("range", 300, None),
        ("step", 300, 200),
        ("start", 200, 200),
        ("start", 300, None),
    ):
        how = Settings(window=300, calm=calm, change=0.01, rule=rule)
        assert converged(steps, values, settings=how).step == expected, (rule, calm)


@pytest.mark.parametrize(
    ("steps", "values", "words"),
    [
        ([0, 100, 100], [0.1, 0.2, 0.3], "must rise"),
        ([0, 100], [0.1], "2 steps and 1 accuracies"),
    ],
)
def test_curves_that_are_none_are_refused(steps, values, words):
    with pytest.raises(ValueError, match=words):
        converged(steps, values)


@pytest.mark.parametrize(
    "settings", [{"window": 0}, {"calm": -1}, {"change": 0.0}, {"rule": "rangr"}]
)
def test_settings_that_judge_nothing_are_refused(settings):
    with pytest.raises(ValueError, match=r"at least 1|range"):
        Settings(**settings)


def test_an_empty_or_single_test_does_not_converge():
    assert converged([], []).step is None
    assert converged([0], [0.5]).step is None


@pytest.mark.parametrize("rule", RULES)
def test_a_change_by_exactly_the_limit_is_no_calm(rule):
    how = Settings(window=100, calm=200, change=0.002, rule=rule)
    for low in (0.9, 0.9648, 0.9651):  # Sums that are rounded up, and down.
        values = [low, low + 0.002] * 6
        assert converged(*curve(values), settings=how).step is None
        assert converged(*curve([low, low + 0.0019] * 6), settings=how).step == 0
