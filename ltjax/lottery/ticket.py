"""The lottery loop, and what a ticket is.

A *ticket* is a mask with the weights that belong to it: theta_0 (initial), theta_k (after k
steps of the dense network) and theta_S (trained under the mask). A *level* is one round of the
search; level 0 is the dense network. Trees here may hold one network or a population.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
import dataclasses
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.core import trees
from ltjax.core.types import Mask, Tree, Variables

THETAS = ("theta_0", "theta_k", "theta_S")
"""The start points that a ticket holds."""

RESETS = ("weights", "biases", "norm", "statistics", "optimizer", "order", "schedule")
"""What a round may set back: kernels; biases; scale and shift of batch norm; its running
statistics; the optimizer state; the order of the examples; the schedule position."""

_SWITCH = {"bias": "biases", "norm": "norm"}


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


class Start(NamedTuple):
    """Where a training begins."""

    variables: Variables
    opt_state: Tree | None
    """None for a fresh one."""
    first: int
    """The first step; a network rewound to step k begins at k."""
    order: int
    """Number of the order of examples; trainings with the same number see the same batches."""
    schedule_offset: int
    """Added to the step to give the schedule position."""
    failed_step: np.ndarray | None = None
    """int [replicates], the step at which a replicate failed at a level that this one comes from,
    else -1; None is all -1. A lineage that failed stays failed."""


class Outcome(Protocol):
    """What the search needs of a finished training (see `population.Trained`)."""

    @property
    def variables(self) -> Variables:
        """theta_S."""
        ...

    @property
    def snapshot(self) -> Variables:
        """theta_k."""
        ...

    @property
    def opt_state(self) -> Tree:
        """Of the last step."""
        ...

    @property
    def failed_step(self) -> np.ndarray | None:
        """As in `Start`, this training included."""
        ...


class Level(NamedTuple):
    """One round: the mask, where its training began and how it ended."""

    number: int
    mask: Mask
    start: Start
    trained: Any
    """An `Outcome`."""


def search(
    start: Start,
    mask: Mask,
    train: Callable[[int, Start, Mask], Outcome],
    prune: Callable[[int, Level], Mask],
    rewind: Callable[[Level, Level], Start],
    *,
    levels: int,
    one_shot: bool = False,
) -> Iterator[Level]:
    """Yields level 0 (trained under `mask`, usually dense) to level `levels`.

    It knows neither data nor disk. A complemented mask to begin with, a late rewind, Han-style
    continuation or resuming (a `train` that remembers) are other arguments.

    Args:
      start: where level 0 begins.
      mask: the mask of level 0.
      train: (number, start, mask) -> outcome.
      prune: (number, level to prune) -> the mask of level `number`.
      rewind: (level 0, level before) -> where the next level begins.
      levels: rounds of pruning after level 0.
      one_shot: every level comes from level 0 rather than from the level before.
    """
    origin = level = Level(0, mask, start, train(0, start, mask))
    yield level
    for number in range(1, levels + 1):
        before = origin if one_shot else level
        pruned = prune(number, before)
        begin = rewind(origin, before)
        level = Level(number, pruned, begin, train(number, begin, pruned))
        yield level


def rewinder(
    *,
    point: int | str,
    reset: Collection[str] = RESETS,
    kind_of: dict[str, str],
    steps: int,
) -> Callable[[Level, Level], Start]:
    """How each round goes back.

    Values and statistics in `reset` are set back to the rewind point of the dense network, order
    and schedule to the dense network's, and the optimizer to a fresh state (also at a point k:
    theta_k is kept without one); the rest goes on from the end of the round before. With
    everything reset and point 0 this is Frankle & Carbin's search, with point k late rewinding,
    and with no weights, biases, norm or statistics reset the continuation of Han et al.

    Args:
      point: a step, or `end` for the end of the dense network's training (a full training
        follows it).
      reset: some of `RESETS`.
      kind_of: kind of each parameter, from `trees.kinds`.
      steps: length of one training.

    Raises:
      ValueError: an unknown name in `reset`, or a point that is not a step nor `end`.
    """
    for name in reset:
        if name not in RESETS:
            raise ValueError(trees.unknown(name, RESETS, "part to reset"))
    if point != "end" and not (isinstance(point, int) and 0 <= point <= steps):
        raise ValueError(f"the rewind point is a step in 0..{steps} or 'end'; got {point!r}")

    def rewind(origin: Level, before: Level) -> Start:
        ended = origin.trained.variables
        base = ended if point == "end" else origin.trained.snapshot
        if point == 0:  # The snapshot may be another step, kept as theta_k.
            base = origin.start.variables
        last = before.trained.variables

        def pick(name: str, then: Any, now: Any) -> Any:
            return then if _SWITCH.get(kind_of[name], "weights") in reset else now

        number = before.number + 1
        first = point if isinstance(point, int) and "weights" in reset else 0
        ended_at = before.start.schedule_offset + steps
        return Start(
            variables=Variables(
                trees.map_with_name(pick, base.params, last.params),
                base.stats if "statistics" in reset else last.stats,
            ),
            opt_state=None if "optimizer" in reset else before.trained.opt_state,
            first=first,
            order=0 if "order" in reset else number,
            schedule_offset=0 if "schedule" in reset else ended_at - first,
            failed_step=before.trained.failed_step,
        )

    return rewind


def as_tree(ticket: Ticket) -> Tree:
    """The arrays of a ticket as nested dicts."""
    thetas = {name: getattr(ticket, name)._asdict() for name in THETAS}
    return {"mask": ticket.mask, **thetas}


def from_tree(tree: Tree, *, prunable: Any, meta: Any) -> Ticket:
    """What `as_tree` took apart, checked.

    Raises:
      ValueError: where a part is missing or is not what it has to be (see `check`).
    """
    _require_parts(tree, ("mask", *THETAS), "the ticket")
    for name in THETAS:
        _require_parts(tree[name], Variables._fields, name)
    thetas = {name: Variables(**tree[name]) for name in THETAS}
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
    params = {name: getattr(ticket, name).params for name in THETAS}
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
    """Refuses parts that do not fit each other, of a `Ticket` or of many as one (`Found`).

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
        raise ValueError(f"the ticket knows none of its start points {', '.join(THETAS)}")
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
