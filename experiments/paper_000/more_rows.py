"""Beyond paper 000: other starts and controls, the other direction, iterative, biases pruned."""

from collections.abc import Mapping, Sequence
import statistics
from typing import TYPE_CHECKING

from experiments.paper_000 import figures, pairs
from experiments.paper_000.pairs import NOT_RUN, SMALLEST, Row
from experiments.paper_000.splits import FIRST, TICKET, split_table
from experiments.paper_000.trainings import Trainings
from experiments.reproduce.retrainings import Retrain
from experiments.reproduce.rows import Claim, Experiment, Table
from experiments.reproduce.rules import Absent, Ordered, Quantity, Side, ordering
from experiments.reproduce.searches import Search
from experiments.reproduce.trained import Results
from ltjax.lottery import arms
from ltjax.statistics import intervals

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ARMS = (*arms.STARTS, "redrawn", "shuffled_pairs", "shuffled_mask", "shuffled_globally")
"""Start points and the four controls."""

_SIGNIFICANT = 0.05


def experiments(t: Trainings) -> tuple[Experiment, ...]:
    """X1, X2, X3 and S3; the last has nothing to compare where all tickets' biases are pruned."""
    rows = (_starts(t), _back(t), _iterative(t))
    return rows if t.settings.prune_biases else (*rows, _biases(t))


def _dense(t: Trainings, count: int, half: str | None = None) -> list[Search]:
    halves = {} if half is None else {"half": half}
    numbers = range(1, len(t.settings.one_shot) + 1)
    return [t.dense(TICKET, number, count=count, **halves) for number in numbers]


def _lines(
    results: Results, t: Trainings, named: Mapping[str, Retrain], dense: Sequence[Search]
) -> dict[str, dict[float, list[float]]]:
    """Accuracies by arm and density on the splits that all have; dense networks are level."""
    found = {
        name: {
            density: pairs.accuracies(series.records(results, i))
            for i, density in enumerate(t.settings.one_shot, 1)
        }
        for name, series in named.items()
    }
    found = {name: {d: v for d, v in by.items() if v} for name, by in found.items()}
    runs = [pairs.accuracies(results.records(search.dense)) for search in dict.fromkeys(dense)]
    runs = [run for run in runs if run]
    if not runs or not any(found.values()):
        return {}
    every = [v for by in found.values() for v in by.values()] + runs
    common = sorted(set.intersection(*(set(v) for v in every)))
    whole = [statistics.fmean(run[i] for run in runs) for i in common]
    level = {1.0: whole, t.settings.one_shot[-1]: whole}
    lines = {
        name: {d: [v[i] for i in common] for d, v in by.items()} for name, by in found.items() if by
    }
    return {**lines, "dense": level} if common else {}


def against(results: Results, t: Trainings, first: Retrain, second: Retrain) -> list[Row]:
    """Accuracy of `second` minus `first` at each density, paired by split."""
    found = [
        pairs.pair(density, *(pairs.accuracies(s.records(results, n)) for s in (first, second)))
        for n, density in enumerate(t.settings.one_shot, 1)
    ]
    return [row for row in found if row is not None]


def turning(found: Sequence[Row]) -> str:
    """The paper's open question: from which density on the initial values matter.

    That is the largest density from which down to the smallest theta_0 is better everywhere.
    """
    if not found:
        return "not trained in this run"
    if any(row.test is None or row.test.n < pairs.FEWEST for row in found):
        return f"fewer than {pairs.FEWEST} splits cannot tell"
    better, worse, tail = [], [], []
    for row, p in zip(found, pairs.corrected(found), strict=True):
        known = p < _SIGNIFICANT  # False for NaN.
        ahead = known and row.test is not None and row.test.difference > 0
        (better if ahead else worse if known else []).append(row.density)
        tail = [*tail, row.density] if ahead else []
    if tail:
        text = (
            f"the initial value matters from {_percent(tail[:1])} density on: theta_0 is better "
            f"than redrawn values with p < 0.05 (Holm) at {_percent(better)}"
        )
    elif better:
        text = (
            f"theta_0 is better than redrawn values with p < 0.05 (Holm) at {_percent(better)}, "
            "but not at the smallest density"
        )
    else:
        text = "at no density is theta_0 better than redrawn values with p < 0.05 (Holm)"
    return f"{text}; at {_percent(worse)} redrawn values are better" if worse else text


def _percent(densities: Sequence[float]) -> str:
    return ", ".join(f"{100 * d:g} %" for d in densities)


