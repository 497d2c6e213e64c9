"""Records: what a curve says of a training, and that no line of another shape is believed."""

import dataclasses
import json
import math
import re
import types

import numpy as np
import pytest

from experiments import running
from ltjax.lottery import Piece, once
from ltjax.training import records as results
from tests.fakes import record

NAN = math.nan


def fields(*, validation=None, loss=None, test=(0.1, 0.9, 0.8), failed_step=-1, **settings):
    """The fields of a curve of three evaluations; without `validation` there is no such set."""
    held_out = (NAN,) * 3 if validation is None else validation
    losses = loss or tuple(0.5 + 0 * v for v in held_out)
    curve = {
        "ran": np.ones(3, bool),
        "train_loss": np.array([0.0, 0.5, NAN if failed_step >= 0 else 0.4]),
        "validation_accuracy": np.array(held_out),
        "validation_loss": np.array(losses),
        "test_accuracy": np.array(test),
        "test_loss": np.array([2.0, 0.3, 0.4]),
    }
    return results.curve_fields([0, 5, 10], curve, failed_step=failed_step, **settings)


@pytest.mark.parametrize("measure", ["accuracy", "loss"])
@pytest.mark.parametrize(
    ("judged_on", "curve", "best"),
    [
        ("validation", {"validation": (0.7, 0.2, 0.3), "loss": (0.1, 0.5, 0.4)}, 0),
        ("validation", {"validation": (0.2, 0.3, 0.7), "loss": (0.5, 0.4, 0.1)}, 10),
        # The judging loss of the best accuracy is not finite: a training never keeps that one.
        ("validation", {"validation": (0.2, 0.9, 0.7), "loss": (0.5, NAN, 0.4)}, 10),
        ("validation", {"validation": (0.2, 0.9, 0.7), "loss": (NAN,) * 3}, -1),
        ("test", {}, 5),
        ("last", {}, 10),
    ],
)
def test_the_best_step_is_judged_by_what_was_said(judged_on, curve, best, measure):
    found = fields(judged_on=judged_on, measure=measure, **curve)
    assert (found["judged_on"], found["best_step"]) == (judged_on, best)
    assert found["accuracy"] == {0: 0.1, 5: 0.9, 10: 0.8, -1: 0.8}[best]
    assert bool(found["validation_loss"]) == (judged_on == "validation")


@pytest.mark.parametrize("measure", ["accuracy", "loss"])
@pytest.mark.parametrize("judged_on", results.JUDGES)
def test_a_diverged_member_is_a_record_whatever_judges(judged_on, measure):
    """Its validation loss is NaN from the first evaluation on: there was a validation set."""
    curve = {"validation": (0.3,) * 3, "loss": (NAN,) * 3} if judged_on == "validation" else {}
    found = fields(judged_on=judged_on, measure=measure, failed_step=10, **curve)
    assert (found["judged_on"], found["best_step"], found["failed_step"]) == (judged_on, -1, 10)
    assert found["accuracy"] == found["final_accuracy"] == 0.8
    made = dataclasses.replace(record(), **found)
    assert results.loads(results.dumps([made])) == [made]


def test_an_unknown_judge_is_refused():
    with pytest.raises(ValueError, match=r"judged on one of .*'test'.*; got 'train'"):
        fields(judged_on="train")


def test_a_member_that_never_ran_is_a_record():
    curve = {name: np.full(2, NAN) for name in results._CURVES} | {"ran": np.zeros(2, bool)}
    found = results.curve_fields([0, 5], curve, failed_step=0, judged_on="validation")
    assert (found["steps"], found["best_step"], found["accuracy"]) == ([], -1, 0.0)
    made = dataclasses.replace(record(), **found)
    assert results.loads(results.dumps([made])) == [made]


