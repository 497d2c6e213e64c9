"""The lottery loop, and what a ticket is.

A *ticket* is a mask with the weights that belong to it: theta_0 (initial), theta_k (after k
steps of the dense network) and theta_S (trained under the mask). A *level* is one round of the
search; level 0 is the dense network. Trees here may hold one network or a population.
"""

from collections.abc import Callable, Collection, Iterator
import dataclasses
from typing import Any, NamedTuple, Protocol

import numpy as np

from ltjax import trees
from ltjax.types import Mask, Tree, Variables

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
      theta_S: the variables trained under the mask.
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
    thetas = {name: getattr(ticket, name)._asdict() for name in ("theta_0", "theta_k", "theta_S")}
    return {"mask": ticket.mask, **thetas}


def from_tree(tree: Tree, *, prunable: tuple[str, ...], meta: dict[str, Any]) -> Ticket:
    """What `as_tree` took apart."""
    thetas = {name: Variables(**tree[name]) for name in ("theta_0", "theta_k", "theta_S")}
    return Ticket(mask=tree["mask"], prunable=prunable, meta=meta, **thetas)
