"""Start points and controls: what an arm changes, what it keeps, and what a head is."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.core import masks, trees
from ltjax.core.types import Variables
from ltjax.lottery.arms import (
    CONTROLS,
    STARTS,
    arm,
    check_arms,
    check_fits,
    check_values,
    head_of,
    values_of,
)
from ltjax.lottery.tickets import Ticket
from ltjax.training.records import OWN_DENSE
from tests.conftest import assert_trees_equal, leaves, small_params, trees_differ

PRUNABLE = ("conv_0/kernel", "dense_0/kernel", "dense_1/kernel")  # The head is not.
DENSITIES = dict(zip(PRUNABLE, (0.9, 0.5, 0.1), strict=True))


def variables(seed):
    stats = {"norm_0": {"mean": jnp.full(4, float(seed)), "var": jnp.ones(4)}}
    return Variables(small_params(seed), stats)


def make_mask(params):
    rng = np.random.default_rng(5)
    return trees.map_with_name(
        lambda n, p: jnp.asarray(rng.random(p.shape) < DENSITIES.get(n, 1.0)), params
    )


MASK = make_mask(small_params())
TICKET = Ticket(
    mask=MASK,
    theta_0=variables(0),
    theta_k=variables(1),
    theta_S=Variables(masks.apply(small_params(2), MASK), variables(2).stats),
    prunable=PRUNABLE,
    meta={},
)
PRUNED_HEAD = Ticket(
    **{
        **vars(TICKET),
        "mask": {**MASK, "head": {**MASK["head"], "kernel": MASK["dense_0"]["kernel"][:, :3]}},
        "prunable": (*PRUNABLE, "head/kernel"),
    }
)
TARGET = variables(9)


def make(name, *, seed=0, **settings):
    return arm(name, jax.random.key(seed), TICKET, TARGET, **settings)


def pairs(values, mask):
    """The (mask, value) pairs of a leaf, as a sorted list."""
    return sorted(zip(mask.ravel().tolist(), values.ravel().tolist(), strict=True))


# What each control keeps of the ticket.
KEEPS = {
    "redrawn": {"mask", "layers"},
    "shuffled_pairs": {"layers", "pairs"},
    "shuffled_hidden": {"layers", "pairs"},  # The head of the ticket is not prunable here.
    "shuffled_mask": {"layers", "values", "signs"},
    "shuffled_globally": set(),
    "redrawn_magnitudes": {"mask", "layers", "signs"},
}
ARMS = (*STARTS, *KEEPS)


@pytest.mark.parametrize("base", STARTS[:2])
@pytest.mark.parametrize("name", KEEPS)
def test_a_control_keeps_what_it_says_and_breaks_the_rest(name, base):
    ticket = leaves(getattr(TICKET, base).params)
    moved = make(name, base=base)
    mask, values = leaves(moved.mask), leaves(moved.variables.params)
    ours = leaves(TICKET.mask)
    counts = {n: int(mask[n].sum()) for n in PRUNABLE}
    assert sum(counts.values()) == sum(int(ours[n].sum()) for n in PRUNABLE)
    kept = {
        "mask": [np.array_equal(mask[n], ours[n]) for n in PRUNABLE],
        "values": [np.array_equal(values[n], ticket[n]) for n in PRUNABLE],
        "signs": [np.array_equal(np.sign(values[n]), np.sign(ticket[n])) for n in PRUNABLE],
        "layers": [counts[n] == int(ours[n].sum()) for n in PRUNABLE],
        "pairs": [pairs(values[n], mask[n]) == pairs(ticket[n], ours[n]) for n in PRUNABLE],
    }
    for what, layers in kept.items():
        assert layers == [what in KEEPS[name]] * len(PRUNABLE), what


@pytest.mark.parametrize("name", KEEPS)
def test_a_control_draws_all_values_afresh_or_keeps_all_but_the_prunable_ones(name):
    moved = make(name)
    source = TARGET if CONTROLS[name].fresh else TICKET.theta_0
    mask, values = leaves(moved.mask), leaves(moved.variables.params)
    ticket = leaves(TICKET.theta_0.params)
    for leaf, value in leaves(source.params).items():
        if name == "redrawn_magnitudes":
            value = np.sign(ticket[leaf]) * np.abs(value)
        if leaf not in PRUNABLE:
            assert mask[leaf].all()
        if leaf not in PRUNABLE or CONTROLS[name].fresh:
            np.testing.assert_array_equal(values[leaf], value)
    assert_trees_equal(moved.variables.stats, source.stats)


@pytest.mark.parametrize("name", KEEPS)
def test_a_control_that_keeps_values_where_there_are_none_is_refused(name):
    """theta_S is 0 where the ticket is pruned, so a mask moved there would keep zeros."""
    if CONTROLS[name].everywhere:
        with pytest.raises(ValueError, match=f"{name} moves the mask .* take theta_0 or theta_k"):
            _ = make(name, base="theta_S")
        return
    moved = make(name, base="theta_S")
    share = {n: (leaves(moved.variables.params)[n][leaves(moved.mask)[n]] == 0) for n in PRUNABLE}
    assert not any(zero.any() for zero in share.values())


def test_a_ticket_without_values_where_it_is_pruned_is_refused():
    check_values("shuffled_mask", TICKET, base="theta_k")
    check_values("shuffled_pairs", TICKET, base="theta_S")
    emptied = dataclasses.replace(TICKET, theta_k=TICKET.theta_S)
    with pytest.raises(ValueError, match="shuffled_mask keeps the values of conv_0/kernel"):
        check_values("shuffled_mask", emptied, base="theta_k")


@pytest.mark.parametrize(("name", "moves"), [("shuffled_pairs", True), ("shuffled_hidden", False)])
def test_only_one_of_the_two_shuffles_of_pairs_moves_the_output_layer(name, moves):
    moved, values = arm(name, jax.random.key(0), PRUNED_HEAD, TARGET), TICKET.theta_0.params
    assert trees_differ(moved.mask["head"], PRUNED_HEAD.mask["head"]) == moves
    assert trees_differ(moved.variables.params["head"], values["head"]) == moves
    assert trees_differ(moved.mask["dense_0"], MASK["dense_0"])


def test_layers_of_one_shape_are_shuffled_apart():
    ticket = Ticket(**{**vars(TICKET), "mask": {**MASK, "dense_1": MASK["dense_0"]}})
    moved = arm("shuffled_mask", jax.random.key(0), ticket, TARGET)
    assert trees_differ(moved.mask["dense_0"], moved.mask["dense_1"])


def test_shuffling_over_all_layers_makes_their_densities_alike():
    counted = masks.count(make("shuffled_globally").mask, PRUNABLE)
    assert max(DENSITIES.values()) - min(DENSITIES.values()) > 0.7
    shares = [kept / size for kept, size in counted.layers.values()]
    assert max(shares) - min(shares) < 0.3


@pytest.mark.parametrize("name", [n for n, kept in KEEPS.items() if "mask" not in kept])
def test_a_shuffle_is_a_function_of_its_key(name):
    assert_trees_equal(make(name), make(name))
    assert trees_differ(make(name).mask, make(name, seed=1).mask)


@pytest.mark.parametrize("name", STARTS)
def test_a_start_point_is_the_ticket_itself(name):
    moved = make(name)
    assert_trees_equal(moved.mask, TICKET.mask)
    assert_trees_equal(moved.variables, getattr(TICKET, name))


def test_no_two_arms_are_the_same():
    made = [arm(name, jax.random.key(0), PRUNED_HEAD, TARGET) for name in ARMS]
    for i, a in enumerate(made):
        for b in made[:i]:
            assert trees_differ(a, b)


@pytest.mark.parametrize("name", ARMS)
def test_a_new_head_is_fresh_and_unpruned_in_every_arm(name):
    head = frozenset({"head/kernel", "head/bias", "dense_1/kernel"})
    moved = make(name, new_head=head)
    mask, values = leaves(moved.mask), leaves(moved.variables.params)
    fresh = leaves(TARGET.params)
    for leaf in head:
        np.testing.assert_array_equal(values[leaf], fresh[leaf])
        assert mask[leaf].all()
    left = [n for n in PRUNABLE if n not in head]
    assert sum(int(mask[n].sum()) for n in left) == masks.count(TICKET.mask, left).kept
    source = values_of(name, base="theta_0")
    if name != "redrawn_magnitudes":
        others = leaves((getattr(TICKET, source) if source else TARGET).params)
        np.testing.assert_array_equal(values["norm_0/scale"], others["norm_0/scale"])


def with_head(classes, *, below=None):
    params = {k: v for k, v in small_params(9).items() if k != "head"}
    head = {"kernel": jnp.ones((10, classes)), "bias": jnp.ones(classes)}
    params |= {"head": head} if below is None else {below: {"head": head}}
    return Variables(params, TARGET.stats)


HEAD = {"head/kernel", "head/bias"}


@pytest.mark.parametrize(
    ("classes", "always", "expected"),
    [(3, False, set()), (3, True, HEAD), (7, False, HEAD), (7, True, HEAD)],
)
def test_the_head_is_new_where_its_shape_differs_or_where_asked(classes, always, expected):
    fresh = with_head(classes)
    assert head_of(TICKET, fresh, always=always) == expected
    check_fits(TICKET, fresh, new_head=head_of(TICKET, fresh, always=always))


def test_hidden_layers_before_the_head_belong_to_it():
    fresh = with_head(3)
    fresh.params["head_hidden_0"] = {"kernel": jnp.ones((10, 10))}
    assert head_of(TICKET, fresh) == HEAD | {"head_hidden_0/kernel"}


def test_a_head_inside_of_a_module_is_found_as_its_kind_is():
    ours, theirs = with_head(3, below="encoder"), with_head(7, below="encoder")
    ticket = Ticket(
        **{**vars(TICKET), "mask": masks.dense(ours.params), "theta_0": ours, "prunable": ()}
    )
    head = {"encoder/head/kernel", "encoder/head/bias"}
    assert trees.kinds(theirs.params)["encoder/head/kernel"] == "output"
    assert head_of(ticket, theirs) == head
    assert head_of(ticket, ours) == set()
    assert head_of(ticket, ours, always=True) == head


@pytest.mark.parametrize(
    ("change", "leaf"),
    [
        (lambda v: v.params["dense_0"].update(kernel=jnp.ones((9, 10))), "dense_0/kernel"),
        (lambda v: v.params.pop("dense_1"), "dense_1/bias"),
        (lambda v: v.params.update(dense_2={"kernel": jnp.ones((2, 2))}), "dense_2/kernel"),
        (lambda v: v.stats["norm_0"].update(mean=jnp.ones(5)), "norm_0/mean"),
        (lambda v: v.params["head"].update(bias=jnp.ones(7)), "head/bias"),
    ],
)
def test_a_ticket_that_does_not_fit_is_refused_by_the_name_of_the_leaf(change, leaf):
    fresh = variables(9)
    _ = change(fresh)
    with pytest.raises(ValueError, match=f"leaf '{leaf}' is .* in the ticket and .* in the net"):
        check_fits(TICKET, fresh, new_head=())


def test_arms_are_known_by_name():
    check_arms(ARMS, "theta_0")
    with pytest.raises(ValueError, match="did you mean shuffled_mask"):
        check_arms(["shufled_mask"], "theta_0")
    assert {*OWN_DENSE} == {"ticket", *STARTS, "redrawn"} <= {"ticket", *ARMS}
