"""Paper 000's comparisons: two networks on the same splits, density by density."""

from collections.abc import Callable, Mapping, Sequence
import math
import statistics
from typing import TYPE_CHECKING, NamedTuple

from experiments.papers.drawing import curve_of, drawing_of, drawing_of_series
from experiments.papers.paper import Drawing, Tables, folded
from experiments.papers.results import Results
from experiments.papers.series import Missing, Place, Series
from experiments.papers.statistics import (
    Number,
    Statistic,
    Values,
    final_accuracy,
    fraction,
    merged,
    values,
)
from experiments.papers.tables import tables_needing, tables_of
from ltjax.report import draw, style
from ltjax.report.document import Fold
from ltjax.statistics import analysis, intervals
from ltjax.statistics.intervals import Paired
from ltjax.training.records import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FEWEST = 5
_SIGNIFICANT = 0.05


class Pair(NamedTuple):
    """One density: the accuracies of two networks by split, in %.

    Attributes:
      density: kept in each layer.
      first: of the network that should be ahead, as the dense one.
      second: of the other.
      names: of both.
    """

    density: float
    first: Values
    second: Values
    names: tuple[str, str]

    @property
    def loss(self) -> Statistic:
        """What the second loses to the first, in points."""
        return (self.first - self.second).called(self._words)

    @property
    def gap(self) -> Values:
        """The same split by split."""
        return self.first.minus(self.second).called(self._words)

    @property
    def _words(self) -> str:
        first, second = self.names
        return f"{first} minus {second} at {100 * self.density:g} %"

    def test(self, results: Results) -> Paired | None:
        """The paired tests of their difference; None below two splits.

        Raises:
          Missing: where one was not trained.
        """
        return intervals.compare(self.first.by_trial(results), self.second.by_trial(results))


def trained(results: Results, pairs: Sequence[Pair]) -> list[tuple[Pair, Paired | None]]:
    """The pairs that have been trained, with their tests."""
    found = []
    for pair in pairs:
        try:
            found.append((pair, pair.test(results)))
        except Missing:
            continue
    return found


def corrected(found: Sequence[tuple[Pair, Paired | None]]) -> list[float]:
    """P-values of the paired t-tests, Holm's over the densities."""
    return intervals.holm([math.nan if test is None else test.p for _, test in found])


def t_value(pair: Pair, direction: float) -> Statistic:
    """The t-value of the paired test, positive in the direction of the printed means."""

    def measure(results: Results) -> Number:
        test = pair.test(results)
        if test is None or math.isnan(test.t):
            raise Missing("fewer than two splits, or no spread")
        text = f"{test.t:+.2f}, p {test.p:.2g}"
        return Number(direction * test.t, n=test.n, text=text)

    needs, depends = merged((pair.first, pair.second))
    words = f"paired t of {pair.loss.words}"
    return Statistic(words=words, needs=needs, depends=depends, measure=measure)


def significant(
    pairs: Sequence[Pair], printed: Sequence[float], axis: Sequence[tuple]
) -> Statistic:
    """The sparsities at which the paired test rejects at 5 %; negative where sparse is ahead.

    Args:
      pairs: by density.
      printed: densities that the paper has.
      axis: what could be significant.
    """

    def measure(results: Results) -> Number:
        tests = {round(p.density, 6): p.test(results) for p in pairs}
        found = {d: test for d, test in tests.items() if test is not None}
        if len(found) < len(pairs) or any(d not in found for d in printed):
            raise Missing("not trained in this run")
        text = "; ".join(
            f"{100 * d:g} %: {test.difference:+.2f} points, p {test.p:.2g}"
            for d, test in found.items()
        )
        there = tuple(
            math.copysign(round(1 - d, 6), found[d].difference)
            for d in printed
            if found[d].p < _SIGNIFICANT
        )
        return Number(there, n=next(iter(found.values())).n, text=text)

    needs, depends = merged(e for p in pairs for e in (p.first, p.second))
    words = "sparsities with a significant difference"
    return Statistic(words=words, needs=needs, depends=depends, measure=measure, axis=axis)


