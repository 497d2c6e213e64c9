"""Paper 000 on made-up trainings: what is trained once, and when each claim agrees or differs."""

import re

import jax
import numpy as np
import pytest

from experiments.papers import effects, reproduce
from experiments.papers.claims import AGREES, DIFFERS, NOT_COMPARABLE, judge
from experiments.papers.class_halves import ARMS, PAPER, PUBLISHED
from experiments.papers.class_halves_pairs import Pair, paired_tests, turning_note
from experiments.papers.class_halves_splits import FIRST, REDRAWN, SECOND, TICKET
from experiments.papers.statistics import Values
from experiments.papers.workshop import Workshop
from ltjax.lottery import arms
from tests import fakes
from tests.test_tiny_papers import TINY as EVERY_TINY

TINY = EVERY_TINY["000"]
FIVE = {"splits": 5, "extra_splits": 5}
NONE = [0.001, -0.001, 0.002, -0.003, 0.001]
"""Losses of five splits, of which no test says anything; below, of which it does."""
SOME, AHEAD = [0.02, 0.03, 0.021, 0.031, 0.025], [-0.02, -0.03, -0.021, -0.031, -0.025]
LARGE, NOISY = [0.06, 0.07, 0.061, 0.071, 0.065], [0.1, -0.1, 0.08, -0.08, 0.0]
LATE = {0: 0.2, 5: 0.2, 10: 0.2, 15: 0.8}


def figure(s, name):
    (found,) = (f for f in PAPER.figures(s) if f.id == name)
    return found


def tickets(s, table):
    """The tickets of a table."""
    arm = {TICKET: "theta_0", REDRAWN: "redrawn"}[table]
    return s.moved("", s.search(s.halves_of(table, FIRST)), arm).trainings


def found(name, s, losses, *, curves=(None,) * 4):
    """The verdict where the tickets lose so much, by table and density."""
    results = fakes.Results()
    for table, by_density in losses.items():
        made = tickets(s, table)
        results.search(made.search, lambda level, i: {})
        for number in range(1, len(s.cuts) + 1):
            dense = {"curve": {0: 0.2, 5: 0.4, 10: 0.8, 15: 0.8}}
            results.search(
                s.dense(s.halves_of(table, SECOND), number).search,
                lambda level, i, dense=dense: {"accuracy": 0.7 + 0.02 * i, **dense},
            )
        results.retrained(
            made,
            lambda level, i, by=by_density: {
                "accuracy": 0.7 + 0.02 * i - by[level - 1][i], "curve": curves[level - 1]
            },
        )  # fmt: skip
    (claim,) = (c for f in PAPER.figures(s) for c in f.claims if c.id == name)
    return judge(claim, PUBLISHED, results)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([NONE, NONE, SOME, SOME], {"25": AGREES, "26": DIFFERS, "27": AGREES, "32": AGREES}),
        ([NONE, SOME, SOME, SOME], {"25": DIFFERS, "26": AGREES}),
        ([NONE, NONE, AHEAD, AHEAD], {"25": DIFFERS, "12": DIFFERS}),  # As sure, the other way.
        ([NONE, NONE, SOME, LARGE], {"25": AGREES, "32": DIFFERS}),
        ([AHEAD, NONE, SOME, SOME], {"27": DIFFERS}),
        ([NOISY, NONE, SOME, SOME], {"27": NOT_COMPARABLE}),  # Five splits so far apart.
    ],
)
def test_the_published_words_judge_our_pairs(losses, expected):
    both = {TICKET: losses, REDRAWN: losses}
    for name, wanted in expected.items():
        verdict = found(f"000-00{name}", PAPER.make(**FIVE), both)
        assert verdict.verdict == wanted, (name, verdict)


def test_means_and_t_values_are_those_of_the_pairs():
    s, losses = PAPER.make(**FIVE), {TICKET: [NONE, NONE, SOME, SOME]}
    t = found("000-0012", s, losses).ours  # At 10 %.
    assert t.value == pytest.approx(np.mean(SOME) / (np.std(SOME, ddof=1) / 5**0.5))
    assert t.text.startswith("+")
    # At 75 % the paper's ticket is ahead, and so its t has to be compared with the other sign.
    at_75 = found("000-0003", s, {TICKET: [SOME, *losses[TICKET][1:]]}).ours
    assert at_75.value == pytest.approx(-t.value)
    assert found("000-0010", s, losses).ours.value == pytest.approx(0.74 - np.mean(SOME))


@pytest.mark.parametrize("name", ["000-0025", "000-0032", "000-0012"])
def test_a_density_that_is_not_trained_is_not_compared(name):
    few = PAPER.make(**FIVE, densities="0.75,0.5,0.25")
    verdict = found(name, few, {TICKET: [NONE, NONE, SOME]})
    assert verdict.verdict == NOT_COMPARABLE
    assert verdict.reason == "not trained in this run"


