"""Records: what a training leaves behind, one JSON line each.

A *record* is one training of one member: its arm (which start values and which mask), its
level, its counts and its curves. Records hold no times, so that a resumed run writes the same
bytes as an uninterrupted one.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import dataclasses
import json
import math
from typing import Any

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
    values = {name: np.asarray(curve[name][:count], float) for name in _CURVES}
    lists = {
        name: [float(v) if np.isfinite(v) else None for v in found.round(DIGITS)]
        for name, found in values.items()
    }
    lists["train_loss"][:1] = [None][:count]
    best = count - 1
    if judged_on != "last":
        judged = values[f"{judged_on}_{measure}"] * (-1 if measure == "loss" else 1)
        sound = np.isfinite(judged) & np.isfinite(values[f"{judged_on}_loss"])
        best = int(np.argmax(np.where(sound, judged, -np.inf))) if sound.any() else -1
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


def _whole(value: Any) -> bool:
    return type(value) is int and value >= 0


def _number(value: Any, high: float) -> bool:
    return type(value) in (int, float) and 0 <= value <= high


def _each(value: Any, holds: Callable[[Any], bool], kind: type = list) -> bool:
    return isinstance(value, kind) and all(map(holds, value.values() if kind is dict else value))


_RULES: Mapping[Any, tuple[str, Callable[[Any], bool]]] = {
    str: ("a text", lambda v: isinstance(v, str) and v != ""),
    int: ("a whole number of at least 0", _whole),
    int | None: ("a step, or null", lambda v: v is None or _whole(v)),
    float: ("a number in [0, 1]", lambda v: _number(v, 1)),
    list[int]: (
        "whole numbers, each above the one before",
        lambda v: _each(v, _whole) and v == sorted(set(v)),
    ),
    list[float]: ("a list of numbers in [0, 1]", lambda v: _each(v, lambda x: _number(x, 1))),
    list[float | None]: (
        "a list of numbers of at least 0, or null",
        lambda v: _each(v, lambda x: x is None or _number(x, 1e39)),  # Above float32.
    ),
    dict[str, int]: ("by layer its weights", lambda v: _each(v, _whole, dict)),
    dict[str, tuple[int, int]]: (
        "by layer its kept and its prunable weights",
        lambda v: _each(v, lambda x: _each(x, _whole) and len(x) == 2 and x[0] <= x[1], dict),
    ),
    "judged_on": (f"one of {', '.join(JUDGES)}", lambda v: v in JUDGES),
    "best_step": ("a step, or -1", lambda v: type(v) is int and v >= -1),
}
"""What a field must be, in words and as a test: by its name, else by its type."""


def _checked(found: Any) -> Record:
    if not isinstance(found, dict):
        raise ValueError("is no JSON object")
    types = {field.name: field.type for field in dataclasses.fields(Record)}
    for name in sorted(found.keys() ^ types.keys()):
        raise ValueError(f"{'lacks' if name in types else 'has an unknown'} field {name!r}")
    for name, kind in types.items():
        must, holds = _RULES.get(name, _RULES[kind])
        _require(found, name, holds(found[name]), must)
    record = Record(**{**found, "layers": {n: tuple(c) for n, c in found["layers"].items()}})
    for law in _implied(record):
        _require(found, *law)
    return record


def _require(found: Mapping[str, Any], name: str, holds: bool, must: str) -> None:
    if not holds:
        text = json.dumps(found[name])
        shown = text if len(text) <= 40 else f"{text[:37]}..."
        raise ValueError(f"has {name}={shown}; it must be {must}")


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
