"""The whole job: searches find what they promise, and transfer moves it unharmed."""

import dataclasses
import itertools

from flax import linen as nn
import jax
import numpy as np
import optax
import pytest

from ltjax import data, lottery, models
from ltjax.core import masks, pruning, trees
from ltjax.lottery.arms import CONTROLS, STARTS
from ltjax.statistics import analysis
from ltjax.training import population
from ltjax.training import records as results
from tests import toys
from tests.conftest import assert_trees_equal, trees_differ
from tests.toys import Spy

NET, DATA, TARGET = toys.net(), toys.blobs(), toys.blobs(seed=1)
FOUR = toys.blobs(seed=2, classes=4)
KEY = jax.random.key(7)
HOW = toys.recipe(optimizer=optax.sgd(0.1, momentum=0.9), snapshot=5)
PLAN = pruning.plan(NET.shapes().params, rate=0.3, levels=2, rates={"output": 0.1})
ARMS = (*STARTS, *CONTROLS)
THETAS = ("theta_0", "theta_k", "theta_S")


TRAINER = Spy(HOW)  # Shared: it compiles once for each size of a population.


def find(*, replicates=2, **settings):
    """The levels of a search, and what was trained in it."""
    TRAINER.seen.clear()
    settings = {"key": KEY, "plan": PLAN, "rewind": 5, "trainer": TRAINER} | settings
    return list(lottery.find(NET, DATA, HOW, replicates=replicates, **settings))


def leaves(tree):
    return dict(zip(trees.names(tree), map(np.asarray, jax.tree.leaves(tree)), strict=True))


def arrays(level):
    return {name: getattr(level, name) for name in ("mask", *THETAS)}


def check_counts(levels, plan=PLAN):
    for level, counts in zip(levels, plan.counts, strict=True):
        for record in level.records:
            assert record.kept == sum(counts)
            assert [kept for kept, _ in record.layers.values()] == list(counts)
        for group, count in zip(plan.groups, counts, strict=True):
            for replicate in range(population.size(level.mask)):
                mask = population.member(level.mask, replicate)
                assert masks.count(mask, group).kept == count


@pytest.fixture(scope="module")
def levels():
    return find()


@pytest.fixture(scope="module")
def first_alone():
    return find(replicates=1)


def test_every_level_keeps_exactly_what_was_planned(levels):
    assert [level.level for level in levels] == [0, 1, 2]
    assert [level.nominal for level in levels] == list(PLAN.nominal)
    for level, density in zip(levels, PLAN.densities, strict=True):
        meta = level.ticket(1).meta
        for said in (level, *level.records):
            assert (said.density, said.nominal) == (density, level.nominal)
        assert (meta["density"], meta["nominal"]) == (density, level.nominal)
    assert levels[2].density > levels[2].nominal + 0.01  # The output is pruned by less.
    check_counts(levels)


def test_masks_shrink_and_leave_what_is_not_prunable(levels):
    for a, b in itertools.pairwise(levels):
        for name, now in leaves(b.mask).items():
            assert not (now & ~leaves(a.mask)[name]).any()
            assert now.all() == (name not in PLAN.prunable)


def test_pruned_weights_are_zero_after_training(levels):
    for level in levels:
        mask = leaves(level.mask)
        for name, value in leaves(level.theta_S.params).items():
            assert (value[~mask[name]] == 0).all()


def test_theta_0_is_the_network_as_drawn_and_theta_k_as_trained_for_k_steps(levels):
    for level in levels[1:]:
        for name in ("theta_0", "theta_k"):
            assert_trees_equal(getattr(level, name), getattr(levels[0], name))
    assert trees_differ(levels[0].theta_0, levels[0].theta_k)
    assert trees_differ(levels[0].theta_k, levels[0].theta_S)


