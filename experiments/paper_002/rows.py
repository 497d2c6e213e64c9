"""Paper 002 as a row: its settings, presets and experiments."""

from collections.abc import Callable, Mapping
import itertools
import statistics
from typing import TYPE_CHECKING, Any

from experiments.paper_002 import rounds as r
from experiments.paper_002.settings import PRESETS, SHORTENS, MultipleTickets, of_conv, of_fc
from experiments.paper_002.trainings import CONV, FC, Trainings, make_lab
from experiments.reproduce import figures
from experiments.reproduce.rows import (
    Absent,
    Claim,
    Experiment,
    Holds,
    Near,
    Paper,
    Quantity,
    Share,
    Table,
)
from experiments.reproduce.works import Results
from ltjax import analysis, models, pruning, published
from ltjax.published import Published

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NAMES = {FC: "LeNet-300-100", CONV: "Conv2"}
_IMAGES = {FC: (28, 28, 1), CONV: (32, 32, 3)}
_STEPS = Near(1000.0, "iterations (two evaluations)")
_EXACT = Near(0.006)
_OVERLAP = Share(0.05)
_CONTRADICTS = Absent("the paper contradicts itself here (reading 2.16); both curves are shown")
_SAME_MASK = "misprint: in rows 1 to 3 of Table 7 both masks are one (reading 2.13)"


def experiments(settings: MultipleTickets) -> tuple[Experiment, ...]:
    """All experiments, in the order of the paper."""
    both = {task: Trainings(settings, task) for task in (FC, CONV)}
    rows = [_weights(both)]
    for task, of, figure, flips, snips, masks_ in (
        (FC, of_fc, "F1", ("T2", "F3"), ("T4", "F5"), ("T6", "F7")),
        (CONV, of_conv, "F2", ("T3", "F4"), ("T5", "F6"), ("T7", "F8")),
    ):
        t = both[task]
        rows += [
            _curves(t, figure, of),
            _flips_table(t, flips[0], of),
            _flips_figure(t, flips[1], of),
            _snip_table(t, snips[0], of, both),
            _snip_figure(t, snips[1], of, both),
            _overlap(t, masks_[0], of, both),
            _iterative(t, masks_[1], of),
        ]
    return tuple(sorted(rows, key=lambda row: (row.id[4] == "F", int(row.id[5:]))))


def entries(table: str, model: str | None = None) -> list[Published]:
    """Entries of one table."""
    return [
        e
        for e in published.entries("002")
        if e.table_or_figure == table and model in (None, e.setting.get("model"))
    ]


def _weights(both: Mapping[str, Trainings]) -> Experiment:
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


def _curves(t: Trainings, figure: str, of: Callable[[str], bool]) -> Experiment:
    def draw(results: Results) -> Mapping[str, "Figure"]:
        found = r.rounds(results, t.lth)
        if not found:
            return {}
        lines = {}
        for each in found:
            steps, values = analysis.mean_curve(each.records)
            lines[f"round {each.number}" if each.number else "dense"] = (
                steps,
                [100 * v for v in values],
            )
        caption = f"Test accuracy of {_NAMES[t.task]} while training, by prune round"
        return {caption: figures.plain_curves(lines, ylabel="test accuracy (%)", quantile=0.12)}

    return Experiment(
        id=f"002-{figure}",
        shows=f"LTH on {_NAMES[t.task]}: accuracy per prune round",
        works=(t.lth,),
        figures=draw,
        tables=lambda results: [_round_table(results, {"LTH": t.lth})],
        depends=of,
    )


def _flips_table(t: Trainings, table: str, of: Callable[[str], bool]) -> Experiment:
    claims = []
    for e in entries(f"Table {table[1:]}"):
        method, number = e.setting["method"], e.setting["prune_iteration"]
        series = _method(t, method)
        ours = (lambda results: r.NOT_RUN) if series is None else (
            r.at_round(series, number, r.best_step)
        )  # fmt: skip
        claims.append(Claim(published=e.id, ours=ours, rule=_STEPS))
    return Experiment(
        id=f"002-{table}",
        shows=f"early-stopping iterations of LTH and its flips on {_NAMES[t.task]}",
        works=(t.lth, *t.flips),
        figures=lambda results: {},
        claims=tuple(claims),
        tables=lambda results: [_round_table(results, _with_flips(t))],
        depends=of,
    )


