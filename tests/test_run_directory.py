import errno
import json
import os
import signal
import subprocess
import sys

import jax
import pytest

from ltjax.storage import run_directory
from ltjax.storage.run_directory import RunDirectory
from ltjax.training import records
from tests.fakes import record

SETTINGS = {"levels": 3, "rate": 0.2, "reset": ["weights"]}
ORIGIN = {"seed": 0, "versions": {"jax": "x"}}
PIECES = ["level_00", "level_01"]


def make(out, *, settings=SETTINGS, origin=ORIGIN):
    return RunDirectory(out, "run-1", settings, origin)


def touch(out, **given):
    """Makes a run directory and does nothing in it."""
    with make(out, **given).create() as run:
        return run


def refused(out, message, **given):
    with pytest.raises(ValueError, match=message) as caught:
        touch(out, **given)
    assert "\n" not in str(caught.value)


def contents(path):
    found = (p for p in path.rglob("*") if p.is_file())
    return {p.relative_to(path).as_posix(): p.read_text() for p in found}


def finished(tmp_path):
    """A run of two pieces, the first with arrays."""
    with make(tmp_path).create() as run:
        run.ticket("level_00").mkdir(parents=True)
        run.finish_piece("level_00", [record(), record()])
        run.finish_piece("level_01", [record(level=1)])
        assert run.write_records(PIECES) == run.all_records(PIECES)
        run.report.write_text("report")
        run.finish(PIECES)
    assert run.faults() == run.lost() == []
    return run


def test_nothing_is_made_before_create(tmp_path):
    run = make(tmp_path / "runs")
    assert not run.finished
    assert not run.piece_done("level_00")
    assert list(tmp_path.iterdir()) == []


def test_pieces_are_done_when_written_and_survive_a_restart(tmp_path):
    with make(tmp_path).create() as run:
        assert not run.piece_done("level_01")
        run.finish_piece("level_01", [record(level=1)])
        assert run.piece_done("level_01")
    with make(tmp_path).create() as run:
        assert run.read_piece("level_01") == [record(level=1)]
        assert run.begun == ["level_01"]
        assert not run.finished
        assert run.lost() == []


def test_files_of_a_run(tmp_path):
    run = finished(tmp_path)
    inside = tmp_path / "run-1"
    sealed = [f"records/{piece}.{kind}" for piece in PIECES for kind in ("jsonl", "seal.json")]
    known = {".lock", "settings.json", "provenance.json", "records.jsonl", "report.html"}
    found = contents(inside)
    assert found.keys() == {*known, *sealed, "finished"}
    assert json.loads(found["settings.json"]) == SETTINGS
    assert records.loads(found["records.jsonl"]) == [record(), record(), record(level=1)]
    assert (run.figures, run.partial) == (inside / "figures", inside / "partial")
    assert run.ticket("level_03") == inside / "tickets" / "level_03"
    assert run.partial_state("level_03") == inside / "partial" / "level_03"


def test_a_piece_that_was_cut_short_is_not_done(tmp_path, monkeypatch):
    with make(tmp_path).create() as run:
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", lambda a, b: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                run.finish_piece("level_00", [record()])
        assert not run.piece_done("level_00")
        part = run.path / "records" / ".level_00.jsonl.12.ab.part"  # What a kill leaves.
        part.write_text("{")
        run.partial_state("level_00").mkdir(parents=True)
    with make(tmp_path).create() as run:
        assert run.begun == list(part.parent.iterdir()) == []
        for _ in range(2):
            run.remove(run.partial)
            assert not run.partial.exists()


LOST = [
    ("records/level_00.jsonl", "", "level_00.jsonl is not as it was written (0 of 2 records)"),
    ("records/level_00.jsonl", "cut", "is not as it was written (1 of 2 records)"),
    ("records/level_00.jsonl", "[]", "is not as it was written (1 of 2 records)"),
    ("records/level_00.jsonl", None, "level_00.jsonl is missing"),
    ("records/level_00.seal.json", None, "level_00.seal.json is missing"),
    ("records/level_00.seal.json", "[1]", "holds something else than a run writes there"),
    ("records/level_00.seal.json", '{"sha256": 3}', "is not as it was written (2 of None records)"),
    ("tickets/level_00", None, "level_00 is missing"),
    ("finished", "", "finished is corrupt"),
    ("finished", "[3]", "finished holds something else"),
]


