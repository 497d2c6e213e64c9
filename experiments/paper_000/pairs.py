"""Paper 000's comparisons: sparse networks against dense ones on the same splits."""

from collections.abc import Sequence
import dataclasses
import statistics

from experiments.paper_000.trainings import Trainings
from experiments.reproduce.retrainings import Retrain
from experiments.reproduce.rows import Table
from experiments.reproduce.rules import Absent
from experiments.reproduce.searches import Search
from experiments.reproduce.trained import Results
from ltjax.statistics import analysis, intervals
from ltjax.statistics.intervals import Paired
from ltjax.training.records import Record

NOT_RUN = Absent("not trained in this run")
FEWEST = 5
SMALLEST = 0.9
"""Points: the smallest difference that the tables call significant (.804 against .813)."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One density: accuracy by split of both networks, and the paired tests of their difference.

    Attributes:
      density: kept in each layer.
      sparse: final test accuracy by number of the split, in [0, 1].
      dense: of the networks beside them, on the same splits.
      test: of dense minus sparse; None below two splits.
    """

    density: float
    sparse: dict[int, float]
    dense: dict[int, float]
    test: Paired | None


def good(records: Sequence[Record]) -> dict[int, Record]:
    """Records by split, without the trainings that failed."""
    return {r.replicate: r for r in records if not analysis.has_failed(r)}


def accuracies(records: Sequence[Record]) -> dict[int, float]:
    """Test accuracy at the end of training, by split (reading 0.13)."""
    return {i: r.final_accuracy for i, r in good(records).items()}


def pair(density: float, sparse: dict[int, float], dense: dict[int, float]) -> Row | None:
    """The row of the splits that both have; None without one."""
    both = sorted(sparse.keys() & dense.keys())
    ours, theirs = ({i: v[i] for i in both} for v in (sparse, dense))
    return Row(density, ours, theirs, intervals.compare(theirs, ours)) if both else None


def rows(
    results: Results, series: Retrain, dense: Sequence[Search], *, densities: Sequence[float]
) -> list[Row]:
    """One row a density, of those that have been trained."""
    found = []
    for number, (density, beside) in enumerate(zip(densities, dense, strict=True), 1):
        sparse = accuracies(series.records(results, number))
        whole = accuracies(results.records(beside.dense))
        found.append(pair(density, sparse, whole))
    return [row for row in found if row is not None]


def table_rows(results: Results, t: Trainings, series: Retrain, table: str) -> list[Row]:
    """The rows of Table II or III."""
    densities = t.settings.one_shot
    dense = [t.dense(table, number) for number in range(1, len(densities) + 1)]
    return rows(results, series, dense, densities=densities)


def at(found: Sequence[Row], density: float) -> Row | Absent:
    """The row of a density."""
    for row in found:
        if abs(row.density - density) < 1e-9:
            return row
    return NOT_RUN


def corrected(found: Sequence[Row]) -> list[float]:
    """P-values of the paired t-tests, Holm's over the rows."""
    return intervals.holm([float("nan") if row.test is None else row.test.p for row in found])


def spread(values: Sequence[float]) -> str:
    """Mean and sample standard deviation, in percent."""
    sd = f" ({100 * statistics.stdev(values):.2f})" if len(values) > 1 else ""
    return f"{100 * statistics.fmean(values):.2f}{sd}"


def test_table(title: str, found: Sequence[Row], *, names: tuple[str, str], note: str) -> Table:
    """Every test that a careful reader wants, one row a density.

    Args:
      title: of the table.
      found: its rows.
      names: what the two columns of accuracies are called: sparse, dense.
      note: below it.
    """
    body = []
    for row, p_holm in zip(found, corrected(found), strict=True):
        test = row.test
        cells = ["-"] * 6
        if test is not None:
            cells = [
                f"{100 * test.difference:+.2f} ({100 * test.low:+.2f} to {100 * test.high:+.2f})",
                f"{test.t:.2f}",
                f"{test.p:.2g}",
                f"{p_holm:.2g}",
                f"{test.wilcoxon_p:.2g}",
                str(test.n),
            ]
        first, second = (spread(list(v.values())) for v in (row.sparse, row.dense))
        body.append([f"{100 * row.density:g} %", first, second, *cells])
    return Table(
        title=title,
        heads=[
            "kept",
            f"{names[0]} % (sd)",
            f"{names[1]} % (sd)",
            f"{names[1]} - {names[0]}, points (95 %)",
            "t",
            "p",
            "p (Holm)",
            "p (Wilcoxon)",
            "n",
        ],
        body=body,
        note=note,
        shown=True,
    )
