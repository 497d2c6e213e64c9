"""Figures in the form of the papers: curves with bars, and convergence against density."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import math
import statistics
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.reproduce.lines import Line, Point, Trial, accuracy_of, mean, step_of
from ltjax.statistics import analysis, intervals
from ltjax.training.records import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito (2008), so that the colour-blind tell them apart.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#7F7F7F", "#8C564B")
_MARKERS = "osD^vPX*"


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A line of a figure.

    Attributes:
      label: what the legend calls it.
      points: what is drawn.
      bars: draw minimum and maximum over the trials.
      band: shade the 95 % interval of the mean.
      color: a colour of its own; the next one by default.
    """

    label: str
    points: Line
    bars: bool = True
    band: bool = False
    color: str = ""


def new(width: float, height: float) -> "Figure":
    """An empty figure."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


GUIDE = "guide"
"""Marks what is drawn whether or not there are values: lines at zero."""


def shows(figure: "Figure") -> bool:
    """Whether anything is drawn: a line with a point, a bar, an area. Empty axes show nothing."""
    return any(
        any(
            line.get_gid() != GUIDE and np.isfinite(np.asarray(line.get_ydata(), float)).any()
            for line in axes.lines
        )
        or len(axes.patches) > 0
        for axes in figure.axes
    )


def against_density(lines: Sequence[Drawn], *, log: bool, by: str = "percent") -> "Figure":
    """Steps to convergence, and accuracy there, against what is kept; two panels.

    Args:
      lines: the dense network is the first point of each.
      log: logarithmic axis, where the paper's is.
      by: `percent` of the prunable weights (nominal) or number of `weights`.
    """
    figure = new(10.2, 4.1)
    left, right = figure.subplots(1, 2)
    for i, line in enumerate(lines):
        look = {
            "color": line.color or COLORS[i % len(COLORS)],
            "marker": _MARKERS[i % len(_MARKERS)],
        }
        _draw(left, line, step_of, 1.0, by, look)
        _draw(right, line, accuracy_of, 100.0, by, look)
    kept = [_x(p, by) for line in lines for p in line.points]
    for axes in (left, right):
        _kept_axis(axes, kept, log=log, by=by)
    left.set_ylabel("steps to convergence")
    latest = max((step_of(t) for x in lines for p in x.points for t in p.converged), default=1.0)
    left.set_ylim(0, 1.08 * latest)  # A band of two trials would leave a flat line.
    left.yaxis.set_major_formatter("{x:,.0f}")
    right.set_ylabel("test accuracy at convergence (%)")
    left.yaxis.get_major_locator().set_params(integer=True)
    _zoom(right, [[100 * mean(p.accuracy) for p in x.points if p.shown] for x in lines])
    handles, labels = left.get_legend_handles_labels()
    if handles:
        columns = min(4, len(handles))
        figure.legend(handles, labels, loc="outside lower center", ncols=columns)
    return figure


def _x(point: Point, by: str) -> float:
    return point.kept if by == "weights" else 100 * point.nominal


def _draw(
    axes: "Axes",
    line: Drawn,
    value: Callable[[Trial], float],
    scale: float,
    by: str,
    look: Mapping[str, Any],
) -> None:
    """One line, cut where fewer than half of the trials converged."""
    xs = [_x(p, by) for p in line.points]
    shown = [p.shown for p in line.points]
    every = [[scale * value(t) for t in p.converged] for p in line.points]
    means = [statistics.fmean(v) if ok else math.nan for v, ok in zip(every, shown, strict=True)]
    axes.plot(xs, means, label=line.label, markersize=3.5, linewidth=1.3, zorder=3, **look)
    if line.bars:
        lows = [m - min(v) if ok else 0 for m, v, ok in zip(means, every, shown, strict=True)]
        highs = [max(v) - m if ok else 0 for m, v, ok in zip(means, every, shown, strict=True)]
        axes.errorbar(
            xs, means, [lows, highs], fmt="none", ecolor=look["color"], elinewidth=0.9,
            capsize=1.8, alpha=0.5, zorder=2,
        )  # fmt: skip
    if line.band:
        bands = [
            intervals.mean(p.by_trial(value)) if ok else None
            for p, ok in zip(line.points, shown, strict=True)
        ]
        low, high = (
            [scale * getattr(b, end) if b else math.nan for b in bands] for end in ("low", "high")
        )
        axes.fill_between(xs, low, high, color=look["color"], alpha=0.15, linewidth=0, zorder=1)


def _kept_axis(axes: "Axes", kept: Sequence[float], *, log: bool, by: str) -> None:
    high, low = max(kept, default=100.0), min(kept, default=1.0)
    if log:
        axes.set_xscale("log")
        axes.set_xlim(high * 1.12, low / 1.12)
    else:
        axes.set_xlim(high + 0.03 * (high - low) + 0.5, max(0.0, low - 0.05 * (high - low)))
    if by == "weights":
        axes.set_xlabel("weights kept")
        if log:
            ticks = [a * 10**e for e in range(7) for a in (1, 2, 5)]
            ticks = [t for t in ticks if low / 1.12 <= t <= high * 1.12]
            axes.set_xticks(ticks, [f"{t:,}" for t in ticks])
            axes.set_xticks([], minor=True)
        else:
            axes.xaxis.set_major_formatter("{x:,.0f}")
            axes.locator_params(axis="x", nbins=5)
    else:
        axes.set_xlabel("weights kept (% of the prunable, nominal)")
        if log:
            every = (100, 50, 20, 10, 5, 2, 1) if low < 30 else range(100, 20, -10)
            ticks = [t for t in every if t >= low / 1.12]
            axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
            axes.set_xticks([], minor=True)


def _zoom(axes: "Axes", lines: Sequence[Sequence[float]]) -> None:
    """Limits that leave out means far below most others, but no whole line."""
    good = sorted(m for means in lines for m in means)
    if not good:
        return
    middle, top = good[len(good) // 2], good[-1]
    bottom = good[0]
    reach = max(6 * (top - middle), 0.6, middle - min(max(means) for means in lines if means))
    if middle - bottom > reach:
        bottom = middle - reach
        axes.set_title("lower accuracies are cut off", loc="right", fontsize=7.5, color="#777777")
    margin = 0.12 * max(top - bottom, 0.3)
    axes.set_ylim(bottom - margin, min(top + 2 * margin, 100.2))


@dataclasses.dataclass(frozen=True)
class Curve:
    """A learning curve: the trials of one level."""

    label: str
    point: Point
    dashed: bool = False


def curves(panels: Sequence[Sequence[Curve]], *, bottom: float = 95.0) -> "Figure":
    """Mean test accuracy against step, its minimum and maximum, and dots where it converged.

    The axis ends at twice the latest convergence.

    Args:
      panels: the curves of each panel.
      bottom: lower end of the axis in percent, lowered where no curve reaches it.
    """
    figure = new(5.2 * len(panels), 4.1)
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    points = [c.point for drawn in panels for c in drawn if c.point.shown]
    latest = max((step_of(t) for p in points for t in p.converged), default=math.inf)
    every = [s for drawn in panels for c in drawn for t in c.point.trials for s in t.record.steps]
    end = min(max(every, default=1), 2 * latest)  # Behind the last dot nothing happens.
    highest = []
    for axes, drawn in zip(grid, panels, strict=True):
        for i, curve in enumerate(drawn):
            records = [t.record for t in curve.point.trials]
            color = "#111111" if i == 0 else COLORS[(i - 1) % len(COLORS)]
            highest += _curve(axes, curve, records, color, end)
        axes.set_xlabel("step")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.locator_params(axis="x", nbins=6)
        axes.legend(loc="lower right")
    top = max(highest, default=100.0)
    low = min(bottom, top - 2.0)
    for axes in grid:
        axes.set_xlim(-0.02 * end, end)
    grid[0].set_ylim(low, min(top + 0.12 * (top - low), 100.0))
    grid[0].set_ylabel("test accuracy (%)")
    return figure


def _curve(
    axes: "Axes", curve: Curve, records: Sequence[Record], color: str, end: float
) -> list[float]:
    """Draws a curve; its percentages up to the end of the axis."""
    good = [r for r in records if not analysis.has_failed(r)]
    if not good:
        return []
    # To the end of the shortest: a mean over those that go on longer would jump.
    common = min(r.steps[-1] for r in good)
    steps, accuracy = analysis.mean_curve(good)
    accuracy = [a for s, a in zip(steps, accuracy, strict=True) if s <= common]
    steps = steps[: len(accuracy)]
    percents = [100 * a for a in accuracy]
    style = (0, (4, 1.5)) if curve.dashed else "-"
    axes.plot(steps, percents, color=color, linestyle=style, linewidth=1.0, label=curve.label)
    for step, middle in list(zip(steps, percents, strict=True))[4::4]:
        there = [100 * r.test_accuracy[r.steps.index(step)] for r in good if step in r.steps]
        axes.errorbar(
            [step], [middle], [[middle - min(there)], [max(there) - middle]], fmt="none",
            ecolor=color, elinewidth=0.7, capsize=1.5, alpha=0.45,
        )  # fmt: skip
    found = curve.point.converged
    if curve.point.shown:
        ends = [step_of(t) for t in found]
        middle = statistics.fmean(ends)
        height = float(np.interp(middle, steps, percents))
        axes.errorbar(
            [middle], [height], xerr=[[middle - min(ends)], [max(ends) - middle]], fmt="o",
            color=color, markersize=6, markeredgecolor="white", capsize=3, zorder=5,
        )  # fmt: skip
    return [p for s, p in zip(steps, percents, strict=True) if s <= end]


def bars(
    groups: Mapping[str, Mapping[str, tuple[float, float, float]]],
    published: Mapping[str, Mapping[str, float]],
) -> "Figure":
    """Percentages of ours with their intervals, and the published ones as crosses.

    Args:
      groups: by panel, by name: our percentage with the ends of its interval.
      published: by panel, by name: the printed percentage.
    """
    figure = new(5.1 * len(groups), 3.6)
    grid = figure.subplots(1, len(groups), squeeze=False, sharey=True)[0]
    for axes, (title, values) in zip(grid, groups.items(), strict=True):
        names = list(values)
        where = np.arange(len(names))
        heights = [values[n][0] for n in names]
        low = [max(0.0, v - values[n][1]) for v, n in zip(heights, names, strict=True)]
        high = [max(0.0, values[n][2] - v) for v, n in zip(heights, names, strict=True)]
        axes.bar(where, heights, 0.6, color="#9CC3DC", label="ours, with 95 % interval", zorder=2)
        axes.errorbar(
            where, heights, [low, high], fmt="none", ecolor="#0072B2", capsize=2, zorder=3
        )
        printed = [published.get(title, {}).get(n, math.nan) for n in names]
        axes.plot(where, printed, "x", color="#D55E00", markersize=7, mew=2, label="published",
                  zorder=4)  # fmt: skip
        axes.set_xticks(where, names, fontsize=8)
        axes.set_title(title, loc="left")
        axes.set_ylim(0, 112)
    grid[0].set_ylabel("% of trials")
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def histograms(
    levels: Mapping[str, Mapping[str, np.ndarray]], *, limit: float, bins: int = 81
) -> "Figure":
    """Densities of the initial weights that survived: a panel a level, a line a layer.

    Args:
      levels: by title of the level, by layer: the values.
      limit: the axis spans [-limit, limit].
      bins: of the histogram.
    """
    figure = new(9.6, 2.9 * -(-len(levels) // 2))
    grid = figure.subplots(-(-len(levels) // 2), 2, squeeze=False).ravel()
    edges = np.linspace(-limit, limit, bins + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    for axes, (title, by_layer) in zip(grid, levels.items(), strict=False):
        for i, (layer, values) in enumerate(by_layer.items()):
            wide = values.size < 5000  # A few weights make a ragged line.
            counts, places = np.histogram(values, edges[::3] if wide else edges, density=True)
            centers = (places[1:] + places[:-1]) / 2 if wide else middles
            axes.plot(centers, counts, color=COLORS[(0, 1, 2)[i % 3]], label=layer, linewidth=1.2)
        axes.set_title(title, loc="left")
        axes.set_ylim(bottom=0)
        axes.set_yticks([])
    for axes in grid[len(levels) :]:
        axes.remove()
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    figure.supxlabel("value before training", fontsize=9)
    figure.supylabel("density of the distribution", fontsize=9)
    return figure


def ranked(levels: Mapping[str, Mapping[str, np.ndarray]]) -> "Figure":
    """Connections of each unit, sorted: a panel a layer, a line a level.

    Args:
      levels: by title of the level, by layer: in-degrees of the units of all trials.
    """
    layers = list(next(iter(levels.values())))
    figure = new(3.6 * len(layers), 3.5)
    grid = figure.subplots(1, len(layers), squeeze=False)[0]
    for axes, layer in zip(grid, layers, strict=True):
        for i, (title, by_layer) in enumerate(levels.items()):
            degrees = np.sort(by_layer[layer])[::-1]
            share = 100 * (np.arange(degrees.size) + 0.5) / degrees.size
            axes.plot(share, degrees, color=COLORS[(0, 1, 2)[i % 3]], label=title, linewidth=1.4)
        axes.set_title(layer, loc="left")
        axes.set_xlabel("units, best connected first (%)")
        axes.set_ylim(bottom=0)
    grid[0].set_ylabel("connections to the layer before")
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(levels))
    return figure


def against_round(
    panels: Mapping[str, Mapping[str, Mapping[int, Sequence[float]]]],
) -> "Figure":
    """Values against the prune round: mean, minimum and maximum over the trainings.

    Args:
      panels: by label of the axis, by name of the line, by round: the values.
    """
    figure = new(5.1 * len(panels), 4.1)
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (label, lines) in zip(grid, panels.items(), strict=True):
        for i, (name, by_round) in enumerate(lines.items()):
            means = [statistics.fmean(v) for v in by_round.values()]
            spread = [
                [m - min(v) for m, v in zip(means, by_round.values(), strict=True)],
                [max(v) - m for m, v in zip(means, by_round.values(), strict=True)],
            ]
            color = COLORS[i % len(COLORS)]
            axes.errorbar(
                list(by_round), means, spread, label=name, color=color, ecolor=color,
                marker=_MARKERS[i % len(_MARKERS)], markersize=3.5, linewidth=1.3,
                elinewidth=0.8, capsize=1.8,
            )  # fmt: skip
        axes.set_xlabel("prune round")
        axes.set_ylabel(label)
        axes.yaxis.set_major_formatter("{x:,.4g}")
    handles, labels = grid[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(5, len(handles)))
    return figure


def plain_curves(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]],
    *,
    zero: bool = False,
    quantile: float = 0.0,
) -> "Figure":
    """Curves against the step, shaded from first to last.

    Args:
      panels: by label of the axis, by name of the line: steps and values.
      zero: draw a line at 0.
      quantile: share of the lowest values that an axis leaves out.
    """
    import matplotlib

    figure = new(8.4 if len(panels) == 1 else 4.1 * len(panels) + 1.2, 4.1)
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    colors = matplotlib.colormaps["viridis"]
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    look = {name: colors(0.9 * i / max(1, len(names) - 1)) for i, name in enumerate(names)}
    handles: dict[str, Any] = {}
    for axes, (ylabel, lines) in zip(grid, panels.items(), strict=True):
        for name, (steps, values) in lines.items():
            marker = "o" if len(steps) < 4 else ""  # A line of one point would draw nothing.
            (handles[name],) = axes.plot(
                steps, values, color=look[name], linewidth=1.1, marker=marker, markersize=3.5
            )
        every = np.concatenate([np.asarray(v, float) for _, v in lines.values()] or [np.zeros(0)])
        if zero:
            axes.axhline(0, color="#444444", linewidth=0.8, gid=GUIDE)
            every = np.append(every, 0.0)
        if quantile and every.size and np.ptp(every):
            low, high = float(np.quantile(every, quantile)), float(every.max())
            low = min(low, 0.0) if zero else low
            axes.set_ylim(low - 0.05 * (high - low) * zero, high + 0.05 * (high - low))
        axes.set_xlabel("step")
        axes.set_ylabel(ylabel)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.locator_params(axis="x", nbins=6)
    figure.legend(handles.values(), handles.keys(), loc="outside right upper")
    return figure
