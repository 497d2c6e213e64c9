"""Whole papers at a tiny length: what is kept, shared, gone on with, and reported."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from experiments import report
from experiments.papers import convergence, page, reproduce
from experiments.papers.class_halves_splits import FIRST, SECOND, TICKET, read
from experiments.papers.frankle_carbin_xor import BY_TWO
from experiments.papers.paper import table
from experiments.papers.trainings import Retrained, Search
from experiments.papers.unit_search import UnitSearch, margins, trainer_of
from experiments.papers.workshop import Workshop
from experiments.report import Report
from ltjax.core.types import Variables
from ltjax.data import Parts
from ltjax.report import style

PAPERS = table()
TINY = {
    "004": {
        "data": "digits", "model": "lenet-20-10", "batch_size": 20, "length": "60it",
        "evaluate_every": "10it", "replicates": 2, "repeats": 2, "more_replicates": 2,
        "parameter_replicates": 2, "levels": 2, "size_levels": 1, "cuts": "0.9,0.5",
        "parameter_cuts": "0.5", "sizes": ("20-10",), "large_sds": "0.4", "small_sds": "0.025",
        "other_rates": "0.5", "mean_window": 20, "calm": 20, "change": 0.3,
        "stop_converged": True, "xor_replicates": 12, "xor_steps": 60, "xor_learning_rates": "",
        "devices": 1,
    },
    "002": {
        "fc": ("data=digits", "model=lenet-20-10", "length=20it"),
        "conv": ("data=digits", "model=conv-tiny", "normalize=unit", "length=10it"),
        "batch_size": 20, "evaluate_every": "5it", "validation": "50", "levels": 2,
        "flips": "1,2", "devices": 1,
    },
    "000": {
        "data": "digits", "model": "lrn-tiny", "size": 0, "normalize": "unit", "batch_size": 20,
        "length": "6it", "evaluate_every": "3it", "rewind": "3it", "splits": 2,
        "extra_splits": 2, "densities": "0.5,0.1",
    },
}  # fmt: skip
RUNS = {}


@pytest.fixture(params=list(TINY))
def run(request, tmp_path_factory):
    """A paper, its settings, its shop and its run, trained once."""
    return run_of(request.param, tmp_path_factory)


def run_of(name, tmp_path_factory):
    if name not in RUNS:
        paper, shop = PAPERS[name], Workshop()
        settings = paper.make(**TINY[name], out=str(tmp_path_factory.mktemp("runs")))
        made = reproduce.train(paper, settings, paper.check(settings), shop)
        RUNS[name] = paper, settings, shop, made
    return RUNS[name]


def files(run):
    return {p.name: p.read_bytes() for p in (run.path / "records").iterdir()}


def test_every_paper_has_a_tiny_run():
    assert TINY.keys() == PAPERS.keys()


def test_every_figure_is_judged_drawn_and_reported(run):
    paper, settings, _, made = run
    chapter = page.chapter(*reproduce.read(made.path))
    assert [s.figure.id for s in chapter.sections] == [f.id for f in paper.figures(settings)]
    html, text = page.page([chapter]), page.markdown(chapter)
    for section in chapter.sections:
        assert [v.claim.id for v in section.verdicts] == [c.id for c in section.figure.claims]
        assert all(drawn is None or style.shows(drawn) for drawn in section.drawings.values())
        for verdict in section.verdicts:
            assert verdict.verdict != "agrees" or not section.other
            assert verdict.entry.id in html
            assert f"| {verdict.entry.id} " in text
    shown = [d for s in chapter.sections for d in s.drawings.values() if d is not None]
    assert len(shown) >= 6
    again = page.chapter(*reproduce.read(made.path))
    assert page.page([again]) == html
    assert f"paper {paper.id}: " in page.summary([chapter])


def test_a_finished_run_trains_nothing_and_a_damaged_piece_is_made_again(run, capsys):
    paper, settings, shop, made = run
    before = files(made)
    figures = paper.figures(settings)
    assert files(reproduce.train(paper, settings, figures, shop)) == before
    name = next(n for f in figures for n in f.pieces if made.read_piece(n))
    (path,) = (made.path / "records").glob(f"{name}.jsonl")
    path.write_bytes(path.read_bytes()[:-20])
    _ = reproduce.read(made.path)
    assert "it is left out, run its command again" in capsys.readouterr().err
    assert files(reproduce.train(paper, settings, figures, Workshop())) == before


def test_a_run_of_another_version_is_refused(run, tmp_path):
    _, _, _, made = run
    told = made.settings()
    there = tmp_path / "paper-old"
    there.mkdir()
    for change, why in (({"version": 1}, "version 1 instead of"), ({"strange": 1}, "or without")):
        (there / "settings.json").write_text(json.dumps({**told, **change}))
        with pytest.raises(ValueError, match=why):
            reproduce.read(there)


def test_the_list_counts_trainings_and_every_report_is_found(run, tmp_path, capsys):
    paper, settings, shop, made = run
    figures = paper.figures(settings)
    lines = list(reproduce.listing(figures, shop, measure=False))
    assert len(lines) == len(figures) + 2
    every = int(lines[-1].split()[1].replace(",", ""))
    assert every >= max(int(line.split()[1].replace(",", "")) for line in lines[1:-1])
    assert report.main(Report(out=str(tmp_path)), [str(made.path.parent)]) == 0
    assert (tmp_path / "report.html").exists()
    assert f"paper {paper.id}: " in capsys.readouterr().out
    assert reproduce.exit_code(made, figures) == 0


# --- paper 004 ---------------------------------------------------------------------------------


def needs(paper, settings, kind):
    every = [need for f in paper.figures(settings) for need in f.needs]
    return [need for need in dict.fromkeys(every) if isinstance(need, kind)]


def test_one_shot_tickets_are_cut_from_the_dense_network_of_the_search(tmp_path_factory):
    paper, settings, _, made = run_of("004", tmp_path_factory)
    (dense,) = {n.search.dense for n in needs(paper, settings, Retrained)
                if n.search.find.init == settings.init and n.search.find.rate == 0.2
                and n.search.find.replicates == 2}  # fmt: skip
    retrained = [n for n in needs(paper, settings, Retrained) if n.search.dense == dense]
    assert {n.arm for n in retrained} == {"theta_0", "redrawn", "shuffled_hidden"}
    for each in retrained:
        records = made.read_piece(each.piece)
        assert len(records) == 2 * len(each.levels) * each.repeats
        assert {r.arm for r in records} == {each.arm}
        if each.cut is not None:
            assert {r.nominal for r in records} == {0.9, 0.5}


def test_one_shot_and_iterative_tickets_keep_exactly_what_they_should(tmp_path_factory):
    paper, settings, _, made = run_of("004", tmp_path_factory)
    rounds = settings.search()
    short = next(n for n in needs(paper, settings, Retrained) if n.cut)
    for name, shares in (
        (short.piece, {1: (0.1, 0.05), 2: (0.5, 0.25)}),
        (rounds.level(1), {1: (0.2, 0.1)}),
    ):
        records = made.read_piece(name)
        assert {r.level for r in records} == shares.keys()
        for r in records:
            for layer, (kept, size) in r.layers.items():
                share = shares[r.level][layer.startswith("head")]
                assert kept == size - round(share * size), layer


def test_controls_come_from_each_rounds_ticket_and_continuing_from_its_dense(tmp_path_factory):
    paper, settings, _, made = run_of("004", tmp_path_factory)
    rounds, results = settings.search(), reproduce.read(made.path)[1]
    controls = [n for n in needs(paper, settings, Retrained) if n.search == rounds and not n.cut]
    assert {n.arm for n in controls} == {"redrawn", "shuffled_hidden"}
    for control in controls:
        for level in (1, 2):
            records = control.records(results, level)
            assert [(r.replicate, r.repeat) for r in records] == [(0, 0), (1, 0), (0, 1), (1, 1)]
            assert all(r.layers == rounds.records(results, level)[0].layers for r in records)
            assert len({tuple(r.test_accuracy) for r in records}) == len(records)
    (continued,) = (n for n in needs(paper, settings, Retrained)
                    if n.search.find.reset != rounds.find.reset)  # fmt: skip
    assert continued.search.dense == rounds.dense
    masks = [results.tree(s.level(2))["mask"] for s in (rounds, continued.search)]
    assert not all(jax.tree.leaves(jax.tree.map(np.array_equal, *masks)))
    assert {r.arm for r in continued.records(results, 2)} == {"theta_0"}


def test_trainings_stop_once_their_convergence_is_known_and_searches_do_not(tmp_path_factory):
    paper, settings, _, made = run_of("004", tmp_path_factory)
    for search in needs(paper, settings, Search):
        for name in search.names():
            assert {r.steps[-1] for r in made.read_piece(name)} == {60}
    retrained = needs(paper, settings, Retrained)
    records = [r for n in retrained for r in made.read_piece(n.piece)]
    for r in records:
        found = convergence.converged(r.steps, r.test_accuracy, settings=settings.criterion)
        assert r.steps[-1] == (60 if found.step is None else found.step + settings.calm)
    assert any(r.steps[-1] < 60 for r in records)


def test_another_figure_trains_only_what_is_missing(tmp_path):
    paper = PAPERS["004"]
    settings = paper.make(**{**TINY["004"], "levels": 1, "cuts": "0.5"}, out=str(tmp_path))
    first, second = (
        reproduce.choose(paper.figures(settings), [name]) for name in ("004-F7", "004-F8")
    )
    run = reproduce.train(paper, settings, first, Workshop())
    times = {p: p.stat().st_mtime_ns for p in (run.path / "records").iterdir()}
    assert reproduce.train(paper, settings, second, Workshop()).path == run.path
    new = {p: p.stat().st_mtime_ns for p in (run.path / "records").iterdir()}
    assert {p: new[p] for p in times} == times
    made = {p.stem for p in new.keys() - times.keys() if p.suffix == ".jsonl"}
    assert made == {*second[0].pieces} - {*first[0].pieces}
    assert len(made) == 2  # Both controls.


def test_xor_is_pruned_two_units_at_a_time_and_reset(tmp_path_factory):
    paper, settings, _, made = run_of("004", tmp_path_factory)
    results = reproduce.read(made.path)[1]
    (search,) = (n for n in needs(paper, settings, UnitSearch)
                 if n.units == BY_TWO and n.score == "product")  # fmt: skip
    network = trainer_of(search.units[0], search.rate, search.sd, search.steps).network
    before = True
    for count in search.units:
        tree = results.tree(search.piece(count))
        alive = np.asarray(tree["mask"]["dense_0"]["bias"])
        assert (alive.sum(axis=1) == count).all()
        assert not (alive & ~np.asarray(before)).any()
        before = alive
        again = margins(network, Variables(tree["theta_S"], {}))
        np.testing.assert_allclose(again, tree["margin"], atol=1e-6)
        assert not np.asarray(tree["theta_S"]["dense_0"]["bias"])[~alive].any()


# --- paper 002 ---------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["fc", "conv"])
def test_a_flip_begins_with_the_complement_and_scores_keep_the_totals(key, tmp_path_factory):
    paper, settings, _, made = run_of("002", tmp_path_factory)
    search = settings.search(key)
    results = reproduce.read(made.path)[1]
    flips = [
        s for s in needs(paper, settings, Search) if s.flip and s.find.model == search.find.model
    ]
    assert [s.flip for s in flips] == [1, 2]
    prunable = made.read_piece(search.dense)[0].layers
    for flip in flips:
        mask, theirs = (
            jax.tree.map(np.asarray, results.tree(name)["mask"])
            for name in (flip.level(0), search.level(flip.flip))
        )
        for name in prunable:
            layer, leaf = name.split("/")
            np.testing.assert_array_equal(mask[layer][leaf], ~theirs[layer][leaf])
    scored = [
        n for n in needs(paper, settings, Retrained)
        if n.cut and n.cut.at == "start" and n.search == search
    ]  # fmt: skip
    assert {n.cut.score for n in scored} == {"snip", "grasp", "synflow", "random"}
    for each in scored:
        for r in made.read_piece(each.piece):
            beside = made.read_piece(search.level(r.level))[0]
            assert r.kept == beside.kept
            if each.cut.counts == "layers":
                assert r.layers == beside.layers
            tree = results.tree(each.mask(r.level))
            leaves = (tree["mask"][name.split("/")[0]]["kernel"] for name in prunable)
            kept = sum(int(np.asarray(leaf[r.replicate]).sum()) for leaf in leaves)
            assert kept == r.kept


# --- paper 000 ---------------------------------------------------------------------------------


def test_tickets_of_one_half_are_trained_on_the_other(tmp_path_factory):
    paper, settings, shop, made = run_of("000", tmp_path_factory)
    first, second = (
        shop.dataset(settings.find(), settings.halves_of(TICKET, which))
        for which in (FIRST, SECOND)
    )
    assert isinstance(first, Parts)
    for a, b in zip(first.label_maps, second.label_maps, strict=True):
        assert not {*a} & {*b}
        assert len(a) == len(b) == 5
    assert first.examples == second.examples
    tickets = needs(paper, settings, Retrained)
    trainers = {
        id(trainer): trainer
        for n in tickets
        for source in (n.search.source, n.on)
        for trainer in [shop.trainer(n.search.find, source)]
    }
    (trainer,) = trainers.values()
    # One compile for each size of population: two splits, and two splits of two densities.
    assert trainer.program(2).leg._cache_size() == 2
    for n in tickets:
        for r in made.read_piece(n.piece):
            assert (r.phase, r.arm) == ("target", n.arm)
            assert any("bias" in name for name in r.layers) == ("bias" in n.search.find.rates)
            for name, (kept, size) in r.layers.items():
                moved = r.arm == "shuffled_globally"  # Out of one layer into another.
                assert moved or abs(kept - settings.cuts[r.level - 1] * size) <= 0.5, name
    recorded = made.latest_provenance()["facts"]
    assert recorded["table II, first halves"] == [list(classes) for classes in first.label_maps]


def test_splits_are_those_of_the_figures_first_and_all_different():
    paper = PAPERS["000"]
    settings = paper.make()
    found = settings.chosen.of(range(10))
    ii, iii = found.values()
    assert len({*ii, *iii}) == 20
    assert (*ii[:5],) == settings.chosen.figures[0]
    assert all(not {*a} & {*b} and len(a) == 5 for a, b in [*ii, *iii])
    same = paper.make(same_splits=True).chosen.of(range(10))
    assert same["II"] == same["III"]
    own = paper.make(halves="0-4/5-9;0,2,4,6,8/1,3,5,7,9", splits=2, extra_splits=2)
    assert own.chosen.of(range(10))["III"] == list(read(own.halves))


@pytest.mark.parametrize(
    ("halves", "why"),
    [
        ("0-4/5-9", "halves gives 1 splits and splits is 2"),
        ("0-4/5-9;0-4/5-9", "is given twice"),
        ("0-4/4-8;0-4/5-9", "classes 4 are in both sets"),
        ("0-4/5-8;0-4/5-9", "equally many classes"),
        ("0-4;0-4/5-9", "equally many classes"),
    ],
)
def test_halves_that_are_none_are_refused(halves, why):
    with pytest.raises(ValueError, match=why):
        PAPERS["000"].make(halves=halves, splits=2, extra_splits=2)


def test_a_setting_of_one_network_is_refused_by_name():
    with pytest.raises(ValueError, match="fc takes name=value; no setting 'lenght'"):
        PAPERS["002"].make(fc=("lenght=3it",))
    made = PAPERS["002"].make(conv=("padding=SAME",))
    assert made.search("conv").find.padding == "SAME"
    assert dataclasses.replace(made, conv=()).search("conv").find.padding == "VALID"
