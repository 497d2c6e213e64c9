"""Data sets in memory: uint8 images with integer labels, split into training and test.

An *output* is a label as the network sees it, from 0 on; its *class* is the label that it had in
the data set as published. Everything here is NumPy on the host and leaves its input as it is.
"""

from collections.abc import Sequence
import dataclasses
import math
from typing import NamedTuple

import numpy as np

FIFTH = "no published split: a fixed fifth of each class is the test set"
"""The note on data sets that are split here."""


class Split(NamedTuple):
    """Images, uint8 [n, height, width, channels], and their outputs, int32 [n]."""

    images: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set and how its pixels are to be normalized.

    Attributes:
      name: the name it was loaded by.
      version: of the prepared data; empty for embedded and made-up data.
      train: examples to train on.
      test: examples to report on.
      classes: number of outputs.
      label_map: the class of each output.
      class_names: the name of each output.
      mean: of the pixels as `pixel / 255`, one number a channel.
      std: their standard deviation, likewise, never 0.
      notes: every change to the published data, in words.
    """

    name: str
    version: str = ""
    train: Split
    test: Split
    classes: int
    label_map: tuple[int, ...]
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    notes: tuple[str, ...] = ()

    @property
    def examples(self) -> int:
        """Training examples."""
        return len(self.train.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        _, height, width, channels = self.train.images.shape
        return height, width, channels


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

    Raises:
      ValueError: where the arrays are not as `Split` says, the two splits differ in shape, or
        a label is not the position of a class name.
    """
    for what, (images, labels) in (("training", train), ("test", test)):
        if images.dtype != np.uint8 or images.ndim != 4:
            raise ValueError(
                f"{what} images of {name!r} must be uint8 [n, height, width, channels]; "
                f"got {images.dtype}{list(images.shape)}"
            )
        if labels.shape != images.shape[:1] or labels.size == 0:
            raise ValueError(
                f"{name!r} needs one label for each {what} image, and at least one; "
                f"got {len(images)} images and labels of shape {list(labels.shape)}"
            )
        low, high = labels.min(), labels.max()
        if low < 0 or high >= len(class_names):
            raise ValueError(
                f"{what} labels of {name!r} must be in [0, {len(class_names)}); "
                f"they range from {low} to {high}"
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
        train=Split(train.images, train.labels.astype(np.int32)),
        test=Split(test.images, test.labels.astype(np.int32)),
        classes=len(class_names),
        label_map=tuple(range(len(class_names))),
        class_names=tuple(class_names),
        mean=mean,
        std=std,
        notes=notes,
    )


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


def stratified(labels: np.ndarray, fraction: float, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sorted rows of a first part that holds `round(fraction * count)` of each label, and the rest.

    Depends on the labels and the seed alone, not on the version of NumPy.
    """
    shuffled = permutation(labels.size, seed=seed)
    first = [
        rows[: round(fraction * rows.size)]
        for rows in (shuffled[labels[shuffled] == k] for k in np.unique(labels))
    ]
    part = np.sort(np.concatenate(first))
    return part, np.setdiff1d(np.arange(labels.size), part)


def permutation(n: int, *, seed: int) -> np.ndarray:
    """A random order of range(n); NumPy promises the raw stream of its bit generators forever."""
    return np.argsort(np.random.PCG64(seed).random_raw(n), kind="stable")


def rows_of(split: Split, rows: np.ndarray | slice) -> Split:
    """Those rows of a split."""
    return Split(split.images[rows], split.labels[rows])
