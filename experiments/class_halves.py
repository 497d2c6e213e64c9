r"""Reproduces paper 000: tickets of five classes of CIFAR-10 trained on the other five.

    python -m experiments.class_halves --preset=quick --data_dir=DIR
    python -m experiments.class_halves --experiments=000-II,000-III --data_dir=DIR
    python -m experiments.class_halves --list --data_dir=DIR

Without a preset the settings are the paper's own where it states them (it states no length). Each
split of the classes is a replicate: all splits and densities of an arm are one population, and
populations of one size share one compiled program. `quick` shortens trainings, uses the same ten
splits for both tables, and two of them for what goes beyond the paper; any flag wins over the
preset. A killed run goes on with the same command. Ends with report.html: every published number
beside ours, with the paired tests.
"""

from experiments.papers.class_halves import PAPER
from experiments.papers.reproduce import binary

if __name__ == "__main__":
    binary(PAPER)
