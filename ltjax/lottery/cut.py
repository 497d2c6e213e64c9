"""One-shot tickets: several densities cut from one trained network."""

from collections.abc import Callable, Iterator
import functools

import jax
from jax import lax
import jax.numpy as jnp

from ltjax.core import keys, pruning
from ltjax.core.types import Key, Mask, Params
from ltjax.lottery.common import Found
from ltjax.training import population


def cut(dense: Found, plan: pruning.Plan, *, key: Key | None = None) -> Iterator[Found]:
    """Cuts every level of a plan out of one trained level, by magnitude; trains nothing.

    The tickets are to be trained by `transfer`, so that as many densities as wanted cost one
    search of one level, and the dense network is trained once for all of them.

    Args:
      dense: what `find` yielded first; its theta_S is rated, and is that of the tickets too: under
        their masks it is the network right after pruning.
      plan: how much each level keeps, from `pruning.plan` with `densities`.
      key: of the order among weights of equal magnitude; always the same one by default.
    """
    prune, replicates = _cutter(plan.groups), population.size(dense.mask)
    drawn = jax.random.key(0) if key is None else key
    each = jax.vmap(lambda i: keys.derive(drawn, "cut", i))(jnp.arange(replicates))
    for number in range(1, plan.levels + 1):
        counts = jnp.asarray(plan.counts[number], jnp.int32)
        mask = jax.device_get(prune(dense.theta_S.params, dense.mask, each, counts))
        yield dense._replace(
            level=number,
            nominal=plan.nominal[number],
            mask=mask,
            prunable=plan.prunable,
            records=[],
        )


@functools.lru_cache(maxsize=8)
def _cutter(
    groups: tuple[tuple[str, ...], ...],
) -> Callable[[Params, Mask, Key, jax.Array], Mask]:
    """Jitted cut of a population."""

    def one(params: Params, mask: Mask, key: Key, counts: jax.Array) -> Mask:
        scores = jax.tree.map(jnp.abs, params)
        return pruning.keep_best(scores, mask, counts, groups=groups, key=key)

    return jax.jit(
        lambda params, mask, each, counts: lax.map(
            lambda m: one(m[0], m[1], m[2], counts), (params, mask, each)
        )
    )