def _method(t: Trainings, method: str) -> r.Series | None:
    if method == "LTH":
        return t.lth
    number = int(method.split()[1])
    return t.flips[number - 1] if number <= len(t.flips) else None


def _with_flips(t: Trainings) -> dict[str, r.Series]:
    return {"LTH": t.lth, **{f"LTH_flip {i}": flip for i, flip in enumerate(t.flips, 1)}}


def _by_round(caption: str, named: Mapping[str, r.Series]) -> Callable[[Results], dict]:
    """Early-stopping iteration and accuracy against the prune round."""

    def draw(results: Results) -> dict:
        panels: dict[str, dict] = {"early-stopping iteration": {}, "test accuracy (%)": {}}
        for name, series in named.items():
            found = [each for each in r.rounds(results, series) if each.number]
            if not found:
                continue
            for label, value, scale in (
                ("early-stopping iteration", r.best_step, 1.0),
                ("test accuracy (%)", r.accuracy, 100.0),
            ):
                panels[label][name] = {
                    each.number: [scale * value(x) for x in each.records] for each in found
                }
        if not all(panels.values()):
            return {}
        return {caption: figures.against_round(panels)}

    return draw


def _flips_figure(t: Trainings, figure: str, of: Callable[[str], bool]) -> Experiment:
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

    rule = "within 0.5 points" if t.task == FC else "more than 2 points less accurate"
    claim = Claim(
        published="002-0185" if t.task == FC else "002-0186",
        ours=compared,
        rule=Holds(f"means over the rounds: {rule}, and more than 1.5 times the iterations"),
    )
    return Experiment(
        id=f"002-{figure}",
        shows=f"LTH and its flips on {_NAMES[t.task]}, round by round",
        works=(t.lth, *t.flips),
        figures=_by_round(
            f"LTH and its flips on {_NAMES[t.task]}; bars: the seeds", _with_flips(t)
        ),
        claims=(claim,),
        depends=of,
    )


