"""Kinds go by role, whatever the number of axes; what stays dense has a name."""

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import running
from experiments.papers import units
from ltjax.core import pruning, trees


class Encoder(nn.Module):
    bias: bool

    @nn.compact
    def __call__(self, x, _):
        y = nn.LayerNorm()(x)
        x = x + nn.MultiHeadDotProductAttention(num_heads=4, use_bias=self.bias)(y)
        y = nn.Dense(16, use_bias=self.bias)(nn.LayerNorm(use_scale=False)(x))
        return x + nn.Dense(12, use_bias=self.bias)(y), None


class Windows(nn.Module):
    bias: bool

    @nn.compact
    def __call__(self, x, _):
        return nn.Conv(12, (5,), use_bias=self.bias)(x), None


class Net(nn.Module):
    """Every kind of kernel that Flax makes, alone and scanned."""

    bias: bool = True

    @nn.compact
    def __call__(self, x):
        def scanned(block):
            rngs = {"params": True}
            return nn.scan(block, variable_axes={"params": 0}, split_rngs=rngs, length=3)(self.bias)

        x = nn.Embed(7, 12)(x)
        x = x + self.param("position", nn.initializers.normal(), (1, 8, 12))
        x, _ = Encoder(self.bias)(x, None)
        x, _ = scanned(Encoder)(x, None)
        x, _ = scanned(Windows)(x, None)
        x = nn.Conv(12, (5,), use_bias=self.bias, name="line")(x)
        x = nn.Conv(4, (1, 2, 2), use_bias=self.bias)(x.reshape(len(x), 2, 2, 2, 12))
        x = nn.WeightNorm(nn.Dense(10))(x)
        x = nn.DenseGeneral((2, 3), use_bias=True)(x)
        x = nn.DenseGeneral(5, axis=(-2, -1), use_bias=self.bias)(x)
        return nn.Dense(3, name="head")(x)


def shapes(module):
    tokens = jnp.zeros((1, 8), jnp.int32)
    return jax.eval_shape(module.init, jax.random.key(0), tokens)["params"]


ATTENTION = "MultiHeadDotProductAttention_0"
ROLES = {  # Kind, then numbers of stacked, window, input and output axes.
    "Embed_0/embedding": ("embedding", None),
    "position": ("other", None),
    "WeightNorm_0/Dense_0/kernel/scale": ("norm", None),
    "Encoder_0/LayerNorm_0/bias": ("norm", None),
    "Encoder_0/LayerNorm_1/bias": ("norm", None),  # Without a scale beside it.
    "ScanEncoder_0/LayerNorm_0/scale": ("norm", None),
    f"Encoder_0/{ATTENTION}/query/kernel": ("attention", (0, 0, 1, 2)),
    f"Encoder_0/{ATTENTION}/out/kernel": ("attention", (0, 0, 2, 1)),
    f"ScanEncoder_0/{ATTENTION}/value/kernel": ("attention", (1, 0, 1, 2)),
    f"ScanEncoder_0/{ATTENTION}/out/kernel": ("attention", (1, 0, 2, 1)),
    "Encoder_0/Dense_0/kernel": ("dense", (0, 0, 1, 1)),
    "ScanEncoder_0/Dense_0/kernel": ("dense", (1, 0, 1, 1)),
    "ScanWindows_0/Conv_0/kernel": ("conv", (1, 1, 1, 1)),
    "line/kernel": ("conv", (0, 1, 1, 1)),
    "Conv_0/kernel": ("conv", (0, 3, 1, 1)),
    "DenseGeneral_0/kernel": ("dense", (0, 0, 1, 2)),
    "DenseGeneral_1/kernel": ("dense", (0, 0, 2, 1)),
    "head/kernel": ("output", (0, 0, 1, 1)),
    "head/bias": ("bias", None),
}
BIASES = {f"Encoder_0/{ATTENTION}/query/bias", "ScanEncoder_0/Dense_1/bias", "line/bias"}


@pytest.mark.parametrize("bias", [True, False])
def test_kinds_and_axes_go_by_role(bias):
    params = shapes(Net(bias))
    kinds, axes = trees.kinds(params), trees.axes(params)
    assert list(kinds) == trees.names(params)
    assert {n: (kinds[n], axes.get(n)) for n in ROLES} == ROLES
    assert {kinds[n] for n in BIASES if bias} <= {"bias"}
    assert axes.keys() == {n for n, kind in kinds.items() if kind in trees.KERNELS}


