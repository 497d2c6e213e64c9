"""Counts are exact, ties are drawn, nothing comes back, and 002's columns come out."""

import functools
import itertools

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
import hypothesis.extra.numpy
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import models
from ltjax.core import masks, pruning, scores, trees
from ltjax.core.scores import Probe
from ltjax.core.types import Variables
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


RANK = jax.jit(functools.partial(pruning.keep_best, groups=(("w",),)))


def rank(scores, count, key=None):
    live = {"w": jnp.ones(np.shape(scores), bool)}
    return np.asarray(RANK({"w": jnp.asarray(scores)}, live, jnp.array([count]), key=key)["w"])


def test_ties_are_exact_reproducible_and_favour_no_corner(key):
    signs = np.sign(np.random.default_rng(0).normal(size=(64, 64))).astype(np.float32)
    for count in (0, 1, 512, 2000, 4096):
        kept = rank(signs, count, key)
        assert kept.sum() == count
        np.testing.assert_array_equal(kept, rank(signs, count, key))
        worst_kept = signs[kept].min(initial=1)
        assert worst_kept >= signs[~kept].max(initial=-1)
    kept = rank(signs, 512, key)  # 8 of 32 a row that tie: first rows only, were it by position.
    for by in (0, 1):
        assert kept.sum(axis=by).min() >= 2
        assert kept.sum(axis=by).max() <= 20
    assert abs(kept.ravel()[:2048].sum() - 256) < 50
    assert (kept != rank(signs, 512, jax.random.key(1))).any()
    assert (kept == rank(signs, 512, key=key)).all()
    assert rank(signs, 1000, key)[kept].all()  # Cuts of the same scores are nested.


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    scores=hypothesis.extra.numpy.arrays(
        np.float32, 24, elements=st.sampled_from([-np.inf, -1, -0.0, 0.0, 1, 2, np.inf, np.nan])
    ),
    live=hypothesis.extra.numpy.arrays(bool, 24),
    data=st.data(),
)
def test_whatever_ties_the_count_is_exact_and_nothing_better_goes(scores, live, data):
    count = data.draw(st.integers(0, int(live.sum())))
    found = RANK({"w": jnp.asarray(scores)}, {"w": jnp.asarray(live)}, jnp.array([count]), key=None)
    kept = np.asarray(found["w"])
    assert kept.sum() == count
    assert not (kept & ~live).any()
    lowest = np.finfo(np.float32).min
    numbers = np.maximum(np.nan_to_num(scores, nan=lowest, posinf=np.inf, neginf=lowest), lowest)
    assert numbers[kept].min(initial=np.inf) >= numbers[live & ~kept].max(initial=-np.inf)


def test_without_ties_ranking_is_that_of_a_full_sort():
    scores = np.random.default_rng(1).permutation(3000).astype(np.float32)
    for count in (0, 1, 700, 2999, 3000):
        expected = np.zeros(3000, bool)
        expected[np.argsort(-scores, kind="stable")[:count]] = True
        np.testing.assert_array_equal(rank(scores, count), expected)


def test_dead_weights_never_return_whatever_their_score():
    assert cut([[9, 1, 8, 2]], [[0, 1, 0, 1]], 1) == [[0, 0, 0, 1]]
    assert cut([[9, 1, 8, 2]], [[0, 1, 0, 1]], 4) == [[0, 1, 0, 1]]


def test_nan_and_infinite_scores_rank_but_never_break_the_count():
    assert cut([[np.nan, 1, 2, -np.inf]], [[1, 1, 1, 1]], 3) == [[1, 1, 1, 0]]
    assert cut([[np.nan, np.inf, 2, 0]], [[1, 1, 1, 0]], 2) == [[0, 1, 1, 0]]


def loss_fn(params):
    return sum(jnp.sum(jnp.sin(w) * 1.7) for w in jax.tree.leaves(params))


def probe(key, loss=loss_fn):
    return Probe(key, loss, lambda p, x: sum_of_squares(p) * x.sum(), jnp.ones((1, 2, 2, 1)))


def sum_of_squares(params):
    return sum(jnp.sum(w**2) for w in jax.tree.leaves(params))


CASES = [(score, scope, True) for score in pruning.SCORES for scope in pruning.SCOPES]


