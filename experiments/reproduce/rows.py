"""The rows of a paper: experiments, and what the paper claims about them, with the rules.

A rule is written in the row, before anything is trained: what the verdict will be is a function
of our numbers alone.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import TYPE_CHECKING, Any, Protocol

from experiments.reproduce.lab import Lab
from experiments.reproduce.trained import Results
from experiments.reproduce.works import Work
from ltjax.intervals import Interval, proportions_differ
from ltjax.published import Published

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INTERVAL = "our 95 % interval (of two trials: between them)"

AGREES, DIFFERS, NOT_COMPARABLE = "agrees", "differs", "not comparable"


@dataclasses.dataclass(frozen=True)
class Quantity:
    """Our number beside a published one, in the published unit.

    Attributes:
      value: the number; NaN for a worded claim.
      low: lower end of its 95 % interval; NaN without one.
      high: its upper end.
      n: trials it comes from.
      text: what there is to say in words; shown instead of the number where it is there.
      holds: for a worded claim, whether our numbers say the same.
    """

    value: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    n: int = 0
    text: str = ""
    holds: bool | None = None


@dataclasses.dataclass(frozen=True)
class Absent:
    """Why there is no number of ours."""

    reason: str


def quantity(interval: Interval | None, *, scale: float = 1.0, why: str = "no trials") -> Any:
    """An interval as a quantity in the published unit, or what is missing."""
    if interval is None:
        return Absent(why)
    value, low, high, n = interval
    return Quantity(value * scale, low * scale, high * scale, n)


class Rule(Protocol):
    """Decides whether our number agrees with a published one."""

    @property
    def text(self) -> str:
        """The rule in words."""
        ...

    def __call__(self, ours: Quantity, value: Any) -> bool:
        """Whether they agree."""
        ...


@dataclasses.dataclass(frozen=True)
class Near:
    """Within a tolerance, or inside our interval."""

    tolerance: float
    unit: str = "points"

    @property
    def text(self) -> str:
        """The rule in words."""
        return f"within {self.tolerance:g} {self.unit} of ours, or inside {_INTERVAL}"

    def __call__(self, ours: Quantity, value: Any) -> bool:
        """Whether they agree."""
        return abs(ours.value - value) <= self.tolerance or ours.low <= value <= ours.high


@dataclasses.dataclass(frozen=True)
class Share:
    """Within a share of the published number, or inside our interval."""

    share: float

    @property
    def text(self) -> str:
        """The rule in words."""
        return f"within {100 * self.share:g} % of theirs, or inside {_INTERVAL}"

    def __call__(self, ours: Quantity, value: Any) -> bool:
        """Whether they agree."""
        return abs(ours.value - value) <= self.share * value or ours.low <= value <= ours.high


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
        return value / self.factor <= ours.value <= value * self.factor


@dataclasses.dataclass(frozen=True)
class Between:
    """Ours lies in the published range, widened on both sides."""

    slack: float
    unit: str = "points"

    @property
    def text(self) -> str:
        """The rule in words."""
        return f"ours lies in the published range, or at most {self.slack:g} {self.unit} beside it"

    def __call__(self, ours: Quantity, value: Any) -> bool:
        """Whether they agree."""
        low, high = sorted(value) if isinstance(value, Sequence) else (value, value)
        return low - self.slack <= ours.value <= high + self.slack


@dataclasses.dataclass(frozen=True)
class Bound:
    """The published number is a bound: ours is at least (or at most) as large."""

    at_least: bool

    @property
    def text(self) -> str:
        """The rule in words."""
        return f"ours is at {'least' if self.at_least else 'most'} the published number"

    def __call__(self, ours: Quantity, value: Any) -> bool:
        """Whether they agree."""
        return ours.value >= value if self.at_least else ours.value <= value


@dataclasses.dataclass(frozen=True)
class SameShare:
    """Two percentages of independent trials: |z| of their difference below 1.96."""

    trials: int

    @property
    def text(self) -> str:
        """The rule in words."""
        return f"|z| < 1.96 for the difference of two percentages (theirs of {self.trials})"

    def __call__(self, ours: Quantity, value: Any) -> bool:
        """Whether they agree."""
        return abs(proportions_differ(ours.value / 100, ours.n, value / 100, self.trials)) < 1.96


@dataclasses.dataclass(frozen=True)
class Holds:
    """A worded claim, as an inequality between our numbers."""

    text: str

    def __call__(self, ours: Quantity, value: Any) -> bool:
        """Whether they agree."""
        del value
        return bool(ours.holds)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """One published entry, what answers it, and when the two agree.

    Attributes:
      published: id of the entry.
      ours: results -> our number, or why there is none.
      rule: when they agree.
      instead: what is compared where the printed number is a misprint that the paper's own
        numbers correct; None otherwise.
      remark: what a reader has to know.
    """

    published: str
    ours: Callable[[Results], Quantity | Absent]
    rule: Rule
    instead: float | None = None
    remark: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """A claim after the trainings."""

    claim: Claim
    published: Published
    ours: Quantity | Absent
    verdict: str
    reason: str


def judge(claim: Claim, published: Published, results: Results, *, bar: str = "") -> Verdict:
    """Holds one claim against the results.

    Args:
      claim: the claim.
      published: its entry.
      results: what was trained.
      bar: why nothing of this run is comparable; empty where it is.
    """
    ours = claim.ours(results)
    if isinstance(ours, Absent):
        verdict, reason = NOT_COMPARABLE, ours.reason
    elif bar:
        verdict, reason = NOT_COMPARABLE, bar
    else:
        value = published.value if claim.instead is None else claim.instead
        verdict, reason = (AGREES if claim.rule(ours, value) else DIFFERS), ""
    return Verdict(claim=claim, published=published, ours=ours, verdict=verdict, reason=reason)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A table beside the verdicts; one that is `shown` is open at first."""

    title: str
    heads: Sequence[str]
    body: Sequence[Sequence[str]]
    note: str = ""
    shown: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """One figure or table of a paper.

    Attributes:
      id: as `004-F7`.
      shows: one sentence.
      works: the trainings; shared with other experiments where they are equal.
      figures: results -> figures by caption.
      claims: what the paper says about it.
      tables: results -> tables beyond the published numbers.
      depends: whether the experiment depends on a field of the settings.
    """

    id: str
    shows: str
    works: tuple[Work, ...]
    figures: Callable[[Results], Mapping[str, "Figure"]]
    claims: tuple[Claim, ...] = ()
    tables: Callable[[Results], Sequence[Table]] = lambda results: ()
    depends: Callable[[str], bool] = lambda field: True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Paper:
    """A paper to reproduce.

    Attributes:
      id: short name, a key of `published.papers()`.
      title: shown in reports.
      settings: class of the settings; its defaults are the published setting.
      presets: field values by name.
      version: meaning of the settings; raise it where the same settings give other results.
      experiments: settings -> rows.
      lab: settings -> what trains them.
      shortens: fields whose change only shortens a run; a change of any other field that names
        the run makes it another experiment, not comparable with the paper.
      facts: (settings, lab) -> what the record of a run says beside its settings.
    """

    id: str
    title: str
    settings: type
    presets: Mapping[str, Mapping[str, Any]]
    version: int
    experiments: Callable[[Any], tuple[Experiment, ...]]
    lab: Callable[[Any], Lab]
    shortens: frozenset[str]
    facts: Callable[[Any, Lab], Mapping[str, Any]] = lambda settings, lab: {}
