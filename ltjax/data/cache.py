"""Decoded arrays on disk, so that images are decoded once.

A cache file is there whole or not at all, also after a kill and with several processes writing
it; one that is damaged all the same is noticed and built again.
"""

from collections.abc import Callable
import pathlib
from typing import BinaryIO, TypeVar
import zipfile

from absl import logging
import numpy as np

from ltjax.command import paths

Arrays = dict[str, np.ndarray]
T = TypeVar("T")


def fetch(path: pathlib.Path, decode: Callable[[], Arrays], use: Callable[[Arrays], T]) -> T:
    """What `use` makes of the arrays in the file `path`.

    Where the file is absent, damaged, or such that `use` raises, `decode()` makes the arrays anew
    and they are written. A file that cannot be written costs a warning, and the decoding again at
    the next start.
    """
    try:
        return use(_read(path))
    except FileNotFoundError:
        pass
    except Exception as error:  # Damage can show as almost anything.
        logging.warning("the cache file %s is of no use and is built again: %s", path, error)
    arrays = decode()
    made = use(arrays)
    try:
        _write(path, arrays)
    except OSError as error:
        logging.warning("decoded images are not kept for the next start: %s", error)
    return made


def _read(path: pathlib.Path) -> Arrays:
    arrays: Arrays = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            with archive.open(member) as file:
                array = np.lib.format.read_array(file, allow_pickle=False)
                if file.read(1):  # Only at the end of the member is its checksum compared.
                    raise zipfile.BadZipFile(f"{member} is longer than its header says")
            arrays[member.removesuffix(".npy")] = array
    return arrays


def _write(path: pathlib.Path, arrays: Arrays) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)

    def write(file: BinaryIO) -> None:
        # NumPy before 2.2 would take allow_pickle=False for an array of that name.
        np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]

    paths.write_whole(path, write)
