"""Figures: what the records show, drawn with matplotlib where it is installed."""

from collections.abc import Callable, Iterable, Sequence
import math
from typing import TYPE_CHECKING, Any

from ltjax.report import curves, layers, style
from ltjax.statistics import analysis
from ltjax.statistics.analysis import Row
from ltjax.training.records import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TICKS = [a * 10.0**-e for e in range(2, 9) for a in (1, 2, 5)] + [0.1, 0.2, 0.5, 1.0]
_DENSE = ", dense"  # Ends the label of a dense reference.
_DODGE = 1.006  # Ratio of density between arms, so that their error bars do not hide each other.


def figures(records: Iterable[Record]) -> dict[str, "Figure"]:
    """The figures by name: accuracy, steps, curves and layers of each phase.

    Without matplotlib there are none, and none that would have nothing to show (`missing`).
    `style.svg` and `style.png` turn one into a file.
    """
    if not style.available():
        return {}
    import matplotlib

    records = list(records)
    rows = analysis.summarize(records)
    names = analysis.arms(rows)
    drawn: dict[str, Figure] = {}
    with matplotlib.rc_context(style.RC):
        for phase in analysis.phases(rows):
            there = [r for r in rows if r.phase == phase]
            trained = [r for r in records if r.phase == phase]
            makers: dict[str, Callable[[], Figure]] = {
                "accuracy": lambda: accuracy(there, names),  # noqa: B023
                "steps": lambda: steps(there, names),  # noqa: B023
                "curves": lambda: curves.draw(trained),  # noqa: B023
                "layers": lambda: layers.draw(there),  # noqa: B023
            }
            absent = missing(there, trained)
            drawn |= {f"{phase}_{k}": make() for k, make in makers.items() if k not in absent}
    return drawn


def missing(rows: Sequence[Row], records: Sequence[Record]) -> dict[str, str]:
    """Why a kind of figure of one phase would have nothing to show, by kind; others are absent.

    Args:
      rows: the rows of one phase.
      records: the trainings of that phase.
    """
    points = [r for r in rows if r.level > 0 and r.n and r.kept]
    against = "" if points else "no pruned level keeps a weight and trained"
    reasons = {
        "accuracy": against,
        "steps": against,
        "curves": curves.missing(records),
        "layers": layers.missing(rows),
    }
    return {kind: why for kind, why in reasons.items() if why}


def accuracy(rows: Sequence[Row], names: Sequence[str]) -> "Figure":
    """Test accuracy at the best evaluation against density, in one phase.

    Where some arm falls far below the dense network, a second panel shows the surroundings of
    the dense accuracy.

    Args:
      rows: the rows of one phase.
      names: all arms of the run, for their colours.
    """
    from matplotlib.figure import Figure

    near = _near_dense(rows)
    figure = Figure(figsize=(9.6 if near else 8.4, 3.9), layout="constrained")
    panels = figure.subplots(1, 2 if near else 1, squeeze=False)[0]
    for axes in panels:
        _against_density(axes, rows, names, _accuracy_of)
        axes.set_ylabel("test accuracy at the best evaluation (%)")
        axes.set_ylim(top=min(axes.get_ylim()[1], 100.5))
    if near:
        panels[0].set_title("all", loc="left")
        panels[1].set_title("near the dense network", loc="left")
        panels[1].set_ylabel("")
        panels[1].set_ylim(*near)
    _legend(figure, panels[0])
    return figure


