"""The rows of paper 004 on iterative tickets: F7, F8 and F16."""

from collections.abc import Sequence

from experiments.paper_004 import answers, tables
from experiments.paper_004.common import (
    DENSITY,
    DROP,
    FASTER,
    ONE_LEVEL,
    SPEEDS,
    drawn,
    iterative_axis,
    one_shot_axis,
)
from experiments.paper_004.settings import FrankleCarbin
from experiments.paper_004.trainings import Trainings
from experiments.reproduce import lines
from experiments.reproduce.lines import Point, accuracy_of
from experiments.reproduce.retrainings import Retrain
from experiments.reproduce.rows import Claim, Experiment
from experiments.reproduce.rules import Absent, Between, Near, Ordered, Quantity, Side
from experiments.reproduce.searches import Search
from experiments.reproduce.trained import Results
from ltjax.statistics import intervals
from ltjax.statistics.intervals import Interval


def experiments(settings: FrankleCarbin) -> tuple[Experiment, ...]:
    """F7, F8 and F16."""
    t = Trainings(settings)
    return (_iterative(t), _iterative_controls(t), _continued(t))


def _iterative(t: Trainings) -> Experiment:
    one_shot, iterative = t.one_shot, t.iterative

    shots, rounds = one_shot_axis(t.settings), iterative_axis(t.settings)

    def as_fast_at_2(results: Results) -> Sequence[Side] | Absent:
        points = lines.line(results, iterative)
        if why := answers.ready(points, 0.018):
            return why
        here = lines.at(points, 0.018)
        assert here is not None
        found = answers.points_of(lines.faster(here, points[0]))
        return [Side("faster at 1.8 %", found, "%", above=-3.0)]

    def final(results: Results) -> Quantity | Absent:
        points = lines.line(results, iterative)
        if len(points) <= iterative.levels:
            return answers.NOT_RUN
        return Quantity(100 * points[-1].nominal, n=len(points[-1].trials))

    return Experiment(
        id="004-F7",
        also=t.settings.judged,
        shows="one-shot against iterative pruning",
        works=(one_shot, iterative),
        figures=drawn(
            [("iterative", iterative, ""), ("one-shot", one_shot, "")],
            log=True,
            band=True,
            caption="Iterative and one-shot tickets; bars: minimum and maximum, bands: 95 % "
            "intervals of the mean",
        ),
        claims=(
            Claim(
                published="004-0041",
                ours=answers.faster_at(iterative, 0.0859),
                rule=FASTER,
                axis=SPEEDS,
            ),
            Claim(
                published="004-0042",
                ours=answers.ordered(as_fast_at_2),
                rule=Ordered("at 1.8 % at most 3 % slower than dense"),
            ),
            *(
                Claim(published=e, ours=answers.faster_at(what, at), rule=FASTER, axis=SPEEDS)
                for e, what, at in (
                    ("004-0058", iterative, 0.41),
                    ("004-0059", iterative, 0.0859),
                    ("004-0060", one_shot, 0.55),
                    ("004-0061", one_shot, 0.4),
                )
            ),
            Claim(
                published="004-0062",
                ours=answers.turning(iterative, lines.slower, printed=1.8),
                rule=DENSITY,
                axis=rounds,
                remark="ours: the largest density from which on all are slower than dense",
            ),
            Claim(
                published="004-0063",
                ours=answers.turning(one_shot, lines.slower, printed=5),
                rule=Between(5.0),
                axis=shots,
                remark="section 3.2 says 10 to 15 %",
            ),
            Claim(
                published="004-0064",
                ours=answers.turning(iterative, lines.less_accurate(0.0), printed=2.8),
                rule=DENSITY,
                axis=rounds,
            ),
            Claim(
                published="004-0065",
                ours=answers.turning(one_shot, lines.less_accurate(DROP), printed=15),
                rule=ONE_LEVEL,
                axis=shots,
            ),
            Claim(
                published="004-0066",
                ours=answers.trainings_to(0.05, t.settings.rate),
                rule=Near(0.5, "trainings"),
                axis=range(1, 31),
            ),
            Claim(published="004-0067", ours=final, rule=Near(0.15), axis=rounds),
        ),
        tables=lambda results: [
            *tables.levels(results, {"iterative": iterative, "one-shot": one_shot}),
            tables.smallest_winning(results, {"iterative": iterative, "one-shot": one_shot}),
            tables.rules(results, iterative),
        ],
    )


