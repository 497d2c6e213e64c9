"""Training of one member: a pure function of its start, its mask, its key and the data.

A *member* is one network in training. A *leg* is the training between two evaluations; the
host chains legs (`ltjax.population`), so that one compiled leg serves every length, level,
control and start point. What differs between members is data, never structure.
"""

from collections.abc import Callable
import dataclasses
from typing import NamedTuple

import jax
from jax import lax
import jax.numpy as jnp
import optax

from ltjax.core import keys, masks, trees
from ltjax.core.scores import Probe
from ltjax.core.types import Images, Key, Labels, Mask, Params, Pixels, Scalar, Tree, Variables
from ltjax.data import order
from ltjax.training import optimizers
from ltjax.training.optimizers import Optimizer, Schedule

MEASURES = ("accuracy", "loss")


class Examples(NamedTuple):
    """Images as uint8 [n, height, width, channels] and labels as int32 [n]."""

    images: Pixels
    labels: Labels


class Data(NamedTuple):
    """What every member of a population shares, on the device.

    `mean` and `std` are float32 [channels], on the scale where white is 1.
    """

    train: Examples
    test: Examples
    mean: jax.Array
    std: jax.Array


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings that all members of a population share.

    Attributes:
      apply: as `models.Network.apply`; in training it gets a key a step.
      optimizer: an optax transformation; its updates are multiplied by the schedule. It sees the
        parameters that train, masked (`masks.sparse`), with None for frozen ones, and where it asks
        the loss of the batch as `value`, `grad` and `value_fn`. Schedules inside it stand where
        `schedule` would (`optimizers.at_step`). What is evaluated are the trained parameters, no
        average that an optimizer keeps beside (`schedule_free`).
      schedule: learning rate of a step, or None where the optimizer is complete by itself.
      batch_size: examples a step.
      steps: steps of the whole training.
      every: steps between evaluations.
      snapshot: step whose variables may be kept as theta_k, or None; it is evaluated.
      patience: regular evaluations (those at multiples of `every`) without a better validation
        result before it stops, though never before `snapshot`; 0 never stops.
      measure: `accuracy` or `loss`, which validation result is compared.
      keep: `last` or `best`, which variables are theta_S.
      augment: (key, uint8 images) -> uint8 images that `apply` takes, or None.
      frozen: names of the parameters that stay as they are.
      frozen_statistics: run in evaluation mode, so that running statistics are used, not moved,
        and dropout does not act.
      block: images evaluated at once.
    """

    apply: Callable[..., tuple[jax.Array, Tree]]
    optimizer: Optimizer
    schedule: Schedule | None = None
    batch_size: int
    steps: int
    every: int
    snapshot: int | None = None
    patience: int = 0
    measure: str = "accuracy"
    keep: str = "last"
    augment: Callable[[Key, jax.Array], jax.Array] | None = None
    frozen: frozenset[str] = frozenset()
    frozen_statistics: bool = False
    block: int = 1000

    def __post_init__(self) -> None:
        """Refuses settings that make no training."""
        if self.batch_size < 1 or self.every < 1 or self.steps < 0 or self.block < 1:
            raise ValueError(
                "batch_size, every and block must be at least 1 and steps at least 0; got "
                f"{self.batch_size}, {self.every}, {self.block}, {self.steps}"
            )
        if self.steps >= 2**31 or self.every * self.batch_size >= 2**30:
            raise ValueError(
                "steps must be below 2**31, and every * batch_size (the examples of a leg) below "
                f"2**30; got {self.steps} and {self.every} * {self.batch_size}; lower them"
            )
        if self.snapshot is not None and not 0 <= self.snapshot <= self.steps:
            raise ValueError(
                f"the rewind step must lie in 0..{self.steps} (the length); got {self.snapshot}"
            )
        if self.measure not in MEASURES:
            raise ValueError(trees.unknown(self.measure, MEASURES, "measure"))
        if self.keep not in ("last", "best"):
            raise ValueError(trees.unknown(self.keep, ("last", "best"), "choice of weights"))


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


class Evaluation(NamedTuple):
    """What one leg reports: float32 scalars; validation is NaN without a validation set."""

    train_loss: jax.Array
    validation_accuracy: jax.Array
    validation_loss: jax.Array
    test_accuracy: jax.Array
    test_loss: jax.Array
    ran: jax.Array
    """False where the member had stopped before this leg."""


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Cross-entropy of each example, in nats: [batch, classes], [batch] -> [batch]."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def pixels_to_images(pixels: jax.Array, data: Data) -> Images:
    """uint8 to float32, by the mean and standard deviation of the data."""
    mean, std = (v.reshape(1, 1, 1, -1) for v in (data.mean, data.std))
    return (pixels.astype(jnp.float32) / 255.0 - mean) / std


def begin(
    member: Member, opt_state: Tree | None = None, first: jax.Array | int = 0, *, recipe: Recipe
) -> State:
    """The state before the first step.

    Args:
      member: the network to be trained.
      opt_state: an optimizer state to go on with; a fresh one where it is None. Schedules inside
        it are set to the position of the first step either way.
      first: int32 scalar, the first step.
      recipe: its settings.
    """
    variables = Variables(masks.apply(member.start.params, member.mask), member.start.stats)
    if opt_state is None:
        opt_state = recipe.optimizer.init(moving(variables.params, recipe))
    empty = Variables({}, {})
    return State(
        variables=variables,
        opt_state=optimizers.at_step(opt_state, first + member.schedule_offset),
        best=variables if recipe.keep == "best" else empty,
        best_value=jnp.float32(-jnp.inf),
        best_step=jnp.int32(-1),
        bar=jnp.float32(-jnp.inf),
        waited=jnp.int32(0),
        stopped=jnp.bool_(False),
        failed_step=jnp.int32(-1),
    )


def leg(
    state: State, member: Member, data: Data, first: jax.Array, last: jax.Array, *, recipe: Recipe
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
      recipe: the settings.
    """
    scalar = jnp.float32(jnp.nan)

    def skip() -> tuple[State, Evaluation]:
        nothing = Evaluation(scalar, scalar, scalar, scalar, scalar, jnp.bool_(False))
        return state, nothing

    def run() -> tuple[State, Evaluation]:
        variables, opt_state, loss = _steps(state, member, data, first, last, recipe)
        moved = state._replace(variables=variables, opt_state=opt_state)
        report = _evaluate(variables, member, data, loss, recipe)
        return _judge(moved, report, last, recipe), report

    return lax.cond(state.stopped, skip, run)


