"""Tickets on disk: saved one by one, read out of a run, exported to one small file."""

from collections.abc import Sequence
import json
import os
import pathlib
from typing import Any

from ltjax import checkpoints, portable, results, tickets
from ltjax.lottery.common import Found
from ltjax.tickets import Ticket
from ltjax.types import Variables

_THETAS = ("theta_0", "theta_k", "theta_S")


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
    path = pathlib.Path(path)
    if (path / "settings.json").exists():
        found = levels(path)
        number = len(found) - 1 if level is None else level
        if not 0 <= number < len(found):
            raise ValueError(f"{path} has levels 0 to {len(found) - 1}; got level {level}")
        kept = len(found[number].records)
        if not 0 <= replicate < kept:
            raise ValueError(f"{path} has replicates 0 to {kept - 1}; got {replicate}")
        return found[number].ticket(replicate, meta=origin(path))
    tree, meta = checkpoints.load(path)
    if meta.get("kind") != "ticket":
        raise ValueError(f"{path} is a checkpoint but no ticket; give what save() made, or a run")
    return tickets.from_tree(tree, prunable=tuple(meta["prunable"]), meta=meta["meta"])


def origin(run: str | os.PathLike[str]) -> dict[str, Any]:
    """Where the tickets of a run come from: settings, seed, versions, device."""
    path = pathlib.Path(run)
    settings = json.loads((path / "settings.json").read_text())
    provenance = json.loads((path / "provenance.json").read_text())[-1]
    return {"settings": settings, "provenance": provenance}


def settings(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The settings that a run or a saved ticket was made with.

    Raises:
      ValueError: where there is neither, or the ticket does not say.
    """
    path = pathlib.Path(path)
    if (path / "settings.json").exists():
        return origin(path)["settings"]
    meta = load(path).meta
    if "settings" not in meta:
        raise ValueError(f"ticket {path} does not say its settings; transfer it in Python")
    return meta["settings"]


def levels(run: str | os.PathLike[str]) -> list[Found]:
    """The levels of a finished search, as `lottery.find` yielded them.

    Raises:
      ValueError: where `run` is no directory of a finished search.
    """
    path = pathlib.Path(run)
    if not (path / "finished").exists() or not (path / "tickets" / "source_00").exists():
        raise ValueError(f"{path} is no finished search; finish it with find_ticket first")
    first, _ = checkpoints.load(path / "tickets" / "source_00")
    theta_0, theta_k = (Variables(**first[name]) for name in ("theta_0", "theta_k"))
    found = []
    for file in sorted((path / "tickets").glob("source_*")):
        tree, _ = checkpoints.load(file)
        records = results.loads((path / "records" / f"{file.name}.jsonl").read_text())
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
        if name not in _THETAS:
            raise ValueError(f"no start point {name!r}; there are: {', '.join(_THETAS)}")
    written = {}
    for name in values:
        params, stats = getattr(ticket, name)
        written[name] = params
        if stats:
            written[f"{name}_stats"] = stats
    meta = {"prunable": list(ticket.prunable), "meta": ticket.meta}
    portable.export(path, mask=ticket.mask, values=written, meta=meta)
