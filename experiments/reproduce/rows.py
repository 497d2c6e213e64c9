"""The rows of a paper: experiments, and what the paper claims about them, with rules and verdicts.

What a verdict will be is a function of our numbers alone, and how often it would agree by chance
one of the paper's.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import math
from typing import TYPE_CHECKING, Any

from experiments.reproduce import published as published_
from experiments.reproduce.published import Published
from experiments.reproduce.lab import Lab
from experiments.reproduce.rules import Absent, Never, Ordered, Quantity, Rule
from experiments.reproduce.trained import Results
from experiments.reproduce.works import Work

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AGREES, DIFFERS, NOT_COMPARABLE = "agrees", "differs", "not comparable"

MOST_BY_CHANCE = 0.3
"""A rule that agrees by chance more often than this says nothing; its claim is not comparable."""

_FEWEST = 3
"""Of fewer entries beside a number no share is taken."""


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
      axis: answers that there could have been, as `span` or the levels of a run; for numbers that
        are no cells of a table.
      again: entries of its table that measure the same once more, so that agreeing with them is
        no chance.
    """

    published: str
    ours: Callable[[Results], Quantity | Absent]
    rule: Rule
    instead: float | None = None
    remark: str = ""
    axis: Sequence[Any] = ()
    again: frozenset[str] = frozenset()

    def theirs(self, entry: Published) -> Any:
        """What is compared."""
        return entry.value if self.instead is None else self.instead


def chance(claim: Claim, entry: Published, *, n: int = 0) -> float:
    """How often a claim would agree by chance.

    The share of answers with which it would agree as well: of the other entries of its table, or
    of its axis, whichever is larger. An ordering has the tail of its interval. NaN where nothing
    is ever compared, or nothing is there to compute it from.

    Args:
      claim: the claim.
      entry: its entry.
      n: trials of ours; as many as theirs for 0.
    """
    if isinstance(claim.rule, (Ordered, Never)):
        return claim.rule.chance
    others = [
        e.value
        for e in published_.entries(entry.paper)
        if (e.table_or_figure, e.metric) == (entry.table_or_figure, entry.metric)
        and e.id not in claim.again | {entry.id}
    ]
    pools = (claim.axis, others if len(others) >= _FEWEST else ())
    shares = [
        sum(bool(claim.rule(Quantity(x, n=n), claim.theirs(entry))) for x in pool) / len(pool)
        for pool in pools
        if pool
    ]
    return max(shares, default=math.nan)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """A claim after the trainings.

    Attributes:
      claim: the claim.
      published: its entry.
      ours: our number, or why there is none.
      verdict: agrees, differs or not comparable.
      reason: why it is not comparable.
      chance: how often its rule would agree by chance; NaN where it never could.
    """

    claim: Claim
    published: Published
    ours: Quantity | Absent
    verdict: str
    reason: str
    chance: float


def judge(claim: Claim, published: Published, results: Results, *, bar: str = "") -> Verdict:
    """Holds one claim against the results.

    Args:
      claim: the claim.
      published: its entry.
      results: what was trained.
      bar: why nothing of this run is comparable; empty where it is.
    """
    ours = claim.ours(results)
    n = 0 if isinstance(ours, Absent) else ours.n
    by_chance = chance(claim, published, n=n)
    verdict = NOT_COMPARABLE
    if isinstance(ours, Absent):
        reason = ours.reason
    elif bar:
        reason = bar
    elif math.isnan(by_chance):
        reason = "nothing tells how often its rule would agree by chance; give the row an axis"
    elif by_chance > MOST_BY_CHANCE:
        reason = f"its rule would agree by chance in {100 * by_chance:.0f} % of cases"
    elif (agree := claim.rule(ours, claim.theirs(published))) is None:
        unsure = "; ".join(side.what for side in ours.sides if side.holds is None)
        reason = f"the intervals of {ours.n} trials do not tell: {unsure}"
    else:
        verdict, reason = (AGREES if agree else DIFFERS), ""
    return Verdict(
        claim=claim, published=published, ours=ours, verdict=verdict, reason=reason,
        chance=by_chance,
    )  # fmt: skip


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
      figures: results -> figures by caption; None where the paper has none.
      claims: what the paper says about it.
      tables: results -> tables beyond the published numbers.
      also: values of the settings that act on it beside its works and their tasks, as what counts
        as converged.
    """

    id: str
    shows: str
    works: tuple[Work, ...]
    figures: Callable[[Results], Mapping[str, "Figure"]] | None = None
    claims: tuple[Claim, ...] = ()
    tables: Callable[[Results], Sequence[Table]] = lambda results: ()
    also: Any = ()


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
