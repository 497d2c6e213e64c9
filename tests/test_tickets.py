"""The lottery loop: what every round begins with, is pruned from and goes back to."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.core import masks, trees
from ltjax.core.types import Variables
from ltjax.lottery import ticket as tickets
from ltjax.lottery.ticket import RESETS, Start, Ticket
from tests.conftest import assert_trees_equal, small_params

STEPS, K = 10, 4
PARAMS = small_params()
KINDS = trees.kinds(PARAMS)
SWITCH_OF = {"bias": "biases", "norm": "norm"}


def filled(value):
    """Variables that say where they come from."""
    params = jax.tree.map(lambda leaf: jnp.full_like(leaf, value), PARAMS)
    return Variables(params, {"norm_0": {"mean": jnp.full(4, value)}})


class Outcome:
    """Training number n ends at the value 100 + n, and passes 50 at step k."""

    def __init__(self, number, failed_step=None):
        self.variables = filled(100.0 + number)
        self.snapshot = filled(50.0) if number == 0 else Variables({}, {})
        self.opt_state = {"momentum": jnp.full(3, 100.0 + number)}
        self.failed_step = failed_step


THETA_0 = filled(0.0)


def search(*, levels=3, one_shot=False, failing=lambda number, before: before, **rewinding):
    """A search whose `train` and `prune` only write down what they are given."""
    trained, pruned = [], []

    def train(number, start, mask):
        trained.append((number, start, mask))
        return Outcome(number, failing(number, start.failed_step))

    def prune(number, level):
        pruned.append((number, level.number))
        return jax.tree.map(
            lambda m: m & (jnp.arange(m.size).reshape(m.shape) >= number), level.mask
        )

    rewind = tickets.rewinder(**{"point": 0, "kind_of": KINDS, "steps": STEPS, **rewinding})
    start = Start(THETA_0, None, 0, 0, 0)
    found = list(
        tickets.search(
            start,
            masks.dense(PARAMS),
            train,
            prune,
            rewind,
            levels=levels,
            one_shot=one_shot,
        )
    )
    return found, trained, pruned


def test_every_level_begins_with_the_same_values_and_its_own_mask():
    found, trained, _ = search()
    assert [number for number, _, _ in trained] == [0, 1, 2, 3]
    assert trained[0][1].variables is THETA_0
    for level, (_, start, mask) in zip(found, trained, strict=True):
        assert level.start is start
        assert level.mask is mask
    for _, start, _ in trained[1:]:
        same = zip(*map(jax.tree.leaves, (start.variables, THETA_0)), strict=True)
        assert all(a is b for a, b in same)  # Not the snapshot, which may be a later theta_k.
        assert start[1:] == (None, 0, 0, 0, None)
    kept = [int(level.mask["dense_0"]["kernel"].sum()) for level in found]
    assert all(a > b for a, b in itertools.pairwise(kept))


@pytest.mark.parametrize("one_shot", [False, True])
def test_who_comes_from_a_failed_level_has_failed(one_shot):
    def failing(number, before):
        """Replicate 1 fails at level 1, at step 7."""
        return np.array([-1, 7]) if number == 1 else before

    _, trained, _ = search(one_shot=one_shot, failing=failing)
    told = [start.failed_step for _, start, _ in trained]
    assert [None if t is None else t.tolist() for t in told] == (
        [None] * 4 if one_shot else [None, None, [-1, 7], [-1, 7]]
    )


def test_the_loop_waits_for_its_caller():
    calls = []

    def train(number, start, mask):
        calls.append(number)
        return Outcome(number)

    rewind = tickets.rewinder(point=0, kind_of=KINDS, steps=STEPS)
    mask = masks.dense(PARAMS)
    levels = tickets.search(
        Start(THETA_0, None, 0, 0, 0), mask, train, lambda n, v: v.mask, rewind, levels=5
    )
    assert calls == []
    _ = next(levels), next(levels)
    assert calls == [0, 1]


def test_late_rewinding_begins_at_step_k_with_theta_k():
    _, trained, _ = search(point=K)
    assert trained[0][1].first == 0
    for _, start, _ in trained[1:]:
        assert start.first == K
        assert start.schedule_offset == 0
        assert_trees_equal(start.variables, filled(50.0))


def test_rewinding_to_the_end_goes_back_to_the_trained_dense_network_for_a_full_training():
    _, trained, _ = search(point="end")
    for _, start, _ in trained[1:]:
        assert start.first == 0
        assert_trees_equal(start.variables, filled(100.0))


@pytest.mark.parametrize("one_shot", [False, True])
def test_one_shot_comes_from_level_0_each_time(one_shot):
    found, trained, pruned = search(one_shot=one_shot, reset=())
    before = [0, 0, 0] if one_shot else [0, 1, 2]
    assert pruned == list(zip([1, 2, 3], before, strict=True))
    for (_, start, _), number in zip(trained[1:], before, strict=True):
        assert_trees_equal(start.variables, found[number].trained.variables)
        assert start.opt_state is found[number].trained.opt_state


def what_was_reset(start, number):
    """The switches whose part of `start` stands at the rewind point, and those gone on."""
    then, now = 50.0, 100.0 + number - 1
    parts = {}
    for name, leaf in zip(
        trees.names(start.variables.params), jax.tree.leaves(start.variables.params), strict=True
    ):
        parts.setdefault(SWITCH_OF.get(KINDS[name], "weights"), []).append(np.unique(leaf))
    parts["statistics"] = [np.unique(start.variables.stats["norm_0"]["mean"])]
    found = {}
    for switch, values in parts.items():
        (value,) = np.unique(np.concatenate(values))
        assert value in (then, now)
        found[switch] = value == then
    found["optimizer"] = start.opt_state is None
    found["order"] = start.order == 0
    found["schedule"] = start.schedule_offset == 0
    return {switch for switch, was in found.items() if was}


@pytest.mark.parametrize("switch", RESETS)
@pytest.mark.parametrize("alone", [False, True])
def test_each_switch_resets_its_part_and_no_other(switch, alone):
    reset = {switch} if alone else set(RESETS) - {switch}
    _, trained, _ = search(point=K, reset=reset)
    for number, start, _ in trained[1:]:
        assert what_was_reset(start, number) == reset


def test_nothing_reset_goes_on_where_the_round_before_ended():
    found, trained, _ = search(point=K, reset=())
    for number, start, _ in trained[1:]:
        before = found[number - 1].trained
        assert_trees_equal(start.variables, before.variables)
        assert start.opt_state is before.opt_state
        assert start.first == 0
        assert start.order == number
        assert start.schedule_offset == number * STEPS


@pytest.mark.parametrize("point", [0, K, "end"])
def test_a_schedule_that_is_not_reset_goes_on_without_a_gap(point):
    _, trained, _ = search(point=point, reset=set(RESETS) - {"schedule"})
    ends = 0
    for _, start, _ in trained:
        assert start.first + start.schedule_offset == ends
        ends = start.schedule_offset + STEPS


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reset": ["wieghts"]}, "no part to reset 'wieghts'; did you mean weights"),
        ({"reset": ["weights", "all"]}, "no part to reset 'all'; .*there are: biases"),
        ({"point": -1}, r"step in 0\.\.10 or 'end'; got -1"),
        ({"point": 11}, r"step in 0\.\.10 or 'end'; got 11"),
        ({"point": "ende"}, r"step in 0\.\.10 or 'end'; got 'ende'"),
    ],
)
def test_what_cannot_be_rewound_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        tickets.rewinder(**{"point": 0, "kind_of": KINDS, "steps": STEPS, **settings})


def test_a_ticket_survives_being_a_tree():
    ticket = Ticket(
        mask=masks.dense(PARAMS),
        theta_0=filled(0.0),
        theta_k=filled(1.0),
        theta_S=filled(2.0),
        prunable=("head/kernel",),
        meta={"level": 3},
    )
    again = tickets.from_tree(tickets.as_tree(ticket), prunable=ticket.prunable, meta=ticket.meta)
    assert_trees_equal(tickets.as_tree(again), tickets.as_tree(ticket))
    assert (again.prunable, again.meta) == (ticket.prunable, ticket.meta)
