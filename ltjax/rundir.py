"""Run directories: the files of one run, each written whole or not at all.

A run is a sequence of *pieces* (a level, a target training). The records of a piece are written
as its last act, so that a piece is done where its file exists; whoever starts the run again goes
on from there. Every file name that a run writes stands in this module.
"""

from collections.abc import Iterable, Mapping, Sequence
import fcntl
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

from ltjax import paths, results

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
        self.path = pathlib.Path(out) / run_id
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
        """Whether the run is complete."""
        return (self.path / "finished").exists()

    def create(self) -> "RunDir":
        """Makes and locks the directory, and writes settings and provenance.

        Raises:
          ValueError: where the place is not writable, another process works on the run, or the
            directory holds other settings under the same id.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / ".lock").open("a+")
        except OSError as error:
            raise ValueError(
                f"cannot write to {self.path}: {error.strerror}; choose another out directory"
            ) from error
        try:
            self._take(lock)
            self._check_settings()
        except BaseException:
            lock.close()
            raise
        self._lock = lock
        for leftover in self.path.rglob(".*.part"):  # Of a killed `write_whole`.
            leftover.unlink()
        results.write_whole(self.settings_file, _json(self._settings))
        known = _read_json(self.provenance_file) if self.provenance_file.exists() else []
        if self._provenance not in known:
            results.write_whole(self.provenance_file, _json([*known, self._provenance]))
        return self

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

    def _check_settings(self) -> None:
        if not self.settings_file.exists():
            return
        theirs, ours = _read_json(self.settings_file), json.loads(_json(self._settings))
        # A field that one of them lacks came or went later and is at a harmless default.
        for name in theirs.keys() & ours.keys():
            if theirs[name] != ours[name]:
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
        """Gives the lock back."""
        self.close()

    def ticket(self, name: str) -> pathlib.Path:
        """Where the ticket called `name` lies."""
        return self.tickets / _file_name(name)

    def partial_state(self, piece: str) -> pathlib.Path:
        """Where the state of the unfinished piece lies."""
        return self.partial / _file_name(piece)

    def remove_partial(self) -> None:
        """Deletes the states of unfinished pieces."""
        self._check_locked()
        shutil.rmtree(self.partial, ignore_errors=True)

    def settings(self) -> dict[str, Any]:
        """The settings that name the run, as they were written."""
        return _read_json(self.settings_file)

    def latest_provenance(self) -> dict[str, Any]:
        """The environment that worked on the run last."""
        return _read_json(self.provenance_file)[-1]

    def piece_done(self, name: str) -> bool:
        """Whether the piece is complete."""
        return self._piece_file(name).exists()

    def finish_piece(self, name: str, records: Iterable[results.Record]) -> None:
        """Writes the records of a piece: its last act, which makes it done."""
        self._check_locked()
        file = self._piece_file(name)
        file.parent.mkdir(exist_ok=True)
        results.write_whole(file, results.dumps(records))

    def read_piece(self, name: str) -> list[results.Record]:
        """The records of a finished piece.

        Raises:
          ValueError: where the piece is not done or its file is corrupt.
        """
        file = self._piece_file(name)
        if not file.exists():
            raise ValueError(f"piece {name!r} of {self.path} is not done; run the command again")
        try:
            return results.loads(file.read_text())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{file} is corrupt; delete it and run the command again") from error

    def all_records(self, order: Sequence[str]) -> list[results.Record]:
        """The records of the pieces in `order`, all of which are done."""
        return [record for name in order for record in self.read_piece(name)]

    def write_records(self, order: Sequence[str]) -> None:
        """Writes all records to one file, in `order`."""
        self._check_locked()
        results.write_whole(self.records_file, results.dumps(self.all_records(order)))

    def finish(self) -> None:
        """Marks the run as complete."""
        self._check_locked()
        results.write_whole(self.path / "finished", "")

    def _piece_file(self, name: str) -> pathlib.Path:
        return self.path / "records" / f"{_file_name(name)}.jsonl"

    def _check_locked(self) -> None:
        assert self._lock is not None, "create() comes before any writing"


def _file_name(name: str) -> str:
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name), f"{name!r} is no file name"
    return name


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def _read_json(file: pathlib.Path) -> Any:
    try:
        return json.loads(file.read_text())
    except ValueError as error:
        raise ValueError(f"{file} is corrupt; delete its directory and start anew") from error