def later(pairs: Sequence[tuple[Place, Place]]) -> Statistic:
    """Share of densities where a ticket reaches 95 % of its dense network's accuracy later.

    Less the share where it does earlier; 95 % of the final accuracy of the dense network.

    Args:
      pairs: tickets and dense networks, by density.
    """

    def reached(record: Record, level: float) -> float:
        there = zip(record.steps, record.test_accuracy, strict=True)
        return next((step for step, a in there if a >= level), math.inf)

    def good(place: Place, results: Results) -> dict[int, Record]:
        (point,) = place.pick(results)
        return {r.replicate: r for r in point.records if not analysis.has_failed(r)}

    def by_trial(results: Results) -> dict[int, float]:
        signs: dict[int, list[int]] = {}
        for ours, dense in pairs:
            beside = good(dense, results)
            for i, r in good(ours, results).items():
                if i in beside:
                    level = 0.95 * beside[i].final_accuracy
                    mine, theirs = reached(r, level), reached(beside[i], level)
                    signs.setdefault(i, []).append((mine > theirs) - (mine < theirs))
        return {i: statistics.fmean(v) for i, v in signs.items()}

    needs, depends = merged(values(p, final_accuracy, "") for pair in pairs for p in pair)
    words = "share of densities where the ticket is later, minus earlier"
    return Values(words=words, needs=needs, depends=depends, by_trial=by_trial).mean()


def gaps(
    pairs: Sequence[Pair], caption: str, printed: Mapping[float, float] | None = None
) -> Drawing:
    """Differences by density: a dot a split, the mean with its interval, the published.

    Args:
      pairs: by density.
      caption: of the picture.
      printed: published difference of means by density, as a fraction.
    """

    def make(results: Results) -> "Figure | None":
        categories = []
        for pair, test in trained(results, pairs):
            theirs = (printed or {}).get(round(pair.density, 6), math.nan)
            categories.append(
                draw.Dots(
                    f"{100 * pair.density:g} %",
                    list(pair.gap.by_trial(results).values()),
                    None if test is None else (test.difference, test.low, test.high),
                    100 * theirs,
                )
            )
        if not categories:
            return None
        first, second = pairs[0].names
        return draw.dots(
            categories, x_label="kept in each layer", y_label=f"{first} minus {second} (points)",
            trial="one split",
        )  # fmt: skip

    needs, depends = merged(e for p in pairs for e in (p.first, p.second))
    said = f"{caption}: dots; mean and its 95 % interval"
    said += "; cross: the published difference of means" if printed else ""
    return drawing_of(said, needs, make, depends)


def _levels(series: Series, densities: Sequence[float]) -> dict[str, Place]:
    return {f"{100 * d:g} % kept": series.round(n) for n, d in enumerate(densities, 1)}


def every_split(dense: Series, series: Series, densities: Sequence[float], caption: str) -> Drawing:
    """Learning curves, a panel a split: the dense network and the tickets of every density."""

    def make(results: Results) -> "Figure | None":
        found: dict[int, list[draw.Line]] = {}
        for name, place in {"dense": dense.dense, **_levels(series, densities)}.items():
            try:
                (point,) = place.pick(results)
            except Missing:
                continue
            for r in point.records:
                if not analysis.has_failed(r):
                    color = style.INK if name == "dense" else ""
                    line = draw.Line(name, *curve_of(r), color=color)
                    found.setdefault(r.replicate, []).append(line)
        panels = [
            draw.Panel(lines=lines, title=f"split {i + 1}", y_label="test accuracy (%)")
            for i, lines in sorted(found.items())
            if len(lines) > 1
        ]
        if not panels:
            return None
        return draw.lines(
            panels, x_label="step", markers=False, columns=min(5, len(panels)), share=True,
            size=(2.3, 2.0), legend="above",
        )  # fmt: skip

    return drawing_of_series(caption, [dense, series], make)


def _fractions(results: Results, place: Place) -> dict[int, float]:
    """Final test accuracy by split in [0, 1]; nothing where it was not trained."""
    try:
        return dict(fraction(place).by_trial(results))
    except Missing:
        return {}


def arms_against_density(
    named: Mapping[str, Series], dense: Sequence[Series], densities: Sequence[float], caption: str
) -> Drawing:
    """Accuracy against density on the splits that all have; dense networks are level."""

    def make(results: Results) -> "Figure | None":
        found = {
            name: {d: _fractions(results, series.round(n)) for n, d in enumerate(densities, 1)}
            for name, series in named.items()
        }
        found = {name: {d: v for d, v in by.items() if v} for name, by in found.items()}
        wholes = [_fractions(results, series.dense) for series in dict.fromkeys(dense)]
        wholes = [whole for whole in wholes if whole]
        lines = {name: by for name, by in found.items() if by}
        if not wholes or not lines:
            return None
        every = [v for by in lines.values() for v in by.values()] + wholes
        common = sorted(set.intersection(*map(set, every)))
        if not common:
            return None
        whole = [100 * statistics.fmean(w[i] for w in wholes) for i in common]
        drawn = [
            draw.summed(
                name, {100 * d: [100 * v[i] for i in common] for d, v in by.items()}, bars="error"
            )
            for name, by in lines.items()
        ]
        level = {100.0: whole, 100 * densities[-1]: whole}
        drawn.append(draw.summed("dense", level, bars="error", color=style.INK, dashed=True))
        panel = draw.Panel(lines=drawn, y_label="test accuracy (%), mean and standard error")
        return draw.lines(
            [panel], x_label="kept in each layer (%)", x_axis="density", size=(7.6, 4.3),
            dodge=1.008, legend="right",
        )  # fmt: skip

    return drawing_of_series(caption, [*named.values(), *dict.fromkeys(dense)], make)


