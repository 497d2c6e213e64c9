"""Finding winning tickets: train, prune, rewind, and again."""

from collections.abc import Callable, Collection, Iterator, Mapping
import functools
from typing import Any, NamedTuple

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from ltjax.core import masks, pruning, trees
from ltjax.core.keys import keys_for
from ltjax.core.types import Key, Mask, Tree, Variables
from ltjax.data import Dataset, Parts
from ltjax.lottery.held_out import check_parts, shares, split_of
from ltjax.lottery.level import Keeper, Level, Piece, failed_steps, judge_of, once, records_of
from ltjax.lottery.prune import batch_of, check_plan, prune
from ltjax.training import population
from ltjax.training.evaluation import device_data
from ltjax.training.population import Observer, Trainer, check
from ltjax.training.records import Record
from ltjax.training.step import Member

RESETS = ("weights", "biases", "norm", "statistics", "optimizer", "order", "schedule")
"""What a round may set back: kernels; biases; scale and shift of batch norm; its running
statistics; the optimizer state; the order of the examples; the schedule position."""

_SWITCH = {"bias": "biases", "norm": "norm"}


def find(
    trainer: Trainer,
    dataset: Dataset | Parts,
    *,
    key: Key,
    plan: pruning.Plan,
    replicates: int = 1,
    validation: int = 0,
    judge: str = "last",
    rewind: int | str = 0,
    reset: Collection[str] = RESETS,
    score: str = "magnitude",
    score_at: str = "end",
    score_batch: int = 0,
    one_shot: bool = False,
    mask: Mask | None = None,
    keep: Keeper = once,
) -> Iterator[Level]:
    """Searches winning tickets by training, pruning and rewinding.

    Iterative magnitude pruning (Frankle & Carbin) with its variants as arguments. Yields level
    0, the dense network, to `plan.levels`. A replicate whose loss was not finite has failed at
    that level and at all that come from it: it is not trained there, and its records say so.

    Args:
      trainer: the network to prune, and how each level is trained.
      dataset: the source; parts of one where each replicate has its own.
      key: everything random comes from it.
      plan: how much each level keeps, from `pruning.plan`.
      replicates: independent searches, trained side by side.
      validation: examples held out of the training split, drawn anew for each replicate.
      judge: what chooses the best evaluation where none are held out: `last` takes the last one,
        `test` the best on the test set, whose accuracy there is then too high.
      rewind: step to which each round rewinds, or `end` for the end of the dense network's
        training (a full training follows it).
      reset: what is rewound, of `RESETS` (see `rewound`).
      score: a row of `pruning.SCORES`.
      score_at: `end` rates theta_S, `start` the weights that the level began with.
      score_batch: examples of the batch for scores with gradients; 0 means the batch size.
      one_shot: every level is pruned from level 0.
      mask: what level 0 begins with instead of everything, for instance the complement of a
        ticket's (paper 002's flip), stacked over the replicates; its counts are those of level 0
        of the plan (`pruning.plan` with `live`).
      keep: the keeper.

    Raises:
      ValueError: before anything is compiled, for settings that do not fit each other.
    """
    first = rewind if isinstance(rewind, int) else 0
    _check(
        *(trainer, dataset, plan),
        replicates=replicates,
        validation=validation,
        rewind=rewind,
        reset=reset,
        mask=mask,
    )
    _ = trees.lookup(pruning.SCORES, score, "score")
    trees.require(score_at, ("start", "end"), "moment to score at")
    batch = batch_of(score_batch, trainer, dataset, validation=validation, named="score_batch")
    judged_on = judge_of(judge, validation=validation)
    go_back = functools.partial(
        rewound,
        first=first,
        reset=reset,
        kind_of=trees.kinds(trainer.network.shapes().params, head=trainer.network.head),
        steps=trainer.recipe.steps,
    )

    def levels() -> Iterator[Level]:
        data, split = device_data(dataset), split_of(keys_for(key, "split", replicates))
        share, split = shares(dataset, split, validation=validation)
        theta_0 = jax.device_get(_drawer(trainer.network.init)(keys_for(key, "init", replicates)))

        def train(
            number: int,
            members: Member,
            start: Start,
            failed_step: np.ndarray,
            resume: Tree | None,
            observe: Observer | None,
        ) -> tuple[Tree, list[Record]]:
            trained = trainer.train(
                members,
                data,
                first=start.first,
                opt_state=start.opt_state,
                snapshot=None if number and start.first == first else first,
                failed_step=failed_step,
                resume=resume,
                observe=observe,
            )
            # Nothing later may rate or go on from what is not finite.
            sound = functools.partial(_heal, instead=theta_0, failed_step=trained.failed_step)
            tree = {"mask": members.mask, "theta_S": sound(trained.variables)._asdict()}
            if number == 0:
                theta_k = sound(trained.snapshot)._asdict()
                tree |= {"theta_0": theta_0._asdict(), "theta_k": theta_k, "split": split}
            if "optimizer" not in reset:
                tree["opt_state"] = population.numbered(trained.opt_state)
            told = {"phase": "source", "arm": "ticket", "level": number}
            told["nominal"] = plan.nominal[number]
            labels = [{**told, "replicate": i} for i in range(replicates)]
            judged = {"judged_on": judged_on, "measure": trainer.recipe.measure}
            records = records_of(trained, labels, members.mask, plan.prunable, **judged)
            return jax.device_get(tree), records

        live = jax.tree.map(lambda p: np.ones(p.shape, bool), theta_0.params)
        live, start, failed_step = mask or live, Start(theta_0), np.full(replicates, -1)
        rounds: list[tuple[Level, Start, Tree | None]] = []  # The first and the last.
        for number in range(plan.levels + 1):
            if number > 0:
                before, began, opt_state = rounds[0 if one_shot else -1]
                live = prune(
                    before.theta_S if score_at == "end" else began.variables,
                    before.mask,
                    plan.counts[number],
                    key=keys_for(key, "score", replicates, number),
                    groups=plan.groups,
                    score=score,
                    trainer=trainer,
                    batches=(share, data, batch),
                )
                dense, failed_step = rounds[0][0], before.failed
                point = {0: theta_0, "end": dense.theta_S}.get(rewind, dense.theta_k)
                start = go_back(point, before.theta_S, opt_state, 1 if one_shot else number)
            order = keys_for(key, "order", replicates, start.order)
            offset = jnp.full(replicates, start.schedule_offset, jnp.int32)
            seen = share._asdict()
            members = Member(order, start.variables, live, schedule_offset=offset, **seen)
            compute = functools.partial(train, number, members, start, failed_step)
            tree, records = keep(Piece("source", number), compute)
            level = Level(
                level=number,
                nominal=plan.nominal[number],
                mask=live,
                theta_0=theta_0,
                theta_k=rounds[0][0].theta_k if rounds else Variables(**tree["theta_k"]),
                theta_S=Variables(**tree["theta_S"]),
                prunable=plan.prunable,
                records=records,
                split=split,
                failed_step=failed_steps(records),
            )
            opt_state = None
            if "optimizer" not in reset:
                like = jax.eval_shape(trainer.optimizer_states, members)
                opt_state = population.unnumbered(tree["opt_state"], like)
            rounds = [*rounds[:1], (level, start, opt_state)]
            yield level

    return levels()


