"""What a round sets back, and what goes on where the round before ended."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.core import trees
from ltjax.core.types import Variables
from ltjax.lottery.find import RESETS, Start, rewound
from tests.conftest import leaves, small_params

STEPS, K, THEN, NOW = 10, 4, 50.0, 103.0
KINDS = trees.kinds(small_params())


def filled(value):
    """Variables that say where they come from."""
    params = jax.tree.map(lambda leaf: jnp.full_like(leaf, value), small_params())
    return Variables(params, {"norm_0": {"mean": jnp.full(4, value)}})


def rewind(reset, *, rounds=3, first=K):
    settings = {"first": first, "reset": reset, "kind_of": KINDS, "steps": STEPS}
    return rewound(filled(THEN), filled(NOW), {"momentum": NOW}, rounds, **settings)


def went_back(start):
    """The switches whose part of `start` stands at the rewind point; the others have gone on."""
    parts = {"statistics": [start.variables.stats["norm_0"]["mean"]]}
    switches = {"bias": "biases", "norm": "norm"}
    for name, leaf in leaves(start.variables.params).items():
        parts.setdefault(switches.get(KINDS[name], "weights"), []).append(leaf)
    found = {
        switch: {float(x) for leaf in of for x in np.unique(leaf)} for switch, of in parts.items()
    }
    assert all(values in ({THEN}, {NOW}) for values in found.values())
    back = {switch: values == {THEN} for switch, values in found.items()}
    back |= {"optimizer": start.opt_state is None, "order": start.order == 0}
    back["schedule"] = start.schedule_offset == 0
    return {switch for switch, was in back.items() if was}


@pytest.mark.parametrize("switch", RESETS)
@pytest.mark.parametrize("alone", [False, True])
def test_each_switch_resets_its_part_and_no_other(switch, alone):
    reset = {switch} if alone else set(RESETS) - {switch}
    assert went_back(rewind(reset)) == reset
    assert rewind(reset).first == (K if "weights" in reset else 0)


def test_everything_or_nothing_is_reset():
    assert rewind(RESETS)[1:] == (None, K, 0, 0)
    start = rewind(())
    assert went_back(start) == set()
    assert start[1:] == ({"momentum": NOW}, 0, 3, 3 * STEPS)
    assert Start(filled(0.0))[1:] == (None, 0, 0, 0)


@pytest.mark.parametrize("first", [0, K])
def test_a_schedule_that_is_not_reset_goes_on_without_a_gap(first):
    ends = STEPS
    for rounds in (1, 2, 3):
        start = rewind(set(RESETS) - {"schedule"}, rounds=rounds, first=first)
        assert start.first + start.schedule_offset == ends
        ends = start.schedule_offset + STEPS
