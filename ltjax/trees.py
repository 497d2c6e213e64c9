"""Trees addressed by readable leaf names, such as `dense_0/kernel`.

A *pattern* is a shell-style pattern on the whole name (`conv_*/kernel`), or the name of a
*kind* of leaf: `conv`, `dense`, `output` (kernels), `bias`, `norm`.
"""

from collections.abc import Iterable, Mapping, Sequence
import difflib
import fnmatch
from typing import Any, TypeVar

import jax

from ltjax.types import Tree

T = TypeVar("T")

KINDS = ("conv", "dense", "output", "bias", "norm", "other")


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


def kinds(params: Tree, *, head: str = "head") -> dict[str, str]:
    """The kind of each leaf by name.

    A `kernel` of four axes is `conv`, of two axes `dense`, or `output` in the module `head`;
    a leaf `bias` is `bias`, but `norm` where the same module has a `scale`.

    Args:
      params: parameters, or their shapes.
      head: name of the module that computes the logits.
    """
    found = {}
    all_names = names(params)
    scaled = {n.rsplit("/", 1)[0] for n in all_names if n.split("/")[-1] == "scale"}
    for name, leaf in zip(all_names, jax.tree.leaves(params), strict=True):
        module, _, last = name.rpartition("/")
        if last == "kernel" and (module == head or module.endswith("/" + head)):
            found[name] = "output"
        elif last == "kernel":
            found[name] = {4: "conv", 2: "dense"}.get(len(leaf.shape), "other")
        elif module in scaled:
            found[name] = "norm"
        else:
            found[name] = "bias" if last == "bias" else "other"
    return found


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
    if name in table:
        return table[name]
    raise ValueError(unknown(name, table, kind))


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