class Start(NamedTuple):
    """Where the training of a level begins.

    Attributes:
      variables: of a population.
      opt_state: of the optimizer, None for a fresh one.
      first: the first step; a network rewound to step k begins at k.
      order: number of the order of examples; trainings of one number see the same batches.
      schedule_offset: added to the step to give the schedule position.
    """

    variables: Variables
    opt_state: Tree | None = None
    first: int = 0
    order: int = 0
    schedule_offset: int = 0


def rewound(
    point: Variables,
    ended: Variables,
    opt_state: Tree | None,
    rounds: int,
    *,
    first: int,
    reset: Collection[str],
    kind_of: Mapping[str, str],
    steps: int,
) -> Start:
    """Where a round begins: what is in `reset` goes back, the rest goes on.

    Values and statistics go back to the rewind point of the dense network, order and schedule to
    the dense network's, and the optimizer to a fresh state (also at a step k: theta_k is kept
    without one). With everything reset and the beginning as the point this is Frankle & Carbin's
    search, with a step k late rewinding, and with no weights, biases, norm or statistics reset the
    continuation of Han et al.

    Args:
      point: of the dense network.
      ended: where the round before ended, as is `opt_state`.
      opt_state: of its last step.
      rounds: trainings before this one.
      first: the step of the point; 0 also where a full training follows.
      reset: some of `RESETS`.
      kind_of: kind of each parameter, from `trees.kinds`.
      steps: length of one training.
    """

    def pick(name: str, then: Any, now: Any) -> Any:
        return then if _SWITCH.get(kind_of[name], "weights") in reset else now

    first = first if "weights" in reset else 0
    return Start(
        variables=Variables(
            trees.map_with_name(pick, point.params, ended.params),
            point.stats if "statistics" in reset else ended.stats,
        ),
        opt_state=None if "optimizer" in reset else opt_state,
        first=first,
        order=0 if "order" in reset else rounds,
        schedule_offset=0 if "schedule" in reset else rounds * (steps - first),
    )


