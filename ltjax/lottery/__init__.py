"""Finding tickets and moving them: the whole job over data, networks and populations.

`find` searches several replicates at once; `transfer` trains what it found on other data beside
the controls. Both yield level by level, and both hand every piece of work to a *keeper*, which
may remember it (on a disk, say) instead of computing it again; by default nothing is kept.
"""

from ltjax.lottery.common import Found, Keeper, check, dense_of, device_data, found, once
from ltjax.lottery.find import find
from ltjax.lottery.move import transfer

__all__ = [
    "Found",
    "Keeper",
    "check",
    "dense_of",
    "device_data",
    "find",
    "found",
    "once",
    "transfer",
]
