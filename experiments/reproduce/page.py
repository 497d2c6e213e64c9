"""The comparison report: ours beside theirs, a verdict for every published number and claim."""

from collections import Counter
from collections.abc import Mapping, Sequence
import dataclasses
import html
import math
from typing import TYPE_CHECKING, Any

from experiments.reproduce.rows import (
    AGREES,
    DIFFERS,
    NOT_COMPARABLE,
    Absent,
    Experiment,
    Paper,
    Quantity,
    Table,
    Verdict,
    judge,
)
from experiments.reproduce.trained import Results
from ltjax import analysis, config, published
from ltjax.published import Published
from ltjax.report import blocks, document, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_VERDICTS = (AGREES, DIFFERS, NOT_COMPARABLE)

_ABOUT = (
    "A verdict says whether our number agrees with the published one by the rule in its row, which "
    "knows our numbers only. Intervals of ours are 95 %: paired bootstrap over trials, "
    "Wilson's for percentages of networks."
)


@dataclasses.dataclass(frozen=True)
class Section:
    """One experiment of a run, judged and drawn."""

    row: Experiment
    verdicts: tuple[Verdict, ...]
    figures: Mapping[str, "Figure"]
    tables: Sequence[Table]
    shortened: tuple[str, ...]
    other: tuple[str, ...]
    """Settings that differ from the paper's: those that shorten, and those that change it."""

    @property
    def counts(self) -> Counter[str]:
        """How many claims have each verdict."""
        return Counter(v.verdict for v in self.verdicts)


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


def chapter(paper: Paper, results: Results) -> Chapter:
    """Judges and draws what a run has trained so far."""
    printed = config.as_dict(paper.settings(), identity_only=True)
    ours = config.as_dict(results.settings, identity_only=True)
    changed = {n: (ours[n], printed[n]) for n in printed if ours[n] != printed[n]}
    sections = []
    for row in paper.experiments(results.settings):
        names = [name for work in row.works for name in work.names()]
        if names and not any(map(results.has, names)):
            continue
        said = {
            n: f"{n} = {_plain(a)} (paper: {_plain(b)})"
            for n, (a, b) in changed.items()
            if row.depends(n)
        }
        shortened = tuple(text for n, text in said.items() if n in paper.shortens)
        other = tuple(text for n, text in said.items() if n not in paper.shortens)
        bar = f"another setting: {'; '.join(other)}" if other else ""
        verdicts = tuple(
            judge(claim, published.entry(claim.published), results, bar=bar) for claim in row.claims
        )
        drawn: Mapping[str, Figure] = {}
        if style.available():
            import matplotlib

            with matplotlib.rc_context(style.RC):
                drawn = row.figures(results)
        sections.append(Section(row, verdicts, drawn, row.tables(results), shortened, other))
    return Chapter(paper, results, tuple(sections))


def page(chapters: Sequence[Chapter]) -> str:
    """The report as HTML: the same characters for the same runs."""
    title = (
        f"Paper {chapters[0].paper.id}: ours beside theirs"
        if len({c.paper.id for c in chapters}) == 1
        else "Papers: ours beside theirs"
    )
    parts = [blocks.paragraphs([_ABOUT], "lead")]
    if not style.available():
        parts.append(blocks.paragraphs([style.MISSING_PLOTS], "note"))
    for number, each in enumerate(chapters):
        parts += _chapter(each, number)
    return document.shell(title, parts)


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
            counts = ", ".join(f"{s.counts[v]} {v}" for v in _VERDICTS if s.counts[v])
            lines.append(f"  {s.row.id:8} {counts or 'no claims'}: {s.row.shows}")
        total = ", ".join(f"{each.counts[v]} {v}" for v in _VERDICTS)
        lines.append(f"  in all: {total}")
    return "\n".join(lines)


def warnings(results: Results, rows: Sequence[Experiment]) -> list[str]:
    """One sentence for each training of the rows that failed, and for layers that keep nothing."""
    names = dict.fromkeys(n for row in rows for work in row.works for n in work.names())
    records = [record for name in names for record in results.records(name)]
    return [*analysis.failures(records), *analysis.cut_layers(records)]


def _chapter(each: Chapter, number: int) -> list[str]:
    run = each.results.run
    parts = [f"<h2>{html.escape(each.paper.title)}</h2>"]
    parts.append(blocks.paragraphs([f"Run {run.path.name}."], "note"))
    if each.shortened:
        text = f"A shortened run: {'; '.join(each.shortened)}."
        parts.append(blocks.paragraphs([text], "mark"))
    if each.other:
        text = (
            f"Not the paper's setting, and where it matters not compared: {'; '.join(each.other)}."
        )
        parts.append(blocks.paragraphs([text], "mark"))
    if not each.sections:
        parts.append(blocks.paragraphs(["Nothing has been trained yet."], "note"))
    if said := warnings(each.results, [s.row for s in each.sections]):
        parts.append(blocks.paragraphs(said, "note"))
    heads = ["", "shows", *_VERDICTS]
    body = [
        f'<td><a href="#{_anchor(s, number)}">{s.row.id}</a></td>'
        + "".join(map(blocks.cell, [s.row.shows, *[str(s.counts[v]) for v in _VERDICTS]]))
        for s in each.sections
    ]
    body.append("".join(map(blocks.cell, ["all", "", *[str(each.counts[v]) for v in _VERDICTS]])))
    parts.append(_words_table(heads, body))
    for section in each.sections:
        parts += _section(section, _anchor(section, number))
    parts += [
        blocks.details("Settings", blocks.pairs(run.settings())),
        blocks.details("Where it comes from", blocks.pairs(run.latest_provenance())),
    ]
    return parts


def _anchor(section: Section, number: int) -> str:
    return f"{section.row.id}-{number}"


def _section(section: Section, anchor: str) -> list[str]:
    row = section.row
    parts = [f'<h2 id="{anchor}">{row.id}: {html.escape(row.shows)}</h2>']
    parts += [document.picture(figure, caption) for caption, figure in section.figures.items()]
    if section.verdicts:
        heads = ["published", "in the paper", "theirs", "ours", "n", "verdict", "rule, remarks"]
        body = [_verdict(v, shortened=bool(section.shortened)) for v in section.verdicts]
        parts.append(_words_table(heads, body))
    parts += [blocks.details(t.title, _table(t), shown=t.shown) for t in section.tables]
    return parts


def _verdict(v: Verdict, *, shortened: bool) -> str:
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
    cells = [
        f"{entry.id}\n{entry.table_or_figure}",
        f"{entry.metric.replace('_', ' ')}: {entry.quote or _setting(entry)}",
        theirs,
        _ours(v.ours),
        str(v.ours.n) if isinstance(v.ours, Quantity) and v.ours.n else "",
    ]
    return (
        "".join(map(blocks.cell, cells))
        + f'<td class="{kind}">{html.escape(verdict)}</td>'
        + blocks.cell(" ".join(said))
    )


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
    text = _number(ours.value)
    if not math.isnan(ours.low):
        text += f" ({_number(ours.low)} to {_number(ours.high)})"
    return text


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_plain(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ",".join(map(_plain, value))
    return str(value)


def _table(table: Table) -> str:
    head = f"<tr>{blocks.heads(table.heads)}</tr>"
    return blocks.table(table.note, head, ["".join(map(blocks.cell, row)) for row in table.body])


def _words_table(heads: Sequence[str], body: Sequence[str]) -> str:
    made = blocks.table("", f"<tr>{blocks.heads(heads)}</tr>", body)
    return made.replace("<table>", '<table class="words">', 1)
