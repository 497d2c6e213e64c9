"""What paper 002 reports of each prune round: when a training was best, and how good it was."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import statistics

from experiments.papers import convergence
from experiments.reproduce.retrainings import AtStart
from experiments.reproduce.rules import Absent, Quantity, quantity
from experiments.reproduce.searches import Search
from experiments.reproduce.trained import Results
from ltjax.core import masks
from ltjax.core.types import Mask
from ltjax.statistics import analysis, intervals
from ltjax.training import population
from ltjax.training.records import Record

NOT_RUN = Absent("not trained in this run")
Series = Search | AtStart


@dataclasses.dataclass(frozen=True)
class Round:
    """The trainings of one prune round, without those that failed."""

    number: int
    records: tuple[Record, ...]

    def mean(self, value: Callable[[Record], float]) -> float:
        """Mean of a value over the seeds; NaN without one."""
        return statistics.fmean(map(value, self.records)) if self.records else float("nan")


def best_step(record: Record) -> float:
    """The early-stopping iteration: that of the best validation accuracy (reading 2.6)."""
    return float(record.best_step)


def accuracy(record: Record) -> float:
    """Test accuracy of the best weights, in [0, 1]."""
    return record.accuracy


def rounds(results: Results, series: Series) -> list[Round]:
    """The rounds of a series that have been trained.

    Round r of a search is its level r; round 1 of a flipped search is its level 0 (reading 2.8).
    """
    levels = range(series.levels + 1) if isinstance(series, Search) else series.numbers
    first = 1 if isinstance(series, Search) and series.flip else 0
    found = []
    for level in levels:
        records = [r for r in series.records(results, level) if not analysis.has_failed(r)]
        if records:
            found.append(Round(level + first, tuple(records)))
    return found


def at_round(
    series: Series, number: int, value: Callable[[Record], float]
) -> Callable[[Results], Quantity | Absent]:
    """Mean of a value at one round, with its interval over the seeds."""

    def ours(results: Results) -> Quantity | Absent:
        for each in rounds(results, series):
            if each.number == number:
                found = {r.replicate: value(r) for r in each.records}
                coarse = grid(results, series, [number]) if value is best_step else 0.0
                return quantity(intervals.mean(found, grid=coarse))
        return NOT_RUN

    return ours


def by_seed(
    results: Results, series: Series, numbers: Sequence[int], value: Callable[[Record], float]
) -> dict[int, float] | None:
    """By seed, the mean of a value over rounds; None where a round is missing.

    A seed that failed in one of them has none.
    """
    found = {each.number: each.records for each in rounds(results, series)}
    if not numbers or any(n not in found for n in numbers):
        return None
    every = [{r.replicate: value(r) for r in found[n]} for n in numbers]
    common = sorted(set.intersection(*map(set, every)))
    return {i: statistics.fmean(by[i] for by in every) for i in common}


def grid(results: Results, series: Series, numbers: Sequence[int]) -> float:
    """What the mean early-stopping iteration of some rounds is a multiple of, for its rounding."""
    records = [r for each in rounds(results, series) for r in each.records]
    return max((convergence.distance(r.steps) for r in records), default=1) / len(numbers) ** 0.5


def _masks(results: Results, search: Search, snip: AtStart, number: int) -> list[tuple[Mask, Mask]]:
    """Masks of LTH and SNIP at a round, by seed; none where they were not trained."""
    ours, theirs = results.tree(search.level(number)), results.tree(snip.mask(number))
    if ours is None or theirs is None:
        return []
    both = (ours["mask"], theirs["mask"])
    return [
        (population.member(both[0], i), population.member(both[1], i))
        for i in range(search.replicates)
    ]


def _layers(results: Results, search: Search, number: int) -> list[str]:
    return list(results.records(search.level(number))[0].layers)


def overlaps(results: Results, search: Search, snip: AtStart, number: int) -> list[masks.Overlap]:
    """How the masks of LTH and SNIP meet at a round, by seed; empty where it was not trained."""
    pairs = _masks(results, search, snip, number)
    return [masks.overlap(a, b, _layers(results, search, number)) for a, b in pairs]


def layer_overlaps(
    results: Results, search: Search, snip: AtStart, number: int
) -> dict[str, list[masks.Overlap]]:
    """The same by layer."""
    pairs = _masks(results, search, snip, number)
    layers = _layers(results, search, number) if pairs else []
    return {layer: [masks.overlap(a, b, [layer]) for a, b in pairs] for layer in layers}


def mean_overlap(
    search: Search, snip: AtStart, number: int, pick: Callable[[masks.Overlap], float]
) -> Callable[[Results], Quantity | Absent]:
    """Mean of an overlap's number over the seeds."""

    def ours(results: Results) -> Quantity | Absent:
        found = overlaps(results, search, snip, number)
        if not found:
            return NOT_RUN
        values = {i: float(pick(o)) for i, o in enumerate(found)}
        return quantity(intervals.mean(values))

    return ours


