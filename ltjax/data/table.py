"""Data sets by name.

A row says how a data set of TFDS is read, or which function makes an embedded one; a name
without a row is read from TFDS if it is an image classification.
"""

from collections.abc import Callable, Mapping
import os

from ltjax.data import cache, embedded, prepared, tfds_source
from ltjax.data.dataset import Dataset, Split, make
from ltjax.data.tfds_source import Tfds

_FORMAT = 1  # Of the cache files; another number makes all of them anew.

EmbeddedFn = Callable[[str], Dataset]

DATASETS: Mapping[str, Tfds | EmbeddedFn] = {
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
        return row(name)
    path = prepared.find(name, data_dir, known=DATASETS)
    mark = prepared.fingerprint(path, row)
    file = f"{name.replace('/', '-')}-{path.name}-{mark}-v{_FORMAT}.npz"
    arrays = cache.fetch(
        cache.directory(cache_dir) / file, lambda: tfds_source.read(path, row, name=name)
    )
    return make(
        name,
        Split(arrays["train_images"], arrays["train_labels"]),
        Split(arrays["test_images"], arrays["test_labels"]),
        class_names=[str(n) for n in arrays["class_names"]],
        version=path.name,
        notes=tuple(str(n) for n in arrays["notes"]),
    )
