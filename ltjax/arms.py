"""A ticket elsewhere: start points, controls, new heads.

A *start point* gives the values that the kept weights begin with; a *control* breaks one thing
that makes a ticket, and keeps the rest. An *arm* is a start point or a control. "Random" is four
different controls with four names.
"""

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ltjax import masks, trees
from ltjax.tickets import Ticket
from ltjax.types import Key, Mask, Params, Variables

STARTS = ("theta_0", "theta_k", "theta_S")


class Arm(NamedTuple):
    """Values and mask that a training on the target begins with."""

    variables: Variables
    mask: Mask


Control = Callable[[Key, Params, Mask, Params, Collection[str]], tuple[Params, Mask]]
"""(key, values, mask, fresh values, prunable) -> (values, mask)"""


def redrawn(
    key: Key, values: Params, mask: Mask, fresh: Params, prunable: Collection[str]
) -> tuple[Params, Mask]:
    """Fresh values under the same mask (004 control 1; 000, Table III; 001 random)."""
    del key, values, prunable
    return fresh, mask


def shuffled_pairs(
    key: Key, values: Params, mask: Mask, fresh: Params, prunable: Collection[str]
) -> tuple[Params, Mask]:
    """(mask, value) pairs permuted inside each layer (004 control 2)."""
    del fresh
    moved = masks.permute_within(key, values, prunable)
    return moved, masks.permute_within(key, mask, prunable)


def shuffled_mask(
    key: Key, values: Params, mask: Mask, fresh: Params, prunable: Collection[str]
) -> tuple[Params, Mask]:
    """The mask permuted inside each layer, every weight keeping its own value."""
    del fresh
    return values, masks.permute_within(key, mask, prunable)


def shuffled_globally(
    key: Key, values: Params, mask: Mask, fresh: Params, prunable: Collection[str]
) -> tuple[Params, Mask]:
    """The mask permuted over all layers, with fresh values (003's random ticket)."""
    del values
    return fresh, masks.permute_across(key, mask, prunable)


CONTROLS: Mapping[str, Control] = {
    "redrawn": redrawn,
    "shuffled_pairs": shuffled_pairs,
    "shuffled_mask": shuffled_mask,
    "shuffled_globally": shuffled_globally,
}

FRESH = ("redrawn", "shuffled_globally")
"""The controls that keep no value of the ticket."""


def values_of(name: str, *, base: str) -> str | None:
    """The start point whose values an arm begins with; None where they are drawn afresh."""
    if name in STARTS:
        return name
    return None if name in FRESH else base


def check_arm(name: str) -> str:
    """Returns `name` where it is a start point or a control.

    Raises:
      ValueError: with the near names.
    """
    if name not in STARTS and name not in CONTROLS:
        raise ValueError(trees.unknown(name, (*STARTS, *CONTROLS), "start point or control"))
    return name


def arm(
    name: str,
    key: Key,
    ticket: Ticket,
    fresh: Variables,
    *,
    new_head: Collection[str] = (),
    base: str = "theta_0",
) -> Arm:
    """The start of one training on the target.

    Args:
      name: a row of `STARTS` or `CONTROLS`.
      key: for the permutations of a control.
      ticket: what is moved.
      fresh: newly drawn variables of the target's network.
      new_head: names of the parameters that are taken from `fresh`, unpruned, in every arm.
      base: the start point whose values a control keeps. (theta_S holds zeros at pruned
        places, so `shuffled_mask` makes sense from theta_0 and theta_k only.)
    """
    kept = [n for n in trees.names(ticket.mask) if n not in new_head]
    prunable = [n for n in ticket.prunable if n in kept]
    source = values_of(name, base=base)
    values: Variables = fresh if source is None else getattr(ticket, source)
    params, mask = _fill(values.params, fresh.params, kept), _fill_mask(ticket.mask, fresh, kept)
    if name in CONTROLS:
        params, mask = CONTROLS[name](key, params, mask, fresh.params, prunable)
    return Arm(Variables(params, values.stats), mask)


def _fill(ours: Params, fresh: Params, kept: Collection[str]) -> Params:
    """`fresh` with the leaves in `kept` taken from `ours`."""
    mine = dict(zip(trees.names(ours), jax.tree.leaves(ours), strict=True))
    return trees.map_with_name(lambda n, f: mine[n] if n in kept and n in mine else f, fresh)


def _fill_mask(mask: Mask, fresh: Variables, kept: Collection[str]) -> Mask:
    return _fill(mask, masks.dense(fresh.params), kept)


def new_head(
    ticket: Ticket, fresh: Variables, *, head: str = "head", always: bool = False
) -> frozenset[str]:
    """Names of the parameters of the target's head that have to be drawn afresh.

    The head is the module `head`, at any depth, with the hidden layers before it, called
    `head_hidden_...`. It is new where `always` says so, or where its shapes are not those of the
    ticket.
    """
    theirs, ours = (
        {
            n: leaf.shape
            for n, leaf in zip(trees.names(p), jax.tree.leaves(p), strict=True)
            if f"/{head}/" in f"/{n}" or f"/{head}_hidden" in f"/{n}"
        }
        for p in (fresh.params, ticket.theta_0.params)
    )
    return frozenset({**theirs, **ours}) if always or theirs != ours else frozenset()


def check_fits(ticket: Ticket, fresh: Variables, *, new_head: Collection[str]) -> None:
    """Refuses a ticket whose parameters are not those of the target's network.

    Raises:
      ValueError: naming the first leaf that differs.
    """
    theirs, ours = (
        {
            n: leaf
            for n, leaf in zip(trees.names(p), jax.tree.leaves(p), strict=True)
            if n not in new_head
        }
        for p in (fresh.params, ticket.theta_0.params)
    )
    trees.check_same_layout(ours, theirs, what="ticket")
    trees.check_same_layout(ticket.theta_0.stats, fresh.stats, what="ticket")


def dead_layers(mask: Mask, prunable: Collection[str]) -> list[str]:
    """Names of the prunable leaves that keep no weight (their network is cut)."""
    leaves = zip(trees.names(mask), jax.tree.leaves(mask), strict=True)
    return [name for name, leaf in leaves if name in prunable and not bool(jnp.any(leaf))]
