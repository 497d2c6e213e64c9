"""Finding winning tickets: the search over data, network and population."""

from collections.abc import Callable, Collection, Iterator
import dataclasses
import functools
from typing import NamedTuple

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from ltjax.core import masks, pruning, trees
from ltjax.core.types import Key, Mask, Tree, Variables
from ltjax.data import Dataset, Parts
from ltjax.lottery import ticket as tickets
from ltjax.lottery.common import (
    Found,
    Keeper,
    Label,
    Share,
    check,
    check_parts,
    check_plan,
    device_data,
    failed_steps,
    heal,
    judge_of,
    keys_for,
    once,
    piece_of,
    records_of,
    shares,
    trainer_of,
)
from ltjax.lottery.held_out import split_of
from ltjax.lottery.prune import pruner
from ltjax.lottery.ticket import Level, Start
from ltjax.models import Network
from ltjax.training import optimizers, population
from ltjax.training import step as train
from ltjax.training.population import Observer, Trainer
from ltjax.training.records import Record
from ltjax.training.step import Data, Member, Recipe


def find(
    network: Network,
    dataset: Dataset | Parts,
    recipe: Recipe,
    *,
    key: Key,
    plan: pruning.Plan,
    replicates: int = 1,
    validation: int = 0,
    judge: str = "last",
    rewind: int | str = 0,
    reset: Collection[str] = tickets.RESETS,
    score: str = "magnitude",
    score_at: str = "end",
    score_batch: int = 0,
    one_shot: bool = False,
    mask: Mask | None = None,
    trainer: Trainer | None = None,
    keep: Keeper = once,
) -> Iterator[Found]:
    """Searches winning tickets by training, pruning and rewinding.

    Iterative magnitude pruning (Frankle & Carbin) with its variants as arguments. Yields level
    0, the dense network, to `plan.levels`. A replicate whose loss was not finite has failed at
    that level and at all that come from it: it is not trained there, and its records say so.

    Args:
      network: what to prune.
      dataset: the source; parts of one where each replicate has its own.
      recipe: how each level is trained; its `snapshot` is the rewind step, or None to
        have it set so. Where the rounds go back to the beginning or the end, any step may be kept
        as theta_k.
      key: everything random comes from it.
      plan: how much each level keeps, from `pruning.plan`.
      replicates: independent searches, trained side by side.
      validation: examples held out of the training split, drawn anew for each replicate.
      judge: what chooses the best evaluation where none are held out: `last` takes the last one,
        `test` the best on the test set, whose accuracy there is then too high.
      rewind: step to which each round rewinds, or `end` (see `tickets.rewinder`).
      reset: what is rewound, of `tickets.RESETS`.
      score: a row of `pruning.SCORES`.
      score_at: `end` rates theta_S, `start` the weights that the level began with.
      score_batch: examples of the batch for scores with gradients; 0 means the batch size.
      one_shot: every level is pruned from level 0.
      mask: what level 0 begins with instead of everything, for instance the complement of a
        ticket's (paper 002's flip), stacked over the replicates; its counts are those of level 0
        of the plan (`pruning.plan` with `live`).
      trainer: a compiled trainer of `recipe`, to spread over chosen devices.
      keep: the keeper.

    Raises:
      ValueError: before anything is compiled, for settings that do not fit each other.
    """
    check(network, dataset, recipe, validation=validation)
    check_parts(dataset, replicates)
    shapes = network.shapes().params
    go_back = tickets.rewinder(
        point=rewind,
        reset=reset,
        kind_of=trees.kinds(shapes, head=network.head),
        steps=recipe.steps,
    )
    if recipe.snapshot is None and trainer is None:
        recipe = dataclasses.replace(recipe, snapshot=0 if rewind == "end" else rewind)
    _check_search(recipe, score, score_at, replicates, rewind)
    check_plan(plan, shapes)
    if "schedule" not in reset and recipe.steps * (plan.levels + 1) >= 2**31:
        raise ValueError(
            f"the schedule goes on for {recipe.steps} steps at each of {plan.levels + 1} levels, "
            "which must be below 2**31 together; reset the schedule, or lower them"
        )
    if rewind not in (0, "end") or not {"schedule", "optimizer"} <= set(reset):
        optimizers.check_schedules(recipe.optimizer, train.moving(shapes, recipe))
    score_batch = score_batch or recipe.batch_size
    rows = dataset.examples - validation
    if not 0 < score_batch <= rows:
        raise ValueError(
            f"score_batch must lie in 0..{rows} (the training examples of {dataset.name}); "
            f"got {score_batch}"
        )
    work = _Work(
        key=key,
        network=network,
        dataset=dataset,
        plan=plan,
        recipe=recipe,
        trainer=trainer_of(recipe, trainer),
        replicates=replicates,
        validation=validation,
        judged_on=judge_of(judge, validation=validation),
        score=score,
        score_at=score_at,
        score_batch=score_batch,
        carry_optimizer="optimizer" not in reset,
        keep=keep,
    )
    if mask is not None:
        _check_mask(mask, plan, shapes, replicates)
    return _levels(work, go_back, mask, one_shot=one_shot)


