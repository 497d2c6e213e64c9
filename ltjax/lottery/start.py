"""Pruning before training: masks cut from the initial weights by a score, none trained."""

from collections.abc import Callable, Iterator, Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp

from ltjax.core import pruning, trees
from ltjax.core.types import Key, Mask
from ltjax.data import Dataset, Parts
from ltjax.lottery.common import Compute, Found, check_plan, device_data, keys_for, once, shares
from ltjax.lottery.held_out import split_of
from ltjax.lottery.prune import pruner
from ltjax.training import population
from ltjax.training.step import Member, Recipe

KeepMask = Callable[[int, Compute], Any]
"""Runs or remembers the masks of the level of a number, as a `Keeper` does."""


def at_start(
    level: Found,
    dataset: Dataset | Parts,
    recipe: Recipe,
    *,
    key: Key,
    plan: pruning.Plan,
    score: str,
    batch: int = 0,
    validation: int = 0,
    cuts: int = 1,
    same_batch: bool = False,
    numbers: Sequence[int] | None = None,
    keep: KeepMask = lambda number, compute: once(str(number), compute),
) -> Iterator[Found]:
    """Cuts theta_0 down to the levels of a plan: SNIP, GraSP, SynFlow, random pruning.

    Scores see weights that are already masked (also at the first cut, where nothing is).
    Yields tickets to be trained by `transfer`.

    Args:
      level: level 0 of a search; only its theta_0 is used.
      dataset: where batches come from.
      recipe: whose loss the scores see.
      key: everything random comes from it.
      plan: what each level keeps (`pruning.pooled` for the totals of another plan,
        `pruning.of_mask` for the counts of a mask).
      score: a row of `pruning.SCORES`.
      batch: examples a batch; 0 means the batch size.
      validation: examples held out in the search; no batch has one.
      cuts: equal cuts in the logarithm from everything down to each level (SynFlow: 100); 0 cuts
        each level out of the one before.
      same_batch: one batch for all cuts of a replicate instead of a new one each.
      numbers: levels wanted; all by default.
      keep: runs or remembers each level's masks.

    Raises:
      ValueError: an unknown score, a plan of another network, negative cuts, a batch larger
        than the training rows, held-out examples that are not those of the search.
    """
    _ = trees.lookup(pruning.SCORES, score, "score")
    check_plan(plan, population.member(level.mask, 0))
    rows = dataset.examples - validation
    batch = batch or recipe.batch_size
    if not 0 < batch <= rows:
        raise ValueError(f"batch must lie in 0..{rows} (the training examples); got {batch}")
    if cuts < 0:
        raise ValueError(f"cuts is a number of cuts, or 0 for level by level; got {cuts}")
    replicates = population.size(level.mask)
    split = level.split
    if split is None:
        split = split_of(keys_for(key, "split", replicates))
    seen = shares(dataset, split, validation=validation)[0]._asdict()
    prune, data = pruner(score, recipe, batch, plan.groups), device_data(dataset)

    def cut(mask: Mask, counts: Sequence[int], number: int) -> Mask:
        at = keys_for(key, "score at the start", replicates, 0 if same_batch else number)
        members = Member(
            at,
            level.theta_0,
            mask,
            schedule_offset=jnp.zeros(replicates, jnp.int32),
            **seen,
        )
        return prune(members, data, at, counts)

    @functools.cache
    def by_level(number: int) -> Mask:
        if number == 0:
            return jax.tree.map(lambda leaf: jnp.ones(leaf.shape, bool), level.mask)
        return cut(by_level(number - 1), plan.counts[number], number)

    def mask_of(number: int) -> Mask:
        if cuts == 0:
            return by_level(number)
        mask = by_level(0)
        for n in range(1, cuts + 1):
            mask = cut(mask, between(plan.sizes, plan.counts[number], n / cuts), n)
        return mask

    for number in numbers if numbers is not None else range(1, plan.levels + 1):

        def compute(resume: Any, observe: Any, number: int = number) -> Any:
            del resume, observe
            return {"mask": jax.device_get(mask_of(number))}, []

        tree, _ = keep(number, compute)
        yield level._replace(
            level=number,
            nominal=plan.nominal[number],
            mask=tree["mask"],
            prunable=plan.prunable,
            records=[],
            without=("theta_S",),
        )


def between(sizes: Sequence[int], counts: Sequence[int], share: float) -> tuple[int, ...]:
    """Counts on the way from `sizes` (share 0) to `counts` (share 1), even in the logarithm."""
    if share == 1:
        return tuple(counts)
    made = (n * (max(c, 0.5) / n) ** share for n, c in zip(sizes, counts, strict=True))
    return tuple(max(round(float(x)), c) for x, c in zip(made, counts, strict=True))
