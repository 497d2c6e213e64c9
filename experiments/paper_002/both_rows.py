"""What section 6.2 of paper 002 says of both networks at once: 002-S6."""

from collections.abc import Callable, Mapping
import itertools
import statistics

from experiments.paper_002 import rounds as r
from experiments.paper_002.common import NAMES
from experiments.paper_002.trainings import Trainings
from experiments.reproduce.rows import Absent, Claim, Experiment, Holds, Quantity
from experiments.reproduce.trained import Results

Saying = Callable[[Results, Trainings], tuple[str, bool] | None]
"""(results, one network) -> its numbers in words and whether they hold; None if not trained."""


def experiment(both: Mapping[str, Trainings]) -> Experiment:
    """Lags, convergence and overlap of SNIP beside LTH; each has to hold on both networks."""
    return Experiment(
        id="002-S6",
        shows="LTH beside SNIP on both networks: what section 6.2 says",
        works=tuple(work for t in both.values() for work in (t.lth, t.snip)),
        figures=lambda results: {},
        claims=(
            Claim(
                published="002-0187",
                ours=_on(both, _lags),
                rule=Holds(
                    "on both networks LTH is ahead at the last round, and by more than at the first"
                ),
            ),
            Claim(
                published="002-0189",
                ours=_on(both, _faster),
                rule=Holds("mean over the rounds: LTH stops earlier than SNIP on both networks"),
            ),
            Claim(
                published="002-0190",
                ours=_on(both, _falls),
                rule=Holds("on both networks the overlap falls with every round"),
                remark="so does chance overlap (reading 2.15): see the tables of T6 and T7",
            ),
        ),
    )


def _on(both: Mapping[str, Trainings], saying: Saying) -> Callable[[Results], Quantity | Absent]:
    def ours(results: Results) -> Quantity | Absent:
        said, holds = [], True
        for task, t in both.items():
            found = saying(results, t)
            if found is None:
                return Absent(f"{NAMES[task]} was not trained in this run")
            said.append(f"{NAMES[task]}: {found[0]}")
            holds &= found[1]
        n = next(iter(both.values())).settings.replicates
        return Quantity(text="; ".join(said), n=n, holds=holds)

    return ours


def _lags(results: Results, t: Trainings) -> tuple[str, bool] | None:
    gaps = []
    for number in (1, t.settings.levels):
        lth, snip = (r.mean_over(results, s, [number], r.accuracy) for s in (t.lth, t.snip))
        if lth is None or snip is None:
            return None
        gaps.append(100 * (lth - snip))
    text = f"LTH ahead by {gaps[0]:.2f} points at round 1, {gaps[1]:.2f} at round {number}"
    return text, gaps[1] > max(0.0, gaps[0])


def _faster(results: Results, t: Trainings) -> tuple[str, bool] | None:
    numbers = range(1, t.settings.levels + 1)
    lth, snip = (r.mean_over(results, s, numbers, r.best_step) for s in (t.lth, t.snip))
    if lth is None or snip is None:
        return None
    return f"LTH {lth:,.0f}, SNIP {snip:,.0f} iterations", lth < snip


def _falls(results: Results, t: Trainings) -> tuple[str, bool] | None:
    found = [r.overlaps(results, t.lth, t.snip, n) for n in range(1, t.settings.levels + 1)]
    shared = [statistics.fmean(o.both for o in seeds) for seeds in found if seeds]
    if len(shared) < len(found):
        return None
    falls = all(b < a for a, b in itertools.pairwise(shared))
    return f"{shared[0]:,.0f} to {shared[-1]:,.0f}", falls
