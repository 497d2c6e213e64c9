"""Run directories: the files of one run, each written whole or not at all.

A run is a sequence of *pieces* (a level, a target training). A piece is done where its records are
those that its *seal* counts, which is written as its last act; whoever starts the run again goes on
from there, and what was lost or changed since is named and computed again. Every file name that a
run writes stands in this module.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from typing import Any, Self

import jax

from ltjax.command import launch, paths
from ltjax.training.records import Record, dumps, loads

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
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_ANEW = "; delete its directory and start anew"


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


class RunDirectory:
    """The directory of one run, `out/run_id`.

    Making the object touches no disk. `create` makes the directory and locks it for a block;
    reading needs no lock.

    Args:
      out: the directory of all runs.
      run_id: stable name of the run.
      settings: what names the run, JSON-able.
      provenance: what `provenance` returns.

    Attributes:
      path: the directory.
      settings_file: the settings that name the run, as JSON.
      provenance_file: a JSON list: the provenance of each different environment that worked on
        the run.
      records_file: all records, one JSON line each.
      report: the self-contained report.
      figures: directory of figures.
      partial: directory of the states of unfinished pieces.
    """

    def __init__(
        self,
        out: str | os.PathLike[str],
        run_id: str,
        settings: Mapping[str, Any],
        provenance: Mapping[str, Any],
    ) -> None:
        self.path = paths.local(out, "out") / run_id
        self.settings_file = self.path / "settings.json"
        self.provenance_file = self.path / "provenance.json"
        self.records_file = self.path / "records.jsonl"
        self.report = self.path / "report.html"
        self.figures = self.path / "figures"
        self.partial = self.path / "partial"
        self._finished_file, self._records = self.path / "finished", self.path / "records"
        self._settings, self._provenance = dict(settings), dict(provenance)
        self._locked = False

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

    @contextlib.contextmanager
    def create(self) -> Iterator[Self]:
        """Makes and locks the directory, and writes settings and provenance.

        Raises:
          ValueError: where the place is not writable, another process works on the run, or the
            directory is not one of this run; nothing in it has been touched then.
          OSError: where the disk is full, also inside of the block: it says where, and what to do.
        """
        try:
            lock = self._lock()
            try:
                self.check()
                os.truncate(lock, 0)
                os.write(lock, f"{os.getpid()}\n".encode())
                for leftover in self.path.rglob(".*.part"):  # Of a killed `write_whole`.
                    leftover.unlink()
                paths.write_whole(self.settings_file, _json(self._settings))
                if self._provenance not in (known := self._known_provenance()):
                    paths.write_whole(self.provenance_file, _json([*known, self._provenance]))
                self._locked = True
                yield self
            finally:
                self._locked = False
                os.close(lock)
        except BaseException as error:
            if not launch.is_full(error):
                raise
            raise OSError(
                f"the disk of {self.path} is full; make room, and the same command goes on where "
                "it stopped"
            ) from error

    def _lock(self) -> int:
        try:
            self.check()
            self.path.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise ValueError(
                f"cannot write to {self.path}: {error.strerror}; choose another out directory"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.read(lock, 20).decode(errors="replace").strip() or "unknown"
            os.close(lock)
            raise ValueError(
                f"another process (pid {owner}) works on {self.path}; wait for it or stop it"
            ) from error
        return lock

    def check(self) -> None:
        """Refuses a directory that is not of this run; touches nothing.

        Raises:
          ValueError: where it holds another run, or something else.
        """
        if not self.path.is_dir():
            return
        if not self.settings_file.exists():
            for found in self.path.iterdir():  # A killed `create` leaves no more than these.
                if not re.fullmatch(r"\.lock|\.settings\.json\.[0-9a-f.]+\.part", found.name):
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

    def settings(self) -> dict[str, Any]:
        """The settings that name the run, as they were written.

        Raises:
          ValueError: where the file is missing or corrupt, or no table of settings.
        """
        return _read_json(self.settings_file, dict, way=_ANEW)

    def latest_provenance(self) -> dict[str, Any]:
        """The environment that worked on the run last.

        Raises:
          ValueError: where the file is missing or corrupt, or no list of environments.
        """
        if known := self._known_provenance():
            return known[-1]
        raise ValueError(f"{self.provenance_file} is missing or empty; run the command again")

    def _known_provenance(self) -> list[dict[str, Any]]:
        file = self.provenance_file
        return _read_json(file, list, of=dict, way=_ANEW) if file.exists() else []

    @property
    def finished(self) -> bool:
        """Whether the run was completed; `faults` says what it has lost since."""
        return self._finished_file.exists()

    @property
    def begun(self) -> list[str]:
        """The pieces that left records or a seal, whole or not."""
        names = (file.name for file in self._records.glob("*"))
        found = (re.fullmatch(rf"({_NAME}?)(\.seal\.json|\.jsonl)", name) for name in names)
        return sorted({match[1] for match in found if match})

    def fault(self, piece: str) -> str:
        """Why a piece is not done, in one sentence; empty where it is.

        It is done where its records are those that were written, and its arrays are there.
        """
        file, seal = self._piece_files(piece)
        if not file.exists() and not seal.exists():
            return f"piece {piece!r} of {self.path} is not done"
        try:
            told, raw = _read_json(seal, dict), _read(file)
        except ValueError as error:
            return str(error)
        if hashlib.sha256(raw).hexdigest() != told.get("sha256"):
            found = sum(1 for line in raw.splitlines() if line.strip())
            return f"{file} is not as it was written ({found} of {told.get('records')} records)"
        if told.get("arrays") and not self.ticket(piece).exists():
            return f"{self.ticket(piece)} is missing"
        return ""

    def piece_done(self, piece: str) -> bool:
        """Whether `fault` finds nothing."""
        return not self.fault(piece)

    def lost(self) -> list[str]:
        """What is wrong with the pieces of a finished run, or with those begun of another."""
        try:
            pieces = self._pieces() if self.finished else self.begun
        except ValueError as error:
            return [str(error)]
        return [fault for piece in pieces if (fault := self.fault(piece))]

    def faults(self) -> list[str]:
        """`lost`, and what was made of the pieces of a finished run and is not there as it was."""
        if found := self.lost():
            return found
        try:
            text = dumps(self.all_records(self._pieces()))
        except ValueError as error:
            return [str(error)]
        file = self.records_file
        if not file.is_file() or file.read_bytes() != text.encode():
            return [f"{file} is missing, or not what its pieces are"]
        made = (self.provenance_file, self.report)
        return [f"{file} is missing" for file in made if not file.exists()]

    def _pieces(self) -> list[str]:
        return _read_json(self._finished_file, list, of=str)

    def ticket(self, piece: str) -> pathlib.Path:
        """Where the arrays of the piece lie."""
        return self.path / "tickets" / _file_name(piece)

    def partial_state(self, piece: str) -> pathlib.Path:
        """Where the state of the unfinished piece lies."""
        return self.partial / _file_name(piece)

    def _piece_files(self, piece: str) -> tuple[pathlib.Path, pathlib.Path]:
        """Its records and their seal."""
        name = _file_name(piece)
        return self._records / f"{name}.jsonl", self._records / f"{name}.seal.json"

    def remove(self, path: pathlib.Path) -> None:
        """Deletes a file or a directory of the run, where it is there."""
        self._check_locked()
        if path.is_file():
            path.unlink()
        shutil.rmtree(path, ignore_errors=True)

    def finish_piece(self, piece: str, records: Iterable[Record]) -> None:
        """Seals and writes the records of a piece: its last act, which makes it done.

        Raises:
          ValueError: where the piece was sealed before, over other records. What came of those
            would stand beside these.
        """
        self._check_locked()
        file, seal = self._piece_files(piece)
        records = list(records)
        text = dumps(records)
        told = {
            "records": len(records),
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "arrays": self.ticket(piece).exists(),
        }
        try:
            before = _read_json(seal, dict).get("sha256")
        except ValueError:
            before = None
        if isinstance(before, str) and before != told["sha256"]:
            raise ValueError(
                f"piece {piece} of {self.path}, computed again, gives other records than before, "
                "so it ran on other devices or versions; take those, or another out directory"
            )
        file.parent.mkdir(exist_ok=True)
        paths.write_whole(seal, _json(told))
        paths.write_whole(file, text)

    def read_piece(self, piece: str) -> list[Record]:
        """The records of a finished piece.

        Raises:
          ValueError: where the piece is not done or its file is corrupt.
        """
        if fault := self.fault(piece):
            raise ValueError(f"{fault}; run the command again")
        file, _ = self._piece_files(piece)
        try:
            return loads(file.read_text())
        except ValueError as error:
            raise ValueError(
                f"{file}: {error}; another version wrote it, choose another out directory"
            ) from error

    def all_records(self, order: Sequence[str]) -> list[Record]:
        """The records of the pieces in `order`, all of which are done."""
        return [record for piece in order for record in self.read_piece(piece)]

    def write_records(self, order: Sequence[str]) -> list[Record]:
        """Writes all records to one file, in `order`, and returns them."""
        self._check_locked()
        records = self.all_records(order)
        paths.write_whole(self.records_file, dumps(records))
        return records

    def finish(self, order: Sequence[str]) -> None:
        """Marks the run as complete, with all its pieces in order."""
        self._check_locked()
        paths.write_whole(self._finished_file, _json(list(order)))

    def _check_locked(self) -> None:
        assert self._locked, "create() comes before any writing"


def _file_name(piece: str) -> str:
    assert re.fullmatch(_NAME, piece), f"{piece!r} is no file name"
    return piece


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def _read(file: pathlib.Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        fault = "is missing" if missing else f"cannot be read ({error.strerror})"
        raise ValueError(f"{file} {fault}") from error


def _read_json(file: pathlib.Path, kind: type, *, of: type = object, way: str = "") -> Any:
    """A JSON file that holds `kind`, with parts of the type `of`; errors end in the `way` out."""
    raw = _read(file)
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is corrupt{way}") from error
    if not isinstance(value, kind) or not all(isinstance(part, of) for part in value):
        raise ValueError(f"{file} holds something else than a run writes there{way}")
    return value
