"""Prepared directories: `<data_dir>/<name>[/<config>]/<version>`, with the records of a data set.

They are found by their files, without TFDS, which is asked only about names that are not there.
"""

from collections.abc import Iterable
import difflib
import hashlib
import os
import pathlib
import re
import shlex

from ltjax.command import paths
from ltjax.core import trees
from ltjax.data import tfds_source
from ltjax.data.tfds_source import Tfds

DATA = ("data_dir", "TFDS_DATA_DIR", "~/tensorflow_datasets")
CACHE = ("cache_dir", "LTJAX_CACHE", "~/.cache/ltjax")
"""Directories: the name of the setting, the environment's variable, and where it is by default."""


def directory(given: str | os.PathLike[str] | None, names: tuple[str, str, str]) -> pathlib.Path:
    """The directory given, else that of the environment, else the default (`DATA` or `CACHE`).

    Raises:
      ValueError: where it is not local.
    """
    setting, variable, default = names
    path = given or os.environ.get(variable) or default
    return paths.local(path, setting if given else variable)


def find(
    name: str, data_dir: str | os.PathLike[str] | None, *, known: Iterable[str]
) -> pathlib.Path:
    """The prepared directory of `name`, of its newest version.

    Args:
      name: a TFDS name, with its configuration where it has several (`emnist/balanced`).
      data_dir: None for the environment's `TFDS_DATA_DIR`, else `~/tensorflow_datasets`.
      known: names that need no look-up in TFDS.

    Raises:
      ValueError: for an unknown name, one that is no image classification, a missing
        directory, and a data set that is not prepared there.
    """
    root = directory(data_dir, DATA)
    if re.fullmatch(r"\w+(/[\w.-]+)?", name) is None:
        raise ValueError(trees.unknown(name, known, "data set"))
    if found := [path for path in (root / name).glob("*") if _is_prepared(path)]:
        return max(found, key=lambda path: [int(part) for part in path.name.split(".")])
    if configs := {p.parent.name for p in (root / name).glob("*/*") if _is_prepared(p)}:
        choices = " or ".join(f"{name}/{config}" for config in sorted(configs))
        raise ValueError(f"data set {name!r} has several configurations; name one: {choices}")
    if name not in known:
        check_registered(name, known)
    prepare = (
        "pip install 'ltjax[prepare]' && "
        f"python -m ltjax.data.prepare --dataset={name} --data_dir={shlex.quote(str(root))}"
    )
    if not root.is_dir():
        raise ValueError(
            f"data directory {str(root)!r} does not exist; give data_dir or set TFDS_DATA_DIR, "
            f"or prepare the data: {prepare}"
        )
    raise ValueError(f"data set {name!r} is not prepared in {str(root)!r}; run: {prepare}")


def fingerprint(path: pathlib.Path, row: Tfds) -> str:
    """Names what is read there: a hash of the row and of the files.

    Metadata count whole; of records, which can be large, the size and the first mebibyte.
    """
    digest = hashlib.sha256(repr(row).encode())
    for file in sorted(p for p in path.iterdir() if p.is_file()):
        digest.update(f"\0{file.name}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as opened:
            digest.update(opened.read(2**20))
    return digest.hexdigest()[:16]


def _is_prepared(path: pathlib.Path) -> bool:
    is_version = re.fullmatch(r"\d+\.\d+\.\d+", path.name) is not None
    return is_version and all((path / f).is_file() for f in ("dataset_info.json", "features.json"))


def check_registered(name: str, known: Iterable[str]) -> None:
    """Refuses a name that TFDS lacks, or does not have as an image classification.

    Args:
      name: a TFDS name, with its configuration where it has several.
      known: further names for the message to propose.

    Raises:
      ValueError: saying which of the two it is.
    """
    tfds = tfds_source.import_tfds()
    registered = tfds.list_builders(with_community_datasets=False)
    base = name.split("/")[0]
    if base not in registered:
        near = difflib.get_close_matches(base, registered, n=3, cutoff=0.7)
        raise ValueError(trees.unknown(name, {*known, *near}, "data set"))
    try:
        with tfds_source.quiet():
            builder = tfds.builder(name)
    except Exception as error:  # Its builders raise what they like.
        raise ValueError(f"data set {name!r}: TFDS says: {tfds_source.one_line(error)}") from error
    tfds_source.keys(name, tfds, builder.info, Tfds())
