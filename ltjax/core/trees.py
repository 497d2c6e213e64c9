"""Trees addressed by readable leaf names, such as `dense_0/kernel`.

A *pattern* is a shell-style pattern on the whole name (`conv_*/kernel`), or the name of a
*kind* of leaf: `conv`, `dense`, `attention`, `output` (kernels), `embedding`, `bias`, `norm`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
import difflib
import fnmatch
import math
from typing import Any, NamedTuple, TypeVar

import jax

from ltjax.core.types import Tree

T = TypeVar("T")

KERNELS = ("conv", "dense", "attention", "output")
"""Kinds of kernels: what is prunable unless a rule says otherwise."""

KINDS = (*KERNELS, "embedding", "bias", "norm", "other")

_ATTENTION = ("query", "key", "value", "out")


def names(tree: Tree) -> list[str]:
    """Leaf names of nested dicts, in the order of `jax.tree.leaves`."""
    paths, _ = jax.tree.flatten_with_path(tree)
    return ["/".join(_part(k) for k in path) for path, _ in paths]


def _part(key: Any) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)


def map_with_name(function: Any, tree: Tree, *rest: Tree) -> Tree:
    """`jax.tree.map` whose function takes the name of the leaf first."""
    leaves, treedef = jax.tree.flatten(tree)
    others = [treedef.flatten_up_to(other) for other in rest]
    return treedef.unflatten(
        [function(n, *ls) for n, *ls in zip(names(tree), leaves, *others, strict=True)]
    )


class Axes(NamedTuple):
    """What the axes of a kernel are: so many of each, in this order.

    `stacked` axes tell layers apart that are scanned (`nn.scan`) or repeated side by side;
    `window` axes are those of a convolution; a unit of `outputs` is connected to all of `window`
    and `inputs`.
    """

    stacked: int
    window: int
    inputs: int
    outputs: int

    def sizes(self, shape: Sequence[int]) -> tuple[int, tuple[int, ...], int, int]:
        """Number of stacked layers, sizes of the window, number of inputs and of outputs."""
        a, b = self.stacked, self.stacked + self.window
        c = b + self.inputs
        return math.prod(shape[:a]), tuple(shape[a:b]), math.prod(shape[b:c]), math.prod(shape[c:])


def kinds(params: Tree, *, head: str = "head") -> dict[str, str]:
    """The kind of each leaf by name: its role, whatever its number of axes.

    A leaf `kernel` is `output` in the module `head`; `attention` beside siblings `query`, `key`
    and `value` or right inside of a module called so; else `conv` where it has a window as `axes`
    finds it, or `dense`. A leaf `embedding` is that; `scale`, and `bias` beside a scale or in a
    module called a norm, are `norm`; another `bias` is `bias`. What is none of these (position
    embeddings, class tokens, adapters) is `other`.

    Args:
      params: parameters, or their shapes.
      head: name of the module that computes the logits.

    Raises:
      ValueError: where two leaves have one name.
    """
    return {name: kind for name, (kind, _) in _roles(params, head).items()}


def axes(params: Tree, *, head: str = "head") -> dict[str, Axes]:
    """The axes of each kernel by name.

    A bias has the stacked and the output axes of its kernel, which tells scanned layers and
    layers of several output axes (`nn.DenseGeneral`) from convolutions. Where there is no bias,
    names decide: those that Flax gives by itself (`Dense_0`, `ScanBlock_0`, `VmapBlock_0`) and
    those of attention; a kernel of three or more axes is a convolution then.
    """
    return {name: found for name, (_, found) in _roles(params, head).items() if found is not None}


class Weights(NamedTuple):
    """How many weights stand outside of pruning.

    Attributes:
      dense: leaves that are not prunable and neither `bias` nor `norm`, with their sizes.
      kernels: weights of all kernels and of whatever else is prunable.
      total: all parameters.
    """

    dense: dict[str, int]
    kernels: int
    total: int


def weights(params: Tree, prunable: Collection[str]) -> Weights:
    """What stays dense where `prunable` are the leaves up for pruning."""
    kind_of, chosen = kinds(params), set(prunable)
    sizes = {n: math.prod(x.shape) for n, x in zip(kind_of, jax.tree.leaves(params), strict=True)}
    return Weights(
        {n: s for n, s in sizes.items() if n not in chosen and kind_of[n] not in ("bias", "norm")},
        sum(s for n, s in sizes.items() if n in chosen or kind_of[n] in KERNELS),
        sum(sizes.values()),
    )


def _roles(params: Tree, head: str) -> dict[str, tuple[str, Axes | None]]:
    paths, _ = jax.tree.flatten_with_path(params)
    shapes = {tuple(_part(k) for k in path): tuple(leaf.shape) for path, leaf in paths}
    scaled = {path[:-1] for path in shapes if path[-1:] == ("scale",)}
    modules = {path[:n] for path in shapes for n in range(len(path))}
    found: dict[str, tuple[str, Axes | None]] = {}
    for path, shape in shapes.items():
        module, last = path[:-1], path[-1] if path else ""
        where, kind, form = "/".join(module), "other", None
        normal = module in scaled or (
            "norm" in "".join(module[-1:]).lower() and (*module, "kernel") not in shapes
        )
        if last == "kernel":
            siblings = {(*module[:-1], name) for name in _ATTENTION[:3]}
            around = "".join(module[-2:-1]).lower()
            attends = siblings <= modules or "attention" in around or "attn" in around
            form = _axes(module, shape, shapes.get((*module, "bias")), attends=attends)
            kind = "conv" if form.window else "attention" if attends else "dense"
            if where == head or where.endswith("/" + head):
                kind = "output"
        elif last == "embedding":
            kind = "embedding"
        elif last == "scale" or last.endswith("/scale") or (last == "bias" and normal):
            kind = "norm"
        elif last == "bias":
            kind = "bias"
        if (name := "/".join(path)) in found:
            raise ValueError(f"two parameters are called {name!r}; rename one of them")
        found[name] = (kind, form)
    return found


def _axes(
    module: tuple[str, ...], shape: tuple[int, ...], bias: tuple[int, ...] | None, *, attends: bool
) -> Axes:
    last, rank = module[-1].lower() if module else "", len(shape)
    general = last.startswith("densegeneral")
    # Own axes of the layer as its name tells them: inputs and outputs, without a window.
    if attends and last in _ATTENTION and rank > 2:
        named = (2, 1) if last == "out" else (1, 2)
    else:
        named = (1, 1) if last.startswith("dense") and not general else None
    stacked, outputs = None, 1
    if bias is not None:
        for own in dict.fromkeys([named[1] if named else 1, *range(1, len(bias) + 1)]):
            stack = len(bias) - own
            if 0 <= stack < rank - own and bias == shape[:stack] + shape[rank - own :]:
                stacked, outputs = stack, own
                break
    if stacked is None and named:
        stacked, outputs = rank - sum(named), named[1]
    if stacked is None:
        stacked = sum(part.startswith(("Scan", "Vmap")) for part in module)
        stacked = min(stacked, rank - 2)
    stacked = max(stacked, 0)
    rest = max(rank - stacked - outputs, 0)
    window = 0 if named or general or outputs > 1 else max(rest - 1, 0)
    return Axes(stacked, window, rest - window, outputs)


def select(pattern: str, kind_of: Mapping[str, str]) -> list[str]:
    """Names of the leaves that `pattern` matches.

    Raises:
      ValueError: where it matches none; the message lists what there is.
    """
    if pattern in KINDS:
        found = [name for name, kind in kind_of.items() if kind == pattern]
    else:
        found = [name for name in kind_of if fnmatch.fnmatchcase(name, pattern)]
    if not found:
        present = sorted(set(kind_of.values()))
        raise ValueError(
            f"layer pattern {pattern!r} matches no parameter; kinds here: {', '.join(present)}; "
            f"parameters: {', '.join(kind_of)}"
        )
    return found


def lookup(table: Mapping[str, T], name: str, kind: str) -> T:
    """`table[name]`, or an error that lists the near names and all names.

    Raises:
      ValueError: where `name` is not in the table.
    """
    require(name, table, kind)
    return table[name]


def require(name: str, known: Iterable[str], kind: str) -> None:
    """Refuses a name that a table lacks.

    Raises:
      ValueError: as `unknown` says it.
    """
    if name not in known:
        raise ValueError(unknown(name, known, kind))


def unknown(name: str, known: Iterable[str], kind: str) -> str:
    """The one message for a name that a table lacks."""
    choices: Sequence[str] = sorted(known)
    near = difflib.get_close_matches(name, choices, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"no {kind} {name!r}; {hint}there are: {', '.join(choices)}"


def check_same_layout(ours: Tree, theirs: Tree, *, what: str) -> None:
    """Refuses two trees of different names, shapes or dtypes.

    Args:
      ours: the tree that was read (arrays or shapes).
      theirs: the tree it has to fit.
      what: the noun for `ours` in the message.

    Raises:
      ValueError: naming the first leaf that differs.
    """
    a = dict(zip(names(ours), jax.tree.leaves(ours), strict=True))
    b = dict(zip(names(theirs), jax.tree.leaves(theirs), strict=True))
    for name in [*a, *b]:
        left, right = (_layout(t[name]) if name in t else "absent" for t in (a, b))
        if left != right:
            raise ValueError(f"leaf {name!r} is {left} in the {what} and {right} in the network")


def _layout(leaf: Any) -> str:
    return f"{leaf.dtype}{list(leaf.shape)}"
