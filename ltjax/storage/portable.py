"""Portable tickets: a mask and the values under it in one small `.safetensors` file.

By the name of each leaf the file holds `shape/NAME`, int64; `mask/NAME`, `np.packbits` of the
mask; and for each start point `theta_0/NAME`, the values of the kept weights in order of
position. Running statistics are whole: `theta_0_stats/NAME`. NAME joins the keys by `/`; a `/`
inside a key is written `%2F`, a `%` as `%25`. The header holds as text the `format`, `prunable`
and `meta` (JSON), and the `sha256` of all the rest. To read a kernel without ltjax:

    import numpy as np
    from safetensors.numpy import load_file

    file, name = load_file("my-ticket.safetensors"), "Dense_0/kernel"
    kernel = np.zeros(file[f"shape/{name}"], np.float32)
    kept = np.unpackbits(file[f"mask/{name}"], count=kernel.size).reshape(kernel.shape) == 1
    kernel[kept] = file[f"theta_0/{name}"]
"""

from collections.abc import Mapping, Sequence
import hashlib
import json
import math
import os
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from ltjax.command import paths
from ltjax.core import trees
from ltjax.core.types import Tree
from ltjax.lottery import tickets
from ltjax.lottery.tickets import Ticket
from ltjax.storage.checkpoints import escape, unescape
from ltjax.training.records import STARTS

_FORMAT = "ltjax-ticket 2"
_FLOATS = ("float16", "float32", "float64")


