"""A population is its members: same bits, one compile, whatever the number and the layout."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import lottery, models
from ltjax.training import Trainer, population
from tests import toys
from tests.conftest import assert_trees_equal

NET = toys.net()
TINY = [name for name in models.MODELS if name.endswith("-tiny")]


def world(model):
    shape = (4, 4, 1) if "conv" not in model and "resnet" not in model else (8, 8, 3)
    network, dataset = toys.net(model, shape=shape), toys.blobs(shape=shape)
    return network, dataset, lottery.device_data(dataset)


def test_there_are_two_devices():
    assert len(jax.devices()) == 2


@functools.cache
def crowd_of(model):
    network, dataset, _ = world(model)
    return toys.members(3, network, dataset=dataset)


@functools.cache
def trainer_of(model, devices, layout="map"):
    how = toys.recipe(steps=6, every=3)
    return Trainer(world(model)[0], how, devices=jax.devices()[:devices], layout=layout)


@functools.cache
def trained(model, devices, layout="map"):
    """The same crowd of three, trained in different company; each program is compiled once."""
    done = trainer_of(model, devices, layout).train(crowd_of(model), world(model)[2], snapshot=2)
    return jax.device_get({f: getattr(done, f) for f in FIELDS})


FIELDS = ("variables", "snapshot", "opt_state", "curve")


@pytest.mark.parametrize("model", TINY)
def test_a_member_has_the_same_bits_alone_and_in_company(model):
    together = trained(model, 1)
    for i in range(3):
        member = jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], crowd_of(model))
        alone = trainer_of(model, 1).train(member, world(model)[2], snapshot=2)
        for field in FIELDS:
            ours = jax.tree.map(
                lambda leaf, i=i, axis=int(field == "curve"): np.take(leaf, [i], axis),
                together[field],
            )
            assert_trees_equal(ours, jax.device_get(getattr(alone, field)))


@pytest.mark.parametrize("model", TINY)
def test_members_spread_over_devices_keep_their_bits(model):
    two, one = (trained(model, devices) for devices in (2, 1))
    assert population.size(two["variables"]) == 3
    for field in FIELDS:
        assert_trees_equal(two[field], one[field])


@pytest.mark.parametrize("model", TINY)
def test_the_layouts_agree_up_to_rounding(model):
    a, b = (trained(model, 2, layout)["variables"] for layout in population.LAYOUTS)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-4)


def test_every_level_runs_what_the_first_compiled():
    traced = []
    network, _, on_device = world("mlp-8")

    def apply(variables, images, *, train, key=None):
        traced.append(images.shape)  # Runs when JAX traces, not when it computes.
        return network.apply(variables, images, train=train, key=key)

    trainer = Trainer(network._replace(apply=apply), toys.recipe())
    crowd = toys.members(2)
    _ = trainer.train(crowd, on_device)
    once = len(traced)
    masked = crowd._replace(mask=jax.tree.map(lambda m: m & (m.size % 3 > 0), crowd.mask))
    _ = trainer.train(masked, on_device)
    _ = trainer.train(masked._replace(start=crowd.start), on_device, first=5)
    assert len(traced) == once > 0


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_going_on_from_any_leg_ends_with_the_same_bits(at):
    _, _, on_device = world("mlp-8")
    how = toys.recipe(optimizer=toys.optax.adam(0.01), patience=2, keep="best")
    crowd, saved = toys.members(3), []
    again = {"failed_step": np.array([-1, 9, -1]), "snapshot": 2}
    whole = Trainer(NET, how).train(
        crowd, on_device, observe=lambda p: saved.append(p.as_tree()), **again
    )
    rest = Trainer(NET, how).train(crowd, on_device, resume=saved[at], **again)
    assert rest.failed_step.tolist() == [-1, 9, -1]
    assert rest.curve.ran.sum(axis=0).tolist()[1] == 1  # Failed before: evaluated, not trained.
    for field in ("variables", "snapshot", "opt_state", "curve"):
        assert_trees_equal(*(jax.device_get(getattr(t, field)) for t in (rest, whole)))
    assert rest.steps == whole.steps


def test_going_on_with_another_number_of_devices_keeps_the_bits():
    _, _, on_device = world("mlp-8")
    crowd, saved = toys.members(3), []
    whole = Trainer(NET, toys.recipe()).train(
        crowd, on_device, observe=lambda p: saved.append(p.as_tree())
    )
    alone = Trainer(NET, toys.recipe(), devices=jax.devices()[:1])
    rest = alone.train(crowd, on_device, resume=saved[1])
    assert_trees_equal(*(jax.device_get(t.variables) for t in (rest, whole)))


def test_a_member_that_fails_stops_alone():
    _, _, on_device = world("mlp-8")
    trainer = Trainer(NET, toys.recipe())
    crowd = toys.members(3)
    broken = jax.tree.map(lambda leaf: leaf.at[1].set(jnp.nan), crowd.start)
    good, bad = (trainer.train(c, on_device) for c in (crowd, crowd._replace(start=broken)))
    assert bad.failed_step.tolist() == [-1, 0, -1]
    assert bad.curve.ran[:, 1].tolist() == [True, False, False, False]
    before = trainer.train(crowd, on_device, failed_step=np.array([-1, 7, -1]))
    assert before.failed_step.tolist() == [-1, 7, -1]
    assert before.curve.ran[:, 1].tolist() == [True, False, False, False]
    assert_trees_equal(*(population.member(v, 1) for v in (before.variables, crowd.start)))
    for other in (bad, before):
        for i in (0, 2):
            assert_trees_equal(*(population.member(t.variables, i) for t in (good, other)))


def test_an_optimizer_state_goes_on():
    _, _, on_device = world("mlp-8")
    how = toys.recipe(optimizer=toys.optax.sgd(0.05, momentum=0.9), steps=6, every=3)
    crowd = toys.members(2)
    half = Trainer(NET, toys.recipe(optimizer=how.optimizer, steps=3, every=3)).train(
        crowd, on_device
    )
    whole = Trainer(NET, how).train(crowd, on_device)
    rest = Trainer(NET, how).train(
        crowd._replace(start=half.variables), on_device, first=3, opt_state=half.opt_state
    )
    assert_trees_equal(*(jax.device_get(t.variables) for t in (rest, whole)))


def test_what_goes_in_and_out_of_a_training_can_be_used_again():
    _, _, on_device = world("mlp-8")
    how = toys.recipe(optimizer=toys.optax.sgd(0.05, momentum=0.9), keep="best")
    trainer, crowd, seen = Trainer(NET, how), toys.members(2), []
    begun = trainer.train(crowd, on_device, observe=seen.append)
    trees = [partial.as_tree() for partial in seen]  # Only now, after all legs.
    placed = jax.tree.map(jax.numpy.asarray, trees[1])
    for _ in range(2):
        again = trainer.train(crowd, on_device, resume=placed)
        assert_trees_equal(*(jax.device_get(t.variables) for t in (again, begun)))
        _ = trainer.train(crowd, on_device, opt_state=begun.opt_state)
        _ = trainer.train(crowd._replace(start=begun.variables), on_device, first=10)
    for leaf in jax.tree.leaves((crowd, begun, placed, [partial.states for partial in seen])):
        assert not (isinstance(leaf, jax.Array) and leaf.is_deleted())


def test_keys_of_rbg_give_the_same_bits_alone_and_in_company():
    _, _, on_device = world("mlp-8")
    keys = jax.random.split(jax.random.key(0, impl="rbg"), 3)
    crowd = toys.members(3)._replace(key=keys)
    augment = lambda key, images: images ^ jax.random.bits(key, images.shape, jnp.uint8) // 8  # noqa: E731
    trainer = Trainer(NET, toys.recipe(augment=augment), devices=jax.devices()[:1])
    together = trainer.train(crowd, on_device)
    alone = trainer.train(jax.tree.map(lambda leaf: leaf[1:2], crowd), on_device)
    assert_trees_equal(*(population.member(t.variables, i) for t, i in ((together, 1), (alone, 0))))


def test_unknown_layout_is_refused():
    with pytest.raises(ValueError, match="did you mean vmap"):
        Trainer(NET, toys.recipe(), layout="vmp")


def stop_at(step, *members):
    """Stops these members at a step, all others never."""

    def stop(steps, reports):
        return np.isin(np.arange(len(reports[-1].ran)), members) & (steps[-1] >= step)

    return stop


def test_a_member_that_did_enough_stops_there_and_the_others_go_on():
    network, dataset, on_device = world(TINY[0])
    trainer = Trainer(network, toys.recipe(steps=12, every=3))
    crowd = toys.members(3, network, dataset=dataset)
    whole = trainer.train(crowd, on_device)
    short = trainer.train(crowd, on_device, stop=stop_at(6, 1))
    assert short.curve.ran[:, 1].tolist() == [True, True, True, False, False]
    assert short.curve.ran[:, [0, 2]].all()
    np.testing.assert_array_equal(
        short.curve.test_accuracy[:3, 1], whole.curve.test_accuracy[:3, 1]
    )
    for i in (0, 2):
        ours, theirs = (population.member(t.variables, i) for t in (short, whole))
        assert_trees_equal(jax.device_get(ours), jax.device_get(theirs))
    assert short.failed_step.tolist() == [-1, -1, -1]


def test_a_stopped_training_resumes_to_the_same_bits():
    network, dataset, on_device = world(TINY[0])
    trainer = Trainer(network, toys.recipe(steps=12, every=3))
    crowd = toys.members(3, network, dataset=dataset)
    saved = []
    whole = trainer.train(
        crowd, on_device, stop=stop_at(6, 1), observe=lambda p: saved.append(p.as_tree())
    )
    for partial in saved[:-1]:
        again = trainer.train(crowd, on_device, stop=stop_at(6, 1), resume=partial)
        assert_trees_equal(jax.device_get(again.variables), jax.device_get(whole.variables))
        assert_trees_equal(again.curve, whole.curve)


@pytest.mark.parametrize("devices", [1, 2, 4])
@pytest.mark.parametrize("share", [1, 3, 4])
def test_running_members_are_spread_evenly(devices, share):
    rng = np.random.default_rng(0)
    for _ in range(50):
        stopped = rng.random(devices * share) < rng.random()
        order = population.balanced(stopped, devices)
        if order is None:
            order = np.arange(len(stopped))
        assert sorted(order) == list(range(len(stopped)))  # Nobody is lost or doubled.
        running = (~stopped[order]).reshape(devices, share).sum(axis=1)
        assert running.max() - running.min() <= 1


def test_members_that_move_to_another_device_keep_their_bits_also_after_a_kill():
    network, dataset, on_device = world(TINY[0])
    how = toys.recipe(steps=12, every=3)
    crowd, saved = toys.members(5, network, dataset=dataset), []
    stop = stop_at(3, 0, 1, 2)  # All members of the first device: of 3, 4 one has to move.
    assert population.balanced(np.array([1, 1, 1, 0, 0, 1], bool), 2) is not None
    still = Trainer(network, how, devices=jax.devices()[:1]).train(crowd, on_device, stop=stop)
    moved = Trainer(network, how).train(
        crowd, on_device, stop=stop, observe=lambda p: saved.append(p.as_tree())
    )
    for other in (
        moved,
        *(Trainer(network, how).train(crowd, on_device, stop=stop, resume=s) for s in saved),
    ):
        assert_trees_equal(jax.device_get(other.variables), jax.device_get(still.variables))
        assert_trees_equal(other.curve, still.curve)


def test_a_full_batch_has_no_order():
    network, dataset, on_device = world(TINY[0])
    crowd = toys.members(2, network, dataset=dataset, held_out=0)
    examples = len(dataset.train.labels)
    trainer = Trainer(network, toys.recipe(steps=4, every=2, batch_size=examples))
    other = crowd._replace(key=jax.random.split(jax.random.key(99), 2))
    a, b = (trainer.train(c, on_device) for c in (crowd, other))
    assert_trees_equal(jax.device_get(a.variables), jax.device_get(b.variables))


def test_ten_thousand_leaves_come_back_in_order():
    leaves = list(range(10_050))
    assert population.unnumbered(population.numbered(leaves), leaves) == leaves
