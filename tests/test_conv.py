"""The own gradient of a convolution is the gradient of the convolution."""

import functools

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.models import conv

EVEN, ODD = (6, 8, 10, 2, 4), (1, 7, 9, 3, 5)  # images, height, width, channels, outputs
STRIDES = [(1, 1), (2, 2), (1, 3)]
PADDINGS = ["SAME", "VALID", ((1, 1), (2, 2)), ((0, 2), (3, 0)), ((4, 5), (6, 4))]
CASES = [((3, 3), strides, padding) for strides in STRIDES for padding in PADDINGS]
CASES += [
    (kernel, strides, padding)
    for kernel in ((1, 1), (5, 5), (2, 3))
    for strides in STRIDES[:2]
    for padding in PADDINGS[:3]
]
ORDER = ("NHWC", "HWIO", "NHWC")
FAST = {"xla_backend_optimization_level": 0}  # The tests spend their time in the compiler.


def inputs(size, kernel):
    n, height, width, channels, outputs = size
    rng = np.random.default_rng(sum(size))
    x = rng.normal(size=(n, height, width, channels))
    w = rng.normal(size=(*kernel, channels, outputs))
    return jnp.asarray(x, jnp.float32), jnp.asarray(w, jnp.float32)


def xla(x, w, strides, padding):
    return lax.conv_general_dilated(x, w, strides, padding, dimension_numbers=ORDER)


def outputs_and_gradients(x, w, strides=(1, 1), padding="SAME"):
    """Ours and XLA's: the output, and both gradients for one fixed output gradient."""

    def run(convolve):
        y, pull = jax.vjp(lambda x, w: convolve(x, w, strides, padding), x, w)
        return y, *pull(jnp.sin(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))

    return run(conv.convolve), run(xla)


@pytest.mark.parametrize("kernel", [(3, 3), (1, 1), (5, 5), (2, 3)], ids=str)
def test_own_gradient_is_the_gradient_of_xla(kernel):
    cases = [(i, *case) for i, case in enumerate(CASES) if case[0] == kernel]
    sized = [inputs(ODD if i % 2 else EVEN, kernel) for i, *_ in cases]

    @functools.partial(jax.jit, compiler_options=FAST)
    def every(sized):
        return [
            outputs_and_gradients(*arrays, *settings)
            for arrays, (_, _, *settings) in zip(sized, cases, strict=True)
        ]

    results = every(sized)
    for case, (ours, xlas) in zip(cases, results, strict=True):
        np.testing.assert_array_equal(ours[0], xlas[0], err_msg=str(case))
        for mine, theirs in zip(ours[1:], xlas[1:], strict=True):
            assert mine.dtype == theirs.dtype
            near = 2e-5 * float(jnp.abs(theirs).max())
            np.testing.assert_allclose(mine, theirs, atol=near, rtol=0, err_msg=str(case))


@pytest.mark.parametrize("block_bytes", [1, 2**12, 2**30])
def test_the_weight_gradient_does_not_depend_on_the_block(monkeypatch, block_bytes):
    monkeypatch.setattr(conv, "_BLOCK_BYTES", block_bytes)
    shapes = inputs((6, 8, 8, 2, 4), (3, 3))
    ours, xlas = jax.jit(outputs_and_gradients, compiler_options=FAST)(*shapes)
    np.testing.assert_allclose(ours[2], xlas[2], rtol=1e-4, atol=1e-4)


def test_members_may_be_a_mapped_axis():
    x, w = inputs((4, 6, 6, 2, 3), (3, 3))
    x, w = jnp.stack([x, 2 * x]), jnp.stack([w, w + 1])

    def gradient(x, w):
        return jax.grad(lambda w: jnp.sum(conv.convolve(x, w, (1, 1), "SAME") ** 2))(w)

    alone = jax.jit(lambda x, w: jax.lax.map(lambda member: gradient(*member), (x, w)))(x, w)
    np.testing.assert_allclose(jax.jit(jax.vmap(gradient))(x, w), alone, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_gradients_have_the_type_of_the_inputs(dtype):
    x, w = (a.astype(dtype) for a in inputs((2, 5, 5, 2, 3), (3, 3)))
    ours, _ = jax.eval_shape(outputs_and_gradients, x, w)
    assert {a.dtype for a in ours} == {jnp.dtype(dtype)}


def program(*shapes, **settings):
    x, w = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
    settings = {"dimension_numbers": lax.conv_dimension_numbers(*shapes, None)} | settings
    pads = ((1, 1),) * (len(shapes[0]) - 2)
    strides = (1,) * len(pads)
    return str(jax.make_jaxpr(lambda x, w: conv.convolve(x, w, strides, pads, **settings))(x, w))


@pytest.mark.parametrize(
    ("backend", "own"), [("cpu", True), *((b, False) for b in ("gpu", "cuda", "rocm", "tpu"))]
)
def test_the_backend_decides_when_jax_traces(monkeypatch, backend, own):
    monkeypatch.setattr(conv, "_backend", lambda: backend)
    numbers = lax.conv_dimension_numbers((2, 5, 5, 2), (3, 3, 2, 3), ORDER)
    found = program((2, 5, 5, 2), (3, 3, 2, 3), dimension_numbers=numbers)
    assert ("custom_vjp" in found) == own


def test_a_default_device_decides_where_there_is_one():
    with jax.default_device(jax.devices("cpu")[0]):
        assert conv._backend() == "cpu"


@pytest.mark.parametrize(
    "rest", [{"rhs_dilation": (2, 2)}, {"lhs_dilation": (2, 2)}, {"feature_group_count": 2}]
)
def test_dilated_and_grouped_convolutions_of_flax_go_to_xla(rest):
    x, w = inputs((2, 7, 7, 4, 6), (3, 3))
    w = w[:, :, : 4 // rest.get("feature_group_count", 1)]
    rest = {"dimension_numbers": lax.conv_dimension_numbers(x.shape, w.shape, ORDER)} | rest
    pads = ((1, 1), (1, 1))
    ours = conv.convolve(x, w, (1, 1), pads, **rest)
    np.testing.assert_array_equal(ours, lax.conv_general_dilated(x, w, (1, 1), pads, **rest))


def test_convolutions_over_one_axis_go_to_xla():
    assert "custom_vjp" not in program((2, 4, 7), (3, 4, 3))
