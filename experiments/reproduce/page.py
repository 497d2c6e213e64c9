"""The comparison report: ours beside theirs, a verdict for every published number and claim."""

from collections import Counter
from collections.abc import Mapping, Sequence
import dataclasses
from typing import TYPE_CHECKING, Any

from experiments.papers import published
from experiments.papers.published import Published
from experiments.reproduce import effects, figures
from experiments.reproduce.rows import (
    AGREES,
    DIFFERS,
    MOST_BY_CHANCE,
    NOT_COMPARABLE,
    Experiment,
    Paper,
    Table,
    Verdict,
    judge,
)
from experiments.reproduce.rules import Absent, Quantity, interval_text
from experiments.reproduce.trained import Results
from ltjax.command import config
from ltjax.report import document, style
from ltjax.report.document import Cell, Fold, Pairs, Part, Picture, Text
from ltjax.statistics import analysis
from ltjax.statistics.intervals import Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_UNNAMED = "Figure"
_NOTHING = "nothing to show; nothing of it is trained yet, or no line of it has a point"
_VERDICTS = (AGREES, DIFFERS, NOT_COMPARABLE)

_ABOUT = (
    "A verdict says whether our number agrees with the published one by the rule in its row, which "
    "knows our numbers only. Intervals of ours are 95 %, paired by trial: Student's t (of a ratio "
    "on its logarithm), Wilson's for percentages of networks; none widens a rule. Chance is how "
    "often a rule would agree as well with another number: with the other cells of the same table, "
    "or over the range of the axis; an ordering, judged by whole intervals, has their tail. Above "
    f"{100 * MOST_BY_CHANCE:g} % a claim is not comparable."
)


@dataclasses.dataclass(frozen=True)
class Section:
    """One experiment of a run, judged and drawn."""

    row: Experiment
    verdicts: tuple[Verdict, ...]
    figures: Mapping[str, "Figure"]
    blank: tuple[str, ...]
    """Captions of figures that had nothing to show."""
    tables: Sequence[Table]
    shortened: tuple[str, ...]
    other: tuple[str, ...]
    """Settings that differ from the paper's: those that shorten, and those that change it."""

    @property
    def counts(self) -> Counter[str]:
        """How many claims have each verdict."""
        return Counter(v.verdict for v in self.verdicts)

    @property
    def by_chance(self) -> float:
        """How many agreements chance alone would give."""
        return sum(v.chance for v in self.verdicts if v.verdict != NOT_COMPARABLE)


@dataclasses.dataclass(frozen=True)
class Chapter:
    """One run of a paper."""

    paper: Paper
    results: Results
    sections: tuple[Section, ...]

    @property
    def shortened(self) -> list[str]:
        """Settings that shorten some section."""
        return list(dict.fromkeys(text for s in self.sections for text in s.shortened))

    @property
    def other(self) -> list[str]:
        """Settings that make some section another experiment."""
        return list(dict.fromkeys(text for s in self.sections for text in s.other))

    @property
    def counts(self) -> Counter[str]:
        """How many claims have each verdict."""
        return sum((s.counts for s in self.sections), Counter())

    @property
    def by_chance(self) -> float:
        """How many agreements chance alone would give."""
        return sum(s.by_chance for s in self.sections)


