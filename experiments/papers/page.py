"""The comparison report: ours beside theirs, a verdict for every published number and claim."""

from collections import Counter
from collections.abc import Mapping, Sequence
import dataclasses
import pathlib
import shlex
from typing import TYPE_CHECKING, Any, Protocol

from experiments.papers import effects
from experiments.papers.claims import (
    AGREES,
    DIFFERS,
    MOST_BY_CHANCE,
    NOT_COMPARABLE,
    VERDICTS,
    Verdict,
    judge,
)
from experiments.papers.paper import Figure, Paper
from experiments.papers.published import Entry, Published
from experiments.papers.results import Results
from ltjax.command import config
from ltjax.command.paths import write_whole
from ltjax.report import document, style
from ltjax.report.document import Cell, Fold, Pairs, Part, Picture, Table, Text, plain
from ltjax.statistics import analysis

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawn

_NOTHING = "nothing of it is trained yet, or no line of it has a point"

_ABOUT = (
    "A verdict says whether our number agrees with the published one by the rule in its row, which "
    "knows our numbers only. Intervals of ours are 95 %, paired by trial: Student's t (of a ratio "
    "on its logarithm), Wilson's for percentages of networks; none widens a rule. Chance is how "
    "often a rule would agree as well with another number: with the other cells of the same table, "
    "or over the range of the axis; an ordering, judged by whole intervals, has their tail. Above "
    f"{100 * MOST_BY_CHANCE:g} % a claim is not comparable."
)

_SHORT = {AGREES: "agree", DIFFERS: "differ", NOT_COMPARABLE: NOT_COMPARABLE}


class _Counted(Protocol):
    """What has verdicts, and counts them."""

    @property
    def judged(self) -> Sequence[Verdict]:
        """Its verdicts."""
        ...

    @property
    def counts(self) -> Counter[str]:
        """How many claims have each verdict."""
        return Counter(v.verdict for v in self.judged)

    @property
    def by_chance(self) -> float:
        """How many agreements chance alone would give."""
        return sum(v.chance for v in self.judged if v.verdict != NOT_COMPARABLE)


@dataclasses.dataclass(frozen=True)
class Section(_Counted):
    """One figure of a run, judged and drawn.

    Attributes:
      figure: of the paper.
      verdicts: one a claim.
      drawings: by caption; None where there is nothing to show.
      tables: beyond the published numbers.
      shortened: settings that differ from the paper's and shorten it.
      other: settings that make it another experiment.
    """

    figure: Figure
    verdicts: tuple[Verdict, ...]
    drawings: "Mapping[str, Drawn | None]"
    tables: Sequence[Fold]
    shortened: tuple[str, ...]
    other: tuple[str, ...]

    @property
    def judged(self) -> Sequence[Verdict]:
        """Its verdicts."""
        return self.verdicts


@dataclasses.dataclass(frozen=True)
class Chapter(_Counted):
    """One run of a paper."""

    paper: Paper
    results: Results
    sections: tuple[Section, ...]

    @property
    def judged(self) -> Sequence[Verdict]:
        """The verdicts of all sections."""
        return [v for s in self.sections for v in s.verdicts]

    @property
    def shortened(self) -> str:
        """Settings that shorten some section."""
        return "; ".join(dict.fromkeys(text for s in self.sections for text in s.shortened))

    @property
    def other(self) -> str:
        """Settings that make some section another experiment."""
        return "; ".join(dict.fromkeys(text for s in self.sections for text in s.other))

    @property
    def troubles(self) -> tuple[list[str], list[str]]:
        """One sentence for each training that failed, and for layers that keep nothing."""
        names = dict.fromkeys(name for s in self.sections for name in s.figure.pieces)
        records = [record for name in names for record in self.results.records(name)]
        return analysis.failures(records), analysis.cut_layers(records)


def chapter(paper: Paper, results: Results) -> Chapter:
    """Judges and draws what a run has trained so far."""
    usual, settings = paper.make(), results.settings
    printed, ours = (config.as_dict(s, identity_only=True) for s in (usual, settings))
    changed = {n: (ours[n], printed[n]) for n in printed if ours[n] != printed[n]}
    acting = {n: effects.acting(paper, settings, **{n: getattr(usual, n)}) for n in changed}
    sections = []
    for figure in paper.check(settings):
        if figure.pieces and not any(map(results.has, figure.pieces)):
            continue
        said = {
            n: f"{n} = {plain(a)} (paper: {plain(b)})"
            for n, (a, b) in changed.items()
            if figure.id in acting[n]
        }
        shorter = {n for n in said if paper.only_shortens(n, getattr(settings, n))}
        other = tuple(text for n, text in said.items() if n not in shorter)
        bar = f"another setting: {'; '.join(other)}" if other else ""
        drawings = figure.drawings if style.available() else ()
        sections.append(
            Section(
                figure,
                tuple(judge(c, paper.published, results, bar=bar) for c in figure.claims),
                {d.words: d.draw(results) for d in drawings},
                [table for each in figure.tables for table in each.make(results)],
                tuple(text for n, text in said.items() if n in shorter),
                other,
            )
        )
    return Chapter(paper, results, tuple(sections))


