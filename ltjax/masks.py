"""Masks: boolean trees with the structure of the parameters they prune.

True keeps a weight. A leaf that must not be pruned is all True, so that no function needs a
special case for it; *prunable* is the collection of the names of the leaves that may be pruned.
"""

from collections.abc import Collection
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from ltjax import keys, trees
from ltjax.types import Key, Mask, Params, Tree


def dense(params: Params) -> Mask:
    """The mask that keeps everything."""
    return jax.tree.map(lambda p: jnp.ones(p.shape, bool), params)


def apply(params: Params, mask: Mask) -> Params:
    """Sets the pruned weights to +0, also where they are infinite or NaN."""
    return jax.tree.map(lambda p, m: jnp.where(m, p, jnp.zeros_like(p)), params, mask)


def hold(mask: Mask) -> optax.GradientTransformation:
    """Drops the update of every pruned weight: what is zero stays zero.

    It goes last in an `optax.chain`, after momentum and weight decay:

        optimizer = optax.chain(optax.adamw(1e-3), masks.hold(mask))

    The parameters must start from `masks.apply(params, mask)`.
    """

    def init(params: Tree) -> Tree:
        trees.check_same_layout(mask, jax.tree.map(_as_bool, params), what="mask")
        return optax.EmptyState()

    def update(updates: Tree, state: Tree, params: Tree = None) -> tuple[Tree, Tree]:
        del params
        return apply(updates, mask), state

    return optax.GradientTransformation(init, update)


def _as_bool(leaf: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, jnp.bool_)


class Count(NamedTuple):
    """Kept and prunable weights of one mask (Python ints), and of each prunable leaf."""

    kept: int
    prunable: int
    total: int
    layers: dict[str, tuple[int, int]]

    @property
    def density(self) -> float:
        """Kept share of the prunable weights."""
        return self.kept / self.prunable


def count(mask: Mask, prunable: Collection[str]) -> Count:
    """Counts what `mask` keeps of the leaves named in `prunable`."""
    leaves = dict(zip(trees.names(mask), jax.tree.leaves(mask), strict=True))
    layers = {name: (int(leaves[name].sum()), leaves[name].size) for name in prunable}
    kept, size = (sum(pair[i] for pair in layers.values()) for i in (0, 1))
    return Count(kept, size, sum(m.size for m in leaves.values()), layers)


def complement(mask: Mask, prunable: Collection[str]) -> Mask:
    """Keeps exactly what `mask` pruned; leaves that are not prunable stay all True."""
    return trees.map_with_name(lambda n, m: ~m if n in prunable else m, mask)


def intersect(a: Mask, b: Mask) -> Mask:
    """Keeps what both keep."""
    return jax.tree.map(jnp.logical_and, a, b)


def permute_within(key: Key, tree: Tree, prunable: Collection[str]) -> Tree:
    """Permutes the entries of each prunable leaf; the other leaves stay as they are.

    Leaves of one name and size are permuted alike under one key: permute the mask and the values
    with the same key to move (mask, value) pairs together.
    """

    def permute(name: str, leaf: jax.Array) -> jax.Array:
        if name not in prunable:
            return leaf
        order = jax.random.permutation(keys.derive(key, name), leaf.size)
        return leaf.ravel()[order].reshape(leaf.shape)

    return trees.map_with_name(permute, tree)


def permute_across(key: Key, mask: Mask, prunable: Collection[str]) -> Mask:
    """Permutes the mask over all prunable leaves at once; their densities become alike."""
    all_names, leaves = trees.names(mask), jax.tree.leaves(mask)
    chosen = [i for i, name in enumerate(all_names) if name in prunable]
    flat = jax.random.permutation(key, jnp.concatenate([leaves[i].ravel() for i in chosen]))
    offset = 0
    for i in chosen:
        size, shape = leaves[i].size, leaves[i].shape
        leaves[i] = flat[offset : offset + size].reshape(shape)
        offset += size
    return jax.tree.unflatten(jax.tree.structure(mask), leaves)


class Overlap(NamedTuple):
    """How two masks of one network meet (paper 002, Tables 6 and 7)."""

    both: int
    only_first: int
    only_second: int
    chance: float
    """Expected `both` of two independent random masks with these counts: kept * kept / size."""
    chance_sd: float
    """Its standard deviation: `both` is then hypergeometric."""


def overlap(first: Mask, second: Mask, prunable: Collection[str]) -> Overlap:
    """Counts the weights that both masks keep, and that only one keeps.

    `only_first` is the one-sided difference that paper 002 prints (its Kept - Overlap).
    """
    a, b = (
        jnp.concatenate(
            [
                leaf.ravel()
                for name, leaf in zip(trees.names(m), jax.tree.leaves(m), strict=True)
                if name in prunable
            ]
        )
        for m in (first, second)
    )
    both, kept_a, kept_b = int((a & b).sum()), int(a.sum()), int(b.sum())
    size = a.size
    chance = kept_a * kept_b / size
    variance = chance * (1 - kept_a / size) * (size - kept_b) / max(size - 1, 1)
    return Overlap(both, kept_a - both, kept_b - both, chance, math.sqrt(variance))