def chapter(paper: Paper, results: Results) -> Chapter:
    """Judges and draws what a run has trained so far."""
    printed = config.as_dict(paper.settings(), identity_only=True)
    ours = config.as_dict(results.settings, identity_only=True)
    changed = {n: (ours[n], printed[n]) for n in printed if ours[n] != printed[n]}
    usual = {n: getattr(paper.settings(), n) for n in changed}
    acting = {n: effects.acting(paper, results.settings, **{n: v}) for n, v in usual.items()}
    sections = []
    for row in paper.experiments(results.settings):
        names = [name for work in row.works for name in work.names()]
        if names and not any(map(results.has, names)):
            continue
        said = {
            n: f"{n} = {_plain(a)} (paper: {_plain(b)})"
            for n, (a, b) in changed.items()
            if row.id in acting[n]
        }
        shortened = tuple(text for n, text in said.items() if n in paper.shortens)
        other = tuple(text for n, text in said.items() if n not in paper.shortens)
        bar = f"another setting: {'; '.join(other)}" if other else ""
        verdicts = tuple(
            judge(claim, published.entry(claim.published), results, bar=bar) for claim in row.claims
        )
        drawn: Mapping[str, Figure] = {}
        if style.available() and row.figures is not None:
            import matplotlib

            with matplotlib.rc_context(style.RC):
                drawn = row.figures(results) or {_UNNAMED: figures.new(1.0, 1.0)}
        shown = {caption: figure for caption, figure in drawn.items() if figures.shows(figure)}
        blank = tuple(caption for caption in drawn if caption not in shown)
        sections.append(Section(row, verdicts, shown, blank, row.tables(results), shortened, other))
    return Chapter(paper, results, tuple(sections))


def page(chapters: Sequence[Chapter]) -> str:
    """The report as HTML: the same characters for the same runs."""
    title = (
        f"Paper {chapters[0].paper.id}: ours beside theirs"
        if len({c.paper.id for c in chapters}) == 1
        else "Papers: ours beside theirs"
    )
    sections = [s for i, each in enumerate(chapters) for s in _chapter(each, i)]
    return document.page(title, sections, lead=[_ABOUT])


def summary(chapters: Sequence[Chapter]) -> str:
    """The verdicts as plain text, one line an experiment."""
    lines = []
    for each in chapters:
        lines.append(f"{each.paper.title} ({each.results.run.path.name})")
        if each.shortened:
            lines.append(f"  a shortened run: {'; '.join(each.shortened)}")
        if each.other:
            lines.append(f"  not the paper's setting: {'; '.join(each.other)}")
        for s in each.sections:
            counts = _counted({v: n for v in _VERDICTS if (n := s.counts[v])}, s.by_chance)
            lines.append(f"  {s.row.id:8} {counts or 'no claims'}: {s.row.shows}")
        failed, cut = _troubles(each.results, [s.row for s in each.sections])
        if failed or cut:
            lines.append(
                f"  {len(failed)} trainings failed and are in no mean; {len(cut)} levels have a "
                "layer that keeps nothing: the report names them"
            )
        total = _counted({v: each.counts[v] for v in _VERDICTS}, each.by_chance)
        lines.append(f"  paper {each.paper.id}: {total}; {_beyond(each.counts, each.by_chance)}")
    return "\n".join(lines)


def _counted(counts: Mapping[str, int], by_chance: float) -> str:
    said = {AGREES: "agree", DIFFERS: "differ"}
    return ", ".join(
        f"{n} {said.get(v, v)}" + (f" ({by_chance:.1f} expected by chance)" if v == AGREES else "")
        for v, n in counts.items()
    )


def _beyond(counts: Mapping[str, int], by_chance: float) -> str:
    return f"{counts.get(AGREES, 0) - by_chance:.1f} agreements beyond chance"


def _troubles(results: Results, rows: Sequence[Experiment]) -> tuple[list[str], list[str]]:
    """One sentence for each training of the rows that failed, and for layers that keep nothing."""
    names = dict.fromkeys(n for row in rows for work in row.works for n in work.names())
    records = [record for name in names for record in results.records(name)]
    return analysis.failures(records), analysis.cut_layers(records)


