"""Analysis: numbers from records; no disk, no plots.

A *row* sums up the replicates of one phase, arm and level. A *verdict* holds a row against
another one, replicate by replicate: against the *dense* row (level 0 of the same arm in the same
phase), where it says whether the row is a winning ticket, or against a control at the same level.
"""

import collections
from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import itertools
import math
import statistics

from ltjax.core import trees
from ltjax.statistics import intervals
from ltjax.statistics.intervals import Interval
from ltjax.training.records import OWN_DENSE, STARTS, Record

START_POINTS = ("ticket", *STARTS)
"""Arms that are start points; every other arm is a control."""

RULE = (
    "The rule of the papers (star): a level is a winning ticket where its mean test accuracy is "
    "at least that of the dense network (level 0) from the same start point, and its mean number "
    "of steps to the best evaluation at most that of the dense network, over the pairs of "
    "replicates that both have. A replicate that failed at a level is a loss: a level with one is "
    "no winning ticket."
)

VERDICT = (
    "The paired verdict: a level wins where the 95 % interval of its gain in test accuracy, over "
    "the pairs, lies above 0 and none of its replicates failed; it loses where that interval lies "
    "below 0, or where a replicate failed at the level and trained on the other side; else it "
    "matches, which says as little as its interval is wide. Fewer than two pairs have no verdict. "
    "Pairs with a failure are counted, and are in no mean and no interval."
)

