import itertools

import jax
import numpy as np
import pytest

from ltjax import keys


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_no_two_purposes_or_coordinates_share_a_key(impl):
    key = jax.random.key(0, impl=impl)
    names = ["order", "split", "init"]
    made = [keys.derive(key, name) for name in names]
    for name in names:
        made += [keys.derive(key, name, i) for i in range(12)]
        made += [keys.derive(key, name, i, j) for i, j in itertools.product(range(12), repeat=2)]
        made += [keys.derive(keys.derive(key, name, i), name, j) for i in range(12) for j in (0, 1)]
    seen = {np.asarray(jax.random.key_data(k)).tobytes() for k in made}
    assert len(seen) == len(made)


def test_coordinates_may_be_traced_and_keys_batched(key):
    many = jax.random.split(key, 3)
    batched = jax.jit(jax.vmap(lambda k, i: keys.derive(k, "order", i)))(many, np.arange(3))
    for i in range(3):
        assert batched[i] == keys.derive(many[i], "order", i)
