"""Held-out examples: what judges a network was never trained on, in any part of the job."""

import dataclasses
import itertools
import json

import jax
import numpy as np
import pytest

from ltjax import data, lottery
from ltjax.core import pruning
from ltjax.core.scores import Probe
from ltjax.lottery import Level, held_out
from ltjax.training import records as results
from tests import toys
from tests.toys import Spy

NET, KEY, HELD = toys.net(), jax.random.key(3), 10
SOURCE = toys.blobs(n=400)
HOW = toys.recipe(steps=2, every=2)
PLAN = pruning.plan(NET.shapes().params, rate=0.5, levels=2)
TRAINER, SHORT = Spy(HOW), Spy(toys.recipe(steps=9, every=1))
COUNTER = itertools.count()


def part(rows):
    """Some training examples, in the order given."""
    return dataclasses.replace(SOURCE, train=data.Split(*(a[rows] for a in SOURCE.train)))


def split(count=3, seed=0):
    return held_out.split_of(lottery.keys_for(jax.random.key(seed), "split", count))


def pictures(dataset, rows):
    """The images of some rows, as a set for each replicate."""
    return [{image.tobytes() for image in dataset.train.images[mine]} for mine in rows]


def find(dataset=SOURCE, trainer=TRAINER, **settings):
    trainer.seen.clear()
    settings = {"key": KEY, "plan": PLAN, "validation": HELD, "replicates": 2} | settings
    return list(lottery.find(trainer, dataset, **settings))


def transfer(levels, dataset=SOURCE, trainer=TRAINER, **settings):
    """The records, and the members that were trained."""
    trainer.seen.clear()
    moved = lottery.transfer(levels, trainer, dataset, **{"validation": HELD} | settings)
    return [r for records in moved for r in records], [members for members, _ in trainer.seen]


def test_replicates_hold_out_different_rows_and_more_of_them_change_nothing():
    drawn = held_out.draw(SOURCE, split(), size=HELD)
    assert drawn.validation_rows.dtype == drawn.train_rows.dtype == np.int32
    for learnt, judging in zip(drawn.train_rows, drawn.validation_rows, strict=True):
        assert sorted([*learnt, *judging]) == list(range(400))
        assert min(*np.diff(learnt), *np.diff(judging)) > 0
    for i in range(3):
        for j in range(i):
            shared = set(drawn.validation_rows[i]) & set(drawn.validation_rows[j])
            assert len(shared) < HELD / 2
    one = held_out.draw(SOURCE, split(1), size=HELD)
    np.testing.assert_array_equal(one.validation_rows[0], drawn.validation_rows[0])


def test_every_example_is_as_likely_to_be_held_out():
    found = np.concatenate(held_out.draw(part(np.arange(40)), split(2000), size=10).validation_rows)
    counts = np.bincount(found, minlength=40)
    assert np.abs(counts - 500).max() < 5 * np.sqrt(2000 * 0.25 * 0.75)


def test_copies_of_one_image_are_examples_of_their_own():
    images = np.zeros((40, 4, 4, 1), np.uint8)
    same = dataclasses.replace(SOURCE, train=data.Split(images, np.zeros(40, np.int32)))
    first, second, _ = held_out.draw(same, split(), size=10).validation_rows
    assert first.tolist() != second.tolist()
    assert first.tolist() != list(range(10))


OTHERS = {
    "the same data": np.arange(400),
    "in another order": np.arange(400)[::-1],
    "a part": np.arange(0, 400, 3),
}


