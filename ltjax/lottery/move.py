"""Moving tickets: every level in every arm on the target, all replicates at once.

A level is a population, or all levels together are one.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from ltjax import arms as arms_
from ltjax import population, trees
from ltjax.data import Dataset, Parts
from ltjax.lottery.common import (
    Found,
    Keeper,
    Label,
    check,
    device_data,
    fold,
    keys_for,
    once,
    records_of,
    shares,
    trainer_of,
)
from ltjax.models import Network
from ltjax.population import Observer, Stop, Trainer
from ltjax.results import Record
from ltjax.tickets import Ticket
from ltjax.train import Data, Member, Recipe
from ltjax.types import Key, Tree, Variables

_PIECES = {"target": "target", "source": "again"}
"""What the pieces of a phase are called; `source` is taken by the search itself."""

_KEYS = {"target": ("target_order", "target_split"), "source": ("order", "split")}
"""Purposes of the keys for the order of the examples and for the held-out ones."""


def transfer(
    levels: Iterable[Found],
    network: Network,
    dataset: Dataset | Parts,
    recipe: Recipe,
    *,
    key: Key,
    arms: Sequence[str] = ("theta_0",),
    base: str = "theta_0",
    new_head: bool = False,
    validation: int = 0,
    repeats: int = 1,
    phase: str = "target",
    stop: Stop | None = None,
    together: bool = False,
    trainer: Trainer | None = None,
    keep: Keeper = once,
) -> Iterator[list[Record]]:
    """Trains tickets on a target, each level in each arm, all replicates at once.

    Yields the records of a level, or once those of all levels where they train together.

    All arms of a replicate see the same batches; the head that is drawn afresh is the same at
    all levels and in all arms, the other fresh values of a control are drawn for each level and
    each repeat.

    Args:
      levels: what `find` yielded, or `found(ticket)` with `dense_of(...)` before it.
      network: the network on the target.
      dataset: the target; parts of one where each replicate has its own.
      recipe: how it is trained there.
      key: everything random comes from it.
      arms: rows of `arms.STARTS` and `arms.CONTROLS`.
      base: the start point whose values the controls keep.
      new_head: draw the head afresh, unpruned. Heads of other shapes always are.
      validation: examples held out of the target's training split.
      repeats: how often each control is drawn and trained; start points are trained once.
      phase: `target`, or `source` to train again on the data of the search: with its key, its
        batches and its held-out examples.
      stop: see `Trainer.train`.
      together: train all levels as one population, which keeps every device busy while some
        members stop early, and needs memory for all of them; the tickets must come from one
        search.
      trainer: a compiled trainer of `recipe`.
      keep: the keeper.

    Raises:
      ValueError: an unknown arm or phase, an arm whose start point no ticket knows, no repeats, a
        ticket that does not fit the network, or tickets of several searches together.
    """
    check(network, dataset, recipe, validation=validation)
    if not arms:
        raise ValueError("there are no arms; give at least one start point or control")
    for name in arms:
        _ = arms_.check_arm(name)
    if base not in arms_.STARTS:
        raise ValueError(trees.unknown(base, arms_.STARTS, "start point"))
    if phase not in _KEYS:
        raise ValueError(trees.unknown(phase, _KEYS, "phase"))
    for name in arms if isinstance(levels, Sequence) and levels else ():
        start = arms_.values_of(name, base=base)
        if all(start in level.without for level in levels):
            raise ValueError(
                f"arm {name!r} begins with {start}, which these tickets do not know; leave it out"
            )
    if repeats < 1:
        raise ValueError(f"repeats is how often a control is drawn, at least 1; got {repeats}")
    work = _Work(
        key=key,
        network=network,
        recipe=recipe,
        trainer=trainer_of(recipe, trainer),
        drawn=tuple(
            (name, i) for name in arms for i in range(repeats if name in arms_.CONTROLS else 1)
        ),
        base=base,
        validation=validation,
        phase=phase,
        stop=stop,
    )
    return _pieces(work, levels, dataset, new_head=new_head, together=together, keep=keep)


def _pieces(
    work: "_Work",
    levels: Iterable[Found],
    dataset: Dataset | Parts,
    *,
    new_head: bool,
    together: bool,
    keep: Keeper,
) -> Iterator[list[Record]]:
    data = device_data(dataset)
    shapes = work.network.shapes()

    def head_of(level: Found) -> frozenset[str]:
        ticket = level.ticket()
        head = arms_.new_head(ticket, shapes, head=work.network.head, always=new_head)
        arms_.check_fits(ticket, shapes, new_head=head)
        return head

    for group in [list(levels)] if together else ([level] for level in levels):
        heads = [head_of(level) for level in group]
        if not heads:
            return
        if len(set(heads)) > 1 or len({level.prunable for level in group}) > 1:
            raise ValueError("tickets of several searches do not train together; move each search")
        name = "all" if together else f"{group[0].level:02d}"
        compute = functools.partial(work.train, dataset, data, group, heads[0])
        yield keep(f"{_PIECES[work.phase]}_{name}", compute)[1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Work:
    """Training of levels in all arms."""

    key: Key
    network: Network
    recipe: Recipe
    trainer: Trainer
    drawn: tuple[tuple[str, int], ...]
    """Arm and number of the draw."""
    base: str
    validation: int
    phase: str
    stop: Stop | None

    def train(
        self,
        dataset: Dataset | Parts,
        data: Data,
        levels: Sequence[Found],
        head: frozenset[str],
        resume: Tree | None,
        observe: Observer | None,
    ) -> tuple[Tree, list[Record]]:
        replicates = population.size(levels[0].mask)
        prunable = tuple(n for n in levels[0].prunable if n not in head)
        order, split = (keys_for(self.key, p, replicates) for p in _KEYS[self.phase])
        if self.phase == "source":
            order = fold(order, 0)
        lay_out = _lay_out(self.network, self.drawn, self.base, prunable, head)
        fresh, control = (keys_for(self.key, p, replicates) for p in ("fresh", "control"))
        made = [
            lay_out(
                jnp.int32(level.level),
                (level.mask, level.theta_0, level.theta_k, level.theta_S),
                fresh,
                control,
            )
            for level in levels
        ]
        start, mask = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *made)
        labels = [
            Label(self.phase, name, level.level, level.nominal, replicate, repeat)
            for level in levels
            for name, repeat in self.drawn
            for replicate in range(replicates)
        ]
        again = np.array([label.replicate for label in labels])
        seen = shares(dataset, split, validation=self.validation)
        members = Member(
            order[again],
            start,
            mask,
            schedule_offset=jnp.zeros(len(again), jnp.int32),
            **jax.tree.map(lambda leaf: leaf[again], seen)._asdict(),
        )
        trained = self.trainer.train(members, data, resume=resume, observe=observe, stop=self.stop)
        judged_on = "validation" if self.validation else "last"
        records = records_of(
            trained, self.recipe, jax.device_get(mask), prunable, labels, judged_on=judged_on
        )
        unknown = {
            (level.level, name)
            for level in levels
            for name, _ in self.drawn
            if arms_.values_of(name, base=self.base) in level.without
        }
        return {}, [r for r in records if (r.level, r.arm) not in unknown]


@functools.lru_cache(maxsize=16)
def _lay_out(
    network: Network,
    drawn: tuple[tuple[str, int], ...],
    base: str,
    prunable: tuple[str, ...],
    head: frozenset[str],
) -> Callable[..., arms_.Arm]:
    """Jitted: (level, mask and thetas, fresh keys, control keys) -> arms [drawn * replicates]."""

    def one(
        draw: tuple[str, int], level: jax.Array, parts: tuple, fresh_key: Key, control_key: Key
    ) -> arms_.Arm:
        name, repeat = draw
        mask, theta_0, theta_k, theta_S = parts
        ticket = Ticket(
            mask=mask, theta_0=theta_0, theta_k=theta_k, theta_S=theta_S, prunable=prunable, meta={}
        )
        values_key = jax.random.fold_in(fresh_key, level + 1)
        key = jax.random.fold_in(control_key, level)
        if repeat:  # More repeats leave the first as it is.
            values_key, key = (jax.random.fold_in(k, repeat) for k in (values_key, key))
        heads, fresh = network.init(fresh_key), network.init(values_key)
        params = trees.map_with_name(
            lambda n, a, b: b if n in head else a, fresh.params, heads.params
        )
        fresh = Variables(params, fresh.stats)
        return arms_.arm(name, key, ticket, fresh, new_head=head, base=base, head=network.head)

    @jax.jit
    def every_arm(level: jax.Array, parts: tuple, fresh_keys: Key, control_keys: Key) -> arms_.Arm:
        made = [
            jax.vmap(functools.partial(one, draw, level))(parts, fresh_keys, control_keys)
            for draw in drawn
        ]
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *made)

    return every_arm
