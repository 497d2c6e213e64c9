"""Optimizers and learning-rate schedules by name.

An optimizer here is an optax transformation at learning rate 1; the schedule, a function of the
step, multiplies its updates. The two are apart because a rewound network has a fresh optimizer
and an old schedule position.
"""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import optax

from ltjax import trees

Schedule = Callable[[jax.Array], jax.typing.ArrayLike]

OPTIMIZERS: Mapping[str, Callable[..., optax.GradientTransformation]] = {
    "sgd": lambda momentum, nesterov: (
        optax.trace(decay=momentum, nesterov=nesterov) if momentum else optax.identity()
    ),
    "adam": lambda momentum, nesterov: optax.scale_by_adam(b1=momentum or 0.9, nesterov=nesterov),
}

DECAYS = ("l2", "decoupled")


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
    if decay not in DECAYS:
        raise ValueError(trees.unknown(decay, DECAYS, "kind of weight decay"))
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
