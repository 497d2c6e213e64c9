import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.storage import checkpoints


def make(seed=0):
    numbers = np.random.default_rng(seed)
    return {
        "mask": {"dense_0": {"kernel": numbers.random((30, 7)) < 0.5, "bias": np.ones(7, bool)}},
        "theta_0": {"dense_0": {"kernel": jnp.asarray(numbers.normal(size=(30, 7)), jnp.float32)}},
        "stats": {},
        "nested": {"empty": {}, "none_left": np.zeros((0, 3), np.float32)},
        "key": jax.random.key(3),
        "keys": jax.random.split(jax.random.key(4, impl="rbg"), 3),
        "step": np.int32(12),
        "images": np.arange(9, dtype=np.uint8),
        "half": jnp.ones(3, jnp.bfloat16),
        "wide": np.full(2, np.pi),
        "strange": np.array([np.nan, np.inf, -0.0, 1e-45], np.float32),
    }


META = {"data": "digits", "density": 0.1, "levels": [1, 2], "none": None, "deep": {"a": True}}


def assert_same(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "ticket"
    checkpoints.save(path, make(), meta=META)
    return path


def test_round_trip_is_exact(saved):
    tree, meta = checkpoints.load(saved)
    assert_same(tree, make())
    assert type(tree["theta_0"]["dense_0"]["kernel"]) is np.ndarray  # On the host.
    assert meta == META
    assert list(saved.parent.iterdir()) == [saved]


class Kill(BaseException):
    """Stands for a kill: nothing below catches it."""


def test_a_kill_around_each_rename_leaves_a_whole_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "ticket"
    rename = os.rename
    checkpoints.save(path, {"w": np.zeros(3)}, meta={"value": 0})
    # From the second save on the first rename is the repair of the kill before.
    table = [(1, "before", 0), (1, "after", 0), (2, "after", 0), (3, "after", 4)]
    for value, (at, when, expected) in enumerate(table, start=1):
        calls = []

        def killed(source, target, *, at=at, when=when, calls=calls):
            if "orbax-checkpoint-tmp" in str(source):
                return rename(source, target)
            calls.append(source)
            if len(calls) == at and when == "before":
                raise Kill
            rename(source, target)
            if len(calls) == at:
                raise Kill
            return None

        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", killed)
            with pytest.raises(Kill):
                checkpoints.save(path, {"w": np.full(3, value)}, meta={"value": value})
        assert checkpoints.exists(path)
        tree, meta = checkpoints.load(path)
        assert meta["value"] == expected
        assert (tree["w"] == expected).all()
    checkpoints.save(path, {"w": np.full(3, 9)}, meta={"value": 9})
    assert checkpoints.load(path)[1] == {"value": 9}
    assert list(tmp_path.iterdir()) == [path]


WRITER = """
import sys
import numpy as np
from ltjax.storage import checkpoints
print("ready", flush=True)
for value in range(1_000_000):
    tree = {f"leaf_{i}": np.full(50_000, value) for i in range(4)}
    checkpoints.save(sys.argv[1], tree, meta={"value": value})
    print(value, flush=True)
"""


def test_kill_9_in_mid_save(tmp_path):
    path = tmp_path / "ticket"
    outcomes = []
    for wait in (0.0, 0.13, 0.41):
        command = [sys.executable, "-c", WRITER, path]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout.readline() == "ready\n"
            time.sleep(wait)
            writer.send_signal(signal.SIGKILL)
            last = [int(line) for line in writer.stdout.read().split()]
        if not outcomes and not last and not path.exists():
            with pytest.raises(ValueError, match="no checkpoint"):
                checkpoints.load(path)
            continue
        tree, meta = checkpoints.load(path)
        outcomes.append(meta["value"])
        assert all((leaf == meta["value"]).all() for leaf in tree.values())
        assert not last or meta["value"] in (last[-1], last[-1] + 1)
    assert outcomes, "no writer lived long enough"


def refused(path, message):
    with pytest.raises(ValueError, match=message) as caught:
        checkpoints.load(path)
    assert "\n" not in str(caught.value)


def files_of(path):
    return sorted(p.relative_to(path) for p in path.rglob("*") if p.is_file())


def flipped(raw):
    middle = len(raw) // 2
    return raw[:middle] + bytes([raw[middle] ^ 0x10]) + raw[middle + 1 :]


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[: len(raw) // 2], flipped, lambda raw: b"", None]
)
def test_damage_to_any_file_is_refused_in_one_line(saved, tmp_path, damage):
    files = files_of(saved)
    assert len(files) > 5
    for number, name in enumerate(files):
        copy = tmp_path / str(number)
        shutil.copytree(saved, copy)
        if damage:
            (copy / name).write_bytes(damage((copy / name).read_bytes()))
        else:
            (copy / name).unlink()
        (copy / ".DS_Store").write_text("x")  # Hidden files are the file system's and do no harm.
        refused(copy, rf"{copy} .*is corrupt at|{copy} is no whole checkpoint")


def test_sums_fit_the_common_tool(saved):
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=saved, check=True)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda path: path.with_name(".it.new").mkdir(), "no checkpoint at"),
        (lambda path: path.mkdir(), "no whole checkpoint"),
        (lambda path: path.write_text("x"), "no whole checkpoint"),
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path, prepare, message):
    prepare(tmp_path / "it")
    assert checkpoints.exists(tmp_path / "it") == (message != "no checkpoint at")
    refused(tmp_path / "it", message)


