"""The networks themselves, as Flax Linen modules.

Every module calls its last layer `head`. Widths count units or channels.
"""

from collections.abc import Callable, Sequence
import functools
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from ltjax.models import conv
from ltjax.models.norm import Norm


class Mlp(nn.Module):
    """Fully connected layers with ReLU: `dense_0`, `dense_1`, ..., `head`."""

    classes: int
    widths: Sequence[int]
    kernel_init: Callable[..., Any]
    head_hidden: Sequence[int] = ()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Logits of images [n, h, w, c]."""
        x = x.reshape(x.shape[0], -1)
        x = _dense_layers(x, self.widths, "dense", self.kernel_init)
        return _head(x, self.classes, self.head_hidden, self.kernel_init)


class ConvNet(nn.Module):
    """Pairs of 3x3 convolutions, each pair behind it a 2x2 pool, then dense layers.

    Conv-2, Conv-4 and Conv-6 of Frankle & Carbin (2019, https://arxiv.org/abs/1803.03635,
    figure 2): `conv_0`, `conv_1`, ..., `dense_0`, ..., `head`.
    """

    classes: int
    pairs: Sequence[int]
    widths: Sequence[int]
    padding: str
    kernel_init: Callable[..., Any]
    head_hidden: Sequence[int] = ()
    formulation: str = "auto"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Logits of images [n, h, w, c]."""
        for i, channels in enumerate(self.pairs):
            x = nn.relu(self._conv(channels, f"conv_{2 * i}")(x))
            # ReLU behind the pool is the same as before it, on a quarter of the values.
            x = nn.relu(max_pool(self._conv(channels, f"conv_{2 * i + 1}")(x)))
        x = x.reshape(x.shape[0], -1)
        x = _dense_layers(x, self.widths, "dense", self.kernel_init)
        return _head(x, self.classes, self.head_hidden, self.kernel_init)

    def _conv(self, channels: int, name: str) -> nn.Conv:
        return nn.Conv(
            channels,
            (3, 3),
            padding=self.padding,
            kernel_init=self.kernel_init,
            conv_general_dilated=conv.for_flax(self.formulation),
            name=name,
        )


class LrnNet(nn.Module):
    """Two convolutions with overlapping pools and local response normalization, dense layers.

    Table I of paper 000 (Van Soelen & Sheppard), which is the network of TensorFlow's CIFAR-10
    tutorial: `conv_0`, `conv_1`, `dense_0`, `dense_1`, `head`; each convolution is followed by
    ReLU, a 3x3 pool of stride 2, and the normalization, in that order (reading 0.3).
    """

    classes: int
    channels: int
    size: int
    widths: Sequence[int]
    padding: str
    kernel_init: Callable[..., Any]
    head_hidden: Sequence[int] = ()
    formulation: str = "auto"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Logits of images [n, h, w, c]; `padding` is that of the pools (reading 0.2)."""
        for i in range(2):
            x = nn.Conv(
                self.channels,
                (self.size, self.size),
                kernel_init=self.kernel_init,
                conv_general_dilated=conv.for_flax(self.formulation),
                name=f"conv_{i}",
            )(x)
            x = local_response_norm(nn.relu(max_pool_overlapping(x, self.padding)))
        x = x.reshape(x.shape[0], -1)
        x = _dense_layers(x, self.widths, "dense", self.kernel_init)
        return _head(x, self.classes, self.head_hidden, self.kernel_init)


class ResNet(nn.Module):
    """Residual network for small images (He et al., 2015, https://arxiv.org/abs/1512.03385, 4.2).

    `conv_0`, `norm_0`, blocks `block_<stage>_<number>` (stages from 1, numbers from 0), mean over
    the pixels, `head`. A shortcut that changes its shape is a 1x1 convolution with batch
    normalization (`shortcut_conv`, `shortcut_norm`) where He et al. pad with zeros.
    """

    classes: int
    channels: Sequence[int]
    blocks: int
    kernel_init: Callable[..., Any]
    head_hidden: Sequence[int] = ()
    formulation: str = "auto"

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Logits of images [n, h, w, c]; `train` normalizes by the batch."""
        x = _conv_without_bias(self, self.channels[0], 3, 1, "conv_0")(x)
        x = nn.relu(Norm(name="norm_0")(x, train=train))
        for stage, channels in enumerate(self.channels):
            for number in range(self.blocks):
                x = Block(
                    channels=channels,
                    stride=2 if stage and not number else 1,
                    kernel_init=self.kernel_init,
                    formulation=self.formulation,
                    name=f"block_{stage + 1}_{number}",
                )(x, train=train)
        x = jnp.mean(x, axis=(1, 2))
        return _head(x, self.classes, self.head_hidden, self.kernel_init)


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    channels: int
    stride: int
    kernel_init: Callable[..., Any]
    formulation: str

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Activations [n, h, w, c] to [n, h / stride, w / stride, channels]."""
        y = _conv_without_bias(self, self.channels, 3, self.stride, "conv_0")(x)
        y = nn.relu(Norm(name="norm_0")(y, train=train))
        y = _conv_without_bias(self, self.channels, 3, 1, "conv_1")(y)
        y = Norm(name="norm_1")(y, train=train)
        if x.shape != y.shape:
            x = _conv_without_bias(self, self.channels, 1, self.stride, "shortcut_conv")(x)
            x = Norm(name="shortcut_norm")(x, train=train)
        return nn.relu(x + y)


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
    height, width = x.shape[1:3]
    if padding == "SAME":
        pads = [_same_pads(size) for size in (height, width)]
        x = jnp.pad(x, ((0, 0), *pads, (0, 0)), constant_values=-jnp.inf)
    rows, columns = ((size - 3) // 2 + 1 for size in x.shape[1:3])
    slices = [
        x[:, i : i + 2 * rows - 1 : 2, j : j + 2 * columns - 1 : 2]
        for i in range(3)
        for j in range(3)
    ]
    return functools.reduce(jnp.maximum, slices)


def _same_pads(size: int) -> tuple[int, int]:
    total = max((-(-size // 2) - 1) * 2 + 3 - size, 0)
    return total // 2, total - total // 2


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


def _conv_without_bias(
    module: ResNet | Block, channels: int, size: int, stride: int, name: str
) -> nn.Conv:
    return nn.Conv(
        channels,
        (size, size),
        strides=stride,
        use_bias=False,
        kernel_init=module.kernel_init,
        conv_general_dilated=conv.for_flax(module.formulation),
        name=name,
    )


def _dense_layers(
    x: jax.Array, widths: Sequence[int], name: str, kernel_init: Callable[..., Any]
) -> jax.Array:
    for i, width in enumerate(widths):
        x = nn.relu(nn.Dense(width, kernel_init=kernel_init, name=f"{name}_{i}")(x))
    return x


def _head(
    x: jax.Array, classes: int, hidden: Sequence[int], kernel_init: Callable[..., Any]
) -> jax.Array:
    x = _dense_layers(x, hidden, "head_hidden", kernel_init)
    return nn.Dense(classes, kernel_init=kernel_init, name="head")(x)
