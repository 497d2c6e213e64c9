"""Moving tickets: every level in every arm on the target, all replicates at once.

A level is a population, or all levels together are one.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
import dataclasses
import functools

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from ltjax.core import keys, trees
from ltjax.core.types import Key, Tree, Variables
from ltjax.data import Dataset, Parts
from ltjax.lottery import arms as arms_
from ltjax.lottery.common import (
    Found,
    Keeper,
    Label,
    Share,
    check,
    device_data,
    judge_of,
    keys_for,
    once,
    records_of,
    shares,
    trainer_of,
)
from ltjax.lottery.held_out import split_of
from ltjax.lottery.ticket import Ticket
from ltjax.models import Network
from ltjax.training import population
from ltjax.training.population import Observer, Stop, Trainer
from ltjax.training.records import Record
from ltjax.training.step import Data, Member, Recipe

_PIECES = {"target": "target", "source": "again"}
"""What the pieces of a phase are called; `source` is taken by the search itself."""

_KEYS = {"target": ("order on the target", "split on the target"), "source": ("order", "split")}
"""Purposes of the keys for the order of the examples, and for the held-out ones of tickets that
do not say theirs."""


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
    judge: str = "last",
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
    each repeat. A replicate that failed in its search has failed here too, and is not trained.

    Where the target holds examples of the search (tickets that move to another optimizer, or to
    more classes), each replicate is judged on examples that it never learnt from, the search
    included: on the same data, those that were held out there.

    Args:
      levels: what `find` yielded, or `found(ticket)` with `dense_of(...)` before it. Given as a
        list, all are checked at once.
      network: the network on the target.
      dataset: the target; parts of one where each replicate has its own.
      recipe: how it is trained there.
      key: everything random comes from it.
      arms: rows of `arms.STARTS` and `arms.CONTROLS`.
      base: the start point whose values the controls see.
      new_head: draw the head afresh, unpruned. Heads of other shapes always are.
      validation: examples held out of the target's training split.
      judge: what chooses the best evaluation where none are held out, as for `find`.
      repeats: how often each control is drawn and trained; start points are trained once.
      phase: `target`, or `source` to train again on the data of the search: with its key, in its
        batches.
      stop: see `Trainer.train`.
      together: train all levels as one population, which keeps every device busy while some
        members stop early, and needs memory for all of them; the tickets must come from one
        search.
      trainer: a compiled trainer of `recipe`.
      keep: the keeper.

    Raises:
      ValueError: an unknown arm, phase or judge, an arm whose start point no ticket knows, no
        repeats, a ticket that does not fit the network, tickets of several searches together, a
        control that needs values where `base` has none, or held-out examples that tickets were
        trained on.
    """
    check(network, dataset, recipe, validation=validation)
    if not arms:
        raise ValueError("there are no arms; give at least one start point or control")
    for name in arms:
        _ = arms_.check_arm(name)
    if base not in arms_.STARTS:
        raise ValueError(trees.unknown(base, arms_.STARTS, "start point"))
    arms_.check_base(arms, base)
    if phase not in _KEYS:
        raise ValueError(trees.unknown(phase, _KEYS, "phase"))
    for name in arms if isinstance(levels, Sequence) and levels else ():
        start = arms_.values_of(name, base=base)
        if all(start in level.without for level in levels):
            raise ValueError(
                f"arm {name!r} begins with {start}, which these tickets do not hold; leave it out"
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
        judged_on=judge_of(judge, validation=validation),
        phase=phase,
        stop=stop,
    )
    if isinstance(levels, Sequence):
        for level in levels:
            _ = work.fit(level, dataset, new_head=new_head)
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
    for group in [list(levels)] if together else ([level] for level in levels):
        fitted = [work.fit(level, dataset, new_head=new_head) for level in group]
        if not fitted:
            return
        heads, seen = zip(*fitted, strict=True)
        if len(set(heads)) > 1 or len({level.prunable for level in group}) > 1:
            raise ValueError("tickets of several searches do not train together; move each search")
        name = "all" if together else f"{group[0].level:02d}"
        compute = functools.partial(work.train, data, group, heads[0], seen)
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
    judged_on: str
    phase: str
    stop: Stop | None

    def fit(
        self, level: Found, dataset: Dataset | Parts, *, new_head: bool
    ) -> tuple[frozenset[str], Share]:
        """The new head of a level and what its replicates see, or a ValueError."""
        shapes, arms = self.network.shapes(), dict(self.drawn)
        ticket, *others = [
            level._replace(failed_step=None).ticket(replicate)
            for replicate in range(population.size(level.mask))
        ]
        for each in (ticket, *others):
            for name in arms:
                arms_.check_values(name, each, base=self.base)
        head = arms_.new_head(ticket, shapes, head=self.network.head, always=new_head)
        arms_.check_fits(ticket, shapes, new_head=head)
        split = level.split
        if split is None:
            replicates = population.size(level.mask)
            split = split_of(keys_for(self.key, _KEYS[self.phase][1], replicates))
        return head, shares(dataset, split, validation=self.validation)[0]

    def train(
        self,
        data: Data,
        levels: Sequence[Found],
        head: frozenset[str],
        shares_: Sequence[Share],
        resume: Tree | None,
        observe: Observer | None,
    ) -> tuple[Tree, list[Record]]:
        replicates = population.size(levels[0].mask)
        prunable = tuple(n for n in levels[0].prunable if n not in head)
        order = keys_for(self.key, _KEYS[self.phase][0], replicates, 0)
        lay_out = _lay_out(self.network, self.drawn, self.base, prunable, head)
        made = [
            lay_out(
                self.key,
                jnp.int32(level.level),
                (level.mask, level.theta_0, level.theta_k, level.theta_S),
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
        failed = [
            np.full(replicates, -1) if level.failed_step is None else level.failed_step
            for level in levels
        ]
        # By level, draw and replicate, as the arms lie.
        per_draw = [part for part in zip(shares_, failed, strict=True) for _ in self.drawn]
        seen, failed = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *per_draw)
        members = Member(
            order[np.array([label.replicate for label in labels])],
            start,
            mask,
            schedule_offset=jnp.zeros(len(labels), jnp.int32),
            **seen._asdict(),
        )
        trained = self.trainer.train(
            members,
            data,
            failed_step=np.asarray(failed),
            resume=resume,
            observe=observe,
            stop=self.stop,
        )
        records = records_of(
            trained,
            self.recipe,
            jax.device_get(mask),
            prunable,
            labels,
            judged_on=self.judged_on,
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
    """Jitted: (key, level, mask and thetas) -> arms [drawn * replicates].

    One replicate is laid out after the other, so that it is compiled once.
    """

    def one(
        draw: tuple[str, int], key: Key, level: jax.Array, replicate: jax.Array, parts: tuple
    ) -> arms_.Arm:
        name, repeat = draw
        mask, theta_0, theta_k, theta_S = parts
        ticket = Ticket(
            mask=mask, theta_0=theta_0, theta_k=theta_k, theta_S=theta_S, prunable=prunable, meta={}
        )
        made = functools.partial(keys.derive, key)
        fresh = network.init(made("fresh values", replicate, level, repeat))
        if head:
            heads = network.init(made("new head", replicate))
            params = trees.map_with_name(
                lambda n, a, b: b if n in head else a, fresh.params, heads.params
            )
            fresh = Variables(params, fresh.stats)
        moving = made("control", replicate, level, repeat)
        return arms_.arm(name, moving, ticket, fresh, new_head=head, base=base, head=network.head)

    @jax.jit
    def every_arm(key: Key, level: jax.Array, parts: tuple) -> arms_.Arm:
        def arms(pair: tuple) -> list[arms_.Arm]:
            return [one(draw, key, level, *pair) for draw in drawn]

        made = lax.map(arms, (jnp.arange(population.size(parts)), parts))
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *made)

    return every_arm
