"""Intervals: how sure a mean, a ratio of means or a percentage is."""

from collections.abc import Callable, Mapping
import math
from typing import NamedTuple

import numpy as np

LEVEL = 0.95
_RESAMPLES = 5000


class Interval(NamedTuple):
    """A value with the ends of its 95 % interval, from `n` trials (or pairs of them)."""

    value: float
    low: float
    high: float
    n: int


def difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Interval | None:
    """Mean of `ours - theirs`, paired by trial; None without a pair."""
    return _paired(ours, theirs, lambda a, b: np.mean(a - b, axis=-1))


def reduction(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Interval | None:
    """1 - mean(ours) / mean(theirs): "converged 38 % faster" is 0.38 (reading 4.4)."""
    return _paired(ours, theirs, lambda a, b: 1 - a.mean(axis=-1) / b.mean(axis=-1))


def ratio(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Interval | None:
    """mean(ours) / mean(theirs)."""
    return _paired(ours, theirs, lambda a, b: a.mean(axis=-1) / b.mean(axis=-1))


def mean(values: Mapping[int, float]) -> Interval | None:
    """The mean over trials; None without one."""
    return _paired(values, values, lambda a, b: a.mean(axis=-1))


def _paired(
    ours: Mapping[int, float],
    theirs: Mapping[int, float],
    statistic: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> Interval | None:
    """Percentile bootstrap over the trials that both have; one trial has no interval."""
    import scipy.stats  # A second of imports, and only needed by reports.

    both = sorted(ours.keys() & theirs.keys())
    if not both:
        return None
    a, b = (np.array([v[i] for i in both], float) for v in (ours, theirs))
    value = float(statistic(a, b))
    if len(both) == 1:
        return Interval(value, math.nan, math.nan, 1)
    found = scipy.stats.bootstrap(
        (a, b),
        lambda x, y, axis=-1: statistic(np.moveaxis(x, axis, -1), np.moveaxis(y, axis, -1)),
        paired=True,
        vectorized=True,
        n_resamples=_RESAMPLES,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Interval(value, float(found.low), float(found.high), len(both))


def proportion(successes: int, n: int) -> Interval:
    """A share with Wilson's interval (1927)."""
    import scipy.stats

    found = scipy.stats.binomtest(successes, n).proportion_ci(LEVEL, method="wilson")
    return Interval(successes / n, float(found.low), float(found.high), n)


def proportions_differ(first: float, n_first: int, second: float, n_second: int) -> float:
    """Z of the difference of two independent shares, with the pooled standard error; 0 if equal."""
    if first == second:
        return 0.0
    pooled = (first * n_first + second * n_second) / (n_first + n_second)
    return (first - second) / math.sqrt(pooled * (1 - pooled) * (1 / n_first + 1 / n_second))
