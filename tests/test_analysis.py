"""Summaries against means worked out by hand; the winning rule on cases that could go wrong."""

import dataclasses
import math

import pytest

from ltjax.statistics import analysis, intervals
from ltjax.training.records import Record


def record(accuracy=0.9, best_step=100, **changes):
    """A record of a network of 1000 prunable weights; `accuracy=None` is a failed training."""
    level = changes.get("level", 0)
    kept = changes.get("kept", round(1000 * 0.8**level))
    failed = accuracy is None
    fields = {
        "phase": "target",
        "arm": "theta_0",
        "level": level,
        "replicate": 0,
        "nominal": 0.8**level,
        "density": kept / 1000,
        "kept": kept,
        "prunable": 1000,
        "total": 1010,
        "kernels": 1000,
        "dense": {},
        "layers": {"dense_0/kernel": (kept - 90, 900), "head/kernel": (90, 100)},
        "steps": [0, 50] if failed else [0, 50, 100],
        "train_loss": [None, None] if failed else [None, 0.5, 0.4],
        "validation_accuracy": [],
        "validation_loss": [],
        # 0.0002: one of 5000 test examples.
        "test_accuracy": [0.1, 0.1] if failed else [0.1, 0.1002, accuracy],
        "test_loss": [2.3, None] if failed else [2.3, 0.6, 0.5],
        "judged_on": "last",
        "best_step": -1 if failed else best_step,
        "accuracy": 0.0 if failed else accuracy,
        "final_accuracy": 0.1 if failed else accuracy - 0.01,
        "failed_step": 40 if failed else None,
    }
    return Record(**{**fields, **changes})


def arm(accuracies, best_steps=None, **changes):
    """One record a replicate."""
    best_steps = best_steps or [100] * len(accuracies)
    return [
        record(a, s, replicate=i, **changes)
        for i, (a, s) in enumerate(zip(accuracies, best_steps, strict=True))
    ]


def test_means_and_deviations_are_those_worked_out_by_hand():
    found = arm([0.90, 0.92, 0.94], [100, 200, 600], level=1, kept=803)
    (row,) = analysis.summarize(found)
    assert analysis.summarize(found[::-1]) == [row]  # To the last bit.
    assert row.accuracy == pytest.approx(0.92)
    assert row.accuracy_sd == pytest.approx(0.02)  # sqrt((0.02^2 + 0 + 0.02^2) / (3 - 1))
    assert row.final_accuracy == pytest.approx(0.91)
    assert row.final_accuracy_sd == pytest.approx(0.02)
    assert row.best_step == 300
    assert row.best_step_sd == pytest.approx(math.sqrt((200**2 + 100**2 + 300**2) / 2))
    assert (row.n, row.failed) == (3, 0)
    assert (row.kept, row.prunable, row.total) == (803, 1000, 1010)
    assert (row.nominal, row.density) == (0.8, 0.803)  # Asked for, and counted.
    assert row.layer_densities == {"dense_0/kernel": 713 / 900, "head/kernel": 0.9}
    assert row.judged_on == ("last",)
    (alone,) = analysis.summarize(arm([0.9], judged_on="test"))
    assert (alone.accuracy, alone.judged_on) == (0.9, ("test",))
    assert math.isnan(alone.accuracy_sd)
    assert math.isnan(alone.best_step_sd)


def test_failed_replicates_are_counted_and_left_out():
    rows = analysis.summarize(arm([0.90, None, 0.94]) + arm([None, None], level=1))
    assert [(r.n, r.failed) for r in rows] == [(2, 1), (0, 2)]
    assert rows[0].accuracy == pytest.approx(0.92)
    assert rows[0].best_step == 100
    assert math.isnan(rows[1].accuracy)
    assert rows[1].kept == 800
    assert analysis.failures(arm([0.9, None], level=2)) == [
        "target, theta_0, replicate 1, level 2: loss not finite at step 40"
    ]


