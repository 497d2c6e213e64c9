"""The rows of paper 000's tables: 000-II, 000-III and what its text says of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from experiments.paper_000 import figures, pairs
from experiments.paper_000.pairs import NOT_RUN, Row
from experiments.paper_000.splits import REDRAWN, TABLES, TICKET, split_table
from experiments.paper_000.trainings import Trainings
from experiments.reproduce.retrainings import Retrain
from experiments.reproduce.rows import Absent, Claim, Experiment, Holds, Near, Quantity, quantity
from experiments.reproduce.searches import Search
from experiments.reproduce.trained import Results
from ltjax import intervals, published
from ltjax.published import Published
from ltjax.results import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ACCURACY = Near(0.03, "(3 points)")
_T = Near(2.0, "(two standard errors of a t-value) in absolute value")
_SIGNIFICANT = 0.05
_NAMES = {TICKET: "ticket", REDRAWN: "redrawn"}
_OTHER_SPLITS = Absent(
    "the two tables have other splits and are not compared (reading 0.11); --same_splits does"
)
_SIGN = "t of dense minus sparse; the paper prints absolute values (reading 0.9)"


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

    claims = [
        Claim(published=e.id, ours=_cell(found, e), rule=_T if e.metric == "t_value" else _ACCURACY,
              remark=_SIGN if e.metric == "t_value" else "")
        for e in published.entries("000")
        if e.table_or_figure == f"TABLE {table}"
    ]  # fmt: skip
    claims += _words_of_ii(t, found) if table == TICKET else _words_of_iii(t, found)
    return Experiment(
        id=f"000-{table}",
        shows=f"{shown} of one half of the classes, trained on the other, against dense networks",
        works=(series, *dict.fromkeys(dense)),
        figures=draw,
        claims=tuple(claims),
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

    def ours(results: Results) -> Quantity | Absent:
        row = pairs.at(found(results), 1 - sparsity)
        if isinstance(row, Absent):
            return row
        if e.metric == "t_value":
            if row.test is None or row.test.t != row.test.t:
                return Absent("fewer than two splits, or no spread")
            return Quantity(
                abs(row.test.t), n=row.test.n, text=f"{row.test.t:+.2f}, p {row.test.p:.2g}"
            )
        values = row.dense if e.setting["network"] == "dense" else row.sparse
        return quantity(intervals.mean(values))

    return ours


def _all(t: Trainings, rows: list[Row]) -> bool:
    """Whether every density of the settings is there with a test."""
    return len(rows) == len(t.settings.one_shot) and all(row.test is not None for row in rows)


def _tests(
    t: Trainings,
    found: Callable[[Results], list[Row]],
    holds: Callable,
    *,
    needs: Sequence[float] = (),
    pairs_at_least: int = 2,
) -> Callable:
    """A sentence on the tests of all densities, `needs` among them."""

    def ours(results: Results) -> Quantity | Absent:
        rows = found(results)
        if not _all(t, rows) or any(isinstance(pairs.at(rows, d), Absent) for d in needs):
            return NOT_RUN
        tests = {row.density: row.test for row in rows if row.test is not None}
        if min(test.n for test in tests.values()) < pairs_at_least:
            return pairs.TOO_FEW
        text = "; ".join(
            f"{100 * d:g} %: {100 * test.difference:+.2f} points, p {test.p:.2g}"
            for d, test in tests.items()
        )
        return Quantity(text=text, n=len(rows[0].sparse), holds=bool(holds(tests)))

    return ours


_PRINTED = (0.75, 0.5, 0.25, 0.1)


def _significant_only_at(*densities: float) -> Callable:
    def holds(tests: Mapping) -> bool:
        return all((tests[d].p < _SIGNIFICANT) == (d in densities) for d in _PRINTED)

    return holds


def _words_of_ii(t: Trainings, found: Callable[[Results], list[Row]]) -> list[Claim]:
    def never_better(tests: Mapping) -> bool:
        return not any(x.p < _SIGNIFICANT and x.difference < 0 for x in tests.values())

    def slight(tests: Mapping) -> bool:
        return tests[0.1].difference <= 0.05

    return [
        Claim(
            published="000-0025",
            ours=_tests(t, found, _significant_only_at(0.25, 0.1), needs=_PRINTED),
            rule=Holds("p < 0.05 at 25 and 10 % density, and at no other"),
        ),
        Claim(
            published="000-0027",
            ours=_tests(t, found, never_better, pairs_at_least=pairs.FEWEST),
            rule=Holds("at no density is the ticket better with p < 0.05"),
        ),
        Claim(
            published="000-0028",
            ours=_sometimes_slower(t, t.ticket),
            rule=Holds(
                "at every density the mean difference is at most 3 points, and more pairs have a "
                "ticket that reaches 95 % of its dense network's final accuracy later than earlier"
            ),
        ),
        Claim(
            published="000-0032",
            ours=_tests(t, found, slight, needs=(0.1,)),
            rule=Holds("at 10 % density the ticket loses at most 5 points"),
        ),
    ]


def _sometimes_slower(t: Trainings, series: Retrain) -> Callable:
    def reaches(steps: list[int], curve: list[float], level: float) -> float:
        there = (s for s, a in zip(steps, curve, strict=True) if a >= level)
        return next(there, float("inf"))

    def ours(results: Results) -> Quantity | Absent:
        rows = pairs.table_rows(results, t, series, TICKET)
        if not _all(t, rows):
            return NOT_RUN
        later = earlier = pairs_ = 0
        for number in range(1, len(rows) + 1):
            beside = pairs.good(results.records(t.dense(TICKET, number).dense))
            for i, r in pairs.good(series.records(results, number)).items():
                if i in beside:
                    level = 0.95 * beside[i].final_accuracy
                    theirs = reaches(beside[i].steps, beside[i].test_accuracy, level)
                    mine = reaches(r.steps, r.test_accuracy, level)
                    later, earlier = later + (mine > theirs), earlier + (mine < theirs)
                    pairs_ += 1
        worst = max(row.test.difference for row in rows if row.test is not None)
        text = (
            f"largest mean loss {100 * worst:.2f} points; of {pairs_} pairs later in {later}, "
            f"earlier in {earlier}"
        )
        return Quantity(text=text, n=pairs_, holds=worst <= 0.03 and later > earlier)

    return ours


def _lost(row: Row) -> float:
    """Points that the sparse network loses to the dense one, a mean over the splits."""
    return 100 * row.test.difference if row.test is not None else float("nan")


def _growth(rows: Sequence[Row]) -> dict[int, float]:
    """What is lost at the last density less what is lost at the first, by split."""
    first, last = rows[0], rows[-1]
    return {
        i: (last.dense[i] - last.sparse[i]) - (first.dense[i] - first.sparse[i])
        for i in first.sparse.keys() & last.sparse.keys()
    }


def _words_of_iii(t: Trainings, found: Callable[[Results], list[Row]]) -> list[Claim]:
    def both(results: Results, holds: Callable[[Sequence[Row], Sequence[Row]], bool]) -> Any:
        tables = [pairs.table_rows(results, t, t.ticket, TICKET), found(results)]
        if not all(_all(t, rows) for rows in tables):
            return NOT_RUN
        if not t.settings.one_set:
            return _OTHER_SPLITS
        text = "; ".join(
            f"{100 * a.density:g} %: {_lost(a):+.2f} (ticket), {_lost(b):+.2f} (redrawn)"
            for a, b in zip(*tables, strict=True)
        )
        n = len(tables[1][0].sparse)
        return Quantity(text=f"points lost: {text}", n=n, holds=holds(*tables))

    def weak(ticket: Sequence[Row], redrawn: Sequence[Row]) -> bool:
        gaps = (_lost(a) - _lost(b) for a, b in zip(ticket, redrawn, strict=True))
        return all(abs(gap) <= 2.0 for gap in gaps)

    def sensitive(ticket: Sequence[Row], redrawn: Sequence[Row]) -> bool:
        test = intervals.compare(_growth(redrawn), _growth(ticket))
        return test is not None and test.difference > 0 and test.p < _SIGNIFICANT

    return [
        Claim(
            published="000-0026",
            ours=_tests(t, found, _significant_only_at(0.5, 0.25, 0.1), needs=_PRINTED),
            rule=Holds("p < 0.05 at 50, 25 and 10 % density, and not at 75 %"),
        ),
        Claim(
            published="000-0029",
            ours=lambda results: both(results, weak),
            rule=Holds(
                "what ticket and redrawn network lose to their dense networks differs by at most "
                "2 points at every density"
            ),
        ),
        Claim(
            published="000-0030",
            ours=lambda results: both(results, sensitive),
            rule=Holds(
                "from the largest density to the smallest, the redrawn network's loss grows by "
                "more than the ticket's (paired by split, p < 0.05)"
            ),
            remark="the paper's own tables say the reverse (reading 0.15)",
        ),
    ]
