"""Running a paper: choosing figures, listing them and their claims, training what is missing."""

from collections.abc import Collection, Iterable, Iterator, Sequence
import dataclasses
import math
import pathlib
import sys
from typing import Any

from experiments import build, memory
from experiments.papers import effects, page
from experiments.papers.claims import MOST_BY_CHANCE, chance
from experiments.papers.paper import Figure, Paper, table
from experiments.papers.pieces import Piece, all_pieces, run_all, unfinished
from experiments.papers.results import Results
from experiments.papers.workshop import Workshop
from ltjax.command import config, launch
from ltjax.command.progress import Progress, duration
from ltjax.core import trees
from ltjax.statistics import analysis
from ltjax.storage import run_directory
from ltjax.storage.journal import Journal
from ltjax.storage.run_directory import RunDirectory

_UNIT = 3e-3  # Of work: about a microsecond of one core for each step and weight of a network.


def binary(paper: Paper) -> None:
    """Runs a paper as a program: its flags, its exit code."""
    flags = config.define_flags(paper.settings, presets=paper.presets, default="paper")
    launch.run(lambda: main(paper, flags(), flags.given))


def main(paper: Paper, settings: Any, given: Collection[str] = ()) -> int:
    """A whole reproduction: lists, or trains what is missing and reports; the exit code.

    Args:
      paper: the paper.
      settings: its settings.
      given: the fields whose flags stand on the command line.
    """
    build.use_devices(settings.devices)
    figures = choose(paper.check(settings), settings.experiments)
    if settings.claims:
        print("\n".join(claims(paper, figures)))
        return 0
    effects.check(paper, settings, figures, given)
    shop = Workshop()
    if settings.list or settings.dry_run:
        for line in listing(figures, shop, measure=not settings.dry_run):
            print(line, flush=True)
        if settings.dry_run:
            print(f"would go to {open_run(paper, settings).path}")
        return 0
    run = train(paper, settings, figures, shop)
    print(page.write([(paper, Results(run, settings))], run.path))
    return exit_code(run, figures)


def choose(figures: Sequence[Figure], names: Sequence[str]) -> list[Figure]:
    """The figures with these ids, in the order of the paper; all where there are no names.

    Raises:
      ValueError: an unknown id, with the near ones.
    """
    by_id = {figure.id: figure for figure in figures}
    for name in names:
        _ = trees.lookup(by_id, name, "experiment")
    return [figure for figure in figures if not names or figure.id in names]


def claims(paper: Paper, figures: Sequence[Figure]) -> Iterator[str]:
    """Lines of `--claims`: every claim with what answers it, its rule and its chance."""
    for figure in figures:
        yield f"{figure.id}  {figure.shows}"
        for claim in figure.claims:
            entry = paper.published[claim.id]
            said = entry.quote or f"{entry.metric.replace('_', ' ')}: {entry.value}"
            yield f"  {claim.id}  {said} ({entry.table_or_figure})"
            if claim.never:
                yield f"    not compared: {claim.never}"
                continue
            by_chance = chance(claim, paper.published)
            said = f"{100 * by_chance:.2g} %" if math.isfinite(by_chance) else "unknown"
            bar = " (no verdict)" if not by_chance <= MOST_BY_CHANCE else ""
            ours = f"ours: {claim.measures}; " if claim.rule is not None else ""
            yield f"    {ours}rule: {claim.rule_text}; agrees by chance: {said}{bar}"


def open_run(paper: Paper, settings: Any, shop: Workshop | None = None) -> RunDirectory:
    """The directory of a reproduction with these settings; touches no disk.

    Args:
      paper: the paper.
      settings: its settings.
      shop: what the paper's facts are read from; without one none are recorded.
    """
    facts = {} if shop is None else paper.facts(settings, shop)
    values = config.as_dict(settings, identity_only=True)
    return RunDirectory(
        settings.out,
        config.run_id(settings, prefix=f"paper-{paper.id}", version=paper.version),
        {"paper": paper.id, "version": paper.version, **values},
        run_directory.provenance(settings.seed) | ({"facts": dict(facts)} if facts else {}),
    )


