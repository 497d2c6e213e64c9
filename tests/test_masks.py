"""A mask keeps what it says, whatever the optimizer does, and each permutation what it keeps."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

from ltjax import masks, optimizers, trees
from tests.conftest import assert_trees_equal, small_params, trees_differ

PRUNABLE = ("conv_0/kernel", "dense_0/kernel", "dense_1/kernel", "head/kernel")


def random_mask(params, seed=1):
    rng = np.random.default_rng(seed)
    return trees.map_with_name(
        lambda n, p: jnp.asarray(
            rng.random(p.shape) < 0.4 if n in PRUNABLE else np.ones(p.shape, bool)
        ),
        params,
    )


def test_apply_gives_plus_zero_even_where_the_weight_is_not_finite():
    params = {"w": jnp.array([-1.0, jnp.nan, jnp.inf, -2.0])}
    out = masks.apply(params, {"w": jnp.array([False, False, False, True])})["w"]
    np.testing.assert_array_equal(out, [0, 0, 0, -2])
    assert not np.signbit(out[0])


@pytest.mark.parametrize("decay", optimizers.DECAYS)
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_pruned_weights_stay_exactly_zero_under_every_optimizer(name, nesterov, decay):
    params = small_params()
    mask = random_mask(params)
    optimizer = masks.sparse(
        optimizers.make(name, momentum=0.9, nesterov=nesterov, weight_decay=0.1, decay=decay), mask
    )
    params = masks.apply(params, mask)
    state = optimizer.init(params)
    grad = jax.grad(lambda p: sum(jnp.sum((w - 1.3) ** 2) for w in jax.tree.leaves(p)))
    for _ in range(20):
        updates, state = optimizer.update(grad(params), state, params)
        params = optax.apply_updates(params, updates)
    for p, m in zip(jax.tree.leaves(params), jax.tree.leaves(mask), strict=True):
        assert bool((p[~m] == 0).all())
        assert bool((p[m] != 0).all())


def test_hold_refuses_a_mask_of_another_network():
    params = small_params()
    mask = masks.dense(params)
    mask["head"]["kernel"] = mask["head"]["kernel"][:, :2]
    with pytest.raises(ValueError, match=r"leaf 'head/kernel' is bool\[10, 2\] in the mask"):
        masks.sparse(optax.sgd(0.1), mask).init(params)


def test_count_is_over_the_prunable_leaves():
    params = small_params()
    mask = random_mask(params)
    counted = masks.count(mask, PRUNABLE)
    flat = np.concatenate([np.ravel(mask[n.split("/")[0]]["kernel"]) for n in PRUNABLE])
    assert (counted.kept, counted.prunable) == (flat.sum(), flat.size)
    assert counted.total == sum(p.size for p in jax.tree.leaves(params))
    assert counted.layers["head/kernel"] == (int(mask["head"]["kernel"].sum()), 30)
    assert counted.density == flat.sum() / flat.size


def test_complement_keeps_exactly_the_rest_and_leaves_biases_alone():
    params = small_params()
    mask = random_mask(params)
    other = masks.complement(mask, PRUNABLE)
    a, b = masks.count(mask, PRUNABLE), masks.count(other, PRUNABLE)
    assert a.kept + b.kept == a.prunable
    assert masks.count(masks.intersect(mask, other), PRUNABLE).kept == 0
    assert bool(other["dense_0"]["bias"].all())
    assert_trees_equal(masks.complement(other, PRUNABLE), mask)


def test_permute_within_keeps_each_layers_density_and_moves_equal_layers_apart(key):
    params = small_params()
    mask = random_mask(params)
    mask["dense_1"]["kernel"] = mask["dense_0"]["kernel"]
    moved = masks.permute_within(key, mask, PRUNABLE)
    assert masks.count(moved, PRUNABLE) == masks.count(mask, PRUNABLE)
    for name in PRUNABLE:
        module = name.split("/")[0]
        assert trees_differ(moved[module]["kernel"], mask[module]["kernel"]), name
    assert trees_differ(moved["dense_0"]["kernel"], moved["dense_1"]["kernel"])
    assert_trees_equal(moved["dense_0"]["bias"], mask["dense_0"]["bias"])


def test_permute_within_moves_pairs_together(key):
    params = small_params()
    mask = random_mask(params)
    values = masks.permute_within(key, masks.apply(params, mask), PRUNABLE)
    moved = masks.permute_within(key, mask, PRUNABLE)
    for v, m in zip(jax.tree.leaves(values), jax.tree.leaves(moved), strict=True):
        np.testing.assert_array_equal(np.asarray(v != 0), np.asarray(m))


def test_permute_across_keeps_the_total_and_evens_out_the_layers(key):
    params = {"a": {"kernel": jnp.ones((40, 50))}, "b": {"kernel": jnp.ones((50, 40))}}
    names = ("a/kernel", "b/kernel")
    mask = {"a": {"kernel": jnp.zeros((40, 50), bool)}, "b": {"kernel": jnp.ones((50, 40), bool)}}
    moved = masks.permute_across(key, mask, names)
    counted = masks.count(moved, names)
    assert counted.kept == 2000
    for kept, size in counted.layers.values():
        assert abs(kept / size - 0.5) < 0.05
    assert jax.tree.structure(moved) == jax.tree.structure(params)


def test_overlap_counts_and_chance():
    a = {"w": {"kernel": jnp.array([[1, 1, 0, 0]], bool)}}
    b = {"w": {"kernel": jnp.array([[1, 0, 1, 0]], bool)}}
    found = masks.overlap(a, b, ("w/kernel",))
    assert found == masks.Overlap(1, 1, 1, 1.0, pytest.approx((1 / 3) ** 0.5))


@pytest.mark.parametrize(("first", "second", "size"), [(2, 5, 7), (1, 6, 8), (4, 3, 9), (6, 2, 7)])
def test_chance_overlap_is_that_of_all_masks_of_unequal_counts(first, second, size):
    def mask(kept):
        return {"w": {"kernel": jnp.asarray(np.isin(np.arange(size), list(kept)))}}

    found = masks.overlap(mask(range(first)), mask(range(second)), ("w/kernel",))
    every = [len({*range(first)} & {*kept}) for kept in itertools.combinations(range(size), second)]
    law = scipy.stats.hypergeom(size, first, second)
    for mean, sd in ((np.mean(every), np.std(every)), (law.mean(), law.std())):
        assert (found.chance, found.chance_sd) == pytest.approx((mean, sd))
