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
from ltjax.training import optimizers
from ltjax.training import step as train
from ltjax.training.step import Data, Evaluation, Member, Recipe, State

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
    """Compiles a recipe once and trains populations with it.

    A member gets the same bits in every population that spreads over as many devices with the
    same layout `map`: the program of a member does not depend on its neighbours. Under `vmap`,
    or on another number of devices, sums may be ordered otherwise (relative differences of about
    1e-6 a step); tests hold both.

    Args:
      recipe: the settings.
      devices: the devices to spread over; all by default.
      layout: `map` or `vmap`.
    """

    def __init__(
        self, recipe: Recipe, *, devices: Sequence[Any] | None = None, layout: str = "map"
    ) -> None:
        if layout not in LAYOUTS:
            raise ValueError(trees.unknown(layout, LAYOUTS, "layout"))
        self.recipe = recipe
        self._layout = layout
        self._devices = list(devices if devices is not None else jax.devices())
        self._programs: dict[int, tuple[Mesh, Callable, Callable]] = {}

    def optimizer_states(self, members: Member) -> Tree:
        """Fresh optimizer states of a population."""
        return jax.vmap(functools.partial(train.begin, recipe=self.recipe))(members).opt_state

    def begin(
        self, members: Member, *, first: int = 0, opt_state: Tree | None = None
    ) -> tuple[Mesh, Member, State]:
        """Lays the members out over the devices and makes their first states."""
        count = size(members)
        mesh, start, _ = self._program(min(len(self._devices), count))
        place = functools.partial(_place, mesh=mesh, order=_padded(mesh, count))
        laid = place(members)
        held = None if opt_state is None else place(opt_state)
        return mesh, laid, start(laid, held, jnp.int32(first))

    def train(
        self,
        members: Member,
        data: Data,
        *,
        first: int = 0,
        opt_state: Tree | None = None,
        snapshot: bool = False,
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
          snapshot: keep the variables at `recipe.snapshot`, once there, outside of the program.
          failed_step: int [members]; who failed in an earlier training (not -1) has failed in this
            one at that step, and is evaluated once but not trained.
          resume: `Partial.as_tree` of what `observe` was given in this very training.
          observe: called after every leg, for instance to show progress or to save.
          stop: asked after every leg which members need not go on.

        Raises:
          ValueError: where the optimizer has to go on at a step and cannot (see
            `optimizers.check_schedules`).
        """
        count = size(members)
        if first or opt_state is not None or np.any(np.asarray(members.schedule_offset)):
            params = jax.eval_shape(lambda m: member(m, 0), members.start.params)
            optimizers.check_schedules(self.recipe.optimizer, train.moving(params, self.recipe))
        mesh, laid, states = self.begin(members, first=first, opt_state=opt_state)
        _, _, advance = self._program(mesh.size)
        data = jax.device_put(data, NamedSharding(mesh, PartitionSpec()))
        marks = train.stops(self.recipe, first=first)
        reports: list[Evaluation] = []
        kept: Variables | None = None
        if resume is not None:
            states, reports = _restore(resume, states, mesh=mesh, count=count)
            kept = Variables(**resume["snapshot"]) if "snapshot" in resume else None
        before = np.full(count, -1) if failed_step is None else failed_step
        who = np.arange(len(_padded(mesh, count)))  # In each slot; from `count` on, padding.
        slots = who[:count]  # Of each member.
        states = _halt(states, who >= count)
        for number in range(len(reports), len(marks)):
            a, b = marks[max(number - 1, 0)], marks[number]
            states, report = advance(states, laid, data, jnp.int32(a), jnp.int32(b))
            reports.append(jax.tree.map(lambda leaf: leaf[slots], jax.device_get(report)))  # noqa: B023
            if stop is not None:
                enough = np.ones(len(who), bool)
                enough[slots] = stop(marks[: number + 1], reports)
                states = _halt(states, enough)
            gone = np.zeros(len(who), bool)
            gone[slots] = before >= 0
            states = _halt(states, gone)
            if snapshot and b == self.recipe.snapshot:
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
        if snapshot and kept is None:  # All stopped before.
            kept = _on_host(states.variables, slots)
        return Trained(
            variables=train.trained(done, recipe=self.recipe),
            snapshot=kept or Variables({}, {}),
            opt_state=done.opt_state,
            steps=marks[: len(reports)],
            curve=curve,
            failed_step=np.where(before >= 0, before, np.asarray(done.failed_step)),
        )

    def _program(self, spread: int) -> tuple[Mesh, Callable, Callable]:
        if spread not in self._programs:
            mesh = jax.make_mesh(
                (spread,),
                (_AXIS,),
                axis_types=(AxisType.Auto,),
                devices=self._devices[:spread],
            )
            self._programs[spread] = (mesh, *_compile(self.recipe, mesh, self._layout))
        return self._programs[spread]


def _compile(recipe: Recipe, mesh: Mesh, layout: str) -> tuple[Callable, Callable]:
    """Jitted `begin` and `leg` over populations that lie along the mesh."""
    each, all_ = PartitionSpec(_AXIS), PartitionSpec()

    def start(members: Member, opt_states: Tree | None, first: jax.Array) -> State:
        one = functools.partial(train.begin, recipe=recipe)
        return jax.vmap(one, in_axes=(0, 0, None))(members, opt_states, first)

    def advance(
        states: State, members: Member, data: Data, first: jax.Array, last: jax.Array
    ) -> tuple[State, Evaluation]:
        def one(pair: tuple[State, Member]) -> tuple[State, Evaluation]:
            return train.leg(*pair, data, first, last, recipe=recipe)

        spread = lax.map if layout == "map" else lambda f, xs: jax.vmap(f)(xs)
        return spread(one, (states, members))

    begin = jax.shard_map(
        start, mesh=mesh, in_specs=(each, each, all_), out_specs=each, check_vma=False
    )
    legs = jax.shard_map(
        advance,
        mesh=mesh,
        in_specs=(each, each, all_, all_, all_),
        out_specs=each,
        check_vma=False,
    )
    # Nothing is donated: states come from outside and go out to observers between the legs.
    return jax.jit(begin), jax.jit(legs)


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
    """A copy of the members in these slots, which outlives the donated buffers."""
    return jax.tree.map(lambda leaf: np.array(leaf)[slots], tree)


def _padded(mesh: Mesh, count: int) -> np.ndarray:
    """Numbers of the members that fill all devices: each once, then the first ones again."""
    return np.arange(-(-count // mesh.size) * mesh.size) % count


def _place(tree: Tree, *, mesh: Mesh, order: np.ndarray) -> Tree:
    """Takes the members in this order and spreads them over the mesh."""
    if not np.array_equal(order, np.arange(len(order))):
        tree = jax.tree.map(lambda leaf: leaf[order], tree)
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec(_AXIS)))


def _restore(tree: Tree, like: State, *, mesh: Mesh, count: int) -> tuple[State, list[Evaluation]]:
    """Undoes `Partial.as_tree`, on any number of devices, in the structure of `like`."""
    states = _place(unnumbered(tree["states"], like), mesh=mesh, order=_padded(mesh, count))
    legs = len(tree["reports"]["ran"])
    reports = [
        Evaluation(**{name: v[i] for name, v in tree["reports"].items()}) for i in range(legs)
    ]
    return states, reports
