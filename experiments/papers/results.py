"""What a run of a paper has trained so far."""

from typing import Any

from experiments.papers import convergence
from experiments.papers.convergence import Convergence
from ltjax.core.types import Tree
from ltjax.statistics import analysis
from ltjax.storage import checkpoints
from ltjax.storage.run_directory import RunDir
from ltjax.training.records import Record


class Results:
    """What a run has trained so far, read piece by piece, each once.

    Args:
      run: the run.
      settings: of the paper.
    """

    def __init__(self, run: RunDir, settings: Any) -> None:
        self.run, self.settings = run, settings
        self._records: dict[str, list[Record]] = {}
        self._trees: dict[str, Tree] = {}
        self._converged: dict[tuple, Convergence] = {}

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

    def converged(self, record: Record, how: convergence.Settings) -> Convergence:
        """Where a training converged: nowhere if it failed.

        Judged on the test set, or on held-out examples where there are some (reading 4.21);
        accuracy and gain are those on the test set.
        """
        key = (id(record), how)
        if key not in self._converged:
            failed = analysis.has_failed(record)
            found = Convergence(step=None) if failed else convergence.of_record(record, how)
            self._converged[key] = found
        return self._converged[key]
