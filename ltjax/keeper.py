"""A keeper that remembers on a disk: finished pieces, and the state of the one in work.

A piece is finished where its records are there; its arrays are saved before. Inside a piece the
state is saved every `every` seconds, after a leg, so that a killed run goes on from there with
the same bits.
"""

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
      progress: counts steps of populations; every piece counts `steps`.
      steps: steps of a full piece.
      every: seconds between two saves of the state of an unfinished piece.
    """

    def __init__(self, run: RunDir, progress: Progress, *, steps: int, every: float = 60.0) -> None:
        self._run, self._progress = run, progress
        self._steps, self._every = steps, every
        self.pieces: list[str] = []

    def __call__(self, piece: str, compute: Compute) -> tuple[Tree, list[Record]]:
        """Reads a finished piece; computes any other, from its last saved state on."""
        self.pieces.append(piece)
        if self._run.piece_done(piece):
            self._progress.skip(self._steps)
            return self._read(piece), self._run.read_piece(piece)
        resume = self._partial(piece)
        begun = 0 if resume is None else int(resume["step"])
        self._progress.skip(begun)
        tree, records = compute(resume, self._observer(piece, begun))
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

    def _observer(self, piece: str, begun: int) -> Observer:
        shown, saved = begun, time.monotonic()

        def observe(partial: Partial) -> None:
            nonlocal shown, saved
            self._progress.advance(partial.step - shown, note=piece)
            shown = partial.step
            if time.monotonic() - saved >= self._every and partial.step < self._steps:
                path = self._run.partial_state(piece)
                checkpoints.save(path, partial.as_tree(), meta={"piece": piece})
                saved = time.monotonic()

        return observe
