"""A level of a search, the records of its trainings, and who keeps them."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple, Protocol
import warnings

import jax
import numpy as np

from ltjax.core import masks, trees
from ltjax.core.types import Mask, Tree, Variables
from ltjax.lottery import held_out, tickets
from ltjax.lottery.tickets import Ticket
from ltjax.statistics import analysis
from ltjax.training import population
from ltjax.training.population import Observer, Trained
from ltjax.training.records import STARTS, Record, curve_fields

Compute = Callable[[Tree | None, Observer | None], tuple[Tree, list[Record]]]
"""(partial state to go on from, observer) -> (arrays as nested dicts, records)"""


class Piece(NamedTuple):
    """A piece of work.

    Attributes:
      phase: `source` (a level of a search), `mask` (one pruned to without training), `target`
        or `again` (tickets trained on other data, or on their own).
      level: its number; None for all levels together.
    """

    phase: str
    level: int | None

    @property
    def name(self) -> str:
        """A name that is unique in a run."""
        return f"{self.phase}_{'all' if self.level is None else f'{self.level:02d}'}"


class Keeper(Protocol):
    """Runs a piece of work, or remembers it."""

    def __call__(self, piece: Any, compute: Compute) -> tuple[Tree, list[Record]]:
        """Returns what `compute` returns; `piece` is a `Piece`, or another value with a `name`."""
        ...


def once(piece: Piece, compute: Compute) -> tuple[Tree, list[Record]]:
    """The keeper that keeps nothing, and warns of layers that keep no weight."""
    del piece
    tree, records = compute(None, None)
    for sentence in analysis.cut_layers(records):  # The binaries say it at the end of a run.
        warnings.warn(sentence, stacklevel=2)
    return tree, records


class Level(NamedTuple):
    """One level of a search: the tickets of all replicates, stacked.

    Trees have a leading axis of replicates. `level` is its number, 0 the dense network; `nominal`
    is the density asked. `without` names the start points that are not known; their records are
    left out. `split` says which examples are held out (see `held_out`), or None where that is not
    known. `failed_step` is int [replicates]: the step at which the loss of this level, or of one
    that it comes from, was not finite, else -1; None is all -1. Nothing of a failed replicate is
    trained, ranked or given out: its values are those of theta_0 and its masks are placeholders.
    """

    level: int
    nominal: float
    mask: Mask
    theta_0: Variables
    theta_k: Variables
    theta_S: Variables
    prunable: tuple[str, ...]
    records: list[Record]
    without: tuple[str, ...] = ()
    split: np.ndarray | None = None
    failed_step: np.ndarray | None = None

    @classmethod
    def of(cls, ticket: Ticket) -> "Level":
        """A single ticket as a level of one replicate, to be handed to `transfer`.

        Raises:
          ValueError: where it is no ticket (see `ticket.check`), or its metadata hold a split that
            is none.
        """
        tickets.check(ticket)
        split = ticket.meta.get("split")
        known = tickets.known(ticket)
        wrap = lambda tree: jax.tree.map(lambda leaf: np.asarray(leaf)[None], tree)  # noqa: E731
        return cls(
            level=int(ticket.meta.get("level", 1)),
            nominal=float(ticket.meta.get("nominal", ticket.meta.get("density", 1.0))),
            mask=wrap(ticket.mask),
            prunable=ticket.prunable,
            records=[],
            split=None if split is None else held_out.from_text(split)[None],
            without=tuple(n for n in STARTS if n not in known),
            **{n: wrap(getattr(ticket, n if n in known else known[0])) for n in STARTS},
        )

    @property
    def dense(self) -> "Level":
        """The dense network that the tickets were cut from, as a reference.

        What it would be after training on the source (theta_S) is not known from a ticket.
        """
        return self._replace(
            level=0,
            nominal=1.0,
            mask=jax.tree.map(np.ones_like, self.mask),
            theta_S=self.theta_0,
            records=[],
            without=tuple(dict.fromkeys((*self.without, "theta_S"))),
        )

    @property
    def replicates(self) -> int:
        """Their number."""
        return population.size(self.mask)

    @property
    def failed(self) -> np.ndarray:
        """`failed_step` as an array."""
        return np.full(self.replicates, -1) if self.failed_step is None else self.failed_step

    @property
    def density(self) -> float:
        """Share of the prunable weights that the masks keep, all replicates alike."""
        return masks.count(population.member(self.mask, 0), self.prunable).density

    def ticket(self, replicate: int = 0, *, meta: dict[str, Any] | None = None) -> Ticket:
        """The ticket of one replicate.

        Raises:
          ValueError: where there is no such replicate, or it failed.
        """
        if not 0 <= replicate < self.replicates:
            raise ValueError(f"there are replicates 0 to {self.replicates - 1}; got {replicate}")
        if self.failed[replicate] >= 0:
            raise ValueError(
                f"replicate {replicate} has no ticket at level {self.level}: its loss was not "
                f"finite at step {self.failed[replicate]}, there or at a level before; take another"
            )
        split = {} if self.split is None else {"split": held_out.to_text(self.split[replicate])}
        mask = population.member(self.mask, replicate)
        return Ticket(
            mask=mask,
            prunable=self.prunable,
            meta={
                **(meta or {}),
                "level": self.level,
                "replicate": replicate,
                "density": masks.count(mask, self.prunable).density,
                "nominal": self.nominal,
                **split,
            },
            **{name: population.member(getattr(self, name), replicate) for name in STARTS},
        )


def failed_steps(records: Iterable[Record]) -> np.ndarray:
    """The `Level.failed_step` of the records of a level, one a replicate in their order."""
    return np.array([-1 if r.failed_step is None else r.failed_step for r in records])


def judge_of(judge: str, *, validation: int) -> str:
    """What chooses the best evaluation: held-out examples, or what was asked for without.

    Raises:
      ValueError: where `judge` is neither `last` nor `test`.
    """
    trees.require(judge, ("last", "test"), "judge")
    return "validation" if validation else judge


def records_of(
    trained: Trained,
    labels: Sequence[dict[str, Any]],
    mask: Mask,
    prunable: Collection[str],
    *,
    judged_on: str,
    measure: str,
) -> list[Record]:
    """The records of a population, one a member.

    Args:
      trained: the population after training.
      labels: of each member the fields of its record that tell it from the others of the run.
      mask: of the population, on the host.
      prunable: names of the leaves that were up for pruning.
      judged_on: as in `records.curve_fields`, as is `measure`.
      measure: what "best" is judged by.
    """
    counts = [masks.count(population.member(mask, i), prunable) for i in range(len(labels))]
    return [
        Record(
            **label,
            density=count.density,
            **count._asdict(),
            **curve_fields(
                trained.steps,
                {name: values[:, i] for name, values in trained.curve._asdict().items()},
                failed_step=int(trained.failed_step[i]),
                judged_on=judged_on,
                measure=measure,
            ),
        )
        for i, (label, count) in enumerate(zip(labels, counts, strict=True))
    ]
