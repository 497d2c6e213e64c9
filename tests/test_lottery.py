"""The whole job: searches find what they promise, and transfer moves it unharmed."""

import dataclasses
import itertools

from flax import linen as nn
import jax
import numpy as np
import optax
import pytest

from ltjax import data, lottery, models
from ltjax.core import masks, pruning
from ltjax.lottery import Level, Piece
from ltjax.lottery.arms import CONTROLS, STARTS
from ltjax.statistics import analysis
from ltjax.training import records as results
from tests import toys
from tests.conftest import assert_trees_equal, leaves, trees_differ
from tests.toys import Spy

NET, DATA, TARGET = toys.net(), toys.blobs(), toys.blobs(seed=1)
FOUR = toys.blobs(seed=2, classes=4)
KEY = jax.random.key(7)
HOW = toys.recipe(optimizer=optax.sgd(0.1, momentum=0.9))
PLAN = pruning.plan(NET.shapes().params, rate=0.3, levels=2, rates={"output": 0.1})
ARMS = (*STARTS, *CONTROLS)
TRAINER = Spy(HOW)  # Shared: it compiles once for each size of a population.


def find(trainer=TRAINER, dataset=DATA, **settings):
    """The levels of a search; what was trained in it is in `trainer.seen`."""
    trainer.seen.clear()
    settings = {"key": KEY, "plan": PLAN, "rewind": 5, "replicates": 2} | settings
    return list(lottery.find(trainer, dataset, **settings))


def transfer(levels, trainer=TRAINER, dataset=TARGET, **settings):
    """The records of each level, and the members that were trained."""
    trainer.seen.clear()
    moved = list(lottery.transfer(levels, trainer, dataset, **{"key": KEY} | settings))
    return moved, [members for members, _ in trainer.seen]


def arrays(level):
    return {name: getattr(level, name) for name in ("mask", *STARTS)}


def part(tree, which):
    return jax.device_get(jax.tree.map(lambda leaf: leaf[which], tree))


def check_counts(levels, plan=PLAN, numbers=None):
    for level, number in zip(levels, numbers or range(plan.levels + 1), strict=True):
        for record in level.records:
            assert record.kept == plan.kept(number)
            assert [kept for kept, _ in record.layers.values()] == list(plan.counts[number])
        for group, count in zip(plan.groups, plan.counts[number], strict=True):
            for replicate in range(level.replicates):
                assert masks.count(part(level.mask, replicate), group).kept == count


@pytest.fixture(scope="module")
def levels():
    return find()


@pytest.fixture(scope="module")
def first_alone():
    return find(replicates=1)


def test_every_level_keeps_exactly_what_was_planned(levels):
    check_counts(levels)
    assert [level.level for level in levels] == [0, 1, 2]
    assert [level.nominal for level in levels] == list(PLAN.nominal)
    for level, density in zip(levels, PLAN.densities, strict=True):
        meta = level.ticket(1).meta
        for said in (level, *level.records):
            assert (said.density, said.nominal) == (density, level.nominal)
        assert (meta["density"], meta["nominal"]) == (density, level.nominal)
    assert levels[2].density > levels[2].nominal + 0.01  # The output is pruned by less.


def test_masks_shrink_and_pruned_weights_are_zero(levels):
    for a, b in itertools.pairwise(levels):
        before, values = leaves(a.mask), leaves(b.theta_S.params)
        for name, now in leaves(b.mask).items():
            assert not (now & ~before[name]).any()
            assert now.all() == (name not in PLAN.prunable)
            assert (values[name][~now] == 0).all()


POINTS = {0: "theta_0", 5: "theta_k", "end": "theta_S"}


