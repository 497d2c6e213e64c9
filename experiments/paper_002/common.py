"""What the rows of paper 002 share: names, the tolerance of iterations, figures and tables."""

from collections.abc import Callable, Mapping
import functools
import statistics

from experiments.paper_002 import rounds as r
from experiments.paper_002.trainings import CONV, FC, Trainings
from experiments.papers import published
from experiments.papers.published import Published
from experiments.reproduce import figures
from experiments.reproduce.rows import Table
from experiments.reproduce.rules import Near
from experiments.reproduce.trained import Results
from ltjax import models
from ltjax.core import pruning
from ltjax.report import wording

NAMES = {FC: "LeNet-300-100", CONV: "Conv2"}
_IMAGES = {FC: (28, 28, 1), CONV: (32, 32, 3)}

STEPS = Near(250.0, "iterations (half an evaluation, what a printed mean of two can tell)")
"""Within two evaluations 47 % of the other cells of Table 2 agree, within one 28 %."""


def entries(table: str) -> list[Published]:
    """Entries of one table."""
    return [e for e in published.entries("002") if e.table_or_figure == table]


def weights(t: Trainings, layers: str = "") -> int:
    """Prunable weights of a network, or of the layers whose names begin so."""
    padding = t.settings.padding if t.task == CONV else ""
    return sum(
        size
        for name, size in _sizes(t.model, _IMAGES[t.task], padding).items()
        if name.startswith(layers)
    )


@functools.cache
def _sizes(model: str, shape: tuple[int, int, int], padding: str) -> dict[str, int]:
    """Weights of each prunable layer."""
    network = models.make(model, input_shape=shape, classes=10, padding=padding)
    plan = pruning.plan(network.shapes().params, rate=0.2, levels=0)
    return {name: size for (name, *_), size in zip(plan.groups, plan.sizes, strict=True)}


def by_round(caption: str, named: Mapping[str, r.Series]) -> Callable[[Results], dict]:
    """Early-stopping iteration and accuracy against the prune round."""

    def draw(results: Results) -> dict:
        panels: dict[str, dict] = {"early-stopping iteration": {}, "test accuracy (%)": {}}
        for name, series in named.items():
            found = [each for each in r.rounds(results, series) if each.number]
            if not found:
                continue
            for label, value, scale in (
                ("early-stopping iteration", r.best_step, 1.0),
                ("test accuracy (%)", r.accuracy, 100.0),
            ):
                panels[label][name] = {
                    each.number: [scale * value(x) for x in each.records] for each in found
                }
        if not all(panels.values()):
            return {}
        return {caption: figures.against_round(panels)}

    return draw


def round_table(results: Results, named: Mapping[str, r.Series]) -> Table:
    """Every round of several series: kept weights, early-stopping iteration, accuracy."""
    body, judged = [], set()
    for name, series in named.items():
        for each in r.rounds(results, series):
            first = each.records[0]
            judged |= {x.judged_on for x in each.records}
            steps = [r.best_step(x) for x in each.records]
            scores = [100 * r.accuracy(x) for x in each.records]
            body.append(
                [
                    name,
                    str(each.number),
                    f"{first.kept:,}",
                    f"{100 * first.kept / first.prunable:.2f}",
                    f"{statistics.fmean(steps):,.0f} ({min(steps):,.0f} to {max(steps):,.0f})",
                    f"{statistics.fmean(scores):.2f} ({min(scores):.2f} to {max(scores):.2f})",
                    str(len(each.records)),
                ]
            )
    return Table(
        title="Every round",
        heads=["", "round", "kept", "%", "early-stopping iteration", "test accuracy %", "n"],
        body=body,
        note="Mean (minimum to maximum) over the seeds that did not fail, at the best evaluation. "
        f"{wording.judges(judged)}".strip(),
    )