def test_rows_come_in_order_of_display_whatever_the_order_of_records():
    found = [
        record(arm="shuffled_mask", level=1),
        record(arm="redrawn"),
        record(arm="theta_k"),
        record(level=2),
        record(level=0),
        record(phase="source", arm="ticket"),
    ]
    rows = analysis.summarize(found)
    assert [(r.phase, r.arm, r.level) for r in rows] == [
        ("source", "ticket", 0),
        ("target", "theta_0", 0),
        ("target", "theta_0", 2),
        ("target", "theta_k", 0),
        ("target", "redrawn", 0),  # Has a dense network of its own; the others as they come.
        ("target", "shuffled_mask", 1),
    ]
    starts = ["ticket", "theta_0", "theta_k"]
    assert analysis.starts_and_controls(found) == (starts, ["redrawn", "shuffled_mask"])


def test_two_records_of_one_training_are_refused():
    with pytest.raises(ValueError, match=r"replicate 0 of 'theta_0' \(target\) has two records"):
        analysis.summarize([record(0.9), record(0.8)])


# By name: accuracies and best steps of the dense network, of the level, and whether it wins.
WINS = {
    "better, as fast": ([0.9], [100], [0.91], [100], True),
    "better, faster": ([0.9], [100], [0.91], [90], True),
    "equal in both": ([0.9], [100], [0.9], [100], True),
    "equal, slower": ([0.9], [100], [0.9], [101], False),
    "better, slower": ([0.9], [100], [0.95], [101], False),
    "worse, faster": ([0.9], [100], [0.8999], [50], False),
    # 0.87 twice, and 0.868 and 0.872, in float32: the same mean but for the last bit.
    "rounding": (
        [0.8700000047683716] * 2,
        [9, 9],
        [0.8679999709129, 0.8719999790191],
        [9, 9],
        True,
    ),
    "means, not members": ([0.9, 0.9], [100, 300], [0.85, 0.97], [350, 50], True),
    "dense failed once": ([0.9, None], [100, 1], [0.91, 0.91], [100, 100], True),
    "ticket failed once": ([0.9, 0.9], [100, 100], [None, 0.91], [1, 100], False),
    "ticket failed always": ([0.9, 0.9], [100, 100], [None, None], [1, 1], False),
    "a lineage failed": ([0.9, None], [100, 1], [0.91, None], [100, 1], False),
    # The mean is that of the dense network only with the pair that has no dense network.
    "pairs, not all": ([0.9, None], [100, 1], [0.89, 0.99], [100, 100], False),
    "steps of pairs": ([0.9, None], [100, 1], [0.91, 0.91], [100, 500], True),
    "ticket failed": ([0.9], [100], [None], [1], False),
}


@pytest.mark.parametrize("case", WINS)
def test_a_ticket_wins_by_mean_accuracy_and_mean_steps(case):
    *given, wins = WINS[case]
    rows = analysis.summarize(arm(*given[:2]) + arm(*given[2:], level=3))
    (verdict,) = analysis.winning(rows, "theta_0")
    assert verdict.wins == wins
    assert (verdict.row.level, verdict.against.level) == (3, 0)


def test_each_start_point_is_held_against_its_own_dense_network():
    found = [
        record(0.80, arm="theta_0"),
        record(0.85, arm="theta_0", level=1),
        record(0.90, arm="theta_k"),
        record(0.85, arm="theta_k", level=1),
        record(0.95, phase="source", arm="ticket"),
        record(0.96, phase="source", arm="ticket", level=1),
    ]
    rows = analysis.summarize(found)
    won = {name: [v.wins for v in analysis.winning(rows, name)] for name in analysis.arms(rows)}
    assert won == {"ticket": [True], "theta_0": [True], "theta_k": [False]}


@pytest.mark.parametrize("dense", [[], arm([None, None])], ids=["absent", "failed"])
def test_without_a_dense_network_there_is_no_verdict(dense):
    rows = analysis.summarize(dense + arm([0.9, 0.9], level=1))
    assert analysis.winning(rows, "theta_0") == []


