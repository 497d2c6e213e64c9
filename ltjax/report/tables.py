"""Tables: the rows of a phase side by side, as text for the terminal."""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses

from ltjax.report import words
from ltjax.statistics import analysis
from ltjax.statistics.analysis import Row, Verdict
from ltjax.training.records import Record

_GAP = "  "


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """The rows of all arms that have the same level and the same counts.

    Attributes:
      any: one of them, for the level and the counts.
      rows: row by arm; an arm without this level is missing.
      verdicts: of the arms that have a dense network, against it.
    """

    any: Row
    rows: Mapping[str, Row]
    verdicts: Mapping[str, Verdict]

    def wins(self, arm: str) -> bool:
        """Whether an arm is a winning ticket here."""
        return arm in self.verdicts and self.verdicts[arm].wins


def lines(rows: Sequence[Row]) -> list[Line]:
    """The rows of one phase by level."""
    held = {
        (arm, v.row.level): v for arm in analysis.arms(rows) for v in analysis.winning(rows, arm)
    }
    groups: dict[tuple[int, int, int, int], dict[str, Row]] = {}
    for row in sorted(rows, key=lambda r: r.level):
        counts = (row.level, row.kept, row.prunable, row.total)
        groups.setdefault(counts, {})[row.arm] = row
    return [
        Line(
            any=next(iter(group.values())),
            rows=group,
            verdicts={arm: held[arm, level] for arm in group if (arm, level) in held},
        )
        for (level, *_), group in groups.items()
    ]


def table(records: Iterable[Record], *, width: int = 160) -> str:
    """The results as text in fixed columns, one block a phase.

    Where the arms do not fit side by side, accuracy and steps come in blocks of their own.

    Args:
      records: trainings of any phases.
      width: most characters in a line.
    """
    rows = analysis.summarize(records)
    parts = [_phase([r for r in rows if r.phase == p], width) for p in analysis.phases(rows)]
    return "\n\n".join([*parts, "\n".join(words.summary(rows))]) + "\n"


@dataclasses.dataclass(frozen=True)
class _Column:
    head: str
    cells: list[str]

    @property
    def width(self) -> int:
        return max(len(c) for c in [*_fold(self.head, self._room), *self.cells])

    @property
    def folded(self) -> list[str]:
        return _fold(self.head, self._room)

    @property
    def _room(self) -> int:
        return max(8, *(len(c) for c in self.cells))


def _phase(rows: Sequence[Row], width: int) -> str:
    table_lines, names = lines(rows), analysis.arms(rows)
    left = _counts(table_lines)
    accuracy = [_Column(a, _marked([_accuracy(n, a) for n in table_lines])) for a in names]
    steps = [_Column(f"{a} steps", [_steps(n, a) for n in table_lines]) for a in names]
    together = [c for pair in zip(accuracy, steps, strict=True) for c in pair]
    if _span([*left, *together]) <= width:
        blocks = [together]
    else:
        blocks = [*_split(left, accuracy, width), *_split(left, steps, width)]
    text = [_title(rows)]
    text += ["\n".join(_block([*left, *columns])) for columns in blocks]
    text[-1] += "".join(f"\n{note}" for note in _notes(rows))
    return "\n\n".join([*text, *_comparisons(rows, width)])


def _title(rows: Sequence[Row]) -> str:
    n = max(r.n + r.failed for r in rows)
    of = f"mean +-sd of {n} trainings" if n > 1 else "one training"
    text = (
        f"{rows[0].phase}: test accuracy in % ({of}), steps to the best evaluation;"
        " * marks a winning ticket"
    )
    return f"{text}\n{words.judged(rows)}\n{shared_sizes(rows)}".rstrip()


def _comparisons(rows: Sequence[Row], width: int) -> list[str]:
    """The paired verdicts: against the dense networks, and of each start point by control."""
    dense = {arm: analysis.winning(rows, arm) for arm in analysis.arms(rows)}
    blocks = _verdicts("Minus the dense network", dense, width)
    for start, controls in words.opponents(rows).items():
        held = {control: analysis.versus(rows, start, control) for control in controls}
        blocks += _verdicts(f"{start} minus the control", held, width)
    return blocks


