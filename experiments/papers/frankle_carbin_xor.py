"""XOR (004-F1, F2): how many of a thousand small networks succeed, whole and pruned."""

from collections.abc import Mapping
import dataclasses
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from experiments.papers.claims import (
    AGREES,
    MOST_BY_CHANCE,
    Claim,
    claim,
    judge,
    same_share,
)
from experiments.papers.drawing import percentage_bars
from experiments.papers.paper import Figure, figure, folded
from experiments.papers.published import Entry, Published
from experiments.papers.results import Results
from experiments.papers.series import NOT_TRAINED, Missing
from experiments.papers.statistics import Number, Statistic
from experiments.papers.tables import tables_needing
from experiments.papers.unit_search import UnitSearch
from ltjax.command import config
from ltjax.report.document import Fold
from ltjax.statistics import intervals

if TYPE_CHECKING:
    from experiments.papers.frankle_carbin import FrankleCarbin

BY_TWO = (10, 8, 6, 4, 2)
STRATEGIES = {
    "One-shot Product": ("product", True),
    "Input Magnitude": ("input", False),
    "Output Magnitude": ("output", False),
    "Product": ("product", False),
}
"""Rows of F2: score and whether in one shot."""

_PRINTED = 1000
"""Networks of each published percentage."""

_LIMITS = {"DB": (0.0, 0.001, 0.01), "ZL": (0.001, 0.01, 0.1)}
"""Tolerances of DB and losses of ZL in the table over settings that the paper does not state."""


class Success(NamedTuple):
    """When a network succeeds (reading 4.23).

    DB (decision boundary): no point lies on the wrong side of 1/2 by more than `limit`. ZL (zero
    loss): a loss below `limit`.
    """

    metric: str
    limit: float

    def of(self, search: UnitSearch, count: int, results: Results) -> np.ndarray:
        """Whether each network with so many units succeeds.

        Raises:
          Missing: where it was not trained.
        """
        if (tree := results.tree(search.piece(count))) is None:
            raise Missing(NOT_TRAINED)
        if self.metric == "DB":
            return np.asarray(tree["margin"]) >= -self.limit
        return np.asarray(tree["loss"]) < self.limit


