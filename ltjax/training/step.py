"""Training of one member: a pure function of its start, its mask, its key and the data.

A *member* is one network in training. A *leg* is the training between two evaluations; the
host chains legs (`population.Trainer`), so that one compiled leg serves every length, level,
control and start point. What differs between members is data, never structure.
"""

from typing import NamedTuple

import jax
from jax import lax
import jax.numpy as jnp
import optax

from ltjax.core import keys, masks
from ltjax.core.scores import Probe
from ltjax.core.types import Images, Key, Mask, Params, Scalar, Tree, Variables
from ltjax.data import order
from ltjax.models.network import Apply
from ltjax.training import optimizers
from ltjax.training.evaluation import (
    Data,
    Evaluation,
    cross_entropy,
    evaluate,
    labels_of,
    pixels_to_images,
)
from ltjax.training.recipe import Recipe


class Member(NamedTuple):
    """One network to be trained.

    Attributes:
      key: order of the examples, augmentation, and noise of the network (dropout).
      start: parameters and running statistics to start from; pruned weights may hold anything.
      mask: the live weights.
      train_rows: int32 [n], the rows of `Data.train` it learns from.
      validation_rows: int32 [v], the rows of `Data.train` that only judge; v may be 0.
      schedule_offset: int32 scalar, added to the step before the schedule sees it.
      test_rows: int32 [t], the rows of `Data.test` it is tested on, -1 for none; None for all.
      outputs: int32 [labels], the output of each label of the data; None where they are the same.
    """

    key: Key
    start: Variables
    mask: Mask
    train_rows: jax.Array
    validation_rows: jax.Array
    schedule_offset: jax.Array
    test_rows: jax.Array | None = None
    outputs: jax.Array | None = None


class State(NamedTuple):
    """Everything that a member in training carries from leg to leg."""

    variables: Variables
    opt_state: Tree
    best: Variables
    best_value: jax.Array
    best_step: jax.Array
    bar: jax.Array
    """The best value of the regular evaluations, which patience goes by."""
    waited: jax.Array
    stopped: jax.Array
    failed_step: jax.Array


def begin(
    member: Member, opt_state: Tree | None = None, first: jax.Array | int = 0, *, recipe: Recipe
) -> State:
    """The state before the first step.

    Args:
      member: the network to be trained.
      opt_state: an optimizer state to go on with; a fresh one where it is None. Schedules inside
        it are set to the position of the first step either way.
      first: int32 scalar, the first step.
      recipe: how it is trained.
    """
    variables = Variables(masks.apply(member.start.params, member.mask), member.start.stats)
    if opt_state is None:
        opt_state = recipe.optimizer.init(recipe.moving(variables.params))
    return State(
        variables=variables,
        opt_state=optimizers.at_step(opt_state, first + member.schedule_offset),
        best=variables if recipe.keep == "best" else Variables({}, {}),
        best_value=jnp.float32(-jnp.inf),
        best_step=jnp.int32(-1),
        bar=jnp.float32(-jnp.inf),
        waited=jnp.int32(0),
        stopped=jnp.bool_(False),
        failed_step=jnp.int32(-1),
    )


def leg(
    state: State,
    member: Member,
    data: Data,
    first: jax.Array,
    last: jax.Array,
    snapshot: jax.Array,
    *,
    apply: Apply,
    recipe: Recipe,
) -> tuple[State, Evaluation]:
    """Trains one member from step `first` to step `last` and evaluates it there.

    A stopped member stays as it is. The batches are a function of the step alone: a stream of
    keyed permutations of the training rows, one an epoch, cut into batches (a batch may hold
    the end of one epoch and the beginning of the next, so none is short and none is dropped).

    Args:
      state: from `begin` or the leg before.
      member: the same as for `begin`.
      data: the data of the population.
      first: int32 scalar, the step at which `state` stands.
      last: int32 scalar, at most `recipe.every` after `first`.
      snapshot: int32 scalar, the step before which patience does not stop.
      apply: of the network; in training it gets a key a step.
      recipe: how it is trained.
    """
    scalar = jnp.float32(jnp.nan)

    def skip() -> tuple[State, Evaluation]:
        return state, Evaluation(scalar, scalar, scalar, scalar, scalar, jnp.bool_(False))

    def run() -> tuple[State, Evaluation]:
        variables, opt_state, loss = _steps(state, member, data, first, last, apply, recipe)
        moved = state._replace(variables=variables, opt_state=opt_state)
        report = _report(variables, member, data, loss, apply, recipe)
        return judge(moved, report, last, snapshot, recipe=recipe), report

    return lax.cond(state.stopped, skip, run)