def _snip_table(
    t: Trainings, table: str, of: Callable[[str], bool], both: Mapping[str, Trainings]
) -> Experiment:
    claims = []
    for e in entries(f"Table {table[1:]}"):
        number = e.setting.get("prune_iteration") or e.setting["matched_to_lth_iteration"]
        if e.metric == "weights_remaining_pct":
            claims.append(_remaining(t, e, number))
            continue
        series: r.Series = t.lth if e.setting["method"] == "LTH" else t.snip
        claims.append(
            Claim(published=e.id, ours=r.at_round(series, number, r.best_step), rule=_STEPS)
        )
    if t.task == FC:
        claims.append(_remaining(t, published.entry("002-0184"), 7, instead=21.07))
        claims.append(_twice(t))
    else:
        claims.append(_faster(both))
    return Experiment(
        id=f"002-{table}",
        shows=f"early-stopping iterations of LTH and SNIP on {_NAMES[t.task]}",
        works=(t.lth, t.snip),
        figures=lambda results: {},
        claims=tuple(claims),
        tables=lambda results: [_round_table(results, {"LTH": t.lth, "SNIP": t.snip})],
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
                return Absent(f"{_NAMES[task]} was not trained in this run")
            said.append(f"{_NAMES[task]}: LTH {lth:,.0f}, SNIP {snip:,.0f} iterations")
            holds &= lth < snip
        return Quantity(text="; ".join(said), n=both[FC].settings.replicates, holds=holds)

    return Claim(
        published="002-0189",
        ours=ours,
        rule=Holds("mean over the rounds: LTH stops earlier than SNIP on both networks"),
    )


def _with_scores(t: Trainings) -> dict[str, r.Series]:
    return {"LTH": t.lth, "SNIP": t.snip, "iterative SNIP": t.iterative_snip, **t.others}


def _snip_figure(
    t: Trainings, figure: str, of: Callable[[str], bool], both: Mapping[str, Trainings]
) -> Experiment:
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
                    return Absent(f"{_NAMES[task]} was not trained in this run")
                gaps.append(100 * (lth - snip))
            holds &= gaps[1] > 0 and gaps[1] > gaps[0]
            said.append(f"{_NAMES[task]}: LTH ahead by {gaps[0]:.2f} points at round 1, "
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
        shows=f"LTH, SNIP and other scores on {_NAMES[t.task]}, round by round",
        works=(t.lth, t.snip, t.iterative_snip, *t.others.values()),
        figures=_by_round(
            f"LTH and pruning before training on {_NAMES[t.task]}, at equal numbers of weights; "
            "bars: the seeds",
            _with_scores(t),
        ),
        claims=() if t.task == FC else (claim,),
        tables=lambda results: [
            _round_table(results, _with_scores(t)),
            _collapse(results, _with_scores(t)),
        ],
        depends=of,
    )


def _overlap(
    t: Trainings, table: str, of: Callable[[str], bool], both: Mapping[str, Trainings]
) -> Experiment:
    picks = {"mask_overlap": lambda o: o.both, "mask_difference": lambda o: o.only_first}
    claims = []
    for e in entries(f"Table {table[1:]}"):
        number = e.setting["lth_iteration"]
        if e.metric == "kept":
            claims.append(Claim(published=e.id, ours=_kept(t, number), rule=Near(0.5, "weights")))
        elif t.task == CONV and number <= 3:
            claims.append(
                Claim(published=e.id, ours=lambda results: Absent(_SAME_MASK), rule=_OVERLAP)
            )
        else:
            ours = r.mean_overlap(t.lth, t.snip, number, picks[e.metric])
            claims.append(Claim(published=e.id, ours=ours, rule=_OVERLAP))
    if t.task == CONV:
        claims.append(_falls(both))
    return Experiment(
        id=f"002-{table}",
        shows=f"how the masks of LTH and SNIP meet on {_NAMES[t.task]}",
        works=(t.lth, t.snip),
        figures=lambda results: {},
        claims=tuple(claims),
        tables=lambda results: [_overlap_table(results, t), _layer_table(results, t)],
        depends=of,
    )


def _kept(t: Trainings, number: int) -> Callable[[Results], Quantity | Absent]:
    def ours(results: Results) -> Quantity | Absent:
        records = results.records(t.lth.level(number))
        return Quantity(float(records[0].kept), n=len(records)) if records else r.NOT_RUN

    return ours


def _falls(both: Mapping[str, Trainings]) -> Claim:
    def ours(results: Results) -> Quantity | Absent:
        said, holds = [], True
        for task, t in both.items():
            shared = []
            for number in range(1, t.settings.levels + 1):
                found = r.overlaps(results, t.lth, t.snip, number)
                if found is None:
                    return Absent(f"{_NAMES[task]} was not trained in this run")
                shared.append(statistics.fmean(o.both for o in found))
            holds &= all(b < a for a, b in itertools.pairwise(shared))
            said.append(f"{_NAMES[task]}: {shared[0]:,.0f} to {shared[-1]:,.0f}")
        return Quantity(text="; ".join(said), n=both[FC].settings.replicates, holds=holds)

    return Claim(
        published="002-0190",
        ours=ours,
        rule=Holds("on both networks the overlap falls with every round"),
        remark="so does chance overlap (reading 2.15): see the table",
    )


def _overlap_table(results: Results, t: Trainings) -> Table:
    body = []
    for number in range(1, t.settings.levels + 1):
        found = r.overlaps(results, t.lth, t.snip, number)
        if found is None:
            continue
        shared = statistics.fmean(o.both for o in found)
        chance, sd = found[0].chance, found[0].chance_sd
        kept = found[0].both + found[0].only_first
        body.append(
            [
                str(number),
                f"{kept:,}",
                f"{shared:,.1f}",
                f"{kept - shared:,.1f}",
                f"{chance:,.0f} ({chance - 1.96 * sd:,.0f} to {chance + 1.96 * sd:,.0f})",
                f"{shared / chance:.3f}",
            ]
        )
    return Table(
        title="Overlap beside chance",
        heads=["round", "kept", "overlap", "difference", "chance (95 %)", "overlap / chance"],
        body=body,
        note="Means over the seeds. Chance: two independent random masks of these totals "
        "(hypergeometric). Difference is one-sided, as printed: kept less overlap.",
        shown=True,
    )


def _layer_table(results: Results, t: Trainings) -> Table:
    body = []
    for number in range(1, t.settings.levels + 1):
        found = r.layer_overlaps(results, t.lth, t.snip, number) or {}
        for layer, o in found.items():
            ours, theirs = o.both + o.only_first, o.both + o.only_second
            times = f"{o.both / o.chance:.3f}" if o.chance else "-"
            body.append(
                [str(number), layer, f"{ours:,}", f"{theirs:,}", f"{o.both:,}",
                 f"{o.chance:,.0f}", times]
            )  # fmt: skip
    return Table(
        title="Overlap by layer (first seed)",
        heads=["round", "layer", "LTH keeps", "SNIP keeps", "overlap", "chance", "ratio"],
        body=body,
        note="Chance with the counts that each mask has in the layer.",
    )


def _iterative(t: Trainings, figure: str, of: Callable[[str], bool]) -> Experiment:
    snip, iterative = t.snip, t.iterative_snip

    def draw(results: Results) -> Mapping[str, "Figure"]:
        lines = {}
        for number in iterative.numbers:
            found = r.gap_curve(results, snip, iterative, number)
            if found is not None:
                lines[f"round {number}"] = (found[0], 100 * found[1])
        if not lines:
            return {}
        caption = f"SNIP minus iterative SNIP on {_NAMES[t.task]}: test accuracy while training"
        return {caption: figures.plain_curves(lines, ylabel="points", zero=True, quantile=0.02)}

    def on_training(results: Results) -> Quantity | Absent:
        values = []
        for series in (snip, iterative):
            records = [x for n in iterative.numbers for x in results.records(series.piece(n))]
            if not records:
                return r.NOT_RUN
            losses = [x.train_loss[-1] for x in records]
            values.append(
                (
                    statistics.fmean(v for v in losses if v is not None),
                    statistics.fmean(x.validation_accuracy[x.steps.index(x.best_step)]
                                     for x in records if x.best_step >= 0),
                )
            )  # fmt: skip
        (loss, validation), (loss_i, validation_i) = values
        text = (
            f"training loss {loss:.4f} (SNIP), {loss_i:.4f} (iterative); best validation "
            f"accuracy {100 * validation:.2f} and {100 * validation_i:.2f} %"
        )
        holds = loss_i < loss and validation_i <= validation
        return Quantity(text=text, n=t.settings.replicates, holds=holds)

    if t.task == FC:
        claims = [
            Claim(published=name, ours=lambda results: _CONTRADICTS, rule=Holds("none"))
            for name in ("002-0191", "002-0193")
        ]
    else:
        claims = [
            Claim(
                published="002-0192",
                ours=on_training,
                rule=Holds(
                    "rounds 7 on: iterative SNIP ends with a lower training loss, and its best "
                    "validation accuracy is no higher"
                ),
            )
        ]
    return Experiment(
        id=f"002-{figure}",
        shows=f"SNIP against iterative SNIP on {_NAMES[t.task]}, from round 7",
        works=(snip, iterative),
        figures=draw,
        claims=tuple(claims),
        depends=of,
    )


def _round_table(results: Results, named: Mapping[str, r.Series]) -> Table:
    body = []
    for name, series in named.items():
        for each in r.rounds(results, series):
            first = each.records[0]
            steps = [r.best_step(x) for x in each.records]
            scores = [100 * r.accuracy(x) for x in each.records]
            body.append(
                [
                    name,
                    str(each.number),
                    f"{first.kept:,}",
                    f"{100 * first.kept / first.prunable:.2f}",
                    f"{statistics.fmean(steps):,.0f} ({min(steps):,.0f} to {max(steps):,.0f})",
                    f"{statistics.fmean(scores):.2f} ({min(scores):.2f} to {max(scores):.2f})",
                    str(len(each.records)),
                ]
            )
    return Table(
        title="Every round",
        heads=["", "round", "kept", "%", "early-stopping iteration", "test accuracy %", "n"],
        body=body,
        note="Mean (minimum to maximum) over the seeds, at the best validation accuracy.",
    )


def _collapse(results: Results, named: Mapping[str, r.Series]) -> Table:
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


PAPER = Paper(
    id="002",
    title="G070, On Multiple Winning Tickets and LTH vs SNIP",
    settings=MultipleTickets,
    presets=PRESETS,
    version=1,
    experiments=experiments,
    lab=make_lab,
    shortens=SHORTENS,
)
