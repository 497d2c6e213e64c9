"""Data sets by name.

A row says how a data set of TFDS is read, or which function makes an embedded one; a name
without a row is read from TFDS if it is an image classification. A row may be added from outside:

    data.DATASETS["stripes"] = lambda name: data.make(name, train, test, class_names=names)
    data.DATASETS["rock_you"] = data.Tfds(image="picture", label="kind")
"""

from collections.abc import Callable
import os

from ltjax.data import cache, embedded, prepared, tfds_source
from ltjax.data.dataset import Dataset, Split, make
from ltjax.data.tfds_source import Tfds

_FORMAT = 2  # Of the cache files; another number makes all of them anew.

_ARRAYS = {
    **{f"{part}_images": "|u1" for part in ("train", "test")},
    **{f"{part}_labels": "<i4" for part in ("train", "test")},
    "class_names": "<U",
    "notes": "<U",
}
"""The arrays of a cache file and their dtypes, of text without its width."""

EmbeddedFn = Callable[[str], Dataset]
"""Makes the data set of a name, for instance by `make`."""

DATASETS: dict[str, Tfds | EmbeddedFn] = {
    "mnist": Tfds(),
    "fashion_mnist": Tfds(),
    "kmnist": Tfds(),
    "cifar10": Tfds(),
    "cifar100": Tfds(label="label"),  # Beside `coarse_label`.
    "svhn_cropped": Tfds(),
    "smallnorb": Tfds(image="image", label="label_category", shrink=3),  # The left image, 32x32.
    "digits": embedded.digits,
    "xor": embedded.xor,
}


def load(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Reads a data set, normalized by its own training split.

    Images of TFDS are decoded once and kept in `cache_dir`.

    Args:
      name: a name in `DATASETS`, or of another image classification in TFDS.
      data_dir: where TFDS data is prepared; None for the environment's `TFDS_DATA_DIR`, else
        `~/tensorflow_datasets`.
      cache_dir: None for the environment's `LTJAX_CACHE`, else `~/.cache/ltjax`.

    Raises:
      ValueError: for an unknown name, or data that is not there or cannot be read.
    """
    row = DATASETS.get(name, Tfds())
    if not isinstance(row, Tfds):
        made = row(name)
        if not isinstance(made, Dataset):
            kind = type(made).__name__
            raise ValueError(f"row {name!r} of data.DATASETS makes a {kind}; let it call data.make")
        return made
    path = prepared.find(name, data_dir, known=DATASETS)
    mark = prepared.fingerprint(path, row)
    file = f"{name.replace('/', '-')}-{path.name}-{mark}-v{_FORMAT}.npz"

    def use(arrays: cache.Arrays) -> Dataset:
        kinds = {n: x.dtype.str[: 2 if x.dtype.kind == "U" else None] for n, x in arrays.items()}
        if kinds != _ARRAYS:
            raise ValueError(f"it holds {kinds}, not {_ARRAYS}")
        return make(
            name,
            Split(arrays["train_images"], arrays["train_labels"]),
            Split(arrays["test_images"], arrays["test_labels"]),
            class_names=arrays["class_names"].tolist(),
            version=path.name,
            notes=tuple(arrays["notes"].tolist()),
        )

    return cache.fetch(
        prepared.directory(cache_dir, prepared.CACHE) / file,
        lambda: tfds_source.read(path, row, name=name),
        use,
    )
