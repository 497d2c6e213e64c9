"""The rows of paper 004 on one-shot tickets: F3 to F6."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from experiments.paper_004 import answers, tables
from experiments.paper_004.answers import POINTS
from experiments.paper_004.common import (
    DROP,
    FASTER,
    ONE_LEVEL,
    SPEEDS,
    curve,
    drawn,
    one_shot_axis,
)
from experiments.paper_004.settings import FrankleCarbin
from experiments.paper_004.trainings import Trainings
from experiments.reproduce import figures, lines
from experiments.reproduce.figures import COLORS, Drawn
from experiments.reproduce.lines import Point
from experiments.reproduce.rows import Claim, Experiment
from experiments.reproduce.rules import Absent, Between, Near, Ordered, Side, span
from experiments.reproduce.trained import Results
from ltjax.statistics import intervals

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def experiments(settings: FrankleCarbin) -> tuple[Experiment, ...]:
    """F3 to F6."""
    t = Trainings(settings)
    return (_curves(t), _control_curves(t), _one_shot(t), _one_shot_controls(t))


def _curves(t: Trainings) -> Experiment:
    series = t.one_shot

    def draw(results: Results) -> Mapping[str, "Figure"]:
        points = lines.line(results, series)
        if len(points) < 2:
            return {}
        panels = [
            [c for d in densities for c in curve(points, d)]
            for densities in ((1.0, 0.9, 0.75, 0.55), (1.0, 0.35, 0.25, 0.15, 0.05))
        ]
        caption = (
            "Test accuracy while one-shot tickets train: mean, minimum and maximum over trials; "
            "dots where they converged (bars: first and last trial)"
        )
        return {caption: figures.curves(panels)}

    axis = one_shot_axis(t.settings)

    def fast(here: Point, dense: Point) -> Side:
        found = answers.points_of(lines.faster(here, dense))
        return Side(f"faster at {100 * here.nominal:g} %", found, "%", above=25.0)

    def accurate(here: Point, dense: Point) -> Side:
        found = answers.points_of(lines.gained(here, dense))
        what = f"accuracy minus dense at {100 * here.nominal:g} %"
        return Side(what, found, "points", -POINTS * DROP, POINTS * DROP)

    return Experiment(
        id="004-F3",
        also=t.settings.judged,
        shows="accuracy curves of one-shot tickets, with dots where they converge",
        works=(series,),
        figures=draw,
        claims=(
            Claim(
                published="004-0040",
                ours=answers.faster_at(series, 0.25),
                rule=FASTER,
                axis=SPEEDS,
            ),
            Claim(
                published="004-0043",
                ours=answers.each_level(series, 0.75, 0.25, fast),
                rule=Ordered("from 75 to 25 % every level is at least 25 % faster"),
            ),
            Claim(
                published="004-0044",
                ours=answers.each_level(series, 0.75, 0.25, accurate),
                rule=Ordered("from 75 to 25 % every level is within 0.15 points of dense accuracy"),
            ),
            Claim(
                published="004-0045",
                ours=answers.faster_at(series, 0.25),
                rule=FASTER,
                axis=SPEEDS,
            ),
            Claim(
                published="004-0046",
                ours=answers.where_fastest(series),
                rule=Between(0.0),
                axis=axis,
                remark="ours: the density that converges fastest",
            ),
            Claim(
                published="004-0047",
                ours=answers.turning(series, lines.slower, printed=10),
                rule=Between(5.0),
                axis=axis,
                remark="ours: the largest density from which on all are slower than dense",
            ),
            Claim(
                published="004-0048",
                ours=answers.gain_after(series),
                rule=Near(0.00085, "(the published sd)"),
                axis=span(0.0, 0.01),
            ),
        ),
        tables=lambda results: tables.levels(results, {"one-shot": series}),
    )


def _control_curves(t: Trainings) -> Experiment:
    series, control = t.one_shot, t.one_shot_controls[0]

    def draw(results: Results) -> Mapping[str, "Figure"]:
        points, others = lines.line(results, series), lines.line(results, control)
        if len(points) < 2 or len(others) < 2:
            return {}
        panel = curve(points, 1.0)
        for density in (0.75, 0.35):
            panel += curve(points, density)
            panel += curve(others, density, f"{100 * density:g} %, reinitialized", dashed=True)
        caption = "Test accuracy of tickets and of the same masks with values drawn afresh"
        return {caption: figures.curves([panel], bottom=94.0)}

    def slower_and_less_accurate(results: Results) -> Sequence[Side] | Absent:
        points = lines.line(results, control)
        if why := answers.ready(points, 0.75, 0.35):
            return why
        dense, sides = points[0], []
        for density in (0.75, 0.35):
            here = lines.at(points, density)
            assert here is not None
            less = answers.points_of(lines.gained(dense, here))
            sides += [
                Side(f"steps minus dense at {100 * density:g} %", lines.later(here, dense)),
                Side(f"accuracy below dense at {100 * density:g} %", less, "points"),
            ]
        last = lines.at(points, 0.35)
        assert last is not None
        wider = intervals.difference(_apart(last.steps), _apart(dense.steps), grid=dense.grid)
        return [*sides, Side("distance from the mean step at 35 %, minus dense", wider)]

    factors = span(1.0, 3.0)
    return Experiment(
        id="004-F4",
        also=t.settings.judged,
        shows="accuracy curves of one-shot tickets and of their masks drawn afresh (control 1)",
        works=(series, control),
        figures=draw,
        claims=(
            Claim(
                published="004-0049",
                ours=answers.times_as_fast(series, control, 0.35),
                rule=Near(0.2, "times"),
                axis=factors,
            ),
            Claim(
                published="004-0050",
                ours=answers.times_as_fast(series, control, 0.25),
                rule=Near(0.2, "times"),
                axis=factors,
            ),
            Claim(
                published="004-0051",
                ours=answers.slower_at(control, 0.35),
                rule=Near(5.0),
                axis=SPEEDS,
            ),
            Claim(
                published="004-0052",
                ours=answers.ordered(slower_and_less_accurate),
                rule=Ordered(
                    "at 75 and 35 % the control is slower and less accurate than dense, and its "
                    "steps at 35 % lie further from their mean"
                ),
            ),
        ),
    )


def _apart(values: Mapping[int, float]) -> dict[int, float]:
    """How far each trial lies from the mean: what Levene's test compares."""
    middle = lines.mean(values)
    return {i: abs(v - middle) for i, v in values.items()}


