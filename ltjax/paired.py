"""Paired tests: whether two ways to train differ, over replicates that have both."""

from collections.abc import Mapping, Sequence
import math
from typing import Any, NamedTuple

import numpy as np

from ltjax.results import DIGITS

LEVEL = 0.95


class Paired(NamedTuple):
    """The difference of two series over their common replicates.

    Attributes:
      difference: mean of `first - second`, signed.
      low: lower end of its 95 % interval by Student's t.
      high: its upper end.
      t: of the paired t-test, signed as the difference; NaN where all differences are equal.
      p: two-sided, of the paired t-test.
      wilcoxon_p: two-sided, of Wilcoxon's signed-rank test.
      n: pairs.
    """

    difference: float
    low: float
    high: float
    t: float
    p: float
    wilcoxon_p: float
    n: int


def compare(first: Mapping[int, float], second: Mapping[int, float]) -> Paired | None:
    """Paired tests of `first - second` over the replicates that both have; None below two.

    Args:
      first: values by replicate.
      second: values by replicate.
    """
    import scipy.stats  # A second of imports, and only needed by reports.

    both = sorted(first.keys() & second.keys())
    if len(both) < 2:
        return None
    # Rounded as curves are, so that equal differences of accuracies tie.
    gaps = np.array([first[i] - second[i] for i in both], float).round(DIGITS)
    difference = float(gaps.mean())
    if not np.ptp(gaps):  # No spread: no t, and no p unless all are zero.
        p = math.nan if difference else 1.0
        return Paired(difference, difference, difference, math.nan, p, p, len(both))
    test: Any = scipy.stats.ttest_1samp(gaps, 0.0)
    ends = test.confidence_interval(LEVEL)
    ranks: Any = scipy.stats.wilcoxon(gaps)
    return Paired(
        difference,
        float(ends.low),
        float(ends.high),
        float(test.statistic),
        float(test.pvalue),
        float(ranks.pvalue),
        len(both),
    )


def holm(p: Sequence[float]) -> list[float]:
    """P-values of several tests, corrected so that a false rejection stays as rare (Holm, 1979).

    NaN stays NaN and is not counted.

    Args:
      p: of each test, in any order; the corrected ones come in the same.
    """
    known = sorted((value, i) for i, value in enumerate(p) if not math.isnan(value))
    found, largest = [math.nan] * len(p), 0.0
    for rank, (value, i) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * value))
        found[i] = largest
    return found
