r"""Reproduces Frankle & Carbin's first version (paper 004), XOR and MNIST, figure by figure.

    python -m experiments.frankle_carbin --preset=quick --data_dir=DIR
    python -m experiments.frankle_carbin --experiments=004-F1,004-F2
    python -m experiments.frankle_carbin --list --data_dir=DIR

Without a preset the settings are the paper's own, in full. `quick` keeps levels, controls and the
metric, and shortens trainings and trials; any flag wins over the preset. What two figures need is
trained once, in one directory named by the settings: a killed run goes on with the same command,
and another figure trains only what is missing. Ends with report.html: each figure in the paper's
form, every published number beside ours, and a verdict for each.
"""

from experiments import settings as settings_
from experiments.paper_004.rows import PAPER
from experiments.paper_004.settings import PRESETS, FrankleCarbin
from experiments.paper_004.trainings import base_settings
from experiments.reproduce import driver
from experiments.reproduce.papers import PAPERS
from ltjax import config


def main(settings: FrankleCarbin) -> int:
    """Runs, and returns the exit code."""
    base = base_settings(settings)
    settings_.use_devices(base)
    rows = driver.choose(PAPER.experiments(settings), settings.experiments)
    driver.check_published(rows)
    lab = driver.make_lab(
        base, criterion=settings.criterion, stop_converged=settings.stop_converged, classes=10
    )
    if settings.list:
        print(driver.listing(rows, lab))
        return 0
    run = driver.train(PAPER, settings, rows, lab)
    print(driver.write_report([run.path], PAPERS, run.path))
    return driver.exit_code(run, rows)


if __name__ == "__main__":
    _SETTINGS = config.define_flags(FrankleCarbin, presets=PRESETS)
    config.run(lambda: main(_SETTINGS()))
