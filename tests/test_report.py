"""The report holds the numbers of the records, stands alone, and is made from any records."""

import base64
import dataclasses
import functools
import html.parser
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from ltjax import report
from ltjax.report import document, draw, run_figures, run_tables, style, wording
from ltjax.statistics import analysis
from tests.test_analysis import arm, record

VOID = {"meta", "img", "br"}


def small():
    """Three arms at three levels, with one failure; the winner is level 1 alone."""
    found = []
    for phase, name in [("source", "ticket"), ("target", "theta_0"), ("target", "shuffled_mask")]:
        for level, accuracies in [(0, [0.90, 0.92]), (1, [0.93, 0.95]), (2, [0.61, None])]:
            if name != "shuffled_mask" or level:
                found += arm(accuracies, [1200, 1300], phase=phase, arm=name, level=level)
    return found


def one_evaluation():
    found = arm([0.9, 0.8]) + arm([0.7, 0.8], level=1)
    return [dataclasses.replace(r, steps=[0], test_accuracy=[0.1], best_step=0) for r in found]


EMPTY = {"dense_0/kernel": (0, 900), "head/kernel": (0, 100)}
EMPTY_LEVEL = [record(), record(level=1, kept=0, layers=EMPTY)]
NONE = [None, None]
CASES = {
    "small": small(),
    "one level": arm([0.9, 0.8]),
    "failed": arm(NONE) + arm([None, 0.4], level=1),
    "with validation": arm(
        [0.9, 0.8], validation_accuracy=[0.1, 0.2, 0.3], validation_loss=[1.0] * 3
    ),
    "empty level": EMPTY_LEVEL,
    "controls only": arm([0.9, 0.8], arm="shuffled_mask", level=1),
    "all failed": arm(NONE) + arm(NONE, level=1) + arm(NONE, arm="x", level=1),
    "one evaluation": one_evaluation(),
    "one arm failed": arm([0.9]) + arm([0.8], level=1) + arm([None], arm="theta_k", level=1),
}
NO_LEVELS = {"target_accuracy", "target_steps", "target_layers"}
ABSENT = {
    "one level": NO_LEVELS,
    "with validation": NO_LEVELS,
    "empty level": NO_LEVELS,
    "all failed": {"target_accuracy", "target_steps", "target_curves"},
    "one evaluation": {"target_curves"},
}


def page(records, **changes):
    given = {"settings": {}, "provenance": {}, "notes": [], "title": "A run"}
    return report.run_page(records, **{**given, **changes})


