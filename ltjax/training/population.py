"""Many members trained by one compiled program, spread over the devices.

A *population* is a tree of members with a leading axis. The members lie along the one axis of a
mesh; each device trains its share by itself, so nothing is communicated.

`map` trains the members of a device one after the other, `vmap` side by side in batched
operations. On a CPU `map` is as fast and needs less memory; on an accelerator small dense layers
need `vmap` to fill it, while batched weights would turn a convolution into a grouped one, which
is slow everywhere. `choose_layout` is the one place that decides.
"""

from collections.abc import Callable, Sequence
import functools
from typing import Any, NamedTuple

import jax
from jax import lax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
import numpy as np

from ltjax.core import trees
from ltjax.core.types import Tree, Variables
from ltjax.data import Dataset, Parts
from ltjax.models import Network
from ltjax.models.network import Apply
from ltjax.training import optimizers, step
from ltjax.training.evaluation import Data, Evaluation
from ltjax.training.recipe import Recipe
from ltjax.training.step import Member, State

LAYOUTS = ("map", "vmap")
_AXIS = "members"


def choose_layout(backend: str, *, convolutions: bool) -> str:
    """How the members of one device are trained: `map` or `vmap`."""
    return "map" if backend == "cpu" or convolutions else "vmap"


def stack(members: Sequence[Tree]) -> Tree:
    """A population of single members."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)


def size(population: Tree) -> int:
    """Number of members."""
    return int(jax.tree.leaves(population)[0].shape[0])


def member(population: Tree, number: int) -> Tree:
    """One member of a population."""
    return jax.tree.map(lambda leaf: leaf[number], population)


class Trained(NamedTuple):
    """A population after training.

    Attributes:
      variables: theta_S.
      snapshot: theta_k on the host, empty where it was not asked for.
      opt_state: of the last step.
      steps: the evaluated steps.
      curve: `Evaluation` of NumPy arrays [steps, members].
      failed_step: int [members], -1 where all went well.
    """

    variables: Variables
    snapshot: Variables
    opt_state: Tree
    steps: list[int]
    curve: Evaluation
    failed_step: np.ndarray


class Partial(NamedTuple):
    """A training in the middle: what is needed to go on with the same bits."""

    states: State
    reports: list[Evaluation]
    """One a finished leg, of NumPy arrays [members]."""
    step: int
    """The step at which `states` stands."""
    slots: np.ndarray
    """int [members], where each member lies in `states`."""
    snapshot: Variables | None = None
    """theta_k on the host, where it is asked for and step k has come."""

    def as_tree(self) -> Tree:
        """Nested dicts of host arrays in the order of the members, for a checkpoint."""
        reports = jax.tree.map(lambda *leaves: np.stack(leaves), *self.reports)
        states = jax.tree.map(lambda leaf: leaf[self.slots], jax.device_get(self.states))
        kept = {} if self.snapshot is None else {"snapshot": self.snapshot._asdict()}
        return {
            "states": numbered(states),
            "reports": reports._asdict(),
            "step": np.int32(self.step),
            **kept,
        }


def numbered(tree: Tree) -> dict[str, Tree]:
    """The leaves of any tree as a dict, for a checkpoint that knows only dicts."""
    return {f"{i:04d}": leaf for i, leaf in enumerate(jax.tree.leaves(tree))}


def unnumbered(leaves: dict[str, Tree], like: Tree) -> Tree:
    """Undoes `numbered`, in the structure of `like`."""
    return jax.tree.unflatten(
        jax.tree.structure(like), [leaves[n] for n in sorted(leaves, key=int)]
    )


Observer = Callable[[Partial], None]

Stop = Callable[[list[int], list[Evaluation]], np.ndarray]
"""(evaluated steps, one report of arrays [members] a step) -> bool [members]: who has done
enough. A pure function of the reports, so that a resumed training stops where it would have."""


class Trainer:
    """Trains populations of a network by a recipe, compiled once.

    A member gets the same bits in every population that spreads over as many devices with the
    same layout `map`: the program of a member does not depend on its neighbours. Under `vmap`,
    or on another number of devices, sums may be ordered otherwise (relative differences of about
    1e-6 a step); tests hold both. Trainers of equal recipes and networks of one `apply`, which
    may draw other weights, share what is compiled.

    Args:
      network: what is trained.
      recipe: how.
      devices: the devices to spread over; all by default.
      layout: `map` or `vmap`.
    """

    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        *,
        devices: Sequence[Any] | None = None,
        layout: str = "map",
    ) -> None:
        trees.require(layout, LAYOUTS, "layout")
        self.network, self.recipe = network, recipe
        self._layout = layout
        self._devices = tuple(jax.devices() if devices is None else devices)

    def check_schedules(self) -> None:
        """Refuses an optimizer that could not go on at a step (`optimizers.check_schedules`)."""
        shapes = self.network.shapes().params
        optimizers.check_schedules(self.recipe.optimizer, self.recipe.moving(shapes))

    def optimizer_states(self, members: Member) -> Tree:
        """Fresh optimizer states of a population."""
        return jax.vmap(functools.partial(step.begin, recipe=self.recipe))(members).opt_state

    def train(
        self,
        members: Member,
        data: Data,
        *,
        first: int = 0,
        opt_state: Tree | None = None,
        snapshot: int | None = None,
        failed_step: np.ndarray | None = None,
        resume: Tree | None = None,
        observe: Observer | None = None,
        stop: Stop | None = None,
    ) -> Trained:
        """Trains all members from step `first` to the end of the recipe.

        Where the layout is `map`, a member that has stopped takes no time, and the members that
        still run are kept evenly spread over the devices.

        Args:
          members: the population.
          data: shared by all members.
          first: the first step.
          opt_state: optimizer states to go on with, one a member; fresh ones where None.
          snapshot: step whose variables are kept as theta_k, outside of the program; it is
            evaluated, and patience does not stop before it. None for none.
          failed_step: int [members]; who failed in an earlier training (not -1) has failed in this
            one at that step, and is evaluated once but not trained.
          resume: `Partial.as_tree` of what `observe` was given in this very training.
          observe: called after every leg, for instance to show progress or to save.
          stop: asked after every leg which members need not go on.

        Raises:
          ValueError: a snapshot outside of the training, or an optimizer that has to go on at a
            step and cannot.
        """
        recipe, count = self.recipe, size(members)
        if snapshot is not None and not 0 <= snapshot <= recipe.steps:
            raise ValueError(f"snapshot must lie in 0..{recipe.steps} (the length); got {snapshot}")
        if first or opt_state is not None or np.any(np.asarray(members.schedule_offset)):
            self.check_schedules()
        devices = self._devices[: min(len(self._devices), count)]
        program = _compile(self.network.apply, recipe, devices, self._layout)
        mesh, padded = program.mesh, _padded(program.mesh, count)
        laid, held = (_place(tree, mesh=mesh, order=padded) for tree in (members, opt_state))
        states = program.begin(laid, held, jnp.int32(first))
        data = jax.device_put(data, NamedSharding(mesh, PartitionSpec()))
        marks = recipe.evaluations(first=first, snapshot=snapshot)
        reports: list[Evaluation] = []
        kept: Variables | None = None
        if resume is not None:
            states = _place(unnumbered(resume["states"], states), mesh=mesh, order=padded)
            named = functools.partial(zip, resume["reports"], strict=True)
            rows = zip(*resume["reports"].values(), strict=True)
            reports = [Evaluation(**dict(named(row))) for row in rows]
            kept = Variables(**resume["snapshot"]) if "snapshot" in resume else None
        before = np.full(count, -1) if failed_step is None else failed_step
        who = np.arange(len(padded))  # In each slot; from `count` on, padding.
        slots = who[:count]  # Of each member.
        states = _halt(states, who >= count)
        for number in range(len(reports), len(marks)):
            a, b = marks[max(number - 1, 0)], marks[number]
            states, report = program.leg(states, laid, data, *map(jnp.int32, (a, b, snapshot or 0)))
            reports.append(jax.tree.map(lambda leaf: leaf[slots], jax.device_get(report)))  # noqa: B023
            enough = before >= 0
            if stop is not None:
                enough = enough | stop(marks[: number + 1], reports)
            halted = np.ones(len(who), bool)
            halted[slots] = enough
            states = _halt(states, halted)
            if b == snapshot:
                kept = _on_host(states.variables, slots)
            if observe is not None:
                observe(Partial(states, list(reports), b, slots, kept))
            stopped = np.asarray(states.stopped)
            if stopped.all():
                break
            if self._layout == "map" and (order := balanced(stopped, mesh.size)) is not None:
                states, laid = (_place(tree, mesh=mesh, order=order) for tree in (states, laid))
                who = who[order]
                slots = np.argsort(who)[:count]
        curve = jax.tree.map(lambda *leaves: np.stack(leaves), *reports)
        done = jax.tree.map(lambda leaf: leaf[slots], states)
        if snapshot is not None and kept is None:  # All stopped before.
            kept = _on_host(states.variables, slots)
        return Trained(
            variables=step.trained(done, recipe=recipe),
            snapshot=kept or Variables({}, {}),
            opt_state=done.opt_state,
            steps=marks[: len(reports)],
            curve=curve,
            failed_step=np.where(before >= 0, before, np.asarray(done.failed_step)),
        )


def check(trainer: Trainer, dataset: Dataset | Parts, *, validation: int) -> None:
    """Refuses what could not be trained, before anything is compiled.

    Raises:
      ValueError: shapes or class counts that differ, a batch larger than the training rows, a
        validation set that leaves none, patience or `best` without a validation set, a frozen
        parameter that the network lacks, an optimizer that makes no step.
    """
    network, recipe = trainer.network, trainer.recipe
    if dataset.shape != network.input_shape:
        raise ValueError(
            f"{dataset.name} has images of {list(dataset.shape)} and {network.name} takes "
            f"{list(network.input_shape)}; adapt the data with data.adapt"
        )
    if dataset.classes != network.classes:
        raise ValueError(
            f"{dataset.name} has {dataset.classes} classes and {network.name} "
            f"{network.classes} outputs; make the network with classes= of the data"
        )
    rows = dataset.examples - validation
    if validation < 0 or rows < 1:
        raise ValueError(
            f"validation must lie in 0..{dataset.examples - 1} (the training examples of "
            f"{dataset.name}); got {validation}"
        )
    if recipe.batch_size > rows:
        raise ValueError(
            f"batch_size {recipe.batch_size} is larger than the {rows} training examples of "
            f"{dataset.name}; lower it"
        )
    if not validation and (recipe.patience or recipe.keep == "best"):
        raise ValueError("patience and keeping the best weights need a validation set; got none")
    shapes = network.shapes().params
    for name in sorted(recipe.frozen):
        trees.require(name, trees.names(shapes), "parameter to freeze")
    _ = optimizers.asked(recipe.optimizer, recipe.moving(shapes))


class _Program(NamedTuple):
    """Jitted `step.begin` and `step.leg` over populations that lie along the mesh."""

    mesh: Mesh
    begin: Callable[..., State]
    leg: Callable[..., tuple[State, Evaluation]]


@functools.lru_cache(maxsize=64)
def _compile(apply: Apply, recipe: Recipe, devices: tuple[Any, ...], layout: str) -> _Program:
    mesh = jax.make_mesh(
        (len(devices),), (_AXIS,), axis_types=(AxisType.Auto,), devices=list(devices)
    )
    each, all_ = PartitionSpec(_AXIS), PartitionSpec()

    def begin(members: Member, opt_states: Tree | None, first: jax.Array) -> State:
        one = functools.partial(step.begin, recipe=recipe)
        return jax.vmap(one, in_axes=(0, 0, None))(members, opt_states, first)

    def leg(states: State, members: Member, data: Data, *at: jax.Array) -> tuple[State, Evaluation]:
        def one(pair: tuple[State, Member]) -> tuple[State, Evaluation]:
            return step.leg(*pair, data, *at, apply=apply, recipe=recipe)

        spread = lax.map if layout == "map" else lambda f, xs: jax.vmap(f)(xs)
        return spread(one, (states, members))

    def along(function: Callable, *specs: PartitionSpec) -> Callable:
        return jax.jit(
            jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=each, check_vma=False)
        )

    # Nothing is donated: states come from outside and go out to observers between the legs.
    return _Program(mesh, along(begin, each, each, all_), along(leg, each, each, *[all_] * 4))


def balanced(stopped: np.ndarray, devices: int) -> np.ndarray | None:
    """The order of the slots in which every device has as many running members, within one.

    Args:
      stopped: bool [slots], which members take no time; each device has as many slots.
      devices: their number.

    Returns:
      int [slots], the slot that each slot takes its member from; None where nothing has to move.
    """
    running = (~stopped).reshape(devices, -1).sum(axis=1)
    if running.max() - running.min() < 2:
        return None
    share = len(stopped) // devices
    runs, rests = np.flatnonzero(~stopped), list(np.flatnonzero(stopped))
    order: list[int] = []
    for device in range(devices):
        mine = runs[device::devices].tolist()
        order += mine + [rests.pop() for _ in range(share - len(mine))]
    return np.array(order)


def _halt(states: State, which: np.ndarray) -> State:
    """Stops the members in these slots, bool [slots]."""
    if not which.any():
        return states
    return states._replace(stopped=states.stopped | jax.device_put(which, states.stopped.sharding))


def _on_host(tree: Tree, slots: np.ndarray) -> Tree:
    """A copy of the members in these slots."""
    return jax.tree.map(lambda leaf: np.array(leaf)[slots], tree)


def _padded(mesh: Mesh, count: int) -> np.ndarray:
    """Numbers of the members that fill all devices: each once, then the first ones again."""
    return np.arange(-(-count // mesh.size) * mesh.size) % count


def _place(tree: Tree, *, mesh: Mesh, order: np.ndarray) -> Tree:
    """Takes the members in this order and spreads them over the mesh."""
    if not np.array_equal(order, np.arange(len(order))):
        tree = jax.tree.map(lambda leaf: leaf[order], tree)
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec(_AXIS)))
