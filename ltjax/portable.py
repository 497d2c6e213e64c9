r"""Portable tickets: a mask and the values under it in one small file that plain NumPy opens.

The file has the layout of safetensors: eight bytes of header length (little endian), a JSON
header, raw little-endian arrays. The header's `__metadata__` holds strings: `format`, `meta`,
`mask`, `values`, `compact` (JSON) and `sha256`. A leaf of the mask is coded as

- `all`: every weight is kept, nothing is stored;
- `bits`: `np.packbits` of the mask;
- `gaps`: one byte for each kept weight, the number of pruned ones before it (0 to 254); a byte
  255 passes over 255 pruned ones. The last pruned ones (fewer than 255) are not written.

A *compact* tree holds only the kept weights of each leaf, in order of position. Reading the
kernel of one layer with NumPy alone:

    import json, pathlib
    import numpy as np

    raw = pathlib.Path("ticket.safetensors").read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:start])

    def array(name, dtype):
        begin, end = header[name]["data_offsets"]
        return np.frombuffer(raw[start + begin : start + end], dtype)

    leaf = json.loads(header["__metadata__"]["mask"])["dense_0/kernel"]
    size = int(np.prod(leaf["shape"]))
    kept = np.ones(size, bool)
    if leaf["coding"] == "bits":
        kept = np.unpackbits(array("mask/dense_0/kernel", np.uint8), count=size).astype(bool)
    if leaf["coding"] == "gaps":
        gaps = array("mask/dense_0/kernel", np.uint8).astype(int)
        kept = np.zeros(size, bool)
        kept[(np.cumsum(np.where(gaps == 255, 255, gaps + 1)) - 1)[gaps < 255]] = True
    kernel = np.zeros(size, np.float32)
    kernel[kept] = array("values/theta_0/dense_0/kernel", np.float32)
    kernel = kernel.reshape(leaf["shape"])
"""

from collections.abc import Mapping
import hashlib
import json
import math
import os
import pathlib
from typing import Any, NamedTuple

import numpy as np

from ltjax import results
from ltjax.types import Tree

_FORMAT = "ltjax-ticket 1"
_SKIP = 255
_LARGEST_HEADER = 100_000_000  # Bytes; the bound of the safetensors package.
_LARGEST_LEAF = 2**31 - 1  # JAX counts positions in 32 bits.
_DTYPES = {
    **{f"F{8 * n}": np.dtype(f"<f{n}") for n in (2, 4, 8)},
    **{f"I{8 * n}": np.dtype(f"<i{n}") for n in (1, 2, 4, 8)},
    **{f"U{8 * n}": np.dtype(f"<u{n}") for n in (1, 2, 4, 8)},
    "BOOL": np.dtype(bool),
}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}


class Portable(NamedTuple):
    """What a portable file holds, as NumPy arrays.

    Attributes:
      mask: True keeps a weight.
      values: trees by name, such as `theta_0`; pruned positions of compact ones are 0.
      meta: where the ticket comes from.
    """

    mask: Tree
    values: dict[str, Tree]
    meta: dict[str, Any]


def export(
    path: str | os.PathLike[str],
    *,
    mask: Tree,
    values: Mapping[str, Tree],
    meta: Mapping[str, Any],
    compact: bool = True,
) -> None:
    """Writes a portable file, whole or not at all; an earlier one is replaced.

    Args:
      path: the file; by custom it ends in `.safetensors`.
      mask: nested dicts of boolean arrays.
      values: trees by name. Those with the layout of the mask are start points; others, such
        as running statistics, are written whole.
      meta: what JSON can hold.
      compact: write only the kept weights of the start points.

    Raises:
      ValueError: where a tree cannot be written.
    """
    kept = {name: np.asarray(leaf) for name, leaf in _flat(mask).items() if leaf is not None}
    layout = {name: leaf.shape for name, leaf in kept.items()}
    about, arrays, trees_of, compacted = {}, {}, {}, []
    for name, leaf in kept.items():
        if leaf.dtype != bool:
            raise ValueError(f"leaf {name!r} of the mask is {leaf.dtype}; a mask is boolean")
        coding, code = _encode(leaf.ravel())
        about[name] = {"shape": list(leaf.shape), "kept": int(leaf.sum()), "coding": coding}
        if coding != "all":
            arrays[f"mask/{name}"] = code
    for tree_name, tree in values.items():
        flat = {n: None if leaf is None else np.asarray(leaf) for n, leaf in _flat(tree).items()}
        trees_of[tree_name] = {n: None if x is None else list(x.shape) for n, x in flat.items()}
        full = {name: leaf for name, leaf in flat.items() if leaf is not None}
        dense = not compact or {name: leaf.shape for name, leaf in full.items()} != layout
        compacted += [] if dense else [tree_name]
        for name, leaf in full.items():
            whole = dense or about[name]["coding"] == "all"
            arrays[f"values/{tree_name}/{name}"] = leaf if whole else leaf[kept[name]]
    try:
        texts = {"mask": about, "values": trees_of, "compact": compacted, "meta": dict(meta)}
        texts = {key: json.dumps(value, allow_nan=False) for key, value in texts.items()}
    except (TypeError, ValueError) as error:
        raise ValueError(f"meta of a portable ticket must be JSON: {error}") from error
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    results.write_whole(path, _join({"format": _FORMAT, **texts}, arrays))


