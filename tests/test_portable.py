import inspect
import itertools
import json
import pathlib
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from ltjax.core.types import Variables
from ltjax.lottery.tickets import Ticket
from ltjax.storage import portable
from ltjax.storage import tickets as storage
from ltjax.training.records import STARTS
from tests.conftest import assert_trees_equal

LENET = {"Dense_0": (784, 300), "Dense_1": (300, 100), "head": (100, 10)}
SMALL = {"Dense_0": (20, 5), "head": (5, 3)}


def make(density=0.3, *, shapes=SMALL, dtype=np.float32, stats=True):
    """A ticket of a small network, with a key that holds slashes."""
    rng = np.random.default_rng(0)
    mask = {module: {"bias": np.ones(s[-1], bool), "kernel": None} for module, s in shapes.items()}
    for module, shape in shapes.items():
        kept = np.zeros(np.prod(shape), bool)
        kept[rng.permutation(kept.size)[: round(density * kept.size)]] = True
        mask[module]["kernel"] = kept.reshape(shape)
    mask["Norm"] = {"head/kernel/scale%2F": np.ones(3, bool), "one": np.ones((), bool)}
    mean = {"head/kernel/mean": np.arange(3, dtype=np.float64), "one": np.array(2.0)}
    mean = {"Norm": mean} if stats else {}

    def theta():
        return Variables(jax.tree.map(lambda m: rng.normal(size=m.shape).astype(dtype), mask), mean)

    return Ticket(
        mask=mask,
        prunable=tuple(f"{module}/kernel" for module in shapes),
        meta={"data": "mnist", "density": density, "nested": {"a": [1, None]}, "name": "é"},
        **{name: theta() for name in STARTS},
    )


def under(ticket, start="theta_0"):
    params, stats = getattr(ticket, start)
    return Variables(jax.tree.map(lambda p, m: p * m, params, ticket.mask), stats)


def assert_same(read, ticket, values=("theta_0",)):
    assert_trees_equal(read.mask, ticket.mask)
    for start in STARTS:
        expected = under(ticket, start) if start in values else Variables({}, {})
        assert_trees_equal(getattr(read, start), expected)
    assert (read.prunable, read.meta) == (ticket.prunable, ticket.meta)


@pytest.mark.parametrize("values", [("theta_0",), ("theta_S", "theta_k"), STARTS])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("density", [0.0, 0.05, 0.99, 1.0])
def test_round_trip(tmp_path, density, dtype, values):
    path = tmp_path / "new" / "ticket.safetensors"
    ticket = make(density, dtype=dtype, stats=density > 0.5)
    portable.export(ticket, path, values=values)
    assert_same(portable.read(path), ticket, values)
    assert_same(storage.load(path), ticket, values)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("kind", [jnp.asarray, lambda leaf: np.asarray(leaf, order="F")])
def test_any_array_is_written_as_it_reads_and_what_is_read_may_be_changed(kind, tmp_path):
    path, ticket = tmp_path / "t", make(1.0)
    mask, params = (jax.tree.map(kind, tree) for tree in (ticket.mask, ticket.theta_0.params))
    changed = {"mask": mask, "theta_0": Variables(params, ticket.theta_0.stats)}
    for _ in range(2):  # An earlier file is replaced.
        portable.export(Ticket(**vars(ticket) | changed), path)
    read = portable.read(path)
    assert_same(read, ticket)
    for leaf in jax.tree.leaves([read.mask, read.theta_0]):
        leaf[...] = 0


@pytest.mark.parametrize(("density", "share"), [(0.01, 0.046), (0.05, 0.087), (0.5, 0.54)])
def test_size_is_one_bit_a_weight_and_what_is_kept(tmp_path, density, share):
    portable.export(make(density, shapes=LENET), tmp_path / "t")
    assert (tmp_path / "t").stat().st_size < share * 266_610 * 4