def test_a_kernel_that_says_nothing_of_itself_is_still_one():
    leaf = jax.ShapeDtypeStruct
    tree = {
        "a": {"kernel": leaf((7,), jnp.float32)},
        "b": {"kernel": leaf((2, 3, 4, 5, 6, 7), jnp.float32)},
        "c": {"kernel": leaf((4, 3, 5), jnp.float32), "bias": leaf((9,), jnp.float32)},
        "attn": {"qkv": {"kernel": leaf((4, 12), jnp.float32)}},
    }
    assert trees.kinds(tree) == {
        "a/kernel": "dense",
        "attn/qkv/kernel": "attention",
        "b/kernel": "conv",
        "c/bias": "bias",
        "c/kernel": "conv",
    }
    assert pruning.plan(tree, rate=0.5, levels=1).dense == {}


def test_two_leaves_of_one_name_are_refused():
    leaf = jnp.ones((2, 2))
    with pytest.raises(ValueError, match="two parameters are called 'a/b/kernel'"):
        trees.kinds({"a": {"b/kernel": leaf}, "a/b": {"kernel": leaf}})


def test_every_kernel_is_pruned_and_what_stays_dense_is_named():
    params = shapes(Net())
    plan = pruning.plan(params, rate=0.9, levels=1)
    assert plan.density(1, of="kernels") == pytest.approx(0.1, abs=0.01)
    assert plan.dense == {"Embed_0/embedding": 84, "position": 96}
    assert plan.density(1, of="total") == (plan.total - sum(plan.sizes) + plan.kept(1)) / plan.total
    some = pruning.plan(params, rate=0.9, levels=1, rates={"attention": 0.0, "embedding": 0.5})
    left = {n for n, kind in trees.kinds(params).items() if kind == "attention"}
    assert some.dense.keys() == left | {"position"}
    assert some.density(1, of="kernels") == pytest.approx(
        (sum(some.dense.values()) - 96 + some.kept(1)) / some.kernels
    )
    said = running.describe_plan(some)
    assert "left dense: position (96 weights)" in said
    assert f"of all kernels {some.density(1, of='kernels'):.4f}" in said
    assert pruning.of_mask(jax.tree.map(lambda p: np.ones(p.shape, bool), params), ["head/kernel"])


def test_erdos_renyi_kernel_knows_windows_heads_and_scanned_layers():
    params = shapes(Net())
    plan = pruning.plan(params, rate=0.9, levels=1)
    found = pruning.spread(params, plan)
    assert found.kept(1) == plan.kept(1)
    assert found.sizes == tuple(dict(zip(plan.prunable, plan.sizes, strict=True)).values())
    share = {
        g[0]: c / n for g, c, n in zip(found.groups, found.counts[1], found.sizes, strict=True)
    }
    raw = {
        f"Encoder_0/{ATTENTION}/query/kernel": (12 + 12) / 144,
        f"Encoder_0/{ATTENTION}/out/kernel": (12 + 12) / 144,
        f"ScanEncoder_0/{ATTENTION}/key/kernel": (12 + 12) / 144,
        "ScanEncoder_0/Dense_0/kernel": (12 + 16) / 192,
        "ScanWindows_0/Conv_0/kernel": (5 + 12 + 12) / 720,
        "line/kernel": (5 + 12 + 12) / 720,
    }
    units_of = [share[name] / value for name, value in raw.items()]
    np.testing.assert_allclose(units_of, units_of[0], rtol=0.04)  # Whole weights.


def test_in_degrees_count_the_inputs_of_every_kind_of_unit():
    full = jax.tree.map(lambda p: jnp.ones(p.shape, bool), shapes(Net()))
    found = units.in_degrees(full)
    assert list(found)[-1] == "head"
    for name, (shape, inputs) in {
        f"Encoder_0/{ATTENTION}/query": ((4, 3), 12),
        f"Encoder_0/{ATTENTION}/out": ((12,), 12),
        f"ScanEncoder_0/{ATTENTION}/out": ((3, 12), 12),
        "ScanEncoder_0/Dense_0": ((3, 16), 12),
        "ScanWindows_0/Conv_0": ((3, 12), 60),
        "Conv_0": ((4,), 48),
        "head": ((3,), 5),
    }.items():
        assert found[name].shape == shape
        assert (found[name] == inputs).all()
