"""Blocks: the parts of the page as HTML; every text that comes from outside is escaped here."""

from collections.abc import Iterable, Mapping, Sequence
import html
import math
from typing import Any

from ltjax.report import layers, words
from ltjax.report.tables import Line, lines, one_size, shared_sizes
from ltjax.statistics import analysis
from ltjax.statistics.analysis import Row, Verdict

READING = (
    "Accuracies are in percent of the test set, as mean \N{PLUS-MINUS SIGN} standard deviation "
    "(n - 1) over the trainings that did not fail; how many failed stands beside them. Gains are "
    "paired by replicate, in percentage points, with the 95 % interval of Student's t; their "
    "spread counts as at least that of rounding to test examples. A dagger marks a level at which "
    "some layer keeps no weight; the notes name it."
)


def paragraphs(sentences: Sequence[str], kind: str) -> str:
    """Sentences, one paragraph each, in a block of the given class."""
    inner = "\n".join(f"<p>{html.escape(s)}</p>" for s in sentences)
    return f'<div class="{kind}">\n{inner}\n</div>'


def bullets(sentences: Iterable[str]) -> str:
    """Sentences as a list."""
    return "<ul>\n" + "\n".join(f"<li>{html.escape(s)}</li>" for s in sentences) + "\n</ul>"


def details(head: str, inner: str, *, shown: bool = False) -> str:
    """A block that opens and closes on a click; closed at first, unless it is `shown`."""
    kind = " open" if shown else ""
    return f"<details{kind}>\n<summary>{html.escape(head)}</summary>\n{inner}\n</details>"


def pairs(mapping: Mapping[str, Any]) -> str:
    """Names and values as a table of two columns."""
    body = "\n".join(
        f'<tr><th scope="row">{html.escape(str(name))}</th>{cell(_plain(value))}</tr>'
        for name, value in mapping.items()
    )
    return f'<table class="pairs">\n<tbody>\n{body}\n</tbody>\n</table>'


def results(rows: Sequence[Row]) -> str:
    """Levels down, arms across: accuracy and steps to the best evaluation.

    Args:
      rows: the rows of one phase.
    """
    names = analysis.arms(rows)
    over = "".join(f'<th colspan="3" scope="colgroup">{html.escape(a)}</th>' for a in names)
    counts = ["kept"] if one_size(rows) else ["kept", "of prunable", "of total"]
    head = heads(
        ["level", "nominal", "density", *counts, *["accuracy", "steps", "to dense"] * len(names)]
    )
    body = [
        _counts(n.any, len(counts)) + "".join(_result(n, a) for a in names) for n in lines(rows)
    ]
    return table(
        "Density and accuracy in percent; steps to the best evaluation; the paired verdict. Green "
        f"and a star: a winning ticket. {words.judged(rows)} {shared_sizes(rows)}".strip(),
        '<tr><th></th><th colspan="2" scope="colgroup">density</th>'
        f'<th colspan="{len(counts)}"></th>{over}</tr>\n<tr>{head}</tr>',
        body,
    )


_PAIRED = ("gain and 95 % interval", "pairs", "verdict")


def full(rows: Sequence[Row]) -> str:
    """One table an arm with everything that a row holds, and its gain on the dense one."""
    names = ["level", "density", "accuracy", "final accuracy", "steps to best", "trainings"]
    tables = []
    for arm in analysis.arms(rows):
        verdicts = {v.row.level: v for v in analysis.winning(rows, arm)}
        body = [_numbers(r, verdicts.get(r.level)) for r in rows if r.arm == arm]
        tables.append(f"<h3>{html.escape(arm)}</h3>")
        tables.append(table("", f"<tr>{heads([*names, 'failed', *_PAIRED])}</tr>", body))
    return "\n".join(tables)


def opponents(rows: Sequence[Row]) -> str:
    """One table for each start point and control: what the ticket gains on it; maybe empty."""
    tables = []
    for start, controls in words.opponents(rows).items():
        for control in controls:
            if verdicts := analysis.versus(rows, start, control):
                tables.append(f"<h3>{html.escape(f'{start} minus {control}')}</h3>")
                body = [
                    "".join(
                        map(cell, [str(v.row.level), words.percent(v.row.density), *_paired(v)])
                    )
                    for v in verdicts
                ]
                head = heads(["level", "density", *_PAIRED])
                tables.append(table("", f"<tr>{head}</tr>", body))
    return "\n".join(tables)


