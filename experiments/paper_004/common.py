"""What the rows of paper 004 on MNIST share: tolerances, and how their lines are drawn."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from experiments.paper_004.answers import Series
from experiments.paper_004.settings import FrankleCarbin
from experiments.reproduce import figures, lines
from experiments.reproduce.figures import Curve, Drawn
from experiments.reproduce.rules import Near, Within, span
from experiments.reproduce.trained import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure


FASTER = Near(1.5)
"""The numbers of one sentence, at other densities, lie two and three points apart: a rule that is
to tell them apart is narrower (the three points of reading 4.14 agree with half of the others)."""

SPEEDS = span(0.0, 50.0)
"""Percent faster than dense: from not at all to just above the most that is printed."""

DENSITY = Within(1.6)  # Two rounds at 20 %.

ONE_LEVEL = Near(5.0)
"""One-shot densities lie five points apart."""


DROP = 0.0015
"""The paper's "within 0.15 %"."""


def one_shot_axis(settings: FrankleCarbin) -> tuple[float, ...]:
    """The densities that a one-shot line can be read off at, in %: its levels, and none."""
    return (*(100 * d for d in settings.one_shot()), 0.0)


def iterative_axis(settings: FrankleCarbin) -> tuple[float, ...]:
    """The densities that an iterative line can be read off at, in %: its levels, and none."""
    return (*(100 * (1 - settings.rate) ** n for n in range(1, settings.levels + 1)), 0.0)


def drawn(
    drawn: Sequence[tuple[str, Series, str]], *, log: bool, caption: str, by: str = "percent",
    bars: bool = True, band: bool = False,
) -> Callable[[Results], Mapping[str, "Figure"]]:  # fmt: skip
    """A figure against density of several series (label, series, colour or empty)."""

    def draw(results: Results) -> Mapping[str, "Figure"]:
        there = [
            Drawn(label, points, bars=bars, band=band, color=color)
            for label, series, color in drawn
            if len(points := lines.line(results, series)) > 1
        ]
        return {caption: figures.against_density(there, log=log, by=by)} if there else {}

    return draw


def curve(points: lines.Line, density: float, label: str = "", *, dashed: bool = False) -> list:
    """The learning curves at a density: one, or none where it was not trained."""
    here = points[0] if density == 1.0 and points else lines.at(points, density)
    if here is None:
        return []
    return [Curve(label or f"{100 * density:g} %", here, dashed=dashed)]