def test_rounds_begin_at_step_k_with_theta_k_and_a_fresh_optimizer(levels):
    again = find()
    for number, (members, settings) in enumerate(TRAINER.seen):
        theta = levels[0].theta_k if number else levels[0].theta_0
        assert_trees_equal(members.start, theta)
        assert_trees_equal(members.mask, levels[number].mask)
        assert settings["first"] == (5 if number else 0)
        assert settings["opt_state"] is None
        assert_trees_equal(
            jax.random.key_data(members.key), jax.random.key_data(TRAINER.seen[0][0].key)
        )
    for a, b in zip(levels, again, strict=True):  # The same key gives the same bits.
        assert_trees_equal(arrays(a), arrays(b))
        assert results.dumps(a.records) == results.dumps(b.records)


def test_another_key_changes_everything_random(levels):
    other = find(key=jax.random.key(8), validation=0)
    assert trees_differ(other[0].theta_0, levels[0].theta_0)
    assert trees_differ(other[1].mask, levels[1].mask)
    for found in (levels, other):  # Nothing is held out.
        assert {r.judged_on for level in found for r in level.records} == {"last"}


def test_more_replicates_leave_the_first_as_it_is(levels, first_alone):
    for two, one in zip(levels, first_alone, strict=True):
        ours = jax.tree.map(lambda leaf: leaf[:1], arrays(two))
        assert_trees_equal(jax.device_get(ours), jax.device_get(arrays(one)))
        assert two.records[:1] == one.records
        assert trees_differ(population.member(two.mask, 0), population.member(two.mask, 1)) == (
            two.level > 0
        )


def largest(values, mask, counts):
    """The mask that keeps the largest live weights of each prunable leaf."""
    expected = dict(leaves(mask))
    for name, count in zip(PLAN.prunable, counts, strict=True):
        size = np.where(expected[name], np.abs(leaves(values)[name]), -1.0)
        cut = np.sort(size, axis=None)[-count]
        expected[name] = size >= cut
    return expected


@pytest.mark.parametrize("one_shot", [False, True])
@pytest.mark.parametrize("score_at", ["start", "end"])
def test_each_round_keeps_the_largest_weights_of_the_level_it_comes_from(score_at, one_shot):
    found = find(replicates=1, score_at=score_at, one_shot=one_shot)
    check_counts(found)
    for number in (1, 2):
        before = 0 if one_shot else number - 1
        rated = found[before].theta_S
        if score_at == "start":
            rated = found[0].theta_k if before else found[0].theta_0
        ticket = found[number].ticket()
        expected = largest(
            population.member(rated.params, 0),
            population.member(found[before].mask, 0),
            PLAN.counts[number],
        )
        assert_trees_equal(leaves(ticket.mask), expected)


@pytest.mark.parametrize("score", [name for name in pruning.SCORES if name != "magnitude"])
def test_every_score_prunes_to_the_planned_counts(score, levels):
    found = find(score=score, score_batch=16)
    check_counts(found)
    assert trees_differ(found[1].mask, levels[1].mask)


def plain(piece, compute):
    """A keeper that hands on copies, in plain dicts of NumPy arrays."""

    def copied(tree):
        if isinstance(tree, dict):
            return {name: copied(child) for name, child in tree.items()}
        assert isinstance(tree, np.ndarray), f"{piece} holds {type(tree)}"
        return tree.copy()

    tree, records = compute(None, None)
    return copied(tree), results.loads(results.dumps(records))


def test_training_can_go_on_with_values_and_optimizer():
    found = find(reset=(), keep=plain)
    for number in (1, 2):
        members, settings = TRAINER.seen[number]
        assert_trees_equal(members.start, found[number - 1].theta_S)
        assert settings["first"] == 0
        assert members.schedule_offset.tolist() == [12 * number] * 2
        momentum = jax.tree.leaves(settings["opt_state"])
        assert all(leaf.shape[0] == 2 for leaf in momentum)
        assert any(np.any(leaf) for leaf in momentum)
    assert len({tuple(jax.random.key_data(m.key)[0].tolist()) for m, _ in TRAINER.seen}) == 3
    for a, b in zip(found, find(reset=()), strict=True):
        assert_trees_equal(arrays(a), arrays(b))


