"""The binaries as a user runs them: results, resuming after kills, refusals that make nothing."""

import dataclasses
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

from absl import flags
import numpy as np
import pytest

from experiments import build, find_ticket, transfer_ticket
from experiments.benchmark import Benchmark
from experiments.papers.paper import table
from experiments.settings import PRESETS, FindTicket
from experiments.transfer_ticket import TransferTicket
from ltjax.command import config
from ltjax.storage import checkpoints
from ltjax.storage import tickets as storage
from ltjax.training import records as results
from tests.conftest import assert_trees_equal

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SMALL = {
    "model": "mlp-16",
    "length": "40it",
    "evaluate_every": "20it",
    "levels": 2,
    "replicates": 2,
}
FLAGS = [f"--{name}={value}" for name, value in SMALL.items()]


def command(binary, *flags, **environment):
    return subprocess.run(
        [sys.executable, "-m", f"experiments.{binary}", *flags],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def stopped(signal_, out, pattern, binary, *flags, **options):
    """A run that gets a signal as soon as `pattern` is there."""
    run = subprocess.Popen(
        [sys.executable, "-m", f"experiments.{binary}", *flags, f"--out={out}", "--save_seconds=0"],
        cwd=ROOT,
        text=True,
        **options,
    )
    deadline = time.monotonic() + 200
    while not list(out.glob(pattern)) and run.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert run.poll() is None, f"ended before {pattern} was there"
    run.send_signal(signal_)
    return run


def files(path):
    """Contents by name, without what may differ: the provenance and the page that shows it."""
    return {
        str(p.relative_to(path)): p.read_bytes()
        for p in sorted(path.rglob("*"))
        if p.is_file() and (p.suffix in (".jsonl", ".png", ".svg") or p.name == "settings.json")
    }


def assert_same_run(ours, theirs):
    """Equal files, and equal arrays of all checkpoints."""
    assert files(ours) == files(theirs)
    arrays = [
        {p.name: checkpoints.load(p)[0] for p in (path / "tickets").glob("*")}
        for path in (ours, theirs)
    ]
    assert_trees_equal(*arrays)


def settings_json(run):
    return json.loads((run / "settings.json").read_text())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One transfer, run to its end: the output and the two run directories."""
    out = tmp_path_factory.mktemp("runs")
    done = command("transfer_ticket", *FLAGS, f"--out={out}")
    assert done.returncode == 0, done.stderr
    found, moved = (next(out.glob(f"{kind}-*")) for kind in ("find", "transfer"))
    return done, found, moved


def test_a_transfer_prints_its_table_and_writes_its_directory(finished):
    done, found, moved = finished
    for word in ("theta_0", "redrawn", "nominal", f"report: {moved}/report.html"):
        assert word in done.stdout
    assert "100 %" in done.stderr
    for run in (found, moved):
        for name in ("settings.json", "provenance.json", "records.jsonl", "report.html"):
            assert (run / name).stat().st_size > 0
        assert list((run / "figures").glob("*.png"))
    assert not (moved / "partial").exists()
    records = results.loads((moved / "records.jsonl").read_text())
    arms = {"theta_0", "theta_k", "theta_S", *transfer_ticket.TransferTicket().controls}
    assert {r.arm for r in records if r.phase == "target"} == arms
    assert {r.judged_on for r in records} == {"validation"}
    assert "The best evaluation was chosen on the validation set." in done.stdout
    assert "theta_0 minus the control: points of accuracy" in done.stdout
    assert len(records) == 3 * 2 * (1 + len(arms))
    assert [r.kept for r in records if r.phase == "source" and r.replicate == 0] == [1104, 883, 706]


def test_a_finished_run_answers_at_once_and_changes_nothing(finished):
    done, _, moved = finished
    before = {p: p.stat().st_mtime_ns for p in moved.rglob("*") if p.is_file()}
    again = command("transfer_ticket", *FLAGS, f"--out={moved.parent}")
    assert again.stdout == done.stdout
    assert again.stderr == ""
    assert {p: p.stat().st_mtime_ns for p in moved.rglob("*") if p.is_file()} == before


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished search, with its settings."""
    _, found, _ = finished
    shutil.copytree(found, tmp_path / found.name)
    kept = config.from_dict(FindTicket, settings_json(found), what="the run")
    settings = dataclasses.replace(kept, out=str(tmp_path))
    assert find_ticket.open_run(settings).path == tmp_path / found.name
    return settings


def test_runs_killed_again_and_again_end_with_the_same_bits(finished, tmp_path):
    _, found, moved = finished
    for pattern in (
        "find-*/partial/*",
        "find-*/records/source_01.jsonl",
        "transfer-*/partial/*",
        "transfer-*/records/target_01.jsonl",
    ):
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        run = stopped(signal.SIGKILL, tmp_path, pattern, "transfer_ticket", *FLAGS, **quiet)
        assert run.wait() == -signal.SIGKILL
    last = command("transfer_ticket", *FLAGS, f"--out={tmp_path}", "--save_seconds=0")
    assert last.returncode == 0, last.stderr
    assert_same_run(tmp_path / found.name, found)
    assert files(tmp_path / moved.name) == files(moved)


def test_a_second_process_on_the_same_run_is_turned_away(tmp_path):
    settings = FindTicket(**SMALL, out=str(tmp_path))
    run = find_ticket.open_run(settings)
    with run.create(), pytest.raises(ValueError, match="another process"):
        find_ticket.search(settings)


def test_a_saved_search_can_be_moved_by_its_directory(finished):
    _, found, moved = finished
    flags = ("--starts=theta_0", "--controls=", "--on_target=length=20it")
    done = command("transfer_ticket", f"--ticket={found}", *flags, f"--out={moved.parent}")
    assert done.returncode == 0, done.stderr
    assert "theta_0" in done.stdout
    assert "redrawn" not in done.stdout
    told = pathlib.Path(done.stdout.rpartition("report: ")[2].strip()).parent
    assert told.name.startswith("transfer-digits-digits-mlp-16-")
    assert settings_json(told).items() >= settings_json(found).items()


def test_a_ticket_tells_its_own_source_and_flags_may_not_say_otherwise(finished):
    _, found, _ = finished
    given = TransferTicket(ticket=str(found), out=str(found.parent))
    own = transfer_ticket.resolve(given)
    kept = settings_json(found)
    assert kept["model"] == "mlp-16"
    assert config.as_dict(own).items() >= kept.items()
    assert "mlp-16" in transfer_ticket.open_run(own).path.name
    same = dataclasses.replace(given, length="40it", seed=3)
    assert transfer_ticket.resolve(same, {"length", "seed", "ticket"}).seed == 3
    other = dataclasses.replace(given, data="mnist", learning_rate=0.5, reset=("weights",))
    with pytest.raises(ValueError, match="with --ticket the source is what it was") as caught:
        _ = transfer_ticket.resolve(other, {"data", "learning_rate", "reset", "target"})
    changed = ("data=mnist (the ticket: digits)", "learning_rate=0.5", "reset=weights")
    for words in (*changed, "--on_target=name=value"):
        assert words in str(caught.value)
    assert "\n" not in str(caught.value)


DAMAGE = {
    "records/source_00.jsonl": ("", "source_00.jsonl is not as it was written (0 of 2 records)"),
    "tickets/source_01/SHA256SUMS": ("x", "source_01 is corrupt"),
    "records/source_02.seal.json": ("[]", "holds something else"),
    "records.jsonl": ("{", ""),
    "report.html": (None, ""),
    "finished": ("", "finished is corrupt"),
}


def test_what_a_finished_search_has_lost_is_named_and_made_again(finished, copied, capfd):
    _, found, _ = finished
    run = find_ticket.open_run(copied)

    def searched(*words):
        _ = find_ticket.search(copied)
        told = capfd.readouterr().err
        assert all(word in told for word in words)
        assert_same_run(run.path, found)
        return told

    for name, (content, _) in DAMAGE.items():
        file = run.path / name
        if content is None:
            file.unlink()
        else:
            file.write_text(content)
    with pytest.raises(ValueError, match=r"finished is corrupt.*; run its command again"):
        _ = storage.levels(run.path)
    searched(*(words for _, words in DAMAGE.values()))
    assert "note" not in searched()
    one, two = (run.ticket(f"source_0{i}") for i in (1, 2))
    for old, new in ((one, one.with_name("x")), (two, one), (one.with_name("x"), two)):
        old.rename(new)
    with pytest.raises(ValueError, match=r"source_01 holds 'source_02'"):
        _ = storage.levels(run.path)
    (run.ticket("source_00") / "SHA256SUMS").unlink()
    searched("holds 'source_02' of", "it has no SHA256SUMS")
    one, two = storage.levels(run.path)[1:]
    with pytest.raises(ValueError, match=r"keeps \d+ weights and its record"):
        storage._check_kept(one._replace(records=two.records))
    run.settings_file.write_text("[]")
    with pytest.raises(ValueError, match=r"settings\.json holds something else"):
        _ = find_ticket.search(copied)


@pytest.mark.parametrize("content", ["nothing", "text", {"step": 3}, {"other": 1}])
def test_a_strange_state_in_the_middle_costs_the_progress_of_its_piece(
    content, finished, copied, capfd
):
    run = find_ticket.open_run(copied)
    for name in ("finished", "records/source_02.jsonl"):
        (run.path / name).unlink()
    path = run.partial_state("source_02")
    path.parent.mkdir()
    if content == "nothing":
        path.mkdir()
        (path / "half").write_text("")
    elif content == "text":
        path.write_text("text")
    else:
        tree = {name: np.int32(value) for name, value in content.items()}
        checkpoints.save(path, tree, meta={"piece": "source_02"})
    _ = find_ticket.search(copied)
    assert "dropped, and the piece starts at its first step" in capfd.readouterr().err
    assert files(run.path) == files(finished[1])


def test_an_interrupt_is_one_line_that_says_the_way_on(tmp_path):
    flags = (*FLAGS, "--length=100000it")
    pattern = "find-*/partial/*"
    run = stopped(signal.SIGINT, tmp_path, pattern, "find_ticket", *flags, stderr=subprocess.PIPE)
    _, told = run.communicate(timeout=100)
    assert run.returncode == 130
    lines = told.splitlines()
    assert lines[-1] == "interrupted; the same command goes on where it stopped"
    assert all(line.startswith("find on digits ") for line in lines[:-1])


def test_a_locale_that_cannot_say_a_path_is_one_line(tmp_path):
    done = command(
        *("find_ticket", *FLAGS, f"--out={tmp_path / 'é'}"),
        LC_ALL="C",
        PYTHONUTF8="0",
        PYTHONCOERCECLOCALE="0",
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: ")
    assert "set LC_ALL=C.UTF-8 or PYTHONUTF8=1" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_diverged_training_is_named_and_the_rest_is_reported(tmp_path):
    done = command(
        "find_ticket", *FLAGS, "--optimizer=sgd", "--learning_rate=1e30", f"--out={tmp_path}"
    )
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert any("replicate 0, level 0: loss not finite at step 20" in line for line in lines)
    assert "loss not finite" in next(tmp_path.glob("find-*/report.html")).read_text()


def test_dry_run_prints_the_plan_and_makes_nothing(tmp_path):
    done = command("transfer_ticket", *FLAGS, "--dry_run", f"--out={tmp_path / 'new'}")
    assert done.returncode == 0, done.stderr
    for word in ("1,125 parameters", "kept        883 of 1,104", "42 trainings", "MiB"):
        assert word in done.stdout, done.stdout
    assert not (tmp_path / "new").exists()


BAD = [
    ({"data": "mnis", "data_dir": "."}, "did you mean mnist"),
    ({"data": "mnist", "data_dir": "/nowhere/at/all"}, "/nowhere/at/all"),
    ({"model": "resnet21"}, "did you mean resnet20"),
    ({"window": 9}, r"window of \[9, 9, 1\] does not fit in images of \[8, 8, 1\]"),
    ({"init": "glorot"}, "did you mean glorot"),
    ({"rates": "conv=0.1"}, "pattern 'conv' matches no parameter"),
    ({"batch_size": 5000}, "batch_size 5000 must lie in"),
    ({"classes": "11"}, "11"),
    ({"classes": "3"}, "classes=3 is one class"),
    ({"rewind": "9999it"}, "the rewind step must lie in"),
    ({"warmup": "9ep"}, "warmup=9ep is 195 steps and the length 40"),
    ({"validation": "99999999"}, "validation=99999999 leaves nothing of the"),
    ({"milestones": ("30it", "20it"), "schedule": "step"}, "milestones rise, above 0"),
    ({"milestones": ("9ep",), "schedule": "step"}, "below the length of 40 steps"),
    ({"model": "mlp-999999-999999"}, r"2 networks mlp-999999-999999 .* [\d,]+\.\d GiB of memory"),
    ({"densities": "0.5,0.6"}, "densities must fall"),
    ({"devices": 64}, "devices=64, but there are"),
]
BAD_TRANSFERS = [
    ({"target_classes": "4-9"}, "classes 4 are in both sets"),
    ({"target_classes": ""}, "overlap"),
    ({"target_classes": "5"}, "target_classes=5 is one class"),
    ({"target": "mnis", "data_dir": "."}, "target: .*did you mean mnist"),
    ({"target_classes": "5-6", "head": "keep"}, "5 outputs on the source and 2 on the target"),
    ({"freeze": ("convs*",)}, "matches no parameter"),
    ({"freeze": ("*",)}, r"freeze=\* leaves nothing to train"),
    ({"freeze_statistics": True}, "freeze_statistics has no effect on mlp-16"),
    ({"on_target": ("lenght=3ep",)}, "on_target .*did you mean length"),
    ({"on_target": ("length=3ep", "length=4ep")}, "on_target gives length twice"),
    ({"on_target": ("batch_size=many",)}, "on_target: .*batch_size=many"),
    ({"on_target": ("learning_rate=nan",)}, "learning_rate lies in"),
    ({"on_target": ("length=²ep",)}, "length: a duration is"),
    ({"ticket": "/nowhere/at/all"}, "/nowhere/at/all"),
]


def begin(settings):
    if isinstance(settings, TransferTicket):
        return transfer_ticket.job(transfer_ticket.resolve(settings))[0].carry_out()
    return find_ticket.search(settings)


@pytest.mark.parametrize(
    ("cls", "changes", "message"),
    [(FindTicket, *row) for row in BAD] + [(TransferTicket, *row) for row in BAD_TRANSFERS],
    ids=lambda v: str(v)[:40],
)
def test_settings_that_fit_no_data_or_network_make_nothing(cls, changes, message, tmp_path):
    settings = cls(**{**SMALL, "out": str(tmp_path / "new"), **changes})
    with pytest.raises((ValueError, OSError), match=message):
        begin(settings)
    assert not (tmp_path / "new").exists()


def test_an_unwritable_out_is_refused_before_any_work(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(ValueError, match="choose another out directory"):
        find_ticket.search(FindTicket(**{**SMALL, "out": str(blocked)}))


def test_run_ids_stay_what_they_were():
    """If this fails, old runs are not found again: raise `version` only if results changed."""
    assert config.run_id(FindTicket(), prefix="find") == "find-" + FROZEN["default"]
    changed = FindTicket(levels=3, rates="output=0.1")
    assert config.run_id(changed, prefix="find") == "find-" + FROZEN["changed"]


FROZEN = {"default": "ae40a1c2", "changed": "ec166487"}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_makes_a_recipe_and_a_plan(name):
    settings = dataclasses.replace(FindTicket(), **{**PRESETS[name], "data": "digits"})
    settings = dataclasses.replace(
        settings, model="mlp-8", normalize="own", validation="10%", rates=""
    )
    source = build.dataset(settings)
    trainer = build.trainer(settings, source)
    assert trainer.recipe.steps > 100
    assert build.plan(settings, trainer.network).levels == 10


PARSERS = {
    "find_ticket": (FindTicket, PRESETS, ""),
    "transfer_ticket": (TransferTicket, transfer_ticket.PRESETS, ""),
    "benchmark": (Benchmark, {}, ""),
    **{
        paper.settings.__module__.rpartition(".")[2]: (paper.settings, paper.presets, "paper")
        for paper in table().values()
    },
}
COMMANDS = re.findall(r"python -m experiments\.(\w+)([^\n|&`]*)", README.replace("\\\n", ""))


@pytest.mark.parametrize(("binary", "text"), sorted({c for c in COMMANDS if c[0] in PARSERS}))
def test_every_command_of_the_readme_parses(binary, text):
    cls, presets, default = PARSERS[binary]
    values = flags.FlagValues()
    read = config.define_flags(cls, values, presets=presets, default=default)
    assert values(["binary", *shlex.split(text)]) == ["binary"]
    assert isinstance(read(), cls)