@pytest.mark.parametrize("rewind", POINTS)
def test_rounds_begin_at_the_rewind_point_with_a_fresh_optimizer(rewind, levels):
    found = find(rewind=rewind)
    for number, (members, settings) in enumerate(TRAINER.seen):
        theta = getattr(found[0], POINTS[rewind] if number else "theta_0")
        assert_trees_equal(members.start, jax.device_get(theta))
        assert_trees_equal(members.mask, found[number].mask)
        assert settings["first"] == (rewind if number and rewind != "end" else 0)
        assert settings["opt_state"] is None
        order = [jax.random.key_data(m.key) for m in (members, TRAINER.seen[0][0])]
        assert_trees_equal(*order)
    for level in found:  # theta_k is the network after k steps, without a step theta_0.
        assert_trees_equal(level.theta_0, levels[0].theta_0)
        assert_trees_equal(level.theta_k, levels[0].theta_k if rewind == 5 else level.theta_0)
    thetas = [getattr(levels[0], name).params for name in STARTS]
    assert all(trees_differ(a, b) for a, b in itertools.pairwise(thetas))
    if rewind == 5:  # The same key gives the same bits.
        for a, b in zip(levels, found, strict=True):
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
        assert_trees_equal(part(arrays(two), slice(1)), jax.device_get(arrays(one)))
        assert two.records[:1] == one.records
        assert trees_differ(part(two.mask, 0), part(two.mask, 1)) == (two.level > 0)


def test_the_loop_waits_for_its_caller():
    TRAINER.seen.clear()
    found = lottery.find(TRAINER, DATA, key=KEY, plan=PLAN, replicates=2)
    assert not TRAINER.seen
    _ = next(found), next(found)
    assert len(TRAINER.seen) == 2


def largest(values, mask, counts):
    """The mask that keeps the largest live weights of each prunable leaf."""
    expected = leaves(mask)
    for name, count in zip(PLAN.prunable, counts, strict=True):
        size = np.where(expected[name], np.abs(leaves(values)[name]), -1.0)
        expected[name] = size >= np.sort(size, axis=None)[-count]
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
        rated, live = part(rated.params, 0), part(found[before].mask, 0)
        expected = largest(rated, live, PLAN.counts[number])
        assert_trees_equal(leaves(found[number].ticket().mask), expected)


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
        assert isinstance(tree, np.ndarray), f"{piece.name} holds {type(tree)}"
        return tree.copy()

    tree, records = compute(None, None)
    return copied(tree), results.loads(results.dumps(records))


@pytest.mark.parametrize("one_shot", [False, True])
def test_training_can_go_on_with_values_and_optimizer(one_shot):
    found = find(reset=(), keep=plain, one_shot=one_shot)
    states = []
    for number in (1, 2):
        members, settings = TRAINER.seen[number]
        before = 0 if one_shot else number - 1
        assert_trees_equal(members.start, jax.device_get(found[before].theta_S))
        assert settings["first"] == 0
        assert members.schedule_offset.tolist() == [12 * (before + 1)] * 2
        states.append(jax.tree.leaves(jax.device_get(settings["opt_state"])))
        assert all(leaf.shape[0] == 2 for leaf in states[-1])
        assert any(np.any(leaf) for leaf in states[-1])
    assert trees_differ(*states) != one_shot
    orders = {tuple(jax.random.key_data(m.key)[0].tolist()) for m, _ in TRAINER.seen}
    assert len(orders) == (2 if one_shot else 3)
    for a, b in zip(found, find(reset=(), one_shot=one_shot), strict=True):
        assert_trees_equal(arrays(a), arrays(b))