def steps(rows: Sequence[Row], names: Sequence[str]) -> "Figure":
    """Steps to the best evaluation against density, in one phase.

    Args:
      rows: the rows of one phase.
      names: all arms of the run, for their colours.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 3.9), layout="constrained")
    axes = figure.subplots()
    _against_density(axes, rows, names, _steps_of)
    axes.set_ylabel("steps to the best evaluation")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    _legend(figure, axes)
    return figure


def _accuracy_of(row: Row) -> tuple[float, float]:
    return 100 * row.accuracy, 100 * row.accuracy_sd


def _steps_of(row: Row) -> tuple[float, float]:
    return row.best_step, row.best_step_sd


def _against_density(
    axes: "Axes",
    rows: Sequence[Row],
    names: Sequence[str],
    value: Callable[[Row], tuple[float, float]],
) -> None:
    """Draws mean and standard deviation of each arm, and the dense level across."""
    import matplotlib.colors

    present = analysis.arms(rows)
    dense = [r for r in rows if r.level == 0 and r.n]
    # The controls' dense networks would only crowd those that tickets are judged by.
    dense = [r for r in dense if r.arm in analysis.START_POINTS] or dense
    shown = [r for r in rows if r.n and r.kept]  # Density 0 has no place on a log axis.
    for i, arm in enumerate(present):
        line = [r for r in shown if r.arm == arm]
        look: dict[str, Any] = style.look(arm, names)
        dodge = _DODGE ** (i - (len(present) - 1) / 2)
        if not line:
            continue
        means, sds = zip(*map(value, line), strict=True)
        faint = matplotlib.colors.to_rgba(look["color"], 0.4)
        axes.errorbar(
            [r.density * dodge for r in line],
            means,
            [0 if math.isnan(sd) else sd for sd in sds],
            label=arm,
            ecolor=faint,
            elinewidth=1.0,
            capsize=1.5,
            **look,
        )
        for row, mean in zip(line, means, strict=True):
            if row.failed:
                axes.annotate(
                    f"{row.failed} failed",
                    (row.density * dodge, mean),
                    (0, 4 + 7 * i),  # So that those of several arms stay legible.
                    textcoords="offset points",
                    color=look["color"],
                    fontsize=6.5,
                    ha="center",
                )
    for row in dense:
        mean, sd = value(row)
        label, color = row.arm + _DENSE, style.look(row.arm, names)["color"]
        axes.axhline(mean, color=color, ls=(0, (2, 1.5)), lw=1.0, label=label, zorder=1)
        if len(dense) == 1 and not math.isnan(sd):  # Several bands would hide each other.
            axes.axhspan(mean - sd, mean + sd, color=color, alpha=0.08, linewidth=0, zorder=0)
    _density_axis(axes, [r.density for r in shown])


def _density_axis(axes: "Axes", densities: Sequence[float]) -> None:
    low = min(densities, default=0.5)
    axes.set_xscale("log")
    axes.set_xlim(1.08, min(low, 0.9) / 1.08)  # Dense on the left, as in the papers.
    ticks = sorted(t for t in _TICKS if t >= low / 1.08)
    axes.set_xticks(ticks, [f"{100 * t:g}" for t in ticks])
    axes.set_xticks(sorted(set(densities)), [], minor=True)
    axes.set_xlabel("density: weights kept (% of the prunable)")


def _near_dense(rows: Sequence[Row]) -> tuple[float, float] | None:
    """Limits in percent around the dense accuracy; None where all rows lie near it."""
    dense = [r for r in rows if r.level == 0 and r.n]
    good = [r.accuracy for r in rows if r.n]
    if not dense:
        return None
    lowest = min(r.accuracy for r in dense)
    noise = max((r.accuracy_sd for r in dense if not math.isnan(r.accuracy_sd)), default=0.0)
    span = max(max(good) - lowest, 3 * noise, 0.002)
    bottom, top = lowest - 2 * span, max(good) + noise + 0.3 * span
    if min(good) > lowest - 4 * span:
        return None
    return 100 * bottom, 100 * min(top, 1.0 + 0.1 * span)


def _legend(figure: "Figure", axes: "Axes") -> None:
    found = list(zip(*axes.get_legend_handles_labels(), strict=True))
    found.sort(key=lambda pair: pair[1].endswith(_DENSE))  # The arms first, else as drawn.
    figure.legend(*zip(*found, strict=True), loc="outside right upper")
