"""One search with its run directory: planned, run, resumed or read."""

from collections.abc import Iterator
import sys

import jax

from experiments import memory, running
from experiments import settings as settings_
from experiments.settings import FindTicket
from ltjax import lottery
from ltjax.command import config
from ltjax.core import pruning
from ltjax.data import Dataset
from ltjax.lottery import Keeper, Level
from ltjax.storage import tickets as storage
from ltjax.storage.run_directory import RunDir
from ltjax.training import Trainer


def open_run(settings: FindTicket) -> RunDir:
    """The directory of the search with these settings; touches no disk."""
    return running.run_dir(settings, prefix=f"find-{settings.data}-{settings.model}")


def _made(settings: FindTicket) -> tuple[Dataset, Trainer, pruning.Plan]:
    """Data, network with recipe, and plan of a search; what cannot fit in memory is refused."""
    source = settings_.dataset(settings)
    net = settings_.network(settings, source)
    how, count = settings_.recipe(settings, net, source), settings.replicates
    needed = memory.of_training(net, source, how, members=count)
    memory.check(needed, f"{count} networks {net.name} side by side")
    return source, settings_.trainer(settings, net, how), settings_.plan(settings, net)


def _levels(
    settings: FindTicket, source: Dataset, trainer: Trainer, plan: pruning.Plan, keep: Keeper
) -> Iterator[Level]:
    """The search itself, checked; it begins with the first level that is asked for."""
    held_out = settings_.validation(settings, source)
    return lottery.find(
        trainer,
        source,
        key=jax.random.key(settings.seed),
        plan=plan,
        replicates=settings.replicates,
        validation=held_out,
        rewind=settings_.rewind(settings, source.examples - held_out),
        reset=settings_.resets(settings),
        score=settings.score,
        score_at=settings.score_at,
        score_batch=settings.score_batch,
        one_shot=settings.one_shot,
        keep=keep,
    )


def print_plan(settings: FindTicket) -> int:
    """Prints what a search would do; returns its number of levels.

    Raises:
      ValueError: as `run`.
    """
    source, trainer, plan = _made(settings)
    _ = _levels(settings, source, trainer, plan, lottery.once)
    trainings = settings.replicates * (plan.levels + 1)
    print(f"search on {source.name}:")
    print(
        running.describe_training(
            trainer.network,
            source,
            trainer.recipe,
            members=settings.replicates,
            trainings=trainings,
        )
    )
    print(running.describe_plan(plan))
    return plan.levels + 1


def run(settings: FindTicket) -> list[Level]:
    """Runs or resumes a search, or reads a finished one.

    Raises:
      ValueError: settings that do not fit each other; nothing is computed or written then.
    """
    directory = open_run(settings)
    if running.is_whole(directory):
        try:
            return storage.levels(directory.path)
        except ValueError as error:  # A damaged ticket, which only its reading finds.
            print(f"note: {error}; what is missing is computed again", file=sys.stderr)
    source, trainer, plan = _made(settings)
    progress, keeper = running.keeper(
        directory,
        settings,
        label=f"find on {source.name}",
        steps=trainer.recipe.steps,
        pieces=plan.levels + 1,
    )
    levels = _levels(settings, source, trainer, plan, keeper)
    with directory.create(), progress:
        found = list(levels)
        running.finish(
            directory,
            keeper.pieces,
            config.as_dict(settings),
            title=f"Tickets of {trainer.network.name} on {source.name}",
            notes=source.notes,
        )
    return found