def emptied(records: Sequence[Record]) -> list[str]:
    """Layers that keep nothing in some training: layer collapse."""
    return sorted({layer for r in records for layer, (kept, _) in r.layers.items() if not kept})


MEASURES: Mapping[str, Callable[[Record], list]] = {
    "test accuracy": lambda record: _percents(record.test_accuracy),
    "validation accuracy": lambda record: _percents(record.validation_accuracy),
    "training loss": lambda record: record.train_loss,
}
"""What is drawn against the step. The accuracy on the training set is not evaluated; the mean loss
of its batches since the evaluation before is."""

TEST, VALIDATION, LOSS = MEASURES

Curve = tuple[list[int], list[float]]


def _percents(curve: Sequence[float]) -> list[float]:
    return [100 * a for a in curve]


def axis(measure: str, unit: str) -> str:
    """Label of an axis; a loss has no unit."""
    return measure if measure == LOSS else f"{measure} ({unit})"


def values(record: Record, measure: Callable[[Record], list]) -> dict[int, float]:
    """Value by step, where there is one; nothing is trained yet at step 0."""
    found = zip(record.steps, measure(record), strict=False)
    return {step: value for step, value in found if step and value is not None}


def majority_curve(records: Sequence[Record], measure: Callable[[Record], list]) -> Curve:
    """Steps, and the mean over the trainings, as long as more than half of them still run."""
    return _mean([values(record, measure) for record in records])


def gap_curve(first: Round, second: Round, measure: Callable[[Record], list]) -> Curve:
    """Steps, and the mean of `first - second` seed by seed, where more than half have both."""
    beside = {r.replicate: values(r, measure) for r in second.records}
    gaps = []
    for record in first.records:
        theirs = beside.get(record.replicate, {})
        ours = values(record, measure)
        gaps.append({step: v - theirs[step] for step, v in ours.items() if step in theirs})
    return _mean(gaps)


def gap_by_seed(
    results: Results,
    first: Series,
    second: Series,
    numbers: Sequence[int],
    measure: str,
    *,
    after: float = 0.0,
) -> dict[int, float]:
    """By seed, the mean of `first - second` over rounds and the steps that both reach.

    Args:
      results: of the run.
      first: a series.
      second: another.
      numbers: of the rounds.
      measure: a row of `MEASURES`.
      after: share of the steps that is left out, from the first on.
    """
    gaps: dict[int, list[float]] = {}
    ours, theirs = (
        {(each.number, r.replicate): r for each in rounds(results, s) for r in each.records}
        for s in (first, second)
    )
    for number, seed in sorted(ours.keys() & theirs.keys()):
        a, b = (values(side[number, seed], MEASURES[measure]) for side in (ours, theirs))
        common = sorted(a.keys() & b.keys())
        if number in numbers and common:
            late = [s for s in common if s > after * common[-1]]
            gaps.setdefault(seed, []).extend(a[s] - b[s] for s in late)
    return {seed: statistics.fmean(v) for seed, v in gaps.items()}


def _mean(curves: Sequence[Mapping[int, float]]) -> Curve:
    steps = sorted({step for curve in curves for step in curve})
    steps = [s for s in steps if 2 * sum(s in curve for curve in curves) > len(curves)]
    return steps, [statistics.fmean(c[s] for c in curves if s in c) for s in steps]


def gap_panels(
    results: Results, first: Series, second: Series, numbers: Sequence[int]
) -> dict[str, dict[str, Curve]]:
    """Gap curves by measure, by round."""
    ours, theirs = ({each.number: each for each in rounds(results, s)} for s in (first, second))
    panels: dict[str, dict[str, Curve]] = {}
    for name, measure in MEASURES.items():
        for number in numbers:
            if number in ours and number in theirs:
                curve = gap_curve(ours[number], theirs[number], measure)
                if curve[0]:
                    panels.setdefault(name, {})[f"round {number}"] = curve
    return panels


def in_points(panels: Mapping[str, Mapping[str, Curve]]) -> dict[str, Mapping[str, Curve]]:
    """Gap panels under the labels of their axes."""
    return {axis(name, "points"): lines for name, lines in panels.items()}