def _one_shot(t: Trainings) -> Experiment:
    series, control = t.one_shot, t.one_shot_controls[0]

    def draw(results: Results) -> Mapping[str, "Figure"]:
        points = lines.line(results, series)
        if len(points) < 2:
            return {}
        there = [Drawn("tickets", points, color=COLORS[0])]
        for i in range(t.settings.replicates):
            others = lines.line(results, control, replicates=[i])
            if len(others) > 1:
                color = COLORS[1 + i % (len(COLORS) - 1)]
                there.append(Drawn(f"ticket {i + 1} reinitialized", others, color=color))
        caption = "One-shot tickets, and each with values there afresh; bars: minimum and maximum"
        return {caption: figures.against_density(there, log=False)}

    axis = one_shot_axis(t.settings)
    return Experiment(
        id="004-F5",
        also=t.settings.judged,
        shows="convergence and accuracy of one-shot tickets and of control 1 at every density",
        works=(series, control),
        figures=draw,
        claims=(
            Claim(
                published="004-0053",
                ours=answers.where_fastest(series),
                rule=Between(0.0),
                axis=axis,
                remark="ours: the density that converges fastest",
            ),
            Claim(
                published="004-0054",
                ours=answers.holds_until(series, DROP),
                rule=ONE_LEVEL,
                axis=axis,
            ),
            Claim(
                published="004-0055",
                ours=answers.turning(control, lines.less_accurate(DROP), printed=30),
                rule=ONE_LEVEL,
                axis=axis,
                remark='"pruned by about 30 %" is pruned to 30 % (reading 4.15)',
            ),
            Claim(
                published="004-0056",
                ours=answers.below_at(control, 0.15),
                rule=Near(0.1),
                axis=span(0.0, 1.0),
                remark='"pruned by 15 %" is pruned to 15 % (reading 4.15)',
            ),
        ),
    )


def _one_shot_controls(t: Trainings) -> Experiment:
    series, (first, second) = t.one_shot, t.one_shot_controls

    def alike(results: Results) -> Sequence[Side] | Absent:
        one, two = lines.line(results, first), lines.line(results, second)
        if why := answers.ready(one) or answers.ready(two):
            return why
        both = [p for p in zip(one[1:], two[1:], strict=False) if p[0].shown and p[1].shown]
        if not both:
            return Absent("fewer than half of the trials converged")
        (steps, ours), (others, theirs) = (
            [lines.averaged(points, value) for value in (lines.step_of, lines.accuracy_of)]
            for points in zip(*both, strict=True)
        )
        times = intervals.ratio(others, steps, grid=one[0].grid)
        below = answers.points_of(intervals.difference(ours, theirs))
        return [
            Side(f"steps of control 2 over control 1, {len(both)} levels", times, "", 0.8, 1.25),
            Side("accuracy of control 2 below control 1", below, "points"),
        ]

    return Experiment(
        id="004-F6",
        also=t.settings.judged,
        shows="one-shot tickets with both controls",
        works=(series, first, second),
        figures=drawn(
            [
                ("tickets", series, ""),
                ("reinitialized (control 1)", first, ""),
                ("shuffled (control 2)", second, ""),
            ],
            log=False,
            caption="One-shot tickets and both controls; bars: minimum and maximum",
        ),
        claims=(
            Claim(
                published="004-0057",
                ours=answers.ordered(alike),
                rule=Ordered(
                    "in the mean of the levels the steps of the controls are alike within a factor "
                    "of 1.25, and control 2 is less accurate"
                ),
            ),
        ),
        tables=lambda results: tables.levels(
            results, {"control 1, one-shot": first, "control 2, one-shot": second}
        ),
    )
