"""Papers as tables: laws over all of them, rules, verdicts, flags, a paper from outside."""

import collections
import dataclasses
import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

from experiments import papers
from experiments.papers import claims as claims_
from experiments.papers import effects, published, reproduce
from experiments.papers.claims import (
    AGREES,
    DIFFERS,
    MOST_BY_CHANCE,
    NOT_COMPARABLE,
    Claim,
    between,
    chance,
    claim,
    judge,
    near,
    not_compared,
    printed_digits,
    same,
    same_share,
    within_factor,
    within_share,
)
from experiments.papers.paper import table
from experiments.papers.series import Missing, Series
from experiments.papers.settings import PaperSettings
from experiments.papers.statistics import Number, Statistic, Values, accuracy, best, constant, span
from experiments.papers.trainings import Retrained, Search, rounds_to
from experiments.papers.workshop import Workshop
from ltjax.statistics import intervals
from tests import fakes

PAPERS = table()
PAPER = PAPERS["004"]
NUMBERS = sorted(pathlib.Path(papers.__path__[0]).glob("*.json"))
"""Also those of papers that nobody has reproduced yet."""

over_papers = pytest.mark.parametrize("paper", PAPERS.values(), ids=list(PAPERS))


def claims_of(paper):
    return [c for figure in paper.figures(paper.make()) for c in figure.claims]


@over_papers
def test_every_published_entry_is_answered_exactly_once(paper):
    assert sorted(c.id for c in claims_of(paper)) == sorted(e.id for e in paper.published.entries)


def test_every_published_entry_has_a_source():
    every = [published.beside(str(path)) for path in NUMBERS]
    ids = [e.id for each in every for e in each.entries]
    assert len(ids) == len({*ids}) >= 370
    for each in every:
        assert each.entries
        for e in each.entries:
            assert e.id.startswith(f"{each.id}-")
            assert e.table_or_figure
            assert e.quote or e.kind == "table"
            assert e.kind in ("table", "text_number", "statement", "setting_stated")
    assert PAPER.published["004-0058"].value == 36
    with pytest.raises(ValueError, match="004-0058"):
        _ = PAPER.published["004-00588"]


def test_the_numbers_are_those_that_were_collected():
    collection = pathlib.Path(__file__).parents[2] / "shared" / "papers" / "published.json"
    if not collection.exists():
        pytest.skip("the collection of the published numbers is not beside this checkout")
    collected = json.loads(collection.read_text())
    theirs = collections.defaultdict(dict)
    for e in collected["entries"]:
        theirs[e.pop("paper")][e["id"]] = e
    files = [json.loads(path.read_text()) for path in NUMBERS]
    ours = {f["id"]: {e["id"]: e for e in f["entries"]} for f in files}
    assert theirs.items() <= ours.items()


@over_papers
def test_presets_are_settings_and_only_shorten(paper):
    for preset, row in paper.presets.items():
        made = paper.check(paper.make(preset))
        assert len({figure.id for figure in made}) == len(made)
        assert all(figure.id.startswith(f"{paper.id}-") for figure in made)
        assert all(figure.needs or figure.claims for figure in made)
        if preset != "paper":
            assert all(paper.only_shortens(name, value) for name, value in row.items())
    assert not paper.only_shortens("learning_rate", 1.0)
    assert not paper.only_shortens("fc", ("learning_rate=1",))


@over_papers
def test_claims_are_printed_without_a_training(paper, capsys):
    assert reproduce.main(paper, paper.make(claims=True)) == 0
    printed = capsys.readouterr().out
    for each in claims_of(paper):
        assert each.id in printed
        assert each.rule_text in printed or each.never in printed


@over_papers
def test_a_claim_that_was_never_published_is_refused(paper):
    wrong = dataclasses.replace(
        paper, figures=lambda s: [dataclasses.replace(paper.figures(s)[0], claims=(claim("9-9"),))]
    )
    with pytest.raises(ValueError, match="is held against 9-9, which the numbers of paper"):
        wrong.check(paper.make())


@over_papers
def test_pieces_of_different_trainings_have_different_names(paper):
    needs = {need for figure in paper.figures(paper.make()) for need in figure.needs}
    own = collections.Counter(
        name for need in needs for name in need.names() if not name.endswith(".dense")
    )
    assert max(own.values(), default=1) == 1