# Accuracies may have been float32: equal means may differ by the last bit of one. One image of
# a test set of a million is more.
_ROUNDING = 1e-7


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One phase, arm and level, summed up over its replicates.

    Failed trainings are left out of every mean but that of the counts, and counted; what is
    judged by the row counts them as lost (`Verdict`). A mean of nothing and the standard
    deviation (n - 1) of fewer than two values are NaN.

    Attributes:
      phase, arm, level, nominal, prunable, kernels, total, dense: as in its records.
      kept: kept prunable weights; the rounded mean, should replicates differ.
      n: trainings in the means: replicates, each with its repeats.
      failed: trainings left out.
      judged_on: what chose the best evaluations, rows of `results.JUDGES`.
      accuracy: mean test accuracy at the best evaluation, in [0, 1].
      accuracy_sd: its standard deviation.
      final_accuracy: mean test accuracy at the last evaluation, in [0, 1].
      final_accuracy_sd: its standard deviation.
      best_step: mean step of the best evaluation.
      best_step_sd: its standard deviation.
      accuracies: test accuracy at the best evaluation by replicate, without the failed ones; the
        mean over its repeats.
      best_steps: step of the best evaluation, likewise.
      lost: replicates of which a training failed.
      grid: smallest distance of two accuracies of its curves, which bounds one test example: few
        pairs may gain the same number of examples by chance, and that is no certainty.
      layers: mean kept and number of prunable weights by layer.
      cut: layers that keep no weight at all, with the number of trainings where it is so.
    """

    phase: str
    arm: str
    level: int
    nominal: float
    kept: int
    prunable: int
    kernels: int
    total: int
    n: int
    failed: int
    judged_on: tuple[str, ...]
    accuracy: float
    accuracy_sd: float
    final_accuracy: float
    final_accuracy_sd: float
    best_step: float
    best_step_sd: float
    accuracies: Mapping[int, float]
    best_steps: Mapping[int, float]
    lost: tuple[int, ...]
    grid: float
    layers: Mapping[str, tuple[float, int]]
    cut: Mapping[str, int]
    dense: Mapping[str, int]

    @property
    def density(self) -> float:
        """Share of the prunable weights that are kept, by count, in [0, 1]."""
        return self.kept / self.prunable if self.prunable else math.nan

    def density_of(self, size: int) -> float:
        """Share that is kept of `size` weights, all kernels or all parameters, in [0, 1]."""
        return (size - self.prunable + self.kept) / size

    @property
    def layer_densities(self) -> dict[str, float]:
        """Share of the weights kept in each prunable layer, in [0, 1]; NaN in one without any."""
        return {n: kept / size if size else math.nan for n, (kept, size) in self.layers.items()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """A row held against another one, over the pairs of replicates that both have.

    Attributes:
      row: the row that was judged.
      against: the row that it was held against.
      wins: whether `RULE` holds.
      gain: accuracy of the row minus that of the other, the mean over the pairs with its
        interval; for one pair its ends are NaN, and it is None without one.
      pairs: replicates that trained in both rows, over which the means are.
      lost: replicates that failed in the row alone.
      tied: replicates that failed in both rows.
      won: replicates that failed in the other row alone.
    """

    row: Row
    against: Row
    wins: bool
    gain: Interval | None
    pairs: int
    lost: int
    tied: int
    won: int

    @property
    def word(self) -> str:
        """`wins`, `matches` or `loses` by `VERDICT`; empty where nothing can be said."""
        if self.lost:
            return "loses"
        if self.gain is None or math.isnan(self.gain.low):
            return ""
        if self.gain.low > _ROUNDING and not self.tied:
            return "wins"
        return "loses" if self.gain.high < -_ROUNDING else "matches"


def has_failed(record: Record) -> bool:
    """Whether the training has no result: its loss was not finite."""
    return record.failed_step is not None or record.best_step < 0


def summarize(records: Iterable[Record]) -> list[Row]:
    """One row per phase, arm and level; phases, then arms, then levels in order of display.

    Raises:
      ValueError: where a replicate has two records of the same phase, arm and level.
    """
    groups: dict[tuple[str, str, int], dict[tuple[int, int], Record]] = {}
    for record in records:
        group = groups.setdefault((record.phase, record.arm, record.level), {})
        drawn = (record.replicate, record.repeat)
        if drawn in group:
            raise ValueError(
                f"replicate {record.replicate} of {record.arm!r} ({record.phase}) has two records "
                f"at level {record.level}; remove one of them from the records"
            )
        group[drawn] = record
    rows = [_row(list(group.values())) for group in groups.values()]
    at_phase = {name: i for i, name in enumerate(phases(rows))}
    at_arm = {name: i for i, name in enumerate(arms(rows))}
    return sorted(rows, key=lambda r: (at_phase[r.phase], at_arm[r.arm], r.level))


def phases(rows: Iterable[Row | Record]) -> list[str]:
    """Phases by name: source, target, then any other as it comes."""
    return _in_order((r.phase for r in rows), ("source", "target"))


def arms(rows: Iterable[Row | Record]) -> list[str]:
    """Arms by name: those of `OWN_DENSE` in their order, then the others as they come."""
    return _in_order((r.arm for r in rows), OWN_DENSE)


def starts_and_controls(rows: Iterable[Row | Record]) -> tuple[list[str], list[str]]:
    """Arms by name, as `arms`: the start points, and the controls."""
    names = arms(rows)
    return [n for n in names if n in START_POINTS], [n for n in names if n not in START_POINTS]


def winning(rows: Sequence[Row], arm: str) -> list[Verdict]:
    """Holds each pruned level of an arm against the dense network, level 0 of the same arm.

    A start point is so held against the dense network from that start point. An arm without a
    level 0, or whose level 0 failed in every replicate, has no verdicts.

    Args:
      rows: what `summarize` returns, of one phase where two have such an arm.
      arm: start point or control.

    Raises:
      ValueError: where there is no such arm, or two phases have it.
    """
    levels = _levels(rows, arm)
    if 0 not in levels or not levels[0].n:
        return []
    return [_verdict(row, levels[0]) for level, row in levels.items() if level > 0]


def versus(rows: Sequence[Row], arm: str, other: str) -> list[Verdict]:
    """Holds an arm against another one at each pruned level that both have: ticket - control.

    The draws of a control are averaged before it is paired. Arguments and errors are those of
    `winning`.
    """
    ours, theirs = _levels(rows, arm), _levels(rows, other)
    return [_verdict(row, theirs[i]) for i, row in ours.items() if i > 0 and i in theirs]


def _levels(rows: Sequence[Row], arm: str) -> dict[int, Row]:
    """The rows of an arm by level, in order."""
    chosen = [r for r in rows if r.arm == arm]
    if not chosen:
        raise ValueError(trees.unknown(arm, {r.arm for r in rows}, "arm"))
    if len({r.phase for r in chosen}) > 1:
        raise ValueError(f"arm {arm!r} is in the phases {phases(chosen)}; give the rows of one")
    return {r.level: r for r in sorted(chosen, key=lambda r: r.level)}


def _verdict(row: Row, against: Row) -> Verdict:
    # One failed draw of a control loses the replicate; an opponent is the mean of its other draws.
    both = [i for i in row.accuracies if i in against.accuracies and i not in row.lost]
    ours, theirs = ({i: r.accuracies[i] for i in both} for r in (row, against))
    steps, their_steps = ({i: r.best_steps[i] for i in both} for r in (row, against))
    # Curves of one value tell no distance of accuracies: then it is at most that of the rows.
    grids = [g for g in (row.grid, against.grid) if g] or [
        gap for i in both if (gap := abs(ours[i] - theirs[i])) > _ROUNDING
    ]
    failed_there = set(against.lost) - set(against.accuracies)
    tied = len(failed_there & set(row.lost))
    return Verdict(
        row=row,
        against=against,
        wins=bool(both)
        and not row.lost
        and _mean(ours) >= _mean(theirs) - _ROUNDING
        and _mean(steps) <= _mean(their_steps),
        gain=intervals.difference(ours, theirs, grid=min(grids, default=0.0)),
        pairs=len(both),
        lost=len(row.lost) - tied,
        tied=tied,
        won=len(failed_there & set(row.accuracies) - set(row.lost)),
    )


def _mean(values: Mapping[int, float]) -> float:
    return statistics.fmean(values.values())


def mean_curve(records: Iterable[Record]) -> tuple[list[int], list[float]]:
    """Steps and mean test accuracy in [0, 1] at each, failed trainings left out.

    Where trainings stopped early, the mean is over those that still ran.
    """
    points: dict[int, list[float]] = {}
    for record in records:
        if not has_failed(record):
            for step, accuracy in zip(record.steps, record.test_accuracy, strict=True):
                points.setdefault(step, []).append(accuracy)
    steps = sorted(points)
    return steps, [statistics.fmean(points[s]) for s in steps]


def failures(records: Iterable[Record]) -> list[str]:
    """One sentence for each training that failed."""
    return [
        f"{r.phase}, {r.arm}, replicate {r.replicate}{f', draw {r.repeat}' if r.repeat else ''}, "
        f"level {r.level}: "
        + ("no result" if r.failed_step is None else f"loss not finite at step {r.failed_step}")
        for r in records
        if has_failed(r)
    ]


def cut_layers(records: Iterable[Record]) -> list[str]:
    """One sentence for each phase, arm and level with layers that keep no weight at all."""
    groups: dict[tuple[str, str, int], list[Record]] = {}
    for r in records:
        groups.setdefault((r.phase, r.arm, r.level), []).append(r)
    return [
        f"{phase}, {arm}, level {level}: no weight is kept in "
        + ", ".join(f"{layer} ({count} of {len(group)} trainings)" for layer, count in cut.items())
        + ", and nothing passes through such a layer"
        for (phase, arm, level), group in groups.items()
        if (cut := _cut(group))
    ]


def _cut(group: Iterable[Record]) -> dict[str, int]:
    """Layers that keep nothing, with the number of trainings where it is so."""
    return dict(
        collections.Counter(n for r in group for n, (kept, _) in r.layers.items() if kept == 0)
    )


def _row(group: Sequence[Record]) -> Row:
    first = group[0]
    good = [r for r in group if not has_failed(r)]
    accuracy, accuracy_sd = _mean_sd([r.accuracy for r in good])
    final, final_sd = _mean_sd([r.final_accuracy for r in good])
    best_step, best_step_sd = _mean_sd([r.best_step for r in good])
    draws = {i: [r for r in good if r.replicate == i] for i in sorted({r.replicate for r in good})}
    return Row(
        phase=first.phase,
        arm=first.arm,
        level=first.level,
        nominal=first.nominal,
        kept=round(statistics.fmean([r.kept for r in group])),
        prunable=first.prunable,
        kernels=first.kernels,
        total=first.total,
        n=len(good),
        failed=len(group) - len(good),
        judged_on=tuple(sorted({r.judged_on for r in group})),
        accuracy=accuracy,
        accuracy_sd=accuracy_sd,
        final_accuracy=final,
        final_accuracy_sd=final_sd,
        best_step=best_step,
        best_step_sd=best_step_sd,
        accuracies={i: statistics.fmean([r.accuracy for r in own]) for i, own in draws.items()},
        best_steps={i: statistics.fmean([r.best_step for r in own]) for i, own in draws.items()},
        lost=tuple(sorted({r.replicate for r in group if has_failed(r)})),
        grid=_grid({a for r in group for a in r.test_accuracy}),
        layers={
            name: (statistics.fmean([r.layers[name][0] for r in group]), size)
            for name, (_, size) in first.layers.items()
        },
        cut=_cut(group),
        dense=first.dense,
    )


def _grid(values: Iterable[float]) -> float:
    gaps = (b - a for a, b in itertools.pairwise(sorted(values)))
    return min((gap for gap in gaps if gap > _ROUNDING), default=0.0)


def _mean_sd(values: Sequence[float]) -> tuple[float, float]:
    mean = statistics.fmean(values) if values else math.nan
    return mean, statistics.stdev(values) if len(values) > 1 else math.nan


def _in_order(found: Iterable[str], first: Sequence[str]) -> list[str]:
    there = dict.fromkeys(found)
    return [n for n in first if n in there] + [n for n in there if n not in first]
