"""The lab of a paper: data, networks and compiled trainers, each made once."""

from collections.abc import Callable, Mapping
import dataclasses
import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import build
from experiments.papers import convergence
from experiments.settings import FindTicket
from ltjax import lottery
from ltjax.core import masks
from ltjax.data import Dataset, Parts
from ltjax.lottery.held_out import split_of
from ltjax.models import Network
from ltjax.training import Recipe, Trainer, population
from ltjax.training.evaluation import Evaluation
from ltjax.training.records import DIGITS
from ltjax.training.step import Member


class Lab:
    """The tasks of a paper, each made once.

    Args:
      tasks: by name.
      stop: when trainings that nothing is pruned from may stop; None for never.
    """

    def __init__(self, tasks: Mapping[str, "Task"], *, stop: population.Stop | None = None) -> None:
        self.stop = stop
        self._tasks = dict(tasks)

    def task(self, name: str) -> "Task":
        """A task by its name."""
        return self._tasks[name]


class Task:
    """Data, networks and compiled trainers of one task, each made once.

    Args:
      base: the settings that all its trainings share.
      load: makes the data; by default what `base` says.
      like: a task with the same settings, whose networks and compiled trainers this one uses;
        their data have the same number of examples and classes.
    """

    def __init__(
        self,
        base: FindTicket,
        *,
        load: Callable[[], Dataset | Parts] | None = None,
        like: "Task | None" = None,
    ) -> None:
        self.base = base
        self._like = like
        self._load = load or functools.partial(build.dataset, base)
        self._networks: dict[tuple[str, str], Network] = like._networks if like else {}
        self._applies: dict[str, Any] = like._applies if like else {}
        self._recipes: dict[str, Recipe] = like._recipes if like else {}
        self._trainers: dict[Network, Trainer] = like._trainers if like else {}

    @functools.cached_property
    def dataset(self) -> Dataset | Parts:
        """The data of all trainings.

        Raises:
          ValueError: where they do not fit the compiled trainers of the task that this one is like.
        """
        loaded = self._load()
        if self._like is not None:
            theirs = self._like.dataset
            if (loaded.examples, loaded.classes) != (theirs.examples, theirs.classes):
                raise ValueError(
                    f"{loaded.examples} examples of {loaded.classes} classes here and "
                    f"{theirs.examples} of {theirs.classes} there; tasks that share a trainer need "
                    "equal numbers"
                )
        return loaded

    def network(self, model: str, init: str) -> Network:
        """A network, the same object each time; those of one model share the compiled training."""
        if (model, init) not in self._networks:
            made = build.network(
                dataclasses.replace(self.base, model=model, init=init), self.dataset
            )
            apply = self._applies.setdefault(model, made.apply)
            self._networks[model, init] = made._replace(apply=apply)
        return self._networks[model, init]

    def trainer(self, network: Network) -> Trainer:
        """The trainer of a network; those of one model share what is compiled."""
        if network not in self._trainers:
            if network.name not in self._recipes:
                how = build.recipe(self.base, network, self.dataset)
                self._recipes[network.name] = how
            how = self._recipes[network.name]
            self._trainers[network] = build.trainer(self.base, self.dataset, net=network, how=how)
        return self._trainers[network]

    def recipe(self, network: Network) -> Recipe:
        """How a network is trained."""
        return self.trainer(network).recipe

    @property
    def snapshot(self) -> int:
        """The step that is kept as theta_k."""
        rewind = build.rewind(self.base, self.dataset)
        return rewind if isinstance(rewind, int) else 0

    @property
    def validation(self) -> int:
        """Examples held out of the training split."""
        return build.validation(self.base, self.dataset)

    def probe(self, model: str, init: str) -> float:
        """Seconds of one step of one network, its share of the evaluations included.

        Measured on two networks that train a few steps, with evaluations after one and after all.
        """
        network = self.network(model, init)
        how = self.recipe(network)
        steps = 10 if build.has_convolutions(network) else 100
        short = dataclasses.replace(how, steps=steps, every=steps, patience=0)
        trainer = build.trainer(self.base, self.dataset, net=network, how=short)
        keys = lottery.keys_for(jax.random.key(0), "probe", 2)
        drawn = jax.lax.map(network.init, keys)
        dataset = self.dataset
        if isinstance(dataset, Parts):
            dataset = dataset.take([0, 0])
        members = Member(
            keys,
            drawn,
            jax.vmap(masks.dense)(drawn.params),
            schedule_offset=jnp.zeros(2, jnp.int32),
            **lottery.shares(dataset, split_of(keys), validation=self.validation)[0]._asdict(),
        )
        shared, marks = lottery.device_data(dataset), list[float]()
        for _ in range(2):  # The first compiles.
            marks.clear()
            _ = trainer.train(
                members, shared, snapshot=1, observe=lambda _: marks.append(time.perf_counter())
            )
        one, rest = np.diff(marks)
        step = max(rest - one, 0.0) / (steps - 2)
        return float(step + max(one - step, 0.0) / how.every) / population.size(members)


def stop_when_converged(
    how: convergence.Settings, *, every: int, classes: int, held_out: Callable[[], bool]
) -> population.Stop:
    """Stops a training as soon as its convergence is known; its accuracy there is final.

    Args:
      how: what counts as converged.
      every: steps between evaluations.
      classes: of the data.
      held_out: asked once training has begun: whether held-out examples tell, else the test set.
    """
    recent = (how.window + how.calm) // every + 3  # What the newest judgement can depend on.

    def stop(steps: list[int], reports: list[Evaluation]) -> np.ndarray:
        newest, judged = reports[-recent:], held_out()
        curves = np.stack(
            [r.validation_accuracy if judged else r.test_accuracy for r in newest], axis=1
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
