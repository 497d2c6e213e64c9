"""Reproduces a paper of this directory: `python -m experiments.papers NAME [flags]`."""

import importlib
import sys

from experiments.papers.paper import table
from experiments.papers.reproduce import binary

if __name__ == "__main__":
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    try:
        paper = importlib.import_module(f"experiments.papers.{name}").PAPER
    except (AttributeError, ImportError, ValueError):
        known = ", ".join(f"{p.figures.__module__.rpartition('.')[2]}" for p in table().values())
        sys.exit(f"python -m experiments.papers NAME [flags], with one of {known}; got {name!r}")
    binary(paper)
