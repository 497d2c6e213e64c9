"""What survives inside tickets: initial values (004-F9) and in-degrees (004-F10)."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import jax
import numpy as np

from experiments.papers import units
from experiments.papers.claims import claim
from experiments.papers.drawing import drawing_of, histograms, ranked
from experiments.papers.paper import Figure, figure, folded
from experiments.papers.results import Results
from experiments.papers.series import NOT_TRAINED, Missing
from experiments.papers.statistics import Statistic, Values
from experiments.papers.tables import tables_needing
from experiments.papers.trainings import Search
from ltjax.core.types import Tree
from ltjax.report.document import Fold

if TYPE_CHECKING:
    from experiments.papers.frankle_carbin import FrankleCarbin

_F9, _F10 = (0, 3, 8, 13), (1, 8, 13)
"""Rounds of the nominal 100, 51.2, 16.8 and 5.50 %, and of 80, 16.8 and 5.50 %."""

FIRST, SECOND, OUTPUT = "first hidden layer", "second hidden layer", "output"
_TITLES = {"dense_0": FIRST, "dense_1": SECOND, "head": OUTPUT}

ByTrial = dict[str, list[np.ndarray]]
"""By layer: an array a trial, over all runs."""

Look = Callable[[Results, Sequence[Search], int], ByTrial]
"""(results, searches, level) -> what is seen; raises Missing."""


def figures(s: "FrankleCarbin") -> tuple[Figure, Figure]:
    """F9 and F10, on the ten runs of F7 and more with the next seed."""
    searches = (s.search(),)
    if s.more_replicates:
        searches += (s.search(replicates=s.more_replicates, seed=s.seed + 1),)
    return _values(searches, float(s.init.rpartition(":")[2])), _degrees(searches)


def _trees(results: Results, searches: Sequence[Search], level: int) -> list[tuple[Tree, Tree]]:
    """The dense network's and a level's arrays of each search."""
    found = [(s.tree(results, 0), s.tree(results, level)) for s in searches]
    there = [(dense, here) for dense, here in found if dense is not None and here is not None]
    if len(there) < len(found) or any(level > len(s.levels) for s in searches):
        raise Missing(NOT_TRAINED)
    return there


def survivors(results: Results, searches: Sequence[Search], level: int) -> ByTrial:
    """Initial values of the weights that survive to a level."""
    found: ByTrial = {}
    for dense, here in _trees(results, searches, level):
        one = jax.tree.map(lambda leaf: leaf[0], here["mask"])
        for layer in units.layers(one):
            values = np.asarray(dense["theta_0"]["params"][layer]["kernel"])
            kept = np.asarray(here["mask"][layer]["kernel"])
            title = _TITLES.get(layer, layer)
            found.setdefault(title, []).extend(v[k] for v, k in zip(values, kept, strict=True))
    return found


def degrees(
    results: Results, searches: Sequence[Search], level: int, *, dead_edges: bool = False
) -> ByTrial:
    """In-degrees of all units, with or without edges that lead nowhere."""
    found: ByTrial = {}
    for _, here in _trees(results, searches, level):
        mask = here["mask"] if dead_edges else jax.vmap(units.connected)(here["mask"])
        for layer, counts in jax.vmap(units.in_degrees)(mask).items():
            found.setdefault(_TITLES.get(layer, layer), []).extend(np.asarray(counts))
    return found


def _pooled(
    results: Results, searches: Sequence[Search], levels: Sequence[int], look: Look
) -> dict[str, dict[str, np.ndarray]]:
    """By title of the level, by layer: of all trials together, where there are some."""
    found = {}
    for level in levels:
        try:
            by_layer = look(results, searches, level)
        except Missing:
            continue
        found[_nominal(searches[0], level)] = {
            layer: np.concatenate(trials) for layer, trials in by_layer.items()
        }
    return found


def _nominal(search: Search, level: int) -> str:
    return f"{100 * (1 - search.find.rate) ** level:.3g} %"


def _seen(
    searches: Sequence[Search],
    level: int,
    look: Look,
    value: Callable[[np.ndarray], float],
    words: str,
    *layers: str,
    unit: str = "",
) -> Values:
    """A number of each trial at a level: the largest over some layers."""

    def by_trial(results: Results) -> dict[int, float]:
        found = look(results, searches, level)
        trials = zip(*(found[layer] for layer in layers), strict=True)
        return {i: max(map(value, each)) for i, each in enumerate(trials)}

    said = f"{words} at {_nominal(searches[0], level)}, {' and '.join(layers)}"
    return Values(words=said, needs=tuple(searches), unit=unit, by_trial=by_trial)


def hollow(values: np.ndarray, sd: float) -> float:
    """How empty the middle is: share within sd/4 of 0, over that of the untouched distribution."""
    from scipy.special import ndtr

    inside = float((np.abs(values) < sd / 4).mean())
    whole = float(ndtr(0.25) - ndtr(-0.25)) / float(ndtr(2) - ndtr(-2))
    return inside / whole


def _values(searches: Sequence[Search], sd: float) -> Figure:
    def near_zero(*layers: str) -> Values:
        words = "density of initial values near 0, relative to before"
        return _seen(searches, 8, survivors, lambda v: hollow(v, sd), words, *layers)

    return figure(
        "004-F9", "initial values of the weights that survive, per layer",
        drawing_of(
            "Initial values of the weights that survive iterative pruning, over all runs", searches,
            lambda results: histograms(_pooled(results, searches, _F9, survivors), limit=2.2 * sd),
        ),
        claim("004-0071", near_zero(FIRST).mean().below(0.5), near_zero(SECOND).mean().below(0.5),
              (near_zero(OUTPUT) - near_zero(FIRST, SECOND)).above(0)),
    )  # fmt: skip


def _degrees(searches: Sequence[Search]) -> Figure:
    def with_dead(results: Results, searches: Sequence[Search], level: int) -> ByTrial:
        return degrees(results, searches, level, dead_edges=True)

    looks: Mapping[str, Look] = {"without": degrees, "with": with_dead}

    def cut_off(layer: str) -> Statistic:
        return _seen(
            searches, 13, degrees, lambda counts: 100 * float((counts == 0).mean()),
            "units without a connection", layer, unit="%",
        ).mean()  # fmt: skip

    def counts(results: Results) -> list[Fold]:
        pooled = {word: _pooled(results, searches, _F10, look) for word, look in looks.items()}
        body = [
            [density, "removed" if word == "without" else "kept"]
            + [
                f"{100 * float((d == 0).mean()):.1f} / {d.mean():.1f} / {d.max()}"
                for d in pooled[word][density].values()
            ]
            for density in pooled["without"]
            for word in looks
        ]
        return [
            folded(
                title="In-degrees: cut off % / mean / largest",
                heads=["density", "dead edges", *_TITLES.values()],
                body=body,
                note="Dead edges lead to a unit without a path to an output (footnote 7).",
            )
        ]

    return figure(
        "004-F10", "connections of each unit to the layer before",
        [
            drawing_of(
                f"Connections of each unit, {word} edges that reach no output", searches,
                lambda results, look=look: ranked(_pooled(results, searches, _F10, look)),
            )
            for word, look in looks.items()
        ],
        tables_needing(counts, *searches),
        claim("004-0072", cut_off(FIRST).below(10), cut_off(SECOND).inside(23, 43)),
    )  # fmt: skip
