"""Pieces: how trainings of a paper are named, shared and run.

Trainings are values; equal ones are trained once, also for two figures. They are made of *pieces*,
populations that are trained and kept one by one; a piece has the same name in all trainings that
need it. Trainings of one *family* run together, because they share what they start from.
"""

from collections.abc import Callable, Iterable, Sequence
import dataclasses
import hashlib
import json
from typing import Any, Protocol

from experiments.papers.workshop import Workshop
from ltjax.lottery import Keeper


@dataclasses.dataclass(frozen=True)
class Piece:
    """One population.

    Attributes:
      name: unique in a run.
      model: what is trained, for the measure of its speed.
      members: networks side by side.
      steps: of each of them, at most.
      weights: parameters of one network.
      probe: measures the seconds of one step of one network here, its share of the evaluations
        included; pieces of one model have the same.
    """

    name: str
    model: str
    members: int
    steps: int
    weights: int
    probe: Callable[[], float] = dataclasses.field(compare=False)


class Trainings(Protocol):
    """Something to be trained."""

    @property
    def family(self) -> Any:
        """Trainings of equal families are run together by `run_family` of the first."""
        ...

    def names(self) -> list[str]:
        """Names of its own pieces."""
        ...

    def pieces(self, shop: Workshop) -> list[Piece]:
        """What it is made of, with everything that it needs."""
        ...

    def run_family(self, family: Sequence["Trainings"], shop: Workshop, keep: Keeper) -> None:
        """Trains all of this family."""
        ...


def in_families(every: Iterable[Trainings]) -> list[list[Trainings]]:
    """Trainings without repetition, those of one family together, in the order of the families."""
    families: dict[Any, dict[Trainings, None]] = {}
    for each in every:
        families.setdefault(each.family, {})[each] = None
    return [list(group) for group in families.values()]


def all_pieces(every: Iterable[Trainings], shop: Workshop) -> list[Piece]:
    """The pieces of all trainings, each once."""
    return list({p.name: p for each in every for p in each.pieces(shop)}.values())


def unfinished(
    every: Iterable[Trainings], shop: Workshop, done: Callable[[str], bool]
) -> list[Trainings]:
    """The trainings of the families that lack a piece.

    Args:
      every: what is wanted.
      shop: what trains them.
      done: whether the piece of a name is there.
    """
    return [
        each
        for group in in_families(every)
        if not all(done(piece.name) for piece in all_pieces(group, shop))
        for each in group
    ]


def run_all(every: Iterable[Trainings], shop: Workshop, keep: Keeper) -> None:
    """Trains everything, or remembers it."""
    for group in in_families(every):
        group[0].run_family(group, shop, keep)


def digest(*values: Any) -> str:
    """Eight hexadecimal digits that tell values from others."""
    text = json.dumps(values, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
