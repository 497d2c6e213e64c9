"""Subsets keep what they say, adaptations are stated, and the order of examples loses nothing."""

import dataclasses
import functools
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import data
from ltjax.data import cache, order
from ltjax.data.dataset import cut_test, permutation, stratified


def made_up(n=60, *, shape=(6, 7, 1), classes=5, test=20, seed=0):
    """Random images whose classes have different numbers of examples."""
    rng = np.random.default_rng(seed)

    def split(n):
        labels = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
        return data.Split(rng.integers(0, 256, (n, *shape), dtype=np.uint8), labels)

    names = [f"class {k}" for k in range(classes)]
    return data.make("made_up", split(n), split(test), class_names=names)


def rows_in(split, whole):
    """Positions in `whole` of the examples of `split`, by their pixels."""
    at = {image.tobytes(): i for i, image in enumerate(whole.images)}
    return [at[image.tobytes()] for image in split.images]


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


def test_taken_classes_keep_their_examples_and_get_labels_by_rank():
    ds = made_up()
    taken = data.take_classes(ds, (4, 1, 2))
    assert (taken.classes, taken.label_map) == (3, (1, 2, 4))
    assert taken.class_names == ("class 1", "class 2", "class 4")
    for part, whole in ((taken.train, ds.train), (taken.test, ds.test)):
        rows = rows_in(part, whole)
        np.testing.assert_array_equal(rows, np.flatnonzero(np.isin(whole.labels, (1, 2, 4))))
        np.testing.assert_array_equal(np.array(taken.label_map)[part.labels], whole.labels[rows])
        assert part.labels.dtype == np.int32
    assert taken.notes == ("only the classes 1-2,4",)


def test_classes_of_a_subset_keep_their_published_numbers():
    once = data.take_classes(made_up(), (1, 2, 4))
    twice = data.take_classes(once, (2, 4))
    assert twice.label_map == (2, 4)
    direct = data.take_classes(made_up(), (2, 4))
    np.testing.assert_array_equal(twice.train.images, direct.train.images)
    np.testing.assert_array_equal(twice.train.labels, direct.train.labels)
    assert data.take_classes(made_up(), np.array([4, 2])).label_map == direct.label_map


def test_classes_without_examples_are_no_data_set():
    ds = made_up()
    few = dataclasses.replace(ds, test=data.Split(ds.test.images[:1], ds.test.labels[:1]))
    other = [c for c in range(ds.classes) if c != few.test.labels[0]]
    with pytest.raises(ValueError, match="has no test example of the classes"):
        data.take_classes(few, other)


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


def test_shared_classes_are_named():
    data.check_disjoint((0, 1, 2), (3, 4))
    with pytest.raises(ValueError, match="classes 2,5 are in both"):
        data.check_disjoint((0, 1, 2, 5), (2, 3, 5))


@pytest.mark.parametrize("n", [2, 7, 10])
def test_class_halves_are_disjoint_complete_and_random(n):
    classes = tuple(range(100, 100 + n))
    a, b = data.class_halves(classes, seed=0)
    assert sorted(a + b) == list(classes)
    assert len(b) - len(a) == n % 2
    assert len({data.class_halves(classes, seed=s) for s in range(20)}) > 1
    assert data.class_halves(classes[::-1], seed=0) == (a, b)


def test_one_class_has_no_halves():
    with pytest.raises(ValueError, match="at least two"):
        data.class_halves((3,), seed=0)


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


def test_halves_that_are_not():
    with pytest.raises(ValueError, match="no half 'c'; there are: a, b"):
        data.halve(made_up(), "c", seed=0)
    with pytest.raises(ValueError, match="a half needs at least two"):
        data.halve(data.limit(made_up(), train=5), "a", seed=0)


def test_limit_keeps_the_first_examples():
    ds = data.limit(made_up(), train=7)
    np.testing.assert_array_equal(ds.train.images, made_up().train.images[:7])
    assert len(ds.test.labels) == 20
    assert ds.notes == ("only the first 7 of 60 train examples",)
    for n in (0, 61):
        with pytest.raises(ValueError, match="has 60 train examples"):
            data.limit(made_up(), train=n)


