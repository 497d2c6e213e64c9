"""Tickets on disk: saved one by one, read out of a run, exported to one small file."""

import os
from typing import Any

from ltjax.command import paths
from ltjax.core import masks
from ltjax.core.types import Tree, Variables
from ltjax.lottery import tickets
from ltjax.lottery.level import Level, Piece, failed_steps
from ltjax.lottery.tickets import Ticket
from ltjax.storage import checkpoints, journal, portable
from ltjax.storage.portable import export
from ltjax.storage.run_directory import RunDirectory
from ltjax.training import population

__all__ = ["export", "is_run", "levels", "load", "save", "settings"]


def save(ticket: Ticket, path: str | os.PathLike[str]) -> None:
    """Saves a ticket as an orbax checkpoint, whole or not at all.

    Args:
      ticket: the ticket.
      path: the directory to make; an earlier checkpoint there is replaced.

    Raises:
      ValueError: where it is no ticket, `path` is not local, or something else lies there.
    """
    tickets.check(ticket)
    meta = {"kind": "ticket", "prunable": list(ticket.prunable), "meta": ticket.meta}
    checkpoints.save(path, tickets.as_tree(ticket), meta=meta)


def load(path: str | os.PathLike[str], *, level: int | None = None, replicate: int = 0) -> Ticket:
    """Loads a saved or exported ticket, or one out of the directory of a search.

    Every part is checked (`tickets.check`). Of an exported ticket, the start points that were not
    written are not known: their parameters are an empty dict.

    Args:
      path: what `save` or `export` made, or the directory of a run of find_ticket.
      level: of a run, the level; its last by default.
      replicate: of a run, the replicate.

    Raises:
      ValueError: where there is no whole ticket, or its training failed.
    """
    path = paths.local(path, "ticket")
    if is_run(path):
        found = levels(path)
        number = len(found) - 1 if level is None else level
        if not 0 <= number < len(found):
            raise ValueError(f"{path} has levels 0 to {len(found) - 1}; got level {level}")
        run = RunDirectory.at(path)
        origin = {"settings": run.settings(), "provenance": run.latest_provenance()}
        ticket = found[number].ticket(replicate, meta=origin)
        try:
            tickets.check(ticket)
        except ValueError as error:
            at = f"replicate {replicate} of level {number} of {path}"
            raise ValueError(f"{at}: {error}") from error
        return ticket
    if level is not None or replicate:
        raise ValueError(f"{path} holds one ticket; level and replicate choose from a run")
    if path.is_file():
        return portable.read(path)
    tree, meta = checkpoints.load(path)
    if meta.get("kind") != "ticket":
        raise ValueError(f"{path} is a checkpoint but no ticket; give what save() made, or a run")
    try:
        return tickets.from_tree(tree, prunable=meta.get("prunable"), meta=meta.get("meta"))
    except ValueError as error:
        raise ValueError(f"{path} holds no ticket: {error}") from error


def is_run(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is the directory of a run rather than of a ticket."""
    path = paths.local(path, "ticket")
    return RunDirectory(path.parent, path.name, {}, {}).settings_file.exists()


def settings(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The settings that a run or a saved ticket was made with.

    Raises:
      ValueError: where there is neither, or the ticket does not say.
    """
    if is_run(path):
        return RunDirectory.at(path).settings()
    meta = load(path).meta
    if "settings" not in meta:
        raise ValueError(f"ticket {path} does not say its settings; transfer it in Python")
    return meta["settings"]


def levels(run: str | os.PathLike[str]) -> list[Level]:
    """The levels of a finished search, as `lottery.find` yielded them.

    Raises:
      ValueError: where `run` is no directory of a finished search.
    """
    directory = RunDirectory.at(run)
    if directory.finished and (lost := directory.lost()):
        raise ValueError(f"{lost[0]}; run its command again")
    if not directory.finished or not directory.piece_done(Piece("source", 0).name):
        raise ValueError(f"{run} {_what_it_is(directory)}")
    found: list[Level] = []
    first: Tree = {}
    while directory.piece_done(piece := Piece("source", len(found)).name):
        path = directory.ticket(piece)
        try:
            tree = journal.read_arrays(directory, piece, path)
        except ValueError as error:
            raise ValueError(f"{error}; run the command of {directory.path} again") from error
        records = directory.read_piece(piece)
        try:
            first = first or tree  # Level 0 keeps what all levels share.
            thetas = {"theta_0": first, "theta_k": first, "theta_S": tree}
            level = Level(
                level=records[0].level,
                nominal=records[0].nominal,
                mask=tree["mask"],
                prunable=tuple(records[0].layers),
                records=records,
                split=first["split"],
                failed_step=failed_steps(records),
                **{name: Variables(**held[name]) for name, held in thetas.items()},
            )
            tickets.check_parts(level)
            _check_kept(level)
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise ValueError(
                f"{piece} of {run} holds no tickets: {type(error).__name__}: {error}; delete "
                f"{directory.path} and run the command again"
            ) from error
        found.append(level)
    return found


def _check_kept(level: Level) -> None:
    """Refuses masks that are not those of the records beside them."""
    for record in level.records:
        mask = population.member(level.mask, record.replicate)
        kept = masks.count(mask, level.prunable).kept
        if kept != record.kept:
            raise ValueError(
                f"replicate {record.replicate} keeps {kept} weights and its record {record.kept}"
            )


def _what_it_is(run: RunDirectory) -> str:
    """What a run is that is no finished search, and what to give instead."""
    asked = run.settings()
    if "target" in asked:  # A transfer.
        moved = asked.get("ticket") or f"the search {run.path.parent / 'find-...'}"
        return f"is a transfer, which holds no tickets; give what it moved: {moved}"
    if run.finished:
        return "is a finished run but no search; give the directory of a run of find_ticket"
    return "is no finished search; finish it with the command that began it"
