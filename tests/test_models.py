"""Every network of the table keeps the contract, and the published counts of weights."""

import dataclasses
import functools
import inspect
import math
import runpy
import sys
import textwrap

import flax
from flax import linen as nn
from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import models
from ltjax.core import keys, trees
from ltjax.core.types import Variables
from ltjax.models import inits, nets, norm, table

NAMES = [*models.MODELS, "mlp-6-5"]
COMPUTED = ["mlp-6-5", *(name for name in models.MODELS if name.endswith("-tiny"))]
FAST = {"xla_backend_optimization_level": 0}  # To compile, where the time goes.
MNIST, CIFAR = (28, 28, 1), (32, 32, 3)


def tiny(name, **settings):
    """A network for the smallest images that it takes."""
    for side in (8, 16, 32, 64, 128, 256):
        try:
            return models.make(name, input_shape=(side, side, 2), classes=3, **settings)
        except ValueError as error:
            if "too small" not in str(error):
                raise
    raise AssertionError(name)


def images(network, n=4):
    return jax.random.normal(jax.random.key(1), (n, *network.input_shape))


@pytest.mark.parametrize(
    ("name", "shape", "settings", "weights", "parameters"),
    [
        ("lenet-300-100", MNIST, {}, 266_200, 266_610),
        ("mlp-100", (1, 1, 1024), {}, 103_400, 103_510),
        ("conv2", CIFAR, {}, 3_317_952, 3_318_602),
        ("conv2", CIFAR, {"padding": "SAME"}, 4_300_992, 4_301_642),
        ("conv4", CIFAR, {}, 2_425_024, 2_425_930),
        ("conv6", CIFAR, {}, 2_261_184, 2_262_602),
        # 000's Table I with 28x28 crops: 1,386,112 weights for 5 classes (reading 0.2).
        ("lrn2", (28, 28, 3), {}, 1_386_112 + 5 * 192, 1_386_112 + 5 * 192 + 714),
        (
            "lrn2",
            (28, 28, 3),
            {"padding": "VALID"},
            1_066_624 + 5 * 192,
            1_066_624 + 5 * 192 + 714,
        ),
        # He et al.: 0.27M; 2,560 of the weights are the two 1x1 shortcuts.
        ("resnet20", CIFAR, {}, 270_896, 272_474),
        # An extra layer before the head: 64x100 + 100x10 - 64x10 weights more.
        ("resnet20", CIFAR, {"head_hidden": (100,)}, 277_656, 279_334),
    ],
)
def test_published_counts_of_weights(name, shape, settings, weights, parameters):
    network = models.make(name, input_shape=shape, classes=10, **settings)
    found = trees.weights(network.shapes().params, ())
    assert (found.kernels, found.total) == (weights, parameters)


@functools.cache
def everything(name):
    """All that a network computes, as one program."""
    network = tiny(name)
    rng = np.random.default_rng(0)  # NumPy: compiling the networks' own draws takes seconds.

    def draw(leaf):
        if len(leaf.shape) == 1:
            return jnp.asarray(rng.uniform(0.1, 0.9, leaf.shape), leaf.dtype)
        sd = math.sqrt(2 / math.prod(leaf.shape[:-1]))
        return jnp.asarray(rng.normal(scale=sd, size=leaf.shape), leaf.dtype)

    def compute(variables, x):
        def loss(params):
            logits, stats = network.apply(Variables(params, variables.stats), x, train=True)
            return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - logits[:, 0]), (logits, stats)

        grads, trained = jax.grad(loss, has_aux=True)(variables.params)
        return grads, trained, network.apply(variables, x, train=False)

    shapes = network.shapes()
    results = jax.eval_shape(compute, shapes, images(network))
    if name in COMPUTED:
        variables = jax.tree.map(draw, shapes)
        results = jax.jit(compute, compiler_options=FAST)(variables, images(network))
        shapes = variables
    return shapes, *results


