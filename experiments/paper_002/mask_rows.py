"""The rows of paper 002 on masks and cuts: overlap (T6, T7), iterative SNIP (F7, F8)."""

from collections.abc import Callable, Mapping, Sequence
import math
import statistics
from typing import TYPE_CHECKING

from experiments.paper_002 import rounds as r
from experiments.paper_002.common import NAMES, entries
from experiments.paper_002.trainings import CONV, FC, Trainings
from experiments.reproduce import figures
from experiments.reproduce.rows import Claim, Experiment, Table
from experiments.reproduce.rules import (
    Absent,
    Near,
    Never,
    Ordered,
    Quantity,
    Share,
    Side,
    ordering,
)
from experiments.reproduce.trained import Results
from ltjax.core import masks
from ltjax.statistics import intervals

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_OVERLAP = Share(0.05)

_CONTRADICTS = Absent("the paper contradicts itself here (reading 2.16); the curves are shown")

_SAME_MASK = "misprint: in rows 1 to 3 of Table 7 both masks are one (reading 2.13)"


def overlap(t: Trainings, table: str) -> Experiment:
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
    return Experiment(
        id=f"002-{table}",
        shows=f"how the masks of LTH and SNIP meet on {NAMES[t.task]}",
        works=(t.lth, t.snip),
        claims=tuple(claims),
        tables=lambda results: [overlap_table(results, t), layer_table(results, t)],
    )


def _kept(t: Trainings, number: int) -> Callable[[Results], Quantity | Absent]:
    def ours(results: Results) -> Quantity | Absent:
        records = results.records(t.lth.level(number))
        return Quantity(float(records[0].kept), n=len(records)) if records else r.NOT_RUN

    return ours


_HEADS = ("LTH keeps", "SNIP keeps", "overlap", "difference", "chance (95 %)", "overlap / chance")
_NOTE = (
    "Means over the seeds. Chance: the mean overlap of as many pairs of independent random masks "
    "of these counts (hypergeometric). Difference is one-sided, as printed: what LTH keeps less "
    "the overlap."
)


def _meeting(found: Sequence[masks.Overlap]) -> list[str]:
    """The cells of `_HEADS` for the masks of all seeds."""
    shared = statistics.fmean(o.both for o in found)
    ours = statistics.fmean(o.both + o.only_first for o in found)
    theirs = statistics.fmean(o.both + o.only_second for o in found)
    chance = statistics.fmean(o.chance for o in found)
    half = intervals.Z * math.sqrt(sum(o.chance_sd**2 for o in found)) / len(found)
    return [
        f"{ours:,.10g}",
        f"{theirs:,.10g}",
        f"{shared:,.10g}",
        f"{ours - shared:,.10g}",
        f"{chance:,.0f} ({chance - half:,.0f} to {chance + half:,.0f})",
        f"{shared / chance:.3f}" if chance else "-",
    ]


def overlap_table(results: Results, t: Trainings) -> Table:
    """Overlap of whole masks beside chance."""
    by_number = {n: r.overlaps(results, t.lth, t.snip, n) for n in range(1, t.settings.levels + 1)}
    return Table(
        title="Overlap beside chance",
        heads=["round", *_HEADS],
        body=[[str(number), *_meeting(found)] for number, found in by_number.items() if found],
        note=_NOTE,
        shown=True,
    )


def layer_table(results: Results, t: Trainings) -> Table:
    """Overlap layer by layer, beside chance at the counts that each mask has in the layer."""
    return Table(
        title="Overlap by layer",
        heads=["round", "layer", *_HEADS],
        body=[
            [str(number), layer, *_meeting(found)]
            for number in range(1, t.settings.levels + 1)
            for layer, found in r.layer_overlaps(results, t.lth, t.snip, number).items()
        ],
        note=_NOTE,
    )


def iterative(t: Trainings, figure: str) -> Experiment:
    """F7 or F8: SNIP against iterative SNIP."""
    snip, iterative = t.snip, t.iterative_snip

    def draw(results: Results) -> Mapping[str, "Figure"]:
        panels = r.gap_panels(results, snip, iterative, iterative.numbers)
        if not panels:
            return {}
        caption = f"SNIP minus iterative SNIP on {NAMES[t.task]} while training"
        return {caption: figures.plain_curves(r.in_points(panels), zero=True, quantile=0.02)}

    def on_training(results: Results) -> Quantity | Absent:
        gaps = [
            r.gap_by_seed(results, snip, iterative, iterative.numbers, measure, after=after)
            for measure, after in ((r.LOSS, 0.0), (r.VALIDATION, 0.0), (r.TEST, 0.75))
        ]
        if not results.records(iterative.piece):
            return r.NOT_RUN
        if not all(gaps):
            return Absent("no validation set, or no step after the first was evaluated")
        loss, validation, late = map(intervals.mean, gaps)
        return ordering(
            [
                Side("SNIP minus iterative SNIP: training loss", loss),
                Side("validation accuracy", validation, "points", above=-0.5),
                Side("late test accuracy", late, "points", -math.inf, 0.0),
            ]
        )

    if t.task == FC:
        claims = [
            Claim(published=name, ours=lambda results: _CONTRADICTS, rule=Never())
            for name in ("002-0191", "002-0193")
        ]
    else:
        claims = [
            Claim(
                published="002-0192",
                ours=on_training,
                rule=Ordered(
                    "rounds 7 on, at steps that both reach: iterative SNIP has the lower training "
                    "loss and is ahead by less than 0.5 points on the validation set; in the last "
                    "quarter of the steps its test accuracy is higher"
                ),
            )
        ]
    return Experiment(
        id=f"002-{figure}",
        shows=f"SNIP against iterative SNIP on {NAMES[t.task]}, from round 7",
        works=(snip, iterative),
        figures=draw,
        claims=tuple(claims),
    )