WRONG = [
    ({"score": "magnitud"}, "no score 'magnitud'; did you mean magnitude"),
    ({"score_at": "ende"}, "did you mean end"),
    ({"score_batch": 51}, r"score_batch must lie in 0\.\.50"),
    ({"replicates": 0}, "replicates must be at least 1; got 0"),
    ({"judge": "validation"}, "no judge 'validation'; there are: last, test"),
    ({"reset": ["wieghts"]}, "did you mean weights"),
    ({"rewind": "ende"}, "rewind point is a step"),
    ({"rewind": 4}, "recipe.snapshot must be the rewind step 4; got 5"),
    ({"recipe": {"steps": 2**30}, "reset": ["weights"]}, r"below 2\*\*31 together"),
    ({"validation": 50}, r"validation must lie in 0\.\.49"),
    ({"validation": -1}, r"validation must lie in 0\.\.49"),
    ({"validation": 45}, "batch_size 8 is larger than the 5 training examples"),
    ({"recipe": {"batch_size": 51}}, "batch_size 51 is larger than the 50 training examples"),
    ({"recipe": {"patience": 2}}, "need a validation set"),
    ({"recipe": {"keep": "best"}}, "need a validation set"),
    ({"recipe": {"frozen": frozenset({"dense_0/kernl"})}}, "did you mean dense_0/kernel"),
    ({"recipe": {"steps": 13}, "trainer": TRAINER}, "the trainer was made of another recipe"),
    ({"network": toys.net(shape=(5, 4, 1))}, r"images of \[4, 4, 1\] and mlp-8 takes \[5, 4, 1\]"),
    ({"network": toys.net(classes=4)}, "has 3 classes and mlp-8 4 outputs"),
    ({"network": toys.net("mlp-9")}, r"plan prunes 128 weights of dense_0/kernel .* has 144"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_what_does_not_fit_is_refused_before_the_first_level_is_asked_for(wrong, message):
    settings = {"key": KEY, "plan": PLAN, "rewind": 5, **wrong}
    how = dataclasses.replace(HOW, **settings.pop("recipe", {}))
    with pytest.raises(ValueError, match=message):
        lottery.find(settings.pop("network", NET), DATA, how, **settings)


@pytest.fixture(scope="module")
def moved(levels):
    """All arms on the target: the records, and the members that were trained."""
    TRAINER.seen.clear()
    records = list(lottery.transfer(levels, NET, TARGET, HOW, key=KEY, arms=ARMS, trainer=TRAINER))
    return records, [members for members, _ in TRAINER.seen]


def by_arm(members, replicates=2):
    """The members of each arm."""
    return {
        arm: jax.tree.map(lambda leaf, i=i: leaf[i * replicates : (i + 1) * replicates], members)
        for i, arm in enumerate(ARMS)
    }


def test_transfer_leaves_a_record_of_every_arm_level_and_replicate(moved):
    for level, records in enumerate(moved[0]):
        assert [(r.arm, r.replicate) for r in records] == list(itertools.product(ARMS, (0, 1)))
        for record in records:
            assert (record.phase, record.level) == ("target", level)
            assert record.kept == PLAN.kept(level)
            assert record.prunable == sum(PLAN.sizes)


def test_start_points_begin_with_the_values_and_the_mask_of_the_ticket(levels, moved):
    for level, members in zip(levels, moved[1], strict=True):
        for name in STARTS:
            arm = by_arm(members)[name]
            assert_trees_equal(arm.mask, level.mask)
            assert_trees_equal(arm.start, jax.device_get(getattr(level, name)))


def test_arms_of_a_replicate_see_the_same_batches_and_replicates_others(moved):
    keys = jax.random.key_data(moved[1][0].key).reshape(len(ARMS), 2, -1)
    assert (keys == keys[:1]).all()
    assert (keys[0, 0] != keys[0, 1]).any()


def test_fresh_values_are_drawn_for_each_level_and_replicate(moved):
    drawn = [by_arm(members)["redrawn"].start.params["dense_0"]["kernel"] for members in moved[1]]
    values = [kernel.tobytes() for level in drawn for kernel in level]
    assert len(set(values)) == len(values)


def test_a_control_is_permuted_otherwise_at_each_level_replicate_and_draw(levels):
    """One ticket as if at two levels, so that the permutations alone can differ."""
    one = levels[1]._replace(mask=jax.tree.map(lambda m: np.stack([m[0]] * 2), levels[1].mask))
    twice = [one._replace(level=number) for number in (1, 2)]
    TRAINER.seen.clear()
    settings = {"key": KEY, "arms": ["shuffled_mask"], "repeats": 2, "trainer": TRAINER}
    _ = list(lottery.transfer(twice, NET, TARGET, HOW, **settings))
    masks_ = [leaves(members.mask)["dense_0/kernel"] for members, _ in TRAINER.seen]
    drawn = [mask.tobytes() for group in masks_ for mask in group]
    assert len(set(drawn)) == len(drawn) == 8


def test_theta_k_is_kept_by_level_0_alone_and_outside_of_what_is_trained(levels):
    def keep(piece, compute):
        seen = []
        made = compute(None, seen.append)
        assert [p.snapshot is not None for p in seen] == [
            piece == "source_00" and p.step >= 5 for p in seen
        ]
        size = sum(leaf.size for leaf in jax.tree.leaves(seen[-1].states.variables))
        assert sum(leaf.size for leaf in jax.tree.leaves(seen[-1].states)) < 2.5 * size
        return made

    assert_trees_equal(find(keep=keep)[0].theta_k, levels[0].theta_k)


def first(population_):
    return jax.tree.map(lambda leaf: np.asarray(leaf)[0], population_)


class Failing(Spy):
    """A trainer that breaks replicate 1 of one of its trainings."""

    def __init__(self, recipe, at):
        super().__init__(recipe)
        self.at = at

    def train(self, members, data, **settings):
        if len(self.seen) == self.at:
            broken = jax.tree.map(np.array, members.start)
            broken.params["dense_0"]["kernel"][1] = np.nan
            members = members._replace(start=broken)
        return super().train(members, data, **settings)


@pytest.mark.parametrize(
    ("at", "one_shot", "failed"), [(0, False, [0, 1, 2]), (1, False, [1, 2]), (1, True, [1])]
)
def test_what_comes_from_a_failed_replicate_has_failed(levels, at, one_shot, failed):
    spy = Failing(HOW, at)
    sound = levels if not one_shot else find(one_shot=True)
    found = find(trainer=spy, one_shot=one_shot, keep=plain)
    check_counts(found)
    for ours, theirs in zip(found, sound, strict=True):
        good, bad = ours.records
        assert good == theirs.records[0]
        assert_trees_equal(first(arrays(ours)), first(arrays(theirs)))
        assert analysis.has_failed(bad) == (ours.level in failed)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(ours.theta_S))
        if ours.level not in failed:
            _ = ours.ticket(1)
            continue
        step = found[failed[0]].records[1].failed_step
        assert (bad.failed_step, bad.best_step) == (step, -1)
        assert len(bad.steps) == 1  # Evaluated once: broken at once, or not trained at all.
        with pytest.raises(ValueError, match=f"replicate 1 has no ticket at level {ours.level}"):
            ours.ticket(1)
    moved = lottery.transfer(found, NET, TARGET, HOW, key=KEY, arms=ARMS, trainer=spy)
    for level, records in enumerate(moved):
        gone = {(r.replicate, len(r.steps)) for r in records if analysis.has_failed(r)}
        assert gone == ({(1, 1)} if level in failed else set())
    cuts = list(lottery.cut(found[0], PLAN))
    assert [list(c.failed_step >= 0) for c in cuts] == [[False, 0 in failed]] * 2


def test_theta_0_at_level_0_is_a_dense_training_on_the_target(moved):
    members = by_arm(moved[1][0])["theta_0"]
    assert all(leaf.all() for leaf in jax.tree.leaves(members.mask))
    trained = TRAINER.train(members, lottery.device_data(TARGET))
    for replicate in (0, 1):
        record = moved[0][0][replicate]
        np.testing.assert_allclose(
            record.test_accuracy, trained.curve.test_accuracy[:, replicate], atol=1e-6
        )


def test_another_number_of_classes_draws_one_fresh_head_for_all(levels):
    network = toys.net(classes=4)
    how = dataclasses.replace(HOW, apply=network.apply)
    spy = Spy(how)
    made = list(lottery.transfer(levels, network, FOUR, how, key=KEY, arms=ARMS, trainer=spy))
    heads = set()
    for level, records, (members, _) in zip(levels, made, spy.seen, strict=True):
        for record in records:
            assert list(record.layers) == ["dense_0/kernel"]
            assert (record.kept, record.prunable) == (PLAN.counts[level.level][0], 128)
        assert members.mask["head"]["kernel"].all()
        heads |= {kernel.tobytes() for kernel in members.start.params["head"]["kernel"]}
        assert_trees_equal(by_arm(members)["theta_0"].mask["dense_0"], level.mask["dense_0"])
    assert len(heads) == 2  # One a replicate, at all levels and in all arms.


def test_a_head_that_fits_is_drawn_afresh_where_asked(levels, first_alone):
    spy = Spy(HOW)
    settings = {"key": KEY, "arms": ("theta_0",), "trainer": spy, "new_head": True}
    ((record,),) = lottery.transfer(first_alone[2:], NET, TARGET, HOW, **settings)
    ((members, _),) = spy.seen
    assert list(record.layers) == ["dense_0/kernel"]
    assert members.mask["head"]["kernel"].all()
    assert trees_differ(members.start.params["head"], first_alone[2].theta_0.params["head"])


def test_a_single_ticket_moves_with_the_dense_network_it_came_from(levels):
    alone = lottery.found(levels[2].ticket(1, meta={"source": "blobs"}))
    assert (alone.level, alone.nominal) == (2, PLAN.nominal[2])
    assert alone.ticket().meta["level"] == 2
    arms = ("theta_0", "theta_S")
    TRAINER.seen.clear()
    dense, sparse = lottery.transfer(
        [lottery.dense_of(alone), alone], NET, TARGET, HOW, key=KEY, arms=arms, trainer=TRAINER
    )
    assert [(r.level, r.arm, r.kept) for r in dense] == [(0, "theta_0", sum(PLAN.sizes))]
    assert [(r.level, r.arm, r.kept) for r in sparse] == [(2, a, PLAN.kept(2)) for a in arms]
    ours = jax.tree.map(lambda leaf: leaf[:1], TRAINER.seen[0][0].start)
    assert_trees_equal(ours, jax.tree.map(lambda leaf: leaf[1:], levels[0].theta_0))


def test_all_levels_together_are_the_same_trainings(levels):
    settings = {"key": KEY, "arms": ("theta_0", "redrawn"), "repeats": 2, "trainer": TRAINER}
    pieces = []

    def keep(piece, compute):
        pieces.append(piece)
        return compute(None, None)

    apart = list(lottery.transfer(levels, NET, TARGET, HOW, **settings))
    (together,) = lottery.transfer(levels, NET, TARGET, HOW, **settings, together=True, keep=keep)
    assert pieces == ["target_all"]
    assert together == [record for level in apart for record in level]


def test_controls_of_values_that_are_not_known_leave_no_record(levels):
    dense = lottery.dense_of(levels[1])
    arms = (*STARTS, *(n for n, c in CONTROLS.items() if not c.everywhere))
    settings = {"key": KEY, "arms": arms, "base": "theta_S", "trainer": TRAINER}
    records, whole = lottery.transfer([dense, levels[1]], NET, TARGET, HOW, **settings)
    assert {r.arm for r in whole} == set(arms)
    assert {r.arm for r in records} == {
        "theta_0",
        "theta_k",
        *(n for n, c in CONTROLS.items() if not c.start),
    }


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"arms": ["theta_o"]}, "did you mean .*theta_0"),
        ({"arms": []}, "give at least one start point or control"),
        ({"base": "redrawn"}, "no start point 'redrawn'"),
        ({"judge": "tests"}, "did you mean test"),
        ({"arms": ["theta_0", "shuffled_mask"], "base": "theta_S"}, "shuffled_mask moves the mask"),
        ({"validation": 50}, r"validation must lie in 0\.\.49"),
        ({"network": toys.net(classes=4)}, "has 3 classes and mlp-8 4 outputs"),
        ({"recipe": {"steps": 13}, "trainer": TRAINER}, "the trainer was made of another recipe"),
    ],
)
def test_a_transfer_that_does_not_fit_is_refused_before_the_first_level(wrong, message):
    settings = {"key": KEY, **wrong}
    how = dataclasses.replace(HOW, **settings.pop("recipe", {}))
    with pytest.raises(ValueError, match=message):
        lottery.transfer([], settings.pop("network", NET), TARGET, how, **settings)


