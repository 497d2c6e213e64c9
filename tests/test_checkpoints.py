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
    assert meta == META
    assert list(saved.parent.iterdir()) == [saved]


def test_arrays_come_back_on_the_host(saved):
    tree, _ = checkpoints.load(saved)
    assert type(tree["theta_0"]["dense_0"]["kernel"]) is np.ndarray


def test_relative_paths_and_new_parents(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoints.save("a/b/ticket", {"w": np.ones(3)}, meta={})
    assert checkpoints.load(str(tmp_path / "a/b/ticket"))[0]["w"].sum() == 3
    assert checkpoints.load("a/b/ticket")[1] == {}


def test_saving_again_replaces(tmp_path):
    path = tmp_path / "ticket"
    for value in (1, 2):
        checkpoints.save(path, {"w": np.full(3, value)}, meta={"value": value})
        tree, meta = checkpoints.load(path)
        assert (tree["w"][0], meta["value"]) == (value, value)
    assert list(tmp_path.iterdir()) == [path]


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


def files_of(path):
    return sorted(p.relative_to(path) for p in path.rglob("*") if p.is_file())


def damage_truncate(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def damage_flip(file):
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 0x10
    file.write_bytes(raw)


def damage_empty(file):
    file.write_bytes(b"")


def damage_delete(file):
    file.unlink()


@pytest.mark.parametrize("damage", [damage_truncate, damage_flip, damage_empty, damage_delete])
def test_damage_to_any_file_is_refused_in_one_line(saved, tmp_path, damage):
    files = files_of(saved)
    assert len(files) > 5
    for number, name in enumerate(files):
        copy = tmp_path / str(number)
        shutil.copytree(saved, copy)
        damage(copy / name)
        with pytest.raises(ValueError, match=r"is corrupt at|no whole checkpoint") as caught:
            checkpoints.load(copy)
        assert "\n" not in str(caught.value)
        assert str(copy) in str(caught.value)


def test_hidden_files_of_the_file_system_do_no_harm(saved, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(saved, copy)
    (copy / ".DS_Store").write_text("x")
    assert checkpoints.load(copy)[1] == META


def test_sums_fit_the_common_tool(saved):
    done = subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=saved, check=False)
    assert done.returncode == 0


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
    with pytest.raises(ValueError, match=message):
        checkpoints.load(tmp_path / "it")


def test_another_format_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "_FORMAT", 99)
    checkpoints.save(tmp_path / "it", {"w": np.ones(1)}, meta={})
    monkeypatch.undo()
    with pytest.raises(ValueError, match="has format 99; this version reads 2"):
        checkpoints.load(tmp_path / "it")


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


def test_the_home_directory_and_other_machines(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    checkpoints.save("~/it", {"w": np.ones(1)}, meta={})
    assert checkpoints.exists("~/it")
    assert checkpoints.load(tmp_path / "home" / "it")[0]["w"] == 1
    for path in ("gs://bucket/it", pathlib.Path("gs://bucket/it"), "s3://it", "hf://a/b"):
        for call in (
            checkpoints.load,
            checkpoints.exists,
            lambda p: checkpoints.save(p, {}, meta={}),
        ):
            with pytest.raises(ValueError, match="is not local"):
                call(path)
    assert [p.name for p in tmp_path.iterdir()] == ["home"]


@pytest.mark.parametrize("there", ["file", "directory"])
def test_what_is_no_checkpoint_is_not_replaced(there, tmp_path):
    path = tmp_path / "it"
    if there == "file":
        path.write_text("mine")
    else:
        path.mkdir()
        (path / "thesis.tex").write_text("mine")
    with pytest.raises(ValueError, match="is there and no checkpoint; it is left alone"):
        checkpoints.save(path, {"w": np.ones(1)}, meta={})
    mine = path if there == "file" else path / "thesis.tex"
    assert mine.read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["it"]


def test_an_empty_directory_becomes_a_checkpoint(tmp_path):
    checkpoints.save(tmp_path, {"w": np.ones(1)}, meta={})
    assert checkpoints.load(tmp_path)[0]["w"] == 1


def damaged_meta(key, value):
    """A change of what a checkpoint says of itself."""
    return lambda about: about.update({key: value})


@pytest.mark.parametrize(
    "change",
    [
        damaged_meta("meta", [1]),
        damaged_meta("meta", "text"),
        damaged_meta("keys", {"w": "no such"}),
        damaged_meta("keys", None),
        damaged_meta("empty", {"w": ["float32", [2**40, 2**10]]}),
        damaged_meta("empty", {"w": 3}),
        damaged_meta("format", None),
        lambda about: about.pop("keys"),
        lambda about: about.pop("meta"),
    ],
)
def test_strange_words_about_a_checkpoint_are_refused_in_one_line(change, tmp_path, monkeypatch):
    as_json = checkpoints.ocp.args.JsonSave

    def changed(about):
        change(about)
        return as_json(about)

    monkeypatch.setattr(checkpoints.ocp.args, "JsonSave", changed)
    checkpoints.save(tmp_path / "it", {"w": np.ones(2)}, meta={})
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"cannot be read|has format None") as caught:
        checkpoints.load(tmp_path / "it")
    assert "\n" not in str(caught.value)


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
        assert b"\x80\x04\x95" not in (pathlib.Path(saved) / name).read_bytes()