def test_figures_share_what_is_equal():
    figures = {figure.id: figure for figure in PAPER.figures(PAPER.make())}
    (iterative,) = [n for n in figures["004-F7"].needs if isinstance(n, Search)]
    for name in ("004-F8", "004-F9", "004-F10", "004-F15"):
        assert iterative in figures[name].needs, name
    (one_shot,) = [n for n in figures["004-F7"].needs if isinstance(n, Retrained)]
    assert one_shot in figures["004-F11"].needs
    (continued,) = [n for n in figures["004-F16"].needs if isinstance(n, Retrained)]
    assert one_shot.search.dense == iterative.dense == continued.search.dense
    assert continued.search.stem != iterative.stem
    assert (rounds_to(0.055, 0.2), rounds_to(0.05, 0.1)) == (13, 28)


# --- rules ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "ours", "value", "agrees"),
    [
        (near(3.0), Number(35.5), 38, True),
        (near(3.0), Number(34.9), 38, False),
        (near(3.0), Number(20, -20, 60), 38, False),  # Our interval never widens a rule.
        (between(5.0), Number(21, 0, 42), [15, 10], False),
        (within_factor(1.6), Number(1.0, 0.1, 3.0), 1.8, False),
        (within_share(0.05), Number(106, 80, 130), 100, False),
        (within_share(0.05), Number(104), 100, True),
        (between(5.0), Number(17), [10, 15], True),
        (between(5.0), Number(21), [15, 10], False),
        (between(0.0), Number(12), [55, 35], False),
        (between(0.0), Number(100 * 0.55), [55, 35], True),
        (within_factor(1.6), Number(2.7), 1.8, True),
        (within_factor(1.6), Number(1.0), 1.8, False),
        (same_share(1000), Number(98.5, n=1000), 98.5, True),
        (same_share(1000), Number(99.9, n=1000), 98.5, False),
        (same_share(985, 929), Number((99.0, 97.5), n=900), [99, 97], True),
        (same_share(985, 929), Number((99.0, 99.5), n=900), [99, 97], False),
        (same("x"), Number((0.75, 0.9)), [0.75, 0.9], True),
        (same("x"), Number((0.9,)), [0.75, 0.9], False),
        (printed_digits(), Number(266_200), "266K", True),
        (printed_digits(), Number(3_317_952), "4.3M", False),
    ],
)
def test_a_rule(rule, ours, value, agrees):
    assert rule.agrees(ours, value) == agrees
    assert rule.text


def by_trial(values, words="x"):
    return Values(words=words, by_trial=lambda results: dict(enumerate(values)))


ABOVE, ASTRIDE, BELOW, ONE = (by_trial(v) for v in ([1, 2], [-1, 2], [-2, -1], [100.0]))


def gone(results):
    raise Missing("not there")


GONE = Values(words="gone", by_trial=gone)


@pytest.mark.parametrize(
    ("found", "agrees"),
    [
        ([by_trial([1, 1.1])], True),
        ([ASTRIDE], None),
        ([by_trial([-1, -1.1])], False),
        ([ONE], None),  # However far apart two means of one trial lie.
        ([by_trial([1, 1.1]), ASTRIDE], None),
        ([by_trial([1, 1.1]), ASTRIDE, by_trial([-1, -1.1])], False),
        ([GONE], None),
        ([], None),
    ],
)
def test_a_worded_claim_is_judged_by_whole_intervals(found, agrees):
    worded = claim("004-0042", *(values.mean().above(0) for values in found))
    verdict = judge(worded, PAPER.published, None)
    assert verdict.verdict == {True: AGREES, False: DIFFERS, None: NOT_COMPARABLE}[agrees]
    assert verdict.chance == pytest.approx(0.025)
    if GONE in found or not found:
        assert verdict.reason == ("not there" if found else "not trained in this run")
    elif agrees is None:
        assert "do not tell: x" in verdict.reason


def test_a_condition_holds_inside_its_limits_alone():
    statistic = constant("x", 0.0)
    found = [statistic.inside(-1, 1).holds(Number(0, -h, h, 5)) for h in (0.9, 1.1)]
    assert found == [True, None]
    assert statistic.inside(-1, 1).holds(Number(2, 1, 3, 5)) is False
    assert statistic.above(2).text == "x above 2"


@pytest.mark.parametrize("n", [2, 5])
def test_equal_networks_are_ordered_as_often_as_the_chance_says(n):
    gaps = np.random.default_rng(n).normal(size=(2000, n))
    above = constant("x", 0.0).above(0)
    held = [above.holds(Number(*intervals.mean(dict(enumerate(each))))) for each in gaps]
    assert np.mean([h is True for h in held]) == pytest.approx(Claim(id="").by_chance, abs=0.012)


def answered(number, rule, id="004-0058", **fields):
    """A claim whose answer is known."""
    statistic = Statistic(words="x", measure=lambda results: number)
    return claim(id, statistic, rule, **fields)