def _verdicts(title: str, held: Mapping[str, Sequence[Verdict]], width: int) -> list[str]:
    """Blocks of verdicts, an arm a column; none where no arm has one."""
    held = {arm: verdicts for arm, verdicts in held.items() if words.has_verdicts(verdicts)}
    if not held:
        return []
    found = {arm: {v.row.level: v for v in verdicts} for arm, verdicts in held.items()}
    shown = {v.row.level: v.row for verdicts in held.values() for v in verdicts}
    left = [
        _Column("level", [str(level) for level in sorted(shown)]),
        _Column("density %", [words.percent(shown[level].density) for level in sorted(shown)]),
    ]
    columns = []
    for arm, by_level in found.items():
        cells = [by_level.get(level) for level in sorted(shown)]
        pairs = [(words.gain(v), f" {words.word(v)}") if v else ("-", "") for v in cells]
        columns.append(_Column(arm, _marked(pairs)))
    head = f"{title}, points of accuracy over pairs of replicates (95 % interval):"
    blocks = ["\n".join(_block([*left, *block])) for block in _split(left, columns, width)]
    return [f"{head}\n\n{blocks[0]}", *blocks[1:]]


def shared_sizes(rows: Sequence[Row]) -> str:
    """Says of how many weights the kept ones are, where that is the same in every row."""
    if (sizes := one_size(rows)) is None:
        return ""
    prunable, kernels, total = map(words.count, sizes)
    text = f"Kept: of {prunable} prunable weights, of {total} parameters in all."
    if not rows[0].dense:
        return text
    dense = ", ".join(f"{name} ({words.count(size)})" for name, size in rows[0].dense.items())
    return f"{text} All kernels: {kernels} weights. Left dense: {dense}."


def one_size(rows: Sequence[Row]) -> tuple[int, int, int] | None:
    """Prunable weights, those of all kernels, and all parameters, where every row has the same."""
    sizes = {(r.prunable, r.kernels, r.total) for r in rows}
    return next(iter(sizes)) if len(sizes) == 1 else None


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


def _counts(table_lines: Sequence[Line]) -> list[_Column]:
    rows = [n.any for n in table_lines]
    columns = [
        _Column("level", [str(r.level) for r in rows]),
        _Column("nominal density %", [words.percent(r.nominal) for r in rows]),
        _Column("density %", [words.percent(r.density) for r in rows]),
    ]
    if any(r.dense for r in rows):
        columns += [
            _Column("of all kernels %", [words.percent(r.density_of(r.kernels)) for r in rows]),
            _Column("of all parameters %", [words.percent(r.density_of(r.total)) for r in rows]),
        ]
    columns.append(_Column("kept", [words.count(r.kept) for r in rows]))
    if one_size(rows) is None:
        columns += [
            _Column("of prunable", [words.count(r.prunable) for r in rows]),
            _Column("of total", [words.count(r.total) for r in rows]),
        ]
    return columns


def _accuracy(line: Line, arm: str) -> tuple[str, str]:
    """Mean and deviation; star, layers that keep nothing, failures."""
    if arm not in line.rows:
        return "-", ""
    row = line.rows[arm]
    marks = ("*" if line.wins(arm) else " ") + ("!" if row.cut else "")
    if row.failed:
        marks += f" ({row.failed} failed)"
    return words.mean_sd(row.accuracy, row.accuracy_sd, sign="+-"), marks


def _marked(cells: Sequence[tuple[str, str]]) -> list[str]:
    """Numbers flush right, what follows them flush left."""
    room = max(len(mark) for _, mark in cells)
    return [text + mark.ljust(room) for text, mark in cells]


def _steps(line: Line, arm: str) -> str:
    return words.count(line.rows[arm].best_step) if arm in line.rows else "-"


def _split(left: list[_Column], columns: list[_Column], width: int) -> list[list[_Column]]:
    blocks: list[list[_Column]] = [[]]
    for column in columns:
        if blocks[-1] and _span([*left, *blocks[-1], column]) > width:
            blocks.append([])
        blocks[-1].append(column)
    return blocks


def _span(columns: Sequence[_Column]) -> int:
    return sum(c.width for c in columns) + len(_GAP) * (len(columns) - 1)


def _block(columns: Sequence[_Column]) -> list[str]:
    depth = max(len(c.folded) for c in columns)
    padded = [
        [""] * (depth - len(c.folded)) + c.folded + ["-" * c.width] + c.cells for c in columns
    ]
    return [
        _GAP.join(cell.rjust(c.width) for cell, c in zip(line, columns, strict=True)).rstrip()
        for line in zip(*padded, strict=True)
    ]


def _fold(head: str, room: int) -> list[str]:
    """Breaks a heading at spaces, underscores and hyphens into lines of at most `room`."""
    pieces = head.replace("_", "_ ").replace("-", "- ").split()
    folded = [""]
    for piece in pieces:
        glue = "" if folded[-1].endswith(("_", "-")) or not folded[-1] else " "
        if folded[-1] and len(folded[-1] + glue + piece) > room:
            folded.append(piece)
        else:
            folded[-1] += glue + piece
    return folded