@pytest.mark.parametrize(("name", "content", "words"), LOST)
def test_what_a_run_has_lost_is_named_and_the_piece_is_not_done(name, content, words, tmp_path):
    run = finished(tmp_path)
    file = run.path / name
    if content is None:
        file.rmdir() if file.is_dir() else file.unlink()
    else:
        file.write_text(file.read_text().splitlines()[0] + "\n" if content == "cut" else content)
    (fault,) = run.lost()
    assert words in fault
    assert run.faults() == [fault]
    assert run.piece_done("level_01")
    if name == "finished":
        return
    with pytest.raises(ValueError, match=r"; run the command again"):
        run.read_piece("level_00")
    (run.path / "finished").rename(tmp_path / "finished")
    assert run.lost() == [fault]  # Of an unfinished run too.
    (tmp_path / "finished").rename(run.path / "finished")
    with run.create():  # Computed again, it is whole.
        run.ticket("level_00").mkdir(parents=True, exist_ok=True)
        run.finish_piece("level_00", [record(), record()])
    assert run.faults() == []


def test_a_piece_without_a_trace_is_missed_in_a_finished_run_only(tmp_path):
    run = finished(tmp_path)
    for kind in ("jsonl", "seal.json"):
        (run.path / "records" / f"level_01.{kind}").unlink()
    (fault,) = run.lost()
    assert fault == f"piece 'level_01' of {run.path} is not done"
    (run.path / "finished").unlink()
    assert run.lost() == []


@pytest.mark.parametrize("name", ["records.jsonl", "report.html", "provenance.json"])
@pytest.mark.parametrize("cut", [True, False])
def test_what_is_made_of_the_pieces_is_missed_too(name, cut, tmp_path):
    run = finished(tmp_path)
    (run.path / name).unlink()
    if cut and name == "records.jsonl":
        (run.path / name).write_text('{"phase": "sou')
    assert run.lost() == []
    (fault,) = run.faults()
    assert f"{name} is missing" in fault


def test_a_piece_computed_again_gives_the_records_that_its_descendants_came_from(tmp_path):
    run = finished(tmp_path)
    (run.path / "records" / "level_00.jsonl").unlink()
    with run.create(), pytest.raises(ValueError, match="other records than before"):
        run.finish_piece("level_00", [record(), record(level=1)])
    assert not run.piece_done("level_00")


def test_unfinished_pieces_and_those_of_another_version_are_refused(tmp_path, monkeypatch):
    with make(tmp_path).create() as run:
        with pytest.raises(ValueError, match=r"piece 'level_00' of .* is not done; run the comm"):
            run.all_records(["level_00"])
        monkeypatch.setattr(run_directory, "dumps", lambda records: '{"layers": {}}')
        run.finish_piece("level_00", [])
        with pytest.raises(ValueError, match="line 1 lacks field 'accuracy'; another version"):
            run.read_piece("level_00")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b"])
def test_names_of_pieces_are_file_names(tmp_path, name):
    with pytest.raises(AssertionError):
        make(tmp_path).piece_done(name)


def test_writing_needs_the_lock(tmp_path):
    for run in (make(tmp_path), touch(tmp_path)):
        for write in (
            lambda run: run.finish_piece("level_00", []),
            lambda run: run.write_records([]),
            lambda run: run.finish(["level_00"]),
            lambda run: run.remove(run.partial),
        ):
            with pytest.raises(AssertionError, match="create"):
                write(run)


def test_other_settings_under_the_same_id_are_refused(tmp_path):
    before = touch(tmp_path).settings_file.read_text()
    message = r"holds a run with rate=0.2, not 0.5; choose another out"
    refused(tmp_path, message, settings={**SETTINGS, "rate": 0.5})
    assert touch(tmp_path).settings_file.read_text() == before  # The refused one holds no lock.
    newer = {"levels": 3, "rate": 0.2, "new": 0}  # Fields came and went at their default.
    assert touch(tmp_path, settings=newer).settings() == newer
    for _ in range(2):  # Tuples are lists on the disk.
        touch(tmp_path / "tuples", settings={"reset": ("weights",)})


