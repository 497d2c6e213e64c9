"""Claims: what a paper says, what answers it, and the rule by which ours agrees.

A rule is written beside its claim before anything is trained; it knows our numbers alone, and how
often it would agree by chance follows from the paper's own numbers.
"""

from collections.abc import Callable, Sequence
import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np

from experiments.papers.published import Entry, Published
from experiments.papers.results import Results
from experiments.papers.series import NOT_TRAINED
from experiments.papers.statistics import Condition, Missing, Number, Statistic
from ltjax.statistics.intervals import LEVEL, TAIL, Z, proportions_differ

AGREES, DIFFERS, NOT_COMPARABLE = VERDICTS = ("agrees", "differs", "not comparable")

MOST_BY_CHANCE = 0.3
"""A rule that agrees by chance more often than this says nothing; its claim is not comparable."""

_FEWEST = 3
"""Of fewer entries beside a number no share is taken."""

_ROUNDING = 1e-9
"""Of 100 * 0.55, which is 55 %."""


class Rule(NamedTuple):
    """When our number agrees with a published one.

    Attributes:
      text: in words.
      agrees: (our number, the published value) -> whether they do.
    """

    text: str
    agrees: Callable[[Number, Any], bool]


def near(tolerance: float, unit: str = "points") -> Rule:
    """Within a tolerance."""
    return Rule(
        f"within {tolerance:g} {unit} of ours",
        lambda ours, value: abs(ours.value - value) <= tolerance + _ROUNDING * abs(value),
    )


def within_share(share: float) -> Rule:
    """Within a share of the published number."""
    return Rule(
        f"within {100 * share:g} % of theirs",
        lambda ours, value: abs(ours.value - value) <= share * value,
    )


def within_factor(factor: float) -> Rule:
    """Within a factor, for densities on a logarithmic axis."""
    wide = factor + _ROUNDING
    return Rule(
        f"within a factor of {factor:g} of ours",
        lambda ours, value: value / wide <= ours.value <= value * wide,
    )


def between(slack: float = 0.0, unit: str = "points") -> Rule:
    """Ours lies in the published range, widened on both sides by `slack`."""

    def agrees(ours: Number, value: Any) -> bool:
        low, high = sorted(value) if isinstance(value, Sequence) else (value, value)
        wide = slack + _ROUNDING * high
        return low - wide <= ours.value <= high + wide

    beside = f", or at most {slack:g} {unit} beside it" if slack else ""
    return Rule(f"ours lies in the published range{beside}", agrees)


def same_share(*trials: int) -> Rule:
    """Percentages of independent trials, pair by pair: |z| of each difference below `Z`.

    Args:
      *trials: theirs, of each percentage.
    """

    def agrees(ours: Number, value: Any) -> bool:
        mine, theirs = np.atleast_1d(ours.value), np.atleast_1d(value)
        return all(
            abs(proportions_differ(a / 100, ours.n or count, b / 100, count)) < Z
            for a, b, count in zip(mine, theirs, np.broadcast_to(trials, mine.shape), strict=True)
        )

    counts = " and ".join(map(str, trials))
    return Rule(f"|z| < {Z:.2f} for the difference of two percentages (theirs of {counts})", agrees)


def same(text: str) -> Rule:
    """The very answer, of a few that there could have been."""
    return Rule(text, lambda ours, value: tuple(ours.value) == tuple(value))


def printed_digits() -> Rule:
    """A count, to the digits of a number printed as 38K or 4.3M; some round up, some cut."""

    def agrees(ours: Number, value: Any) -> bool:
        unit = {"K": 1e3, "M": 1e6}[value[-1]]
        places = len(value[:-1].partition(".")[2])
        return abs(ours.value / unit - float(value[:-1])) < 10**-places

    return Rule("the count, to the printed digits", agrees)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """One published entry, what answers it, and when the two agree.

    Attributes:
      id: of the entry.
      statistic: our number; None for a worded claim, and where nothing is compared.
      rule: when the number agrees.
      conditions: of a worded claim; each is judged by its whole paired interval.
      never: why nothing can be compared; empty where it can.
      instead: what is compared where the printed number is a misprint that the paper's own
        numbers correct; None otherwise.
      remark: what a reader has to know.
      axis: answers that there could have been, for a number that is no cell of a table.
      again: entries of its table that measure the same once more, so that agreeing with them is
        no chance.
      by_chance: of a worded claim whose chance is known; by default an interval's tail, that of
        several conditions being no more.
    """

    id: str
    statistic: Statistic | None = None
    rule: Rule | None = None
    conditions: tuple[Condition, ...] = ()
    never: str = ""
    instead: float | None = None
    remark: str = ""
    axis: Sequence[Any] = ()
    again: frozenset[str] = frozenset()
    by_chance: float = TAIL

    @property
    def expressions(self) -> list[Statistic]:
        """All statistics that it asks for."""
        own = [] if self.statistic is None else [self.statistic]
        return [*own, *(c.statistic for c in self.conditions)]

    @property
    def measures(self) -> str:
        """What of ours is compared, in words."""
        return "; ".join(s.words for s in self.expressions)

    @property
    def rule_text(self) -> str:
        """The rule in words."""
        if self.rule is not None:
            return self.rule.text
        if not self.conditions:
            return "none"
        said = "; ".join(c.text for c in self.conditions)
        return f"{said}; each by its whole {100 * LEVEL:g} % interval, paired by trial"

    def theirs(self, entry: Entry) -> Any:
        """What is compared."""
        return entry.value if self.instead is None else self.instead

    def answer(self, results: Results) -> Number:
        """Our number, or the numbers of all conditions with the fewest trials of any.

        Raises:
          Missing: where something that it needs is not there.
        """
        if self.never or not self.expressions:
            raise Missing(self.never or NOT_TRAINED)
        if self.statistic is not None:
            return self.statistic.measure(results)
        found = [c.statistic.measure(results) for c in self.conditions]
        text = "; ".join(c.said(number) for c, number in zip(self.conditions, found, strict=True))
        return Number(n=min(number.n for number in found), text=text, parts=tuple(found))


