import json
import os
import signal
import subprocess
import sys

import jax
import pytest

from ltjax import results, rundir

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
    return rundir.RunDir(out, "run-1", settings, origin)


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
        run.finish()
    again = make(tmp_path)
    assert again.finished
    assert again.all_records(["level_00", "level_01"]) == [record(0), record(0), record(1)]
    assert results.loads(again.records_file.read_text())[2] == record(1)


def test_files_of_a_run(tmp_path):
    with make(tmp_path).create() as run:
        run.finish_piece("level_00", [record(0)])
        run.write_records(["level_00"])
        run.finish()
    inside = tmp_path / "run-1"
    found = {p.relative_to(inside).as_posix() for p in inside.rglob("*") if p.is_file()}
    assert found == {
        ".lock",
        "settings.json",
        "provenance.json",
        "records/level_00.jsonl",
        "records.jsonl",
        "finished",
    }
    assert json.loads(run.settings_file.read_text()) == SETTINGS
    named = {run.tickets, run.figures, run.report, run.partial}
    assert {p.name for p in named} == {"tickets", "figures", "report.html", "partial"}
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
        run.remove_partial()
        run.partial_state("level_00").mkdir(parents=True)
        run.remove_partial()
        assert not run.partial.exists()


def test_unfinished_and_corrupt_pieces_are_refused(tmp_path):
    with make(tmp_path).create() as run:
        with pytest.raises(ValueError, match=r"piece 'level_00' of .* is not done"):
            run.all_records(["level_00"])
        run.finish_piece("level_00", [record(0)])
        file = run.path / "records" / "level_00.jsonl"
        for text in ("{", '{"level": 1}', "[]", '{"layers": {}}'):
            file.write_text(text)
            with pytest.raises(ValueError, match="is corrupt; delete it and run") as caught:
                run.read_piece("level_00")
            assert "\n" not in str(caught.value)


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
        run.finish()


def test_other_settings_under_the_same_id_are_refused(tmp_path):
    make(tmp_path).create().close()
    before = (tmp_path / "run-1" / "settings.json").read_text()
    other = {**SETTINGS, "rate": 0.5}
    with pytest.raises(ValueError, match=r"holds a run with rate=0.2, not 0.5; choose another out"):
        make(tmp_path, settings=other).create()
    assert (tmp_path / "run-1" / "settings.json").read_text() == before
    make(tmp_path).create().close()  # The refused one holds no lock.


def test_fields_that_came_or_went_at_their_default_do_not_matter(tmp_path):
    make(tmp_path).create().close()
    newer = {"levels": 3, "rate": 0.2, "new": 0}
    make(tmp_path, settings=newer).create().close()
    assert json.loads((tmp_path / "run-1" / "settings.json").read_text()) == newer


def test_tuples_in_settings_are_lists_on_disk(tmp_path):
    for _ in range(2):
        make(tmp_path, settings={"reset": ("weights",)}).create().close()


def test_corrupt_settings_are_refused_in_one_line(tmp_path):
    make(tmp_path).create().close()
    (tmp_path / "run-1" / "settings.json").write_text("{")
    with pytest.raises(ValueError, match=r"settings.json is corrupt; ") as caught:
        make(tmp_path).create()
    assert "\n" not in str(caught.value)


def test_provenance_lists_each_environment_once(tmp_path):
    other = {**ORIGIN, "versions": {"jax": "y"}}
    for origin in (ORIGIN, ORIGIN, other, ORIGIN):
        run = make(tmp_path, origin=origin).create()
        run.close()
    assert json.loads(run.provenance_file.read_text()) == [ORIGIN, other]


@pytest.mark.parametrize("below", ["file", "file/deeper", "/proc/ltjax"])
def test_an_unwritable_out_is_one_line(tmp_path, below):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cannot write to .*; choose another out dir") as caught:
        make(tmp_path / below).create()
    assert "\n" not in str(caught.value)


HOLDER = """
import sys
from ltjax import rundir
with rundir.RunDir(sys.argv[1], "run-1", {"levels": 3}, {}).create():
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
    make(tmp_path).create().close()


def test_one_process_cannot_take_it_twice(tmp_path):
    with make(tmp_path).create(), pytest.raises(ValueError, match=f"pid {os.getpid()}"):
        make(tmp_path).create()
    make(tmp_path).create().close()


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