@pytest.mark.parametrize(
    ("ticket", "redrawn", "weak", "grows"),
    [
        ([NONE] * 4, [NONE] * 3 + [LARGE], DIFFERS, AGREES),
        ([NONE] * 4, [NONE] * 4, AGREES, DIFFERS),  # Nothing grows at all.
        ([NOISY, *[NONE] * 3], [NONE] * 3 + [SOME], NOT_COMPARABLE, NOT_COMPARABLE),
    ],
)
def test_the_two_tables_are_compared_on_the_same_splits_only(ticket, redrawn, weak, grows):
    losses = {TICKET: ticket, REDRAWN: redrawn}
    for name, wanted in (("000-0029", weak), ("000-0030", grows)):
        assert found(name, PAPER.make(**FIVE, same_splits=True), losses).verdict == wanted
        assert "reading 0.11" in found(name, PAPER.make(**FIVE), losses).reason


NEVER, EQUAL, EARLY = {**LATE, 15: 0.2}, {**LATE, 10: 0.8}, {**LATE, 5: 0.8}


@pytest.mark.parametrize(
    ("curves", "expected"),
    [
        ([LATE] * 4, AGREES),
        ([NEVER] * 4, AGREES),
        ([EQUAL] * 4, DIFFERS),
        ([EARLY] * 4, DIFFERS),
        ([LATE, LATE, EQUAL, EARLY], AGREES),
        ([LATE, EARLY, EARLY, EARLY], DIFFERS),
    ],
)
def test_tickets_are_slower_where_more_pairs_are_later_than_earlier(curves, expected):
    s = PAPER.make(**FIVE, share_dense=True)
    assert found("000-0028", s, {TICKET: [NONE] * 4}, curves=curves).verdict == expected
    assert found("000-0028", s, {TICKET: [LARGE] * 4}, curves=curves).verdict == DIFFERS


@pytest.mark.parametrize(
    ("losses", "expected"), [(NONE, AGREES), (NOISY, NOT_COMPARABLE), (SOME, DIFFERS)]
)
def test_pruned_biases_change_nothing_unless_some_density_differs(losses, expected):
    both, results = figure(PAPER.make(**FIVE), "000-S3"), fakes.Results()
    for need in both.needs:
        biases = "bias" in need.search.find.rates

        def at(level, i, biases=biases):
            return {"accuracy": 0.7 - (losses[i] if biases and level == 2 else NONE[i] / 3)}

        results.search(need.search, lambda level, i: {})
        results.retrained(need, at)
    assert judge(both.claims[0], PUBLISHED, results).verdict == expected


# --- paired tests ------------------------------------------------------------------------------


def pairs(*losses):
    """Pairs at 75, 50 and 10 %, whose seconds lose so many points by split."""

    def values(by_split):
        found = {i: 70 + 2 * i - v for i, v in enumerate(by_split)}
        return Values(words="", by_trial=lambda results: found)

    return [
        Pair(d, values([0] * len(each)), values(each), ("theta_0", "redrawn"))
        for d, each in zip((0.75, 0.5, 0.1), losses, strict=True)
    ]


NO, EDGE = [1, -1, 2, -2, 0], [0.5, 1, 2, 3, 4]
MORE, LESS = [3, 3.1, 2.9, 3, 3.2], [-3, -3.1, -2.9, -3, -3.2]


@pytest.mark.parametrize(
    ("losses", "says"),
    [
        ((NO, MORE, MORE), "from 50 % density on.* at 50 %, 10 %$"),
        ((MORE, NO, MORE), "from 10 % density on.* at 75 %, 10 %$"),
        ((MORE, MORE, NO), "at 75 %, 50 %, but not at the smallest density$"),
        ((NO, NO, NO), "at no density is .*Holm\\)$"),
        ((EDGE, EDGE, EDGE), "at no density is .*Holm\\)$"),  # Each has p 0.03 by itself.
        ((NO, LESS, MORE), "from 10 % density on.*; at 50 % redrawn values are better$"),
        ((LESS, LESS, LESS), "at no density .*at 75 %, 50 %, 10 % redrawn values are better$"),
        ((MORE, MORE[:2], MORE), "fewer than 5 splits cannot tell$"),
    ],
)
def test_the_initial_value_matters_from_where_it_helps_at_every_smaller_density(losses, says):
    assert re.search(says, turning_note(None, pairs(*losses)))


def test_p_values_stand_beside_those_corrected_for_all_densities():
    ((table,),) = (fold.parts for fold in paired_tests("", pairs(NO, EDGE, MORE), "").make(None))
    p, corrected = (
        [float(row[table.heads.index(head)]) for row in table.body] for head in ("p", "p (Holm)")
    )
    assert corrected == pytest.approx([p[0], 2 * p[1], 3 * p[2]], rel=0.1)  # To two digits.
    assert [row[-1] for row in table.body] == ["5"] * 3
    (one,) = paired_tests("", pairs([1], [1], [1])[:1], "").make(None)
    assert one.parts[0].body[0][3:] == ["-"] * 6  # One split is no test.


