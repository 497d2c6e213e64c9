"""The figures of a run: accuracy, steps, learning curves and layers of each phase."""

from collections.abc import Callable, Iterable, Sequence
import dataclasses
import functools
import math
import statistics
from typing import TYPE_CHECKING, Any

from ltjax.report import draw, run_tables, style, wording
from ltjax.report.draw import Line, Panel, Reference
from ltjax.statistics import analysis
from ltjax.statistics.analysis import Row
from ltjax.training.records import OWN_DENSE, Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = {
    "accuracy": (
        "Accuracy against density",
        "Mean and standard deviation over replicates; level by level from the dense network "
        "(left) to the least dense. The broken horizontal lines are the dense networks.",
    ),
    "steps": (
        "Steps to the best evaluation against density",
        "Steps at which the best evaluation came, mean and standard deviation.",
    ),
    "curves": (
        "Learning curves",
        "Mean over replicates. The axis leaves out the steep beginning of the curves.",
    ),
    "layers": (
        "Density of each layer",
        "Mean over replicates; arms of the same layer counts share a panel.",
    ),
}
"""Title and caption of each kind of figure."""

_PRUNED = 4  # Learning curves beside the dense one.
_NO_LEVEL = "no pruned level keeps a weight and trained"


def figures(records: Iterable[Record]) -> dict[str, "Figure"]:
    """The figures by phase and kind, as `target_accuracy`.

    Without matplotlib there are none, and none that would have nothing to show (`missing`).
    `style.svg` and `style.png` turn one into a file.
    """
    records = list(records)
    rows = analysis.summarize(records)
    names = analysis.arms(rows)
    drawn = {}
    for phase in analysis.phases(rows) if style.available() else ():
        there = [r for r in rows if r.phase == phase]
        trained = [r for r in records if r.phase == phase]
        make = {
            "accuracy": functools.partial(_accuracy, there, names),
            "steps": functools.partial(_steps, there, names),
            "curves": functools.partial(_curves, trained),
            "layers": functools.partial(_layers, there),
        }
        absent = missing(there, trained)
        drawn |= {f"{phase}_{kind}": made() for kind, made in make.items() if kind not in absent}
    return drawn


def missing(rows: Sequence[Row], records: Sequence[Record]) -> dict[str, str]:
    """Why a kind of figure of one phase would have nothing to show, by kind; others are absent.

    Args:
      rows: the rows of one phase.
      records: the trainings of that phase.
    """
    against = "" if any(r.level > 0 and r.n and r.kept for r in rows) else _NO_LEVEL
    reasons = {
        "accuracy": against,
        "steps": against,
        "curves": "" if _curve_arms(records) else "no training was evaluated twice and went well",
        "layers": "" if _layer_groups(rows) else "no pruned level keeps a weight",
    }
    return {kind: why for kind, why in reasons.items() if why}


def look(arm: str, names: Sequence[str]) -> dict[str, Any]:
    """Look of an arm: solid dots for start points, dashes for controls.

    Args:
      arm: start point or control.
      names: all arms of the run, in order; the place of a control says its colour.
    """
    if arm in analysis.START_POINTS:  # No phase has both a ticket and start points.
        color = style.PALETTE[max(0, analysis.START_POINTS.index(arm) - 1)]
        return {"color": color, "marker": "o", "dashed": False}
    place = [n for n in names if n not in analysis.START_POINTS].index(arm)
    color, marker = style.PALETTE[3:][place % 7], style.MARKERS[1:][place % 7]
    return {"color": color, "marker": marker, "dashed": True}


def _accuracy(rows: Sequence[Row], names: Sequence[str]) -> "Figure":
    """Test accuracy; where some arm falls far, a second panel shows what is near the dense."""
    panel = dataclasses.replace(
        _against_density(rows, names, lambda r: (100 * r.accuracy, 100 * r.accuracy_sd)),
        y_label="test accuracy at the best evaluation (%)",
        percent=True,
    )
    panels = [panel]
    if near := _near_dense(rows):
        panels = [
            dataclasses.replace(panel, title="all"),
            dataclasses.replace(
                panel, title="near the dense network", y_label="", y_from=near[0], y_to=near[1]
            ),
        ]
    return _density_figure(panels)


def _steps(rows: Sequence[Row], names: Sequence[str]) -> "Figure":
    panel = _against_density(rows, names, lambda r: (r.best_step, r.best_step_sd))
    label = "steps to the best evaluation"
    return _density_figure([dataclasses.replace(panel, y_label=label, y_from=0)])


def _density_figure(panels: Sequence[Panel]) -> "Figure":
    return draw.lines(
        panels,
        x_label="density: weights kept (% of the prunable)",
        x_axis="density",
        log_x=True,
        dodge=1.006,
        size=(6.6 / len(panels) + 0.6 * (len(panels) - 1), 3.9),
    )