def _steps(
    state: State,
    member: Member,
    data: Data,
    first: jax.Array,
    last: jax.Array,
    apply: Apply,
    recipe: Recipe,
) -> tuple[Variables, Tree, Scalar]:
    rows = _rows(keys.derive(member.key, "order"), first, member.train_rows.size, recipe)
    optimizer = masks.sparse(recipe.optimizer, recipe.moving(member.mask))

    def step(t: jax.Array, carry: tuple) -> tuple:
        variables, opt_state, total = carry
        batch = member.train_rows if rows is None else member.train_rows[rows[t - first]]
        pixels, labels = data.train.images[batch], labels_of(data.train, batch, member.outputs)
        if recipe.augment is not None:
            pixels = recipe.augment(keys.derive(member.key, "augment", t), pixels)

        def loss_of(params: Params) -> tuple[Scalar, Tree]:
            whole = Variables(_completed(params, variables.params), variables.stats)
            key = keys.derive(member.key, "noise", t)
            return _loss(whole, pixels, labels, data, key, apply, recipe)

        params = recipe.moving(variables.params)
        (loss, stats), grads = jax.value_and_grad(loss_of, has_aux=True)(params)
        told = {"value": loss, "grad": grads, "value_fn": lambda p: loss_of(p)[0]}
        asked = {name: told[name] for name in optimizers.asked(recipe.optimizer, params)}
        updates, opt_state = optimizer.update(grads, opt_state, params, **asked)
        if recipe.schedule is not None:
            rate = jnp.asarray(recipe.schedule(t + member.schedule_offset), jnp.float32)
            updates = jax.tree.map(lambda u: (rate * u).astype(u.dtype), updates)
        params = _completed(optax.apply_updates(params, updates), variables.params)
        # What an optimizer or a network widens (64-bit mode) goes on as it began.
        return _as_before((Variables(params, stats), opt_state, total + loss), carry)

    start = (state.variables, state.opt_state, jnp.float32(0))
    variables, opt_state, total = lax.fori_loop(first, last, step, start)
    return variables, opt_state, total / jnp.maximum(last - first, 1).astype(jnp.float32)


def _completed(params: Params, old: Params) -> Params:
    """Puts the frozen parameters back."""
    return jax.tree.map(
        lambda new, was: was if new is None else new, params, old, is_leaf=lambda p: p is None
    )


def _as_before(new: Tree, old: Tree) -> Tree:
    """The dtypes of `old`."""
    return jax.tree.map(lambda a, b: a if a.dtype == b.dtype else a.astype(b.dtype), new, old)


def _rows(key: Key, first: jax.Array, examples: int, recipe: Recipe) -> jax.Array | None:
    """Numbers of the training rows of each step of a leg; None where a batch is all of them."""
    if recipe.batch_size == examples:  # Full-batch descent has no order.
        return None
    count = recipe.every * recipe.batch_size
    rows = order.shuffled(key, first, stride=recipe.batch_size, count=count, n=examples)
    return rows.reshape(recipe.every, recipe.batch_size)


def _loss(
    variables: Variables,
    pixels: jax.Array,
    labels: jax.Array,
    data: Data,
    key: Key,
    apply: Apply,
    recipe: Recipe,
) -> tuple[Scalar, Tree]:
    images = pixels_to_images(pixels, data)
    logits, stats = apply(variables, images, train=not recipe.frozen_statistics, key=key)
    return cross_entropy(logits, labels).mean(), stats


def probe(
    member: Member, data: Data, *, apply: Apply, recipe: Recipe, batch: int, key: Key
) -> Probe:
    """What scores may ask, on one random batch of the member's rows."""
    rows = jax.random.choice(keys.derive(key, "batch"), member.train_rows, (batch,), replace=False)
    pixels, labels = data.train.images[rows], labels_of(data.train, rows, member.outputs)

    def loss(params: Params) -> Scalar:
        variables, noise = Variables(params, member.start.stats), keys.derive(key, "noise")
        return _loss(variables, pixels, labels, data, noise, apply, recipe)[0]

    def forward(params: Params, images: Images) -> jax.Array:
        return apply(Variables(params, member.start.stats), images, train=False)[0]

    images = pixels_to_images(pixels, data)
    return Probe(keys.derive(key, "draw"), loss, forward, images, labels)


def _report(
    variables: Variables, member: Member, data: Data, loss: Scalar, apply: Apply, recipe: Recipe
) -> Evaluation:
    rows = member.test_rows
    if rows is None:
        rows = jnp.arange(data.test.labels.size, dtype=jnp.int32)
    shown = [
        evaluate(apply, variables, *on, data, outputs=member.outputs, block=recipe.block)
        for on in ((data.test, rows), (data.train, member.validation_rows))
    ]
    return Evaluation(loss, *shown[1], *shown[0], jnp.bool_(True))


def judge(
    state: State, report: Evaluation, step: jax.Array, snapshot: jax.Array, *, recipe: Recipe
) -> State:
    """Books the evaluation: best so far, patience, failure."""
    judged = jnp.isfinite(report.validation_loss)
    value = report.validation_accuracy
    if recipe.measure == "loss":
        value = -report.validation_loss
    better = judged & (value > state.best_value)
    # The evaluations at the snapshot and at the ends are extra: they may be the best, but patience
    # goes by the regular ones alone, so that it does not depend on the rewind step.
    regular = step % recipe.every == 0
    raised = judged & regular & (value > state.bar)
    waited = jnp.where(raised, 0, state.waited + regular)
    failed = ~jnp.isfinite(report.train_loss) | ~jnp.isfinite(report.test_loss)
    out_of_patience = jnp.bool_(False)
    if recipe.patience:
        out_of_patience = (waited >= recipe.patience) & (step >= snapshot)
    best = state.best
    if recipe.keep == "best":
        best = jax.tree.map(lambda a, b: jnp.where(better, a, b), state.variables, best)
    return state._replace(
        best=best,
        best_value=jnp.where(better, value, state.best_value),
        best_step=jnp.where(better, step, state.best_step).astype(jnp.int32),
        bar=jnp.where(raised, value, state.bar),
        waited=waited.astype(jnp.int32),
        stopped=failed | out_of_patience,
        failed_step=jnp.where(failed, step, state.failed_step).astype(jnp.int32),
    )


def trained(state: State, *, recipe: Recipe) -> Variables:
    """theta_S: the last or the best variables, as the recipe says."""
    return state.best if recipe.keep == "best" else state.variables