def _heal(tree: Tree, instead: Tree, failed_step: np.ndarray) -> Tree:
    """A population whose failed members are those of `instead`."""

    def pick(new: Any, old: Any) -> Any:
        return np.where((failed_step >= 0).reshape(-1, *[1] * (new.ndim - 1)), old, new)

    return jax.tree.map(pick, tree, instead) if (failed_step >= 0).any() else tree


@functools.lru_cache(maxsize=4)
def _drawer(init: Callable[[Key], Variables]) -> Callable[[Key], Variables]:
    """Jitted initialization, one replicate after the other: compiled for one, whatever they are."""
    return jax.jit(lambda keys: lax.map(init, keys))


def _check(
    trainer: Trainer,
    dataset: Dataset | Parts,
    plan: pruning.Plan,
    *,
    replicates: int,
    validation: int,
    rewind: int | str,
    reset: Collection[str],
    mask: Mask | None,
) -> None:
    check(trainer, dataset, validation=validation)
    if replicates < 1:
        raise ValueError(f"replicates must be at least 1; got {replicates}")
    check_parts(dataset, replicates)
    check_plan(plan, params := trainer.network.shapes().params)
    for name in reset:
        trees.require(name, RESETS, "part to reset")
    steps, late = trainer.recipe.steps, rewind not in (0, "end")
    if rewind != "end" and not (isinstance(rewind, int) and 0 <= rewind <= steps):
        raise ValueError(
            f"the rewind step must lie in 0..{steps} (the length), or be 'end'; got {rewind!r}"
        )
    if "schedule" not in reset and steps * (plan.levels + 1) >= 2**31:
        raise ValueError(
            f"the schedule goes on for {steps} steps at each of {plan.levels + 1} levels, "
            "which must be below 2**31 together; reset the schedule, or lower them"
        )
    if late or not {"schedule", "optimizer"} <= set(reset):
        trainer.check_schedules()
    if mask is None:
        return
    stacked = jax.tree.map(lambda p: jax.ShapeDtypeStruct((replicates, *p.shape), bool), params)
    trees.check_same_layout(mask, stacked, what="mask")
    for replicate in range(replicates):
        for group, count in zip(plan.groups, plan.counts[0], strict=True):
            found = masks.count(population.member(mask, replicate), group).kept
            if found != count:
                raise ValueError(
                    f"the plan begins with {count} weights of {', '.join(group)} and the mask of "
                    f"replicate {replicate} keeps {found}; make it with pruning.plan(live=...)"
                )
