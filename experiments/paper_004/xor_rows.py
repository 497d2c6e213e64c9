"""The rows of paper 004 on XOR: F1 and F2, their claims, and what the paper could not show."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from experiments.paper_004 import xor
from experiments.paper_004.settings import FrankleCarbin
from experiments.paper_004.trainings import BY_TWO_UNITS, STRATEGIES, Trainings
from experiments.paper_004.xor import UnitSearch
from experiments.reproduce import published
from experiments.reproduce import figures
from experiments.reproduce.rows import (
    AGREES,
    MOST_BY_CHANCE,
    Claim,
    Experiment,
    Table,
    judge,
)
from experiments.reproduce.rules import Absent, Quantity, SameShare
from experiments.reproduce.trained import Results
from ltjax.statistics import intervals

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PRINTED = 1000
"""Networks of each published percentage."""

_NOT_RUN = "not trained in this run"
_LIMITS = ((0.0, 0.001), (0.001, 0.01), (0.01, 0.1))
"""Tolerances of DB and losses of ZL in the table over settings that the paper does not state."""

Success = Callable[[Results, UnitSearch, int], np.ndarray | None]
"""(results, row, units) -> whether each network succeeded."""


def successes(settings: FrankleCarbin) -> dict[str, Success]:
    """DB and ZL with the settings' tolerances."""
    return {
        "DB": lambda r, s, n: xor.boundary(r, s, n, settings.tolerance),
        "ZL": lambda r, s, n: xor.zero_loss(r, s, n, settings.zero_loss),
    }


def share(found: np.ndarray | None, given: np.ndarray | None = None) -> Quantity | Absent:
    """Percentage of successes, of all networks or of those that succeeded whole."""
    if found is None:
        return Absent(_NOT_RUN)
    if given is not None and not given.any():
        return Absent("no network succeeded whole")
    chosen = found if given is None else found[given]
    value, low, high, n = intervals.proportion(int(chosen.sum()), chosen.size)
    return Quantity(100 * value, 100 * low, 100 * high, n)


def alone(
    search: UnitSearch, count: int, success: Success
) -> Callable[[Results], Quantity | Absent]:
    """Share of the networks with so many units that succeed."""
    return lambda results: share(success(results, search, count))


def joint(
    search: UnitSearch, count: int, success: Success
) -> Callable[[Results], Quantity | Absent]:
    """Share of all networks that succeed both whole and pruned (reading 4.26)."""

    def ours(results: Results) -> Quantity | Absent:
        whole = success(results, search, search.units[0])
        pruned = success(results, search, count)
        return Absent(_NOT_RUN) if whole is None or pruned is None else share(whole & pruned)

    return ours


def conditional(
    search: UnitSearch, count: int, success: Success
) -> Callable[[Results], Quantity | Absent]:
    """Share of the networks that succeed whole whose tickets succeed too."""

    def ours(results: Results) -> Quantity | Absent:
        whole = success(results, search, search.units[0])
        pruned = success(results, search, count)
        return Absent(_NOT_RUN) if whole is None or pruned is None else share(pruned, whole)

    return ours


def experiments(settings: FrankleCarbin) -> tuple[Experiment, ...]:
    """F1 and F2."""
    trainings = Trainings(settings)
    return _random(settings, trainings), _pruned(settings, trainings)


