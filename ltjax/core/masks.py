"""Masks: boolean trees with the structure of the parameters they prune.

True keeps a weight. A leaf that must not be pruned is all True, so that no function needs a
special case for it; *prunable* is the collection of the names of the leaves that may be pruned.
"""

from collections.abc import Collection
import math
from typing import Any, NamedTuple

import jax
from jax.core import Tracer
import jax.numpy as jnp
import optax

from ltjax.core import keys, trees
from ltjax.core.types import Key, Mask, Tree


def dense(params: Tree) -> Mask:
    """The mask that keeps everything."""
    return jax.tree.map(lambda p: jnp.ones(p.shape, bool), params)


def apply(params: Tree, mask: Mask) -> Tree:
    """Sets the pruned weights to +0, also where they are infinite or NaN.

    Raises:
      ValueError: for parameters that are not those of the mask, as in `sparse`.
    """
    _check_layout(params, mask)
    return jax.tree.map(lambda p, m: jnp.where(m, p, jnp.zeros_like(p)), params, mask)


def sparse(
    optimizer: optax.GradientTransformation | optax.MultiSteps, mask: Mask
) -> optax.GradientTransformationExtraArgs:
    """An optimizer that trains a masked network as the network without its pruned weights.

        optimizer = masks.sparse(optax.adamw(1e-3), mask)
        params = masks.apply(params, mask)
        state = optimizer.init(params)

    It sees zeros for gradients and values of pruned weights, so that no norm, trust ratio or
    moment counts them, and none of their updates comes out; the same holds for the `grad` and the
    `value_fn` of optimizers that take them. Its state is that of `optimizer`.

    Means over a leaf still count the zeros: RMS clipping (`optax.clip_by_block_rms`) and RMS
    scaling, as in Adafactor. So does what depends on the shape of a leaf: factored moments
    (Adafactor, SM3), orthogonalization (Muon), unit-wise norms, gradient noise. Under these a
    ticket does not train as the network without its pruned weights would.

    Args:
      optimizer: any optax optimizer, whole (not a link of a chain).
      mask: the live weights; may be traced.

    Raises:
      ValueError: from `init`, for parameters that are not those of the mask (a FrozenDict, all
        variables of a module, an NNX state), or are not zero where it prunes. What is traced
        (`init` under `jit`) is not looked at.
    """
    inner = optax.with_extra_args_support(optimizer)  # pyright: ignore[reportArgumentType]

    def init(params: Tree) -> Tree:
        _check_masked(params, mask)
        return inner.init(params)

    def update(updates: Tree, state: Tree, params: Tree = None, **extra: Any) -> tuple[Tree, Tree]:
        if extra.get("grad") is not None:
            extra["grad"] = apply(extra["grad"], mask)
        if callable(of := extra.get("value_fn")):  # A line search differentiates it.
            extra["value_fn"] = lambda params, *a, **kw: of(apply(params, mask), *a, **kw)
        if params is not None:
            params = apply(params, mask)
        updates, state = inner.update(apply(updates, mask), state, params, **extra)
        return apply(updates, mask), state

    return optax.GradientTransformationExtraArgs(init, update)


def _check_masked(params: Tree, mask: Mask) -> None:
    _check_layout(params, mask)
    leaves = zip(trees.names(params), *map(jax.tree.leaves, (params, mask)), strict=True)
    for name, p, m in leaves:
        if isinstance(p, Tracer) or isinstance(m, Tracer):
            continue
        if found := int(((p != 0) & ~m).sum()):
            raise ValueError(
                f"{found} weights of {name!r} are not 0 where the mask prunes; start from "
                "masks.apply(params, mask)"
            )


def _check_layout(params: Tree, mask: Mask) -> None:
    """Refuses what is not nested and shaped as the mask, with what to pass instead."""
    for kind in type(params).__mro__:
        advice = _ADVICE.get((kind.__module__.split(".")[0], kind.__name__))
        if advice is not None:
            raise ValueError(f"parameters are nested dicts, not a {kind.__name__}; pass {advice}")
    if isinstance(params, dict) and "params" in params and "params" not in mask:
        raise ValueError(
            "parameters are the nested dicts of the layers; of all variables of a module, "
            "pass variables['params']"
        )
    shapes = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, jnp.bool_), params)
    trees.check_same_layout(mask, shapes, what="mask")
    if jax.tree.structure(params) != jax.tree.structure(mask):
        raise ValueError(
            f"parameters in a {type(params).__name__} are not nested as the mask; pass "
            "jax.tree.unflatten(jax.tree.structure(mask), jax.tree.leaves(params))"
        )


_ADVICE = {
    ("flax", "FrozenDict"): "flax.core.unfreeze(params)",
    ("flax", "State"): "flax.nnx.to_pure_dict(state)",
    ("flax", "Module"): "flax.nnx.to_pure_dict(flax.nnx.state(module, flax.nnx.Param))",
    ("ltjax", "Variables"): "variables.params",
}


class Count(NamedTuple):
    """Kept and prunable weights of one mask (Python ints), and of each prunable leaf.

    `kernels`, `total` and `dense` are those of `trees.Weights`.
    """

    kept: int
    prunable: int
    kernels: int
    total: int
    layers: dict[str, tuple[int, int]]
    dense: dict[str, int]

    @property
    def density(self) -> float:
        """Kept share of the prunable weights; 1 where nothing is prunable."""
        return self.kept / self.prunable if self.prunable else 1.0


def count(mask: Mask, prunable: Collection[str]) -> Count:
    """Counts what `mask` keeps of the leaves named in `prunable`."""
    leaves = trees.by_name(mask)
    layers = {name: (int(leaves[name].sum()), leaves[name].size) for name in prunable}
    kept, size = (sum(pair[i] for pair in layers.values()) for i in (0, 1))
    dense, kernels, total = trees.weights(mask, prunable)
    return Count(kept, size, kernels, total, layers, dense)


def complement(mask: Mask, prunable: Collection[str]) -> Mask:
    """Keeps exactly what `mask` pruned; leaves that are not prunable stay all True."""
    return trees.map_with_name(lambda n, m: ~m if n in prunable else m, mask)


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
    chosen = [name for name in trees.names(mask) if name in prunable]
    return trees.parted(jax.random.permutation(key, trees.joined(mask, chosen)), mask, chosen)


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
    a, b = (trees.joined(mask, prunable) for mask in (first, second))
    both, kept_a, kept_b = int((a & b).sum()), int(a.sum()), int(b.sum())
    size = a.size
    chance = kept_a * kept_b / size
    variance = chance * (1 - kept_a / size) * (size - kept_b) / max(size - 1, 1)
    return Overlap(both, kept_a - both, kept_b - both, chance, math.sqrt(variance))