@pytest.mark.parametrize("name", NAMES)
def test_every_model_runs_forward_and_back_and_has_plain_names(name):
    variables, grads, (logits, stats), (evaluated, still) = everything(name)
    for array in (logits, evaluated):
        assert array.shape == (4, 3)
        assert array.dtype == jnp.float32
    for ours, theirs in ((stats, variables.stats), (still, stats), (grads, variables.params)):
        assert type(ours) is dict  # As what was given, so a step is traced once.
        trees.check_same_layout(ours, theirs, what="results")
        assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    network = tiny(name, head_hidden=(5,))
    kind_of = trees.kinds(network.shapes().params, head=network.head)
    assert "other" not in kind_of.values()
    assert [n for n, kind in kind_of.items() if kind == "output"] == ["head/kernel"]
    assert kind_of["head_hidden_0/kernel"] == "dense"
    assert ("conv" in kind_of.values()) == bool(table.row(name).paddings)
    assert ("norm" in kind_of.values()) == bool(variables.stats)


@pytest.mark.parametrize("name", COMPUTED)
def test_everything_is_trained_and_running_statistics_move_in_training_only(name):
    variables, grads, (logits, moved), (evaluated, still) = everything(name)
    for leaf, grad in zip(trees.names(grads), jax.tree.leaves(grads), strict=True):
        assert np.isfinite(grad).all(), leaf
        assert np.any(grad != 0), leaf
    jax.tree.map(np.testing.assert_array_equal, still, variables.stats)
    for before, after in zip(jax.tree.leaves(variables.stats), jax.tree.leaves(moved), strict=True):
        assert np.any(before != after)
    if not variables.stats:
        np.testing.assert_allclose(logits, evaluated, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_convolutions_have_the_gradient_that_is_fast_on_cpus(name):
    network = tiny(name)
    apply = functools.partial(network.apply, train=True)
    program = str(jax.make_jaxpr(apply)(network.shapes(), images(network)))
    assert program.count("conv_general_dilated") == program.count("name=_with_own_gradient")
    assert ("name=_with_own_gradient" in program) == bool(table.row(name).paddings)


def test_names_of_a_residual_network_and_its_stages_which_halve_the_image():
    assert {n.rsplit("/", 1)[0] for n in trees.names(tiny("resnet-tiny").shapes().params)} == {
        *("conv_0", "norm_0", "head", "block_2_0/shortcut_conv", "block_2_0/shortcut_norm"),
        *(
            f"block_{stage}_0/{part}_{i}"
            for stage in (1, 2)
            for part in ("conv", "norm")
            for i in (0, 1)
        ),
    }
    build = models.MODELS["resnet20"].build
    module = build(classes=10, kernel_init=inits.parse("he_normal"), padding="SAME")

    def activations(key, x):
        variables = module.init(key, x, train=False)
        _, seen = module.apply(variables, x, train=False, capture_intermediates=True)
        return seen["intermediates"]

    seen = jax.eval_shape(activations, jax.random.key(0), jnp.zeros((2, *CIFAR)))
    found = [seen[f"block_{stage}_2"]["__call__"][0].shape for stage in (1, 2, 3)]
    assert found == [(2, 32, 32, 16), (2, 16, 16, 32), (2, 8, 8, 64)]


def test_equal_keys_draw_equal_weights():
    network = tiny("conv-tiny")
    draw = jax.jit(network.init, compiler_options=FAST)
    a, b, c = (draw(jax.random.key(seed)).params for seed in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, a, b)
    assert (np.asarray(a["conv_0"]["kernel"]) != np.asarray(c["conv_0"]["kernel"])).any()


SPREADS = {
    "truncated_normal:0.1": 0.1 * 0.87963,  # Of a normal distribution cut at 2 sd.
    "truncated_normal:0.025": 0.025 * 0.87963,
    "glorot_normal": math.sqrt(2 / 600),
    "glorot_uniform": math.sqrt(2 / 600),
    "he_normal": math.sqrt(2 / 400),
    "he_normal_fan_out": math.sqrt(2 / 200),
}


@pytest.mark.parametrize("init", [*inits.INITS, *(init for init in SPREADS if ":" in init)])
def test_kernels_have_the_spread_asked_for_and_biases_are_zero(init):
    sd = SPREADS[init]
    network = models.make("mlp-200", input_shape=(20, 20, 1), classes=2, init=init)
    params = network.init(jax.random.key(0)).params
    kernel = np.asarray(params["dense_0"]["kernel"])
    assert kernel.std() == pytest.approx(sd, rel=0.01)
    assert not np.asarray(params["dense_0"]["bias"]).any()
    bound = {"glorot_uniform": math.sqrt(3), "truncated": 2 / 0.87963}
    cut = bound.get(init, bound["truncated"])
    assert 0.98 * cut * sd < np.abs(kernel).max() <= cut * sd * 1.0001


@pytest.mark.parametrize(
    ("name", "default"), [("mlp-9", "glorot_normal"), ("resnet-tiny", "he_normal")]
)
def test_each_model_has_a_default_initialization(name, default):
    def draws(key):
        return [tiny(name, init=init).init(key) for init in ("", default)]

    ours, named = jax.jit(draws, compiler_options=FAST)(jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, ours, named)
    for leaf, values in zip(trees.names(ours), jax.tree.leaves(ours), strict=True):
        if leaf.endswith(("/bias", "/mean")):
            assert not np.any(values), leaf
        if leaf.endswith(("/scale", "/var")):
            np.testing.assert_array_equal(values, 1)


@pytest.mark.parametrize("size", [(8, 8), (7, 3)])
def test_pooling_is_the_pooling_of_flax(size):
    x = jax.random.normal(jax.random.key(0), (2, *size, 3))
    pairs = [
        (nets.max_pool, lambda x: nn.max_pool(x, (2, 2), (2, 2))),
        *(
            (
                functools.partial(nets.max_pool_overlapping, padding=padding),
                lambda x, padding=padding: nn.max_pool(x, (3, 3), (2, 2), padding),
            )
            for padding in ("SAME", "VALID")
        ),
    ]

    @functools.partial(jax.jit, compiler_options=FAST)
    def compute(x):
        pooled = [(pool(x), theirs(x)) for pool, theirs in pairs]
        return pooled, [jax.grad(lambda x, p=p: jnp.sum(p(x) ** 3))(x) for p in pairs[0]]

    pooled, slopes = compute(x)
    for ours, theirs in pooled:
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(*slopes, rtol=1e-6)


def test_local_response_normalization_by_its_formula():
    x = np.random.default_rng(0).normal(size=(2, 3, 3, 12)).astype(np.float32) * 20
    expected = np.empty_like(x)
    for c in range(12):
        near = x[..., max(0, c - 4) : c + 5]
        expected[..., c] = x[..., c] / (1 + 0.001 / 9 * (near**2).sum(-1)) ** 0.75
    np.testing.assert_allclose(nets.local_response_norm(jnp.asarray(x)), expected, rtol=1e-5)


def test_batch_normalization_is_that_of_flax():
    x = 3 * jax.random.normal(jax.random.key(0), (5, 4, 4, 6)) + 2
    weight = jax.random.normal(jax.random.key(1), x.shape)
    scale, bias = jnp.linspace(0.5, 2, 6), jnp.linspace(-1, 1, 6)
    stats = {"mean": jnp.linspace(-1, 1, 6), "var": jnp.linspace(1, 3, 6)}
    variables = {"params": {"scale": scale, "bias": bias}, "batch_stats": stats}

    def ours(variables, x, train):
        return norm.Norm().apply(variables, x, train=train, mutable=["batch_stats"])

    def theirs(variables, x, train):
        module = nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-5)
        return module.apply(variables, x, mutable=["batch_stats"])

    def gradients(f):
        def loss(params, x):
            y, new = f({**variables, "params": params}, x, True)
            return jnp.sum(y * weight), new

        return jax.grad(loss, argnums=(0, 1), has_aux=True)(variables["params"], x)

    def results(f):
        return f(variables, x, False)[0], f(variables, x, True), gradients(f)

    a, b = jax.jit(lambda: [results(f) for f in (ours, theirs)], compiler_options=FAST)()
    jax.tree.map(lambda p, q: np.testing.assert_allclose(p, q, rtol=1e-4, atol=1e-5), a, b)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("conv22", {}, r"no model 'conv22'; did you mean conv2"),
        ("resnet-20", {}, r"did you mean resnet20"),
        ("vgg", {}, r"there are: .*mlp-WIDTHS"),
        ("mlp-", {}, r"no model 'mlp-'"),
        ("mlp-30-0", {}, r"'mlp-30-0' needs one width of at least 1 a hidden layer"),
        ("lenet--30", {}, r"'lenet--30' needs one width"),
        ("mlp-9", {"init": "glorot"}, r"no initialization 'glorot'; did you mean glorot_"),
        ("mlp-9", {"init": "truncated_normal"}, r"for instance truncated_normal:0.1"),
        ("mlp-9", {"init": "truncated_normal:x"}, r"for instance truncated_normal:0.1"),
        ("mlp-9", {"init": "truncated_normal:-1"}, r"needs a positive standard deviation"),
        ("mlp-9", {"init": "truncated_normal:inf"}, r"needs a positive standard deviation"),
        ("mlp-9", {"padding": "SAME"}, r"mlp-9 has no padding 'SAME'; it takes none"),
        ("resnet20", {"padding": "VALID"}, r"it takes SAME$"),
        ("conv2", {"padding": "same"}, r"it takes VALID or SAME"),
        ("mlp-9", {"head_hidden": (0,)}, r"each at least 1; got \(0,\)"),
        ("mlp-9", {"classes": 0}, r"at least 1; got 0"),
        ("mlp-9", {"input_shape": (8, 8)}, r"got \(8, 8\)"),
        ("conv6", {"input_shape": (4, 4, 1)}, r"images \(4, 4, 1\) are too small for conv6"),
        ("conv4", {"padding": "VALID"}, r"images \(8, 8, 1\) are too small for conv4"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(name, settings, message):
    with pytest.raises(ValueError, match=message) as caught:
        models.make(name, **{"input_shape": (8, 8, 1), "classes": 3, **settings})
    assert "\n" not in str(caught.value)


class Own(nn.Module):
    """A module as users write them: with any of the parts that they may have."""

    parts: tuple[str, ...] = ()
    head: str = "head"

    def compute(self, x, train):
        has = self.parts.__contains__
        x = nn.Dense(6, name="first")(x.mean((1, 2)))
        if has("norm"):
            x = nn.BatchNorm(use_running_average=not train, name="norm")(x)
        if has("still"):
            x = nn.remat(nn.BatchNorm)(use_running_average=True, name="still")(x)
        if has("turned"):
            x = nn.BatchNorm(use_running_average=train)(x)
        if has("dropout"):
            x = nn.Dropout(0.5, deterministic=not train, name="drop")(x)
        if has("stuck"):
            x = nn.remat(nn.BatchNorm)(momentum=1, use_running_average=not train, name="stuck")(x)
        if has("idle"):
            x = type("Other", (nn.Dropout,), {})(np.float32(0.5), deterministic=True, name="idle")(
                x
            )
        if has("unset"):
            x = nn.Dropout(0.5)(x)
        if has("always"):
            x = nn.Dropout(0.5, deterministic=False)(x)
        if has("attention"):
            x = nn.MultiHeadAttention(2, dropout_rate=0.5, deterministic=True)(x)
        if has("noise") and train:
            x += jax.random.normal(self.make_rng("noise"), x.shape)
        if has("cache"):
            self.variable("cache", "seen", jnp.zeros, ())
        if has("late loss") and train:
            self.sow("losses", "size", (x**2).sum())
        if has("look"):
            self.sow("intermediates", "seen", x)
        if has("list"):
            x += sum(self.param("list", lambda _: [jnp.ones((1, 6)), jnp.ones((1, 6))]))
        if has("twins"):
            x += self.param("first/kernel", lambda _: jnp.ones((1, 6)))
        if has("whole"):
            x += self.param("whole", lambda _: jnp.ones((1, 6), jnp.int32))
        if has("late"):
            x = nn.Dense(6, name="late")(x) if train else x
        if has("axis"):
            x = jax.lax.pmean(x, "nowhere")
        x = nn.Dense(5, name=self.head, dtype=jnp.bfloat16 if has("half") else None)(x)
        outputs = {"pair": (x, x), "column": x[:, 0], "labels": x.astype("uint8")}
        return outputs.get(self.parts[0] if self.parts else "", x)


def called(arguments, trains, **fields):
    """A module whose `__call__` takes these arguments and trains where the expression holds."""
    space = {"nn": nn}
    exec(f"def __call__(self, x{arguments}): return self.compute(x, {trains})", space)
    kinds = {field: type(value) for field, value in fields.items()}
    body = {"__annotations__": kinds, "__call__": nn.compact(space["__call__"])}
    return type("Mine", (Own,), fields | body)


Trains = called(", train", "train")
Plain = called("", "False")


PARTS = ("norm", "dropout", "noise", "look")


def test_a_module_draws_by_its_key_and_moves_its_statistics_in_training_only(key):
    network = models.from_flax(Trains(PARTS), input_shape=(4, 4, 2))
    network = models.central(network, (5, 6, 2))

    @functools.partial(jax.jit, compiler_options=FAST)
    def compute(x, keys):
        variables = network.init(keys[0])
        evaluated = [network.apply(variables, x, train=False, key=k) for k in (None, *keys)]
        return variables, evaluated, [network.apply(variables, x, train=True, key=k) for k in keys]

    given = [key, key, jax.random.key(2)]
    variables, evaluated, results = compute(images(network), given)
    (a, moved), (b, _), (c, _) = results
    for logits, stats in evaluated:
        np.testing.assert_array_equal(logits, evaluated[0][0])
        jax.tree.map(np.testing.assert_array_equal, stats, variables.stats)
    np.testing.assert_array_equal(a, b)
    assert np.any(a != c)
    assert np.any(a != evaluated[0][0])
    for before, after in zip(jax.tree.leaves(variables.stats), jax.tree.leaves(moved), strict=True):
        assert np.any(before != after)


@pytest.mark.parametrize(
    "module",
    [
        called(", train: bool = False", "train"),
        called(", *, training=False", "training"),
        called(", is_training=False, scale=1.0, debug=False", "is_training"),
        called(", deterministic=True, **rest", "not deterministic"),
        called(", use_running_average", "not use_running_average"),
        called(", train=False, deterministic=True", "train and not deterministic"),
        called("", "self.training", training=False),
        called("", "not self.deterministic", deterministic=True),
        called(", train=None", "nn.merge_param('train', self.train, train)", train=None),
    ],
)
@pytest.mark.parametrize("train", [False, True])
def test_a_module_is_told_by_any_name_whether_it_trains(module, train, key):
    def program(module):
        network = models.from_flax(module(PARTS), input_shape=(4, 4, 2))
        apply = functools.partial(network.apply, train=train, key=key)
        return str(jax.make_jaxpr(apply)(network.shapes(), images(network)))

    assert program(module) == program(Trains)


def test_each_collection_of_random_numbers_has_a_key_of_its_own_name(key):
    class Two(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            x = nn.Dense(2, name="head")(x.reshape(len(x), -1))
            if train:
                drawn = [jax.random.uniform(self.make_rng(n)) for n in ("a", "b")]
                x = 0 * x + jnp.stack(drawn)[None]
            return x

    network = models.from_flax(Two(), input_shape=(1, 1, 1))
    variables = network.init(key)
    with pytest.warns(UserWarning, match=r"\(a, b\) in training and got no key"):
        _ = network.apply(variables, images(network), train=True)
    ours, _ = network.apply(variables, images(network), train=True, key=key)
    rngs = {n: keys.derive(key, f"rng {n}") for n in ("a", "b")}
    theirs = Two().apply({"params": variables.params}, images(network), train=True, rngs=rngs)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("module", "classes"),
    [(Plain(), None), (Trains(), 5), (Plain(head="out"), 5), (Plain(("half",)), 5)],
)
def test_own_modules_become_networks(module, classes):
    network = models.from_flax(
        module, input_shape=(6, 6, 2), classes=classes, head=module.head, name="mine"
    )
    assert (network.name, network.classes, network.head) == ("mine", 5, module.head)
    variables = network.shapes()
    assert trees.kinds(variables.params, head=network.head)["first/kernel"] == "dense"
    for train in (False, True):
        apply = functools.partial(network.apply, train=train)
        logits, _ = jax.eval_shape(apply, variables, images(network))
        assert (logits.shape, logits.dtype) == ((4, 5), jnp.float32)


def test_names_of_flax_that_hold_a_slash_stay_apart():
    class Normed(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            x = nn.WeightNorm(nn.Dense(3))(x.reshape(len(x), -1))
            return nn.SpectralNorm(nn.Dense(3, name="head"))(x, update_stats=train)

    variables = models.from_flax(Normed(), input_shape=(2, 2, 1)).shapes()
    for tree in variables:
        assert len(set(trees.names(tree))) == len(jax.tree.leaves(tree)) > 1
        assert any("/" in key for part in tree.values() for key in part)


class NnxNet(nnx.Module):
    def __init__(self, rngs):
        self.norm = nnx.BatchNorm(784, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(784, 10, rngs=rngs)

    def __call__(self, x):
        return self.head(self.drop(self.norm(x.reshape(len(x), -1))))


def test_the_two_functions_of_the_docstring_make_a_network_of_an_nnx_module(key):
    lines = inspect.getdoc(models.Network).splitlines()
    code = textwrap.dedent("\n".join(line for line in lines if not line or line[:4] == "    "))
    code = code[: code.index("classes=10)") + len("classes=10)")]
    space = {"jax": jax, "nnx": nnx, "models": models, "Variables": Variables, "Net": NnxNet}
    exec(code, space)
    network = space["network"]
    variables = network.init(key)
    assert trees.kinds(variables.params)["head/kernel"] == "output"
    apply = jax.jit(network.apply, static_argnames="train")
    a, b = (apply(variables, images(network), train=True, key=jax.random.key(i)) for i in (1, 2))
    logits, still = apply(variables, images(network), train=False)
    assert np.any(a[0] != b[0])
    assert np.any(a[0] != logits)
    jax.tree.map(np.testing.assert_array_equal, still, variables.stats)
    assert np.any(a[1]["norm"]["mean"] != still["norm"]["mean"])


KEYWORDS = called(", **rest", "rest.get('train', False)")
INFERENCE = called(", inference=True", "not inference")


@pytest.mark.parametrize(
    ("module", "settings", "message"),
    [
        (Plain(), {"head": "top"}, r"head 'top' names no module .*; there are: first, head; pass"),
        (Plain(), {"head": "first"}, r"head 'first' of Mine computes 6 values, not the 5 logits"),
        (Plain(), {"classes": 4}, r"maps images \[2, ...\] to \[2, 5\]; it must be \[2, 4\]"),
        (Plain(), {"classes": 0}, r"classes is the number of logits, at least 1; got 0"),
        (Plain(("column",)), {}, r"to \[2\]; it must be \[2, classes\]"),
        (Plain(("labels",)), {}, r"returns uint8; logits are floats"),
        (Plain(("pair",)), {}, r"returns a tuple; a network returns its logits alone"),
        (Plain(("norm",)), {}, r"running statistics but no argument `train`"),
        (Trains(("still", "norm")), {}, r"never moves its statistics still/mean, still/var"),
        (Trains(("stuck",)), {}, r"never moves its .*: stuck keeps a share of 1 of the old ones"),
        (INFERENCE(("norm",)), {}, r"running statistics but no argument `train`"),
        (Trains(("turned",)), {}, r"train=False; it must draw and change nothing.*ModifyScope"),
        (Plain(("cache",)), {}, r"variables cache; a network may have params and batch_stats"),
        (Trains(("late loss",)), {}, r"variables losses; .* a loss that a module sows"),
        (Plain(("idle",)), {}, r"without dropout: idle never acts; tell it by an argument `train`"),
        (Trains(("idle", "dropout")), {}, r"without dropout: idle never acts"),
        (Trains(("attention",)), {}, r"without dropout: MultiHeadAttention_0 never acts"),
        (Plain(("unset",)), {}, r"constructor or at call time. Set it in one place: from an"),
        (Plain(("always",)), {}, r"train=False; it must draw and change nothing .*\"dropout\""),
        (INFERENCE(("dropout",)), {}, r"without dropout: drop never acts"),
        (INFERENCE(("noise",)), {}, r"only where `inference` is False, which nobody says"),
        (called("", "self.on", on=False)(("noise",)), {}, r"only where `on` is True, which nobody"),
        (KEYWORDS(("dropout",)), {}, r"takes any keyword, so nobody can know which one says"),
        (
            called(", mode", "mode == 'train'")(),
            {},
            r"argument `mode` that nobody gives it; .*train",
        ),
        (called(", train, /", "train")(), {}, r"argument `train` that nobody gives it"),
        (
            called(", train=None", "nn.merge_param('train', self.train, train)", train=True)(),
            {},
            r"passed to the constructor and at call time",
        ),
        (Plain(("list",)), {}, r"params/list/0 of Mine does not lie in dicts by name"),
        (Plain(("twins",)), {}, r"two leaves of Mine are called params/first/kernel"),
        (Plain(("whole",)), {}, r"params/whole of Mine is int32; what is trained is floats"),
        (Trains(("late",)), {}, r"fails on images \[2, 6, 6, 2\] with train=True: ScopeParamNot"),
        (Plain(("axis",)), {}, r"Mine draws no weights for images \(6, 6, 2\): NameError"),
        (Plain, {}, r"takes a module, not its class; give Mine\(...\)"),
        (NnxNet(nnx.Rngs(0)), {}, r"NnxNet is a Flax NNX module .* help\(ltjax.models.Network\)"),
        (len, {}, r"builtin_function_or_method is no module and"),
    ],
)
def test_own_modules_that_are_no_networks_are_refused(module, settings, message):
    with pytest.raises(ValueError, match=message) as caught:
        models.from_flax(module, **{"input_shape": (6, 6, 2), **settings})
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value.__cause__, flax.errors.FlaxError)


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((6, 6, 2), "f"), np.zeros((3, 6, 5, 2), "f"), np.zeros((3, 6, 6, 2), np.uint8)],
)
def test_images_of_another_kind_are_refused_in_one_line(wrong):
    network = models.from_flax(Plain(), input_shape=(6, 6, 2))
    with pytest.raises(ValueError, match=r"takes images as floats \[n, 6, 6, 2\]; got [^\n]*$"):
        network.apply(network.shapes(), wrong, train=False)