def _random(settings: FrankleCarbin, trainings: Trainings) -> Experiment:
    rows, success = trainings.xor_random(), successes(settings)
    rule = SameShare(_PRINTED)
    entries = [e for e in published.entries("004") if e.table_or_figure == "Figure 1"]
    claims = [
        Claim(
            published=e.id,
            ours=alone(
                rows[e.setting["hidden_units"]], e.setting["hidden_units"], success[e.metric]
            ),
            rule=rule,
        )
        for e in entries
    ]
    claim_of = {claim.published: claim for claim in claims}
    others = [e.value for e in entries if e.metric == "ZL" and e.setting["hidden_units"] != 2]
    claims.append(
        Claim(
            published="004-0038",
            ours=alone(rows[2], 2, success["ZL"]),
            rule=rule,
            axis=others,
            instead=next(
                e.value for e in entries if e.metric == "ZL" and e.setting["hidden_units"] == 2
            ),
            remark="the text rounds; compared with the table (reading 4.29)",
        )
    )
    swept = [w for rate in trainings.xor_other_rates for w in trainings.xor_random(rate).values()]

    def draw(results: Results) -> Mapping[str, "Figure"]:
        names = {n: f"{n} units" for n in BY_TWO_UNITS}
        cells = {n: (rows[n], n, alone) for n in BY_TWO_UNITS}
        ours = {
            metric: _bars(results, {names[n]: c for n, c in cells.items()}, success[metric])
            for metric in success
        }
        printed = {
            metric: {
                names[e.setting["hidden_units"]]: e.value for e in entries if e.metric == metric
            }
            for metric in success
        }
        if not all(ours.values()):
            return {}
        return {"Success of randomly initialized XOR networks": figures.bars(ours, printed)}

    def sweep(results: Results) -> Sequence[Table]:
        def cell(rate: float, count: int, success: Success) -> Quantity | Absent:
            search = trainings.xor_random(rate)[count]
            return share(success(results, search, count))

        columns = [(f"{n} units", n) for n in BY_TWO_UNITS]
        printed = {(e.setting["hidden_units"], e.metric): e.value for e in entries}
        pairs = [(n, m) for n in BY_TWO_UNITS for m in success]
        as_printed = Table(
            title="Success in %, as Figure 1 prints it",
            heads=["", *[f"{n} {m}" for n, m in pairs]],
            body=[
                ["published", *[f"{printed[pair]:.1f}" for pair in pairs]],
                ["ours", *[_text(alone(rows[n], n, success[m])(results)) for n, m in pairs]],
            ],
            note="Hidden units, then DB (decision boundary) or ZL (zero loss).",
            shown=True,
        )
        cells = {(e.setting["hidden_units"], e.metric): claim_of[e.id] for e in entries}
        return [as_printed, _sweep(results, settings, trainings, "F1", columns, cell, cells)]

    return Experiment(
        id="004-F1",
        also=(settings.tolerance, settings.zero_loss),
        shows="XOR: success of random networks with 10, 8, 6, 4, 2 hidden units",
        works=(*rows.values(), *swept),
        figures=draw,
        claims=tuple(claims),
        tables=sweep,
    )


