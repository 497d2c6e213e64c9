"""Convolutions whose gradients are fast on CPUs too.

XLA's CPU backend computes a convolution well where its dimensions are in canonical order
(NHWC, HWIO, NHWC), and the gradients that automatic differentiation writes badly: inside a
`lax.scan` they are 70 to 90 times slower than outside. There both gradients are written with
canonical operations, and what has no padding is padded, which XLA computes at two fifths of the
speed otherwise.
"""

from collections.abc import Sequence
import functools
from typing import Any, TypeAlias

import jax
from jax import lax
import jax.numpy as jnp

Array: TypeAlias = jax.Array
Pair: TypeAlias = tuple[int, int]
Pads: TypeAlias = tuple[Pair, Pair]

_ORDER = ("NHWC", "HWIO", "NHWC")
# Bytes of stacked shifts that one product reads: they should stay in a core's second-level cache.
_BLOCK_BYTES = 5 * 2**18


def convolve(
    x: Array, kernel: Array, strides: Sequence[int], padding: str | Sequence[Pair], **rest: Any
) -> Array:
    """A value for `flax.linen.Conv(conv_general_dilated=...)`, in the order NHWC, HWIO, NHWC.

    The backend decides how the gradients are written when JAX traces, so a program keeps what it
    was traced with. Dilated and grouped convolutions and those over one or three axes go to XLA.

    Args:
      x: images [n, h, w, c].
      kernel: weights [i, j, c, o].
      strides: steps along height and width.
      padding: `SAME`, `VALID` or the zeros before and behind each of the two axes.
      rest: further arguments of `lax.conv_general_dilated`.
    """
    dilated = {*(rest.get("lhs_dilation") or ()), *(rest.get("rhs_dilation") or ())} - {1}
    plain = kernel.ndim == 4 and not dilated and rest.get("feature_group_count", 1) == 1
    if not plain or _backend() != "cpu":
        return lax.conv_general_dilated(x, kernel, strides, padding, **rest)
    (above, below), (left, right) = (
        lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], strides, padding)
        if isinstance(padding, str)
        else padding
    )
    pads = ((int(above), int(below)), (int(left), int(right)))
    return _with_own_gradient(x, kernel, (int(strides[0]), int(strides[1])), pads)


def _backend() -> str:
    device = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]
    if device is None:
        return jax.default_backend()
    return device if isinstance(device, str) else device.platform


def _xla(x: Array, kernel: Array, strides: Pair, pads: Pads) -> Array:
    return lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=_ORDER)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _with_own_gradient(x: Array, kernel: Array, strides: Pair, pads: Pads) -> Array:
    return _forward(x, kernel, strides, pads)


def _own_forward(x: Array, kernel: Array, strides: Pair, pads: Pads) -> tuple[Array, Any]:
    return _forward(x, kernel, strides, pads), (x, kernel)


def _forward(x: Array, kernel: Array, strides: Pair, pads: Pads) -> Array:
    if pads != ((0, 0), (0, 0)) or kernel.shape[:2] == (1, 1):
        return _xla(x, kernel, strides, pads)
    rows = (x.shape[1] - kernel.shape[0]) // strides[0] + 1
    return _xla(x, kernel, strides, ((0, 1), (0, 0)))[:, :rows]


def _own_backward(strides: Pair, pads: Pads, kept: Any, grad: Array) -> tuple[Array, Array]:
    x, kernel = kept
    if kernel.shape[:2] == (1, 1) and pads == ((0, 0), (0, 0)):
        return _pointwise_gradients(x, kernel, strides, grad)
    return (
        _input_gradient(x.shape, kernel, strides, pads, grad),
        _weight_gradient(x, kernel.shape, strides, pads, grad),
    )


_with_own_gradient.defvjp(_own_forward, _own_backward)


