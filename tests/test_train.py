"""Training of one member: what is held, what is counted, what is kept, what stops it."""

import dataclasses
import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ltjax import data, lottery, models
from ltjax.core import masks, pruning, trees
from ltjax.data import order
from ltjax.training import Trainer, evaluation, optimizers, population, step
from ltjax.training.recipe import MEASURES
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
        member.start, evaluation.pixels_to_images(on_device.test.images, on_device), train=False
    )
    labels = on_device.test.labels
    expected = (
        (jnp.argmax(logits, -1) == labels).mean(),
        evaluation.cross_entropy(logits, labels).mean(),
    )
    for block in (1, 7, 23, 100):
        got = evaluation.evaluate(
            toys.net().apply, member.start, on_device.test, jnp.arange(23), on_device, block=block
        )
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_evaluations_stand_at_the_interval_the_end_and_the_snapshot():
    how = toys.recipe()
    assert how.evaluations() == [0, 5, 10, 12]
    assert how.evaluations(snapshot=7) == [0, 5, 7, 10, 12]
    assert how.evaluations(first=7) == [7, 10, 12]


def test_theta_k_is_the_network_after_k_steps(member, on_device):
    crowd = population.stack([member])
    trainer = Trainer(toys.net(), toys.recipe())
    long = trainer.train(crowd, on_device, snapshot=7)
    short, _ = toys.run(member, on_device, toys.recipe(steps=7))
    assert_trees_equal(population.member(long.snapshot, 0), jax.device_get(short.variables))
    with pytest.raises(ValueError, match=r"snapshot must lie in 0\.\.12 \(the length\); got 13"):
        trainer.train(crowd, on_device, snapshot=13)


def test_a_network_rewound_to_step_k_repeats_the_rest_bit_for_bit(member, on_device):
    how = toys.recipe(schedule=lambda t: 1.0 / (1.0 + t))
    whole, _ = toys.run(member, on_device, how)
    part, _ = toys.run(member, on_device, dataclasses.replace(how, steps=5))
    again, _ = toys.run(member._replace(start=part.variables), on_device, how, first=5)
    assert_trees_equal(again.variables, whole.variables)


def test_the_schedule_position_can_go_on_without_the_step(member, on_device):
    how = toys.recipe(schedule=lambda t: jnp.where(t < 100, 1.0, 0.0))
    moved, _ = toys.run(member._replace(schedule_offset=jnp.int32(100)), on_device, how)
    assert_trees_equal(moved.variables.params, member.start.params)


def test_a_step_has_the_learning_rate_of_its_number(member, on_device):
    schedule = lambda t: jnp.where(t == 3, 1.0, 0.0)  # noqa: E731
    for steps in (3, 4, 6):
        state, _ = toys.run(member, on_device, toys.recipe(steps=steps, schedule=schedule))
        assert trees_differ(state.variables.params, member.start.params) == (steps > 3)


def fall(step):
    return jnp.where(step < 5, 0.1, 0.001)


def partitioned(rate):
    everything = lambda params: jax.tree.map(lambda _: "all", params)  # noqa: E731
    return optax.partition({"all": optax.adam(rate)}, everything)


INSIDE = {  # An optimizer of a learning rate, or of a schedule.
    "sgd": optax.sgd,
    "adamw": lambda rate: optax.adamw(rate, weight_decay=0.1),
    "injected": optax.inject_hyperparams(optax.adam),
    "partition": partitioned,
}


