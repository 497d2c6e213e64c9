"""The data of a population on the device, and how a network is judged on it."""

from typing import NamedTuple

import jax
from jax import lax
import jax.numpy as jnp
import optax

from ltjax.core.types import Images, Labels, Pixels, Scalar, Variables
from ltjax.data import Dataset, Parts
from ltjax.models.network import Apply


class Examples(NamedTuple):
    """Images as uint8 [n, height, width, channels] and labels as int32 [n]."""

    images: Pixels
    labels: Labels


class Data(NamedTuple):
    """What every member of a population shares, on the device.

    `mean` and `std` are float32 [channels], on the scale where white is 1.
    """

    train: Examples
    test: Examples
    mean: jax.Array
    std: jax.Array


class Evaluation(NamedTuple):
    """What one leg reports: float32 scalars; validation is NaN without a validation set."""

    train_loss: jax.Array
    validation_accuracy: jax.Array
    validation_loss: jax.Array
    test_accuracy: jax.Array
    test_loss: jax.Array
    ran: jax.Array
    """False where the member had stopped before this leg."""


def device_data(dataset: Dataset | Parts) -> Data:
    """Puts a data set on the default device, images as uint8."""
    train, test = (
        Examples(jnp.asarray(split.images), jnp.asarray(split.labels, jnp.int32))
        for split in (dataset.train, dataset.test)
    )
    mean, std = (jnp.asarray(v, jnp.float32) for v in (dataset.mean, dataset.std))
    return Data(train, test, mean, std)


def pixels_to_images(pixels: jax.Array, data: Data) -> Images:
    """uint8 to float32, by the mean and standard deviation of the data."""
    mean, std = (v.reshape(1, 1, 1, -1) for v in (data.mean, data.std))
    return (pixels.astype(jnp.float32) / 255.0 - mean) / std


def labels_of(examples: Examples, rows: jax.Array, outputs: jax.Array | None) -> Labels:
    """Labels of some rows, as the outputs of a member (see `Member.outputs`)."""
    labels = examples.labels[rows]
    return labels if outputs is None else outputs[labels]


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Cross-entropy of each example, in nats: [batch, classes], [batch] -> [batch]."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def evaluate(
    apply: Apply,
    variables: Variables,
    examples: Examples,
    rows: jax.Array,
    data: Data,
    *,
    outputs: jax.Array | None = None,
    block: int,
) -> tuple[Scalar, Scalar]:
    """Accuracy in [0, 1] and mean cross-entropy in nats over all `rows` from 0, block by block.

    NaN both where there are no rows.
    """
    if not rows.size:
        return jnp.float32(jnp.nan), jnp.float32(jnp.nan)
    block = min(block, rows.size)
    blocks = -(-rows.size // block)
    padding = (0, blocks * block - rows.size)
    padded = jnp.pad(rows, padding, constant_values=-1).reshape(blocks, block)
    n = (rows >= 0).sum()

    def one(chosen: jax.Array) -> tuple[jax.Array, jax.Array]:
        weight = chosen >= 0
        labels = labels_of(examples, chosen, outputs)
        images = pixels_to_images(examples.images[chosen], data)
        logits, _ = apply(variables, images, train=False)
        right = (jnp.argmax(logits, -1) == labels) & weight
        return right.sum(), jnp.where(weight, cross_entropy(logits, labels), 0.0).sum()

    right, loss = lax.map(one, padded)
    return (right.sum() / n).astype(jnp.float32), (loss.sum() / n).astype(jnp.float32)
