"""A keeper that remembers on a disk: finished pieces, and the state of the one in work.

A piece is finished where its records are there; its arrays are saved before. Inside a piece the
state is saved every `every` seconds, after a leg, so that a killed run goes on from there with
the same bits.
"""

from collections.abc import Callable
import dataclasses
import time

import jax

from ltjax import checkpoints
from ltjax.lottery.common import Compute
from ltjax.population import Observer, Partial
from ltjax.progress import Progress
from ltjax.results import Record
from ltjax.rundir import RunDir
from ltjax.types import Tree


class DiskKeeper:
    """Keeps the pieces of one run, and shows how far it is.

    Args:
      run: a created (locked) run directory.
      progress: counts steps of populations; every piece counts its steps times its weight.
      steps: steps of a full piece, or of the piece of a name.
      weight: what one step of the piece of a name counts.
      every: seconds between two saves of the state of an unfinished piece.
    """

    def __init__(
        self,
        run: RunDir,
        progress: Progress,
        *,
        steps: int | Callable[[str], int],
        weight: Callable[[str], int] = lambda piece: 1,
        every: float = 60.0,
    ) -> None:
        self._run, self._progress = run, progress
        self._steps = steps if callable(steps) else lambda piece: steps
        self._weight, self._every = weight, every
        self.pieces: list[str] = []

    def __call__(self, piece: str, compute: Compute) -> tuple[Tree, list[Record]]:
        """Reads a finished piece; computes any other, from its last saved state on."""
        self.pieces.append(piece)
        steps, weight = self._steps(piece), self._weight(piece)
        if self._run.piece_done(piece):
            self._progress.skip(steps * weight)
            return self._read(piece), self._run.read_piece(piece)
        resume = self._partial(piece)
        begun = 0 if resume is None else int(resume["step"])
        self._progress.skip(begun * weight)
        shown = _Shown(begun)
        tree, records = compute(resume, self._observer(piece, shown, steps, weight))
        self._progress.advance((steps - shown.step) * weight)  # Of what stopped before its end.
        if jax.tree.leaves(tree):
            checkpoints.save(self._run.ticket(piece), tree, meta={"piece": piece})
        self._run.finish_piece(piece, records)
        self._run.remove_partial()
        return tree, records

    def _read(self, piece: str) -> Tree:
        path = self._run.ticket(piece)
        return checkpoints.load(path)[0] if checkpoints.exists(path) else {}

    def _partial(self, piece: str) -> Tree | None:
        path = self._run.partial_state(piece)
        return checkpoints.load(path)[0] if checkpoints.exists(path) else None

    def _observer(self, piece: str, shown: "_Shown", steps: int, weight: int) -> Observer:
        saved = time.monotonic()

        def observe(partial: Partial) -> None:
            nonlocal saved
            self._progress.advance((partial.step - shown.step) * weight, note=piece)
            shown.step = partial.step
            if time.monotonic() - saved >= self._every and partial.step < steps:
                path = self._run.partial_state(piece)
                checkpoints.save(path, partial.as_tree(), meta={"piece": piece})
                saved = time.monotonic()

        return observe


@dataclasses.dataclass
class _Shown:
    """The step up to which a piece has been counted."""

    step: int
