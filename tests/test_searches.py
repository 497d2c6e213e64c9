"""The searches of the papers: what a round sets back, and what its records are judged on."""

from experiments.reproduce.lab import Lab, Task
from experiments.reproduce.retrainings import Retrain
from experiments.reproduce.searches import Search
import jax
import numpy as np
import pytest

from experiments.settings import FindTicket
from ltjax import lottery
from tests.conftest import assert_trees_equal, trees_differ
from tests.toys import Spy

BASE = FindTicket(
    data="digits", optimizer="sgd", learning_rate=0.1, batch_size=16, length="2it",
    evaluate_every="2it", validation="0", rewind="0", devices=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def lab():
    """One task, whose trainer remembers its members."""
    task = Task(BASE)
    network = task.network("resnet-tiny", "")
    task._trainers[network] = Spy(task.recipe(network), network)
    return Lab({"": task})


def spy(lab):
    task = lab.task("")
    return task.trainer(task.network("resnet-tiny", ""))


@pytest.mark.parametrize("resets", [True, False])
def test_batch_norm_goes_back_with_all_else_or_on_with_all_else(resets, lab):
    """Of old, scale, shift and statistics stayed trained in every round."""
    spy(lab).seen.clear()
    search = Search(model="resnet-tiny", init="", levels=1, replicates=1, resets=resets)
    dense, ticket = search.find(lab, lottery.once)
    (_, first), (members, second) = ((m.start, s) for m, s in spy(lab).seen)
    assert_trees_equal(members, jax.device_get(dense.theta_0 if resets else dense.theta_S))
    for part in ("params", "stats"):
        assert trees_differ(getattr(dense.theta_0, part), getattr(dense.theta_S, part))
    assert trees_differ(dense.theta_0.params["norm_0"], dense.theta_S.params["norm_0"])
    assert first["opt_state"] is second["opt_state"] is None
    assert {r.judged_on for level in (dense, ticket) for r in level.records} == {"test"}


def test_tickets_trained_again_are_judged_as_their_search(lab):
    search = Search(model="resnet-tiny", init="", levels=1, replicates=1)
    kept = {}

    def keep(piece, compute):
        kept[piece] = compute(None, None)
        return kept[piece]

    work = Retrain(search=search)
    search.run_family([work], lab, keep)
    (record,) = kept[work.piece][1]
    again = kept[search.level(1)][1][0]
    assert (record.judged_on, record.kept) == ("test", again.kept)
    np.testing.assert_array_equal(record.test_accuracy, again.test_accuracy)
