"""Paper 002 as a row: its settings, presets and experiments."""

from experiments.paper_002 import both_rows, lth_rows, mask_rows, snip_rows
from experiments.paper_002.settings import PRESETS, SHORTENS, MultipleTickets
from experiments.paper_002.trainings import CONV, FC, Trainings, make_lab
from experiments.reproduce.rows import Experiment, Paper


def experiments(settings: MultipleTickets) -> tuple[Experiment, ...]:
    """All experiments: tables, figures, and what section 6.2 says."""
    both = {task: Trainings(settings, task) for task in (FC, CONV)}
    rows = [lth_rows.counts(both), both_rows.experiment(both)]
    for task, figure, flips, snips, masks_ in (
        (FC, "F1", ("T2", "F3"), ("T4", "F5"), ("T6", "F7")),
        (CONV, "F2", ("T3", "F4"), ("T5", "F6"), ("T7", "F8")),
    ):
        t = both[task]
        rows += [
            lth_rows.curves(t, figure),
            lth_rows.flips_table(t, flips[0]),
            lth_rows.flips_figure(t, flips[1]),
            snip_rows.snip_table(t, snips[0]),
            snip_rows.snip_figure(t, snips[1]),
            mask_rows.overlap(t, masks_[0]),
            mask_rows.iterative(t, masks_[1]),
        ]
    return tuple(sorted(rows, key=lambda row: ("TFS".index(row.id[4]), int(row.id[5:]))))


PAPER = Paper(
    id="002",
    title="G070, On Multiple Winning Tickets and LTH vs SNIP",
    settings=MultipleTickets,
    presets=PRESETS,
    version=4,
    experiments=experiments,
    lab=make_lab,
    shortens=SHORTENS,
)