def _steps(
    state: State, member: Member, data: Data, first: jax.Array, last: jax.Array, recipe: Recipe
) -> tuple[Variables, Tree, Scalar]:
    rows = _rows(keys.derive(member.key, "order"), first, member.train_rows.size, recipe)
    optimizer = masks.sparse(recipe.optimizer, moving(member.mask, recipe))

    def step(t: jax.Array, carry: tuple) -> tuple:
        variables, opt_state, total = carry
        batch = member.train_rows if rows is None else member.train_rows[rows[t - first]]
        pixels, labels = data.train.images[batch], labels_of(data.train, batch, member)
        if recipe.augment is not None:
            pixels = recipe.augment(keys.derive(member.key, "augment", t), pixels)

        def loss_of(params: Params) -> tuple[Scalar, Tree]:
            whole = _completed(params, variables.params)
            key = keys.derive(member.key, "noise", t)
            return _loss(whole, variables.stats, pixels, labels, data, recipe, key)

        params = moving(variables.params, recipe)
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


def moving(params: Tree, recipe: Recipe) -> Tree:
    """The parameters that train, or their masks; None in the place of each frozen one."""
    if not recipe.frozen:
        return params
    return trees.map_with_name(lambda n, p: None if n in recipe.frozen else p, params)


def _completed(params: Params, old: Params) -> Params:
    """Puts the frozen parameters back."""
    return jax.tree.map(
        lambda new, was: was if new is None else new, params, old, is_leaf=lambda p: p is None
    )


def _as_before(new: Tree, old: Tree) -> Tree:
    """The dtypes of `old`."""
    return jax.tree.map(lambda a, b: a if a.dtype == b.dtype else a.astype(b.dtype), new, old)


def labels_of(examples: Examples, rows: jax.Array, member: Member) -> Labels:
    """Labels of some rows, as the outputs of a member."""
    labels = examples.labels[rows]
    return labels if member.outputs is None else member.outputs[labels]


def _rows(key: Key, first: jax.Array, examples: int, recipe: Recipe) -> jax.Array | None:
    """Numbers of the training rows of each step of a leg; None where a batch is all of them."""
    if recipe.batch_size == examples:  # Full-batch descent has no order.
        return None
    return order.shuffled(
        key,
        first,
        stride=recipe.batch_size,
        count=recipe.every * recipe.batch_size,
        n=examples,
    ).reshape(recipe.every, recipe.batch_size)