def test_a_ticket_of_another_network_is_refused_by_its_leaf(levels):
    other = toys.net("mlp-9")
    how = dataclasses.replace(HOW, apply=other.apply)
    with pytest.raises(ValueError, match=r"leaf 'dense_0/bias' is .* in the ticket"):
        list(lottery.transfer(levels, other, TARGET, how, key=KEY))


class Normalized(nn.Module):
    """A user's module with batch normalization; its convolutional sister compiles for long."""

    @nn.compact
    def __call__(self, x, *, train):
        x = nn.Dense(6, use_bias=False, name="dense_0")(x.reshape(len(x), -1))
        x = nn.relu(nn.BatchNorm(use_running_average=not train, name="norm_0")(x))
        return nn.Dense(3, name="head")(x)


def test_batch_norm_is_searched_and_its_statistics_move_with_the_ticket():
    network = models.from_flax(Normalized(), input_shape=(4, 4, 1), classes=3)
    frozen = frozenset({"head/kernel"})
    how = toys.recipe(network, steps=2, every=2, snapshot=0, frozen=frozen)
    spy = Spy(how)
    plan = pruning.plan(network.shapes().params, rate=0.4, levels=1)
    settings = {"key": KEY, "plan": plan, "rewind": "end", "trainer": spy}
    found = list(lottery.find(network, DATA, how, **settings))
    check_counts(found, plan)
    assert_trees_equal(spy.seen[1][0].start, found[0].theta_S)
    assert trees_differ(found[0].theta_0.stats, found[0].theta_S.stats)
    for level in found:  # What is frozen is pruned, and else stays as drawn.
        ticket = level.ticket()
        drawn = masks.apply(ticket.theta_0.params["head"], ticket.mask["head"])
        assert_trees_equal(ticket.theta_S.params["head"]["kernel"], np.asarray(drawn["kernel"]))
    ((record,),) = lottery.transfer(
        found[1:], network, DATA, how, key=KEY, arms=["theta_S"], trainer=spy
    )
    assert record.kept == plan.kept(1)
    assert_trees_equal(spy.seen[2][0].start.stats, jax.device_get(found[1].theta_S.stats))


