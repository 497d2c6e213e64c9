"""Small networks, data and recipes for tests of the core."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ltjax import data, models
from ltjax.core import masks
from ltjax.training import Recipe, Trainer, step
from ltjax.training.step import Member


class Spy(Trainer):
    """A trainer on one device that remembers its members."""

    def __init__(self, how, network=None):
        super().__init__(network or net(), how, devices=jax.devices()[:1])
        self.seen = []

    def train(self, members, data, **settings):
        self.seen.append((jax.device_get(members), settings))
        return super().train(members, data, **settings)


@functools.cache
def blobs(*, classes=3, n=50, test=23, shape=(4, 4, 1), seed=0):
    """A data set that a small network learns in a few steps."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 256, (classes, *shape))

    def split(count):
        labels = np.arange(count) % classes
        noise = rng.normal(0, 25, (count, *shape))
        images = np.clip(centres[labels] + noise, 0, 255).astype(np.uint8)
        return data.Split(images, labels.astype(np.int32))

    names = [str(i) for i in range(classes)]
    return data.make(f"blobs{seed}", split(n), split(test), class_names=names)


@functools.cache
def net(model="mlp-8", *, classes=3, shape=(4, 4, 1)):
    return models.make(model, input_shape=shape, classes=classes)


SGD = optax.sgd(0.1)  # One object: recipes that are equal share what is compiled.


def recipe(**changes):
    settings = {
        "optimizer": SGD,
        "batch_size": 8,
        "steps": 12,
        "every": 5,
        "block": 7,
    }
    return Recipe(**{**settings, **changes})


def members(count, network=None, *, dataset=None, mask=None, held_out=10, seed=0):
    """A population of freshly drawn members, dense or under `mask`."""
    network, dataset = network or net(), dataset or blobs()

    def one(key):
        init, order, split = jax.random.split(key, 3)
        variables = network.init(init)
        rows = jax.random.permutation(split, jnp.arange(dataset.examples, dtype=jnp.int32))
        learnt, judging = jnp.split(rows, [dataset.examples - held_out])
        chosen = masks.dense(variables.params) if mask is None else mask
        return Member(order, variables, chosen, jnp.sort(learnt), jnp.sort(judging), jnp.int32(0))

    return jax.vmap(one)(jax.random.split(jax.random.key(seed), count))


@functools.lru_cache(maxsize=64)
def _leg(apply, how):
    return jax.jit(functools.partial(step.leg, apply=apply, recipe=how))


def run(member, device_data, how, *, network=None, first=0, opt_state=None, snapshot=None):
    """Trains a single member without a population; the final state and the reports."""
    state = step.begin(member, opt_state, first, recipe=how)
    advance = _leg((network or net()).apply, how)
    marks, reports = how.evaluations(first=first, snapshot=snapshot), []
    for a, b in zip([marks[0], *marks], marks, strict=False):
        at = map(jnp.int32, (a, b, snapshot or 0))
        state, report = advance(state, member, device_data, *at)
        reports.append(jax.device_get(report))
    return state, reports
