"""The rows of paper 002 on SNIP and other scores: T4, T5, F5, F6."""

from collections.abc import Callable, Mapping

from experiments.paper_002 import rounds as r
from experiments.paper_002.common import NAMES, STEPS, by_round, entries, round_table
from experiments.paper_002.trainings import FC, Trainings
from experiments.reproduce.rows import (
    Absent,
    Claim,
    Experiment,
    Holds,
    Near,
    Quantity,
    Table,
)
from experiments.reproduce.trained import Results
from ltjax import published
from ltjax.published import Published

_EXACT = Near(0.006)


def snip_table(
    t: Trainings, table: str, of: Callable[[str], bool], both: Mapping[str, Trainings]
) -> Experiment:
    """T4 or T5: early-stopping iterations of LTH and SNIP."""
    claims = []
    for e in entries(f"Table {table[1:]}"):
        number = e.setting.get("prune_iteration") or e.setting["matched_to_lth_iteration"]
        if e.metric == "weights_remaining_pct":
            claims.append(_remaining(t, e, number))
            continue
        series: r.Series = t.lth if e.setting["method"] == "LTH" else t.snip
        claims.append(
            Claim(published=e.id, ours=r.at_round(series, number, r.best_step), rule=STEPS)
        )
    if t.task == FC:
        claims.append(_remaining(t, published.entry("002-0184"), 7, instead=21.07))
        claims.append(_twice(t))
    else:
        claims.append(_faster(both))
    return Experiment(
        id=f"002-{table}",
        shows=f"early-stopping iterations of LTH and SNIP on {NAMES[t.task]}",
        works=(t.lth, t.snip),
        figures=lambda results: {},
        claims=tuple(claims),
        tables=lambda results: [round_table(results, {"LTH": t.lth, "SNIP": t.snip})],
        depends=of,
    )


_MISPRINTS = {"002-0069": 64.06, "002-0078": 32.87, "002-0087": 16.88, "002-0114": 21.30}


def _remaining(t: Trainings, e: Published, number: int, *, instead: float | None = None) -> Claim:
    def ours(results: Results) -> Quantity | Absent:
        records = results.records(t.lth.level(number))
        if not records:
            return r.NOT_RUN
        share = 100 * records[0].kept / records[0].prunable
        return Quantity(share, n=len(records))

    return Claim(
        published=e.id,
        ours=ours,
        rule=_EXACT,
        instead=_MISPRINTS.get(e.id, instead),
        remark="misprint" if e.id in _MISPRINTS else "",
    )


def _twice(t: Trainings) -> Claim:
    def ours(results: Results) -> Quantity | Absent:
        lth, snip = (r.mean_over(results, s, [1], r.best_step) for s in (t.lth, t.snip))
        if lth is None or snip is None:
            return r.NOT_RUN
        text = f"{snip:,.0f} against {lth:,.0f} iterations"
        return Quantity(text=text, n=t.settings.replicates, holds=snip >= 2 * lth)

    return Claim(
        published="002-0188",
        ours=ours,
        rule=Holds("at round 1 SNIP needs at least twice the iterations of LTH"),
    )


def _faster(both: Mapping[str, Trainings]) -> Claim:
    def ours(results: Results) -> Quantity | Absent:
        said, holds = [], True
        for task, t in both.items():
            numbers = range(1, t.settings.levels + 1)
            lth, snip = (r.mean_over(results, s, numbers, r.best_step) for s in (t.lth, t.snip))
            if lth is None or snip is None:
                return Absent(f"{NAMES[task]} was not trained in this run")
            said.append(f"{NAMES[task]}: LTH {lth:,.0f}, SNIP {snip:,.0f} iterations")
            holds &= lth < snip
        return Quantity(text="; ".join(said), n=both[FC].settings.replicates, holds=holds)

    return Claim(
        published="002-0189",
        ours=ours,
        rule=Holds("mean over the rounds: LTH stops earlier than SNIP on both networks"),
    )


def _with_scores(t: Trainings) -> dict[str, r.Series]:
    return {"LTH": t.lth, "SNIP": t.snip, "iterative SNIP": t.iterative_snip, **t.others}


def snip_figure(
    t: Trainings, figure: str, of: Callable[[str], bool], both: Mapping[str, Trainings]
) -> Experiment:
    """F5 or F6: LTH, SNIP and other scores, round by round."""

    def lags(results: Results) -> Quantity | Absent:
        said, holds = [], True
        for task, each in both.items():
            last = each.settings.levels
            gaps = []
            for numbers in ([1], [last]):
                lth, snip = (
                    r.mean_over(results, s, numbers, r.accuracy) for s in (each.lth, each.snip)
                )
                if lth is None or snip is None:
                    return Absent(f"{NAMES[task]} was not trained in this run")
                gaps.append(100 * (lth - snip))
            holds &= gaps[1] > 0 and gaps[1] > gaps[0]
            said.append(f"{NAMES[task]}: LTH ahead by {gaps[0]:.2f} points at round 1, "
                        f"{gaps[1]:.2f} at round {last}")  # fmt: skip
        return Quantity(text="; ".join(said), n=t.settings.replicates, holds=holds)

    claim = Claim(
        published="002-0187",
        ours=lags,
        rule=Holds(
            "on both networks LTH is ahead at the last round, and by more than at the first"
        ),
    )
    return Experiment(
        id=f"002-{figure}",
        shows=f"LTH, SNIP and other scores on {NAMES[t.task]}, round by round",
        works=(t.lth, t.snip, t.iterative_snip, *t.others.values()),
        figures=by_round(
            f"LTH and pruning before training on {NAMES[t.task]}, at equal numbers of weights; "
            "bars: the seeds",
            _with_scores(t),
        ),
        claims=() if t.task == FC else (claim,),
        tables=lambda results: [
            round_table(results, _with_scores(t)),
            collapse(results, _with_scores(t)),
        ],
        depends=of,
    )


def collapse(results: Results, named: Mapping[str, r.Series]) -> Table:
    """Layers that some score empties."""
    body = []
    for name, series in named.items():
        for each in r.rounds(results, series):
            if layers := r.emptied(each.records):
                body.append([name, str(each.number), ", ".join(layers)])
    return Table(
        title="Layer collapse",
        heads=["", "round", "layers that keep nothing in some training"],
        body=body or [["none", "", ""]],
    )
