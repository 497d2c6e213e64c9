"""Pictures of plain numbers: lines in panels, bars, histograms, dots.

A caller hands over numbers and labels; colours, markers, axes and legends are chosen here. What
has one label has one look in all panels of a figure. NaN is no value: a line is cut there.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import math
import textwrap
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ltjax.report import style
from ltjax.report.panels import Line, Panel, Reference, limits, summed, union

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Bar", "Dots", "Line", "Panel", "Reference", "bars", "dots", "histograms", "lines",
           "ranked", "summed"]  # fmt: skip

XAxis = Literal["steps", "density", "weights", "rounds"]
Place = Literal["right", "below", "above", "inside"]
_FAR = "lower accuracies are cut off"
_LIGHT = "#9CC3DC"


@style.styled
def lines(
    panels: Sequence[Panel],
    *,
    x_label: str,
    x_axis: XAxis = "steps",
    log_x: bool = False,
    x_limits: tuple[float, float] | None = None,
    dodge: float = 1.0,
    markers: bool = True,
    shaded: bool = False,
    columns: int = 3,
    share: bool = False,
    size: tuple[float, float] = (5.1, 3.7),
    legend: Place = "right",
    legend_title: str = "",
) -> "Figure":
    """Lines in panels.

    Args:
      panels: in rows, from the left; none at all makes empty axes.
      x_label: of the x axis, in all panels.
      x_axis: what x is: `density` (percent) and `weights` (a count) run from the dense network on
        the left downwards; `steps` and `rounds` (whole numbers) run upwards.
      log_x: logarithmic, for density and weights.
      x_limits: ends of the x axis; by default steps end at twice the latest dot, where there are
        dots, and everything else at the last point.
      dodge: ratio of x from line to line, so that error bars do not hide each other.
      markers: each line has a marker of its own; else only lines of less than four points.
      shaded: lines go from dark to light as they come, except those with a colour of their own;
        always where they outnumber the palette.
      columns: most panels in a row.
      share: the panels share their axes, and one label of each.
      size: of a panel in inches.
      legend: where the one legend of the figure goes; `inside` is one a panel.
      legend_title: above the legend.
    """
    panels = panels or [Panel(lines=[])]
    columns = min(columns, len(panels))
    figure, grid = _grid(len(panels), columns, size, legend=legend, share=share)
    looks = _looks([line for p in panels for line in p.lines], shaded=shaded)
    dots = [line.dot[2] for p in panels for line in p.lines if line.dot]
    if x_limits is None and dots:
        last = max(max(line.x, default=0.0) for p in panels for line in p.lines)
        end = min(last, 2 * max(dots))
        x_limits = (-0.02 * end, end)
    for number, (axes, panel) in enumerate(zip(grid, panels, strict=True)):
        for reference in panel.references:
            _reference(axes, reference)
        for i, line in enumerate(panel.lines):
            ratio = dodge ** (i - (len(panel.lines) - 1) / 2)
            _line(axes, line, looks[line.label], ratio, markers=markers)
        if panel.zero:
            axes.axhline(0, color="#444444", linewidth=0.8, gid=style.GUIDE)
        axes.set_title(textwrap.fill(panel.title, 50, break_long_words=False))
        every = [x for p in panels for n in p.lines for x in n.x]
        _x_axis(axes, every, x_axis, log=log_x, bins=min(8, round(1.3 * size[0])))
        if panel.names:
            axes.set_xticks(range(len(panel.names)), panel.names)
            axes.set_xlim(-0.5, len(panel.names) - 0.4)
        if x_limits:
            axes.set_xlim(*x_limits)
        _y_axis(axes, union(panels) if share else panel, x_limits)
        if len(panels) > columns:
            axes.tick_params(labelbottom=not share or number + columns >= len(panels))
        else:
            axes.set_xlabel(x_label)
        if not share:
            axes.set_ylabel(panel.y_label)
        if legend == "inside":
            axes.legend(loc="lower right")
    if share:
        figure.supylabel(panels[0].y_label)
    if len(panels) > columns:
        figure.supxlabel(x_label)
    _legend(figure, legend, legend_title)
    return figure


@dataclasses.dataclass(frozen=True)
class Bar:
    """A value with the ends of its interval, and the published one where there is one."""

    label: str
    value: float
    low: float = math.nan
    high: float = math.nan
    published: float = math.nan


def bars(panels: Mapping[str, Sequence[Bar]], *, y_label: str = "% of trials") -> "Figure":
    """Percentages with their intervals, and the published ones as crosses.

    Args:
      panels: bars by title of the panel.
      y_label: of the y axes, from 0 to a little above 100.
    """
    made = []
    for title, own in panels.items():
        ours = Line(
            "ours, with 95 % interval", range(len(own)), [bar.value for bar in own],
            [bar.low for bar in own], [bar.high for bar in own], kind="bars",
        )  # fmt: skip
        names = [bar.label for bar in own]
        shown = [ours, *_published(own, 0.0)]
        made.append(
            Panel(lines=shown, title=title, names=names, y_label=y_label, y_from=0, y_to=112)
        )
    return lines(made, x_label="", columns=9, legend="below", size=(5.1, 3.3))


@dataclasses.dataclass(frozen=True)
class Dots:
    """A category: a value a trial, their mean with its interval, and the published mean."""

    label: str
    values: Sequence[float]
    mean: tuple[float, float, float] | None = None
    published: float = math.nan


def dots(
    categories: Sequence[Dots], *, x_label: str, y_label: str, trial: str = "one trial"
) -> "Figure":
    """Differences by category, around a line at 0.

    Args:
      categories: from the left.
      x_label: of the axis with the categories.
      y_label: of the axis with the differences.
      trial: what the legend calls a dot.
    """
    drawn: list[Line] = []
    for place, own in enumerate(categories):
        where = list(place + np.linspace(-0.12, 0.12, len(own.values)))
        drawn.append(Line(trial, where, own.values, kind="points", color=_LIGHT, marker="o"))
        if own.mean is not None:
            middle, low, high = ([end] for end in own.mean)
            look: dict[str, Any] = {"color": style.PALETTE[0], "marker": "s", "kind": "points"}
            drawn.append(Line("mean, 95 % interval", [place + 0.22], middle, low, high, **look))
    drawn += _published(categories, 0.34)
    names = [own.label for own in categories]
    panel = Panel(lines=drawn, names=names, y_label=y_label, zero=True)
    return lines([panel], x_label=x_label, legend="below", size=(6.4, 3.5))


def _published(every: Sequence[Bar] | Sequence[Dots], shift: float) -> list[Line]:
    values = [own.published for own in every]
    where = [place + shift for place in range(len(values))]
    line = Line("published", where, values, kind="points", color=style.PALETTE[1], marker="x")
    return [line] if np.isfinite(values).any() else []


def histograms(
    panels: Mapping[str, Mapping[str, np.ndarray]], *, limit: float, x_label: str, bins: int = 81
) -> "Figure":
    """Distributions of values as lines, in panels of two a row.

    Args:
      panels: by title of the panel, by label of the line: the values.
      limit: the axis spans [-limit, limit].
      x_label: of the axis.
      bins: of the histogram; a third of them where values are few, or their line is ragged.
    """
    edges = np.linspace(-limit, limit, bins + 1)

    def density(label: str, values: np.ndarray) -> Line:
        own = edges[:: 3 if values.size < 5000 else 1]
        counts, _ = np.histogram(values, own, density=True)
        return Line(label, list((own[1:] + own[:-1]) / 2), list(counts))

    return lines(
        _drawn_by(density, panels), x_label=x_label, x_limits=(-limit, limit), markers=False,
        columns=2, legend="above", size=(4.8, 2.7),
    )  # fmt: skip


def ranked(
    panels: Mapping[str, Mapping[str, np.ndarray]], *, x_label: str, y_label: str
) -> "Figure":
    """Values sorted from the largest, against the percentage of them so far.

    Args:
      panels: as for `histograms`.
      x_label: of the axis from 0 to 100.
      y_label: of the axis with the values.
    """

    def ranks(label: str, values: np.ndarray) -> Line:
        share = 100 * (np.arange(values.size) + 0.5) / values.size
        return Line(label, list(share), sorted(values, reverse=True))

    made = _drawn_by(ranks, panels)
    made[:1] = [dataclasses.replace(panel, y_label=y_label) for panel in made[:1]]
    return lines(made, x_label=x_label, markers=False, legend="below", size=(3.6, 3.2), columns=9)


def _drawn_by(
    line: Callable[[str, np.ndarray], Line], panels: Mapping[str, Mapping[str, np.ndarray]]
) -> list[Panel]:
    return [
        Panel(lines=[line(*each) for each in own.items()], title=title, y_from=0)
        for title, own in panels.items()
    ]


def _grid(
    count: int, columns: int, size: tuple[float, float], *, legend: str, share: bool
) -> "tuple[Figure, list[Axes]]":
    rows = -(-count // columns)
    room = {"right": (1.8, 0.0), "inside": (0.0, 0.0)}.get(legend, (0.0, 0.4))
    figure = style.new(size[0] * columns + room[0], size[1] * rows + room[1])
    grid = figure.subplots(rows, columns, squeeze=False, sharex=share, sharey=share).ravel()
    for axes in grid[count:]:
        axes.remove()
    return figure, list(grid[:count])


def _looks(every: Sequence[Line], *, shaded: bool) -> dict[str, dict[str, Any]]:
    """Colour and marker by label."""
    import matplotlib

    labels = list(dict.fromkeys(line.label for line in every))
    plain = [n for n in labels if not any(x.color for x in every if x.label == n)]
    shades = matplotlib.colormaps["viridis"]
    found = {}
    for i, label in enumerate(labels):
        place = plain.index(label) if label in plain else 0
        color: Any = style.PALETTE[place % len(style.PALETTE)]
        if shaded or len(plain) > len(style.PALETTE):
            color = shades(0.9 * place / max(1, len(plain) - 1))
        found[label] = {"color": color, "marker": style.MARKERS[i % len(style.MARKERS)]}
    return found


def _line(
    axes: "Axes", line: Line, look: Mapping[str, Any], dodge: float, *, markers: bool
) -> None:
    x, y = dodge * np.asarray(line.x, float), np.asarray(line.y, float)
    color = line.color or look["color"]
    marker = look["marker"] if markers else "o" if np.isfinite(y).sum() < 4 else ""
    if line.kind == "bars":
        axes.bar(x, y, 0.6, label=line.label, color=_LIGHT, zorder=2)
    else:
        axes.plot(
            x, y, label=line.label, color=color, linewidth=line.width, zorder=3,
            linestyle="" if line.kind == "points" else style.DASHES if line.dashed else "-",
            marker=marker if line.marker is None else line.marker,
            **({"markersize": 6, "markeredgewidth": 1.5} if line.kind == "points" else {}),
        )  # fmt: skip
    if line.low is not None and line.high is not None:
        chosen = slice(line.bar_every, None, line.bar_every) if line.bar_every > 1 else slice(None)
        reach = _reach(y[chosen], line.low[chosen], line.high[chosen])
        axes.errorbar(
            x[chosen], y[chosen], reach, fmt="none", ecolor=color, elinewidth=0.9, capsize=1.8,
            alpha=0.45, zorder=2,
        )  # fmt: skip
    if line.band is not None:
        axes.fill_between(x, *line.band, color=color, alpha=0.15, linewidth=0, zorder=1)
    if line.dot is not None:
        middle, low, high = line.dot
        axes.errorbar(
            [middle], [np.interp(middle, x, y)], xerr=[[middle - low], [high - middle]], fmt="o",
            color=color, markersize=6, markeredgecolor="white", capsize=3, zorder=5,
        )  # fmt: skip
    for place, note in enumerate(line.notes):
        if note and math.isfinite(y[place]):
            axes.annotate(
                note, (x[place], y[place]), (0, 5), textcoords="offset points", color=color,
                fontsize=6.5, ha="center",
            )  # fmt: skip


def _reference(axes: "Axes", level: Reference) -> None:
    axes.axhline(
        level.y, color=level.color, ls=(0, (2, 1.5)), lw=1.0, label=level.label, zorder=1,
        gid=style.GUIDE,
    )  # fmt: skip
    if math.isfinite(level.low + level.high):
        axes.axhspan(
            level.low, level.high, color=level.color, alpha=0.08, lw=0, zorder=0, gid=style.GUIDE
        )


def _reach(value: Any, low: Any, high: Any) -> np.ndarray:
    """Lengths of error bars; none where an end is wanting."""
    value, low, high = (np.asarray(v, float) for v in (value, low, high))
    return np.nan_to_num(np.maximum([value - low, high - value], 0.0))


def _x_axis(axes: "Axes", x: Sequence[float], kind: XAxis, *, log: bool, bins: int) -> None:
    import matplotlib.ticker

    high, low = max(x, default=100.0), min(x, default=1.0)
    if kind == "steps":
        axes.xaxis.set_major_formatter("{x:,.4g}" if high < 10 else "{x:,.0f}")
        whole = all(float(value).is_integer() for value in x)  # Else a tick of 7.5 would read 8.
        axes.locator_params(axis="x", nbins=bins, integer=whole)
    elif kind == "rounds":
        axes.set_xlim(low - 0.5, max(high, low + 1) + 0.5)
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    elif log:
        low = min(low, high / 1.2)
        axes.set_xscale("log")
        axes.set_xlim(high * 1.1, low / 1.1)
        ticks = _log_ticks(low / 1.1, high * 1.1)
        axes.set_xticks(ticks, [f"{t:,.0f}" if kind == "weights" else f"{t:g}" for t in ticks])
        axes.set_xticks(sorted(set(x)), [], minor=True)
    else:
        axes.set_xlim(high + 0.03 * (high - low) + 0.5, max(0.0, low - 0.05 * (high - low)))
        axes.xaxis.set_major_formatter("{x:,.6g}")
        axes.locator_params(axis="x", nbins=min(5, bins) if kind == "weights" else bins)


def _y_axis(axes: "Axes", panel: Panel, x_limits: tuple[float, float] | None) -> None:
    import matplotlib.ticker

    if panel.y_log:
        axes.set_yscale("log")
        axes.set_ylim(panel.y_from, panel.y_to)
        ticks = _log_ticks(*axes.get_ylim())
        axes.set_yticks(ticks, [f"{t:g}" for t in ticks])
        axes.set_yticks([], minor=True)
    elif ends := limits(panel, x_limits):
        axes.set_ylim(*ends[:2])
        if ends[2]:
            axes.set_title(_FAR, loc="right", fontsize=7.5, color="#777777")
    if panel.whole:
        axes.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    if not panel.y_log:
        axes.yaxis.set_major_formatter("{x:,.0f}" if panel.whole else "{x:,.6g}")


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten; every digit where hardly more than one would be left."""
    digits = (1, 2, 5) if high > 6 * low else range(1, 10)
    return [t for e in range(-7, 9) for a in digits if low <= (t := a * 10.0**e) <= high]


def _legend(figure: "Figure", place: Place, title: str = "") -> None:
    """One entry a label: lines first, then references."""
    found: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if not found or place == "inside":
        return
    order = sorted(found, key=lambda label: getattr(found[label], "get_gid", str)() == style.GUIDE)
    rows = 16 if place == "right" else -(-len(order) // 5)  # As long as each other.
    columns = -(-len(order) // rows)
    corner = {"right": "right upper", "below": "lower center", "above": "upper center"}[place]
    where: Any = f"outside {corner}"
    figure.legend(
        [found[label] for label in order], order, loc=where, title=title or None,
        ncols=columns,
    )  # fmt: skip