def again(levels, *, arms=("theta_0", "redrawn", "shuffled_hidden"), **settings):
    """Tickets trained again on the data of their search: records and members."""
    TRAINER.seen.clear()
    settings = {"key": KEY, "phase": "source", "trainer": TRAINER} | settings
    records = [
        r for level in lottery.transfer(levels, NET, DATA, HOW, arms=arms, **settings)
        for r in level
    ]  # fmt: skip
    return records, [members for members, _ in TRAINER.seen]


def test_a_ticket_trained_again_sees_the_batches_of_its_search(levels):
    level = levels[1]
    members = find(replicates=2) and TRAINER.seen[1][0]
    _, ours = again([level], arms=("theta_k",))
    for field in ("key", "train_rows", "validation_rows", "mask"):
        a, b = getattr(ours[0], field), getattr(members, field)
        if field == "key":
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        assert_trees_equal(a, b)
    assert_trees_equal(ours[0].start.params, members.start.params)


def test_controls_are_repeated_each_with_its_own_draw_and_start_points_are_not(levels):
    records, (members,) = again([levels[1]], repeats=3)
    counted = [(r.arm, r.replicate, r.repeat) for r in records]
    assert counted == [
        *[("theta_0", i, 0) for i in (0, 1)],
        *[("redrawn", i, k) for k in range(3) for i in (0, 1)],
        *[("shuffled_hidden", i, k) for k in range(3) for i in (0, 1)],
    ]
    kernels = members.start.params["dense_0"]["kernel"]
    assert len({kernel.tobytes() for kernel in kernels}) == len(records)
    assert {r.phase for r in records} == {"source"}


