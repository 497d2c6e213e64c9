"""Small networks, data and recipes for tests of the core."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ltjax import data, models
from ltjax.core import masks
from ltjax.training import step as train
from ltjax.training.population import Trainer
from ltjax.training.step import Member, Recipe


class Spy(Trainer):
    """A trainer on one device that remembers its members."""

    def __init__(self, recipe):
        super().__init__(recipe, devices=jax.devices()[:1])
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


def recipe(network=None, **changes):
    network = network or net()
    settings = {
        "apply": network.apply,
        "optimizer": optax.sgd(0.1),
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


def run(member, device_data, how, *, first=0, opt_state=None):
    """Trains a single member without a population; the final state and the reports."""
    state = train.begin(member, opt_state, first, recipe=how)
    advance = jax.jit(functools.partial(train.leg, recipe=how))
    marks, reports = train.stops(how, first=first), []
    for a, b in zip([marks[0], *marks], marks, strict=False):
        state, report = advance(state, member, device_data, jnp.int32(a), jnp.int32(b))
        reports.append(jax.device_get(report))
    return state, reports