def _against_density(
    rows: Sequence[Row], names: Sequence[str], value: Callable[[Row], tuple[float, float]]
) -> Panel:
    """Mean and standard deviation of each arm, and the dense level across."""
    dense = [r for r in rows if r.level == 0 and r.n]
    # Those of the other controls would only crowd those that tickets are judged by.
    dense = [r for r in dense if r.arm in OWN_DENSE] or dense
    references = []
    for row in dense:
        mean, sd = value(row)
        sd = sd if len(dense) == 1 else math.nan  # Several bands would hide each other.
        color = look(row.arm, names)["color"]
        references.append(Reference(f"{row.arm}, dense", mean, mean - sd, mean + sd, color))
    lines = []
    for arm in analysis.arms(rows):
        own = [r for r in rows if r.arm == arm and r.n and r.kept]  # No place for density 0.
        if not own:
            continue
        values = [value(r) for r in own]
        lines.append(
            Line(
                arm,
                [100 * r.density for r in own],
                [mean for mean, _ in values],
                [mean - sd for mean, sd in values],
                [mean + sd for mean, sd in values],
                **look(arm, names),
                notes=[f"{r.failed} failed" if r.failed else "" for r in own],
            )
        )
    return Panel(lines=lines, references=references)


def _near_dense(rows: Sequence[Row]) -> tuple[float, float] | None:
    """Limits in percent around the dense accuracy; None where all rows lie near it."""
    dense = [r for r in rows if r.level == 0 and r.n]
    good = [r.accuracy for r in rows if r.n]
    if not dense:
        return None
    lowest = min(r.accuracy for r in dense)
    noise = max((r.accuracy_sd for r in dense if not math.isnan(r.accuracy_sd)), default=0.0)
    span = max(max(good) - lowest, 3 * noise, 0.002)
    if min(good) > lowest - 4 * span:
        return None
    top = min(max(good) + noise + 0.3 * span, 1.0 + 0.1 * span)
    return 100 * (lowest - 2 * span), 100 * top


def _curves(records: Sequence[Record]) -> "Figure":
    """Mean test accuracy against step: the dense and four pruned levels, a panel an arm.

    Shown are the arms with a dense network of their own; else the first that trained.
    """
    levels = select_levels(sorted({r.level for r in records if not analysis.has_failed(r)}))
    panels = []
    for arm in _curve_arms(records):
        lines = []
        for level in levels:
            group = [r for r in records if r.arm == arm and r.level == level]
            steps, accuracies = analysis.mean_curve(group)
            if steps:
                density = wording.percent(statistics.fmean(r.density for r in group))
                color = "" if level else style.INK
                percents = [100 * a for a in accuracies]
                label = f"{density} %  (level {level})"
                lines.append(Line(label, steps, percents, color=color, dashed=not level))
        panels.append(
            Panel(lines=lines, title=arm, y_label="test accuracy (%)", percent=True, skip=1 / 3)
        )
    return draw.lines(
        panels, x_label="step", markers=False, shaded=True, columns=2, share=True,
        size=_size(panels), legend_title="density",
    )  # fmt: skip


def _curve_arms(records: Sequence[Record]) -> list[str]:
    there = [r for r in records if len(r.steps) > 1 and not analysis.has_failed(r)]
    names = analysis.arms(there)
    return [n for n in names if n in OWN_DENSE] or names[:1]


def select_levels(levels: Sequence[int]) -> list[int]:
    """Level 0 where it is there, and up to four others, evenly spaced, the last included."""
    pruned = [v for v in levels if v > 0]
    if len(pruned) > _PRUNED:
        picks = [round(i * (len(pruned) - 1) / (_PRUNED - 1)) for i in range(_PRUNED)]
        pruned = [pruned[i] for i in picks]
    return [v for v in levels if v == 0] + pruned


def _layers(rows: Sequence[Row]) -> "Figure":
    """Density of each layer against level, one panel for arms of the same layer counts."""
    panels = []
    for title, group in _layer_groups(rows).items():
        layers = list(group[0].layer_densities)
        lines = [
            Line(
                name,
                [r.level for r in group],
                [100 * r.layer_densities[name] or math.nan for r in group],
                width=2.6 - 1.6 * i / len(layers),  # Equal lines stay visible.
            )
            for i, name in enumerate(layers)
        ]
        label = "weights kept in the layer (%)"
        panels.append(Panel(lines=lines, title=title, y_label=label, y_log=True, y_to=120))
    return draw.lines(
        panels, x_label="level (rounds of pruning)", x_axis="rounds", columns=2, share=True,
        size=_size(panels), legend_title="layer",
    )  # fmt: skip


def _layer_groups(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The groups in which some pruned level keeps a weight: zero has no place on a log axis."""
    return {
        title: group
        for title, group in run_tables.same_layers(rows).items()
        if any(r.level > 0 and r.kept for r in group)
    }


def _size(panels: Sequence[Panel]) -> tuple[float, float]:
    return (6.6, 3.8) if len(panels) == 1 else (3.9, 2.9)
