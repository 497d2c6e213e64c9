"""Progress: a bar on a terminal, plain lines elsewhere."""

from collections.abc import Callable
import contextlib
import os
import sys
import time
from types import TracebackType
from typing import Self, TextIO

import tqdm

_SECONDS = 10.0  # A plain line after this time ...
_SHARE = 0.1  # ... or after this share of the work, whichever comes first.
_unseen = contextlib.suppress(OSError, ValueError, AttributeError)
"""Around what shows something: the stream may be closed, broken or absent."""


class _Bar(tqdm.tqdm):
    monitor_interval = 0  # No thread: the bar moves only when work is done.


class Progress:
    """Shows how much of a known amount of work is done, and the time left.

    Nothing here raises where the stream is closed or gone: work goes on unseen.

    Args:
      total: amount of work, in units.
      unit: noun for one unit of work.
      label: what is being done.
      stream: where to show it; standard error by default.
      clock: seconds since any fixed moment.
    """

    def __init__(
        self,
        total: int,
        *,
        unit: str = "step",
        label: str,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total, self._unit, self._label = total, unit, label
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._done = self._skipped = 0
        self._bar: _Bar | None = None

    def __enter__(self) -> Self:
        """Starts the clock and shows the first state."""
        self._begin = self._clock()
        with _unseen:
            if self._has_columns():
                self._bar = _Bar(
                    total=self._total,
                    desc=self._label,
                    unit=f" {self._unit}",
                    file=self._stream,
                    dynamic_ncols=True,
                    smoothing=0,  # The mean rate, as in the plain lines.
                    bar_format="{desc} {percentage:3.0f} %|{bar}| {n_fmt} of {total_fmt}{unit}s "
                    "[{elapsed} gone, {remaining} left{postfix}]",
                )
        if self._bar is None:
            self._line("")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Shows the last state, whether the work ended or broke off."""
        if self._bar is None:
            spent = duration(self._clock() - self._begin)
            self._line(f"stopped after {spent}" if kind else f"done in {spent}")
            return
        with _unseen:
            self._bar.close()

    def advance(self, n: int, note: str = "") -> None:
        """Counts `n` units of work as just done; `note` is shown beside them."""
        self._done += n
        if self._bar is not None:
            with _unseen:
                if note:
                    self._bar.set_postfix_str(note, refresh=False)
                self._bar.update(n)
        elif self._done < self._total and (
            self._clock() - self._shown_at >= _SECONDS
            or self._done - self._shown >= _SHARE * self._total
        ):
            parts = [note] if note else []
            if fresh := self._done - self._skipped:
                seconds = (self._clock() - self._begin) / fresh * (self._total - self._done)
                parts.insert(0, f"{duration(seconds)} left")
            self._line(", ".join(parts))

    def skip(self, n: int) -> None:
        """Counts `n` units as done before: they tell nothing about the time left."""
        self._done += n
        self._skipped += n
        if self._bar is not None:
            self._bar.initial += n
            self._bar.n += n
            self._bar.last_print_n += n
            with _unseen:
                self._bar.refresh()

    def _has_columns(self) -> bool:
        """Whether the stream is a terminal that knows its width; one of width 0 shows no bar."""
        if not self._stream.isatty():
            return False
        with _unseen:
            return os.get_terminal_size(self._stream.fileno()).columns > 0
        return True

    def _line(self, text: str) -> None:
        self._shown_at, self._shown = self._clock(), self._done
        percent = 100 * self._done // self._total if self._total else 100
        line = f"{self._label} {percent} % ({self._done} of {self._total} {self._unit}s) {text}"
        with _unseen:
            self._stream.write(line.rstrip() + "\n")
            self._stream.flush()


def duration(seconds: float) -> str:
    """Seconds in words of at most two units: `12 s`, `3 min 5 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
