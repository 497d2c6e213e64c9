"""Paper 000 as a row: its settings, presets and experiments."""

from experiments.paper_000 import curve_rows, more_rows, table_rows
from experiments.paper_000.settings import PRESETS, SHORTENS, ClassHalves
from experiments.paper_000.splits import facts
from experiments.paper_000.trainings import Trainings, make_lab
from experiments.reproduce.rows import Experiment, Paper


def experiments(settings: ClassHalves) -> tuple[Experiment, ...]:
    """All experiments: the tables, the figures, and what goes beyond the paper."""
    t = Trainings(settings)
    return (
        *table_rows.experiments(t),
        *curve_rows.experiments(t),
        *more_rows.experiments(t),
    )


PAPER = Paper(
    id="000",
    title="Van Soelen & Sheppard, Using Winning Lottery Tickets in Transfer Learning for CNNs",
    settings=ClassHalves,
    presets=PRESETS,
    version=2,
    experiments=experiments,
    lab=make_lab,
    shortens=SHORTENS,
    facts=facts,
)
