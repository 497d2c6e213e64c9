"""Keys: everything random has a name, and its key is made of that name alone.

Integers folded into a key share one namespace (`split(k, n)[i]` is `fold_in(k, i)`), so keys made
of small numbers collide sooner or later. `derive` is the only function of the package that makes
a key out of another.
"""

import functools
import hashlib

import jax

from ltjax.types import Key


def derive(key: Key, purpose: str, *coordinates: jax.Array | int) -> Key:
    """The key of one purpose at some coordinates.

    The name is folded in as 64 bits of its SHA-256 (with the number of coordinates), then each
    coordinate. Keys of different names, or of one name at different coordinates, are different;
    so are keys derived of derived keys.

    Args:
      key: a typed key of any implementation, a scalar.
      purpose: what it is for, for instance `order`.
      coordinates: what tells it from others of its purpose, for instance the replicate; uint32 or
        int32 scalars, which may be traced.

    Raises:
      ValueError: for keys of `unsafe_rbg`, whose `fold_in` commutes: coordinates (1, 2) and (2, 1)
        would share a key.
    """
    if "urbg" in str(key.dtype):
        raise ValueError("keys of unsafe_rbg collide when folded; make them with impl='rbg'")
    for number in (*_words(f"{purpose}/{len(coordinates)}"), *coordinates):
        key = jax.random.fold_in(key, number)
    return key


@functools.cache
def _words(name: str) -> tuple[int, int]:
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:8], "big")
