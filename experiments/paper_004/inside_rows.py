"""The rows of paper 004 that look inside tickets: F9 (initial values) and F10 (in-degrees)."""

from collections.abc import Callable, Mapping, Sequence
import math
from typing import TYPE_CHECKING

import jax
import numpy as np

from experiments.paper_004.answers import NOT_RUN, ordered
from experiments.paper_004.settings import FrankleCarbin
from experiments.paper_004.trainings import Trainings
from experiments.papers import units
from experiments.reproduce import figures
from experiments.reproduce.rows import Claim, Experiment, Table
from experiments.reproduce.rules import Absent, Ordered, Side
from experiments.reproduce.searches import Search
from experiments.reproduce.trained import Results
from ltjax.statistics import intervals
from ltjax.statistics.intervals import Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_F9, _F10 = (0, 3, 8, 13), (1, 8, 13)
"""Rounds of the nominal 100, 51.2, 16.8 and 5.50 %, and of 80, 16.8 and 5.50 %."""

_TITLES = {"dense_0": "first hidden layer", "dense_1": "second hidden layer", "head": "output"}


def experiments(settings: FrankleCarbin) -> tuple[Experiment, ...]:
    """F9 and F10."""
    t = Trainings(settings)
    return _values(t), _degrees(t)


ByTrial = dict[str, list[np.ndarray]]
"""By layer: an array a trial, over all runs."""


def survivors(results: Results, searches: tuple[Search, ...], level: int) -> ByTrial | None:
    """Initial values of the weights that survive to a level."""
    found: ByTrial = {}
    for search in searches:
        first, here = results.tree(search.dense), results.tree(search.level(level))
        if first is None or here is None:
            return None
        for layer in units.layers(_one(here["mask"])):
            values = np.asarray(first["theta_0"]["params"][layer]["kernel"])
            kept = np.asarray(here["mask"][layer]["kernel"])
            title = _TITLES.get(layer, layer)
            found.setdefault(title, []).extend(v[k] for v, k in zip(values, kept, strict=True))
    return found


def degrees(
    results: Results, searches: tuple[Search, ...], level: int, *, dead_edges: bool
) -> ByTrial | None:
    """In-degrees of all units, with or without edges that lead nowhere."""
    found: ByTrial = {}
    for search in searches:
        if (here := results.tree(search.level(level))) is None:
            return None
        mask = here["mask"]
        if not dead_edges:
            mask = jax.vmap(units.connected)(mask)
        for layer, counts in jax.vmap(units.in_degrees)(mask).items():
            found.setdefault(_TITLES.get(layer, layer), []).extend(np.asarray(counts))
    return found


def _pooled(found: Mapping[str, ByTrial | None]) -> dict[str, dict[str, np.ndarray]]:
    """By title of the level, by layer: of all trials together, where there are some."""
    return {
        title: {layer: np.concatenate(trials) for layer, trials in by_layer.items()}
        for title, by_layer in found.items()
        if by_layer is not None
    }


def _mean(value: Callable[[np.ndarray], float], trials: Sequence[np.ndarray]) -> Interval | None:
    """Interval of a value over the trials."""
    return intervals.mean({i: value(each) for i, each in enumerate(trials)})


def _one(tree: Mapping) -> Mapping:
    return jax.tree.map(lambda leaf: leaf[0], tree)


def _nominal(search: Search, level: int) -> str:
    return f"{100 * (1 - search.rate) ** level:.3g} %"


def hollow(values: np.ndarray, sd: float) -> float:
    """How empty the middle is: share within sd/4 of 0, over that of the untouched distribution."""
    from scipy.special import ndtr

    inside = float((np.abs(values) < sd / 4).mean())
    whole = float(ndtr(0.25) - ndtr(-0.25)) / float(ndtr(2) - ndtr(-2))
    return inside / whole


def _cut(counts: np.ndarray) -> float:
    """Percentage of units without a connection."""
    return 100 * float((counts == 0).mean())