# --- what is trained ---------------------------------------------------------------------------


@pytest.mark.parametrize(("shared", "count"), [(False, 4), (True, 1)])
def test_each_density_has_a_dense_network_of_its_own_unless_they_share(shared, count):
    s = PAPER.make(share_dense=shared)
    on = s.halves_of(TICKET, SECOND)
    dense = {s.dense(on, number).search for number in (1, 2, 3, 4)}
    assert len(dense) == count
    assert s.search(on).find.seed not in {d.find.seed for d in dense}
    assert {*figure(s, "000-II").needs} == {*dense, tickets(s, TICKET)}


def test_more_arms_are_all_start_points_and_the_four_controls():
    assert ARMS[:3] == arms.STARTS
    assert len(ARMS) == 7
    trained = {getattr(need, "arm", "dense") for need in figure(PAPER.make(), "000-X1").needs}
    assert trained == {"dense", *ARMS}


@pytest.mark.parametrize(
    ("own", "shared"),
    [({"halves": "0-4/5-9;0,2,4,6,8/1,3,5,7,9"}, True), ({"same_splits": True}, True), ({}, False)],
)
def test_equal_splits_are_trained_once_for_both_tables(own, shared):
    s = PAPER.make(**TINY, **own)
    both = [tickets(s, table) for table in (TICKET, REDRAWN)]
    assert (both[0].search == both[1].search) == shared
    assert all(each.on == each.search.source.other for each in both)


def test_biases_may_be_pruned_in_all_rows():
    s, plain = PAPER.make(prune_biases=True), PAPER.make()
    for table in (TICKET, REDRAWN):
        assert "bias" in tickets(s, table).search.find.rates
        assert tickets(s, table).piece != tickets(plain, table).piece
    ids, others = ({f.id for f in PAPER.figures(each)} for each in (plain, s))
    assert ids - others == {"000-S3"}


@pytest.mark.parametrize(
    ("row", "other", "acts"),
    [
        ("000-II", {"size": 24}, True),
        ("000-II", {"named_splits": False}, True),
        ("000-X1", {"extra_splits": 5}, True),
        ("000-II", {"extra_splits": 5}, False),
    ],
)
def test_rows_depend_on_what_their_halves_come_from(row, other, acts):
    assert (row in effects.acting(PAPER, PAPER.make(), **other)) == acts


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"densities": "0.5,0"}, "densities: each number lies in"),
        ({"densities": "0.1,0.5"}, "densities fall"),
        ({"densities": ""}, "densities fall"),
        ({"splits": 1}, "splits lies in"),
        ({"extra_splits": 3}, "lies in 2..2"),
        ({"size": 0, "random_crop": True}, "random_crop needs the size"),
        ({"halves": "0-4/5-9;0-4/6-10"}, "no classes 10; 'digits' has 0-9"),
        ({"densities": "0.5,0.000001"}, "would keep none of"),
    ],
)
def test_what_makes_no_row_is_refused_before_anything_is_made(wrong, why, tmp_path):
    def train():
        s = PAPER.make(**{**TINY, **wrong}, out=str(tmp_path / "runs"))
        return reproduce.train(PAPER, s, [figure(s, "000-II")], Workshop())

    with pytest.raises(ValueError, match=why):
        train()
    assert not (tmp_path / "runs").exists()


def test_random_crops_train_on_windows_and_test_on_the_centre():
    shop = Workshop()
    made = [PAPER.make(**{**TINY, "size": 6, "random_crop": crop}) for crop in (True, False)]
    searches = [s.search(s.halves_of(TICKET, FIRST)) for s in made]
    cropped, central = (shop.trainer(each.find, each.source) for each in searches)
    assert cropped.network.shapes() == central.network.shapes()
    variables = cropped.network.init(jax.random.key(0))
    images = [
        shop.dataset(s.find, s.source).test.images[:3].astype(np.float32) for s in searches
    ]  # fmt: skip
    assert [each.shape[1] for each in images] == [8, 6]
    outputs = [
        trainer.network.apply(variables, each, train=False)[0]
        for trainer, each in zip((cropped, central), images, strict=True)
    ]
    np.testing.assert_array_equal(*outputs)
    assert cropped.recipe.augment(jax.random.key(0), images[0]).shape == (3, 6, 6, 1)
    assert central.recipe.augment is None


def test_random_crops_and_pruned_biases_train(tmp_path):
    own = {"size": 6, "random_crop": True, "prune_biases": True, "densities": "0.5"}
    s = PAPER.make(**{**TINY, **own, "length": "3it"}, out=str(tmp_path))
    made = reproduce.train(PAPER, s, [figure(s, "000-II")], Workshop())
    for record in made.read_piece(tickets(s, TICKET).piece):
        assert any("bias" in name for name in record.layers)
        assert all(abs(kept - 0.5 * size) <= 0.5 for kept, size in record.layers.values())
        assert record.failed_step is None
