"""Every flag of every binary refuses the wrong kinds of values, in one line that names it."""

import dataclasses
import typing

from absl import flags
import pytest

from experiments import benchmark, report, settings, transfer_ticket
from experiments.benchmark import Benchmark
from experiments.papers.class_halves import ClassHalves
from experiments.papers.frankle_carbin import FrankleCarbin
from experiments.papers.multiple_tickets import MultipleTickets
from experiments.papers.paper import table
from experiments.papers.settings import PaperSettings
from experiments.report import Report
from experiments.settings import FindTicket
from experiments.transfer_ticket import TransferTicket
from ltjax.command import config, launch

PRESETS = {
    FindTicket: settings.PRESETS,
    TransferTicket: transfer_ticket.PRESETS,
    **{paper.settings: paper.presets for paper in table().values()},
    Report: {},
    Benchmark: {},
}
WRONG = {
    int: ("-1", "9" * 23, "1.5", "nan", "many", "²", ""),
    float: ("nan", "inf", "-inf", "-0.1", "1e39", "many", ""),
    bool: ("maybe", "2"),
    str: ("²", "no such", "-1", "nan", "9" * 23 + "it"),
    tuple[str, ...]: ("²", "no such", "-1"),
}
FREE = {
    # Names of tables that only reading the data or making the network knows; refused there.
    *("data", "target", "init", "model", "size_init"),
    # Paths: any text is one.
    *("out", "data_dir", "ticket"),
    # Patterns of a network's layers, ids of a paper's rows, a list of name=value.
    *("freeze", "experiments", "on_target"),
}


def parse(cls, *arguments):
    values = flags.FlagValues()
    default = "paper" if issubclass(cls, PaperSettings) else ""
    read = config.define_flags(cls, values, presets=PRESETS[cls], default=default)
    values(["binary", *arguments])
    return read(), read


def walk():
    for cls in PRESETS:
        kinds = typing.get_type_hints(cls)
        for field in dataclasses.fields(cls):
            if field.name not in FREE:
                for text in WRONG[kinds[field.name]]:
                    yield pytest.param(
                        cls, field.name, text, id=f"{cls.__name__}-{field.name}={text[:9]}"
                    )


@pytest.mark.parametrize(("cls", "name", "text"), list(walk()))
def test_a_wrong_value_is_one_line_that_names_the_flag(cls, name, text):
    with pytest.raises((ValueError, flags.Error)) as caught:
        _ = parse(cls, f"--{name}={text}")
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cls", PRESETS)
def test_every_preset_keeps_the_rules(cls):
    for preset in PRESETS[cls]:
        assert parse(cls, f"--preset={preset}")[1].chosen == PRESETS[cls][preset].keys()


MORE = [
    (FindTicket, "--model=lenet-99999999999-5", "model: a network has at most"),
    (FindTicket, "--classes=0-99999999999", "classes: "),
    (FindTicket, "--levels=100000", r"levels lies in \[0, 1000\]; got 100000"),
    (FindTicket, "--momentum=2", r"momentum lies in \[0, 1\); got 2.0"),
    (FindTicket, "--nesterov", "nesterov is a form of the momentum of sgd"),
    (FindTicket, "--nesterov --optimizer=sgd", "nesterov is a form"),
    (FindTicket, "--milestones=3ep", "milestones belong to schedule=step"),
    (FindTicket, "--reset=none,weights", "reset is none or some of the others"),
    (FindTicket, "--validation=0% --keep=best", "keep=best need a validation set"),
    (FindTicket, "--validation=0 --patience=2", "patience and keep=best need a validation set"),
    (FindTicket, "--validation=100%", r"validation: each number lies in \[0, 100\)"),
    (FindTicket, "--reset=", "reset is none or some"),
    (FindTicket, "--reset=weights,weights", "reset names something twice"),
    (FindTicket, "--length=0", "length: this duration is above 0"),
    (FindTicket, "--evaluate_every=0.0ep", "evaluate_every: this duration is above 0"),
    (FindTicket, "--validation=%", "validation: a percentage is one number"),
    (FindTicket, "--levels=3 --densities=0.5", "levels has no effect beside densities"),
    (FindTicket, "--rate=0.3 --densities=0.5", "rate has no effect beside densities"),
    (FindTicket, "--decay=decoupled", "decay has no effect without weight_decay"),
    (FindTicket, "--score_batch=9", "score_batch has no effect on a score that sees no data"),
    (FindTicket, "--length=3000000000it", "length: a duration is at most"),
    (FindTicket, "--out=gs://bucket", "out: .*not local"),
    (FindTicket, "--out=", "out: "),
    (FindTicket, "--out=runs/\udcff", "out: .*not ASCII and this locale is not UTF-8"),
    (TransferTicket, "--starts=", "starts is empty"),
    (TransferTicket, "--controls= --control_start=theta_k", "control_start has no effect"),
    (TransferTicket, "--head=keep --head_hidden=10", "head=keep, and head_hidden"),
    (TransferTicket, "--head_hidden=0", "head_hidden: widths"),
    (MultipleTickets, "--flips=99", "flips are different rounds of 1..10"),
    (MultipleTickets, "--flips=7,7", "flips are different rounds"),
    (ClassHalves, "--splits=1", r"splits lies in \[2, 1000\]"),
    (ClassHalves, "--extra_splits=5 --splits=4", "extra_splits lies in 2..4"),
    (ClassHalves, "--size=100000", r"size lies in \[0, 512\]"),
    (FrankleCarbin, "--xor_trials=0", r"xor_replicates lies in \[1, 1000000\]"),
    (FrankleCarbin, "--trials=4 --replicates=5", "replicates and trials are one flag"),
    (FrankleCarbin, "--sizes=300-0", "sizes: widths of layers"),
    (FrankleCarbin, "--sizes=", "sizes is empty"),
    (FrankleCarbin, "--cuts=", "cuts is empty"),
    (FrankleCarbin, "--seed=4000001", "seed lies in"),
    (Benchmark, "--models=", "models names at least one row"),
    (Benchmark, "--steps=2", "steps is 0 or at least 3"),
]