def _pointwise_gradients(
    x: Array, kernel: Array, strides: Pair, grad: Array
) -> tuple[Array, Array]:
    """Both gradients of a 1x1 convolution, which is one matrix product over all pixels."""
    read = x[:, :: strides[0], :: strides[1]]
    of_weights = lax.dot_general(
        read.reshape(-1, x.shape[3]),
        grad.reshape(-1, grad.shape[3]),
        (((0,), (0,)), ((), ())),
    )
    of_read = jnp.matmul(grad, kernel[0, 0].T)
    holes = [
        (0, size - (out - 1) * stride - 1, stride - 1)
        for size, out, stride in zip(x.shape[1:3], grad.shape[1:3], strides, strict=True)
    ]
    return lax.pad(of_read, _zero(x), [(0, 0, 0), *holes, (0, 0, 0)]), of_weights[None, None]


def _input_gradient(
    shape: Sequence[int], kernel: Array, strides: Pair, pads: Pads, grad: Array
) -> Array:
    """The output gradient, with zeros between for strides, convolved with the turned kernel."""
    frame = []
    for axis, (stride, (before, _)) in enumerate(zip(strides, pads, strict=True)):
        size, width, out = shape[axis + 1], kernel.shape[axis], grad.shape[axis + 1]
        low = width - 1 - before
        frame.append((low, size + before - 1 - (out - 1) * stride, stride - 1))
    turned = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    (above, below, _), (left, right, _) = frame
    if strides == (1, 1) and min(above, below, left, right) >= 0:
        return _xla(grad, turned, (1, 1), ((above, below), (left, right)))
    grad = lax.pad(grad, _zero(grad), [(0, 0, 0), *frame, (0, 0, 0)])
    return _xla(grad, turned, (1, 1), ((0, 0), (0, 0)))


def _weight_gradient(
    x: Array, shape: Sequence[int], strides: Pair, pads: Pads, grad: Array
) -> Array:
    """A few images at a time: stack the shifts of the images, multiply, add up.

    A block [i*j*c, images*h*w] of shifts stays in the cache; all patches of the batch at once
    would not, and the product would wait for memory.
    """
    rows, columns, channels, outputs = shape
    n, high, wide = grad.shape[:3]
    image_bytes = rows * columns * channels * high * wide * x.dtype.itemsize
    group = _divisor(n, _BLOCK_BYTES // max(1, image_bytes))
    (above, below), (left, right) = pads

    def add(total: Array, images: tuple[Array, Array]) -> tuple[Array, None]:
        planes, slopes = jnp.transpose(images[0], (3, 0, 1, 2)), images[1]
        planes = lax.pad(
            planes, _zero(x), [(0, 0, 0), (0, 0, 0), (above, below, 0), (left, right, 0)]
        )
        # First along the width, then along the height: the second copy moves whole rows. The
        # barrier keeps XLA from merging both into one pass that moves single numbers.
        shifted = lax.optimization_barrier(
            jnp.stack([_every(planes, 3, j, wide, strides[1]) for j in range(columns)])
        )
        block = jnp.stack([_every(shifted, 3, i, high, strides[0]) for i in range(rows)])
        product = block.reshape(rows * columns * channels, -1) @ slopes.reshape(-1, outputs)
        return total + product, None

    batches = (_groups(x, group), _groups(grad, group))
    start = jnp.zeros((rows * columns * channels, outputs), grad.dtype)
    return lax.scan(add, start, batches)[0].reshape(rows, columns, channels, outputs)


def _every(x: Array, axis: int, start: int, count: int, stride: int) -> Array:
    return lax.slice_in_dim(x, start, start + (count - 1) * stride + 1, stride, axis)


def _groups(x: Array, size: int) -> Array:
    return x.reshape(-1, size, *x.shape[1:])


def _divisor(n: int, most: int) -> int:
    """The largest divisor of `n` that is at most `most`, and 1 where `most` is smaller."""
    return max(d for d in range(1, max(1, min(n, most)) + 1) if n % d == 0)


def _zero(x: Array) -> Array:
    return jnp.zeros((), x.dtype)
