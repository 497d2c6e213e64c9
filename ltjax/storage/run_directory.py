"""Run directories: the files of one run, each written whole or not at all.

A run is a sequence of *pieces* (a level, a target training). A piece is done where its records are
those that its *seal* counts, which is written as its last act; whoever starts the run again goes on
from there, and what was lost or changed since is named and computed again. Every file name that a
run writes stands in this module.
"""

from collections.abc import Iterable, Mapping, Sequence
import contextlib
import fcntl
import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import shutil
import sys
from types import TracebackType
from typing import IO, Any, Self

import jax

from ltjax.command import config, paths
from ltjax.training import records as results

_DISTRIBUTIONS = {
    "ltjax": "ltjax",
    "jax": "jax",
    "jaxlib": "jaxlib",
    "flax": "flax",
    "optax": "optax",
    "orbax": "orbax-checkpoint",
    "numpy": "numpy",
    "tfds": "tensorflow-datasets",
}


def provenance(seed: int) -> dict[str, Any]:
    """Where numbers come from: versions, devices, seed and command line."""
    devices = jax.devices()
    return {
        "seed": seed,
        "versions": {
            "python": platform.python_version(),
            **{name: _version(of) for name, of in _DISTRIBUTIONS.items()},
        },
        "backend": jax.default_backend(),
        "device_kind": devices[0].device_kind,
        "device_count": len(devices),
        "platform": platform.platform(),
        "argv": sys.argv[1:],
    }


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