def test_a_verdict_says_why_there_is_none():
    for value, bar, expected in ((36.0, "", AGREES), (10.0, "", DIFFERS),
                                 (36.0, "another data set", NOT_COMPARABLE)):  # fmt: skip
        verdict = judge(answered(Number(value), near(1.0)), PAPER.published, None, bar=bar)
        assert (verdict.verdict, verdict.reason) == (expected, bar)
    never = judge(not_compared("004-0058", "a misprint"), PAPER.published, None)
    assert (never.verdict, never.reason) == (NOT_COMPARABLE, "a misprint")


def test_chance_is_the_share_of_other_answers_that_would_agree():
    def of(rule, **fields):  # Beside 36 the same sentence has 38, 44 and 41.
        return chance(answered(None, rule, **fields), PAPER.published)

    assert of(near(1.0)) == 0
    assert of(near(3.0)) == pytest.approx(1 / 3)
    assert of(near(1.0), axis=span(0.0, 50.0)) == pytest.approx(0.04)
    assert of(within_factor(2.0), axis=span(9, 144, log=True)) == pytest.approx(1.0)
    lonely = judge(answered(Number(14.0), near(1.0), id="004-0066"), PAPER.published, None)
    assert lonely.verdict == NOT_COMPARABLE
    assert "give the claim an axis" in lonely.reason


def test_a_noisier_run_agrees_more_often_by_chance():
    one = answered(None, same_share(1000), id="004-0003")
    shares = [chance(one, PAPER.published, n=n) for n in (1000, 100, 10)]
    assert shares[0] == 0
    assert shares == sorted(shares)
    few = judge(
        answered(Number(90.0, n=10), same_share(1000), id="004-0003"), PAPER.published, None
    )
    assert few.verdict == NOT_COMPARABLE
    assert "would agree by chance in 50 % of cases" in few.reason


@over_papers
def test_every_claim_has_a_chance_and_none_above_the_limit_is_compared(paper):
    for each in claims_of(paper):
        by_chance = chance(each, paper.published)
        assert np.isnan(by_chance) if each.never else 0 <= by_chance <= 1
        if each.rule is not None and not re.search("printed|range", each.rule.text):
            theirs = Number(each.theirs(paper.published[each.id]))  # As if it were ours.
            known = Statistic(words="x", measure=lambda results, n=theirs: n)
            found = judge(dataclasses.replace(each, statistic=known), paper.published, None)
            loose = by_chance > MOST_BY_CHANCE
            assert found.verdict == (NOT_COMPARABLE if loose else AGREES), each.id


@over_papers
def test_the_chance_is_that_of_every_other_answer_in_our_place(paper, monkeypatch):
    """By brute force, through the verdict itself, whatever its limit."""
    monkeypatch.setattr(claims_, "MOST_BY_CHANCE", 1.0)
    of_table = collections.defaultdict(list)
    for e in paper.published.entries:
        of_table[e.table_or_figure, e.metric].append((e.id, e.value))
    for each in claims_of(paper):
        entry = paper.published[each.id]
        others = [
            value
            for name, value in of_table[entry.table_or_figure, entry.metric]
            if name not in each.again | {entry.id}
        ]
        pools = [pool for pool, fewest in ((others, 3), (each.axis, 1)) if len(pool) >= fewest]
        if each.rule is None or not pools:
            continue
        for n in (0, 40, 4000) if "|z|" in each.rule.text else (0,):
            shares = [
                np.mean([agrees(paper, each, Number(answer, n=n)) for answer in pool])
                for pool in pools
            ]
            assert chance(each, paper.published, n=n) == pytest.approx(max(shares)), each.id


def agrees(paper, each, answer):
    """Whether this answer would, its own chance being cheap to compute."""
    known = Statistic(words="x", measure=lambda results: answer)
    asked = dataclasses.replace(each, statistic=known, axis=each.axis[:1])
    return judge(asked, paper.published, None).verdict == AGREES


# --- expressions -------------------------------------------------------------------------------