@pytest.mark.parametrize("make", INSIDE.values(), ids=INSIDE)
def test_a_schedule_inside_the_optimizer_stands_where_that_of_the_recipe_does(
    make, member, on_device
):
    hows = (toys.recipe(optimizer=make(fall)), toys.recipe(optimizer=make(1.0), schedule=fall))
    used = [toys.run(member, on_device, how)[0].opt_state for how in hows]
    fresh = [None, None]
    # From the start; rewound; with the position going on; with only the optimizer going on.
    for first, offset, states in ((0, 0, fresh), (5, 0, fresh), (0, 5, fresh), (0, 0, used)):
        placed = member._replace(schedule_offset=jnp.int32(offset))
        ours, theirs = (
            toys.run(placed, on_device, how, first=first, opt_state=state)[0].variables
            for how, state in zip(hows, states, strict=True)
        )
        for a, b in zip(*map(jax.tree.leaves, (ours, theirs)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_schedules_of_decay_and_noise_go_on_too_and_what_was_gathered_does_not():
    optimizer = optax.chain(
        optax.add_noise(0.1, 0.5, jax.random.key(0)),
        optax.add_decayed_weights(fall),
        optax.conditionally_mask(optax.adam(fall), lambda step: step > 3),
    )
    state = optimizers.at_step(optimizer.init({"w": jnp.ones(3)}), 7)
    optimizers.check_schedules(optimizer, {"w": jnp.ones(3)})
    get = functools.partial(optax.tree_utils.tree_get_all_with_path, state)
    assert [(path[-1].tuple_name, int(n)) for path, n in [*get("count"), *get("step")]] == [
        ("AddNoiseState", 7),
        ("WeightDecaySchedule", 7),
        ("ScaleByAdamState", 0),
        ("ScaleByScheduleState", 7),
        ("ConditionallyMaskState", 7),
    ]


def counting():
    init = lambda params: {"t": jnp.int32(0), "of": params}  # noqa: E731
    return optax.GradientTransformation(init, lambda u, state, params=None: (u, state))


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (optax.MultiSteps(optax.sgd(fall), 2), "within MultiSteps"),
        (optax.contrib.prodigy(fall), "ProdigyState counts count"),
        (optax.chain(optax.clip(1.0), counting()), "the optimizer counts t"),
    ],
)
def test_an_optimizer_that_cannot_go_on_at_a_step_is_refused(optimizer, message, on_device):
    network = toys.net()
    trainer = Trainer(network, toys.recipe(optimizer=optimizer))
    with pytest.raises(ValueError, match=message + ".*Recipe.schedule") as error:
        lottery.find(
            trainer,
            toys.blobs(),
            key=jax.random.key(0),
            plan=pruning.plan(network.shapes().params, rate=0.5, levels=1),
            rewind=5,
        )
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=message):
        trainer.train(toys.members(1), on_device, first=5)
    optimizers.check_schedules(optax.MultiSteps(optax.adam(0.1), 2), network.shapes().params)


WHAT_NO_RECIPE_TELLS = {
    "lookahead": (optax.lookahead(optax.sgd(0.1), 3, 0.5), "no attribute 'fast'"),
    "opaque sam": (
        optax.contrib.sam(optax.sgd(0.1), optax.sgd(0.1), opaque_mode=True),
        "grad_fn must be provided",
    ),
}


@pytest.mark.parametrize(
    ("optimizer", "said"), WHAT_NO_RECIPE_TELLS.values(), ids=WHAT_NO_RECIPE_TELLS
)
def test_an_optimizer_that_makes_no_step_is_refused_with_what_it_says(optimizer, said):
    network = toys.net()
    plan = pruning.plan(network.shapes().params, rate=0.5, levels=1)
    trainer, key = Trainer(network, toys.recipe(optimizer=optimizer)), jax.random.key(0)
    for call in (
        lambda: lottery.find(trainer, toys.blobs(), key=key, plan=plan),
        lambda: lottery.transfer([], trainer, toys.blobs(), key=key),
    ):
        with pytest.raises(ValueError, match=f"makes no step .*{said}.* take one") as error:
            call()
        assert "\n" not in str(error.value)


def test_the_loss_of_the_batch_is_told_to_an_optimizer_that_asks_for_it(member, on_device):
    plateau = optax.contrib.reduce_on_plateau(factor=0.5, rtol=0.9, patience=1)
    for optimizer in (optax.polyak_sgd(0.1), optax.chain(optax.sgd(0.1), plateau), optax.lbfgs()):
        state, reports = toys.run(member, on_device, toys.recipe(optimizer=optimizer, steps=10))
        assert reports[-1].train_loss < reports[1].train_loss
        for scale in optax.tree.get_all_with_path(state.opt_state, "scale"):
            assert scale[1] < 1


def test_another_key_gives_another_order(member, on_device):
    other = member._replace(key=jax.random.key(99))
    a, b = (toys.run(m, on_device, toys.recipe())[0].variables for m in (member, other))
    assert trees_differ(a, b)