FIND_WRONG = [
    ({"score": "magnitud"}, "no score 'magnitud'; did you mean magnitude"),
    ({"score_at": "ende"}, "did you mean end"),
    ({"score_batch": 51}, r"score_batch must lie in 0\.\.50"),
    ({"replicates": 0}, "replicates must be at least 1; got 0"),
    ({"judge": "validation"}, "no judge 'validation'; there are: last, test"),
    ({"reset": ["wieghts"]}, "no part to reset 'wieghts'; did you mean weights"),
    ({"reset": ["weights", "all"]}, "no part to reset 'all'; .*there are: biases"),
    ({"rewind": "ende"}, r"rewind step must lie in 0\.\.12 .* or be 'end'; got 'ende'"),
    ({"rewind": -1}, r"in 0\.\.12 \(the length\), or be 'end'; got -1"),
    ({"rewind": 13}, r"in 0\.\.12 \(the length\), or be 'end'; got 13"),
    ({"recipe": {"steps": 2**30}, "reset": ["weights"]}, r"below 2\*\*31 together"),
    ({"validation": -1}, r"validation must lie in 0\.\.49"),
    ({"validation": 45}, "batch_size 8 is larger than the 5 training examples"),
    ({"recipe": {"batch_size": 51}}, "batch_size 51 is larger than the 50 training examples"),
    ({"recipe": {"patience": 2}}, "need a validation set"),
    ({"recipe": {"keep": "best"}}, "need a validation set"),
    ({"recipe": {"frozen": frozenset({"dense_0/kernl"})}}, "did you mean dense_0/kernel"),
    ({"network": toys.net(shape=(5, 4, 1))}, r"images of \[4, 4, 1\] and mlp-8 takes \[5, 4, 1\]"),
    ({"network": toys.net("mlp-9")}, r"plan prunes 128 weights of dense_0/kernel .* has 144"),
    ({"mask": jax.tree.map(lambda p: np.ones((1, *p.shape), bool), toys.net("mlp-9").shapes()[0])},
     r"leaf 'dense_0/bias' is bool\[1, 9\] in the mask"),
    ({"mask": jax.tree.map(lambda p: np.zeros((1, *p.shape), bool), NET.shapes().params)},
     "begins with 128 weights of dense_0/kernel .* keeps 0; .*live="),
]  # fmt: skip
TRANSFER_WRONG = [
    ({"arms": ["theta_o"]}, "did you mean .*theta_0"),
    ({"arms": []}, "give at least one start point or control"),
    ({"base": "redrawn"}, "no start point 'redrawn'"),
    ({"judge": "tests"}, "did you mean test"),
    ({"arms": ["theta_0", "shuffled_mask"], "base": "theta_S"}, "shuffled_mask moves the mask"),
    ({"phase": "sauce"}, "no phase 'sauce'; did you mean source"),
    ({"repeats": 0}, "at least 1"),
]
BOTH_WRONG = [
    ({"validation": 50}, r"validation must lie in 0\.\.49"),
    ({"network": toys.net(classes=4)}, "has 3 classes and mlp-8 4 outputs"),
]


@pytest.mark.parametrize(
    ("call", "wrong", "message"),
    [
        *((lottery.find, *row) for row in (*FIND_WRONG, *BOTH_WRONG)),
        *((lottery.transfer, *row) for row in (*TRANSFER_WRONG, *BOTH_WRONG)),
    ],
)
def test_what_does_not_fit_is_refused_before_the_first_level_is_asked_for(call, wrong, message):
    settings = {"key": KEY, **wrong}
    how = dataclasses.replace(HOW, **settings.pop("recipe", {}))
    trainer = Spy(how, settings.pop("network", NET))
    first = ([],) if call is lottery.transfer else ()
    if not first:
        settings = {"plan": PLAN, "rewind": 5} | settings
    with pytest.raises(ValueError, match=message):
        call(*first, trainer, DATA, **settings)


@pytest.fixture(scope="module")
def moved(levels):
    """All arms on the target: the records, and the members that were trained."""
    return transfer(levels, arms=ARMS)


def by_arm(members, replicates=2):
    """The members of each arm."""
    return {
        arm: part(members, slice(i * replicates, (i + 1) * replicates))
        for i, arm in enumerate(ARMS)
    }


def test_transfer_leaves_a_record_of_every_arm_level_and_replicate(moved):
    for level, records in enumerate(moved[0]):
        assert [(r.arm, r.replicate) for r in records] == list(itertools.product(ARMS, (0, 1)))
        for record in records:
            assert (record.phase, record.level) == ("target", level)
            assert (record.kept, record.prunable) == (PLAN.kept(level), sum(PLAN.sizes))


