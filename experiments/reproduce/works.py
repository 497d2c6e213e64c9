"""Works: what has to be trained, named so that what two experiments need is trained once.

A work is a value; equal works are one. Its *pieces* are the populations that are trained and kept
one by one. Works of one *family* are run together, because they share what they start from.
"""

import abc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import dataclasses
import functools
import math
import time
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from experiments import settings as settings_
from experiments.settings import FindTicket
from ltjax import checkpoints, convergence, lottery, masks, population, pruning, train
from ltjax.data import Dataset
from ltjax.lottery import Found, Keeper
from ltjax.models import Network
from ltjax.results import DIGITS, Record
from ltjax.rundir import RunDir
from ltjax.types import Tree


@dataclasses.dataclass(frozen=True)
class Piece:
    """One population.

    Attributes:
      name: unique in a run.
      model: what is trained, for the measure of its speed.
      members: networks side by side.
      steps: of each of them, at most.
      weights: parameters of one network.
      probe: measures the seconds of one step of one network here, its share of the evaluations
        included; pieces of one model have the same.
    """

    name: str
    model: str
    members: int
    steps: int
    weights: int
    probe: Callable[[], float] = dataclasses.field(compare=False)


class Work(Protocol):
    """Something to be trained."""

    @property
    def family(self) -> Any:
        """Works of equal families are run together by `run_family` of the first."""
        ...

    def names(self) -> list[str]:
        """Names of its own pieces."""
        ...

    def pieces(self, lab: "Lab") -> list[Piece]:
        """What it is made of, with everything that it needs."""
        ...

    def run_family(self, works: Sequence["Work"], lab: "Lab", keep: Keeper) -> None:
        """Trains all `works` of this family."""
        ...


def in_families(works: Iterable[Work]) -> list[list[Work]]:
    """Works without repetition, those of one family together, in the order of the families."""
    families: dict[Any, dict[Work, None]] = {}
    for work in works:
        families.setdefault(work.family, {})[work] = None
    return [list(group) for group in families.values()]


def all_pieces(works: Iterable[Work], lab: "Lab") -> list[Piece]:
    """The pieces of all works, each once."""
    return list({p.name: p for work in works for p in work.pieces(lab)}.values())


def run(works: Iterable[Work], lab: "Lab", keep: Keeper) -> None:
    """Trains all works, or remembers them."""
    for group in in_families(works):
        group[0].run_family(group, lab, keep)


class Lab:
    """The tasks of a paper, each made once.

    Args:
      tasks: settings that the trainings of each task share, by name.
      stop: when trainings that nothing is pruned from may stop; None for never.
    """

    def __init__(
        self, tasks: Mapping[str, FindTicket], *, stop: population.Stop | None = None
    ) -> None:
        self.stop = stop
        self._tasks = {name: Task(base) for name, base in tasks.items()}

    def task(self, name: str) -> "Task":
        """A task by its name."""
        return self._tasks[name]


class Task:
    """Data, networks and compiled trainers of one task, each made once.

    Args:
      base: the settings that all its trainings share.
    """

    def __init__(self, base: FindTicket) -> None:
        self.base = base
        self._networks: dict[tuple[str, str], Network] = {}
        self._applies: dict[str, Any] = {}
        self._trainers: dict[str, population.Trainer] = {}

    @functools.cached_property
    def dataset(self) -> Dataset:
        """The data of all trainings."""
        return settings_.dataset(self.base)

    def network(self, model: str, init: str) -> Network:
        """A network, the same object each time; those of one model share the compiled training."""
        if (model, init) not in self._networks:
            made = settings_.network(
                dataclasses.replace(self.base, model=model, init=init), self.dataset
            )
            apply = self._applies.setdefault(model, made.apply)
            self._networks[model, init] = made._replace(apply=apply)
        return self._networks[model, init]

    def trainer(self, network: Network) -> population.Trainer:
        """The trainer of a model."""
        if network.name not in self._trainers:
            how = settings_.recipe(self.base, network, self.dataset)
            self._trainers[network.name] = settings_.trainer(self.base, network, how)
        return self._trainers[network.name]

    def recipe(self, network: Network) -> train.Recipe:
        """How a network is trained."""
        return self.trainer(network).recipe

    @property
    def validation(self) -> int:
        """Examples held out of the training split."""
        return settings_.validation(self.base, self.dataset)

    def probe(self, model: str, init: str) -> float:
        """Seconds of one step of one network, measured on a few legs of two."""
        network = self.network(model, init)
        drawn = jax.vmap(network.init)(jax.random.split(jax.random.key(0), 2))
        rows = jnp.arange(len(self.dataset.train.labels), dtype=jnp.int32)
        members = train.Member(
            jax.random.split(jax.random.key(1), 2),
            drawn,
            jax.vmap(masks.dense)(drawn.params),
            jnp.stack([rows, rows]),
            jnp.zeros((2, 0), jnp.int32),
            jnp.zeros(2, jnp.int32),
        )
        return time_legs(self.trainer(network), members, lottery.device_data(self.dataset))


