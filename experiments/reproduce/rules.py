"""Rules: when our number agrees with a published one, and what our number may be.

A rule is written in its row before anything is trained, and knows our numbers alone.
"""

from collections.abc import Sequence
import dataclasses
import math
from typing import Any, NamedTuple, Protocol

import numpy as np

from ltjax.statistics.intervals import LEVEL, TAIL, Interval, Z, proportions_differ

_ROUNDING = 1e-9
"""Of 100 * 0.55, which is 55 %."""


class Side(NamedTuple):
    """One condition of an ordering: where a paired difference or ratio has to lie.

    Attributes:
      what: is measured, as "LTH minus SNIP at round 1".
      found: its interval, in `unit`; None without a pair.
      unit: shown behind the number.
      above: the whole interval has to lie above this,
      below: and below this.
    """

    what: str
    found: Interval | None
    unit: str = ""
    above: float = 0.0
    below: float = math.inf

    @property
    def holds(self) -> bool | None:
        """Whether the interval lies where it has to, or wholly elsewhere; None: it cannot tell."""
        if self.found is None:
            return None
        if self.above < self.found.low and self.found.high < self.below:
            return True
        lost = self.found.high <= self.above or self.found.low >= self.below
        return False if lost else None

    @property
    def text(self) -> str:
        """The number with its interval."""
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.what} {'-' if self.found is None else interval_text(self.found)}{unit}"


@dataclasses.dataclass(frozen=True)
class Quantity:
    """Our number beside a published one, in the published unit.

    Attributes:
      value: the number, or several of them; NaN for a worded claim.
      low: lower end of its 95 % interval; NaN without one.
      high: its upper end.
      n: trials it comes from.
      text: what there is to say in words; shown instead of the number where it is there.
      sides: for a worded claim, all its conditions.
    """

    value: Any = math.nan
    low: float = math.nan
    high: float = math.nan
    n: int = 0
    text: str = ""
    sides: tuple[Side, ...] = ()


@dataclasses.dataclass(frozen=True)
class Absent:
    """Why there is no number of ours."""

    reason: str


def quantity(interval: Interval | None, *, scale: float = 1.0, why: str = "no trials") -> Any:
    """An interval as a quantity in the published unit, or what is missing."""
    if interval is None:
        return Absent(why)
    return Quantity(*interval.times(scale))


def ordering(sides: Sequence[Side]) -> Quantity:
    """A worded claim as its conditions."""
    text = "; ".join(side.text for side in sides)
    n = min((0 if side.found is None else side.found.n for side in sides), default=0)
    return Quantity(text=text, n=n, sides=tuple(sides))


def interval_text(found: Interval) -> str:
    """A number with its interval."""
    text = number_text(found.value)
    if math.isnan(found.low):
        return text
    return f"{text} ({number_text(found.low)} to {number_text(found.high)})"