def test_the_host_permutation_is_the_same_with_every_numpy():
    assert permutation(10, seed=3).tolist() == [0, 4, 9, 7, 1, 5, 6, 3, 8, 2]


def test_a_stratified_part_has_its_share_of_each_label():
    labels = np.repeat([0, 1, 2], [10, 33, 4])
    part, rest = stratified(labels, 0.2, seed=0)
    np.testing.assert_array_equal(np.bincount(labels[part]), [2, 7, 1])
    np.testing.assert_array_equal(np.sort(np.concatenate([part, rest])), np.arange(47))


# Shapes and scales.


def test_small_images_get_a_border_of_zeros():
    ds = made_up(shape=(28, 28, 1))
    big = data.adapt(ds, (32, 32, 3))
    assert big.shape == (32, 32, 3)
    for part, whole in ((big.train, ds.train), (big.test, ds.test)):
        for channel in range(3):
            np.testing.assert_array_equal(part.images[:, 2:30, 2:30, channel], whole.images[..., 0])
        assert part.images.sum(dtype=int) == 3 * whole.images.sum(dtype=int)
        assert part.images.dtype == np.uint8
        np.testing.assert_array_equal(part.labels, whole.labels)
    assert big.notes == (
        "padded with zeros on all sides from 28x28 to 32x32",
        "grey repeated to 3 channels",
    )
    assert (big.mean, big.std) == data.statistics(big.train.images)
    assert ds.shape == (28, 28, 1)


def test_of_large_images_the_centre_is_kept():
    ds = made_up(shape=(9, 6, 3))
    small = data.adapt(ds, (4, 7, 3))
    np.testing.assert_array_equal(small.train.images[:, :, :6], ds.train.images[:, 2:6])
    assert not small.train.images[:, :, 6].any()
    assert small.notes == (
        "cropped to the centre from 9x6 to 4x6",
        "padded with zeros on all sides from 4x6 to 4x7",
    )


def test_colour_becomes_grey_by_the_mean_to_the_nearest():
    ds = made_up(shape=(5, 5, 3))
    grey = data.adapt(ds, (5, 5, 1))
    exact = ds.train.images.astype(float).mean(axis=-1, keepdims=True)
    assert np.abs(grey.train.images - exact).max() <= 1 / 3 + 1e-9
    assert grey.notes == ("3 channels averaged to grey",)
    back = data.adapt(data.adapt(made_up(), (6, 7, 3)), (6, 7, 1))
    np.testing.assert_array_equal(back.train.images, made_up().train.images)


def test_adapting_to_the_own_shape_changes_nothing():
    ds = made_up()
    assert data.adapt(ds, ds.shape) is ds


@pytest.mark.parametrize("shape", [(6, 7, 2), (0, 7, 1), (6, 7, 0)])
def test_shapes_that_cannot_be_had(shape):
    with pytest.raises(ValueError, match="'made_up' are 6x7x1 and cannot become"):
        data.adapt(made_up(), shape)


