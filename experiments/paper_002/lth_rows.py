"""The rows of paper 002 on LTH and its flips: T1, F1 to F4, T2, T3."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from experiments.paper_002 import rounds as r
from experiments.paper_002.common import NAMES, STEPS, by_round, entries, round_table
from experiments.paper_002.trainings import CONV, FC, Trainings
from experiments.reproduce import figures
from experiments.reproduce.rows import (
    Absent,
    Claim,
    Experiment,
    Holds,
    Quantity,
)
from experiments.reproduce.trained import Results
from ltjax import models, pruning, published

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_IMAGES = {FC: (28, 28, 1), CONV: (32, 32, 3)}


def weights(both: Mapping[str, Trainings]) -> Experiment:
    """Table 1: how many weights there are."""
    shown = {
        "002-0001": (FC, "", 1e3),
        "002-0002": (CONV, "", 1e6),
        "002-0003": (CONV, "conv", 1e3),
    }

    def count(task: str, layers: str) -> int:
        padding = both[task].settings.padding if task == CONV else ""
        network = models.make(
            both[task].model, input_shape=_IMAGES[task], classes=10, padding=padding
        )
        plan = pruning.plan(network.shapes().params, rate=0.2, levels=0)
        return sum(
            size
            for (name, *_), size in zip(plan.groups, plan.sizes, strict=True)
            if name.startswith(layers)
        )

    def answer(task: str, layers: str, unit: float, value: str) -> Callable[[Results], Any]:
        def ours(results: Results) -> Quantity:
            del results
            found = count(task, layers)
            digits = len(value.rstrip("MK").partition(".")[2])
            printed = float(value.rstrip("MK"))
            # Printed 266K is 266.2; some round up, some cut.
            return Quantity(text=f"{found:,}", holds=abs(found / unit - printed) < 10**-digits)

        return ours

    claims = [
        Claim(
            published=name,
            ours=answer(task, layers, unit, published.entry(name).value),
            rule=Holds("the count, to the printed digits"),
            remark="Table 1 counts SAME convolutions, Tables 5 and 7 VALID ones (reading 2.1)"
            if name == "002-0002"
            else "",
        )
        for name, (task, layers, unit) in shown.items()
    ]
    return Experiment(
        id="002-T1",
        shows="numbers of weights",
        works=(),
        figures=lambda results: {},
        claims=tuple(claims),
    )


def curves(t: Trainings, figure: str, of: Callable[[str], bool]) -> Experiment:
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
        depends=of,
    )


def flips_table(t: Trainings, table: str, of: Callable[[str], bool]) -> Experiment:
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
        figures=lambda results: {},
        claims=tuple(claims),
        tables=lambda results: [round_table(results, _with_flips(t))],
        depends=of,
    )


def _method(t: Trainings, method: str) -> r.Series | None:
    if method == "LTH":
        return t.lth
    number = int(method.split()[1])
    return t.flips[number - 1] if number <= len(t.flips) else None


def _with_flips(t: Trainings) -> dict[str, r.Series]:
    return {"LTH": t.lth, **{f"LTH_flip {i}": flip for i, flip in enumerate(t.flips, 1)}}


def flips_figure(t: Trainings, figure: str, of: Callable[[str], bool]) -> Experiment:
    """F3 or F4: LTH and its flips, round by round."""

    def compared(results: Results) -> Quantity | Absent:
        numbers = range(1, t.settings.levels + 1)
        found = [
            (
                r.mean_over(results, series, numbers, r.accuracy),
                r.mean_over(results, series, numbers, r.best_step),
            )
            for series in _with_flips(t).values()
        ]
        (lth, lth_steps), *flips = found
        if len(flips) < 2 or lth is None or lth_steps is None:
            return r.NOT_RUN
        if not lth_steps:
            return Absent("LTH was best before its first step")
        trained = [(a, s) for a, s in flips if a is not None and s is not None]
        if len(trained) < len(flips):
            return r.NOT_RUN
        gaps = [100 * (a - lth) for a, _ in trained]
        times = [s / lth_steps for _, s in trained]
        close = all(abs(g) < 0.5 for g in gaps) if t.task == FC else all(g < -2 for g in gaps)
        text = "; ".join(
            f"flip {i}: {g:+.2f} points, {x:.2f} times the iterations"
            for i, (g, x) in enumerate(zip(gaps, times, strict=True), 1)
        )
        holds = close and all(x > 1.5 for x in times)
        return Quantity(text=text, n=t.settings.replicates, holds=holds)

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

    rule = "within 0.5 points" if t.task == FC else "more than 2 points less accurate"
    claim = Claim(
        published="002-0185" if t.task == FC else "002-0186",
        ours=compared,
        rule=Holds(f"means over the rounds: {rule}, and more than 1.5 times the iterations"),
    )
    return Experiment(
        id=f"002-{figure}",
        shows=f"LTH and its flips on {NAMES[t.task]}, round by round",
        works=(t.lth, *t.flips),
        figures=draw,
        claims=(claim,),
        depends=of,
    )
