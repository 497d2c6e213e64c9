import inspect
import json
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from ltjax import portable

LENET = {"dense_0": (784, 300), "dense_1": (300, 100), "head": (100, 10)}


def make(density, *, seed=0, shapes=LENET):
    """A mask, start values and statistics of a small network."""
    numbers = np.random.default_rng(seed)
    mask, theta = {}, {}
    for module, shape in shapes.items():
        kept = np.zeros(np.prod(shape), bool)
        kept[numbers.permutation(kept.size)[: round(density * kept.size)]] = True
        mask[module] = {"bias": np.ones(shape[-1], bool), "kernel": kept.reshape(shape)}
        theta[module] = {
            "bias": np.zeros(shape[-1], np.float32),
            "kernel": numbers.normal(size=shape).astype(np.float32),
        }
    return mask, theta


def under(mask, tree):
    return {
        module: {leaf: np.where(mask[module][leaf], x, 0) for leaf, x in leaves.items()}
        for module, leaves in tree.items()
    }


def assert_same(ours, theirs):
    assert list(ours) == list(theirs)
    for key, ours_below in ours.items():
        if isinstance(ours_below, dict):
            assert_same(ours_below, theirs[key])
        else:
            assert ours_below.dtype == theirs[key].dtype
            np.testing.assert_array_equal(ours_below, theirs[key])


@pytest.mark.parametrize("compact", [True, False])
@pytest.mark.parametrize("density", [0.0, 1e-4, 0.05, 0.11, 0.5, 0.99, 1.0])
def test_round_trip(tmp_path, density, compact):
    path = tmp_path / "new" / "ticket.safetensors"
    mask, theta = make(density)
    stats = {"norm_0": {"mean": np.ones(3, np.float32)}, "none": {}}
    values = {"theta_0": theta, "theta_k": make(0, seed=1)[1], "stats": stats, "no_stats": {}}
    meta = {"data": "mnist", "density": density, "nested": {"a": [1, None]}, "name": "é"}
    portable.export(path, mask=mask, values=values, meta=meta, compact=compact)
    read = portable.read(path)
    assert_same(read.mask, mask)
    for name in ("theta_0", "theta_k"):
        assert_same(read.values[name], under(mask, values[name]) if compact else values[name])
    assert_same(read.values["stats"], stats)
    assert read.values["no_stats"] == {}
    assert read.meta == meta
    assert list(path.parent.iterdir()) == [path]


def test_jax_arrays_are_fine_and_what_is_read_may_be_changed(tmp_path):
    mask = {"w": jnp.array([True, False, True])}
    values = {"theta_0": {"w": jnp.array([1.0, 2.0, 3.0])}}
    portable.export(tmp_path / "t", mask=mask, values=values, meta={})
    for _ in range(2):  # An earlier file is replaced.
        read = portable.read(tmp_path / "t")
        portable.export(tmp_path / "t", mask=read.mask, values=read.values, meta={})
    read.mask["w"][0] = False
    read.values["theta_0"]["w"] += 1
    np.testing.assert_array_equal(read.values["theta_0"]["w"], [2, 1, 4])


def mask_of(size, *positions):
    flat = np.zeros(size, bool)
    flat[list(positions)] = True
    return flat


@pytest.mark.parametrize(
    ("flat", "coding", "stored"),
    [
        (mask_of(3, 0, 1, 2), "all", 0),
        (mask_of(0), "all", 0),
        (mask_of(3, 1), "bits", 1),
        (mask_of(3), "gaps", 0),
        (mask_of(16, 15), "gaps", 1),
        (mask_of(1000, 0), "gaps", 1 + 3),  # 999 pruned ones follow.
        (mask_of(1000, 999), "gaps", 3 + 1),
        (mask_of(255, 254), "gaps", 1),
        (mask_of(256, 255), "gaps", 2),
        (mask_of(511, 510), "gaps", 3),
        (mask_of(511, 0, 255), "gaps", 3),
        (mask_of(5000, *range(0, 5000, 2)), "bits", 625),
        (mask_of(5000, *range(0, 5000, 9)), "gaps", 556),
    ],
)
def test_each_leaf_takes_its_shorter_coding(tmp_path, flat, coding, stored):
    found, code = portable._encode(flat)
    assert (found, code.size) == (coding, stored)
    portable.export(tmp_path / "t", mask={"w": flat}, values={}, meta={})
    np.testing.assert_array_equal(portable.read(tmp_path / "t").mask["w"], flat)


