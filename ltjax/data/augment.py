"""Augmentations: random changes of a batch, drawn on the device from a key.

They act on raw uint8 pixels, before normalization, so that a border of zeros is black.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from ltjax.core import keys
from ltjax.core.types import Key, Pixels

AugmentFn = Callable[[Key, Pixels], Pixels]

BORDER = 4
"""Width in pixels of the black border that `crop` adds on every side."""


def none(key: Key, images: Pixels) -> Pixels:
    """The images as they are."""
    del key
    return images


def flip(key: Key, images: Pixels) -> Pixels:
    """Mirrors each image left to right, with probability one half."""
    mirrored = jax.random.bernoulli(key, jnp.float32(0.5), (images.shape[0], 1, 1, 1))
    return jnp.where(mirrored, images[:, :, ::-1], images)


def crop(key: Key, images: Pixels) -> Pixels:
    """Shifts each image by up to `BORDER` pixels along both axes; what enters is black.

    The crop of He et al. (2016, section 4.2, https://arxiv.org/abs/1512.03385): a window of the
    padded image, each of its (2 BORDER + 1)**2 places as likely as any other.
    """
    padded = jnp.pad(images, ((0, 0), (BORDER, BORDER), (BORDER, BORDER), (0, 0)))
    _, height, width, _ = images.shape
    return window(key, padded, size=(height, width))


def window(key: Key, images: Pixels, *, size: tuple[int, int]) -> Pixels:
    """A part of each image, every place as likely as any other.

    Args:
      key: of the places.
      images: uint8 [n, height, width, channels].
      size: height and width of the parts, at most those of the images.
    """
    room = jnp.array(images.shape[1:3], jnp.int32) - jnp.array(size, jnp.int32)
    corners = jax.random.randint(key, (images.shape[0], 2), 0, (room + 1)[None], jnp.int32)

    def cut(image: jax.Array, corner: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(image, (*corner, jnp.int32(0)), (*size, image.shape[-1]))

    return jax.vmap(cut)(images, corners)


def crop_flip(key: Key, images: Pixels) -> Pixels:
    """`crop`, then `flip`."""
    return flip(keys.derive(key, "flip"), crop(keys.derive(key, "crop"), images))


AUGMENTATIONS: Mapping[str, AugmentFn] = {
    "none": none,
    "flip": flip,
    "crop": crop,
    "crop_flip": crop_flip,
}
