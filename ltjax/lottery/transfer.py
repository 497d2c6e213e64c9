"""Moving tickets: every level in every arm on the target, all replicates at once.

A level is a population, or all levels together are one.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
import functools

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from ltjax.core import keys, trees
from ltjax.core.types import Key, Tree, Variables
from ltjax.data import Dataset, Parts
from ltjax.lottery.arms import (
    CONTROLS,
    Arm,
    arm,
    check_arms,
    check_fits,
    check_values,
    filled,
    head_of,
    values_of,
)
from ltjax.lottery.held_out import shares, split_of
from ltjax.lottery.level import Keeper, Level, Piece, judge_of, once, records_of
from ltjax.lottery.tickets import Ticket
from ltjax.models import Network
from ltjax.training import population
from ltjax.training.evaluation import device_data
from ltjax.training.population import Observer, Stop, Trainer, check
from ltjax.training.records import Record
from ltjax.training.step import Member

_PHASES = {
    "target": ("target", "order on the target", "split on the target"),
    "source": ("again", "order", "split"),
}
"""By phase: that of its pieces, and the purposes of the keys for the order of the examples, and for
the held-out ones of tickets that do not say theirs."""


def transfer(
    levels: Iterable[Level],
    trainer: Trainer,
    dataset: Dataset | Parts,
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
      levels: what `find` yielded, or `Level.of(ticket)` with its `dense` before it. Given as a
        list, all are checked at once.
      trainer: the network on the target, and how it is trained there.
      dataset: the target; parts of one where each replicate has its own.
      key: everything random comes from it.
      arms: start points, and rows of `arms.CONTROLS`.
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
      keep: the keeper.

    Raises:
      ValueError: an unknown arm, phase or judge, an arm whose start point no ticket knows, no
        repeats, a ticket that does not fit the network, tickets of several searches together, a
        control that needs values where `base` has none, or held-out examples that tickets were
        trained on.
    """
    check(trainer, dataset, validation=validation)
    check_arms(arms, base)
    judged = {"judged_on": judge_of(judge, validation=validation)}
    judged["measure"] = trainer.recipe.measure
    pieces, order, splits = trees.lookup(_PHASES, phase, "phase")
    for name in arms if isinstance(levels, Sequence) and levels else ():
        start = values_of(name, base=base)
        if all(start in level.without for level in levels):
            raise ValueError(
                f"arm {name!r} begins with {start}, which these tickets do not hold; leave it out"
            )
    if repeats < 1:
        raise ValueError(f"repeats is how often a control is drawn, at least 1; got {repeats}")
    drawn = tuple((name, i) for name in arms for i in range(repeats if name in CONTROLS else 1))
    network = trainer.network

    def fit(level: Level) -> tuple[frozenset[str], dict[str, jax.Array | None]]:
        """The new head of a level and what its replicates see, or a ValueError."""
        shapes, whole = network.shapes(), level._replace(failed_step=None)
        tickets = [whole.ticket(replicate) for replicate in range(level.replicates)]
        for ticket in tickets:
            for name in arms:
                check_values(name, ticket, base=base)
        head = head_of(tickets[0], shapes, head=network.head, always=new_head)
        check_fits(tickets[0], shapes, new_head=head)
        split = level.split
        if split is None:
            split = split_of(keys.keys_for(key, splits, level.replicates))
        return head, shares(dataset, split, validation=validation)[0]._asdict()

    def work(group: Sequence[Level]) -> tuple[Member, np.ndarray, list[dict], tuple[str, ...]]:
        """What is trained, who of it has failed, its labels, and what of it may be pruned."""
        heads, seen = zip(*map(fit, group), strict=True)
        if len(set(heads)) > 1 or len({level.prunable for level in group}) > 1:
            raise ValueError("tickets of several searches do not train together; move each search")
        prunable = tuple(n for n in group[0].prunable if n not in heads[0])
        lay_out = _lay_out(network, drawn, base, prunable, heads[0])
        made = [
            lay_out(
                key,
                jnp.int32(level.level),
                (level.mask, level.theta_0, level.theta_k, level.theta_S),
            )
            for level in group
        ]
        labels = [
            {
                "phase": phase,
                "arm": name,
                "level": level.level,
                "nominal": level.nominal,
                "replicate": replicate,
                "repeat": repeat,
            }
            for level in group
            for name, repeat in drawn
            for replicate in range(level.replicates)
        ]
        # By level, draw and replicate, as the arms lie.
        told = [(s, level.failed) for s, level in zip(seen, group, strict=True) for _ in drawn]
        start, mask = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *made)
        share, failed = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *told)
        which = np.array([label["replicate"] for label in labels])
        members = Member(
            keys.keys_for(key, order, group[0].replicates, 0)[which],
            start,
            mask,
            schedule_offset=jnp.zeros(len(labels), jnp.int32),
            **share,
        )
        return members, np.asarray(failed), labels, prunable

    def trained() -> Iterator[list[Record]]:
        data = device_data(dataset)

        def train(
            group: Sequence[Level], resume: Tree | None, observe: Observer | None
        ) -> tuple[Tree, list[Record]]:
            members, failed, labels, prunable = work(group)
            done = trainer.train(
                members,
                data,
                failed_step=failed,
                resume=resume,
                observe=observe,
                stop=stop,
            )
            records = records_of(done, labels, jax.device_get(members.mask), prunable, **judged)
            unknown = {(level.level, start) for level in group for start in level.without}
            return {}, [r for r in records if (r.level, values_of(r.arm, base=base)) not in unknown]

        for group in [list(levels)] if together else ([level] for level in levels):
            if group:
                piece = Piece(pieces, None if together else group[0].level)
                yield keep(piece, functools.partial(train, group))[1]

    if isinstance(levels, Sequence):
        for level in levels:
            _ = fit(level)
    return trained()


@functools.lru_cache(maxsize=16)
def _lay_out(
    network: Network,
    drawn: tuple[tuple[str, int], ...],
    base: str,
    prunable: tuple[str, ...],
    head: frozenset[str],
) -> Callable[..., Arm]:
    """Jitted: (key, level, mask and thetas) -> arms [drawn * replicates].

    One replicate is laid out after the other, so that it is compiled once.
    """

    @jax.jit
    def every_arm(key: Key, level: jax.Array, parts: tuple) -> Arm:
        def one(replicate: jax.Array, mask: Tree, *thetas: Variables) -> list[Arm]:
            theta_0, theta_k, theta_S = thetas
            ticket = Ticket(
                mask=mask,
                theta_0=theta_0,
                theta_k=theta_k,
                theta_S=theta_S,
                prunable=prunable,
                meta={},
            )
            made = []
            for name, repeat in drawn:
                fresh = network.init(keys.derive(key, "fresh values", replicate, level, repeat))
                if head:
                    drawn_head = network.init(keys.derive(key, "new head", replicate)).params
                    fresh = Variables(filled(fresh.params, drawn_head, head), fresh.stats)
                moving = keys.derive(key, "control", replicate, level, repeat)
                made.append(
                    arm(name, moving, ticket, fresh, new_head=head, base=base, head=network.head)
                )
            return made

        numbers = jnp.arange(population.size(parts))
        made = lax.map(lambda pair: one(pair[0], *pair[1]), (numbers, parts))
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *made)

    return every_arm
