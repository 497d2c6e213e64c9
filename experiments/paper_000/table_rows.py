"""The rows of paper 000's tables: 000-II, 000-III and what its text says of them."""

from collections.abc import Callable, Mapping, Sequence
import math
import statistics
from typing import TYPE_CHECKING, Any

from experiments.paper_000 import figures, pairs
from experiments.paper_000.pairs import NOT_RUN, SMALLEST, Row
from experiments.paper_000.splits import REDRAWN, TABLES, TICKET, split_table
from experiments.paper_000.trainings import Trainings
from experiments.reproduce import published
from experiments.reproduce.published import Published
from experiments.reproduce.retrainings import Retrain
from experiments.reproduce.rows import Claim, Experiment
from experiments.reproduce.rules import (
    Absent,
    Near,
    Ordered,
    Quantity,
    Same,
    Side,
    ordering,
    quantity,
)
from experiments.reproduce.searches import Search
from experiments.reproduce.trained import Results
from ltjax.statistics import intervals
from ltjax.training.records import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_T = Near(1.0, "(a standard error of a t-value, in the direction of the printed means)")
_OF_MEANS = "(the standard error of the printed mean over its splits)"
_SIGNIFICANT = 0.05
_NAMES = {TICKET: "ticket", REDRAWN: "redrawn"}
_OTHER_SPLITS = Absent(
    "the two tables have other splits and are not compared (reading 0.11); --same_splits does"
)
_SIGN = (
    "t of dense minus sparse; the paper prints absolute values (reading 0.9), and ours agrees only "
    "in the direction of the means of its row"
)


def experiments(t: Trainings) -> tuple[Experiment, ...]:
    """000-II and 000-III."""
    return tuple(_table(t, table) for table in TABLES)


def _table(t: Trainings, table: str) -> Experiment:
    series = t.ticket if table == TICKET else t.redrawn
    dense = [t.dense(table, number) for number in range(1, len(t.settings.one_shot) + 1)]
    shown = "winning tickets" if table == TICKET else "the tickets' masks with redrawn weights"

    def found(results: Results) -> list[Row]:
        return pairs.table_rows(results, t, series, table)

    def draw(results: Results) -> Mapping[str, "Figure"]:
        rows = found(results)
        if not rows:
            return {}
        caption = (
            f"Dense minus {_NAMES[table]}, split by split: dots; mean and its 95 % interval; "
            "cross: the published difference of means"
        )
        drawn = {caption: figures.differences(rows, printed=_printed(table))}
        if curves := _every_curve(results, t, series, dense[0]):
            text = (
                f"Learning curves of every split: {shown} on the second halves, and dense networks"
            )
            drawn[text] = figures.every_split(curves)
        return drawn

    cells = [e for e in published.entries("000") if e.table_or_figure == f"TABLE {table}"]
    # Dense networks of each row differ by their seeds alone (reading 0.10).
    wholes = frozenset(e.id for e in cells if e.setting.get("network") == "dense")
    claims = [
        Claim(
            published=e.id,
            ours=_cell(found, e),
            rule=_rule(e),
            remark=_SIGN if e.metric == "t_value" else "",
            again=wholes if e.id in wholes else frozenset(),
        )
        for e in cells
    ]
    claims += _words_of_ii(t, found) if table == TICKET else _words_of_iii(t, found)
    return Experiment(
        id=f"000-{table}",
        shows=f"{shown} of one half of the classes, trained on the other, against dense networks",
        works=(series, *dict.fromkeys(dense)),
        figures=draw,
        claims=tuple(claims),
        also=t.settings.classes,
        tables=lambda results: [
            split_table(results),
            pairs.test_table(
                f"Table {table}: paired tests over the splits",
                found(results),
                names=(_NAMES[table], "dense"),
                note="Final test accuracy. t and p: paired t-test; interval by Student's t; Holm's "
                "correction over the densities.",
            ),
        ],
    )


def _rule(e: Published) -> Near:
    """Within a standard error of what is printed: that of a t-value, or of a mean of ten splits."""
    if e.metric == "t_value":
        return _T
    return Near(round(e.spread_or_p["std"] / e.setting["splits"] ** 0.5, 4), _OF_MEANS)


