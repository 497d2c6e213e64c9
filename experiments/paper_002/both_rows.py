"""What section 6.2 of paper 002 says of both networks at once: 002-S6."""

from collections.abc import Callable, Mapping, Sequence
import itertools
import math

from experiments.paper_002 import rounds as r
from experiments.paper_002.common import NAMES, entries, weights
from experiments.paper_002.trainings import CONV, FC, Trainings
from experiments.reproduce.rows import Claim, Experiment
from experiments.reproduce.rules import Absent, Ordered, Quantity, Side, ordering
from experiments.reproduce.trained import Results
from ltjax.statistics import intervals

Saying = Callable[[Results, Trainings], Sequence[Side] | None]
"""(results, one network) -> its conditions; None if not trained."""


def experiment(both: Mapping[str, Trainings]) -> Experiment:
    """Lags, convergence and overlap of SNIP beside LTH; each has to hold on both networks."""
    return Experiment(
        id="002-S6",
        shows="LTH beside SNIP on both networks: what section 6.2 says",
        works=tuple(work for t in both.values() for work in (t.lth, t.snip)),
        claims=(
            Claim(
                published="002-0187",
                ours=_on(both, _lags),
                rule=Ordered(
                    "on both networks LTH is ahead at the last round, and by more than at the first"
                ),
            ),
            Claim(
                published="002-0189",
                ours=_on(both, _faster),
                rule=Ordered("mean over the rounds: LTH stops earlier than SNIP on both networks"),
            ),
            Claim(
                published="002-0190",
                ours=_on(both, _falls),
                rule=Ordered(
                    "on both networks the overlap falls with every round",
                    chance=falls_by_chance(both),
                ),
                remark="random masks of these counts do the same (reading 2.15): see the tables of "
                "T6 and T7",
            ),
        ),
    )


def falls_by_chance(both: Mapping[str, Trainings]) -> float:
    """How often independent random masks of the printed counts share less with every round."""
    chance = 1.0
    for task, table in ((FC, "Table 6"), (CONV, "Table 7")):
        size = weights(both[task])
        kept = [e.value for e in entries(table) if e.metric == "kept"]
        means = [k * k / size for k in kept]
        variances = [
            m * (1 - k / size) ** 2 * size / (size - 1) for k, m in zip(kept, means, strict=True)
        ]
        for (a, b), (u, v) in zip(
            itertools.pairwise(means), itertools.pairwise(variances), strict=True
        ):
            chance *= math.erfc((b - a) / math.sqrt(2 * (u + v))) / 2
    return chance


def _on(both: Mapping[str, Trainings], saying: Saying) -> Callable[[Results], Quantity | Absent]:
    def ours(results: Results) -> Quantity | Absent:
        sides: list[Side] = []
        for task, t in both.items():
            found = saying(results, t)
            if found is None:
                return Absent(f"{NAMES[task]} was not trained in this run")
            sides += [side._replace(what=f"{NAMES[task]}: {side.what}") for side in found]
        return ordering(sides)

    return ours


def _lags(results: Results, t: Trainings) -> Sequence[Side] | None:
    last, gaps = t.settings.levels, []
    for number in (1, last):
        lth, snip = (r.by_seed(results, s, [number], r.accuracy) for s in (t.lth, t.snip))
        if lth is None or snip is None:
            return None
        gaps.append({i: 100 * (lth[i] - snip[i]) for i in lth.keys() & snip.keys()})
    return [
        Side(f"LTH minus SNIP at round {last}", intervals.mean(gaps[1]), "points"),
        Side("more than at round 1", intervals.difference(gaps[1], gaps[0]), "points"),
    ]


def _faster(results: Results, t: Trainings) -> Sequence[Side] | None:
    numbers = range(1, t.settings.levels + 1)
    lth, snip = (r.by_seed(results, s, numbers, r.best_step) for s in (t.lth, t.snip))
    if lth is None or snip is None:
        return None
    grid = r.grid(results, t.lth, numbers)
    return [Side("SNIP minus LTH, iterations", intervals.difference(snip, lth, grid=grid))]


def _falls(results: Results, t: Trainings) -> Sequence[Side] | None:
    found = [r.overlaps(results, t.lth, t.snip, n) for n in range(1, t.settings.levels + 1)]
    shared = [{i: float(o.both) for i, o in enumerate(seeds)} for seeds in found]
    if not all(shared):
        return None
    return [
        Side(f"overlap lost at round {number}", intervals.difference(before, after))
        for number, (before, after) in enumerate(itertools.pairwise(shared), 2)
    ]
