"""A mask keeps what it says, whatever the optimizer does, and each permutation what it keeps."""

import collections
import itertools

from flax import core, nnx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

from ltjax.core import masks, trees
from ltjax.core.types import Variables
from ltjax.training import optimizers
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


def live(tree, mask):
    """Only what the mask keeps, leaf by leaf as flat vectors."""
    return jax.tree.map(lambda p, m: p[m], tree, mask)


def whole(vectors, mask):
    """`live` undone, with zeros for the rest."""
    return jax.tree.map(
        lambda v, m: jnp.zeros(m.shape).at[jnp.nonzero(m, size=v.size)].set(v), vectors, mask
    )


def loss(params, t):
    """Every weight has a gradient, also the pruned ones, and none has that of another step."""
    hidden = jnp.tanh(jnp.cos(jnp.arange(10.0) + t) @ params["dense_0"]["kernel"])
    hidden = jnp.tanh(hidden @ params["dense_1"]["kernel"] + params["dense_1"]["bias"] + t)
    logits = hidden @ params["head"]["kernel"] + params["head"]["bias"]
    rest = sum(
        jnp.sum((w - 1.3) ** 2) for n in ("conv_0", "norm_0") for w in jax.tree.leaves(params[n])
    )
    return jax.nn.logsumexp(logits * 3) + rest + jnp.sum(params["dense_0"]["bias"] ** 2)


loss_and_gradients = jax.jit(jax.value_and_grad(loss))


def trained(optimizer, params, asked, mask=None, steps=6):
    """All parameters after training, or only those that a mask keeps, as vectors."""
    filled = (lambda p: p) if mask is None else (lambda p: whole(p, mask))

    @jax.jit
    def step(params, state, value, grad, t):
        of_loss = {"value": value, "grad": grad, "value_fn": lambda p: loss(filled(p), t)}
        of_loss = {name: of_loss[name] for name in asked}
        updates, state = optimizer.update(grad, state, params, **of_loss)
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    for t in map(jnp.float32, range(steps)):
        value, grad = loss_and_gradients(filled(params), t)
        params, state = step(params, state, value, grad if mask is None else live(grad, mask), t)
    return params


CLIP = optax.clip_by_global_norm(0.01)
OPTIMIZERS = {
    "sgd": optax.sgd(0.1),
    "momentum": optax.sgd(0.1, momentum=0.9),
    "nesterov": optax.sgd(0.1, momentum=0.9, nesterov=True),
    "adam": optax.adam(0.01),
    "adamw": optax.adamw(0.01, weight_decay=0.1),
    "l2 adam": optax.chain(optax.add_decayed_weights(0.1), optax.adam(0.01)),
    "adam without epsilon": optax.adam(0.01, eps=0.0),
    "rmsprop": optax.rmsprop(0.01, momentum=0.9, centered=True),
    "adagrad": optax.adagrad(0.1),
    "lion": optax.lion(0.01),
    "clip by value": optax.chain(optax.clip(0.1), optax.sgd(0.1)),
    "multi steps": optax.MultiSteps(optax.adam(0.01), 3),
    "ema": optax.chain(optax.sgd(0.1), optax.ema(0.9)),
    "schedule": optax.adamw(optax.cosine_decay_schedule(0.1, 6)),
    **{
        f"ours {name} {decay}": optax.chain(
            optimizers.make(name, momentum=0.9, nesterov=True, weight_decay=0.1, decay=decay),
            optax.scale(0.01),
        )
        for name in optimizers.OPTIMIZERS
        for decay in optimizers.DECAYS
    },
    "clip by norm": optax.chain(CLIP, optax.sgd(1.0)),
    "clip by norm, last": optax.chain(optax.adam(1.0), CLIP),
    "lamb": optax.lamb(0.01, weight_decay=0.1),
    "lars": optax.lars(0.1, weight_decay=0.1),
    "clip in multi steps": optax.MultiSteps(optax.chain(CLIP, optax.adam(0.01)), 2),
    "normalized": optax.chain(optax.normalize_by_update_norm(), optax.sgd(0.1)),
    "polyak": optax.polyak_sgd(0.1),
    "plateau": optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau(patience=1)),
    "line search": optax.chain(
        optax.sgd(0.1), optax.scale_by_backtracking_linesearch(max_backtracking_steps=3)
    ),
    "sam": optax.contrib.sam(optax.adam(0.01), optax.sgd(0.05), sync_period=2),
    "schedule free": optax.contrib.schedule_free_adamw(0.01, warmup_steps=2),
    "prodigy": optax.contrib.prodigy(1.0),
    "adafactor without means": optax.adafactor(
        0.01, multiply_by_parameter_scale=False, clipping_threshold=None
    ),
}
EXCEPTIONS = {  # What takes a mean over a leaf, or its shape, counts the pruned weights.
    "clip by block": optax.chain(optax.clip_by_block_rms(0.01), optax.sgd(0.1)),
    "adafactor": optax.adafactor(0.01),
    "factored moments": optax.adafactor(
        0.01,
        min_dim_size_to_factor=2,
        multiply_by_parameter_scale=False,
        clipping_threshold=None,
    ),
    "muon": optax.contrib.muon(0.01),
    "clip by unit": optax.chain(optax.adaptive_grad_clip(0.01), optax.sgd(0.1)),
    "centralized": optax.chain(optax.centralize(), optax.sgd(0.1)),
    "noise": optax.noisy_sgd(0.1, key=jax.random.key(0)),
}