def _paired(verdict: Verdict | None) -> list[str]:
    if verdict is None:
        return [""] * len(_PAIRED)
    return [words.gain(verdict), str(verdict.pairs), words.word(verdict)]


def layer_table(rows: Sequence[Row]) -> str:
    """Density of each prunable layer by level; arms with the same layer counts share a table."""
    tables = []
    for title, group in layers.same_layers(rows).items():
        sizes = [f"{name} ({words.count(size)})" for name, (_, size) in group[0].layers.items()]
        body = []
        for row in group:
            densities = row.layer_densities
            shares = [words.percent(densities.get(name, math.nan)) for name in row.layers]
            body.append("".join(map(cell, [str(row.level), words.percent(row.density), *shares])))
        tables.append(f"<h3>{html.escape(title)}</h3>")
        tables.append(table("", f"<tr>{heads(['level', 'all', *sizes])}</tr>", body))
    return "\n".join(tables)


def _counts(row: Row, columns: int) -> str:
    densities = [words.percent(row.nominal), words.percent(row.density)]
    counts = [words.count(n) for n in (row.kept, row.prunable, row.total)[:columns]]
    return "".join(map(cell, [str(row.level), *densities, *counts]))


def _result(line: Line, arm: str) -> str:
    if arm not in line.rows:
        return '<td class="arm"></td><td></td><td></td>'
    row, verdict = line.rows[arm], line.verdicts.get(arm)
    accuracy = _spread(row.accuracy, row.accuracy_sd)
    accuracy += f" ({row.failed} failed)" if row.failed else ""
    win, star = (" win", "*") if verdict and verdict.wins else ("", "")
    dagger = "\N{DAGGER}" if row.cut else ""
    word = verdict.word if verdict else ""
    return (
        f'<td class="arm{win}">{accuracy}{dagger}<span class="star">{star}</span></td>'
        f'<td class="steps{win}">{words.count(row.best_step)}</td><td>{word}</td>'
    )


def _numbers(row: Row, verdict: Verdict | None) -> str:
    steps = words.count(row.best_step)
    if not math.isnan(row.best_step_sd):
        steps += f' <span class="sd">\N{PLUS-MINUS SIGN} {words.count(row.best_step_sd)}</span>'
    cells = [
        str(row.level),
        words.percent(row.density),
        _spread(row.accuracy, row.accuracy_sd),
        _spread(row.final_accuracy, row.final_accuracy_sd),
        steps,
        str(row.n),
        str(row.failed),
    ]
    cells += map(html.escape, _paired(verdict))
    kind = ' class="win"' if verdict and verdict.wins else ""
    return "".join(f"<td{kind}>{c}</td>" for c in cells)


def _spread(mean: float, sd: float) -> str:
    if math.isnan(sd):
        return words.percent(mean)
    return f'{words.percent(mean)} <span class="sd">\N{PLUS-MINUS SIGN} {100 * sd:.2f}</span>'


def heads(names: Iterable[str]) -> str:
    """Cells of a head row."""
    return "".join(f'<th scope="col">{html.escape(n)}</th>' for n in names)


def cell(text: str) -> str:
    """A cell of a body row."""
    return f"<td>{html.escape(text)}</td>"


def table(caption: str, head: str, body: Iterable[str]) -> str:
    """A table of ready rows; it scrolls sideways where it is too wide.

    Args:
      caption: plain text, or empty.
      head: rows of the head, as HTML.
      body: cells of each row, as HTML.
    """
    rows = "\n".join(f"<tr>{row}</tr>" for row in body)
    title = f'<p class="caption">{html.escape(caption)}</p>\n' if caption else ""
    return (
        f'{title}<div class="scroll">\n<table>\n<thead>\n{head}\n</thead>\n'
        f"<tbody>\n{rows}\n</tbody>\n</table>\n</div>"
    )


def _plain(value: Any) -> str:
    """Lists and mappings without brackets and quotes; anything else as Python writes it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(each)}" for name, each in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value)