@pytest.mark.parametrize(("score", "scope", "jit"), [*CASES, ("snip", "global", False)])
def test_every_score_and_scope_prunes_the_planned_count_and_shrinks(score, scope, jit, key):
    params = small_params()
    plan = pruning.plan(params, rate=0.3, rates={"conv": 0.1}, levels=4, scope=scope)
    mask = masks.dense(params)

    def prune(mask, counts, key):
        rated = pruning.SCORES[score](masks.apply(params, mask), probe(key))
        return pruning.keep_best(rated, mask, counts, groups=plan.groups)

    prune = jax.jit(prune) if jit else prune
    for level in range(1, 5):
        before = mask
        mask = prune(mask, jnp.asarray(plan.counts[level]), jax.random.fold_in(key, level))
        assert masks.count(mask, plan.prunable).kept == plan.kept(level)
        assert bool(jax.tree.all(jax.tree.map(lambda new, old: (old | ~new).all(), mask, before)))
        assert bool(mask["dense_0"]["bias"].all())


@pytest.mark.parametrize(
    "chosen",
    [
        np.linspace(1, 0.25, 4),
        jnp.array([0.75, 0.5, 0.25]),
        (0.75, 0.5, 0.25),
        lambda: (n / 4 for n in (3, 2, 1)),
        np.float32(0.25),
    ],
)
def test_densities_may_be_any_iterable_or_array(chosen):
    chosen = chosen() if callable(chosen) else chosen
    plan = pruning.plan(small_params(), rate=0.2, levels=0, densities=chosen)
    one = isinstance(chosen, np.float32)
    assert plan.nominal == ((1.0, 0.25) if one else (1.0, 0.75, 0.5, 0.25))
    assert all(type(density) is float for density in plan.nominal)
    assert plan.density(plan.levels) == pytest.approx(0.25, abs=0.01)


def test_density_is_what_is_kept_and_nominal_what_was_asked():
    plan = pruning.plan(small_params(), rate=0.2, levels=3, rates={"dense": 0.6})
    assert plan.nominal == tuple(0.8**level for level in range(4))
    assert plan.densities == tuple(plan.kept(n) / plan.kept(0) for n in range(4))
    assert plan.densities[3] < 0.27


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
        rated = pruning.SCORES[score](params, probe(key))
        counts = jnp.asarray(plan.counts[1])
        return pruning.keep_best(rated, masks.dense(params), counts, groups=plan.groups)

    kernel, kept = params["dense_0"]["kernel"], prune("magnitude")["dense_0"]["kernel"]
    assert float(jnp.abs(kernel[kept]).min()) >= float(jnp.abs(kernel[~kept]).max())
    assert bool(
        (prune("snip")["dense_0"]["kernel"] != prune("snip_signed")["dense_0"]["kernel"]).any()
    )


def test_snip_is_weight_times_gradient(key):
    params = {"w": jnp.array([1.0, -2.0])}
    found = scores.snip(params, probe(key, lambda p: jnp.sum(p["w"] ** 2)))
    np.testing.assert_allclose(found["w"], [2, 8])


def test_signed_snip_is_divided_by_the_sum_which_may_turn_it_around(key):
    params = {"w": jnp.array([1.0, -2.0])}
    for factors, order in (([1.0, 0.25], [1, 0]), ([1.0, 1.0], [0, 1])):
        # The products of weight and gradient are 1 and -0.5, then 1 and -2: their sum is below 0.
        slopes = jnp.array(factors)
        found = scores.snip_signed(params, probe(key, lambda p, s=slopes: jnp.sum(p["w"] * s)))
        products = params["w"] * slopes
        np.testing.assert_allclose(found["w"], products / products.sum())
        assert np.argsort(found["w"]).tolist() == order


def test_random_scores_give_equal_layers_unequal_masks(key):
    found = scores.random(small_params(), probe(key))
    assert not np.array_equal(found["dense_0"]["kernel"], found["dense_1"]["kernel"])


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
    assert plan.nominal == (1.0, 0.25)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate": 1.0}, r"rate is the share .* in \[0, 1\) \(0.2 for 20 %\); got 1.0"),
        ({"rate": -0.1}, "got -0.1"),
        ({"rate": 0.2, "rates": {"conv": 1.5}}, "rates conv is the share"),
        ({"rate": 0.2, "rates": {"convv*": 0.1}}, "pattern 'convv\\*' matches no parameter"),
        ({"rate": 0.2, "scope": "globl"}, "did you mean global"),
        ({"rate": 0.0}, "nothing is prunable"),
        ({"rate": 0.2, "levels": -1}, "levels is the number of rounds"),
        ({"rate": 20.0}, r"0\.2 for 20 %\); got 20"),
        ({"rate": 0.2, "densities": (0.5, 0.6)}, "densities must fall"),
        ({"rate": 0.2, "densities": np.array([20.0, 10])}, r"0\.2 for 20 %.*got \[20.0, 10.0\]"),
        ({"rate": 0.2, "densities": (0.5, np.nan)}, "densities must fall"),
        ({"rate": 0.2, "densities": np.array([[0.5, 0.2]])}, "one number a level"),
        ({"rate": 0.2, "densities": [[0.5], [0.5, 0.2]]}, "one a level .* got .* 0.2"),
        ({"rate": 0.2, "densities": {0.5, 0.2}}, "numbers, one a level .* got {"),
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


