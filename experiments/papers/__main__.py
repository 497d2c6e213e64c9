"""Reproduces a paper of this directory: `python -m experiments.papers NAME [flags]`."""

import importlib
import pkgutil
import sys

from experiments import papers
from experiments.papers.paper import Paper, table
from experiments.papers.reproduce import binary

if __name__ == "__main__":
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    modules = {module.name for module in pkgutil.iter_modules(papers.__path__)} - {"__main__"}
    found = None
    if name in modules:  # What is wrong in the module itself shows as it is.
        found = getattr(importlib.import_module(f"experiments.papers.{name}"), "PAPER", None)
    if not isinstance(found, Paper):
        known = ", ".join(paper.figures.__module__.rpartition(".")[2] for paper in table().values())
        sys.exit(f"python -m experiments.papers NAME [flags], with one of {known}; got {name!r}")
    binary(found)
