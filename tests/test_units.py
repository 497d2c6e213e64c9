"""Units: pruning them whole, and what their connections look like, on networks made by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.papers import units
from ltjax import models
from ltjax.core import masks, trees


def net(*kernels):
    """A fully connected network of given kernels: dense_0, dense_1, ..., head."""
    names = [*[f"dense_{i}" for i in range(len(kernels) - 1)], "head"]
    return {
        name: {
            "kernel": jnp.asarray(kernel, jnp.float32),
            "bias": jnp.ones(np.shape(kernel)[1], jnp.float32),
        }
        for name, kernel in zip(names, kernels, strict=True)
    }


# Three units. Incoming sums 4, 6, 3; outgoing 1, 0.5, 5: products 4, 3, 15.
PARAMS = net([[1, -6, 3], [-3, 0, 0]], [[1], [0.5], [-5]])
LOWEST = {"input": 2, "output": 1, "product": 1}


@pytest.mark.parametrize("score", units.SCORES)
def test_the_lowest_unit_goes_with_its_bias_and_both_its_sides(score):
    mask = units.prune(PARAMS, masks.dense(PARAMS), keep={"dense_0": 2}, score=score)
    gone = LOWEST[score]
    for unit in range(3):
        column = mask["dense_0"]["kernel"][:, unit], mask["dense_0"]["bias"][unit]
        row = mask["head"]["kernel"][unit]
        for part in (*column, row):
            assert bool(jnp.all(part)) == (unit != gone)
            assert bool(jnp.any(part)) == (unit != gone)
    assert mask["head"]["bias"].all()


@pytest.mark.parametrize("score", units.SCORES)
def test_what_was_pruned_never_returns_and_counts_are_exact(score):
    params = net(np.ones((2, 6)), np.ones((6, 1)))  # All scores are equal.
    mask = masks.dense(params)
    for count in (4, 2, 1):
        mask = units.prune(params, mask, keep={"dense_0": count}, score=score)
        alive = units.alive(mask)["dense_0"]
        assert int(alive.sum()) == count
        assert alive[:count].all()  # Of equal scores the first stays.


def test_scores_see_only_live_weights():
    params = net([[9, 1], [9, 1]], [[1], [1]])
    mask = masks.dense(params)
    mask["dense_0"]["kernel"] = jnp.array([[False, True], [False, True]])
    pruned = units.prune(params, mask, keep={"dense_0": 1}, score="input")
    assert units.alive(pruned)["dense_0"].tolist() == [False, True]


def test_units_of_several_layers_are_pruned_in_each():
    key = jax.random.key(0)
    network = models.make("mlp-5-4", input_shape=(2, 2, 1), classes=3)
    params = network.init(key).params
    mask = units.prune(params, masks.dense(params), keep={"dense_0": 3, "dense_1": 2})
    living = units.alive(mask)
    assert {n: int(a.sum()) for n, a in living.items()} == {"dense_0": 3, "dense_1": 2}
    np.testing.assert_array_equal(
        np.asarray(mask["dense_1"]["kernel"]),
        np.outer(living["dense_0"], living["dense_1"]),
    )
    one = units.prune(params, masks.dense(params), keep={"dense_1": 1})
    assert units.alive(one)["dense_0"].all()


def test_a_pruned_unit_is_as_if_it_were_not_there():
    network = models.make("mlp-6", input_shape=(2, 2, 1), classes=3)
    variables = network.init(jax.random.key(1))
    params = variables.params
    mask = units.prune(params, masks.dense(params), keep={"dense_0": 3})
    left = np.flatnonzero(units.alive(mask)["dense_0"])
    small = {
        "dense_0": {k: v[..., left] for k, v in params["dense_0"].items()},
        "head": {"kernel": params["head"]["kernel"][left], "bias": params["head"]["bias"]},
    }
    images = jax.random.uniform(jax.random.key(2), (5, 2, 2, 1))
    shrunk = models.make("mlp-3", input_shape=(2, 2, 1), classes=3)
    ours, _ = network.apply(
        variables._replace(params=masks.apply(params, mask)), images, train=False
    )
    theirs, _ = shrunk.apply(variables._replace(params=small), images, train=False)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_a_population_is_pruned_by_vmap():
    network = models.make("mlp-6", input_shape=(2, 2, 1), classes=3)
    params = jax.vmap(lambda k: network.init(k).params)(jax.random.split(jax.random.key(0), 3))
    prune = jax.jit(jax.vmap(lambda p: units.prune(p, masks.dense(p), keep={"dense_0": 2})))
    found = prune(params)
    for i in range(3):
        mine = jax.tree.map(lambda leaf, i=i: leaf[i], params)
        alone = units.prune(mine, masks.dense(mine), keep={"dense_0": 2})
        assert jax.tree.all(jax.tree.map(lambda a, b, i=i: bool((a[i] == b).all()), found, alone))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"keep": {"dense_1": 1}}, "hidden layer"),
        ({"keep": {"head": 1}}, "hidden layer"),
        ({"keep": {"dense_0": 4}}, "has 3 units"),
        ({"keep": {"dense_0": -1}}, "has 3 units"),
        ({"keep": {"dense_0": 1}, "score": "produkt"}, "product"),
    ],
)
def test_what_cannot_be_pruned_is_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        units.prune(PARAMS, masks.dense(PARAMS), **settings)


def test_networks_that_are_not_fully_connected_are_refused():
    conv = models.make("conv2", input_shape=(12, 12, 1), classes=3).shapes().params
    with pytest.raises(ValueError, match="conv_0 is none"):
        units.layers(conv)
    with pytest.raises(ValueError, match="do not chain"):
        units.layers(net(np.ones((2, 3)), np.ones((4, 1))))


def test_layers_come_from_the_input_to_the_head_also_where_there_are_many():
    params = net(*[np.ones((2, 2))] * 12)
    assert units.layers(params) == [*[f"dense_{i}" for i in range(11)], "head"]


def test_edges_without_a_path_to_an_output_are_cut_and_others_stay():
    # Second layer: unit 0 reaches the output, unit 1 does not. First layer: unit 0 feeds unit 0,
    # unit 1 feeds only the dead unit, unit 2 feeds nothing.
    mask = trees.map_with_name(
        lambda n, leaf: leaf.astype(bool),
        net(np.ones((2, 3)), [[1, 0], [0, 1], [0, 0]], [[1, 1], [0, 0]]),
    )
    before = units.in_degrees(mask)
    assert {n: d.tolist() for n, d in before.items()} == {
        "dense_0": [2, 2, 2],
        "dense_1": [1, 1],
        "head": [1, 1],
    }
    after = units.in_degrees(units.connected(mask))
    assert {n: d.tolist() for n, d in after.items()} == {
        "dense_0": [2, 0, 0],
        "dense_1": [1, 0],
        "head": [1, 1],
    }
    assert units.connected(mask)["dense_0"]["bias"].all()