def test_grasp_is_weight_times_hessian_times_gradient(key):
    # L = a^2 b: g = (2ab, a^2), H = [[2b, 2a], [2a, 0]].
    params = {"a": jnp.array([2.0]), "b": jnp.array([3.0])}
    found = scores.grasp(params, probe(key, lambda p: (p["a"] ** 2 * p["b"]).sum()))
    np.testing.assert_allclose(found["a"], [2 * (6 * 12 + 4 * 4)])
    np.testing.assert_allclose(found["b"], [3 * (4 * 12)])


@pytest.mark.parametrize(
    ("depth", "skip", "gain"),
    [(4, False, 1.0), (50, False, 1.0), (80, False, 1.0), (45, True, 1.0), (60, False, 1e-4)],
)
def test_synflow_ranks_deep_networks_as_float64_would(depth, skip, gain):
    rng = np.random.default_rng(depth)
    names = [f"layer_{i:03d}" for i in range(depth)]
    params = {n: {"kernel": gain * rng.normal(0, 1, (16, 16)).astype(np.float32)} for n in names}

    def forward(p, images):
        def step(x, kernel):
            y = jax.nn.relu(x @ kernel)
            return (x + y if skip else y), None

        kernels = jnp.stack([p[n]["kernel"] for n in names])
        return jax.lax.scan(step, images.reshape(1, -1), kernels)[0]

    about = Probe(jax.random.key(0), loss_fn, forward, jnp.ones((1, 4, 4, 1)))
    found = jax.jit(lambda p: scores.synflow(p, about))(jax.tree.map(jnp.asarray, params))
    into, back = [np.ones(16)], [np.ones(16)]
    kernels = [np.abs(np.float64(params[n]["kernel"])) for n in names]
    for kernel in kernels:
        into.append(into[-1] @ kernel + skip * into[-1])
    for kernel in kernels[::-1]:
        back.append(kernel @ back[-1] + skip * back[-1])
    exact = [k * np.outer(a, b) for k, a, b in zip(kernels, into, back[-2::-1], strict=False)]
    factors = [
        np.log(np.float64(found[n]["kernel"])) - np.log(e)
        for n, e in zip(names, exact, strict=True)
    ]
    assert np.isfinite(factors).all()
    np.testing.assert_allclose(factors, factors[0][0, 0], atol=1e-4)
    if depth == 4:
        np.testing.assert_allclose(factors, 0, atol=1e-4)  # Not scaled without need.


def synflow_probe(network, params):
    def forward(p, x):
        return network.apply(Variables(p, {}), x, train=False)[0]

    return Probe(jax.random.key(0), loss_fn, forward, jnp.ones((1, *network.input_shape)))


def test_synflow_sees_no_signs_and_conserves_its_flow():
    network = models.make("mlp-6-5", input_shape=(2, 2, 1), classes=3)
    params = network.init(jax.random.key(0)).params  # Biases begin at 0.
    found = scores.synflow(params, synflow_probe(network, params))
    turned = scores.synflow(jax.tree.map(jnp.negative, params), synflow_probe(network, params))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(turned), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    kernels = [found[n]["kernel"] for n in ("dense_0", "dense_1", "head")]
    for into, out in itertools.pairwise(kernels):  # Unit by unit.
        np.testing.assert_allclose(into.sum(axis=0), out.sum(axis=1), rtol=1e-4)
    np.testing.assert_allclose([k.sum() for k in kernels], kernels[0].sum(), rtol=1e-4)


