"""The tables of one phase of a run, as data: the page and the terminal show the same ones."""

from collections.abc import Iterable, Mapping, Sequence
import math

from ltjax.report import wording
from ltjax.report.document import Cell, Table
from ltjax.statistics import analysis
from ltjax.statistics.analysis import Row, Verdict


def results(rows: Sequence[Row]) -> Table:
    """Levels down, arms across: accuracy, steps to the best evaluation, the paired verdict."""
    names = analysis.arms(rows)
    held = {(v.row.arm, v.row.level): v for arm in names for v in analysis.winning(rows, arm)}
    groups: dict[tuple[int, int, int, int], dict[str, Row]] = {}
    for row in sorted(rows, key=lambda r: r.level):
        groups.setdefault((row.level, row.kept, row.prunable, row.total), {})[row.arm] = row
    shares = 4 if any(r.dense for r in rows) else 2
    sizes = 1 if wording.sizes(rows) else 3
    body = []
    for (level, kept, prunable, total), there in groups.items():
        row = next(iter(there.values()))
        densities = [row.nominal, row.density, *map(row.density_of, (row.kernels, row.total))]
        left = [*map(wording.percent, densities[:shares])]
        left += [*map(wording.count, (kept, prunable, total)[:sizes])]
        arms = [c for arm in names for c in _result(there.get(arm), held.get((arm, level)))]
        body.append([str(level), *left, *arms])
    heads = ["level", "nominal", "achieved", "of all kernels", "of all parameters"][: 1 + shares]
    return Table(
        [
            *heads,
            *("kept", "of prunable", "of total")[:sizes],
            *("accuracy", "steps", "to dense") * len(names),
        ],
        body,
        over=[("", 1), ("density %", shares), ("", sizes), *((arm, 3) for arm in names)],
        left=3,
    )


def _result(row: Row | None, verdict: Verdict | None) -> list[Cell]:
    if row is None:
        return [Cell("", "edge", star=False), Cell(""), Cell("")]
    wins = verdict is not None and verdict.wins
    after = "\N{DAGGER}" * bool(row.cut) + (f" ({row.failed} failed)" if row.failed else "")
    look = "win" if wins else ""
    return [
        _mean(row.accuracy, row.accuracy_sd, f"edge {look}".strip(), after, star=wins),
        Cell(wording.count(row.best_step), look),
        Cell(verdict.word if verdict else ""),
    ]


def against_dense(rows: Sequence[Row]) -> list[Table]:
    """One table of what every arm gains on its own dense network; none where nothing is said."""
    held = {arm: analysis.winning(rows, arm) for arm in analysis.arms(rows)}
    return _gains("Minus the dense network", held)


def against_controls(rows: Sequence[Row]) -> list[Table]:
    """A table of what each start point gains on the controls."""
    starts, controls = analysis.starts_and_controls(rows)
    return [
        table
        for start in starts
        for table in _gains(
            f"{start} minus the control", {c: analysis.versus(rows, start, c) for c in controls}
        )
    ]


def _gains(title: str, held: Mapping[str, Sequence[Verdict]]) -> list[Table]:
    """Levels down, arms across: gain with its interval, number of pairs, verdict."""
    held = {arm: verdicts for arm, verdicts in held.items() if wording.has_verdicts(verdicts)}
    density = {v.row.level: v.row.density for verdicts in held.values() for v in verdicts}
    said = {
        (arm, v.row.level): Cell(wording.gain(v), "edge", f"n {v.pairs}", f" {wording.word(v)}")
        for arm, verdicts in held.items()
        for v in verdicts
    }
    body = [
        [str(i), wording.percent(density[i]), *(said.get((a, i), Cell("", "edge")) for a in held)]
        for i in sorted(density)
    ]
    title = f"{title}: points of accuracy over n pairs of replicates (95 % interval)"
    over = [("", 2), *((arm, 1) for arm in held)]
    heads = ["level", "density %", *["gain"] * len(held)]
    return [Table(heads, body, title, over=over, left=1)] if held else []


def numbers(rows: Sequence[Row]) -> Table:
    """A line for every row with all that it holds."""
    heads = [
        "arm",
        "level",
        "density %",
        "accuracy",
        "final accuracy",
        "steps to best",
        "trainings",
    ]
    body = [
        [
            r.arm,
            str(r.level),
            wording.percent(r.density),
            _mean(r.accuracy, r.accuracy_sd),
            _mean(r.final_accuracy, r.final_accuracy_sd),
            Cell(wording.count(r.best_step), faint=_spread(wording.count(r.best_step_sd))),
            str(r.n),
            str(r.failed),
        ]
        for r in rows
    ]
    return Table([*heads, "failed"], body)


def layers(rows: Sequence[Row]) -> list[Table]:
    """Density of each prunable layer by level; arms with the same layer counts share a table."""
    return [
        Table(
            ["level", "all", *(f"{n} ({wording.count(s)})" for n, (_, s) in own[0].layers.items())],
            [
                [str(r.level), *map(wording.percent, (r.density, *r.layer_densities.values()))]
                for r in own
            ],
            title,
        )
        for title, own in same_layers(rows).items()
    ]


def same_layers(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows of one phase by the arms that keep the same number of weights in every layer.

    The key joins the names of these arms; the rows are those of the arm with most levels.
    """
    found: list[tuple[list[str], list[Row]]] = []
    for arm in analysis.arms(rows):
        own = [r for r in rows if r.arm == arm]
        names, group = next((g for g in found if _agree(g[1], own)), ([], []))
        if not names:
            found.append((names, group))
        names.append(arm)
        group[:] = max(group, own, key=len)
    return {", ".join(names): group for names, group in found}


def _agree(left: Iterable[Row], right: Iterable[Row]) -> bool:
    theirs = {r.level: r.layers for r in right}
    common = [r for r in left if r.level in theirs and r.level > 0]
    return bool(common) and all(r.layers == theirs[r.level] for r in common)


def _mean(
    mean: float, sd: float, look: str = "", after: str = "", star: bool | None = None
) -> Cell:
    """Mean and standard deviation of fractions, in percent."""
    spread = "-" if math.isnan(sd) else f"{100 * sd:.2f}"
    return Cell(wording.percent(mean), look, _spread(spread), after, star)


def _spread(sd: str) -> str:
    return "" if sd == "-" else f"\N{PLUS-MINUS SIGN} {sd}"