@pytest.mark.parametrize("density", [0.05, 1.0])
def test_the_example_of_the_docstring_reads_it_without_ltjax(tmp_path, monkeypatch, density):
    ticket = make(density)
    portable.export(ticket, tmp_path / "my-ticket.safetensors")
    _, _, example = portable.__doc__.partition("without ltjax:\n")
    example = inspect.cleandoc(example)
    assert "ltjax" not in example
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(example, names)
    kernel = under(ticket).params["Dense_0"]["kernel"]
    np.testing.assert_array_equal(names["kernel"], kernel, strict=True)


@pytest.fixture
def file(tmp_path):
    portable.export(make(), tmp_path / "t")
    return tmp_path / "t"


def refused(file, message):
    with pytest.raises(ValueError, match=message) as caught:
        storage.load(file)
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)


def test_every_truncation_and_every_changed_byte_is_refused(file):
    raw = file.read_bytes()
    cuts = [raw[:n] for n in (*range(0, len(raw) - 40, 23), *range(len(raw) - 40, len(raw)))]
    flips = [raw[:n] + bytes([raw[n] ^ 0x41]) + raw[n + 1 :] for n in range(len(raw))]
    for changed in (*cuts, *flips):
        file.write_bytes(changed)
        refused(file, "is no whole portable ticket")


def test_other_files_are_refused(tmp_path):
    file = tmp_path / "t"
    with pytest.raises(ValueError, match="no portable ticket at"):
        portable.read(file)
    for metadata in (None, {"format": "pt"}, {"format": "ltjax-ticket 1"}):
        safetensors.numpy.save_file({"w": np.ones(3)}, file, metadata=metadata)
        refused(file, f"its format is {metadata and metadata['format']!r}, not 'ltjax-ticket 2'")
    safetensors.numpy.save_file({}, file, metadata={"format": "ltjax-ticket 2"})
    refused(file, "it lacks 'sha256'")
    huge = [n.to_bytes(8, "little") + bytes(100) for n in (2**63, 2**40, 10**9)]
    for raw in (b"", b"PK\x03\x04" + bytes(100), (2).to_bytes(8, "little") + b"[]", *huge):
        file.write_bytes(raw)
        refused(file, "is no whole portable ticket")


def rewrite(file, change):
    """Writes the file anew, its checksum right, after `change(arrays, about)`."""
    arrays = safetensors.numpy.load_file(file)
    with safetensors.safe_open(file, "np") as opened:
        texts = opened.metadata()
    about = {key: json.loads(texts[key]) for key in ("prunable", "meta")}
    change(arrays, about)
    texts = {"format": texts["format"]} | {key: json.dumps(value) for key, value in about.items()}
    texts["sha256"] = portable._digest(texts, arrays)
    safetensors.numpy.save_file(arrays, file, texts)


KERNEL = "Dense_0/kernel"


def _set(name, value):
    return lambda arrays, about: arrays.update({name: np.asarray(value)})


def _about(name, value):
    return lambda arrays, about: about.update({name: value})


def _drop(name):
    return lambda arrays, about: arrays.pop(name)


def _shorten(name):
    return lambda arrays, about: arrays.update({name: arrays[name].ravel()[:-1].copy()})