def test_start_points_begin_with_the_values_and_the_mask_of_the_ticket(levels, moved):
    for level, members in zip(levels, moved[1], strict=True):
        for name in STARTS:
            arm = by_arm(members)[name]
            assert_trees_equal(arm.mask, level.mask)
            assert_trees_equal(arm.start, jax.device_get(getattr(level, name)))


def test_arms_see_the_same_batches_replicates_others_and_fresh_values_are_drawn_each_time(moved):
    keys = jax.random.key_data(moved[1][0].key).reshape(len(ARMS), 2, -1)
    assert (keys == keys[:1]).all()
    assert (keys[0, 0] != keys[0, 1]).any()
    drawn = [by_arm(members)["redrawn"].start.params["dense_0"]["kernel"] for members in moved[1]]
    values = [kernel.tobytes() for level in drawn for kernel in level]
    assert len(set(values)) == len(values)


def test_a_control_is_permuted_otherwise_at_each_level_replicate_and_draw(levels):
    """One ticket as if at two levels, so that the permutations alone can differ."""
    one = levels[1]._replace(mask=jax.tree.map(lambda m: np.stack([m[0]] * 2), levels[1].mask))
    twice = [one._replace(level=number) for number in (1, 2)]
    _, seen = transfer(twice, arms=["shuffled_mask"], repeats=2)
    drawn = [mask.tobytes() for m in seen for mask in leaves(m.mask)["dense_0/kernel"]]
    assert len(set(drawn)) == len(drawn) == 8


def test_theta_k_is_kept_by_level_0_alone_and_outside_of_what_is_trained(levels):
    def keep(piece, compute):
        seen = []
        made = compute(None, seen.append)
        first = piece == Piece("source", 0)
        assert [p.snapshot is not None for p in seen] == [first and p.step >= 5 for p in seen]
        size = sum(leaf.size for leaf in jax.tree.leaves(seen[-1].states.variables))
        assert sum(leaf.size for leaf in jax.tree.leaves(seen[-1].states)) < 2.5 * size
        return made

    assert_trees_equal(find(keep=keep)[0].theta_k, levels[0].theta_k)


class Failing(Spy):
    """A trainer that breaks replicate 1 of one of its trainings."""

    at = 0

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
    spy = Failing(HOW)
    spy.at = at
    sound = levels if not one_shot else find(one_shot=True)
    found = find(spy, one_shot=one_shot, keep=plain)
    check_counts(found)
    for ours, theirs in zip(found, sound, strict=True):
        good, bad = ours.records
        assert good == theirs.records[0]
        assert_trees_equal(part(arrays(ours), 0), part(arrays(theirs), 0))
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
    spy.at = None
    for level, records in enumerate(transfer(found, spy, arms=ARMS)[0]):
        gone = {(r.replicate, len(r.steps)) for r in records if analysis.has_failed(r)}
        assert gone == ({(1, 1)} if level in failed else set())
    for cut in lottery.one_shot(found[0], PLAN, key=KEY):
        assert list(cut.failed >= 0) == [False, 0 in failed]


def test_theta_0_at_level_0_is_a_dense_training_on_the_target(moved):
    members = by_arm(moved[1][0])["theta_0"]
    assert all(leaf.all() for leaf in jax.tree.leaves(members.mask))
    curve = TRAINER.train(members, lottery.device_data(TARGET)).curve.test_accuracy
    for record, ours in zip(moved[0][0], curve.T, strict=False):
        np.testing.assert_allclose(record.test_accuracy, ours, atol=1e-6)