def _chapter(each: Chapter, number: int) -> list[document.Section]:
    run = each.results.run
    parts: list[Part] = [Text([f"Run {run.path.name}."], "note")]
    if each.shortened:
        parts.append(Text([f"A shortened run: {'; '.join(each.shortened)}."], "mark"))
    if each.other:
        text = (
            f"Not the paper's setting, and where it matters not compared: {'; '.join(each.other)}."
        )
        parts.append(Text([text], "mark"))
    if not each.sections:
        parts.append(Text(["Nothing has been trained yet."], "note"))
    failed, cut = _troubles(each.results, [s.row for s in each.sections])
    if failed or cut:
        parts.append(Text([*failed, *cut], "note"))
    heads = ["", "shows", "agree", "by chance", "differ", "not comparable"]
    body = [
        [Cell(s.row.id, anchor=_anchor(s, number)), s.row.shows, *_numbers(s)]
        for s in each.sections
    ]
    body.append([Cell("all"), "", *_numbers(each)])
    parts += [
        document.Table(heads, body, wordy=True),
        Fold("Settings", [Pairs(run.settings())]),
        Fold("Where it comes from", [Pairs(run.latest_provenance())]),
    ]
    return [
        document.Section(each.paper.title, parts),
        *(_section(s, _anchor(s, number)) for s in each.sections),
    ]


def _numbers(each: Section | Chapter) -> list[str]:
    agree, differ, others = (str(each.counts[v]) for v in _VERDICTS)
    return [agree, f"{each.by_chance:.1f}", differ, others]


def _anchor(section: Section, number: int) -> str:
    return f"{section.row.id}-{number}"


def _section(section: Section, anchor: str) -> document.Section:
    row = section.row
    parts: list[Part] = [Picture(caption, figure) for caption, figure in section.figures.items()]
    if section.blank:
        parts.append(Text([f"{c}: {_NOTHING}." for c in section.blank], "note"))
    if section.verdicts:
        heads = ["published", "in the paper", "theirs", "ours", "n", "verdict", "chance",
                 "rule, remarks"]  # fmt: skip
        body = [_verdict(v, shortened=bool(section.shortened)) for v in section.verdicts]
        parts.append(document.Table(heads, body, wordy=True))
    parts += [
        Fold(t.title, [document.Table(t.heads, t.body, note=t.note)], shown=t.shown)
        for t in section.tables
    ]
    return document.Section(f"{row.id}: {row.shows}", parts, anchor)


def _verdict(v: Verdict, *, shortened: bool) -> list[str | Cell]:
    entry = v.published
    spread = f" ({_plain(entry.spread_or_p)})" if entry.spread_or_p is not None else ""
    theirs = f"{_plain(entry.value)}{spread} {entry.unit or ''}".strip()
    if v.claim.instead is not None:
        theirs += f"; compared: {v.claim.instead:.1f}"
    said = [f"Rule: {v.claim.rule.text}."]
    if v.claim.remark:
        said.append(f"{v.claim.remark[0].upper()}{v.claim.remark[1:]}.")
    if entry.note:
        said.append(f"Note on the number: {entry.note}.")
    verdict = v.verdict
    if v.verdict == NOT_COMPARABLE:
        verdict += f": {v.reason}"
    elif shortened:
        verdict += " (shortened run)"
    kind = {AGREES: "agrees", DIFFERS: "differs"}.get(v.verdict, "not")
    return [
        f"{entry.id}\n{entry.table_or_figure}",
        f"{entry.metric.replace('_', ' ')}: {entry.quote or _setting(entry)}",
        theirs,
        _ours(v.ours),
        str(v.ours.n) if isinstance(v.ours, Quantity) and v.ours.n else "",
        Cell(verdict, kind),
        "-" if v.chance != v.chance else f"{100 * v.chance:.2g} %",
        " ".join(said),
    ]


def _setting(entry: Published) -> str:
    """What sets an entry of a table apart from the others of the same table."""
    others = [
        e.setting
        for e in published.entries(entry.paper)
        if e.table_or_figure == entry.table_or_figure
    ]
    return ", ".join(
        f"{name.replace('_', ' ')} {value}"
        for name, value in entry.setting.items()
        if any(other.get(name) != value for other in others)
    )


def _ours(ours: Quantity | Absent) -> str:
    if isinstance(ours, Absent):
        return "-"
    if ours.text:
        return ours.text
    return interval_text(Interval(ours.value, ours.low, ours.high, ours.n))


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_plain(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ",".join(map(_plain, value))
    return str(value)
