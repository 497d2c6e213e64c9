"""Moving tickets: every level in every arm on the target, all replicates at once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from ltjax import arms as arms_
from ltjax import population, trees
from ltjax.data import Dataset
from ltjax.lottery.common import (
    Found,
    Keeper,
    check,
    device_data,
    keys_for,
    once,
    records_of,
    splits,
    trainer_of,
)
from ltjax.models import Network
from ltjax.population import Observer, Trainer
from ltjax.results import Record
from ltjax.tickets import Ticket
from ltjax.train import Data, Member, Recipe
from ltjax.types import Key, Tree, Variables


def transfer(
    levels: Iterable[Found],
    network: Network,
    dataset: Dataset,
    recipe: Recipe,
    *,
    key: Key,
    arms: Sequence[str] = ("theta_0",),
    base: str = "theta_0",
    new_head: bool = False,
    validation: int = 0,
    trainer: Trainer | None = None,
    keep: Keeper = once,
) -> Iterator[list[Record]]:
    """Trains tickets on a target, each level in each arm, all replicates at once.

    All arms of a replicate see the same batches; the head that is drawn afresh is the same at
    all levels and in all arms, the other fresh values of a control are drawn for each level.

    Args:
      levels: what `find` yielded, or `found(ticket)` with `dense_of(...)` before it.
      network: the network on the target.
      dataset: the target.
      recipe: how it is trained there.
      key: everything random comes from it.
      arms: rows of `arms.STARTS` and `arms.CONTROLS`.
      base: the start point whose values the controls keep.
      new_head: draw the head afresh, unpruned. Heads of other shapes always are.
      validation: examples held out of the target's training split.
      trainer: a compiled trainer of `recipe`.
      keep: the keeper.

    Raises:
      ValueError: an unknown arm, or a ticket that does not fit the network.
    """
    check(network, dataset, recipe, validation=validation)
    if not arms:
        raise ValueError("there are no arms; give at least one start point or control")
    for name in arms:
        _ = arms_.check_arm(name)
    if base not in arms_.STARTS:
        raise ValueError(trees.unknown(base, arms_.STARTS, "start point"))
    work = _Work(
        key=key,
        network=network,
        recipe=recipe,
        trainer=trainer_of(recipe, trainer),
        arms=tuple(arms),
        base=base,
        validation=validation,
    )
    return _levels(work, levels, dataset, new_head=new_head, keep=keep)


def _levels(
    work: "_Work", levels: Iterable[Found], dataset: Dataset, *, new_head: bool, keep: Keeper
) -> Iterator[list[Record]]:
    data = device_data(dataset)
    shapes = work.network.shapes()
    for level in levels:
        ticket = level.ticket()
        head = arms_.new_head(ticket, shapes, head=work.network.head, always=new_head)
        arms_.check_fits(ticket, shapes, new_head=head)
        compute = functools.partial(work.train, data, level, head)
        yield keep(f"target_{level.level:02d}", compute)[1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Work:
    """Training of one level in all arms."""

    key: Key
    network: Network
    recipe: Recipe
    trainer: Trainer
    arms: tuple[str, ...]
    base: str
    validation: int

    def train(
        self,
        data: Data,
        level: Found,
        head: frozenset[str],
        resume: Tree | None,
        observe: Observer | None,
    ) -> tuple[Tree, list[Record]]:
        replicates = population.size(level.mask)
        prunable = tuple(n for n in level.prunable if n not in head)
        made = _lay_out(self.network.init, self.arms, self.base, prunable, head)(
            jnp.int32(level.level),
            (level.mask, level.theta_0, level.theta_k, level.theta_S),
            keys_for(self.key, "fresh", replicates),
            keys_for(self.key, "control", replicates),
        )
        rows = splits(
            keys_for(self.key, "target_split", replicates),
            examples=data.train.labels.size,
            validation=self.validation,
        )
        again = np.tile(np.arange(replicates), len(self.arms))
        members = Member(
            keys_for(self.key, "target_order", replicates)[again],
            made.variables,
            made.mask,
            rows[0][again],
            rows[1][again],
            jnp.zeros(len(again), jnp.int32),
        )
        trained = self.trainer.train(members, data, resume=resume, observe=observe)
        records = records_of(
            trained,
            self.recipe,
            jax.device_get(made.mask),
            prunable,
            phase="target",
            arms=[name for name in self.arms for _ in range(replicates)],
            replicates=[int(i) for i in again],
            level=level.level,
            density=level.density,
        )
        return {}, [
            r for r in records if arms_.values_of(r.arm, base=self.base) not in level.without
        ]


@functools.lru_cache(maxsize=4)
def _lay_out(
    init: Callable[[Key], Variables],
    arms: tuple[str, ...],
    base: str,
    prunable: tuple[str, ...],
    head: frozenset[str],
) -> Callable[..., arms_.Arm]:
    """Jitted: (level, mask and thetas, fresh keys, control keys) -> arms [arms * replicates]."""

    def one(
        name: str, level: jax.Array, parts: tuple, fresh_key: Key, control_key: Key
    ) -> arms_.Arm:
        mask, theta_0, theta_k, theta_S = parts
        ticket = Ticket(
            mask=mask, theta_0=theta_0, theta_k=theta_k, theta_S=theta_S, prunable=prunable, meta={}
        )
        heads, fresh = init(fresh_key), init(jax.random.fold_in(fresh_key, level + 1))
        params = trees.map_with_name(
            lambda n, a, b: b if n in head else a, fresh.params, heads.params
        )
        key = jax.random.fold_in(control_key, level)
        fresh = Variables(params, fresh.stats)
        return arms_.arm(name, key, ticket, fresh, new_head=head, base=base)

    @jax.jit
    def every_arm(level: jax.Array, parts: tuple, fresh_keys: Key, control_keys: Key) -> arms_.Arm:
        made = [
            jax.vmap(functools.partial(one, name, level))(parts, fresh_keys, control_keys)
            for name in arms
        ]
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *made)

    return every_arm