def test_unknown_and_ambiguous_arms_are_refused():
    rows = analysis.summarize([record(), record(phase="source")])
    with pytest.raises(ValueError, match="no arm 'theta_1'; did you mean theta_0"):
        analysis.winning(rows, "theta_1")
    with pytest.raises(ValueError, match="give the rows of one"):
        analysis.winning(rows, "theta_0")
    assert analysis.winning(rows[:1], "theta_0") == []


def test_the_interval_is_that_of_students_t_over_pairs():
    rows = analysis.summarize(arm([0.80, 0.81, 0.82, 0.5]) + arm([0.83, 0.82, 0.84, None], level=1))
    (verdict,) = analysis.winning(rows, "theta_0")
    found = verdict.gain
    # Gains 3, 1 and 2 points (2 each, were they paired by rank): sd 1, and t(0.975, 2) is 4.30265.
    assert found is not None
    assert found.n == verdict.pairs == 3
    assert found.value == pytest.approx(0.02)
    assert found.high - found.value == pytest.approx(0.01 * 4.30265 / math.sqrt(3), rel=1e-5)
    assert found.value - found.low == pytest.approx(found.high - found.value)


FIVE = [0.90, 0.91, 0.92, 0.90, 0.91]


# By name: accuracies of the dense network and of the level, the verdict, and how many pairs were
# lost, tied and won by a failure.
VERDICTS = {
    "above": (FIVE, [0.93, 0.93, 0.94, 0.93, 0.93], "wins", (0, 0, 0)),
    "below": (FIVE, [0.89, 0.90, 0.90, 0.89, 0.90], "loses", (0, 0, 0)),
    "around": (FIVE, [0.91, 0.90, 0.92, 0.91, 0.90], "matches", (0, 0, 0)),
    "wide": (FIVE, [0.99, 0.60, 0.99, 0.60, 0.99], "matches", (0, 0, 0)),
    "equal": (FIVE, FIVE, "matches", (0, 0, 0)),
    "equal floats": ([0.87000000476837] * 2, [0.87] * 2, "matches", (0, 0, 0)),
    "one pair": (FIVE[:1], [0.99], "", (0, 0, 0)),
    "one failed": (FIVE, [None, 0.93, 0.94, 0.93, 0.93], "loses", (1, 0, 0)),
    "four failed": (FIVE, [None, None, None, None, 0.90], "loses", (4, 0, 0)),
    "all failed": (FIVE, [None] * 5, "loses", (5, 0, 0)),
    "dense failed": ([0.90, 0.91, None], [0.93, 0.939, 0.94], "wins", (0, 0, 1)),
    "both failed": ([0.90, 0.91, None], [0.93, 0.939, None], "matches", (0, 1, 0)),
    "both, below": ([0.90, 0.91, None], [0.8, 0.81, None], "loses", (0, 1, 0)),
    "one pair is left": ([0.90, None], [0.93, 0.94], "", (0, 0, 1)),
}


@pytest.mark.parametrize("case", VERDICTS)
def test_the_verdict_is_that_of_the_pairs_and_a_failure_is_a_loss(case):
    dense, pruned, word, decided = VERDICTS[case]
    dense_rows = arm(dense) + arm(pruned, level=1)
    (verdict,) = analysis.winning(analysis.summarize(dense_rows), "theta_0")
    assert verdict.word == word
    assert (verdict.lost, verdict.tied, verdict.won) == decided
    # A control at the same level is met in the same way, the ticket's side being judged.
    controls = arm(dense, arm="redrawn", level=1) + arm(pruned, level=1)
    (held,) = analysis.versus(analysis.summarize(controls), "theta_0", "redrawn")
    assert (held.word, held.gain, held.against.arm) == (word, verdict.gain, "redrawn")
    assert (held.lost, held.tied, held.won) == decided


