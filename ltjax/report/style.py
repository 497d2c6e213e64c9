"""Style: the looks that all figures share, and figures as bytes."""

from collections.abc import Callable
import functools
import importlib.util
import io
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MISSING_PLOTS = "No figures: matplotlib is not installed; pip install 'ltjax[plots]' brings it."

# Okabe and Ito (2008), told apart also by the colour-blind, less their yellow; then three more.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#8C564B",
           "#6A51A3", "#17807E")  # fmt: skip
MARKERS = "osD^vPX*"
INK = "#111111"
DASHES = (0, (4, 1.5))
GUIDE = "guide"
"""Marks what is drawn whether or not there are values: a line at zero, a reference."""

RC: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#666666",
    "axes.grid": True,
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "figure.constrained_layout.use": True,
    "figure.labelsize": 9,
    "font.family": "DejaVu Sans",  # Comes with matplotlib: the same glyphs on every machine.
    "font.size": 9,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
    "savefig.dpi": 160,
    "svg.fonttype": "path",
    "svg.hashsalt": "ltjax",  # Else the ids in an SVG are new in every run.
    "xtick.color": "#444444",
    "ytick.color": "#444444",
}

_Given = ParamSpec("_Given")


def available() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def styled(draw: Callable[_Given, "Figure"]) -> Callable[_Given, "Figure"]:
    """Draws in the common style."""

    @functools.wraps(draw)
    def wrapped(*args: _Given.args, **kwargs: _Given.kwargs) -> "Figure":
        import matplotlib

        with matplotlib.rc_context(RC):
            return draw(*args, **kwargs)

    return wrapped


def new(width: float, height: float) -> "Figure":
    """An empty figure of this size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))


def shows(figure: "Figure") -> bool:
    """Whether anything is drawn beside guides: a line with a point, a bar, an area."""
    return any(
        any(
            line.get_gid() != GUIDE and np.isfinite(np.asarray(line.get_ydata(), float)).any()
            for line in axes.lines
        )
        or any(patch.get_gid() != GUIDE for patch in axes.patches)
        for axes in figure.axes
    )


def svg(figure: "Figure") -> str:
    """The figure as SVG text: the same characters for the same records."""
    return _saved(figure, format="svg", metadata={"Date": None, "Creator": None}).decode()


def png(figure: "Figure") -> bytes:
    """The figure as a PNG file at 160 dots an inch."""
    return _saved(figure, format="png", metadata={"Software": None})


def _saved(figure: "Figure", **settings: Any) -> bytes:
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context(RC):
        figure.savefig(buffer, **settings)
    return buffer.getvalue()
