"""A new score, control or paper is one row, added here from outside; nothing else changes."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.papers.paper import table
from experiments.transfer_ticket import TransferTicket
from ltjax import lottery, report
from ltjax.core import pruning
from ltjax.lottery import arms
from tests import toys

DATA, KEY = toys.blobs(), jax.random.key(0)
TRAINER = toys.Spy(toys.recipe(steps=4, every=4))
PLAN = pruning.plan(toys.net().shapes().params, rate=0.5, levels=1)


def find(dataset=DATA, **settings):
    return list(lottery.find(TRAINER, dataset, key=KEY, plan=PLAN, replicates=2, **settings))


def pieces_of_papers():
    return {
        paper.id: [figure.pieces for figure in paper.figures(paper.make())]
        for paper in table().values()
    }


def test_a_score_sees_the_labels_of_its_batch(monkeypatch):
    def labelled(params, probe):
        """|w| of the outputs whose label is in the batch most often, over all else."""
        count = jnp.bincount(probe.labels, length=3).astype(jnp.float32)

        def rated(p, layer):
            row = count.reshape((1,) * (p.ndim - 1) + (-1,))
            return jnp.abs(p) + (row if layer == "head" else 0.0)

        return {
            layer: jax.tree.map(functools.partial(rated, layer=layer), leaves)
            for layer, leaves in params.items()
        }

    monkeypatch.setitem(pruning.SCORES, "labelled", labelled)
    labels = np.where(np.arange(50) < 48, 2, np.arange(50) % 2).astype(np.int32)
    skewed = dataclasses.replace(DATA, train=DATA.train._replace(labels=labels))
    made = find(skewed, score="labelled", score_batch=50)
    seen = {"trainer": TRAINER, "dataset": skewed, "batch": 50}
    (start,) = lottery.one_shot(made[0], PLAN, key=KEY, score="labelled", at="start", **seen)
    for level in (made[1], start):
        head = np.asarray(level.mask["head"]["kernel"][0])
        assert head[:, 2].all()  # Of three outputs half of the weights stay.
    with pytest.raises(ValueError, match="did you mean labelled"):
        find(score="labeled")


def test_a_control_sees_start_values_and_fresh_ones(monkeypatch):
    def half(key, values, fresh, mask, prunable):
        """Every other weight is drawn afresh."""
        even = jax.tree.map(lambda v: (jnp.arange(v.size) % 2 == 0).reshape(v.shape), values)
        return jax.tree.map(jnp.where, even, values, fresh), mask

    before = pieces_of_papers()
    monkeypatch.setitem(arms.CONTROLS, "half_redrawn", arms.Control(half, fresh=True))
    assert pieces_of_papers() == before
    levels = find()
    TRAINER.seen.clear()
    names = ("theta_0", "redrawn", "half_redrawn")
    moved = list(lottery.transfer(levels, TRAINER, DATA, key=KEY, arms=names, repeats=2))
    table = report.table([r for records in moved for r in records])
    assert "half_redrawn" in table.replace(" ", "_")
    for level, (members, _) in zip(levels, TRAINER.seen, strict=True):
        kernel = members.start.params["dense_0"]["kernel"].reshape(10, -1)
        np.testing.assert_array_equal(kernel[6:, ::2], np.tile(kernel[:2, ::2], (2, 1)))
        assert (kernel[6:, 1::2] != np.tile(kernel[:2, 1::2], (2, 1))).all()
        assert len({row.tobytes() for row in kernel[:, 1::2]}) == 6
        np.testing.assert_array_equal(
            members.mask["dense_0"]["kernel"][6:8], level.mask["dense_0"]["kernel"]
        )
    assert TransferTicket(controls=("half_redrawn",)).controls
    with pytest.raises(ValueError, match="half_redrawn"):
        TransferTicket(controls=("half_redrawm",))
