"""Pruning a population by a score, to counts; and one-shot tickets, which train nothing more."""

from collections.abc import Callable, Iterator, Sequence
import functools
from typing import Any

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from ltjax.core import masks, pruning, trees
from ltjax.core.keys import derive, keys_for
from ltjax.core.scores import DATA_FREE, Probe
from ltjax.core.types import Key, Mask, Tree, Variables
from ltjax.data import Dataset, Parts
from ltjax.lottery.held_out import Share, shares, split_of
from ltjax.lottery.level import Keeper, Level, Piece, once
from ltjax.models import Apply
from ltjax.training import population, step
from ltjax.training.evaluation import Data, device_data
from ltjax.training.population import Trainer
from ltjax.training.recipe import Recipe
from ltjax.training.step import Member

Batches = tuple[Share, Data, int]
"""What replicates see of which data, and the examples of a batch: what scores are shown."""


def prune(
    variables: Variables,
    mask: Mask,
    counts: Sequence[int],
    *,
    keys: Key,
    groups: tuple[tuple[str, ...], ...],
    score: str = "magnitude",
    trainer: Trainer | None = None,
    batches: Batches | None = None,
) -> Mask:
    """The masks on the host that keep the best-scored weights of each replicate.

    Args:
      variables: of a population; scores see them masked.
      mask: the live weights.
      counts: how many stay in each group.
      keys: one a replicate, of the batch and the order among equal scores.
      groups: leaf names of each group.
      score: a row of `pruning.SCORES`.
      trainer: whose loss the scores see; none for those that are `DATA_FREE`.
      batches: where batches come from, likewise.

    Raises:
      ValueError: where a score of a live weight is not finite.
    """
    share, data, batch = batches or (None, None, 0)
    apply, recipe = (trainer.network.apply, trainer.recipe) if trainer else (None, None)
    run = _pruner(score, groups, apply, recipe, batch)
    found, wrong = run(variables, mask, keys, share, data, jnp.asarray(counts, jnp.int32))
    names = [name for group in groups for name in group]
    for replicate, i in np.argwhere(np.asarray(wrong))[:1]:
        raise ValueError(
            f"score {score!r} is not finite in {names[i]} (replicate {replicate}), so it ranks "
            "nothing there; choose another score, or weights for which it is"
        )
    return jax.device_get(found)


@functools.lru_cache(maxsize=16)
def _pruner(
    score: str,
    groups: tuple[tuple[str, ...], ...],
    apply: Apply | None,
    recipe: Recipe | None,
    batch: int,
) -> Callable[..., tuple[Mask, jax.Array]]:
    """Jitted, one replicate after the other, for all levels."""

    def one(
        replicate: tuple[Variables, Mask, Key, Share | None], data: Data, counts: jax.Array
    ) -> tuple[Mask, jax.Array]:
        variables, mask, key, share = replicate
        if apply is None or recipe is None or share is None:
            probe: Any = Probe(derive(key, "draw"), *[None] * 3)  # pyright: ignore
        else:
            member = Member(key, variables, mask, schedule_offset=jnp.int32(0), **share._asdict())
            probe = step.probe(member, data, apply=apply, recipe=recipe, batch=batch, key=key)
        params = masks.apply(variables.params, mask)
        scores = pruning.SCORES[score](params, probe)
        # Weights that are not finite are a failed training, which stops no other.
        sound = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params)]).all()
        leaves = zip(trees.names(mask), jax.tree.leaves(scores), jax.tree.leaves(mask), strict=True)
        wrong = {name: (~jnp.isfinite(leaf) & live).any() & sound for name, leaf, live in leaves}
        kept = pruning.keep_best(scores, mask, counts, groups=groups, key=key)
        return kept, jnp.stack([wrong[name] for group in groups for name in group])

    return jax.jit(
        lambda variables, mask, keys, share, data, counts: lax.map(
            lambda replicate: one(replicate, data, counts), (variables, mask, keys, share)
        )
    )


