"""Two host devices for every test, and strict numerics."""

import atexit
import os
import shutil
import tempfile

# Many tests, and the processes that they start one after the other, compile the same programs.
# Each worker has a cache of its own: an entry that another one is writing reads as corrupt.
_CACHE = tempfile.mkdtemp(prefix="ltjax-tests-")
_ = atexit.register(shutil.rmtree, _CACHE, ignore_errors=True)
os.environ["JAX_COMPILATION_CACHE_DIR"] = _CACHE
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.core import trees

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def key():
    return jax.random.key(0)


def assert_trees_equal(a, b):
    """Equal structure, dtypes, shapes and bits."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        assert x.shape == y.shape
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


def trees_differ(a, b):
    """True where any number differs."""
    return any(
        not np.array_equal(np.asarray(x), np.asarray(y))
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def leaves(tree):
    """NumPy leaves by name."""
    return dict(zip(trees.names(tree), map(np.asarray, jax.tree.leaves(tree)), strict=True))


def small_params(seed=0):
    """Parameters with every kind of leaf, and two layers of equal shape."""
    rng = np.random.default_rng(seed)

    def leaf(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    return {
        "conv_0": {"kernel": leaf(3, 3, 2, 4), "bias": leaf(4)},
        "dense_0": {"kernel": leaf(10, 10), "bias": leaf(10)},
        "dense_1": {"kernel": leaf(10, 10), "bias": leaf(10)},
        "head": {"kernel": leaf(10, 3), "bias": leaf(3)},
        "norm_0": {"scale": leaf(4), "bias": leaf(4)},
    }
