"""The rows of paper 004 on parameters: F11 to F15."""

from collections.abc import Mapping
import itertools

from experiments.paper_004 import answers
from experiments.paper_004.answers import Series, worded
from experiments.paper_004.common import DROP, drawn
from experiments.paper_004.settings import FrankleCarbin, of_mnist
from experiments.paper_004.trainings import Trainings
from experiments.reproduce import lines
from experiments.reproduce.lines import accuracy_of, step_of
from experiments.reproduce.rows import (
    Absent,
    Claim,
    Experiment,
    Holds,
    Near,
    Within,
)
from experiments.reproduce.trained import Results


def experiments(settings: FrankleCarbin) -> tuple[Experiment, ...]:
    """F11 to F15."""
    t = Trainings(settings)
    return (_large_sds(t), _small_sds(t), _sizes_one_shot(t), _sizes_iterative(t), _rates(t))


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
        return ok, _said(found), t.settings.parameter_replicates

    return Experiment(
        id="004-F11",
        depends=of_mnist,
        shows="one-shot tickets of networks with larger initial weights",
        works=tuple(t.by_sd(sds).values()),
        figures=drawn(
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
        return ok, _said(found), t.settings.parameter_replicates

    return Experiment(
        id="004-F12",
        depends=of_mnist,
        shows="one-shot tickets of networks with smaller initial weights",
        works=tuple(t.by_sd(sds).values()),
        figures=drawn(
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
            series["300-100"], lines.less_accurate(DROP), printed=150_000, weights=True
        )
        claims.append(Claim(published="004-0077", ours=ours, rule=Within(1.4)))
    return Experiment(
        id="004-F13",
        depends=of_mnist,
        shows="one-shot tickets of networks of several sizes, by the number of weights",
        works=tuple(series.values()),
        figures=drawn(
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
        return ok, "; ".join(said), t.settings.parameter_replicates

    return Experiment(
        id="004-F14",
        depends=of_mnist,
        shows="iterative tickets of networks of several sizes, by the number of weights",
        works=tuple(series.values()),
        figures=drawn(
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
        return ok, f"at 8 % density, {said}", t.settings.parameter_replicates

    return Experiment(
        id="004-F15",
        depends=of_mnist,
        shows="iterative pruning at several rates",
        works=tuple(series.values()),
        figures=drawn(
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
            Claim(
                published="004-0080",
                ours=answers.trainings_to(0.05, 0.1),
                rule=Near(1.0, "trainings"),
            ),
        ),
    )