def test_more_repeats_leave_the_first_as_it_is(levels):
    _, (one,) = again([levels[2]], arms=("redrawn",))
    _, (three,) = again([levels[2]], arms=("redrawn",), repeats=3)
    first = jax.tree.map(lambda leaf: leaf[:2], three._replace(key=None))
    assert_trees_equal(first, one._replace(key=None))


def test_one_shot_tickets_are_cut_from_the_end_of_one_training(levels):
    plan = pruning.plan(
        NET.shapes().params, rate=0.2, levels=0, rates={"output": 0.1}, densities=(0.5, 0.1)
    )
    cuts = list(lottery.cut(levels[0], plan))
    assert [cut.level for cut in cuts] == [1, 2]
    for cut, counts in zip(cuts, plan.counts[1:], strict=True):
        assert not cut.records
        for replicate in range(2):
            mask = leaves(population.member(cut.mask, replicate))
            values = leaves(population.member(levels[0].theta_S.params, replicate))
            for (name,), count in zip(plan.groups, counts, strict=True):
                assert mask[name].sum() == count
                kept, gone = (np.abs(values[name][m]) for m in (mask[name], ~mask[name]))
                assert kept.min() >= gone.max()
    records, (first, _) = again(cuts, arms=("theta_0",))
    assert_trees_equal(first.mask, cuts[0].mask)
    assert [r.kept for r in records] == [k for k in map(plan.kept, (1, 2)) for _ in range(2)]


