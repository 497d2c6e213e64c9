"""Optimizers and learning-rate schedules by name.

An optimizer here is an optax transformation at learning rate 1; the schedule, a function of the
step, multiplies its updates. The two are apart because a rewound network has a fresh optimizer
and an old schedule position.
"""

from collections.abc import Callable, Mapping, Sequence
import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ltjax.core import trees
from ltjax.core.types import Params, Tree

Optimizer = optax.GradientTransformation | optax.MultiSteps
Schedule = Callable[[jax.Array], jax.typing.ArrayLike]

OPTIMIZERS: Mapping[str, Callable[..., optax.GradientTransformation]] = {
    "sgd": lambda momentum, nesterov: (
        optax.trace(decay=momentum, nesterov=nesterov) if momentum else optax.identity()
    ),
    "adam": lambda momentum, nesterov: optax.scale_by_adam(b1=momentum or 0.9, nesterov=nesterov),
}

DECAYS = ("l2", "decoupled")

LOSS = ("value", "grad", "value_fn")
"""What optax optimizers ask about the loss of a batch, by their names for it."""


def make(
    name: str,
    *,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    decay: str = "l2",
) -> optax.GradientTransformation:
    """An optimizer at learning rate 1.

    Args:
      name: a row of `OPTIMIZERS`.
      momentum: of sgd; for adam its b1, with 0 meaning 0.9.
      nesterov: Nesterov's form.
      weight_decay: coefficient, 0 for none.
      decay: `l2` adds it to the gradient (what PyTorch's SGD and Adam do, reading 3.8),
        `decoupled` to the update (AdamW); either way the learning rate multiplies it.

    Raises:
      ValueError: an unknown name or decay.
    """
    inner = trees.lookup(OPTIMIZERS, name, "optimizer")(momentum, nesterov)
    trees.require(decay, DECAYS, "kind of weight decay")
    links = [inner]
    if weight_decay:
        links.insert(0 if decay == "l2" else 1, optax.add_decayed_weights(weight_decay))
    return optax.chain(*links, optax.scale(-1.0))


def constant(learning_rate: float, *, steps: int, milestones: Sequence[int]) -> Schedule:
    """The same learning rate at every step."""
    del steps, milestones
    return lambda step: jnp.full(step.shape, learning_rate)


