"""Data sets in memory: uint8 images with integer labels, split into training and test.

An *output* is a label as the network sees it, from 0 on; its *class* is the label that it had in
the data set as published. Everything here is NumPy on the host and leaves its input as it is.
"""

from collections.abc import Sequence
import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np


class Split(NamedTuple):
    """Images, uint8 [n, height, width, channels], and their outputs, int32 [n]."""

    images: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Examples:
    """Images with labels, and how their pixels are to be normalized.

    Attributes:
      name: the name it was loaded by.
      version: of the prepared data; empty for embedded and made-up data.
      train: examples to train on.
      test: examples to report on.
      mean: of the pixels as `pixel / 255`, one number a channel.
      std: their standard deviation, likewise, never 0.
      notes: every change to the published data, in words.
    """

    name: str
    version: str = ""
    train: Split
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        _, height, width, channels = self.train.images.shape
        return height, width, channels


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset(Examples):
    """A data set that every replicate sees whole.

    Attributes:
      label_map: the class of each output.
      class_names: the name of each output.
    """

    label_map: tuple[int, ...]
    class_names: tuple[str, ...]

    @property
    def classes(self) -> int:
        """Number of outputs."""
        return len(self.label_map)

    @property
    def examples(self) -> int:
        """Training examples."""
        return len(self.train.labels)


def make(
    name: str,
    train: Split,
    test: Split,
    *,
    class_names: Sequence[str],
    version: str = "",
    notes: tuple[str, ...] = (),
) -> Dataset:
    """A data set with all its classes, normalized by its own training split.

    Args:
      name: for messages and reports.
      train: images and their labels, whole numbers of any width.
      test: likewise.
      class_names: the name of each label.
      version: of the prepared data.
      notes: every change to the published data.

    Raises:
      ValueError: where the arrays are not as `Split` says, the two splits differ in shape, or
        a label is not the position of a class name.
    """
    train, test = (
        _split(split, part, name, classes=len(class_names))
        for part, split in (("training", train), ("test", test))
    )
    if train.images.shape[1:] != test.images.shape[1:]:
        raise ValueError(
            f"images of {name!r} must have one shape; training images are "
            f"{list(train.images.shape[1:])}, test images {list(test.images.shape[1:])}"
        )
    mean, std = statistics(train.images)
    return Dataset(
        name=name,
        version=version,
        train=train,
        test=test,
        label_map=tuple(range(len(class_names))),
        class_names=tuple(class_names),
        mean=mean,
        std=std,
        notes=notes,
    )


_TO_UINT8 = {
    "f": "scale them to 0..255, as np.rint(255 * images).astype(np.uint8) where they lie in 0..1",
    "u": "scale them to 0..255, as np.rint(images / 257).astype(np.uint8) for full 16 bits",
    "i": "give images.astype(np.uint8) where they lie in 0..255, else scale them",
    "b": "give 255 * images.astype(np.uint8)",
}
_TO_WHOLE = {
    "f": "they are not cast, since that cuts them off; give labels.astype(int) of whole ones",
    "b": "give labels.astype(int)",
    "U": "class_names, labels = np.unique(texts, return_inverse=True) makes them",
}


def _split(given: Any, part: str, name: str, *, classes: int) -> Split:
    """Checks images and labels, and makes them arrays of the dtypes of a `Split`."""
    if not isinstance(given, tuple) or len(given) != 2:
        kind = type(given).__name__
        raise ValueError(f"the {part} split of {name!r} is (images, labels); got {kind}")
    what = f"{part} images of {name!r}"
    images = _array(given[0], what)
    shape = f"{images.dtype}{list(images.shape)}"
    if images.dtype != np.uint8:
        way_out = _TO_UINT8.get(images.dtype.kind, "give numbers from 0 to 255")
        raise ValueError(f"{what} must be uint8; got {shape}: {way_out}")
    if images.ndim != 4 or 0 in images.shape[1:]:
        way_out = ": add the axis of channels, as images[..., None]" if images.ndim == 3 else ""
        raise ValueError(f"{what} must be uint8 [n, height, width, channels]; got {shape}{way_out}")
    what = f"{part} labels of {name!r}"
    labels = _array(given[1], what)
    if labels.ndim == 2 and labels.size:
        way_out = "labels[:, 0]" if labels.shape[1] == 1 else "labels.argmax(axis=1) if one-hot"
        raise ValueError(f"{what} must be [n]; got {list(labels.shape)}: give {way_out}")
    if labels.shape != images.shape[:1] or labels.size == 0:
        raise ValueError(
            f"{what} must be one label for each image, and at least one; "
            f"got {len(images)} images and labels of shape {list(labels.shape)}"
        )
    if labels.dtype.kind not in "iu":
        way_out = _TO_WHOLE.get(labels.dtype.kind, "give an array of integers")
        raise ValueError(f"{what} must be whole numbers; got {labels.dtype}: {way_out}")
    low, high, last = labels.min(), labels.max(), np.iinfo(labels.dtype).max
    if low < 0 or high >= classes:
        raise ValueError(f"{what} must be in [0, {classes}); they range from {low} to {high}")
    if last < classes - 1:
        raise ValueError(
            f"{what} are {labels.dtype}, which ends at {last}, so that some of {classes} classes "
            "have no label or the label of another one; give them as int32"
        )
    return Split(images, labels.astype(np.int32))