def time_legs(trainer: population.Trainer, members: train.Member, data: train.Data) -> float:
    """Seconds of one step of one member, from the legs after the one that compiles."""
    marks: list[tuple[int, float]] = []

    def enough(steps: list[int], reports: list[train.Evaluation]) -> np.ndarray:
        del steps
        return np.full(len(reports[-1].ran), len(reports) >= 5)

    _ = trainer.train(
        members,
        data,
        observe=lambda partial: marks.append((partial.step, time.perf_counter())),
        stop=enough,
    )
    (first, begun), (last, ended) = marks[min(1, len(marks) - 1)], marks[-1]
    return (ended - begun) / (max(1, last - first) * population.size(members))


class Results:
    """What a run has trained so far, read piece by piece.

    Args:
      run: the run.
      settings: of the paper.
      criterion: what counts as converged.
    """

    def __init__(
        self, run: RunDir, settings: Any, *, criterion: convergence.Settings | None = None
    ) -> None:
        self.run, self.settings = run, settings
        self.criterion = criterion or convergence.Settings()
        self._records: dict[str, list[Record]] = {}
        self._trees: dict[str, Tree] = {}

    def has(self, piece: str) -> bool:
        """Whether a piece is there."""
        return self.run.piece_done(piece)

    def records(self, piece: str) -> list[Record]:
        """The records of a piece; none where it is not there yet."""
        if piece not in self._records:
            there = self.has(piece)
            self._records[piece] = self.run.read_piece(piece) if there else []
        return self._records[piece]

    def tree(self, piece: str) -> Tree | None:
        """The arrays of a piece; None where they are not there (yet)."""
        path = self.run.ticket(piece)
        if not self.has(piece) or not checkpoints.exists(path):
            return None
        if piece not in self._trees:
            self._trees[piece] = checkpoints.load(path)[0]
        return self._trees[piece]


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

    @property
    def dense(self) -> str:
        """Name of the piece of the dense network."""
        init = self.init.replace(":", "_") or "own_init"
        task = f"{self.task}." if self.task else ""
        return f"{task}{self.model}.{init}.seed{self.seed}.x{self.replicates}.dense"

    @property
    def stem(self) -> str:
        """Beginning of the names of all pieces that come from this search."""
        way = f"rate{self.rate:g}" + ("" if self.resets else ".continued")
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
        weights = sum(leaf.size for leaf in jax.tree.leaves(network.shapes().params))
        steps = task.recipe(network).steps
        probe = functools.partial(task.probe, self.model, self.init)
        names = [*(self.unflipped.names() if self.flip else []), *self.names()]
        return [Piece(n, self.model, self.replicates, steps, weights, probe) for n in names]

    def run_family(self, works: Sequence[Work], lab: Lab, keep: Keeper) -> None:
        """Searches, and trains level by level what starts from the levels."""
        again = [w for w in works if isinstance(w, FromSearch)]
        for level in self.find(lab, keep):
            for work in again:
                work.from_level(level, lab, keep)

    def shapes(self, lab: Lab) -> Tree:
        """Shapes of the network's parameters."""
        return lab.task(self.task).network(self.model, self.init).shapes().params

    def plan(self, lab: Lab, *, densities: Sequence[float] = ()) -> pruning.Plan:
        """How much each level, or each one-shot density, keeps."""
        rates = {"output": self.output_rate}
        if self.conv_rate is not None:
            rates["conv"] = self.conv_rate
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
            densities=densities,
            live=live,
        )

    def find(self, lab: Lab, keep: Keeper) -> Iterator[Found]:
        """Its levels, trained or remembered."""
        task = lab.task(self.task)
        network = task.network(self.model, self.init)
        plan, mask = self.plan(lab), None
        if self.flip:
            *_, last = self.unflipped.find(lab, keep)
            mask = jax.vmap(lambda m: masks.complement(m, plan.prunable))(last.mask)
            mask = jax.device_get(mask)

        def named(piece: str, compute: lottery.Compute) -> Any:
            return keep(self.level(int(piece.rpartition("_")[2])), compute)

        # The optimizer's state is never carried over, so that all share the dense network.
        back = ("weights", "biases", "order") if self.resets else ()
        return lottery.find(
            network,
            task.dataset,
            task.recipe(network),
            key=jax.random.key(self.seed),
            plan=plan,
            replicates=self.replicates,
            validation=task.validation,
            reset=("optimizer", "schedule", *back),
            mask=mask,
            trainer=task.trainer(network),
            keep=named,
        )


