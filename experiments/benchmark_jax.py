"""Our side of the benchmark: one process, started by `experiments.benchmark`.

It goes the way of every binary: settings, network, recipe, `Trainer`. The clock is
read in the observer that the trainer calls after each leg. A training has the evaluations at
steps 0, 1 and `work.steps`: what the last leg took longer than the one before is
`work.steps - 2` steps; the short leg less one step is what an evaluation costs.
"""

from collections.abc import Callable
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import benchmark_work, build
from experiments.benchmark_work import Work
from experiments.settings import FindTicket
from ltjax import data, lottery
from ltjax.models import Network
from ltjax.training.population import Partial
from ltjax.training.step import Member

CLASSES = 10
EVALUATED = 1000
"""Test images of the measured evaluations."""


def settings(work: Work) -> FindTicket:
    """The work as the settings of a search."""
    return FindTicket(
        model=work.model,
        padding=work.padding,
        optimizer=work.optimizer,
        learning_rate=work.learning_rate,
        momentum=work.momentum,
        batch_size=work.batch_size,
        length=f"{work.steps}it",
        evaluate_every=f"{work.steps}it",
        validation="0",
        replicates=work.members,
    )


def dataset(work: Work) -> data.Dataset:
    """Random images and labels."""
    rng = np.random.default_rng(0)

    def split(count: int) -> data.Split:
        images = rng.integers(0, 256, (count, *work.shape), dtype=np.uint8)
        return data.Split(images, rng.integers(0, CLASSES, count, dtype=np.int32))

    names = [str(i) for i in range(CLASSES)]
    return data.make("noise", split(work.images), split(EVALUATED), class_names=names)


def members(work: Work, net: Network) -> Member:
    """Freshly drawn networks, each with a random mask and an order of its own."""
    rng = np.random.default_rng(0)

    def live(leaf: jax.Array) -> jax.Array:
        mask = rng.random(leaf.shape) < work.density
        return jnp.asarray(mask | (leaf.ndim == 2))  # Biases and normalization, with members.

    key = jax.random.key(0)
    start = jax.vmap(net.init)(lottery.keys_for(key, "init", work.members))
    rows = jnp.tile(jnp.arange(work.images), (work.members, 1))
    offsets = jnp.zeros(work.members, jnp.int32)
    mask = jax.tree.map(live, start.params)
    order = lottery.keys_for(key, "order", work.members)
    return Member(order, start, mask, rows, rows[:, :0], offsets)


def prepare(work: Work) -> tuple[dict[str, Any], Callable[[float], dict[str, float]]]:
    """What this contestant says first, and its measurement."""
    chosen = settings(work)
    source = dataset(work)
    trainer = build.trainer(chosen, source)
    net = trainer.network
    crowd = members(work, net)
    shared = lottery.device_data(source)

    def train() -> np.ndarray:
        """Trains once; the seconds until each of the three evaluations."""
        moments = [time.perf_counter()]

        def observe(partial: Partial) -> None:
            jax.block_until_ready(partial.states)
            moments.append(time.perf_counter())

        trainer.train(crowd, shared, snapshot=1, observe=observe)
        return np.diff(moments)

    def measure(seconds: float) -> dict[str, float]:
        times, start = [train()], time.perf_counter()
        while time.perf_counter() - start < seconds - times[0].sum():
            times.append(train())
        first, short, long = np.median(times, axis=0)
        step = (long - short) / (work.steps - 2)
        evaluation = max(short - step, 0.0) / EVALUATED
        scale = 1 / work.members
        return {
            "step": float(step * scale),
            "evaluated_image": float(evaluation * scale),
            "entry": float(first),
        }

    jax.block_until_ready((crowd, shared))
    ready = {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(net.shapes().params)),
        "entry": float(train()[0]),
        "devices": min(len(jax.devices()), work.members),
    }
    return ready, measure


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    _work, _ = benchmark_work.work_of(sys.argv[1])
    build.use_devices(settings(_work).devices)
    benchmark_work.serve(*prepare(_work))