@pytest.mark.parametrize(
    ("wrong", "message"), [({"phase": "sauce"}, "source"), ({"repeats": 0}, "at least 1")]
)
def test_a_retraining_that_does_not_fit_is_refused(levels, wrong, message):
    with pytest.raises(ValueError, match=message):
        again(levels, **wrong)


def test_a_flipped_search_begins_with_the_complement_and_never_leaves_it(levels):
    prunable = PLAN.prunable
    ticket = levels[2].mask
    flipped = jax.vmap(lambda m: masks.complement(m, prunable))(ticket)
    left = dict(zip(prunable, PLAN.counts[2], strict=True))
    live = {n: size - left[n] for n, size in zip(prunable, PLAN.sizes, strict=True)}
    plan = pruning.plan(NET.shapes().params, rate=0.3, levels=2, rates={"output": 0.1}, live=live)
    found = find(plan=plan, mask=jax.device_get(flipped))
    check_counts(found, plan)
    assert_trees_equal(found[0].mask, jax.device_get(flipped))
    for level in found:
        for name in prunable:
            assert not (leaves(level.mask)[name] & leaves(ticket)[name]).any()
        assert_trees_equal(level.theta_0, levels[0].theta_0)
    dense = leaves(found[0].theta_S.params)
    assert all((dense[n][leaves(ticket)[n]] == 0).all() for n in prunable)


def test_a_mask_that_does_not_fit_its_plan_is_refused(levels):
    with pytest.raises(ValueError, match="live="):
        find(mask=levels[1].mask)
    other = toys.net("mlp-9").shapes().params
    wrong = jax.tree.map(lambda leaf: np.ones((2, *leaf.shape), bool), other)
    with pytest.raises(ValueError, match="mask"):
        find(mask=wrong)


def test_theta_k_is_kept_also_where_rounds_go_back_to_the_beginning(levels):
    plain = Spy(dataclasses.replace(HOW, snapshot=0))
    ours, theirs = (
        list(lottery.find(NET, DATA, t.recipe, key=KEY, plan=PLAN, replicates=2, trainer=t))
        for t in (TRAINER, plain)
    )
    assert_trees_equal(ours[0].theta_k, levels[0].theta_k)
    assert trees_differ(ours[0].theta_k.params, ours[0].theta_0.params)
    for a, b in zip(ours, theirs, strict=True):
        assert_trees_equal(a.theta_S, b.theta_S)
        assert_trees_equal(a.mask, b.mask)


