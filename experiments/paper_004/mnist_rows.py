"""The rows of paper 004 on MNIST: F3 to F8 and F11 to F16 (F9 and F10 look inside: inside_rows)."""

from collections.abc import Callable, Mapping, Sequence
import itertools
import statistics
from typing import TYPE_CHECKING

from experiments.paper_004 import answers, tables
from experiments.paper_004.answers import Series, worded
from experiments.paper_004.settings import FrankleCarbin, of_mnist
from experiments.paper_004.trainings import Trainings
from experiments.reproduce import figures, lines
from experiments.reproduce.figures import COLORS, Curve, Drawn
from experiments.reproduce.lines import accuracy_of, step_of
from experiments.reproduce.rows import (
    Absent,
    Between,
    Bound,
    Claim,
    Experiment,
    Holds,
    Near,
    Quantity,
    Within,
)
from experiments.reproduce.works import Results, Retrain, Search

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FASTER = Near(3.0)  # Reading 4.14: the paper's own sections differ by three points.
_DENSITY = Within(1.6)  # Two rounds at 20 %.
_DROP = 0.0015
"""The paper's "within 0.15 %"."""


def experiments(settings: FrankleCarbin) -> tuple[Experiment, ...]:
    """F3 to F8 and F11 to F16."""
    t = Trainings(settings)
    return (
        _curves(t),
        _control_curves(t),
        _one_shot(t),
        _one_shot_controls(t),
        _iterative(t),
        _iterative_controls(t),
        _large_sds(t),
        _small_sds(t),
        _sizes_one_shot(t),
        _sizes_iterative(t),
        _rates(t),
        _continued(t),
    )


