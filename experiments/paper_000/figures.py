"""The figures of paper 000 beyond its learning curves."""

from collections.abc import Mapping, Sequence
import statistics
from typing import TYPE_CHECKING

import numpy as np

from experiments.paper_000.pairs import Row
from experiments.reproduce.figures import COLORS, GUIDE, new
from ltjax.training.records import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def differences(
    rows: Sequence[Row],
    *,
    printed: Mapping[float, float],
    label: str = "dense minus sparse (points)",
) -> "Figure":
    """Differences by density: a dot a split, the mean with its interval, the published.

    Args:
      rows: of a table.
      printed: published difference of means by density.
      label: of the axis.
    """
    figure = new(6.4, 3.9)
    axes = figure.subplots()
    for place, row in enumerate(rows):
        gaps = [100 * (row.dense[i] - row.sparse[i]) for i in sorted(row.dense.keys() & row.sparse)]
        shift = np.linspace(-0.12, 0.12, len(gaps)) if len(gaps) > 1 else [0.0]
        axes.plot(place + np.asarray(shift), gaps, "o", color="#9CC3DC", markersize=4,
                  label="one split" if place == 0 else "")  # fmt: skip
        if row.test is not None:
            middle = 100 * row.test.difference
            ends = [[middle - 100 * row.test.low], [100 * row.test.high - middle]]
            axes.errorbar([place + 0.22], [middle], ends, fmt="s", color="#0072B2", markersize=5,
                          capsize=3, label="mean, 95 % interval" if place == 0 else "")  # fmt: skip
        theirs = next((v for d, v in printed.items() if abs(d - row.density) < 1e-6), None)
        if theirs is not None:
            axes.plot([place + 0.34], [100 * theirs], "x", color="#D55E00", markersize=7, mew=2,
                      label="published" if place == 0 else "")  # fmt: skip
    axes.axhline(0, color="#444444", linewidth=0.8, gid=GUIDE)
    axes.set_xticks(range(len(rows)), [f"{100 * row.density:g} %" for row in rows])
    axes.set_xlim(-0.5, len(rows) - 0.4)
    axes.set_xlabel("kept in each layer")
    axes.set_ylabel(label)
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def every_split(splits: Mapping[int, Mapping[str, Record]]) -> "Figure":
    """Learning curves, a panel a split.

    Args:
      splits: by number of the split from 0, by name of the line: its training.
    """
    columns = min(5, len(splits))
    rows = -(-len(splits) // columns)
    figure = new(2.3 * columns + 0.6, 2.0 * rows + 0.6)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    names = list(dict.fromkeys(name for lines in splits.values() for name in lines))
    handles = {}
    for place, (number, lines) in enumerate(splits.items()):
        axes = grid[place]
        for name, record in lines.items():
            color = "#111111" if name == "dense" else COLORS[(names.index(name) - 1) % len(COLORS)]
            (handles[name],) = axes.plot(
                record.steps, [100 * a for a in record.test_accuracy], color=color, linewidth=1.2
            )
        axes.set_title(f"split {number + 1}", loc="left", fontsize=9)
        axes.locator_params(axis="x", nbins=4)
        axes.tick_params(labelbottom=place + columns >= len(splits))
    for axes in grid[len(splits) :]:
        axes.remove()
    figure.supxlabel("step", fontsize=9)
    figure.supylabel("test accuracy (%)", fontsize=9)
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=5)
    return figure


def by_density(lines: Mapping[str, Mapping[float, Sequence[float]]]) -> "Figure":
    """Test accuracy against density: the mean over the splits, and its standard error.

    Args:
      lines: by name, by density: accuracies of the splits in [0, 1].
    """
    figure = new(7.6, 4.3)
    axes = figure.subplots()
    for i, (name, by) in enumerate(lines.items()):
        means = [100 * statistics.fmean(v) for v in by.values()]
        errors = [100 * _standard_error(v) for v in by.values()]
        dense = name == "dense"
        color = "#111111" if dense else COLORS[i % len(COLORS)]
        axes.errorbar(
            [100 * d for d in by], means, errors, label=name, color=color, capsize=2, marker="o",
            markersize=4, linewidth=1.3, elinewidth=0.8, linestyle="--" if dense else "-",
        )  # fmt: skip
    axes.set_xlim(105, 0)
    axes.set_xlabel("kept in each layer (%)")
    axes.set_ylabel("test accuracy (%), mean and standard error")
    figure.legend(loc="outside right upper")
    return figure


def _standard_error(values: Sequence[float]) -> float:
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
