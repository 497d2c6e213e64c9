"""Tickets on disk: saved one by one, read out of a run, exported to one small file."""

import os
import pathlib
from typing import Any

from ltjax.command import paths
from ltjax.core import masks
from ltjax.core.types import Variables
from ltjax.lottery import ticket as tickets
from ltjax.lottery.level import Level, Piece, failed_steps
from ltjax.lottery.ticket import Ticket
from ltjax.storage import checkpoints, portable
from ltjax.storage.portable import export
from ltjax.storage.run_directory import RunDir
from ltjax.training import population

__all__ = ["export", "is_run", "levels", "load", "origin", "save", "settings"]


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
        return _of_run(path, level, replicate)
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


def _of_run(path: pathlib.Path, level: int | None, replicate: int) -> Ticket:
    found = levels(path)
    number = len(found) - 1 if level is None else level
    if not 0 <= number < len(found):
        raise ValueError(f"{path} has levels 0 to {len(found) - 1}; got level {level}")
    ticket = found[number].ticket(replicate, meta=origin(path))
    try:
        tickets.check(ticket)
    except ValueError as error:
        raise ValueError(f"replicate {replicate} of level {number} of {path}: {error}") from error
    return ticket


def is_run(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is the directory of a run rather than of a ticket."""
    path = paths.local(path, "ticket")
    return RunDir(path.parent, path.name, {}, {}).settings_file.exists()


def origin(run: str | os.PathLike[str]) -> dict[str, Any]:
    """Where the tickets of a run come from: settings, seed, versions, device."""
    directory = RunDir.at(run)
    return {"settings": directory.settings(), "provenance": directory.latest_provenance()}


def settings(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The settings that a run or a saved ticket was made with.

    Raises:
      ValueError: where there is neither, or the ticket does not say.
    """
    if is_run(path):
        return RunDir.at(path).settings()
    meta = load(path).meta
    if "settings" not in meta:
        raise ValueError(f"ticket {path} does not say its settings; transfer it in Python")
    return meta["settings"]


def levels(run: str | os.PathLike[str]) -> list[Level]:
    """The levels of a finished search, as `lottery.find` yielded them.

    Raises:
      ValueError: where `run` is no directory of a finished search.
    """
    directory = RunDir.at(run)
    for fault in directory.lost() if directory.finished else ():
        raise ValueError(f"{fault}; run its command again")
    if not directory.finished or not directory.piece_done(Piece("source", 0).name):
        raise ValueError(f"{run} {_what_it_is(directory)}")
    found: list[Level] = []
    while directory.piece_done(piece := Piece("source", len(found)).name):
        tree, meta = checkpoints.load(directory.ticket(piece))
        if meta.get("piece") != piece:
            raise ValueError(
                f"{directory.ticket(piece)} holds {meta.get('piece')!r}; run the command of "
                f"{directory.path} again"
            )
        records = directory.read_piece(piece)
        try:
            if not found:
                theta_0, theta_k = (Variables(**tree[name]) for name in ("theta_0", "theta_k"))
                split = tree["split"]
            else:
                theta_0, theta_k, split = found[0].theta_0, found[0].theta_k, found[0].split
            found.append(
                Level(
                    level=records[0].level,
                    nominal=records[0].nominal,
                    mask=tree["mask"],
                    theta_0=theta_0,
                    theta_k=theta_k,
                    theta_S=Variables(**tree["theta_S"]),
                    prunable=tuple(records[0].layers),
                    records=records,
                    split=split,
                    failed_step=failed_steps(records),
                )
            )
            tickets.check_parts(found[-1])
            _check_kept(found[-1])
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise ValueError(
                f"{piece} of {run} holds no tickets: {type(error).__name__}: {error}; delete "
                f"{directory.path} and run the command again"
            ) from error
    return found


def _check_kept(level: Level) -> None:
    """Refuses masks that are not those of the records beside them.

    Raises:
      ValueError: with both numbers.
    """
    for record in level.records:
        mask = population.member(level.mask, record.replicate)
        kept = masks.count(mask, level.prunable).kept
        if kept != record.kept:
            raise ValueError(
                f"replicate {record.replicate} keeps {kept} weights and its record {record.kept}"
            )


def _what_it_is(run: RunDir) -> str:
    """What a run is that is no finished search, and what to give instead."""
    asked = run.settings()
    if "target" in asked:  # A transfer.
        moved = asked.get("ticket") or f"the search {run.path.parent / 'find-...'}"
        return f"is a transfer, which holds no tickets; give what it moved: {moved}"
    if run.finished:
        return "is a finished run but no search; give the directory of a run of find_ticket"
    return "is no finished search; finish it with the command that began it"