@pytest.mark.parametrize("channels", [1, 3])
def test_own_statistics_standardize_the_training_split(channels):
    ds = made_up(2500, shape=(4, 4, channels))
    x = (ds.train.images / 255 - np.array(ds.mean)) / np.array(ds.std)
    np.testing.assert_allclose(x.mean(axis=(0, 1, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(x.std(axis=(0, 1, 2)), 1, atol=1e-12)


def test_a_channel_that_never_changes_can_be_divided_by():
    assert data.statistics(np.full((3, 2, 2, 1), 255, np.uint8)) == ((1.0,), (1.0,))


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


def test_an_unknown_normalization_is_told_the_near_ones():
    with pytest.raises(ValueError, match="no normalization 'cifar'; did you mean cifar10"):
        data.normalize(made_up(), "cifar")


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
        (
            [2, 10, 1],
            [0, 2, 0],
            "2 of 13, 20% of a class; classes without a test example: 2 (0, 2)",
        ),
    ],
)
def test_a_test_set_that_is_cut_says_what_it_took(counts, cut, note):
    train, test, said = cut_test(np.repeat(np.arange(len(counts)), counts))
    labels = np.repeat(np.arange(len(counts)), counts)
    np.testing.assert_array_equal(np.bincount(labels[test], minlength=len(counts)), cut)
    np.testing.assert_array_equal(np.sort([*train, *test]), np.arange(len(labels)))
    assert said.startswith("no published split: a fixed fifth of each class is the test set")
    assert said.endswith(note)


def test_too_few_examples_for_a_test_set():
    with pytest.raises(ValueError, match="with at most 2 examples of a class no test set"):
        cut_test(np.array([0, 0, 1, 2]))


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


EMBEDDED = [name for name, row in data.DATASETS.items() if not isinstance(row, data.Tfds)]


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_data_are_whole(name):
    ds = data.load(name, data_dir="/absent", cache_dir="/absent")
    assert ds.train.images.dtype == np.uint8
    assert ds.train.images.max() == 255
    assert ds.train.labels.dtype == np.int32
    assert set(ds.train.labels) == set(ds.test.labels) == set(range(ds.classes))
    assert len(ds.class_names) == ds.classes
    assert dataclasses.asdict(ds)["notes"]


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


# Augmentation.


def pictures(n=64, *, channels=3, seed=0):
    """Images without a black pixel and without symmetry."""
    rng = np.random.default_rng(seed)
    return rng.integers(1, 256, (n, 12, 10, channels), dtype=np.uint8)


def is_flipped(after, before):
    mirrored = (after == before[:, :, ::-1]).all(axis=(1, 2, 3))
    same = (after == before).all(axis=(1, 2, 3))
    assert (mirrored ^ same).all()
    return mirrored


def windows(after, before):
    """The corner in the padded image at which each image of `after` lies."""
    border = 4
    padded = np.pad(before, ((0, 0), (border, border), (border, border), (0, 0)))
    corners = []
    for image, around in zip(after, padded, strict=True):
        found = [
            (i, j)
            for i in range(9)
            for j in range(9)
            if (around[i : i + 12, j : j + 10] == image).all()
        ]
        assert len(found) == 1
        corners += found
    return np.array(corners)


@pytest.mark.parametrize("name", data.AUGMENTATIONS)
def test_augmentations_are_keyed_and_keep_shape_and_pixels(name, key):
    augment = data.AUGMENTATIONS[name]
    x = pictures()
    once = jax.jit(augment)(key, x)
    assert once.dtype == jnp.uint8
    assert once.shape == x.shape
    other = jax.jit(augment)(jax.random.key(1), x)
    assert (name == "none") == np.array_equal(once, other)
    assert (name == "none") == np.array_equal(once, x)
    keys = jax.random.split(key, 3)
    batches = jnp.stack([jnp.asarray(pictures(seed=s)) for s in range(3)])
    together = jax.jit(jax.vmap(augment))(keys, batches)
    alone = [jax.jit(augment)(k, b) for k, b in zip(keys, batches, strict=True)]
    np.testing.assert_array_equal(together, np.stack(alone))


def test_flip_mirrors_about_half_of_the_images(key):
    x = pictures(1000, channels=1)
    share = is_flipped(np.asarray(jax.jit(data.AUGMENTATIONS["flip"])(key, x)), x).mean()
    assert abs(share - 0.5) < 0.06  # Four standard deviations.


def test_crop_is_a_window_of_the_padded_image_and_every_place_occurs(key):
    x = pictures(1000, channels=1)
    corners = windows(np.asarray(jax.jit(data.AUGMENTATIONS["crop"])(key, x)), x)
    counts = np.zeros((9, 9))
    np.add.at(counts, tuple(corners.T), 1)
    expected = 1000 / 81
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 80 + 5 * np.sqrt(160)
    assert abs(np.corrcoef(corners.T)[0, 1]) < 0.13  # The axes are drawn apart.


def test_a_window_is_a_part_of_the_image_and_every_place_occurs(key):
    x = pictures(300)
    y = np.asarray(jax.jit(functools.partial(data.window, size=(10, 9)))(key, x))
    assert y.shape == (300, 10, 9, 3)
    places = [(i, j) for i in range(3) for j in range(2)]
    found = [
        [p for p in places if (image[p[0] : p[0] + 10, p[1] : p[1] + 9] == part).all()]
        for image, part in zip(x, y, strict=True)
    ]
    assert all(len(f) == 1 for f in found)
    counts = [sum(f == [p] for f in found) for p in places]
    assert min(counts) > 50 - 4 * np.sqrt(300 / 6)


def test_crop_flip_does_both_and_apart(key):
    x = pictures(300, channels=1)
    y = np.asarray(jax.jit(data.AUGMENTATIONS["crop_flip"])(key, x))
    padded = np.pad(x, ((0, 0), (4, 4), (4, 4), (0, 0)))
    kinds = []
    for image, around in zip(y, padded, strict=True):
        spots = [around[i : i + 12, j : j + 10] for i in range(9) for j in range(9)]
        kept = any((s == image).all() for s in spots)
        mirrored = any((s[:, ::-1] == image).all() for s in spots)
        assert kept != mirrored
        kinds.append(mirrored)
    assert abs(np.mean(kinds) - 0.5) < 0.12


# Order.


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7, 60, 100, 1797, 60000])
def test_every_epoch_shows_every_example_once(n):
    for seed in range(3):
        shown = data.shuffled(jax.random.key(seed), 2 * n, count=2 * n, n=n)
        assert shown.dtype == jnp.int32
        for epoch in np.asarray(shown).reshape(2, n):
            np.testing.assert_array_equal(np.sort(epoch), np.arange(n))