class Checker(html.parser.HTMLParser):
    """Collects the text, and refuses tags that do not nest and addresses outside the page."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.tags = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            assert name not in ("src", "href") or value.startswith(("data:", "#")), value
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def checked(page_text):
    checker = Checker()
    checker.feed(page_text)
    checker.close()
    assert checker.open == []
    return checker


def words_of(page_text):
    """The text of a page with single spaces."""
    return " ".join(" ".join(checked(page_text).text).split())


def lines_of(text):
    return [" ".join(line.split()) for line in text.splitlines()]


small_text = functools.cache(lambda: words_of(page(small())))
small_figures = functools.cache(lambda: report.figures(small()))


def test_the_table_has_one_line_a_level_with_every_number():
    shown = report.table(small())
    lines = lines_of(shown)
    # Level, density asked for and kept, weights, then accuracy, deviation, steps, verdict by arm.
    assert "0 100.00 100.00 1,000 91.00 +-1.41 1,250 -" in lines
    assert "1 80.00 80.00 800 94.00 +-1.41* 1,250 wins 94.00 +-1.41 1,250 -" in lines
    assert "2 64.00 64.00 640 61.00 (1 failed) 1,200 loses 61.00 (1 failed) 1,200 -" in lines
    assert "1 80.00 +3.00 (+2.93 to +3.07) n 2 wins" in lines
    assert "2 64.00 -29.00 n 1 loses, 1 failed" in lines
    assert "Kept: of 1,000 prunable weights, of 1,010 parameters in all." in lines
    assert "theta_0, level 2: 1 of 2 trainings failed: a loss; the means are of the others" in lines
    assert "winning ticket down to density 80.00 %" in shown
    assert shown.isascii()


def test_what_stays_dense_is_named():
    left = {"kernels": 1500, "dense": {"embed/embedding": 480, "patch/kernel": 500}}
    found = [record(**left), record(level=1, **left)]
    for shown in (" ".join(report.table(found).split()), words_of(page(found))):
        assert "All kernels: 1,500 weights." in shown
        assert "Left dense: embed/embedding (480), patch/kernel (500)." in shown
        assert "1 80.00 80.00 86.67 80.20 800" in shown


def test_sizes_that_differ_stand_in_the_table():
    other = record(level=1, kept=700, prunable=900, total=905)
    assert "1 80.00 77.78 700 900 905 90.00* 100 -" in lines_of(report.table([record(), other]))


@pytest.mark.parametrize("width", [100, 120, 160])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_the_table_fits_the_width_and_stands_under_its_heads(count, width):
    starts = analysis.START_POINTS[1:]
    names = [*starts, "redrawn", "shuffled_pairs", "shuffled_mask", "shuffled_globally", "x"]
    found = []
    for i, name in enumerate(names[:count]):
        for level in range(21):
            accuracy = 0.9 - 0.01 * i - 0.0001 * level
            found += arm([accuracy, accuracy], arm=name, level=level)
    shown = report.table(found, width=width)
    blocks = shown.partition("\n\nOn the target")[0].split("\n\n")
    assert "x minus the control" not in shown
    for row in analysis.summarize(found):
        assert f"{100 * row.accuracy:.2f} +-0.00" in shown
    for block in blocks[1:]:
        lines = block.splitlines()
        assert max(map(len, lines)) <= width
        if len(lines) > 1:
            ends = [m.end() for m in re.finditer("-+", lines[2])]
            assert len(lines) == 3 + 21 - ("gain" in lines[1])  # Two heads, a rule, the levels.
            for line in lines[1:]:
                assert all(line[end : end + 2].strip() == "" for end in ends)


def test_the_page_holds_every_number_of_the_records():
    text = small_text()
    for row in analysis.summarize(small()):
        achieved = f"{100 * row.density:.2f}"
        assert f"{row.level} {achieved} {achieved} {row.kept:,}" in text
        spread = f" ({row.failed} failed)" if row.n < 2 else f" ± {100 * row.accuracy_sd:.2f}"
        assert f"{100 * row.accuracy:.2f}{spread}" in text
        assert f"{100 * row.final_accuracy:.2f}" in text
        assert f"{row.best_step:,.0f}" in text
        for share in row.layer_densities.values():
            assert f"{100 * share:.2f}" in text
    assert "1,000 prunable weights, of 1,010 parameters" in text
    for start, other in (("ticket", None), ("theta_0", None), ("theta_0", "shuffled_mask")):
        rows = analysis.summarize(small())
        held = analysis.versus(rows, start, other) if other else analysis.winning(rows, start)
        for verdict in held:
            said = f"{wording.gain(verdict)} n {verdict.pairs} {wording.word(verdict)}"
            assert said in text
    assert "-29.00 n 1 loses, 1 failed" in text  # Of the two pairs of level 2.
    assert "theta_0 minus the control" in text


def test_the_page_begins_with_what_was_found():
    text = small_text()
    first = text.index("On the source: winning ticket down to density 80.00 %")
    second = text.index("On the target from theta_0: winning ticket down to density 80.00 %")
    assert first < second < text.index("Source")
    assert "(level 1: 800 of 1,000 weights; 1 of 2 pruned levels)" in text
    assert (
        "by the paired 95 % interval it wins at 1, matches at 0, loses at 1; 1 with failed" in text
    )
    shown = report.table([record(0.9), record(0.8, level=1)])
    assert "no winning ticket (0 of 1 pruned level)" in shown
    # The smallest density that wins may lie below a level that loses.
    found = [record(a, level=i) for i, a in enumerate((0.9, 0.91, 0.8, 0.92, 0.5))]
    assert "winning ticket down to density 51.20 % (level 3" in report.table(found)


def test_the_page_says_rule_settings_origin_notes_and_failures():
    text = words_of(
        page(
            small(),
            settings={"rate": 0.2, "controls": ["redrawn", "shuffled_mask"]},
            provenance={"jax": "0.10.2"},
            notes=["Images of 28 by 28 are padded to 32."],
        )
    )
    assert f"{analysis.RULE} {analysis.VERDICT}" in text
    assert "Nothing chose a best evaluation: it is the last one." in text
    assert "rate 0.2 controls redrawn, shuffled_mask" in text
    assert "jax 0.10.2" in text
    assert "padded to 32." in text
    assert "target, theta_0, replicate 1, level 2: loss not finite at step 40" in text


def test_everything_from_outside_is_escaped():
    bad = '<script>alert("1")</script>&'
    shown = page(
        arm([0.9, 0.8], arm=bad, layers={bad: (1, 2)}),
        settings={bad: bad, "list": [bad]},
        provenance={bad: bad},
        notes=[bad],
        title=bad,
    )
    assert "script" not in checked(shown).tags
    assert checked(shown).text.count(bad) >= 7


def test_a_page_is_made_of_its_sections():
    blank = draw.lines([], x_label="x")
    body = [["1", document.Cell("agrees", "agrees", "± 2", " (3)", star=True)],
            [document.Cell("two", anchor="there"), "no"]]  # fmt: skip
    parts = [
        document.Text(["Said."], "mark"),
        document.Table(["a", "b"], body, "Head", "Below", over=[("", 1), ("over", 1)], wordy=True),
        document.Picture("Blank", blank),
        document.Picture("None", None, absent="want of numbers"),
        document.Fold("More", [document.Items(["one"]), document.Pairs({"x": {"y": [1]}})]),
        document.Fold("Open", [], shown=True),
    ]
    section = document.Section("First", parts, "there")
    shown = report.page("Title", [section], lead=["Found."], notes=["N."], about=["R."])
    assert words_of(shown).rpartition("Title ")[2] == (
        "Found. First Said. Head Below over a b 1 agrees ± 2 (3) * two no "
        "Blank: no figure, for want of anything to show. None: no figure, for want of numbers. "
        "More one x y 1 Open Notes N. The rule R."
    )
    for piece in ('<h2 id="there">', '<a href="#there">two</a>', '<td class="agrees">agrees',
                  '<div class="mark">', "<details open>", '<table class="wordy">',
                  '<th colspan="1" scope="colgroup">over</th>'):  # fmt: skip
        assert shown.count(piece) == 1, piece
    assert "prefers-color-scheme: dark" in shown


def shown_points(figure):
    """Finite points of the lines of each panel, the dense lines across left out."""
    return [
        sum(
            np.isfinite(np.asarray(line.get_ydata(), float)).sum()
            for line in axes.lines
            if not line.get_label().endswith(", dense")
        )
        for axes in figure.axes
    ]


@pytest.mark.parametrize("case", CASES)
def test_any_records_make_a_whole_page_and_whole_figures(case):
    """Each kind of figure is there with something in every panel, or one sentence is."""
    found = CASES[case]
    rows = analysis.summarize(found)
    drawn = report.figures(found)
    absent = {
        f"{phase}_{kind}": why
        for phase in analysis.phases(found)
        for kind, why in run_figures.missing(
            [r for r in rows if r.phase == phase], [r for r in found if r.phase == phase]
        ).items()
    }
    kinds = ("accuracy", "steps", "curves", "layers")
    assert {*drawn, *absent} == {f"{p}_{kind}" for p in analysis.phases(found) for kind in kinds}
    assert not drawn.keys() & absent.keys()
    assert set(absent) == ABSENT.get(case, set())
    for figure in drawn.values():
        assert min(shown_points(figure)) > 0
    shown = page(found, drawn=drawn)
    assert checked(shown).tags.count("img") == len(drawn)
    for why in absent.values():
        assert f"no figure, for {why}." in words_of(shown)
    assert report.table(found)


def test_a_layer_that_keeps_nothing_is_marked():
    row = "1 80.00 0.00 0 90.00!* 100 -"
    shown = report.table(EMPTY_LEVEL)
    assert row in [" ".join(line.split()) for line in shown.splitlines()]
    assert "! theta_0, level 1: no weight is kept in dense_0/kernel, head/kernel" in shown
    text = words_of(page(EMPTY_LEVEL))
    assert "90.00\N{DAGGER} *" in text
    assert "level 1: no weight is kept in dense_0/kernel (1 of 1 trainings)" in text


@pytest.mark.parametrize(
    ("judged_on", "sentence"),
    [
        ("validation", "The best evaluation was chosen on the validation set."),
        ("test", "chosen on the test set itself, which flatters accuracies."),
        ("last", "Nothing chose a best evaluation: it is the last one."),
    ],
)
def test_what_judged_stands_above_the_table(judged_on, sentence):
    found = arm([0.9, 0.8], judged_on=judged_on)
    assert sentence in report.table(found)
    assert sentence in words_of(page(found))


def test_failures_are_told_in_figures_and_captions():
    drawn = small_figures()
    for kind in ("accuracy", "steps"):
        texts = [t.get_text() for t in drawn[f"source_{kind}"].axes[0].texts]
        assert texts == ["1 failed"]
    assert small_text().count("1 of 6 trainings failed and are in no line.") == 4
    assert small_text().count("2 of 10 trainings failed and are in no line.") == 4


def test_one_replicate_has_no_verdict_and_it_is_said():
    shown = report.table([record(0.9), record(0.95, level=1)])
    assert "Minus the dense" not in shown
    assert "paired verdicts need two replicates that trained" in shown


def test_the_same_records_make_the_same_page_and_pictures_are_files():
    shown = page(small())
    assert shown == page(small())
    pictures = re.findall('base64,([^"]*)', shown)
    assert len(pictures) == 8
    for code in pictures:
        assert ET.fromstring(base64.b64decode(code)).tag.endswith("svg")


def test_without_matplotlib_there_are_tables_and_one_line(monkeypatch):
    monkeypatch.setattr(style, "available", lambda: False)
    shown = page(small())
    assert report.figures(small()) == {}
    assert "img" not in checked(shown).tags
    assert words_of(shown).count(report.MISSING_PLOTS) == 1
    assert "ltjax[plots]" in report.MISSING_PLOTS
    assert "91.00 ± 1.41" in words_of(shown)


def lines_in(axes):
    """x and y of the drawn lines by label, and their colours."""
    drawn = {n.get_label(): n for n in axes.lines if n.get_gid() != style.GUIDE}
    return {k: (list(n.get_xdata()), list(n.get_ydata()), n.get_color()) for k, n in drawn.items()}


def test_figures_draw_the_means_from_dense_on_the_left():
    drawn = small_figures()
    axes = drawn["source_accuracy"].axes[0]
    densities, accuracies, _ = lines_in(axes)["ticket"]
    assert densities == pytest.approx([100, 80, 64])
    assert accuracies == pytest.approx([91.0, 94.0, 61.0])
    left, right = axes.get_xlim()
    assert left > 100 > 64 > right
    assert lines_in(drawn["source_steps"].axes[0])["ticket"][1] == [1250, 1250, 1200]


def test_an_arm_has_one_colour_in_all_figures():
    drawn = small_figures()
    names = ["theta_0", "shuffled_mask"]
    for name in names:
        axes = [a for kind in ("accuracy", "steps") for a in drawn[f"target_{kind}"].axes]
        assert {lines_in(a)[name][2] for a in axes} == {run_figures.look(name, names)["color"]}


@pytest.mark.parametrize(
    ("levels", "chosen"),
    [
        ([0], [0]),
        ([0, 1, 2], [0, 1, 2]),
        (list(range(13)), [0, 1, 5, 8, 12]),
        ([2, 4, 6, 8, 10], [2, 4, 8, 10]),
    ],
)
def test_learning_curves_show_the_dense_and_few_even_levels(levels, chosen):
    assert run_figures.select_levels(levels) == chosen


def test_arms_with_the_same_layer_counts_share_a_table():
    moved = {"dense_0/kernel": (720, 900), "head/kernel": (80, 100)}
    rows = analysis.summarize(
        [
            record(),
            record(level=1),
            record(level=1, arm="redrawn"),
            record(level=1, arm="shuffled_globally", layers=moved),
        ]
    )
    groups = run_tables.same_layers(rows)
    assert {title: len(group) for title, group in groups.items()} == {
        "theta_0, redrawn": 2,
        "shuffled_globally": 1,
    }
