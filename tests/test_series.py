"""Series, places and what a line says, on records made by hand."""

import dataclasses

import pytest

from experiments.papers import convergence, densities, results
from experiments.papers.frankle_carbin import PAPER
from experiments.papers.series import Missing, Series, shown
from experiments.papers.statistics import accuracy, by_trial, convergence_step, steps
from experiments.papers.tables import smallest_winning
from experiments.papers.trainings import Retrained, Search
from tests import fakes

HOW = convergence.Settings(window=200, calm=200, change=0.01)
LEVELS = (
    (1.0, (600, 600), 0.9),
    (0.5, (300, 500), 0.92),
    (0.2, (500, 600), 0.9),
    (0.1, (700, 700), 0.88),
    (0.05, (None, None), 0.5),
)
"""Density, steps to convergence by trial, accuracy."""


class Results(fakes.Results):
    """Made-up pieces, whose convergence is read off their curves."""

    converged = results.Results.converged

    def __init__(self):
        super().__init__()
        self._converged = {}


def fields(density, converges, height):
    """Of a training whose mean of two tests is calm from `converges` on, or never where None."""
    end = 10_000 if converges is None else converges
    curve = {s: height - 0.05 * max(0, (end - 100 - s) // 100) for s in range(0, 1001, 100)}
    return {"nominal": density, "curve": curve, "best_step": 1000}


def line_of(*levels, label="tickets"):
    """A series and its results."""
    given = ",".join(f"{density}" for density, *_ in levels[1:])
    search = Search(find=PAPER.make(densities=given, replicates=2).find())
    found = Results()
    found.search(
        search, lambda level, i: fields(levels[level][0], levels[level][1][i], levels[level][2])
    )
    return Series(label=label, trainings=search, criterion=HOW), found


SERIES, RESULTS = line_of(*LEVELS)


def test_points_say_when_they_converge_and_where_the_line_is_cut():
    points = SERIES.points(RESULTS)
    assert [p.nominal for p in points] == [density for density, *_ in LEVELS]
    assert steps(SERIES.dense).by_trial(RESULTS) == {0: 600, 1: 600}
    assert steps(SERIES.at(0.51)).by_trial(RESULTS) == {0: 300, 1: 500}
    assert accuracy(SERIES.at(0.5)).by_trial(RESULTS) == pytest.approx({0: 92, 1: 92})
    assert [shown(SERIES, RESULTS, p) for p in points] == [True, True, True, True, False]
    for place in (SERIES.at(0.05), SERIES.between(0.06, 0.04)):
        with pytest.raises(Missing, match="fewer than half"):
            steps(place).by_trial(RESULTS)
    half, found = line_of(LEVELS[0], (0.5, (700, None), 0.9))
    assert [shown(half, found, p) for p in half.points(found)] == [True, True]
    assert steps(half.at(0.5)).by_trial(found) == {0: 700}


def value(statistic, found=RESULTS):
    return statistic.measure(found).value


def test_what_is_said_of_a_line():
    slower, clearly_less = densities.is_slower, densities.less_accurate(3.0)
    assert value(densities.faster(SERIES, at=0.5)) == pytest.approx(100 * (1 - 400 / 600))
    assert value(densities.slower(SERIES, at=0.1)) == pytest.approx(100 / 6)
    assert value(densities.below(SERIES, at=0.5)) == pytest.approx(-2)
    assert value(densities.fastest(SERIES)) == 50
    assert value(densities.fastest(SERIES, weights=True)) == 800  # Kept, of 1000, by the fake.
    assert value(densities.first(SERIES, slower, printed=5)) == pytest.approx(10)
    assert value(densities.first(SERIES, clearly_less, printed=5)) == pytest.approx(5)
    assert value(densities.holds(SERIES, within=1)) == pytest.approx(20)
    assert value(densities.holds(SERIES, within=50)) == pytest.approx(10)  # The last is cut off.
    assert value(densities.last(SERIES)) == pytest.approx(5)
    assert steps(SERIES.between(1, 0)).by_trial(RESULTS) == {0: 525, 1: 600}
    middle = densities.interpolated(SERIES, steps, 0.1 * 2**0.5)
    assert middle.by_trial(RESULTS) == pytest.approx({0: 600, 1: 650})
    with pytest.raises(Missing, match="no two converged levels"):
        densities.interpolated(SERIES, steps, 0.01).by_trial(RESULTS)
    assert value(densities.trainings_to(0.05, 0.2)) == 14


def test_a_line_that_never_turns_is_an_answer_where_it_goes_down_far_enough():
    short, found = line_of(*LEVELS[:2])
    assert value(densities.first(short, densities.is_slower, printed=60), found) == 0
    with pytest.raises(Missing, match="not worse down to 50, where this run ends"):
        value(densities.first(short, densities.is_slower, printed=40), found)
    del found.pieces[short.search.level(1)]
    for statistic in (densities.last(short), densities.fastest(short)):
        with pytest.raises(Missing, match="not trained in this run"):
            value(statistic, found)


def test_a_trial_wins_down_to_the_density_where_it_is_as_fast_and_as_accurate_as_its_own_dense():
    later, found = line_of(LEVELS[0], (0.5, (700, 500), 0.9), (0.2, (800, 600), 0.9))
    (won,) = smallest_winning(SERIES).make(RESULTS)
    (partly,) = smallest_winning(later).make(found)
    assert [list(fold.parts[0].body[0]) for fold in (won, partly)] == [
        ["tickets", "20", "20"],
        ["tickets", "-", "20"],
    ]


def test_repeats_of_a_control_are_one_trial_and_gains_need_whole_trainings():
    control = Retrained(search=SERIES.search, arm="redrawn", repeats=2)
    series = Series(label="control", trainings=control, criterion=HOW)
    found = Results()
    found.pieces = dict(RESULTS.pieces)
    found.pieces[control.piece] = [
        fakes.record(level=1, replicate=i, repeat=k, **fields(0.5, 300 + 100 * k, 0.9))
        for i in (0, 1)
        for k in (0, 1)
    ]
    assert len(series.line(found)[1].records) == 4
    assert steps(series.at(0.5)).by_trial(found) == {0: 350, 1: 350}
    assert value(densities.gain(series), found) == pytest.approx(0)
    ended = dataclasses.replace(series, trainings=dataclasses.replace(control, stop=HOW))
    found.pieces[ended.trainings.piece] = found.pieces[control.piece]
    with pytest.raises(Missing, match="ended where their convergence was known"):
        value(densities.gain(ended), found)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"validation_accuracy": [0.5] * 11}, {0: 100}),  # Held-out examples judge ...
        ({"validation_accuracy": []}, {0: 700}),  # ... where there are some.
        ({"failed_step": 300}, None),
    ],
)
def test_convergence_is_judged_on_held_out_examples_and_failures_have_none(change, expected):
    record = dataclasses.replace(fakes.record(**fields(1.0, 700, 0.9)), **change)
    found = Results()
    found.pieces = {SERIES.search.dense: [record]}
    (point,) = SERIES.line(found)
    if expected is None:
        assert not shown(SERIES, found, point)
        return
    assert by_trial(SERIES, found, point, convergence_step) == expected
    there = found.converged(record, HOW)
    assert there.accuracy == record.test_accuracy[record.steps.index(expected[0])]
