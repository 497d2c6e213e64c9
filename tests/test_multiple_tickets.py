"""Paper 002 on made-up trainings: counts, misprints, and when each claim agrees or differs."""

import types

import numpy as np
import pytest

from experiments.papers import effects, pieces
from experiments.papers.claims import AGREES, DIFFERS, NOT_COMPARABLE, judge
from experiments.papers.multiple_tickets import PAPER, PUBLISHED, Network
from experiments.papers.multiple_tickets_rounds import collapse, every_round
from experiments.papers.workshop import Workshop
from ltjax import models
from tests import fakes
from tests.test_tiny_papers import TINY

SETTINGS = PAPER.make()
FC, CONV = (Network(SETTINGS, key, key) for key in ("fc", "conv"))
FIGURES = {figure.id: figure for figure in PAPER.figures(SETTINGS)}
CLAIMS = {c.id: c for figure in FIGURES.values() for c in figure.claims}
CURVE = dict.fromkeys(range(0, 60, 10), 0.9)


def verdict(name, results):
    return judge(CLAIMS[name], PUBLISHED, results).verdict


def noise(i):
    """A little of each seed's own, so that no interval is without width."""
    return (-1) ** i * 1e-4


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("002-0001", "266,200", AGREES),
        ("002-0002", "3,317,952", DIFFERS),  # Reading 2.1.
        ("002-0003", "38,592", AGREES),
    ],
)
def test_table_1_needs_no_training(name, text, expected):
    found = judge(CLAIMS[name], PUBLISHED, None)
    assert (found.ours.text, found.verdict) == (text, expected)
    assert not FIGURES["002-T1"].needs


@pytest.mark.parametrize(
    ("name", "why"),
    [(name, "reading") for name in ("0068", "0069", "0078", "0087", "0114", "0184")]
    + [("0191", "contradicts itself"), ("0193", "contradicts itself")],
)
def test_misprints_and_contradictions_are_said_and_not_compared(name, why):
    found = judge(CLAIMS[f"002-{name}"], PUBLISHED, fakes.Results())
    assert found.verdict == NOT_COMPARABLE
    assert why in found.reason


@pytest.mark.parametrize(("table", "net"), [("Table 6", FC), ("Table 7", CONV)])
def test_the_searches_of_the_paper_keep_what_it_prints(table, net):
    shape = {"fc": (28, 28, 1), "conv": (32, 32, 3)}[net.key]
    find = net.search.find
    padding = find.padding if net.key == "conv" else ""
    network = models.make(find.model, input_shape=shape, classes=10, padding=padding)
    shop = types.SimpleNamespace(trainer=lambda *_: types.SimpleNamespace(network=network))
    plan = net.search.plan(shop)
    snip, iterative = (
        s.trainings.cut.plan(net.search, shop) for s in (net.snip, net.iterative_snip)
    )
    printed = {
        e.setting["lth_iteration"]: e.value for e in PUBLISHED.table(table) if e.metric == "kept"
    }
    assert sorted(printed) == list(range(1, 11))
    for number, kept in printed.items():
        assert abs(plan.kept(number) - kept) <= 0.5  # One is a mean.
        assert snip.kept(number) == plan.kept(number)
        assert iterative.counts[number] == plan.counts[number]


def test_flips_start_after_rounds_7_and_8_and_their_mask_is_round_1():
    assert [(f.search.flip, len(f.search.levels)) for f in FC.flips] == [(7, 9), (8, 9)]
    results, flip = fakes.Results(), FC.flips[0]
    results.search(flip.search, lambda level, i: {"best_step": 1000 * (level + 1)})
    results.search(FC.search, lambda level, i: {"best_step": 1})
    found = {p.number: {r.best_step for r in p.records} for p in flip.line(results)}
    assert found == {n: {1000 * n} for n in range(1, 11)}


@pytest.mark.parametrize(("first", "rest", "expected"), [(3, 100, AGREES), (100, 3, DIFFERS)])
def test_iterations_are_compared_round_by_round(first, rest, expected):
    results = fakes.Results()
    results.search(
        FC.search, lambda level, i: {"best_step": 1000 * (first if level == 1 else rest)}
    )
    (cell,) = (
        e.id for e in PUBLISHED.table("Table 2")
        if (e.setting.get("method"), e.setting.get("prune_iteration")) == ("LTH", 1)
        and e.metric != "weights_remaining_pct"
    )  # fmt: skip
    assert verdict(cell, results) == expected