def test_another_format_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "_FORMAT", 99)
    checkpoints.save(tmp_path / "it", {"w": np.ones(1)}, meta={})
    monkeypatch.undo()
    refused(tmp_path / "it", "has format 99; this version reads 2")


KEYS = ["a/b", "/", "//", "a%b", "a%2Fb", "%252F", "..", ".", "a.b", "0", "a b", "é", "a\nb"]


def test_keys_hold_any_text(tmp_path):
    """Flax's WeightNorm and SpectralNorm name leaves such as `Dense_0/kernel/scale`."""
    leaves = {key: np.full(2, i) for i, key in enumerate(KEYS)}
    tree = {"a/b": {"c": np.zeros(1)}, "a": {"b/c": np.ones(1)}, "deep": leaves}
    tree["keys"] = {key: jax.random.key(i) for i, key in enumerate(KEYS)}
    tree["none"] = {key: np.zeros((i, 0), np.float32) for i, key in enumerate(KEYS)}
    checkpoints.save(tmp_path / "it", tree, meta={})
    assert_same(checkpoints.load(tmp_path / "it")[0], tree)


def test_keys_of_the_first_format_are_taken_as_they_are(tmp_path, monkeypatch):
    tree = {"a%2Fb": np.ones(2), "c": {"%25": jax.random.key(1)}}
    monkeypatch.setattr(checkpoints, "_FORMAT", 1)
    monkeypatch.setattr(checkpoints, "escape", str)
    checkpoints.save(tmp_path / "it", tree, meta={})
    monkeypatch.undo()
    assert_same(checkpoints.load(tmp_path / "it")[0], tree)


