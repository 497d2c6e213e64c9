"""Paper 004 as a row: its settings, presets and experiments."""

from experiments.paper_004 import (
    inside_rows,
    iterative_rows,
    one_shot_rows,
    parameter_rows,
    xor_rows,
)
from experiments.paper_004.settings import PRESETS, SHORTENS, FrankleCarbin
from experiments.paper_004.trainings import make_lab
from experiments.reproduce.rows import Experiment, Paper


def experiments(settings: FrankleCarbin) -> tuple[Experiment, ...]:
    """All experiments, in the order of the paper."""
    rows = (
        *xor_rows.experiments(settings),
        *one_shot_rows.experiments(settings),
        *iterative_rows.experiments(settings),
        *parameter_rows.experiments(settings),
        *inside_rows.experiments(settings),
    )
    return tuple(sorted(rows, key=lambda row: int(row.id.removeprefix("004-F"))))


PAPER = Paper(
    id="004",
    title="Frankle & Carbin, The Lottery Ticket Hypothesis (first version)",
    settings=FrankleCarbin,
    presets=PRESETS,
    version=3,
    experiments=experiments,
    lab=make_lab,
    shortens=SHORTENS,
)
