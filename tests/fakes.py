"""Made-up trainings, to judge the rules of the papers."""

from ltjax.training.records import Record


def record(accuracy=0.9, *, replicate=0, level=0, best_step=10, curve=None, loss=None, **fields):
    """A training of a network of 1000 prunable weights, in one layer.

    Args:
      accuracy: at the best step and at the end.
      replicate: its number.
      level: of pruning.
      best_step: the early-stopping iteration.
      curve: accuracy by step, on test and validation set.
      loss: training loss by step.
      fields: of the record.
    """
    curve = curve or {0: 0.1, best_step: accuracy}
    kept = round(1000 * 0.8**level)
    return Record(
        **{
            "phase": "source",
            "arm": "ticket",
            "level": level,
            "replicate": replicate,
            "nominal": 0.8**level,
            "kept": kept,
            "prunable": 1000,
            "density": kept / 1000,
            "total": 1010,
            "kernels": 1000,
            "dense": {},
            "layers": {"dense_0/kernel": (kept, 1000)},
            "steps": list(curve),
            "train_loss": [None if step == 0 else (loss or {}).get(step, 0.5) for step in curve],
            "validation_accuracy": list(curve.values()),
            "validation_loss": [0.5] * len(curve),
            "test_accuracy": list(curve.values()),
            "test_loss": [0.5] * len(curve),
            "judged_on": "validation",
            "best_step": best_step,
            "accuracy": accuracy,
            "final_accuracy": accuracy,
        }
        | fields
    )


class Results:
    """What `papers.results.Results` gives, of made-up pieces.

    Args:
      pieces: records by name of the piece.
      trees: arrays by name of the piece.
    """

    def __init__(self, pieces=None, trees=None):
        self.pieces, self.trees = dict(pieces or {}), dict(trees or {})

    def has(self, piece):
        return piece in self.pieces

    def records(self, piece):
        return self.pieces.get(piece, [])

    def tree(self, piece):
        return self.trees.get(piece)

    def search(self, search, make):
        """Fills in a search: (level, replicate) -> the fields of its record."""
        for level in (0, *search.levels):
            self.pieces[search.level(level)] = [
                record(level=level, replicate=i, **make(level, i))
                for i in range(search.find.replicates)
            ]

    def retrained(self, trainings, make):
        """Fills in what starts from a search, all levels in one piece."""
        self.pieces[trainings.piece] = [
            record(level=level, replicate=i, **make(level, i))
            for level in trainings.levels
            for i in range(trainings.search.find.replicates)
        ]