def test_doubles_of_64_bit_mode_are_single(key):
    class Double(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = x.reshape(len(x), -1)
            return nn.Dense(2, name="head")(x + self.param("shift", nn.initializers.normal(), ()))

    with jax.enable_x64(True):
        network = models.from_flax(Double(), input_shape=(1, 1, 1))
        assert {p.dtype for p in jax.tree.leaves(network.init(key))} == {np.dtype("float32")}


def test_a_row_added_from_outside_is_a_model_like_the_others(monkeypatch):
    def build(*, classes, kernel_init, head_hidden):
        return nets.Mlp((4, *head_hidden), classes=classes, kernel_init=kernel_init)

    monkeypatch.setitem(models.MODELS, "mine", models.Row(build))
    network = tiny("mine")
    assert (network.name, network.classes) == ("mine", 3)
    with pytest.raises(ValueError, match=r"did you mean mine"):
        tiny("mines")
    monkeypatch.delitem(sys.modules, "experiments.settings", raising=False)  # Of other tests.
    settings = runpy.run_module("experiments.settings")
    fields = {f.name: f for f in dataclasses.fields(settings["FindTicket"])}
    assert "mine" in fields["model"].metadata["help"]


def test_a_central_network_sees_the_centre_and_takes_windows_as_they_are(key):
    inner = models.make("mlp-4", input_shape=(8, 6, 3), classes=4)
    outer = models.central(inner, (12, 9, 3))
    assert outer.input_shape == (12, 9, 3)
    variables = outer.init(key)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, inner.init(key))
    images = jax.random.normal(key, (5, 12, 9, 3))
    seen, _ = outer.apply(variables, images, train=False)
    wanted, _ = inner.apply(variables, images[:, 2:10, 1:7], train=False)
    np.testing.assert_array_equal(seen, wanted)
    cut, _ = outer.apply(variables, images[:, 2:10, 1:7], train=True)
    np.testing.assert_array_equal(cut, wanted)
    with pytest.raises(
        ValueError, match=r"window of \[8, 6, 3\] does not fit in images of \[8, 5, 3\]"
    ):
        models.central(inner, (8, 5, 3))


def test_making_a_network_computes_nothing(monkeypatch):
    convolve = jax.lax.conv_general_dilated

    def traced(x, *rest, **settings):
        assert isinstance(x, jax.core.Tracer)
        return convolve(x, *rest, **settings)

    monkeypatch.setattr(jax.lax, "conv_general_dilated", traced)
    network = models.make("resnet20", input_shape=CIFAR, classes=10)
    assert network.shapes().params["head"]["kernel"].shape == (64, 10)