def _array(given: Any, what: str) -> np.ndarray:
    if np.ma.is_masked(given):
        raise ValueError(f"{what} are masked in part; drop those examples, or give .data")
    try:
        return np.asarray(given)
    except (ValueError, TypeError) as error:  # Lists of several lengths.
        raise ValueError(f"{what} must be an array; got {type(given).__name__}") from error


def statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of `pixel / 255` for each channel, from exact counts.

    A channel that never changes has the standard deviation 1, so that it can be divided by.
    """
    channels = images.shape[-1]
    counts = np.zeros((channels, 256), np.int64)
    for block in np.array_split(images, math.ceil(len(images) / 1000)):
        for channel in range(channels):
            counts[channel] += np.bincount(block[..., channel].ravel(), minlength=256)
    pixels = images[..., 0].size
    levels = np.arange(256)
    means = counts @ levels / pixels
    variances = (counts * (levels - means[:, None]) ** 2).sum(axis=1) / pixels
    stds = [math.sqrt(v) / 255 if v > 0 else 1.0 for v in variances]
    return tuple(float(m) / 255 for m in means), tuple(stds)


def shuffled_by_class(labels: np.ndarray, *, seed: int) -> dict[int, np.ndarray]:
    """Rows of each label that occurs, in an order that depends on labels and seed alone."""
    order = permutation(labels.size, seed=seed)
    return {int(k): order[labels[order] == k] for k in np.unique(labels)}


def cut_test(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """Cuts a test set off data without one: a fixed fifth of each class, to the nearest example.

    Returns:
      Sorted rows to train on and rows to test on, and a note that says what was done.

    Raises:
      ValueError: where no class has the three examples that a fifth needs.
    """
    rows = shuffled_by_class(labels, seed=0)
    classes, counts = np.array(list(rows)), np.array([of_one.size for of_one in rows.values()])
    cut = np.rint(0.2 * counts).astype(int)
    taken = [of_one[:n] for of_one, n in zip(rows.values(), cut, strict=True)]
    test = np.sort(np.concatenate(taken))
    train = np.setdiff1d(np.arange(labels.size), test)
    if not test.size:
        raise ValueError(
            f"there is no published split, and with at most {counts.max()} examples of a class "
            "no test set can be cut; give both splits with data.make"
        )
    shares = (cut / counts)[cut > 0]
    of_a_class = " to ".join(dict.fromkeys(f"{x:.0%}" for x in (shares.min(), shares.max())))
    note = (
        "no published split: a fixed fifth of each class is the test set, to the nearest example: "
        f"{test.size} of {labels.size}, {of_a_class} of a class"
    )
    if (without := classes[cut == 0]).size:
        some = ", ".join(map(str, without[:10])) + ", ..." * (without.size > 10)
        note += f"; classes without a test example: {without.size} ({some})"
    return train, test, note


def permutation(n: int, *, seed: int) -> np.ndarray:
    """A random order of range(n); NumPy promises the raw stream of its bit generators forever."""
    return np.argsort(np.random.PCG64(seed).random_raw(n), kind="stable")


def rows_of(split: Split, rows: np.ndarray) -> Split:
    """Those rows of a split."""
    return Split(split.images[rows], split.labels[rows])
