"""Units of fully connected networks: pruning them, and what their connections look like.

A *unit* is one column of a kernel [inputs, units] with its bias and its row of the next kernel.
It is pruned by masking all three. Layers go by the names of their modules, the input side first.
"""

from collections.abc import Callable, Iterable, Mapping
import itertools
import re

import jax
import jax.numpy as jnp

from ltjax.core import trees
from ltjax.core.types import Mask, Params

ScoreFn = Callable[[jax.Array, jax.Array], jax.Array]
"""(magnitudes of the incoming weights [inputs, units], of the outgoing [units, outputs]) ->
one number a unit; the lowest are pruned first."""


def by_input(incoming: jax.Array, outgoing: jax.Array) -> jax.Array:
    """Mean magnitude of the incoming weights, without the bias (paper 004, section 2.1)."""
    del outgoing
    return incoming.mean(axis=0)


def by_output(incoming: jax.Array, outgoing: jax.Array) -> jax.Array:
    """Mean magnitude of the outgoing weights (paper 004, section 2.1, where there is one)."""
    del incoming
    return outgoing.mean(axis=1)


def by_product(incoming: jax.Array, outgoing: jax.Array) -> jax.Array:
    """Summed magnitudes of the outgoing weights times those of the incoming (paper 004, 2.1)."""
    return incoming.sum(axis=0) * outgoing.sum(axis=1)


SCORES: Mapping[str, ScoreFn] = {
    "input": by_input,
    "output": by_output,
    "product": by_product,
}


def layers(params: Params, *, head: str = "head") -> list[str]:
    """Names of the layers of a fully connected network, from the input to the head.

    Raises:
      ValueError: where some parameter is not that of a dense layer, or the layers do not chain.
    """
    shapes = {
        name: leaf.shape
        for name, leaf in zip(trees.names(params), jax.tree.leaves(params), strict=True)
    }
    modules = {name.rpartition("/")[0] for name in shapes}
    order = _in_order(modules, head)
    for module in order:
        if len(shapes.get(f"{module}/kernel", ())) != 2:
            raise ValueError(f"units are those of dense layers; {module or 'the network'} is none")
    for one, other in itertools.pairwise(order):
        here, there = shapes[f"{one}/kernel"][1], shapes[f"{other}/kernel"][0]
        if here != there:
            raise ValueError(
                f"{one} has {here} units and {other} takes {there}; the layers do not chain"
            )
    return order


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts layer_2 before layer_10."""
    return [(int(p), "") if p.isdigit() else (-1, p) for p in re.split(r"(\d+)", name)]


def alive(mask: Mask, *, head: str = "head") -> dict[str, jax.Array]:
    """Which units of each hidden layer are not pruned: bool [units].

    A unit is pruned where nothing of it is left: no incoming weight, no bias, no outgoing one.
    """
    names = layers(mask, head=head)
    found = {}
    for here, there in itertools.pairwise(names):
        mine = _module(mask, here)
        bias = mine.get("bias", jnp.zeros(mine["kernel"].shape[1], bool))
        out = _module(mask, there)["kernel"].any(axis=1)
        found[here] = mine["kernel"].any(axis=0) | bias | out
    return found


def prune(
    params: Params,
    mask: Mask,
    *,
    keep: Mapping[str, int],
    score: str = "product",
    head: str = "head",
) -> Mask:
    """Prunes the lowest-scored units of hidden layers.

    The count is exact: of equal scores the first unit stays. What is pruned never returns.

    Args:
      params: weights that are rated; trained ones, in paper 004 (reading 4.25).
      mask: what is live.
      keep: how many units stay in each hidden layer; layers that are not named keep theirs.
      score: a row of `SCORES`.
      head: name of the output module.

    Raises:
      ValueError: an unknown score or hidden layer, a number of units outside of its layer, or a
        network that is not fully connected.
    """
    rate = trees.lookup(SCORES, score, "score of units")
    names = layers(params, head=head)
    hidden = names[:-1]
    for layer, count in keep.items():
        if layer not in hidden:
            raise ValueError(trees.unknown(layer, hidden, "hidden layer"))
        size = _module(params, layer)["kernel"].shape[1]
        if not 0 <= count <= size:
            raise ValueError(f"{layer} has {size} units; it cannot keep {count}")
    kept = {}
    living = alive(mask, head=head)
    for here, there in itertools.pairwise(names):
        if here not in keep:
            continue
        incoming, outgoing = (
            jnp.where(_module(mask, m)["kernel"], jnp.abs(_module(params, m)["kernel"]), 0)
            for m in (here, there)
        )
        scores = jnp.where(living[here], rate(incoming, outgoing), -jnp.inf)
        best = jnp.argsort(scores, descending=True, stable=True)
        chosen = jnp.zeros(scores.shape, bool).at[best[: keep[here]]].set(True)
        kept[here] = chosen & living[here]
    before = dict(zip(names[1:], names, strict=False))

    def cut(name: str, leaf: jax.Array) -> jax.Array:
        module, _, last = name.rpartition("/")
        if module in kept:
            # Columns of the kernel, entries of the bias.
            leaf = leaf & kept[module].reshape((1,) * (leaf.ndim - 1) + (-1,))
        if last == "kernel" and before.get(module) in kept:
            leaf = leaf & kept[before[module]][:, None]
        return leaf

    return trees.map_with_name(cut, mask)


def connected(mask: Mask, *, head: str = "head") -> Mask:
    """The mask without the weights that have no path to an output unit (paper 004, footnote 7).

    A weight into a unit that reaches no output changes nothing that the network computes. Biases
    stay as they are.
    """
    names = layers(mask, head=head)
    kernels, reaches = {}, None
    for name in reversed(names):
        kernel = _module(mask, name)["kernel"]
        kernels[f"{name}/kernel"] = kernel if reaches is None else kernel & reaches[None]
        reaches = kernels[f"{name}/kernel"].any(axis=1)
    return trees.map_with_name(lambda n, leaf: kernels.get(n, leaf), mask)


def in_degrees(mask: Mask, *, head: str = "head") -> dict[str, jax.Array]:
    """How many inputs each unit of each layer is connected to (paper 004, figure 10).

    Of any network: a unit of a convolution is a channel of its output, its inputs are all of the
    window. int32 by module, the head last, each of the stacked and output axes of its kernel
    (`trees.Axes`).
    """
    forms = trees.axes(mask, head=head)
    found = {}
    for name, leaf in zip(trees.names(mask), jax.tree.leaves(mask), strict=True):
        if name in forms:
            stacked, window, inputs, _ = forms[name]
            over = tuple(range(stacked, stacked + window + inputs))
            found[name.rpartition("/")[0]] = leaf.sum(axis=over, dtype=jnp.int32)
    return {name: found[name] for name in _in_order(found, head)}


def _in_order(modules: Iterable[str], head: str) -> list[str]:
    return sorted(modules, key=lambda m: (m.split("/")[-1] == head, _natural(m)))


def _module(tree: Params, name: str) -> Params:
    for part in name.split("/"):
        tree = tree[part]
    return tree
