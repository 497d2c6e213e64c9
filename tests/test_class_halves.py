"""Paper 000 at a tiny length: splits, tables, and one program for all halves."""

import dataclasses
import re

from experiments.paper_000 import more_rows, pairs
from experiments.paper_000 import splits as splits_
from experiments.paper_000.pairs import Row
from experiments.paper_000.rows import PAPER
from experiments.paper_000.settings import ClassHalves
from experiments.paper_000.splits import FIGURES, REDRAWN, TICKET, named
from experiments.paper_000.trainings import Trainings
from experiments.reproduce import driver, effects, page, published
from experiments.reproduce.rows import NOT_COMPARABLE, judge
from experiments.reproduce.rules import Absent
import jax
import numpy as np
import pytest

from ltjax.lottery import arms
from ltjax.statistics import intervals
from ltjax.storage.journal import Journal
from tests import fakes

TINY = ClassHalves(
    data="digits",
    model="lrn-tiny",
    size=0,
    normalize="unit",
    batch_size=20,
    length="6it",
    evaluate_every="3it",
    rewind="3it",
    splits=2,
    extra_splits=2,
    densities="0.5,0.1",
)
IDS = [row.id for row in PAPER.experiments(TINY)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The whole paper at a tiny length: settings, lab and run."""
    settings = dataclasses.replace(TINY, out=str(tmp_path_factory.mktemp("runs")))
    rows = driver.choose(PAPER.experiments(settings), ())
    lab = PAPER.lab(settings)
    return settings, lab, driver.train(PAPER, settings, rows, lab)


@pytest.mark.parametrize("name", IDS)
def test_every_experiment_runs_and_is_reported(whole, name):
    settings, _, run = whole
    row = next(r for r in PAPER.experiments(settings) if r.id == name)
    for work in row.works:
        for piece in work.names():
            assert run.piece_done(piece)
    _, results = driver.read(run.path)
    section = next(s for s in page.chapter(PAPER, results).sections if s.row.id == name)
    assert section.figures or name.startswith("000-F")  # Digits have no named splits.
    assert len(section.verdicts) == len(row.claims)
    for verdict in section.verdicts:
        assert verdict.verdict == NOT_COMPARABLE
        assert isinstance(verdict.ours, Absent) or "data = digits" in verdict.reason


def test_a_finished_run_reads_nothing_again(whole, monkeypatch):
    settings, lab, run = whole
    rows = driver.choose(PAPER.experiments(settings), ())
    asked = []
    monkeypatch.setattr(Journal, "__call__", lambda self, piece, compute: asked.append(piece))
    driver.train(PAPER, settings, rows, lab)
    assert not asked
    monkeypatch.setattr(type(run), "piece_done", lambda self, name: not name.startswith("III"))
    with pytest.raises(TypeError):  # The keeper of this test gives nothing back.
        driver.train(PAPER, settings, rows, lab)
    assert asked
    assert all(piece.startswith("III_") for piece in asked)


def test_all_splits_halves_and_tables_train_by_one_program(whole):
    settings, lab, _ = whole
    t = Trainings(settings)
    searches = [t.source(table, half=half) for table in (TICKET, REDRAWN) for half in HALVES]
    searches += [t.source(TICKET, count=2), t.back.search]
    made = [lab.task(s.task).trainer(lab.task(s.task).network(s.model, s.init)) for s in searches]
    assert len({id(trainer) for trainer in made}) == 1
    # One compile for each size of population: two splits, and two splits of two densities.
    assert made[0].program(2).leg._cache_size() == 2


HALVES = (splits_.FIRST, splits_.SECOND)


def test_tickets_keep_every_layer_at_the_density_and_train_on_the_other_half(whole):
    settings, lab, run = whole
    t, results = Trainings(settings), driver.read(run.path)[1]
    first, second = (lab.task(f"II_{half}").dataset for half in HALVES)
    for a, b in zip(first.label_maps, second.label_maps, strict=True):
        assert not set(a) & set(b)
        assert len(a) == len(b) == 5
    for number, density in enumerate(settings.one_shot, 1):
        for series in (t.ticket, t.redrawn, t.iterative, t.back):
            for record in series.records(results, number):
                assert record.phase == "target"
                for layer, (kept, size) in record.layers.items():
                    assert not layer.endswith("bias")
                    assert kept == size - round((1 - density) * size)
        for record in t.with_biases.records(results, number):
            assert any(layer.endswith("bias") for layer in record.layers)
    assert {r.arm for r in results.records(t.redrawn.piece)} == {"redrawn"}


def test_each_density_has_a_dense_network_of_its_own_unless_they_share():
    own = Trainings(ClassHalves())
    assert len({own.dense(TICKET, number) for number in (1, 2, 3, 4)}) == 4
    shared = Trainings(ClassHalves(share_dense=True))
    assert len({shared.dense(TICKET, number) for number in (1, 2, 3, 4)}) == 1
    assert shared.dense(TICKET, 1).seed != shared.source(TICKET).seed


def test_more_arms_are_all_start_points_and_the_four_controls():
    assert more_rows.ARMS[:3] == arms.STARTS
    assert len(more_rows.ARMS) == 7


def test_splits_begin_with_those_of_the_figures_and_none_comes_twice():
    made = splits_.splits(ClassHalves(), range(10))
    assert [len(halves) for halves in made.values()] == [10, 10]
    everything = [half for halves in made.values() for half in halves]
    assert len(set(everything)) == 20
    for table, entries in FIGURES.items():
        wanted = list(dict.fromkeys(named(e) for e in entries))
        assert made[table][: len(wanted)] == wanted
    assert len({named(e) for entries in FIGURES.values() for e in entries}) == 9
    for first, second in everything:
        assert sorted(first + second) == list(range(10))


def test_the_same_splits_serve_both_tables_and_show_every_figure():
    settings = ClassHalves(same_splits=True)
    made = splits_.splits(settings, range(10))
    assert made[TICKET] == made[REDRAWN]
    assert {named(e) for entries in FIGURES.values() for e in entries} <= set(made[TICKET])
    assert Trainings(settings).source(TICKET) == Trainings(settings).source(REDRAWN)


def test_own_halves_serve_both_tables():
    settings = ClassHalves(halves="0-4/5-9;0,2,4,6,8/1,3,5,7,9", splits=2, extra_splits=2)
    made = splits_.splits(settings, range(10))[REDRAWN]
    assert made == [((0, 1, 2, 3, 4), (5, 6, 7, 8, 9)), ((0, 2, 4, 6, 8), (1, 3, 5, 7, 9))]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"halves": "0-4/4-8;0-4/5-9"}, "classes 4 are in both sets"),
        ({"halves": "0-4/5-8;0-4/5-9"}, "two halves of equally many classes"),
        ({"halves": "0-4/5-9"}, "gives 1 splits and splits is 2"),
        ({"halves": "0-4/5-9;0-4/5-9"}, "given twice"),
        ({"densities": "0.5,0"}, "densities: each number lies in"),
        ({"densities": "0.1,0.5"}, "densities fall"),
        ({"densities": ""}, "densities fall"),
        ({"splits": 1}, "splits lies in"),
        ({"extra_splits": 3}, "lies in 2..2"),
        ({"size": 0, "random_crop": True}, "random_crop needs the size"),
    ],
)
def test_settings_that_make_no_row_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        ClassHalves(**{"splits": 2, "extra_splits": 2, **wrong})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"halves": "0-4/5-9;0-4/6-10"}, "no classes 10; 'digits' has 0-9"),
        ({"densities": "0.5,0.000001"}, "would keep none of"),
    ],
)
def test_what_no_half_and_no_layer_could_be_is_refused_before_anything_is_made(
    wrong, message, tmp_path
):
    settings = dataclasses.replace(TINY, out=str(tmp_path / "runs"), **wrong)
    rows = driver.choose(PAPER.experiments(settings), ("000-II",))
    with pytest.raises(ValueError, match=message):
        driver.train(PAPER, settings, rows, PAPER.lab(settings))
    assert not (tmp_path / "runs").exists()


def test_random_crops_train_on_windows_and_test_on_the_centre():
    cropped = dataclasses.replace(TINY, size=6, random_crop=True)
    name = Trainings(TINY).source(TICKET).task
    task = PAPER.lab(cropped).task(name)
    central = PAPER.lab(dataclasses.replace(TINY, size=6)).task(name)
    net, inner = (t.network("lrn-tiny", TINY.init) for t in (task, central))
    assert net.shapes() == inner.shapes()
    variables = net.init(jax.random.key(0))
    images = task.dataset.test.images[:3].astype(np.float32)
    np.testing.assert_array_equal(
        net.apply(variables, images, train=False)[0],
        inner.apply(variables, central.dataset.test.images[:3].astype(np.float32), train=False)[0],
    )
    augment = task.recipe(net).augment
    assert augment is not None
    assert augment(jax.random.key(0), images).shape == (3, 6, 6, 1)
    assert central.recipe(inner).augment is None


def test_every_arm_has_a_record_of_each_split_and_density(whole):
    settings, _, run = whole
    t, results = Trainings(settings), driver.read(run.path)[1]
    for name in more_rows.ARMS:
        for number in (1, 2):
            records = t.arm(name).records(results, number)
            assert [(r.arm, r.replicate) for r in records] == [(name, 0), (name, 1)]


def test_the_record_says_which_class_is_which_output(whole):
    settings, lab, run = whole
    facts = run.latest_provenance()["facts"]
    halves = facts["table II, first halves"]
    assert halves == [list(m) for m in lab.task("II_first").dataset.label_maps]
    assert all(classes == sorted(classes) for classes in halves)
    body = splits_.split_table(driver.read(run.path)[1]).body
    assert len(body) == 2 * 2 * settings.splits


def row(density, losses):
    dense = dict(enumerate(np.linspace(0.7, 0.8, len(losses))))
    sparse = {i: dense[i] - loss for i, loss in enumerate(losses)}
    return Row(density, sparse, dense, intervals.compare(dense, sparse))


NONE = [0.01, -0.01, 0.02, -0.02, 0.0]
EDGE = [0.005, 0.01, 0.02, 0.03, 0.04]
MORE, LESS = [0.03, 0.031, 0.029, 0.03, 0.032], [-0.03, -0.031, -0.029, -0.03, -0.032]


@pytest.mark.parametrize(
    ("losses", "says"),
    [
        ((NONE, MORE, MORE), "from 50 % density on.* at 50 %, 10 %$"),
        ((MORE, NONE, MORE), "from 10 % density on.* at 75 %, 10 %$"),
        ((MORE, MORE, NONE), "at 75 %, 50 %, but not at the smallest density$"),
        ((NONE, NONE, NONE), "at no density .*Holm\\)$"),
        ((EDGE, EDGE, EDGE), "at no density .*Holm\\)$"),  # Each has p 0.03 by itself.
        ((NONE, LESS, MORE), "from 10 % density on.*; at 50 % redrawn values are better$"),
        ((LESS, LESS, LESS), "at no density .*at 75 %, 50 %, 10 % redrawn values are better$"),
        ((MORE, MORE[:2], MORE), "fewer than 5 splits cannot tell$"),
    ],
)
def test_the_initial_value_matters_from_where_it_helps_at_every_smaller_density(losses, says):
    found = [row(d, values) for d, values in zip((0.75, 0.5, 0.1), losses, strict=True)]
    assert re.search(says, more_rows.turning(found))


def test_the_published_tables_judge_our_pairs(monkeypatch):
    results = fakes.Results()
    none = [0.001, -0.001, 0.002, -0.003, 0.001]
    some = [0.02, 0.03, 0.021, 0.031, 0.025]
    table = [row(0.75, none), row(0.5, none), row(0.25, some), row(0.1, some)]
    monkeypatch.setattr(pairs, "table_rows", lambda *args: table)
    settings = ClassHalves(splits=5, extra_splits=5)
    claims = {c.published: c for r in PAPER.experiments(settings) for c in r.claims}

    def holds(name):
        return claims[name].rule(claims[name].ours(results), published.entry(name).value)

    ours = claims["000-0012"].ours(results)  # t at 10 %.
    assert ours.value == pytest.approx(table[3].test.t)
    assert ours.text.startswith("+")
    assert claims["000-0003"].ours(results).value == -table[0].test.t  # There the ticket is ahead.
    accuracy = np.mean(list(table[3].sparse.values()))
    assert claims["000-0010"].ours(results).value == pytest.approx(accuracy)
    assert (holds("000-0025"), holds("000-0026")) == (True, False)
    assert (holds("000-0027"), holds("000-0032")) == (True, True)
    table[1] = row(0.5, some)
    assert (holds("000-0025"), holds("000-0026")) == (False, True)
    table[2:] = [row(d, [-loss for loss in some]) for d in (0.25, 0.1)]  # As sure, the other way.
    assert claims["000-0012"].ours(results).value < 0
    table[1] = row(0.5, none)
    assert (holds("000-0012"), holds("000-0025")) == (False, False)
    table[1:3] = [row(0.5, some), row(0.25, some)]
    table[3] = row(0.1, [0.06, 0.07, 0.061, 0.071, 0.065])
    assert holds("000-0032") is False
    table[0] = row(0.75, [-loss for loss in some])  # The ticket is better.
    assert holds("000-0027") is False
    table[0] = row(0.75, [loss - 0.05 for loss in (0.06, 0.01, 0.07, 0.0, 0.05)])
    assert holds("000-0027") is None  # Five splits this far apart do not tell.
    del table[3]
    missing = claims["000-0025"].ours(results), claims["000-0032"].ours(results)
    assert missing == (pairs.NOT_RUN, pairs.NOT_RUN)


def test_the_two_tables_are_compared_on_the_same_splits_only(monkeypatch):
    tables = {
        TICKET: [row(d, NONE) for d in (0.75, 0.5, 0.25, 0.1)],
        REDRAWN: [*(row(d, NONE) for d in (0.75, 0.5, 0.25)), row(0.1, [0.06 + x for x in NONE])],
    }
    monkeypatch.setattr(pairs, "table_rows", lambda results, t, series, table: tables[table])

    def holds(**settings):
        settings = ClassHalves(splits=5, extra_splits=5, **settings)
        claims = {c.published: c for r in PAPER.experiments(settings) for c in r.claims}
        chosen = [claims[name] for name in ("000-0029", "000-0030")]
        found = [(claim, claim.ours(fakes.Results())) for claim in chosen]
        return [o.reason if isinstance(o, Absent) else claim.rule(o, "") for claim, o in found]

    assert all("reading 0.11" in each for each in holds())
    assert holds(same_splits=True) == [False, True]  # 6 points apart at 10 %, and growing.
    tables[REDRAWN][3] = row(0.1, NONE)
    assert holds(same_splits=True) == [True, False]  # Nothing grows at all.
    tables[REDRAWN][3] = row(0.1, [0.01, 0.012, 0.009, 0.01, 0.011])
    tables[TICKET][0] = row(0.75, [0.1, -0.1, 0.08, -0.08, 0.0])  # Growth is noise.
    assert holds(same_splits=True) == [None, None]


def test_tickets_are_slower_where_more_pairs_are_later_than_earlier():
    settings = ClassHalves(splits=2, extra_splits=2, share_dense=True)
    t = Trainings(settings)
    claim = next(
        c for r in PAPER.experiments(settings) for c in r.claims if c.published == "000-0028"
    )

    def holds(reached, end=0.8):
        results = fakes.Results()
        dense = {0: 0.2, 5: 0.4, 10: 0.8, 15: 0.8}
        results.search(t.dense(TICKET, 1), lambda level, i: {"accuracy": 0.8, "curve": dense})
        curve = {step: end if step >= reached else 0.2 for step in dense}
        results.at_start(t.ticket, lambda level, i: {"accuracy": end, "curve": curve})
        return claim.rule(claim.ours(results), "words")

    assert holds(15)
    assert holds(10) is False  # Never later.
    assert holds(5) is False
    assert holds(15, end=0.7) is False


def test_pruned_biases_change_nothing_unless_some_density_differs():
    settings = ClassHalves(splits=5, extra_splits=5)
    t = Trainings(settings)
    claim = next(
        c for r in PAPER.experiments(settings) for c in r.claims if c.published == "000-0031"
    )

    def holds(losses):
        results = fakes.Results()
        results.at_start(t.arm("theta_0"), lambda level, i: {"accuracy": 0.7 + 0.01 * i})
        results.at_start(
            t.with_biases,
            lambda level, i: {"accuracy": 0.7 + 0.01 * i - (losses[i] if level == 2 else 0.0)},
        )
        return claim.rule(claim.ours(results), "words")

    assert holds([loss / 10 for loss in NONE])
    assert holds(NONE) is None  # No difference in the mean, and no equality shown either.
    assert holds(MORE) is False


def test_biases_may_be_pruned_in_both_tables():
    settings = dataclasses.replace(TINY, prune_biases=True)
    t = Trainings(settings)
    assert t.ticket.search.biases
    assert t.redrawn.search.biases
    assert t.ticket.piece != Trainings(TINY).ticket.piece
    rows = {row.id for row in PAPER.experiments(settings)}
    assert set(IDS) - rows == {"000-S3"}


def test_random_crops_and_pruned_biases_train(tmp_path):
    settings = dataclasses.replace(
        TINY, size=6, random_crop=True, prune_biases=True, densities="0.5", length="3it",
        out=str(tmp_path),
    )  # fmt: skip
    rows = driver.choose(PAPER.experiments(settings), ("000-II",))
    run = driver.train(PAPER, settings, rows, PAPER.lab(settings))
    results = driver.read(run.path)[1]
    for record in Trainings(settings).ticket.records(results, 1):
        assert any("bias" in name for name in record.layers)
        assert all(abs(kept - 0.5 * size) <= 0.5 for kept, size in record.layers.values())
        assert record.failed_step is None


def test_own_halves_are_trained_once_for_both_tables():
    halves = dataclasses.replace(TINY, halves="0-4/5-9;0,2,4,6,8/1,3,5,7,9")
    t = Trainings(halves)
    assert t.source(TICKET) == t.source(REDRAWN)
    assert t.dense(TICKET, 1) == t.dense(REDRAWN, 1)
    assert Trainings(TINY).source(TICKET) != Trainings(TINY).source(REDRAWN)


def test_two_pairs_show_no_absence_of_a_difference(whole, monkeypatch):
    results = driver.read(whole[2].path)[1]
    two = [row(d, [0.01, -0.01]) for d in (0.75, 0.5, 0.25, 0.1)]
    monkeypatch.setattr(pairs, "table_rows", lambda *args: two)
    claims = {c.published: c for r in PAPER.experiments(ClassHalves()) for c in r.claims}
    verdict = judge(claims["000-0027"], published.entry("000-0027"), results)
    assert verdict.verdict == NOT_COMPARABLE
    assert "of 2 trials do not tell: loss at 75 %" in verdict.reason


def test_rows_of_the_tables_depend_on_what_their_halves_come_from():
    def acts(row, **other):
        return row in effects.acting(PAPER, ClassHalves(), **other)

    assert acts("000-II", size=24)
    assert acts("000-II", named_splits=False)
    assert acts("000-X1", extra_splits=5)
    assert not acts("000-II", extra_splits=5)