def retrain(
    levels: Iterable[Found],
    search: Search,
    lab: Lab,
    keep: Callable[[int, lottery.Compute], Any],
    *,
    arm: str,
    repeats: int = 1,
) -> None:
    """Trains tickets again on the data of their search; `keep` takes the number of the level."""
    task = lab.task(search.task)
    network = task.network(search.model, search.init)
    trained = lottery.transfer(
        levels,
        network,
        task.dataset,
        task.recipe(network),
        key=jax.random.key(search.seed),
        arms=(arm,),
        validation=task.validation,
        repeats=repeats,
        phase="source",
        stop=lab.stop,
        trainer=task.trainer(network),
        keep=lambda piece, compute: keep(int(piece.rpartition("_")[2]), compute),
    )
    for _ in trained:
        pass


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

    @abc.abstractmethod
    def piece(self, number: int) -> str:
        """Name of the piece of one level."""

    @abc.abstractmethod
    def from_level(self, level: Found, lab: Lab, keep: Keeper) -> None:
        """Trains what starts from one level."""

    @property
    def members(self) -> int:
        """Networks of each piece."""
        return self.search.replicates

    @property
    def family(self) -> Any:
        """The search that it starts from."""
        return self.search.family

    def names(self) -> list[str]:
        """Names of its levels."""
        return [self.piece(i) for i in self.numbers]

    def pieces(self, lab: Lab) -> list[Piece]:
        """The search's, and its own."""
        found = self.search.pieces(lab)
        mine = dataclasses.replace(found[0], members=self.members)
        return found + [dataclasses.replace(mine, name=name) for name in self.names()]

    def run_family(self, works: Sequence[Work], lab: Lab, keep: Keeper) -> None:
        """Runs the search, and with it all that starts from it."""
        self.search.run_family(works, lab, keep)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Retrain(FromSearch):
    """Tickets of a search trained again from another start, or cut in one shot from its end.

    Attributes:
      arm: a start point or control.
      repeats: draws of a control.
      densities: one-shot densities; empty for the levels of the search.
    """

    arm: str = "theta_0"
    repeats: int = 1
    densities: tuple[float, ...] = ()

    @property
    def numbers(self) -> range:
        """Its levels, from 1."""
        return range(1, (len(self.densities) or self.search.levels) + 1)

    @property
    def members(self) -> int:
        """Networks of each piece."""
        return self.search.replicates * self.repeats

    def piece(self, number: int) -> str:
        """Name of the piece of one level."""
        search = self.search
        arm = self.arm if self.repeats == 1 else f"{self.arm}_x{self.repeats}"
        if self.densities:
            percent = f"{100 * self.densities[number - 1]:g}"
            return f"{search.dense.removesuffix('.dense')}.one_shot.{arm}_{percent}"
        return f"{search.stem}.{arm}_{number:02d}"

    def from_level(self, level: Found, lab: Lab, keep: Keeper) -> None:
        """Trains what starts from one level."""
        if self.densities and level.level == 0:
            levels = lottery.cut(level, self.search.plan(lab, densities=self.densities))
        elif not self.densities and level.level in self.numbers:
            levels = iter([level])
        else:
            return

        def named(number: int, compute: lottery.Compute) -> Any:
            return keep(self.piece(number), compute)

        retrain(levels, self.search, lab, named, arm=self.arm, repeats=self.repeats)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AtStart(FromSearch):
    """Masks pruned from the initial weights, at the counts of a search's levels, and trained.

    Attributes:
      score: a row of `pruning.SCORES`.
      counts: `total` ranks all layers together down to the search's total, `layers` keeps the
        search's count in each layer, `erk` spreads the total as Erdos-Renyi-kernel.
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

    def piece(self, number: int) -> str:
        """Name of the piece of one level."""
        return f"{self.stem}.level_{number:02d}"

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
        plan = self.search.plan(lab)
        if self.counts == "total":
            return pruning.pooled(plan)
        if self.counts == "erk":
            return pruning.spread(self.search.shapes(lab), plan)
        assert self.counts == "layers", self.counts
        return plan

    def from_level(self, level: Found, lab: Lab, keep: Keeper) -> None:
        """Prunes and trains every level, once the dense network is there."""
        if level.level:
            return
        search = self.search
        task = lab.task(search.task)
        network = task.network(search.model, search.init)
        found = lottery.at_start(
            level,
            task.dataset,
            task.recipe(network),
            key=jax.random.key(search.seed),
            plan=self.plan(lab),
            score=self.score,
            validation=task.validation,
            cuts=self.cuts,
            same_batch=self.same_batch,
            keep=lambda number, compute: keep(self.mask(number), compute),
            numbers=self.numbers,
        )

        def named(number: int, compute: lottery.Compute) -> Any:
            return keep(self.piece(number), compute)

        retrain(found, search, lab, named, arm="theta_0")


def rounds_to(density: float, rate: float) -> int:
    """Rounds until about `density` remains, the nearest in the logarithm (reading 4.9)."""
    return max(1, round(math.log(density) / math.log(1 - rate)))


def stop_when_converged(how: convergence.Settings, *, every: int, classes: int) -> population.Stop:
    """Stops a training as soon as its convergence is known; its accuracy there is final.

    Args:
      how: what counts as converged.
      every: steps between evaluations.
      classes: of the data.
    """
    recent = (how.window + how.calm) // every + 3  # What the newest judgement can depend on.

    def stop(steps: list[int], reports: list[train.Evaluation]) -> np.ndarray:
        newest = reports[-recent:]
        held_out = not np.isnan(newest[0].validation_accuracy).any()
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