def _every_curve(
    results: Results, t: Trainings, series: Retrain, dense: Search
) -> dict[int, dict[str, Record]]:
    """Records by number of the split, by name of the line: dense first, then by density."""
    levels = {"dense": results.records(dense.dense)}
    for number, density in enumerate(t.settings.one_shot, 1):
        levels[f"{100 * density:g} % kept"] = series.records(results, number)
    by_name = {name: pairs.good(records) for name, records in levels.items()}
    return {
        i: {name: found[i] for name, found in by_name.items() if i in found}
        for i in sorted(by_name["dense"])
        if len([name for name, found in by_name.items() if i in found]) > 1
    }


def _printed(table: str) -> dict[float, float]:
    """Published difference of means, dense minus sparse, by density."""
    found: dict[float, float] = {}
    for e in published.entries("000"):
        if e.table_or_figure == f"TABLE {table}" and e.metric.startswith("top1"):
            sparsity = e.setting.get("sparsity", e.setting.get("sparsity_of_paired_run"))
            sign = 1 if e.setting["network"] == "dense" else -1
            density = round(1 - sparsity, 6)
            found[density] = found.get(density, 0.0) + sign * e.value
    return found


def _cell(found: Callable[[Results], list[Row]], e: Published) -> Callable:
    sparsity = e.setting.get("sparsity", e.setting.get("sparsity_of_paired_run"))
    gap = _printed(e.table_or_figure.removeprefix("TABLE "))[round(1 - sparsity, 6)]
    direction = math.copysign(1, gap)

    def ours(results: Results) -> Quantity | Absent:
        row = pairs.at(found(results), 1 - sparsity)
        if isinstance(row, Absent):
            return row
        if e.metric == "t_value":
            if row.test is None or row.test.t != row.test.t:
                return Absent("fewer than two splits, or no spread")
            text = f"{row.test.t:+.2f}, p {row.test.p:.2g}"
            return Quantity(direction * row.test.t, n=row.test.n, text=text)
        values = row.dense if e.setting["network"] == "dense" else row.sparse
        return quantity(intervals.mean(values))

    return ours


def _all(t: Trainings, rows: list[Row]) -> bool:
    """Whether every density of the settings is there with a test."""
    return len(rows) == len(t.settings.one_shot) and all(row.test is not None for row in rows)


_PRINTED = (0.75, 0.5, 0.25, 0.1)


def _significant(t: Trainings, found: Callable[[Results], list[Row]]) -> Callable:
    """The sparsities at which the paired test rejects at 5 %; negative where sparse is ahead."""

    def ours(results: Results) -> Quantity | Absent:
        rows = found(results)
        if not _all(t, rows) or any(isinstance(pairs.at(rows, d), Absent) for d in _PRINTED):
            return NOT_RUN
        tests = {row.density: row.test for row in rows if row.test is not None}
        text = "; ".join(
            f"{100 * d:g} %: {100 * test.difference:+.2f} points, p {test.p:.2g}"
            for d, test in tests.items()
        )
        there = tuple(
            math.copysign(round(1 - d, 6), tests[d].difference)
            for d in _PRINTED
            if tests[d].p < _SIGNIFICANT
        )
        return Quantity(there, n=len(rows[0].sparse), text=text)

    return ours


_NESTED = tuple(tuple(1 - d for d in _PRINTED[count:]) for count in range(len(_PRINTED) + 1))
"""What could be significant, where that begins at some sparsity."""


def _losses(
    t: Trainings, found: Callable[[Results], list[Row]], *, needs: Sequence[float] = (),
    above: float = -math.inf, below: float = math.inf,
) -> Callable:  # fmt: skip
    """What the sparse network loses to the dense one, in points, at `needs` or every density."""

    def ours(results: Results) -> Quantity | Absent:
        rows = found(results)
        chosen = [pairs.at(rows, d) for d in needs] if needs else rows
        if not _all(t, rows) or any(isinstance(row, Absent) for row in chosen):
            return NOT_RUN
        return ordering([_loss(row, above, below) for row in chosen if isinstance(row, Row)])

    return ours


def _loss(row: Row, above: float, below: float) -> Side:
    found = intervals.difference(row.dense, row.sparse)
    what = f"loss at {100 * row.density:g} %"
    return Side(what, found and found.times(100), "points", above, below)


