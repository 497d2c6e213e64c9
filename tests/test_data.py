"""Data sets are what they say: subsets, shapes, scales, and the arrays they are made of."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from ltjax import data
from ltjax.data.dataset import cut_test, permutation


def made_up(n=60, *, shape=(6, 7, 1), classes=5, test=20):
    """Random images whose classes have different numbers of examples."""
    rng = np.random.default_rng(0)

    def split(n):
        labels = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
        return data.Split(rng.integers(0, 256, (n, *shape), dtype=np.uint8), labels)

    names = [f"class {k}" for k in range(classes)]
    return data.make("made_up", split(n), split(test), class_names=names)


def rows_in(split, whole):
    """Positions in `whole` of the examples of `split`, by their pixels."""
    at = {image.tobytes(): i for i, image in enumerate(whole.images)}
    return [at[image.tobytes()] for image in split.images]


def first(ds, **counts):
    """Only the first examples of the splits named."""
    splits = {part: data.Split(*(x[:n] for x in getattr(ds, part))) for part, n in counts.items()}
    return dataclasses.replace(ds, **splits)


# Subsets.


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("0-4", (0, 1, 2, 3, 4)),
        ("0,2,5-7", (0, 2, 5, 6, 7)),
        ("3", (3,)),
        (" 1 , 4 - 5 ", (1, 4, 5)),
    ],
)
def test_classes_are_read_from_text(text, classes):
    assert data.parse_classes(text) == classes


@pytest.mark.parametrize("text", ["", ",", "a", "4-2", "1-", "-1", "1,,2", "1.5", "1-2-3"])
def test_other_texts_are_no_classes(text):
    with pytest.raises(ValueError, match="write numbers and rising ranges"):
        data.parse_classes(text)


def test_taken_classes_keep_their_examples_and_published_numbers_and_get_labels_by_rank():
    ds = made_up()
    taken = data.take_classes(ds, (4, 1, 2))
    assert (taken.classes, taken.label_map) == (3, (1, 2, 4))
    assert taken.class_names == ("class 1", "class 2", "class 4")
    assert taken.notes == ("only the classes 1-2,4",)
    for part, whole in ((taken.train, ds.train), (taken.test, ds.test)):
        rows = rows_in(part, whole)
        np.testing.assert_array_equal(rows, np.flatnonzero(np.isin(whole.labels, (1, 2, 4))))
        np.testing.assert_array_equal(np.array(taken.label_map)[part.labels], whole.labels[rows])
        assert part.labels.dtype == np.int32
    twice, direct = (data.take_classes(d, c) for d, c in ((taken, (2, 4)), (ds, np.array([4, 2]))))
    assert twice.label_map == direct.label_map == (2, 4)
    for ours, theirs in zip(twice.train, direct.train, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_parts_are_what_take_classes_leaves():
    ds = data.load("digits")
    chosen = ((0, 3, 7), (1, 2, 9))
    parts = data.class_parts(ds, chosen)
    assert (len(parts), parts.classes, parts.label_maps) == (2, 3, chosen)
    assert (parts.name, parts.shape, parts.mean, parts.train) == (
        *(ds.name, ds.shape, ds.mean, ds.train),
    )
    for i, classes in enumerate(chosen):
        taken = data.take_classes(ds, classes)
        rows = parts.train_rows[i]
        assert len(rows) == parts.examples <= taken.examples
        np.testing.assert_array_equal(ds.train.images[rows], taken.train.images[: len(rows)])
        outputs = parts.outputs[i][ds.train.labels[rows]]
        np.testing.assert_array_equal(outputs, taken.train.labels[: len(rows)])
        tested = parts.test_rows[i][parts.test_rows[i] >= 0]
        np.testing.assert_array_equal(ds.test.images[tested], taken.test.images)
    assert min(data.take_classes(ds, c).examples for c in chosen) == parts.examples
    assert parts.take([1, 1]).label_maps == (chosen[1], chosen[1])


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ((), "no classes to take; .* has 0-4"),
        (np.zeros(0, int), "no classes to take"),
        ("01", r"whole numbers, as \[0, 2, 7\]; got '01'"),
        (2, "whole numbers, .* got 2"),
        ((1, 1, 2), "classes 1 are named twice"),
        ((3, 5, 9), "no classes 5,9; 'made_up' has 0-4"),
        ((-1,), "no classes -1"),
    ],
)
def test_classes_that_cannot_be_taken(classes, message):
    with pytest.raises(ValueError, match=message):
        data.take_classes(made_up(), classes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ds: data.take_classes(first(ds, test=1), range(1, 5)), "has no test example of"),
        (lambda ds: data.class_parts(first(ds, train=1), [(0,), (1,)]), "has no training example"),
        (lambda ds: data.class_parts(ds, []), "no parts"),
        (lambda ds: data.class_parts(ds, [(0, 1), (2, 3, 4)]), "parts of 2, 3 classes"),
        (lambda ds: data.class_parts(ds, [(0, 1), (2, 12)]), "no classes 12"),
        (lambda ds: data.class_parts(ds, [(0, 1), (2, 2)]), "named twice"),
        (lambda ds: data.check_disjoint((0, 1, 2, 5), (2, 3, 5)), "classes 2,5 are in both"),
        (lambda ds: data.draw_halves(range(6), 21, seed=3), "20 halves to draw; got a count of 21"),
        (lambda ds: data.draw_halves(range(5), 1, seed=3), "even number"),
        (lambda ds: data.halve(ds, "c", seed=0), "no half 'c'; there are: a, b"),
        (lambda ds: data.halve(first(ds, train=5), "a", seed=0), "class 0 .* a half needs at leas"),
        (lambda ds: data.halve(first(ds, train=1), "a", seed=0), "a half needs at least two"),
        (lambda ds: data.adapt(ds, (6, 7, 2)), "'made_up' are 6x7x1 and cannot become 6x7x2"),
        (lambda ds: data.adapt(ds, (0, 7, 1)), "cannot become 0x7x1"),
        (lambda ds: data.adapt(ds, (6, 7, 0)), "cannot become 6x7x0"),
        (lambda ds: data.normalize(ds, "cifar"), "no normalization 'cifar'; did you mean cifar10"),
    ],
)
def test_changes_that_cannot_be_made(change, message):
    with pytest.raises(ValueError, match=message):
        change(made_up())


def test_halves_of_classes_are_drawn_without_repetition_and_more_leave_the_first():
    data.check_disjoint((0, 1, 2), (3, 4))
    few, many = (data.draw_halves(range(6), n, seed=3) for n in (5, 20))
    assert many[:5] == few
    assert len(set(many)) == 20  # All of them: 6 over 3.
    assert all(sorted(a + b) == list(range(6)) for a, b in many)
    assert data.draw_halves(range(6), 19, seed=3, without=[few[0][0]]) == many[1:]


def test_halves_are_disjoint_and_exactly_half_of_each_class():
    ds = made_up(103)
    counts = np.bincount(ds.train.labels)
    assert (counts % 2).any()
    halves = [data.halve(ds, which, seed=1) for which in "ab"]
    for half in halves:
        np.testing.assert_array_equal(np.bincount(half.train.labels), counts // 2)
        np.testing.assert_array_equal(half.test.images, ds.test.images)
        rows = rows_in(half.train, ds.train)
        np.testing.assert_array_equal(half.train.labels, ds.train.labels[rows])
        assert f"{(counts % 2).sum()} odd examples in neither" in half.notes[-1]
    a, b = (rows_in(half.train, ds.train) for half in halves)
    assert not set(a) & set(b)
    assert rows_in(data.halve(ds, "a", seed=1).train, ds.train) == a
    assert rows_in(data.halve(ds, "a", seed=2).train, ds.train) != a


def test_the_host_permutation_is_the_same_with_every_numpy():
    assert permutation(10, seed=3).tolist() == [0, 4, 9, 7, 1, 5, 6, 3, 8, 2]


# Shapes and scales.


@pytest.mark.parametrize(
    ("before", "after", "notes", "seen"),
    [
        (
            (28, 28, 1),
            (32, 32, 3),
            ("padded with zeros on all sides from 28x28 to 32x32", "grey repeated to 3 channels"),
            lambda x: np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0))).repeat(3, axis=-1),
        ),
        (
            (9, 6, 3),
            (4, 7, 3),
            (
                "cropped to the centre from 9x6 to 4x6",
                "padded with zeros on all sides from 4x6 to 4x7",
            ),
            lambda x: np.pad(x[:, 2:6], ((0, 0), (0, 0), (0, 1), (0, 0))),
        ),
        ((6, 7, 1), (6, 7, 1), (), lambda x: x),
    ],
)
def test_images_get_another_shape(before, after, notes, seen):
    ds = made_up(shape=before)
    other = data.adapt(ds, after)
    assert (other.shape, other.notes, ds.shape) == (after, notes, before)
    for part, whole in ((other.train, ds.train), (other.test, ds.test)):
        np.testing.assert_array_equal(part.images, seen(whole.images))
        np.testing.assert_array_equal(part.labels, whole.labels)
        assert part.images.dtype == np.uint8
    assert (other.mean, other.std) == data.statistics(other.train.images)
    assert (other is ds) == (before == after)


def test_colour_becomes_grey_by_the_mean_to_the_nearest():
    ds = made_up(shape=(5, 5, 3))
    grey = data.adapt(ds, (5, 5, 1))
    exact = ds.train.images.astype(float).mean(axis=-1, keepdims=True)
    assert np.abs(grey.train.images - exact).max() <= 1 / 3 + 1e-9
    assert grey.notes == ("3 channels averaged to grey",)
    back = data.adapt(data.adapt(made_up(), (6, 7, 3)), (6, 7, 1))
    np.testing.assert_array_equal(back.train.images, made_up().train.images)


@pytest.mark.parametrize("channels", [1, 3])
def test_own_statistics_standardize_the_training_split(channels):
    ds = made_up(2500, shape=(4, 4, channels))
    x = (ds.train.images / 255 - np.array(ds.mean)) / np.array(ds.std)
    np.testing.assert_allclose(x.mean(axis=(0, 1, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(x.std(axis=(0, 1, 2)), 1, atol=1e-12)
    flat = np.full((3, 2, 2, channels), 255, np.uint8)  # It can be divided by.
    assert data.statistics(flat) == ((1.0,) * channels, (1.0,) * channels)


def test_own_statistics_are_those_of_the_subset():
    half = data.halve(made_up(), "a", seed=0)
    assert half.mean == made_up().mean
    own = data.normalize(half, "own")
    assert own.mean != half.mean
    assert (own.mean, own.std) == data.statistics(half.train.images)


@pytest.mark.parametrize("how", data.NORMALIZATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_normalizations_have_a_number_for_each_channel_or_are_refused(how, channels):
    ds = made_up(shape=(4, 4, channels))
    published = data.NORMALIZATIONS[how]
    if published is not None and len(published[0]) > channels:
        with pytest.raises(ValueError, match=f"{how!r} is for 3 channels, 'made_up' has 1"):
            data.normalize(ds, how)
        return
    scaled = data.normalize(ds, how)
    assert len(scaled.mean) == len(scaled.std) == channels
    assert min(scaled.std) > 0
    assert scaled.train is ds.train
    if published is not None:
        assert set(scaled.mean) == set(published[0])


# What a data set must be.


def images(change):
    return lambda split: (change(split.images), split.labels)


def labels(change):
    return lambda split: (split.images, change(split.labels))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (images(lambda x: x / 255), "got float64.*: scale them to 0..255, as np.rint.255 "),
        (images(lambda x: x.astype(np.uint16) * 257), r"got uint16.*: scale .*images / 257"),
        (images(lambda x: x.astype(int)), "got int64.*give images.astype.np.uint8"),
        (images(lambda x: x > 9), "got bool.*give 255 . images"),
        (images(lambda x: x.astype(str)), "got <U3.*give numbers from 0 to 255"),
        (images(lambda x: x[..., 0]), r"got uint8\[20, 6, 7\]: add the axis of channels"),
        (images(lambda x: x[:, :0]), r"must be uint8 \[n, height, width, channels\]; got .* 0, "),
        (images(lambda x: [[1], [1, 2]]), "test images of 'made_up' must be an array; got list"),
        (images(lambda x: x[:, 1:]), "must have one shape"),
        (labels(lambda y: y[1:]), "one label for each"),
        (lambda s: data.Split(s.images[:0], s.labels[:0]), "at least one"),
        (labels(lambda y: np.ma.array(y, mask=y > 2)), "labels of 'made_up' are masked in part"),
        (labels(lambda y: y - 1), "range from -1 to 3"),
        (labels(lambda y: y + 1), "range from 1 to 5"),
        (labels(lambda y: y + 0.5), "whole numbers; got float64: they are not cast"),
        (labels(lambda y: y.astype(np.float32)), "whole numbers; got float32"),
        (labels(lambda y: y * np.nan), "whole numbers; got float64"),
        (labels(lambda y: y + 0j), "whole numbers; got complex128: give an array of integers"),
        (labels(lambda y: y > 2), "whole numbers; got bool: give labels.astype.int"),
        (labels(lambda y: y.astype(str)), r"got <U.*: class_names, labels = np.unique\(texts, ret"),
        (labels(lambda y: y.astype(bytes)), "whole numbers; got |S"),
        (labels(lambda y: y.astype(object)), "whole numbers; got object"),
        (labels(lambda y: [f"class {k}" for k in y]), "whole numbers; got <U7"),
        (labels(lambda y: np.eye(5)[y]), r"must be \[n\]; got \[20, 5\]: give labels.argmax"),
        (labels(lambda y: y[:, None]), r"got \[20, 1\]: give labels\[:, 0\]"),
        (labels(lambda y: [[1], [1, 2]]), "test labels of 'made_up' must be an array; got list"),
        (lambda s: s.images, "the test split of 'made_up' is .images, labels.; got ndarray"),
        (lambda s: (s.images, s.labels, s.labels), "is .images, labels.; got tuple"),
        (lambda s: None, "is .images, labels.; got NoneType"),
    ],
)
def test_arrays_that_are_no_data_set(change, message):
    ds = made_up()
    with pytest.raises(ValueError, match=message) as caught:
        data.make("made_up", ds.train, change(ds.test), class_names=ds.class_names)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"must have one shape|training"):
        data.make("made_up", change(ds.train), ds.test, class_names=ds.class_names)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int64, np.uint64, list, tuple])
def test_labels_are_whole_numbers_of_any_width(dtype):
    ds = made_up()
    convert = dtype if isinstance(dtype(), list | tuple) else (lambda y: y.astype(dtype))
    splits = [(s.images, convert(s.labels)) for s in (ds.train, ds.test)]
    again = data.make("made_up", *splits, class_names=ds.class_names)
    assert again.train.labels.dtype == np.int32
    np.testing.assert_array_equal(again.train.labels, ds.train.labels)


def test_labels_that_can_have_wrapped_are_refused():
    names = [str(i) for i in range(300)]
    pixels = np.zeros((300, 2, 2, 1), np.uint8)
    wide = data.Split(pixels, np.arange(300))
    assert data.make("wide", wide, wide, class_names=names).train.labels.max() == 299
    wrapped = data.Split(pixels, np.arange(300).astype(np.uint8))
    with pytest.raises(ValueError, match="are uint8, which ends at 255, so that some of 300"):
        data.make("wide", wide, wrapped, class_names=names)


@pytest.mark.parametrize(
    ("counts", "cut", "note"),
    [
        ([50, 50], [10, 10], "to the nearest example: 20 of 100, 20% of a class"),
        ([3, 3, 3], [1, 1, 1], "to the nearest example: 3 of 9, 33% of a class"),
        ([3, 7, 100], [1, 1, 20], "to the nearest example: 22 of 110, 14% to 33% of a class"),
        ([10, 33, 4], [2, 7, 1], "to the nearest example: 10 of 47, 20% to 25% of a class"),
        (
            [2, 10, 1],
            [0, 2, 0],
            "2 of 13, 20% of a class; classes without a test example: 2 (0, 2)",
        ),
    ],
)
def test_a_test_set_that_is_cut_says_what_it_took(counts, cut, note):
    labels = np.repeat(np.arange(len(counts)), counts)
    train, test, said = cut_test(labels)
    np.testing.assert_array_equal(np.bincount(labels[test], minlength=len(counts)), cut)
    np.testing.assert_array_equal(np.sort([*train, *test]), np.arange(len(labels)))
    assert said.startswith("no published split: a fixed fifth of each class is the test set")
    assert said.endswith(note)


def test_too_few_examples_for_a_test_set():
    with pytest.raises(ValueError, match="with at most 2 examples of a class no test set"):
        cut_test(np.array([0, 0, 1, 2]))


# Rows of the table.

STRIPES = """
import numpy as np
from ltjax import data
pixels = np.tile(np.arange(0, 256, 51, dtype=np.uint8), (12, 4, 1))[..., None]
split = data.Split(pixels, np.arange(12) % 2)
data.DATASETS["stripes"] = lambda name: data.make(name, split, split, class_names=["a", "b"])
"""


def test_a_row_from_outside_is_loaded_named_and_in_the_help_of_the_flags():
    code = f"""{STRIPES}
