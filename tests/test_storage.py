"""Tickets come back from the disk as they were, or not at all; runs go on where they stopped."""

import contextlib
import io
import itertools
import json

import jax
import numpy as np
import optax
import pytest

from ltjax import checkpoints, lottery, masks, portable, pruning, storage, tickets, trees
from ltjax.keeper import DiskKeeper
from ltjax.population import Trainer
from ltjax.progress import Progress
from ltjax.rundir import RunDir
from ltjax.tickets import Ticket
from ltjax.types import Variables
from tests import toys
from tests.conftest import assert_trees_equal, small_params

THETAS = ("theta_0", "theta_k", "theta_S")


def host(tree):
    return jax.tree.map(np.asarray, tree)


def random_ticket(shapes, *, density, stats=None):
    rng = np.random.default_rng(0)

    def drawn(leaf):
        return rng.normal(size=leaf.shape).astype(np.float32)

    kernels = [n for n in trees.names(shapes) if n.endswith("kernel")]
    mask = trees.map_with_name(
        lambda n, p: rng.random(p.shape) < (density if n in kernels else 2.0), shapes
    )
    thetas = {name: Variables(jax.tree.map(drawn, shapes), stats or {}) for name in THETAS}
    return Ticket(mask=mask, prunable=tuple(kernels), meta={"level": 4, "seed": 1}, **thetas)


@pytest.fixture
def ticket():
    stats = {"norm_0": {"mean": np.arange(4.0, dtype=np.float32)}}
    return random_ticket(host(small_params()), density=0.3, stats=stats)


@pytest.mark.parametrize("stats", [True, False])
def test_a_saved_ticket_comes_back_bit_for_bit(stats, ticket, tmp_path):
    if not stats:
        ticket = random_ticket(host(small_params()), density=0.3)
    storage.save(ticket, tmp_path / "ticket")
    again = storage.load(tmp_path / "ticket")
    assert_trees_equal(tickets.as_tree(again), tickets.as_tree(ticket))
    assert again.mask["head"]["kernel"].dtype == bool
    assert (again.prunable, again.meta) == (ticket.prunable, ticket.meta)


def test_what_is_no_ticket_is_refused(tmp_path):
    checkpoints.save(tmp_path / "other", {"x": np.ones(3)}, meta={})
    with pytest.raises(ValueError, match="is a checkpoint but no ticket"):
        storage.load(tmp_path / "other")
    with pytest.raises(ValueError, match="no checkpoint at"):
        storage.load(tmp_path / "nothing")


@pytest.mark.parametrize("harm", ["delete", "truncate"])
def test_a_damaged_ticket_is_refused(harm, ticket, tmp_path):
    storage.save(ticket, tmp_path / "ticket")
    file = max(
        (p for p in (tmp_path / "ticket").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size
    )
    if harm == "delete":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"corrupt at .*; save it again"):
        storage.load(tmp_path / "ticket")


def test_a_sparse_ticket_is_a_small_file_with_exact_values(tmp_path):
    shapes = toys.net("lenet-300-100", shape=(28, 28, 1), classes=10).shapes().params
    ticket = random_ticket(shapes, density=0.05)
    storage.export(ticket, tmp_path / "ticket.safetensors")
    dense = 4 * sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert (tmp_path / "ticket.safetensors").stat().st_size < dense / 10
    again = portable.read(tmp_path / "ticket.safetensors")
    assert_trees_equal(again.mask, ticket.mask)
    assert list(again.values) == ["theta_0"]
    assert_trees_equal(
        again.values["theta_0"], host(masks.apply(ticket.theta_0.params, ticket.mask))
    )
    assert again.meta == {"prunable": list(ticket.prunable), "meta": ticket.meta}


def test_statistics_are_exported_beside_their_start_point(ticket, tmp_path):
    storage.export(ticket, tmp_path / "t", values=("theta_k", "theta_S"))
    values = portable.read(tmp_path / "t").values
    assert sorted(values) == ["theta_S", "theta_S_stats", "theta_k", "theta_k_stats"]
    assert_trees_equal(values["theta_k_stats"], ticket.theta_k.stats)
    with pytest.raises(ValueError, match="no start point 'theta_1'"):
        storage.export(ticket, tmp_path / "t", values=("theta_1",))


NET, DATA = toys.net(), toys.blobs()
HOW = toys.recipe(optimizer=optax.sgd(0.1, momentum=0.9), snapshot=5)
PLAN = pruning.plan(NET.shapes().params, rate=0.3, levels=2)
SETTINGS = {"data": "blobs", "levels": 2}


