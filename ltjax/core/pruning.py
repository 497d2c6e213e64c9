"""Pruning: scores rate the weights, a plan says how many stay, and ranking cuts exactly.

A *score* is a row of `SCORES` (`ltjax.scores`). A *group* is a set of leaves whose weights
are ranked together. A *plan* holds the number of weights that each group keeps at each level,
known before anything is trained, because the counts are exact.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
import dataclasses
import itertools
import math
from typing import Any, SupportsFloat

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from ltjax.core import keys, trees
from ltjax.core.scores import SCORES
from ltjax.core.types import Key, Mask, Scores, Tree

__all__ = ["SCOPES", "SCORES", "Plan", "keep_best", "of_mask", "plan", "pooled", "spread"]

SCOPES = ("layerwise", "global")


def keep_best(
    scores: Scores,
    mask: Mask,
    counts: jax.Array,
    *,
    groups: Sequence[Sequence[str]],
    key: Key | None = None,
) -> Mask:
    """Keeps the best-scored `counts[g]` of the live weights of each group.

    The count is exact, whatever the ties: of the weights that tie at the threshold those stay
    that come first in an order drawn by the key, so that no corner of a layer is favoured. The
    order depends on the key and the group alone, so cuts of the same scores are nested. NaN ranks
    lowest of the live, and -inf with the lowest number (`lottery.prune` refuses scores that are
    not finite); dead weights never return. Leaves outside the groups keep their mask.

    Args:
      scores: one number a weight.
      mask: the live weights.
      counts: int32 [groups], how many stay in each group; at most the live weights.
      groups: leaf names of each group.
      key: of the order among equal scores; always the same one by default.
    """
    key = jax.random.key(0) if key is None else key
    for number, group in enumerate(groups):
        flat, live = (trees.joined(tree, group) for tree in (scores, mask))
        kept = _best(flat, live, counts[number], keys.derive(key, "ties", number))
        mask = trees.parted(kept, mask, group)
    return mask


def _best(scores: jax.Array, live: jax.Array, count: jax.Array, key: Key) -> jax.Array:
    """Which `count` of the live are best, by the threshold that sorting the values alone gives."""
    scores = scores.astype(jnp.promote_types(scores.dtype, jnp.float32))
    lowest = jnp.finfo(scores.dtype).min
    scores = jnp.maximum(jnp.where(jnp.isnan(scores), lowest, scores), lowest)
    scores = jnp.where(live, scores, -jnp.inf)
    last = scores.size - 1
    threshold = jnp.sort(scores)[jnp.clip(scores.size - count, 0, last)]
    above = scores > threshold
    tied = (scores == threshold) & live
    spare = count - above.sum(dtype=jnp.int32)

    def draw() -> jax.Array:
        place = jnp.where(tied, _shuffled(key, scores.size), jnp.uint32(2**32 - 1))
        ends = jnp.sort(place)[jnp.clip(spare - 1, 0, last)]
        return tied & (place <= ends) & (spare > 0)

    # A sort more only where there is something to choose.
    return above | lax.cond(tied.sum(dtype=jnp.int32) > spare, draw, lambda: tied)


def _shuffled(key: Key, size: int) -> jax.Array:
    """A number of its own for each position, in an order of the key: uint32 [size].

    Each step is a bijection of uint32 (the finalizer of MurmurHash3 between words of the key).
    """
    place = jnp.arange(size, dtype=jnp.uint32)
    for word in jax.random.bits(key, (2,), jnp.uint32):
        place = place ^ word
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            place = (place ^ (place >> shift)) * jnp.uint32(factor)
        place = place ^ (place >> 16)
    return place


@dataclasses.dataclass(frozen=True)
class Plan:
    """How many weights each group keeps at each level.

    Attributes:
      groups: leaf names of each group.
      sizes: prunable weights of each group.
      counts: kept weights, [level][group]; level 0 is dense, or what a search from a mask begins
        with.
      nominal: density asked of each level; level 0 has 1.0, or the mask's own. Rates of their own
        for some layers, and rounding, make what is kept (`densities`) another.
      dense: weights by name, and their number, that stay dense: kernels left out by a rule, and
        other leaves of two or more axes (embeddings, adapters).
      kernels: weights of all kernels and of whatever else is prunable.
      total: all parameters.
    """

    groups: tuple[tuple[str, ...], ...]
    sizes: tuple[int, ...]
    counts: tuple[tuple[int, ...], ...]
    nominal: tuple[float, ...]
    dense: Mapping[str, int]
    kernels: int
    total: int

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

    def density(self, level: int, *, of: str = "prunable") -> float:
        """Share of the weights that level `level` keeps, in [0, 1].

        Args:
          level: of the plan.
          of: `prunable` weights, all `kernels`, or all parameters (`total`).
        """
        prunable = sum(self.sizes)
        size = {"prunable": prunable, "kernels": self.kernels, "total": self.total}[of]
        return (size - prunable + self.kept(level)) / size

    @property
    def densities(self) -> tuple[float, ...]:
        """Density of each level over the prunable weights."""
        return tuple(self.density(level) for level in range(self.levels + 1))


def pooled(plan: Plan) -> Plan:
    """The same number of weights at each level, ranked over all layers together.

    For SNIP at the total count of a mask pruned layer by layer (paper 002, reading 2.4).
    """
    return dataclasses.replace(
        plan,
        groups=(plan.prunable,),
        sizes=(sum(plan.sizes),),
        counts=tuple((plan.kept(level),) for level in range(plan.levels + 1)),
    )


def spread(params: Tree, plan: Plan) -> Plan:
    """The same number of weights at each level, spread over layers as Erdos-Renyi-kernel.

    A kernel of a window, `in` inputs and `out` outputs keeps a share in proportion to the sum of
    these sizes over their product, at most all (Evci et al., 2020,
    https://arxiv.org/abs/1911.11134, appendix A.1). Scanned layers share one share. Numbers are
    rounded down, and what is left goes to the largest remainders.

    Args:
      params: parameters or their shapes.
      plan: whose totals are kept.
    """
    forms = trees.axes(params)
    shapes = {
        name: _own_shape(leaf.shape, forms.get(name))
        for name, leaf in trees.by_name(params).items()
        if name in plan.prunable
    }
    sizes = tuple(count * math.prod(shape) for count, shape in shapes.values())
    raw = [sum(shape) / math.prod(shape) for _, shape in shapes.values()]
    counts = tuple(_spread(plan.kept(level), sizes, raw) for level in range(plan.levels + 1))
    groups = tuple((name,) for name in shapes)
    return dataclasses.replace(plan, groups=groups, sizes=sizes, counts=counts)


def _own_shape(shape: tuple[int, ...], form: trees.Axes | None) -> tuple[int, tuple[int, ...]]:
    """Number of stacked layers, and the sizes of one: window, inputs, outputs."""
    if form is None:
        return 1, shape
    stacked, window, inputs, outputs = form.sizes(shape)
    return stacked, (*window, inputs, outputs)


def _spread(total: int, sizes: Sequence[int], raw: Sequence[float]) -> tuple[int, ...]:
    """Whole numbers that sum to `total`, in proportion to raw * size, none above its size."""
    full: set[int] = set()
    while True:
        rest = [i for i in range(len(sizes)) if i not in full]
        left = total - sum(sizes[i] for i in full)
        unit = left / sum(raw[i] * sizes[i] for i in rest) if rest else 0.0
        over = {i for i in rest if raw[i] * unit > 1}
        if not over:
            break
        full |= over
    ideal = [float(sizes[i]) if i in full else raw[i] * unit * sizes[i] for i in range(len(sizes))]
    found = [math.floor(x) for x in ideal]
    by_remainder = sorted(range(len(sizes)), key=lambda i: found[i] - ideal[i])
    open_ = [i for i in by_remainder if found[i] < sizes[i]]
    for i in open_[: total - sum(found)]:
        found[i] += 1
    return tuple(found)


def plan(
    params: Tree,
    *,
    rate: float,
    levels: int,
    rates: Mapping[str, float] | None = None,
    densities: Iterable[Any] | SupportsFloat = (),
    scope: str = "layerwise",
    live: Mapping[str, int] | None = None,
    head: str = "head",
) -> Plan:
    """Settles every count of a search before it begins.

    Each round prunes `round(rate * remaining)` weights of a group, with Python's `round`
    (halves to even). This gives every Kept column of paper 002 (reading 2.2). Kernels of any
    number of axes are prunable; a rule for another kind (`bias=0.2`, `embedding=0.2`) makes those
    leaves prunable too. What stays dense is named in the plan.

    Args:
      params: parameters or their shapes.
      rate: share of the remaining weights pruned each round, in [0, 1).
      levels: rounds; ignored where `densities` are given.
      rates: rate by kind of layer or by pattern, first match wins, instead of `rate`;
        0 leaves those layers dense.
      densities: falling target densities, one a level, as any iterable or array. A group with a
        rule prunes the share (1 - density) * its rate / `rate` (half for the output layer of
        paper 004).
      scope: `layerwise` ranks within each leaf, `global` over all leaves of the same rule.
      live: weights of each leaf that level 0 begins with, for a search from a mask (the flip of
        paper 002); all of them by default. With rounds only.
      head: name of the output module.

    Raises:
      ValueError: a rate outside [0, 1), an unknown scope, a pattern without a match, densities
        that do not fall, nothing left to prune, or a level that keeps nothing at all. (A layer
        that keeps nothing is seen in the record's layers; `analysis.cut_layers` says so.)
    """
    _check_rates(rate, rates or {}, scope, levels)
    kind_of = trees.kinds(params, head=head)
    sizes = {name: int(leaf.size) for name, leaf in trees.by_name(params).items()}
    rule_of: dict[str, tuple[str, float]] = {}
    for pattern, value in (rates or {}).items():
        for name in trees.select(pattern, kind_of):
            _ = rule_of.setdefault(name, (pattern, value))
    for name, kind in kind_of.items():
        if kind in trees.KERNELS:
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
    asked = _numbers(densities)
    if asked.size:
        nominal = _falling(asked)
        counts = _counts_for_densities(nominal, totals, group_rates, rate)
    else:
        nominal = tuple((1 - rate) ** level for level in range(levels + 1))
        begun = [sum((live or sizes).get(name, sizes[name]) for name in group) for group in groups]
        nominal = tuple(sum(begun) / sum(totals) * density for density in nominal)
        counts = _counts_for_rounds(levels, begun, group_rates)
    for level, row in enumerate(counts):
        if sum(row) == 0:
            raise ValueError(
                f"level {level} (density {nominal[level]:.3g}) would keep none of {sum(totals)} "
                "weights; raise the density, or prune fewer rounds"
            )
    left = trees.weights(params, [name for group in groups for name in group])
    return Plan(groups, totals, counts, nominal, *left)


def of_mask(mask: Mask, prunable: Sequence[str]) -> Plan:
    """The counts of a given mask as level 1, for pruning another way down to the same.

    `pooled` makes of it the total alone, as paper 002's SNIP keeps.

    Args:
      mask: of one network.
      prunable: names of the leaves that are up for pruning.

    Raises:
      ValueError: where the mask has no such leaf, or keeps nothing of them.
    """
    leaves = trees.by_name(mask)
    for name in prunable:
        trees.require(name, leaves, "leaf of the mask")
    sizes = tuple(int(leaves[name].size) for name in prunable)
    kept = tuple(int(leaves[name].sum()) for name in prunable)
    if not sum(kept):
        raise ValueError(f"the mask keeps none of {sum(sizes)} weights; there is nothing to match")
    groups = tuple((name,) for name in prunable)
    nominal = (1.0, sum(kept) / sum(sizes))
    return Plan(groups, sizes, (sizes, kept), nominal, *trees.weights(mask, prunable))


def _check_rates(rate: float, rates: Mapping[str, float], scope: str, levels: int) -> None:
    for name, value in {"rate": rate, **{f"rates {k}": v for k, v in rates.items()}}.items():
        if not 0 <= value < 1:
            raise ValueError(
                f"{name} is the share of the remaining weights pruned a round, in [0, 1) (0.2 for "
                f"20 %); got {value}"
            )
    trees.require(scope, SCOPES, "scope")
    if levels < 0:
        raise ValueError(f"levels is the number of rounds, 0 or more; got {levels}")


def _numbers(densities: Iterable[Any] | SupportsFloat) -> np.ndarray:
    given = list(densities) if isinstance(densities, Iterator) else densities
    try:
        return np.asarray(given, float)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"densities are numbers, one a level (0.2 for 20 %); got {given!r}"
        ) from error


def _falling(given: np.ndarray) -> tuple[float, ...]:
    chain = [1.0, *map(float, given.ravel())]
    if chain[1] == 1.0:
        del chain[1]
    if given.ndim > 1 or any(not b < a for a, b in itertools.pairwise(chain)) or chain[-1] < 0:
        raise ValueError(
            "densities must fall from below 1 and stay above 0, one number a level (0.2 for 20 %); "
            f"got {given.tolist()}"
        )
    return tuple(chain)


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
