"""Analysis: numbers from records; no disk, no plots.

A *row* sums up the replicates of one phase, arm and level. A *verdict* says whether a row is a
winning ticket, held against the *dense* row: level 0 of the same arm in the same phase.
"""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import math
import statistics

import scipy.special

from ltjax import trees
from ltjax.results import Record

START_POINTS = ("ticket", "theta_0", "theta_k", "theta_S", "redrawn")
"""Arms that are start points, in the order of display; every other arm is a control."""

RULE = (
    "A level is a winning ticket where its mean test accuracy is at least that of the dense "
    "network (level 0) from the same start point, and its mean number of steps to the best "
    "evaluation is at most that of the dense network."
)

# Accuracies may have been float32: equal means may differ by the last bit of one. One image of
# a test set of a million is more.
_ROUNDING = 1e-7


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One phase, arm and level, summed up over its replicates.

    Failed replicates are left out of every mean but that of the counts. A mean of nothing and
    the standard deviation (n - 1) of fewer than two values are NaN.

    Attributes:
      phase: `source` or `target`.
      arm: start point or control.
      level: rounds of pruning; 0 is the dense network.
      nominal: density asked, in [0, 1].
      kept: kept prunable weights; the rounded mean, should replicates differ.
      prunable: prunable weights.
      kernels: weights of all kernels, and of whatever else is prunable.
      total: all parameters.
      n: trainings in the means: replicates, each with its repeats.
      failed: replicates left out.
      accuracy: mean test accuracy at the best evaluation, in [0, 1].
      accuracy_sd: its standard deviation.
      final_accuracy: mean test accuracy at the last evaluation, in [0, 1].
      final_accuracy_sd: its standard deviation.
      best_step: mean step of the best evaluation.
      best_step_sd: its standard deviation.
      accuracies: test accuracy at the best evaluation by replicate, without the failed ones; the
        mean over its repeats.
      layers: mean kept and number of prunable weights by layer.
      dense: weights of the layers that stay dense.
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
    accuracy: float
    accuracy_sd: float
    final_accuracy: float
    final_accuracy_sd: float
    best_step: float
    best_step_sd: float
    accuracies: Mapping[int, float]
    layers: Mapping[str, tuple[float, int]]
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
        """Share of the weights kept in each prunable layer, in [0, 1]."""
        return {name: kept / size for name, (kept, size) in self.layers.items() if size}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """Accuracy minus that of the dense network, paired by replicate.

    Attributes:
      mean: mean difference, as a fraction of the test set.
      low: lower end of the 95 % t-interval of the mean.
      high: its upper end.
      n: number of pairs, at least 2.
    """

    mean: float
    low: float
    high: float
    n: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a row is a winning ticket.

    Attributes:
      row: the row that was judged.
      dense: the row that it was held against.
      wins: whether `RULE` holds.
      difference: information only, not part of the rule; None for fewer than two pairs.
    """

    row: Row
    dense: Row
    wins: bool
    difference: Difference | None


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
    """Arms by name: start points in their order, then the controls as they come."""
    return _in_order((r.arm for r in rows), START_POINTS)


def winning(rows: Sequence[Row], arm: str, *, phase: str | None = None) -> list[Verdict]:
    """Says for each pruned level of an arm whether it is a winning ticket.

    The rule: mean accuracy at least the dense mean, and mean step of the best evaluation at most
    the dense mean. The dense network is level 0 of the same arm, so that a start point is held
    against the dense network from that start point. Equal counts as at least and at most. An
    arm without a level 0, or whose level 0 failed in every replicate, has no verdicts.

    Args:
      rows: what `summarize` returns.
      arm: start point or control.
      phase: needed only where both phases have an arm of this name.

    Raises:
      ValueError: where there is no such arm, or two phases have it and `phase` is None.
    """
    chosen = [r for r in rows if r.arm == arm and phase in (None, r.phase)]
    if not chosen:
        raise ValueError(trees.unknown(arm, {r.arm for r in rows}, "arm"))
    if len({r.phase for r in chosen}) > 1:
        raise ValueError(f"arm {arm!r} is in the phases {phases(chosen)}; choose one by phase=")
    dense = next((r for r in chosen if r.level == 0 and r.n), None)
    if dense is None:
        return []
    return [
        Verdict(row=r, dense=dense, wins=_wins(r, dense), difference=difference(r, dense))
        for r in sorted(chosen, key=lambda r: r.level)
        if r.level > 0
    ]


def smallest_winning_density(
    rows: Sequence[Row], arm: str, *, phase: str | None = None
) -> float | None:
    """The smallest density at which the arm is a winning ticket, or None."""
    return min((v.row.density for v in winning(rows, arm, phase=phase) if v.wins), default=None)


def difference(row: Row, dense: Row) -> Difference | None:
    """Mean paired difference of accuracy with its 95 % interval of Student's t.

    Only replicates that neither row lost are paired; fewer than two give None.
    """
    both = sorted(row.accuracies.keys() & dense.accuracies.keys())
    if len(both) < 2:
        return None
    gains = [row.accuracies[i] - dense.accuracies[i] for i in both]
    mean, n = statistics.fmean(gains), len(gains)
    half = float(scipy.special.stdtrit(n - 1, 0.975)) * statistics.stdev(gains) / math.sqrt(n)
    return Difference(mean=mean, low=mean - half, high=mean + half, n=n)


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
    """One sentence for each phase, arm and level with a layer that keeps no weight at all."""
    found: dict[tuple[str, str, int, str], int] = {}
    for r in records:
        for layer, (kept, _) in r.layers.items():
            if kept == 0:
                key = (r.phase, r.arm, r.level, layer)
                found[key] = found.get(key, 0) + 1
    return [
        f"{phase}, {arm}, level {level}: {layer} keeps no weight in {count} replicate(s), "
        "so nothing passes through it"
        for (phase, arm, level, layer), count in found.items()
    ]


def _row(group: Sequence[Record]) -> Row:
    first = group[0]
    good = [r for r in group if not has_failed(r)]
    accuracy, accuracy_sd = _mean_sd([r.accuracy for r in good])
    final, final_sd = _mean_sd([r.final_accuracy for r in good])
    best_step, best_step_sd = _mean_sd([r.best_step for r in good])
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
        accuracy=accuracy,
        accuracy_sd=accuracy_sd,
        final_accuracy=final,
        final_accuracy_sd=final_sd,
        best_step=best_step,
        best_step_sd=best_step_sd,
        accuracies={
            i: statistics.fmean([r.accuracy for r in good if r.replicate == i])
            for i in sorted({r.replicate for r in good})
        },
        layers={
            name: (statistics.fmean([r.layers[name][0] for r in group]), size)
            for name, (_, size) in first.layers.items()
        },
        dense=first.dense,
    )


def _wins(row: Row, dense: Row) -> bool:
    return row.accuracy >= dense.accuracy - _ROUNDING and row.best_step <= dense.best_step


def _mean_sd(values: Sequence[float]) -> tuple[float, float]:
    mean = statistics.fmean(values) if values else math.nan
    return mean, statistics.stdev(values) if len(values) > 1 else math.nan


def _in_order(found: Iterable[str], first: Sequence[str]) -> list[str]:
    there = dict.fromkeys(found)
    return [n for n in first if n in there] + [n for n in there if n not in first]
