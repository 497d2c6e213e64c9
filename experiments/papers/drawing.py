"""The pictures of papers: series against density, round or step, drawn by the report room."""

from collections.abc import Callable, Mapping, Sequence
import statistics
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.papers.claims import Claim
from experiments.papers.paper import Drawing
from experiments.papers.pieces import Trainings
from experiments.papers.published import Published
from experiments.papers.results import Results
from experiments.papers.series import Missing, Place, Point, Series, shown
from experiments.papers.statistics import (
    POINTS,
    Measure,
    by_trial,
    converged_accuracy,
    convergence_step,
    merged,
)
from experiments.papers.trainings import Retrained
from ltjax.report import draw, style
from ltjax.statistics import analysis, intervals
from ltjax.training.records import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curve = tuple[Sequence[float], Sequence[float]]
"""Steps and values."""


_STEPS, _ACCURACY = "steps to convergence", "test accuracy at convergence (%)"
_CONVERGENCE: Mapping[str, Measure] = {_STEPS: convergence_step, _ACCURACY: converged_accuracy}


def drawing_of(
    caption: str,
    needs: Sequence[Trainings],
    make: Callable[[Results], "Figure | None"],
    depends: tuple = (),
) -> Drawing:
    """A picture of some trainings."""
    return Drawing(words=caption, needs=tuple(needs), depends=depends, draw=make)


def drawing_of_series(
    caption: str, every: Sequence[Series], make: Callable[[Results], "Figure | None"]
) -> Drawing:
    """A picture of some series."""
    depends = tuple(d for series in every for d in series.depends)
    return drawing_of(caption, [series.trainings for series in every], make, depends)


def against_density(
    *every: Series,
    caption: str,
    log: bool = True,
    by: draw.XAxis = "density",
    bars: bool = True,
    band: bool = False,
    measures: Mapping[str, Measure] | None = None,
) -> Drawing:
    """Measures against density or the number of kept weights, a panel each.

    Args:
      *every: the series.
      caption: of the picture; what bars and bands are is added.
      log: the axis of densities is logarithmic.
      by: `density` or `weights`.
      bars: from the smallest to the largest trial.
      band: 95 % intervals of the mean.
      measures: by label of the axis; steps to convergence and accuracy there by default.
    """

    def make(results: Results) -> "Figure | None":
        lines = {series.label: series.line(results) for series in every}
        drawn = [series for series in every if len(lines[series.label]) > 1]
        if not drawn:
            return None

        def drawn_by(measure: Measure) -> list[draw.Line]:
            return [
                _line(s, results, lines[s.label], measure, by, bars=bars, band=band) for s in drawn
            ]

        looks: Mapping[str, dict[str, Any]] = {
            _STEPS: {"y_from": 0.0, "whole": True},
            _ACCURACY: {"zoom": True, "percent": True},
        }
        panels = [
            draw.Panel(lines=drawn_by(measure), y_label=label, **looks.get(label, {}))
            for label, measure in (measures or _CONVERGENCE).items()
        ]
        return draw.lines(
            panels,
            x_label="weights kept" if by == "weights" else "weights kept (% of the prunable)",
            x_axis=by,
            log_x=log,
            legend="below",
        )

    said = [caption]
    if bars:
        said.append("bars: minimum and maximum")
    if band:
        said.append("bands: 95 % intervals of the mean")
    if measures is None:
        said.append("a line is cut where fewer than half of the trials converged")
    return drawing_of_series("; ".join(said), every, make)


def _line(
    series: Series, results: Results, points: Sequence[Point], measure: Measure, by: draw.XAxis,
    *, bars: bool, band: bool,
) -> draw.Line:  # fmt: skip
    rows: list[tuple[float, ...]] = []
    for p in points:
        x = p.kept if by == "weights" else POINTS * p.nominal
        found = [v for r in p.records if (v := measure(series, results, r)) is not None]
        if not found or not shown(series, results, p):
            rows.append((x, *[np.nan] * 5))
            continue
        inside = intervals.mean(by_trial(series, results, p, measure)) if band else None
        ends = (np.nan, np.nan) if inside is None else (inside.low, inside.high)
        rows.append((x, statistics.fmean(found), min(found), max(found), *ends))
    x, y, low, high, below, above = (list(column) for column in zip(*rows, strict=True))
    return draw.Line(
        series.label, x, y,
        low=low if bars else None, high=high if bars else None,
        band=(below, above) if band else None,
    )  # fmt: skip


def learning_curves(*panels: Sequence[Place], caption: str, bottom: float = 95.0) -> Drawing:
    """Mean test accuracy against the step, its smallest and largest, and dots at convergence.

    Args:
      *panels: the places of each panel; each is one level.
      caption: of the picture; what bars and dots are is added.
      bottom: lower end of the axis in %, lowered where no curve reaches it.
    """

    def make(results: Results) -> "Figure | None":
        drawn = [
            draw.Panel(
                lines=[line for place in places if (line := _learning_curve(place, results))],
                y_label="test accuracy (%)",
                y_from=bottom,
                percent=True,
            )
            for places in panels
        ]
        if not any(panel.lines for panel in drawn):
            return None
        return draw.lines(drawn, x_label="step", markers=False, share=True, legend="inside")

    every = [place.series for places in panels for place in places]
    said = f"{caption}: mean, minimum and maximum over trials; dots where they converged (bars: "
    return drawing_of_series(f"{said}first and last trial)", every, make)


