"""The rows of paper 002 on SNIP and other scores: T4, T5, F5, F6."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from experiments.paper_002 import rounds as r
from experiments.paper_002.common import NAMES, STEPS, by_round, entries, round_table
from experiments.paper_002.trainings import FC, Trainings
from experiments.reproduce.published import Published
from experiments.reproduce import figures
from experiments.reproduce.rows import Claim, Experiment, Table
from experiments.reproduce.rules import Absent, Near, Never, Ordered, Quantity, Side, ordering
from experiments.reproduce.trained import Results
from ltjax.statistics import intervals

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_EXACT = Near(0.006)


def snip_table(t: Trainings, table: str) -> Experiment:
    """T4 or T5: early-stopping iterations of LTH and SNIP."""
    claims = []
    for e in entries(f"Table {table[1:]}"):
        number = e.setting.get("prune_iteration") or e.setting["matched_to_lth_iteration"]
        if e.metric == "weights_remaining_pct":
            claims.append(_remaining(t, e, number))
            continue
        series: r.Series = t.lth if e.setting["method"] == "LTH" else t.snip
        ours = _misprint(e) or r.at_round(series, number, r.best_step)
        claims.append(Claim(published=e.id, ours=ours, rule=STEPS))
    if t.task == FC:
        rounded = Claim(published="002-0184", ours=lambda results: _ROUNDED, rule=Never())
        claims += [rounded, _twice(t)]
    return Experiment(
        id=f"002-{table}",
        shows=f"early-stopping iterations of LTH and SNIP on {NAMES[t.task]}",
        works=(t.lth, t.snip),
        claims=tuple(claims),
        tables=lambda results: [round_table(results, {"LTH": t.lth, "SNIP": t.snip})],
    )


_MISPRINTS = {
    "002-0068": "no mean of two multiples of 500",
    "002-0069": "Table 6 gives 64.06",
    "002-0078": "the counts give 32.87",
    "002-0087": "the counts give 16.88",
    "002-0114": "Table 7 gives 21.30",
}

_ROUNDED = Absent("rounded; Table 4 gives 21.07 (reading 2.10)")


def _misprint(e: Published) -> Callable[[Results], Absent] | None:
    if e.id not in _MISPRINTS:
        return None
    why = Absent(f"misprint (reading 2.14): {_MISPRINTS[e.id]}")
    return lambda results: why


def _remaining(t: Trainings, e: Published, number: int) -> Claim:
    def ours(results: Results) -> Quantity | Absent:
        records = results.records(t.lth.level(number))
        if not records:
            return r.NOT_RUN
        share = 100 * records[0].kept / records[0].prunable
        return Quantity(share, n=len(records))

    return Claim(published=e.id, ours=_misprint(e) or ours, rule=_EXACT)


def _twice(t: Trainings) -> Claim:
    def ours(results: Results) -> Quantity | Absent:
        lth, snip = (r.by_seed(results, s, [1], r.best_step) for s in (t.lth, t.snip))
        if lth is None or snip is None:
            return r.NOT_RUN
        twice = {i: 2 * step for i, step in lth.items()}
        found = intervals.difference(snip, twice, grid=2 * r.grid(results, t.lth, [1]))
        return ordering([Side("SNIP minus twice LTH at round 1, iterations", found)])

    return Claim(
        published="002-0188",
        ours=ours,
        rule=Ordered("at round 1 SNIP needs more than twice the iterations of LTH"),
    )


def _with_scores(t: Trainings) -> dict[str, r.Series]:
    return {"LTH": t.lth, "SNIP": t.snip, "iterative SNIP": t.iterative_snip, **t.others}


def snip_figure(t: Trainings, figure: str) -> Experiment:
    """F5 or F6: LTH, SNIP and other scores, round by round, and LTH minus SNIP while training."""
    by_number = by_round(
        f"LTH and pruning before training on {NAMES[t.task]}, at equal numbers of weights; "
        "bars: the seeds",
        _with_scores(t),
    )

    def draw(results: Results) -> Mapping[str, "Figure"]:
        panels = r.gap_panels(results, t.lth, t.snip, t.snip.numbers)
        if not panels:
            return by_number(results)
        caption = f"LTH minus SNIP on {NAMES[t.task]} while training, by round: mean over the seeds"
        drawn = figures.plain_curves(r.in_points(panels), zero=True, quantile=0.02)
        return {caption: drawn, **by_number(results)}

    return Experiment(
        id=f"002-{figure}",
        shows=f"LTH, SNIP and other scores on {NAMES[t.task]}, round by round",
        works=(t.lth, t.snip, t.iterative_snip, *t.others.values()),
        figures=draw,
        tables=lambda results: [
            round_table(results, _with_scores(t)),
            collapse(results, _with_scores(t)),
        ],
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
