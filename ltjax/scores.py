"""Scores rate the weights of a network; the lowest are pruned first.

A score is one function and one row of `SCORES`. It sees the weights already masked.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from ltjax import keys, trees
from ltjax.types import Images, Key, Labels, Logits, LossFn, Params, Scores


class Probe(NamedTuple):
    """What a score may ask beside the weights.

    Attributes:
      key: for scores that draw.
      loss: the mean loss of parameters on one batch.
      forward: (parameters, images) -> logits, in evaluation mode.
      images: the batch, float32 [batch, height, width, channels].
      labels: its labels as outputs of the network, int32 [batch].
    """

    key: Key
    loss: LossFn
    forward: Callable[[Params, Images], Logits]
    images: Images
    labels: Labels


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
    """
    image = jnp.ones_like(probe.images[:1])
    positive = jax.tree.map(jnp.abs, params)
    flow = jax.grad(lambda p: probe.forward(p, image).sum())(positive)
    return jax.tree.map(jnp.multiply, positive, flow)


SCORES: Mapping[str, ScoreFn] = {
    "magnitude": magnitude,
    "random": random,
    "snip": snip,
    "snip_signed": snip_signed,
    "grasp": grasp,
    "synflow": synflow,
}
