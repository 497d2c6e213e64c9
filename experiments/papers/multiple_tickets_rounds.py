"""What paper 002 reports of each prune round: while training, round by round, and gaps of both."""

from collections.abc import Callable, Mapping, Sequence
import statistics
from typing import TYPE_CHECKING, NamedTuple

from experiments.papers.drawing import Curve, against_step, drawing_of_series, points_by_round
from experiments.papers.paper import Drawing, Tables, folded
from experiments.papers.results import Results
from experiments.papers.series import Line, Missing, Place, Series
from experiments.papers.statistics import (
    POINTS,
    Number,
    Statistic,
    Values,
    best_accuracy,
    best_step,
    merged,
    stops,
)
from experiments.papers.tables import tables_of
from ltjax.report.document import Fold
from ltjax.report.wording import judges
from ltjax.statistics import analysis
from ltjax.training.records import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Watched(NamedTuple):
    """What is drawn against the step.

    Attributes:
      name: in words.
      unit: of its values; empty for a loss.
      of: record -> values at the evaluations; None where there is none.
    """

    name: str
    unit: str
    of: Callable[[Record], Sequence[float | None]]

    def by_step(self, record: Record) -> dict[int, float]:
        """Value by step, where there is one; nothing is trained yet at step 0."""
        found = zip(record.steps, self.of(record), strict=False)
        return {step: value for step, value in found if step and value is not None}

    def axis(self, unit: str) -> str:
        """Label of an axis; a loss has no unit."""
        return f"{self.name} ({unit})" if self.unit else self.name


TEST = Watched("test accuracy", "points", lambda r: [POINTS * a for a in r.test_accuracy])
VALIDATION = Watched(
    "validation accuracy", "points", lambda r: [POINTS * a for a in r.validation_accuracy]
)
TRAIN_LOSS = Watched("training loss", "", lambda r: r.train_loss)
"""The accuracy on the training set is not evaluated; the mean loss of its batches since the
evaluation before is."""

WATCHED = (TEST, VALIDATION, TRAIN_LOSS)


def _good(points: Line) -> dict[int, list[Record]]:
    """By round, the trainings that did not fail."""
    found = {p.number: [r for r in p.records if not analysis.has_failed(r)] for p in points}
    return {number: records for number, records in found.items() if records}


def _majority(curves: Sequence[Mapping[int, float]]) -> Curve:
    """Steps, and the mean over the trainings, as long as more than half of them have a value."""
    steps = sorted({step for curve in curves for step in curve})
    steps = [s for s in steps if 2 * sum(s in curve for curve in curves) > len(curves)]
    return steps, [statistics.fmean(c[s] for c in curves if s in c) for s in steps]


def while_training(
    places: Mapping[str, Place], watched: Sequence[Watched], *, caption: str
) -> Drawing:
    """Curves against the step, a line a place: the mean over its trainings while most train."""

    def panels(results: Results) -> dict[str, dict[str, Curve]]:
        found: dict[str, dict[str, Curve]] = {}
        for name, place in places.items():
            try:
                records = [r for by in _good(place.pick(results)).values() for r in by]
            except Missing:
                continue
            for each in watched:
                curve = _majority([each.by_step(r) for r in records])
                if curve[0]:
                    found.setdefault(each.axis("%"), {})[name] = curve
        return found

    every = [place.series for place in places.values()]
    shaded = len({*every}) == 1  # Rounds of one series; series have colours, as in `by_round`.
    return drawing_of_series(
        caption, every,
        lambda results: against_step(
            panels(results), quantile=0.05 if len(watched) == 1 else 0.0, shaded=shaded
        ),
    )  # fmt: skip


def _pairs(
    results: Results, first: Series, second: Series, numbers: Sequence[int]
) -> dict[int, list[tuple[Record, Record]]]:
    """By round, the trainings of two series of the same seed."""
    ours, theirs = (_good(series.line(results)) for series in (first, second))
    found = {}
    for number in numbers:
        beside = {r.replicate: r for r in theirs.get(number, [])}
        mine = ours.get(number, [])
        found[number] = [(r, beside[r.replicate]) for r in mine if r.replicate in beside]
    return {number: pairs for number, pairs in found.items() if pairs}


def _gap(pair: tuple[Record, Record], watched: Watched) -> dict[int, float]:
    ours, theirs = map(watched.by_step, pair)
    return {step: value - theirs[step] for step, value in ours.items() if step in theirs}


def gaps_while_training(
    first: Series, second: Series, numbers: Sequence[int], *, caption: str
) -> Drawing:
    """One series minus another against the step, a line a round: the mean over the seeds."""

    def panels(results: Results) -> dict[str, dict[str, Curve]]:
        found: dict[str, dict[str, Curve]] = {}
        for number, pairs in _pairs(results, first, second, numbers).items():
            for each in WATCHED:
                curve = _majority([_gap(pair, each) for pair in pairs])
                if curve[0]:
                    label = f"gap of {each.axis('points')}"
                    found.setdefault(label, {})[f"round {number}"] = curve
        return found

    return drawing_of_series(
        caption, [first, second],
        lambda results: against_step(panels(results), zero=True, quantile=0.02),
    )  # fmt: skip


