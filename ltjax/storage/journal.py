"""The journal of a run: finished pieces, and the state of the one in work, on a disk.

A piece is finished where its records are there; its arrays are saved before. Inside a piece the
state is saved every `every` seconds, after a leg, so that a killed run goes on from there with
the same bits. What was damaged since is named on standard error and computed again; a state in the
middle that cannot be read costs the progress of its piece only.
"""

from collections.abc import Callable
import errno
import os
import pathlib
import shutil
import sys
import time
from typing import Any, Protocol

import jax

from ltjax.command.progress import Progress
from ltjax.core.types import Tree
from ltjax.lottery.level import Compute
from ltjax.storage import checkpoints
from ltjax.storage.run_directory import RunDirectory
from ltjax.training.population import Partial
from ltjax.training.records import Record


class Piece(Protocol):
    """A part of the work of a run, remembered as one."""

    @property
    def name(self) -> str:
        """Unique in the run; a file name."""
        ...


def read_arrays(run: RunDirectory, name: str, path: pathlib.Path, *, own: bool = False) -> Tree:
    """The arrays at `path`, which are those of the piece; `own` ones were saved by the run itself.

    Raises:
      ValueError: where they are damaged, or those of another piece.
    """
    tree, meta = checkpoints.load(path)
    if meta.get("piece") != name or (own and meta.get("run") != run.path.name):
        holds = f"{meta.get('piece')!r} of {meta.get('run')!r}"
        raise ValueError(f"{path} holds {holds} instead of {name!r} of {run.path.name!r}")
    return tree


class Journal:
    """Keeps the pieces of one run, and shows how far it is.

    Args:
      run: a created (locked) run directory.
      progress: counts steps of populations; every piece counts its steps times its weight.
      steps: steps of a full piece, or of the piece given.
      weight: what one step of the piece counts.
      every: seconds between two saves of the state of an unfinished piece.
    """

    def __init__(
        self,
        run: RunDirectory,
        progress: Progress,
        *,
        steps: int | Callable[[Any], int],
        weight: Callable[[Any], int] = lambda piece: 1,
        every: float = 60.0,
    ) -> None:
        self._run, self._progress = run, progress
        self._steps = steps if callable(steps) else lambda piece: steps
        self._weight, self._every = weight, every
        self.pieces: list[str] = []
        """The names of the pieces asked for, in order."""

    def __call__(self, piece: Piece, compute: Compute) -> tuple[Tree, list[Record]]:
        """Reads a finished piece; computes any other, from its last saved state on."""
        name = piece.name
        self.pieces.append(name)
        steps, weight = self._steps(piece), self._weight(piece)
        if (kept := self._kept(name)) is not None:
            self._progress.skip(steps * weight)
            return kept
        resume = self._partial(name)
        shown, saved = 0 if resume is None else int(resume["step"]), time.monotonic()
        self._progress.skip(shown * weight)

        def observe(partial: Partial) -> None:
            nonlocal shown, saved
            self._progress.advance((partial.step - shown) * weight, note=name)
            shown = partial.step
            if time.monotonic() - saved >= self._every and shown < steps:
                self._save(self._run.partial_state(name), partial.as_tree(), name)
                saved = time.monotonic()

        tree, records = compute(resume, observe)
        self._progress.advance((steps - shown) * weight)  # Of what stopped before its end.
        if jax.tree.leaves(tree):
            self._save(self._run.ticket(name), tree, name)
        self._run.finish_piece(name, records)
        self._run.remove(self._run.partial)
        return tree, records

    def _save(self, path: pathlib.Path, tree: Tree, name: str) -> None:
        """Saves where there is room: TensorStore fills a disk with many words."""
        needed = sum(leaf.nbytes for leaf in jax.tree.leaves(tree))
        if shutil.disk_usage(self._run.path).free < needed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        checkpoints.save(path, tree, meta={"piece": name, "run": self._run.path.name})

    def _kept(self, name: str) -> tuple[Tree, list[Record]] | None:
        """What is there of a finished piece, or None where it has to be computed (again)."""
        run, path = self._run, self._run.ticket(name)
        if not (fault := run.fault(name)):
            records = run.read_piece(name)
            try:
                return read_arrays(run, name, path, own=True) if path.exists() else {}, records
            except (ValueError, OSError) as error:
                fault = str(error)
                run.remove(path)
        if name in run.begun:
            _note(f"{fault}; the piece is computed again")
        return None

    def _partial(self, name: str) -> Tree | None:
        """The state of an unfinished piece, where this run left one that can be read."""
        run, path = self._run, self._run.partial_state(name)
        if not checkpoints.exists(path) and not run.partial.is_file():
            return None
        try:
            tree = read_arrays(run, name, path, own=True)
            if {"states", "reports", "step"} <= tree.keys():
                return tree
            fault = f"{path} holds no state of a training"
        except (ValueError, OSError) as error:
            fault = str(error)
        run.remove(run.partial)
        return _note(f"{fault}; it is dropped, and the piece starts at its first step")


def _note(text: str) -> None:
    print(f"note: {' '.join(text.split())}", file=sys.stderr)