def one_shot(
    level: Level,
    plan: pruning.Plan,
    *,
    key: Key,
    score: str = "magnitude",
    at: str = "end",
    trainer: Trainer | None = None,
    dataset: Dataset | Parts | None = None,
    batch: int = 0,
    validation: int = 0,
    cuts: int = 1,
    same_batch: bool = False,
    numbers: Sequence[int] | None = None,
    keep: Keeper = once,
) -> Iterator[Level]:
    """Prunes one level of a search down to each level of a plan; trains nothing.

    From the end of a training this gives as many densities as wanted for one dense network, from
    the start SNIP, GraSP, SynFlow and random pruning. Scores see weights that are already masked
    (also at the first cut). Yields tickets to be trained by `transfer`.

    Args:
      level: of a search, usually its first; what its mask keeps is pruned.
      plan: what each level keeps (`pruning.plan` with `densities`, `pruning.pooled` for the totals
        of another plan, `pruning.of_mask` for the counts of a mask).
      key: everything random comes from it.
      score: a row of `pruning.SCORES`.
      at: `end` rates theta_S, which stays that of the tickets: under their masks it is the network
        right after pruning. `start` rates theta_0, and theta_S is not known.
      trainer: whose network and loss the scores see.
      dataset: where batches come from; scores that are `scores.DATA_FREE` need neither.
      batch: examples a batch; 0 means the batch size.
      validation: examples held out in the search; no batch has one.
      cuts: equal cuts in the logarithm from everything down to each level (SynFlow: 100); 0 cuts
        each level out of the one before.
      same_batch: one batch for all cuts of a replicate instead of a new one each; so it always is
        at the end, where the cuts of equal scores are nested.
      numbers: levels wanted; all by default.
      keep: runs or remembers each level's masks.

    Raises:
      ValueError: an unknown score or moment, a score without the data that it sees, a plan of
        another network, negative cuts, a batch larger than the training rows, held-out examples
        that are not those of the search.
    """
    _ = trees.lookup(pruning.SCORES, score, "score")
    trees.require(at, ("start", "end"), "moment to score at")
    check_plan(plan, population.member(level.mask, 0))
    if cuts < 0:
        raise ValueError(f"cuts is a number of cuts, or 0 for level by level; got {cuts}")
    batches = None
    if trainer is not None and dataset is not None:
        batch = batch_of(batch, trainer, dataset, validation=validation, named="batch")
        split = level.split
        if split is None:
            split = split_of(keys_for(key, "split", level.replicates))
        batches = (shares(dataset, split, validation=validation)[0], device_data(dataset), batch)
    elif score not in DATA_FREE:
        raise ValueError(f"score {score!r} sees data; give trainer= and dataset= with it")
    rated = level.theta_0 if at == "start" else level.theta_S

    def cut(mask: Mask, counts: Sequence[int], number: int) -> Mask:
        if at == "end":
            keys = keys_for(key, "cut", level.replicates)
        else:
            number = 0 if same_batch else number
            keys = keys_for(key, "score at the start", level.replicates, number)
        return prune(
            rated,
            mask,
            counts,
            keys=keys,
            groups=plan.groups,
            score=score,
            trainer=trainer if batches else None,
            batches=batches,
        )

    @functools.cache
    def by_level(number: int) -> Mask:
        return cut(by_level(number - 1), plan.counts[number], number) if number else level.mask

    def mask_of(number: int) -> Mask:
        if cuts == 0:
            return by_level(number)
        mask = level.mask
        for n in range(1, cuts + 1):
            mask = cut(mask, between(plan.sizes, plan.counts[number], n / cuts), n)
        return mask

    def levels() -> Iterator[Level]:
        for number in range(1, plan.levels + 1) if numbers is None else numbers:
            piece = Piece("mask", number)
            tree: Tree = keep(piece, lambda _, __, n=number: ({"mask": mask_of(n)}, []))[0]
            yield level._replace(
                level=number,
                nominal=plan.nominal[number],
                mask=tree["mask"],
                prunable=plan.prunable,
                records=[],
                without=("theta_S",) if at == "start" else level.without,
            )

    return levels()


def between(sizes: Sequence[int], counts: Sequence[int], share: float) -> tuple[int, ...]:
    """Counts on the way from `sizes` (share 0) to `counts` (share 1), even in the logarithm."""
    if share == 1:
        return tuple(counts)
    made = (n * (max(c, 0.5) / n) ** share for n, c in zip(sizes, counts, strict=True))
    return tuple(max(round(float(x)), c) for x, c in zip(made, counts, strict=True))


def batch_of(
    batch: int, trainer: Trainer, dataset: Dataset | Parts, *, validation: int, named: str
) -> int:
    """Examples that a score sees: `batch`, or the batch size for 0.

    Raises:
      ValueError: where there are not as many; it speaks of the argument `named`.
    """
    batch, rows = batch or trainer.recipe.batch_size, dataset.examples - validation
    if not 0 < batch <= rows:
        raise ValueError(
            f"{named} must lie in 0..{rows} (the training examples of {dataset.name}); got {batch}"
        )
    return batch


def check_plan(plan: pruning.Plan, params: Tree) -> None:
    """Refuses a plan of another network.

    Raises:
      ValueError: naming the layers that differ.
    """
    leaves = zip(trees.names(params), jax.tree.leaves(params), strict=True)
    sizes = {name: leaf.size for name, leaf in leaves}
    for group, size in zip(plan.groups, plan.sizes, strict=True):
        found = sum(sizes.get(name, 0) for name in group)
        if found != size:
            raise ValueError(
                f"the plan prunes {size} weights of {', '.join(group)} and the network has "
                f"{found}; make it with pruning.plan(network.shapes().params, ...)"
            )