def _iterative_controls(t: Trainings) -> Experiment:
    iterative, (first, second) = t.iterative, t.iterative_controls
    rounds = iterative_axis(t.settings)
    return Experiment(
        id="004-F8",
        also=t.settings.judged,
        shows="iterative tickets with both controls, and one-shot pruning",
        works=(iterative, first, second, t.one_shot),
        figures=drawn(
            [
                ("iterative tickets", iterative, ""),
                ("reinitialized (control 1)", first, ""),
                ("shuffled (control 2)", second, ""),
                ("one-shot", t.one_shot, ""),
            ],
            log=True,
            band=True,
            caption="Iterative tickets, both controls and one-shot tickets; a line is cut where "
            "fewer than half of the trials converged; bars: minimum and maximum, bands: 95 % "
            "intervals",
        ),
        claims=(
            Claim(
                published="004-0068",
                ours=answers.turning(first, lines.less_accurate(DROP), printed=31),
                rule=DENSITY,
                axis=rounds,
            ),
            Claim(
                published="004-0069",
                ours=answers.turning(iterative, lines.less_accurate(DROP), printed=1.5),
                rule=DENSITY,
                axis=rounds,
            ),
            Claim(
                published="004-0070",
                ours=answers.turning(second, lines.less_accurate(DROP), printed=51.2),
                rule=DENSITY,
                axis=rounds,
            ),
        ),
        tables=lambda results: [
            *tables.levels(results, {"control 1": first, "control 2": second}),
            tables.smallest_winning(
                results, {"iterative": iterative, "control 1": first, "control 2": second}
            ),
        ],
    )


def _continued(t: Trainings) -> Experiment:
    reset: Search = t.iterative
    continued: Retrain = t.continued

    def small_advantage(results: Results) -> Sequence[Side] | Absent:
        ours, theirs = lines.line(results, reset), lines.line(results, continued)
        if why := answers.ready(ours) or answers.ready(theirs):
            return why
        both = [p for p in zip(ours[1:], theirs[1:], strict=False) if p[0].shown and p[1].shown]
        large = [p for p in both if p[0].nominal >= 0.2]
        small = [p for p in both if p[0].nominal < 0.05]
        if not large or not small:
            return answers.NOT_RUN

        def ahead(levels: Sequence[tuple[Point, Point]]) -> Interval | None:
            a, b = (lines.averaged(points, accuracy_of) for points in zip(*levels, strict=True))
            return answers.points_of(intervals.difference(a, b))

        return [
            Side("resetting ahead from 20 % on", ahead(large), "points", -0.1, 0.1),
            Side("resetting ahead below 5 %", ahead(small), "points"),
        ]

    return Experiment(
        id="004-F16",
        also=t.settings.judged,
        shows="resetting each round against continuing with trained weights (Han et al.)",
        works=(reset, continued),
        figures=drawn(
            [("reset each round", reset, ""), ("continued (Han et al.)", continued, "")],
            log=True,
            caption="Tickets found with and without resetting; both train from the initial values",
        ),
        claims=(
            Claim(
                published="004-0081",
                ours=answers.ordered(small_advantage),
                rule=Ordered(
                    "accuracies within 0.1 points in the mean from 20 % on, and resetting ahead "
                    "below 5 %"
                ),
            ),
        ),
        tables=lambda results: tables.levels(results, {"continued": continued}),
    )
