"""Lottery tickets in JAX: find sparse trainable subnetworks and move them to other data.

`find` searches, `transfer` moves what it found, `save`, `load` and `export` keep tickets. The
modules are the names of everything else: `masks.apply`, `pruning.plan`, `models.make`.
"""

from ltjax import data, masks, models, pruning, report, tickets, train
from ltjax.lottery import find, transfer
from ltjax.storage import export, load, save

__all__ = [
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
    "train",
    "transfer",
]
