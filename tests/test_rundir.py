import contextlib
import errno
import json
import os
import signal
import subprocess
import sys

import jax
import pytest

from ltjax.storage import run_directory as rundir
from ltjax.training import records as results

SETTINGS = {"levels": 3, "rate": 0.2, "reset": ["weights"]}
ORIGIN = {"seed": 0, "versions": {"jax": "x"}}


def record(level):
    return results.Record(
        phase="source",
        arm="ticket",
        level=level,
        replicate=0,
        nominal=0.8**level,
        density=0.8,
        kept=8,
        prunable=10,
        kernels=10,
        total=12,
        layers={"dense_0": (8, 10)},
        dense={},
        steps=[0, 5],
        train_loss=[None, 0.5],
        validation_accuracy=[],
        validation_loss=[],
        test_accuracy=[0.1, 0.9],
        test_loss=[2.0, 0.3],
        judged_on="test",
        best_step=5,
        accuracy=0.9,
        final_accuracy=0.9,
    )


def make(out, *, settings=SETTINGS, origin=ORIGIN):
    return rundir.RunDirectory(out, "run-1", settings, origin)


def test_nothing_is_made_before_create(tmp_path):
    run = make(tmp_path / "runs")
    assert not run.finished
    assert not run.piece_done("level_00")
    assert list(tmp_path.iterdir()) == []


def test_pieces_are_done_when_written_and_survive_a_restart(tmp_path):
    with make(tmp_path).create() as run:
        assert not run.piece_done("level_01")
        run.finish_piece("level_01", [record(1)])
        assert run.piece_done("level_01")
    with make(tmp_path).create() as run:
        assert run.read_piece("level_01") == [record(1)]
        run.finish_piece("level_00", [record(0), record(0)])
        assert not run.finished
        run.write_records(["level_00", "level_01"])
        run.finish(["level_00", "level_01"])
    again = make(tmp_path)
    assert again.finished
    assert again.all_records(["level_00", "level_01"]) == [record(0), record(0), record(1)]
    assert results.loads(again.records_file.read_text())[2] == record(1)


def test_files_of_a_run(tmp_path):
    with make(tmp_path).create() as run:
        run.finish_piece("level_00", [record(0)])
        run.write_records(["level_00"])
        run.finish(["level_00"])
    inside = tmp_path / "run-1"
    found = {p.relative_to(inside).as_posix() for p in inside.rglob("*") if p.is_file()}
    assert found == {
        ".lock",
        "settings.json",
        "provenance.json",
        "records/level_00.jsonl",
        "records/level_00.seal.json",
        "records.jsonl",
        "finished",
    }
    assert json.loads(run.settings_file.read_text()) == SETTINGS
    named = {run.figures, run.report, run.partial}
    assert {p.name for p in named} == {"figures", "report.html", "partial"}
    assert {p.parent for p in named} == {inside}
    assert run.ticket("level_03") == inside / "tickets" / "level_03"
    assert run.partial_state("level_03") == inside / "partial" / "level_03"


def test_a_piece_that_was_cut_short_is_not_done(tmp_path, monkeypatch):
    with make(tmp_path).create() as run:
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", lambda a, b: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                run.finish_piece("level_00", [record(0)])
        assert not run.piece_done("level_00")
        assert list((run.path / "records").glob(".*.part"))
    with make(tmp_path).create() as run:
        assert not run.piece_done("level_00")
        assert not list((run.path / "records").iterdir())


def test_partial_states_can_be_removed(tmp_path):
    with make(tmp_path).create() as run:
        run.remove(run.partial)
        run.partial_state("level_00").mkdir(parents=True)
        run.remove(run.partial)
        assert not run.partial.exists()


