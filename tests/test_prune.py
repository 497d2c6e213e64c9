"""A population is pruned by any score; scores that rank nothing are refused by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import lottery
from ltjax.core import masks, pruning
from ltjax.lottery.prune import pruner
from ltjax.training import population
from tests import toys

PLAN = pruning.plan(toys.net().shapes().params, rate=0.5, levels=1)
DATA = lottery.device_data(toys.blobs())
HOW = toys.recipe()
KEYS = jax.random.split(jax.random.key(3), 2)


def broken(params, probe):
    """NaN where a weight of the head is above a bound that only the second member passes."""
    del probe
    head = params["head"]["kernel"]
    rated = jnp.where(head > 10, jnp.nan, jnp.abs(head))
    return jax.tree.map(jnp.abs, params) | {"head": {**params["head"], "kernel": rated}}


def prune(score, *, weight=None):
    """Masks of two members, the second of which has one weight of its own."""
    members = toys.members(2)
    if weight is not None:
        params = dict(members.start.params)
        kernel = params["head"]["kernel"].at[1, 0, 0].set(weight)
        params["head"] = {**params["head"], "kernel": kernel}
        members = members._replace(start=members.start._replace(params=params))
    return pruner(score, HOW, 8, PLAN.groups)(members, DATA, KEYS, PLAN.counts[1])


def kept(mask):
    return [masks.count(population.member(mask, i), PLAN.prunable).kept for i in (0, 1)]


def test_scores_that_are_not_finite_are_refused_by_score_layer_and_replicate(monkeypatch):
    monkeypatch.setitem(pruning.SCORES, "broken", broken)
    assert kept(prune("broken")) == [PLAN.kept(1)] * 2
    with pytest.raises(ValueError, match=r"'broken' .* head/kernel \(replicate 1\)") as caught:
        prune("broken", weight=11.0)
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_finite_are_a_failed_training_and_stop_no_other():
    assert kept(prune("magnitude", weight=np.nan)) == [PLAN.kept(1)] * 2


def test_signed_snip_without_any_gradient_is_refused():
    members = toys.members(1)
    zeros = jax.tree.map(jnp.zeros_like, members.start.params)
    members = members._replace(start=members.start._replace(params=zeros))
    cut = pruner("snip_signed", HOW, 8, PLAN.groups)
    with pytest.raises(ValueError, match="'snip_signed' is not finite in dense_0/kernel"):
        cut(members, DATA, KEYS[:1], PLAN.counts[1])


def test_equal_magnitudes_are_drawn_and_each_replicate_draws_its_own():
    members = toys.members(2)
    ones = jax.tree.map(jnp.ones_like, members.start.params)
    members = members._replace(start=members.start._replace(params=ones))
    cut = pruner("magnitude", HOW, 8, PLAN.groups)
    first, again = (cut(members, DATA, KEYS, PLAN.counts[1]) for _ in range(2))
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    kernel = np.asarray(first["dense_0"]["kernel"])
    assert (kernel[0] != kernel[1]).any()
    assert kernel.any(axis=2).mean() > 0.9  # Inputs that keep a weight; half, were it by position.
