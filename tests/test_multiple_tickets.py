"""Paper 002 at a tiny length: flips, SNIP and other scores keep what they should."""

import dataclasses

import numpy as np
import pytest

from experiments.paper_002.rows import PAPER
from experiments.paper_002.settings import MultipleTickets
from experiments.paper_002.trainings import Trainings
from experiments.reproduce import driver, page
from experiments.reproduce.rows import NOT_COMPARABLE, Absent

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
    assert section.figures or name.startswith("002-T")
    assert len(section.verdicts) == len(row.claims)
    for verdict in section.verdicts:  # Of digits nothing was published.
        assert verdict.verdict == NOT_COMPARABLE
        assert isinstance(verdict.ours, Absent) or "data = digits" in verdict.reason


def test_table_1_needs_no_training():
    rows = {row.id: row for row in PAPER.experiments(MultipleTickets())}
    fc, conv2, convolutions = (claim.ours(None) for claim in rows["002-T1"].claims)
    assert (fc.text, fc.holds) == ("266,200", True)
    assert (conv2.text, conv2.holds) == ("3,317,952", False)  # Reading 2.1.
    assert (convolutions.text, convolutions.holds) == ("38,592", True)


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
