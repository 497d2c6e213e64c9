"""A ticket elsewhere: start points, controls, new heads.

A *start point* gives the values that the kept weights begin with; a *control* breaks one thing
that makes a ticket, and keeps the rest. An *arm* is a start point or a control. "Random" is four
different controls with four names.
"""

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

import jax

from ltjax import masks, trees
from ltjax.tickets import Ticket
from ltjax.types import Key, Mask, Params, Variables

STARTS = ("theta_0", "theta_k", "theta_S")


class Arm(NamedTuple):
    """Values and mask that a training on the target begins with."""

    variables: Variables
    mask: Mask


class Control(NamedTuple):
    """What one control does.

    Attributes:
      fresh: all its values are drawn afresh; else they are those of a start point.
      move: (key, values, mask, prunable) -> (values, mask).
      hidden: only the hidden layers are moved; the output layer stays.
    """

    fresh: bool
    move: Callable[[Key, Params, Mask, Collection[str]], tuple[Params, Mask]]
    hidden: bool = False


def stay(key: Key, values: Params, mask: Mask, prunable: Collection[str]) -> tuple[Params, Mask]:
    """Leaves everything where it is."""
    del key, prunable
    return values, mask


def move_pairs(
    key: Key, values: Params, mask: Mask, prunable: Collection[str]
) -> tuple[Params, Mask]:
    """Permutes (mask, value) pairs inside each layer."""
    moved = masks.permute_within(key, values, prunable)
    return moved, masks.permute_within(key, mask, prunable)


def move_mask_within(
    key: Key, values: Params, mask: Mask, prunable: Collection[str]
) -> tuple[Params, Mask]:
    """Permutes the mask inside each layer, every weight keeping its own value."""
    return values, masks.permute_within(key, mask, prunable)


def move_mask_across(
    key: Key, values: Params, mask: Mask, prunable: Collection[str]
) -> tuple[Params, Mask]:
    """Permutes the mask over all layers."""
    return values, masks.permute_across(key, mask, prunable)


CONTROLS: Mapping[str, Control] = {
    # Fresh values on the same mask: 004's control 1; 000, Table III; 001's random.
    "redrawn": Control(fresh=True, move=stay),
    "shuffled_pairs": Control(fresh=False, move=move_pairs),
    # 004's control 2 (reading 4.10).
    "shuffled_hidden": Control(fresh=False, move=move_pairs, hidden=True),
    "shuffled_mask": Control(fresh=False, move=move_mask_within),
    # 003's random ticket.
    "shuffled_globally": Control(fresh=True, move=move_mask_across),
}


def values_of(name: str, *, base: str) -> str | None:
    """The start point whose values an arm begins with; None where they are drawn afresh."""
    if name in STARTS:
        return name
    return None if CONTROLS[name].fresh else base


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
    head: str = "head",
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
      head: name of the output module, which a control of the hidden layers leaves alone.
    """
    kept = [n for n in trees.names(ticket.mask) if n not in new_head]
    prunable = [n for n in ticket.prunable if n in kept]
    source = values_of(name, base=base)
    values: Variables = fresh if source is None else getattr(ticket, source)
    params, mask = _fill(values.params, fresh.params, kept), _fill_mask(ticket.mask, fresh, kept)
    if name in CONTROLS:
        if CONTROLS[name].hidden:
            prunable = [n for n in prunable if f"/{head}/" not in f"/{n}"]
        params, mask = CONTROLS[name].move(key, params, mask, prunable)
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
