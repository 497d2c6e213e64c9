"""The rows of paper 004 on one-shot tickets: F3 to F6."""

from collections.abc import Mapping
import statistics
from typing import TYPE_CHECKING

from experiments.paper_004 import answers, tables
from experiments.paper_004.answers import worded
from experiments.paper_004.common import DENSITY, DROP, FASTER, curve, drawn
from experiments.paper_004.settings import FrankleCarbin, of_mnist
from experiments.paper_004.trainings import Trainings
from experiments.reproduce import figures, lines
from experiments.reproduce.figures import COLORS, Drawn
from experiments.reproduce.lines import step_of
from experiments.reproduce.rows import (
    Absent,
    Between,
    Bound,
    Claim,
    Experiment,
    Holds,
    Near,
)
from experiments.reproduce.trained import Results

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

    range_rule = Between(10.0)
    return Experiment(
        id="004-F3",
        depends=of_mnist,
        shows="accuracy curves of one-shot tickets, with dots where they converge",
        works=(series,),
        figures=draw,
        claims=(
            Claim(published="004-0040", ours=answers.faster_at(series, 0.25), rule=FASTER),
            Claim(
                published="004-0043",
                ours=answers.worst_between(series, 0.75, 0.25, lines.faster, min),
                rule=Bound(at_least=True),
            ),
            Claim(
                published="004-0044",
                ours=answers.worst_between(series, 0.75, 0.25, lines.gained, answers.largest_gap),
                rule=Bound(at_least=False),
            ),
            Claim(published="004-0045", ours=answers.faster_at(series, 0.25), rule=FASTER),
            Claim(
                published="004-0046",
                ours=answers.where_fastest(series),
                rule=range_rule,
                remark="ours: the density that converges fastest",
            ),
            Claim(
                published="004-0047",
                ours=answers.turning(series, lines.slower, printed=10),
                rule=Between(5.0),
                remark="ours: the largest density from which on all are slower than dense",
            ),
            Claim(
                published="004-0048",
                ours=answers.gain_after(series),
                rule=Near(0.00085, "(the published sd)"),
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

    def slower_and_less_accurate(results: Results) -> tuple[bool, str, int] | Absent:
        points = lines.line(results, control)
        if why := answers.ready(points, 0.75, 0.35):
            return why
        dense, ok, said = points[0], True, []
        for density in (0.75, 0.35):
            here = lines.at(points, density)
            assert here is not None
            ok &= lines.slower(here, dense) and lines.less_accurate(0.0)(here, dense)
            said.append(
                f"at {100 * density:g} % {answers.steps(lines.mean(here.steps))} steps, "
                f"{answers.percent(lines.mean(here.accuracy))}"
            )
        last = lines.at(points, 0.35)
        assert last is not None
        spreads = [max(map(step_of, p.converged)) - min(map(step_of, p.converged))
                   for p in (last, dense)]  # fmt: skip
        ok &= spreads[0] > spreads[1]
        said.append(
            f"dense {answers.steps(lines.mean(dense.steps))} steps, "
            f"{answers.percent(lines.mean(dense.accuracy))}; range of steps at 35 % "
            f"{answers.steps(spreads[0])}, dense {answers.steps(spreads[1])}"
        )
        return ok, "; ".join(said), len(last.trials)

    times = Near(0.2, "times")
    return Experiment(
        id="004-F4",
        depends=of_mnist,
        shows="accuracy curves of one-shot tickets and of their masks drawn afresh (control 1)",
        works=(series, control),
        figures=draw,
        claims=(
            Claim(
                published="004-0049",
                ours=answers.times_as_fast(series, control, 0.35),
                rule=times,
            ),
            Claim(
                published="004-0050",
                ours=answers.times_as_fast(series, control, 0.25),
                rule=times,
            ),
            Claim(published="004-0051", ours=answers.slower_at(control, 0.35), rule=Near(10.0)),
            Claim(
                published="004-0052",
                ours=worded(slower_and_less_accurate),
                rule=Holds(
                    "at 75 and 35 % the control is slower and less accurate than dense in the "
                    "mean, and its steps at 35 % spread wider"
                ),
            ),
        ),
    )


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

    return Experiment(
        id="004-F5",
        depends=of_mnist,
        shows="convergence and accuracy of one-shot tickets and of control 1 at every density",
        works=(series, control),
        figures=draw,
        claims=(
            Claim(
                published="004-0053",
                ours=answers.where_fastest(series),
                rule=Between(10.0),
                remark="ours: the density that converges fastest",
            ),
            Claim(published="004-0054", ours=answers.holds_until(series, DROP), rule=Near(5.0)),
            Claim(
                published="004-0055",
                ours=answers.turning(control, lines.less_accurate(DROP), printed=30),
                rule=DENSITY,
                remark='"pruned by about 30 %" is pruned to 30 % (reading 4.15)',
            ),
            Claim(
                published="004-0056",
                ours=answers.below_at(control, 0.15),
                rule=Near(0.2),
                remark='"pruned by 15 %" is pruned to 15 % (reading 4.15)',
            ),
        ),
    )


def _one_shot_controls(t: Trainings) -> Experiment:
    series, (first, second) = t.one_shot, t.one_shot_controls

    def alike(results: Results) -> tuple[bool, str, int] | Absent:
        one, two = lines.line(results, first), lines.line(results, second)
        if why := answers.ready(one) or answers.ready(two):
            return why
        ratios = [
            lines.mean(b.steps) / lines.mean(a.steps)
            for a, b in zip(one[1:], two[1:], strict=False)
            if a.shown and b.shown
        ]
        if not ratios:
            return Absent("fewer than half of the trials converged")
        drops = [lines.first_below(x, lines.less_accurate(DROP)) or 0.0 for x in (one, two)]
        middle = statistics.fmean(ratios)
        text = (
            f"steps of control 2 over control 1: {middle:.2f} in the mean of {len(ratios)} "
            f"levels; accuracy drops at {100 * drops[0]:.3g} % (1) and {100 * drops[1]:.3g} % (2)"
        )
        return 0.8 <= middle <= 1.25 and drops[1] >= drops[0], text, len(one[0].trials)

    return Experiment(
        id="004-F6",
        depends=of_mnist,
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
                ours=worded(alike),
                rule=Holds(
                    "steps of the controls within a factor of 1.25 in the mean, and control 2 "
                    "loses 0.15 points of accuracy at no smaller density"
                ),
            ),
        ),
        tables=lambda results: tables.levels(
            results, {"control 1, one-shot": first, "control 2, one-shot": second}
        ),
    )