def test_another_number_of_classes_draws_one_fresh_head_for_all(levels):
    made, seen = transfer(levels, Spy(HOW, toys.net(classes=4)), FOUR, arms=ARMS)
    heads = set()
    for level, records, members in zip(levels, made, seen, strict=True):
        for record in records:
            assert list(record.layers) == ["dense_0/kernel"]
            assert (record.kept, record.prunable) == (PLAN.counts[level.level][0], 128)
        assert members.mask["head"]["kernel"].all()
        heads |= {kernel.tobytes() for kernel in members.start.params["head"]["kernel"]}
        assert_trees_equal(by_arm(members)["theta_0"].mask["dense_0"], level.mask["dense_0"])
    assert len(heads) == 2  # One a replicate, at all levels and in all arms.


def test_a_head_that_fits_is_drawn_afresh_where_asked(first_alone):
    ((record,),), (members,) = transfer(first_alone[2:], new_head=True)
    assert list(record.layers) == ["dense_0/kernel"]
    assert members.mask["head"]["kernel"].all()
    assert trees_differ(members.start.params["head"], first_alone[2].theta_0.params["head"])


def test_a_single_ticket_moves_with_the_dense_network_it_came_from(levels):
    alone = Level.of(levels[2].ticket(1, meta={"source": "blobs"}))
    assert (alone.level, alone.nominal) == (2, PLAN.nominal[2])
    assert alone.ticket().meta["level"] == 2
    arms = ("theta_0", "theta_S")
    (dense, sparse), (members, _) = transfer([alone.dense, alone], arms=arms)
    assert [(r.level, r.arm, r.kept) for r in dense] == [(0, "theta_0", sum(PLAN.sizes))]
    assert [(r.level, r.arm, r.kept) for r in sparse] == [(2, a, PLAN.kept(2)) for a in arms]
    assert_trees_equal(part(members.start, slice(1)), part(levels[0].theta_0, slice(1, 2)))


def test_all_levels_together_are_the_same_trainings(levels):
    pieces = []

    def keep(piece, compute):
        pieces.append(piece.name)
        return compute(None, None)

    settings = {"arms": ("theta_0", "redrawn"), "repeats": 2, "keep": keep}
    apart, _ = transfer(levels, **settings)
    (together,), _ = transfer(levels, **settings, together=True)
    assert pieces == ["target_00", "target_01", "target_02", "target_all"]
    assert together == [record for level in apart for record in level]
    other = levels[1]._replace(prunable=PLAN.prunable[:1])
    with pytest.raises(ValueError, match="several searches do not train together"):
        transfer([levels[1], other], together=True)


def test_controls_of_values_that_are_not_known_leave_no_record(levels):
    arms = (*STARTS, *(n for n, c in CONTROLS.items() if not c.everywhere))
    (records, whole), _ = transfer([levels[1].dense, levels[1]], arms=arms, base="theta_S")
    fresh = {n for n, c in CONTROLS.items() if not c.start}
    assert {r.arm for r in whole} == set(arms)
    assert {r.arm for r in records} == {"theta_0", "theta_k", *fresh}


def test_a_ticket_of_another_network_is_refused_by_its_leaf(levels):
    with pytest.raises(ValueError, match=r"leaf 'dense_0/bias' is .* in the ticket"):
        transfer(levels, Spy(HOW, toys.net("mlp-9")))


class Normalized(nn.Module):
    """A user's module with batch normalization; its convolutional sister compiles for long."""

    @nn.compact
    def __call__(self, x, *, train):
        x = nn.Dense(6, use_bias=False, name="dense_0")(x.reshape(len(x), -1))
        x = nn.relu(nn.BatchNorm(use_running_average=not train, name="norm_0")(x))
        return nn.Dense(3, name="head")(x)