def test_epochs_and_keys_have_orders_of_their_own(key):
    n = 100
    epochs = np.asarray(data.shuffled(key, 0, count=5 * n, n=n)).reshape(5, n)
    assert len({tuple(e) for e in epochs.tolist()}) == 5
    other = data.shuffled(jax.random.key(1), 0, count=n, n=n)
    assert (np.asarray(other) != epochs[0]).mean() > 0.9


@pytest.mark.parametrize("n", [1, 7, 100])
def test_pieces_are_the_whole(n, key):
    whole = np.asarray(data.shuffled(key, 0, count=260, n=n))
    piece = functools.partial(data.shuffled, key, count=13, n=n)
    pieces = jax.lax.map(piece, jnp.arange(0, 260, 13))
    np.testing.assert_array_equal(pieces.ravel(), whole)


def test_members_have_the_order_of_their_key(key):
    keys = jax.random.split(key, 4)
    together = jax.vmap(lambda k, s: data.shuffled(k, s, count=50, n=33))(keys, jnp.arange(4) * 9)
    for i, k in enumerate(keys):
        np.testing.assert_array_equal(together[i], data.shuffled(k, 9 * i, count=50, n=33))


@pytest.mark.parametrize("n", [3, 60000])
def test_the_stream_reaches_the_end_of_int32(n, key):
    start = 2**31 - 1 - 70
    shown = np.asarray(data.shuffled(key, start, count=70, n=n))
    assert shown.min() >= 0
    assert shown.max() < n
    before = np.asarray(data.shuffled(key, start - 30, count=70, n=n))
    np.testing.assert_array_equal(shown[:40], before[30:])
    if n == 3:
        first = -start % 3
        for epoch in shown[first : first + 66].reshape(22, 3):
            np.testing.assert_array_equal(np.sort(epoch), np.arange(3))