def _inside(name):
    return lambda arrays, about: arrays.update(
        {f"{part}/{name}": arrays[f"{part}/{KERNEL}"] for part in ("shape", "mask", "theta_0")}
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set(f"shape/{KERNEL}", [20, 50]), "bits of 'Dense_0/kernel' do not fit the shape"),
        (_set(f"shape/{KERNEL}", [-20, -5]), "do not fit the shape"),
        (_set(f"shape/{KERNEL}", [20.0, 5.0]), "do not fit the shape"),
        (_set(f"shape/{KERNEL}", [[20, 5]]), "do not fit the shape"),
        (_set(f"shape/{KERNEL}", [2**40, 2**40]), "do not fit the shape"),
        (_set(f"shape/{KERNEL}", [2**32, 2**32]), "do not fit the shape"),
        (_set(f"shape/{KERNEL}", [0, 2**62]), "do not fit the shape"),
        (_shorten(f"mask/{KERNEL}"), "do not fit the shape"),
        (_set(f"mask/{KERNEL}", np.zeros(13, bool)), "do not fit the shape"),
        (_set("mask/Dense_0/bias", np.zeros(1, np.uint8)), "other values than kept weights"),
        (_shorten(f"theta_0/{KERNEL}"), "has other values than kept weights"),
        (_set(f"theta_0/{KERNEL}", np.ones(30, np.int8)), "is int8; weights are floats"),
        (_set(f"theta_0/{KERNEL}", np.full(30, np.nan, np.float32)), "values that are not finite"),
        (_drop(f"theta_0/{KERNEL}"), "the leaves of theta_0 are others"),
        (_drop(f"mask/{KERNEL}"), "masks and shapes are of other leaves"),
        (_set("theta_0/Dense_0", np.ones(3)), "the leaves of theta_0 are others"),
        (_set("theta_1/w", np.ones(3)), "parts that are none of a ticket: .'theta_1'"),
        (_about("prunable", "Dense_0/kernel"), "prunable is some names of leaves"),
        (_about("meta", [1]), "meta, and settings in it, are dicts"),
        (_about("meta", {"level": 2**31}), r"whole number in \[0, 2147483647\]; got 2147483648"),
        (_about("meta", {"nominal": True}), r"nominal of a ticket lies in \[0, 1\]; got True"),
        (_inside("Dense_0"), "'Dense_0/bias' lies inside of another leaf"),
    ],
)
def test_parts_that_do_not_fit_are_refused(file, change, message):
    rewrite(file, lambda arrays, about: None)
    _ = portable.read(file)
    rewrite(file, change)
    refused(file, message)


def test_a_small_file_cannot_ask_for_a_large_array(file):
    """A few hundred bytes that declare large shapes, their checksum right."""

    def declare(arrays, about):
        arrays.clear()
        for i, shape in itertools.product(range(3), ([2**31], [2**20, 2**10], [2**33])):
            name = f"m{i}/{shape[0]}"
            arrays |= {f"shape/{name}": np.array(shape), f"mask/{name}": np.zeros(0, np.uint8)}
            arrays |= {f"theta_0/{name}": np.zeros(0, np.float32)}

    rewrite(file, declare)
    tracemalloc.start()
    refused(file, "do not fit the shape")
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def _with(**changes):
    return Ticket(**vars(make()) | changes)


@pytest.mark.parametrize(
    ("ticket", "values", "message"),
    [
        (_with(mask=jax.tree.map(np.float32, make().mask)), ["theta_0"], "a mask is boolean"),
        (make(), ["theta_1"], "no start point 'theta_1'"),
        (make(), [], "values is empty"),
        (_with(theta_k=Variables({}, {})), ["theta_k"], "does not know theta_k"),
        (make(dtype=jnp.bfloat16), ["theta_0"], "is bfloat16; a file holds float16"),
        (_with(meta={"a": {1, 2}}), ["theta_0"], "must be JSON"),
        (_with(meta={"a": float("inf")}), ["theta_0"], "must be JSON"),
        (_with(mask={"w": {}}, prunable=("w",)), ["theta_0"], "which is no leaf of the mask"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, ticket, values, message):
    with pytest.raises(ValueError, match=message):
        portable.export(ticket, tmp_path / "t", values=values)
    with pytest.raises(ValueError, match="is a directory"):
        portable.export(ticket, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_keeps_the_old_file(file, monkeypatch):
    before = file.read_bytes()
    monkeypatch.setattr("os.replace", lambda a, b: (_ for _ in ()).throw(OSError(28, "disk full")))
    with pytest.raises(OSError, match="disk full"):
        portable.export(make(0.9), file)
    assert pathlib.Path(file).read_bytes() == before
