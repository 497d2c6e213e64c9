"""A keeper that remembers on a disk: finished pieces, and the state of the one in work.

A piece is finished where its records are there; its arrays are saved before. Inside a piece the
state is saved every `every` seconds, after a leg, so that a killed run goes on from there with
the same bits. What was damaged since is named on standard error and computed again; a state in the
middle that cannot be read costs the progress of its piece only.
"""

from collections.abc import Callable
import dataclasses
import errno
import os
import pathlib
import shutil
import sys
import time
from typing import Any

import jax

from ltjax.command.progress import Progress
from ltjax.core.types import Tree
from ltjax.lottery.level import Compute
from ltjax.storage import checkpoints
from ltjax.storage.run_directory import RunDir
from ltjax.training.population import Observer, Partial
from ltjax.training.records import Record


def arrays(run: RunDir, piece: str, *, own: bool = False) -> Tree:
    """The arrays of a finished piece; `own` ones were saved under the name of the run.

    Raises:
      ValueError: where they are damaged, or those of another piece.
    """
    path = run.ticket(piece)
    if not run.has_arrays(piece):
        return {}
    tree, meta = checkpoints.load(path)
    if meta.get("piece") != piece or (own and meta.get("run") != run.path.name):
        holds = f"{meta.get('piece')!r} of {meta.get('run')!r}"
        raise ValueError(f"{path} holds {holds} instead of {piece!r} of {run.path.name!r}")
    return tree


def _note(text: str) -> None:
    print(f"note: {' '.join(text.split())}", file=sys.stderr)


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

    def __call__(self, piece: Any, compute: Compute) -> tuple[Tree, list[Record]]:
        """Reads a finished piece; computes any other, from its last saved state on."""
        piece = getattr(piece, "name", piece)
        self.pieces.append(piece)
        steps, weight = self._steps(piece), self._weight(piece)
        if (kept := self._kept(piece)) is not None:
            self._progress.skip(steps * weight)
            return kept
        resume = self._partial(piece)
        begun = 0 if resume is None else int(resume["step"])
        self._progress.skip(begun * weight)
        shown = _Shown(begun)
        tree, records = compute(resume, self._observer(piece, shown, steps, weight))
        self._progress.advance((steps - shown.step) * weight)  # Of what stopped before its end.
        if jax.tree.leaves(tree):
            self._save(self._run.ticket(piece), tree, piece)
        self._run.finish_piece(piece, records)
        self._run.remove_partial()
        return tree, records

    def _save(self, path: pathlib.Path, tree: Tree, piece: str) -> None:
        """Saves where there is room: TensorStore fills a disk with many words."""
        needed = sum(leaf.nbytes for leaf in jax.tree.leaves(tree))
        if shutil.disk_usage(self._run.path).free < needed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        checkpoints.save(path, tree, meta=self._meta(piece))

    def _meta(self, piece: str) -> dict[str, str]:
        return {"piece": piece, "run": self._run.path.name}

    def _kept(self, piece: str) -> tuple[Tree, list[Record]] | None:
        """What is there of a finished piece, or None where it has to be computed (again)."""
        if fault := self._run.piece_fault(piece):
            return _note(f"{fault}; the piece is computed again")
        if not self._run.piece_done(piece):
            return None
        records = self._run.read_piece(piece)
        try:
            return arrays(self._run, piece, own=True), records
        except (ValueError, OSError) as error:
            self._run.drop_arrays(piece)
            return _note(f"{error}; the piece is computed again")

    def _partial(self, piece: str) -> Tree | None:
        """The state of an unfinished piece, where this run left one that can be read."""
        path = self._run.partial_state(piece)
        if not checkpoints.exists(path):
            if self._run.partial.is_file():
                self._run.remove_partial()
            return None
        try:
            tree, meta = checkpoints.load(path)
            if meta == self._meta(piece) and {"states", "reports", "step"} <= tree.keys():
                return tree
            fault = f"{path} is a state of something else"
        except (ValueError, OSError) as error:
            fault = str(error)
        self._run.remove_partial()
        return _note(f"{fault}; it is dropped, and the piece starts at its first step")

    def _observer(self, piece: str, shown: "_Shown", steps: int, weight: int) -> Observer:
        saved = time.monotonic()

        def observe(partial: Partial) -> None:
            nonlocal saved
            self._progress.advance((partial.step - shown.step) * weight, note=piece)
            shown.step = partial.step
            if time.monotonic() - saved >= self._every and partial.step < steps:
                path = self._run.partial_state(piece)
                self._save(path, partial.as_tree(), piece)
                saved = time.monotonic()

        return observe


@dataclasses.dataclass
class _Shown:
    """The step up to which a piece has been counted."""

    step: int
