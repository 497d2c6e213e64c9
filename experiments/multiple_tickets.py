r"""Reproduces paper 002: tickets, flipped tickets and SNIP, on LeNet-300-100 and Conv2.

    python -m experiments.multiple_tickets --data_dir=DIR
    python -m experiments.multiple_tickets --experiments=002-T2,002-T4,002-T6 --data_dir=DIR
    python -m experiments.multiple_tickets --list --data_dir=DIR

Without a preset the settings are the paper's own, in full; `quick` shortens trainings. What two
tables need is trained once, in one directory named by the settings: a killed run goes on with the
same command, and another table trains only what is missing. Ends with report.html: every
published number beside ours, and a verdict for each.
"""

from experiments.papers.multiple_tickets import PAPER
from experiments.papers.reproduce import binary

if __name__ == "__main__":
    binary(PAPER)