def test_batch_norm_is_searched_and_its_statistics_move_with_the_ticket():
    network = models.from_flax(Normalized(), input_shape=(4, 4, 1), classes=3)
    spy = Spy(toys.recipe(steps=2, every=2, frozen=frozenset({"head/kernel"})), network)
    plan = pruning.plan(network.shapes().params, rate=0.4, levels=1)
    found = find(spy, plan=plan, rewind="end", replicates=1)
    check_counts(found, plan)
    assert_trees_equal(spy.seen[1][0].start, found[0].theta_S)
    assert trees_differ(found[0].theta_0.stats, found[0].theta_S.stats)
    for level in found:  # What is frozen is pruned, and else stays as drawn.
        ticket = level.ticket()
        drawn = masks.apply(ticket.theta_0.params["head"], ticket.mask["head"])
        assert_trees_equal(ticket.theta_S.params["head"]["kernel"], np.asarray(drawn["kernel"]))
    ((record,),), (members,) = transfer(found[1:], spy, DATA, arms=["theta_S"])
    assert record.kept == plan.kept(1)
    assert_trees_equal(members.start.stats, jax.device_get(found[1].theta_S.stats))


def again(levels, *, arms=("theta_0", "redrawn", "shuffled_hidden"), **settings):
    """Tickets trained again on the data of their search: records and members."""
    moved, members = transfer(levels, dataset=DATA, phase="source", arms=arms, **settings)
    return [r for records in moved for r in records], members


def test_a_ticket_trained_again_sees_the_batches_of_its_search(levels):
    members = find() and TRAINER.seen[1][0]
    _, (ours,) = again([levels[1]], arms=("theta_k",))
    keys = [m._replace(key=jax.random.key_data(m.key)) for m in (ours, members)]
    assert_trees_equal(*keys)


def test_controls_are_repeated_each_with_its_own_draw_and_start_points_are_not(levels):
    records, (three,) = again([levels[1]], repeats=3)
    counted = [(r.arm, r.replicate, r.repeat) for r in records]
    assert counted == [
        *[("theta_0", i, 0) for i in (0, 1)],
        *[("redrawn", i, k) for k in range(3) for i in (0, 1)],
        *[("shuffled_hidden", i, k) for k in range(3) for i in (0, 1)],
    ]
    kernels = three.start.params["dense_0"]["kernel"]
    assert len({kernel.tobytes() for kernel in kernels}) == len(records)
    assert {r.phase for r in records} == {"source"}
    _, (one,) = again([levels[1]], arms=("redrawn",))  # More repeats leave the first as it is.
    assert_trees_equal(one._replace(key=None), part(three._replace(key=None), slice(2, 4)))


def test_one_shot_tickets_are_cut_from_the_end_of_one_training(levels):
    plan = pruning.plan(
        NET.shapes().params, rate=0.2, levels=0, rates={"output": 0.1}, densities=(0.5, 0.1)
    )
    cuts = list(lottery.one_shot(levels[0], plan, key=KEY))
    assert [cut.level for cut in cuts] == [1, 2]
    assert not any(cut.records for cut in cuts)
    check_counts(cuts, plan, [1, 2])
    for cut in cuts:
        for replicate in range(2):
            mask, values = (leaves(part(t, replicate)) for t in (cut.mask, cut.theta_S.params))
            for name in plan.prunable:
                kept, gone = (np.abs(values[name][m]) for m in (mask[name], ~mask[name]))
                assert kept.min() >= gone.max()
    records, (first, _) = again(cuts, arms=("theta_0",))
    assert_trees_equal(first.mask, cuts[0].mask)
    assert [r.kept for r in records] == [k for k in map(plan.kept, (1, 2)) for _ in range(2)]


def test_a_flipped_search_begins_with_the_complement_and_never_leaves_it(levels):
    ticket = levels[2].mask
    flipped = jax.device_get(jax.vmap(lambda m: masks.complement(m, PLAN.prunable))(ticket))
    left = zip(PLAN.prunable, PLAN.sizes, PLAN.counts[2], strict=True)
    live = {name: size - kept for name, size, kept in left}
    plan = pruning.plan(NET.shapes().params, rate=0.3, levels=2, rates={"output": 0.1}, live=live)
    found = find(plan=plan, mask=flipped)
    check_counts(found, plan)
    assert_trees_equal(found[0].mask, flipped)
    for level in found:
        assert_trees_equal(level.theta_0, levels[0].theta_0)
        for name in PLAN.prunable:
            assert not (leaves(level.mask)[name] & leaves(ticket)[name]).any()
            assert (leaves(level.theta_S.params)[name][leaves(ticket)[name]] == 0).all()