@pytest.mark.parametrize("measure", MEASURES)
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
    assert int(state.best_step) == how.evaluations()[best]
    until, _ = toys.run(member, on_device, dataclasses.replace(how, steps=5 * best, patience=0))
    assert_trees_equal(step.trained(state, recipe=how), until.variables)


@functools.cache
def judging(how):
    begun = step.begin(population.member(toys.members(1), 0), recipe=how)
    return begun, jax.jit(functools.partial(step.judge, recipe=how))


def judged(values, how, *, snapshot=0, test=None):
    """The state after made-up evaluations, validation (and test) accuracy by step, and its step."""
    (state, judge), at = judging(how), -1
    for at, value in sorted(values.items()):
        shown = 0.5 if test is None else test[at]
        numbers = map(np.float32, (0.1, value, 1 - value, shown, 1 - shown))
        theta = jax.tree.map(lambda p, at=at: np.full(p.shape, at, p.dtype), state.variables)
        report = evaluation.Evaluation(*numbers, np.bool_(True))
        state = judge(state._replace(variables=theta), report, np.int32(at), np.int32(snapshot))
        if state.stopped:
            break
    return state, at


@pytest.mark.parametrize("first", [0, 7])
@pytest.mark.parametrize("snapshot", [7, 8, 10])
def test_patience_does_not_depend_on_the_rewind_step(snapshot, first):
    rng, how = np.random.default_rng(snapshot), PATIENT
    for _ in range(5):
        values = dict(zip(range(61), rng.random(61).tolist(), strict=True))
        marks = how.evaluations(first=first, snapshot=snapshot)
        regular = range(0 if first == 0 else 10, 61, 5)
        ends = [
            judged({t: values[t] for t in steps}, how, snapshot=k)[1]
            for steps, k in ((regular, 0), (marks, snapshot))
        ]
        assert ends[0] == ends[1]


PATIENT = toys.recipe(steps=60, every=5, patience=3)


@pytest.mark.parametrize("measure", MEASURES)
def test_the_best_step_is_that_of_the_validation_set(measure):
    rising, falling = {0: 0.1, 5: 0.6, 10: 0.5}, {0: 0.9, 5: 0.2, 10: 0.1}
    how = toys.recipe(keep="best", measure=measure)
    state, _ = judged(rising, how, test=falling)
    assert int(state.best_step) == 5
    for leaf in jax.tree.leaves(step.trained(state, recipe=how)):
        np.testing.assert_array_equal(leaf, 5)


def test_patience_waits_for_the_snapshot(member, on_device):
    how = toys.recipe(optimizer=optax.sgd(0.0), steps=60, every=5, patience=1)
    _, reports = toys.run(member, on_device, how, snapshot=40)
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
    how = toys.recipe(steps=2, every=2, frozen_statistics=frozen)
    state, _ = toys.run(member, lottery.device_data(dataset), how, network=network)
    assert trees_differ(state.variables.stats, member.start.stats) != frozen


def test_frozen_parameters_have_no_gradients_and_no_optimizer_state(member, on_device):
    def dots(frozen):
        how = toys.recipe(optimizer=optax.adam(0.1), frozen=frozenset(frozen))
        state = step.begin(member, recipe=how)
        size = sum(leaf.size for leaf in jax.tree.leaves(state.opt_state))
        advance = functools.partial(step.leg, apply=toys.net().apply, recipe=how)
        at = map(jnp.int32, (0, 5, 0))
        graph = str(jax.make_jaxpr(advance)(state, member, on_device, *at))
        return graph.count("dot_general"), size

    kernel = member.start.params["dense_0"]["kernel"].size
    (all_dots, all_size), (dots_, size) = dots([]), dots(["dense_0/kernel"])
    assert all_dots - dots_ == 1
    assert all_size - size == 2 * kernel
    below = ["dense_0/kernel", "dense_0/bias"]
    assert all_dots - dots(below)[0] == 2  # Nor does a gradient go through the head for them.


def test_frozen_parameters_do_not_count_in_a_norm(member, on_device):
    clip = optax.chain(optax.clip_by_global_norm(0.01), optax.sgd(1.0))
    how = toys.recipe(optimizer=clip, steps=1, every=1, frozen=frozenset({"dense_0/kernel"}))
    state, _ = toys.run(member, on_device, how)
    step = jax.tree.map(jnp.subtract, state.variables.params, member.start.params)
    np.testing.assert_allclose(optax.tree.norm(step), 0.01, rtol=1e-4)


