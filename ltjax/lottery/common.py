"""What finding and moving tickets share: levels, keepers, keys, splits, checks, records."""

from collections.abc import Callable, Collection, Sequence
import functools
from typing import Any, NamedTuple, Protocol
import warnings

import jax
import jax.numpy as jnp
import numpy as np

from ltjax import analysis, masks, population, pruning, tickets, train, trees
from ltjax.data import Dataset, Parts, validation_rows
from ltjax.models import Network
from ltjax.population import Observer, Trained, Trainer
from ltjax.results import Record, curve_fields
from ltjax.tickets import Ticket
from ltjax.train import Data, Recipe
from ltjax.types import Key, Mask, Tree, Variables

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
    start points that are not known; their records are left out.
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

    @property
    def density(self) -> float:
        """Share of the prunable weights that the masks keep, all replicates alike."""
        return masks.count(population.member(self.mask, 0), self.prunable).density

    def ticket(self, replicate: int = 0, *, meta: dict[str, Any] | None = None) -> Ticket:
        """The ticket of one replicate.

        Raises:
          ValueError: where there is no such replicate.
        """
        count = population.size(self.mask)
        if not 0 <= replicate < count:
            raise ValueError(f"there are replicates 0 to {count - 1}; got {replicate}")
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
            },
        )


def found(ticket: Ticket) -> Found:
    """A single ticket as a level of one replicate, to be handed to `transfer`.

    Raises:
      ValueError: where it is no ticket (see `tickets.check`).
    """
    tickets.check(ticket)
    known = tickets.known(ticket)
    starts = {n: getattr(ticket, n if n in known else known[0]) for n in tickets.THETAS}
    wrap = lambda tree: jax.tree.map(lambda leaf: np.asarray(leaf)[None], tree)  # noqa: E731
    return Found(
        level=int(ticket.meta.get("level", 1)),
        nominal=float(ticket.meta.get("nominal", ticket.meta.get("density", 1.0))),
        mask=wrap(ticket.mask),
        prunable=ticket.prunable,
        records=[],
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
        parameter that the network lacks.
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
    known = trees.names(network.shapes().params)
    for name in sorted(recipe.frozen):
        if name not in known:
            raise ValueError(trees.unknown(name, known, "parameter to freeze"))


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


_PURPOSES = ("init", "order", "split", "score", "control", "target_order", "target_split", "fresh")


def keys_for(key: Key, purpose: str, replicates: int) -> Key:
    """One key a replicate for one purpose; more replicates leave the first ones as they are."""
    base = jax.random.fold_in(key, _PURPOSES.index(purpose))
    return jax.vmap(lambda i: jax.random.fold_in(base, i))(jnp.arange(replicates))


def fold(keys: Key, number: jax.Array | int) -> Key:
    """`jax.random.fold_in` of each key."""
    return jax.vmap(lambda k: jax.random.fold_in(k, number))(keys)


class Share(NamedTuple):
    """What each replicate sees of the data: fields of `Member` with an axis of replicates."""

    train_rows: jax.Array
    validation_rows: jax.Array
    test_rows: jax.Array | None
    outputs: jax.Array | None


def shares(dataset: Dataset | Parts, keys: Key, *, validation: int) -> Share:
    """What each replicate sees: all of a data set, or its own part.

    Args:
      dataset: the data.
      keys: one a replicate, decides which training examples are held out.
      validation: how many.

    Raises:
      ValueError: where there are not as many parts as replicates.
    """
    drawn = jax.vmap(functools.partial(validation_rows, n=dataset.examples, size=validation))(keys)
    if isinstance(dataset, Dataset):
        return Share(drawn[0], drawn[1], None, None)
    check_parts(dataset, len(keys))
    rows, test, outputs = map(jnp.asarray, (dataset.train_rows, dataset.test_rows, dataset.outputs))
    learnt, judged = (jnp.take_along_axis(rows, r, axis=1) for r in drawn)
    return Share(learnt, judged, test, outputs)


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