def claim(id: str, *what: Statistic | Rule | Condition, **fields: Any) -> Claim:
    """A claim: `claim(id, statistic, rule)` of a number, `claim(id, condition, ...)` of words.

    Args:
      id: of the published entry.
      *what: our number and its rule, or conditions; without any, nothing of it is trained with
        these settings.
      **fields: others of `Claim`; `axis` is that of the statistic by default.
    """
    conditions = tuple(c for c in what if isinstance(c, Condition))
    if conditions or not what:
        return Claim(id=id, conditions=conditions, **fields)
    statistic, rule = what
    assert isinstance(statistic, Statistic)
    assert isinstance(rule, Rule)
    return Claim(id=id, statistic=statistic, rule=rule, **{"axis": statistic.axis, **fields})


def not_compared(id: str, why: str) -> Claim:
    """A claim that nothing of ours can be held against, and why."""
    return Claim(id=id, never=why)


def chance(claim: Claim, published: Published, *, n: int = 0) -> float:
    """How often a claim would agree by chance.

    The share of answers with which it would agree as well: of the other entries of its table, or
    of its axis, whichever is larger. Conditions have the tail of their interval. NaN where nothing
    is ever compared, or nothing is there to compute it from.

    Args:
      claim: the claim.
      published: all that the paper printed.
      n: trials of ours; as many as theirs for 0.
    """
    if claim.never:
        return math.nan
    if claim.rule is None:
        return claim.by_chance
    entry = published[claim.id]
    others = [
        e.value
        for e in published.table(entry.table_or_figure)
        if e.metric == entry.metric and e.id not in claim.again | {entry.id}
    ]
    pools = (claim.axis, others if len(others) >= _FEWEST else ())
    theirs, agrees = claim.theirs(entry), claim.rule.agrees
    shares = [
        sum(bool(agrees(Number(x, n=n), theirs)) for x in pool) / len(pool)
        for pool in pools
        if len(pool)
    ]
    return max(shares, default=math.nan)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """A claim after the trainings.

    Attributes:
      claim: the claim.
      entry: its published entry.
      ours: our number; None where there is none.
      verdict: agrees, differs or not comparable.
      reason: why it is not comparable.
      chance: how often its rule would agree by chance; NaN where it never could.
    """

    claim: Claim
    entry: Entry
    ours: Number | None
    verdict: str
    reason: str
    chance: float


def judge(claim: Claim, published: Published, results: Results, *, bar: str = "") -> Verdict:
    """Holds one claim against the results.

    Args:
      claim: the claim.
      published: all that the paper printed.
      results: what was trained.
      bar: why nothing of this run is comparable; empty where it is.
    """
    entry, ours, verdict, reason = published[claim.id], None, NOT_COMPARABLE, bar
    try:
        ours = claim.answer(results)
    except Missing as missing:
        reason = str(missing)
    by_chance = chance(claim, published, n=0 if ours is None else ours.n)
    if ours is not None and not bar:
        if math.isnan(by_chance):
            reason = (
                "nothing tells how often its rule would agree by chance; give the claim an axis"
            )
        elif by_chance > MOST_BY_CHANCE:
            reason = f"its rule would agree by chance in {100 * by_chance:.0f} % of cases"
        elif claim.rule is not None:
            verdict = AGREES if claim.rule.agrees(ours, claim.theirs(entry)) else DIFFERS
        else:
            verdict, reason = _judge_conditions(claim.conditions, ours)
    return Verdict(
        claim=claim, entry=entry, ours=ours, verdict=verdict, reason=reason, chance=by_chance
    )


def _judge_conditions(conditions: Sequence[Condition], ours: Number) -> tuple[str, str]:
    """A worded claim agrees where every whole interval lies on its side.

    It differs where one lies wholly on the other, and does not tell otherwise.
    """
    found = [c.holds(number) for c, number in zip(conditions, ours.parts, strict=True)]
    if False in found:
        return DIFFERS, ""
    if None not in found:
        return AGREES, ""
    unsure = [
        c.statistic.words for c, holds in zip(conditions, found, strict=True) if holds is None
    ]
    said = "; ".join(unsure)
    return NOT_COMPARABLE, f"the intervals of {ours.n} trials do not tell: {said}"
