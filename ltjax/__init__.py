"""Lottery tickets in JAX: find sparse trainable subnetworks and move them to other data.

`find` searches, `transfer` moves what it found, `save`, `load` and `export` keep tickets. The
modules are the names of everything else: `masks.apply`, `pruning.plan`, `models.make`.
"""

from ltjax import data, models, report
from ltjax.core import masks, pruning
from ltjax.lottery import find, tickets, transfer
from ltjax.storage.tickets import export, load, save
from ltjax.training import Recipe, Trainer

__all__ = [
    "Recipe",
    "Trainer",
    "data",
    "export",
    "find",
    "load",
    "masks",
    "models",
    "pruning",
    "report",
    "save",
    "tickets",
    "transfer",
]