def test_a_mask_does_not_change_the_length_of_a_clipped_step(member, on_device):
    clip = optax.chain(optax.clip_by_global_norm(0.01), optax.sgd(1.0))
    how = toys.recipe(optimizer=clip, steps=1, every=1)
    member = member._replace(mask=half_mask(member.start.params))
    state, _ = toys.run(member, on_device, how)
    start = masks.apply(member.start.params, member.mask)
    step = jax.tree.map(jnp.subtract, state.variables.params, start)
    np.testing.assert_allclose(optax.tree.norm(step), 0.01, rtol=1e-4)


def test_augmentation_has_a_key_of_its_own_at_each_step(member, on_device):
    """Also after a rewind, so that step t is augmented alike."""

    def keys_of(first):
        seen = []

        def augment(key, images):
            jax.debug.callback(
                lambda data: seen.append(tuple(data.tolist())), jax.random.key_data(key)
            )
            return images

        toys.run(member, on_device, toys.recipe(augment=augment), first=first)
        jax.effects_barrier()
        return seen

    whole = keys_of(0)
    assert len(set(whole)) == 12
    assert set(keys_of(5)) == set(whole[5:])


def test_augmentation_changes_the_batches(member, on_device):
    plain, inverted = (
        toys.run(member, on_device, toys.recipe(augment=augment))[0].variables
        for augment in (None, lambda key, images: 255 - images)
    )
    assert trees_differ(plain, inverted)


def test_pixels_are_normalized_on_the_device_as_documented():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3)).astype(np.uint8)
    mean, sd = np.array([0.3, 0.5, 0.1]), np.array([0.2, 0.9, 0.4])
    none = evaluation.Examples(jnp.asarray(pixels), jnp.zeros(5, jnp.int32))
    data = evaluation.Data(none, none, *(jnp.asarray(v, jnp.float32) for v in (mean, sd)))
    images = evaluation.pixels_to_images(none.images, data)
    assert images.dtype == jnp.float32
    np.testing.assert_allclose(images, (pixels / 255 - mean) / sd, rtol=1e-5, atol=1e-6)


def scrambled(data, rows):
    """The training set with noise in these rows, and other labels."""
    images, labels = data.train
    noise = jax.random.randint(jax.random.key(5), images[rows].shape, 0, 256).astype(jnp.uint8)
    return data._replace(
        train=evaluation.Examples(images.at[rows].set(noise), labels.at[rows].set(2 - labels[rows]))
    )


def test_nothing_learns_from_held_out_rows_nor_from_the_test_set(member, on_device):
    how = toys.recipe(steps=20)
    state, reports = toys.run(member, on_device, how)
    other = scrambled(on_device, member.validation_rows)
    test = evaluation.Examples(on_device.test.images[::-1], on_device.test.labels)
    again, judged_ = toys.run(member, other._replace(test=test), how)
    assert_trees_equal(state.variables, again.variables)
    assert reports[-1].train_loss == judged_[-1].train_loss
    assert reports[-1].validation_loss != judged_[-1].validation_loss
    assert reports[-1].test_loss != judged_[-1].test_loss
    learnt, _ = toys.run(member, scrambled(on_device, member.train_rows), how)
    assert trees_differ(state.variables, learnt.variables)


