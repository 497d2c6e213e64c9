"""The rows of paper 002 on masks and cuts: overlap (T6, T7), iterative SNIP (F7, F8)."""

from collections.abc import Callable, Mapping
import itertools
import statistics
from typing import TYPE_CHECKING

from experiments.paper_002 import rounds as r
from experiments.paper_002.common import NAMES, entries
from experiments.paper_002.trainings import CONV, FC, Trainings
from experiments.reproduce import figures
from experiments.reproduce.rows import (
    Absent,
    Claim,
    Experiment,
    Holds,
    Near,
    Quantity,
    Share,
    Table,
)
from experiments.reproduce.trained import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_OVERLAP = Share(0.05)


_CONTRADICTS = Absent("the paper contradicts itself here (reading 2.16); both curves are shown")


_SAME_MASK = "misprint: in rows 1 to 3 of Table 7 both masks are one (reading 2.13)"


def overlap(
    t: Trainings, table: str, of: Callable[[str], bool], both: Mapping[str, Trainings]
) -> Experiment:
    """T6 or T7: how the masks of LTH and SNIP meet."""
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
        shows=f"how the masks of LTH and SNIP meet on {NAMES[t.task]}",
        works=(t.lth, t.snip),
        figures=lambda results: {},
        claims=tuple(claims),
        tables=lambda results: [overlap_table(results, t), layer_table(results, t)],
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
                    return Absent(f"{NAMES[task]} was not trained in this run")
                shared.append(statistics.fmean(o.both for o in found))
            holds &= all(b < a for a, b in itertools.pairwise(shared))
            said.append(f"{NAMES[task]}: {shared[0]:,.0f} to {shared[-1]:,.0f}")
        return Quantity(text="; ".join(said), n=both[FC].settings.replicates, holds=holds)

    return Claim(
        published="002-0190",
        ours=ours,
        rule=Holds("on both networks the overlap falls with every round"),
        remark="so does chance overlap (reading 2.15): see the table",
    )


def overlap_table(results: Results, t: Trainings) -> Table:
    """Overlap of whole masks beside chance."""
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


def layer_table(results: Results, t: Trainings) -> Table:
    """Overlap layer by layer."""
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


def iterative(t: Trainings, figure: str, of: Callable[[str], bool]) -> Experiment:
    """F7 or F8: SNIP against iterative SNIP."""
    snip, iterative = t.snip, t.iterative_snip

    def draw(results: Results) -> Mapping[str, "Figure"]:
        lines = {}
        for number in iterative.numbers:
            found = r.gap_curve(results, snip, iterative, number)
            if found is not None:
                lines[f"round {number}"] = (found[0], 100 * found[1])
        if not lines:
            return {}
        caption = f"SNIP minus iterative SNIP on {NAMES[t.task]}: test accuracy while training"
        return {caption: figures.plain_curves(lines, ylabel="points", zero=True, quantile=0.02)}

    def on_training(results: Results) -> Quantity | Absent:
        values = []
        for series in (snip, iterative):
            records = [x for n in iterative.numbers for x in series.records(results, n)]
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
        shows=f"SNIP against iterative SNIP on {NAMES[t.task]}, from round 7",
        works=(snip, iterative),
        figures=draw,
        claims=tuple(claims),
        depends=of,
    )
