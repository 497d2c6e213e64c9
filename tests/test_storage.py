"""Tickets come back from the disk as they were, or not at all; runs go on where they stopped."""

import contextlib
import dataclasses
import io
import itertools
import json
import pathlib
import re
import shutil
import types

from flax import linen as nn
import jax
import numpy as np
import optax
import pytest

from ltjax import lottery, models
from ltjax.command.progress import Progress
from ltjax.core import masks, pruning, trees
from ltjax.core.types import Variables
from ltjax.lottery import Level, Piece, Ticket, tickets
from ltjax.storage import checkpoints
from ltjax.storage import tickets as storage
from ltjax.storage.journal import Journal
from ltjax.storage.run_directory import RunDirectory
from ltjax.training import Trainer
from tests import toys
from tests.conftest import assert_trees_equal, small_params
from tests.fakes import record

THETAS = ("theta_0", "theta_k", "theta_S")
NET, DATA = toys.net(), toys.blobs()
HOW = toys.recipe(optimizer=optax.sgd(0.1, momentum=0.9))
PLAN = pruning.plan(NET.shapes().params, rate=0.3, levels=2)
SETTINGS = {"data": "blobs", "levels": 2}


def host(tree):
    return jax.tree.map(np.asarray, tree)


def assert_same(ours, theirs):
    """The same tickets (or levels), what they say of themselves included."""
    for name in ("mask", *THETAS):
        assert_trees_equal(host(getattr(ours, name)), host(getattr(theirs, name)))
    rest = ("meta", "level", "density", "records", "prunable")
    assert [getattr(ours, n, None) for n in rest] == [getattr(theirs, n, None) for n in rest]


@pytest.fixture
def ticket():
    rng, shapes = np.random.default_rng(0), small_params()
    kernels = [n for n in trees.names(shapes) if n.endswith("kernel")]
    mask = trees.map_with_name(
        lambda n, p: rng.random(p.shape) < (0.3 if n in kernels else 2.0), shapes
    )
    drawn = lambda leaf: rng.normal(size=leaf.shape).astype(np.float32)  # noqa: E731
    stats = {"norm_0": {"mean": np.arange(4.0, dtype=np.float32)}}
    thetas = {name: Variables(jax.tree.map(drawn, shapes), stats) for name in THETAS}
    return Ticket(mask=mask, prunable=tuple(kernels), meta={"level": 4, "seed": 1}, **thetas)


def test_a_saved_ticket_comes_back_bit_for_bit(ticket, tmp_path):
    storage.save(ticket, tmp_path / "ticket")
    assert_same(storage.load(tmp_path / "ticket"), ticket)


class Weighted(nn.Module):
    """Its leaves and statistics have slashes in their names."""

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.WeightNorm(nn.Dense(8))(x.reshape(len(x), -1))
        x = nn.SpectralNorm(nn.Dense(8, name="after"))(nn.relu(x), update_stats=train)
        return nn.Dense(3, name="head")(nn.relu(x))


def test_names_with_a_slash_are_found_saved_exported_and_moved(tmp_path):
    net = models.from_flax(Weighted(), input_shape=DATA.shape)
    trainer = Trainer(net, HOW)
    plan = pruning.plan(net.shapes().params, rate=0.3, levels=1)
    *_, level = lottery.find(trainer, DATA, key=jax.random.key(3), plan=plan)
    ticket = level.ticket()
    assert "WeightNorm_0/Dense_0/kernel/scale" in trees.names(ticket.mask)
    assert jax.tree.leaves(ticket.theta_0.stats)
    storage.save(ticket, tmp_path / "it")
    assert_same(storage.load(tmp_path / "it"), ticket)
    storage.export(ticket, tmp_path / "it.safetensors", values=THETAS)
    again = storage.load(tmp_path / "it.safetensors")
    for name in THETAS:
        pruned = masks.apply(getattr(ticket, name).params, ticket.mask)
        assert_trees_equal(
            host(getattr(again, name)), host(Variables(pruned, getattr(ticket, name).stats))
        )
    (records,) = lottery.transfer([Level.of(again)], trainer, DATA, key=jax.random.key(4))
    assert records[0].kept == level.records[0].kept