def train(paper: Paper, settings: Any, figures: Sequence[Figure], shop: Workshop) -> RunDirectory:
    """Trains what the figures need and the run lacks."""
    wanted = list(dict.fromkeys(each for figure in figures for each in figure.needs))
    pieces = all_pieces(wanted, shop)
    check_memory(pieces)
    run = open_run(paper, settings, shop)
    counted: set[str] = set()

    def weight(piece: Piece) -> int:
        if piece.name in counted:  # Read again by another family.
            return 0
        counted.add(piece.name)
        return _weight(piece)

    progress = Progress(
        sum(p.steps * _weight(p) for p in pieces), unit="unit", label=f"paper {paper.id}"
    )
    with run.create(), progress:
        left = unfinished(wanted, shop, run.piece_done)
        needed = {p.name for p in all_pieces(left, shop)}
        for piece in pieces:
            if piece.name not in needed:
                progress.skip(piece.steps * weight(piece))
        journal = Journal(
            run, progress, steps=lambda piece: piece.steps, weight=weight,
            every=settings.save_seconds,
        )  # fmt: skip
        run_all(left, shop, journal)
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


def listing(figures: Sequence[Figure], shop: Workshop, *, measure: bool = True) -> Iterator[str]:
    """Lines of `--list`, as they come: ids, trainings, and an estimate of the time.

    Args:
      figures: the figures.
      shop: what trains them.
      measure: estimate the time, by a few steps of each model; `--dry_run` does not.
    """
    speeds: dict[str, float] = {}
    every = all_pieces((each for figure in figures for each in figure.needs), shop)
    check_memory(every)
    stops = any(getattr(each, "stop", None) for figure in figures for each in figure.needs)

    def seconds(piece: Piece) -> float:
        if piece.model not in speeds:
            speeds[piece.model] = piece.probe()
        return piece.members * piece.steps * speeds[piece.model]

    def line(name: str, pieces: Sequence[Piece], shows: str) -> str:
        time = ""
        if measure:
            spent = ("at most " if stops else "") + duration(sum(map(seconds, pieces)))
            time = f"  {spent:>20}"
        return f"{name:8} {sum(p.members for p in pieces):>10,}{time}  {shows}"

    yield f"{'':8} {'trainings':>10}" + f"  {'alone here':>20}" * measure + "  shows"
    for figure in figures:
        yield line(figure.id, all_pieces(figure.needs, shop), figure.shows)
    yield line("all", every, "what they share is trained once")


def runs_in(path: pathlib.Path) -> list[pathlib.Path]:
    """The reproductions in a directory, or the directory itself where it is one.

    Raises:
      ValueError: where there is none.
    """
    papers = table()

    def is_one(path: pathlib.Path) -> bool:
        there = (path / "settings.json").exists()
        return there and str(RunDirectory.at(path).settings().get("paper")) in papers

    inside = sorted(filter(is_one, path.iterdir())) if path.is_dir() else []
    if not (found := [path] if is_one(path) else inside):
        known = ", ".join(papers)
        raise ValueError(f"no reproduction of a paper ({known}) in {path}; run one first")
    return found


def read(path: pathlib.Path) -> tuple[Paper, Results]:
    """A run of a paper with its settings; on standard error which of its pieces are damaged.

    Raises:
      ValueError: where the run was made with another version of the settings.
    """
    run = RunDirectory.at(path)
    values = run.settings()
    paper = trees.lookup(table(), str(values.pop("paper", "")), "paper")
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
    return paper, Results(run, settings)


def exit_code(run: RunDirectory, figures: Sequence[Figure]) -> int:
    """1 where a training had no result, after naming it; 0 otherwise."""
    names = dict.fromkeys(name for figure in figures for name in figure.pieces)
    records = [record for name in names for record in run.read_piece(name)]
    failed = analysis.failures(records)
    for line in [*failed, *analysis.cut_layers(records)]:
        print(f"warning: {line}", file=sys.stderr)
    return 1 if failed else 0