def step(learning_rate: float, *, steps: int, milestones: Sequence[int]) -> Schedule:
    """Divided by 10 at each milestone; without milestones at 1/2 and 3/4 of the steps."""
    return optax.piecewise_constant_schedule(
        learning_rate, dict.fromkeys(milestones or (steps // 2, steps * 3 // 4), 0.1)
    )


def cosine(learning_rate: float, *, steps: int, milestones: Sequence[int]) -> Schedule:
    """Half a cosine from the learning rate down to 0 at the last step."""
    del milestones
    return optax.cosine_decay_schedule(learning_rate, max(steps, 1))


SCHEDULES: Mapping[str, Callable[..., Schedule]] = {
    "constant": constant,
    "step": step,
    "cosine": cosine,
}


def schedule(
    name: str,
    learning_rate: float,
    *,
    steps: int,
    milestones: Sequence[int] = (),
    warmup: int = 0,
) -> Schedule:
    """A schedule by name, after a linear warm-up of `warmup` steps.

    Raises:
      ValueError: an unknown name, or a learning rate that is not above 0.
    """
    if not learning_rate > 0:
        raise ValueError(f"learning_rate must be above 0; got {learning_rate}")
    after = trees.lookup(SCHEDULES, name, "schedule")(
        learning_rate, steps=steps, milestones=milestones
    )
    if not warmup:
        return after
    return lambda step: after(step) * jnp.minimum(1.0, (step + 1) / warmup)


POSITIONS: Mapping[str, str] = {
    "ScaleByScheduleState": "count",
    "InjectHyperparamsState": "count",
    "InjectStatefulHyperparamsState": "count",
    "WrappedScheduleState": "count",
    "WeightDecaySchedule": "count",
    "AddNoiseState": "count",
    "ConditionallyTransformState": "step",
    "ConditionallyMaskState": "step",
}
"""The states of optax that hold the position of a schedule, and the field that does."""

AGES = (
    *("ScaleByAdamState", "ScaleByAmsgradState", "ScaleByAdanState", "ScaleByBeliefState"),
    *("ScaleByRmsWithCountState", "ScaleByRStdDevWithCountState", "ScaleByNovogradState"),
    *("ScaleByLionState", "FactoredState", "EmaState", "MuonState"),
    *("ApplyEvery", "LookaheadState", "ApplyIfFiniteState", "MultiStepsState", "SAMState"),
    *("ReduceLROnPlateauState", "ScaleByLBFGSState", "ZoomLinesearchInfo"),
    "BacktrackingLinesearchInfo",
)
"""The states whose counts are the age of what they gathered (to correct its bias, or to know when
it is full): they go with it, and are 0 in a fresh state."""


def at_step(state: Tree, step: jax.Array | int) -> Tree:
    """Sets the schedules inside an optimizer to a step; what it has gathered stays.

    Args:
      state: of any optimizer; counts that are not those of `POSITIONS` stay as they are.
      step: int32 scalar, the next step to be made.
    """

    def moved(owner: str, field: str, leaf: jax.Array, within: str) -> jax.Array:
        del within
        return jnp.full_like(leaf, step) if POSITIONS.get(owner) == field else leaf

    return _map_counts(moved, state)


def asked(optimizer: Optimizer, params: Params) -> tuple[str, ...]:
    """What an optimizer has to be told beside gradients and parameters: `LOSS`, or nothing.

    Args:
      optimizer: any.
      params: the parameters that train, or their shapes; nothing is computed.

    Raises:
      ValueError: where it makes no step from either, with what it says.
    """
    inner: Any = optax.with_extra_args_support(optimizer)  # pyright: ignore[reportArgumentType]

    def step(params: Params, names: tuple[str, ...]) -> Params:
        loss = jnp.float32(0)
        told = {"value": loss, "grad": params, "value_fn": lambda p: optax.tree.sum(p) * loss}
        told = {name: told[name] for name in names}
        return inner.update(params, inner.init(params), params, **told)[0]

    said = []
    for names in ((), LOSS):
        try:
            _ = jax.eval_shape(functools.partial(step, names=names), params)
        except Exception as error:
            said.append(" ".join(str(error).split())[:200])
        else:
            return names
    raise ValueError(
        f"the optimizer makes no step ({said[0]}); it is given gradients and parameters as nested "
        f"dicts and, where it asks, {', '.join(LOSS)} of the loss; take one that needs no more"
    )


def check_schedules(optimizer: Optimizer, params: Params) -> None:
    """Refuses an optimizer whose schedules `at_step` could not set.

    Args:
      optimizer: to train with from another step than the first.
      params: its parameters, or their shapes.

    Raises:
      ValueError: for a state that counts something unknown, and for a schedule that counts steps
        of `optax.MultiSteps`.
    """
    way_out = "give the schedule as Recipe.schedule, and a constant rate to the optimizer"

    def check(owner: str, field: str, leaf: jax.Array, within: str) -> jax.Array:
        if POSITIONS.get(owner) == field and "MultiStepsState" in within:
            raise ValueError(f"a schedule within MultiSteps cannot go on at a step; {way_out}")
        if owner not in POSITIONS and owner not in AGES:
            raise ValueError(
                f"{owner or 'the optimizer'} counts {field}, which may be the position of a "
                f"schedule and could not go on at a step; {way_out}, or begin afresh at step 0"
            )
        return leaf

    _ = _map_counts(check, jax.eval_shape(optimizer.init, params))


def _map_counts(function: Callable[..., jax.Array], state: Tree) -> Tree:
    """Maps the integer scalars: (name of the state, field, leaf, states around it) -> leaf."""

    def walk(node: Any, owner: str, field: str, within: str) -> Any:
        if jax.tree_util.all_leaves([node]):
            counts = jnp.ndim(node) == 0 and jnp.issubdtype(jnp.result_type(node), jnp.integer)
            return function(owner, field, node, within) if counts else node
        parts, treedef = jax.tree.flatten_with_path(node, is_leaf=lambda part: part is not node)
        if isinstance(node, (list, tuple)) and not hasattr(node, "_fields"):  # A link of a chain.
            return treedef.unflatten([walk(part, owner, field, within) for _, part in parts])
        own = owner if isinstance(node, dict) else type(node).__name__
        return treedef.unflatten(
            [
                walk(part, own, jax.tree_util.keystr(path, simple=True), f"{within}/{own}")
                for path, part in parts
            ]
        )

    return walk(state, "", "something", "")