# Tickets that are none.


def leafwise(function, *, only=""):
    """Changes the leaves of a part whose name holds `only`."""
    return lambda tree: trees.map_with_name(lambda n, x: function(x) if only in n else x, tree)


def spoilt(value):
    """Puts a value into an array."""

    def change(leaf):
        leaf = np.array(leaf)
        leaf.flat[-1] = value
        return leaf

    return leafwise(change, only="dense_0/kernel")


def renamed(tree):
    return {("other" if k == "head" else k): v for k, v in tree.items()}


MASK, META, ABOUT = ("tree", "mask"), ("meta",), ("prunable",)
THETA, STATS = ("tree", "theta_S", "params"), ("tree", "theta_k", "stats")
EMPTY = {"params": {}, "stats": {}}
FAULTS = [
    (MASK, leafwise(np.float32), "leaf 'conv_0/bias' of the mask is float32; a mask is boolean"),
    (MASK, leafwise(np.int8, only="head/kernel"), "'head/kernel' of the mask is int8"),
    (MASK, leafwise(lambda x: x[:-1], only="dense_0/kernel"), "in theta_0 and [9, 10] in the mask"),
    (MASK, leafwise(lambda x: x.T, only="head/kernel"), "is [10, 3] in theta_0 and [3, 10]"),
    (MASK, leafwise(lambda x: x[None]), "in theta_0 and [1, 4] in the mask"),
    (MASK, leafwise(np.zeros_like, only="head/bias"), "prunes in leaf 'head/bias', which is not"),
    (MASK, renamed, "prunable names 'head/kernel', which is no leaf of the mask"),
    (MASK, np.ones(3, bool), "the mask must be nested dicts of arrays"),
    (THETA, leafwise(np.complex64), "is complex64[4] in theta_S and float32[4] in theta_0"),
    (THETA, leafwise(np.float64), "is float64[4] in theta_S and float32[4] in theta_0"),
    (THETA, spoilt(np.nan), "leaf 'dense_0/kernel' of theta_S has values that are not finite"),
    (THETA, spoilt(-np.inf), "of theta_S has values that are not finite"),
    (THETA, renamed, "is [3] in theta_S and absent in the mask"),
    (THETA, lambda tree: tree["head"], "in theta_S and absent in the mask"),
    (THETA, np.ones(3, np.float32), "theta_S must be nested dicts of arrays"),
    (STATS, leafwise(np.int32), "'statistics/norm_0/mean' is int32[4] in theta_k and float"),
    (STATS, {}, "is absent in theta_k and float32[4] in theta_0"),
    (STATS, leafwise(lambda x: x * np.nan), "of theta_k has values that are not"),
    (STATS[:2], {"params": {}}, "theta_k consists of params, stats; got"),
    (STATS[:2], np.ones(2), "theta_k consists of params, stats; got ndarray"),
    (("tree",), {"theta_0": EMPTY}, "the ticket consists of mask,"),
    (("tree",), lambda tree: tree | {"theta_9": 1}, "the ticket consists of mask, theta_0,"),
    (
        ("tree",),
        lambda tree: tree | {t: leafwise(np.complex64)(tree[t]) for t in THETAS},
        "of theta_0 is complex64; weights are floats",
    ),
    (("tree",), lambda tree: tree | dict.fromkeys(THETAS, EMPTY), "knows none of its"),
    (ABOUT, "head/kernel", "prunable is some names of leaves; got 'head/kernel'"),
    (ABOUT, [], "prunable is some names of leaves; got ()"),
    (ABOUT, None, "prunable is some names of leaves; got None"),
    (ABOUT, {"head/kernel": 1}, "prunable is some names of leaves"),
    (ABOUT, ["nothing"], "prunable names 'nothing', which is no leaf of the mask"),
    (ABOUT, [3], "prunable names 3, which is no leaf of the mask"),
    (ABOUT, [["head/kernel"]], "prunable names ['head/kernel'], which is no leaf"),
    (ABOUT, ["head/kernel"], "the mask prunes in leaf"),
    (META, None, "meta, and settings in it, are dicts; got None"),
    (META, [1, 2], "meta, and settings in it, are dicts; got [1, 2]"),
    (META, {"settings": "lenet"}, "meta, and settings in it, are dicts"),
    (META, {"level": "two"}, "level of a ticket is a whole number in [0, 2147483647]; got 'two'"),
    (META, {"level": -1}, "level of a ticket is a whole number"),
    (META, {"level": 1.5}, "level of a ticket is a whole number"),
    (META, {"replicate": [0]}, "replicate of a ticket is a whole number"),
    (META, {"density": 7}, "density of a ticket lies in [0, 1]; got 7"),
    (META, {"density": "all"}, "density of a ticket lies in [0, 1]; got 'all'"),
    (("kind",), "run", "is a checkpoint but no ticket"),
]