def _values(t: Trainings) -> Experiment:
    searches, sd = t.inside, t.settings.init_sd
    levels = [n for n in _F9 if n <= searches[0].levels]

    def draw(results: Results) -> Mapping[str, "Figure"]:
        there = _pooled({_nominal(searches[0], n): survivors(results, searches, n) for n in levels})
        if not there:
            return {}
        caption = "Initial values of the weights that survive iterative pruning, over all runs"
        return {caption: figures.histograms(there, limit=2.2 * sd)}

    def bimodal(results: Results) -> Sequence[Side] | Absent:
        found = survivors(results, searches, 8) if 8 in levels else None
        if found is None:
            return NOT_RUN
        shares = {
            layer: dict(enumerate(hollow(values, sd) for values in trials))
            for layer, trials in found.items()
        }
        first, second, output = shares.values()
        most = {i: max(first[i], second[i]) for i in first}
        what = "density near 0, relative to before"
        return [
            *(
                Side(f"{what}, {layer}", intervals.mean(by), "", -math.inf, 0.5)
                for layer, by in zip(shares, (first, second), strict=False)
            ),
            Side("output layer above both", intervals.difference(output, most)),
        ]

    return Experiment(
        id="004-F9",
        shows="initial values of the weights that survive, per layer",
        works=searches,
        figures=draw,
        claims=(
            Claim(
                published="004-0071",
                ours=ordered(bimodal),
                rule=Ordered(
                    "at 16.8 %, within sd/4 of 0 both hidden layers keep less than half of the "
                    "density they had, and the output layer keeps more than either"
                ),
            ),
        ),
    )


def _degrees(t: Trainings) -> Experiment:
    searches = t.inside
    levels = [n for n in _F10 if n <= searches[0].levels]

    def draw(results: Results) -> Mapping[str, "Figure"]:
        made = {}
        for dead, words in ((False, "without"), (True, "with")):
            there = _pooled(
                {
                    _nominal(searches[0], n): degrees(results, searches, n, dead_edges=dead)
                    for n in levels
                }
            )
            if there:
                made[f"Connections of each unit, {words} edges that reach no output"] = (
                    figures.ranked(there)
                )
        return made

    def cut_off(results: Results) -> Sequence[Side] | Absent:
        found = degrees(results, searches, 13, dead_edges=False) if 13 in levels else None
        if found is None:
            return NOT_RUN
        first, second = (_mean(_cut, found[_TITLES[m]]) for m in ("dense_0", "dense_1"))
        what = "units without a connection"
        return [
            Side(f"{what}: first layer", first, "%", -math.inf, 10.0),
            Side(f"{what}: second layer", second, "%", 23.0, 43.0),
        ]

    def counts(results: Results) -> list[Table]:
        body = []
        for n in levels:
            for dead in (False, True):
                found = degrees(results, searches, n, dead_edges=dead)
                if found is None:
                    continue
                body.append(
                    [_nominal(searches[0], n), "kept" if dead else "removed"]
                    + [
                        f"{100 * float((d == 0).mean()):.1f} / {d.mean():.1f} / {d.max()}"
                        for d in map(np.concatenate, found.values())
                    ]
                )
        return [
            Table(
                title="In-degrees: cut off % / mean / largest",
                heads=["density", "dead edges", *_TITLES.values()],
                body=body,
                note="Dead edges lead to a unit without a path to an output (footnote 7).",
            )
        ]

    return Experiment(
        id="004-F10",
        shows="connections of each unit to the layer before",
        works=searches,
        figures=draw,
        claims=(
            Claim(
                published="004-0072",
                ours=ordered(cut_off),
                rule=Ordered(
                    "at 5.50 %, fewer than 10 % of the first layer's units are cut off, and 23 to "
                    "43 % of the second's"
                ),
            ),
        ),
        tables=counts,
    )
