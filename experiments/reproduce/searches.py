"""Searches as works: a chain of levels, and the base of all that starts from one."""

import abc
from collections.abc import Iterator, Sequence
import dataclasses
import functools
import math
from typing import Any

import jax

from experiments.reproduce.lab import Lab
from experiments.reproduce.trained import Results
from experiments.reproduce.works import Piece, Work
from ltjax import lottery
from ltjax.core import masks, pruning
from ltjax.core.types import Tree
from ltjax.lottery import RESETS, Keeper, Level
from ltjax.training.records import Record


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
    """A lottery search: a dense network, and levels pruned from it one after the other.

    Searches that differ in what comes after the dense network share it.

    Attributes:
      task: name of its task in the lab.
      model: a name for `models.make`.
      init: initialization; empty for the model's.
      levels: rounds after the dense network.
      rate: share pruned in a round.
      output_rate: share of the output layer pruned in a round.
      conv_rate: share of convolutions pruned in a round; `rate` where it is None.
      resets: False goes on with the trained weights (Han et al.).
      seed: everything random comes from it.
      replicates: independent searches side by side.
      flip: 0, or the round of this search whose complement level 0 begins with (paper 002).
      densities: target densities of the levels instead of `rate`; as many as `levels`.
      biases: biases are pruned too.
    """

    task: str = ""
    model: str = "lenet-300-100"
    init: str = "truncated_normal:0.1"
    levels: int = 0
    rate: float = 0.2
    output_rate: float = 0.1
    conv_rate: float | None = None
    resets: bool = True
    seed: int = 0
    replicates: int = 5
    flip: int = 0
    densities: tuple[float, ...] = ()
    biases: bool = False

    @property
    def dense(self) -> str:
        """Name of the piece of the dense network."""
        init = self.init.replace(":", "_") or "own_init"
        task = f"{self.task}." if self.task else ""
        return f"{task}{self.model}.{init}.seed{self.seed}.x{self.replicates}.dense"

    @property
    def stem(self) -> str:
        """Beginning of the names of all pieces that come from this search."""
        way = f"to_{percents(self.densities)}" if self.densities else f"rate{self.rate:g}"
        way += "" if self.resets else ".continued"
        way += ".with_biases" if self.biases else ""
        way += f".flip{self.flip}" if self.flip else ""
        return f"{self.dense.removesuffix('.dense')}.{way}"

    def level(self, number: int) -> str:
        """Name of the piece of one level."""
        own = number or self.flip
        return f"{self.stem}.level_{number:02d}" if own else self.dense

    @property
    def unflipped(self) -> "Search":
        """The search whose complement this one begins with, down to that round."""
        return dataclasses.replace(self, flip=0, levels=self.flip)

    @property
    def family(self) -> Any:
        """Itself, with everything that starts from it."""
        return self

    def names(self) -> list[str]:
        """Names of its levels."""
        return [self.level(i) for i in range(self.levels + 1)]

    def pieces(self, lab: Lab) -> list[Piece]:
        """Its levels."""
        task = lab.task(self.task)
        network = task.network(self.model, self.init)
        lottery.check(task.trainer(network), task.dataset, validation=task.validation)
        _ = self.plan(lab)  # What cannot be is refused before anything is trained.
        weights = sum(leaf.size for leaf in jax.tree.leaves(network.shapes().params))
        steps = task.recipe(network).steps
        probe = functools.partial(task.probe, self.model, self.init)
        names = [*(self.unflipped.names() if self.flip else []), *self.names()]
        return [Piece(n, self.model, self.replicates, steps, weights, probe) for n in names]

    def run_family(self, works: Sequence[Work], lab: Lab, keep: Keeper) -> None:
        """Searches, and trains what starts from the levels."""
        levels = list(self.find(lab, keep))
        for work in works:
            if isinstance(work, FromSearch):
                work.from_levels(levels, lab, keep)

    def records(self, results: Results, number: int) -> list[Record]:
        """The records of one level."""
        return results.records(self.level(number))

    def shapes(self, lab: Lab) -> Tree:
        """Shapes of the network's parameters."""
        return lab.task(self.task).network(self.model, self.init).shapes().params

    def plan(self, lab: Lab, *, densities: Sequence[float] = ()) -> pruning.Plan:
        """How much each level, or each one-shot density, keeps."""
        rates = {"output": self.output_rate}
        if self.conv_rate is not None:
            rates["conv"] = self.conv_rate
        if self.biases:
            rates["bias"] = self.rate
        live = None
        if self.flip:
            before = self.unflipped.plan(lab)
            kept = zip(before.groups, before.sizes, before.counts[self.flip], strict=True)
            live = {name: size - count for (name,), size, count in kept}
        return pruning.plan(
            self.shapes(lab),
            rate=self.rate,
            rates=rates,
            levels=self.levels,
            densities=densities or self.densities,
            live=live,
        )

    def find(self, lab: Lab, keep: Keeper) -> Iterator[Level]:
        """Its levels, trained or remembered."""
        task = lab.task(self.task)
        network = task.network(self.model, self.init)
        plan, mask = self.plan(lab), None
        if self.biases:  # The dense network is that of other searches, and so is its record.
            plain = dataclasses.replace(self, biases=False, densities=(), levels=0)
            _ = list(plain.find(lab, keep))
        if self.flip:
            *_, last = self.unflipped.find(lab, keep)
            mask = jax.vmap(lambda m: masks.complement(m, plan.prunable))(last.mask)
            mask = jax.device_get(mask)

        def named(piece: lottery.Piece, compute: lottery.Compute) -> Any:
            return keep(self.level(piece.level or 0), compute)

        return lottery.find(
            task.trainer(network),
            task.dataset,
            key=jax.random.key(self.seed),
            plan=plan,
            replicates=self.replicates,
            validation=task.validation,
            judge="test",  # The papers read their tables off the test set.
            # The optimizer's state is never carried over, so that all share the dense network.
            reset=RESETS if self.resets else ("optimizer", "schedule"),
            mask=mask,
            snapshot=task.snapshot,
            keep=named,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class FromSearch(abc.ABC):
    """A work that starts from the levels of a search.

    Attributes:
      search: where it starts from.
    """

    search: Search

    @property
    @abc.abstractmethod
    def numbers(self) -> range:
        """Its levels, from 1."""

    @property
    @abc.abstractmethod
    def piece(self) -> str:
        """Name of the piece, which holds all levels."""

    @abc.abstractmethod
    def from_levels(self, levels: Sequence[Level], lab: Lab, keep: Keeper) -> None:
        """Trains what starts from the levels of the search."""

    @abc.abstractmethod
    def check(self, lab: Lab) -> None:
        """Refuses what could not be pruned or trained, before anything is trained."""

    @property
    def members(self) -> int:
        """Networks of the piece."""
        return self.search.replicates * len(self.numbers)

    def records(self, results: Results, number: int) -> list[Record]:
        """The records of one level."""
        return [r for r in results.records(self.piece) if r.level == number]

    @property
    def family(self) -> Any:
        """The search that it starts from."""
        return self.search.family

    def names(self) -> list[str]:
        """The name of its piece, where it has levels."""
        return [self.piece] if self.numbers else []

    def pieces(self, lab: Lab) -> list[Piece]:
        """The search's, and its own."""
        found = self.search.pieces(lab)
        self.check(lab)
        mine = dataclasses.replace(found[0], members=self.members)
        return found + [dataclasses.replace(mine, name=name) for name in self.names()]

    def run_family(self, works: Sequence[Work], lab: Lab, keep: Keeper) -> None:
        """Runs the search, and with it all that starts from it."""
        self.search.run_family(works, lab, keep)


def percents(densities: Sequence[float]) -> str:
    """Densities in a name."""
    return "-".join(f"{100 * density:g}" for density in densities)


def rounds_to(density: float, rate: float) -> int:
    """Rounds until about `density` remains, the nearest in the logarithm (reading 4.9)."""
    return max(1, round(math.log(density) / math.log(1 - rate)))
