"""Tables of paper 004 beyond the published numbers: every level, winners by trial, other rules."""

from collections.abc import Mapping
import dataclasses
import math
import statistics

from experiments.paper_004 import answers
from experiments.paper_004.answers import Series
from experiments.papers import convergence
from experiments.reproduce import lines
from experiments.reproduce.lines import Point
from experiments.reproduce.rows import Table
from experiments.reproduce.trained import Results
from ltjax.statistics.intervals import Interval


def levels(results: Results, named: Mapping[str, Series]) -> list[Table]:
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
    made = []
    for name, series in named.items():
        points = lines.line(results, series)
        if points:
            body = [_level(p, points[0]) for p in points]
            made.append(
                Table(
                    title=f"Every level: {name}",
                    heads=heads,
                    body=body,
                    note="Convergence and accuracy there, mean over the trials that converged. "
                    "Intervals: 95 %, paired by trial, Student's t (of a ratio on its logarithm); "
                    "one has none. Near chance: calm at less than twice what guessing reaches.",
                )
            )
    return made


def _level(here: Point, dense: Point) -> list[str]:
    count = f"{len(here.converged)} of {len(here.trials)}"
    if here.near_chance:
        count += f" ({here.near_chance} near chance)"
    line = [f"{100 * here.nominal:.3g}", f"{here.kept:,}", count]
    if not here.converged:
        return [*line, "-", "-", "-", "-"]
    steps = [lines.step_of(t) for t in here.converged]
    accuracy = [100 * lines.accuracy_of(t) for t in here.converged]
    return [
        *line,
        f"{statistics.fmean(steps):,.0f} ({min(steps):,.0f} to {max(steps):,.0f})",
        _interval(lines.faster(here, dense) if here is not dense else None, 1),
        f"{statistics.fmean(accuracy):.2f} ({min(accuracy):.2f} to {max(accuracy):.2f})",
        _interval(lines.gained(here, dense) if here is not dense else None, 2),
    ]


def _interval(found: Interval | None, digits: int) -> str:
    if found is None:
        return "-"
    text = f"{100 * found.value:+.{digits}f}"
    if math.isnan(found.low):
        return text
    return f"{text} ({100 * found.low:+.{digits}f} to {100 * found.high:+.{digits}f})"


def smallest_winning(results: Results, named: Mapping[str, Series]) -> Table:
    """The smallest density at which each trial wins against its own dense network."""
    found = {}
    for name, series in named.items():
        if len(points := lines.line(results, series)) > 1:
            found[name] = lines.smallest_winning(points)
    trials = sorted({i for by_trial in found.values() for i in by_trial})
    body = [
        [name, *[_density(by_trial.get(i)) for i in trials]] for name, by_trial in found.items()
    ]
    return Table(
        title="Smallest winning density of each trial (%)",
        heads=["", *[f"trial {i + 1}" for i in trials]],
        body=body,
        note="A trial wins where its ticket (for a control: the mean of its draws) converges no "
        "later than its own dense network, at an accuracy no lower. '-': at no density.",
    )


def _density(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.3g}"


def rules(results: Results, series: Series) -> Table:
    """What the readings of footnote 5 would give, on full-length trainings."""
    body = []
    for name in convergence.RULES:
        how = dataclasses.replace(results.criterion, rule=name)
        again = Results(results.run, results.settings, criterion=how)
        points = lines.line(again, series)
        if not points:
            continue
        gains = answers.gains_of(points)
        spread = statistics.stdev(gains) if len(gains) > 1 else math.nan
        body.append(
            [
                name,
                f"{lines.mean(points[0].steps):,.0f}",
                f"{100 * lines.mean(points[0].accuracy):.2f}",
                f"{len(gains)} of {sum(len(p.trials) for p in points)}",
                f"{statistics.fmean(gains):.4f} (sd {spread:.4f})" if gains else "-",
            ]
        )
    return Table(
        title="Readings of footnote 5, on the iterative tickets of all levels",
        heads=["rule", "dense steps", "dense accuracy %", "converged", "gain after convergence"],
        body=body,
        note="range: the means of the calm time span less than 0.002 (the reading used). start: "
        "none differs from the first by 0.002. step: none differs from the one before by 0.002. "
        "The paper reports a gain of 0.0019 (sd 0.00085).",
    )
