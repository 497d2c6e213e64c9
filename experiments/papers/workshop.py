"""Data, networks and compiled trainers of a paper's run, each made once."""

import dataclasses
import functools
import time
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from experiments import build
from experiments.papers import convergence
from experiments.settings import FindTicket
from ltjax import lottery
from ltjax.core import masks
from ltjax.data import Dataset, Parts
from ltjax.models import Network
from ltjax.training import Trainer, population
from ltjax.training.evaluation import Evaluation
from ltjax.training.records import DIGITS
from ltjax.training.step import Member

_NETWORK = ("model", "init", "padding", "window")
_RECIPE = (
    *("model", "padding", "window", "optimizer", "learning_rate", "schedule", "milestones"),
    *("warmup", "momentum", "nesterov", "weight_decay", "decay", "batch_size", "length"),
    *("evaluate_every", "validation", "patience", "measure", "keep", "augment"),
)
"""What a recipe is made of, beside the number of examples."""

_DATA = ("data", "classes", "half", "normalize", "data_dir")


class Source(Protocol):
    """Data that are not those of the settings: a value, whose `repr` tells it from others."""

    def __hash__(self) -> int: ...

    def load(self, find: FindTicket) -> Dataset | Parts:
        """The data, for searches with these settings."""
        ...


class Workshop:
    """Makes data, networks and compiled trainers, each once, from settings.

    Networks of one model share the compiled training, whatever they are initialized by, and so do
    data of equally many examples and classes.
    """

    def __init__(self) -> None:
        self._made: dict[tuple, Any] = {}

    def dataset(self, find: FindTicket, source: Source | None = None) -> Dataset | Parts:
        """The data of the settings, or of a source."""
        load = functools.partial(build.dataset, find) if source is None else None
        key = ("data", source, *_values(find, _DATA))
        return self._once(key, load or (lambda: source.load(find)))  # type: ignore[union-attr]

    def trainer(self, find: FindTicket, source: Source | None = None) -> Trainer:
        """The compiled trainer, with its network and its recipe."""
        data = self.dataset(find, source)
        sizes = (data.examples, data.classes, data.shape)
        net_key = ("network", *_values(find, _NETWORK), *sizes[1:])
        network: Network = self._once(net_key, lambda: build.network(find, data))
        shared = ("apply", find.model, find.padding, find.window, *sizes[1:])
        network = network._replace(apply=self._once(shared, lambda: network.apply))
        key = (*_values(find, _RECIPE), *sizes)
        recipe = self._once(("recipe", *key), lambda: build.recipe(find, network, data))
        return self._once(
            ("trainer", find.init, *key), lambda: build.trainer(find, data, net=network, how=recipe)
        )

    def validation(self, find: FindTicket, source: Source | None = None) -> int:
        """Examples held out of the training split."""
        return build.validation(find, self.dataset(find, source))

    def check(self, find: FindTicket, source: Source | None = None) -> None:
        """Refuses what could not be trained, before anything is."""
        lottery.check(
            self.trainer(find, source), self.dataset(find, source),
            validation=self.validation(find, source),
        )  # fmt: skip

    def probe(self, find: FindTicket, source: Source | None = None) -> float:
        """Seconds of one step of one network, its share of the evaluations included.

        Measured on two networks that train a few steps, with evaluations after one and after all.
        """
        whole, data = self.trainer(find, source), self.dataset(find, source)
        steps = 10 if build.has_convolutions(whole.network) else 100
        short = dataclasses.replace(whole.recipe, steps=steps, every=steps, patience=0)
        trainer = build.trainer(find, data, net=whole.network, how=short)
        keys = lottery.keys_for(jax.random.key(0), "probe", 2)
        drawn = jax.lax.map(whole.network.init, keys)
        if isinstance(data, Parts):
            data = data.take([0, 0])
        held_out = self.validation(find, source)
        seen = lottery.shares(data, lottery.split_of(keys), validation=held_out)[0]
        members = Member(
            keys, drawn, jax.vmap(masks.dense)(drawn.params),
            schedule_offset=jnp.zeros(2, jnp.int32), **seen._asdict(),
        )  # fmt: skip
        marks, shared = list[float](), lottery.device_data(data)
        for _ in range(2):  # The first compiles.
            marks.clear()
            _ = trainer.train(
                members, shared, snapshot=1, observe=lambda _: marks.append(time.perf_counter())
            )
        one, rest = np.diff(marks)
        step = max(rest - one, 0.0) / (steps - 2)
        return float(step + max(one - step, 0.0) / whole.recipe.every) / population.size(members)

    def _once(self, key: tuple, make: Any) -> Any:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


def _values(find: FindTicket, names: tuple[str, ...]) -> tuple:
    return tuple(getattr(find, name) for name in names)


def stop_when_converged(
    how: convergence.Settings, *, every: int, classes: int, held_out: bool
) -> population.Stop:
    """Stops a training as soon as its convergence is known; its accuracy there is final.

    Args:
      how: what counts as converged.
      every: steps between evaluations.
      classes: of the data.
      held_out: whether held-out examples tell, else the test set.
    """
    recent = (how.window + how.calm) // every + 3  # What the newest judgement can depend on.

    def stop(steps: list[int], reports: list[Evaluation]) -> np.ndarray:
        newest = reports[-recent:]
        curves = np.stack(
            [r.validation_accuracy if held_out else r.test_accuracy for r in newest], axis=1
        )
        curves = curves.astype(float).round(DIGITS)  # As the record will be judged.
        return np.array(
            [
                convergence.converged(
                    steps[-recent:], [float(a) for a in curve], settings=how, classes=classes
                ).step
                is not None
                for curve in curves
            ]
        )

    return stop