import dataclasses
from experiments import build, settings
(field,) = (f for f in dataclasses.fields(settings.FindTicket) if f.name == "data")
assert "xor, stripes, or another TFDS" in field.metadata["help"], field.metadata["help"]
found = build.dataset(settings.FindTicket(data="stripes", normalize="own"))
assert (found.name, found.shape, found.classes) == ("stripes", (4, 6, 1), 2)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_rows_from_outside_are_checked_and_proposed(monkeypatch, tmp_path):
    monkeypatch.setitem(data.DATASETS, "stripes", lambda name: made_up().train)
    with pytest.raises(ValueError, match=r"row 'stripes' of data.DATASETS makes a Split; let it"):
        data.load("stripes")
    with pytest.raises(ValueError, match="no data set 'stripe'; did you mean stripes"):
        data.load("stripe", data_dir=tmp_path)


@pytest.mark.parametrize("name", ["digits", "xor"])
def test_embedded_data_are_whole(name):
    ds = data.load(name, data_dir="/absent", cache_dir="/absent")
    assert ds.train.images.dtype == np.uint8
    assert ds.train.images.max() == 255
    assert ds.train.labels.dtype == np.int32
    assert set(ds.train.labels) == set(ds.test.labels) == set(range(ds.classes))
    assert len(ds.class_names) == ds.classes
    assert ds.notes


def test_the_digits_are_split_by_class():
    ds = data.load("digits")
    assert ds.shape == (8, 8, 1)
    train, test = np.bincount(ds.train.labels), np.bincount(ds.test.labels)
    assert train.sum() + test.sum() == 1797
    np.testing.assert_array_equal(test, np.rint((train + test) * 0.2))
    both = np.concatenate([ds.train.images, ds.test.images]).reshape(1797, -1)
    assert set(np.unique(both)) == set(np.rint(np.arange(17) * 255 / 16))
    assert len(np.unique(both, axis=0)) == 1797  # No test digit is also a training digit.


def test_xor_is_the_exclusive_or():
    ds = data.load("xor")
    pixels = ds.train.images.reshape(4, 2) // 255
    assert sorted(map(tuple, pixels.tolist())) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    np.testing.assert_array_equal(ds.train.labels, pixels[:, 0] ^ pixels[:, 1])
    assert (ds.mean, ds.std) == ((0.5,), (0.5,))
