"""Grouping: which rows stand side by side in tables and figures."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ltjax.statistics import analysis
from ltjax.statistics.analysis import Row, Verdict


class Level(NamedTuple):
    """The rows of all arms that have the same level and the same counts.

    Attributes:
      any: one of them, for the level and the counts.
      rows: row by arm; an arm without this level is missing.
      verdicts: of the arms that have a dense network, against it.
    """

    any: Row
    rows: Mapping[str, Row]
    verdicts: Mapping[str, Verdict]


def by_level(rows: Sequence[Row]) -> list[Level]:
    """The rows of one phase by level."""
    held = {(v.row.arm, v.row.level): v for own in against_dense(rows).values() for v in own}
    groups: dict[tuple[int, int, int, int], dict[str, Row]] = {}
    for row in sorted(rows, key=lambda r: r.level):
        groups.setdefault((row.level, row.kept, row.prunable, row.total), {})[row.arm] = row
    return [
        Level(
            next(iter(group.values())),
            group,
            {arm: held[arm, level] for arm in group if (arm, level) in held},
        )
        for (level, *_), group in groups.items()
    ]


def against_dense(rows: Sequence[Row]) -> dict[str, list[Verdict]]:
    """The verdicts of every arm of one phase on its own dense network."""
    return {arm: analysis.winning(rows, arm) for arm in analysis.arms(rows)}


def against_controls(rows: Sequence[Row]) -> dict[str, dict[str, list[Verdict]]]:
    """By start point, its verdicts on each control of the phase."""
    starts, controls = analysis.starts_and_controls(rows)
    return {a: {c: analysis.versus(rows, a, c) for c in controls} for a in starts if controls}


def one_size(rows: Sequence[Row]) -> tuple[int, int, int] | None:
    """Prunable weights, those of all kernels, and all parameters, where every row has the same."""
    sizes = {(r.prunable, r.kernels, r.total) for r in rows}
    return next(iter(sizes)) if len(sizes) == 1 else None


def same_layers(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows of one phase by the arms that keep the same number of weights in every layer.

    The key joins the names of these arms; the rows are those of the arm with most levels.
    """
    found: list[tuple[list[str], list[Row]]] = []
    for arm in analysis.arms(rows):
        own = [r for r in rows if r.arm == arm]
        same = next((g for g in found if _agree(g[1], own)), None)
        if same is None:
            found.append(([arm], own))
        else:
            same[0].append(arm)
            if len(own) > len(same[1]):
                same[1][:] = own
    return {", ".join(names): group for names, group in found}


def _agree(left: Sequence[Row], right: Sequence[Row]) -> bool:
    theirs = {r.level: r.layers for r in right}
    common = [r for r in left if r.level in theirs and r.level > 0]
    return bool(common) and all(r.layers == theirs[r.level] for r in common)