def read(path: str | os.PathLike[str]) -> Portable:
    """Reads what `export` wrote.

    Raises:
      ValueError: where the file is not whole or not of this format.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(f"no portable ticket at {path}; give the file that an export wrote")
    try:
        texts, arrays = _split(path.read_bytes())
        about, trees_of = json.loads(texts["mask"]), json.loads(texts["values"])
        compacted, meta = json.loads(texts["compact"]), json.loads(texts["meta"])
        mask = {n: _decode(leaf, arrays.get(f"mask/{n}")) for n, leaf in about.items()}
        values = {}
        for tree, shapes in trees_of.items():
            found = {n: arrays[f"values/{tree}/{n}"] for n, x in shapes.items() if x is not None}
            if tree in compacted:
                found = {name: _spread(leaf, mask[name]) for name, leaf in found.items()}
            for name, leaf in found.items():
                _require(list(leaf.shape) == shapes[name], f"{tree}/{name} has another shape")
            values[tree] = _nested({name: found.get(name) for name in shapes})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(
            f"{path} is no whole portable ticket: {reason}; export it again"
        ) from error
    return Portable(_nested(mask), values, meta)


def _encode(flat: np.ndarray) -> tuple[str, np.ndarray]:
    """The shortest coding of a flat mask, and its bytes."""
    if flat.all():
        return "all", np.zeros(0, np.uint8)
    gaps = np.diff(np.flatnonzero(flat), prepend=-1, append=flat.size) - 1
    skips = gaps // _SKIP
    length = int(skips.sum()) + gaps.size - 1
    bits = np.packbits(flat)
    if length >= bits.size:
        return "bits", bits
    code = np.full(length, _SKIP, np.uint8)
    ends = np.cumsum(skips + 1) - 1  # The last gap runs to the end of the leaf and has no weight.
    code[ends[:-1]] = (gaps % _SKIP)[:-1]
    return "gaps", code


def _decode(leaf: Mapping[str, Any], code: np.ndarray | None) -> np.ndarray:
    shape, coding = leaf["shape"], leaf["coding"]
    size = math.prod(shape)
    _require(all(n >= 0 for n in shape) and size <= _LARGEST_LEAF, f"{shape} is no shape")
    _require((code is None) == (coding == "all"), "the codes of the mask do not fit")
    if code is None:
        flat = np.ones(size, bool)
    elif coding == "bits":
        _require(code.size == -(-size // 8), "the bits of the mask do not fit its shape")
        flat = np.unpackbits(code, count=size).astype(bool)
    else:
        _require(coding == "gaps", f"mask coding {coding!r} is unknown")
        passed = np.cumsum(np.where(code == _SKIP, _SKIP, code.astype(np.int64) + 1))
        reached = int(passed[-1]) if passed.size else 0
        _require(0 <= size - reached < _SKIP, "the gaps of the mask do not fit its shape")
        flat = np.zeros(size, bool)
        flat[passed[code < _SKIP] - 1] = True
    _require(int(flat.sum()) == leaf["kept"], "the mask keeps another number than it says")
    return flat.reshape(shape)


def _spread(kept_values: np.ndarray, kept: np.ndarray) -> np.ndarray:
    _require(kept_values.size == int(kept.sum()), "the values are not as many as the kept weights")
    full = np.zeros(kept.shape, kept_values.dtype)
    full[kept] = kept_values.ravel()
    return full


def _join(metadata: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> bytes:
    """The bytes of a safetensors file; wide dtypes first, so that all are aligned."""
    entries, chunks, end = {}, [], 0
    for name in sorted(arrays, key=lambda n: (-arrays[n].dtype.itemsize, n)):
        leaf = arrays[name]
        dtype = leaf.dtype.newbyteorder("<")
        if dtype not in _CODES:
            raise ValueError(f"{name!r} is {leaf.dtype}; a portable ticket holds plain numbers")
        chunks.append(leaf.astype(dtype).tobytes())
        offsets = [end, end + len(chunks[-1])]
        end = offsets[1]
        entries[name] = {"dtype": _CODES[dtype], "shape": list(leaf.shape), "data_offsets": offsets}
    data = b"".join(chunks)
    signed = {**metadata, "sha256": _digest(metadata, entries, data)}
    header = json.dumps({"__metadata__": signed, **entries}).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data


def _split(raw: bytes) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """The metadata and the arrays of a safetensors file, checked."""
    length = int.from_bytes(raw[:8], "little")
    fits = len(raw) >= 8 and length <= min(len(raw) - 8, _LARGEST_HEADER)
    _require(fits, "its header is longer than the file")
    entries = json.loads(raw[8 : 8 + length])
    metadata, data = entries.pop("__metadata__"), raw[8 + length :]
    known = metadata["format"]
    _require(known == _FORMAT, f"its format is {known!r}, not {_FORMAT!r}")
    digest = metadata.pop("sha256")
    _require(digest == _digest(metadata, entries, data), "its bytes are not as written")
    arrays = {}
    for name, entry in entries.items():
        begin, end = entry["data_offsets"]
        _require(0 <= begin <= end <= len(data), f"{name!r} lies outside of the file")
        flat = np.frombuffer(data[begin:end], _DTYPES[entry["dtype"]])
        arrays[name] = flat.reshape(entry["shape"]).copy()
    return metadata, arrays


def _digest(metadata: Mapping[str, str], entries: Mapping[str, Any], data: bytes) -> str:
    text = json.dumps([metadata, entries], sort_keys=True)
    return hashlib.sha256(text.encode() + data).hexdigest()


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _flat(tree: Tree, prefix: str = "") -> dict[str, Any]:
    """Leaves by name; an empty dict below the root is a leaf None."""
    found = {}
    for key, child in tree.items():
        if not isinstance(key, str) or not key or "/" in key:
            raise ValueError(f"key {key!r} in {prefix!r} is no name; use text without '/'")
        if isinstance(child, Mapping):
            found |= _flat(child, f"{prefix}{key}/") if child else {f"{prefix}{key}": None}
        else:
            found[prefix + key] = child
    return found


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, leaf in flat.items():
        *parents, last = name.split("/")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[last] = {} if leaf is None else leaf
    return tree