class RunDir:
    """The directory of one run, `out/run_id`.

    Making the object touches no disk. `create` makes the directory and locks it until `close`
    or the end of the process; the properties and the reading methods need no lock.

        with RunDir(out, run_id, settings, provenance).create() as run:
            if not run.piece_done("level_00"):
                run.finish_piece("level_00", records)
    """

    def __init__(
        self,
        out: str | os.PathLike[str],
        run_id: str,
        settings: Mapping[str, Any],
        provenance: Mapping[str, Any],
    ) -> None:
        """Names the directory.

        Args:
          out: the directory of all runs.
          run_id: stable name of the run.
          settings: what names the run, JSON-able.
          provenance: what `provenance` returns.
        """
        self.path = paths.local(out, "out") / run_id
        self._settings = dict(settings)
        self._provenance = dict(provenance)
        self._lock: IO[str] | None = None

    @classmethod
    def at(cls, path: str | os.PathLike[str]) -> Self:
        """An existing run, to be read.

        Raises:
          ValueError: where there is none.
        """
        path = paths.local(path, "run")
        run = cls(path.parent, path.name, {}, {})
        if not run.settings_file.exists():
            raise ValueError(f"no run at {path}; give the directory that holds settings.json")
        return run

    @property
    def settings_file(self) -> pathlib.Path:
        """The settings that name the run, as JSON."""
        return self.path / "settings.json"

    @property
    def provenance_file(self) -> pathlib.Path:
        """A JSON list: the provenance of each different environment that worked on the run."""
        return self.path / "provenance.json"

    @property
    def records_file(self) -> pathlib.Path:
        """All records, one JSON line each."""
        return self.path / "records.jsonl"

    @property
    def report(self) -> pathlib.Path:
        """The self-contained report."""
        return self.path / "report.html"

    @property
    def tickets(self) -> pathlib.Path:
        """Directory of tickets."""
        return self.path / "tickets"

    @property
    def figures(self) -> pathlib.Path:
        """Directory of figures."""
        return self.path / "figures"

    @property
    def partial(self) -> pathlib.Path:
        """Directory of the states of unfinished pieces."""
        return self.path / "partial"

    @property
    def finished(self) -> bool:
        """Whether the run was completed; `faults` says what it has lost since."""
        return self._finished_file.exists()

    @property
    def pieces(self) -> list[str]:
        """The pieces of a finished run, in order.

        Raises:
          ValueError: where the run is not finished, or does not know any more.
        """
        if not self.finished:
            raise ValueError(f"the run at {self.path} is not finished; run its command again")
        return _read_json(self._finished_file, list, of=str, way="")

    def lost(self) -> list[str]:
        """What the pieces of a finished run have lost since: one sentence each, none if whole."""
        try:
            return [
                self.piece_fault(name) or f"{self._piece_file(name)} is missing"
                for name in self.pieces
                if not self.piece_done(name)
            ]
        except (ValueError, OSError) as error:
            return [str(error)]

    def faults(self) -> list[str]:
        """`lost`, and what was made of the pieces and is not there as it was."""
        if found := self.lost():
            return found
        try:
            text = results.dumps(self.all_records(self.pieces))
        except ValueError as error:
            return [str(error)]
        if _sum(self.records_file) != hashlib.sha256(text.encode()).hexdigest():
            return [f"{self.records_file} is missing, or not what its pieces are"]
        made = (self.provenance_file, self.report)
        return [f"{file} is missing" for file in made if not file.exists()]

    def create(self) -> "RunDir":
        """Makes and locks the directory, and writes settings and provenance.

        Raises:
          ValueError: where the place is not writable, another process works on the run, or the
            directory is not one of this run; nothing in it has been touched then.
        """
        try:
            self.check()
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / ".lock").open("a+")
        except OSError as error:
            raise ValueError(
                f"cannot write to {self.path}: {error.strerror}; choose another out directory"
            ) from error
        try:
            self._take(lock)
            self.check()
            for leftover in self.path.rglob(".*.part"):  # Of a killed `write_whole`.
                leftover.unlink()
            results.write_whole(self.settings_file, _json(self._settings))
            known = self._known_provenance()
            if self._provenance not in known:
                results.write_whole(self.provenance_file, _json([*known, self._provenance]))
        except BaseException as error:
            with contextlib.suppress(OSError):  # What a full disk did not take is written again.
                lock.close()
            self._explain(error)
            raise
        self._lock = lock
        return self

    def _known_provenance(self) -> list[dict[str, Any]]:
        file = self.provenance_file
        return _read_json(file, list, of=dict) if file.exists() else []

    def _take(self, lock: IO[str]) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            raise ValueError(
                f"another process (pid {owner}) works on {self.path}; wait for it or stop it"
            ) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()

    def check(self) -> None:
        """Refuses a directory that is not of this run; touches nothing.

        Raises:
          ValueError: where it holds another run, or something else.
        """
        if not self.path.is_dir():
            return
        if not self.settings_file.exists():
            for found in self.path.iterdir():  # A killed `create` leaves no more than these.
                if not re.fullmatch(r"\.lock|\.settings\.json\.\d+\.part", found.name):
                    raise ValueError(
                        f"{self.path} holds {found.name} and no settings.json, so it is no run; "
                        "choose another out directory"
                    )
            return
        theirs, ours = self.settings(), json.loads(_json(self._settings))
        _ = self._known_provenance()
        # A field that one of them lacks came or went later and is at a harmless default.
        common = theirs.keys() & ours.keys()
        if 2 * len(common) < len(ours):
            raise ValueError(
                f"{self.settings_file} is of no such run; choose another out directory"
            )
        for name in ours:
            if name in common and theirs[name] != ours[name]:
                raise ValueError(
                    f"{self.path} holds a run with {name}={theirs[name]!r}, not {ours[name]!r}; "
                    "choose another out directory"
                )

    def close(self) -> None:
        """Gives the lock back."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> "RunDir":
        """Gives the lock back at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Gives the lock back; an error of a full disk says where, and what to do.

        Raises:
          OSError: where the disk is full.
        """
        self.close()
        self._explain(error)

    def _explain(self, error: BaseException | None) -> None:
        if config.is_full(error):
            raise OSError(
                f"the disk of {self.path} is full; make room, and the same command goes on where "
                "it stopped"
            ) from error

    def ticket(self, name: str) -> pathlib.Path:
        """Where the ticket called `name` lies."""
        return self.tickets / _file_name(name)

    def partial_state(self, piece: str) -> pathlib.Path:
        """Where the state of the unfinished piece lies."""
        return self.partial / _file_name(piece)

    def remove_partial(self) -> None:
        """Deletes the states of unfinished pieces."""
        self._remove(self.partial)

    def settings(self) -> dict[str, Any]:
        """The settings that name the run, as they were written.

        Raises:
          ValueError: where the file is corrupt, or no table of settings.
        """
        return _read_json(self.settings_file, dict)

    def latest_provenance(self) -> dict[str, Any]:
        """The environment that worked on the run last.

        Raises:
          ValueError: where the file is corrupt, or no list of environments.
        """
        if known := self._known_provenance():
            return known[-1]
        raise ValueError(f"{self.provenance_file} is missing or empty; run the command again")

    def piece_done(self, name: str) -> bool:
        """Whether the piece is complete, and its records are those that were written."""
        return self._seal_file(name).exists() and not self.piece_fault(name)

    def piece_fault(self, name: str) -> str:
        """What is wrong with a piece that was completed once; empty where nothing is."""
        file, seal = self._piece_file(name), self._seal_file(name)
        if not seal.exists():
            return f"{file} has no {seal.name}" if file.exists() else ""
        try:
            told = _read_json(seal, dict, way="")
        except (ValueError, OSError) as error:
            return str(error)
        if not file.exists():
            return f"{file} is missing"
        if _sum(file) != told.get("sha256"):
            found = sum(1 for line in file.read_bytes().splitlines() if line.strip())
            return f"{file} is not as it was written ({found} of {told.get('records')} records)"
        if told.get("arrays") and not self.ticket(name).exists():
            return f"{self.ticket(name)} is missing"
        return ""

    def damage(self) -> list[str]:
        """What is wrong with the pieces of a run, finished or not: one sentence each."""
        files = (self.path / "records").glob("[A-Za-z0-9_]*.jsonl")
        seals = (self.path / "records").glob("[A-Za-z0-9_]*.seal.json")
        names = {f.name.removesuffix(".jsonl") for f in files}
        names |= {f.name.removesuffix(".seal.json") for f in seals}
        return [fault for name in sorted(names) if (fault := self.piece_fault(name))]

    def has_arrays(self, name: str) -> bool:
        """Whether a piece that is done has a checkpoint."""
        return bool(_read_json(self._seal_file(name), dict).get("arrays"))

    def drop_arrays(self, name: str) -> None:
        """Deletes what is left of the checkpoint of a piece that was done and is damaged."""
        self._remove(self.ticket(name))

    def _remove(self, path: pathlib.Path) -> None:
        self._check_locked()
        if path.is_file():
            path.unlink()
        shutil.rmtree(path, ignore_errors=True)

    def finish_piece(self, name: str, records: Iterable[results.Record]) -> None:
        """Seals and writes the records of a piece: its last act, which makes it done.

        Raises:
          ValueError: where the piece was sealed before, over other records. What came of those
            would stand beside these.
        """
        self._check_locked()
        file, seal = self._piece_file(name), self._seal_file(name)
        records = list(records)
        text = results.dumps(records)
        told = {
            "records": len(records),
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "arrays": self.ticket(name).exists(),
        }
        try:
            before = _read_json(seal, dict, way="").get("sha256") if seal.exists() else None
        except (ValueError, OSError):
            before = None
        if isinstance(before, str) and before != told["sha256"]:
            raise ValueError(
                f"piece {name} of {self.path}, computed again, gives other records than before, "
                "so it ran on other devices or versions; take those, or another out directory"
            )
        file.parent.mkdir(exist_ok=True)
        results.write_whole(seal, _json(told))
        results.write_whole(file, text)

    def read_piece(self, name: str) -> list[results.Record]:
        """The records of a finished piece.

        Raises:
          ValueError: where the piece is not done or its file is corrupt.
        """
        file = self._piece_file(name)
        if not self.piece_done(name):
            fault = self.piece_fault(name) or f"piece {name!r} of {self.path} is not done"
            raise ValueError(f"{fault}; run the command again")
        try:
            return results.loads(file.read_text())
        except ValueError as error:
            raise ValueError(
                f"{file}: {error}; another version wrote it, choose another out directory"
            ) from error

    def all_records(self, order: Sequence[str]) -> list[results.Record]:
        """The records of the pieces in `order`, all of which are done."""
        return [record for name in order for record in self.read_piece(name)]

    def write_records(self, order: Sequence[str]) -> None:
        """Writes all records to one file, in `order`."""
        self._check_locked()
        results.write_whole(self.records_file, results.dumps(self.all_records(order)))

    def finish(self, order: Sequence[str]) -> None:
        """Marks the run as complete, with all its pieces in order."""
        self._check_locked()
        results.write_whole(self._finished_file, _json(list(order)))

    @property
    def _finished_file(self) -> pathlib.Path:
        return self.path / "finished"

    def _seal_file(self, name: str) -> pathlib.Path:
        return self._piece_file(name).with_suffix(".seal.json")

    def _piece_file(self, name: str) -> pathlib.Path:
        return self.path / "records" / f"{_file_name(name)}.jsonl"

    def _check_locked(self) -> None:
        assert self._lock is not None, "create() comes before any writing"


def _file_name(name: str) -> str:
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name), f"{name!r} is no file name"
    return name


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def _read_json(
    file: pathlib.Path,
    kind: type,
    *,
    of: type = object,
    way: str = "; delete its directory and start anew",
) -> Any:
    try:
        value = json.loads(file.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is corrupt{way}") from error
    if not isinstance(value, kind) or not all(isinstance(part, of) for part in value):
        raise ValueError(f"{file} holds something else than a run writes there{way}")
    return value


def _sum(file: pathlib.Path) -> str:
    """SHA-256 of a file; empty where there is none."""
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
