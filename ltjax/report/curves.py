"""Learning curves: test accuracy against step at a few densities."""

from collections.abc import Sequence
import statistics
from typing import TYPE_CHECKING, NamedTuple

from ltjax.report import words
from ltjax.statistics import analysis
from ltjax.training.records import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PRUNED = 4  # Curves beside the dense one.


class _Curve(NamedTuple):
    level: int
    density: float
    steps: list[int]
    percents: list[float]


def draw(records: Sequence[Record]) -> "Figure":
    """Mean test accuracy against step, one panel for each start point of one phase.

    Shown are the dense network and four pruned levels, evenly chosen. A phase in which no start
    point trained shows its first control that did.
    """
    import matplotlib
    from matplotlib.figure import Figure

    panels = _panels(records)
    levels = select_levels(sorted({r.level for r in records if not analysis.has_failed(r)}))
    columns, depth = min(2, len(panels)), -(-len(panels) // 2)
    width = 8.4 if columns == 1 else 9.6
    figure = Figure(figsize=(width, 0.9 + 2.9 * depth), layout="constrained")
    grid = figure.subplots(depth, columns, squeeze=False, sharey=True).ravel()
    colors = matplotlib.colormaps["viridis_r"]
    handles, drawn = {}, []
    for axes, arm in zip(grid, panels, strict=False):
        for curve in _curves([r for r in records if r.arm == arm], levels):
            dense = curve.level == 0
            (handle,) = axes.plot(
                curve.steps,
                curve.percents,
                color="black" if dense else colors(levels.index(curve.level) / len(levels)),
                linestyle=(0, (4, 1.5)) if dense else "-",
                linewidth=1.3,
                zorder=3 if dense else 2,
            )
            label = f"{words.percent(curve.density)} %  (level {curve.level})"
            handles[curve.level] = (handle, label)
            drawn.append(curve)
        axes.set_title(arm, loc="left")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.locator_params(axis="x", nbins=5)
    for axes in grid[len(panels) :]:
        axes.remove()
    grid[0].set_ylim(*_limits(drawn))
    shown = [handles[level] for level in sorted(handles)]
    figure.legend(*zip(*shown, strict=True), loc="outside right upper", title="density")
    figure.supxlabel("step", fontsize=9)
    figure.supylabel("test accuracy (%)", fontsize=9)
    return figure


def missing(records: Sequence[Record]) -> str:
    """Why there is nothing to draw; empty where there is something."""
    return "" if _panels(records) else "no training was evaluated twice and went well"


def _panels(records: Sequence[Record]) -> list[str]:
    there = [r for r in records if len(r.steps) > 1 and not analysis.has_failed(r)]
    names = analysis.arms(there)
    return [a for a in names if a in analysis.START_POINTS] or names[:1]


def select_levels(levels: Sequence[int]) -> list[int]:
    """Level 0 where it is there, and up to four others, evenly spaced, the last included."""
    pruned = [v for v in levels if v > 0]
    if len(pruned) > _PRUNED:
        picks = [round(i * (len(pruned) - 1) / (_PRUNED - 1)) for i in range(_PRUNED)]
        pruned = [pruned[i] for i in picks]
    return [v for v in levels if v == 0] + pruned


def _curves(records: Sequence[Record], levels: Sequence[int]) -> list[_Curve]:
    curves = []
    for level in levels:
        group = [r for r in records if r.level == level]
        steps, accuracies = analysis.mean_curve(group)
        if steps:
            curves.append(
                _Curve(
                    level,
                    statistics.fmean(r.density for r in group),
                    steps,
                    [100 * a for a in accuracies],
                )
            )
    return curves


def _limits(curves: Sequence[_Curve]) -> tuple[float, float]:
    """Limits that leave out the lowest third of the points of a curve, its steep beginning.

    They span a percentage point at least, or the axis would show rounding.
    """
    high = max(max(c.percents) for c in curves)
    low = min(high - 1.0, *(sorted(c.percents)[len(c.percents) // 3] for c in curves))
    margin = 0.06 * max(high - low, 0.5)
    return low - margin, high + margin