@pytest.mark.parametrize(("cls", "arguments", "words"), MORE, ids=lambda v: str(v)[:40])
def test_contradictions_and_absurd_sizes(cls, arguments, words):
    with pytest.raises(ValueError, match=words) as caught:
        _ = parse(cls, *arguments.split())
    assert "\n" not in str(caught.value)


def test_an_old_name_of_a_flag_is_the_same_flag():
    read, flags_ = parse(FrankleCarbin, "--trials=4", "--xor_rates=0.5", "--preset=quick")
    assert (read.replicates, read.xor_learning_rates, read.repeats) == (4, "0.5", 1)
    assert flags_.given == {"replicates", "xor_learning_rates"}
    assert {"replicates", "repeats", "length"} < flags_.chosen
    assert parse(Report, "--to=x")[0].out == "x"


def test_a_flag_that_acts_is_taken_and_one_that_a_preset_set_may_be_idle():
    assert parse(FindTicket, "--levels=3", "--decay=decoupled", "--weight_decay=0.1")
    assert parse(FindTicket, "--rate=0.3", "--densities=0.5", "--rates=output=0.1")
    assert parse(TransferTicket, "--preset=mnist-to-fashion", "--densities=0.5")


def test_messages_name_a_flag_as_it_was_typed():
    values = flags.FlagValues()
    _ = config.define_flags(FrankleCarbin, values)
    message = "replicates lies in [1, 10000], more_replicates and --xor_replicates not"
    values(["binary", "--trials=0", "--xor_replicates=3"])
    typed = "trials lies in [1, 10000], more_replicates and --xor_replicates not"
    assert launch.as_typed(message, values) == typed


COMMON = {"data_dir", "out", "devices", "layout", "save_seconds", "seed", "dry_run"}


def test_the_same_thing_has_one_name_in_all_binaries():
    named = {cls: {f.name for f in dataclasses.fields(cls)} for cls in PRESETS}
    trains = [cls for cls in PRESETS if cls not in (Report, Benchmark)]
    for cls in trains:
        assert named[cls] > COMMON | {"validation", "batch_size", "evaluate_every"}
    for cls in (FindTicket, FrankleCarbin, MultipleTickets):
        assert {"replicates", "levels"} < named[cls]
    assert all({"out", "dry_run"} <= names for names in named.values())
    of_learning = {n for names in named.values() for n in names if n.endswith("rate")} - {"rate"}
    assert all(n.endswith("learning_rate") for n in of_learning)


def test_a_run_that_is_named_twice_is_reported_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(report.reproduce, "runs_in", lambda path: [path, path / "."])
    assert report.main(Report(dry_run=True), [str(tmp_path), f"{tmp_path}/x/.."]) == 0
    assert capsys.readouterr().out.count("would report") == 1


def test_a_dry_run_of_the_benchmark_and_of_a_report_makes_nothing(tmp_path, capsys):
    assert benchmark.main(Benchmark(dry_run=True, models=("mlp-tiny",))) == 0
    assert "mlp-tiny: 5 rounds of 2 s" in capsys.readouterr().out
    with pytest.raises(ValueError, match="no reproduction"):
        _ = report.main(Report(dry_run=True), [str(tmp_path)])
    assert list(tmp_path.iterdir()) == []