def changed(tree, path, change):
    if not path:
        return change(tree) if callable(change) else change
    return tree | {path[0]: changed(tree[path[0]], path[1:], change)}


@pytest.mark.parametrize(("part", "change", "message"), FAULTS)
def test_every_part_of_a_saved_ticket_is_checked(part, change, message, ticket, monkeypatch):
    tree = host(tickets.as_tree(ticket))
    saved = {"tree": tree, "kind": "ticket", "prunable": list(ticket.prunable), "meta": ticket.meta}
    saved = changed(saved, part, change)
    monkeypatch.setattr(checkpoints, "load", lambda path: (saved["tree"], saved))
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        storage.load("it")
    assert "\n" not in str(caught.value)
    assert "it " in str(caught.value)


def test_what_is_no_ticket_is_neither_saved_nor_moved(ticket, tmp_path):
    wrong = dataclasses.replace(ticket, mask=jax.tree.map(np.float32, ticket.mask))
    for refuse in (Level.of, lambda t: storage.save(t, tmp_path / "it")):
        with pytest.raises(ValueError, match="a mask is boolean"):
            refuse(wrong)
    assert not list(tmp_path.iterdir())


def test_start_points_that_are_not_known_are_left_out_of_a_transfer(ticket):
    known = Level.of(dataclasses.replace(ticket, theta_k=Variables({}, {})))
    assert known.without == ("theta_k",)
    assert known.dense.without == ("theta_k", "theta_S")
    assert Level.of(ticket).without == ()
    levels = [known.dense, known]
    with pytest.raises(
        ValueError, match="arm 'theta_k' begins with theta_k, which these tickets do not hold"
    ):
        lottery.transfer(levels, TRAINER, DATA, key=jax.random.key(0), arms=THETAS)