@pytest.mark.parametrize(
    ("density", "share"), [(0.05, 0.068), (0.01, 0.03), (0.5, 0.54), (1, 1.01)]
)
def test_size_is_near_the_size_of_what_is_kept(tmp_path, density, share):
    dense = 266_610 * 4
    mask, theta = make(density)
    portable.export(tmp_path / "t", mask=mask, values={"theta_0": theta}, meta={"data": "mnist"})
    assert (tmp_path / "t").stat().st_size < share * dense


def test_the_safetensors_package_reads_it(tmp_path):
    mask, theta = make(0.05)
    portable.export(tmp_path / "t", mask=mask, values={"theta_0": theta}, meta={"a": 1})
    arrays = safetensors.numpy.load_file(tmp_path / "t")
    kept = mask["dense_1"]["kernel"]
    np.testing.assert_array_equal(
        arrays["values/theta_0/dense_1/kernel"], theta["dense_1"]["kernel"][kept]
    )
    assert arrays["values/theta_0/dense_1/bias"].shape == (100,)
    with safetensors.safe_open(tmp_path / "t", framework="np") as opened:
        assert json.loads(opened.metadata()["meta"]) == {"a": 1}


@pytest.mark.parametrize("density", [0.05, 0.5, 1.0])
def test_the_example_of_the_docstring_needs_numpy_alone(tmp_path, monkeypatch, density):
    mask, theta = make(density)
    portable.export(tmp_path / "ticket.safetensors", mask=mask, values={"theta_0": theta}, meta={})
    _, _, example = portable.__doc__.partition("NumPy alone:\n")
    assert "ltjax" not in example
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(inspect.cleandoc(example), names)
    np.testing.assert_array_equal(
        names["kernel"], under(mask, theta)["dense_0"]["kernel"], strict=True
    )


@pytest.fixture
def file(tmp_path):
    mask, theta = make(0.3, shapes={"dense_0": (20, 5), "head": (5, 3)})
    portable.export(tmp_path / "t", mask=mask, values={"theta_0": theta}, meta={"data": "xor"})
    return tmp_path / "t"


def refused(file, message):
    with pytest.raises(ValueError, match=message) as caught:
        portable.read(file)
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)


def test_every_truncation_is_refused(file):
    raw = file.read_bytes()
    for length in [*range(len(raw) - 40, len(raw)), *range(0, len(raw) - 40, 23)]:
        file.write_bytes(raw[:length])
        refused(file, "is no whole portable ticket")


def test_every_flipped_byte_is_refused_or_harmless(file):
    raw, whole = file.read_bytes(), portable.read(file)
    harmless = 0
    for position in range(len(raw)):
        changed = bytearray(raw)
        changed[position] ^= 0x41
        file.write_bytes(changed)
        try:
            read = portable.read(file)
        except ValueError as error:
            assert "\n" not in str(error)  # noqa: PT017
            continue
        harmless += 1
        assert_same(read.mask, whole.mask)
        assert_same(read.values, whole.values)
        assert read.meta == whole.meta
    assert harmless == 0


def test_bytes_at_the_end_are_refused(file):
    file.write_bytes(file.read_bytes() + b"\0")
    refused(file, "its bytes are not as written")


@pytest.mark.parametrize("length", [2**63, 2**40, 10**9])
def test_a_huge_header_is_refused_before_it_is_read(file, length):
    file.write_bytes(length.to_bytes(8, "little") + file.read_bytes()[8:])
    refused(file, "its header is longer than the file")


def test_other_files_are_refused(tmp_path):
    file = tmp_path / "t"
    refused(file, "no portable ticket at")
    safetensors.numpy.save_file({"w": np.ones(3)}, file)
    refused(file, "it lacks '__metadata__'")
    safetensors.numpy.save_file({"w": np.ones(3)}, file, metadata={"format": "pt"})
    refused(file, "its format is 'pt', not 'ltjax-ticket 1'")
    file.write_bytes(b"PK\x03\x04" + bytes(100))
    refused(file, "is no whole portable ticket")
    file.write_bytes((2).to_bytes(8, "little") + b"[]")
    refused(file, "is no whole portable ticket")


