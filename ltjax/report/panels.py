"""Panels of a figure as plain data: lines with their bars, and how far their axis reaches.

NaN is no value: a line is cut there.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import math
import statistics
from typing import Any, Literal

import numpy as np

from ltjax.report import style


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of a panel.

    Attributes:
      label: what the legend calls it; none where it is empty.
      x: places.
      y: values at them; the line is cut at NaN.
      low: lower ends of the error bars, as values; none by default.
      high: their upper ends.
      band: lower and upper ends of a shaded band, as values.
      color: a colour of its own; the next one by default.
      marker: a marker of its own; the next one by default, none where empty.
      dashed: a broken line.
      kind: `line`; `points` are not joined, `bars` stand on 0.
      width: of the line, in points.
      bar_every: error bars at every such point only, the first ones left out.
      dot: place on the x axis of a dot on the line, with the ends of its bar along x.
      notes: words above the points, one a point; empty for none.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    band: tuple[Sequence[float], Sequence[float]] | None = None
    color: str = ""
    marker: str | None = None
    dashed: bool = False
    kind: Literal["line", "points", "bars"] = "line"
    width: float = 1.4
    bar_every: int = 1
    dot: tuple[float, float, float] | None = None
    notes: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Reference:
    """A broken line across a panel at `y`, with a faint band from `low` to `high`."""

    label: str
    y: float
    low: float = math.nan
    high: float = math.nan
    color: str = style.INK


@dataclasses.dataclass(frozen=True, kw_only=True)
class Panel:
    """Axes with lines. Bands do not widen the y axis; bars and references do.

    Attributes:
      lines: what is drawn.
      y_label: of the y axis.
      title: above the panel.
      references: broken lines across.
      names: what stands at the places 0, 1, ... of the x axis, instead of numbers.
      zero: draw a line at 0.
      y_from: the y axis begins here; left out where every value lies below.
      y_to: it ends here.
      y_log: logarithmic.
      percent: values are percentages: the axis ends at 100.5 at the latest, and where it is not
        logarithmic it spans a percentage point, or it would show rounding.
      whole: values are whole numbers.
      skip: share of the lowest values of each line that the axis leaves out, as a third where a
        learning curve begins steeply.
      zoom: the axis leaves out values far below most others, but no whole line, and says so.
    """

    lines: Sequence[Line]
    y_label: str = ""
    title: str = ""
    references: Sequence[Reference] = ()
    names: Sequence[str] = ()
    zero: bool = False
    y_from: float | None = None
    y_to: float | None = None
    y_log: bool = False
    percent: bool = False
    whole: bool = False
    skip: float = 0.0
    zoom: bool = False


def summed(
    label: str,
    values: Mapping[float, Sequence[float]],
    *,
    bars: Literal["range", "sd", "error"] = "range",
    **look: Any,
) -> Line:
    """A line of the means at each x, with bars.

    Args:
      label: of the line.
      values: by x; a place without values cuts the line.
      bars: minimum and maximum, the standard deviation, or the standard error of the mean.
      **look: other fields of `Line`.
    """
    y, low, high = [], [], []
    for own in values.values():
        middle = statistics.fmean(own) if own else math.nan
        reach = statistics.stdev(own) if len(own) > 1 and bars != "range" else 0.0
        reach /= math.sqrt(len(own)) if bars == "error" and own else 1.0
        y.append(middle)
        low.append(min(own, default=math.nan) if bars == "range" else middle - reach)
        high.append(max(own, default=math.nan) if bars == "range" else middle + reach)
    return Line(label, list(values), y, low, high, **look)


def union(panels: Sequence[Panel]) -> Panel:
    """The first panel with the lines and references of all, for axes that are shared."""
    return dataclasses.replace(
        panels[0],
        lines=[line for p in panels for line in p.lines],
        references=[r for p in panels for r in p.references],
    )


def limits(panel: Panel, x_limits: tuple[float, float] | None) -> tuple[float, float, bool] | None:
    """Ends of the y axis, and whether it leaves out values far below."""
    left, right = sorted(x_limits or (-math.inf, math.inf))
    own = []
    for line in panel.lines:
        there = (np.asarray(line.x) >= left) & (np.asarray(line.x) <= right)
        own.append(_finite(np.asarray(line.y, float)[there]))
    own = [values for values in own if values.size]
    if not own:
        return None
    every = np.concatenate(own)
    low, high, far = float(every.min()), float(every.max()), False
    if panel.zoom:
        middle, highest = float(np.median(every)), min(float(v.max()) for v in own)
        reach = max(6 * (high - middle), 0.6, middle - highest)
        far = middle - low > reach
        low = max(low, middle - reach)
    elif panel.skip:
        low = min(float(np.quantile(v, panel.skip)) for v in own)
    else:
        ends = [e for n in panel.lines for e in (n.low, n.high) if e is not None]
        ends += [[r.y, r.low, r.high] for r in panel.references]
        every = np.concatenate([every, *(_finite(np.asarray(e, float)) for e in ends)])
        low, high = float(every.min()), float(every.max())
    if panel.zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if panel.percent:
        low = min(low, high - 1.0)
    begin = panel.y_from if panel.y_from is not None and panel.y_from < high else None
    margin = 0.06 * (high - (low if begin is None else begin)) or 0.05 * abs(high) or 1.0
    top = min(high + margin, max(100.5, high)) if panel.percent else high + margin
    return low - margin if begin is None else begin, panel.y_to or top, far


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]
