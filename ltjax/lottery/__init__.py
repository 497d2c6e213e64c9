"""Finding tickets and moving them: the whole job over data, networks and populations.

`find` searches several replicates at once; `cut` takes one-shot tickets from one trained network,
`at_start` prunes before training; `transfer` trains tickets on other data, or again on their own,
beside the controls. They yield level by level, and `find` and `transfer` hand every piece of work
to a *keeper*, which may remember it (on a disk, say) instead of computing it again; by default
nothing is kept.
"""

from ltjax.lottery.common import (
    Compute,
    Found,
    Keeper,
    Share,
    check,
    dense_of,
    device_data,
    found,
    keys_for,
    once,
    shares,
)
from ltjax.lottery.cut import cut
from ltjax.lottery.find import find
from ltjax.lottery.start import at_start
from ltjax.lottery.transfer import transfer

__all__ = [
    "Compute",
    "Found",
    "Keeper",
    "Share",
    "at_start",
    "check",
    "cut",
    "dense_of",
    "device_data",
    "find",
    "found",
    "keys_for",
    "once",
    "shares",
    "transfer",
]
