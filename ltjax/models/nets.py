"""The networks themselves, as Flax Linen modules.

Every module calls its last layer `head`. Widths count units or channels.
"""

from collections.abc import Callable, Sequence
import functools
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from ltjax.models.conv import convolve
from ltjax.models.norm import Norm


class _Net(nn.Module, kw_only=True):
    """What all networks are told: their outputs, and how their layers begin."""

    classes: int
    kernel_init: Callable[..., Any]
    head_hidden: Sequence[int] = ()
    padding: str = "SAME"

    def conv(self, channels: int, size: int, name: str, **settings: Any) -> nn.Conv:
        return _conv(channels, size, name, kernel_init=self.kernel_init, **settings)

    def dense(self, x: jax.Array, widths: Sequence[int], name: str) -> jax.Array:
        for i, width in enumerate(widths):
            x = nn.relu(nn.Dense(width, kernel_init=self.kernel_init, name=f"{name}_{i}")(x))
        return x

    def logits(self, x: jax.Array, widths: Sequence[int] = ()) -> jax.Array:
        """Dense layers of `widths`, those of `head_hidden`, and the head."""
        x = self.dense(x.reshape(x.shape[0], -1), widths, "dense")
        x = self.dense(x, self.head_hidden, "head_hidden")
        return nn.Dense(self.classes, kernel_init=self.kernel_init, name="head")(x)


class Mlp(_Net):
    """Fully connected layers with ReLU: `dense_0`, `dense_1`, ..., `head`."""

    widths: Sequence[int]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Logits of images [n, h, w, c]."""
        return self.logits(x, self.widths)


class ConvNet(_Net):
    """Pairs of 3x3 convolutions, each pair behind it a 2x2 pool, then dense layers.

    Conv-2, Conv-4 and Conv-6 of Frankle & Carbin (2019, https://arxiv.org/abs/1803.03635,
    figure 2): `conv_0`, `conv_1`, ..., `dense_0`, ..., `head`.
    """

    pairs: Sequence[int]
    widths: Sequence[int]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Logits of images [n, h, w, c]."""
        for i, channels in enumerate(self.pairs):
            x = nn.relu(self.conv(channels, 3, f"conv_{2 * i}", padding=self.padding)(x))
            x = self.conv(channels, 3, f"conv_{2 * i + 1}", padding=self.padding)(x)
            x = nn.relu(max_pool(x))  # The same as before the pool, on a quarter of the values.
        return self.logits(x, self.widths)


class LrnNet(_Net):
    """Two convolutions with overlapping pools and local response normalization, dense layers.

    Table I of paper 000 (Van Soelen & Sheppard), which is the network of TensorFlow's CIFAR-10
    tutorial: `conv_0`, `conv_1`, `dense_0`, `dense_1`, `head`; each convolution is followed by
    ReLU, a 3x3 pool of stride 2, and the normalization, in that order (reading 0.3). `padding` is
    that of the pools (reading 0.2).
    """

    channels: int
    size: int
    widths: Sequence[int]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Logits of images [n, h, w, c]."""
        for i in range(2):
            x = self.conv(self.channels, self.size, f"conv_{i}")(x)
            x = local_response_norm(nn.relu(max_pool_overlapping(x, self.padding)))
        return self.logits(x, self.widths)


class ResNet(_Net):
    """Residual network for small images (He et al., 2015, https://arxiv.org/abs/1512.03385, 4.2).

    `conv_0`, `norm_0`, blocks `block_<stage>_<number>` (stages from 1, numbers from 0), mean over
    the pixels, `head`. A shortcut that changes its shape is a 1x1 convolution with batch
    normalization (`shortcut_conv`, `shortcut_norm`) where He et al. pad with zeros.
    """

    channels: Sequence[int]
    blocks: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Logits of images [n, h, w, c]; `train` normalizes by the batch."""
        x = self.conv(self.channels[0], 3, "conv_0", use_bias=False)(x)
        x = nn.relu(Norm(name="norm_0")(x, train=train))
        for stage, channels in enumerate(self.channels):
            for number in range(self.blocks):
                stride, name = 2 if stage and not number else 1, f"block_{stage + 1}_{number}"
                x = Block(channels, stride, self.kernel_init, name=name)(x, train=train)
        return self.logits(jnp.mean(x, axis=(1, 2)))


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    channels: int
    stride: int
    kernel_init: Callable[..., Any]

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Activations [n, h, w, c] to [n, h / stride, w / stride, channels]."""

        def normed(x: jax.Array, size: int, stride: int, conv: str, norm: str) -> jax.Array:
            settings = {"kernel_init": self.kernel_init, "strides": stride, "use_bias": False}
            return Norm(name=norm)(_conv(self.channels, size, conv, **settings)(x), train=train)

        y = nn.relu(normed(x, 3, self.stride, "conv_0", "norm_0"))
        y = normed(y, 3, 1, "conv_1", "norm_1")
        if x.shape != y.shape:
            x = normed(x, 1, self.stride, "shortcut_conv", "shortcut_norm")
        return nn.relu(x + y)


def _conv(channels: int, size: int, name: str, **settings: Any) -> nn.Conv:
    return nn.Conv(channels, (size, size), conv_general_dilated=convolve, name=name, **settings)


def max_pool(x: jax.Array) -> jax.Array:
    """Largest of each 2x2 window, without overlap; an odd last row or column is dropped.

    A reshape and a maximum: faster on a CPU than `flax.linen.max_pool`, with the same values.
    """
    n, height, width, channels = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    return x.reshape(n, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))


def max_pool_overlapping(x: jax.Array, padding: str) -> jax.Array:
    """Largest of each 3x3 window at stride 2, padded as SAME or VALID.

    A maximum of nine slices: XLA:CPU scatters the gradient of its own windows one by one.
    """
    pads = jax.lax.padtype_to_pads(x.shape[1:3], (3, 3), (2, 2), padding)
    if padding == "SAME":
        x = jnp.pad(x, ((0, 0), *pads, (0, 0)), constant_values=-jnp.inf)
    rows, columns = ((size - 3) // 2 + 1 for size in x.shape[1:3])
    slices = [
        x[:, i : i + 2 * rows - 1 : 2, j : j + 2 * columns - 1 : 2]
        for i in range(3)
        for j in range(3)
    ]
    return functools.reduce(jnp.maximum, slices)


def local_response_norm(
    x: jax.Array, *, radius: int = 4, bias: float = 1.0, alpha: float = 0.001 / 9
) -> jax.Array:
    """Divides by (bias + alpha * sum of squares over the 2 * radius + 1 nearest channels)^0.75.

    Krizhevsky et al. (2012), with the constants of the tutorial; the sum is a product with a band.
    """
    channel = jnp.arange(x.shape[-1])
    band = (jnp.abs(channel[:, None] - channel[None]) <= radius).astype(x.dtype)
    root = jax.lax.rsqrt(bias + alpha * ((x * x) @ band))
    return x * root * jnp.sqrt(root)
