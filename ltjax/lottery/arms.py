"""A ticket elsewhere: start points, controls, new heads.

A *start point* gives the values that the kept weights begin with; a *control* breaks one thing
that makes a ticket, and keeps the rest. An *arm* is a start point or a control. "Random" is four
different controls with four names.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ltjax.core import masks, trees
from ltjax.core.types import Key, Mask, Params, Tree, Variables
from ltjax.lottery.tickets import Ticket
from ltjax.training.records import STARTS


class Arm(NamedTuple):
    """Values and mask that a training on the target begins with."""

    variables: Variables
    mask: Mask


Move = Callable[[Key, Params, Params, Mask, Collection[str]], tuple[Params, Mask]]
"""How a control breaks a ticket: (key, values, fresh, mask, prunable) -> the values and the mask to
train from. The key is another one for each level and draw, `fresh` are newly drawn values, `values`
those of a start point (of a control without `start`, the fresh ones), and `prunable` names the
leaves that the control may move."""


class Control(NamedTuple):
    """What one control does.

    Attributes:
      move: gives values and mask.
      start: it sees the values of a start point.
      fresh: it takes fresh values; then running statistics are those of a new network too.
      hidden: only the hidden layers are moved; the output layer stays.
      everywhere: it keeps values that the mask had pruned, so the start point must have them.
    """

    move: Move
    start: bool = True
    fresh: bool = False
    hidden: bool = False
    everywhere: bool = False


def _redraw(key: Key, values: Params, fresh: Params, mask: Mask, prunable: Any) -> Any:
    """Fresh values under the same mask."""
    del key, values, prunable
    return fresh, mask


def _redraw_magnitudes(key: Key, values: Params, fresh: Params, mask: Mask, prunable: Any) -> Any:
    """Fresh magnitudes with the signs that the weights had, under the same mask."""
    del key, prunable
    return jax.tree.map(lambda v, f: jnp.sign(v) * jnp.abs(f), values, fresh), mask


def _move_pairs(key: Key, values: Params, fresh: Params, mask: Mask, prunable: Any) -> Any:
    """Permutes (mask, value) pairs inside each layer."""
    del fresh
    return tuple(masks.permute_within(key, tree, prunable) for tree in (values, mask))


def _move_mask_within(key: Key, values: Params, fresh: Params, mask: Mask, prunable: Any) -> Any:
    """Permutes the mask inside each layer, every weight keeping its own value."""
    del fresh
    return values, masks.permute_within(key, mask, prunable)


def _move_mask_across(key: Key, values: Params, fresh: Params, mask: Mask, prunable: Any) -> Any:
    """Permutes the mask over all layers, under fresh values."""
    del values
    return fresh, masks.permute_across(key, mask, prunable)


CONTROLS: Mapping[str, Control] = {
    # 004's control 1; 000, Table III; 001's random.
    "redrawn": Control(_redraw, start=False, fresh=True),
    "shuffled_pairs": Control(_move_pairs),
    # 004's control 2 (reading 4.10).
    "shuffled_hidden": Control(_move_pairs, hidden=True),
    "shuffled_mask": Control(_move_mask_within, everywhere=True),
    # 003's random ticket.
    "shuffled_globally": Control(_move_mask_across, start=False, fresh=True),
    # The signs matter, not the magnitudes (Zhou et al., 2019, https://arxiv.org/abs/1905.01067).
    "redrawn_magnitudes": Control(_redraw_magnitudes, fresh=True),
}


def values_of(name: str, *, base: str) -> str | None:
    """The start point whose values an arm sees; None where they are all drawn afresh."""
    if name in STARTS:
        return name
    return base if CONTROLS[name].start else None


def check_arms(names: Collection[str], base: str) -> None:
    """Refuses arms that nothing can be trained from.

    Raises:
      ValueError: no arm or an unknown one, a base that is no start point, or a control that keeps
        values at places where the base has none.
    """
    if not names:
        raise ValueError("there are no arms; give at least one start point or control")
    for name in names:
        trees.require(name, (*STARTS, *CONTROLS), "start point or control")
    trees.require(base, STARTS, "start point")
    for name in names:
        if base == "theta_S" and name in CONTROLS and CONTROLS[name].everywhere:
            raise ValueError(
                f"{name} moves the mask to weights that were pruned, and theta_S is 0 there, so "
                "that most of what it kept would be 0; take theta_0 or theta_k for the controls"
            )


def check_values(name: str, ticket: Ticket, *, base: str) -> None:
    """Refuses a ticket whose start point is 0 at all places that a control needs.

    Raises:
      ValueError: naming control, start point and layer.
    """
    if name not in CONTROLS or not CONTROLS[name].everywhere:
        return
    values = getattr(ticket, base).params
    leaves = zip(trees.names(values), *map(jax.tree.leaves, (values, ticket.mask)), strict=True)
    for leaf, value, kept in leaves:
        gone = leaf in ticket.prunable and not kept.all() and not value[~kept].any()
        if gone and value[kept].any():
            raise ValueError(
                f"{name} keeps the values of {leaf} that were pruned, and {base} of this ticket "
                "is 0 at all of them; leave the control out, or take another start point"
            )


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
      base: the start point whose values a control sees.
      head: name of the output module, which a control of the hidden layers leaves alone.

    Raises:
      ValueError: as `check_arms`.
    """
    check_arms([name], base)
    kept = [n for n in trees.names(ticket.mask) if n not in new_head]
    prunable = [n for n in ticket.prunable if n in kept]
    source = values_of(name, base=base)
    values: Variables = fresh if source is None else getattr(ticket, source)
    unpruned = masks.dense(fresh.params)
    params, mask = filled(fresh.params, values.params, kept), filled(unpruned, ticket.mask, kept)
    if name in STARTS:
        return Arm(Variables(params, values.stats), mask)
    control = CONTROLS[name]
    if control.hidden:
        prunable = [n for n in prunable if f"/{head}/" not in f"/{n}"]
    params, mask = control.move(key, params, fresh.params, mask, prunable)
    # A new head is fresh and unpruned whatever a control makes of it.
    params, mask = filled(fresh.params, params, kept), filled(unpruned, mask, kept)
    return Arm(Variables(params, fresh.stats if control.fresh else values.stats), mask)


def filled(tree: Tree, other: Tree, names: Collection[str]) -> Tree:
    """`tree` with the leaves in `names` taken from `other`, where it has them."""
    theirs = trees.by_name(other)
    return trees.map_with_name(lambda n, leaf: theirs.get(n, leaf) if n in names else leaf, tree)


def head_of(
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
            for n, leaf in trees.by_name(p).items()
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
        {n: leaf for n, leaf in trees.by_name(p).items() if n not in new_head}
        for p in (fresh.params, ticket.theta_0.params)
    )
    trees.check_same_layout(ours, theirs, what="ticket")
    trees.check_same_layout(ticket.theta_0.stats, fresh.stats, what="ticket")
