"""The binaries as a user runs them: results, resuming after kills, refusals that make nothing."""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from experiments import build, find_ticket, transfer_ticket
from experiments.settings import PRESETS, FindTicket
from experiments.transfer_ticket import TransferTicket
from ltjax.command import config
from ltjax.storage import checkpoints
from ltjax.storage import tickets as storage
from ltjax.training import records as results
from tests.conftest import assert_trees_equal

ROOT = pathlib.Path(__file__).parent.parent
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


def files(path):
    """Contents by name, without what may differ: the provenance and the page that shows it."""
    return {
        str(p.relative_to(path)): p.read_bytes()
        for p in sorted(path.rglob("*"))
        if p.is_file() and (p.suffix in (".jsonl", ".png", ".svg") or p.name == "settings.json")
    }


def arrays(path):
    """The arrays of all checkpoints of a run."""
    return {p.name: checkpoints.load(p)[0] for p in sorted((path / "tickets").iterdir())}


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


def test_runs_killed_again_and_again_end_with_the_same_bits(finished, tmp_path):
    _, found, moved = finished
    flags = [*FLAGS, f"--out={tmp_path}", "--save_seconds=0"]
    waited_for = [
        "find-*/partial/*",
        "find-*/records/source_01.jsonl",
        "transfer-*/partial/*",
        "transfer-*/records/target_01.jsonl",
    ]
    for pattern in waited_for:
        run = subprocess.Popen(
            [sys.executable, "-m", "experiments.transfer_ticket", *flags],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 200
        while not list(tmp_path.glob(pattern)) and run.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        run.send_signal(signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL, f"ended before {pattern} was there"
    last = command("transfer_ticket", *flags)
    assert last.returncode == 0, last.stderr
    for ours in (found, moved):
        theirs = tmp_path / ours.name
        settings = [json.loads((run / "settings.json").read_text()) for run in (ours, theirs)]
        assert settings[0] == settings[1]
        assert files(theirs) == files(ours)
    assert_trees_equal(arrays(tmp_path / found.name), arrays(found))


def test_a_second_process_on_the_same_run_is_turned_away(finished, tmp_path):
    _, found, _ = finished
    kept = {k: tuple(v) if isinstance(v, list) else v for k, v in settings_json(found).items()}
    settings = dataclasses.replace(FindTicket(), **kept, out=str(tmp_path))
    run = find_ticket.open_run(settings)
    with run.create(), pytest.raises(ValueError, match="another process"):
        find_ticket.search(settings)


def settings_json(run):
    return json.loads((run / "settings.json").read_text())


def test_a_saved_search_can_be_moved_by_its_directory(finished):
    _, found, moved = finished
    done = command(
        "transfer_ticket",
        f"--ticket={found}",
        "--starts=theta_0",
        "--controls=",
        "--on_target=length=20it",
        f"--out={moved.parent}",
    )
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
    for words in (
        "data=mnist (the ticket: digits)",
        "learning_rate=0.5",
        "reset=weights",
        "on_tar",
    ):
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


def test_what_a_finished_search_has_lost_is_named_and_made_again(finished, tmp_path, capfd):
    _, found, _ = finished
    kept = {k: tuple(v) if isinstance(v, list) else v for k, v in settings_json(found).items()}
    settings = FindTicket(**kept, out=str(tmp_path))
    run = find_ticket.open_run(settings)
    shutil.copytree(found, run.path)
    whole = files(found)
    for name, (content, _) in DAMAGE.items():
        file = run.path / name
        if content is None:
            file.unlink()
        else:
            file.write_text(content)
    with pytest.raises(ValueError, match=r"finished is corrupt.*; run its command again"):
        _ = storage.levels(run.path)
    _ = find_ticket.search(settings)
    told = capfd.readouterr().err
    for _, words in DAMAGE.values():
        assert words in told
    assert files(run.path) == whole
    assert_trees_equal(arrays(run.path), arrays(found))
    _ = find_ticket.search(settings)
    assert "note" not in capfd.readouterr().err
    tickets = [run.ticket(f"source_0{i}") for i in (1, 2)]
    swapped = [tickets[0].with_name("x"), *tickets]
    for old, new in zip([*tickets, swapped[0]], [swapped[0], *tickets], strict=True):
        old.rename(new)
    with pytest.raises(ValueError, match=r"source_01 holds 'source_02'"):
        _ = storage.levels(run.path)
    (run.ticket("source_00") / "SHA256SUMS").unlink()
    _ = find_ticket.search(settings)
    told = capfd.readouterr().err
    for words in ("holds 'source_02' of", "it has no SHA256SUMS"):
        assert words in told
    assert files(run.path) == whole
    assert_trees_equal(arrays(run.path), arrays(found))
    one, two = storage.levels(run.path)[1:]
    with pytest.raises(ValueError, match=r"keeps \d+ weights and its record"):
        storage._check_kept(one._replace(records=two.records))
    run.settings_file.write_text("[]")
    with pytest.raises(ValueError, match=r"settings\.json holds something else"):
        _ = find_ticket.search(settings)


@pytest.mark.parametrize("content", [None, "text", {"step": 3}, {"other": 1}])
def test_a_strange_state_in_the_middle_costs_the_progress_of_its_piece(
    content, finished, tmp_path, capfd
):
    _, found, _ = finished
    kept = {k: tuple(v) if isinstance(v, list) else v for k, v in settings_json(found).items()}
    settings = FindTicket(**kept, out=str(tmp_path))
    run = find_ticket.open_run(settings)
    shutil.copytree(found, run.path)
    for name in ("finished", "records/source_02.jsonl"):
        (run.path / name).unlink()
    path = run.partial_state("source_02")
    if content is None:
        path.mkdir(parents=True)
        (path / "half").write_text("")
    elif content == "text":
        path.parent.mkdir()
        path.write_text("text")
    else:
        tree = {name: np.int32(value) for name, value in content.items()}
        checkpoints.save(path, tree, meta={"piece": "source_02"})
    _ = find_ticket.search(settings)
    assert "dropped, and the piece starts at its first step" in capfd.readouterr().err
    assert files(run.path) == files(found)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_is_one_line_that_says_the_way_on(number, code, tmp_path):
    run = subprocess.Popen(
        [
            *(sys.executable, "-m", "experiments.find_ticket", *FLAGS, "--length=100000it"),
            *("--save_seconds=0", f"--out={tmp_path}"),
        ],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 200
    while not list(tmp_path.glob("find-*/partial/*")) and run.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run.send_signal(number)
    _, told = run.communicate(timeout=100)
    assert run.returncode == code
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


def test_a_refusal_is_one_line_with_an_exit_code(tmp_path):
    done = command("find_ticket", "--model=lenett-300-100", f"--out={tmp_path / 'new'}")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: no model 'lenett-300-100'")
    assert not (tmp_path / "new").exists()


BAD = [
    ({"data": "mnis", "data_dir": "."}, "did you mean mnist"),
    ({"data": "mnist", "data_dir": "/nowhere/at/all"}, "/nowhere/at/all"),
    ({"model": "resnet21"}, "did you mean resnet20"),
    ({"score": "magnitud"}, "did you mean magnitude"),
    ({"scope": "local"}, "no scope 'local'"),
    ({"optimizer": "adan"}, "did you mean adam"),
    ({"schedule": "cosin"}, "did you mean cosine"),
    ({"augment": "flips"}, "did you mean flip"),
    ({"window": 9}, r"window of \[9, 9, 1\] does not fit in images of \[8, 8, 1\]"),
    ({"window": -1}, "window lies in"),
    ({"normalize": "cifar"}, "no normalize .cifar.; did you mean cifar10"),
    ({"init": "glorot"}, "did you mean glorot"),
    ({"rate": 1.0}, r"rate lies in \[0, 1\); got 1.0"),
    ({"rates": "conv=0.1"}, "pattern 'conv' matches no parameter"),
    ({"rates": "conv"}, "expected name=number"),
    ({"batch_size": 5000}, "batch_size 5000 must lie in"),
    ({"classes": "11"}, "11"),
    ({"classes": "5-2"}, "5-2"),
    ({"half": "c"}, "'c'"),
    ({"length": "10"}, "a duration is 0, or a number and its unit"),
    ({"rewind": "9999it"}, "the rewind step must lie in"),
    ({"validation": "150%"}, r"validation: each number lies in \[0, 100\)"),
    ({"validation": "99999999"}, "validation=99999999 leaves nothing of the"),
    (
        {"milestones": ("2ep", "1ep"), "schedule": "step", "length": "9ep"},
        "milestones rise, above 0",
    ),
    ({"milestones": ("9ep",), "schedule": "step"}, "below the length of 40 steps"),
    ({"classes": "3"}, "classes=3 is one class"),
    ({"model": "mlp-999999-999999"}, r"2 networks mlp-999999-999999 .* [\d,]+\.\d GiB of memory"),
    ({"validation": "0", "patience": 2}, "need a validation set"),
    ({"reset": ("weigths",)}, "did you mean weights"),
    ({"replicates": 0}, "replicates lies in"),
    ({"learning_rate": 0.0}, "learning_rate lies in"),
    ({"densities": "0.5,0.6"}, "densities must fall"),
    ({"levels": -1}, "levels lies in"),
    ({"devices": 64}, "devices=64, but there are"),
]


@pytest.mark.parametrize(("changes", "message"), BAD, ids=lambda v: str(v)[:40])
def test_bad_settings_of_a_search_make_nothing(changes, message, tmp_path):
    with pytest.raises((ValueError, OSError), match=message):
        find_ticket.search(FindTicket(**{**SMALL, "out": str(tmp_path / "new"), **changes}))
    assert not (tmp_path / "new").exists()


def transfer(settings):
    return transfer_ticket.job(transfer_ticket.resolve(settings))[0].carry_out()


BAD_TRANSFERS = [
    ({"controls": ("redraw",)}, "did you mean redrawn"),
    ({"starts": ("theta_s",)}, "did you mean theta_"),
    ({"starts": ()}, "starts is empty"),
    ({"target_classes": "4-9"}, r"4"),
    ({"target_classes": ""}, "overlap"),
    ({"target_classes": "5-6", "head": "keep"}, "5 outputs on the source and 2 on the target"),
    ({"head": "new"}, "no head 'new'"),
    ({"head_hidden": ("x",)}, "head_hidden"),
    ({"freeze": ("convs*",)}, "matches no parameter"),
    ({"freeze": ("*",)}, r"freeze=\* leaves nothing to train"),
    ({"on_target": ("lenght=3ep",)}, "did you mean length"),
    ({"on_target": ("batch_size=many",)}, "on_target: .*batch_size=many"),
    ({"on_target": ("learning_rate=nan",)}, "learning_rate lies in"),
    ({"on_target": ("length=²ep",)}, "length: a duration is"),
    ({"ticket": "/nowhere/at/all"}, "/nowhere/at/all"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_TRANSFERS, ids=lambda v: str(v)[:40])
def test_bad_settings_of_a_transfer_make_nothing(changes, message, tmp_path):
    with pytest.raises((ValueError, OSError), match=message):
        transfer(TransferTicket(**{**SMALL, "out": str(tmp_path / "new"), **changes}))
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


def readme_commands():
    text = (ROOT / "README.md").read_text()
    joined = re.sub(r"\\\n\s*", "", text)
    return re.findall(r"python -m experiments\.(\w+)([^\n|&`]*)", joined)


@pytest.mark.parametrize("flags", sorted({f for b, f in readme_commands() if b == "find_ticket"}))
def test_every_find_command_of_the_readme_parses(flags):
    assert parsed(FindTicket, PRESETS, flags)


@pytest.mark.parametrize(
    "flags", sorted({f for b, f in readme_commands() if b == "transfer_ticket"})
)
def test_every_transfer_command_of_the_readme_parses(flags):
    assert parsed(TransferTicket, transfer_ticket.PRESETS, flags)


def parsed(cls, presets, text):
    from absl import flags

    values = flags.FlagValues()
    read = config.define_flags(cls, values, presets=presets)
    values(["binary", *text.split()])
    return read()