def _learning_curve(place: Place, results: Results) -> draw.Line | None:
    """The curve of one level, to the end of its shortest training; None where it is not there."""
    series = place.series
    try:
        (point,) = place.pick(results)
    except Missing:
        return None
    good = [r for r in point.records if not analysis.has_failed(r)]
    if not good:
        return None
    common = min(r.steps[-1] for r in good)  # A mean over those that go on longer would jump.
    mean_steps, means = analysis.mean_curve(good)
    x = [s for s in mean_steps if s <= common]
    y = [POINTS * a for a in means[: len(x)]]
    spread = [[POINTS * r.test_accuracy[r.steps.index(s)] for r in good if s in r.steps] for s in x]
    dot = None
    if shown(series, results, point):
        ends = [v for r in point.records if (v := convergence_step(series, results, r)) is not None]
        dot = (statistics.fmean(ends), min(ends), max(ends))
    is_dense = place.words == "dense"
    return draw.Line(
        place.words, x, y, low=list(map(min, spread)), high=list(map(max, spread)), bar_every=4,
        dot=dot, width=1.0, color=style.INK if is_dense else "",
        dashed=isinstance(series.trainings, Retrained) and series.trainings.arm != "theta_0",
    )  # fmt: skip


def accuracy_against_step(places: Mapping[str, Place], *, caption: str) -> Drawing:
    """Test accuracy against the step of the first training at each place."""

    def make(results: Results) -> "Figure | None":
        lines = {}
        for name, place in places.items():
            try:
                records = [r for p in place.pick(results) for r in p.records]
            except Missing:
                continue
            if records and not analysis.has_failed(records[0]):
                lines[name] = curve_of(records[0])
        return None if len(lines) < 2 else against_step({"test accuracy (%)": lines})

    return drawing_of_series(caption, [place.series for place in places.values()], make)


def curve_of(record: Record) -> Curve:
    """Steps and test accuracies in %."""
    return record.steps, [POINTS * (a or 0.0) for a in record.test_accuracy]


def against_step(
    panels: Mapping[str, Mapping[str, Curve]], *, zero: bool = False, quantile: float = 0.0,
    shaded: bool = True,
) -> "Figure | None":  # fmt: skip
    """Curves against the step; None without a curve.

    Args:
      panels: by label of the axis, by name of the line.
      zero: draw a line at 0.
      quantile: share of the lowest values that an axis leaves out.
      shaded: from first to last, as rounds; else each has the colour of its own.
    """
    if not panels:
        return None
    made = [
        draw.Panel(
            lines=[draw.Line(name, *curve) for name, curve in curves.items()],
            y_label=label,
            zero=zero,
            skip=quantile,
        )
        for label, curves in panels.items()
    ]
    return draw.lines(made, x_label="step", markers=False, shaded=shaded, legend="right")


def points_by_round(
    panels: Mapping[str, Mapping[str, Mapping[float, Sequence[float]]]],
) -> "Figure | None":
    """Values against the prune round: mean, minimum and maximum over the trainings.

    Args:
      panels: by label of the axis, by name of the line, by round: the values.
    """
    if not panels:
        return None
    made = [
        draw.Panel(
            lines=[draw.summed(name, values, bars="range") for name, values in lines.items()],
            y_label=label,
        )
        for label, lines in panels.items()
    ]
    return draw.lines(made, x_label="prune round", x_axis="rounds", legend="below")


def percentage_bars(
    caption: str, published: Published, claims: Mapping[tuple[str, str], Claim]
) -> Drawing:
    """Percentages of ours with their intervals beside the published ones.

    Args:
      caption: of the picture.
      published: of the paper.
      claims: by name of the bar and of the panel.
    """
    needs, depends = merged(s for claim in claims.values() for s in claim.expressions)

    def make(results: Results) -> "Figure | None":
        panels: dict[str, list[draw.Bar]] = {}
        for (name, panel), claim in claims.items():
            try:
                ours = claim.answer(results)
            except Missing:
                return None
            printed = published[claim.id].value
            bar = draw.Bar(name, ours.value, ours.low, ours.high, printed)
            panels.setdefault(panel, []).append(bar)
        return draw.bars(panels)

    return drawing_of(caption, needs, make, depends)


def histograms(levels: Mapping[str, Mapping[str, np.ndarray]], *, limit: float) -> "Figure | None":
    """Densities of initial values: a panel a level, a line a layer."""
    made: Mapping[str, Any] = levels
    return draw.histograms(made, limit=limit, x_label="value before training") if levels else None


def ranked(levels: Mapping[str, Mapping[str, np.ndarray]]) -> "Figure | None":
    """Connections of each unit, sorted: a panel a layer, a line a level."""
    layers = list(next(iter(levels.values()), {}))
    panels = {layer: {title: by[layer] for title, by in levels.items()} for layer in layers}
    if not panels:
        return None
    return draw.ranked(
        panels, x_label="units, best connected first (%)", y_label="connections to the layer before"
    )
