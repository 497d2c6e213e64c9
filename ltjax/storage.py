"""Tickets on disk: saved one by one, read out of a run, exported to one small file."""

from collections.abc import Sequence
import os
import pathlib
from typing import Any

from ltjax import checkpoints, portable, tickets, trees
from ltjax.arms import STARTS
from ltjax.lottery.common import Found, piece_of
from ltjax.rundir import RunDir
from ltjax.tickets import Ticket
from ltjax.types import Variables


def save(ticket: Ticket, path: str | os.PathLike[str]) -> None:
    """Saves a ticket as an orbax checkpoint, whole or not at all.

    Args:
      ticket: the ticket.
      path: the directory to make; an earlier checkpoint there is replaced.
    """
    meta = {"kind": "ticket", "prunable": list(ticket.prunable), "meta": ticket.meta}
    checkpoints.save(path, tickets.as_tree(ticket), meta=meta)


def load(path: str | os.PathLike[str], *, level: int | None = None, replicate: int = 0) -> Ticket:
    """Loads a saved ticket, or one out of the directory of a search.

    Args:
      path: what `save` made, or the directory of a run of find_ticket.
      level: of a run, the level; its last by default.
      replicate: of a run, the replicate.

    Raises:
      ValueError: where there is no whole ticket.
    """
    if is_run(path):
        found = levels(path)
        number = len(found) - 1 if level is None else level
        if not 0 <= number < len(found):
            raise ValueError(f"{path} has levels 0 to {len(found) - 1}; got level {level}")
        return found[number].ticket(replicate, meta=origin(path))
    if level is not None or replicate:
        raise ValueError(f"{path} holds one ticket; level and replicate choose from a run")
    tree, meta = checkpoints.load(path)
    if meta.get("kind") != "ticket":
        raise ValueError(f"{path} is a checkpoint but no ticket; give what save() made, or a run")
    return tickets.from_tree(tree, prunable=tuple(meta["prunable"]), meta=meta["meta"])


def is_run(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is the directory of a run rather than of a ticket."""
    return RunDir(pathlib.Path(path).parent, pathlib.Path(path).name, {}, {}).settings_file.exists()


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


def levels(run: str | os.PathLike[str]) -> list[Found]:
    """The levels of a finished search, as `lottery.find` yielded them.

    Raises:
      ValueError: where `run` is no directory of a finished search.
    """
    directory = RunDir.at(run)
    for fault in directory.lost() if directory.finished else ():
        raise ValueError(f"{fault}; run its command again")
    if not directory.finished or not directory.piece_done(piece_of(0)):
        raise ValueError(f"{run} is no finished search; finish it with find_ticket first")
    found: list[Found] = []
    while directory.piece_done(piece := piece_of(len(found))):
        tree, _ = checkpoints.load(directory.ticket(piece))
        records = directory.read_piece(piece)
        if not found:
            theta_0, theta_k = (Variables(**tree[name]) for name in ("theta_0", "theta_k"))
        else:
            theta_0, theta_k = found[0].theta_0, found[0].theta_k
        found.append(
            Found(
                level=records[0].level,
                density=records[0].density,
                mask=tree["mask"],
                theta_0=theta_0,
                theta_k=theta_k,
                theta_S=Variables(**tree["theta_S"]),
                prunable=tuple(records[0].layers),
                records=records,
            )
        )
    return found


def export(
    ticket: Ticket, path: str | os.PathLike[str], *, values: Sequence[str] = ("theta_0",)
) -> None:
    """Writes one small file that plain NumPy opens (see `ltjax.portable`).

    Only the weights that the ticket keeps are written, and its mask as bits or gaps.

    Args:
      ticket: the ticket.
      path: the file, by custom `.safetensors`.
      values: start points to write: `theta_0`, `theta_k`, `theta_S`.

    Raises:
      ValueError: an unknown start point.
    """
    for name in values:
        if name not in STARTS:
            raise ValueError(trees.unknown(name, STARTS, "start point"))
    written = {}
    for name in values:
        params, stats = getattr(ticket, name)
        written[name] = params
        if stats:
            written[f"{name}_stats"] = stats
    meta = {"prunable": list(ticket.prunable), "meta": ticket.meta}
    portable.export(path, mask=ticket.mask, values=written, meta=meta)
