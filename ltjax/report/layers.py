"""Layers: how densely each layer is kept, level by level."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ltjax.statistics import analysis
from ltjax.statistics.analysis import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")


def same_layers(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows of one phase by the arms that keep the same number of weights in every layer.

    The key joins the names of these arms; the rows are those of the arm with most levels.
    """
    found: list[tuple[list[str], list[Row]]] = []
    for arm in analysis.arms(rows):
        own = [r for r in rows if r.arm == arm]
        same = next((g for g in found if _agree(g[1], own)), None)
        if same is None:
            found.append(([arm], own))
        else:
            same[0].append(arm)
            if len(own) > len(same[1]):
                same[1][:] = own
    return {", ".join(names): group for names, group in found}


def missing(rows: Sequence[Row]) -> str:
    """Why there is nothing to draw; empty where there is something."""
    return "" if _panels(rows) else "no pruned level keeps a weight"


def _panels(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The groups in which some pruned level keeps a weight: zero has no place on a log axis."""
    return {
        title: group
        for title, group in same_layers(rows).items()
        if any(r.level > 0 and any(r.layer_densities.values()) for r in group)
    }


def _agree(left: Sequence[Row], right: Sequence[Row]) -> bool:
    theirs = {r.level: r.layers for r in right}
    common = [r for r in left if r.level in theirs and r.level > 0]
    return all(r.layers == theirs[r.level] for r in common) if common else False


def draw(rows: Sequence[Row]) -> "Figure":
    """Density of each layer against level, one panel for arms of the same layer counts."""
    from matplotlib.figure import Figure
    import matplotlib.ticker

    groups = _panels(rows)
    columns, depth = min(2, len(groups)), -(-len(groups) // 2)
    width = 8.4 if columns == 1 else 9.6
    figure = Figure(figsize=(width, 0.9 + 2.9 * depth), layout="constrained")
    grid = figure.subplots(depth, columns, squeeze=False, sharey=True).ravel()
    handles = {}
    for axes, (title, group) in zip(grid, groups.items(), strict=False):
        levels = [r.level for r in group]
        for i, name in enumerate(group[0].layer_densities):
            kept = [100 * r.layer_densities[name] for r in group]
            (handles[name],) = axes.plot(
                levels,
                [k or float("nan") for k in kept],
                color=_color(i, len(group[0].layers)),
                marker="os^vDPX"[i % 7],
                markersize=3,
                linewidth=2.6 - 1.6 * i / len(group[0].layers),  # Equal lines stay visible.
            )
        axes.set_yscale("log")
        axes.set_ylim(top=120)
        axes.set_xlim(-0.5, max(*levels, 1) + 0.5)
        axes.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda y, _: f"{y:g}"))
        axes.yaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
        axes.set_title("\n".join(_wrapped(title)), loc="left")
    for axes in grid[len(groups) :]:
        axes.remove()
    figure.supxlabel("level (rounds of pruning)", fontsize=9)
    figure.supylabel("weights kept in the layer (%)", fontsize=9)
    columns = -(-len(handles) // 16)
    figure.legend(
        handles.values(), handles.keys(), loc="outside right upper", title="layer", ncols=columns
    )
    return figure


def _color(number: int, count: int) -> Any:
    """Colours of their own for few layers; for many, from the first (light) to the last (dark)."""
    import matplotlib

    if count <= len(_COLORS):
        return _COLORS[number]
    return matplotlib.colormaps["viridis_r"](number / (count - 1))


def _wrapped(title: str, room: int = 50) -> list[str]:
    lines = [""]
    for name in title.split(", "):
        if lines[-1] and len(lines[-1]) + len(name) + 2 > room:
            lines[-1] += ","
            lines.append(name)
        else:
            lines[-1] += (", " if lines[-1] else "") + name
    return lines
