"""Compiled training of masked networks, one or many in one program, and the records it leaves."""

from ltjax.training.population import Trainer
from ltjax.training.recipe import Recipe

__all__ = ["Recipe", "Trainer"]
