"""Training of one member: what is held, what is counted, what is kept, what stops it."""

import dataclasses

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ltjax import lottery, masks, models, optimizers, population, train, trees
from tests import toys
from tests.conftest import assert_trees_equal, trees_differ


@pytest.fixture(scope="module")
def on_device():
    return lottery.device_data(toys.blobs())


@pytest.fixture
def member():
    return population.member(toys.members(1), 0)


def half_mask(params):
    keep = lambda n, p: (jnp.arange(p.size) % 2 == 0).reshape(p.shape) if "kernel" in n else p == p  # noqa: E731
    return trees.map_with_name(keep, params)


@pytest.mark.parametrize("decay", optimizers.DECAYS)
@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_pruned_weights_are_exactly_zero_after_training(name, decay, member, on_device):
    optimizer = optimizers.make(name, momentum=0.9, weight_decay=0.1, decay=decay)
    how = toys.recipe(optimizer=optimizer, schedule=lambda t: 0.01 + 0 * t)
    member = member._replace(mask=half_mask(member.start.params))
    state, _ = toys.run(member, on_device, how)
    for p, m in zip(*map(jax.tree.leaves, (state.variables.params, member.mask)), strict=True):
        assert bool((p[~m] == 0).all())
    assert trees_differ(state.variables.params, masks.apply(member.start.params, member.mask))


def test_it_learns(member, on_device):
    _, reports = toys.run(member, on_device, toys.recipe(steps=60, every=20))
    assert reports[-1].test_accuracy > 0.9 > reports[0].test_accuracy
    assert reports[-1].train_loss < reports[1].train_loss


def test_the_whole_evaluation_set_counts_also_where_blocks_do_not_divide(member, on_device):
    logits, _ = toys.net().apply(
        member.start, train.pixels_to_images(on_device.test.images, on_device), train=False
    )
    labels = on_device.test.labels
    expected = (jnp.argmax(logits, -1) == labels).mean(), train.cross_entropy(logits, labels).mean()
    for block in (1, 7, 23, 100):
        how = toys.recipe(block=block)
        got = train.evaluate(
            member.start, on_device.test, jnp.arange(23), member, on_device, recipe=how
        )
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_evaluations_stand_at_the_interval_the_end_and_the_snapshot():
    how = toys.recipe(snapshot=7)
    assert train.stops(how) == [0, 5, 7, 10, 12]
    assert train.stops(how, first=7) == [7, 10, 12]


def test_theta_k_is_the_network_after_k_steps(member, on_device):
    crowd = population.stack([member])
    long = population.Trainer(toys.recipe(snapshot=7)).train(crowd, on_device, snapshot=True)
    short, _ = toys.run(member, on_device, toys.recipe(steps=7))
    assert_trees_equal(population.member(long.snapshot, 0), jax.device_get(short.variables))


def test_a_network_rewound_to_step_k_repeats_the_rest_bit_for_bit(member, on_device):
    how = toys.recipe(snapshot=5, schedule=lambda t: 1.0 / (1.0 + t))
    whole, _ = toys.run(member, on_device, how)
    part, _ = toys.run(member, on_device, dataclasses.replace(how, steps=5))
    again, _ = toys.run(member._replace(start=part.variables), on_device, how, first=5)
    assert_trees_equal(again.variables, whole.variables)


def test_the_schedule_position_can_go_on_without_the_step(member, on_device):
    how = toys.recipe(schedule=lambda t: jnp.where(t < 100, 1.0, 0.0))
    moved, _ = toys.run(member._replace(schedule_offset=jnp.int32(100)), on_device, how)
    assert_trees_equal(moved.variables.params, member.start.params)


def test_another_key_gives_another_order(member, on_device):
    other = member._replace(key=jax.random.key(99))
    a, b = (toys.run(m, on_device, toys.recipe())[0].variables for m in (member, other))
    assert trees_differ(a, b)


