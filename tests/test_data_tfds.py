"""Prepared TFDS directories are read to the byte, without TensorFlow, and decoded once."""

import importlib.util
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from ltjax import data
from ltjax.data import prepare, prepared, tfds_source
from tests import tfds_writer

REAL = pathlib.Path(__file__).parents[2] / "shared" / "tfds"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """No test reads or writes the home directory."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LTJAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)


def fail(*args, **kwargs):
    raise AssertionError("decoded again")


def examples(n, shape, *, classes, seed=0, **beside):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, *shape), dtype=np.uint8)
    labels = rng.permutation(np.arange(n) % classes)
    pairs = zip(images, labels, strict=True)
    return images, labels, [{"image": image, "label": int(k), **beside} for image, k in pairs]


def write_mnist(root, *, seed=0, **options):
    images, labels, rows = examples(12, (28, 28, 1), classes=10, seed=seed)
    path = tfds_writer.write("mnist", root, {"train": rows[:8], "test": rows[8:]}, **options)
    return path, images, labels


def assert_split(split, images, labels):
    np.testing.assert_array_equal(split.images, images)
    np.testing.assert_array_equal(split.labels, labels)
    assert split.images.dtype == np.uint8
    assert split.labels.dtype == np.int32


def value_of(feature, rng):
    """A value of any feature that TFDS knows beside images and texts: a zero of its shape."""
    features = tfds_source.import_tfds().features
    if isinstance(feature, features.Image):
        shape = [size or 20 for size in feature.shape]
        return rng.integers(0, 256, shape, dtype=np.uint8)
    return "x" if isinstance(feature, features.Text) else np.zeros(feature.shape, int).tolist()


@pytest.mark.parametrize(
    "name", [n for n, row in data.DATASETS.items() if isinstance(row, data.Tfds)]
)
def test_every_row_reads_what_was_prepared(name, tmp_path):
    row, rng = data.DATASETS[name], np.random.default_rng(0)
    image, label = row.image or "image", row.label or "label"
    features = tfds_source.import_tfds().builder(name, data_dir=tmp_path).info.features
    classes = features[label].num_classes
    rows = [{key: value_of(f, rng) for key, f in features.items()} for _ in range(9)]
    for i, example in enumerate(rows):
        example[label] = 8 * i % classes
    splits = {"train": rows[:6], "test": rows[6:]}
    if name == "svhn_cropped":
        splits["extra"] = rows[:2]
    tfds_writer.write(name, tmp_path, splits)
    ds = data.load(name, data_dir=tmp_path)
    images, labels = (np.array([example[key] for example in rows]) for key in (image, label))
    if row.shrink > 1:
        n, height, width, channels = images.shape
        side = row.shrink
        squares = images.reshape(n, height // side, side, width // side, side, channels)
        images = np.floor(squares.astype(float).mean(axis=(2, 4)) + 0.5).astype(np.uint8)
        assert f"squares of {side}x{side} pixels averaged to one" in ds.notes
    if row.image or row.label:
        assert f"the image is the feature {image!r}, the label {label!r}" in ds.notes
    assert_split(ds.train, images[:6], labels[:6])
    assert_split(ds.test, images[6:], labels[6:])
    assert (ds.classes, ds.label_map) == (classes, tuple(range(classes)))
    assert len(ds.class_names) == classes
    assert ds.version.count(".") == 2


def test_records_in_several_files_and_blocks_keep_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds_source, "_BLOCK", 3)
    path, images, labels = write_mnist(tmp_path, shards=3)
    assert len(list(path.glob("mnist-train*"))) == 3
    assert_split(data.load("mnist", data_dir=tmp_path).train, images[:8], labels[:8])


# Names without a row.


def test_a_name_without_a_row_and_without_test_split_is_split_by_class(tmp_path):
    images, labels, rows = examples(50, (64, 64, 3), classes=10, filename="f")
    tfds_writer.write("eurosat/rgb", tmp_path, {"train": rows})
    ds = data.load("eurosat/rgb", data_dir=tmp_path)
    assert "a fixed fifth of each class is the test set" in ds.notes[0]
    assert "10 of 50, 20% of a class" in ds.notes[0]
    np.testing.assert_array_equal(np.bincount(ds.test.labels), np.full(10, 1))
    both = np.concatenate([ds.train.images, ds.test.images])
    order = [next(i for i, x in enumerate(images) if (x == y).all()) for y in both]
    assert sorted(order) == list(range(50))
    np.testing.assert_array_equal(np.concatenate([ds.train.labels, ds.test.labels]), labels[order])


def test_a_validation_split_stands_in_for_the_test_split(tmp_path):
    _, _, rows = examples(5, (20, 20, 3), classes=5)
    tfds_writer.write("food101", tmp_path, {"train": rows[:3], "validation": rows[3:]})
    ds = data.load("food101", data_dir=tmp_path)
    assert ds.notes == ("no test split: the validation split is the test set",)
    assert len(ds.test.labels) == 2


def unlabelled(rows):
    return [row | {"label": -1} for row in rows]


NO_TEST = "the split 'test' has no labels and is left out"
NO_VALIDATION = "the split 'validation' has no labels and is left out"
STANDS_IN = "no labelled test split: the validation split is the test set"
CUT = "no published split: a fixed fifth of each class is the test set"


@pytest.mark.parametrize(
    ("test", "validation", "notes"),
    [
        (unlabelled, list, (NO_TEST, STANDS_IN)),
        (list, unlabelled, ()),
        (list, list, ()),
        (unlabelled, unlabelled, (NO_TEST, NO_VALIDATION, CUT)),
    ],
)
def test_a_split_without_labels_is_left_out(test, validation, notes, tmp_path):
    """As `imagenet2012` and `places365_small` publish their test splits."""
    images, labels, rows = examples(10, (20, 20, 3), classes=2, file_name="x")
    write = {"train": rows[:6], "test": test(rows[6:8]), "validation": validation(rows[8:])}
    tfds_writer.write("imagenet2012", tmp_path, write)
    ds = data.load("imagenet2012", data_dir=tmp_path)
    assert all(said.startswith(note) for said, note in zip(ds.notes, notes, strict=True))
    if len(notes) < 3:
        at = slice(8, 10) if test is unlabelled else slice(6, 8)
        assert_split(ds.train, images[:6], labels[:6])
        assert_split(ds.test, images[at], labels[at])


def test_training_examples_need_labels(tmp_path):
    _, _, rows = examples(4, (20, 20, 3), classes=2, file_name="x")
    tfds_writer.write("imagenet2012", tmp_path, {"train": unlabelled(rows), "validation": rows})
    assert_refused("imagenet2012", "has no label in its split 'train'", data_dir=tmp_path)
    tfds_writer.write(
        "imagenet2012", tmp_path / "2", {"train": [*unlabelled(rows), *rows], "validation": rows}
    )
    assert_refused(
        "imagenet2012", "training labels .* must be in .* from -1 to", data_dir=tmp_path / "2"
    )


@pytest.mark.parametrize("declared", [5, 9])
def test_more_or_fewer_examples_than_declared_are_refused(declared, tmp_path):
    path, _, _ = write_mnist(tmp_path)
    metadata = path / "dataset_info.json"
    info = json.loads(metadata.read_text())
    (split,) = (s for s in info["splits"] if s["name"] == "train")
    split["shardLengths"] = [str(declared)]
    metadata.write_text(json.dumps(info))
    message = f"its metadata declare {declared} examples, its records are 8.*prepare it again"
    assert_refused("mnist", message, data_dir=tmp_path)


def test_images_of_more_bits_are_refused_with_the_way_out():
    example = {"image": np.zeros((2, 2, 1), np.uint16), "label": 0}
    with pytest.raises(ValueError, match=r"has uint16 images, .*scale the images to 0\.\.255"):
        tfds_source._stack(iter([example]), 1, image="image", label="label", name="deep")


def test_the_supervised_pair_is_taken_where_there_are_several_labels(tmp_path):
    images, labels, rows = examples(4, (105, 105, 3), classes=4, alphabet=1, alphabet_char_id=2)
    tfds_writer.write("omniglot", tmp_path, {"train": rows, "test": rows})
    ds = data.load("omniglot", data_dir=tmp_path)
    assert_split(ds.train, images, labels)
    assert ds.classes == 1623


def test_a_configuration_must_be_named(tmp_path):
    _, _, rows = examples(4, (28, 28, 1), classes=4)
    tfds_writer.write("emnist/mnist", tmp_path, {"train": rows, "test": rows})
    assert data.load("emnist/mnist", data_dir=tmp_path).classes == 10
    with pytest.raises(ValueError, match=r"several configurations; name one: emnist/mnist$"):
        data.load("emnist", data_dir=tmp_path)


def test_the_newest_version_is_read(tmp_path):
    path, _, _ = write_mnist(tmp_path)
    for version in ("3.0.0", "10.0.0", "9.9.9"):
        other = path.with_name(version)
        shutil.copytree(path, other)
        info = json.loads((other / "dataset_info.json").read_text()) | {"version": version}
        (other / "dataset_info.json").write_text(json.dumps(info))
    (path.with_name("11.0.0.incompleteABC")).mkdir()
    assert data.load("mnist", data_dir=tmp_path).version == "10.0.0"


# Bad input: one line, and nothing is made.


def assert_refused(name, message, **options):
    with pytest.raises(ValueError, match=message) as caught:
        data.load(name, **options)
    assert "\n" not in str(caught.value)
    assert not os.path.exists(os.environ["LTJAX_CACHE"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mnits", r"no data set 'mnits'; did you mean mnist .*there are: .*svhn_cropped"),
        ("flowers", "no data set 'flowers'; .*tf_flowers"),
        ("../secret", "no data set '../secret'"),
        ("", "no data set ''"),
        ("binarized_mnist", r"'binarized_mnist' is not .* classification.*: image \(Image\)$"),
        ("imdb_reviews", r"not read as image classification.*: text \(Text\), label"),
        ("emnist/wrong", "data set 'emnist/wrong': TFDS says: .*wrong"),
    ],
)
def test_names_that_are_no_image_classification(name, message, tmp_path):
    assert_refused(name, message, data_dir=tmp_path)
    assert_refused(name, message, data_dir=tmp_path / "absent")


def test_data_that_are_not_there_come_with_the_command(tmp_path, monkeypatch):
    absent = tmp_path / "not here"
    command = f"python -m ltjax.data.prepare --dataset=kmnist --data_dir='{absent}'"
    message = f"'{absent}' does not exist; give data_dir or set TFDS_DATA_DIR.*{command}"
    assert_refused("kmnist", message, data_dir=absent)
    monkeypatch.setenv("TFDS_DATA_DIR", str(absent))
    assert_refused("kmnist", message)
    monkeypatch.setenv("TFDS_DATA_DIR", "gs://b/data")
    assert_refused("mnist", "TFDS_DATA_DIR 'gs://b/data' is not local")
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert_refused("kmnist", "home/tensorflow_datasets' does not exist")
    (tmp_path / "mnist" / "3.0.1.incomplete1").mkdir(parents=True)
    command = f"--dataset=mnist --data_dir={tmp_path}$"
    assert_refused("mnist", f"'mnist' is not prepared in .*{command}", data_dir=tmp_path)
    assert_refused(
        "eurosat", "'eurosat' is not prepared in .*ltjax.data.prepare", data_dir=tmp_path
    )


def test_records_for_tensorflow_alone_come_with_the_command(tmp_path, monkeypatch):
    write_mnist(tmp_path, file_format="tfrecord")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert_refused(
        "mnist",
        r"as tfrecord, which only TensorFlow reads; run: pip install 'ltjax\[prepare\]'",
        data_dir=tmp_path,
    )


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        (
            "mnist-train*",
            lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        ),
        ("mnist-train*", pathlib.Path.unlink),
        ("features.json", lambda path: path.write_text("{")),
    ],
)
def test_damaged_directories_are_refused(file, damage, tmp_path):
    path, _, _ = write_mnist(tmp_path)
    damage(next(path.glob(file)))
    assert_refused("mnist", "cannot be read .*prepare it again", data_dir=tmp_path)


def test_images_of_several_shapes_are_refused(tmp_path):
    _, _, rows = examples(3, (20, 20, 3), classes=3)
    rows[2]["image"] = rows[2]["image"][:10]
    tfds_writer.write("food101", tmp_path, {"train": rows, "validation": rows})
    message = r"differ in shape, such as \(20, 20, 3\) and \(10, 20, 3\)"
    assert_refused("food101", message, data_dir=tmp_path)


def test_images_that_do_not_fit_into_memory_are_refused(tmp_path, monkeypatch):
    write_mnist(tmp_path)
    monkeypatch.setattr(tfds_source, "_MAX_BYTES", 1000)
    assert_refused("mnist", "which stay in memory", data_dir=tmp_path)


def test_preparing_needs_tensorflow_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as caught:
        prepare.main(["prepare"], "mnist", str(tmp_path))
    assert "run: pip install 'ltjax[prepare]'" in str(caught.value.code)
    with pytest.raises(SystemExit, match="did you mean mnist"):
        prepare.main(["prepare"], "mnits", str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_prepared_data_are_not_prepared_again(tmp_path, monkeypatch):
    path, _, _ = write_mnist(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert prepare.prepare("mnist", str(tmp_path)) == str(path)


# Decoded once.


def test_the_second_load_decodes_nothing(tmp_path, monkeypatch):
    _, images, labels = write_mnist(tmp_path / "data")
    first = data.load("mnist", data_dir=tmp_path / "data")
    monkeypatch.setattr(tfds_source, "read", fail)
    monkeypatch.setattr(tfds_source, "import_tfds", fail)
    second = data.load("mnist", data_dir=tmp_path / "data")
    assert_split(second.train, images[:8], labels[:8])
    assert (second.mean, second.std) == (first.mean, first.std)
    assert (second.class_names, second.version) == (first.class_names, first.version)
    shutil.copytree(tmp_path / "data", tmp_path / "moved")
    data.load("mnist", data_dir=tmp_path / "moved")
    with pytest.raises(AssertionError, match="decoded again"):
        data.load("mnist", data_dir=tmp_path / "data", cache_dir=tmp_path / "other")


def test_other_records_or_another_row_under_the_same_name_are_decoded(tmp_path):
    """The images are noise, whose PNG files are all equally long: only their bytes differ."""
    for seed in (0, 1):
        root = tmp_path / str(seed)
        path, images, labels = write_mnist(root, seed=seed)
        assert_split(data.load("mnist", data_dir=root).train, images[:8], labels[:8])
    rows = [tfds_source.Tfds(), tfds_source.Tfds(shrink=2), tfds_source.Tfds(label="label")]
    assert len({prepared.fingerprint(path, row) for row in rows}) == 3


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("more", lambda x: np.zeros(1)),
        ("notes", lambda x: None),
        ("class_names", lambda x: np.arange(10)),
        ("class_names", lambda x: x[:1]),
        ("train_labels", lambda x: x.astype(float)),
        ("train_labels", lambda x: x.astype(np.int64)),
        ("train_labels", lambda x: x[1:]),
        ("train_labels", lambda x: x + 99),
        ("train_images", lambda x: x.astype(np.uint16)),
        ("train_images", lambda x: x[:, :9]),
    ],
)
def test_a_whole_cache_of_other_arrays_is_decoded_again(name, change, tmp_path, caplog):
    _, images, labels = write_mnist(tmp_path / "data")
    data.load("mnist", data_dir=tmp_path / "data")
    (file,) = (tmp_path / "cache").iterdir()
    with np.load(file) as opened:
        found = dict(opened)
    found[name] = change(found.get(name))
    np.savez(file, **{name: array for name, array in found.items() if array is not None})
    assert_split(data.load("mnist", data_dir=tmp_path / "data").train, images[:8], labels[:8])
    assert "is built again" in caplog.text
    caplog.clear()
    data.load("mnist", data_dir=tmp_path / "data")
    assert not caplog.text


def test_importing_the_package_imports_no_tfds():
    code = "import ltjax.data, sys; assert 'tensorflow_datasets' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# Real data.


def real(name):
    if not (REAL / name).is_dir():
        pytest.skip(f"{name} is not prepared in {REAL}")
    return REAL


def test_mnist_is_mnist(monkeypatch):
    root = real("mnist")
    ds = data.load("mnist", data_dir=root)
    assert ds.train.images.shape == (60000, 28, 28, 1)
    assert ds.test.images.shape == (10000, 28, 28, 1)
    assert ds.train.labels[:10].tolist() == [4, 1, 0, 7, 8, 1, 2, 7, 1, 6]
    assert np.bincount(ds.train.labels).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
    np.testing.assert_allclose((ds.mean[0], ds.std[0]), (0.1307, 0.3081), atol=5e-5)
    monkeypatch.setattr(tfds_source, "read", fail)
    np.testing.assert_array_equal(data.load("mnist", data_dir=root).train.images, ds.train.images)


@pytest.mark.parametrize(
    ("name", "shape", "train", "first", "last_class"),
    [
        ("fashion_mnist", (28, 28, 1), 60000, [2, 1, 8, 4, 1], "Ankle boot"),
        ("cifar10", (32, 32, 3), 50000, [7, 8, 4, 4, 6], "truck"),
    ],
)
def test_real_data_have_their_published_form(name, shape, train, first, last_class):
    """Decodes a few images only; MNIST stands for whole sets."""
    path = prepared.find(name, real(name), known=())
    builder = tfds_source.import_tfds().builder_from_directory(path)
    splits = {split: info.num_examples for split, info in builder.info.splits.items()}
    assert splits == {"train": train, "test": 10000}
    examples = tfds_source.examples_of(builder, "train", name=name, path=path)
    found = list(itertools.islice(examples, 5))
    assert [e["label"] for e in found] == first
    assert {e["image"].shape for e in found} == {shape}
    assert builder.info.features["label"].names[-1] == last_class
