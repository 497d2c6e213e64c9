"""Works: what has to be trained, named so that what two experiments need is trained once.

A work is a value; equal works are one. Its *pieces* are the populations that are trained and kept
one by one. Works of one *family* are run together, because they share what they start from.
"""

from collections.abc import Callable, Iterable, Sequence
import dataclasses
from typing import Any, Protocol

from experiments.reproduce.lab import Lab
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


class Work(Protocol):
    """Something to be trained."""

    @property
    def family(self) -> Any:
        """Works of equal families are run together by `run_family` of the first."""
        ...

    def names(self) -> list[str]:
        """Names of its own pieces."""
        ...

    def pieces(self, lab: "Lab") -> list[Piece]:
        """What it is made of, with everything that it needs."""
        ...

    def run_family(self, works: Sequence["Work"], lab: "Lab", keep: Keeper) -> None:
        """Trains all `works` of this family."""
        ...


def in_families(works: Iterable[Work]) -> list[list[Work]]:
    """Works without repetition, those of one family together, in the order of the families."""
    families: dict[Any, dict[Work, None]] = {}
    for work in works:
        families.setdefault(work.family, {})[work] = None
    return [list(group) for group in families.values()]


def all_pieces(works: Iterable[Work], lab: "Lab") -> list[Piece]:
    """The pieces of all works, each once."""
    return list({p.name: p for work in works for p in work.pieces(lab)}.values())


def unfinished(works: Iterable[Work], lab: "Lab", done: Callable[[str], bool]) -> list[Work]:
    """The works of the families that lack a piece.

    Args:
      works: what is wanted.
      lab: what trains them.
      done: whether the piece of a name is there.
    """
    return [
        work
        for group in in_families(works)
        if not all(done(piece.name) for piece in all_pieces(group, lab))
        for work in group
    ]


def run(works: Iterable[Work], lab: "Lab", keep: Keeper) -> None:
    """Trains all works, or remembers them."""
    for group in in_families(works):
        group[0].run_family(group, lab, keep)
