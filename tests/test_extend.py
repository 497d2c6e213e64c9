"""A new score, control or paper is one row, added here from outside; nothing else changes."""

import dataclasses
import functools
import json

from experiments.reproduce import driver, published
from experiments.reproduce.lab import Lab, Task
from experiments.reproduce.papers import PAPERS
from experiments.reproduce.rows import Experiment, Paper
from experiments.reproduce.rules import Absent
from experiments.reproduce.searches import Search
from experiments.reproduce.settings import PaperSettings
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.transfer_ticket import TransferTicket
from ltjax import lottery, report
from ltjax.command.config import setting
from ltjax.core import pruning
from ltjax.lottery import arms
from tests import toys

DATA, KEY = toys.blobs(), jax.random.key(0)
TRAINER = toys.Spy(toys.recipe(steps=4, every=4))
PLAN = pruning.plan(toys.net().shapes().params, rate=0.5, levels=1)


def find(dataset=DATA, **settings):
    return list(lottery.find(TRAINER, dataset, key=KEY, plan=PLAN, replicates=2, **settings))


def works_of_papers():
    return {
        paper.id: [row.works for row in paper.experiments(paper.settings())]
        for paper in PAPERS.values()
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

    before = works_of_papers()
    monkeypatch.setitem(arms.CONTROLS, "half_redrawn", arms.Control(half, fresh=True))
    assert works_of_papers() == before
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class OwnPaper(PaperSettings):
    """Of a paper from outside."""

    length: str = setting("4it", "Length of one training.", unit="it or ep")


def own_lab(settings):
    base = settings.as_search(
        data="digits", batch_size=16, length=settings.length, evaluate_every="2it",
        optimizer="sgd", learning_rate=0.1, validation="0",
    )  # fmt: skip
    return Lab({"": Task(base)})


@pytest.fixture
def paper(monkeypatch):
    """A paper of one experiment with one published number, in all tables that know papers."""
    example = next(c for row in PAPERS["004"].experiments(PAPERS["004"].settings())
                   for c in row.claims)  # fmt: skip
    claim = dataclasses.replace(
        example, published="900-0001", ours=lambda results: Absent("told from outside")
    )
    search = Search(model="lenet-12-8", levels=1, replicates=2)
    row = Experiment(
        id="900-F1", shows="A search.", works=(search,), figures=lambda results: {}, claims=(claim,)
    )
    made = Paper(
        id="900", title="A paper from outside", settings=OwnPaper, version=1,
        presets={"paper": {}, "quick": {"length": "2it"}}, experiments=lambda settings: (row,),
        lab=own_lab, shortens=frozenset({"length"}),
    )  # fmt: skip
    entry = dataclasses.asdict(published.entry(example.published))
    file = published._file()
    more = {
        "papers": {**file["papers"], "900": "Somebody, Something"},
        "entries": [*file["entries"], {**entry, "id": "900-0001", "paper": "900"}],
    }
    monkeypatch.setitem(PAPERS, "900", made)
    monkeypatch.setattr(published, "_file", lambda: {**file, **json.loads(json.dumps(more))})
    published._entries.cache_clear()
    yield made
    published._entries.cache_clear()


def test_a_paper_is_listed_trained_and_reported(paper, tmp_path):
    assert [e.id for e in published.entries("900")] == ["900-0001"]
    settings = OwnPaper(out=str(tmp_path), devices=1)
    rows, lab = driver.choose(paper.experiments(settings), ()), paper.lab(settings)
    driver.check_published(rows)
    assert any("900-F1" in line for line in driver.listing(rows, lab))
    run = driver.train(paper, settings, rows, lab)
    assert driver.runs_in(tmp_path) == [run.path]
    told = driver.write_report([run.path], tmp_path)
    assert "900" in told
    page = (tmp_path / "report.html").read_text()
    assert "A paper from outside" in page
    assert "told from outside" in page