def number_text(value: float) -> str:
    """A number as a report shows it."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


class Rule(Protocol):
    """Decides whether our number agrees with a published one."""

    @property
    def text(self) -> str:
        """The rule in words."""
        ...

    def __call__(self, ours: Quantity, value: Any) -> bool | None:
        """Whether they agree; None where our numbers cannot tell."""
        ...


@dataclasses.dataclass(frozen=True)
class Near:
    """Within a tolerance."""

    tolerance: float
    unit: str = "points"

    @property
    def text(self) -> str:
        """The rule in words."""
        return f"within {self.tolerance:g} {self.unit} of ours"

    def __call__(self, ours: Quantity, value: Any) -> bool:
        """Whether they agree."""
        return abs(ours.value - value) <= self.tolerance + _ROUNDING * abs(value)


@dataclasses.dataclass(frozen=True)
class Share:
    """Within a share of the published number."""

    share: float

    @property
    def text(self) -> str:
        """The rule in words."""
        return f"within {100 * self.share:g} % of theirs"

    def __call__(self, ours: Quantity, value: Any) -> bool:
        """Whether they agree."""
        return abs(ours.value - value) <= self.share * value


@dataclasses.dataclass(frozen=True)
class Within:
    """Within a factor, for densities on a logarithmic axis."""

    factor: float

    @property
    def text(self) -> str:
        """The rule in words."""
        return f"within a factor of {self.factor:g} of ours"

    def __call__(self, ours: Quantity, value: Any) -> bool:
        """Whether they agree."""
        factor = self.factor + _ROUNDING
        return value / factor <= ours.value <= value * factor


@dataclasses.dataclass(frozen=True)
class Between:
    """Ours lies in the published range, widened on both sides."""

    slack: float
    unit: str = "points"

    @property
    def text(self) -> str:
        """The rule in words."""
        beside = f", or at most {self.slack:g} {self.unit} beside it" if self.slack else ""
        return f"ours lies in the published range{beside}"

    def __call__(self, ours: Quantity, value: Any) -> bool:
        """Whether they agree."""
        low, high = sorted(value) if isinstance(value, Sequence) else (value, value)
        slack = self.slack + _ROUNDING * high
        return low - slack <= ours.value <= high + slack


@dataclasses.dataclass(frozen=True)
class SameShare:
    """Percentages of independent trials, pair by pair: |z| of each difference below `Z`.

    Attributes:
      trials: theirs, of each percentage.
    """

    trials: int | tuple[int, ...]

    @property
    def text(self) -> str:
        """The rule in words."""
        theirs = " and ".join(map(str, np.atleast_1d(self.trials)))
        return f"|z| < {Z:.2f} for the difference of two percentages (theirs of {theirs})"

    def __call__(self, ours: Quantity, value: Any) -> bool:
        """Whether they agree."""
        mine, theirs, trials = (np.atleast_1d(v) for v in (ours.value, value, self.trials))
        return all(
            abs(proportions_differ(a / 100, ours.n or count, b / 100, count)) < Z
            for a, b, count in zip(mine, theirs, np.broadcast_to(trials, mine.shape), strict=True)
        )


@dataclasses.dataclass(frozen=True)
class Same:
    """The very answer, of a few that there could have been."""

    text: str

    def __call__(self, ours: Quantity, value: Any) -> bool:
        """Whether they agree."""
        return tuple(ours.value) == tuple(value)


@dataclasses.dataclass(frozen=True)
class Digits:
    """A count, to the digits of a number printed as 38K or 4.3M; some round up, some cut."""

    text: str = "the count, to the printed digits"

    def __call__(self, ours: Quantity, value: Any) -> bool:
        """Whether they agree."""
        unit = {"K": 1e3, "M": 1e6}[value[-1]]
        places = len(value[:-1].partition(".")[2])
        return abs(ours.value / unit - float(value[:-1])) < 10**-places


@dataclasses.dataclass(frozen=True)
class Ordered:
    """A worded claim: every side of it, by its whole paired interval and never by two means.

    It agrees where all intervals lie on their sides, differs where one lies wholly on the other,
    and does not tell otherwise.

    Attributes:
      says: the conditions in words.
      chance: how often it would agree by chance; that of one condition is its interval's tail,
        and that of several no more.
    """

    says: str
    chance: float = TAIL

    @property
    def text(self) -> str:
        """The rule in words."""
        return f"{self.says}; each by its whole {100 * LEVEL:g} % interval, paired by trial"

    def __call__(self, ours: Quantity, value: Any) -> bool | None:
        """Whether all conditions hold."""
        del value
        found = [side.holds for side in ours.sides]
        return False if False in found else None if None in found or not found else True


@dataclasses.dataclass(frozen=True)
class Never:
    """No rule: the claim is answered by why it cannot be compared."""

    text: str = "none"
    chance: float = math.nan

    def __call__(self, ours: Quantity, value: Any) -> None:
        """Nothing tells."""
        del ours, value


def span(low: float, high: float, *, log: bool = False) -> tuple[float, ...]:
    """A thousand answers, evenly spread over the range of an axis."""
    middles = (np.arange(1000) + 0.5) / 1000
    found = low * (high / low) ** middles if log else low + (high - low) * middles
    return tuple(map(float, found))
