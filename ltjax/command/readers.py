"""Readers of the small languages of settings: durations, numbers, lists, paths.

Each raises a ValueError of one line for what it cannot read, so that it can check a field.
"""

from collections.abc import Callable
import fractions
import math
import re
import sys

from ltjax.command import paths

MAX_STEPS = 2**31 - 1
"""Steps are counted in 32 bits."""

_DURATION = "a duration is 0, or a number and its unit, as 50000it or 160ep"


def steps(text: str, *, examples: int, batch: int) -> int:
    """The number of steps in a duration: `50000it` (steps), `160ep` (epochs), or `0`.

    Batches straddle epochs and none is dropped, so `e` epochs are ceil(e * examples / batch)
    steps; `e` may be a decimal fraction.

    Args:
      text: the duration.
      examples: number of training examples.
      batch: examples in a batch.

    Raises:
      ValueError: where the unit is missing, the number is not one, or there are too many steps.
    """
    if batch < 1 or examples < 1:
        raise ValueError(f"batch and examples are at least 1; got {batch} and {examples}")
    if text == "0":
        return 0
    match = re.fullmatch(r"([0-9]{1,100}(?:\.[0-9]{1,100})?)(it|ep)", text)
    if not match or (match[2] == "it" and "." in match[1]):
        raise ValueError(f"{_DURATION}; got {text!r}")
    count = int(match[1]) if match[2] == "it" else fractions.Fraction(match[1]) * examples / batch
    if count > MAX_STEPS:
        raise ValueError(f"a duration is at most {MAX_STEPS:,} steps; got {text!r}")
    return math.ceil(count)


def duration(text: str) -> None:
    """Refuses what is no duration, of any data; the check of a field.

    Raises:
      ValueError: as `steps`.
    """
    _ = steps(text, examples=1, batch=1)


def span(text: str) -> None:
    """Refuses what is no duration above 0; the check of a field.

    Raises:
      ValueError: as `steps`, and for 0.
    """
    if steps(text, examples=1, batch=1) < 1:
        raise ValueError(f"this duration is above 0, as 500it or 1ep; got {text!r}")


def inside(value: float, within: str) -> bool:
    """Whether a number lies in an interval such as `[0, 1)` or `(0, inf)`; NaN lies in none."""
    left, right = within[0], within[-1]
    low, high = (float(end) for end in within[1:-1].split(","))
    above = value >= low if left == "[" else value > low
    return above and (value <= high if right == "]" else value < high)


def whole(text: str) -> int:
    """Reads a number of ASCII digits.

    Raises:
      ValueError: where it is none, or has more than nine.
    """
    if not re.fullmatch("[0-9]{1,9}", text):
        raise ValueError(f"expected a whole number of at most nine digits; got {text!r}")
    return int(text)


def numbers(within: str) -> Callable[[str], tuple[float, ...]]:
    """The check of a list of numbers, as `0.5,0.2`, that all lie in an interval."""

    def check(text: str) -> tuple[float, ...]:
        found = floats(text)
        for value in found:
            if not inside(value, within):
                raise ValueError(f"each number lies in {within}; got {value:g} in {text!r}")
        return found

    return check


def path(text: str) -> None:
    """Refuses a path that is not local, or that TensorStore would take for another.

    The check of a field.

    Raises:
      ValueError: so, and where this locale cannot say it in UTF-8.
    """
    whole = str(paths.local(text).absolute())
    try:
        _ = whole.encode("utf-8")
        fits = whole.isascii() or sys.getfilesystemencoding().lower() in ("utf-8", "utf8")
    except UnicodeEncodeError:
        fits = False
    if not fits:
        shown = whole.encode("ascii", "backslashreplace").decode()
        raise ValueError(
            f"{shown} is not ASCII and this locale is not UTF-8; set LC_ALL=C.UTF-8 or PYTHONUTF8=1"
        )


def pairs(text: str) -> dict[str, float]:
    """Reads `conv=0.1,dense=0.2`; an empty text is an empty dict.

    Raises:
      ValueError: where a part is not a name, `=` and a finite number, or a name comes twice.
    """
    found = {}
    for part in text.split(",") if text else []:
        name, equals, number = (piece.strip() for piece in part.partition("="))
        if not name or not equals:
            raise ValueError(
                f"expected name=number, as conv=0.1,dense=0.2; got {part!r} in {text!r}"
            )
        if name in found:
            raise ValueError(f"{name!r} is given twice in {text!r}; give it once")
        found[name] = _number(number, text)
    return found


def floats(text: str) -> tuple[float, ...]:
    """Reads `1.0,0.5`; an empty text is an empty tuple.

    Raises:
      ValueError: where a part is not a finite number.
    """
    return tuple(_number(part, text) for part in text.split(",")) if text else ()


def _number(part: str, text: str) -> float:
    try:
        number = float(part)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"expected a finite number, as 0.5; got {part!r} in {text!r}")
    return number
