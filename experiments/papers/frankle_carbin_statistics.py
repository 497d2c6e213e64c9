"""Statistics that only paper 004 asks for."""

import dataclasses
import math
import statistics

from experiments.papers.results import Results
from experiments.papers.series import Point, Series, shown
from experiments.papers.statistics import (
    Condition,
    Statistic,
    Values,
    accuracy,
    by_trial,
    converged_accuracy,
    merged,
    steps,
)


def apart(values: Values) -> Values:
    """How far each trial lies from the mean: what Levene's test compares."""

    def by_trial(results: Results) -> dict[int, float]:
        found = values.by_trial(results)
        middle = statistics.fmean(found.values())
        return {i: abs(v - middle) for i, v in found.items()}

    words = f"distance from the mean of {values.words}"
    return dataclasses.replace(values, words=words, by_trial=by_trial)


def alike(first: Series, second: Series) -> tuple[Condition, Condition]:
    """Over the levels that both have, steps within a factor of 1.25, the second less accurate."""
    a, b = first.between(0.999, 0, beside=second), second.between(0.999, 0, beside=first)
    return (steps(b) / steps(a)).inside(0.8, 1.25), (accuracy(a) - accuracy(b)).above(0)


def ahead(first: Series, second: Series, high: float, low: float) -> Statistic:
    """How much more accurate one series is than another, mean over the levels that both have."""
    a, b = first.between(high, low, beside=second), second.between(high, low, beside=first)
    return accuracy(a) - accuracy(b)


def more_steps(first: Series, second: Series) -> Condition:
    """One series needs more steps than another, mean over 100 to 25 %."""
    return (steps(first.between(1, 0.25)) - steps(second.between(1, 0.25))).above(0)


def more_accurate(first: Series, second: Series) -> Condition:
    """One series is more accurate than another, mean over 100 to 25 %."""
    return (accuracy(first.between(1, 0.25)) - accuracy(second.between(1, 0.25))).above(0)


def _accuracies(series: Series, results: Results) -> list[tuple[Point, dict[int, float]]]:
    """Accuracy by trial of the levels that converged."""
    return [
        (p, by_trial(series, results, p, converged_accuracy))
        for p in series.points(results)
        if shown(series, results, p)
    ]


def crossed_gain(series: Series) -> Statistic:
    """By trial, accuracy less dense at the pruned level that its other trials find best.

    A level chosen by the very trials that judge it would be ahead by choice.
    """

    def by_trial(results: Results) -> dict[int, float]:
        (_, dense), *levels = _accuracies(series, results)
        found = {}
        for trial in dense:
            others = [
                (statistics.fmean(a for i, a in by.items() if i != trial), by[trial])
                for _, by in levels
                if trial in by and len(by) > 1
            ]
            if others:
                found[trial] = max(others, key=lambda pair: pair[0])[1] - dense[trial]
        return found

    words = f"{series.label}: accuracy minus dense at the level that the other trials find best"
    return dataclasses.replace(accuracy(series.dense), words=words, by_trial=by_trial).mean()


def peaks_apart(*every: Series) -> Statistic:
    """Logarithm of the largest over the smallest number of weights kept where each is best."""

    def by_trial(results: Results) -> dict[int, float]:
        peaks: list[dict[int, int]] = []
        for series in every:
            best: dict[int, tuple[float, int]] = {}
            for p, by in _accuracies(series, results):
                for i, a in by.items():
                    if i not in best or a > best[i][0]:
                        best[i] = (a, p.kept)
            peaks.append({i: kept for i, (_, kept) in best.items()})
        common = set.intersection(*map(set, peaks))
        return {i: math.log(max(p[i] for p in peaks) / min(p[i] for p in peaks)) for i in common}

    needs, depends = merged(accuracy(series.dense) for series in every)
    words = "logarithm of the largest peak over the smallest, in weights"
    return Values(words=words, needs=needs, depends=depends, by_trial=by_trial).mean()