def finished(tmp_path):
    """A run of two pieces, the first with arrays."""
    with make(tmp_path).create() as run:
        run.ticket("level_00").mkdir(parents=True)
        run.finish_piece("level_00", [record(0), record(0)])
        run.finish_piece("level_01", [record(1)])
        run.write_records(["level_00", "level_01"])
        run.report.write_text("report")
        run.finish(["level_00", "level_01"])
    assert run.faults() == run.lost() == []
    return run


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
def test_what_a_finished_run_has_lost_is_named_and_the_piece_is_not_done(
    name, content, words, tmp_path
):
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
    if name != "finished":
        assert not run.piece_done("level_00")
        with pytest.raises(ValueError, match=r"; run the command again"):
            run.read_piece("level_00")
        with run.create():  # Computed again, it is whole.
            run.ticket("level_00").mkdir(parents=True, exist_ok=True)
            run.finish_piece("level_00", [record(0), record(0)])
        assert run.faults() == []


@pytest.mark.parametrize("name", ["records.jsonl", "report.html", "provenance.json"])
@pytest.mark.parametrize("content", ["cut", None])
def test_what_is_made_of_the_pieces_is_missed_too(name, content, tmp_path):
    run = finished(tmp_path)
    (run.path / name).unlink()
    if content and name == "records.jsonl":
        (run.path / name).write_text('{"phase": "sou')
    assert run.lost() == []
    (fault,) = run.faults()
    assert f"{name} is missing" in fault


def test_a_piece_computed_again_gives_the_records_that_its_descendants_came_from(tmp_path):
    run = finished(tmp_path)
    (run.path / "records" / "level_00.jsonl").unlink()
    with run.create(), pytest.raises(ValueError, match="other records than before"):
        run.finish_piece("level_00", [record(0), record(1)])
    assert not run.piece_done("level_00")


def test_unfinished_pieces_and_those_of_another_version_are_refused(tmp_path):
    with make(tmp_path).create() as run:
        with pytest.raises(ValueError, match=r"piece 'level_00' of .* is not done; run the comm"):
            run.all_records(["level_00"])
        with monkeypatched_records('{"layers": {}}'):
            run.finish_piece("level_00", [])
        with pytest.raises(ValueError, match="line 1 lacks field 'accuracy'; another version"):
            run.read_piece("level_00")


@contextlib.contextmanager
def monkeypatched_records(text):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rundir, "dumps", lambda records: text)
        yield


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b"])
def test_names_of_pieces_are_file_names(tmp_path, name):
    with pytest.raises(AssertionError):
        make(tmp_path).piece_done(name)


def test_writing_needs_the_lock(tmp_path):
    with pytest.raises(AssertionError, match="create"):
        make(tmp_path).finish_piece("level_00", [])
    with make(tmp_path).create() as run:
        pass
    with pytest.raises(AssertionError, match="create"):
        run.finish(["level_00"])


def test_other_settings_under_the_same_id_are_refused(tmp_path):
    with make(tmp_path).create():
        pass
    before = (tmp_path / "run-1" / "settings.json").read_text()
    other = {**SETTINGS, "rate": 0.5}
    with pytest.raises(ValueError, match=r"holds a run with rate=0.2, not 0.5; choose another out"):
        make(tmp_path, settings=other).create()
    assert (tmp_path / "run-1" / "settings.json").read_text() == before
    with make(tmp_path).create():  # The refused one holds no lock.
        pass


def test_fields_that_came_or_went_at_their_default_do_not_matter(tmp_path):
    with make(tmp_path).create():
        pass
    newer = {"levels": 3, "rate": 0.2, "new": 0}
    with make(tmp_path, settings=newer).create():
        pass
    assert json.loads((tmp_path / "run-1" / "settings.json").read_text()) == newer


def test_tuples_in_settings_are_lists_on_disk(tmp_path):
    for _ in range(2):
        with make(tmp_path, settings={"reset": ("weights",)}).create():
            pass


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
    contents = {**FOREIGN[kind], ".draft.part": "mine", "notes/.x.1.part": "mine", ".lock": "mine"}
    for name, text in contents.items():
        file = tmp_path / "run-1" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    with pytest.raises(ValueError, match=str(tmp_path)) as caught:
        make(tmp_path).create()
    assert "\n" not in str(caught.value)
    found = {
        p.relative_to(tmp_path / "run-1").as_posix(): p.read_text()
        for p in (tmp_path / "run-1").rglob("*")
        if p.is_file()
    }
    assert found == contents


