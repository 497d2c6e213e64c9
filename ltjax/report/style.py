"""Style: the looks that all figures share, and the figures as bytes; the one door to matplotlib."""

from collections.abc import Sequence
import importlib.util
import io
from typing import TYPE_CHECKING, Any

from ltjax.statistics import analysis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MISSING_PLOTS = "No figures: matplotlib is not installed; pip install 'ltjax[plots]' brings it."

# The colours of Okabe and Ito (2008), told apart also by the colour-blind, less their yellow.
_STARTS = {
    "ticket": "#0072B2",
    "theta_0": "#0072B2",
    "theta_k": "#009E73",
    "theta_S": "#D55E00",
    "redrawn": "#CC79A7",
}
_CONTROLS = ("#E69F00", "#56B4E9", "#7F7F7F", "#8C564B", "#6A51A3", "#17807E")
_MARKERS = "s^vDPX"

RC: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#666666",
    "axes.grid": True,
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9.5,
    "font.family": "DejaVu Sans",  # Comes with matplotlib: the same glyphs on every machine.
    "font.size": 9,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "lines.markersize": 4,
    "savefig.dpi": 160,
    "svg.fonttype": "path",
    "svg.hashsalt": "ltjax",  # Else the ids in an SVG are new in every run.
    "xtick.color": "#444444",
    "ytick.color": "#444444",
}


def available() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def look(arm: str, names: Sequence[str]) -> dict[str, Any]:
    """Line keywords of an arm: solid dots for start points, thin dashes for controls.

    Args:
      arm: start point or control.
      names: all arms of the run, in order; the place of a control says its colour.
    """
    if arm in _STARTS:
        return {"color": _STARTS[arm], "marker": "o", "linestyle": "-", "zorder": 3}
    place = [n for n in names if n not in analysis.START_POINTS].index(arm)
    return {
        "color": _CONTROLS[place % len(_CONTROLS)],
        "marker": _MARKERS[place % len(_MARKERS)],
        "linestyle": (0, (4, 1.5)),
        "linewidth": 1.2,
        "zorder": 2,
    }


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