PARTS = data.class_parts(FOUR, [(0, 1, 2), (3, 1, 0)])


def test_each_replicate_learns_its_own_part_as_if_it_were_alone():
    both = find(dataset=PARTS)
    alone = data.take_classes(FOUR, (0, 1, 2))
    assert alone.examples == PARTS.examples  # Of the second part one example more is left out.
    for ours, theirs in zip(both, find(dataset=alone, replicates=1), strict=True):
        # Counted over another number of rows, so divided otherwise in the last bit.
        assert ours.records[0].test_accuracy == pytest.approx(
            theirs.records[0].test_accuracy, abs=1e-6
        )
        assert_trees_equal(part(ours.theta_S, slice(1)), jax.device_get(theirs.theta_S))
    for level, records in zip(both, transfer(both, dataset=PARTS, arms=ARMS)[0], strict=True):
        assert {(r.arm, r.replicate) for r in records} == set(itertools.product(ARMS, (0, 1)))
        assert level.records[0].test_accuracy != level.records[1].test_accuracy
    with pytest.raises(ValueError, match="2 parts of blobs2 and 3 replicates"):
        lottery.find(TRAINER, PARTS, key=KEY, plan=PLAN, replicates=3)


def at_start(levels, plan=PLAN, **settings):
    settings = {"key": KEY, "score": "snip", "trainer": TRAINER, "dataset": DATA} | settings
    return list(lottery.one_shot(levels[0], plan, at="start", **settings))


OTHER = pruning.of_mask(masks.dense(toys.net("mlp-9").shapes().params), ["dense_0/kernel"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"plan": OTHER}, "and the network has"),
        ({"score": "snipp"}, "did you mean snip"),
        ({"dataset": None}, "score 'snip' sees data; give trainer= and dataset="),
        ({"cuts": -1}, "or 0 for level by level; got -1"),
        ({"batch": 51}, r"batch must lie in 0\.\.50"),
    ],
)
def test_what_could_not_be_pruned_in_one_shot_is_refused(levels, wrong, message):
    with pytest.raises(ValueError, match=message):
        at_start(levels, **wrong)
    with pytest.raises(ValueError, match="no moment to score at 'ende'; did you mean end"):
        lottery.one_shot(levels[0], PLAN, key=KEY, at="ende")


def test_snip_keeps_the_total_of_a_given_mask(levels):
    plan = pruning.of_mask(part(levels[2].mask, 0), PLAN.prunable)
    for matched in (plan, pruning.pooled(plan)):
        (found,) = at_start(levels, matched)
        assert found.without == ("theta_S",)
        check_counts([found], matched, [1])


def test_cuts_from_level_to_level_nest_and_begin_with_the_dense_network(levels):
    first, second = at_start(levels, cuts=0)
    check_counts([first, second], numbers=[1, 2])
    for a, b in zip(*map(jax.tree.leaves, (first.mask, second.mask)), strict=True):
        assert (a | ~b).all()
    (alone,) = at_start(levels, cuts=0, numbers=[2])
    assert_trees_equal(alone.mask, second.mask)
    # The second cut sees the first one's mask: from the dense network it would be another.
    (at_once,) = at_start(levels, cuts=1, numbers=[2])
    assert trees_differ(at_once.mask, second.mask)


def test_a_new_batch_rates_each_cut_unless_one_is_asked_for(levels):
    # Random scores differ with the key alone: with one key for both cuts the weights that the
    # second cut takes are the next lowest of the first, so two cuts are one.
    cut = {"numbers": [2], "score": "random", "dataset": None}
    once, same, new = (
        at_start(levels, cuts=cuts, same_batch=same, **cut)[0].mask
        for cuts, same in ((1, True), (2, True), (2, False))
    )
    assert_trees_equal(same, once)
    assert trees_differ(new, once)
