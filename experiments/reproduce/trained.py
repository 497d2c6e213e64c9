"""What a run has trained so far."""

from typing import Any

from experiments.papers import convergence
from ltjax.core.types import Tree
from ltjax.storage import checkpoints
from ltjax.storage.run_directory import RunDirectory
from ltjax.training.records import Record


class Results:
    """What a run has trained so far, read piece by piece.

    Args:
      run: the run.
      settings: of the paper.
      criterion: what counts as converged.
    """

    def __init__(
        self, run: RunDirectory, settings: Any, *, criterion: convergence.Settings | None = None
    ) -> None:
        self.run, self.settings = run, settings
        self.criterion = criterion or convergence.Settings()
        self._records: dict[str, list[Record]] = {}
        self._trees: dict[str, Tree] = {}

    def has(self, piece: str) -> bool:
        """Whether a piece is there."""
        return self.run.piece_done(piece)

    def records(self, piece: str) -> list[Record]:
        """The records of a piece; none where it is not there yet."""
        if piece not in self._records:
            there = self.has(piece)
            self._records[piece] = self.run.read_piece(piece) if there else []
        return self._records[piece]

    def tree(self, piece: str) -> Tree | None:
        """The arrays of a piece; None where they are not there (yet)."""
        path = self.run.ticket(piece)
        if not self.has(piece) or not checkpoints.exists(path):
            return None
        if piece not in self._trees:
            self._trees[piece] = checkpoints.load(path)[0]
        return self._trees[piece]