def both(lth, snip, networks=(FC, CONV)):
    """LTH and SNIP on both networks: (level, replicate) -> the fields of a record."""
    results = fakes.Results()
    for net in networks:
        results.search(net.search, lth)
        results.retrained(net.snip.trainings, snip)
    return results


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
    def lth(level, i):
        return {"accuracy": 0.9}

    def snip(level, i):
        return {"accuracy": 0.9 - (last - spread * noise(i) if level == 10 else 0.01)}

    assert verdict("002-0187", both(lth, snip)) == expected
    assert verdict("002-0187", both(lth, snip, [FC])) == NOT_COMPARABLE


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
    results = both(
        lambda level, i: {"best_step": lth, "curve": CURVE},
        lambda level, i: {"best_step": snip + 5 * (-1) ** i, "curve": CURVE},
    )
    assert (verdict("002-0189", results), verdict("002-0188", results)) == (faster, twice)


def masks_that_share(counts):
    """Masks of LTH and SNIP that share `counts[n]` of ten weights after round n + 1."""
    results = both(lambda level, i: {}, lambda level, i: {})
    for net in (FC, CONV):
        for number, count in enumerate(counts, 1):
            names = net.search.level(number), net.snip.trainings.mask(number)
            for name, first in zip(names, (0, 10 - count), strict=True):
                kept = (np.arange(20) >= first) & (np.arange(20) < first + 10)
                results.trees[name] = {"mask": {"dense_0": {"kernel": np.asarray([kept, kept])}}}
    return results


@pytest.mark.parametrize(("last", "falls"), [([3, 2, 1], True), ([4, 4, 4], False)])
def test_a_falling_overlap_says_nothing_since_random_masks_do_the_same(last, falls):
    claim, results = CLAIMS["002-0190"], masks_that_share([10, 9, 8, 7, 6, 5, 4, *last])
    parts = claim.answer(results).parts
    assert all(c.holds(p) for c, p in zip(claim.conditions, parts, strict=True)) == falls
    found = judge(claim, PUBLISHED, results)
    assert (found.verdict, found.chance) == (NOT_COMPARABLE, pytest.approx(1.0))


def test_overlap_stands_beside_that_of_random_masks_in_all_and_by_layer():
    (tables,) = FIGURES["002-T6"].tables
    whole, by_layer = (fold.parts[0].body for fold in tables.make(masks_that_share(10 * [7])))
    assert len(whole) == len(by_layer) == 10
    # 10 of 20 in both: chance 5, its sd sqrt(10*10*10*10/(20*20*19)), of the mean of two seeds.
    half = 1.96 * np.sqrt(10**4 / (400 * 19)) / np.sqrt(2)
    cells = ["10", "10", "7", "3", f"5 ({5 - half:,.0f} to {5 + half:,.0f})", "1.400"]
    assert whole[0] == ["1", *cells]
    assert by_layer[0] == ["1", "dense_0/kernel", *cells]


@pytest.mark.parametrize(("net", "name", "gap"), [(FC, "002-0185", 0.0), (CONV, "002-0186", -0.05)])
def test_flips_are_judged_by_accuracy_and_iterations(net, name, gap):
    def of(gap, times, spread=1):
        results = fakes.Results()
        results.search(net.search, lambda level, i: {"best_step": 1000, "curve": CURVE})
        for flip in net.flips:
            results.search(
                flip.search,
                lambda level, i: {
                    "accuracy": 0.9 + gap + spread * noise(i), "best_step": 1000 * times,
                    "curve": CURVE,
                },
            )  # fmt: skip
        return verdict(name, results)

    assert of(gap, 2) == AGREES
    assert of(gap, 0.5) == of(-0.05 - gap, 2) == DIFFERS
    assert of(gap, 1) == of(gap, 2, spread=100) == NOT_COMPARABLE


LATE = {step: 0.45 if step < 7 else 0.6 for step in range(9)}