@pytest.mark.parametrize(("n", "count"), [(0, 5), (-1, 5), (5, -1), (2**31 - 3, 5)])
def test_orders_that_cannot_be(n, count, key):
    with pytest.raises(ValueError, match="an order needs n >= 1"):
        data.shuffled(key, 0, count=count, n=n)


def test_no_positions_are_no_examples(key):
    assert data.shuffled(key, 5, count=0, n=10).shape == (0,)


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_every_pair_of_items_is_as_likely_at_two_positions(n):
    """A chi-square test of the first and last position over 8,000 keys, five sigmas wide."""
    keys = jax.random.split(jax.random.key(5), 8000)
    shown = np.asarray(jax.vmap(lambda k: data.shuffled(k, 0, count=n, n=n))(keys))
    counts = np.zeros((n, n))
    np.add.at(counts, (shown[:, 0], shown[:, -1]), 1)
    assert not counts.diagonal().any()
    cells = n * (n - 1)
    expected = len(keys) / cells
    chi_square = ((counts[~np.eye(n, dtype=bool)] - expected) ** 2 / expected).sum()
    assert chi_square < cells - 1 + 5 * np.sqrt(2 * (cells - 1))


def test_large_orders_look_like_random_ones(key):
    n = 60000
    a, b = np.asarray(data.shuffled(key, 0, count=2 * n, n=n)).reshape(2, n)
    assert abs(np.abs(a - np.arange(n)).mean() / n - 1 / 3) < 0.005
    for left, right in ((a[:-1], a[1:]), (a, np.arange(n)), (a, b)):
        assert abs(np.corrcoef(left, right)[0, 1]) < 5 / np.sqrt(n)
    assert (np.diff(a) == 1).sum() < 12  # About one is expected.


def test_one_trace_serves_every_step(key):
    traced = []

    def step(start):
        traced.append(start)
        return data.shuffled(key, start, count=8, n=20)

    compiled = jax.jit(step)
    for start in range(0, 80, 8):
        compiled(jnp.int32(start))
    assert len(traced) == 1
    assert order.shuffled is data.shuffled


@pytest.mark.parametrize(("n", "size"), [(10, 0), (10, 9), (500, 50)])
def test_validation_rows_split_the_training_rows(n, size, key):
    train, held_out = data.validation_rows(key, n=n, size=size)
    assert train.dtype == held_out.dtype == jnp.int32
    assert held_out.shape == (size,)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, held_out])), np.arange(n))
    for rows in (train, held_out):
        assert (np.diff(np.asarray(rows)) > 0).all()


def test_members_hold_out_rows_by_their_key(key):
    keys = jax.random.split(key, 3)
    _, together = jax.vmap(lambda k: data.validation_rows(k, n=40, size=8))(keys)
    assert len({tuple(rows) for rows in together.tolist()}) == 3
    for i, k in enumerate(keys):
        np.testing.assert_array_equal(together[i], data.validation_rows(k, n=40, size=8)[1])


@pytest.mark.parametrize("size", [-1, 10, 11])
def test_validation_sets_that_leave_nothing(size, key):
    with pytest.raises(ValueError, match="below the 10 training examples"):
        data.validation_rows(key, n=10, size=size)


# Cache.


def arrays():
    rng = np.random.default_rng(0)
    return {"images": rng.integers(0, 256, (3, 5), dtype=np.uint8), "names": np.array(["a", "bc"])}


def assert_fetched(found):
    assert found.keys() == arrays().keys()
    for name, array in arrays().items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def fail():
    raise AssertionError("decoded again")


def test_what_is_cached_is_not_decoded_again(tmp_path):
    path = tmp_path / "new" / "x.npz"
    assert_fetched(cache.fetch(path, arrays, dict))
    assert_fetched(cache.fetch(path, fail, dict))
    assert [p.name for p in path.parent.iterdir()] == ["x.npz"]


