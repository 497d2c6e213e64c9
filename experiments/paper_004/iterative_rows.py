"""The rows of paper 004 on iterative tickets: F7, F8 and F16."""

import statistics

from experiments.paper_004 import answers, tables
from experiments.paper_004.answers import worded
from experiments.paper_004.common import DENSITY, DROP, FASTER, drawn
from experiments.paper_004.settings import FrankleCarbin, of_mnist
from experiments.paper_004.trainings import Trainings
from experiments.reproduce import lines
from experiments.reproduce.retrainings import Retrain
from experiments.reproduce.rows import (
    Absent,
    Between,
    Claim,
    Experiment,
    Holds,
    Near,
    Quantity,
)
from experiments.reproduce.searches import Search
from experiments.reproduce.trained import Results


def experiments(settings: FrankleCarbin) -> tuple[Experiment, ...]:
    """F7, F8 and F16."""
    t = Trainings(settings)
    return (_iterative(t), _iterative_controls(t), _continued(t))


def _iterative(t: Trainings) -> Experiment:
    one_shot, iterative = t.one_shot, t.iterative

    def as_fast_at_2(results: Results) -> tuple[bool, str, int] | Absent:
        points = lines.line(results, iterative)
        if why := answers.ready(points, 0.018):
            return why
        here = lines.at(points, 0.018)
        assert here is not None
        found = lines.faster(here, points[0])
        assert found is not None
        return found.value > -0.03, f"{100 * found.value:.1f} % faster at 1.8 %", found.n

    def final(results: Results) -> Quantity | Absent:
        points = lines.line(results, iterative)
        if len(points) <= iterative.levels:
            return answers.NOT_RUN
        return Quantity(100 * points[-1].density, n=len(points[-1].trials))

    return Experiment(
        id="004-F7",
        depends=of_mnist,
        shows="one-shot against iterative pruning",
        works=(one_shot, iterative),
        figures=drawn(
            [("iterative", iterative, ""), ("one-shot", one_shot, "")],
            log=True,
            band=True,
            caption="Iterative and one-shot tickets; bars: minimum and maximum, bands: 95 % "
            "bootstrap intervals of the mean",
        ),
        claims=(
            Claim(published="004-0041", ours=answers.faster_at(iterative, 0.0859), rule=FASTER),
            Claim(
                published="004-0042",
                ours=worded(as_fast_at_2),
                rule=Holds("at 1.8 % at most 3 % slower than dense, in the mean"),
            ),
            Claim(published="004-0058", ours=answers.faster_at(iterative, 0.41), rule=FASTER),
            Claim(published="004-0059", ours=answers.faster_at(iterative, 0.0859), rule=FASTER),
            Claim(published="004-0060", ours=answers.faster_at(one_shot, 0.55), rule=FASTER),
            Claim(published="004-0061", ours=answers.faster_at(one_shot, 0.4), rule=FASTER),
            Claim(
                published="004-0062",
                ours=answers.turning(iterative, lines.slower, printed=1.8),
                rule=DENSITY,
                remark="ours: the largest density from which on all are slower than dense",
            ),
            Claim(
                published="004-0063",
                ours=answers.turning(one_shot, lines.slower, printed=5),
                rule=Between(5.0),
                remark="section 3.2 says 10 to 15 %",
            ),
            Claim(
                published="004-0064",
                ours=answers.turning(iterative, lines.less_accurate(0.0), printed=2.8),
                rule=DENSITY,
            ),
            Claim(
                published="004-0065",
                ours=answers.turning(one_shot, lines.less_accurate(DROP), printed=15),
                rule=DENSITY,
            ),
            Claim(
                published="004-0066",
                ours=answers.trainings_to(0.05, t.settings.rate),
                rule=Near(1.0, "trainings"),
            ),
            Claim(published="004-0067", ours=final, rule=Near(0.15)),
        ),
        tables=lambda results: [
            *tables.levels(results, {"iterative": iterative, "one-shot": one_shot}),
            tables.smallest_winning(results, {"iterative": iterative, "one-shot": one_shot}),
            tables.rules(results, iterative),
        ],
    )


def _iterative_controls(t: Trainings) -> Experiment:
    iterative, (first, second) = t.iterative, t.iterative_controls
    return Experiment(
        id="004-F8",
        depends=of_mnist,
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
            "bootstrap intervals",
        ),
        claims=(
            Claim(
                published="004-0068",
                ours=answers.turning(first, lines.less_accurate(DROP), printed=31),
                rule=DENSITY,
            ),
            Claim(
                published="004-0069",
                ours=answers.turning(iterative, lines.less_accurate(DROP), printed=1.5),
                rule=DENSITY,
            ),
            Claim(
                published="004-0070",
                ours=answers.turning(second, lines.less_accurate(DROP), printed=51.2),
                rule=DENSITY,
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

    def small_advantage(results: Results) -> tuple[bool, str, int] | Absent:
        ours, theirs = lines.line(results, reset), lines.line(results, continued)
        if why := answers.ready(ours) or answers.ready(theirs):
            return why
        gaps = {
            a.density: lines.mean(a.accuracy) - lines.mean(b.accuracy)
            for a, b in zip(ours[1:], theirs[1:], strict=False)
            if a.shown and b.shown
        }
        large = [g for d, g in gaps.items() if d >= 0.2]
        small = [g for d, g in gaps.items() if d < 0.05]
        if not large or not small:
            return answers.NOT_RUN
        high, low = statistics.fmean(large), statistics.fmean(small)
        text = f"accuracy gap {100 * high:+.2f} points from 20 % on, {100 * low:+.2f} below 5 %"
        return abs(high) <= 0.001 and low > 0, text, len(ours[0].trials)

    return Experiment(
        id="004-F16",
        depends=of_mnist,
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
                ours=worded(small_advantage),
                rule=Holds(
                    "accuracies within 0.1 points in the mean from 20 % on, and resetting ahead "
                    "below 5 %"
                ),
            ),
        ),
        tables=lambda results: tables.levels(results, {"continued": continued}),
    )
