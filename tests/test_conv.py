"""The own gradient of a convolution is the gradient of the convolution."""

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.models import conv

EVEN, ODD = (6, 8, 10, 2, 4), (1, 7, 9, 3, 5)  # images, height, width, channels, outputs
STRIDES = [(1, 1), (2, 2), (1, 3)]
PADDINGS = ["SAME", "VALID", ((1, 1), (2, 2)), ((0, 2), (3, 0)), ((4, 5), (6, 4))]
CASES = [
    *(((3, 3), strides, padding) for strides in STRIDES for padding in PADDINGS),
    *(
        (kernel, strides, padding)
        for kernel in ((1, 1), (5, 5), (2, 3))
        for strides in STRIDES[:2]
        for padding in PADDINGS[:3]
    ),
]


def inputs(size, kernel):
    n, height, width, channels, outputs = size
    rng = np.random.default_rng(sum(size))
    x = rng.normal(size=(n, height, width, channels))
    w = rng.normal(size=(*kernel, channels, outputs))
    return jnp.asarray(x, jnp.float32), jnp.asarray(w, jnp.float32)


def outputs_and_gradients(x, w, *, strides=(1, 1), padding="SAME"):
    """For each formulation the output, and both gradients for one fixed output gradient."""

    def run(x, w, formulation):
        y, pull = jax.vjp(
            lambda x, w: conv.convolve(
                x, w, strides=strides, padding=padding, formulation=formulation
            ),
            x,
            w,
        )
        return y, *pull(jnp.sin(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))

    # Without optimization: the tests spend their time in the compiler.
    return jax.jit(
        lambda x, w: [run(x, w, f) for f in ("own", "xla")],
        compiler_options={"xla_backend_optimization_level": 0},
    )(x, w)


@pytest.mark.parametrize(("kernel", "strides", "padding"), CASES, ids=str)
def test_own_gradient_is_the_gradient_of_xla(kernel, strides, padding):
    size = ODD if (CASES.index((kernel, strides, padding)) % 2) else EVEN
    ours, xlas = outputs_and_gradients(*inputs(size, kernel), strides=strides, padding=padding)
    np.testing.assert_array_equal(ours[0], xlas[0])
    for mine, theirs in zip(ours[1:], xlas[1:], strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_allclose(mine, theirs, atol=2e-5 * float(jnp.abs(theirs).max()), rtol=0)


@pytest.mark.parametrize("block_bytes", [1, 2**12, 2**30])
def test_the_weight_gradient_does_not_depend_on_the_block(monkeypatch, block_bytes):
    monkeypatch.setattr(conv, "_BLOCK_BYTES", block_bytes)
    x, w = inputs((6, 8, 8, 2, 4), (3, 3))
    ours, xlas = outputs_and_gradients(x, w)
    np.testing.assert_allclose(ours[2], xlas[2], rtol=1e-4, atol=1e-4)


def test_members_may_be_a_mapped_axis():
    x, w = inputs((4, 6, 6, 2, 3), (3, 3))
    x, w = jnp.stack([x, 2 * x]), jnp.stack([w, w + 1])

    def gradient(x, w):
        return jax.grad(lambda w: jnp.sum(conv.convolve(x, w, formulation="own") ** 2))(w)

    alone = jax.jit(lambda x, w: jax.lax.map(lambda member: gradient(*member), (x, w)))(x, w)
    np.testing.assert_allclose(jax.jit(jax.vmap(gradient))(x, w), alone, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_gradients_have_the_type_of_the_inputs(dtype):
    x, w = (a.astype(dtype) for a in inputs((2, 5, 5, 2, 3), (3, 3)))
    ours, _ = outputs_and_gradients(x, w)
    assert {a.dtype for a in ours} == {jnp.dtype(dtype)}


def test_one_function_chooses_by_backend_and_kind_of_kernel():
    assert conv.choose("cpu", (3, 3, 8, 8)) == "own"
    assert conv.choose("cpu", (3, 8, 8)) == "xla"
    assert {conv.choose(b, (3, 3, 8, 8)) for b in ("gpu", "cuda", "rocm", "tpu")} == {"xla"}


@pytest.mark.parametrize(("backend", "own"), [("cpu", True), ("gpu", False)])
def test_the_choice_is_made_when_jax_traces(monkeypatch, backend, own):
    monkeypatch.setattr(conv, "_backend", lambda: backend)
    program = str(
        jax.make_jaxpr(lambda x, w: conv.convolve(x, w))(*inputs((2, 5, 5, 2, 3), (3, 3)))
    )
    assert ("custom_vjp" in program) == own


def test_a_default_device_decides_where_there_is_one():
    with jax.default_device(jax.devices("cpu")[0]):
        assert conv._backend() == "cpu"


def test_an_unknown_formulation_is_refused_with_the_names():
    with pytest.raises(ValueError, match=r"no formulation of convolutions 'owm'; did you mean own"):
        conv.convolve(*inputs((2, 5, 5, 2, 3), (3, 3)), formulation="owm")


@pytest.mark.parametrize(
    "rest", [{"rhs_dilation": (2, 2)}, {"lhs_dilation": (2, 2)}, {"feature_group_count": 2}]
)
def test_dilated_and_grouped_convolutions_of_flax_go_to_xla(rest):
    groups = rest.get("feature_group_count", 1)
    x, w = inputs((2, 7, 7, 4, 6), (3, 3))
    w = w[:, :, : 4 // groups]
    numbers = lax.conv_dimension_numbers(x.shape, w.shape, ("NHWC", "HWIO", "NHWC"))
    pads = ((1, 1), (1, 1))
    ours = conv.for_flax("own")(x, w, (1, 1), pads, dimension_numbers=numbers, **rest)
    theirs = lax.conv_general_dilated(x, w, (1, 1), pads, dimension_numbers=numbers, **rest)
    np.testing.assert_array_equal(ours, theirs)
