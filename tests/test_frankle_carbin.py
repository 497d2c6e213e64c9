"""Paper 004 on fixed records: verdicts, what the report says of a run, and the success of XOR."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments.papers import frankle_carbin_xor as xor
from experiments.papers import page, reproduce, results, unit_search
from experiments.papers.claims import AGREES, DIFFERS, NOT_COMPARABLE
from experiments.papers.frankle_carbin import NAMED, PAPER, PUBLISHED
from experiments.papers.series import Missing
from ltjax.command import config
from ltjax.core.types import Variables
from ltjax.report import style
from tests import fakes

DENSITIES = (1.0, 0.8, 0.64, 0.512, 0.41)
AS_PRINTED = [(6000, 8000), (6000, 6000), (5000, 5000), (5000, 5000), (4000, 4900)]
"""Steps to convergence by trial: 36.4 % faster at 41 %."""


def on_disk(level, replicate, end, height):
    """A record that is believed when it is read: its mean of ten tests is level from `end` on."""
    curve = {s: height - (0.1 + 5e-6 * (end - s)) * (s < end - 900) for s in range(0, 12_001, 100)}
    made = fakes.record(
        curve[12_000], level=level, replicate=replicate, best_step=12_000, curve=curve
    )
    return dataclasses.replace(made, judged_on="test", validation_accuracy=[], validation_loss=[])


def fake_run(out, ends, heights=(0.9,) * 5, **changes):
    """A run whose only trainings are the levels of the iterative search."""
    settings = PAPER.make("quick", out=str(out), levels=len(ends) - 1, **changes)
    run = reproduce.open_run(PAPER, settings)
    with run.create():
        for number, (by_trial, height) in enumerate(zip(ends, heights, strict=False)):
            made = [on_disk(number, i, end, height) for i, end in enumerate(by_trial)]
            run.finish_piece(settings.search().level(number), made)
    return run


def section_of(run, name="004-F7"):
    chapter = page.chapter(*reproduce.read(run.path))
    (section,) = (s for s in chapter.sections if s.figure.id == name)
    return section, {v.entry.id: v for v in section.verdicts}


def test_fixed_records_are_judged(tmp_path):
    found = section_of(fake_run(tmp_path, AS_PRINTED))[1]
    here = found["004-0058"]
    assert (here.verdict, here.ours.n) == (AGREES, 2)
    assert here.ours.value == pytest.approx(100 * (1 - 4450 / 7000))
    assert found["004-0066"].verdict == AGREES
    deeper = found["004-0059"]
    assert (deeper.verdict, deeper.reason) == (NOT_COMPARABLE, "not trained in this run")


def test_disagreements_stay_visible_and_say_that_the_run_was_shortened(tmp_path):
    run = fake_run(tmp_path, [(7000, 7000)] * 5)
    assert section_of(run)[1]["004-0058"].verdict == DIFFERS
    text = page.write([reproduce.read(run.path)], tmp_path / "to")
    assert "differs (shortened run)" in (tmp_path / "to" / "report.html").read_text()
    assert "a shortened run: length = 7500it (paper: 50000it)" in text


def test_another_setting_is_not_compared(tmp_path):
    found = section_of(fake_run(tmp_path, [(7000,)] * 2, data="fashion_mnist"))[1]
    assert {v.verdict for v in found.values()} == {NOT_COMPARABLE}
    assert found["004-0067"].reason == "another setting: data = fashion_mnist (paper: mnist)"


def test_text_and_page_count_verdicts_and_what_chance_would_give(tmp_path):
    run = fake_run(tmp_path, AS_PRINTED, (0.9, 0.9, 0.88, 0.88, 0.88))
    text = page.write([reproduce.read(run.path)], tmp_path / "to")
    html = (tmp_path / "to" / "report.html").read_text()
    section, found = section_of(run)
    assert found["004-0058"].verdict == AGREES
    assert found["004-0064"].verdict == DIFFERS  # Less accurate from 64 % on.

    def counted(verdicts):
        judged = [v for v in verdicts if v.verdict != NOT_COMPARABLE]
        agree = sum(v.verdict == AGREES for v in judged)
        return agree, sum(v.chance for v in judged), len(judged) - agree

    agree, chance, differ = counted(section.verdicts)
    assert f"004-F7   {agree} agree ({chance:.1f} expected by chance), {differ} differ" in text
    every = page.chapter(*reproduce.read(run.path)).judged
    agree, chance, differ = counted(every)
    assert f"{agree - chance:.1f} agreements beyond chance" in text
    assert f"<td>all</td><td></td><td>{agree}</td><td>{chance:.1f}</td><td>{differ}</td>" in html
    for word, count in ((AGREES, agree), (DIFFERS, differ)):
        assert html.count(f'<td class="{word}">{word}') == count > 0
    assert f"<td>{100 * found['004-0058'].chance:.2g} %</td>" in html


def test_what_failed_or_collapsed_stands_in_text_page_and_exit_code(tmp_path, monkeypatch, capsys):
    run = fake_run(tmp_path, AS_PRINTED[:2])
    search = PAPER.make("quick", levels=1).search()
    figures = [dataclasses.replace(section_of(run)[0].figure, needs=(search,))]
    assert "trainings failed" not in page.write([reproduce.read(run.path)], tmp_path / "before")
    assert reproduce.exit_code(run, figures) == 0

    def worse(records):
        empty = {"dense_0/kernel": (0, 1000)}
        return [
            dataclasses.replace(r, layers=empty, failed_step=7 if r.replicate else None)
            for r in records
        ]

    read, kept = type(run).read_piece, results.Results.records
    monkeypatch.setattr(type(run), "read_piece", lambda self, name: worse(read(self, name)))
    monkeypatch.setattr(results.Results, "records", lambda self, name: worse(kept(self, name)))
    text = page.write([reproduce.read(run.path)], tmp_path / "to")
    assert "2 trainings failed and are in no mean; 2 levels have a layer that keeps" in text
    html = (tmp_path / "to" / "report.html").read_text()
    capsys.readouterr()
    assert reproduce.exit_code(run, figures) == 1
    told = capsys.readouterr().err
    for where in (html, told):
        assert "replicate 1, level 1: loss not finite at step 7" in where
        assert "level 1: no weight is kept in dense_0/kernel (2 of 2 trainings)" in where


def test_a_figure_with_nothing_to_show_is_a_sentence(tmp_path):
    run = fake_run(tmp_path, [(99_999, 99_999)] * 2)
    section, _ = section_of(run)
    assert not any(map(style.shows, section.drawings.values()))
    page.write([reproduce.read(run.path)], tmp_path / "to")
    html = (tmp_path / "to" / "report.html").read_text()
    assert page._NOTHING in html
    assert "<img" not in html
    assert not list((tmp_path / "to" / "figures").glob("004-F7*"))


def test_several_runs_make_one_report_of_one_file(tmp_path, monkeypatch):
    runs = [fake_run(tmp_path, AS_PRINTED, seed=seed) for seed in (0, 1)]
    found = [reproduce.read(run.path) for run in runs]
    text = page.write(found, tmp_path / "to")
    html = (tmp_path / "to" / "report.html").read_text()
    for number, run in enumerate(runs):
        assert run.path.name in text
        assert f'id="004-F7-{number}"' in html
        for kind in ("png", "svg"):
            drawn = tmp_path / "to" / "figures" / f"{run.path.name}_004-F7_1.{kind}"
            assert drawn.stat().st_size > 1000
    assert "<img" in html
    assert 'src="http' not in html
    monkeypatch.setattr(style, "available", lambda: False)
    assert page.write(found, tmp_path / "plain").splitlines()[:-1] == text.splitlines()[:-1]
    plain = (tmp_path / "plain" / "report.html").read_text()
    assert style.MISSING_PLOTS.split(";")[0] in plain
    assert "<img" not in plain
    assert not list((tmp_path / "plain" / "figures").iterdir())


def test_quick_keeps_levels_controls_and_metric():
    quick, usual = PAPER.make("quick"), PAPER.make()
    for field in ("levels", "rate", "criterion", "learning_rate", "shuffle", "init"):
        assert getattr(quick, field) == getattr(usual, field)
    assert config.floats(quick.cuts) == config.floats(NAMED)
    assert 0.8**usual.levels == pytest.approx(0.0092, abs=1e-4)


# --- XOR ---------------------------------------------------------------------------------------

CLAIMS = {c.id: c for figure in PAPER.figures(PAPER.make()) for c in figure.claims}


def test_the_percentages_of_the_text_are_those_of_the_table():
    """Readings 4.27 and 4.29: 80 % is a share of all networks, 84.9 % one of 929."""
    theirs = [CLAIMS[n].theirs(PUBLISHED[n]) for n in (f"004-00{i}" for i in (35, 36, 38, 39))]
    assert theirs == pytest.approx([85.468, 92.893, 17.6, 79.4], abs=1e-3)
    of_two, of_four = np.array([1, 1, 1, 0, 0]), np.array([1, 1, 1, 1, 0])
    found = fakes.Results()
    (search,) = CLAIMS["004-0039"].statistic.needs
    for count in search.units:
        right = of_four if count == 10 else of_two
        found.trees[search.piece(count)] = {"loss": 1.0 - right, "margin": right - 0.5}
    assert CLAIMS["004-0039"].answer(found).value == pytest.approx(60)  # Of all five.
    assert CLAIMS["004-0035"].answer(found).value == pytest.approx(75)  # Of the four.
    found.trees[search.piece(10)] = {"loss": np.ones(5), "margin": -np.ones(5)}
    assert CLAIMS["004-0039"].answer(found).value == 0
    with pytest.raises(Missing, match="no network succeeded whole"):
        CLAIMS["004-0035"].answer(found)
    with pytest.raises(Missing, match="not trained in this run"):
        CLAIMS["004-0035"].answer(fakes.Results())


@pytest.mark.parametrize(("n", "stars"), [(1000, 3), (10, 0)])
def test_a_star_of_a_table_over_settings_is_an_agreement_that_chance_would_not_give(n, stars):
    claim, found = CLAIMS["004-0001"], fakes.Results()  # 98.5 % of 10 units, DB.
    (search,) = claim.statistic.needs
    margin = np.where(np.arange(n) < round(0.985 * n), 0.4, -0.4)
    found.trees[search.piece(10)] = {"margin": margin, "loss": np.ones(n)}
    cells = {("10 units", "DB"): claim, ("10 units", "ZL"): CLAIMS["004-0002"]}
    searches = {(0.1, "10 units"): (search, 10)}
    (table,) = xor._sweep(found, PUBLISHED, "F1", searches, cells).parts
    assert sum(str(line[3]).endswith("*") for line in table.body) == stars


def test_ties_are_right_and_points_on_the_wrong_side_are_wrong():
    network = unit_search.trainer_of(2, 0.1, 0.1, 10).network
    theta = network.init(jax.random.key(0)).params
    zero = jax.tree.map(np.zeros_like, theta)  # Exactly 1/2 everywhere: all points tie.
    right = {
        "dense_0": {"kernel": np.float32([[9, -9], [-9, 9]]), "bias": np.float32([0, 0])},
        "head": {"kernel": np.float32([[9], [9]]), "bias": np.float32([-40])},
    }
    wrong = {**right, "head": {"kernel": np.float32([[-9], [-9]]), "bias": np.float32([40])}}
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), zero, right, wrong)
    tie, good, bad = unit_search.margins(network, Variables(stacked, {}))
    assert tie == 0
    assert good > 0.49
    assert bad < -0.49