def _loss(
    params: Params,
    stats: Tree,
    pixels: jax.Array,
    labels: jax.Array,
    data: Data,
    recipe: Recipe,
    key: Key,
) -> tuple[Scalar, Tree]:
    images = pixels_to_images(pixels, data)
    logits, stats = recipe.apply(
        Variables(params, stats), images, train=not recipe.frozen_statistics, key=key
    )
    return cross_entropy(logits, labels).mean(), stats


def probe(member: Member, data: Data, *, recipe: Recipe, batch: int, key: Key) -> Probe:
    """What scores may ask, on one random batch of the member's rows."""
    draw = keys.derive(key, "draw")
    rows = jax.random.choice(keys.derive(key, "batch"), member.train_rows, (batch,), replace=False)
    pixels, labels = data.train.images[rows], labels_of(data.train, rows, member)

    def loss(params: Params) -> Scalar:
        noise = keys.derive(key, "noise")
        return _loss(params, member.start.stats, pixels, labels, data, recipe, noise)[0]

    def forward(params: Params, images: Images) -> jax.Array:
        return recipe.apply(Variables(params, member.start.stats), images, train=False)[0]

    images = pixels_to_images(pixels, data)
    return Probe(draw, loss, forward, images, labels)


def _evaluate(
    variables: Variables, member: Member, data: Data, loss: Scalar, recipe: Recipe
) -> Evaluation:
    rows = member.test_rows
    if rows is None:
        rows = jnp.arange(data.test.labels.size, dtype=jnp.int32)
    test = evaluate(variables, data.test, rows, member, data, recipe=recipe)
    nothing = (jnp.float32(jnp.nan), jnp.float32(jnp.nan))
    if member.validation_rows.size:
        rows = member.validation_rows
        validation = evaluate(variables, data.train, rows, member, data, recipe=recipe)
    else:
        validation = nothing
    return Evaluation(loss, *validation, *test, jnp.bool_(True))


def evaluate(
    variables: Variables,
    examples: Examples,
    rows: jax.Array,
    member: Member,
    data: Data,
    *,
    recipe: Recipe,
) -> tuple[Scalar, Scalar]:
    """Accuracy in [0, 1] and mean cross-entropy in nats over all `rows` from 0, block by block."""
    block = min(recipe.block, rows.size)
    blocks = -(-rows.size // block)
    padding = (0, blocks * block - rows.size)
    padded = jnp.pad(rows, padding, constant_values=-1).reshape(blocks, block)
    n = (rows >= 0).sum()

    def one(chosen: jax.Array) -> tuple[jax.Array, jax.Array]:
        weight = chosen >= 0
        labels = labels_of(examples, chosen, member)
        images = pixels_to_images(examples.images[chosen], data)
        logits, _ = recipe.apply(variables, images, train=False)
        right = (jnp.argmax(logits, -1) == labels) & weight
        return right.sum(), jnp.where(weight, cross_entropy(logits, labels), 0.0).sum()

    right, loss = lax.map(one, padded)
    return (right.sum() / n).astype(jnp.float32), (loss.sum() / n).astype(jnp.float32)


def _judge(state: State, report: Evaluation, step: jax.Array, recipe: Recipe) -> State:
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
    failed_step = jnp.where(failed, step, state.failed_step).astype(jnp.int32)
    out_of_patience = jnp.bool_(False)
    if recipe.patience:
        out_of_patience = (waited >= recipe.patience) & (step >= (recipe.snapshot or 0))

    def choose(condition: jax.Array, new: Variables, old: Variables) -> Variables:
        return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)

    state = state._replace(
        best_value=jnp.where(better, value, state.best_value),
        best_step=jnp.where(better, step, state.best_step).astype(jnp.int32),
        bar=jnp.where(raised, value, state.bar),
        waited=waited.astype(jnp.int32),
        stopped=failed | out_of_patience,
        failed_step=failed_step,
    )
    if recipe.keep == "best":
        state = state._replace(best=choose(better, state.variables, state.best))
    return state


def trained(state: State, *, recipe: Recipe) -> Variables:
    """theta_S: the last or the best variables, as the recipe says."""
    return state.best if recipe.keep == "best" else state.variables


def stops(recipe: Recipe, *, first: int = 0) -> list[int]:
    """The steps at which a training that begins at `first` is evaluated, `first` included."""
    marks = {first, recipe.steps, *range(0, recipe.steps, recipe.every)}
    if recipe.snapshot is not None:
        marks.add(recipe.snapshot)
    return sorted(s for s in marks if s >= first)