def percentage(
    search: UnitSearch, count: int, success: Success, *, given_whole: bool = False
) -> Statistic:
    """Percentage of networks that succeed, with Wilson's interval.

    A pruned one counts where its whole network succeeds as well (reading 4.26): of all networks,
    or of those that succeed whole.

    Args:
      search: the row.
      count: hidden units.
      success: when a network does.
      given_whole: of those that succeed whole.
    """

    def measure(results: Results) -> Number:
        found = success.of(search, count, results)
        whole = success.of(search, search.units[0], results)
        chosen = found[whole] if given_whole else found & whole
        if not chosen.size:
            raise Missing("no network succeeded whole")
        value, low, high, n = intervals.proportion(int(chosen.sum()), chosen.size)
        return Number(100 * value, 100 * low, 100 * high, n)

    of = " of those that do whole" if given_whole else ""
    return Statistic(
        words=f"{success.metric} with {count} units{of}", needs=(search,), depends=(success.limit,),
        unit="%", measure=measure,
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _Rows:
    """The rows of both figures for some settings and a learning rate."""

    settings: "FrankleCarbin"

    def search(self, units: tuple[int, ...], score: str, once: bool, rate: float) -> UnitSearch:
        s = self.settings
        return UnitSearch(
            units=units, score=score, one_shot=once, rate=rate, sd=s.xor_sd, steps=s.xor_steps,
            trials=s.xor_replicates, seed=s.seed,
        )  # fmt: skip

    def random(self, rate: float) -> dict[int, UnitSearch]:
        """F1, by number of hidden units."""
        return {n: self.search((n,), "product", True, rate) for n in BY_TWO}

    def pruned(self, rate: float) -> dict[str, UnitSearch]:
        """F2, by strategy."""
        return {
            name: self.search((10, 4, 2) if once else BY_TWO, score, once, rate)
            for name, (score, once) in STRATEGIES.items()
        }


def figures(s: "FrankleCarbin", published: Published) -> tuple[Figure, Figure]:
    """F1 and F2."""
    made = _Rows(s)
    success = {"DB": Success("DB", s.tolerance), "ZL": Success("ZL", s.zero_loss)}
    rates = sorted({s.xor_learning_rate, *config.floats(s.xor_learning_rates)})
    random, pruned = made.random(s.xor_learning_rate), made.pruned(s.xor_learning_rate)
    return (
        _random(published, random, {r: made.random(r) for r in rates}, success),
        _pruned(published, pruned, {r: made.pruned(r)["Product"] for r in rates}, success),
    )


def _random(
    published: Published,
    rows: Mapping[int, UnitSearch],
    by_rate: Mapping[float, Mapping[int, UnitSearch]],
    success: Mapping[str, Success],
) -> Figure:
    entries = published.table("Figure 1")
    where = {(e.setting["hidden_units"], e.metric): e for e in entries}
    claims = {
        key: claim(e.id, percentage(rows[key[0]], key[0], success[key[1]]), same_share(_PRINTED))
        for key, e in where.items()
    }
    rounded = claim(
        "004-0038", percentage(rows[2], 2, success["ZL"]), same_share(_PRINTED),
        axis=[e.value for (n, metric), e in where.items() if metric == "ZL" and n != 2],
        instead=where[2, "ZL"].value,
        remark="the text rounds; compared with the table (reading 4.29)",
    )  # fmt: skip
    cells = {(f"{n} units", m): claims[n, m] for n, m in where}

    def printed(results: Results) -> list[Fold]:
        first = folded(
            title="Success in %, as Figure 1 prints it",
            heads=["", *[f"{n} {m}" for n, m in where]],
            body=[
                ["published", *[f"{e.value:.1f}" for e in where.values()]],
                ["ours", *[_said(results, claims[key].statistic) for key in where]],
            ],
            note="Hidden units, then DB (decision boundary) or ZL (zero loss).",
            shown=True,
        )
        sweep = {
            (rate, f"{n} units"): (search, n)
            for rate, each in by_rate.items()
            for n, search in each.items()
        }
        return [first, _sweep(results, published, "F1", sweep, cells)]

    return figure(
        "004-F1", "XOR: success of random networks with 10, 8, 6, 4, 2 hidden units",
        percentage_bars("Success of randomly initialized XOR networks", published, cells),
        tables_needing(printed, *(u for each in by_rate.values() for u in each.values())),
        [*claims.values(), rounded],
    )  # fmt: skip


def _row_of(e: Entry) -> str:
    return "One-shot Product" if e.setting["schedule"] == "one-shot" else e.setting["strategy"]


def _pruned(
    published: Published,
    rows: Mapping[str, UnitSearch],
    by_rate: Mapping[float, UnitSearch],
    success: Mapping[str, Success],
) -> Figure:
    entries = published.table("Figure 2")
    where = {(_row_of(e), e.setting["hidden_units"], e.metric): e for e in entries}
    # Whole networks are drawn afresh in each row, but nothing else is new (reading 4.28).
    wholes = frozenset(e.id for (_, count, _), e in where.items() if count == 10)
    claims = {
        (row, n, m): claim(
            e.id, percentage(rows[row], n, success[m]), same_share(_PRINTED),
            again=wholes if n == 10 else frozenset(),
        )
        for (row, n, m), e in where.items()
    }  # fmt: skip
    bars = {
        (f"{row.replace(' Magnitude', '').replace('One-shot Product', 'One-shot')}\n{n}", m): each
        for (row, n, m), each in claims.items()
        if n != 10
    }

    def tables(results: Results) -> list[Fold]:
        names = {10: "10 units", 4: "pruned to 4", 2: "pruned to 2"}
        sweep = {
            (rate, name): (search, n)
            for rate, search in by_rate.items()
            for n, name in names.items()
        }
        cells = {
            (names[n], m): each
            for (row, n, m), each in claims.items()
            if row == "Product" and n in names
        }
        return [
            _joint_and_conditional(results, rows, success),
            _sweep(results, published, "F2, iterative magnitude product", sweep, cells),
        ]

    return figure(
        "004-F2", "XOR: pruning ten units to four and two, by four strategies",
        percentage_bars("Whole network and ticket of 4 or 2 units both succeed", published, bars),
        tables_needing(tables, *rows.values(), *by_rate.values()),
        [*claims.values(), *_footnotes(rows["Product"], success, where)],
    )  # fmt: skip


def _footnotes(
    product: UnitSearch, success: Mapping[str, Success], where: Mapping[tuple, Entry]
) -> list[Claim]:
    """What the text says of the iterative product: conditional percentages, and one of all."""

    def share(row: str, n: int, m: str) -> float:
        """The conditional percentage that the table gives."""
        return 100 * where[row, n, m].value / where[row, 10, m].value

    def others(n: int, *metrics: str) -> list:
        """What the other rows and sizes would give."""
        found = [
            tuple(share(row, count, m) for m in metrics)
            for row in STRATEGIES
            for count in (4, 2)
            if (row, count) != ("Product", n)
        ]
        return found if len(metrics) > 1 else [value for (value,) in found]

    def whole(m: str) -> int:
        return round(_PRINTED * where["Product", 10, m].value / 100)

    def given(n: int, m: str) -> Statistic:
        return percentage(product, n, success[m], given_whole=True)

    def both(results: Results) -> Number:
        db, zl = (given(4, m).measure(results) for m in ("DB", "ZL"))
        text = f"{db.value:.1f} and {zl.value:.1f}"
        return Number((db.value, zl.value), n=min(db.n, zl.n), text=text)

    rounded = [
        e.value
        for (row, n, m), e in where.items()
        if m == "ZL" and n != 10 and (row, n) != ("Product", 2)
    ]
    return [
        claim("004-0035", given(2, "ZL"), same_share(whole("ZL")), axis=others(2, "ZL"),
              instead=share("Product", 2, "ZL"),
              remark="misprint: the footnote divides by another row; by the table it is 85.5"),
        claim("004-0036", given(2, "DB"), same_share(whole("DB")), axis=others(2, "DB"),
              instead=share("Product", 2, "DB"),
              remark="the footnote counts another row's networks; by the table it is 92.9"),
        claim("004-0037", dataclasses.replace(
                  given(4, "DB"), words="DB and ZL with 4 units of those that do whole",
                  measure=both),
              same_share(whole("DB"), whole("ZL")), axis=others(4, "DB", "ZL")),
        claim("004-0039", percentage(product, 2, success["ZL"]), same_share(_PRINTED), axis=rounded,
              instead=where["Product", 2, "ZL"].value,
              remark="the text rounds; compared with the table (reading 4.29), whose percentages "
              "are of all networks"),
    ]  # fmt: skip


def _said(results: Results, statistic: Statistic | None) -> str:
    assert statistic is not None
    try:
        return f"{statistic.measure(results).value:.1f}"
    except Missing:
        return "-"


def _joint_and_conditional(
    results: Results, rows: Mapping[str, UnitSearch], success: Mapping[str, Success]
) -> Fold:
    columns = {
        f"{m} whole" if n == 10 else f"{m} {n} {'conditional' if given else 'joint'}": (n, m, given)
        for m in success
        for n in (10, 4, 2)
        for given in ((False,) if n == 10 else (False, True))
    }
    return folded(
        title="Joint and conditional percentages of F2 (ours)",
        heads=["strategy", *columns],
        body=[
            [row, *(_said(results, percentage(search, n, success[m], given_whole=given))
                    for n, m, given in columns.values())]
            for row, search in rows.items()
        ],
        shown=True,
        note="Joint: of all networks, those that succeed both whole and pruned, as the paper "
        "prints. Conditional: of those that succeed whole.",
    )  # fmt: skip


def _sweep(
    results: Results,
    published: Published,
    name: str,
    searches: Mapping[tuple[float, str], tuple[UnitSearch, int]],
    claims: Mapping[tuple[str, str], Claim],
) -> Fold:
    """A table over learning rates and limits; a star where a claim would agree.

    Args:
      results: of the run.
      published: of the paper.
      name: of the figure.
      searches: by learning rate and column: the row and its units.
      claims: by column and metric.
    """
    columns = list(dict.fromkeys(column for _, column in searches))

    def cell(rate: float, column: str, success: Success) -> str:
        search, count = searches[rate, column]
        statistic = percentage(search, count, success)
        there = dataclasses.replace(claims[column, success.metric], statistic=statistic)
        agrees = judge(there, published, results).verdict == AGREES
        return _said(results, statistic) + (" *" if agrees else "")

    printed = [
        ["published", "", m, *(f"{published[claims[c, m].id].value:.1f}" for c in columns)]
        for m in _LIMITS
    ]
    body = [
        [
            f"{rate:g}",
            f"{limit:g}",
            metric,
            *(cell(rate, c, Success(metric, limit)) for c in columns),
        ]
        for rate in dict.fromkeys(rate for rate, _ in searches)
        for metric, limits in _LIMITS.items()
        for limit in limits
    ]
    return folded(
        title=f"{name} over learning rates and tolerances, which the paper does not state",
        heads=["learning rate", "tolerance", "", *columns],
        body=printed + body,
        note="% of networks. The tolerance of DB is how far a point may lie on the wrong side of "
        "1/2, that of ZL the loss that counts as zero. A star: agrees with the published number by "
        f"the rule of its cell ({same_share(_PRINTED).text}), where that agrees by chance in at "
        f"most {100 * MOST_BY_CHANCE:g} % of cases with as many networks.",
    )