def test_only_tickets_of_this_machine(ticket, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    storage.save(ticket, "~/it")
    storage.export(ticket, "~/it.safetensors")
    for path in ("~/it", tmp_path / "home/it.safetensors"):
        assert storage.load(path).prunable == ticket.prunable
    for call in (storage.load, storage.is_run, storage.settings, storage.levels):
        with pytest.raises(ValueError, match="'gs://bucket/it' is not local"):
            call("gs://bucket/it")
    for write in (storage.save, storage.export):
        with pytest.raises(ValueError, match="'gs:/bucket/it' is not local"):
            write(ticket, pathlib.Path("gs://bucket/it"))
    assert [p.name for p in tmp_path.iterdir()] == ["home"]


class Killed(Exception):
    """What stops a run in the middle."""


class Counting(Trainer):
    """A trainer that counts its legs, and breaks off before one of them is told."""

    def __init__(self):
        super().__init__(NET, HOW, devices=jax.devices()[:1])
        self.legs, self.last = 0, None

    def train(self, members, data, *, observe=None, **settings):
        def told(partial):
            self.legs += 1
            if observe is not None:
                observe(partial)
            if self.legs == self.last:
                raise Killed

        return super().train(members, data, observe=told, **settings)


TRAINER = Counting()


def find(keep, *, last=None):
    TRAINER.legs, TRAINER.last = 0, last
    reset = set(lottery.RESETS) - {"optimizer"}
    settings = {"plan": PLAN, "replicates": 2, "rewind": 5, "reset": reset}
    return list(lottery.find(TRAINER, DATA, key=jax.random.key(3), keep=keep, **settings))


@contextlib.contextmanager
def keeping(path, *, every=0.0):
    run = RunDirectory(path, "run", SETTINGS, {"seed": 3})
    stream = io.StringIO()
    with run.create(), Progress(36, label="find", stream=stream) as progress:
        yield run, Journal(run, progress, steps=12, every=every)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished search on disk, and the same search without a disk."""
    out = tmp_path_factory.mktemp("whole")
    with keeping(out, every=1e9) as (run, journal):
        _ = find(journal)
        run.finish(journal.pieces)
    return run.path, find(lottery.once)


def files(path):
    return {p.name: p.read_bytes() for p in sorted((path / "records").iterdir())}


def test_a_search_is_read_from_its_run_as_it_was_found(whole):
    path, plain = whole
    read = storage.levels(path)
    assert len(read) == 3
    for a, b in zip(read, plain, strict=True):
        assert_same(a, b)


def test_one_ticket_is_read_from_a_run(whole):
    path, plain = whole
    for level, replicate in itertools.product((0, 2), (0, 1)):
        ours = storage.load(path, level=level, replicate=replicate)
        meta = {"settings": SETTINGS, "provenance": {"seed": 3}}
        assert_same(ours, plain[level].ticket(replicate, meta=meta))
        assert (ours.meta["level"], ours.meta["replicate"]) == (level, replicate)
    assert storage.load(path).meta["level"] == 2
    with pytest.raises(ValueError, match="has levels 0 to 2; got level 3"):
        storage.load(path, level=3)
    with pytest.raises(ValueError, match="there are replicates 0 to 1; got 2"):
        storage.load(path, replicate=2)


def test_a_ticket_that_failed_is_not_taken_out_of_a_run(whole, monkeypatch):
    path, _ = whole
    found = storage.levels(path)
    spoilt = jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), found[1].theta_S)
    found[2] = found[2]._replace(failed_step=np.array([-1, 7]))
    found[1] = found[1]._replace(theta_S=spoilt)
    monkeypatch.setattr(storage, "levels", lambda path: found)
    with pytest.raises(
        ValueError, match=r"replicate 1 has no ticket at level 2: its loss was not finite at step 7"
    ):
        storage.load(path, replicate=1)
    with pytest.raises(
        ValueError, match=r"replicate 0 of level 1 of .* of theta_S has values that"
    ):
        storage.load(path, level=1)
    assert storage.load(path).meta["replicate"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tree: tree | {"mask": leafwise(np.float32)(tree["mask"])}, "a mask is boolean"),
        (lambda tree: {"mask": tree["mask"]}, "KeyError: 'split'"),
        (lambda tree: tree | {"theta_S": {"params": {}}}, "TypeError"),
    ],
)
def test_a_run_of_strange_tickets_is_refused_in_one_line(change, message, whole, monkeypatch):
    path, _ = whole
    load = checkpoints.load
    monkeypatch.setattr(checkpoints, "load", lambda path: (change(load(path)[0]), load(path)[1]))
    with pytest.raises(
        ValueError, match=f"source_00 of .* holds no tickets: .*{message}"
    ) as caught:
        storage.levels(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "finished", "message"),
    [
        ({"target": "kmnist", "ticket": "runs/find-x"}, True, "a transfer.* moved: runs/find-x$"),
        (
            {"target": "kmnist", "ticket": ""},
            True,
            "a transfer, .* give what it moved: the search .*/find-...$",
        ),
        ({"target": "kmnist"}, False, "is a transfer, which holds no tickets"),
        ({"experiments": "004-F1"}, True, "is a finished run but no search; give the directory"),
        (SETTINGS, False, "is no finished search; finish it with the command that began it"),
    ],
)
def test_a_run_that_is_no_search_says_what_it_is(settings, finished, message, tmp_path):
    with RunDirectory(tmp_path, "run", settings, {}).create() as run:
        if finished:
            run.finish([])
    with pytest.raises(ValueError, match=message):
        storage.load(run.path)


def test_settings_are_read_from_a_run_and_from_its_ticket(whole, ticket, tmp_path):
    path, _ = whole
    assert storage.settings(path) == SETTINGS
    storage.save(storage.load(path), tmp_path / "ticket")
    assert storage.settings(tmp_path / "ticket") == SETTINGS
    storage.save(ticket, tmp_path / "made")
    with pytest.raises(ValueError, match="does not say its settings"):
        storage.settings(tmp_path / "made")


def test_a_journal_takes_pieces_as_values_and_believes_its_own_arrays_only(tmp_path, capsys):
    piece, tree = types.SimpleNamespace(name="a_00", steps=4, members=3), {"x": np.arange(3)}
    computed = []

    def compute(resume, observe):
        computed.append(resume)
        return tree, [record()]

    def ask(out):
        run = RunDirectory(out, out.name, SETTINGS, {})
        with run.create(), Progress(12, label="all", stream=io.StringIO()) as progress:
            weights = {"steps": lambda p: p.steps, "weight": lambda p: p.members}
            journal = Journal(run, progress, **weights)
            found, records = journal(piece, compute)
            assert_trees_equal(found, tree)
            assert records == [record()]
            assert progress._done == 12
            assert journal.pieces == ["a_00"]
        return run.ticket("a_00")

    ours, theirs = (ask(tmp_path / name) for name in ("a", "b"))
    assert ask(tmp_path / "a") == ours
    assert len(computed) == 2
    shutil.rmtree(ours)
    theirs.rename(ours)  # Of the same piece, but made in another run.
    assert ask(tmp_path / "a") == ours
    assert len(computed) == 3
    told = "a_00 holds 'a_00' of 'b' instead of 'a_00' of 'a'; the piece is computed again"
    assert told in capsys.readouterr().err


def test_arrays_that_do_not_fit_on_the_disk_are_not_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=23))
    with pytest.raises(OSError, match=r"disk of .* is full"), keeping(tmp_path) as (run, journal):
        journal(Piece("target", 1), lambda resume, observe: ({"x": np.zeros(3)}, []))
    assert not run.ticket("target_01").exists()
    assert not run.piece_done("target_01")


def test_a_second_pass_computes_nothing(whole):
    path, plain = whole
    with keeping(path.parent) as (_, journal):
        again = find(journal)
    assert TRAINER.legs == 0
    assert journal.pieces == ["source_00", "source_01", "source_02"]
    for a, b in zip(again, plain, strict=True):
        assert_same(a, b)


# A search has 4 legs at level 0 and 3 after a rewind to step 5, the evaluation at the start first.
@pytest.mark.parametrize(("last", "left"), [(2, 8), (6, 4), (7, 4)])
def test_an_interrupted_search_goes_on_and_ends_with_the_same_bytes(last, left, whole, tmp_path):
    path, plain = whole
    with keeping(tmp_path) as (run, journal), pytest.raises(Killed):
        find(journal, last=last)
    with pytest.raises(ValueError, match="no finished search"):
        storage.levels(run.path)
    with keeping(tmp_path) as (run, journal):
        again = find(journal)
        run.finish(journal.pieces)
    assert TRAINER.legs == left
    for a, b in zip(again, plain, strict=True):
        assert_same(a, b)
    assert files(run.path) == files(path)
    assert not run.partial.exists()
    assert json.loads((run.path / "settings.json").read_text()) == SETTINGS
