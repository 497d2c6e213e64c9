"""Batch normalization with few passes over the activations.

Mean and mean square come from one pass, and the gradient is written out: on a CPU these passes
are what is left to save once the convolutions are fast.
"""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

_EPSILON = 1e-5
_MOMENTUM = 0.9


class Norm(nn.Module):
    """Batch normalization over all axes but the last (Ioffe & Szegedy, 2015).

    Values, parameters (`scale`, `bias`) and running statistics (`mean`, `var`; the variance
    is that of the batch, divided by n) are those of
    `flax.linen.BatchNorm(momentum=0.9, epsilon=1e-5)`.
    """

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Normalizes by the batch where `train`, else by the running statistics."""
        width = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, width, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, width, jnp.float32)
        mean = self.variable("batch_stats", "mean", jnp.zeros, width, jnp.float32)
        var = self.variable("batch_stats", "var", jnp.ones, width, jnp.float32)
        if not train:
            gain = scale * jax.lax.rsqrt(var.value + _EPSILON)
            return _scaled(x, gain, bias - mean.value * gain)
        y, batch_mean, batch_var = normalize(x, scale, bias)
        if not self.is_initializing():
            mean.value = _MOMENTUM * mean.value + (1 - _MOMENTUM) * batch_mean
            var.value = _MOMENTUM * var.value + (1 - _MOMENTUM) * batch_var
        return y


@jax.custom_vjp
def normalize(
    x: jax.Array, scale: jax.Array, bias: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalized `x`, and the mean and the variance of the batch; those carry no gradient."""
    return _forward(x, scale, bias)[0]


def _row(channels: jax.Array, x: jax.Array) -> jax.Array:
    """[c] with the axes of `x`, [..., c]."""
    return channels.reshape((1,) * (x.ndim - 1) + (-1,))


def _scaled(x: jax.Array, gain: jax.Array, shift: jax.Array) -> jax.Array:
    return x * _row(gain, x) + _row(shift, x)


def _forward(x: jax.Array, scale: jax.Array, bias: jax.Array) -> tuple[Any, Any]:
    axes = tuple(range(x.ndim - 1))
    mean = jnp.mean(x, axes)
    var = jnp.maximum(jnp.mean(jnp.square(x), axes) - jnp.square(mean), 0)
    inverse = jax.lax.rsqrt(var + _EPSILON)
    gain = scale * inverse
    return (_scaled(x, gain, bias - mean * gain), mean, var), (x, scale, mean, inverse)


def _backward(kept: Any, grads: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    (x, scale, mean, inverse), grad = kept, grads[0]
    axes = tuple(range(x.ndim - 1))
    of_bias = jnp.sum(grad, axes)
    of_scale = (jnp.sum(grad * x, axes) - mean * of_bias) * inverse
    n = x.size // x.shape[-1]
    gain = scale * inverse
    slope = gain * inverse * of_scale / n
    of_x = grad * _row(gain, x) - x * _row(slope, x) + _row(mean * slope - gain * of_bias / n, x)
    return of_x, of_scale, of_bias


normalize.defvjp(_forward, _backward)