def test_scores_see_a_batch_of_the_training_rows_in_the_mode_of_training():
    shape = (8, 8, 1)
    network, dataset = toys.net("resnet-tiny", shape=shape), toys.blobs(shape=shape)
    network = network._replace(apply=jax.jit(network.apply, static_argnames="train"))
    data, rows = lottery.device_data(dataset), 40
    member = population.member(toys.members(1, network, dataset=dataset), 0)
    stats = jax.tree.map(lambda leaf: leaf + 0.7, member.start.stats)  # As after some training.
    member = member._replace(start=member.start._replace(stats=stats))
    images = evaluation.pixels_to_images(data.train.images[member.train_rows], data)
    labels = data.train.labels[member.train_rows]
    assert member.train_rows.size == rows
    for frozen in (False, True):
        told = {"apply": network.apply, "recipe": toys.recipe(frozen_statistics=frozen)}
        probe = step.probe(member, data, **told, batch=rows, key=jax.random.key(3))
        a, b = (np.sort(np.asarray(x).reshape(rows, -1), axis=0) for x in (probe.images, images))
        np.testing.assert_array_equal(a, b)  # All rows of the training set, in some order.
        by_mode = [
            evaluation.cross_entropy(
                network.apply(member.start, images, train=mode)[0], labels
            ).mean()
            for mode in (False, True)
        ]
        np.testing.assert_allclose(probe.loss(member.start.params), by_mode[not frozen], rtol=1e-4)
        assert abs(by_mode[0] - by_mode[1]) > 0.01
        forward = network.apply(member.start, probe.images, train=False)[0]
        np.testing.assert_array_equal(probe.forward(member.start.params, probe.images), forward)
    keys = jax.random.split(jax.random.key(0), 2)
    a, b = (step.probe(member, data, **told, batch=8, key=key).images for key in keys)
    assert trees_differ(a, b)


@pytest.mark.parametrize("frozen", [False, True])
def test_only_training_is_in_the_mode_of_training(frozen, member, on_device):
    modes = []

    def apply(variables, images, *, train, key=None):
        modes.append((train, len(images)))
        return toys.net().apply(variables, images, train=train, key=key)

    network, how = toys.net()._replace(apply=apply), toys.recipe(frozen_statistics=frozen)
    toys.run(member, on_device, how, network=network)
    assert set(modes) == {(not frozen, 8), (False, 7)}  # A batch has 8 images, a block 7.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size, every and block must be at least 1"),
        ({"steps": 2**31}, r"steps must be below 2\*\*31"),
        ({"every": 2**20, "batch_size": 2**12}, "the examples of a leg"),
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
    how = toys.recipe(optimizer=optax.sgd(0.0), batch_size=member.train_rows.size, steps=4, every=1)
    run = functools.partial(toys.run, device_data=on_device, how=how, network=network)
    _, reports = run(member)
    losses = [float(r.train_loss) for r in reports[1:]]
    assert len({*losses}) == 4
    assert len({float(r.test_loss) for r in reports}) == 1  # No dropout where it is judged.
    _, later = run(member, first=2)
    assert [float(r.train_loss) for r in later[1:]] == losses[2:]
    _, others = run(member._replace(key=jax.random.key(9)))
    assert not {float(r.train_loss) for r in others} & {*losses}
    probes = [
        step.probe(
            member, on_device, apply=network.apply, recipe=how, batch=8, key=jax.random.key(i)
        )
        for i in (1, 2)
    ]
    a, b, other = (probes[i].loss(member.start.params) for i in (0, 0, 1))
    assert a == b != other


SCHEDULES = {
    "constant": ({}, {0: 1, 99: 1}),
    "step": ({}, {0: 1, 49: 1, 50: 0.1, 74: 0.1, 75: 0.01, 99: 0.01}),
    "step at": ({"milestones": (4, 8)}, {0: 1, 3: 1, 4: 0.1, 7: 0.1, 8: 0.01, 99: 0.01}),
    "cosine": ({}, {0: 1, 25: (1 + 0.5**0.5) / 2, 50: 0.5, 100: 0}),
    "constant warmed": ({"warmup": 4}, {0: 0.25, 2: 0.75, 3: 1, 4: 1}),
    "step warmed": ({"warmup": 2, "milestones": (1,)}, {0: 0.5, 1: 0.1, 2: 0.1}),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_have_their_values_at_the_first_step_and_at_each_milestone(name):
    settings, values = SCHEDULES[name]
    schedule = optimizers.schedule(name.split()[0], 0.3, steps=100, **settings)
    for at, value in values.items():
        np.testing.assert_allclose(schedule(jnp.int32(at)), 0.3 * value, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"name": "adam", "decay": "decoupled"}, optax.adamw(1.0, weight_decay=0.1)),
        (
            {"name": "adam", "decay": "l2"},
            optax.chain(optax.add_decayed_weights(0.1), optax.adam(1.0)),
        ),
        (
            {"name": "sgd", "momentum": 0.9, "decay": "l2"},
            optax.chain(optax.add_decayed_weights(0.1), optax.sgd(1.0, momentum=0.9)),
        ),
        (
            {"name": "sgd", "momentum": 0.9, "decay": "decoupled"},
            optax.chain(
                optax.trace(0.9), optax.add_decayed_weights(0.1), optax.scale_by_learning_rate(1.0)
            ),
        ),
    ],
)
def test_l2_decay_enters_the_gradient_and_decoupled_decay_the_update(ours, theirs):
    def ends(optimizer):
        params = jnp.array([1.0, -2.0, 3.0])
        state = optimizer.init(params)
        for _ in range(3):
            updates, state = optimizer.update(jnp.array([0.1, 0.2, -0.3]), state, params)
            params = params + 0.1 * updates
        return params

    np.testing.assert_allclose(ends(optimizers.make(**ours, weight_decay=0.1)), ends(theirs))