def _words_of_ii(t: Trainings, found: Callable[[Results], list[Row]]) -> list[Claim]:
    return [
        Claim(
            published="000-0025",
            ours=_significant(t, found),
            rule=Same(
                "dense ahead with p < 0.05 at 25 and 10 % density, and p above it at all others"
            ),
            axis=_NESTED,
        ),
        Claim(
            published="000-0027",
            ours=_losses(t, found, above=-SMALLEST),
            rule=Ordered(
                f"at no density is the ticket ahead by {SMALLEST} points, the smallest difference "
                "that the paper calls significant"
            ),
        ),
        Claim(
            published="000-0028",
            ours=_sometimes_slower(t, t.ticket),
            rule=Ordered(
                "at every density the ticket loses at most 3 points, and in more of them than not "
                "it reaches 95 % of its dense network's final accuracy later"
            ),
        ),
        Claim(
            published="000-0032",
            ours=_losses(t, found, needs=(0.1,), below=5.0),
            rule=Ordered("at 10 % density the ticket loses at most 5 points"),
        ),
    ]


def _sometimes_slower(t: Trainings, series: Retrain) -> Callable:
    def reaches(steps: list[int], curve: list[float], level: float) -> float:
        there = (s for s, a in zip(steps, curve, strict=True) if a >= level)
        return next(there, math.inf)

    def ours(results: Results) -> Quantity | Absent:
        rows = pairs.table_rows(results, t, series, TICKET)
        if not _all(t, rows):
            return NOT_RUN
        later: dict[int, list[int]] = {}
        for number in range(1, len(rows) + 1):
            beside = pairs.good(results.records(t.dense(TICKET, number).dense))
            for i, r in pairs.good(series.records(results, number)).items():
                if i in beside:
                    level = 0.95 * beside[i].final_accuracy
                    theirs = reaches(beside[i].steps, beside[i].test_accuracy, level)
                    mine = reaches(r.steps, r.test_accuracy, level)
                    later.setdefault(i, []).append((mine > theirs) - (mine < theirs))
        found = intervals.mean({i: statistics.fmean(v) for i, v in later.items()})
        what = "share of densities where the ticket is later, minus earlier"
        return ordering([*(_loss(row, -math.inf, 3.0) for row in rows), Side(what, found)])

    return ours


def _gaps(row: Row) -> dict[int, float]:
    """What the sparse network loses to the dense one, by split, in points."""
    return {i: 100 * (row.dense[i] - row.sparse[i]) for i in row.sparse}


def _growth(rows: Sequence[Row]) -> dict[int, float]:
    """What is lost at the last density less what is lost at the first, by split."""
    first, last = _gaps(rows[0]), _gaps(rows[-1])
    return {i: last[i] - first[i] for i in first.keys() & last.keys()}


def _words_of_iii(t: Trainings, found: Callable[[Results], list[Row]]) -> list[Claim]:
    def both(results: Results, sides: Callable[[list[Row], list[Row]], list[Side]]) -> Any:
        tables = [pairs.table_rows(results, t, t.ticket, TICKET), found(results)]
        if not all(_all(t, rows) for rows in tables):
            return NOT_RUN
        return ordering(sides(*tables)) if t.settings.one_set else _OTHER_SPLITS

    def weak(ticket: Sequence[Row], redrawn: Sequence[Row]) -> list[Side]:
        return [
            Side(
                f"loss of the ticket minus that of the redrawn network at {100 * a.density:g} %",
                intervals.difference(_gaps(a), _gaps(b)), "points", -2.0, 2.0,
            )
            for a, b in zip(ticket, redrawn, strict=True)
        ]  # fmt: skip

    def sensitive(ticket: Sequence[Row], redrawn: Sequence[Row]) -> list[Side]:
        grown = intervals.difference(_growth(redrawn), _growth(ticket))
        return [Side("growth of the redrawn network's loss minus the ticket's", grown, "points")]

    return [
        Claim(
            published="000-0026",
            ours=_significant(t, found),
            rule=Same(
                "dense ahead with p < 0.05 at 50, 25 and 10 % density, and p above it at 75 %"
            ),
            axis=_NESTED,
        ),
        Claim(
            published="000-0029",
            ours=lambda results: both(results, weak),
            rule=Ordered(
                "what ticket and redrawn network lose to their dense networks differs by at most "
                "2 points at every density"
            ),
        ),
        Claim(
            published="000-0030",
            ours=lambda results: both(results, sensitive),
            rule=Ordered(
                "from the largest density to the smallest, the redrawn network's loss grows by "
                "more than the ticket's"
            ),
            remark="the paper's own tables say the reverse (reading 0.15)",
        ),
    ]
