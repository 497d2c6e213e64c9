"""Reproductions: rows and rules, what is shared, the report against fixed records, bad input."""

import collections
import dataclasses
import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from experiments.paper_004 import xor, xor_rows
from experiments.paper_004.rows import PAPER
from experiments.paper_004.settings import PRESETS, FrankleCarbin
from experiments.paper_004.trainings import Trainings
from experiments.papers import convergence, published
from experiments.reproduce import driver, effects, figures, lines, page, searches, trained
from experiments.reproduce import rows as rows_
from experiments.reproduce import works as works_
from experiments.reproduce.papers import PAPERS
from experiments.reproduce.rows import (
    AGREES,
    DIFFERS,
    MOST_BY_CHANCE,
    NOT_COMPARABLE,
    Claim,
    chance,
    judge,
)
from experiments.reproduce.rules import (
    Absent,
    Between,
    Digits,
    Near,
    Never,
    Ordered,
    Quantity,
    Same,
    SameShare,
    Share,
    Side,
    Within,
    ordering,
    span,
)
from ltjax.report import style
from ltjax.statistics import intervals
from ltjax.statistics.intervals import Interval
from ltjax.training.records import Record

# Everything of the paper, as short and small as it can be.
TINY = FrankleCarbin(
    data="digits",
    batch_size=20,
    length="60it",
    evaluate_every="10it",
    replicates=2,
    repeats=2,
    more_replicates=1,
    parameter_replicates=1,
    levels=2,
    size_levels=1,
    densities="0.9,0.5",
    parameter_densities="0.5",
    sizes=("30-10", "40-20"),
    large_sds="0.4",
    small_sds="0.025",
    rates="0.5",
    window=20,
    calm=20,
    change=0.3,
    stop_converged=True,
    xor_replicates=12,
    xor_steps=60,
    xor_learning_rates="",
    devices=1,
)
IDS = [row.id for row in PAPER.experiments(TINY)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The whole paper at a tiny length: settings and run."""
    settings = dataclasses.replace(TINY, out=str(tmp_path_factory.mktemp("runs")))
    return settings, train(settings)


def train(settings, *names):
    rows = driver.choose(PAPER.experiments(settings), names)
    return driver.train(PAPER, settings, rows, PAPER.lab(settings))


# --- rows -------------------------------------------------------------------------------------


@pytest.mark.parametrize("paper", PAPERS.values(), ids=list(PAPERS))
def test_every_published_entry_of_a_paper_is_answered_exactly_once(paper):
    claimed = [c.published for row in paper.experiments(paper.settings()) for c in row.claims]
    assert sorted(claimed) == sorted(e.id for e in published.entries(paper.id))


@pytest.mark.parametrize("paper", PAPERS.values(), ids=list(PAPERS))
@pytest.mark.parametrize("preset", ["paper", "quick"])
def test_every_preset_is_made_of_settings_and_only_shortens(paper, preset):
    fields = {f.name for f in dataclasses.fields(paper.settings)}
    assert set(paper.presets[preset]) <= paper.shortens <= fields
    rows = paper.experiments(paper.settings(**paper.presets[preset]))
    assert len({row.id for row in rows}) == len(rows)
    for row in rows:
        assert row.id.startswith(f"{paper.id}-")
        assert row.works or row.claims
        assert all(claim.rule.text for claim in row.claims)


def test_quick_keeps_levels_controls_and_metric():
    quick = FrankleCarbin(**PRESETS["quick"])
    for field in ("levels", "rate", "window", "calm", "change", "rule", "learning_rate"):
        assert getattr(quick, field) == getattr(FrankleCarbin(), field)
    assert {0.9, 0.75, 0.55, 0.4, 0.35, 0.25, 0.15, 0.1, 0.05} == set(quick.one_shot())


def test_the_papers_numbers_of_rounds_come_out():
    assert searches.rounds_to(0.055, 0.2) == 13
    assert searches.rounds_to(0.05, 0.1) == 28
    assert 0.8 ** FrankleCarbin().levels == pytest.approx(0.0092, abs=1e-4)


def test_experiments_share_what_is_equal():
    t = Trainings(FrankleCarbin())
    rows = {row.id: row for row in PAPER.experiments(FrankleCarbin())}
    assert t.iterative in rows["004-F7"].works
    for name in ("004-F8", "004-F9", "004-F10", "004-F15", "004-F16"):
        assert t.iterative in rows[name].works, name
    assert t.one_shot in rows["004-F11"].works
    assert t.one_shot.search.dense == t.iterative.dense == t.continued.search.dense
    assert t.continued.search.stem != t.iterative.stem


def test_names_of_different_works_differ():
    every = [w for row in PAPER.experiments(FrankleCarbin()) for w in row.works]
    names = [n for work in dict.fromkeys(every) for n in work.names()]
    dense = [n for n in names if n.endswith(".dense")]
    assert len(set(names) - set(dense)) == len(names) - len(dense)


# --- rules ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "ours", "value", "agrees"),
    [
        (Near(3.0), Quantity(35.5), 38, True),
        (Near(3.0), Quantity(34.9), 38, False),
        (Near(3.0), Quantity(20, -20, 60), 38, False),  # Our interval never widens a rule.
        (Between(5.0), Quantity(21, 0, 42), [15, 10], False),
        (Within(1.6), Quantity(1.0, 0.1, 3.0), 1.8, False),
        (Share(0.05), Quantity(106, 80, 130), 100, False),
        (Share(0.05), Quantity(104), 100, True),
        (Between(5.0), Quantity(17), [10, 15], True),
        (Between(5.0), Quantity(21), [15, 10], False),
        (Between(0.0), Quantity(12), [55, 35], False),
        (Between(0.0), Quantity(100 * 0.55), [55, 35], True),
        (Within(1.6), Quantity(2.7), 1.8, True),
        (Within(1.6), Quantity(1.0), 1.8, False),
        (SameShare(1000), Quantity(98.5, n=1000), 98.5, True),
        (SameShare(1000), Quantity(99.9, n=1000), 98.5, False),
        (SameShare((985, 929)), Quantity((99.0, 97.5), n=900), [99, 97], True),
        (SameShare((985, 929)), Quantity((99.0, 99.5), n=900), [99, 97], False),
        (Same("x"), Quantity((0.75, 0.9)), [0.75, 0.9], True),
        (Same("x"), Quantity((0.9,)), [0.75, 0.9], False),
        (Digits(), Quantity(266_200), "266K", True),
        (Digits(), Quantity(3_317_952), "4.3M", False),
    ],
)
def test_a_rule(rule, ours, value, agrees):
    assert rule(ours, value) == agrees
    assert rule.text


ABOVE, ASTRIDE, BELOW = (Interval(m, m - 1, m + 1, 5) for m in (1.5, 0.5, -1.5))
ONE = intervals.mean({0: 100.0})


@pytest.mark.parametrize(
    ("found", "agrees"),
    [
        ([ABOVE], True),
        ([ASTRIDE], None),
        ([BELOW], False),
        ([ONE], None),  # However far apart two means of one trial lie.
        ([None], None),
        ([], None),
        ([ABOVE, ABOVE], True),
        ([ABOVE, ASTRIDE], None),
        ([ABOVE, ASTRIDE, BELOW], False),
    ],
)
def test_an_ordering_is_judged_by_whole_intervals(found, agrees):
    ours = ordering([Side(f"side {i}", each, "points") for i, each in enumerate(found)])
    assert Ordered("x")(ours, "words") is agrees
    verdict = judge(claim_of(ours, Ordered("x")), WORDED, None)
    assert verdict.verdict == {True: AGREES, False: DIFFERS, None: NOT_COMPARABLE}[agrees]
    assert verdict.chance == pytest.approx(0.025)
    if agrees is None and found:
        assert "do not tell: side" in verdict.reason


def test_what_is_alike_lies_between_two_limits_with_its_whole_interval():
    held = [Side("x", Interval(0, -h, h, 5), "", -1.0, 1.0).holds for h in (0.9, 1.1)]
    assert held == [True, None]
    assert Side("x", Interval(2, 1, 3, 5), "", -1.0, 1.0).holds is False


@pytest.mark.parametrize("n", [2, 5])
def test_equal_networks_are_ordered_as_often_as_the_chance_says(n):
    gaps = np.random.default_rng(n).normal(size=(2000, n))
    held = [Side("x", intervals.mean(dict(enumerate(each)))).holds for each in gaps]
    assert np.mean([h is True for h in held]) == pytest.approx(Ordered("x").chance, abs=0.012)


NUMBER, WORDED = published.entry("004-0058"), published.entry("004-0042")


def claim_of(answer, rule, **fields):
    return Claim(published=NUMBER.id, ours=lambda results: answer, rule=rule, **fields)


def test_a_verdict_says_why_there_is_none():
    for answer, bar, expected in (
        (Quantity(36.0), "", AGREES),
        (Quantity(10.0), "", DIFFERS),
        (Quantity(36.0), "another data set", NOT_COMPARABLE),
        (Absent("not trained"), "", NOT_COMPARABLE),
    ):
        verdict = judge(claim_of(answer, Near(1.0)), NUMBER, None, bar=bar)
        assert verdict.verdict == expected
        assert verdict.reason == (bar or getattr(answer, "reason", ""))


def test_chance_is_the_share_of_other_answers_that_would_agree():
    # Beside 36 the same sentence has 38, 44 and 41.
    assert chance(claim_of(None, Near(1.0)), NUMBER) == 0
    assert chance(claim_of(None, Near(3.0)), NUMBER) == pytest.approx(1 / 3)
    axis = span(0.0, 50.0)
    assert chance(claim_of(None, Near(1.0), axis=axis), NUMBER) == pytest.approx(0.04)
    assert chance(claim_of(None, Within(2.0), axis=span(9, 144, log=True)), NUMBER) == (
        pytest.approx(1.0)  # All three others; half of the axis.
    )
    assert chance(claim_of(None, Ordered("x")), NUMBER) == pytest.approx(0.025)
    lonely = judge(claim_of(Quantity(14.0), Near(1.0)), published.entry("004-0066"), None)
    assert lonely.verdict == NOT_COMPARABLE
    assert "give the row an axis" in lonely.reason


def test_a_noisier_run_agrees_more_often_by_chance():
    entry = published.entry("004-0003")
    shares = [chance(claim_of(None, SameShare(1000)), entry, n=n) for n in (1000, 100, 10)]
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert shares[-1] > 0.3
    few = judge(claim_of(Quantity(90.0, n=10), SameShare(1000)), entry, None)
    assert few.verdict == NOT_COMPARABLE
    assert "would agree by chance in 50 % of cases" in few.reason


def test_the_rule_that_a_coin_would_give_is_not_comparable():
    entry = next(e for e in published.entries("002") if e.table_or_figure == "Table 2")
    loose = claim_of(Quantity(entry.value, n=2), Near(1000.0))
    assert chance(loose, entry) > 0.3
    assert judge(loose, entry, None).verdict == NOT_COMPARABLE


@pytest.mark.parametrize("paper", PAPERS.values(), ids=list(PAPERS))
def test_every_claim_has_a_chance_and_none_above_the_limit_is_compared(paper):
    for row in paper.experiments(paper.settings()):
        for claim in row.claims:
            entry = published.entry(claim.published)
            by_chance = chance(claim, entry)
            assert np.isnan(by_chance) if isinstance(claim.rule, Never) else 0 <= by_chance <= 1
            if not isinstance(claim.rule, (Never, Ordered, Digits, Between)):
                theirs = Quantity(claim.theirs(entry))  # As if it were ours.
                found = judge(dataclasses.replace(claim, ours=lambda r, a=theirs: a), entry, None)
                loose = by_chance > MOST_BY_CHANCE
                assert found.verdict == (NOT_COMPARABLE if loose else AGREES), claim.published


@pytest.mark.parametrize("paper", PAPERS.values(), ids=list(PAPERS))
def test_the_chance_is_that_of_every_other_answer_in_our_place(paper, monkeypatch):
    """By brute force over the file, through the verdict itself, whatever its limit."""
    monkeypatch.setattr(rows_, "MOST_BY_CHANCE", 1.0)
    of_table = collections.defaultdict(list)
    for e in published._file()["entries"]:
        of_table[e["paper"], e["table_or_figure"], e["metric"]].append((e["id"], e["value"]))
    for claim in (c for row in paper.experiments(paper.settings()) for c in row.claims):
        entry = published.entry(claim.published)
        others = [
            value
            for name, value in of_table[entry.paper, entry.table_or_figure, entry.metric]
            if name not in claim.again | {entry.id}
        ]
        pools = [pool for pool, fewest in ((others, 3), (claim.axis, 1)) if len(pool) >= fewest]
        if isinstance(claim.rule, (Never, Ordered)) or not pools:
            continue
        for n in (0, 40, 4000) if isinstance(claim.rule, SameShare) else (0,):
            shares = [
                np.mean([agrees(claim, entry, Quantity(answer, n=n)) for answer in pool])
                for pool in pools
            ]
            assert chance(claim, entry, n=n) == pytest.approx(max(shares)), claim.published


def agrees(claim, entry, answer):
    """Whether this answer would, its own chance being cheap to compute."""
    with_answer = dataclasses.replace(claim, ours=lambda results: answer, axis=claim.axis[:1])
    return judge(with_answer, entry, None).verdict == AGREES


def test_a_star_of_a_table_over_settings_is_an_agreement_that_chance_would_not_give():
    t, by_id = Trainings(TINY), {c.published: c for r in PAPER.experiments(TINY) for c in r.claims}
    claims = {(10, m): by_id[name] for m, name in (("DB", "004-0001"), ("ZL", "004-0002"))}
    for n, stars in ((1000, 3), (10, 0)):  # Three tolerances; of 10, most of the others agree.
        answer = Quantity(98.0, n=n)
        table = xor_rows._sweep(None, TINY, t, "F1", [("10", 10)], lambda *a, q=answer: q, claims)
        assert sum(line[3].endswith("*") for line in table.body) == stars


def test_without_a_success_there_is_no_share_of_the_successes():
    none, some = np.zeros(4, bool), np.array([True, True, False, False])
    assert xor_rows.share(some, none) == Absent("no network succeeded whole")
    assert xor_rows.share(None).reason == "not trained in this run"
    assert xor_rows.share(some, some).value == 100


def test_the_percentages_of_the_text_are_those_of_the_table():
    """Readings 4.27 and 4.29: 80 % is a share of all networks, 84.9 % one of 929."""
    claims = {c.published: c for r in PAPER.experiments(TINY) for c in r.claims}
    theirs = {n: claims[n].theirs(published.entry(n)) for n in claims if "35" <= n[-2:] <= "39"}
    found = [theirs[f"004-00{n}"] for n in (35, 36, 38, 39)]
    assert found == pytest.approx([85.468, 92.893, 17.6, 79.4], abs=1e-3)
    product, table = np.array([1, 1, 1, 0, 0], bool), {10: np.array([1, 1, 1, 1, 0], bool)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(xor, "zero_loss", lambda r, s, n, limit: table.get(n, product))
        assert claims["004-0039"].ours(None).value == pytest.approx(60)  # Of all five.
        assert claims["004-0035"].ours(None).value == pytest.approx(75)  # Of the four.


# --- lines from records made by hand -----------------------------------------------------------


def record(*, level=0, replicate=0, repeat=0, density=1.0, converges=500, height=0.9, kept=100):
    """A training whose mean of two tests is calm from `converges` on, or never where None."""
    steps = list(range(0, 1001, 100))
    end = 10_000 if converges is None else converges
    accuracy = [height - 0.05 * max(0, (end - 100 - s) // 100) for s in steps]
    return Record(
        phase="source", arm="ticket", level=level, replicate=replicate, repeat=repeat,
        nominal=density, density=kept / 100, kept=kept, prunable=100, kernels=100, total=110,
        layers={}, dense={},
        steps=steps, train_loss=[], validation_accuracy=[], validation_loss=[],
        test_accuracy=accuracy, test_loss=[], judged_on="test", best_step=1000,
        accuracy=height, final_accuracy=accuracy[-1],
    )  # fmt: skip


HOW = convergence.Settings(window=200, calm=200, change=0.01)


def make_line(*levels):
    """Points of (density, steps to convergence by trial, accuracy)."""
    return [
        lines.point(
            [record(replicate=i, density=d, converges=c, height=h) for i, c in enumerate(ends)], HOW
        )
        for d, ends, h in levels
    ]


LINE = make_line(
    (1.0, (600, 600), 0.9),
    (0.5, (300, 500), 0.92),
    (0.2, (500, 600), 0.9),
    (0.1, (700, 700), 0.88),
    (0.05, (None, None), 0.5),
)


def test_points_say_when_they_converge_and_where_the_line_is_cut():
    assert LINE[0].steps == {0: 600, 1: 600}
    assert LINE[1].steps == {0: 300, 1: 500}
    assert LINE[1].accuracy == pytest.approx({0: 0.92, 1: 0.92})
    assert [p.shown for p in LINE] == [True, True, True, True, False]
    assert LINE[4].steps == {}


def test_what_is_said_of_a_line():
    assert lines.faster(LINE[1], LINE[0]).value == pytest.approx(1 - 400 / 600)
    assert lines.gained(LINE[1], LINE[0]).value == pytest.approx(0.02)
    assert lines.fastest(LINE) is LINE[1]
    assert lines.first_below(LINE, lines.slower) == 0.1
    assert lines.first_below(LINE, lines.less_accurate(0.03)) == 0.05
    assert lines.first_below(LINE[:2], lines.slower) is None
    assert lines.smallest_winning(LINE) == {0: 0.2, 1: 0.2}
    assert lines.at(LINE, 0.51) is LINE[1]
    assert lines.at(LINE, 0.4) is None
    middle = lines.interpolated(LINE, 0.1 * 2**0.5, lines.step_of)
    assert middle == pytest.approx({0: (500 + 700) / 2, 1: (600 + 700) / 2})
    assert lines.interpolated(LINE, 0.01, lines.step_of) == {}
    assert lines.averaged(LINE, lines.step_of) == {0: 525, 1: 600}


def test_repeats_of_a_control_are_one_trial():
    found = lines.point(
        [record(replicate=i, repeat=k, converges=300 + 100 * k) for i in (0, 1) for k in (0, 1)],
        HOW,
    )
    assert len(found.trials) == 4
    assert found.steps == {0: 350, 1: 350}


def test_convergence_is_judged_on_held_out_examples_where_there_are_some():
    held_out = [0.5] * 11
    judged = dataclasses.replace(record(converges=700), validation_accuracy=held_out)
    found = lines.point([judged], HOW).trials[0].convergence
    assert found.step == 100
    assert found.accuracy == judged.test_accuracy[1]


def test_a_failed_training_did_not_converge():
    failed = dataclasses.replace(record(), failed_step=300)
    assert lines.point([failed], HOW).trials[0].convergence.step is None


# --- trainings --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", IDS)
def test_every_experiment_runs_and_is_reported(whole, name):
    settings, run = whole
    row = next(r for r in PAPER.experiments(settings) if r.id == name)
    for work in row.works:
        for piece in work.names():
            assert run.piece_done(piece)
    _, results = driver.read(run.path)
    section = next(s for s in page.chapter(PAPER, results).sections if s.row.id == name)
    assert section.figures
    assert len(section.verdicts) == len(row.claims)
    for verdict in section.verdicts:
        if name in ("004-F1", "004-F2"):  # XOR is XOR, on digits too.
            if not isinstance(verdict.ours, Absent):  # None succeeded, of few for a short time.
                few = verdict.verdict == NOT_COMPARABLE and "agree by chance" in verdict.reason
                assert few or verdict.verdict in (AGREES, DIFFERS)
                assert np.all(np.asarray(verdict.ours.value) <= 100)
        else:  # Of digits nothing was published.
            assert verdict.verdict == NOT_COMPARABLE
            assert isinstance(verdict.ours, Absent) or "data = digits" in verdict.reason


def test_one_shot_and_iterative_tickets_keep_exactly_what_they_should(whole):
    t, results = Trainings(whole[0]), driver.read(whole[1].path)[1]
    for series, shares in (
        (t.one_shot, {1: (0.1, 0.05), 2: (0.5, 0.25)}),
        (t.iterative, {1: (0.2, 0.1)}),
    ):
        for level, (hidden, output) in shares.items():
            for r in series.records(results, level):
                for layer, (kept, size) in r.layers.items():
                    share = output if layer.startswith("head") else hidden
                    assert kept == size - round(share * size)


def test_controls_come_from_each_rounds_ticket(whole):
    settings, run = whole
    t, results = Trainings(settings), driver.read(run.path)[1]
    for control in t.iterative_controls:
        for level in (1, 2):
            records = control.records(results, level)
            assert [(r.replicate, r.repeat) for r in records] == [(0, 0), (1, 0), (0, 1), (1, 1)]
            ticket = run.read_piece(t.iterative.level(level))[0]
            assert all(r.layers == ticket.layers for r in records)
            curves = {tuple(r.test_accuracy) for r in records}
            assert len(curves) == len(records)


def test_continuing_is_another_search_from_the_same_dense_network(whole):
    t, results = Trainings(whole[0]), driver.read(whole[1].path)[1]
    reset, continued = (results.tree(s.level(2)) for s in (t.iterative, t.continued.search))
    assert t.continued.search.dense == t.iterative.dense
    same = jax.tree.map(np.array_equal, reset["mask"], continued["mask"])
    assert not all(jax.tree.leaves(same))
    assert t.continued.records(results, 2)[0].arm == "theta_0"


def test_trainings_stop_once_their_convergence_is_known_and_searches_do_not(whole):
    settings, run = whole
    t = Trainings(settings)
    short = run.read_piece(t.one_shot.piece)
    assert all(r.steps[-1] == 60 for r in run.read_piece(t.iterative.level(1)))
    for r in short:
        found = convergence.converged(r.steps, r.test_accuracy, settings=settings.criterion)
        if found.step is not None:
            assert r.steps[-1] == found.step + settings.calm
    assert any(r.steps[-1] < 60 for r in short)


def test_another_figure_trains_only_what_is_missing(tmp_path):
    settings = dataclasses.replace(TINY, out=str(tmp_path), levels=1, densities="0.5")
    first = train(settings, "004-F7")
    times = {p: p.stat().st_mtime_ns for p in (first.path / "records").iterdir()}
    second = train(settings, "004-F8")
    assert second.path == first.path
    now = {p: p.stat().st_mtime_ns for p in (first.path / "records").iterdir()}
    assert {p: now[p] for p in times} == times
    t = Trainings(settings)
    new = {p.stem for p in now.keys() - times.keys() if p.suffix == ".jsonl"}
    assert new == {n for c in t.iterative_controls for n in c.names()}


def test_xor_is_pruned_two_units_at_a_time_and_reset(whole):
    settings, run = whole
    results = driver.read(run.path)[1]
    search = Trainings(settings).xor_pruned()["Product"]
    network, _ = xor.compiled(10, search.rate, search.sd, search.steps)
    before = None
    for count in search.units:
        tree = results.tree(search.piece(count))
        bias = np.asarray(tree["mask"]["dense_0"]["bias"])
        assert (bias.sum(axis=1) == count).all()
        if before is not None:
            assert not (bias & ~before).any()
        before = bias
        again = xor.margins(network, xor.Variables(tree["theta_S"], {}), xor.dataset())
        np.testing.assert_allclose(again, tree["margin"], atol=1e-6)


def test_xor_success_is_counted_with_ties_as_right_and_strictly_wrong_points_as_wrong():
    network, _ = xor.compiled(2, 0.1, 0.1, 10)
    theta = network.init(jax.random.key(0)).params
    zero = jax.tree.map(np.zeros_like, theta)  # Exactly 1/2 everywhere: all points tie.
    right = {
        "dense_0": {"kernel": np.float32([[9, -9], [-9, 9]]), "bias": np.float32([0, 0])},
        "head": {"kernel": np.float32([[9], [9]]), "bias": np.float32([-40])},
    }
    wrong = {**right, "head": {"kernel": np.float32([[-9], [-9]]), "bias": np.float32([40])}}
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), zero, right, wrong)
    found = xor.margins(network, xor.Variables(stacked, {}), xor.dataset())
    assert found[0] == 0
    assert found[1] > 0.49
    assert found[2] < -0.49


# --- the report --------------------------------------------------------------------------------


def test_the_report_is_one_file_with_every_experiment_and_its_figures(whole, tmp_path):
    _, run = whole
    text = driver.write_report([run.path], tmp_path)
    html = (tmp_path / "report.html").read_text()
    for name in IDS:
        assert f'id="{name}-0"' in html
        assert name in text
        for kind in ("png", "svg"):
            assert (tmp_path / "figures" / f"{name}_1.{kind}").stat().st_size > 1000
    assert 'src="http' not in html
    assert "digits" in html
    for claim in (c for row in PAPER.experiments(whole[0]) for c in row.claims):
        assert claim.published in html
    assert driver.write_report([run.path], tmp_path) == text
    assert (tmp_path / "report.html").read_text() == html


def test_without_matplotlib_the_report_has_no_figures_and_says_so(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(style, "available", lambda: False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    driver.write_report([whole[1].path], tmp_path)
    html = (tmp_path / "report.html").read_text()
    assert style.MISSING_PLOTS.split(";")[0] in html
    assert "<img" not in html
    assert not list((tmp_path / "figures").iterdir())


def test_several_runs_make_one_report(whole, tmp_path):
    _, other = fake_run(tmp_path, [(1.0, (7000,), 0.9), (0.8, (7000,), 0.9)])
    text = driver.write_report([whole[1].path, other.path], tmp_path)
    assert whole[1].path.name in text
    assert other.path.name in text
    html = (tmp_path / "report.html").read_text()
    assert 'id="004-F7-0"' in html
    assert 'id="004-F7-1"' in html


def on_disk(made, end, height):
    """A record that is believed when it is read: its mean of ten tests is level from `end` on."""
    steps = list(range(0, 12_001, 100))  # Rising, then a jump.
    curve = [height - (0.1 + 5e-6 * (end - s)) * (s < end - 900) for s in steps]
    return dataclasses.replace(
        made, steps=steps, test_accuracy=curve, train_loss=[None, *[0.5] * 120],
        test_loss=[0.5] * 121, best_step=12_000, accuracy=curve[-1], final_accuracy=curve[-1],
        layers={"dense_0/kernel": (100, 100)},
    )  # fmt: skip


def fake_run(tmp_path, levels, **changes):
    """A run of records made by hand: (density, steps by trial, accuracy) of iterative levels."""
    settings = dataclasses.replace(
        FrankleCarbin(**PRESETS["quick"]),
        out=str(tmp_path),
        levels=max(1, len(levels) - 1),
        **changes,
    )
    run = driver.open_run(PAPER, settings)
    search = Trainings(settings).iterative
    with run.create():
        for number, (density, ends, height) in enumerate(levels):
            made = [
                on_disk(record(replicate=i, density=density, level=number), end, height)
                for i, end in enumerate(ends)
            ]
            run.finish_piece(search.level(number), made)
    return settings, run


def verdicts_of(run, name):
    _, results = driver.read(run.path)
    chapter = page.chapter(PAPER, results)
    section = next(s for s in chapter.sections if s.row.id == name)
    return {v.published.id: v for v in section.verdicts}


def test_the_report_judges_fixed_records(tmp_path):
    _, run = fake_run(
        tmp_path,
        [
            (1.0, (6000, 8000), 0.9),
            (0.8, (6000, 6000), 0.9),
            (0.64, (5000, 5000), 0.9),
            (0.512, (5000, 5000), 0.9),
            (0.41, (4000, 4900), 0.9),
        ],
    )
    found = verdicts_of(run, "004-F7")
    here = found["004-0058"]  # 36 % faster at 41 %.
    assert here.verdict == AGREES
    assert here.ours.value == pytest.approx(100 * (1 - 4450 / 7000))
    assert here.ours.n == 2
    assert found["004-0059"].verdict == NOT_COMPARABLE
    assert found["004-0059"].reason == "not trained in this run"
    assert found["004-0066"].verdict == AGREES


def test_disagreements_stay_visible_and_say_that_the_run_was_shortened(tmp_path):
    _, run = fake_run(
        tmp_path,
        [(d, (7000, 7000), 0.9) for d in (1.0, 0.8, 0.64, 0.512, 0.41)],
    )
    assert verdicts_of(run, "004-F7")["004-0058"].verdict == DIFFERS
    text = driver.write_report([run.path], tmp_path / "to")
    assert "differs (shortened run)" in (tmp_path / "to" / "report.html").read_text()
    assert "a shortened run: length = 7500it (paper: 50000it)" in text


def test_another_setting_is_not_compared(tmp_path):
    _, run = fake_run(tmp_path, [(1.0, (7000,), 0.9), (0.8, (7000,), 0.9)], data="fashion_mnist")
    found = verdicts_of(run, "004-F7")
    assert {v.verdict for v in found.values()} == {NOT_COMPARABLE}
    assert found["004-0067"].reason == "another setting: data = fashion_mnist (paper: mnist)"


def test_a_verdict_can_be_each_of_the_three_through_the_whole_binary(tmp_path):
    words = ["experiments.multiple_tickets", "--experiments=002-T1", f"--out={tmp_path}"]
    for flags, said in (
        ([], "2 agree (0.0 expected by chance), 1 differ, 0 not comparable; 2.0 agreements beyond"),
        (["--padding=SAME"], "0 agree (0.0 expected by chance), 0 differ, 3 not comparable"),
    ):
        done = command(*words, *flags)
        assert done.returncode == 0, done.stderr
        assert f"paper 002: {said}" in done.stdout
    assert "not the paper's setting: padding = SAME (paper: VALID)" in done.stdout


def test_the_report_of_a_run_has_each_verdict_with_its_chance(tmp_path):
    _, run = fake_run(
        tmp_path,
        [(1.0, (6000, 8000), 0.9), (0.8, (6000, 6000), 0.9)]
        + [(d, (3900, 5000), 0.88) for d in (0.64, 0.512, 0.41)],
    )
    text = driver.write_report([run.path], tmp_path / "to")
    found = verdicts_of(run, "004-F7")
    kinds = {name: v.verdict for name, v in found.items()}
    assert kinds["004-0058"] == AGREES  # 36.4 % faster.
    assert kinds["004-0064"] == DIFFERS  # Less accurate from 64 % on.
    assert kinds["004-0059"] == NOT_COMPARABLE
    judged = [v for v in found.values() if v.verdict != NOT_COMPARABLE]
    agree, by_chance = sum(v.verdict == AGREES for v in judged), sum(v.chance for v in judged)
    differ = len(judged) - agree
    assert f"004-F7   {agree} agree ({by_chance:.1f} expected by chance), {differ} differ" in text
    html = (tmp_path / "to" / "report.html").read_text()
    sections = page.chapter(PAPER, driver.read(run.path)[1]).sections
    every = [v for each in sections for v in each.verdicts if v.verdict != NOT_COMPARABLE]
    words = [v.verdict for v in every]
    agree, differ, by_chance = *map(words.count, (AGREES, DIFFERS)), sum(v.chance for v in every)
    assert f"{agree - by_chance:.1f} agreements beyond chance" in text
    assert f"<td>all</td><td></td><td>{agree}</td><td>{by_chance:.1f}</td><td>{differ}</td>" in html
    uneven = [each for each in sections if each.counts[AGREES] != each.counts[DIFFERS]]
    for each in uneven:
        numbers = each.counts[AGREES], f"{each.by_chance:.1f}", each.counts[DIFFERS]
        assert f"</td>{''.join(f'<td>{n}</td>' for n in numbers)}" in html
    assert uneven
    for word in (AGREES, DIFFERS):
        assert html.count(f'<td class="{word}">{word}') == words.count(word) > 0
    assert f"<td>{100 * found['004-0058'].chance:.2g} %</td>" in html


def test_what_failed_or_collapsed_stands_in_text_and_page(tmp_path, monkeypatch):
    _, run = fake_run(tmp_path, [(1.0, (6000, 8000), 0.9), (0.8, (6000, 6000), 0.9)])
    kept = trained.Results.records
    assert "trainings failed" not in driver.write_report([run.path], tmp_path / "before")

    def worse(self, piece):
        empty = {"dense_0/kernel": (0, 100)}
        return [
            dataclasses.replace(r, failed_step=7) if r.replicate else r
            for r in (dataclasses.replace(r, layers=empty) for r in kept(self, piece))
        ]

    monkeypatch.setattr(trained.Results, "records", worse)
    text = driver.write_report([run.path], tmp_path / "to")
    assert "2 trainings failed and are in no mean; 2 levels have a layer that keeps" in text
    html = (tmp_path / "to" / "report.html").read_text()
    assert "replicate 1, level 1: loss not finite at step 7" in html
    assert "level 1: no weight is kept in dense_0/kernel (2 of 2 trainings)" in html


# --- figures ------------------------------------------------------------------------------------


def test_a_figure_with_nothing_to_show_is_a_sentence(tmp_path):
    pytest.importorskip("matplotlib")
    _, run = fake_run(tmp_path, [(1.0, (99_999, 99_999), 0.9), (0.8, (99_999, 99_999), 0.9)])
    _, results = driver.read(run.path)
    section = next(s for s in page.chapter(PAPER, results).sections if s.row.id == "004-F7")
    assert not section.figures
    assert len(section.blank) == 1
    driver.write_report([run.path], tmp_path / "to")
    html = (tmp_path / "to" / "report.html").read_text()
    assert f"{section.blank[0][:30]}" in html
    assert "nothing to show" in html
    assert "<img" not in html
    assert not list((tmp_path / "to" / "figures").glob("004-F7*"))


def test_only_what_is_drawn_counts_as_shown():
    pytest.importorskip("matplotlib")
    gap = {"gap": {"a": ([0, 60], [float("nan")] * 2)}}
    assert not figures.shows(figures.plain_curves(gap, zero=True))
    assert not figures.shows(figures.plain_curves({"gap": {}}, zero=True))
    assert not figures.shows(figures.against_density([], log=True))
    assert not figures.shows(figures.new(1, 1))
    assert figures.shows(figures.plain_curves({"gap": {"a": ([60], [-2.0])}}, zero=True))
    assert figures.shows(figures.bars({"DB": {"2 units": (50.0, 40.0, 60.0)}}, {}))
    assert figures.shows(figures.against_density([figures.Drawn("x", LINE)], log=True))


def test_no_line_lies_wholly_outside_its_axes():
    pytest.importorskip("matplotlib")
    # Converged early, at half of what it reaches in the end; and one line far below another.
    early = make_line((1.0, (200, 200), 0.9), (0.5, (200, 200), 0.9))
    for point in early:
        for trial in point.trials:
            trial.record.test_accuracy[:] = [min(0.9, 0.1 + 0.1 * i) for i in range(11)]
    low = make_line((1.0, (300, 300), 0.5), (0.5, (300, 300), 0.5))
    for figure in (
        figures.curves([[figures.Curve("dense", early[0])]]),
        figures.against_density([figures.Drawn("a", LINE), figures.Drawn("b", low)], log=False),
    ):
        for axes in figure.axes:
            (left, right), (bottom, top) = sorted(axes.get_xlim()), axes.get_ylim()
            for line in (x for x in axes.lines if not x.get_label().startswith("_")):
                inside = [left <= x <= right and bottom <= y <= top for x, y in line.get_xydata()]
                assert any(inside), line.get_label()


# --- what a setting acts on ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "given", "idle"),
    [
        (["004-F1"], {"replicates": 40, "xor_replicates": 20}, ["replicates"]),
        (["004-F1"], {"tolerance": 0.01, "zero_loss": 0.1}, []),
        (["004-F1"], {"learning_rate": 0.1, "densities": "0.5", "window": 10}, None),
        (["004-F1", "004-F3"], {"replicates": 40, "xor_replicates": 20}, []),
        (["004-F3"], {"levels": 3, "densities": "0.5"}, ["levels"]),
        (["004-F3"], {"change": 0.01, "validation": "5000", "stop_converged": True}, []),
        (["004-F9"], {"change": 0.01, "stop_converged": True}, None),
        (["004-F5"], {"shuffle": "all", "repeats": 2}, ["shuffle"]),
        (
            ["004-F3"],
            {"replicates": 5, "out": "elsewhere"},
            [],
        ),  # As it is anyway; no result's matter.
        (["004-F1"], {"seed": 3}, []),
    ],
)
def test_flags_without_effect_on_the_chosen_experiments_are_found(rows, given, idle):
    settings = FrankleCarbin(**given)
    chosen = driver.choose(PAPER.experiments(settings), rows)
    found = effects.without_effect(PAPER, settings, chosen, given)
    assert sorted(found) == sorted(given if idle is None else idle)


OTHER = {
    "halves": "0-4/5-9", "validation": "50", "flips": "1,2", "sizes": ("9-9",), "rule": "start",
    "snip_counts": "layers", "shuffle": "all", "random_crop": True, "splits": 11,
}  # fmt: skip


@pytest.mark.parametrize("paper", PAPERS.values(), ids=list(PAPERS))
def test_every_setting_acts_on_some_experiment(paper):
    for field in dataclasses.fields(paper.settings):
        if field.metadata["identity"]:
            value = OTHER.get(field.name, changed(field.default))
            assert effects.acting(paper, paper.settings(), **{field.name: value}), field.name


def changed(value):
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value * 2 + 1
    swapped = {"mnist": "digits", "cifar10": "digits", "VALID": "SAME", "SAME": "VALID"}
    return swapped.get(value, f"{value}1")


# --- bad input --------------------------------------------------------------------------------


def test_an_unknown_experiment_names_near_ones():
    with pytest.raises(ValueError, match="004-F7"):
        driver.choose(PAPER.experiments(TINY), ["004-F77"])


def test_a_claim_on_what_was_never_published_is_refused():
    row = PAPER.experiments(TINY)[0]
    claim = dataclasses.replace(row.claims[0], published="004-9999")
    with pytest.raises(ValueError, match=r"004-9999.*published\.json"):
        driver.check_published([dataclasses.replace(row, claims=(claim,))])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 0}, "version 0 instead of"),
        ({"momentum": 0.9}, "with or without momentum"),
    ],
)
def test_a_run_of_another_version_of_the_settings_is_refused(tmp_path, change, words):
    _, run = fake_run(tmp_path, [(1.0, (7000,), 0.9)])
    values = json.loads(run.settings_file.read_text())
    run.settings_file.write_text(json.dumps({**values, **change}))
    with pytest.raises(ValueError, match=words):
        driver.read(run.path)


def test_a_directory_without_a_reproduction_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no reproduction of a paper"):
        driver.runs_in(tmp_path)


def command(*words):
    return subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["experiments.frankle_carbin", "--experiments=004-F77"], "004-F7"),
        (["experiments.frankle_carbin", "--preset=quik"], "quick"),
        (
            ["experiments.frankle_carbin", "--shuffle=some"],
            "no shuffle 'some'; there are: all, hidden",
        ),
        (["experiments.frankle_carbin", "--rule=rangr"], "range"),
        (
            ["experiments.frankle_carbin", "--experiments=004-F1", "--trials=40", "--levels=3"],
            "--trials, --levels has no effect on 004-F1; drop it, or take experiments",
        ),
        (["experiments.frankle_carbin", "--devices=1000"], "devices=1000, but there are"),
        (["experiments.multiple_tickets", "--experiments=002-T9"], "002-T2"),
        (["experiments.multiple_tickets", "--snip_counts=all"], "there are: layers, total"),
        (["experiments.report"], "give directories of runs"),
        (["experiments.report", "nowhere"], "no reproduction"),
    ],
)
def test_bad_input_is_one_line_and_makes_nothing(words, said, tmp_path):
    out = tmp_path / "out"
    flag = [] if "report" in words[0] else [f"--out={out}"]
    done = command(*words, *flag)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
    assert not out.exists()


def test_a_dry_run_of_a_paper_lists_what_would_be_trained_and_makes_nothing(tmp_path):
    out = tmp_path / "out"
    flags = ("--experiments=004-F1,004-F2", "--preset=quick", "--dry_run", f"--out={out}")
    done = command("experiments.frankle_carbin", *flags)
    assert (done.returncode, done.stderr) == (0, "")
    assert "alone here" not in done.stdout
    for words in ("004-F1", "004-F2", "what they share is trained once", f"would go to {out}/pa"):
        assert words in done.stdout
    assert not out.exists()


def test_each_line_of_a_list_comes_as_it_is_measured(monkeypatch):
    rows = driver.choose(PAPER.experiments(TINY), ["004-F1", "004-F2"])
    lab, measured = PAPER.lab(TINY), []

    def made(works, lab, every=works_.all_pieces):
        return [
            dataclasses.replace(p, probe=lambda: measured.append(1) or 1e-3)
            for p in every(works, lab)
        ]

    monkeypatch.setattr(works_, "all_pieces", made)
    lines, counts = [], []
    for line in driver.listing(rows, lab):
        lines.append(line)
        counts.append(len(measured))
    assert counts[0] == 0 < counts[1] <= counts[2] == counts[3]
    assert [line.split()[0] for line in lines] == ["trainings", "004-F1", "004-F2", "all"]