def _lines(
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


def _curve(points: lines.Line, density: float, label: str = "", *, dashed: bool = False) -> list:
    here = points[0] if density == 1.0 and points else lines.at(points, density)
    if here is None:
        return []
    return [Curve(label or f"{100 * density:g} %", here, dashed=dashed)]


def _curves(t: Trainings) -> Experiment:
    series = t.one_shot

    def draw(results: Results) -> Mapping[str, "Figure"]:
        points = lines.line(results, series)
        if len(points) < 2:
            return {}
        panels = [
            [c for d in densities for c in _curve(points, d)]
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
            Claim(published="004-0040", ours=answers.faster_at(series, 0.25), rule=_FASTER),
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
            Claim(published="004-0045", ours=answers.faster_at(series, 0.25), rule=_FASTER),
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
        panel = _curve(points, 1.0)
        for density in (0.75, 0.35):
            panel += _curve(points, density)
            panel += _curve(others, density, f"{100 * density:g} %, reinitialized", dashed=True)
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
        drawn = [Drawn("tickets", points, color=COLORS[0])]
        for i in range(t.settings.trials):
            others = lines.line(results, control, replicates=[i])
            if len(others) > 1:
                color = COLORS[1 + i % (len(COLORS) - 1)]
                drawn.append(Drawn(f"ticket {i + 1} reinitialized", others, color=color))
        caption = "One-shot tickets, and each with values drawn afresh; bars: minimum and maximum"
        return {caption: figures.against_density(drawn, log=False)}

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
            Claim(published="004-0054", ours=answers.holds_until(series, _DROP), rule=Near(5.0)),
            Claim(
                published="004-0055",
                ours=answers.turning(control, lines.less_accurate(_DROP), printed=30),
                rule=_DENSITY,
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
        drops = [lines.first_below(x, lines.less_accurate(_DROP)) or 0.0 for x in (one, two)]
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
        figures=_lines(
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


def trainings_to(density: float, rate: float) -> answers.Ours:
    """Trainings before the pruning that reaches about `density` (reading 4.9)."""

    def ours(results: Results) -> Quantity | Absent:
        del results
        count = 1
        while (1 - rate) ** count > 1.05 * density:
            count += 1
        return Quantity(count, text=f"{count} (by arithmetic)")

    return ours


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
        figures=_lines(
            [("iterative", iterative, ""), ("one-shot", one_shot, "")],
            log=True,
            band=True,
            caption="Iterative and one-shot tickets; bars: minimum and maximum, bands: 95 % "
            "bootstrap intervals of the mean",
        ),
        claims=(
            Claim(published="004-0041", ours=answers.faster_at(iterative, 0.0859), rule=_FASTER),
            Claim(
                published="004-0042",
                ours=worded(as_fast_at_2),
                rule=Holds("at 1.8 % at most 3 % slower than dense, in the mean"),
            ),
            Claim(published="004-0058", ours=answers.faster_at(iterative, 0.41), rule=_FASTER),
            Claim(published="004-0059", ours=answers.faster_at(iterative, 0.0859), rule=_FASTER),
            Claim(published="004-0060", ours=answers.faster_at(one_shot, 0.55), rule=_FASTER),
            Claim(published="004-0061", ours=answers.faster_at(one_shot, 0.4), rule=_FASTER),
            Claim(
                published="004-0062",
                ours=answers.turning(iterative, lines.slower, printed=1.8),
                rule=_DENSITY,
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
                rule=_DENSITY,
            ),
            Claim(
                published="004-0065",
                ours=answers.turning(one_shot, lines.less_accurate(_DROP), printed=15),
                rule=_DENSITY,
            ),
            Claim(
                published="004-0066",
                ours=trainings_to(0.05, t.settings.rate),
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
        figures=_lines(
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
                ours=answers.turning(first, lines.less_accurate(_DROP), printed=31),
                rule=_DENSITY,
            ),
            Claim(
                published="004-0069",
                ours=answers.turning(iterative, lines.less_accurate(_DROP), printed=1.5),
                rule=_DENSITY,
            ),
            Claim(
                published="004-0070",
                ours=answers.turning(second, lines.less_accurate(_DROP), printed=51.2),
                rule=_DENSITY,
            ),
        ),
        tables=lambda results: [
            *tables.levels(results, {"control 1": first, "control 2": second}),
            tables.smallest_winning(
                results, {"iterative": iterative, "control 1": first, "control 2": second}
            ),
        ],
    )


def _sd_lines(t: Trainings, sds: str) -> list[tuple[str, Series, str]]:
    return [(f"sd {sd:g}", series, "") for sd, series in t.by_sd(sds).items()]


def _sd_means(
    t: Trainings, sds: str, results: Results
) -> dict[float, tuple[float, float]] | Absent:
    """Mean steps and accuracy over the densities from 25 % on, by standard deviation."""
    found = {}
    for sd, series in t.by_sd(sds).items():
        points = lines.line(results, series)
        if why := answers.ready(points):
            return why
        found[sd] = tuple(answers.means_over(points, 0.25, v) for v in (step_of, accuracy_of))
    return found


def _said(found: Mapping[float, tuple[float, float]]) -> str:
    return "; ".join(
        f"sd {sd:g}: {answers.steps(s)} steps, {answers.percent(a)}" for sd, (s, a) in found.items()
    )


def _large_sds(t: Trainings) -> Experiment:
    sds = t.settings.large_sds

    def monotone(results: Results) -> tuple[bool, str, int] | Absent:
        found = _sd_means(t, sds, results)
        if isinstance(found, Absent):
            return found
        ordered = [found[sd] for sd in sorted(found)]
        ok = all(b[0] > a[0] and b[1] < a[1] for a, b in itertools.pairwise(ordered))
        return ok, _said(found), t.settings.parameter_trials

    return Experiment(
        id="004-F11",
        depends=of_mnist,
        shows="one-shot tickets of networks with larger initial weights",
        works=tuple(t.by_sd(sds).values()),
        figures=_lines(
            _sd_lines(t, sds),
            log=False,
            caption="One-shot tickets by standard deviation of the initialization, 0.1 and larger",
        ),
        claims=(
            Claim(
                published="004-0073",
                ours=worded(monotone),
                rule=Holds("means over 100 to 25 %: steps rise and accuracy falls with each sd"),
            ),
        ),
    )


def _small_sds(t: Trainings) -> Experiment:
    sds = t.settings.small_sds

    def sweet_spots(results: Results) -> tuple[bool, str, int] | Absent:
        found = _sd_means(t, sds, results)
        if isinstance(found, Absent):
            return found
        base, small = t.settings.init_sd, 0.025
        if small not in found:
            return answers.NOT_RUN
        ok = base == min(found, key=lambda sd: found[sd][0])
        ok &= found[small][0] > found[base][0] and found[small][1] > found[base][1]
        return ok, _said(found), t.settings.parameter_trials

    return Experiment(
        id="004-F12",
        depends=of_mnist,
        shows="one-shot tickets of networks with smaller initial weights",
        works=tuple(t.by_sd(sds).values()),
        figures=_lines(
            _sd_lines(t, sds),
            log=False,
            caption="One-shot tickets by standard deviation of the initialization, 0.1 and smaller",
        ),
        claims=(
            Claim(
                published="004-0074",
                ours=worded(sweet_spots),
                rule=Holds(
                    "means over 100 to 25 %: 0.1 needs the fewest steps; 0.025 needs more and is "
                    "more accurate"
                ),
            ),
        ),
    )


def _sizes_one_shot(t: Trainings) -> Experiment:
    series = t.by_size(iterative=False)
    claims = []
    for published, size in (("004-0075", "300-100"), ("004-0076", "600-300")):
        if size in series:
            ours = answers.where_fastest(series[size], weights=True)
            claims.append(Claim(published=published, ours=ours, rule=Within(1.4)))
    if "300-100" in series:
        ours = answers.turning(
            series["300-100"], lines.less_accurate(_DROP), printed=150_000, weights=True
        )
        claims.append(Claim(published="004-0077", ours=ours, rule=Within(1.4)))
    return Experiment(
        id="004-F13",
        depends=of_mnist,
        shows="one-shot tickets of networks of several sizes, by the number of weights",
        works=tuple(series.values()),
        figures=_lines(
            [(size, s, "") for size, s in series.items()],
            log=True,
            by="weights",
            bars=False,
            caption="One-shot tickets by size of the network (sd 0.05)",
        ),
        claims=tuple(claims),
    )


def _sizes_iterative(t: Trainings) -> Experiment:
    series = t.by_size(iterative=True)

    def bulge(results: Results) -> tuple[bool, str, int] | Absent:
        peaks, said, ok = [], [], True
        for size, search in series.items():
            points = lines.line(results, search)
            if why := answers.ready(points):
                return why
            best = max((p for p in points if p.shown), key=lambda p: lines.mean(p.accuracy))
            peaks.append(best.kept)
            ok &= best is not points[0]
            gain = lines.mean(best.accuracy) - lines.mean(points[0].accuracy)
            said.append(f"{size}: best at {best.kept:,} weights, {100 * gain:+.2f} points")
        ok &= max(peaks) <= 2 * min(peaks)
        return ok, "; ".join(said), t.settings.parameter_trials

    return Experiment(
        id="004-F14",
        depends=of_mnist,
        shows="iterative tickets of networks of several sizes, by the number of weights",
        works=tuple(series.values()),
        figures=_lines(
            [(size, s, "") for size, s in series.items()],
            log=True,
            by="weights",
            bars=False,
            caption="Iterative tickets by size of the network (sd 0.05)",
        ),
        claims=(
            Claim(
                published="004-0078",
                ours=worded(bulge),
                rule=Holds(
                    "every size is most accurate at some pruned level, and the weights kept "
                    "there differ by at most a factor of 2"
                ),
            ),
        ),
    )


def _rates(t: Trainings) -> Experiment:
    series = t.by_rate

    def slow_is_best(results: Results) -> tuple[bool, str, int] | Absent:
        at, found = 0.08, {}
        for rate, search in series.items():
            points = lines.line(results, search)
            if why := answers.ready(points):
                return why
            found[rate] = tuple(lines.interpolated(points, at, v) for v in (step_of, accuracy_of))
        if {0.1, 0.5, 0.7} - found.keys():
            return answers.NOT_RUN
        if any(value != value for pair in found.values() for value in pair):
            return Absent("fewer than half of the trials converged")
        ok = all(found[0.1][0] <= found[r][0] and found[0.1][1] >= found[r][1] for r in (0.5, 0.7))
        said = "; ".join(
            f"{100 * r:g} %: {answers.steps(s)} steps, {answers.percent(a)}"
            for r, (s, a) in found.items()
        )
        return ok, f"at 8 % density, {said}", t.settings.parameter_trials

    return Experiment(
        id="004-F15",
        depends=of_mnist,
        shows="iterative pruning at several rates",
        works=tuple(series.values()),
        figures=_lines(
            [(f"{100 * rate:g} % a round", s, "") for rate, s in series.items()],
            log=False,
            bars=False,
            caption="Iterative tickets by the share pruned in a round",
        ),
        claims=(
            Claim(
                published="004-0079",
                ours=worded(slow_is_best),
                rule=Holds(
                    "interpolated at 8 % density, pruning 10 % a round needs no more steps and is "
                    "no less accurate than 50 and 70 %"
                ),
            ),
            Claim(published="004-0080", ours=trainings_to(0.05, 0.1), rule=Near(1.0, "trainings")),
        ),
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
        figures=_lines(
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