def test_places_and_statistics_read_the_records_of_their_series():
    search = Search(find=PAPER.make(levels=2, replicates=3).find())
    series, results = Series(label="tickets", trainings=search), fakes.Results()
    with pytest.raises(Missing, match="not trained in this run"):
        best(series.dense).by_trial(results)
    results.search(search, lambda level, i: {"accuracy": 0.5 + 0.1 * level + 0.01 * i})
    assert best(series.at(0.8)).by_trial(results) == pytest.approx({0: 60.0, 1: 61.0, 2: 62.0})
    gap = (best(series.round(2)) - best(series.dense)).measure(results)
    assert (gap.value, gap.n) == (pytest.approx(20.0), 3)
    both = best(series.rounds([1, 2])).by_trial(results)
    assert both == pytest.approx({0: 65.0, 1: 66.0, 2: 67.0})
    with pytest.raises(Missing):
        best(series.at(0.4)).by_trial(results)
    assert best(series.only(1, label="one").dense).by_trial(results) == pytest.approx({1: 51.0})
    grown = best(series.round(1)).minus(best(series.dense)) - best(series.dense)
    assert grown.needs == (search,)
    assert "tickets, round 1" in grown.words
    lost = [
        dataclasses.replace(r, failed_step=3, best_step=-1) for r in results.pieces[search.dense]
    ]
    results.pieces[search.dense] = lost
    with pytest.raises(Missing, match="fewer than half"):
        best(series.dense).by_trial(results)
    assert accuracy(series.dense).unit == "points"


# --- flags -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("paper", "figure", "field", "value", "acts"),
    [
        ("004", "004-F7", "cuts", "0.5", True),
        ("004", "004-F9", "cuts", "0.5", False),
        ("004", "004-F9", "mean_window", 7, False),
        ("004", "004-F16", "mean_window", 7, True),
        ("004", "004-F1", "levels", 3, False),
        ("004", "004-F1", "tolerance", 0.2, True),
        ("004", "004-F14", "stop_converged", True, False),
        ("004", "004-F3", "stop_converged", True, True),
        ("002", "002-T2", "fc", ("length=3it",), True),
        ("002", "002-T3", "fc", ("length=3it",), False),
        ("002", "002-T6", "snip_counts", "layers", True),
        ("002", "002-T2", "snip_counts", "layers", False),
        ("002", "002-T1", "levels", 8, False),
        ("000", "000-II", "extra_splits", 4, False),
        ("000", "000-X2", "extra_splits", 4, True),
        ("000", "000-II", "prune_biases", True, True),
    ],
)
def test_a_flag_without_effect_is_refused(paper, figure, field, value, acts):
    paper = PAPERS[paper]
    settings = paper.make(**{field: value})
    chosen = reproduce.choose(paper.figures(settings), [figure])
    idle = effects.without_effect(paper, settings, chosen, [field])
    assert idle == ([] if acts else [field])
    if not acts:
        with pytest.raises(ValueError, match=f"--{field} has no effect on {figure}"):
            effects.check(paper, settings, chosen, [field])


OTHER = {
    "halves": "0-4/5-9;0,2,4,6,8/1,3,5,7,9;0-3,5/4,6-9", "flips": "1,2", "snip_counts": "layers",
    "fc": ("length=3it",), "conv": ("length=3it",), "sizes": ("9-9",), "rule": "start",
    "shuffle": "all", "size_init": "truncated_normal:0.06",
}  # fmt: skip
"""Values of settings where a half or one more is none."""


@over_papers
def test_every_setting_of_a_papers_own_acts_on_some_figure(paper):
    settings = paper.make(**({"splits": 3, "extra_splits": 2} if paper.id == "000" else {}))
    inherited = {f.name for f in dataclasses.fields(PaperSettings)}
    for name in {f.name for f in dataclasses.fields(paper.settings)} - inherited:
        value = getattr(settings, name)
        if isinstance(value, bool):
            value = not value
        elif isinstance(value, int):
            value += 1
        elif isinstance(value, float):
            value = value / 2 or 0.25
        other = {name: OTHER.get(name, "0.3" if isinstance(value, str) else value)}
        assert dataclasses.replace(settings, **other)  # What cannot be acts on everything.
        assert effects.acting(paper, settings, **other), name


# --- the binary --------------------------------------------------------------------------------


@pytest.fixture
def here(monkeypatch):
    """Devices stay as they are."""
    monkeypatch.setattr(reproduce.build, "use_devices", lambda devices: None)


@pytest.mark.usefixtures("here")
def test_a_dry_run_lists_what_would_be_trained_and_makes_nothing(tmp_path, capsys):
    out, chosen = tmp_path / "out", ("004-F1", "004-F2")
    settings = PAPER.make("quick", experiments=chosen, dry_run=True, out=str(out))
    assert reproduce.main(PAPER, settings) == 0
    told = capsys.readouterr().out
    for words in (*chosen, "what they share is trained once", f"would go to {out}/paper-004"):
        assert words in told
    assert "alone here" not in told
    assert not out.exists()


