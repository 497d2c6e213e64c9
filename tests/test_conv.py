"""The own gradient of a convolution is the gradient of the convolution."""

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.models import conv

SIZES = [(1, 7, 7, 3, 5), (6, 8, 9, 2, 4)]  # images, height, width, channels, outputs
KERNELS = [(1, 1), (3, 3), (5, 5), (2, 3)]
STRIDES = [(1, 1), (2, 2), (1, 2), (3, 3)]
PADDINGS = ["SAME", "VALID", ((1, 1), (2, 2)), ((0, 2), (3, 0)), ((4, 5), (6, 4))]


def inputs(size, kernel):
    n, height, width, channels, outputs = size
    x_key, w_key = jax.random.split(jax.random.key(sum(size)))
    x = jax.random.normal(x_key, (n, height, width, channels))
    return x, jax.random.normal(w_key, (*kernel, channels, outputs))


def both(x, kernel, formulation, strides, padding):
    """Output and both gradients, for one fixed output gradient."""

    @jax.jit
    def run(x, kernel):
        y, pull = jax.vjp(
            lambda x, w: conv.convolve(
                x, w, strides=strides, padding=padding, formulation=formulation
            ),
            x,
            kernel,
        )
        return y, *pull(jnp.sin(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))

    return run(x, kernel)


@pytest.mark.parametrize("padding", PADDINGS, ids=str)
@pytest.mark.parametrize("strides", STRIDES, ids=str)
def test_own_gradient_is_the_gradient_of_xla(strides, padding):
    for kernel in KERNELS:
        for size in SIZES if kernel == (3, 3) else SIZES[1:]:
            x, w = inputs(size, kernel)
            ours = both(x, w, "own", strides, padding)
            xlas = both(x, w, "xla", strides, padding)
            np.testing.assert_array_equal(ours[0], xlas[0])
            for mine, theirs in zip(ours[1:], xlas[1:], strict=True):
                assert mine.dtype == theirs.dtype
                np.testing.assert_allclose(mine, theirs, atol=2e-5 * float(jnp.abs(theirs).max()))


@pytest.mark.parametrize("block_bytes", [1, 2**12, 2**30])
def test_the_weight_gradient_does_not_depend_on_the_block(monkeypatch, block_bytes):
    monkeypatch.setattr(conv, "_BLOCK_BYTES", block_bytes)
    x, w = inputs((6, 8, 8, 2, 4), (3, 3))
    ours, xlas = (both(x, w, f, (1, 1), "SAME")[2] for f in ("own", "xla"))
    np.testing.assert_allclose(ours, xlas, rtol=1e-4, atol=1e-4)


def test_members_may_be_a_mapped_axis():
    x, w = inputs((4, 6, 6, 2, 3), (3, 3))
    x, w = jnp.stack([x, 2 * x]), jnp.stack([w, w + 1])

    def gradient(x, w):
        return jax.grad(lambda w: jnp.sum(conv.convolve(x, w, formulation="own") ** 2))(w)

    alone = jnp.stack([gradient(x[i], w[i]) for i in range(2)])
    np.testing.assert_allclose(jax.vmap(gradient)(x, w), alone, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_gradients_have_the_type_of_the_inputs(dtype):
    x, w = (a.astype(dtype) for a in inputs((2, 5, 5, 2, 3), (3, 3)))
    assert {a.dtype for a in both(x, w, "own", (1, 1), "SAME")} == {jnp.dtype(dtype)}


def test_one_function_chooses_by_backend_and_kind_of_kernel():
    assert conv.choose("cpu", (3, 3, 8, 8)) == "own"
    assert conv.choose("cpu", (3, 8, 8)) == "xla"
    assert {conv.choose(b, (3, 3, 8, 8)) for b in ("gpu", "cuda", "rocm", "tpu")} == {"xla"}


@pytest.mark.parametrize(("backend", "own"), [("cpu", True), ("gpu", False)])
def test_the_choice_is_made_when_jax_traces(monkeypatch, backend, own):
    monkeypatch.setattr(conv, "_backend", lambda: backend)
    program = str(jax.make_jaxpr(conv.convolve)(*inputs((2, 5, 5, 2, 3), (3, 3))))
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
    ours = conv.for_flax("own")(x, w, (1, 1), "SAME", dimension_numbers=numbers, **rest)
    theirs = lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=numbers, **rest)
    np.testing.assert_array_equal(ours, theirs)
