"""What starts from a search, as works: its tickets trained again, and masks pruned at the start."""

from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
from typing import Any

import jax

from experiments.reproduce.lab import Lab
from experiments.reproduce.searches import FromSearch, Search, percents
from experiments.reproduce.works import Piece
from ltjax import lottery
from ltjax.core import pruning
from ltjax.core.types import Params
from ltjax.lottery import Keeper, Level


@dataclasses.dataclass(frozen=True, kw_only=True)
class Retrain(FromSearch):
    """Tickets of a search trained again from another start, or cut in one shot from its end.

    Attributes:
      arm: a start point or control.
      repeats: draws of a control.
      densities: one-shot densities; empty for the levels of the search.
      on: name of the task on whose data they train; None for that of the search.
    """

    arm: str = "theta_0"
    repeats: int = 1
    densities: tuple[float, ...] = ()
    on: str | None = None

    @property
    def numbers(self) -> range:
        """Its levels, from 1."""
        return range(1, (len(self.densities) or self.search.levels) + 1)

    @property
    def members(self) -> int:
        """Networks of the piece."""
        return super().members * self.repeats

    @property
    def piece(self) -> str:
        """Name of the piece, which holds all levels."""
        search = self.search
        arm = self.arm if self.repeats == 1 else f"{self.arm}_x{self.repeats}"
        arm += "" if self.on is None else f".on_{self.on}"
        if self.densities:
            biases = ".with_biases" if search.biases else ""
            start = search.dense.removesuffix(".dense")
            return f"{start}.one_shot{biases}.{arm}.{percents(self.densities)}"
        return f"{search.stem}.{arm}"

    def check(self, lab: Lab) -> None:
        """Refuses what could not be pruned or trained, before anything is trained."""
        _ = self.search.plan(lab, densities=self.densities)
        if self.on is not None:
            task = lab.task(self.on)
            network = task.network(self.search.model, self.search.init)
            lottery.check(task.trainer(network), task.dataset, validation=task.validation)

    def from_levels(self, levels: Sequence[Level], lab: Lab, keep: Keeper) -> None:
        """Trains what starts from the levels of the search."""
        chosen: Iterable[Level] = levels[1:]
        if self.densities:
            plan = self.search.plan(lab, densities=self.densities)
            chosen = lottery.one_shot(levels[0], plan, key=jax.random.key(0))

        def named(compute: lottery.Compute) -> Any:
            return keep(self.piece, compute)

        retrain(chosen, self.search, lab, named, arm=self.arm, repeats=self.repeats, on=self.on)


COUNTS: Mapping[str, Callable[[Params, pruning.Plan], pruning.Plan]] = {
    "total": lambda shapes, plan: pruning.pooled(plan),
    "layers": lambda shapes, plan: plan,
    "erk": pruning.spread,
}
"""What a mask keeps beside a level of a search: its total, ranked over all layers together; its
count in each layer; or its total, spread over the layers as Erdos-Renyi-kernel."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AtStart(FromSearch):
    """Masks pruned from the initial weights, at the counts of a search's levels, and trained.

    Attributes:
      score: a row of `pruning.SCORES`.
      counts: a row of `COUNTS`.
      cuts: equal cuts (in the logarithm) from everything down to each level; 0 goes from level
        to level.
      same_batch: rate on one batch at every cut.
      first: first level of the search that is matched.
    """

    score: str
    counts: str = "total"
    cuts: int = 1
    same_batch: bool = False
    first: int = 1

    @property
    def numbers(self) -> range:
        """Its levels."""
        return range(self.first, self.search.levels + 1)

    @property
    def stem(self) -> str:
        """Beginning of the names of its pieces."""
        how = "by_level" if self.cuts == 0 else f"cuts{self.cuts}"
        batch = ".same_batch" if self.same_batch else ""
        return f"{self.search.stem}.{self.score}.{self.counts}.{how}{batch}"

    @property
    def piece(self) -> str:
        """Name of the piece, which holds all levels."""
        return f"{self.stem}.trained"

    def mask(self, number: int) -> str:
        """Name of the piece that holds the masks of one level."""
        return f"{self.stem}.mask_{number:02d}"

    def pieces(self, lab: Lab) -> list[Piece]:
        """The search's, its own, and their masks, which take no steps."""
        found = super().pieces(lab)
        none = dataclasses.replace(found[0], steps=0)
        masks_ = [dataclasses.replace(none, name=self.mask(i)) for i in self.numbers]
        return [*found, *masks_]

    def plan(self, lab: Lab) -> pruning.Plan:
        """How much each level keeps."""
        return COUNTS[self.counts](self.search.shapes(lab), self.search.plan(lab))

    def check(self, lab: Lab) -> None:
        """Refuses what could not be pruned, before anything is trained."""
        _ = self.plan(lab)

    def from_levels(self, levels: Sequence[Level], lab: Lab, keep: Keeper) -> None:
        """Prunes the initial weights to every level, and trains them."""
        search = self.search
        task = lab.task(search.task)
        network = task.network(search.model, search.init)
        found = lottery.one_shot(
            levels[0],
            self.plan(lab),
            key=jax.random.key(search.seed),
            score=self.score,
            at="start",
            trainer=task.trainer(network),
            dataset=task.dataset,
            validation=task.validation,
            cuts=self.cuts,
            same_batch=self.same_batch,
            keep=lambda piece, compute: keep(self.mask(piece.level or 0), compute),
            numbers=self.numbers,
        )

        def named(compute: lottery.Compute) -> Any:
            return keep(self.piece, compute)

        retrain(found, search, lab, named, arm="theta_0")


def retrain(
    levels: Iterable[Level],
    search: Search,
    lab: Lab,
    keep: Callable[[lottery.Compute], Any],
    *,
    arm: str,
    repeats: int = 1,
    on: str | None = None,
) -> None:
    """Trains tickets again as one population, on the data of their search or of a task `on`."""
    task = lab.task(search.task if on is None else on)
    network = task.network(search.model, search.init)
    trained = lottery.transfer(
        levels,
        task.trainer(network),
        task.dataset,
        key=jax.random.key(search.seed),
        arms=(arm,),
        validation=task.validation,
        judge="test",
        repeats=repeats,
        phase="source" if on is None else "target",
        stop=lab.stop,
        snapshot=task.snapshot,
        together=True,
        keep=lambda piece, compute: keep(compute),
    )
    for _ in trained:
        pass