class Killed(Exception):
    """What stops a run in the middle."""


class Counting(Trainer):
    """A trainer that counts its legs, and breaks off before one of them is told."""

    def __init__(self):
        super().__init__(HOW, devices=jax.devices()[:1])
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
    reset = set(tickets.RESETS) - {"optimizer"}
    settings = {"plan": PLAN, "replicates": 2, "rewind": 5, "reset": reset, "trainer": TRAINER}
    return list(lottery.find(NET, DATA, HOW, key=jax.random.key(3), keep=keep, **settings))


@contextlib.contextmanager
def keeping(path, *, every=0.0):
    run = RunDir(path, "run", SETTINGS, {"seed": 3})
    stream = io.StringIO()
    with run.create(), Progress(36, label="find", stream=stream) as progress:
        yield run, DiskKeeper(run, progress, steps=12, every=every)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished search on disk, and the same search without a disk."""
    out = tmp_path_factory.mktemp("whole")
    with keeping(out, every=1e9) as (run, keeper):
        _ = find(keeper)
        run.finish(keeper.pieces)
    return run.path, find(lottery.once)


def files(path):
    return {p.name: p.read_bytes() for p in sorted((path / "records").iterdir())}


def arrays(level):
    return {"mask": level.mask, **{n: getattr(level, n) for n in THETAS}}


def test_a_search_is_read_from_its_run_as_it_was_found(whole):
    path, plain = whole
    read = storage.levels(path)
    assert len(read) == 3
    for a, b in zip(read, plain, strict=True):
        assert_trees_equal(host(arrays(a)), host(arrays(b)))
        assert (a.level, a.density, a.prunable) == (b.level, b.density, b.prunable)
        assert a.records == b.records


def test_one_ticket_is_read_from_a_run(whole):
    path, plain = whole
    for level, replicate in itertools.product((0, 2), (0, 1)):
        ours, theirs = (
            storage.load(path, level=level, replicate=replicate),
            plain[level].ticket(replicate),
        )
        assert_trees_equal(host(tickets.as_tree(ours)), host(tickets.as_tree(theirs)))
        assert (ours.meta["level"], ours.meta["replicate"]) == (level, replicate)
        assert ours.meta["settings"] == SETTINGS
    assert storage.load(path).meta["level"] == 2
    with pytest.raises(ValueError, match="has levels 0 to 2; got level 3"):
        storage.load(path, level=3)
    with pytest.raises(ValueError, match="there are replicates 0 to 1; got 2"):
        storage.load(path, replicate=2)


def test_settings_are_read_from_a_run_and_from_its_ticket(whole, ticket, tmp_path):
    path, _ = whole
    assert storage.settings(path) == SETTINGS
    storage.save(storage.load(path), tmp_path / "ticket")
    assert storage.settings(tmp_path / "ticket") == SETTINGS
    storage.save(ticket, tmp_path / "made")
    with pytest.raises(ValueError, match="does not say its settings"):
        storage.settings(tmp_path / "made")


def test_a_second_pass_computes_nothing(whole):
    path, plain = whole
    with keeping(path.parent) as (_, keeper):
        again = find(keeper)
    assert TRAINER.legs == 0
    assert keeper.pieces == ["source_00", "source_01", "source_02"]
    for a, b in zip(again, plain, strict=True):
        assert_trees_equal(host(arrays(a)), host(arrays(b)))
        assert a.records == b.records


# A search has 4 legs at level 0 and 3 after a rewind to step 5, the evaluation at the start first.
@pytest.mark.parametrize(("last", "left"), [(2, 8), (6, 4), (7, 4)])
def test_an_interrupted_search_goes_on_and_ends_with_the_same_bytes(last, left, whole, tmp_path):
    path, plain = whole
    with keeping(tmp_path) as (run, keeper), pytest.raises(Killed):
        find(keeper, last=last)
    with pytest.raises(ValueError, match="no finished search"):
        storage.levels(run.path)
    with keeping(tmp_path) as (run, keeper):
        again = find(keeper)
        run.finish(keeper.pieces)
    assert TRAINER.legs == left
    for a, b in zip(again, plain, strict=True):
        assert_trees_equal(host(arrays(a)), host(arrays(b)))
    assert files(run.path) == files(path)
    assert not run.partial.exists()
    assert json.loads((run.path / "settings.json").read_text()) == SETTINGS
