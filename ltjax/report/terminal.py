"""Tables as text in fixed columns, for the terminal."""

from collections.abc import Iterable, Sequence
import itertools

from ltjax.report import run_tables, wording
from ltjax.report.document import Cell, Table
from ltjax.statistics import analysis
from ltjax.statistics.analysis import Row
from ltjax.training.records import Record

_GAP = "  "


def table(records: Iterable[Record], *, width: int = 160) -> str:
    """The results of a run as text: for each phase accuracies and steps by arm, then gains.

    Args:
      records: trainings of any phases.
      width: most characters in a line; arms that do not fit side by side come below.
    """
    rows = analysis.summarize(records)
    parts = [_phase([r for r in rows if r.phase == p], width) for p in analysis.phases(rows)]
    return "\n\n".join([*parts, "\n".join(wording.summary(rows))]) + "\n"


def _phase(rows: Sequence[Row], width: int) -> str:
    trainings = f"{n} trainings" if (n := max(r.n + r.failed for r in rows)) > 1 else "one training"
    head = f"{rows[0].phase} ({trainings}): {wording.title(rows)}"
    notes = [
        f"{r.arm}, level {r.level}: {r.failed} of {r.n + r.failed} trainings failed: a loss; "
        "the means are of the others"
        for r in rows
        if r.failed
    ]
    notes += [
        f"! {r.arm}, level {r.level}: no weight is kept in {', '.join(r.cut)}"
        for r in rows
        if r.cut
    ]
    gains = [*run_tables.against_dense(rows), *run_tables.against_controls(rows)]
    results = "\n".join([text(run_tables.results(rows), width), *notes])
    return "\n\n".join([head.replace(". ", ".\n"), results, *(text(t, width) for t in gains)])


def text(table: Table, width: int) -> str:
    """A table in blocks of at most `width` characters a line, each behind the columns on the left.

    The columns that have a name over them stay together.
    """
    columns = [_column(head, cells) for head, *cells in zip(table.heads, *table.body, strict=True)]
    each = iter(columns)
    groups = [_group(name, list(itertools.islice(each, span))) for name, span in table.over]
    blocks = [groups[: table.left]]
    for group in groups[table.left :]:
        wide = sum(len(own[0]) + len(_GAP) for own in [*blocks[-1], group]) - len(_GAP)
        if wide > width and len(blocks[-1]) > table.left:
            blocks.append(groups[: table.left])
        blocks[-1] = [*blocks[-1], group]
    made = ["\n".join(_GAP.join(n).rstrip() for n in zip(*own, strict=True)) for own in blocks]
    return "\n\n".join([f"{table.title}:", *made] if table.title else made)


def _group(name: str, columns: Sequence[Sequence[str]]) -> list[str]:
    lines = [name, *(_GAP.join(cells) for cells in zip(*columns, strict=True))]
    return [line.rjust(max(map(len, lines))) for line in lines]


def _column(head: str, cells: Sequence[str | Cell]) -> list[str]:
    """Numbers flush right, what follows them flush left."""
    every = [c if isinstance(c, Cell) else Cell(c) for c in cells]
    ends = [_plain(c.after) + "*" * bool(c.star) for c in every]
    room = max(map(len, ends))
    said = [_plain(f"{c.text} {c.faint}".strip()) for c in every]
    lines = [(s or "-") + end.ljust(room) for s, end in zip(said, ends, strict=True)]
    width = max(map(len, [head, *lines]))
    return [head.rjust(width), "-" * width, *(line.rjust(width) for line in lines)]


def _plain(text: str) -> str:
    return text.replace("\N{PLUS-MINUS SIGN} ", "+-").replace("\N{DAGGER}", "!")