def test_what_a_killed_create_leaves_is_no_foreign_directory(tmp_path):
    (tmp_path / "run-1").mkdir()
    for name in (".lock", ".settings.json.123.part"):
        (tmp_path / "run-1" / name).write_text("")
    with make(tmp_path).create() as run:
        assert not (run.path / ".settings.json.123.part").exists()


def test_provenance_that_is_not_there_is_one_line(tmp_path):
    with make(tmp_path).create() as run:
        for text in ("[]", "{}", '[["x"]]'):
            run.provenance_file.write_text(text)
            with pytest.raises(ValueError, match=r"provenance\.json"):
                run.latest_provenance()


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        RuntimeError("RESOURCE_EXHAUSTED: write: No space left on device [tensorstore]"),
    ],
)
def test_a_full_disk_is_named_with_the_way_on(error, tmp_path):
    with (
        pytest.raises(OSError, match=r"disk of .*run-1 is full; .* goes on where it stopped"),
        make(tmp_path).create(),
    ):
        raise ValueError("wrapped") from error


@pytest.mark.parametrize("place", ["fsync", "lock"])
def test_a_full_disk_at_the_very_start_leaves_no_lock(place, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        if place == "fsync":
            patch.setattr(os, "fsync", full)
        else:
            patch.setattr(os, "write", full)
        with pytest.raises(OSError, match=r"disk of .*run-1 is full"):
            make(tmp_path).create()
    with make(tmp_path).create():
        pass


def test_provenance_lists_each_environment_once(tmp_path):
    other = {**ORIGIN, "versions": {"jax": "y"}}
    for origin in (ORIGIN, ORIGIN, other, ORIGIN):
        with make(tmp_path, origin=origin).create() as run:
            pass
    assert json.loads(run.provenance_file.read_text()) == [ORIGIN, other]


@pytest.mark.parametrize("below", ["file", "file/deeper", "/proc/ltjax"])
def test_an_unwritable_out_is_one_line(tmp_path, below):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cannot write to .*; choose another out dir") as caught:
        make(tmp_path / below).create()
    assert "\n" not in str(caught.value)


HOLDER = """
import sys
from ltjax.storage import run_directory as rundir
settings = {"levels": 3, "rate": 0.2, "reset": ["weights"]}
with rundir.RunDirectory(sys.argv[1], "run-1", settings, {}).create():
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_two_processes_on_one_directory(tmp_path):
    command = [sys.executable, "-c", HOLDER, tmp_path]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as holder:
        assert holder.stdout.readline() == "locked\n"
        settings = (tmp_path / "run-1" / "settings.json").read_text()
        message = rf"another process \(pid {holder.pid}\) works on .*run-1; wait for it or stop it"
        for _ in range(2):  # The first refusal does not break the lock.
            with pytest.raises(ValueError, match=message):
                make(tmp_path).create()
        assert (tmp_path / "run-1" / "settings.json").read_text() == settings
        holder.send_signal(signal.SIGKILL)
    with make(tmp_path).create():
        pass


def test_one_process_cannot_take_it_twice(tmp_path):
    with make(tmp_path).create(), pytest.raises(ValueError, match=f"pid {os.getpid()}"):
        make(tmp_path).create()
    with make(tmp_path).create():
        pass


def test_provenance_says_where_numbers_come_from(tmp_path):
    origin = rundir.provenance(7)
    assert origin["seed"] == 7
    assert origin["versions"]["jax"] == jax.__version__
    assert set(origin["versions"]) == {"python", *rundir._DISTRIBUTIONS}
    assert "absent" not in origin["versions"].values()
    assert origin["backend"] == jax.default_backend()
    assert origin["device_count"] == jax.device_count()
    assert origin["argv"] == sys.argv[1:]
    assert json.loads(json.dumps(origin)) == origin


def test_a_missing_package_is_absent():
    assert rundir._version("no-such-distribution") == "absent"