def write(runs: Sequence[tuple[Paper, Results]], where: pathlib.Path) -> str:
    """Writes report.html and the figures to `where`; returns the verdicts as text."""
    chapters = [chapter(*run) for run in runs]
    figures = where / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    for each in chapters:
        prefix = f"{each.results.run.path.name}_" if len(chapters) > 1 else ""
        for section in each.sections:
            shown = [f for f in section.drawings.values() if f is not None and style.shows(f)]
            for i, figure in enumerate(shown, 1):
                name = f"{prefix}{section.figure.id}_{i}"
                write_whole(figures / f"{name}.png", style.png(figure))
                write_whole(figures / f"{name}.svg", style.svg(figure))
    write_whole(where / "report.html", page(chapters))
    write_whole(where / "results.md", "\n".join(map(markdown, chapters)))
    return f"{summary(chapters)}\nreport: {where / 'report.html'}"


def markdown(each: Chapter) -> str:
    """The verdicts of a run as a page of Markdown, with its command and machine."""
    run, settings, usual = each.results.run, each.results.settings, each.paper.make()
    changed = [
        shlex.quote(f"--{name}={plain(value).replace(', ', ',')}")
        for name, value in config.as_dict(settings, identity_only=True).items()
        if value != config.as_dict(usual)[name]
    ]
    made = run.latest_provenance()
    name = each.paper.figures.__module__.rpartition(".")[2]
    chosen = ",".join(s.figure.id for s in each.sections)
    command = " ".join([f"python -m experiments.papers {name} --experiments={chosen}", *changed])
    lines = [
        f"# {each.paper.title}",
        "",
        f"`{command}`",
        "",
        f"Machine: {made.get('device_count', '?')} device(s) {made.get('device_kind', '?')}; "
        + ", ".join(f"{k} {v}" for k, v in sorted(made.get("versions", {}).items()))
        + ".",
        "",
        f"Length: shortened by {each.shortened}." if each.shortened else "Length: the paper's own.",
        *([f"Not the paper's setting: {each.other}."] if each.other else []),
        "",
        f"{_counted(each, VERDICTS)}; {each.counts[AGREES] - each.by_chance:.1f} agreements beyond "
        "chance.",
    ]
    heads = "| entry | in the paper | theirs | ours | n | verdict | chance | rule |"
    for s in each.sections:
        lines += ["", f"## {s.figure.id}: {s.figure.shows}", ""]
        if not s.verdicts:
            lines.append("No claims.")
            continue
        lines += [heads, "|---|---|---|---|---|---|---|---|"]
        for v in s.verdicts:
            cells = _verdict(v, each.paper.published, shortened=bool(s.shortened))
            texts = [cell.text if isinstance(cell, Cell) else cell for cell in cells]
            lines.append(f"| {' | '.join(' '.join(t.split()).replace('|', '/') for t in texts)} |")
    return "\n".join([*lines, ""])


def summary(chapters: Sequence[Chapter]) -> str:
    """The verdicts as plain text, one line a figure."""
    lines = []
    for each in chapters:
        lines.append(f"{each.paper.title} ({each.results.run.path.name})")
        if each.shortened:
            lines.append(f"  a shortened run: {each.shortened}")
        if each.other:
            lines.append(f"  not the paper's setting: {each.other}")
        for s in each.sections:
            some = [v for v in VERDICTS if s.counts[v]]
            lines.append(f"  {s.figure.id:8} {_counted(s, some) or 'no claims'}: {s.figure.shows}")
        failed, cut = each.troubles
        if failed or cut:
            lines.append(
                f"  {len(failed)} trainings failed and are in no mean; {len(cut)} levels have a "
                "layer that keeps nothing: the report names them"
            )
        beyond = each.counts[AGREES] - each.by_chance
        lines.append(
            f"  paper {each.paper.id}: {_counted(each, VERDICTS)}; {beyond:.1f} agreements beyond "
            "chance"
        )
    return "\n".join(lines)