def gap(
    first: Series, second: Series, numbers: Sequence[int], watched: Watched, *, after: float = 0.0
) -> Statistic:
    """By seed, the mean of one series minus another over rounds and the steps that both reach.

    Args:
      first: a series.
      second: another.
      numbers: of the rounds.
      watched: what is compared.
      after: share of the steps that is left out, from the first on.
    """

    def by_trial(results: Results) -> dict[int, float]:
        gaps: dict[int, list[float]] = {}
        if not second.trainings.records(results, numbers[0]):
            raise Missing("not trained in this run")
        for pairs in _pairs(results, first, second, numbers).values():
            for pair in pairs:
                found = _gap(pair, watched)
                late = [v for step, v in found.items() if step > after * max(found)]
                gaps.setdefault(pair[0].replicate, []).extend(late)
        found = {seed: statistics.fmean(v) for seed, v in gaps.items() if v}
        if not found:
            raise Missing("no validation set, or no step after the first was evaluated")
        return found

    needs, depends = merged(stops(series.dense) for series in (first, second))
    late = f" in the last {100 * (1 - after):g} % of the steps" if after else ""
    words = f"{first.label} minus {second.label}, {watched.name}{late}"
    return Values(
        words=words, needs=needs, depends=depends, unit=watched.unit, by_trial=by_trial
    ).mean()


def by_round(*every: Series, caption: str) -> Drawing:
    """Early-stopping iteration and accuracy against the prune round; bars: the seeds."""

    def draw(results: Results) -> "Figure | None":
        panels: dict[str, dict[str, dict[float, list[float]]]] = {}
        for series in every:
            found = {n: records for n, records in _good(series.line(results)).items() if n}
            for label, measure in (
                ("early-stopping iteration", best_step),
                ("test accuracy (%)", best_accuracy),
            ):
                values: dict[float, list[float]] = {
                    n: [v for r in records if (v := measure(series, results, r)) is not None]
                    for n, records in found.items()
                }
                if values:
                    panels.setdefault(label, {})[series.label] = values
        return points_by_round(panels)

    return drawing_of_series(f"{caption}; bars: the seeds", every, draw)


def every_round(*every: Series) -> Tables:
    """Every round of several series: kept weights, early-stopping iteration, accuracy."""

    def make(results: Results) -> list[Fold]:
        body, judged = [], set()
        for series in every:
            for number, records in _good(series.line(results)).items():
                first = records[0]
                judged |= {r.judged_on for r in records}
                at = [float(r.best_step) for r in records]
                tests = [POINTS * r.accuracy for r in records]
                body.append(
                    [
                        series.label,
                        str(number),
                        f"{first.kept:,}",
                        f"{100 * first.kept / first.prunable:.2f}",
                        f"{statistics.fmean(at):,.0f} ({min(at):,.0f} to {max(at):,.0f})",
                        f"{statistics.fmean(tests):.2f} ({min(tests):.2f} to {max(tests):.2f})",
                        str(len(records)),
                    ]
                )
        return [
            folded(
                title="Every round",
                heads=["", "round", "kept", "%", "early-stopping iteration", "test accuracy %",
                       "n"],
                body=body,
                note="Mean (minimum to maximum) over the seeds that did not fail, at the best "
                f"evaluation. {judges(judged)}".strip(),
            )
        ]  # fmt: skip

    return tables_of(every, make)


def collapse(*every: Series) -> Tables:
    """Layers that some score empties."""

    def make(results: Results) -> list[Fold]:
        body = [
            [series.label, str(number), ", ".join(layers)]
            for series in every
            for number, records in _good(series.line(results)).items()
            if (layers := _emptied(records))
        ]
        return [
            folded(
                title="Layer collapse",
                heads=["", "round", "layers that keep nothing in some training"],
                body=body or [["none", "", ""]],
            )
        ]

    return tables_of(every, make)


def _emptied(records: Sequence[Record]) -> list[str]:
    return sorted({name for r in records for name, (kept, _) in r.layers.items() if not kept})


def kept(place: Place) -> Statistic:
    """Weights that a ticket keeps."""
    return _counted(place, "weights kept", lambda record: float(record.kept))


def percent_kept(place: Place) -> Statistic:
    """Weights that a ticket keeps, in % of the prunable."""
    return _counted(place, "weights kept, %", lambda record: 100 * record.kept / record.prunable)


def _counted(place: Place, words: str, of: Callable[[Record], float]) -> Statistic:
    def measure(results: Results) -> Number:
        records = place.pick(results)[0].records
        return Number(of(records[0]), n=len(records))

    series = place.series
    return Statistic(
        words=f"{words}, {place.words}", needs=(series.trainings,), depends=series.depends,
        measure=measure,
    )  # fmt: skip
