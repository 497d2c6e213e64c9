"""Finding tickets and moving them: the whole job over data, networks and populations.

`find` searches several replicates at once; `one_shot` prunes one trained or untrained level down to
several densities; `transfer` trains tickets on other data, or again on their own, beside the
controls. They yield level by level, and hand every piece of work to a *keeper*, which may remember
it (on a disk, say) instead of computing it again; by default nothing is kept.
"""

from ltjax.core.keys import keys_for
from ltjax.lottery.find import RESETS, find
from ltjax.lottery.held_out import Share, shares, split_of
from ltjax.lottery.level import Compute, Keeper, Level, Piece, once
from ltjax.lottery.prune import one_shot
from ltjax.lottery.tickets import Ticket
from ltjax.lottery.transfer import transfer
from ltjax.training.evaluation import device_data
from ltjax.training.population import check

__all__ = [
    "RESETS",
    "Compute",
    "Keeper",
    "Level",
    "Piece",
    "Share",
    "Ticket",
    "check",
    "device_data",
    "find",
    "keys_for",
    "once",
    "one_shot",
    "shares",
    "split_of",
    "transfer",
]
