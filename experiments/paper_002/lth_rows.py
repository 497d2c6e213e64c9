"""The rows of paper 002 on LTH and its flips: T1, F1 to F4, T2, T3."""

from collections.abc import Callable, Mapping
import math
from typing import TYPE_CHECKING, Any

from experiments.paper_002 import rounds as r
from experiments.paper_002.common import NAMES, STEPS, by_round, entries, round_table, weights
from experiments.paper_002.trainings import CONV, FC, Trainings
from experiments.reproduce import figures
from experiments.reproduce.rows import Claim, Experiment
from experiments.reproduce.rules import Absent, Digits, Ordered, Quantity, Side, ordering, span
from experiments.reproduce.trained import Results
from ltjax.statistics import intervals

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def counts(both: Mapping[str, Trainings]) -> Experiment:
    """Table 1: how many weights there are."""
    shown = {"002-0001": (FC, ""), "002-0002": (CONV, ""), "002-0003": (CONV, "conv")}

    def answer(task: str, layers: str) -> Callable[[Results], Any]:
        def ours(results: Results) -> Quantity:
            del results
            found = weights(both[task], layers)
            return Quantity(found, text=f"{found:,}")

        return ours

    s = both[CONV].settings
    claims = [
        Claim(
            published=name,
            ours=answer(*which),
            rule=Digits(),
            axis=span(1e3, 1e8, log=True),
            remark="Table 1 counts SAME convolutions, Tables 5 and 7 VALID ones (reading 2.1)"
            if name == "002-0002"
            else "",
        )
        for name, which in shown.items()
    ]
    return Experiment(
        id="002-T1",
        shows="numbers of weights",
        works=(),
        claims=tuple(claims),
        also=(s.fc_model, s.conv_model, s.padding),
    )


def curves(t: Trainings, figure: str) -> Experiment:
    """F1 or F2: accuracy by prune round, and while training."""
    by_number = by_round(f"LTH on {NAMES[t.task]}, round by round; bars: the seeds", {"LTH": t.lth})

    def draw(results: Results) -> Mapping[str, "Figure"]:
        found = r.rounds(results, t.lth)
        if not found:
            return {}
        measure = r.MEASURES[r.TEST]
        lines = {
            f"round {each.number}" if each.number else "dense": r.majority_curve(
                each.records, measure
            )
            for each in found
        }
        caption = f"Test accuracy of {NAMES[t.task]} while training, by prune round"
        drawn = figures.plain_curves({r.axis(r.TEST, "%"): lines}, quantile=0.05)
        return {**by_number(results), caption: drawn}

    return Experiment(
        id=f"002-{figure}",
        shows=f"LTH on {NAMES[t.task]}: accuracy per prune round",
        works=(t.lth,),
        figures=draw,
        tables=lambda results: [round_table(results, {"LTH": t.lth})],
    )


def flips_table(t: Trainings, table: str) -> Experiment:
    """T2 or T3: early-stopping iterations of LTH and its flips."""
    claims = []
    for e in entries(f"Table {table[1:]}"):
        method, number = e.setting["method"], e.setting["prune_iteration"]
        series = _method(t, method)
        ours = (lambda results: r.NOT_RUN) if series is None else (
            r.at_round(series, number, r.best_step)
        )  # fmt: skip
        claims.append(Claim(published=e.id, ours=ours, rule=STEPS))
    return Experiment(
        id=f"002-{table}",
        shows=f"early-stopping iterations of LTH and its flips on {NAMES[t.task]}",
        works=(t.lth, *t.flips),
        claims=tuple(claims),
        tables=lambda results: [round_table(results, _with_flips(t))],
    )


def _method(t: Trainings, method: str) -> r.Series | None:
    if method == "LTH":
        return t.lth
    number = int(method.split()[1])
    return t.flips[number - 1] if number <= len(t.flips) else None


def _with_flips(t: Trainings) -> dict[str, r.Series]:
    return {"LTH": t.lth, **{f"LTH_flip {i}": flip for i, flip in enumerate(t.flips, 1)}}


def flips_figure(t: Trainings, figure: str) -> Experiment:
    """F3 or F4: LTH and its flips, round by round."""

    def compared(results: Results) -> Quantity | Absent:
        numbers = range(1, t.settings.levels + 1)
        found = {
            name: [r.by_seed(results, series, numbers, v) for v in (r.accuracy, r.best_step)]
            for name, series in _with_flips(t).items()
        }
        if len(found) < 3:
            return r.NOT_RUN
        lth, lth_steps = found.pop("LTH")
        sides = []
        for name, (accuracy, steps) in found.items():
            if lth is None or lth_steps is None or accuracy is None or steps is None:
                return r.NOT_RUN
            gap = intervals.difference(accuracy, lth)
            longer = intervals.difference(steps, lth_steps, grid=r.grid(results, t.lth, numbers))
            sides += [
                Side(f"{name} minus LTH", gap and gap.times(100), "points", *limits),
                Side(f"{name} minus LTH, iterations", longer),
            ]
        return ordering(sides)

    by_number = by_round(f"LTH and its flips on {NAMES[t.task]}; bars: the seeds", _with_flips(t))

    def draw(results: Results) -> Mapping[str, "Figure"]:
        panels: dict[str, dict[str, r.Curve]] = {}
        for name, series in _with_flips(t).items():
            records = [x for each in r.rounds(results, series) if each.number for x in each.records]
            for label, measure in r.MEASURES.items():
                curve = r.majority_curve(records, measure)
                if curve[0]:
                    panels.setdefault(r.axis(label, "%"), {})[name] = curve
        if not panels:
            return by_number(results)
        caption = (
            f"LTH and its flips on {NAMES[t.task]} while training: mean over the rounds and seeds, "
            "as long as most of them still train"
        )
        return {caption: figures.plain_curves(panels), **by_number(results)}

    limits = (-0.5, 0.5) if t.task == FC else (-math.inf, -2.0)
    rule = "within 0.5 points" if t.task == FC else "more than 2 points less accurate"
    claim = Claim(
        published="002-0185" if t.task == FC else "002-0186",
        ours=compared,
        rule=Ordered(f"means over the rounds: each flip is {rule}, and takes more iterations"),
        remark="by Table 2 itself the flips take 1.3 times the iterations" if t.task == FC else "",
    )
    return Experiment(
        id=f"002-{figure}",
        shows=f"LTH and its flips on {NAMES[t.task]}, round by round",
        works=(t.lth, *t.flips),
        figures=draw,
        claims=(claim,),
    )
