"""Records: what a training leaves behind, one JSON line each.

A *record* is one training of one member: its arm (which start values and which mask), its
level, its counts and its curves. Records hold no times, so that a resumed run writes the same
bytes as an uninterrupted one.
"""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import json
import os
import pathlib
from typing import Any

import numpy as np

DIGITS = 7
"""Decimals of the numbers of a curve."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """One training.

    Attributes:
      phase: `source` (the search) or `target` (after transfer).
      arm: `ticket` in the source phase; in the target phase a start point (`theta_0`,
        `theta_k`, `theta_S`, `redrawn`) or a control.
      level: rounds of pruning; 0 is the dense network.
      replicate: number of the replicate, from 0.
      repeat: number of the draw, from 0, where a control is drawn several times a ticket.
      density: nominal share of the prunable weights that are kept, in [0, 1].
      kept: number of kept prunable weights.
      prunable: number of prunable weights.
      total: number of all parameters.
      layers: kept and prunable weights of each prunable layer.
      steps: steps at which the network was evaluated.
      train_loss: mean loss of the batches since the evaluation before; NaN as None.
      validation_accuracy: in [0, 1]; empty without a validation set.
      validation_loss: mean cross-entropy in nats; empty without a validation set.
      test_accuracy: in [0, 1], on all test examples of its classes.
      test_loss: mean cross-entropy in nats.
      best_step: step of the best evaluation, on the validation set where there is one, else on
        the test set; -1 where the training failed.
      accuracy: test accuracy at `best_step`.
      final_accuracy: test accuracy at the last evaluation.
      failed_step: step at which the loss was first found not finite, or None.
    """

    phase: str
    arm: str
    level: int
    replicate: int
    density: float
    kept: int
    prunable: int
    total: int
    layers: dict[str, tuple[int, int]]
    steps: list[int]
    train_loss: list[float | None]
    validation_accuracy: list[float]
    validation_loss: list[float | None]
    test_accuracy: list[float]
    test_loss: list[float | None]
    best_step: int
    accuracy: float
    final_accuracy: float
    failed_step: int | None = None
    repeat: int = 0


def curve_fields(
    steps: Sequence[int],
    curve: Mapping[str, np.ndarray],
    *,
    failed_step: int,
    measure: str = "accuracy",
) -> dict[str, Any]:
    """The fields of a record that come from a curve.

    Args:
      steps: the evaluated steps.
      curve: float arrays [steps] named as the fields, and `ran` (bool): False after the stop.
      failed_step: -1 where the training went well.
      measure: `accuracy` or `loss`, what "best" is judged by.
    """
    count = int(np.sum(curve["ran"]))
    steps = list(steps[:count])
    lists = {
        name: [_finite(v) for v in np.asarray(curve[name][:count], float).round(DIGITS)]
        for name in (
            "train_loss",
            "validation_accuracy",
            "validation_loss",
            "test_accuracy",
            "test_loss",
        )
    }
    lists["train_loss"][0] = None
    judged_on = "validation" if lists["validation_loss"][0] is not None else "test"
    values = np.asarray(curve[f"{judged_on}_{measure}"][:count], float)
    best = int(np.nanargmin(values) if measure == "loss" else np.nanargmax(values))
    if judged_on == "test":
        lists["validation_accuracy"] = lists["validation_loss"] = []
    accuracies = lists["test_accuracy"]
    return {
        "steps": steps,
        **lists,
        "best_step": steps[best] if failed_step < 0 else -1,
        "accuracy": accuracies[best],
        "final_accuracy": accuracies[-1],
        "failed_step": failed_step if failed_step >= 0 else None,
    }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def dumps(records: Iterable[Record]) -> str:
    """One JSON line a record."""
    return "".join(json.dumps(dataclasses.asdict(r), allow_nan=False) + "\n" for r in records)


def loads(text: str) -> list[Record]:
    """Reads what `dumps` wrote."""
    return [Record(**_tuples(json.loads(line))) for line in text.splitlines() if line]


def _tuples(fields: dict) -> dict:
    layers = {name: tuple(counts) for name, counts in fields["layers"].items()}
    return {**fields, "layers": layers}


def write_whole(path: pathlib.Path, content: str | bytes) -> None:
    """Writes a file so that it is there whole or not at all, also after a kill."""
    raw = content.encode() if isinstance(content, str) else content
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            written = file.write(raw)
            assert written == len(raw)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # A full disk does not say where.
        raise
