"""Pictures of plain numbers: what they show, what they leave out, how their axes run."""

import math

import numpy as np
import pytest

from ltjax.report import draw, style
from ltjax.report.draw import Bar, Dots, Line, Panel, Reference, summed

NAN = math.nan
DENSE = Reference("dense", 12, 11, 13)
LINE = Line("a", [100, 50, 20, 10, 5], [90.0, 92.0, 90.0, 88.0, NAN])


def axes_of(*panels, **settings):
    return draw.lines(panels, **{"x_label": "x", **settings}).axes


def drawn(axes, label):
    (line,) = [n for n in axes.lines if n.get_label() == label]
    return np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)


@pytest.mark.parametrize(
    ("figure", "shows"),
    [
        (lambda: draw.lines([Panel(lines=[], zero=True)], x_label="x"), False),
        (lambda: draw.lines([Panel(lines=[Line("a", [1, 2], [NAN, NAN])])], x_label="x"), False),
        (lambda: draw.lines([Panel(lines=[], references=[DENSE])], x_label="x"), False),
        (lambda: draw.lines([Panel(lines=[Line("a", [60], [-2.0])])], x_label="x"), True),
        (lambda: draw.lines([], x_label="x", x_axis="density", log_x=True), False),
        (lambda: style.new(1, 1), False),
        (lambda: draw.bars({"DB": [Bar("2 units", 50.0, 40.0, 60.0)]}), True),
        (lambda: draw.dots([Dots("75 %", [])], x_label="x", y_label="y"), False),
        (lambda: draw.dots([Dots("a", [1.0], (1, NAN, NAN), 2)], x_label="x", y_label="y"), True),
        (lambda: draw.histograms({"t": {"a": np.ones(9)}}, limit=2, x_label="x"), True),
        (lambda: draw.ranked({"t": {"a": np.ones(9)}}, x_label="x", y_label="y"), True),
    ],
)  # fmt: skip
def test_only_what_is_drawn_counts_as_shown(figure, shows):
    made = figure()
    assert style.shows(made) == shows
    assert style.png(made).startswith(b"\x89PNG")
    assert style.svg(figure()) == style.svg(figure())


def test_means_and_bars_are_those_of_the_values():
    values = {1: [1.0, 3.0, 5.0], 2: [], 3: [2.0]}
    for bars, low in (("range", 1.0), ("sd", 1.0), ("error", 3 - 2 / 3**0.5)):
        line = summed("a", values, bars=bars)
        assert line.y == pytest.approx([3.0, NAN, 2.0], nan_ok=True)
        assert line.low == pytest.approx([low, NAN, 2.0], nan_ok=True)
        assert line.high[0] == pytest.approx(6 - low)


@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize("kind", ["density", "weights"])
def test_what_is_kept_runs_downwards_from_the_dense_network(kind, log):
    (axes,) = axes_of(Panel(lines=[LINE]), x_axis=kind, log_x=log)
    left, right = axes.get_xlim()
    assert left > 100 > 5 > right
    ticks = [t for t in axes.get_xticks() if right <= t <= left]
    assert len(ticks) >= 4
    if log:
        assert ticks == [5, 10, 20, 50, 100]
        (few,) = axes_of(
            Panel(lines=[Line("a", [266200, 200000], [1, 2])]), x_axis=kind, log_x=True
        )
        if kind == "weights":
            assert [t.get_text() for t in few.get_xticklabels()] == ["200,000"]


def test_a_line_is_cut_where_it_has_no_value():
    (axes,) = axes_of(Panel(lines=[LINE]), x_axis="density")
    assert drawn(axes, "a")[1] == pytest.approx(LINE.y, nan_ok=True)


def test_no_line_lies_wholly_outside_its_axes():
    far = Line("far", LINE.x, [20.0, 20.0, 20.0, 20.0, 20.0])
    falls = Line("falls", LINE.x, [91.0, 91.0, 91.0, 91.0, 10.0])
    steep = Line("steep", range(100), [90.0] + [99.0] * 99)
    cases = [
        (Panel(lines=[LINE, far], percent=True, zoom=True), False),
        (Panel(lines=[LINE, falls], percent=True, zoom=True), True),
        (Panel(lines=[steep, far], percent=True, skip=0.3), False),
        (Panel(lines=[LINE], percent=True, y_from=95), False),
        (Panel(lines=[far, falls], percent=True, y_from=95), False),
        (Panel(lines=[LINE], zero=True), False),
    ]
    for panel, cut in cases:
        (axes,) = axes_of(panel)
        bottom, top = axes.get_ylim()
        for line in panel.lines:
            y = drawn(axes, line.label)[1]
            assert ((y >= bottom) & (y <= top)).any(), (panel, line.label)
        assert bool(axes.get_title(loc="right")) == cut
        assert not panel.percent or top <= 100.5
        assert not panel.zero or bottom < 0 < top


def test_bars_and_references_widen_the_axis_and_bands_do_not():
    x = [1, 2]
    bars = Line("a", x, [5.0, 6.0], [1.0, 2.0], [8.0, 9.0], band=([-99, -99], [99, 99]))
    (axes,) = axes_of(Panel(lines=[bars], references=[DENSE]))
    bottom, top = axes.get_ylim()
    assert -1 < bottom < 1
    assert 13 < top < 14


def test_learning_curves_end_at_twice_the_last_dot():
    line = Line("a", range(0, 1000, 10), np.linspace(0, 1, 100), dot=(200, 150, 250))
    (axes,) = axes_of(Panel(lines=[line]), markers=False)
    assert axes.get_xlim()[1] == 500


def test_one_label_has_one_look_and_one_entry():
    one, other = Line("one", [1, 2], [1, 2]), Line("other", [1, 2], [2, 3])
    own = Line("own", [1, 2], [1, 1], color=style.INK)
    figure = draw.lines([Panel(lines=[one, other]), Panel(lines=[own, other])], x_label="x")
    colors = {n.get_label(): n.get_color() for axes in figure.axes for n in axes.lines}
    assert colors == dict(
        zip(["one", "other", "own"], [*style.PALETTE[:2], style.INK], strict=True)
    )
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["one", "other", "own"]
    many = [Line(str(i), [1, 2], [i, i]) for i in range(20)]
    (axes,) = axes_of(Panel(lines=many))
    assert len({n.get_color() for n in axes.lines}) == 20


def test_small_multiples_share_their_axes():
    panels = [Panel(lines=[Line("a", [0, i + 1], [0, i])], title=str(i)) for i in range(7)]
    axes = axes_of(*panels, columns=5, share=True, size=(2.3, 2.0))
    assert len(axes) == 7
    assert len({a.get_xlim() + a.get_ylim() for a in axes}) == 1


def test_histograms_and_ranks_hold_every_value():
    values = np.random.default_rng(0).normal(size=6000)
    (axes,) = draw.histograms({"t": {"a": values}}, limit=5, x_label="x").axes
    x, y = drawn(axes, "a")
    assert y.sum() * (x[1] - x[0]) == pytest.approx(1)
    (axes,) = draw.ranked({"t": {"a": values[:50]}}, x_label="x", y_label="y").axes
    x, y = drawn(axes, "a")
    assert (x[0], x[-1]) == (1, 99)
    assert list(y) == sorted(values[:50], reverse=True)