def test_relative_paths_the_home_directory_and_other_machines(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for path, meant in (("~/it", "home/it"), ("home/a/b", "home/a/b")):  # Parents are made.
        checkpoints.save(path, {"w": np.ones(1)}, meta={})
        assert checkpoints.exists(path)
        assert checkpoints.load(tmp_path / meant)[0]["w"] == checkpoints.load(path)[0]["w"] == 1
    for path in ("gs://bucket/it", pathlib.Path("gs://bucket/it"), "s3://it", "hf://a/b"):
        for call in (checkpoints.load, checkpoints.exists, checkpoints.save):
            with pytest.raises(ValueError, match="is not local"):
                call(path, **({"tree": {}, "meta": {}} if call is checkpoints.save else {}))
    assert [p.name for p in tmp_path.iterdir()] == ["home"]


@pytest.mark.parametrize("mine", ["it", "it/thesis.tex"])
def test_what_is_no_checkpoint_is_not_replaced(mine, tmp_path):
    path, mine = tmp_path / "it", tmp_path / mine
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    with pytest.raises(ValueError, match="is there and no checkpoint; it is left alone"):
        checkpoints.save(path, {"w": np.ones(1)}, meta={})
    assert mine.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]
    mine.unlink()  # An empty directory becomes one.
    path.mkdir(exist_ok=True)
    checkpoints.save(path, {"w": np.ones(1)}, meta={})
    assert checkpoints.load(path)[0]["w"] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"meta": [1]},
        {"meta": "text"},
        {"keys": {"w": "no such"}},
        {"keys": None},
        {"empty": {"w": ["float32", [2**40, 2**10]]}},
        {"empty": {"w": 3}},
        {"format": None},
        "keys",
        "meta",
    ],
)
def test_strange_words_about_a_checkpoint_are_refused_in_one_line(change, tmp_path, monkeypatch):
    as_json = checkpoints.ocp.args.JsonSave

    def changed(about):
        about = about | change if isinstance(change, dict) else about
        return as_json({k: v for k, v in about.items() if k != change})

    monkeypatch.setattr(checkpoints.ocp.args, "JsonSave", changed)
    checkpoints.save(tmp_path / "it", {"w": np.ones(2)}, meta={})
    monkeypatch.undo()
    refused(tmp_path / "it", r"cannot be read|has format None")


@pytest.mark.parametrize(
    ("tree", "meta", "message"),
    [
        ({}, {}, "would hold no array"),
        ({"a": {}}, {}, "would hold no array"),
        ({"a": (np.ones(1),)}, {}, "'tree/a' is a tuple"),
        ({"a": {"b": None}}, {}, "'tree/a/b' is a NoneType"),
        ({"a": 1.0}, {}, "'tree/a' is a float"),
        ({"": np.ones(1)}, {}, "key '' of 'tree' is no name; use text"),
        ({"a": {1: np.ones(1)}}, {}, "key 1 of 'tree/a' is no name; use text"),
        ({"a": np.ones(1)}, {"x": np.ones(1)}, "must be JSON"),
        ({"a": np.ones(1)}, {"x": float("nan")}, "must be JSON"),
    ],
)
def test_what_cannot_be_stored_is_refused_before_anything_is_written(tmp_path, tree, meta, message):
    with pytest.raises(ValueError, match=message):
        checkpoints.save(tmp_path / "deep" / "it", tree, meta=meta)
    assert list(tmp_path.iterdir()) == []


SPREAD = """
import sys
import jax, jax.numpy as jnp
jax.config.update("jax_num_cpu_devices", 4)
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from ltjax.storage import checkpoints
mesh = jax.make_mesh((4,), ("d",), axis_types=(AxisType.Auto,))
spread = NamedSharding(mesh, PartitionSpec("d"))
tree = {"w": jnp.arange(8.0), "keys": jax.random.split(jax.random.key(0), 4)}
checkpoints.save(sys.argv[1], jax.device_put(tree, spread), meta={"devices": jax.device_count()})
"""


def test_many_devices_write_and_one_reads(tmp_path):
    path = tmp_path / "it"
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    subprocess.run([sys.executable, "-c", SPREAD, path], check=True, env=env)
    tree, meta = checkpoints.load(path)
    assert meta == {"devices": 4}
    assert_same(tree, {"w": jnp.arange(8.0), "keys": jax.random.split(jax.random.key(0), 4)})


def test_nothing_is_pickled(saved):
    for name in files_of(saved):
        assert b"\x80\x04\x95" not in (saved / name).read_bytes()
