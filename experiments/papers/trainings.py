"""What a paper has trained: searches, and networks retrained from their levels, as values."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import dataclasses
import functools
import math
from typing import Any

import jax

from experiments import build
from experiments.papers import convergence
from experiments.papers.pieces import Piece, Trainings, digest
from experiments.papers.results import Results
from experiments.papers.workshop import Source, Workshop, stop_when_converged
from experiments.settings import FindTicket
from ltjax import lottery
from ltjax.command import config
from ltjax.core import masks, pruning
from ltjax.core.types import Tree
from ltjax.lottery import Keeper, Level
from ltjax.training.records import Record

_OF_LEVELS = frozenset(
    {
        *("rate", "rates", "scope", "score", "score_at", "score_batch"),
        *("levels", "densities", "one_shot", "reset"),
    }
)
"""What acts on the levels after the dense network, and not on it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
    """A lottery search: a dense network, and levels pruned from it one after the other.

    Searches that differ in what comes after the dense network share it.

    Attributes:
      find: its settings, as those of `find_ticket`.
      source: the data, where they are not those of the settings.
      flip: 0, or the round of this search whose complement level 0 begins with (paper 002).
    """

    find: FindTicket
    source: Source | None = None
    flip: int = 0
    stop: None = None
    """A search trains to its end: what is pruned has to be whole."""

    @property
    def search(self) -> "Search":
        """Itself."""
        return self

    @property
    def levels(self) -> range:
        """Its levels after the first."""
        return range(1, (len(config.floats(self.find.densities)) or self.find.levels) + 1)

    @property
    def densities(self) -> tuple[float, ...]:
        """Of its levels, nominal."""
        given = config.floats(self.find.densities)
        return given or tuple((1 - self.find.rate) ** n for n in self.levels)

    @functools.cached_property
    def _stem(self) -> str:
        """What names the dense network, and all that comes from it."""
        told = config.as_dict(self.find, identity_only=True)
        dense = {name: value for name, value in told.items() if name not in _OF_LEVELS}
        carried = "optimizer" not in self.find.reset  # Then the dense network keeps its state.
        return f"{self.find.model}-{digest(dense, self.source, carried)}"

    @property
    def dense(self) -> str:
        """Name of the piece of the dense network."""
        return f"{self._stem}.dense"

    @functools.cached_property
    def stem(self) -> str:
        """Beginning of the names of all pieces that come from this search's levels."""
        told = config.as_dict(self.find, identity_only=True)
        ways = {name: told[name] for name in sorted(_OF_LEVELS - {"levels"})}
        return f"{self._stem}.{digest(ways, self.flip)}"

    def level(self, number: int) -> str:
        """Name of the piece of one level."""
        return f"{self.stem}.level_{number:02d}" if number or self.flip else self.dense

    @property
    def unflipped(self) -> "Search":
        """The search whose complement this one begins with, down to that round."""
        find = dataclasses.replace(self.find, levels=self.flip)
        return dataclasses.replace(self, flip=0, find=find)

    @property
    def plain(self) -> "Search":
        """The search whose only level is the dense network."""
        given = {f.name: f.default for f in dataclasses.fields(FindTicket) if f.name in _OF_LEVELS}
        find = dataclasses.replace(self.find, **{**given, "levels": 0, "reset": self.find.reset})
        return dataclasses.replace(self, flip=0, find=find)

    @property
    def family(self) -> Any:
        """Itself, with everything that starts from it."""
        return self

    def names(self) -> list[str]:
        """Names of its levels."""
        return [self.level(number) for number in (0, *self.levels)]

    def pieces(self, shop: Workshop) -> list[Piece]:
        """Its levels."""
        shop.check(self.find, self.source)
        _ = self.plan(shop)  # What cannot be is refused before anything is trained.
        trainer = shop.trainer(self.find, self.source)
        weights = sum(leaf.size for leaf in jax.tree.leaves(trainer.network.shapes().params))
        probe = functools.partial(shop.probe, self.find, self.source)
        names = [*(self.unflipped.names() if self.flip else []), *self.names()]
        return [
            Piece(name, self.find.model, self.find.replicates, trainer.recipe.steps, weights, probe)
            for name in names
        ]

    def run_family(self, family: Sequence[Trainings], shop: Workshop, keep: Keeper) -> None:
        """Searches, and trains what starts from the levels."""
        levels = list(self.found(shop, keep))
        for each in family:
            if isinstance(each, Retrained):
                each.retrain(levels, shop, keep)

    def records(self, results: Results, number: int) -> list[Record]:
        """The records of one level."""
        return results.records(self.level(number))

    def tree(self, results: Results, number: int) -> Tree | None:
        """The arrays of one level; None where it was not trained."""
        return results.tree(self.level(number))

    def plan(self, shop: Workshop, *, densities: Sequence[float] = ()) -> pruning.Plan:
        """How much each level, or each one-shot density, keeps."""
        find, network = self.find, shop.trainer(self.find, self.source).network
        live = None
        if self.flip:
            before = self.unflipped.plan(shop)
            kept = zip(before.groups, before.sizes, before.counts[self.flip], strict=True)
            live = {name: size - count for (name,), size, count in kept}
        return pruning.plan(
            network.shapes().params,
            rate=find.rate,
            rates=config.pairs(find.rates),
            levels=find.levels,
            densities=tuple(densities) or config.floats(find.densities),
            scope=find.scope,
            head=network.head,
            live=live,
        )

    def found(self, shop: Workshop, keep: Keeper) -> Iterator[Level]:
        """Its levels, trained or remembered."""
        find, plan, mask = self.find, self.plan(shop), None
        if set(plan.prunable) != set(self.plain.plan(shop).prunable):
            # The dense network is that of other searches, and so is its record.
            _ = list(self.plain.found(shop, keep))
        if self.flip:
            *_, last = self.unflipped.found(shop, keep)
            flipped = jax.vmap(lambda m: masks.complement(m, plan.prunable))(last.mask)
            mask = jax.device_get(flipped)
        pieces = {piece.name: piece for piece in self.pieces(shop)}
        return lottery.find(
            shop.trainer(find, self.source),
            shop.dataset(find, self.source),
            key=jax.random.key(find.seed),
            plan=plan,
            replicates=find.replicates,
            validation=shop.validation(find, self.source),
            judge="test",  # The papers read their tables off the test set.
            rewind=build.rewind(find, shop.dataset(find, self.source)),
            reset=build.resets(find),
            score=find.score,
            score_at=find.score_at,
            score_batch=find.score_batch,
            one_shot=find.one_shot,
            mask=mask,
            keep=lambda piece, compute: keep(pieces[self.level(piece.level)], compute),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cut:
    """Levels cut out of a search's dense network in one shot, without training between them.

    Attributes:
      densities: what each level keeps, in every layer; empty for the counts of the search's levels.
      score: a row of `pruning.SCORES`.
      at: `end` of the dense network's training, or `start` of it.
      counts: a row of `COUNTS`: what a level keeps beside one of the search.
      cuts: equal cuts (in the logarithm) from everything down to each level; 0 goes from level
        to level.
      same_batch: rate on one batch at every cut.
      first: first level that is cut.
    """

    densities: tuple[float, ...] = ()
    score: str = "magnitude"
    at: str = "end"
    counts: str = "layers"
    cuts: int = 1
    same_batch: bool = False
    first: int = 1

    def plan(self, search: Search, shop: Workshop) -> pruning.Plan:
        """How much each level keeps."""
        shapes = shop.trainer(search.find, search.source).network.shapes().params
        return COUNTS[self.counts](shapes, search.plan(shop, densities=self.densities))


COUNTS: Mapping[str, Callable[[Any, pruning.Plan], pruning.Plan]] = {
    "total": lambda shapes, plan: pruning.pooled(plan),
    "layers": lambda shapes, plan: plan,
    "erk": pruning.spread,
}
"""What a mask keeps beside a level of a search: its total, ranked over all layers together; its
count in each layer; or its total, spread over the layers as Erdos-Renyi-kernel."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Retrained:
    """Tickets trained again, in some arm, as one population.

    Attributes:
      search: where they come from.
      arm: a start point or control.
      repeats: draws of a control.
      cut: how they are cut out of the dense network; None for the levels of the search.
      on: the data they train on, where those are not the search's.
      stop: what counts as converged, where a training ends as soon as that is known.
    """

    search: Search
    arm: str = "theta_0"
    repeats: int = 1
    cut: Cut | None = None
    on: Source | None = None
    stop: convergence.Settings | None = None

    @property
    def densities(self) -> tuple[float, ...]:
        """Of its levels, nominal."""
        cut = self.cut or Cut()
        return cut.densities or self.search.densities[cut.first - 1 :]

    @property
    def levels(self) -> range:
        """Its levels."""
        first = 1 if self.cut is None else self.cut.first
        return range(first, first + len(self.densities))

    @property
    def family(self) -> Any:
        """The search that it starts from."""
        return self.search.family

    @functools.cached_property
    def _stem(self) -> str:
        if self.cut is None:
            return self.search.stem
        start = self.search.dense.removesuffix("dense")
        return f"{start}cut-{digest(self.cut, self.search.stem)}"

    @property
    def piece(self) -> str:
        """Name of the piece, which holds all levels."""
        how = digest(self.search.stem, self.levels, self.repeats, self.on, self.stop)
        return f"{self._stem}.{self.arm}-{how}"

    def mask(self, number: int) -> str:
        """Name of the piece that holds the masks of one level that was cut at the start."""
        return f"{self._stem}.mask_{number:02d}"

    def names(self) -> list[str]:
        """The name of its piece, where it has levels."""
        return [self.piece] if self.levels else []

    def pieces(self, shop: Workshop) -> list[Piece]:
        """The search's, its own, and its masks, which take no steps."""
        found = self.search.pieces(shop)
        if self.cut is not None:
            _ = self.cut.plan(self.search, shop)
        if self.on is not None:
            shop.check(self.search.find, self.on)
        members = self.search.find.replicates * len(self.levels) * self.repeats
        made = [dataclasses.replace(found[0], members=members, name=n) for n in self.names()]
        if self.cut is not None and self.cut.at == "start":
            none = dataclasses.replace(found[0], steps=0)
            made += [dataclasses.replace(none, name=self.mask(number)) for number in self.levels]
        return [*found, *made]

    def run_family(self, family: Sequence[Trainings], shop: Workshop, keep: Keeper) -> None:
        """Runs the search, and with it all that starts from it."""
        self.search.run_family(family, shop, keep)

    def records(self, results: Results, number: int) -> list[Record]:
        """The records of one level."""
        return [r for r in results.records(self.piece) if r.level == number]

    def tree(self, results: Results, number: int) -> Tree | None:
        """The masks of one level that was cut at the start; None where they are not there."""
        return results.tree(self.mask(number))

    def retrain(self, levels: Sequence[Level], shop: Workshop, keep: Keeper) -> None:
        """Trains the tickets of the search's levels, or cut from the first of them."""
        search, find = self.search, self.search.find
        pieces = {piece.name: piece for piece in self.pieces(shop)}
        source = search.source if self.on is None else self.on
        chosen: Iterable[Level] = levels[1:]

        def kept(piece: lottery.Piece, compute: lottery.Compute) -> Any:
            return keep(pieces[self.mask(piece.level or 0)], compute)

        if (cut := self.cut) is not None:
            chosen = lottery.one_shot(
                levels[0],
                cut.plan(search, shop),
                key=jax.random.key(find.seed),
                score=cut.score,
                at=cut.at,
                trainer=shop.trainer(find, search.source),
                dataset=shop.dataset(find, search.source),
                validation=shop.validation(find, search.source),
                cuts=cut.cuts,
                same_batch=cut.same_batch,
                numbers=self.levels,
                keep=kept if cut.at == "start" else lottery.once,
            )
        trainer, data = shop.trainer(find, source), shop.dataset(find, source)
        stop = None
        if self.stop is not None:
            stop = stop_when_converged(
                self.stop,
                every=trainer.recipe.every,
                classes=data.classes,
                held_out=shop.validation(find, source) > 0,
            )
        for _ in lottery.transfer(
            chosen,
            trainer,
            data,
            key=jax.random.key(find.seed),
            arms=(self.arm,),
            validation=shop.validation(find, source),
            judge="test",
            repeats=self.repeats,
            phase="source" if self.on is None else "target",
            stop=stop,
            together=True,
            keep=lambda piece, compute: keep(pieces[self.piece], compute),
        ):
            pass


def rounds_to(density: float, rate: float) -> int:
    """Rounds until about `density` remains, the nearest in the logarithm (reading 4.9)."""
    return max(1, round(math.log(density) / math.log(1 - rate)))