def test_no_damaged_byte_is_believed(tmp_path, caplog):
    path = tmp_path / "x.npz"
    cache.fetch(path, arrays, dict)
    whole = path.read_bytes()
    rebuilt = 0
    for place in range(0, len(whole), 3):
        raw = bytearray(whole)
        raw[place] ^= 0x11
        path.write_bytes(raw)
        found = cache.fetch(path, lambda: {"decoded": np.zeros(1)}, dict)
        if "decoded" in found:
            rebuilt += 1
        else:
            assert_fetched(found)
    assert rebuilt > len(whole) / 6
    assert "is built again" in caplog.text


def test_a_header_that_claims_fewer_rows_is_not_believed(tmp_path):
    """The checksum alone would not notice: it is compared at the end of the member only."""
    path = tmp_path / "x.npz"
    images = np.zeros((30, 9999), np.uint8)
    cache.fetch(path, lambda: {"images": images}, dict)
    whole = path.read_bytes()
    assert whole.count(b"(30, 9999)") == 1
    path.write_bytes(whole.replace(b"(30, 9999)", b"(20, 9999)"))
    assert cache.fetch(path, lambda: {"images": images}, dict)["images"].shape == (30, 9999)


@pytest.mark.parametrize("share", [0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_built_again(tmp_path, share):
    path = tmp_path / "x.npz"
    cache.fetch(path, arrays, dict)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert_fetched(cache.fetch(path, arrays, dict))
    assert_fetched(cache.fetch(path, fail, dict))


def test_what_is_of_no_use_is_decoded_again_but_not_twice(tmp_path, caplog):
    path = tmp_path / "x.npz"
    cache.fetch(path, lambda: {"other": np.zeros(1)}, dict)
    use = lambda found: found["names"].tolist()  # noqa: E731
    assert cache.fetch(path, arrays, use) == ["a", "bc"]
    assert "is of no use and is built again: 'names'" in caplog.text
    assert cache.fetch(path, fail, use) == ["a", "bc"]
    path.unlink()
    with pytest.raises(KeyError):
        cache.fetch(path, lambda: {"other": np.zeros(1)}, use)
    assert not path.exists()


def test_pickles_are_not_opened(tmp_path):
    path = tmp_path / "x.npz"
    with path.open("wb") as file:
        np.savez(file, images=np.array([{"a": 1}], object))
    assert_fetched(cache.fetch(path, arrays, dict))


def test_a_cache_that_cannot_be_written_costs_a_warning(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    assert_fetched(cache.fetch(tmp_path / "file" / "x.npz", arrays, dict))
    warnings = [r for r in caplog.records if "not kept for the next start" in r.getMessage()]
    assert len(warnings) == 1


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch, caplog):
    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.os, "fsync", full)
    assert_fetched(cache.fetch(tmp_path / "x.npz", arrays, dict))
    assert not list(tmp_path.iterdir())
    assert "No space left" in caplog.text


def test_many_writers_at_once_leave_one_whole_file(tmp_path):
    path = tmp_path / "x.npz"
    barrier = threading.Barrier(8)
    found = []

    def start():
        def decode():
            barrier.wait()  # All have seen that there is no file.
            return arrays()

        found.append(cache.fetch(path, decode, dict))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    for one in (*found, cache.fetch(path, fail, dict)):
        assert_fetched(one)
    assert [p.name for p in tmp_path.iterdir()] == ["x.npz"]


def test_the_cache_directory_is_given_or_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("LTJAX_CACHE", str(tmp_path))
    assert cache.directory(None) == tmp_path
    assert str(cache.directory("~/there")).endswith("/there")
    assert "~" not in str(cache.directory("~/there"))
    with pytest.raises(ValueError, match="cache_dir 's3://bucket' is not local"):
        cache.directory("s3://bucket")
    monkeypatch.setenv("LTJAX_CACHE", "gs://bucket")
    with pytest.raises(ValueError, match="LTJAX_CACHE 'gs://bucket' is not local"):
        cache.directory(None)
    monkeypatch.delenv("LTJAX_CACHE")
    assert cache.directory(None).parts[-2:] == (".cache", "ltjax")