def both_ways(optimizer):
    """The masked network, and only its kept weights, after training from the same weights."""
    params = small_params()
    mask = random_mask(params)
    params = masks.apply(params, mask)
    asked = optimizers.asked(optimizer, params)
    masked = trained(masks.sparse(optimizer, mask), params, asked)
    for p, m in zip(jax.tree.leaves(masked), jax.tree.leaves(mask), strict=True):
        np.testing.assert_array_equal(p[~m], 0)
    inner = optax.with_extra_args_support(optimizer)
    alone = trained(inner, live(params, mask), asked, mask)
    assert trees_differ(alone, live(params, mask))
    return live(masked, mask), alone


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_masked_network_trains_as_the_network_without_its_pruned_weights(optimizer):
    masked, alone = both_ways(optimizer)
    for a, b in zip(*map(jax.tree.leaves, (masked, alone)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)  # Most are equal to the bit.


def test_values_at_pruned_places_do_not_count_where_init_could_not_look():
    params = small_params()
    mask = random_mask(params)
    optimizer = masks.sparse(optax.lamb(0.01, weight_decay=0.1), mask)
    state, grads = jax.jit(optimizer.init)(params), loss_and_gradients(params, 0.0)[1]
    ours, right = (
        optimizer.update(grads, state, p)[0] for p in (params, masks.apply(params, mask))
    )
    assert_trees_equal(ours, right)


@pytest.mark.parametrize("optimizer", EXCEPTIONS.values(), ids=EXCEPTIONS)
def test_means_over_leaves_and_their_shapes_are_the_exceptions(optimizer):
    masked, alone = both_ways(optimizer)
    worst = max(
        float(jnp.abs(a - b).max())
        for a, b in zip(*map(jax.tree.leaves, (masked, alone)), strict=True)
    )
    assert worst > 1e-4


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda p: p, r"\d+ weights of 'conv_0/kernel' are not 0 .* start from masks.apply"),
        (core.freeze, r"not a FrozenDict; pass flax.core.unfreeze\(params\)"),
        (lambda p: {"params": p}, r"pass variables\['params'\]"),
        (lambda p: Variables(p, {}), "not a Variables; pass variables.params"),
        (lambda p: nnx.State(p), r"not a State; pass flax.nnx.to_pure_dict\(state\)"),
        (lambda p: p | {"head": {"kernel": p["head"]["kernel"][:, :2]}}, "'head/bias' is bool"),
        (lambda p: p | {"head": list(p["head"].values())}, "'head/bias' is bool"),
        (lambda p: p | {"more": p["head"]}, "'more/bias' is absent"),
        (lambda p: collections.OrderedDict(p), "a OrderedDict are not nested as the mask"),
    ],
)
def test_what_is_not_masked_parameters_is_refused_with_what_to_pass(wrong, message):
    params = small_params()
    mask = random_mask(params)
    optimizer = masks.sparse(optax.adam(0.1), mask)
    assert optimizer.init(masks.apply(params, mask)) is not None
    with pytest.raises(ValueError, match=message) as error:
        optimizer.init(wrong(params))
    assert "\n" not in str(error.value)
    if "weights of" not in message:
        with pytest.raises(ValueError, match=message):
            masks.apply(wrong(params), mask)


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
    both = jax.tree.map(jnp.logical_and, mask, other)
    assert masks.count(both, PRUNABLE).kept == 0
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
