"""Checkpoints: a nested dict of arrays and a JSON dict, on disk whole or not at all.

A checkpoint is a directory written by orbax with two items, `tree` and `meta`, and a file
`SHA256SUMS` over all its files (`sha256sum -c` reads it). Nothing in it is executed on loading.
Keys may hold any text: a `/` in one lies on the disk as `%2F`, a `%` as `%25`.
"""

from collections.abc import Callable, Mapping
import functools
import hashlib
import json
import os
import pathlib
import shutil
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from ltjax.command import paths
from ltjax.core import trees
from ltjax.core.types import Tree

_FORMAT = 2  # In format 1 keys lie on the disk as they are.
_SUMS = "SHA256SUMS"


def save(path: str | os.PathLike[str], tree: Tree, *, meta: Mapping[str, Any]) -> None:
    """Writes a checkpoint and waits until it is there.

    An earlier checkpoint at `path` is replaced only once the new one is whole: it is moved aside,
    the new one is moved in, the old one is deleted. After a kill at any moment `load` finds the
    old one or the new one. One process at a time may save to a path.

    Args:
      path: the directory to make.
      tree: nested dicts of arrays on the host or any devices, typed keys included. Other
        containers (tuples, None) are refused: the caller turns them into dicts.
      meta: what JSON can hold.

    Raises:
      ValueError: where the tree or `meta` cannot be stored, or something else lies at `path`.
    """
    path = _absolute(path)
    ours = path.is_dir() and ((path / _SUMS).is_file() or not any(path.iterdir()))
    if path.exists() and not ours:
        raise ValueError(f"{path} is there and no checkpoint; it is left alone, give another path")
    tree = _keys(tree, escape)
    if not jax.tree.leaves(tree):
        raise ValueError(f"checkpoint {path} would hold no array; give a tree that has leaves")
    try:
        told = json.loads(json.dumps(dict(meta), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"meta of a checkpoint must be JSON: {error}") from error
    about = {"format": _FORMAT, "meta": told, "keys": {}, "empty": {}}

    def stored(name: str, leaf: Any) -> Any:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            about["keys"][name] = str(jax.random.key_impl(leaf))
            return jax.random.key_data(leaf)
        if leaf.size == 0:  # Orbax refuses arrays of no elements.
            about["empty"][name] = [leaf.dtype.name, list(leaf.shape)]
            return np.zeros((1,), bool)
        return leaf

    # Host arrays restore on any device layout, and keys as numbers with every jax.
    host = jax.tree.map(np.asarray, jax.device_get(trees.map_with_name(stored, tree)))
    new, old = _beside(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if _there(path) == old:
        os.rename(old, path)
    for leftover in (old, *path.parent.glob(new.name + "*")):
        shutil.rmtree(leftover, ignore_errors=True)
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        items = ocp.args.Composite(tree=ocp.args.StandardSave(host), meta=ocp.args.JsonSave(about))
        checkpointer.save(new, items)
    (new / _SUMS).write_text("".join(f"{of}  {name}\n" for name, of in _sums(new).items()))
    if path.exists():
        os.rename(path, old)
    os.rename(new, path)
    shutil.rmtree(old, ignore_errors=True)


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether `load` finds a checkpoint at `path`, whole or damaged."""
    return _there(_absolute(path)).exists()


def load(path: str | os.PathLike[str]) -> tuple[Tree, dict[str, Any]]:
    """Reads a checkpoint, on any device layout: the tree and `meta`.

    Every byte is held against its checksum before it is used. Arrays come back as NumPy arrays of
    the dtypes that were saved, typed keys as typed keys, `meta` as JSON reads it.

    Raises:
      ValueError: where there is no whole checkpoint at `path`.
    """
    path = _absolute(path)
    found = _there(path)
    if not found.exists():
        raise ValueError(f"no checkpoint at {path}; give the directory of a finished one")
    if not (found / _SUMS).is_file():
        raise ValueError(f"{found} is no whole checkpoint: it has no {_SUMS}; save it again")
    lines = (found / _SUMS).read_bytes().decode(errors="replace").splitlines()
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    sums = _sums(found)
    for name in sorted({*sums, *listed}):
        if sums.get(name) != listed.get(name):
            raise ValueError(f"checkpoint {found} is corrupt at {name!r}; save it again")
    try:
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
            items = ocp.args.Composite(tree=ocp.args.StandardRestore(), meta=ocp.args.JsonRestore())
            restored = checkpointer.restore(found, items)
        tree, about = restored["tree"], restored["meta"]
        known = about["format"]
        if known in (1, _FORMAT):
            tree = trees.map_with_name(functools.partial(_loaded, about), tree)
            return _keys(tree, str if known == 1 else unescape), dict(about["meta"])
    except Exception as error:  # Orbax and TensorStore raise what they like.
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ValueError(f"checkpoint {path} cannot be read by this orbax: {reason}") from error
    raise ValueError(f"checkpoint {path} has format {known}; this version reads {_FORMAT}")


def _loaded(about: Mapping[str, Any], name: str, leaf: np.ndarray) -> Any:
    if name in about["keys"]:
        return jax.random.wrap_key_data(jnp.asarray(leaf), impl=about["keys"][name])
    if name in about["empty"]:
        dtype, shape = about["empty"][name]
        if 0 not in shape:
            raise ValueError(f"{name!r} of shape {shape} is not empty")
        return np.zeros(shape, jnp.dtype(dtype))
    return leaf


def escape(key: str) -> str:
    """A key of a tree as a name without `/`."""
    return key.replace("%", "%25").replace("/", "%2F")


def unescape(name: str) -> str:
    """Undoes `escape`."""
    return name.replace("%2F", "/").replace("%25", "%")


def _absolute(path: str | os.PathLike[str]) -> pathlib.Path:
    found = paths.local(path, "checkpoint").absolute()  # Orbax drops relative paths silently.
    if not found.name:
        raise ValueError(f"checkpoint {str(found)!r} is the root of the file system; give another")
    return found


def _beside(path: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    return path.with_name(f".{path.name}.new"), path.with_name(f".{path.name}.old")


def _there(path: pathlib.Path) -> pathlib.Path:
    """The checkpoint at `path`, moved aside where a kill came between the renames of `save`."""
    _, old = _beside(path)
    return old if old.exists() and not path.exists() else path


def _sums(directory: pathlib.Path) -> dict[str, str]:
    """The checksum of each file by name; hidden files are the file system's."""
    found = {}
    for path in sorted(p for p in directory.rglob("*") if p.is_file() and p.name[0] != "."):
        if path.name != _SUMS:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found[path.relative_to(directory).as_posix()] = digest
    return found


def _keys(tree: Any, rename: Callable[[str], str], name: str = "tree") -> Any:
    """Nested dicts with other keys.

    Raises:
      ValueError: where the tree is anything else than nested dicts of arrays.
    """
    if isinstance(tree, dict):
        for key in tree:
            if not isinstance(key, str) or not key:
                raise ValueError(f"key {key!r} of {name!r} is no name; use text")
        return {rename(k): _keys(child, rename, f"{name}/{k}") for k, child in tree.items()}
    if not isinstance(tree, jax.Array | np.ndarray | np.generic):
        kind = type(tree).__name__
        raise ValueError(f"{name!r} is a {kind}; a checkpoint holds nested dicts of arrays")
    return tree
