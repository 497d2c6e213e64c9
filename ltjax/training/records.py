"""Records: what a training leaves behind, one JSON line each.

A *record* is one training of one member: its arm (which start values and which mask), its
level, its counts and its curves. Records hold no times, so that a resumed run writes the same
bytes as an uninterrupted one.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import dataclasses
import json
import math
import os
import pathlib
from typing import Any, NamedTuple

import numpy as np

DIGITS = 7
"""Decimals of the numbers of a curve."""

_CURVES = ("train_loss", "validation_accuracy", "validation_loss", "test_accuracy", "test_loss")

JUDGES = ("validation", "test", "last")
"""What may choose the best evaluation: the validation set, the test set (which flatters what it
then measures), or none, so that the last evaluation counts."""


STARTS = ("theta_0", "theta_k", "theta_S")
"""Arms that are start points: values that a ticket holds. Of the others, `ticket` is the search
and the rest are controls (`lottery.arms.CONTROLS`)."""

OWN_DENSE = ("ticket", *STARTS, "redrawn")
"""Arms whose level 0 is a dense network from a start of its own, in the order of display. One
control is among them: fresh values alone leave a dense network as good as any."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """One training.

    Attributes:
      phase: `source` (the search) or `target` (after transfer).
      arm: `ticket` in the search; else one of `STARTS` or a control.
      level: rounds of pruning; 0 is the dense network.
      replicate: number of the replicate, from 0.
      repeat: number of the draw, from 0, where a control is drawn several times a ticket.
      nominal: density asked, in [0, 1].
      density: share of the prunable weights that are kept, in [0, 1].
      kept: number of kept prunable weights.
      prunable: number of prunable weights.
      kernels: number of weights of all kernels, and of whatever else is prunable.
      total: number of all parameters.
      layers: kept and prunable weights of each prunable layer.
      dense: number of weights of each layer that stays dense (biases and norms are not named).
      steps: steps at which the network was evaluated.
      train_loss: mean loss of the batches since the evaluation before; NaN as None.
      validation_accuracy: in [0, 1]; empty without a validation set.
      validation_loss: mean cross-entropy in nats; empty without a validation set.
      test_accuracy: in [0, 1], on all test examples of its classes.
      test_loss: mean cross-entropy in nats.
      judged_on: what chose `best_step`: one of `JUDGES`.
      best_step: step of the evaluation that was chosen; -1 where the training failed.
      accuracy: test accuracy at `best_step`; at the last evaluation where the training failed.
      final_accuracy: test accuracy at the last evaluation.
      failed_step: step at which the loss was first found not finite, or None.
    """

    phase: str
    arm: str
    level: int
    replicate: int
    nominal: float
    density: float
    kept: int
    prunable: int
    kernels: int
    total: int
    layers: dict[str, tuple[int, int]]
    dense: dict[str, int]
    steps: list[int]
    train_loss: list[float | None]
    validation_accuracy: list[float]
    validation_loss: list[float | None]
    test_accuracy: list[float]
    test_loss: list[float | None]
    judged_on: str
    best_step: int
    accuracy: float
    final_accuracy: float
    failed_step: int | None = None
    repeat: int = 0

    @property
    def kernel_density(self) -> float:
        """Share of the weights of all kernels that are kept, in [0, 1]."""
        return (self.kernels - self.prunable + self.kept) / self.kernels

    @property
    def total_density(self) -> float:
        """Share of all parameters that are kept, in [0, 1]."""
        return (self.total - self.prunable + self.kept) / self.total


def curve_fields(
    steps: Sequence[int],
    curve: Mapping[str, np.ndarray],
    *,
    failed_step: int,
    judged_on: str,
    measure: str = "accuracy",
) -> dict[str, Any]:
    """The fields of a record that come from a curve.

    An evaluation whose loss on the judging set is not finite is never the best; where there is
    no other, the training has no result (`best_step` -1), as one that failed. A member that
    never ran has an empty curve and accuracies of 0.

    Args:
      steps: the evaluated steps.
      curve: float arrays [steps] named as the fields, and `ran` (bool): False after the stop.
      failed_step: -1 where the training went well.
      judged_on: a row of `JUDGES`. It is said, not inferred from the curve: a member that
        diverged has no finite validation loss either.
      measure: `accuracy` or `loss`, what "best" is judged by.

    Raises:
      ValueError: an unknown judge.
    """
    if judged_on not in JUDGES:
        raise ValueError(f"the best evaluation is judged on one of {JUDGES}; got {judged_on!r}")
    count = int(np.sum(curve["ran"]))
    steps = list(steps[:count])
    lists = {
        name: [_finite(v) for v in np.asarray(curve[name][:count], float).round(DIGITS)]
        for name in _CURVES
    }
    lists["train_loss"][:1] = [None][:count]
    best = count - 1
    if judged_on != "last":
        values = np.asarray(curve[f"{judged_on}_{measure}"][:count], float)
        values = -values if measure == "loss" else values
        sound = np.isfinite(values) & np.isfinite(curve[f"{judged_on}_loss"][:count])
        best = int(np.argmax(np.where(sound, values, -np.inf))) if sound.any() else -1
    if judged_on != "validation":
        lists["validation_accuracy"] = lists["validation_loss"] = []
    if failed_step >= 0:
        best = -1
    accuracies = lists["test_accuracy"]
    return {
        "steps": steps,
        **lists,
        "judged_on": judged_on,
        "best_step": steps[best] if best >= 0 else -1,
        "accuracy": accuracies[best] if count else 0.0,
        "final_accuracy": accuracies[-1] if count else 0.0,
        "failed_step": failed_step if failed_step >= 0 else None,
    }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def dumps(records: Iterable[Record]) -> str:
    """One JSON line a record."""
    return "".join(json.dumps(dataclasses.asdict(r), allow_nan=False) + "\n" for r in records)


def loads(text: str) -> list[Record]:
    """Reads what `dumps` wrote, and believes no line that no training could have left.

    Raises:
      ValueError: one sentence naming the line, the field and what it must be.
    """
    records = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                records.append(_checked(json.loads(line)))
            except (ValueError, RecursionError) as error:
                said = "is no JSON" if isinstance(error, json.JSONDecodeError) else str(error)
                raise ValueError(f"the record in line {number} {said}") from error
    return records


class _Values(NamedTuple):
    """What the values of a field must be, in words and as a test."""

    must: str
    holds: Callable[[Any], bool]


def _whole(value: Any, low: int = 0) -> bool:
    return type(value) is int and value >= low


def _number(value: Any, high: float = 1e39) -> bool:  # Above what float32 holds.
    return type(value) in (int, float) and 0 <= value <= high


def _list(value: Any, holds: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(map(holds, value))


def _layers(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _list(counts, _whole) and len(counts) == 2 and counts[0] <= counts[1]
        for counts in value.values()
    )


_TEXT = _Values("a text", lambda v: isinstance(v, str) and bool(v))
_COUNT = _Values("a whole number of at least 0", _whole)
_SHARE = _Values("a number in [0, 1]", lambda v: _number(v, 1))
_SHARES = _Values("a list of numbers in [0, 1]", lambda v: _list(v, _SHARE.holds))
_LOSSES = _Values(
    "a list of numbers of at least 0, or null",
    lambda v: _list(v, lambda x: x is None or _number(x)),
)
_FIELDS: Mapping[str, _Values] = {
    **dict.fromkeys(("phase", "arm"), _TEXT),
    **dict.fromkeys(("level", "replicate", "repeat"), _COUNT),
    **dict.fromkeys(("kept", "prunable", "kernels", "total"), _COUNT),
    **dict.fromkeys(("nominal", "density", "accuracy", "final_accuracy"), _SHARE),
    **dict.fromkeys(("validation_accuracy", "test_accuracy"), _SHARES),
    **dict.fromkeys(("train_loss", "validation_loss", "test_loss"), _LOSSES),
    "layers": _Values("by layer its kept and its prunable weights", _layers),
    "dense": _Values(
        "by layer its weights", lambda v: isinstance(v, dict) and all(map(_whole, v.values()))
    ),
    "steps": _Values(
        "whole numbers, each above the one before",
        lambda v: _list(v, _whole) and v == sorted(set(v)),
    ),
    "judged_on": _Values(f"one of {', '.join(JUDGES)}", lambda v: v in JUDGES),
    "best_step": _Values("a step, or -1", lambda v: _whole(v, -1)),
    "failed_step": _Values("a step, or null", lambda v: v is None or _whole(v)),
}


def _checked(found: Any) -> Record:
    if not isinstance(found, dict):
        raise ValueError("is no JSON object")
    known = {field.name for field in dataclasses.fields(Record)}
    for name in sorted(found.keys() ^ known):
        raise ValueError(f"{'lacks' if name in known else 'has an unknown'} field {name!r}")
    for name, (must, holds) in _FIELDS.items():
        if not holds(found[name]):
            raise ValueError(_wrong(name, found[name], must))
    record = Record(**{**found, "layers": {n: tuple(c) for n, c in found["layers"].items()}})
    for name, holds, must in _implied(record):
        if not holds:
            raise ValueError(_wrong(name, getattr(record, name), must))
    return record


def _implied(r: Record) -> Iterator[tuple[str, bool, str]]:
    """A field, whether it is what the others say, and what they say."""
    for name, number in (("kept", 0), ("prunable", 1)):
        summed = sum(counts[number] for counts in r.layers.values())
        yield name, getattr(r, name) == summed, f"{summed}, the sum over `layers`"
    share = r.kept / r.prunable if r.prunable else 1.0
    yield "density", math.isclose(r.density, share), f"{share}, `kept` of `prunable`"
    yield "kernels", r.kernels >= r.prunable, f"at least {r.prunable}, as `prunable`"
    yield "total", r.total >= r.kernels, f"at least {r.kernels}, as `kernels`"
    for name in _CURVES:
        judges = r.judged_on == "validation" or not name.startswith("validation")
        count = len(r.steps) if judges else 0
        must = f"{count} values, as `steps` and `judged_on` say"
        yield name, len(getattr(r, name)) == count, must
    if r.failed_step is not None:
        yield "best_step", r.best_step == -1, "-1, as `failed_step` says"
    elif r.judged_on == "last":
        yield "best_step", r.best_step in (-1, *r.steps[-1:]), "the last of `steps`, or -1"
    if r.best_step != -1:
        yield "best_step", r.best_step in r.steps, "one of `steps`, or -1"
        best = r.test_accuracy[r.steps.index(r.best_step)]
        yield "accuracy", r.accuracy == best, f"{best}, as at `best_step`"
    if r.steps:
        last = r.test_accuracy[-1]
        yield "final_accuracy", r.final_accuracy == last, f"{last}, the last of `test_accuracy`"


def _wrong(name: str, value: Any, must: str) -> str:
    text = json.dumps(value)
    return f"has {name}={text if len(text) <= 40 else f'{text[:37]}...'}; it must be {must}"


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
