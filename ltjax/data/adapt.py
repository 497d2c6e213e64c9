"""Making data sets fit together: one image shape for two of them, and how pixels are scaled."""

from collections.abc import Mapping
import dataclasses

import numpy as np

from ltjax.core import trees
from ltjax.data.dataset import Dataset, Split, statistics

NORMALIZATIONS: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]] | None] = {
    "own": None,  # The statistics of its training split as it now is.
    "unit": ((0.0,), (1.0,)),
    "mnist": ((0.1307,), (0.3081,)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""Means and standard deviations of `pixel / 255` by name: one for all channels, or one each."""


def normalize(ds: Dataset, how: str) -> Dataset:
    """Sets `mean` and `std`; the pixels stay as they are and are scaled in the compiled step.

    Goes last, after subsets and `adapt`, so that `own` means what is trained on.

    Args:
      ds: the data set.
      how: a name in `NORMALIZATIONS`.

    Raises:
      ValueError: for an unknown name, or one for another number of channels.
    """
    published = trees.lookup(NORMALIZATIONS, how, "normalization")
    if published is None:
        mean, std = statistics(ds.train.images)
    else:
        mean, std = published
        channels = ds.shape[-1]
        if len(mean) not in (1, channels):
            raise ValueError(
                f"normalization {how!r} is for {len(mean)} channels, {ds.name!r} has {channels}; "
                "take own or unit"
            )
        if len(mean) == 1:
            mean, std = mean * channels, std * channels
    return dataclasses.replace(ds, mean=mean, std=std)


def adapt(ds: Dataset, shape: tuple[int, int, int]) -> Dataset:
    """Gives the images another shape; `mean` and `std` are computed anew.

    Smaller images get a border of zeros on all sides (of an odd difference, one more below and
    on the right); of larger ones the centre is kept. One channel is repeated to three; three are
    averaged to one.

    Args:
      ds: the data set.
      shape: height, width and channels.

    Raises:
      ValueError: where `shape` has a size below 1, or other channels than one and three.
    """
    if shape == ds.shape:
        return ds
    channels = (ds.shape[-1], shape[-1])
    if min(shape) < 1 or (channels[0] != channels[1] and set(channels) != {1, 3}):
        raise ValueError(
            f"images of {ds.name!r} are {_text(ds.shape)} and cannot become {_text(shape)}; "
            "sizes are at least 1, and channels go from 1 to 3 or back"
        )
    notes = list(ds.notes)
    before, after = ds.shape[:2], shape[:2]
    kept = tuple(map(min, before, after))
    if kept != before:
        notes.append(f"cropped to the centre from {_text(before)} to {_text(kept)}")
    if kept != after:
        notes.append(f"padded with zeros on all sides from {_text(kept)} to {_text(after)}")
    if channels == (1, 3):
        notes.append("grey repeated to 3 channels")
    elif channels == (3, 1):
        notes.append("3 channels averaged to grey")

    train, test = (Split(_fit(s.images, shape), s.labels) for s in (ds.train, ds.test))
    mean, std = statistics(train.images)
    return dataclasses.replace(ds, train=train, test=test, mean=mean, std=std, notes=tuple(notes))


def _fit(images: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    for axis, size in ((1, shape[0]), (2, shape[1])):
        missing = size - images.shape[axis]
        if missing < 0:
            start = -missing // 2
            images = images.take(range(start, start + size), axis=axis)
        elif missing:
            widths = [(0, 0)] * 4
            widths[axis] = (missing // 2, missing - missing // 2)
            images = np.pad(images, widths)
    if images.shape[-1] < shape[-1]:
        images = np.repeat(images, shape[-1], axis=-1)
    elif images.shape[-1] > shape[-1]:
        total = images.sum(axis=-1, keepdims=True, dtype=np.uint16)
        images = ((2 * total + 3) // 6).astype(np.uint8)  # The mean of three, to the nearest.
    return images


def _text(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))