@pytest.mark.parametrize("measure", train.MEASURES)
def test_patience_stops_and_the_best_weights_are_kept(measure, member, on_device):
    how = toys.recipe(
        schedule=lambda t: jnp.where(t < 20, 1.0, -1.0),  # It learns, and then unlearns.
        steps=100,
        patience=3,
        keep="best",
        measure=measure,
    )
    state, reports = toys.run(member, on_device, how)
    ran = [r for r in reports if r.ran]
    values = [r.validation_accuracy if measure == "accuracy" else -r.validation_loss for r in ran]
    best = int(np.argmax(values))
    assert bool(state.stopped)
    assert len(ran) == best + 1 + 3 < len(reports)
    assert int(state.best_step) == train.stops(how)[best]
    until, _ = toys.run(member, on_device, dataclasses.replace(how, steps=5 * best, patience=0))
    assert_trees_equal(train.trained(state, recipe=how), until.variables)


def test_patience_waits_for_the_snapshot(member, on_device):
    how = toys.recipe(optimizer=optax.sgd(0.0), steps=60, every=5, patience=1, snapshot=40)
    _, reports = toys.run(member, on_device, how)
    assert sum(bool(r.ran) for r in reports) == 9


def test_frozen_parameters_stay_and_the_others_move(member, on_device):
    how = toys.recipe(
        optimizer=optax.adamw(0.1, weight_decay=0.1), frozen=frozenset({"dense_0/kernel"})
    )
    state, _ = toys.run(member, on_device, how)
    now, then = state.variables.params, member.start.params
    assert_trees_equal(now["dense_0"]["kernel"], then["dense_0"]["kernel"])
    assert trees_differ(now["head"], then["head"])
    assert trees_differ(now["dense_0"]["bias"], then["dense_0"]["bias"])


@pytest.mark.parametrize("frozen", [False, True])
def test_running_statistics_move_unless_frozen(frozen):
    shape = (8, 8, 1)
    network, dataset = toys.net("resnet-tiny", shape=shape), toys.blobs(shape=shape)
    member = population.member(toys.members(1, network, dataset=dataset), 0)
    how = toys.recipe(network, steps=2, every=2, frozen_statistics=frozen)
    state, _ = toys.run(member, lottery.device_data(dataset), how)
    assert trees_differ(state.variables.stats, member.start.stats) != frozen


def test_augmentation_changes_the_batches_and_depends_on_the_key_alone(member, on_device):
    def flipped(key, images):
        return jnp.where(jax.random.bernoulli(key), images[:, :, ::-1], images)

    plain, _ = toys.run(member, on_device, toys.recipe())
    a, b = (toys.run(member, on_device, toys.recipe(augment=flipped))[0] for _ in range(2))
    assert trees_differ(a.variables, plain.variables)
    assert_trees_equal(a.variables, b.variables)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size, every and block must be at least 1"),
        ({"snapshot": 13}, r"the rewind step must lie in 0\.\.12"),
        ({"measure": "acuracy"}, "did you mean accuracy"),
        ({"keep": "beast"}, "did you mean best"),
    ],
)
def test_recipes_that_make_no_training_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        toys.recipe(**changes)


class Dropped(nn.Module):
    """A network with dropout."""

    @nn.compact
    def __call__(self, x, deterministic):
        x = nn.relu(nn.Dense(16)(x.reshape(len(x), -1)))
        return nn.Dense(3, name="head")(nn.Dropout(0.5, deterministic=deterministic)(x))


def test_dropout_is_another_at_each_step_and_follows_the_key_and_the_step(on_device):
    network = models.from_flax(Dropped(), input_shape=(4, 4, 1))
    member = population.member(toys.members(1, network), 0)
    # Nothing but dropout differs from step to step: no weight moves and a batch is all rows.
    how = toys.recipe(
        network, optimizer=optax.sgd(0.0), batch_size=member.train_rows.size, steps=4, every=1
    )
    _, reports = toys.run(member, on_device, how)
    losses = [float(r.train_loss) for r in reports[1:]]
    assert len({*losses}) == 4
    assert len({float(r.test_loss) for r in reports}) == 1  # No dropout where it is judged.
    _, later = toys.run(member, on_device, how, first=2)
    assert [float(r.train_loss) for r in later[1:]] == losses[2:]
    _, others = toys.run(member._replace(key=jax.random.key(9)), on_device, how)
    assert not {float(r.train_loss) for r in others} & {*losses}
    probes = [
        train.probe(member, on_device, recipe=how, batch=8, key=jax.random.key(i)) for i in (1, 2)
    ]
    a, b, other = (probes[i].loss(member.start.params) for i in (0, 0, 1))
    assert a == b != other
