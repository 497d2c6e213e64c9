import itertools
import pathlib
import re

import jax
import numpy as np
import pytest

from ltjax import data, lottery
from ltjax.core import keys, pruning
from ltjax.training import Trainer
from tests import toys


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


@pytest.fixture
def made(monkeypatch):
    """Every key that is derived, as it is when the program runs: bytes -> where it comes from."""
    found, derive = {}, keys.derive

    def noted(key, purpose, *coordinates):
        def note(parent, child, *numbers):
            origin = (np.asarray(parent).tobytes(), purpose, *map(int, numbers))
            found.setdefault(np.asarray(child).tobytes(), set()).add(origin)

        child = derive(key, purpose, *coordinates)
        jax.debug.callback(note, *map(jax.random.key_data, (key, child)), *coordinates)
        return child

    jax.clear_caches()
    monkeypatch.setattr(keys, "derive", noted)
    yield found
    jax.clear_caches()  # What was compiled here goes on telling.


def test_no_two_keys_of_a_whole_run_are_equal(made):
    """Six replicates: of old, replicate 0 on the target trained in the order of replicate 5."""
    net, source = toys.net(), toys.blobs(n=60)
    how = toys.recipe(steps=3, every=3, augment=data.AUGMENTATIONS["crop_flip"], batch_size=16)
    trainer, seed = Trainer(net, how), jax.random.key(0, impl="rbg")
    plan = pruning.plan(net.shapes().params, rate=0.5, levels=2)
    settings = {"key": seed, "validation": 6}
    levels = list(lottery.find(
        trainer, source, plan=plan, replicates=6, score="random",
        reset=set(lottery.RESETS) - {"order"}, **settings,
    ))  # fmt: skip
    arms = ("theta_0", "redrawn", "shuffled_pairs", "shuffled_globally")
    for target in (source, toys.blobs(n=60, classes=4, seed=1)):
        there = Trainer(toys.net(classes=target.classes), how)
        _ = list(lottery.transfer(
            levels, there, target, arms=arms, repeats=2, together=True, **settings
        ))  # fmt: skip
    seen = {"trainer": trainer, "dataset": source, **settings}
    _ = list(lottery.one_shot(levels[0], plan, score="random", at="start", **seen))
    jax.effects_barrier()
    assert [origins for origins in made.values() if len(origins) > 1] == []
    assert np.asarray(jax.random.key_data(seed)).tobytes() not in made
    purposes = {purpose for origins in made.values() for _, purpose, *_ in origins}
    assert {"init", "split", "order", "score", "control", "fresh values", "new head"} < purposes


MAKERS = {
    "ltjax/core/keys.py",  # The one place.
    "ltjax/storage/checkpoints.py",  # Reads saved keys back.
}


def test_no_key_is_made_elsewhere():
    pattern = re.compile(r"\bfold_in\(|random\.split\(|random\.clone\(|wrap_key_data\(")
    root = pathlib.Path(keys.__file__).parents[2]
    found = {
        file.relative_to(root).as_posix()
        for package in ("ltjax", "experiments")
        for file in (root / package).rglob("*.py")
        for line in file.read_text().splitlines()
        if pattern.search(line) and "`" not in line
    }
    assert "ltjax/core/keys.py" in found
    assert found <= MAKERS
