"""What a ticket is: a mask with the weights that belong to it.

These are theta_0 (initial), theta_k (after k steps of the dense network) and theta_S (trained under
the mask).
"""

from collections.abc import Collection, Mapping
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.core import trees
from ltjax.core.types import Mask, Tree, Variables
from ltjax.training.records import STARTS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ticket:
    """A sparse subnetwork of one network.

    Attributes:
      mask: the kept weights; all True outside of `prunable`.
      theta_0: the initial variables of the dense network.
      theta_k: its variables after k steps.
      theta_S: the variables trained under the mask. A start point that is not known has no
        parameters; one is known.
      prunable: names of the leaves that were up for pruning.
      meta: where it comes from, as JSON-able values: data, model, settings, seed, level,
        density, versions.
    """

    mask: Mask
    theta_0: Variables
    theta_k: Variables
    theta_S: Variables
    prunable: tuple[str, ...]
    meta: dict[str, Any]


def as_tree(ticket: Ticket) -> Tree:
    """The arrays of a ticket as nested dicts."""
    thetas = {name: getattr(ticket, name)._asdict() for name in STARTS}
    return {"mask": ticket.mask, **thetas}


def from_tree(tree: Tree, *, prunable: Any, meta: Any) -> Ticket:
    """What `as_tree` took apart, checked.

    Raises:
      ValueError: where a part is missing or is not what it has to be (see `check`).
    """
    _require_parts(tree, ("mask", *STARTS), "the ticket")
    for name in STARTS:
        _require_parts(tree[name], Variables._fields, name)
    thetas = {name: Variables(**tree[name]) for name in STARTS}
    prunable = tuple(prunable) if isinstance(prunable, list) else prunable
    ticket = Ticket(mask=tree["mask"], prunable=prunable, meta=meta, **thetas)
    check(ticket)
    return ticket


def _require_parts(tree: Any, parts: Collection[str], what: str) -> None:
    has = sorted(tree) if isinstance(tree, dict) else type(tree).__name__
    if has != sorted(parts):
        raise ValueError(f"{what} consists of {', '.join(sorted(parts))}; got {has}")


def known(ticket: Any) -> list[str]:
    """The start points that a ticket knows."""
    params = {name: getattr(ticket, name).params for name in STARTS}
    return [name for name, tree in params.items() if not isinstance(tree, dict) or tree]


def check(ticket: Ticket) -> None:
    """Refuses what is no ticket of one network.

    Raises:
      ValueError: naming the part: a mask that is not boolean or keeps less than all outside of
        `prunable`; `prunable` that is empty or names something else than leaves; start points
        that are all unknown, differ in their leaves from the mask or among each other, or are
        not finite real numbers; `meta` that is not as `Ticket` says.
    """
    check_parts(ticket)
    for start in known(ticket):
        for name, leaf in _leaves(getattr(ticket, start), start).items():
            if not np.isfinite(np.asarray(leaf)).all():
                raise ValueError(f"leaf {name!r} of {start} has values that are not finite")
    meta = ticket.meta
    if not isinstance(meta, dict) or not isinstance(meta.get("settings", {}), dict):
        raise ValueError(f"meta, and settings in it, are dicts; got {_short(meta)}")
    for name in ("level", "replicate"):
        number = meta.get(name, 0)
        if type(number) is not int or not 0 <= number < 2**31:
            raise ValueError(
                f"{name} of a ticket is a whole number in [0, 2147483647]; got {_short(number)}"
            )
    for name in ("density", "nominal"):
        share = meta.get(name, 1.0)
        if type(share) not in (int, float) or not 0 <= share <= 1:
            raise ValueError(f"{name} of a ticket lies in [0, 1]; got {_short(share)}")


def check_parts(ticket: Any) -> None:
    """Refuses parts that do not fit each other, of a `Ticket` or of many as one (`Level`).

    Raises:
      ValueError: as `check` says, but for `meta` and values that are not finite.
    """
    mask = _flat(ticket.mask, "the mask")
    for name, leaf in mask.items():
        if leaf.dtype != bool:
            raise ValueError(f"leaf {name!r} of the mask is {leaf.dtype}; a mask is boolean")
    prunable = ticket.prunable
    if not isinstance(prunable, tuple) or not prunable:
        raise ValueError(f"prunable is some names of leaves; got {_short(prunable)}")
    for name in prunable:
        if not isinstance(name, str) or name not in mask:
            raise ValueError(f"prunable names {_short(name)}, which is no leaf of the mask")
    if len(set(prunable)) < len(prunable):
        raise ValueError(f"prunable names a leaf twice: {_short(prunable)}")
    for name, leaf in mask.items():
        if name not in prunable and not leaf.all():
            raise ValueError(f"the mask prunes in leaf {name!r}, which is not prunable")
    starts = known(ticket)
    if not starts:
        raise ValueError(f"the ticket knows none of its start points {', '.join(STARTS)}")
    shapes = {name: list(leaf.shape) for name, leaf in mask.items()}
    layouts: dict[str, dict[str, str]] = {}
    for start in starts:
        params = {n: list(x.shape) for n, x in _flat(getattr(ticket, start).params, start).items()}
        _require_same(params, shapes, start, "the mask")
        leaves = _leaves(getattr(ticket, start), start)
        layouts[start] = {name: f"{x.dtype}{list(x.shape)}" for name, x in leaves.items()}
        _require_same(layouts[start], layouts[starts[0]], start, starts[0])
        for name, leaf in leaves.items():
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                raise ValueError(f"leaf {name!r} of {start} is {leaf.dtype}; weights are floats")


def _require_same(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], what: str, others: str
) -> None:
    for name in (*ours, *theirs):
        a, b = ours.get(name, "absent"), theirs.get(name, "absent")
        if a != b:
            raise ValueError(f"leaf {name!r} is {a} in {what} and {b} in {others}")


def _leaves(variables: Variables, what: str) -> dict[str, Any]:
    """Parameters by name, and statistics as `statistics/NAME`."""
    stats = _flat(variables.stats, f"the statistics of {what}")
    return _flat(variables.params, what) | {f"statistics/{n}": x for n, x in stats.items()}


def _flat(tree: Any, what: str) -> dict[str, Any]:
    """Leaves of nested dicts by name."""
    if not isinstance(tree, dict):
        raise ValueError(f"{what} must be nested dicts of arrays; got {type(tree).__name__}")
    found: dict[str, Any] = {}
    for name, leaf in zip(trees.names(tree), jax.tree.leaves(tree), strict=True):
        if name in found:
            raise ValueError(f"two leaves are called {name!r} in {what}; rename one")
        found[name] = leaf
        if not isinstance(leaf, jax.Array | np.ndarray | np.generic):
            kind = type(leaf).__name__
            raise ValueError(f"leaf {name!r} of {what} is a {kind}; it must be an array")
    return found


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) < 80 else f"{text[:80]}..."