@pytest.mark.parametrize(
    ("loss", "curve", "one_seed", "expected"),
    [
        (0.4, LATE, 0.0, AGREES),
        (0.6, LATE, 0.0, DIFFERS),
        (0.4, dict.fromkeys(LATE, 0.45), 0.0, DIFFERS),
        (0.4, dict.fromkeys(LATE, 0.6), 0.0, DIFFERS),
        (0.4, LATE, 0.3, NOT_COMPARABLE),
    ],
)
def test_iterative_snip_is_judged_at_equal_steps(loss, curve, one_seed, expected):
    plain = dict.fromkeys(range(9), 0.5)
    results = both(lambda level, i: {}, lambda level, i: {"curve": plain}, [CONV])
    # It trains on with an ever lower loss, which must not count.
    losses = dict.fromkeys(curve, loss) | {9: 0.001}
    results.retrained(
        CONV.iterative_snip.trainings,
        lambda level, i: {
            "curve": {**curve, 9: 0.5}, "loss": {s: x + one_seed * i for s, x in losses.items()}
        },
    )  # fmt: skip
    assert verdict("002-0192", results) == expected


def test_gaps_are_drawn_seed_by_seed_where_most_still_train():
    pytest.importorskip("matplotlib")
    curves = [{0: 0.1, 5: 0.5, 15: 0.4}, {0: 0.1, 5: 0.7, 10: 0.9}]
    others = [{0: 0.1, 5: 0.4, 10: 0.2, 15: 0.1}, {0: 0.1, 5: 0.5}]
    results = both(lambda level, i: {"curve": curves[i]}, lambda level, i: {"curve": others[i]})
    picture = FIGURES["002-F5"].drawings[0].draw(results)
    assert picture.axes[0].get_ylabel() == "gap of test accuracy (points)"
    for axes in picture.axes[:2]:  # Step 10 is in no pair, 15 in one of two, 0 before training.
        np.testing.assert_allclose(axes.lines[0].get_xydata(), [[5, 15]])
        assert axes.lines[0].get_marker() == "o"  # One point is no line.
        assert axes.get_ylim()[0] < 0 < axes.get_ylim()[1]


def test_a_series_has_one_colour_in_both_pictures_of_its_figure():
    pytest.importorskip("matplotlib")
    results = fakes.Results()
    for series in (FC.lth, *FC.flips):
        results.search(series.search, lambda level, i: {"curve": CURVE})
    pictures = [drawing.draw(results) for drawing in FIGURES["002-F3"].drawings]
    first, second = (
        {n.get_label(): n.get_color() for n in p.axes[0].lines if "LTH" in str(n.get_label())}
        for p in pictures
    )
    assert first == second
    assert len({*first.values()}) == 3


@pytest.mark.parametrize("judged_on", ["validation", "test"])
def test_tables_of_the_rounds_say_what_judged_and_what_is_empty(judged_on):
    results = fakes.Results()
    results.search(
        FC.search,
        lambda level, i: {"judged_on": judged_on, "layers": {"a": (9 - 9 * (level > 8), 9)}},
    )
    (rounds,), (emptied,) = (table(FC.lth).make(results) for table in (every_round, collapse))
    assert f"chosen on the {judged_on} set" in rounds.parts[0].note
    assert emptied.parts[0].body == [["LTH", "9", "a"], ["LTH", "10", "a"]]


@pytest.mark.parametrize("network", ["fc", "conv"])
def test_a_claim_on_both_networks_depends_on_the_settings_of_both(network):
    assert {c.id for c in FIGURES["002-S6"].claims} == {"002-0187", "002-0189", "002-0190"}
    acting = effects.acting(PAPER, SETTINGS, **{network: ("learning_rate=0.5",)})
    assert acting & {"002-S6", "002-T1", "002-T5"} == (
        {"002-S6"} | ({"002-T5"} if network == "conv" else set())
    )


def test_a_lost_mask_makes_its_family_unfinished():
    settings, shop = PAPER.make(**TINY["002"]), Workshop()
    (figure,) = (f for f in PAPER.figures(settings) if f.id == "002-T6")
    lost = Network(settings, "fc", "").snip.trainings.mask(1)
    assert pieces.unfinished(figure.needs, shop, lambda name: True) == []
    found = pieces.unfinished(figure.needs, shop, lambda name: name != lost)
    assert {*found} == {*figure.needs}


@pytest.mark.parametrize(
    ("wrong", "why"), [("0,1", "different rounds of 1..10"), ("7,7", "got '7,7'"), ("a", "as 7,8")]
)
def test_flips_that_are_no_rounds_are_refused(wrong, why):
    with pytest.raises(ValueError, match=why):
        PAPER.make(flips=wrong)
