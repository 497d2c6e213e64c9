"""Tables of series beyond the published numbers: every level, winners by trial, other rules."""

from collections.abc import Callable, Sequence
import dataclasses
import math
import statistics

from experiments.papers import convergence
from experiments.papers.densities import gains
from experiments.papers.paper import Tables, folded
from experiments.papers.pieces import Trainings
from experiments.papers.results import Results
from experiments.papers.series import Line, Missing, Point, Series
from experiments.papers.statistics import (
    Number,
    Statistic,
    accuracy,
    by_trial,
    converged_accuracy,
    convergence_step,
    reduction,
    steps,
)
from ltjax.report.document import Fold

_CONVERGED = (
    "Convergence and accuracy there, mean over the trials that converged. Intervals: 95 %, paired "
    "by trial, Student's t (of a ratio on its logarithm); one trial has none. Near chance: calm at "
    "less than twice what guessing reaches."
)


def tables_needing(
    make: Callable[[Results], Sequence[Fold]], *needs: Trainings, depends: tuple = ()
) -> Tables:
    """Tables that are read from some trainings."""
    return Tables(words="", needs=needs, depends=depends, make=make)


def tables_of(every: Sequence[Series], make: Callable[[Results], Sequence[Fold]]) -> Tables:
    """Tables that are read from some series."""
    depends = tuple(d for series in every for d in series.depends)
    return tables_needing(make, *(series.trainings for series in every), depends=depends)


def every_level(*every: Series) -> Tables:
    """A table a series: each level with convergence, accuracy and paired intervals."""
    heads = [
        "density %",
        "kept",
        "converged",
        "steps (min to max)",
        "faster than dense % (95 %)",
        "accuracy % (min to max)",
        "minus dense, points (95 %)",
    ]

    def make(results: Results) -> list[Fold]:
        return [
            folded(
                title=f"Every level: {series.label}",
                heads=heads,
                body=[_level(series, results, p) for p in points],
                note=_CONVERGED,
            )
            for series in every
            if (points := series.line(results))
        ]

    return tables_of(every, make)


def _level(series: Series, results: Results, here: Point) -> list[str]:
    assert series.criterion is not None
    found = [results.converged(r, series.criterion) for r in here.records]
    there = [f for f in found if f.step is not None]
    count = f"{len(there)} of {len(found)}"
    if near := sum(f.near_chance for f in there):
        count += f" ({near} near chance)"
    line = [f"{100 * here.nominal:.3g}", f"{here.kept:,}", count]
    if not there:
        return [*line, "-", "-", "-", "-"]
    at = [float(f.step or 0) for f in there]
    tests = [100 * (f.accuracy or 0.0) for f in there]
    place, dense = series.rounds([here.number]), series.dense
    is_dense = here.number == series.first
    quicker = reduction(steps(place), steps(dense), words="")
    return [
        *line,
        f"{statistics.fmean(at):,.0f} ({min(at):,.0f} to {max(at):,.0f})",
        "-" if is_dense else interval_text(results, quicker, 1),
        f"{statistics.fmean(tests):.2f} ({min(tests):.2f} to {max(tests):.2f})",
        "-" if is_dense else interval_text(results, accuracy(place) - accuracy(dense), 2),
    ]


def interval_text(results: Results, statistic: Statistic, digits: int) -> str:
    """A signed number with its interval, or a dash where there is none."""
    try:
        found: Number = statistic.measure(results)
    except Missing:
        return "-"
    text = f"{found.value:+.{digits}f}"
    if math.isnan(found.low):
        return text
    return f"{text} ({found.low:+.{digits}f} to {found.high:+.{digits}f})"


def smallest_winning(*every: Series) -> Tables:
    """The smallest density at which each trial wins against its own dense network.

    A trial wins at a density where its ticket converges no later than its own dense network, at an
    accuracy no lower.
    """

    def make(results: Results) -> list[Fold]:
        found = {
            series.label: _winning(series, results, points)
            for series in every
            if len(points := series.line(results)) > 1
        }
        trials = sorted({i for by in found.values() for i in by})
        body = [[label, *[_percent(by.get(i)) for i in trials]] for label, by in found.items()]
        return [
            folded(
                title="Smallest winning density of each trial (%)",
                heads=["", *[f"trial {i + 1}" for i in trials]],
                body=body,
                note="A trial wins where its ticket (for a control: the mean of its draws) "
                "converges no later than its own dense network, at an accuracy no lower. '-': at "
                "no density.",
            )
        ]

    return tables_of(every, make)


def _winning(series: Series, results: Results, points: Line) -> dict[int, float | None]:
    def of(point: Point) -> dict[int, tuple[float, float]]:
        try:
            at, tests = (
                by_trial(series, results, point, measure)
                for measure in (convergence_step, converged_accuracy)
            )
        except Missing:
            return {}
        return {i: (at[i], tests[i]) for i in at}

    dense, *levels = ((p.nominal, of(p)) for p in points)
    return {
        trial: min(
            (
                density
                for density, by in levels
                if trial in by and by[trial][0] <= step and by[trial][1] >= test
            ),
            default=None,
        )
        for trial, (step, test) in dense[1].items()
    }


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.3g}"


def convergence_rules(series: Series) -> Tables:
    """What the readings of footnote 5 would give, on full-length trainings."""

    def make(results: Results) -> list[Fold]:
        assert series.criterion is not None
        body = []
        for name in convergence.RULES:
            how = dataclasses.replace(series.criterion, rule=name)
            again = dataclasses.replace(series, criterion=how)
            if not (points := again.line(results)):
                continue
            found = [g for by in gains(again, results, points).values() for g in by]
            spread = statistics.stdev(found) if len(found) > 1 else math.nan
            dense = [results.converged(r, how) for r in points[0].records]
            there = [(f.step, f.accuracy) for f in dense if f.step is not None and f.accuracy]
            step, test = (statistics.fmean(x) for x in zip(*there, strict=True)) if there else (
                math.nan, math.nan
            )  # fmt: skip
            body.append(
                [
                    name,
                    f"{step:,.0f}",
                    f"{100 * test:.2f}",
                    f"{len(found)} of {sum(len(p.records) for p in points)}",
                    f"{statistics.fmean(found):.4f} (sd {spread:.4f})" if found else "-",
                ]
            )
        return [
            folded(
                title="Readings of footnote 5, on the iterative tickets of all levels",
                heads=["rule", "dense steps", "dense accuracy %", "converged",
                       "gain after convergence"],
                body=body,
                note="range: the means of the calm time span less than 0.002 (the reading used). "
                "start: none differs from the first by 0.002. step: none differs from the one "
                "before by 0.002. The paper reports a gain of 0.0019 (sd 0.00085).",
            )
        ]  # fmt: skip

    return tables_of([series], make)
