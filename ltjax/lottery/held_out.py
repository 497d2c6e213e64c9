"""What each replicate sees of the data: held-out examples, drawn by what an example is.

Each replicate gives each example a number, made of a key and of the pixels, and holds out those
with the smallest. So the same data leave out the same examples under the same key, in any order
and beside others, and a ticket that carries its key is judged on what it never learnt from.
An example is its pixels: an image that was resized is another example.

A *split* is what a ticket carries, uint32 [replicates, 1 + known, 2]: the 64 bits of the key, then
the smallest numbers that it was trained on. They tell whether other data hold some of its examples.
"""

import hashlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.core.types import Key
from ltjax.data import Dataset, Parts

KNOWN = 256
"""Numbers of trained examples that a split holds."""


class Share(NamedTuple):
    """What each replicate sees of the data: fields of `Member` with an axis of replicates."""

    train_rows: jax.Array
    validation_rows: jax.Array
    test_rows: jax.Array | None
    outputs: jax.Array | None


def shares(
    dataset: Dataset | Parts, split: np.ndarray, *, validation: int
) -> tuple[Share, np.ndarray]:
    """What each replicate sees: all of a data set, or its own part.

    Args:
      dataset: the data.
      split: of all replicates, from `split_of` or a `Level`.
      validation: how many training examples are held out.

    Returns:
      The share, and the split that knows what was trained on here.

    Raises:
      ValueError: where there are not as many parts as replicates, or examples that the split was
        trained on would judge.
    """
    check_parts(dataset, len(split))
    drawn = draw(dataset, split, size=validation)
    rows = jnp.asarray(drawn.train_rows), jnp.asarray(drawn.validation_rows)
    if isinstance(dataset, Dataset):
        return Share(*rows, None, None), drawn.split
    own = Share(*rows, jnp.asarray(dataset.test_rows), jnp.asarray(dataset.outputs))
    return own, drawn.split


def check_parts(dataset: Dataset | Parts, replicates: int) -> None:
    """Refuses another number of parts than of replicates.

    Raises:
      ValueError: as said.
    """
    if isinstance(dataset, Parts) and len(dataset) != replicates:
        raise ValueError(
            f"there are {len(dataset)} parts of {dataset.name} and {replicates} replicates; "
            "give each replicate one part"
        )


class Drawn(NamedTuple):
    """Rows of the training split for each replicate, int32, and the split that they make."""

    train_rows: np.ndarray
    validation_rows: np.ndarray
    split: np.ndarray


def split_of(keys: Key) -> np.ndarray:
    """The split of replicates that have trained on nothing, from a key each."""
    return np.asarray(jax.random.key_data(keys))[:, None]


def draw(dataset: Dataset | Parts, split: np.ndarray, *, size: int) -> Drawn:
    """Holds out `size` training examples for each replicate, none that its split was trained on.

    Raises:
      ValueError: where the data hold examples that the split was trained on, and so many are to be
        held out that some of them would judge.
    """
    prints = fingerprints(dataset.train.images)
    every = np.arange(len(prints), dtype=np.int32)
    drawn = []
    for i, pairs in enumerate(split):
        rows = dataset.train_rows[i] if isinstance(dataset, Parts) else every
        key, *trained = (int(high) << 32 | int(low) for high, low in pairs)
        numbers = _mix(prints[rows] ^ np.uint64(key))
        met = np.isin(numbers, np.array(trained, np.uint64))
        new = ~met
        if met.any() and len(trained) == KNOWN:  # What lies beyond them may have been met too.
            new &= numbers < max(trained)
        order = np.lexsort((numbers, met))
        judging = order[:size]
        if not new[judging].all():
            raise ValueError(
                f"replicate {i} was trained on examples of {dataset.name} that would judge it; "
                f"{new.sum()} are new to it: hold out no more than that, or more in its search"
            )
        learnt = np.sort(numbers[order[size:]])[:KNOWN]
        known = np.stack([learnt >> np.uint64(32), learnt], axis=1).astype(np.uint32)
        drawn.append(
            Drawn(
                np.sort(rows[order[size:]]),
                np.sort(rows[judging]),
                np.concatenate([pairs[:1], known]),
            )
        )
    return Drawn(*(np.stack(part) for part in zip(*drawn, strict=True)))


def fingerprints(images: np.ndarray) -> np.ndarray:
    """64 bits of each image, uint64 [n]; the copies of one image are numbered and so differ."""
    hashes = (hashlib.blake2b(image.tobytes(), digest_size=8).digest() for image in images)
    raw = np.array([int.from_bytes(digest, "big") for digest in hashes], np.uint64)
    order = np.argsort(raw, kind="stable")
    first = np.searchsorted(raw[order], raw[order])
    copy = np.empty_like(order)
    copy[order] = np.arange(len(raw)) - first
    return _mix(raw + copy.astype(np.uint64))


def to_text(split: np.ndarray) -> str:
    """The split of one replicate, [1 + known, 2], as text for the metadata of a ticket."""
    return split.astype(">u4").tobytes().hex()


def from_text(text: object) -> np.ndarray:
    """Undoes `to_text`.

    Raises:
      ValueError: where it is no such text.
    """
    try:
        raw = np.frombuffer(bytes.fromhex(str(text)), ">u4").reshape(-1, 2)
    except ValueError:
        raw = np.empty((0, 2))
    if not len(raw):
        raise ValueError("the ticket's metadata 'split' is no split; delete it, or save it again")
    return raw.astype(np.uint32)


def _mix(x: np.ndarray) -> np.ndarray:
    """A bijection of 64 bits that spreads every bit (the finisher of SplitMix64)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