def _levels(
    work: "_Work",
    go_back: Callable[[Level, Level], Start],
    mask: Mask | None,
    *,
    one_shot: bool,
) -> Iterator[Found]:
    theta_0 = theta_k = work.theta_0
    if mask is None:
        mask = jax.tree.map(lambda leaf: np.ones(leaf.shape, bool), theta_0.params)
    start = Start(theta_0, None, 0, 0, 0, np.full(work.replicates, -1))
    for level in tickets.search(
        start,
        mask,
        work.train,
        work.prune,
        go_back,
        levels=work.plan.levels,
        one_shot=one_shot,
    ):
        if level.number == 0:
            theta_k = level.trained.snapshot
        yield Found(
            level=level.number,
            nominal=work.plan.nominal[level.number],
            mask=level.mask,
            theta_0=theta_0,
            theta_k=theta_k,
            theta_S=level.trained.variables,
            prunable=work.plan.prunable,
            records=level.trained.records,
            split=work.share[1],
            failed_step=level.trained.failed_step,
        )


def _check_search(
    recipe: Recipe, score: str, score_at: str, replicates: int, rewind: int | str
) -> None:
    _ = trees.lookup(pruning.SCORES, score, "score")
    if score_at not in ("start", "end"):
        raise ValueError(trees.unknown(score_at, ("start", "end"), "moment to score at"))
    if replicates < 1:
        raise ValueError(f"replicates must be at least 1; got {replicates}")
    if recipe.snapshot is None or (rewind not in (0, "end") and recipe.snapshot != rewind):
        raise ValueError(f"recipe.snapshot must be the rewind step {rewind}; got {recipe.snapshot}")


def _check_mask(mask: Mask, plan: pruning.Plan, params: Tree, replicates: int) -> None:
    stacked = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((replicates, *leaf.shape), bool), params
    )
    trees.check_same_layout(mask, stacked, what="mask")
    for replicate in range(replicates):
        for group, count in zip(plan.groups, plan.counts[0], strict=True):
            found = masks.count(population.member(mask, replicate), group).kept
            if found != count:
                raise ValueError(
                    f"the plan begins with {count} weights of {', '.join(group)} and the mask of "
                    f"replicate {replicate} keeps {found}; make it with pruning.plan(live=...)"
                )


class _Kept(NamedTuple):
    """A trained level as the search sees it, fresh or remembered."""

    variables: Variables
    snapshot: Variables
    opt_state: Tree
    failed_step: np.ndarray
    records: list[Record]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Work:
    """Training and pruning of whole levels, as the search calls them."""

    key: Key
    network: Network
    dataset: Dataset | Parts
    plan: pruning.Plan
    recipe: Recipe
    trainer: Trainer
    replicates: int
    validation: int
    judged_on: str
    score: str
    score_at: str
    score_batch: int
    carry_optimizer: bool
    keep: Keeper

    @functools.cached_property
    def data(self) -> Data:
        return device_data(self.dataset)

    @functools.cached_property
    def share(self) -> tuple[Share, np.ndarray]:
        split = split_of(keys_for(self.key, "split", self.replicates))
        return shares(self.dataset, split, validation=self.validation)

    @functools.cached_property
    def theta_0(self) -> Variables:
        keys = keys_for(self.key, "init", self.replicates)
        return jax.device_get(_drawer(self.network.init)(keys))

    def members(self, start: Start, mask: Mask) -> Member:
        keys = keys_for(self.key, "order", self.replicates, start.order)
        offset = jnp.full(self.replicates, start.schedule_offset, jnp.int32)
        seen = self.share[0]._asdict()
        return Member(keys, start.variables, mask, schedule_offset=offset, **seen)

    def train(self, number: int, start: Start, mask: Mask) -> _Kept:
        members = self.members(start, mask)

        def compute(resume: Tree | None, observe: Observer | None) -> tuple[Tree, list[Record]]:
            trained = self.trainer.train(
                members,
                self.data,
                first=start.first,
                opt_state=start.opt_state,
                snapshot=number == 0,
                failed_step=start.failed_step,
                resume=resume,
                observe=observe,
            )
            # Nothing later may rate or go on from what is not finite.
            sound = functools.partial(heal, instead=self.theta_0, failed_step=trained.failed_step)
            tree = {"mask": mask, "theta_S": sound(trained.variables)._asdict()}
            if number == 0:
                theta_k = sound(trained.snapshot)
                tree |= {"theta_0": self.theta_0._asdict(), "theta_k": theta_k._asdict()}
                tree["split"] = self.share[1]
            if self.carry_optimizer:
                tree["opt_state"] = population.numbered(trained.opt_state)
            made = records_of(
                trained,
                self.recipe,
                mask,
                self.plan.prunable,
                [
                    Label("source", "ticket", number, self.plan.nominal[number], replicate)
                    for replicate in range(self.replicates)
                ],
                judged_on=self.judged_on,
            )
            return jax.device_get(tree), made

        tree, made = self.keep(piece_of(number), compute)
        opt_state = None
        if self.carry_optimizer:
            like = jax.eval_shape(self.trainer.optimizer_states, members)
            opt_state = population.unnumbered(tree["opt_state"], like)
        snapshot = Variables(**tree["theta_k"]) if number == 0 else Variables({}, {})
        failed = failed_steps(made)
        return _Kept(Variables(**tree["theta_S"]), snapshot, opt_state, failed, made)

    def prune(self, number: int, level: Level) -> Mask:
        ended = self.score_at == "end"
        rated = level.trained.variables if ended else level.start.variables
        members = self.members(level.start._replace(variables=rated), level.mask)
        keys = keys_for(self.key, "score", self.replicates, number)
        prune = pruner(self.score, self.recipe, self.score_batch, self.plan.groups)
        return jax.device_get(prune(members, self.data, keys, self.plan.counts[number]))


@functools.lru_cache(maxsize=4)
def _drawer(init: Callable[[Key], Variables]) -> Callable[[Key], Variables]:
    """Jitted initialization, one replicate after the other: compiled for one, whatever they are."""
    return jax.jit(lambda keys: lax.map(init, keys))
