"""How the masks of two series meet, beside independent random masks of their counts (paper 002)."""

from collections.abc import Callable, Mapping, Sequence
import itertools
import math
import statistics

from experiments.papers.paper import Tables, folded
from experiments.papers.published import Published
from experiments.papers.results import Results
from experiments.papers.series import NOT_TRAINED, Missing, Series
from experiments.papers.statistics import Values
from experiments.papers.tables import tables_of
from ltjax.core import masks
from ltjax.report.document import Fold
from ltjax.statistics import intervals
from ltjax.training import population

_HEADS = (
    "LTH keeps", "SNIP keeps", "overlap", "difference", "chance (95 %)", "overlap / chance"
)  # fmt: skip
_NOTE = (
    "Means over the seeds. Chance: the mean overlap of as many pairs of independent random masks "
    "of these counts (hypergeometric). Difference is one-sided, as printed: what LTH keeps less "
    "the overlap."
)


def _meeting(
    results: Results, first: Series, second: Series, number: int
) -> Callable[[Sequence[str]], list[masks.Overlap]]:
    """How masks meet at a round in some layers, a number a seed; all layers for none.

    Raises:
      Missing: where they were not trained.
    """
    ours, theirs = (series.trainings.tree(results, number) for series in (first, second))
    records = first.trainings.records(results, number)
    if ours is None or theirs is None or not records:
        raise Missing(NOT_TRAINED)

    def overlaps(layers: Sequence[str]) -> list[masks.Overlap]:
        chosen = list(layers) or list(records[0].layers)
        pairs = (
            (population.member(ours["mask"], i), population.member(theirs["mask"], i))
            for i in range(population.size(ours["mask"]))
        )
        return [masks.overlap(a, b, chosen) for a, b in pairs]

    return overlaps


def overlap(first: Series, second: Series, number: int, pick: str) -> Values:
    """A number of the overlap of two masks at a round, by seed: a field of `masks.Overlap`."""

    def by_trial(results: Results) -> dict[int, float]:
        found = _meeting(results, first, second, number)([])
        return {i: float(getattr(each, pick)) for i, each in enumerate(found)}

    said = {"both": "overlap", "only_first": "difference"}[pick]
    needs = (first.trainings, second.trainings)
    words = f"{said} of {first.label} and {second.label}, round {number}"
    return Values(words=words, needs=needs, unit="weights", by_trial=by_trial)


def overlap_tables(first: Series, second: Series, numbers: Sequence[int]) -> Tables:
    """Overlap of whole masks, and layer by layer, beside chance."""

    def make(results: Results) -> list[Fold]:
        whole, layers = [], []
        for number in numbers:
            try:
                overlaps = _meeting(results, first, second, number)
            except Missing:
                continue
            whole.append([str(number), *_cells(overlaps([]))])
            for layer in first.trainings.records(results, number)[0].layers:
                layers.append([str(number), layer, *_cells(overlaps([layer]))])
        return [
            folded(
                title="Overlap beside chance", heads=["round", *_HEADS], body=whole, note=_NOTE,
                shown=True,
            ),
            folded(
                title="Overlap by layer", heads=["round", "layer", *_HEADS], body=layers, note=_NOTE
            ),
        ]  # fmt: skip

    return tables_of([first, second], make)


def _cells(found: Sequence[masks.Overlap]) -> list[str]:
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


def falls_by_chance(published: Published, sizes: Mapping[str, int]) -> float:
    """How often independent random masks of the printed counts share less with every round.

    Args:
      published: of the paper.
      sizes: by table, the prunable weights of its network.
    """
    chance = 1.0
    for table, size in sizes.items():
        kept = [e.value for e in published.table(table) if e.metric == "kept"]
        means = [k * k / size for k in kept]
        variances = [
            m * (1 - k / size) ** 2 * size / (size - 1) for k, m in zip(kept, means, strict=True)
        ]
        for (a, u), (b, v) in itertools.pairwise(zip(means, variances, strict=True)):
            chance *= math.erfc((b - a) / math.sqrt(2 * (u + v))) / 2
    return chance
