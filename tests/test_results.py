"""Records: what a curve says of a training, and that no line of another shape is believed."""

import dataclasses
import json
import math

import numpy as np
import pytest

from ltjax import results
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
    with pytest.raises(ValueError, match="judged on one of .*'test'.*; got 'train'"):
        fields(judged_on="train")
