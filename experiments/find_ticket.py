r"""Finds winning tickets by iterative magnitude pruning, several replicates at once.

    python -m experiments.find_ticket
    python -m experiments.find_ticket --preset=lenet-mnist --data_dir=DIR

Trains the dense network, prunes a share of its weights, rewinds the rest, trains again, and so
on for `--levels` rounds (Frankle & Carbin); every choice in this is a flag. Prints a table (a
star marks a winning ticket: mean accuracy at least the dense mean, best evaluation no later) and
writes settings, records, tickets, figures and report.html to a directory named by the settings.
A killed run goes on with the same command; a finished one answers at once. `--dry_run` prints
the plan. The default takes under a minute on two cores.
"""

from experiments import running, search
from experiments import settings as settings_
from experiments.settings import PRESETS, FindTicket
from ltjax.command import config


def main(settings: FindTicket) -> int:
    """Runs, and returns the exit code."""
    settings_.use_devices(settings.devices)
    if settings.dry_run:
        _ = search.print_plan(settings)
        return 0
    _ = search.run(settings)
    return running.answer(search.open_run(settings))


if __name__ == "__main__":
    _SETTINGS = config.define_flags(FindTicket, presets=PRESETS)
    config.run(lambda: main(_SETTINGS()))
