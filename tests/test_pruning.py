"""Counts are exact, ties go by position, nothing comes back, and 002's columns come out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import masks, pruning, trees
from tests.conftest import small_params

# Kept columns of paper 002, Tables 6 and 7 (`published.json`; row 7 of Table 7 is a mean, .5).
KEPT_002 = {
    "fc": [213060, 170538, 136511, 109282, 87490, 70051, 56094, 44923, 35981, 28823],
    "conv2": [
        *(2658477, 2130485, 1707721, 1369177, 1098041),
        *(880863, 706877, 567470, 455748, 366193),
    ],
}


def shapes(**layers):
    return {n: {"kernel": jax.ShapeDtypeStruct(s, jnp.float32)} for n, s in layers.items()}


NETS_002 = {
    "fc": (shapes(dense_0=(784, 300), dense_1=(300, 100), head=(100, 10)), {"output": 0.1}),
    "conv2": (
        shapes(
            conv_0=(3, 3, 3, 64),
            conv_1=(3, 3, 64, 64),
            dense_0=(12544, 256),
            dense_1=(256, 256),
            head=(256, 10),
        ),
        {"conv": 0.1, "output": 0.1},
    ),
}


@pytest.mark.parametrize("net", NETS_002)
def test_the_kept_columns_of_paper_002(net):
    params, rates = NETS_002[net]
    plan = pruning.plan(params, rate=0.2, rates=rates, levels=10)
    assert [plan.kept(level) for level in range(1, 11)] == KEPT_002[net]


def cut(scores, live, count):
    mask = {"w": {"kernel": jnp.asarray(live, bool)}}
    out = pruning.keep_best(
        {"w": {"kernel": jnp.asarray(scores, jnp.float32)}},
        mask,
        jnp.array([count]),
        groups=(("w/kernel",),),
    )
    return np.asarray(out["w"]["kernel"]).astype(int).tolist()


def test_keep_best_by_hand():
    assert cut([[3, 1], [2, 4]], [[1, 1], [1, 1]], 2) == [[1, 0], [0, 1]]


def test_ties_are_broken_by_position():
    assert cut([[5, 5, 5, 5, 5]], [[1, 1, 1, 1, 1]], 2) == [[1, 1, 0, 0, 0]]


def test_dead_weights_never_return_whatever_their_score():
    assert cut([[9, 1, 8, 2]], [[0, 1, 0, 1]], 1) == [[0, 0, 0, 1]]
    assert cut([[9, 1, 8, 2]], [[0, 1, 0, 1]], 4) == [[0, 1, 0, 1]]


def test_nan_and_infinite_scores_rank_but_never_break_the_count():
    assert cut([[np.nan, 1, 2, -np.inf]], [[1, 1, 1, 1]], 3) == [[1, 1, 1, 0]]
    assert cut([[np.nan, np.inf, 2, 0]], [[1, 1, 1, 0]], 2) == [[0, 1, 1, 0]]


def loss_fn(params):
    return sum(jnp.sum(jnp.sin(w) * 1.7) for w in jax.tree.leaves(params))


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("scope", pruning.SCOPES)
@pytest.mark.parametrize("score", pruning.SCORES)
def test_every_score_and_scope_prunes_the_planned_count_and_shrinks(score, scope, jit, key):
    params = small_params()
    plan = pruning.plan(params, rate=0.3, rates={"conv": 0.1}, levels=4, scope=scope)
    mask = masks.dense(params)

    def prune(mask, counts, key):
        scores = pruning.SCORES[score](masks.apply(params, mask), key=key, loss_fn=loss_fn)
        return pruning.keep_best(scores, mask, counts, groups=plan.groups)

    prune = jax.jit(prune) if jit else prune
    for level in range(1, 5):
        before = mask
        mask = prune(mask, jnp.asarray(plan.counts[level]), jax.random.fold_in(key, level))
        assert masks.count(mask, plan.prunable).kept == plan.kept(level)
        assert bool(jax.tree.all(jax.tree.map(lambda new, old: (old | ~new).all(), mask, before)))
        assert bool(mask["dense_0"]["bias"].all())


def test_all_scores_tied_still_prunes_the_exact_count():
    params = jax.tree.map(jnp.ones_like, small_params())
    plan = pruning.plan(params, rate=0.2, levels=1, scope="global")
    mask = pruning.keep_best(
        params, masks.dense(params), jnp.asarray(plan.counts[1]), groups=plan.groups
    )
    assert masks.count(mask, plan.prunable).kept == 302 - round(0.2 * 302)


def test_magnitude_keeps_the_largest_and_snip_differs_from_its_signed_form(key):
    params = small_params()
    plan = pruning.plan(params, rate=0.5, levels=1)

    def prune(score):
        scores = pruning.SCORES[score](params, key=key, loss_fn=loss_fn)
        counts = jnp.asarray(plan.counts[1])
        return pruning.keep_best(scores, masks.dense(params), counts, groups=plan.groups)

    kernel, kept = params["dense_0"]["kernel"], prune("magnitude")["dense_0"]["kernel"]
    assert float(jnp.abs(kernel[kept]).min()) >= float(jnp.abs(kernel[~kept]).max())
    assert bool(
        (prune("snip")["dense_0"]["kernel"] != prune("snip_signed")["dense_0"]["kernel"]).any()
    )


def test_snip_is_weight_times_gradient(key):
    params = {"w": jnp.array([1.0, -2.0])}
    scores = pruning.snip(params, key=key, loss_fn=lambda p: jnp.sum(p["w"] ** 2))
    np.testing.assert_allclose(scores["w"], [2, 8])


def test_random_scores_give_equal_layers_unequal_masks(key):
    scores = pruning.random(small_params(), key=key, loss_fn=loss_fn)
    assert not np.array_equal(scores["dense_0"]["kernel"], scores["dense_1"]["kernel"])


def test_a_rate_of_zero_leaves_the_layer_out_of_the_count():
    plan = pruning.plan(small_params(), rate=0.2, rates={"dense": 0.0}, levels=2)
    assert plan.prunable == ("conv_0/kernel", "head/kernel")
    assert plan.kept(0) == 72 + 30


def test_first_matching_rule_wins_and_patterns_reach_single_layers():
    plan = pruning.plan(
        small_params(), rate=0.2, rates={"dense_1/*nel": 0.5, "dense": 0.1}, levels=1
    )
    kept = dict(zip(plan.prunable, plan.counts[1], strict=True))
    assert kept["dense_1/kernel"] == 50
    assert kept["dense_0/kernel"] == 90


def test_target_densities_prune_the_output_by_half_as_paper_004():
    plan = pruning.plan(
        small_params(), rate=0.2, rates={"output": 0.1}, levels=0, densities=(0.25,)
    )
    kept = dict(zip(plan.prunable, plan.counts[1], strict=True))
    assert kept["dense_0/kernel"] == 25
    assert kept["head/kernel"] == 30 - round(0.375 * 30)
    assert plan.densities == (1.0, 0.25)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate": 1.0}, r"rate is the share .* in \[0, 1\); got 1.0"),
        ({"rate": -0.1}, "got -0.1"),
        ({"rate": 0.2, "rates": {"conv": 1.5}}, "rates conv is the share"),
        ({"rate": 0.2, "rates": {"convv*": 0.1}}, "pattern 'convv\\*' matches no parameter"),
        ({"rate": 0.2, "scope": "globl"}, "did you mean global"),
        ({"rate": 0.0}, "nothing is prunable"),
        ({"rate": 0.2, "levels": -1}, "levels is the number of rounds"),
        ({"rate": 0.2, "densities": (0.5, 0.6)}, "densities must fall"),
        ({"rate": 0.2, "rates": {"dense": 0.4}, "densities": (0.4,)}, "would prune 1.20"),
    ],
)
def test_bad_plans_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        pruning.plan(small_params(), **{"levels": 3, **settings})


def test_kinds_and_names():
    assert trees.kinds(small_params()) == {
        "conv_0/bias": "bias",
        "conv_0/kernel": "conv",
        "dense_0/bias": "bias",
        "dense_0/kernel": "dense",
        "dense_1/bias": "bias",
        "dense_1/kernel": "dense",
        "head/bias": "bias",
        "head/kernel": "output",
        "norm_0/bias": "norm",
        "norm_0/scale": "norm",
    }
