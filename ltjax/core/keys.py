"""Keys: everything random has a name, and its key is made of that name alone.

Integers folded into a key share one namespace (`split(k, n)[i]` is `fold_in(k, i)`), so keys made
of small numbers collide sooner or later. `derive` is the only function of the package that makes
a key out of another.
"""

import functools
import hashlib

import jax
import jax.numpy as jnp

from ltjax.core.types import Key


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

    Returns:
      A key of threefry, whatever `key` is: what keys of `rbg` draw under `vmap` depends on their
      neighbours, so that replicate 0 would change with the number of replicates.
    """
    words = jax.random.key_data(key)
    key = jax.random.wrap_key_data(words[:2], impl="threefry2x32")
    more = [words[i] for i in range(2, len(words))]
    for number in (*more, *_words(f"{purpose}/{len(coordinates)}"), *coordinates):
        key = jax.random.fold_in(key, number)
    return key


@functools.cache
def _words(name: str) -> tuple[int, int]:
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:8], "big")


def keys_for(key: Key, purpose: str, replicates: int, *coordinates: int) -> Key:
    """One key a replicate for one purpose; more replicates leave the first ones as they are."""
    return jax.vmap(lambda i: derive(key, purpose, i, *coordinates))(jnp.arange(replicates))
