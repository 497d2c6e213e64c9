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

from experiments.papers.frankle_carbin import PAPER
from experiments.papers.reproduce import binary

if __name__ == "__main__":
    binary(PAPER)
