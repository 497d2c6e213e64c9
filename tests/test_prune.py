"""A population is pruned by any score; scores that rank nothing are refused by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import lottery
from ltjax.core import masks, pruning
from ltjax.lottery.prune import prune
from ltjax.training import Trainer, population
from tests import toys
from tests.conftest import assert_trees_equal

PLAN = pruning.plan(toys.net().shapes().params, rate=0.5, levels=1)
DATA, TRAINER = lottery.device_data(toys.blobs()), Trainer(toys.net(), toys.recipe())
KEYS = jax.random.split(jax.random.key(3), 2)


def broken(params, probe):
    """NaN where a weight of the head is above a bound that only the second member passes."""
    del probe
    head = params["head"]["kernel"]
    rated = jnp.where(head > 10, jnp.nan, jnp.abs(head))
    return jax.tree.map(jnp.abs, params) | {"head": {**params["head"], "kernel": rated}}


def pruned(score, params):
    """Masks of two members of these parameters."""
    members = toys.members(2)
    share = lottery.Share(members.train_rows, members.validation_rows, None, None)
    return prune(
        members.start._replace(params=params),
        members.mask,
        PLAN.counts[1],
        key=KEYS,
        groups=PLAN.groups,
        score=score,
        trainer=TRAINER,
        batches=(share, DATA, 8),
    )


def with_weight(weight):
    """Parameters of two members, the second of which has one weight of its own."""
    params = dict(toys.members(2).start.params)
    kernel = params["head"]["kernel"].at[1, 0, 0].set(weight)
    return params | {"head": {**params["head"], "kernel": kernel}}


def kept(score, weight):
    mask = pruned(score, with_weight(weight))
    return [masks.count(population.member(mask, i), PLAN.prunable).kept for i in (0, 1)]


def test_scores_that_are_not_finite_are_refused_by_score_layer_and_replicate(monkeypatch):
    monkeypatch.setitem(pruning.SCORES, "broken", broken)
    assert kept("broken", 1.0) == [PLAN.kept(1)] * 2
    with pytest.raises(ValueError, match=r"'broken' .* head/kernel \(replicate 1\)") as caught:
        kept("broken", 11.0)
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_finite_are_a_failed_training_and_stop_no_other():
    assert kept("magnitude", np.nan) == [PLAN.kept(1)] * 2


def test_signed_snip_without_any_gradient_is_refused():
    zeros = jax.tree.map(jnp.zeros_like, toys.members(2).start.params)
    with pytest.raises(ValueError, match="'snip_signed' is not finite in dense_0/kernel"):
        pruned("snip_signed", zeros)


def test_equal_magnitudes_are_drawn_and_each_replicate_draws_its_own():
    ones = jax.tree.map(jnp.ones_like, toys.members(2).start.params)
    first, again = (pruned("magnitude", ones) for _ in range(2))
    assert_trees_equal(first, again)
    kernel = first["dense_0"]["kernel"]
    assert (kernel[0] != kernel[1]).any()
    assert kernel.any(axis=2).mean() > 0.9  # Inputs that keep a weight; half, were it by position.
