"""Scores rate the weights of a network; the lowest are pruned first.

A score is one function and one row of `SCORES`. It sees the weights already masked.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from ltjax.core import keys, trees
from ltjax.core.types import Images, Key, Labels, Logits, LossFn, Params, Scalar, Scores


class Probe(NamedTuple):
    """What a score may ask beside the weights.

    Attributes:
      key: for scores that draw.
      loss: the mean loss of parameters on one batch.
      forward: (parameters, images) -> logits, in evaluation mode.
      images: the batch, float32 [batch, height, width, channels].
      labels: its labels as outputs of the network, int32 [batch]; empty where none were given.
    """

    key: Key
    loss: LossFn
    forward: Callable[[Params, Images], Logits]
    images: Images
    labels: Labels = np.zeros(0, np.int32)  # pyright: ignore[reportAssignmentType]


class ScoreFn(Protocol):
    """Rates each weight."""

    def __call__(self, params: Params, probe: Probe) -> Scores:
        """Scores of the (already masked) `params`."""
        ...


def magnitude(params: Params, probe: Probe) -> Scores:
    """|w| (Han et al., 2015; Frankle & Carbin)."""
    del probe
    return jax.tree.map(jnp.abs, params)


def random(params: Params, probe: Probe) -> Scores:
    """Uniform numbers, each leaf with its own key."""
    return trees.map_with_name(
        lambda name, p: jax.random.uniform(keys.derive(probe.key, name), p.shape), params
    )


def snip(params: Params, probe: Probe) -> Scores:
    """|w * dL/dw| (Lee et al., 2019, https://arxiv.org/abs/1810.02340)."""
    return jax.tree.map(jnp.abs, _sensitivity(params, probe))


def snip_signed(params: Params, probe: Probe) -> Scores:
    """G / sum(g) with g = w * dL/dw, as paper 002 prints it (section 4; reading 2.3).

    No absolute values, so a batch with a negative sum turns the order around. The sum is over all
    parameters; biases that start at zero add nothing.
    """
    signed = _sensitivity(params, probe)
    total = sum(leaf.sum() for leaf in jax.tree.leaves(signed))
    return jax.tree.map(lambda leaf: leaf / total, signed)


def _sensitivity(params: Params, probe: Probe) -> Params:
    return jax.tree.map(jnp.multiply, params, jax.grad(probe.loss)(params))


def grasp(params: Params, probe: Probe) -> Scores:
    """W * (H g): what keeping w adds to the gradient flow (Wang et al., 2020).

    Their score -w (H g) is the change of the squared gradient norm when w goes, and the weights
    with the largest are pruned (https://arxiv.org/abs/2002.07376, section 4); here the lowest
    are, so the sign is turned. One batch, and no temperature on the logits.
    """
    gradient = jax.grad(probe.loss)
    _, curved = jax.jvp(gradient, (params,), (gradient(params),))
    return jax.tree.map(jnp.multiply, params, curved)


def synflow(params: Params, probe: Probe) -> Scores:
    """|w| * dR/d|w| with R the sum of logits of |w| for an image of ones (Tanaka et al., 2020).

    Needs no data (https://arxiv.org/abs/2006.05467, section 6). Meant for many small cuts: the
    scores that enter a layer sum to those that leave it, so that a layer about to be emptied
    rates its last weights highest.

    R grows or shrinks with every layer and leaves float32 in a deep network. Then the scores are
    computed up to a common factor, which ranks alike: from a darker or brighter image (biases
    alike), exact for all networks that are positively homogeneous (skip connections too); or from
    kernels divided by what they let through on average, exact where layers follow one another.
    Euler's theorem on homogeneous functions tells whether they are. Where they are not, the
    scores stay as they were, not finite perhaps, for the caller to refuse.
    """
    image = jnp.ones_like(probe.images[:1])
    positive = jax.tree.map(jnp.abs, params)
    forms = trees.axes(params)
    kernels = {
        name: forms[name].sizes(leaf.shape)
        for name, leaf in zip(trees.names(params), jax.tree.leaves(params), strict=True)
        if name in forms
    }

    def rate(bright: jax.Array, divided: jax.Array) -> tuple[Scores, jax.Array]:
        def scaled(name: str, leaf: jax.Array) -> jax.Array:
            if name in kernels:
                stacked, _, _, outputs = kernels[name]
                through = leaf.sum() / (stacked * outputs)
                return jnp.where(divided & (through > 0), leaf / through, leaf)
            return leaf * bright if name.endswith("bias") else leaf

        def flow(params: Params, image: Images) -> Scalar:
            return probe.forward(params, image).sum() * bright

        here = trees.map_with_name(scaled, positive)
        total, (slopes, slope) = jax.value_and_grad(flow, (0, 1))(here, image * bright)
        scores = jax.tree.map(jnp.multiply, here, slopes)
        of = dict(zip(trees.names(scores), jax.tree.leaves(scores), strict=True))
        finite = [jnp.isfinite(leaf).all() for leaf in of.values()]
        weights = dict(zip(trees.names(here), jax.tree.leaves(here), strict=True))
        large = [(of[n] > _TINY).any() | ~weights[n].any() for n in kernels]
        added = sum((leaf.sum() for n, leaf in of.items() if n.endswith("bias")), 0.0)
        euler = [jnp.abs((image * bright * slope).sum() + added - total) <= _EXACT * total]
        for name, (stacked, *_) in kernels.items():
            euler.append(~divided | (jnp.abs(of[name].sum() / stacked - total) <= _EXACT * total))
        plain = (bright == 1) & ~divided
        return scores, jnp.stack([*finite, *large, jnp.stack(euler).all() | plain]).all()

    def again(state: tuple[jax.Array, Scores, jax.Array]) -> tuple[jax.Array, Scores, jax.Array]:
        number = state[0]
        return number + 1, *rate(jnp.asarray(_BRIGHT)[number], number == len(_BRIGHT) - 2)

    begun = (jnp.int32(0), positive, jnp.bool_(False))
    _, found, _ = lax.while_loop(lambda s: ~s[2] & (s[0] < len(_BRIGHT)), again, begun)
    return found


# Tried in this order: as it is, darker, brighter, with kernels divided, and again as it is.
_BRIGHT = np.array([1, *(2.0**e for e in (-50, -80, -110, 50, 80, 110)), 1, 1], np.float32)
_TINY = 1e-30  # Scores below are near what float32 flushes to zero.
_EXACT = 1e-3


DATA_FREE = ("magnitude", "random")
"""Scores that see neither a batch nor a loss."""

SCORES: Mapping[str, ScoreFn] = {
    "magnitude": magnitude,
    "random": random,
    "snip": snip,
    "snip_signed": snip_signed,
    "grasp": grasp,
    "synflow": synflow,
}
