"""Running a paper: choosing experiments, listing them, training what is missing, reporting."""

from collections.abc import Collection, Iterable, Iterator, Sequence
import dataclasses
import pathlib
import sys
from typing import Any

from experiments import memory
from experiments import settings as settings_
from experiments.papers import published
from experiments.reproduce import page
from experiments.reproduce import works as works_
from experiments.reproduce.effects import without_effect
from experiments.reproduce.lab import Lab
from experiments.reproduce.papers import PAPERS
from experiments.reproduce.rows import Experiment, Paper
from experiments.reproduce.trained import Results
from experiments.reproduce.works import Piece
from ltjax.command import config
from ltjax.command.paths import write_whole
from ltjax.command.progress import Progress, duration
from ltjax.core import trees
from ltjax.report import style
from ltjax.statistics import analysis
from ltjax.storage import run_directory as rundir
from ltjax.storage.journal import Journal
from ltjax.storage.run_directory import RunDirectory

_UNIT = 3e-3  # Of work: about a microsecond of one core for each step and weight of a network.


def main(paper: Paper, settings: Any, given: Collection[str] = ()) -> int:
    """A whole reproduction: lists, or trains what is missing and reports; the exit code.

    Args:
      paper: the paper.
      settings: its settings.
      given: the fields whose flags stand on the command line.
    """
    settings_.use_devices(settings.devices)
    every = paper.experiments(settings)
    rows = choose(every, settings.experiments)
    check_published(rows)
    check_effects(paper, settings, rows, given)
    lab = paper.lab(settings)
    if settings.list or settings.dry_run:
        for line in listing(rows, lab, measure=not settings.dry_run):
            print(line, flush=True)
    if settings.dry_run:
        print(f"would go to {open_run(paper, settings).path}")
    if settings.list or settings.dry_run:
        return 0
    run = train(paper, settings, rows, lab)
    print(write_report([run.path], run.path))
    return exit_code(run, rows)


def check_effects(
    paper: Paper, settings: Any, rows: Sequence[Experiment], given: Collection[str]
) -> None:
    """Refuses flags that act on none of the chosen experiments.

    Raises:
      ValueError: naming them, and the experiments that they act on.
    """
    idle = without_effect(paper, settings, rows, given)
    if not idle:
        return
    every = paper.experiments(settings)
    acted = [
        row.id for row in every if len(without_effect(paper, settings, [row], idle)) < len(idle)
    ]
    chosen, others = (", ".join(ids) for ids in ([row.id for row in rows], acted))
    raise ValueError(
        f"{', '.join(f'--{name}' for name in idle)} has no effect on {chosen}; drop it, or take "
        f"experiments that it acts on: {others or 'none here'}"
    )


def choose(rows: Sequence[Experiment], names: Sequence[str]) -> list[Experiment]:
    """The experiments with these ids, in the order of the paper; all where there are no names.

    Raises:
      ValueError: an unknown id, with the near ones.
    """
    by_id = {row.id: row for row in rows}
    for name in names:
        _ = trees.lookup(by_id, name, "experiment")
    return [row for row in rows if not names or row.id in names]


def check_published(rows: Sequence[Experiment]) -> None:
    """Refuses rows whose claims name entries that were never published.

    Raises:
      ValueError: with the missing ids.
    """
    for row in rows:
        if lost := published.missing(claim.published for claim in row.claims):
            raise ValueError(
                f"{row.id} is held against {', '.join(lost)}, which published.json lacks; "
                "correct the row or add the entry"
            )


def open_run(paper: Paper, settings: Any, lab: Lab | None = None) -> RunDirectory:
    """The directory of a reproduction with these settings; touches no disk.

    Args:
      paper: the paper.
      settings: its settings.
      lab: what the paper's facts are read from; without one none are recorded.
    """
    facts = {} if lab is None else paper.facts(settings, lab)
    values = config.as_dict(settings, identity_only=True)
    return RunDirectory(
        settings.out,
        config.run_id(settings, prefix=f"paper-{paper.id}", version=paper.version),
        {"paper": paper.id, "version": paper.version, **values},
        rundir.provenance(settings.seed) | ({"facts": dict(facts)} if facts else {}),
    )


def train(paper: Paper, settings: Any, rows: Sequence[Experiment], lab: Lab) -> RunDirectory:
    """Trains what the rows need and the run lacks."""
    works = list(dict.fromkeys(work for row in rows for work in row.works))
    pieces = {p.name: p for p in works_.all_pieces(works, lab)}
    check_memory(pieces.values())
    run = open_run(paper, settings, lab)
    total = sum(p.steps * _weight(p) for p in pieces.values())
    counted: set[str] = set()

    def weight(name: str) -> int:
        if name in counted:  # Read again by another family.
            return 0
        counted.add(name)
        return _weight(pieces[name])

    progress = Progress(total, unit="unit", label=f"paper {paper.id}")
    with run.create(), progress:
        left = works_.unfinished(works, lab, run.piece_done)
        needed = {p.name for p in works_.all_pieces(left, lab)}
        for name in pieces.keys() - needed:
            progress.skip(pieces[name].steps * weight(name))
        keep = Journal(
            run,
            progress,
            steps=lambda name: pieces[name].steps,
            weight=weight,
            every=settings.save_seconds,
        )
        works_.run(left, lab, keep)
    return run


