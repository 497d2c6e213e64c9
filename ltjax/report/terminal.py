"""The rows of a phase side by side, as text in fixed columns for the terminal."""

from collections.abc import Iterable, Mapping, Sequence

from ltjax.report import grouping, wording
from ltjax.report.grouping import Level
from ltjax.statistics import analysis
from ltjax.statistics.analysis import Row, Verdict
from ltjax.training.records import Record

_GAP = "  "


class _Column:
    """A column: its heading, folded to about the width of its cells, and the cells."""

    def __init__(self, head: str, cells: Sequence[str]):
        self.head = _fold(head, max(8, *map(len, cells)))
        self.cells = cells
        self.width = max(map(len, [*self.head, *cells]))


def table(records: Iterable[Record], *, width: int = 160) -> str:
    """The results as text in fixed columns, one block a phase.

    Where the arms do not fit side by side, accuracy and steps come in blocks of their own.

    Args:
      records: trainings of any phases.
      width: most characters in a line.
    """
    rows = analysis.summarize(records)
    parts = [_phase([r for r in rows if r.phase == p], width) for p in analysis.phases(rows)]
    return "\n\n".join([*parts, "\n".join(wording.summary(rows))]) + "\n"


def _phase(rows: Sequence[Row], width: int) -> str:
    levels, names = grouping.by_level(rows), analysis.arms(rows)
    left = _counts(rows, [level.any for level in levels])
    accuracy = [_Column(a, _marked([_accuracy(n, a) for n in levels])) for a in names]
    steps = [
        _Column(
            f"{a} steps",
            [wording.count(n.rows[a].best_step) if a in n.rows else "-" for n in levels],
        )
        for a in names
    ]
    together = [c for pair in zip(accuracy, steps, strict=True) for c in pair]
    blocks = _blocks(left, together, width)
    if len(blocks) > 1:
        blocks = [*_blocks(left, accuracy, width), *_blocks(left, steps, width)]
    n = max(r.n + r.failed for r in rows)
    of = f"mean +-sd of {n} trainings" if n > 1 else "one training"
    title = (
        f"{rows[0].phase}: test accuracy in % ({of}), steps to the best evaluation;"
        f" * marks a winning ticket\n{wording.judged(rows)}\n{wording.sizes(rows)}"
    )
    blocks[-1] = "\n".join([blocks[-1], *_notes(rows)])
    found = _verdicts("Minus the dense network", grouping.against_dense(rows), width)
    for start, held in grouping.against_controls(rows).items():
        found += _verdicts(f"{start} minus the control", held, width)
    return "\n\n".join([title.rstrip(), *blocks, *found])


def _verdicts(title: str, held: Mapping[str, Sequence[Verdict]], width: int) -> list[str]:
    """Blocks of verdicts, an arm a column; none where no arm has one."""
    held = {arm: verdicts for arm, verdicts in held.items() if wording.has_verdicts(verdicts)}
    if not held:
        return []
    shown = {v.row.level: v.row.density for verdicts in held.values() for v in verdicts}
    levels = sorted(shown)
    left = [
        _Column("level", [str(level) for level in levels]),
        _Column("density %", [wording.percent(shown[level]) for level in levels]),
    ]
    columns = []
    for arm, verdicts in held.items():
        said = {v.row.level: (wording.gain(v), f" {wording.word(v)}") for v in verdicts}
        columns.append(_Column(arm, _marked([said.get(level, ("-", "")) for level in levels])))
    head = f"{title}, points of accuracy over pairs of replicates (95 % interval):"
    return [head, *_blocks(left, columns, width)]


def _notes(rows: Sequence[Row]) -> list[str]:
    failed = [
        f"{r.arm}, level {r.level}: {r.failed} of {r.n + r.failed} trainings failed: a loss; "
        "the means are of the others"
        for r in rows
        if r.failed
    ]
    cut = [
        f"! {r.arm}, level {r.level}: no weight is kept in {', '.join(r.cut)}"
        for r in rows
        if r.cut
    ]
    return failed + cut


def _counts(every: Sequence[Row], rows: Sequence[Row]) -> list[_Column]:
    columns = {
        "level": [str(r.level) for r in rows],
        "nominal density %": [wording.percent(r.nominal) for r in rows],
        "density %": [wording.percent(r.density) for r in rows],
    }
    if any(r.dense for r in rows):
        columns["of all kernels %"] = [wording.percent(r.density_of(r.kernels)) for r in rows]
        columns["of all parameters %"] = [wording.percent(r.density_of(r.total)) for r in rows]
    columns["kept"] = [wording.count(r.kept) for r in rows]
    if grouping.one_size(every) is None:
        columns["of prunable"] = [wording.count(r.prunable) for r in rows]
        columns["of total"] = [wording.count(r.total) for r in rows]
    return [_Column(head, cells) for head, cells in columns.items()]


def _accuracy(level: Level, arm: str) -> tuple[str, str]:
    """Mean and deviation; star, layers that keep nothing, failures."""
    if arm not in level.rows:
        return "-", ""
    row = level.rows[arm]
    wins = arm in level.verdicts and level.verdicts[arm].wins
    marks = ("*" if wins else " ") + ("!" if row.cut else "")
    if row.failed:
        marks += f" ({row.failed} failed)"
    return wording.mean_sd(row.accuracy, row.accuracy_sd, sign="+-"), marks


def _marked(cells: Sequence[tuple[str, str]]) -> list[str]:
    """Numbers flush right, what follows them flush left."""
    room = max(len(mark) for _, mark in cells)
    return [text + mark.ljust(room) for text, mark in cells]


def _blocks(left: Sequence[_Column], columns: Sequence[_Column], width: int) -> list[str]:
    """The columns in as many blocks as the width asks for, each behind those on the left."""
    blocks: list[list[_Column]] = [[]]
    for column in columns:
        wide = sum(c.width + len(_GAP) for c in [*left, *blocks[-1], column]) - len(_GAP)
        if blocks[-1] and wide > width:
            blocks.append([])
        blocks[-1].append(column)
    return [_block([*left, *block]) for block in blocks]


def _block(columns: Sequence[_Column]) -> str:
    depth = max(len(c.head) for c in columns)
    padded = [[""] * (depth - len(c.head)) + c.head + ["-" * c.width, *c.cells] for c in columns]
    return "\n".join(
        _GAP.join(cell.rjust(c.width) for cell, c in zip(line, columns, strict=True)).rstrip()
        for line in zip(*padded, strict=True)
    )


def _fold(head: str, room: int) -> list[str]:
    """Breaks a heading at spaces, underscores and hyphens into lines of at most `room`."""
    folded = [""]
    for piece in head.replace("_", "_ ").replace("-", "- ").split():
        glue = "" if folded[-1].endswith(("_", "-")) or not folded[-1] else " "
        if folded[-1] and len(folded[-1] + glue + piece) > room:
            folded.append(piece)
        else:
            folded[-1] += glue + piece
    return folded