def _pruned(settings: FrankleCarbin, trainings: Trainings) -> Experiment:
    rows, success = trainings.xor_pruned(), successes(settings)
    rule = SameShare(_PRINTED)
    entries = [e for e in published.entries("004") if e.table_or_figure == "Figure 2"]
    # Whole networks are drawn afresh in each row, but nothing else is new (reading 4.28).
    wholes = frozenset(e.id for e in entries if e.setting["hidden_units"] == 10)
    claims = []
    for e in entries:
        search, count = rows[_row_of(e.setting)], e.setting["hidden_units"]
        whole = count == search.units[0]
        what = alone if whole else joint
        claims.append(
            Claim(
                published=e.id,
                ours=what(search, count, success[e.metric]),
                rule=rule,
                again=wholes if whole else frozenset(),
            )
        )
    claim_of = {claim.published: claim for claim in claims}
    product, table = rows["Product"], _cells()
    db, zl = (_without(_conditional(m), "Product", 2) for m in ("DB", "ZL"))
    shares = {m: 100 * table["Product", 2, m] / table["Product", 10, m] for m in success}
    claims += [
        Claim(
            published="004-0035",
            ours=conditional(product, 2, success["ZL"]),
            rule=SameShare(_wholes("ZL")),
            axis=zl,
            instead=shares["ZL"],
            remark="misprint: the footnote divides by another row; by the table it is 85.5",
        ),
        Claim(
            published="004-0036",
            ours=conditional(product, 2, success["DB"]),
            rule=SameShare(_wholes("DB")),
            axis=db,
            instead=shares["DB"],
            remark="the footnote counts another row's networks; by the table it is 92.9",
        ),
        _both_conditional(product, success),
        Claim(
            published="004-0039",
            ours=joint(product, 2, success["ZL"]),
            rule=rule,
            axis=[
                v
                for (row, n, m), v in table.items()
                if m == "ZL" and n != 10 and (row, n) != ("Product", 2)
            ],
            instead=table["Product", 2, "ZL"],
            remark="the text rounds; compared with the table (reading 4.29), whose percentages are "
            "of all networks",
        ),
    ]
    others = [trainings.xor_pruned(rate)["Product"] for rate in trainings.xor_other_rates]

    def draw(results: Results) -> Mapping[str, "Figure"]:
        cells = {}
        for name, search in rows.items():
            short = name.replace(" Magnitude", "").replace("One-shot Product", "One-shot")
            cells |= {f"{short}\n{n}": (search, n, joint) for n in (4, 2)}
        ours = {metric: _bars(results, cells, success[metric]) for metric in success}
        if not all(ours.values()):
            return {}
        printed: dict[str, dict[str, float]] = {metric: {} for metric in success}
        for e in entries:
            short = _row_of(e.setting).replace(" Magnitude", "")
            label = f"{short.replace('One-shot Product', 'One-shot')}\n{e.setting['hidden_units']}"
            printed[e.metric][label] = e.value
        return {
            "Whole network and ticket of 4 or 2 units both succeed": figures.bars(ours, printed)
        }

    def tables(results: Results) -> Sequence[Table]:
        def cell(rate: float, count: int, success: Success) -> Quantity | Absent:
            search = trainings.xor_pruned(rate)["Product"]
            what = alone if count == search.units[0] else joint
            return what(search, count, success)(results)

        columns = [("10 units", 10), ("pruned to 4", 4), ("pruned to 2", 2)]
        cells = {
            (e.setting["hidden_units"], e.metric): claim_of[e.id]
            for e in entries
            if _row_of(e.setting) == "Product"
        }
        return [
            _joint_and_conditional(results, rows, success),
            _sweep(
                results,
                settings,
                trainings,
                "F2, iterative magnitude product",
                columns,
                cell,
                cells,
            ),
        ]

    return Experiment(
        id="004-F2",
        also=(settings.tolerance, settings.zero_loss),
        shows="XOR: pruning ten units to four and two, by four strategies",
        works=(*rows.values(), *others),
        figures=draw,
        claims=tuple(claims),
        tables=tables,
    )


def _row_of(setting: Mapping[str, str]) -> str:
    once = setting["schedule"] == "one-shot"
    return "One-shot Product" if once else setting["strategy"]


def _cells() -> dict[tuple[str, int, str], float]:
    """The percentages of Figure 2 by strategy, units and metric."""
    return {
        (_row_of(e.setting), e.setting["hidden_units"], e.metric): e.value
        for e in published.entries("004")
        if e.table_or_figure == "Figure 2"
    }


def _wholes(metric: str) -> int:
    """How many of the printed networks of the Product row succeed whole."""
    return round(_PRINTED * _cells()["Product", 10, metric] / 100)


def _conditional(*metrics: str) -> list:
    """The conditional percentages that Figure 2 would give for each strategy and size."""
    cells = _cells()
    found = [
        tuple(100 * cells[name, n, m] / cells[name, 10, m] for m in metrics)
        for name in STRATEGIES
        for n in (4, 2)
    ]
    return found if len(metrics) > 1 else [value for (value,) in found]


def _both_conditional(search: UnitSearch, success: Mapping[str, Success]) -> Claim:
    """Of the four-unit tickets, DB and ZL at once: two numbers in one sentence."""

    def ours(results: Results) -> Quantity | Absent:
        db, zl = (conditional(search, 4, success[m])(results) for m in ("DB", "ZL"))
        if isinstance(db, Absent) or isinstance(zl, Absent):
            return Absent(_NOT_RUN)
        text = f"{db.value:.1f} and {zl.value:.1f}"
        return Quantity((db.value, zl.value), n=min(db.n, zl.n), text=text)

    return Claim(
        published="004-0037",
        ours=ours,
        rule=SameShare((_wholes("DB"), _wholes("ZL"))),
        axis=_without(_conditional("DB", "ZL"), "Product", 4),
    )