def _starts(t: Trainings) -> Experiment:
    named = {name: t.arm(name) for name in ARMS}
    dense = _dense(t, 0)

    def draw(results: Results) -> Mapping[str, "Figure"]:
        lines = _lines(results, t, named, dense)
        caption = (
            "Tickets of one half of the classes on the other, by start point and control: mean and "
            f"standard error over {t.settings.extra_splits} splits"
        )
        return {caption: figures.by_density(lines)} if lines else {}

    def tables(results: Results) -> list[Table]:
        found = against(results, t, named["redrawn"], named["theta_0"])
        made = [
            pairs.test_table(
                "Does the initial value matter? theta_0 against redrawn values, the same masks",
                found,
                names=("redrawn", "theta_0"),
                note=f"On the same splits and batches: {turning(found)}.",
            ),
            split_table(results),
        ]
        body = []
        for name, series in named.items():
            for number, density in enumerate(t.settings.one_shot, 1):
                values = list(pairs.accuracies(series.records(results, number)).values())
                if values:
                    body.append(
                        [name, f"{100 * density:g} %", pairs.spread(values), str(len(values))]
                    )
        made.append(
            Table(title="Every arm", heads=["", "kept", "test accuracy % (sd)", "n"], body=body)
        )
        return made

    return Experiment(
        id="000-X1",
        also=t.settings.classes,
        shows="both tables on the same splits, with theta_k, theta_S and all controls",
        works=(*named.values(), *dict.fromkeys(dense)),
        figures=draw,
        tables=tables,
    )


def _back(t: Trainings) -> Experiment:
    count = t.settings.extra_splits
    back = t.back
    dense = _dense(t, count, FIRST)

    def found(results: Results) -> list[Row]:
        return pairs.rows(results, back, dense, densities=t.settings.one_shot)

    return Experiment(
        id="000-X2",
        also=t.settings.classes,
        shows="the other direction of each split: tickets of Data Set 2 on Data Set 1",
        works=(back, *dict.fromkeys(dense)),
        figures=lambda results: _gaps(
            found(results),
            "Dense minus ticket, in the other direction",
            "dense minus ticket (points)",
        ),
        tables=lambda results: [
            pairs.test_table(
                "The other direction", found(results), names=("ticket", "dense"),
                note="Tickets of Data Set 2, trained on Data Set 1.",
            )
        ],
    )  # fmt: skip


def _gaps(rows: Sequence[Row], caption: str, label: str) -> dict:
    return {caption: figures.differences(rows, printed={}, label=label)} if rows else {}


def _iterative(t: Trainings) -> Experiment:
    one_shot, iterative = t.arm("theta_0"), t.iterative

    def draw(results: Results) -> Mapping[str, "Figure"]:
        named = {"one-shot": one_shot, "iterative": iterative}
        lines = _lines(results, t, named, _dense(t, 0))
        caption = "One-shot and iterative tickets of one half of the classes on the other"
        return {caption: figures.by_density(lines)} if len(lines) > 1 else {}

    return Experiment(
        id="000-X3",
        also=t.settings.classes,
        shows="iterative tickets beside one-shot ones",
        works=(one_shot, iterative, *dict.fromkeys(_dense(t, 0))),
        figures=draw,
        tables=lambda results: [
            pairs.test_table(
                "Iterative minus one-shot", against(results, t, one_shot, iterative),
                names=("one-shot", "iterative"), note="On the splits that both have.",
            )
        ],
    )  # fmt: skip


def _biases(t: Trainings) -> Experiment:
    plain, biases = t.arm("theta_0"), t.with_biases

    def same(results: Results) -> Quantity | Absent:
        rows = against(results, t, biases, plain)
        if len(rows) < len(t.settings.one_shot):
            return NOT_RUN
        sides = []
        for row in rows:
            gap = intervals.difference(row.dense, row.sparse)
            what = f"without minus with pruned biases at {100 * row.density:g} %"
            sides.append(Side(what, gap and gap.times(100), "points", -SMALLEST, SMALLEST))
        return ordering(sides)

    def found(results: Results) -> list[Row]:
        return against(results, t, biases, plain)

    return Experiment(
        id="000-S3",
        also=t.settings.classes,
        shows="tickets whose biases are pruned too, as section III says of other experiments",
        works=(plain, biases),
        figures=lambda results: _gaps(
            found(results),
            "Accuracy without minus with pruned biases, split by split",
            "without minus with pruned biases (points)",
        ),
        claims=(
            Claim(
                published="000-0031",
                ours=same,
                rule=Ordered(
                    f"at every density the two are within {SMALLEST} points, the smallest "
                    "difference that the paper calls significant"
                ),
            ),
        ),
        tables=lambda results: [
            pairs.test_table(
                "Biases pruned too", found(results), names=("with biases", "without"), note=""
            )
        ],
    )