def rewrite(file, change):
    """Writes the file anew, its checksum right, after `change(texts, arrays)`."""
    texts, arrays = portable._split(file.read_bytes())
    texts = {k: v if k == "format" else json.loads(v) for k, v in texts.items()}
    change(texts, arrays)
    texts = {k: v if k == "format" else json.dumps(v) for k, v in texts.items()}
    file.write_bytes(portable._join(texts, arrays))


def _set(key, leaf, field, value):
    def change(texts, arrays):
        texts[key][leaf][field] = value

    return change


def _drop(name):
    return lambda texts, arrays: arrays.pop(name)


def _shorten(name):
    return lambda texts, arrays: arrays.update({name: arrays[name].ravel()[:-1]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("mask", "dense_0/kernel", "kept", 29), "keeps another number than it says"),
        (_set("mask", "dense_0/kernel", "shape", [20, 50]), "bits of the mask do not fit"),
        (_set("mask", "dense_0/kernel", "shape", [-20, -5]), "is no shape"),
        (_set("mask", "dense_0/bias", "shape", [2**20, 2**20]), "is no shape"),
        (_set("mask", "dense_0/kernel", "coding", "all"), "codes of the mask do not fit"),
        (_set("mask", "dense_0/kernel", "coding", "rle"), "coding 'rle' is unknown"),
        (_set("mask", "dense_0/kernel", "coding", "gaps"), "gaps of the mask do not fit"),
        (_set("values", "theta_0", "dense_0/bias", [6]), "theta_0/dense_0/bias has another shape"),
        (_shorten("values/theta_0/dense_0/kernel"), "not as many as the kept weights"),
        (_shorten("mask/head/kernel"), "do not fit"),
        (_drop("values/theta_0/head/kernel"), "it lacks 'values/theta_0/head/kernel'"),
        (_drop("mask/head/kernel"), "codes of the mask do not fit"),
    ],
)
def test_parts_that_do_not_fit_are_refused(file, change, message):
    rewrite(file, lambda texts, arrays: None)
    portable.read(file)
    rewrite(file, change)
    refused(file, message)


def test_a_shape_beyond_its_gaps_is_refused(tmp_path):
    """So a small file cannot ask for a large array."""
    file = tmp_path / "t"
    portable.export(file, mask={"w": mask_of(1000, 0)}, values={}, meta={})
    rewrite(file, _set("mask", "w", "shape", [1030]))
    refused(file, "gaps of the mask do not fit")


def test_arrays_are_aligned(file):
    raw = file.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    assert length % 8 == 0
    for name, entry in header.items():
        if name.startswith("values/"):
            assert entry["data_offsets"][0] % 4 == 0


@pytest.mark.parametrize(
    ("mask", "values", "meta", "message"),
    [
        ({"w": np.ones(3)}, {}, {}, "leaf 'w' of the mask is float64; a mask is boolean"),
        ({"a/b": np.ones(3, bool)}, {}, {}, "use text without '/'"),
        ({"w": np.ones(3, bool)}, {"t": {"w": np.ones(3, complex)}}, {}, "holds plain numbers"),
        ({"w": np.ones(3, bool)}, {"t": {"w": jnp.ones(3, jnp.bfloat16)}}, {}, "plain numbers"),
        ({"w": np.ones(3, bool)}, {}, {"a": {1, 2}}, "must be JSON"),
        ({"w": np.ones(3, bool)}, {}, {"a": float("inf")}, "must be JSON"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, mask, values, meta, message):
    with pytest.raises(ValueError, match=message):
        portable.export(tmp_path / "t", mask=mask, values=values, meta=meta)
    assert not (tmp_path / "t").exists()


def test_a_failed_write_keeps_the_old_file(file, monkeypatch):
    before = file.read_bytes()
    monkeypatch.setattr("os.replace", lambda a, b: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        portable.export(file, mask={"w": np.ones(1, bool)}, values={}, meta={})
    assert pathlib.Path(file).read_bytes() == before