def _weight(piece: Piece) -> int:
    return max(1, round(piece.members * piece.weights * _UNIT))


def check_memory(pieces: Iterable[Piece]) -> None:
    """Refuses populations that cannot fit.

    Raises:
      ValueError: with the numbers.
    """
    for p in pieces:  # Weights, their start, an optimizer's state and a mask at least.
        memory.check(13 * p.members * p.weights, f"{p.members} networks {p.model} side by side")


def listing(rows: Sequence[Experiment], lab: Lab, *, measure: bool = True) -> Iterator[str]:
    """Lines of `--list`, as they come: ids, trainings, and an estimate of the time.

    Args:
      rows: the experiments.
      lab: what trains them.
      measure: estimate the time, by a few steps of each model; `--dry_run` does not.
    """
    speeds: dict[str, float] = {}
    every = works_.all_pieces((w for row in rows for w in row.works), lab)
    check_memory(every)
    at_most = "at most " if lab.stop else ""

    def line(name: str, pieces: Sequence[Piece], shows: str) -> str:
        time = ""
        if measure:
            for p in pieces:
                if p.model not in speeds:
                    speeds[p.model] = p.probe()
            spent = duration(sum(p.members * p.steps * speeds[p.model] for p in pieces))
            time = f"  {at_most + spent:>20}"
        return f"{name:8} {sum(p.members for p in pieces):>10,}{time}  {shows}"

    yield f"{'':8} {'trainings':>10}" + f"  {'alone here':>20}" * measure + "  shows"
    for row in rows:
        yield line(row.id, works_.all_pieces(row.works, lab), row.shows)
    yield line("all", every, "what they share is trained once")


def runs_in(path: pathlib.Path) -> list[pathlib.Path]:
    """The reproductions in a directory, or the directory itself where it is one.

    Raises:
      ValueError: where there is none.
    """
    found = [path] if _paper_of(path) in PAPERS else []
    if not found and path.is_dir():
        found = sorted(p for p in path.iterdir() if _paper_of(p) in PAPERS)
    if not found:
        known = ", ".join(PAPERS)
        raise ValueError(f"no reproduction of a paper ({known}) in {path}; run one first")
    return found


def _paper_of(path: pathlib.Path) -> Any:
    if not (path / "settings.json").exists():
        return None
    return str(RunDirectory.at(path).settings().get("paper"))


def read(path: pathlib.Path) -> tuple[Paper, Results]:
    """A run of a paper with its settings; on standard error which of its pieces are damaged.

    Raises:
      ValueError: where the run was made with another version of the settings.
    """
    run = RunDirectory.at(path)
    values = run.settings()
    paper = trees.lookup(PAPERS, str(values.pop("paper", "")), "paper")
    version = values.pop("version", None)
    fields = {f.name: f for f in dataclasses.fields(paper.settings) if f.metadata["identity"]}
    strange = sorted(values.keys() ^ fields.keys())
    if version != paper.version or strange:
        why = f"version {version} instead of {paper.version}"
        if version == paper.version:
            why = f"with or without {', '.join(strange)}"
        raise ValueError(
            f"{path} was made by another version of the settings of paper {paper.id} ({why}); "
            "run the command again with this one, or report it with the other"
        )
    settings = config.from_dict(paper.settings, values, what=str(run.settings_file))
    for fault in run.lost():
        print(f"note: {fault}; it is left out, run its command again", file=sys.stderr)
    return paper, Results(run, settings, criterion=getattr(settings, "criterion", None))


def write_report(paths: Sequence[pathlib.Path], where: pathlib.Path) -> str:
    """Writes report.html and the figures to `where`; returns the verdicts as text."""
    chapters = [page.chapter(*read(path)) for path in paths]
    for each in chapters:
        check_published([section.row for section in each.sections])
    figures = where / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    for number, each in enumerate(chapters):
        prefix = f"{each.results.run.path.name}_" if number or len(chapters) > 1 else ""
        for section in each.sections:
            for i, figure in enumerate(section.figures.values(), 1):
                name = f"{prefix}{section.row.id}_{i}"
                write_whole(figures / f"{name}.png", style.png(figure))
                write_whole(figures / f"{name}.svg", style.svg(figure))
    write_whole(where / "report.html", page.page(chapters))
    return f"{page.summary(chapters)}\nreport: {where / 'report.html'}"


def exit_code(run: RunDirectory, rows: Sequence[Experiment]) -> int:
    """1 where a training had no result, after naming it; 0 otherwise."""
    names = dict.fromkeys(n for row in rows for work in row.works for n in work.names())
    records = [record for n in names for record in run.read_piece(n)]
    failed = analysis.failures(records)
    for line in [*failed, *analysis.cut_layers(records)]:
        print(f"warning: {line}", file=sys.stderr)
    return 1 if failed else 0
