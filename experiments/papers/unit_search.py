"""A search over units: a thousand small networks as one program, pruned unit by unit."""

from collections.abc import Sequence
import dataclasses
import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.papers import units
from experiments.papers.pieces import Piece, Trainings, digest
from experiments.papers.workshop import Workshop
from ltjax import data, lottery, models
from ltjax.core import masks
from ltjax.core.types import Key, Mask, Tree, Variables
from ltjax.data import Dataset
from ltjax.lottery import Keeper
from ltjax.models import Network
from ltjax.training import Recipe, Trainer, optimizers, population
from ltjax.training.evaluation import Evaluation
from ltjax.training.population import Observer
from ltjax.training.records import Record
from ltjax.training.step import Member

_LEGS = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class UnitSearch:
    """Networks of one hidden layer, trained whole and after pruning some of their units.

    Attributes:
      units: hidden units of each level, falling; the first is the whole network.
      score: a row of `units.SCORES`.
      one_shot: every level is pruned from the first.
      rate: learning rate of full-batch gradient descent.
      sd: of the truncated normal initialization; biases begin at 0.
      steps: of each training.
      trials: networks, all trained as one program.
      seed: everything random comes from it, and from the name of the row: rows share no network.
    """

    units: tuple[int, ...]
    score: str = "product"
    one_shot: bool = False
    rate: float = 0.1
    sd: float = 0.1
    steps: int = 10000
    trials: int = 1000
    seed: int = 0

    @property
    def stem(self) -> str:
        """What names the row, and its keys."""
        chain = "-".join(map(str, self.units))
        way = "" if len(self.units) == 1 else f".{self.score}.{'once' if self.one_shot else 'by_2'}"
        return f"xor.{chain}{way}.rate{self.rate:g}"

    def piece(self, count: int) -> str:
        """Name of the piece with so many units."""
        told = digest(self.sd, self.steps, self.trials, self.seed)
        return f"{self.stem}.{told}.units_{count:02d}"

    @property
    def family(self) -> Any:
        """Itself: it shares nothing."""
        return self

    def names(self) -> list[str]:
        """Names of its levels."""
        return [self.piece(count) for count in self.units]

    def pieces(self, shop: Workshop) -> list[Piece]:
        """Its levels."""
        del shop
        weights, model = 4 * self.units[0] + 1, f"xor-{self.units[0]}"
        return [
            Piece(name, model, self.trials, self.steps, weights, self._probe)
            for name in self.names()
        ]

    def _trainer(self) -> Trainer:
        return trainer_of(self.units[0], self.rate, self.sd, self.steps)

    def _probe(self) -> float:
        trainer = self._trainer()
        theta_0 = self._drawn(trainer.network)
        members = self._members(theta_0, jax.vmap(masks.dense)(theta_0.params))
        return _seconds_a_step(trainer, members)

    def _keys(self, purpose: str) -> Key:
        key = jax.random.key(self.seed)
        return lottery.keys_for(key, f"{purpose} of {self.stem}", self.trials)

    def _drawn(self, network: Network) -> Variables:
        return jax.jit(jax.vmap(network.init))(self._keys("init"))

    def _members(self, start: Variables, mask: Mask) -> Member:
        rows = jnp.arange(len(dataset().train.labels), dtype=jnp.int32)
        return Member(
            self._keys("order"),  # A full batch has none.
            start,
            mask,
            jnp.tile(rows, (self.trials, 1)),
            jnp.zeros((self.trials, 0), jnp.int32),
            jnp.zeros(self.trials, jnp.int32),
        )

    def run_family(self, family: Sequence[Trainings], shop: Workshop, keep: Keeper) -> None:
        """Trains, prunes, resets to the initial values and trains again."""
        del family
        trainer = self._trainer()
        theta_0 = self._drawn(trainer.network)
        pruned = whole = None
        for piece, count in zip(self.pieces(shop), self.units, strict=True):
            before = whole if self.one_shot else pruned
            mask = jax.vmap(masks.dense)(theta_0.params)
            if before is not None:
                mask = self._prune(before, count)
            pruned, _ = keep(piece, functools.partial(self._train, trainer, theta_0, mask))
            whole = pruned if whole is None else whole

    def _train(
        self,
        trainer: Trainer,
        theta_0: Variables,
        mask: Mask,
        resume: Tree | None,
        observe: Observer | None,
    ) -> tuple[Tree, list[Record]]:
        trained = trainer.train(
            self._members(theta_0, mask), lottery.device_data(dataset()),
            resume=resume, observe=observe,
        )  # fmt: skip
        tree = {
            "mask": mask,
            "theta_S": trained.variables.params,
            "loss": trained.curve.test_loss[-1],
            "margin": margins(trainer.network, trained.variables),
        }
        return jax.device_get(tree), []

    def _prune(self, level: Tree, count: int) -> Mask:
        prune = functools.partial(units.prune, keep={"dense_0": count}, score=self.score)
        return jax.jit(jax.vmap(lambda p, m: prune(p, m)))(level["theta_S"], level["mask"])


@functools.cache
def dataset() -> Dataset:
    """The four points, as 0 and 1."""
    return data.normalize(data.load("xor"), "unit")


@functools.lru_cache(maxsize=16)
def trainer_of(count: int, rate: float, sd: float, steps: int) -> Trainer:
    """The trainer of networks with `count` hidden units and one sigmoid output."""
    points = dataset()
    network = models.make(
        f"mlp-{count}", input_shape=points.shape, classes=1, init=f"truncated_normal:{sd}"
    )
    recipe = Recipe(
        optimizer=optimizers.make("sgd"),
        schedule=optimizers.schedule("constant", rate, steps=steps),
        batch_size=len(points.train.labels),
        steps=steps,
        every=max(1, steps // _LEGS),
    )
    # Side by side also on a CPU: a network of 41 weights fills nothing by itself.
    return Trainer(models.sigmoid(network), recipe, layout="vmap")


def margins(network: Network, variables: Variables) -> np.ndarray:
    """The smallest distance from 1/2, on the right side, over the four points: float32 [trials].

    Negative where some point lies on the wrong side.
    """
    points = dataset()
    images = jnp.asarray(points.test.images, jnp.float32) / 255
    labels = jnp.asarray(points.test.labels)

    def one(params: Tree) -> jax.Array:
        logits, _ = network.apply(Variables(params, {}), images, train=False)
        above = jax.nn.softmax(logits)[:, 1] - 0.5
        return jnp.where(labels == 1, above, -above).min()

    return np.asarray(jax.jit(jax.vmap(one))(variables.params))


def _seconds_a_step(trainer: Trainer, members: Member) -> float:
    """Seconds of one step of one member, from the legs after the one that compiles."""
    marks: list[tuple[int, float]] = []

    def enough(steps: list[int], reports: list[Evaluation]) -> np.ndarray:
        del steps
        return np.full(len(reports[-1].ran), len(reports) >= 5)

    _ = trainer.train(
        members,
        lottery.device_data(dataset()),
        observe=lambda partial: marks.append((partial.step, time.perf_counter())),
        stop=enough,
    )
    (first, begun), (last, ended) = marks[min(1, len(marks) - 1)], marks[-1]
    return (ended - begun) / (max(1, last - first) * population.size(members))
