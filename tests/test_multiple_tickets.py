"""Paper 002 at a tiny length: flips, SNIP and other scores keep what they should."""

import dataclasses

from experiments.paper_002 import common, rounds
from experiments.paper_002.rows import PAPER
from experiments.paper_002.settings import MultipleTickets
from experiments.paper_002.trainings import Trainings
from experiments.reproduce import driver, effects, figures, page, published, works
from experiments.reproduce.rows import AGREES, DIFFERS, NOT_COMPARABLE, judge
from experiments.reproduce.rules import Absent
import numpy as np
import pytest

from ltjax import models
from tests import fakes

TINY = MultipleTickets(
    fc_data="digits",
    conv_data="digits",
    fc_model="lenet-20-10",
    conv_model="conv-tiny",
    conv_normalize="unit",
    batch_size=20,
    fc_length="20it",
    conv_length="10it",
    evaluate_every="5it",
    validation="50",
    levels=2,
    flips="1,2",
    devices=1,
)
IDS = [row.id for row in PAPER.experiments(TINY)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The whole paper at a tiny length: settings and run."""
    settings = dataclasses.replace(TINY, out=str(tmp_path_factory.mktemp("runs")))
    rows = driver.choose(PAPER.experiments(settings), ())
    return settings, driver.train(PAPER, settings, rows, PAPER.lab(settings))


@pytest.mark.parametrize("name", IDS)
def test_every_experiment_runs_and_is_reported(whole, name):
    settings, run = whole
    row = next(r for r in PAPER.experiments(settings) if r.id == name)
    for work in row.works:
        for piece in work.names():
            assert run.piece_done(piece)
    _, results = driver.read(run.path)
    section = next(s for s in page.chapter(PAPER, results).sections if s.row.id == name)
    assert section.figures or name.startswith(("002-T", "002-S"))
    assert len(section.verdicts) == len(row.claims)
    for verdict in section.verdicts:  # Of digits nothing was published.
        assert verdict.verdict == NOT_COMPARABLE
        assert isinstance(verdict.ours, Absent) or "another setting" in verdict.reason


@pytest.mark.parametrize("judged_on", ["validation", "test"])
def test_the_table_of_the_rounds_says_what_judged(judged_on):
    t, results = Trainings(TINY, "fc"), fakes.Results()
    results.search(t.lth, lambda level, i: {"judged_on": judged_on})
    assert f"chosen on the {judged_on} set" in common.round_table(results, {"LTH": t.lth}).note


def test_table_1_needs_no_training():
    rows = {row.id: row for row in PAPER.experiments(MultipleTickets())}
    found = [judge(c, published.entry(c.published), None) for c in rows["002-T1"].claims]
    assert [(v.ours.text, v.verdict) for v in found] == [
        ("266,200", AGREES),
        ("3,317,952", DIFFERS),  # Reading 2.1.
        ("38,592", AGREES),
    ]


def test_a_flip_begins_with_what_its_ticket_left_and_snip_keeps_its_total(whole):
    settings, run = whole
    results = driver.read(run.path)[1]
    t = Trainings(settings, "fc")
    for flip in t.flips:
        ticket, flipped = (
            results.tree(s.level(n))["mask"] for s, n in ((t.lth, flip.flip), (flip, 0))
        )
        prunable = list(run.read_piece(t.lth.level(1))[0].layers)
        for name in prunable:
            layer = name.split("/")[0]
            np.testing.assert_array_equal(flipped[layer]["kernel"], ~ticket[layer]["kernel"])
        assert run.read_piece(flip.level(1))[0].kept < run.read_piece(flip.level(0))[0].kept
    for number in t.snip.numbers:
        lth, snip = (series.records(results, number)[0] for series in (t.lth, t.snip))
        assert snip.kept == lth.kept
        assert snip.layers != lth.layers
        iterative = t.iterative_snip
        if number in iterative.numbers:
            assert iterative.records(results, number)[0].layers == lth.layers
    for other in t.others.values():
        for number in other.numbers:
            kept = run.read_piece(t.lth.level(number))[0].kept
            assert other.records(results, number)[0].kept == kept


# The rules, on made-up trainings of the paper's own settings.

PAPERS = MultipleTickets()
FC, CONV = (Trainings(PAPERS, task) for task in ("fc", "conv"))
CLAIMS = {c.published: c for row in PAPER.experiments(PAPERS) for c in row.claims}


def verdict(name, results):
    return judge(CLAIMS[name], published.entry(name), results).verdict


class Lab:
    """The networks of the paper without its data."""

    def task(self, name):
        shape = {"fc": (28, 28, 1), "conv": (32, 32, 3)}[name]
        padding = {"fc": "", "conv": PAPERS.padding}[name]

        class Task:
            def network(self, model, init):
                return models.make(model, input_shape=shape, classes=10, init=init, padding=padding)

        return Task()


@pytest.mark.parametrize(("table", "t"), [("Table 6", FC), ("Table 7", CONV)])
def test_the_searches_of_the_paper_keep_what_it_prints(table, t):
    plan = t.lth.plan(Lab())
    printed = {
        e.setting["lth_iteration"]: e.value
        for e in published.entries("002")
        if e.table_or_figure == table and e.metric == "kept"
    }
    assert sorted(printed) == list(range(1, 11))
    for number, kept in printed.items():
        assert abs(plan.kept(number) - kept) <= 0.5  # One is a mean.
        assert t.snip.plan(Lab()).kept(number) == plan.kept(number)
        assert t.iterative_snip.plan(Lab()).counts[number] == plan.counts[number]


def test_flips_start_after_rounds_7_and_8_and_have_nine_more():
    assert [(f.flip, f.levels) for f in FC.flips] == [(7, 9), (8, 9)]
    results = fakes.Results()
    results.search(FC.flips[0], lambda level, i: {"best_step": 1000 * (level + 1)})
    found = rounds.rounds(results, FC.flips[0])
    assert [(each.number, each.mean(rounds.best_step)) for each in found] == [
        (n, 1000 * n) for n in range(1, 11)
    ]


def test_iterations_are_compared_round_by_round():
    results = fakes.Results()
    results.search(FC.lth, lambda level, i: {"best_step": 3000 if level == 1 else 100_000})
    first = next(
        e.id
        for e in published.entries("002")
        if e.table_or_figure == "Table 2"
        and (e.setting["method"], e.setting["prune_iteration"]) == ("LTH", 1)
    )
    assert verdict(first, results) == AGREES
    results.search(FC.lth, lambda level, i: {"best_step": 100_000 if level == 1 else 3000})
    assert verdict(first, results) == DIFFERS


@pytest.mark.parametrize(
    "name", ["002-0068", "002-0069", "002-0078", "002-0087", "002-0114", "002-0184"]
)
def test_misprints_are_marked_and_not_compared(name):
    found = CLAIMS[name].ours(fakes.Results())
    assert isinstance(found, Absent)
    assert "reading" in found.reason


def both(results, lth, snip):
    for t in (FC, CONV):
        results.search(t.lth, lth)
        results.at_start(t.snip, snip)


def noise(i):
    """A little of each seed's own, so that no interval is without width."""
    return (-1) ** i * 1e-4


@pytest.mark.parametrize(
    ("last", "spread", "expected"),
    [
        (0.03, 1, AGREES),
        (0.01, 1, NOT_COMPARABLE),  # As far behind as at round 1.
        (0.005, 1, DIFFERS),
        (-0.01, 1, DIFFERS),
        (0.03, 200, NOT_COMPARABLE),  # Ahead in the mean of two seeds, which is not enough.
    ],
)
def test_snip_lags_where_lth_is_further_ahead_at_the_last_round(last, spread, expected):
    results = fakes.Results()
    both(
        results,
        lambda level, i: {"accuracy": 0.9},
        lambda level, i: {
            "accuracy": 0.9 - (last if level == 10 else 0.01) + spread * noise(i) * (level == 10)
        },
    )
    assert verdict("002-0187", results) == expected
    results.pieces.pop(CONV.snip.piece)
    assert verdict("002-0187", results) == NOT_COMPARABLE


@pytest.mark.parametrize(
    ("lth", "snip", "faster", "twice"),
    [
        (1000, 1500, AGREES, DIFFERS),
        (1000, 2500, AGREES, AGREES),
        (1000, 2000, AGREES, NOT_COMPARABLE),  # Within what a grid of ten steps can tell.
        (2000, 1500, DIFFERS, DIFFERS),
    ],
)
def test_lth_is_faster_and_snip_needs_twice_the_iterations_of_round_1(lth, snip, faster, twice):
    results = fakes.Results()
    curve = dict.fromkeys(range(0, 60, 10), 0.9)
    both(
        results,
        lambda level, i: {"best_step": lth, "curve": curve},
        lambda level, i: {"best_step": snip + 5 * (-1) ** i, "curve": curve},
    )
    assert (verdict("002-0189", results), verdict("002-0188", results)) == (faster, twice)


def fill_masks(results, shared):
    """Masks of LTH and SNIP that share `shared[n]` of ten weights after round n + 1."""
    for t in (FC, CONV):
        results.search(t.lth, lambda level, i: {})
        for number, count in enumerate(shared, 1):
            lth = np.arange(20) < 10
            snip = (np.arange(20) >= 10 - count) & (np.arange(20) < 20 - count)
            results.masks(t.lth.level(number), [lth] * t.lth.replicates)
            results.masks(t.snip.mask(number), [snip] * t.lth.replicates)


def test_a_falling_overlap_says_nothing_since_random_masks_do_the_same():
    claim, results = CLAIMS["002-0190"], fakes.Results()
    for shared, holds in (([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], True), ([9, 8, 7, 6] + 6 * [5], False)):
        fill_masks(results, shared)
        assert claim.rule(claim.ours(results), "words") is holds
        found = judge(claim, published.entry("002-0190"), results)
        assert found.chance == pytest.approx(1.0)
        assert found.verdict == NOT_COMPARABLE


def test_the_tables_of_overlap_have_difference_and_chance_by_layer_and_in_all():
    results = fakes.Results()
    fill_masks(results, [7] * 10)
    row = next(r for r in PAPER.experiments(PAPERS) if r.id == "002-T6")
    whole, by_layer = row.tables(results)
    assert len(whole.body) == len(by_layer.body) == 10
    # 10 of 20 in both: chance 5, its sd sqrt(10*10*10*10/(20*20*19)), of the mean of two seeds.
    half = 1.96 * np.sqrt(10**4 / (400 * 19)) / np.sqrt(2)
    cells = ["10", "10", "7", "3", f"5 ({5 - half:,.0f} to {5 + half:,.0f})", "1.400"]
    assert whole.body[0] == ["1", *cells]
    assert by_layer.body[0] == ["1", "dense_0/kernel", *cells]


@pytest.mark.parametrize(("t", "name", "gap"), [(FC, "002-0185", 0.0), (CONV, "002-0186", -0.05)])
def test_flips_are_judged_by_accuracy_and_iterations(t, name, gap):
    curve = dict.fromkeys(range(0, 60, 10), 0.9)

    def flip(gap, times, spread=1):
        results = fakes.Results()
        results.search(t.lth, lambda level, i: {"best_step": 1000, "curve": curve})
        for series in t.flips:
            results.search(
                series,
                lambda level, i: {
                    "accuracy": 0.9 + gap + spread * noise(i),
                    "best_step": 1000 * times,
                    "curve": curve,
                },
            )
        return verdict(name, results)

    assert flip(gap, 2) == AGREES
    assert flip(gap, 0.5) == DIFFERS
    assert flip(gap, 1) == NOT_COMPARABLE
    assert flip(gap, 2, spread=100) == NOT_COMPARABLE
    assert flip(-0.05 - gap, 2) == DIFFERS


def test_gaps_are_taken_seed_by_seed_where_both_still_train():
    first = rounds.Round(1, tuple(
        fakes.record(replicate=i, curve=curve)
        for i, curve in enumerate([{0: 0.1, 5: 0.5, 15: 0.4}, {0: 0.1, 5: 0.7, 10: 0.9}])
    ))  # fmt: skip
    second = rounds.Round(1, tuple(
        fakes.record(replicate=i, curve=curve)
        for i, curve in enumerate([{0: 0.1, 5: 0.4, 10: 0.2, 15: 0.1}, {0: 0.1, 5: 0.5}])
    ))  # fmt: skip
    steps, gaps = rounds.gap_curve(first, second, rounds.MEASURES[rounds.TEST])
    assert steps == [5]  # At 10 no seed has both, at 15 one of two, at 0 nothing is trained.
    np.testing.assert_allclose(gaps, [15])


def test_iterative_snip_is_judged_at_equal_steps():
    def judged(loss, curve, one_seed=0.0):
        results = fakes.Results()
        plain = dict.fromkeys(range(9), 0.5)
        results.search(CONV.lth, lambda level, i: {})
        results.at_start(CONV.snip, lambda level, i: {"curve": plain})
        # It trains on with an ever lower loss, which must not count.
        longer = {**curve, 9: 0.5}
        losses = dict.fromkeys(curve, loss) | {9: 0.001}
        results.at_start(
            CONV.iterative_snip,
            lambda level, i: {
                "curve": longer,
                "loss": {step: x + one_seed * i for step, x in losses.items()},
            },
        )
        return verdict("002-0192", results)

    late = {step: 0.45 if step < 7 else 0.6 for step in range(9)}
    assert judged(0.4, late) == AGREES
    assert judged(0.6, late) == DIFFERS
    assert judged(0.4, dict.fromkeys(late, 0.45)) == DIFFERS
    assert judged(0.4, dict.fromkeys(late, 0.6)) == DIFFERS
    assert judged(0.4, late, one_seed=0.3) == NOT_COMPARABLE


def test_a_claim_on_both_networks_depends_on_the_settings_of_both():
    rows = {row.id: row for row in PAPER.experiments(PAPERS)}
    assert {c.published for c in rows["002-S6"].claims} == {"002-0187", "002-0189", "002-0190"}
    for field in ("fc_learning_rate", "conv_learning_rate"):
        acting = effects.acting(PAPER, PAPERS, **{field: 0.5})
        assert "002-S6" in acting
        assert "002-T1" not in acting
    assert "002-T5" not in effects.acting(PAPER, PAPERS, fc_learning_rate=0.5)


@pytest.mark.parametrize("zero", [True, False])
def test_curves_of_one_point_are_drawn_and_zero_is_in_sight(zero):
    pytest.importorskip("matplotlib")
    figure = figures.plain_curves({"gap": {"a": ([60], [-2.0]), "b": ([60], [-1.0])}},
                                  zero=zero, quantile=0.02)  # fmt: skip
    (axes,) = figure.axes
    assert all(line.get_marker() == "o" for line in axes.lines[:2])
    low, high = axes.get_ylim()
    assert low < -1 < high
    assert (low < 0 < high) == zero


def test_a_lost_mask_makes_its_family_unfinished(whole):
    settings, run = whole
    row = next(r for r in PAPER.experiments(settings) if r.id == "002-T6")
    lab = PAPER.lab(settings)
    lost = Trainings(settings, "fc").snip.mask(1)
    assert works.unfinished(row.works, lab, run.piece_done) == []
    found = works.unfinished(row.works, lab, lambda name: name != lost and run.piece_done(name))
    assert set(found) == set(row.works)