def export(
    ticket: Ticket, path: str | os.PathLike[str], *, values: Sequence[str] = ("theta_0",)
) -> None:
    """Writes a ticket to one small `.safetensors` file, whole or not at all.

    What is written is one bit a weight and the kept weights: at 5 % density a twelfth of the
    dense network.

    Args:
      ticket: the ticket.
      path: the file, by custom `.safetensors`; an earlier one is replaced.
      values: start points to write: `theta_0`, `theta_k`, `theta_S`.

    Raises:
      ValueError: an unknown start point, or what is no ticket or cannot be written.
    """
    path = paths.local(path, "file")
    if path.is_dir():
        raise ValueError(f"{path} is a directory; export to a file")
    tickets.check(ticket)
    for name in values:
        if name not in STARTS:
            raise ValueError(trees.unknown(name, STARTS, "start point"))
        if name not in tickets.known(ticket):
            raise ValueError(f"the ticket does not know {name}; export {tickets.known(ticket)}")
    if not values:
        raise ValueError(f"values is empty; give some of {', '.join(STARTS)}")
    mask, arrays = _flat(ticket.mask), {}
    for name, leaf in mask.items():
        arrays[f"shape/{name}"] = np.array(leaf.shape, np.int64)
        arrays[f"mask/{name}"] = np.packbits(leaf)
    for start in values:
        params, stats = getattr(ticket, start)
        arrays |= {f"{start}/{n}": leaf[mask[n]] for n, leaf in _flat(params).items()}
        arrays |= {f"{start}_stats/{n}": leaf for n, leaf in _flat(stats).items()}
    for name, leaf in arrays.items():
        if name.startswith("theta") and leaf.dtype.name not in _FLOATS:
            raise ValueError(f"{name!r} is {leaf.dtype}; a file holds {', '.join(_FLOATS)}")
    arrays = {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}
    try:
        about = {"prunable": list(ticket.prunable), "meta": ticket.meta}
        texts = {key: json.dumps(value, allow_nan=False) for key, value in about.items()}
    except (TypeError, ValueError) as error:
        raise ValueError(f"meta of a portable ticket must be JSON: {error}") from error
    texts["format"] = _FORMAT
    texts["sha256"] = _digest(texts, arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    paths.write_whole(path, safetensors.numpy.save(arrays, texts))


def read(path: str | os.PathLike[str]) -> Ticket:
    """Reads what `export` wrote; start points that were not written are not known.

    Raises:
      ValueError: where the file is not whole, not of this format or holds no ticket.
    """
    path = paths.local(path, "file")
    if not path.is_file():
        raise ValueError(f"no portable ticket at {path}; give the file that an export wrote")
    try:
        with safetensors.safe_open(path, framework="np") as file:
            texts = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        known = texts.get("format")
        _require(known == _FORMAT, f"its format is {known!r}, not {_FORMAT!r}")
        digest = texts.pop("sha256")
        _require(digest == _digest(texts, arrays), "its bytes are not as written")
        return _ticket(arrays, json.loads(texts["prunable"]), json.loads(texts["meta"]))
    except Exception as error:  # The reader of the package raises what it likes.
        reason = (
            f"it lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        )
        raise ValueError(
            f"{path} is no whole portable ticket: {reason}; export it again"
        ) from error


def _ticket(arrays: Mapping[str, np.ndarray], prunable: Any, meta: Any) -> Ticket:
    parts: dict[str, dict[str, np.ndarray]] = {}
    for name, leaf in arrays.items():
        part, _, of = name.partition("/")
        parts.setdefault(part, {})[of] = leaf
    starts = {f"{name}{kind}" for name in STARTS for kind in ("", "_stats")}
    shapes, bits = parts.pop("shape"), parts.pop("mask")
    _require(
        parts.keys() <= starts,
        f"it has parts that are none of a ticket: {sorted(parts.keys() - starts)}",
    )
    _require(shapes.keys() == bits.keys(), "its masks and shapes are of other leaves")
    mask = {name: _unpacked(shapes[name], bits[name], name) for name in shapes}
    tree: dict[str, Tree] = {"mask": _nested(mask)}
    for start in STARTS:
        flat = parts.get(start, {})
        _require(not flat or flat.keys() == mask.keys(), f"the leaves of {start} are others")
        full = {name: _spread(leaf, mask[name], name) for name, leaf in flat.items()}
        stats = {n: np.array(leaf) for n, leaf in parts.get(f"{start}_stats", {}).items()}
        tree[start] = {"params": _nested(full), "stats": _nested(stats)}
    return tickets.from_tree(tree, prunable=prunable, meta=meta)


def _unpacked(shape: np.ndarray, bits: np.ndarray, name: str) -> np.ndarray:
    sizes = [int(n) for n in shape.ravel()]
    size = math.prod(sizes)  # Held against what is there before anything is made of that size.
    fits = shape.dtype == np.int64 and bits.dtype == np.uint8 and shape.ndim == bits.ndim == 1
    fits = fits and all(n >= 0 for n in sizes) and bits.size == -(-size // 8)
    _require(fits, f"the bits of {name!r} do not fit the shape {sizes[:9]}")
    return np.unpackbits(bits, count=size).astype(bool).reshape(sizes)


def _spread(kept_values: np.ndarray, kept: np.ndarray, name: str) -> np.ndarray:
    _require(kept_values.shape == (kept.sum(),), f"{name!r} has other values than kept weights")
    full = np.zeros(kept.shape, kept_values.dtype)
    full[kept] = kept_values
    return full


def _digest(texts: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> str:
    about = {name: [leaf.dtype.name, leaf.shape] for name, leaf in arrays.items()}
    digest = hashlib.sha256(json.dumps([texts, about], sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _flat(tree: Tree, prefix: str = "") -> dict[str, np.ndarray]:
    found = {}
    for key, child in tree.items():
        name = prefix + escape(key)
        if not isinstance(child, Mapping):
            found[name] = np.asarray(child)
        elif child:
            found |= _flat(child, f"{name}/")
        else:
            raise ValueError(f"{name!r} is an empty dict, which a file cannot hold; leave it out")
    return found


def _nested(flat: Mapping[str, np.ndarray]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, leaf in flat.items():
        *parents, last = map(unescape, name.split("/"))
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
            _require(isinstance(branch, dict), f"{name!r} lies inside of another leaf")
        branch[last] = leaf
    return tree