def test_each_line_of_a_list_comes_as_it_is_measured(monkeypatch):
    figures = reproduce.choose(PAPER.figures(PAPER.make()), ["004-F1", "004-F2"])
    measured, every = [], reproduce.all_pieces

    def made(wanted, shop):
        probe = {"probe": lambda: measured.append(1) or 1e-3}
        return [dataclasses.replace(piece, **probe) for piece in every(wanted, shop)]

    monkeypatch.setattr(reproduce, "all_pieces", made)
    lines = [(line, len(measured)) for line in reproduce.listing(figures, Workshop())]
    assert [line.split()[0] for line, _ in lines] == ["trainings", "004-F1", "004-F2", "all"]
    counts = [count for _, count in lines]
    assert counts == [0, 5, 5, 5]  # One measure a model, and no model of F2 is new.


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "2 agree (0.0 expected by chance), 1 differ, 0 not comparable; 2.0 agreements beyond"),
        ({"conv": ("padding=SAME",)}, "0 agree (0.0 expected by chance), 0 differ, 3 not"),
    ],
)
def test_a_verdict_can_be_each_of_the_three(changes, said, tmp_path, capsys):
    paper = PAPERS["002"]
    settings = paper.make(experiments=("002-T1",), out=str(tmp_path), **changes)
    assert reproduce.main(paper, settings, changes.keys()) == 0
    told = capsys.readouterr().out
    assert f"paper 002: {said}" in told
    assert ("not the paper's setting: conv = padding=SAME" in told) == bool(changes)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("frankle_carbin --preset=quik", "quick"),
        (
            "frankle_carbin --experiments=004-F1 --trials=40 --levels=3",
            "--levels, --trials has no effect on 004-F1; drop it, or take experiments that it "
            "acts on: 004-F3, 004-F4, ",
        ),
        ("papers multiple_tickets --experiments=002-T9", "did you mean 002-T"),
    ],
)
def test_bad_input_is_one_line_and_makes_nothing(words, said, tmp_path):
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-m", *f"experiments.{words} --out={out}".split()],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert said in done.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("id", "lacking"),
    [("004-0074", {"small_sds": "0.05"}), ("004-0079", {"other_rates": "0.1,0.5"})],
)
def test_a_sentence_is_not_judged_by_a_part_of_it(id, lacking):
    (whole,) = (c for c in claims_of(PAPER) if c.id == id)
    (part,) = (c for f in PAPER.figures(PAPER.make(**lacking)) for c in f.claims if c.id == id)
    assert whole.conditions
    assert judge(part, PAPER.published, None).reason == "not trained in this run"


@pytest.mark.parametrize("init", ["glorot_normal", "truncated_normal"])
def test_an_initialization_without_a_spread_is_refused_where_figures_speak_of_it(init):
    with pytest.raises(ValueError, match=f"init is a truncated_normal with its sd .*'{init}'"):
        PAPER.make(init=init)


def test_an_unknown_figure_is_refused_with_its_neighbours():
    with pytest.raises(ValueError, match="did you mean 004-F7"):
        reproduce.choose(PAPER.figures(PAPER.make()), ["004-F77"])


# --- a paper from outside ----------------------------------------------------------------------


@pytest.mark.usefixtures("here")
def test_a_new_paper_is_one_file_of_forty_lines(tmp_path, monkeypatch, capsys):
    text = (pathlib.Path(papers.__path__[0]) / "README.md").read_text()
    (module,), (numbers,) = (
        re.findall(rf"```{k}\n(.*?)```", text, re.S) for k in ("python", "json")
    )
    assert len(module.splitlines()) + len(numbers.splitlines()) <= 40
    (tmp_path / "my_paper.py").write_text(module)
    (tmp_path / "my_paper.json").write_text(numbers)
    monkeypatch.setattr(papers, "__path__", [*papers.__path__, str(tmp_path)])
    paper = table()["900"]
    settings = paper.make(length="4it", replicates=2, model="lenet-12-8", devices=1,
                          out=str(tmp_path / "runs"))  # fmt: skip
    assert any("900-F1" in line for line in reproduce.claims(paper, paper.check(settings)))
    assert reproduce.main(paper, settings) == 0
    told = capsys.readouterr().out
    assert "900-F1" in told
    assert "paper 900: " in told
    (run,) = reproduce.runs_in(tmp_path / "runs")
    page = (run / "report.html").read_text()
    assert "A. Author, Half a network" in page
    assert "900-0001" in page
    assert json.loads((run / "settings.json").read_text())["paper"] == "900"
    assert "`python -m experiments.papers my_paper" in (run / "results.md").read_text()
