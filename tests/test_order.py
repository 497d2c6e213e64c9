"""Augmentations and the order of examples: keyed, even, and nothing is lost."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import data

# Augmentation.


def pictures(n=64, *, channels=3, seed=0):
    """Images without a black pixel and without symmetry."""
    rng = np.random.default_rng(seed)
    return rng.integers(1, 256, (n, 12, 10, channels), dtype=np.uint8)


def places(after, before):
    """For each image of `after` its corner in `before`, and whether it is mirrored: int [n, 3]."""
    height, width = after.shape[1:3]
    views = np.lib.stride_tricks.sliding_window_view(before, (height, width), axis=(1, 2))
    views = np.moveaxis(views, 3, -1)  # [n, rows, columns, height, width, channels]
    equal = [
        (views == image[:, None, None]).all(axis=(3, 4, 5)) for image in (after, after[:, :, ::-1])
    ]
    found = np.argwhere(np.stack(equal, axis=-1))
    assert found[:, 0].tolist() == list(range(len(after)))  # Each in one place.
    return found[:, 1:]


def assert_even(counts, expected):
    """A chi-square test, five sigmas wide."""
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square <= counts.size - 1 + 5 * np.sqrt(2 * (counts.size - 1))


@pytest.mark.parametrize("name", data.AUGMENTATIONS)
def test_augmentations_are_keyed_and_keep_shape_and_pixels(name, key):
    augment = jax.jit(data.AUGMENTATIONS[name])
    x = pictures()
    once = augment(key, x)
    assert once.dtype == jnp.uint8
    assert once.shape == x.shape
    assert (name == "none") == np.array_equal(once, augment(jax.random.key(1), x))
    assert (name == "none") == np.array_equal(once, x)
    keys = jax.random.split(key, 3)
    batches = np.stack([pictures(seed=s) for s in range(3)])
    alone = [augment(k, b) for k, b in zip(keys, batches, strict=True)]
    np.testing.assert_array_equal(jax.jit(jax.vmap(augment))(keys, batches), np.stack(alone))


@pytest.mark.parametrize(
    ("augment", "border", "mirrors"),
    [
        (data.AUGMENTATIONS["flip"], 0, True),
        (data.AUGMENTATIONS["crop"], 4, False),
        (data.AUGMENTATIONS["crop_flip"], 4, True),
        (functools.partial(data.window, size=(10, 9)), 0, False),
    ],
)
def test_every_place_of_the_padded_image_occurs_and_half_are_mirrored(
    augment, border, mirrors, key
):
    x = pictures(1000, channels=1)
    y = np.asarray(jax.jit(augment)(key, x))
    padded = np.pad(x, ((0, 0), (border, border), (border, border), (0, 0)))
    row, column, mirrored = places(y, padded).T
    shape = [a - b + 1 for a, b in zip(padded.shape[1:3], y.shape[1:3], strict=True)]
    counts = np.zeros(shape)
    np.add.at(counts, (row, column), 1)
    assert_even(counts, 1000 / counts.size)
    assert abs(mirrored.mean() - mirrors / 2) < 0.06 * mirrors + 1e-9  # Four sigmas.
    drawn = [x for x in (row, column, mirrored) if np.ptp(x)]
    for i, one in enumerate(drawn):
        assert all(abs(np.corrcoef(one, other)[0, 1]) < 0.13 for other in drawn[:i])  # Apart.


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
    pieces = jax.lax.map(piece, jnp.arange(0, 260, 13))  # One trace serves every step.
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
    assert data.shuffled(key, 5, count=0, n=10).shape == (0,)


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_every_pair_of_items_is_as_likely_at_two_positions(n):
    """The first and the last position, over 8,000 keys."""
    keys = jax.random.split(jax.random.key(5), 8000)
    shown = np.asarray(jax.vmap(lambda k: data.shuffled(k, 0, count=n, n=n))(keys))
    counts = np.zeros((n, n))
    np.add.at(counts, (shown[:, 0], shown[:, -1]), 1)
    assert not counts.diagonal().any()
    assert_even(counts[~np.eye(n, dtype=bool)], len(keys) / (n * (n - 1)))


def test_large_orders_look_like_random_ones(key):
    n = 60000
    a, b = np.asarray(data.shuffled(key, 0, count=2 * n, n=n)).reshape(2, n)
    assert abs(np.abs(a - np.arange(n)).mean() / n - 1 / 3) < 0.005
    for left, right in ((a[:-1], a[1:]), (a, np.arange(n)), (a, b)):
        assert abs(np.corrcoef(left, right)[0, 1]) < 5 / np.sqrt(n)
    assert (np.diff(a) == 1).sum() < 12  # About one is expected.