class Wide:
    """A network and an optimizer that compute in 64 bits where they may."""

    @staticmethod
    def apply(variables, images, *, train, key=None):
        logits, stats = toys.net().apply(variables, images, train=train, key=key)
        return logits.astype(float), stats

    @staticmethod
    def update(updates, state, params=None):
        del params
        return jax.tree.map(lambda u: -0.1 * u.astype(float), updates), state + jnp.ones((), float)

    optimizer = optax.GradientTransformation(lambda params: jnp.zeros((), jnp.float32), update)


WIDE = {
    "adam": {
        "optimizer": optimizers.make("adam"),
        "schedule": optimizers.schedule("cosine", 0.1, steps=12, warmup=3),
        "augment": data.AUGMENTATIONS["crop_flip"],
    },
    "inside": {"optimizer": optax.adamw(optax.cosine_decay_schedule(0.1, 12))},
    "wide": {
        "apply": Wide.apply,
        "optimizer": Wide.optimizer,
        "schedule": optimizers.schedule("constant", 1.0, steps=12),
        "keep": "best",
        "patience": 2,
    },
}


@pytest.mark.parametrize("how", WIDE.values(), ids=WIDE)
def test_64_bit_mode_trains_in_32_bits(how):
    crowd, narrow, apply = toys.members(2), lottery.device_data(toys.blobs()), how.get("apply")
    recipe = toys.recipe(**{name: value for name, value in how.items() if name != "apply"})
    network = toys.net()._replace(apply=apply) if apply else toys.net()
    expected = Trainer(network, recipe).train(crowd, narrow, snapshot=3)
    with jax.enable_x64(True):
        wide = lottery.device_data(toys.blobs())
        trained = Trainer(network, recipe).train(crowd, wide, snapshot=3)
    for a, b in zip(*map(jax.tree.leaves, (trained, expected)), strict=True):
        assert getattr(a, "dtype", 0) == getattr(b, "dtype", 0)
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-5)  # Powers of Adam have 64 bits.


def test_positions_beyond_32_bits_are_those_of_whole_numbers():
    rng = np.random.default_rng(0)
    for _ in range(200):
        n, stride, start = (int(rng.integers(1, 2 ** rng.integers(1, b))) for b in (31, 31, 32))
        epoch, offset = order._place(jnp.uint32(start), stride, n)
        assert (int(epoch), int(offset)) == ((start * stride // n) % 2**32, start * stride % n)


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
@pytest.mark.parametrize("step", [0, 3, 2**31 // 4096, 2**32 // 4096 - 1, 2**31 - 2])
def test_steps_follow_each_other_however_far(step, impl):
    key = jax.random.key(0, impl=impl)
    two = data.shuffled(key, step, stride=4096, count=8192, n=5000)
    for shift in (0, 1):
        rows = data.shuffled(key, jnp.uint32(step + shift), stride=4096, count=4096, n=5000)
        np.testing.assert_array_equal(rows, two[4096 * shift :][:4096])
    assert len(set(np.asarray(rows).tolist())) > 2000
    assert 0 <= rows.min() <= rows.max() < 5000


@pytest.mark.parametrize("start", [-1, 2**32])
def test_a_position_out_of_range_is_refused(start):
    with pytest.raises(ValueError, match="count it in strides"):
        data.shuffled(jax.random.key(0), start, count=1, n=10)