def test_equal_gains_of_few_test_examples_are_no_certainty():
    """One example of 360 more, twice, with no spread: that may be rounding; 20 more are not."""
    for more, word in ((1, "matches"), (20, "wins")):
        curves = [[36, 300, 301, 324], [36, 310, 330], *([36, n + more] for n in (324, 330))]
        found = [
            record(c[-1] / 360, level=i // 2, replicate=i % 2, test_accuracy=[n / 360 for n in c])
            for i, c in enumerate(curves)
        ]
        one = [dataclasses.replace(r, steps=[0], test_accuracy=[300 / 360]) for r in found]
        one = [dataclasses.replace(r, accuracy=(300 + more * (r.level > 0)) / 360) for r in one]
        (verdict,) = analysis.winning(analysis.summarize(one), "theta_0")
        assert verdict.word == "matches"  # One evaluation: nothing tells how fine they are.
        (verdict,) = analysis.winning(analysis.summarize(found), "theta_0")
        assert (verdict.wins, verdict.word) == (True, word)
        assert verdict.gain is not None
        assert verdict.gain.low < verdict.gain.value == pytest.approx(more / 360, abs=1e-6)


def test_draws_of_a_control_are_averaged_before_it_is_paired():
    def draws(repeat, accuracies):
        return arm(accuracies, arm="redrawn", level=1, repeat=repeat)

    found = [*draws(0, [0.80, 0.86]), *draws(1, [0.84, 0.82])]
    rows = analysis.summarize([*arm([0.83, 0.86], level=1), *found])
    (held,) = analysis.versus(rows, "theta_0", "redrawn")
    assert held.pairs == 2
    expected = intervals.difference({0: 0.83, 1: 0.86}, {0: 0.82, 1: 0.84})
    assert held.gain == pytest.approx(expected)
    # One failed draw: an opponent is the mean of its others, and is itself lost where judged.
    rows = analysis.summarize([*arm([0.83, 0.86], level=1), *draws(0, [None, 0.84]), *found[2:]])
    (held,) = analysis.versus(rows, "theta_0", "redrawn")
    assert (held.lost, held.won, held.pairs) == (0, 0, 2)
    (held,) = analysis.versus(rows, "redrawn", "theta_0")
    assert (held.word, held.lost, held.pairs) == ("loses", 1, 1)


def test_arms_are_met_at_the_pruned_levels_that_both_have():
    found = [*arm([0.9]), *arm([0.9], level=1), *arm([0.9], level=2)]
    found += [*arm([0.9], arm="redrawn"), *arm([0.9], arm="redrawn", level=2)]
    rows = analysis.summarize(found)
    assert [v.row.level for v in analysis.versus(rows, "theta_0", "redrawn")] == [2]
    with pytest.raises(ValueError, match="no arm 'redrawm'; did you mean redrawn"):
        analysis.versus(rows, "theta_0", "redrawm")


def test_the_mean_curve_is_over_those_that_still_run():
    early = dataclasses.replace(record(0.5), steps=[0, 50], test_accuracy=[0.2, 0.5])
    late = dataclasses.replace(record(0.9), test_accuracy=[0.1, 0.7, 0.9])
    steps, accuracies = analysis.mean_curve([early, late, record(None)])
    assert steps == [0, 50, 100]
    assert accuracies == pytest.approx([0.15, 0.6, 0.9])


def test_layers_that_keep_nothing_are_named():
    whole = record(level=1)
    cut = [
        record(level=2, replicate=i, layers={"dense_0/kernel": (9, 900), "head/kernel": (0, 100)})
        for i in (0, 1)
    ]
    assert analysis.cut_layers([whole]) == []
    (sentence,) = analysis.cut_layers([whole, *cut, record(level=2, replicate=2)])
    assert "theta_0, level 2: no weight is kept in head/kernel (2 of 3 trainings)" in sentence
    assert analysis.summarize([whole, *cut])[1].cut == {"head/kernel": 2}
