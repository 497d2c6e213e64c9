"""What finding and moving tickets share: levels, keepers, keys, splits, checks, records."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple, Protocol
import warnings

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.core import keys, masks, pruning, trees
from ltjax.core.types import Key, Mask, Tree, Variables
from ltjax.data import Dataset, Parts
from ltjax.lottery import held_out
from ltjax.lottery import ticket as tickets
from ltjax.lottery.ticket import Ticket
from ltjax.models import Network
from ltjax.statistics import analysis
from ltjax.training import optimizers, population
from ltjax.training import step as train
from ltjax.training.population import Observer, Trained, Trainer
from ltjax.training.records import Record, curve_fields
from ltjax.training.step import Data, Recipe

Compute = Callable[[Tree | None, Observer | None], tuple[Tree, list[Record]]]
"""(partial state to go on from, observer) -> (arrays as nested dicts, records)"""


class Keeper(Protocol):
    """Runs a piece of work, or remembers it."""

    def __call__(self, piece: str, compute: Compute) -> tuple[Tree, list[Record]]:
        """Returns what `compute` returns; `piece` is a name that is unique in the run."""
        ...


def once(piece: str, compute: Compute) -> tuple[Tree, list[Record]]:
    """The keeper that keeps nothing, and warns of layers that keep no weight."""
    del piece
    tree, records = compute(None, None)
    for sentence in analysis.cut_layers(records):  # The binaries say it at the end of a run.
        warnings.warn(sentence, stacklevel=2)
    return tree, records


def piece_of(level: int) -> str:
    """Name of the piece, and of the checkpoint, that holds one level of a search."""
    return f"source_{level:02d}"


class Found(NamedTuple):
    """One level of a search: the tickets of all replicates, stacked.

    Trees have a leading axis of replicates. `nominal` is the density asked. `without` names the
    start points that are not known; their records are left out. `split` says which examples are
    held out (see `held_out`), or None where that is not known. `failed_step` is int [replicates]:
    the step at which the loss of this level, or of one that it comes from, was not finite, else -1;
    None is all -1. Nothing of a failed replicate is trained, ranked or given out: its values are
    those of theta_0 and its masks are placeholders.
    """

    level: int
    nominal: float
    mask: Mask
    theta_0: Variables
    theta_k: Variables
    theta_S: Variables
    prunable: tuple[str, ...]
    records: list[Record]
    without: tuple[str, ...] = ()
    split: np.ndarray | None = None
    failed_step: np.ndarray | None = None

    @property
    def density(self) -> float:
        """Share of the prunable weights that the masks keep, all replicates alike."""
        return masks.count(population.member(self.mask, 0), self.prunable).density

    def ticket(self, replicate: int = 0, *, meta: dict[str, Any] | None = None) -> Ticket:
        """The ticket of one replicate.

        Raises:
          ValueError: where there is no such replicate, or it failed.
        """
        count = population.size(self.mask)
        if not 0 <= replicate < count:
            raise ValueError(f"there are replicates 0 to {count - 1}; got {replicate}")
        failed = -1 if self.failed_step is None else self.failed_step[replicate]
        if failed >= 0:
            raise ValueError(
                f"replicate {replicate} has no ticket at level {self.level}: its loss was not "
                f"finite at step {failed}, there or at a level before; take another"
            )
        split = {} if self.split is None else {"split": held_out.to_text(self.split[replicate])}
        pick = lambda tree: population.member(tree, replicate)  # noqa: E731
        return Ticket(
            mask=pick(self.mask),
            theta_0=pick(self.theta_0),
            theta_k=pick(self.theta_k),
            theta_S=pick(self.theta_S),
            prunable=self.prunable,
            meta={
                **(meta or {}),
                "level": self.level,
                "replicate": replicate,
                "density": masks.count(pick(self.mask), self.prunable).density,
                "nominal": self.nominal,
                **split,
            },
        )


def found(ticket: Ticket) -> Found:
    """A single ticket as a level of one replicate, to be handed to `transfer`.

    Raises:
      ValueError: where it is no ticket (see `tickets.check`), or its metadata hold a split that is
        none.
    """
    tickets.check(ticket)
    split = ticket.meta.get("split")
    known = tickets.known(ticket)
    starts = {n: getattr(ticket, n if n in known else known[0]) for n in tickets.THETAS}
    wrap = lambda tree: jax.tree.map(lambda leaf: np.asarray(leaf)[None], tree)  # noqa: E731
    return Found(
        level=int(ticket.meta.get("level", 1)),
        nominal=float(ticket.meta.get("nominal", ticket.meta.get("density", 1.0))),
        mask=wrap(ticket.mask),
        prunable=ticket.prunable,
        records=[],
        split=None if split is None else held_out.from_text(split)[None],
        without=tuple(n for n in tickets.THETAS if n not in known),
        **{name: wrap(start) for name, start in starts.items()},
    )


def dense_of(level: Found) -> Found:
    """The dense network that the tickets of `level` were cut from, as a reference.

    What it would be after training on the source (theta_S) is not known from a ticket.
    """
    everything = jax.tree.map(np.ones_like, level.mask)
    return level._replace(
        level=0,
        nominal=1.0,
        mask=everything,
        theta_S=level.theta_0,
        records=[],
        without=tuple(dict.fromkeys((*level.without, "theta_S"))),
    )


def device_data(dataset: Dataset | Parts) -> Data:
    """Puts a data set on the default device, images as uint8."""
    train_set, test_set = (
        train.Examples(jnp.asarray(split.images), jnp.asarray(split.labels, jnp.int32))
        for split in (dataset.train, dataset.test)
    )
    mean, std = (jnp.asarray(v, jnp.float32) for v in (dataset.mean, dataset.std))
    return Data(train_set, test_set, mean, std)


def check(network: Network, dataset: Dataset | Parts, recipe: Recipe, *, validation: int) -> None:
    """Refuses what could not be trained, before anything is compiled.

    Raises:
      ValueError: shapes or class counts that differ, a batch larger than the training rows, a
        validation set that leaves none, patience or `best` without a validation set, a frozen
        parameter that the network lacks, an optimizer that makes no step.
    """
    if dataset.shape != network.input_shape:
        raise ValueError(
            f"{dataset.name} has images of {list(dataset.shape)} and {network.name} takes "
            f"{list(network.input_shape)}; adapt the data with data.adapt"
        )
    if dataset.classes != network.classes:
        raise ValueError(
            f"{dataset.name} has {dataset.classes} classes and {network.name} {network.classes} "
            "outputs; make the network with classes= of the data"
        )
    rows = dataset.examples - validation
    if validation < 0 or rows < 1:
        raise ValueError(
            f"validation must lie in 0..{dataset.examples - 1} (the training examples of "
            f"{dataset.name}); got {validation}"
        )
    if recipe.batch_size > rows:
        raise ValueError(
            f"batch_size {recipe.batch_size} is larger than the {rows} training examples of "
            f"{dataset.name}; lower it"
        )
    if not validation and (recipe.patience or recipe.keep == "best"):
        raise ValueError("patience and keeping the best weights need a validation set; got none")
    shapes = network.shapes().params
    known = trees.names(shapes)
    for name in sorted(recipe.frozen):
        if name not in known:
            raise ValueError(trees.unknown(name, known, "parameter to freeze"))
    _ = optimizers.asked(recipe.optimizer, train.moving(shapes, recipe))


def check_plan(plan: pruning.Plan, params: Tree) -> None:
    """Refuses a plan of another network.

    Raises:
      ValueError: naming the layers that differ.
    """
    sizes = {
        name: leaf.size
        for name, leaf in zip(trees.names(params), jax.tree.leaves(params), strict=True)
    }
    for group, size in zip(plan.groups, plan.sizes, strict=True):
        found = sum(sizes.get(name, 0) for name in group)
        if found != size:
            raise ValueError(
                f"the plan prunes {size} weights of {', '.join(group)} and the network has "
                f"{found}; make it with pruning.plan(network.shapes().params, ...)"
            )


def trainer_of(recipe: Recipe, trainer: Trainer | None) -> Trainer:
    """The trainer of `recipe`: the one given, or a new one.

    Raises:
      ValueError: where the one given trains by another recipe.
    """
    if trainer is not None and trainer.recipe != recipe:
        raise ValueError("the trainer was made of another recipe; make it with Trainer(recipe)")
    return trainer or Trainer(recipe)


def keys_for(key: Key, purpose: str, replicates: int, *coordinates: int) -> Key:
    """One key a replicate for one purpose; more replicates leave the first ones as they are."""
    return jax.vmap(lambda i: keys.derive(key, purpose, i, *coordinates))(jnp.arange(replicates))


def judge_of(judge: str, *, validation: int) -> str:
    """What chooses the best evaluation: held-out examples, or what was asked for without.

    Raises:
      ValueError: where `judge` is neither `last` nor `test`.
    """
    if judge not in ("last", "test"):
        raise ValueError(trees.unknown(judge, ("last", "test"), "judge"))
    return "validation" if validation else judge


def failed_steps(records: Sequence[Record]) -> np.ndarray:
    """The `Found.failed_step` of the records of a level, one a replicate in their order."""
    return np.array([-1 if r.failed_step is None else r.failed_step for r in records])


def heal(tree: Tree, instead: Tree, failed_step: np.ndarray) -> Tree:
    """A population whose failed members are those of `instead`."""

    def pick(new: Any, old: Any) -> Any:
        return np.where((failed_step >= 0).reshape(-1, *[1] * (new.ndim - 1)), old, new)

    return jax.tree.map(pick, tree, instead) if (failed_step >= 0).any() else tree


class Share(NamedTuple):
    """What each replicate sees of the data: fields of `Member` with an axis of replicates."""

    train_rows: jax.Array
    validation_rows: jax.Array
    test_rows: jax.Array | None
    outputs: jax.Array | None


def shares(
    dataset: Dataset | Parts, split: np.ndarray, *, validation: int
) -> tuple[Share, np.ndarray]:
    """What each replicate sees: all of a data set, or its own part.

    Args:
      dataset: the data.
      split: of all replicates, from `held_out.split_of` or a `Found`.
      validation: how many training examples are held out.

    Returns:
      The share, and the split that knows what was trained on here.

    Raises:
      ValueError: where there are not as many parts as replicates, or examples that the split was
        trained on would judge.
    """
    check_parts(dataset, len(split))
    drawn = held_out.draw(dataset, split, size=validation)
    rows = jnp.asarray(drawn.train_rows), jnp.asarray(drawn.validation_rows)
    if isinstance(dataset, Dataset):
        return Share(*rows, None, None), drawn.split
    own = Share(*rows, jnp.asarray(dataset.test_rows), jnp.asarray(dataset.outputs))
    return own, drawn.split


def check_parts(dataset: Dataset | Parts, replicates: int) -> None:
    """Refuses another number of parts than of replicates.

    Raises:
      ValueError: as said.
    """
    if isinstance(dataset, Parts) and len(dataset) != replicates:
        raise ValueError(
            f"there are {len(dataset)} parts of {dataset.name} and {replicates} replicates; "
            "give each replicate one part"
        )


class Label(NamedTuple):
    """What tells a training from the others of a run: the first fields of its record."""

    phase: str
    arm: str
    level: int
    nominal: float
    replicate: int
    repeat: int = 0


def records_of(
    trained: Trained,
    recipe: Recipe,
    mask: Mask,
    prunable: Collection[str],
    labels: Sequence[Label],
    *,
    judged_on: str,
) -> list[Record]:
    """The records of a population, one a member; `judged_on` as in `results.curve_fields`."""
    counts = [masks.count(population.member(mask, i), prunable) for i in range(len(labels))]
    return [
        Record(
            **label._asdict(),
            density=counts[i].density,
            **counts[i]._asdict(),
            **curve_fields(
                trained.steps,
                {k: v[:, i] for k, v in trained.curve._asdict().items()},
                failed_step=int(trained.failed_step[i]),
                judged_on=judged_on,
                measure=recipe.measure,
            ),
        )
        for i, label in enumerate(labels)
    ]
