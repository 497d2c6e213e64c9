"""How networks are trained: the settings that all members of a population share."""

from collections.abc import Callable
import dataclasses

import jax

from ltjax.core import trees
from ltjax.core.types import Key, Tree
from ltjax.training.optimizers import Optimizer, Schedule

MEASURES = ("accuracy", "loss")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings that all members of a population share; it knows no network.

    Attributes:
      optimizer: an optax transformation; its updates are multiplied by the schedule. It sees the
        parameters that train, masked (`masks.sparse`), with None for frozen ones, and where it asks
        the loss of the batch as `value`, `grad` and `value_fn`. Schedules inside it stand where
        `schedule` would (`optimizers.at_step`). What is evaluated are the trained parameters, no
        average that an optimizer keeps beside (`schedule_free`).
      schedule: learning rate of a step, or None where the optimizer is complete by itself.
      batch_size: examples a step.
      steps: steps of the whole training.
      every: steps between evaluations.
      patience: regular evaluations (those at multiples of `every`) without a better validation
        result before it stops; 0 never stops.
      measure: `accuracy` or `loss`, which validation result is compared.
      keep: `last` or `best`, which variables are theta_S.
      augment: (key, uint8 images) -> uint8 images that the network takes, or None.
      frozen: names of the parameters that stay as they are.
      frozen_statistics: run in evaluation mode, so that running statistics are used, not moved,
        and dropout does not act.
      block: images evaluated at once.
    """

    optimizer: Optimizer
    schedule: Schedule | None = None
    batch_size: int
    steps: int
    every: int
    patience: int = 0
    measure: str = "accuracy"
    keep: str = "last"
    augment: Callable[[Key, jax.Array], jax.Array] | None = None
    frozen: frozenset[str] = frozenset()
    frozen_statistics: bool = False
    block: int = 1000

    def __post_init__(self) -> None:
        """Refuses settings that make no training."""
        if self.batch_size < 1 or self.every < 1 or self.steps < 0 or self.block < 1:
            raise ValueError(
                "batch_size, every and block must be at least 1 and steps at least 0; got "
                f"{self.batch_size}, {self.every}, {self.block}, {self.steps}"
            )
        if self.steps >= 2**31 or self.every * self.batch_size >= 2**30:
            raise ValueError(
                "steps must be below 2**31, and every * batch_size (the examples of a leg) below "
                f"2**30; got {self.steps} and {self.every} * {self.batch_size}; lower them"
            )
        trees.require(self.measure, MEASURES, "measure")
        trees.require(self.keep, ("last", "best"), "choice of weights")

    def moving(self, params: Tree) -> Tree:
        """The parameters that train, or their masks; None in the place of each frozen one."""
        if not self.frozen:
            return params
        return trees.map_with_name(lambda n, p: None if n in self.frozen else p, params)

    def evaluations(self, *, first: int = 0, snapshot: int | None = None) -> list[int]:
        """The steps at which a training that begins at `first` is evaluated, `first` included."""
        marks = {first, self.steps, *range(0, self.steps, self.every)}
        marks |= set() if snapshot is None else {snapshot}
        return sorted(s for s in marks if s >= first)
