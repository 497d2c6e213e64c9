"""Data that needs no download: scikit-learn's digits and XOR."""

import numpy as np

from ltjax.data.dataset import Dataset, Split, cut_test, make, rows_of


def digits(name: str) -> Dataset:
    """1,797 handwritten digits, 8x8, grey (scikit-learn's copy of the UCI test set)."""
    import sklearn.datasets  # Half a second, and only needed here.

    images, labels = sklearn.datasets.load_digits(return_X_y=True)
    pixels = np.rint(images * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    everything = Split(pixels, labels.astype(np.int32))
    train, test, note = cut_test(labels)
    return make(
        name,
        rows_of(everything, train),
        rows_of(everything, test),
        class_names=[str(k) for k in range(10)],
        notes=("pixels scaled from 0..16 to 0..255", note),
    )


def xor(name: str) -> Dataset:
    """The four points of exclusive or: two pixels, 0 or 255, that differ or not."""
    points = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.uint8)
    split = Split((points * 255).reshape(4, 1, 2, 1), points.sum(axis=1, dtype=np.int32) % 2)
    return make(
        name,
        split,
        split,
        class_names=["same", "different"],
        notes=("the test set is the training set",),
    )
