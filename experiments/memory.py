"""How much memory a training needs, and whether it is there."""

import contextlib
import os
import pathlib

import jax

from ltjax.data import Dataset, Parts
from ltjax.models import Network
from ltjax.training import Recipe

_CGROUP = pathlib.Path("/sys/fs/cgroup/memory.max")


def of_training(net: Network, source: Dataset | Parts, how: Recipe, *, members: int) -> int:
    """Bytes of members, optimizer states and images, all of them side by side."""
    shapes = net.shapes()
    floats = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    state = jax.eval_shape(how.optimizer.init, shapes.params)
    state_size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    copies = 2 + (how.keep == "best")
    member = 4 * floats * copies + floats + state_size
    images = sum(split.images.nbytes for split in (source.train, source.test))
    return members * member + min(len(jax.devices()), members) * images


def available() -> int:
    """Bytes of all memory: of the accelerators, or of this machine or what it lends us."""
    stats = [device.memory_stats() or {} for device in jax.devices()]
    if all("bytes_limit" in each for each in stats):
        return sum(each["bytes_limit"] for each in stats)
    found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError):  # No such limit.
        found = min(found, int(_CGROUP.read_text()))
    return found


def check(needed: int, what: str) -> None:
    """Refuses what cannot fit.

    Args:
      needed: bytes.
      what: needs them, as `5 networks of mlp-16`.

    Raises:
      ValueError: with both numbers in GiB.
    """
    if needed > (there := available()):
        raise ValueError(
            f"{what} need about {needed / 2**30:,.1f} GiB of memory and there are "
            f"{there / 2**30:,.1f} GiB; take smaller networks or images, or fewer side by side"
        )