def emptied(score, *, steps, kept):
    """Layers that keep nothing after global pruning to `kept` weights in `steps` cuts."""
    network = models.make("mlp-20-20-20", input_shape=(8, 8, 1), classes=4)
    params = network.init(jax.random.key(3)).params
    about = synflow_probe(network, params)
    plan = pruning.plan(params, rate=0.1, levels=1, scope="global")
    mask, size = masks.dense(params), plan.kept(0)
    for step in range(1, steps + 1):
        count = round(size * (kept / size) ** (step / steps))
        rated = pruning.SCORES[score](masks.apply(params, mask), about)
        mask = pruning.keep_best(rated, mask, jnp.array([count]), groups=plan.groups)
    counted = masks.count(mask, plan.prunable)
    assert counted.kept == kept
    return [name for name, (left, _) in counted.layers.items() if left == 0]


def test_iterative_synflow_empties_no_layer_where_magnitude_does():
    assert emptied("magnitude", steps=1, kept=25)
    assert not emptied("synflow", steps=100, kept=25)


def test_a_pooled_plan_keeps_the_totals_of_its_layers():
    params, rates = NETS_002["fc"]
    plan = pruning.plan(params, rate=0.2, rates=rates, levels=10)
    total = pruning.pooled(plan)
    assert [total.kept(level) for level in range(1, 11)] == KEPT_002["fc"]
    assert total.prunable == plan.prunable
    assert len(total.groups) == 1


@pytest.mark.parametrize("net", NETS_002)
def test_erdos_renyi_kernel_keeps_the_totals_and_favours_small_layers(net):
    params, rates = NETS_002[net]
    plan = pruning.plan(params, rate=0.2, rates=rates, levels=10)
    found = pruning.spread(params, plan)
    for level in range(11):
        assert found.kept(level) == plan.kept(level)
        assert all(0 <= c <= n for c, n in zip(found.counts[level], found.sizes, strict=True))
    assert found.counts[0] == found.sizes
    shares = dict(zip(found.prunable, np.divide(found.counts[10], found.sizes), strict=True))
    assert shares["head/kernel"] > shares["dense_1/kernel"] > shares["dense_0/kernel"]


def test_erdos_renyi_kernel_by_hand():
    # 4x4 and 2x2, raw shares 1/2 and 1; 8 of 20: unit (8 / 12) gives 5.33 and 2.67.
    params = shapes(dense_0=(4, 4), head=(2, 2))
    plan = pruning.plan(params, rate=0.2, levels=0, densities=(0.4,), scope="global")
    assert plan.kept(1) == 8
    assert pruning.spread(params, plan).counts[1] == (5, 3)


def test_a_plan_may_begin_with_what_a_mask_left():
    params, rates = NETS_002["fc"]
    plan = pruning.plan(params, rate=0.2, rates=rates, levels=7)
    left = dict(zip(plan.prunable, plan.counts[7], strict=True))
    flipped = {n: size - left[n] for n, size in zip(plan.prunable, plan.sizes, strict=True)}
    other = pruning.plan(params, rate=0.2, rates=rates, levels=9, live=flipped)
    assert other.kept(0) == 266200 - KEPT_002["fc"][6]
    assert other.counts[1] == tuple(
        n - round((0.1 if "head" in name else 0.2) * n) for name, n in flipped.items()
    )
    assert other.nominal[0] == pytest.approx(1 - KEPT_002["fc"][6] / 266200)


def test_a_level_that_keeps_nothing_at_all_is_refused():
    tiny = shapes(dense_0=(2, 2), head=(2, 2))
    plan = pruning.plan(tiny, rate=0.5, levels=2, rates={"output": 0.2})
    assert plan.counts[-1] == (1, 2)
    with pytest.raises(ValueError, match="would keep none of 8 weights"):
        pruning.plan(tiny, rate=0.9, levels=2)


def test_a_plan_of_a_mask_has_its_counts():
    params = small_params()
    names = [n for n in trees.names(params) if n.endswith("kernel")]
    mask = jax.tree.map(lambda leaf: np.arange(leaf.size).reshape(leaf.shape) % 3 == 0, params)
    plan = pruning.of_mask(mask, names)
    assert plan.counts[1] == tuple(masks.count(mask, [n]).kept for n in names)
    assert pruning.pooled(plan).counts == ((plan.kept(0),), (plan.kept(1),))
    with pytest.raises(ValueError, match="leaf of the mask"):
        pruning.of_mask(mask, ["nowhere/kernel"])
    nothing = jax.tree.map(lambda leaf: np.zeros(leaf.shape, bool), params)
    with pytest.raises(ValueError, match="nothing to match"):
        pruning.of_mask(nothing, names)