PARTS = data.class_parts(FOUR, [(0, 1, 2), (3, 1, 0)])


def test_each_replicate_learns_its_own_part_as_if_it_were_alone():
    settings = {"key": KEY, "plan": PLAN, "rewind": 5, "trainer": TRAINER}
    both = list(lottery.find(NET, PARTS, HOW, replicates=2, **settings))
    alone = data.take_classes(FOUR, (0, 1, 2))
    assert alone.examples == PARTS.examples  # Of the second part one example more is left out.
    for ours, theirs in zip(both, lottery.find(NET, alone, HOW, **settings), strict=True):
        # Counted over another number of rows, so divided otherwise in the last bit.
        assert ours.records[0].test_accuracy == pytest.approx(
            theirs.records[0].test_accuracy, abs=1e-6
        )
        assert_trees_equal(
            jax.tree.map(lambda leaf: leaf[:1], ours.theta_S), jax.device_get(theirs.theta_S)
        )
    moved = lottery.transfer(both, NET, PARTS, HOW, key=KEY, arms=ARMS, trainer=TRAINER)
    for level, records in zip(both, moved, strict=True):
        assert {(r.arm, r.replicate) for r in records} == set(itertools.product(ARMS, (0, 1)))
        assert level.records[0].test_accuracy != level.records[1].test_accuracy


def test_parts_and_replicates_are_equally_many():
    with pytest.raises(ValueError, match="2 parts of blobs2 and 3 replicates"):
        lottery.find(NET, PARTS, HOW, key=KEY, plan=PLAN, replicates=3, rewind=5)


def test_pruning_at_the_start_refuses_a_plan_of_another_network(levels):
    other = pruning.of_mask(masks.dense(toys.net("mlp-9").shapes().params), ["dense_0/kernel"])
    with pytest.raises(ValueError, match="and the network has"):
        next(lottery.at_start(levels[0], DATA, HOW, key=KEY, plan=other, score="snip"))


def test_snip_keeps_the_total_of_a_given_mask(levels):
    mask = population.member(levels[2].mask, 0)
    plan = pruning.of_mask(mask, PLAN.prunable)
    for matched in (plan, pruning.pooled(plan)):
        (found,) = lottery.at_start(levels[0], DATA, HOW, key=KEY, plan=matched, score="snip")
        kept = [masks.count(population.member(found.mask, i), PLAN.prunable) for i in (0, 1)]
        assert [k.kept for k in kept] == [PLAN.kept(2)] * 2


def at_start(levels, **settings):
    settings = {"key": KEY, "plan": PLAN, "score": "snip"} | settings
    return list(lottery.at_start(levels[0], DATA, HOW, **settings))


def test_cuts_from_level_to_level_nest_and_begin_with_the_dense_network(levels):
    first, second = at_start(levels, cuts=0)
    for i in (0, 1):
        masks_ = [leaves(population.member(level.mask, i)) for level in (first, second)]
        assert all((a | ~b).all() for a, b in zip(*map(dict.values, masks_), strict=True))
        kept = [masks.count(population.member(x.mask, i), PLAN.prunable) for x in (first, second)]
        assert [k.kept for k in kept] == [PLAN.kept(1), PLAN.kept(2)]
    (alone,) = at_start(levels, cuts=0, numbers=[2])
    assert_trees_equal(alone.mask, second.mask)
    # The second cut sees the first one's mask: from the dense network it would be another.
    (at_once,) = at_start(levels, cuts=1, numbers=[2])
    assert trees_differ(at_once.mask, second.mask)


def test_a_new_batch_rates_each_cut_unless_one_is_asked_for(levels):
    def batches(**settings):
        return at_start(levels, cuts=2, numbers=[2], score="random", **settings)[0].mask

    # Random scores differ with the key alone: with one key for both cuts the weights that the
    # second cut takes are the next lowest of the first, so two cuts are one.
    once = at_start(levels, cuts=1, numbers=[2], score="random", same_batch=True)[0].mask
    assert_trees_equal(batches(same_batch=True), once)
    assert trees_differ(batches(), once)