FOREIGN = {
    "corrupt settings": {"settings.json": "{"},
    "settings that are a list": {"settings.json": "[1]"},
    "settings that are a text": {"settings.json": '"text"'},
    "empty settings": {"settings.json": "{}"},
    "settings of something else": {"settings.json": '{"name": "web", "levels": 3}'},
    "provenance that is a table": {"provenance.json": "{}", "settings.json": json.dumps(SETTINGS)},
    "provenance of texts": {"provenance.json": '["x"]', "settings.json": json.dumps(SETTINGS)},
    "no settings at all": {"thesis.txt": "years of work"},
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_directory_that_is_not_of_this_run_is_refused_and_left_as_it_is(kind, tmp_path):
    given = {**FOREIGN[kind], ".draft.part": "mine", "notes/.x.1.part": "mine", ".lock": "mine"}
    for name, text in given.items():
        file = tmp_path / "run-1" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    refused(tmp_path, str(tmp_path))
    assert contents(tmp_path / "run-1") == given


@pytest.mark.parametrize("part", [".settings.json.123.part", ".settings.json.123.0af9.part"])
def test_what_a_killed_create_leaves_is_no_foreign_directory(part, tmp_path):
    (tmp_path / "run-1").mkdir()
    for name in (".lock", part):
        (tmp_path / "run-1" / name).write_text("")
    assert not (touch(tmp_path).path / part).exists()


def test_provenance_that_is_not_there_is_one_line(tmp_path):
    run = touch(tmp_path)
    for text in ("[]", "{}", '[["x"]]'):
        run.provenance_file.write_text(text)
        with pytest.raises(ValueError, match=r"provenance\.json"):
            run.latest_provenance()


FULL = [OSError(number, os.strerror(number)) for number in (errno.ENOSPC, errno.EDQUOT)]


@pytest.mark.parametrize(
    "error", [*FULL, RuntimeError("RESOURCE_EXHAUSTED: No space left on device [tensorstore]")]
)
def test_a_full_disk_is_named_with_the_way_on(error, tmp_path):
    with (
        pytest.raises(OSError, match=r"disk of .*run-1 is full; .* goes on where it stopped"),
        make(tmp_path).create(),
    ):
        raise ValueError("wrapped") from error


@pytest.mark.parametrize("call", ["fsync", "write"])
def test_a_full_disk_at_the_very_start_leaves_no_lock(call, tmp_path, monkeypatch):
    def full(*_):
        raise FULL[0]

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(OSError, match=r"disk of .*run-1 is full"):
            touch(tmp_path)
    touch(tmp_path)


def test_provenance_lists_each_environment_once(tmp_path):
    other = {**ORIGIN, "versions": {"jax": "y"}}
    for origin in (ORIGIN, ORIGIN, other, ORIGIN):
        run = touch(tmp_path, origin=origin)
    assert json.loads(run.provenance_file.read_text()) == [ORIGIN, other]


@pytest.mark.parametrize("below", ["file", "file/deeper", "/proc/ltjax"])
def test_an_unwritable_out_is_one_line(tmp_path, below):
    (tmp_path / "file").write_text("")
    refused(tmp_path / below, r"cannot write to .*; choose another out dir")


HOLDER = """
import sys
from ltjax.storage.run_directory import RunDirectory
settings = {"levels": 3, "rate": 0.2, "reset": ["weights"]}
with RunDirectory(sys.argv[1], "run-1", settings, {}).create():
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_two_processes_on_one_directory(tmp_path):
    command = [sys.executable, "-c", HOLDER, tmp_path]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as holder:
        assert holder.stdout.readline() == "locked\n"
        before = contents(tmp_path)
        message = rf"another process \(pid {holder.pid}\) works on .*run-1; wait for it or stop it"
        for _ in range(2):  # The first refusal does not break the lock.
            refused(tmp_path, message)
        assert contents(tmp_path) == before
        holder.send_signal(signal.SIGKILL)
    with make(tmp_path).create():
        refused(tmp_path, f"pid {os.getpid()}")  # Nor does one process take it twice.
    touch(tmp_path)


def test_provenance_says_where_numbers_come_from():
    origin = run_directory.provenance(7)
    assert origin["seed"] == 7
    assert origin["versions"]["jax"] == jax.__version__
    assert set(origin["versions"]) == {"python", *run_directory._DISTRIBUTIONS}
    assert "absent" not in origin["versions"].values()
    assert origin["backend"] == jax.default_backend()
    assert origin["device_count"] == jax.device_count()
    assert origin["argv"] == sys.argv[1:]
    assert json.loads(json.dumps(origin)) == origin
    assert run_directory._version("no-such-distribution") == "absent"
