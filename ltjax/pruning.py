"""Pruning: scores rate the weights, a plan says how many stay, and ranking cuts exactly.

A *score* is one function and one row of `SCORES`. A *group* is a set of leaves whose weights
are ranked together. A *plan* holds the number of weights that each group keeps at each level,
known before anything is trained, because the counts are exact.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import itertools
from typing import Protocol

import jax
import jax.numpy as jnp

from ltjax import trees
from ltjax.types import Key, LossFn, Mask, Params, Scores

SCOPES = ("layerwise", "global")


class ScoreFn(Protocol):
    """Rates each weight; the lowest are pruned first."""

    def __call__(self, params: Params, *, key: Key, loss_fn: LossFn) -> Scores:
        """Scores of the (already masked) `params`; `loss_fn` is the loss on one batch."""
        ...


def magnitude(params: Params, *, key: Key, loss_fn: LossFn) -> Scores:
    """|w| (Han et al., 2015; Frankle & Carbin)."""
    del key, loss_fn
    return jax.tree.map(jnp.abs, params)


def random(params: Params, *, key: Key, loss_fn: LossFn) -> Scores:
    """Uniform numbers, each leaf with its own key."""
    del loss_fn
    leaves, treedef = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    return treedef.unflatten(
        [jax.random.uniform(k, p.shape) for k, p in zip(keys, leaves, strict=True)]
    )


def snip_signed(params: Params, *, key: Key, loss_fn: LossFn) -> Scores:
    """W * dL/dw with its sign, as paper 002 prints it (reading 2.3)."""
    del key
    return jax.tree.map(jnp.multiply, params, jax.grad(loss_fn)(params))


def snip(params: Params, *, key: Key, loss_fn: LossFn) -> Scores:
    """|w * dL/dw| (Lee et al., 2019, https://arxiv.org/abs/1810.02340)."""
    return jax.tree.map(jnp.abs, snip_signed(params, key=key, loss_fn=loss_fn))


SCORES: Mapping[str, ScoreFn] = {
    "magnitude": magnitude,
    "random": random,
    "snip": snip,
    "snip_signed": snip_signed,
}


def keep_best(
    scores: Scores, mask: Mask, counts: jax.Array, *, groups: Sequence[Sequence[str]]
) -> Mask:
    """Keeps the best-scored `counts[g]` of the live weights of each group.

    Ranking makes the count exact, whatever the ties: of equal scores the first in position
    (leaf order, then row-major) is kept. NaN ranks lowest of the live; dead weights never
    return. Leaves outside the groups keep their mask.

    Args:
      scores: one number a weight.
      mask: the live weights.
      counts: int32 [groups], how many stay in each group; at most the live weights.
      groups: leaf names of each group.
    """
    where = {name: i for i, name in enumerate(trees.names(mask))}
    live_leaves, treedef = jax.tree.flatten(mask)
    score_leaves = treedef.flatten_up_to(scores)
    for number, group in enumerate(groups):
        chosen = [where[name] for name in group]
        live = jnp.concatenate([live_leaves[i].ravel() for i in chosen])
        flat = jnp.concatenate([score_leaves[i].ravel() for i in chosen])
        lowest = jnp.finfo(flat.dtype).min
        flat = jnp.maximum(jnp.where(jnp.isnan(flat), lowest, flat), lowest)
        best_first = jnp.argsort(jnp.where(live, flat, -jnp.inf), descending=True, stable=True)
        keep = jnp.arange(live.size) < counts[number]
        kept = jnp.zeros_like(live).at[best_first].set(keep) & live
        offset = 0
        for i in chosen:
            size, shape = live_leaves[i].size, live_leaves[i].shape
            live_leaves[i] = kept[offset : offset + size].reshape(shape)
            offset += size
    return treedef.unflatten(live_leaves)


@dataclasses.dataclass(frozen=True)
class Plan:
    """How many weights each group keeps at each level.

    Attributes:
      groups: leaf names of each group.
      sizes: prunable weights of each group.
      counts: kept weights, [level][group]; level 0 is dense.
      densities: nominal density of each level, 1.0 first.
    """

    groups: tuple[tuple[str, ...], ...]
    sizes: tuple[int, ...]
    counts: tuple[tuple[int, ...], ...]
    densities: tuple[float, ...]

    @property
    def prunable(self) -> tuple[str, ...]:
        """Names of all the leaves that the plan may prune."""
        return tuple(name for group in self.groups for name in group)

    @property
    def levels(self) -> int:
        """Number of levels after the dense one."""
        return len(self.counts) - 1

    def kept(self, level: int) -> int:
        """Number of prunable weights that level `level` keeps."""
        return sum(self.counts[level])


def plan(
    params: Params,
    *,
    rate: float,
    levels: int,
    rates: Mapping[str, float] | None = None,
    densities: Sequence[float] = (),
    scope: str = "layerwise",
    head: str = "head",
) -> Plan:
    """Settles every count of a search before it begins.

    Each round prunes `round(rate * remaining)` weights of a group, with Python's `round`
    (halves to even). This gives every Kept column of paper 002 (reading 2.2). Kernels are
    prunable; a rule for another kind (`bias=0.2`) makes those leaves prunable too.

    Args:
      params: parameters or their shapes.
      rate: share of the remaining weights pruned each round, in [0, 1).
      levels: rounds; ignored where `densities` are given.
      rates: rate by kind of layer or by pattern, first match wins, instead of `rate`;
        0 leaves those layers dense.
      densities: falling target densities, one a level. A group with a rule prunes the share
        (1 - density) * its rate / `rate` (half for the output layer of paper 004).
      scope: `layerwise` ranks within each leaf, `global` over all leaves of the same rule.
      head: name of the output module.

    Raises:
      ValueError: a rate outside [0, 1), an unknown scope, a pattern without a match, densities
        that do not fall, or nothing left to prune.
    """
    _check_rates(rate, rates or {}, scope, levels)
    kind_of = trees.kinds(params, head=head)
    sizes = {
        name: int(leaf.size)
        for name, leaf in zip(trees.names(params), jax.tree.leaves(params), strict=True)
    }
    rule_of: dict[str, tuple[str, float]] = {}
    for pattern, value in (rates or {}).items():
        for name in trees.select(pattern, kind_of):
            _ = rule_of.setdefault(name, (pattern, value))
    for name, kind in kind_of.items():
        if kind in ("conv", "dense", "output"):
            _ = rule_of.setdefault(name, ("", rate))
    members: dict[str, list[str]] = {}
    for name in sizes:
        if name in rule_of and rule_of[name][1] > 0:
            group = name if scope == "layerwise" else rule_of[name][0]
            members.setdefault(group, []).append(name)
    if not members:
        raise ValueError("nothing is prunable: every rate is 0; give a rate above 0")
    groups = tuple(tuple(names) for names in members.values())
    group_rates = tuple(rule_of[group[0]][1] for group in groups)
    totals = tuple(sum(sizes[name] for name in group) for group in groups)
    if densities:
        nominal = _falling(densities)
        counts = _counts_for_densities(nominal, totals, group_rates, rate)
    else:
        nominal = tuple((1 - rate) ** level for level in range(levels + 1))
        counts = _counts_for_rounds(levels, totals, group_rates)
    return Plan(groups, totals, counts, nominal)


def _check_rates(rate: float, rates: Mapping[str, float], scope: str, levels: int) -> None:
    for name, value in {"rate": rate, **{f"rates {k}": v for k, v in rates.items()}}.items():
        if not 0 <= value < 1:
            raise ValueError(
                f"{name} is the share of the remaining weights pruned a round, in [0, 1); "
                f"got {value}"
            )
    if scope not in SCOPES:
        raise ValueError(trees.unknown(scope, SCOPES, "scope"))
    if levels < 0:
        raise ValueError(f"levels is the number of rounds, 0 or more; got {levels}")


def _falling(densities: Sequence[float]) -> tuple[float, ...]:
    chain = tuple(densities) if densities[0] == 1.0 else (1.0, *densities)
    if any(not b < a for a, b in itertools.pairwise(chain)) or chain[-1] < 0:
        raise ValueError(f"densities must fall from below 1 and stay above 0; got {chain[1:]}")
    return chain


def _counts_for_rounds(
    levels: int, totals: Sequence[int], rates: Sequence[float]
) -> tuple[tuple[int, ...], ...]:
    rows = [tuple(totals)]
    for _ in range(levels):
        rows.append(tuple(n - round(r * n) for n, r in zip(rows[-1], rates, strict=True)))
    return tuple(rows)


def _counts_for_densities(
    densities: Sequence[float], totals: Sequence[int], rates: Sequence[float], rate: float
) -> tuple[tuple[int, ...], ...]:
    def share(density: float, group_rate: float) -> float:
        return (1 - density) * (group_rate / rate if rate > 0 else 1.0)

    worst = max(share(densities[-1], r) for r in rates)
    if worst > 1:
        raise ValueError(
            f"density {densities[-1]} would prune {worst:.2f} of a group whose rate exceeds "
            f"rate={rate}; lower that rate or raise the density"
        )
    return tuple(
        tuple(n - round(share(d, r) * n) for n, r in zip(totals, rates, strict=True))
        for d in densities
    )
