"""Pruning a whole population by a score."""

from collections.abc import Callable, Sequence
import functools

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from ltjax.core import masks, pruning, trees
from ltjax.core.types import Key, Mask, Params, Scores
from ltjax.training import step as train
from ltjax.training.step import Data, Member, Recipe


@functools.lru_cache(maxsize=4)
def pruner(
    score: str, recipe: Recipe, batch: int, groups: tuple[tuple[str, ...], ...]
) -> Callable[..., Mask]:
    """Pruning of a population by a score, compiled once for all levels.

    It is (members, data, keys, counts) -> masks.

    Raises:
      ValueError: by what is returned, where a score of a live weight is not finite.
    """
    names = [name for group in groups for name in group]

    def one(member: Member, data: Data, key: Key, counts: jax.Array) -> tuple[Mask, jax.Array]:
        probe = train.probe(member, data, recipe=recipe, batch=batch, key=key)
        params = masks.apply(member.start.params, member.mask)
        scores = pruning.SCORES[score](params, probe)
        wrong = _not_finite(scores, params, member.mask, names)
        return pruning.keep_best(scores, member.mask, counts, groups=groups, key=key), wrong

    run = jax.jit(
        lambda members, data, keys, counts: lax.map(
            lambda pair: one(pair[0], data, pair[1], counts), (members, keys)
        )
    )

    def prune(members: Member, data: Data, keys: Key, counts: Sequence[int]) -> Mask:
        mask, wrong = run(members, data, keys, jnp.asarray(counts, jnp.int32))
        for replicate, i in np.argwhere(np.asarray(wrong))[:1]:
            raise ValueError(
                f"score {score!r} is not finite in {names[i]} (replicate {replicate}), so it ranks "
                "nothing there; choose another score, or weights for which it is"
            )
        return mask

    return prune


def _not_finite(scores: Scores, params: Params, mask: Mask, names: Sequence[str]) -> jax.Array:
    """Which leaves have a live weight whose score is not finite, though all weights are: bool."""
    sound = jnp.all(jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params)]))
    leaves = zip(trees.names(mask), jax.tree.leaves(scores), jax.tree.leaves(mask), strict=True)
    wrong = {name: (~jnp.isfinite(leaf) & live).any() for name, leaf, live in leaves}
    return jnp.stack([wrong[name] for name in names]) & sound