CURVE = {0: 0.1, 5: 0.9, 10: 0.8}
GOOD = json.loads(results.dumps([record(curve=CURVE, best_step=5, final_accuracy=0.8)]))
WRONG = [
    ("accuracy", 7.5, r"accuracy=7.5; it must be a number in \[0, 1\]"),
    ("accuracy", 0.8, "accuracy=0.8; it must be 0.9, as at `best_step`"),
    ("accuracy", NAN, "accuracy=NaN"),
    ("accuracy", "0.9", 'accuracy="0.9"'),
    ("accuracy", True, "accuracy=true"),
    ("final_accuracy", 0.9, "final_accuracy=0.9; it must be 0.8"),
    ("final_accuracy", -0.1, "final_accuracy=-0.1"),
    ("density", 51.2, "density=51.2"),
    ("density", 0.5, "density=0.5; it must be 1.0, `kept` of `prunable`"),
    ("nominal", 80, "nominal=80"),
    ("kernels", 999, "kernels=999; it must be at least 1000, as `prunable`"),
    ("dense", {"a": -1}, "dense=.*by layer its weights"),
    ("test_accuracy", [0.1, 7.5, 0.8], r"test_accuracy=\[0.1, 7.5, 0.8\]; it must be a list"),
    ("test_accuracy", [0.1, 0.9], "it must be 3 values, as `steps` and"),
    ("validation_accuracy", [], "it must be 3 values, as `steps` and"),
    ("validation_loss", [0.5, 0.5, math.inf], "a list of numbers of at least 0, or null"),
    ("test_loss", 0.5, "test_loss=0.5"),
    ("train_loss", [None, -0.5, 0.5], r"train_loss=\[null, -0.5, 0.5\]"),
    ("train_loss", [None, 10**400, 0.5], "train_loss="),
    ("steps", [0, 10, 5], "steps=.*each above the one before"),
    ("steps", [0, 5.0, 10], "steps=.*whole numbers"),
    ("steps", [-5, 5, 10], "steps="),
    ("best_step", 6, "best_step=6; it must be one of `steps`, or -1"),
    ("best_step", 5.0, "best_step=5.0"),
    ("failed_step", 5, "best_step=5; it must be -1, as `failed_step` says"),
    ("failed_step", -1, "failed_step=-1; it must be a step, or null"),
    ("judged_on", "train", "judged_on.*one of validation, test, last"),
    ("judged_on", "last", "validation_accuracy=.*it must be 0 values"),
    ("kept", 1001, "kept=1001; it must be 1000"),
    ("prunable", 999, "prunable=999; it must be 1000"),
    ("total", 999, "total=999"),
    ("layers", {"a": [1001, 1000]}, "layers=.*by layer its kept and its prunable weights"),
    ("layers", {"a": [1000]}, "layers="),
    ("layers", [], "layers="),
    ("level", -1, "level=-1; it must be a whole number of at least 0"),
    ("level", 1.0, "level=1.0"),
    ("replicate", None, "replicate=null"),
    ("repeat", "0", "repeat="),
    ("phase", 3, "phase=3; it must be a text"),
    ("arm", "", "arm="),
    ("colour", 3, "has an unknown field 'colour'"),
]


@pytest.mark.parametrize(("field", "value", "message"), WRONG)
def test_a_value_that_no_training_leaves_is_refused_by_line_and_field(field, value, message):
    text = json.dumps(GOOD) + "\n" + json.dumps({**GOOD, field: value}) + "\n"
    with pytest.raises(ValueError, match=rf"the record in line 2 .*{message}") as caught:
        results.loads(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 160


def test_every_field_has_a_rule_and_is_missed():
    for name in GOOD:
        for changed, message in (
            ({k: v for k, v in GOOD.items() if k != name}, f"lacks field '{name}'"),
            ({**GOOD, name: ""}, f'has {name}=""; it must be'),
        ):
            with pytest.raises(ValueError, match=f"line 1 {message}"):
                results.loads(json.dumps(changed))


@pytest.mark.parametrize("text", ["{", "[]", "3", "null", json.dumps(GOOD)[:-9]])
def test_a_line_that_is_no_record_is_named(text):
    with pytest.raises(ValueError, match="the record in line 1 is no JSON"):
        results.loads(text)


CUT = record(level=1, kept=0, density=0.0, layers={"head/kernel": (0, 1000)})
TOLD = "ticket, level 1: no weight is kept in head/kernel (1 of 1 trainings)"


def test_a_search_without_a_directory_warns_of_layers_that_keep_nothing():
    with pytest.warns(UserWarning, match=re.escape(TOLD)):
        assert once(Piece("source", 1), lambda resume, observe: ({}, [CUT])) == ({}, [CUT])


def test_a_binary_names_layers_that_keep_nothing_on_standard_error(tmp_path, capsys):
    (tmp_path / "records.jsonl").write_text(results.dumps([record(), CUT]))
    run = types.SimpleNamespace(records_file=tmp_path / "records.jsonl", report="report.html")
    assert running.answer(run) == 0
    printed = capsys.readouterr()
    assert f"warning: source, {TOLD}" in printed.err
    assert len(printed.err.splitlines()) == 1
    assert "! ticket, level 1: no weight is kept in head/kernel" in printed.out
