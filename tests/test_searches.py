"""The searches of the papers: what a round sets back, and what their records are judged on."""

import jax
import numpy as np
import pytest

from experiments.papers.settings import PaperSettings
from experiments.papers.trainings import Retrained, Search
from experiments.papers.workshop import Workshop
from ltjax import lottery
from tests.conftest import assert_trees_equal, trees_differ
from tests.toys import Spy

BASE = PaperSettings(
    data="digits", model="resnet-tiny", optimizer="sgd", learning_rate=0.1, batch_size=16,
    length="2it", evaluate_every="2it", validation="0", rewind="0", levels=1, replicates=1,
    devices=1,
)  # fmt: skip


class Shop(Workshop):
    """A workshop whose one trainer remembers its members."""

    def trainer(self, find, source=None):
        made = super().trainer(find, source)
        return self._once(("spy", find.init), lambda: Spy(made.recipe, made.network))


@pytest.fixture(scope="module")
def shop():
    return Shop()


@pytest.mark.parametrize("resets", [True, False])
def test_batch_norm_goes_back_with_all_else_or_on_with_all_else(resets, shop):
    reset = {} if resets else {"reset": ("optimizer", "schedule")}
    search, seen = Search(find=BASE.find(**reset)), shop.trainer(BASE.find()).seen
    seen.clear()
    dense, ticket = search.found(shop, lambda piece, compute: lottery.once(piece, compute))
    (_, first), (members, second) = ((m.start, s) for m, s in seen)
    assert_trees_equal(members, jax.device_get(dense.theta_0 if resets else dense.theta_S))
    for part in ("params", "stats"):
        assert trees_differ(getattr(dense.theta_0, part), getattr(dense.theta_S, part))
    assert trees_differ(dense.theta_0.params["norm_0"], dense.theta_S.params["norm_0"])
    assert first["opt_state"] is second["opt_state"] is None
    assert {r.judged_on for level in (dense, ticket) for r in level.records} == {"test"}


def test_tickets_trained_again_are_judged_as_their_search(shop):
    search, kept = Search(find=BASE.find()), {}

    def keep(piece, compute):
        kept[piece.name] = compute(None, None)
        return kept[piece.name]

    again = Retrained(search=search)
    search.run_family([again], shop, keep)
    (record,), first = kept[again.piece][1], kept[search.level(1)][1][0]
    assert (record.judged_on, record.kept) == ("test", first.kept)
    np.testing.assert_array_equal(record.test_accuracy, first.test_accuracy)