def spread(found: Sequence[float]) -> str:
    """Mean and sample standard deviation, of percentages."""
    sd = f" ({statistics.stdev(found):.2f})" if len(found) > 1 else ""
    return f"{statistics.fmean(found):.2f}{sd}"


def paired_tests(title: str, pairs: Sequence[Pair], note: str | Callable[[Results], str]) -> Tables:
    """Every test that a careful reader wants, one row a density."""
    first, second = pairs[0].names

    def make(results: Results) -> list[Fold]:
        body, found = [], trained(results, pairs)
        for (pair, test), p_holm in zip(found, corrected(found), strict=True):
            cells = ["-"] * 6
            if test is not None:
                cells = [
                    f"{test.difference:+.2f} ({test.low:+.2f} to {test.high:+.2f})",
                    f"{test.t:.2f}",
                    f"{test.p:.2g}",
                    f"{p_holm:.2g}",
                    f"{test.wilcoxon_p:.2g}",
                    str(test.n),
                ]
            ours, theirs = (e.by_trial(results) for e in (pair.second, pair.first))
            both = sorted(ours.keys() & theirs.keys())
            means = [spread([v[i] for i in both]) for v in (ours, theirs)]
            body.append([f"{100 * pair.density:g} %", *means, *cells])
        return [
            folded(
                title=title,
                heads=["kept", f"{second} % (sd)", f"{first} % (sd)",
                       f"{first} - {second}, points (95 %)", "t", "p", "p (Holm)", "p (Wilcoxon)",
                       "n"],
                body=body,
                note=note if isinstance(note, str) else note(results),
                shown=True,
            )
        ]  # fmt: skip

    needs, depends = merged(e for p in pairs for e in (p.first, p.second))
    return tables_needing(make, *needs, depends=depends)


def every_arm(named: Mapping[str, Series], densities: Sequence[float]) -> Tables:
    """Accuracy of every arm at every density."""

    def make(results: Results) -> list[Fold]:
        body = []
        for name, series in named.items():
            for number, density in enumerate(densities, 1):
                found = [100 * a for a in _fractions(results, series.round(number)).values()]
                if found:
                    body.append([name, f"{100 * density:g} %", spread(found), str(len(found))])
        heads = ["", "kept", "test accuracy % (sd)", "n"]
        return [folded(title="Every arm", heads=heads, body=body)]

    return tables_of(list(named.values()), make)


def turning_note(results: Results, pairs: Sequence[Pair]) -> str:
    """The paper's open question: from which density on the initial values matter.

    That is the largest density from which down to the smallest the first is better everywhere.
    """
    if not (found := trained(results, pairs)):
        return "not trained in this run"
    if any(test is None or test.n < _FEWEST for _, test in found):
        return f"fewer than {_FEWEST} splits cannot tell"
    better, worse, tail = [], [], []
    for (pair, test), p in zip(found, corrected(found), strict=True):
        known = p < _SIGNIFICANT  # False for NaN.
        ahead = known and test is not None and test.difference > 0
        (better if ahead else worse if known else []).append(pair.density)
        tail = [*tail, pair.density] if ahead else []
    words = "theta_0 is better than redrawn values with p < 0.05 (Holm)"
    if tail:
        text = f"the initial value matters from {_percent(tail[:1])} density on: {words} at "
        text += _percent(better)
    elif better:
        text = f"{words} at {_percent(better)}, but not at the smallest density"
    else:
        text = "at no density is theta_0 better than redrawn values with p < 0.05 (Holm)"
    return f"{text}; at {_percent(worse)} redrawn values are better" if worse else text


def _percent(densities: Sequence[float]) -> str:
    return ", ".join(f"{100 * d:g} %" for d in densities)
