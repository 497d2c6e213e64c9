"""Pruning a whole population by a score."""

from collections.abc import Callable
import functools

import jax
from jax import lax

from ltjax import masks, pruning, train
from ltjax.train import Data, Member, Recipe
from ltjax.types import Key, Mask


@functools.lru_cache(maxsize=4)
def pruner(
    score: str, recipe: Recipe, batch: int, groups: tuple[tuple[str, ...], ...]
) -> Callable[[Member, Data, Key, jax.Array], Mask]:
    """Jitted pruning of a population by a score, compiled once for all levels."""

    def one(member: Member, data: Data, key: Key, counts: jax.Array) -> Mask:
        probe = train.probe(member, data, recipe=recipe, batch=batch, key=key)
        params = masks.apply(member.start.params, member.mask)
        scores = pruning.SCORES[score](params, probe)
        return pruning.keep_best(scores, member.mask, counts, groups=groups)

    return jax.jit(
        lambda members, data, keys, counts: lax.map(
            lambda pair: one(pair[0], data, pair[1], counts), (members, keys)
        )
    )