@pytest.mark.parametrize("rows", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("size", [4, 20])
def test_the_same_examples_are_held_out_of_the_same_data(rows, size):
    there, here = SOURCE, part(rows)
    before = held_out.draw(there, split(), size=100)
    after = held_out.draw(here, before.split, size=size)
    judging = pictures(here, after.validation_rows)
    for replicate, theirs in enumerate(pictures(there, before.validation_rows)):
        assert judging[replicate] <= theirs
        assert not judging[replicate] & pictures(there, before.train_rows)[replicate]


def test_of_more_data_none_judges_that_was_trained_on():
    half = part(np.arange(0, 400, 2))
    before = held_out.draw(half, split(6), size=20)
    after = held_out.draw(SOURCE, before.split, size=40)
    for replicate, judging in enumerate(pictures(SOURCE, after.validation_rows)):
        assert not judging & pictures(half, before.train_rows)[replicate]
        assert judging & pictures(half, before.validation_rows)[replicate]


@pytest.mark.parametrize(("there", "here"), [(0, 10), (10, 200)])
@pytest.mark.parametrize("known", [4, 256])
def test_more_than_what_is_new_is_refused(there, here, known, monkeypatch):
    monkeypatch.setattr(held_out, "KNOWN", known)
    before = held_out.draw(SOURCE, split(), size=there)
    with pytest.raises(ValueError, match="replicate 0 was trained on examples of blobs0"):
        held_out.draw(SOURCE, before.split, size=here)
    other = toys.blobs(n=400, seed=1)
    assert held_out.draw(other, before.split, size=here).validation_rows.shape == (3, here)


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize("phase", ["target", "source"])
def test_a_ticket_is_judged_on_what_its_search_held_out(phase, saved):
    """The key of the transfer is another one, as it is in a user's own program."""
    levels = find()
    for members, _ in TRAINER.seen:
        np.testing.assert_array_equal(members.validation_rows, TRAINER.seen[0][0].validation_rows)
    source = TRAINER.seen[0][0]
    one, two = map(set, source.validation_rows.tolist())
    assert len(one & two) < HELD / 2  # Each replicate holds out its own.
    if saved:
        ticket = levels[2].ticket(1)
        meta = json.loads(json.dumps(ticket.meta))
        levels = [Level.of(dataclasses.replace(ticket, meta=meta))]
        source = jax.tree.map(lambda leaf: leaf[1:], source)
    arms, key = ("theta_0", "redrawn"), jax.random.key(9)
    records, moved = transfer(levels, key=key, arms=arms, phase=phase)
    assert {r.judged_on for r in records} == {"validation"}
    for members in moved:
        for field in ("train_rows", "validation_rows"):
            rows = getattr(source, field)
            np.testing.assert_array_equal(getattr(members, field), np.concatenate([rows, rows]))


def test_parts_of_one_data_set_are_judged_on_what_was_held_out_of_them():
    four = toys.blobs(n=200, classes=4, seed=2)
    parts = data.class_parts(four, [(0, 1, 2), (3, 1, 0)])
    levels = find(parts)
    source = TRAINER.seen[0][0]
    _, (members,) = transfer(levels[1:2], parts.take([1, 0]), key=KEY)
    for i in (0, 1):
        assert not set(source.train_rows[i]) & set(members.validation_rows[i])


def test_a_transfer_that_would_judge_what_was_trained_on_is_refused_at_once():
    levels = find(validation=0)
    with pytest.raises(ValueError, match="trained on examples of blobs0 that would judge it"):
        transfer(levels, key=KEY)
    with pytest.raises(ValueError, match="that would judge it"):
        one_shot(levels[0], score="snip")


@pytest.mark.parametrize("text", ["zz", "", "00", 7, None])
def test_metadata_that_are_no_split_are_refused(text):
    ticket = find()[1].ticket()
    wrong = dataclasses.replace(ticket, meta={**ticket.meta, "split": text})
    if text is None:
        assert Level.of(wrong).split is None
        return
    with pytest.raises(ValueError, match="'split' is no split"):
        Level.of(wrong)


@pytest.fixture
def batches(monkeypatch):
    """What a score sees: (image bytes, labels) of each batch."""
    seen = []

    def watching(params, probe: Probe):
        batch = (probe.images, probe.labels)
        jax.debug.callback(lambda *a: seen.append([np.asarray(x) for x in a]), *batch)
        return jax.tree.map(abs, params)

    name = f"watching {next(COUNTER)}"  # Compiled anew in each test.
    monkeypatch.setitem(pruning.SCORES, name, watching)
    return name, seen


def search(score):
    return find(score=score, score_batch=60)


def one_shot(level, **settings):
    seen = {"trainer": TRAINER, "dataset": SOURCE, "validation": HELD, "batch": 60}
    return list(lottery.one_shot(level, PLAN, key=KEY, at="start", **seen, **settings))


def start(score, **settings):
    (dense,) = find(plan=pruning.plan(NET.shapes().params, rate=0.5, levels=0))
    return one_shot(dense, score=score, **{"cuts": 0, **settings})


@pytest.mark.parametrize("prune", [search, start])
def test_scores_see_other_batches_in_each_round_with_their_labels_and_no_held_out_row(
    prune, batches
):
    score, batches = batches
    _ = prune(score)
    jax.effects_barrier()
    assert len(batches) == 4  # Two replicates, two rounds.
    assert len({images.tobytes() for images, _ in batches}) == 4
    shown = np.float32(SOURCE.train.images / np.float32(255))
    shown = (shown - np.float32(SOURCE.mean)) / np.float32(SOURCE.std)
    label_of = {image.tobytes(): label for image, label in zip(
        np.round(shown, 3), SOURCE.train.labels, strict=True)}  # fmt: skip
    rows = TRAINER.seen[0][0].validation_rows
    barred = [{np.round(shown[r], 3).tobytes() for r in mine} for mine in rows]
    for number, (images, labels) in enumerate(batches):
        found = [image.tobytes() for image in np.round(images, 3)]
        assert len(set(found)) == 60
        assert not set(found) & barred[number % 2]
        assert [label_of[image] for image in found] == labels.tolist()


def test_one_batch_for_all_cuts_where_asked(batches):
    score, batches = batches
    _ = start(score, same_batch=True)
    jax.effects_barrier()
    assert len({images.tobytes() for images, _ in batches}) == 2


@pytest.mark.parametrize("judge", ["last", "test"])
def test_without_held_out_examples_the_last_evaluation_counts_unless_asked(judge):
    settings = {"key": KEY, "judge": judge, "validation": 0, "trainer": SHORT}
    levels = find(**settings)
    moved, _ = transfer(levels, **settings)
    for record in [*(r for level in levels for r in level.records), *moved]:
        best = 9 if judge == "last" else record.steps[int(np.argmax(record.test_accuracy))]
        assert (record.judged_on, record.best_step) == (judge, best)
    assert results.loads(results.dumps(levels[0].records)) == levels[0].records