def _without(found: list, strategy: str, count: int) -> list:
    """The others of `_conditional`."""
    mine = 2 * list(STRATEGIES).index(strategy) + (4, 2).index(count)
    return [*found[:mine], *found[mine + 1 :]]


def _bars(
    results: Results, cells: Mapping[str, tuple], success: Success
) -> dict[str, tuple[float, float, float]]:
    found = {}
    for name, (search, count, what) in cells.items():
        if isinstance(q := what(search, count, success)(results), Absent):
            return {}
        found[name] = (q.value, q.low, q.high)
    return found


def _joint_and_conditional(
    results: Results, rows: Mapping[str, UnitSearch], success: Mapping[str, Success]
) -> Table:
    body = []
    for name in STRATEGIES:
        search = rows[name]
        line = [name]
        for metric in success:
            line.append(_text(alone(search, 10, success[metric])(results)))
            for count in (4, 2):
                line.append(_text(joint(search, count, success[metric])(results)))
                line.append(_text(conditional(search, count, success[metric])(results)))
        body.append(line)
    heads = ["strategy"]
    for metric in success:
        heads.append(f"{metric} whole")
        heads += [f"{metric} {n} {kind}" for n in (4, 2) for kind in ("joint", "conditional")]
    return Table(
        title="Joint and conditional percentages of F2 (ours)",
        heads=heads,
        body=body,
        shown=True,
        note="Joint: of all networks, those that succeed both whole and pruned, as the paper "
        "prints. Conditional: of those that succeed whole.",
    )


def _sweep(
    results: Results,
    settings: FrankleCarbin,
    trainings: Trainings,
    name: str,
    columns: Sequence[tuple[str, int]],
    cell: Callable[[float, int, Success], Quantity | Absent],
    claims: Mapping[tuple[int, str], Claim],
) -> Table:
    """A table over learning rates and tolerances; a star where a claim would agree."""
    rates = sorted({settings.xor_learning_rate, *trainings.xor_other_rates})
    entry = {key: published.entry(claim.published) for key, claim in claims.items()}
    printed = {key: e.value for key, e in entry.items()}

    def star(key: tuple[int, str], ours: Quantity | Absent) -> str:
        with_ours = dataclasses.replace(claims[key], ours=lambda _: ours)
        return " *" if judge(with_ours, entry[key], results).verdict == AGREES else ""

    body = [
        ["published", "", "DB", *[f"{printed[n, 'DB']:.1f}" for _, n in columns]],
        ["published", "", "ZL", *[f"{printed[n, 'ZL']:.1f}" for _, n in columns]],
    ]
    for rate in rates:
        for metric, limits in (("DB", [a for a, _ in _LIMITS]), ("ZL", [b for _, b in _LIMITS])):
            for limit in limits:
                line = [f"{rate:g}", f"{limit:g}", metric]
                for _, count in columns:
                    if metric == "DB":
                        q = cell(rate, count, lambda r, s, n, t=limit: xor.boundary(r, s, n, t))
                    else:
                        q = cell(rate, count, lambda r, s, n, t=limit: xor.zero_loss(r, s, n, t))
                    line.append(_text(q) + star((count, metric), q))
                body.append(line)
    return Table(
        title=f"{name} over learning rates and tolerances, which the paper does not state",
        heads=["learning rate", "tolerance", "", *[title for title, _ in columns]],
        body=body,
        note="% of networks. The tolerance of DB is how far a point may lie on the wrong side of "
        "1/2, that of ZL the loss that counts as zero. A star: agrees with the published number by "
        f"the rule of its cell ({SameShare(_PRINTED).text}), where that agrees by chance in at "
        f"most {100 * MOST_BY_CHANCE:g} % of cases with as many networks.",
    )


def _text(q: Quantity | Absent) -> str:
    return "-" if isinstance(q, Absent) else f"{q.value:.1f}"