def _counted(each: Section | Chapter, verdicts: Sequence[str]) -> str:
    chance = f" ({each.by_chance:.1f} expected by chance)"
    return ", ".join(
        f"{each.counts[v]} {_SHORT[v]}{chance if v == AGREES else ''}" for v in verdicts
    )


def page(chapters: Sequence[Chapter]) -> str:
    """The report as HTML: the same characters for the same runs."""
    title = "Papers: ours beside theirs"
    if len({each.paper.id for each in chapters}) == 1:
        title = f"Paper {chapters[0].paper.id}: ours beside theirs"
    sections = [s for number, each in enumerate(chapters) for s in _chapter(each, number)]
    return document.page(title, sections, lead=[_ABOUT])


def _chapter(each: Chapter, number: int) -> list[document.Section]:
    run = each.results.run
    parts: list[Part] = [Text([f"Run {run.path.name}."], "note")]
    if each.shortened:
        parts.append(Text([f"A shortened run: {each.shortened}."], "mark"))
    if each.other:
        said = f"Not the paper's setting, and where it matters not compared: {each.other}."
        parts.append(Text([said], "mark"))
    if not each.sections:
        parts.append(Text(["Nothing has been trained yet."], "note"))
    failed, cut = each.troubles
    if failed or cut:
        parts.append(Text([*failed, *cut], "note"))
    body = [
        [Cell(s.figure.id, anchor=_anchor(s, number)), s.figure.shows, *_numbers(s)]
        for s in each.sections
    ]
    heads = ["", "shows", "agree", "by chance", "differ", "not comparable"]
    parts.append(Table(heads, [*body, ["all", "", *_numbers(each)]], wordy=True))
    behind = [
        Fold("Settings", [Pairs(run.settings())]),
        Fold("Where it comes from", [Pairs(run.latest_provenance())]),
    ]
    return [
        document.Section(each.paper.title, parts),
        *(_section(s, each.paper.published, _anchor(s, number)) for s in each.sections),
        document.Section("", behind),
    ]


def _numbers(each: Section | Chapter) -> list[str]:
    agree, differ, others = (str(each.counts[v]) for v in VERDICTS)
    return [agree, f"{each.by_chance:.1f}", differ, others]


def _anchor(section: Section, number: int) -> str:
    return f"{section.figure.id}-{number}"


def _section(section: Section, published: Published, anchor: str) -> document.Section:
    figure = section.figure
    parts: list[Part] = [
        Picture(caption, drawn, absent=_NOTHING) for caption, drawn in section.drawings.items()
    ]
    if section.verdicts:
        heads = ["published", "in the paper", "theirs", "ours", "n", "verdict", "chance",
                 "rule, remarks"]  # fmt: skip
        shortened = bool(section.shortened)
        body = [_verdict(v, published, shortened=shortened) for v in section.verdicts]
        parts.append(Table(heads, body, wordy=True))
    return document.Section(f"{figure.id}: {figure.shows}", [*parts, *section.tables], anchor)


def _verdict(v: Verdict, published: Published, *, shortened: bool) -> list[str | Cell]:
    entry = v.entry
    spread = f" ({plain(entry.spread_or_p)})" if entry.spread_or_p is not None else ""
    theirs = f"{plain(entry.value)}{spread} {entry.unit or ''}".strip()
    if v.claim.instead is not None:
        theirs += f"; compared: {v.claim.instead:.1f}"
    said = [f"Rule: {v.claim.rule_text}."]
    if v.claim.remark:
        said.append(f"{v.claim.remark[0].upper()}{v.claim.remark[1:]}.")
    if entry.note:
        said.append(f"Note on the number: {entry.note}.")
    verdict = v.verdict
    if v.verdict == NOT_COMPARABLE:
        verdict += f": {v.reason}"
    elif shortened:
        verdict += " (shortened run)"
    ours = v.ours
    return [
        f"{entry.id} {entry.table_or_figure}",
        f"{entry.metric.replace('_', ' ')}: {entry.quote or _told_apart(entry, published)}",
        theirs,
        "-" if ours is None else str(ours),
        str(ours.n) if ours is not None and ours.n else "",
        Cell(verdict, {AGREES: "agrees", DIFFERS: "differs"}.get(v.verdict, "not")),
        "-" if v.chance != v.chance else f"{100 * v.chance:.2g} %",
        " ".join(said),
    ]


def _told_apart(entry: Entry, published: Published) -> str:
    """What sets an entry of a table apart from the others of the same table."""
    others: list[Mapping[str, Any]] = [e.setting for e in published.table(entry.table_or_figure)]
    return ", ".join(
        f"{name.replace('_', ' ')} {value}"
        for name, value in entry.setting.items()
        if any(other.get(name) != value for other in others)
    )
