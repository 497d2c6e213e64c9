"""One search with its run directory: planned, run, resumed or read."""

import sys

import jax

from experiments import memory, running
from experiments import settings as settings_
from experiments.settings import FindTicket
from ltjax import lottery
from ltjax.command import config
from ltjax.data import Dataset
from ltjax.lottery import Found
from ltjax.models import Network
from ltjax.storage import tickets as storage
from ltjax.storage.run_directory import RunDirectory
from ltjax.training.step import Recipe


def open_run(settings: FindTicket) -> RunDirectory:
    """The directory of the search with these settings; touches no disk."""
    return running.run_dir(settings, prefix=f"find-{settings.data}-{settings.model}")


def print_plan(settings: FindTicket) -> int:
    """Prints what a search would do; returns its number of levels."""
    source = settings_.dataset(settings)
    net = settings_.network(settings, source)
    how = settings_.recipe(settings, net, source)
    check_memory(settings, net, source, how)
    plan = settings_.plan(settings, net)
    count = settings.replicates
    trainings = count * (plan.levels + 1)
    print(f"search on {source.name}:")
    print(running.describe_training(net, source, how, members=count, trainings=trainings))
    print(running.describe_plan(plan))
    return plan.levels + 1


def check_memory(settings: FindTicket, net: Network, source: Dataset, how: Recipe) -> None:
    """Refuses a population that cannot fit.

    Raises:
      ValueError: with the numbers.
    """
    count = settings.replicates
    needed = memory.of_training(net, source, how, members=count)
    memory.check(needed, f"{count} networks {net.name} side by side")


def run(settings: FindTicket) -> list[Found]:
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
    source = settings_.dataset(settings)
    net = settings_.network(settings, source)
    how = settings_.recipe(settings, net, source)
    check_memory(settings, net, source, how)
    plan = settings_.plan(settings, net)
    progress, keeper = running.keeper(
        directory, settings, label=f"find on {source.name}", steps=how.steps, pieces=plan.levels + 1
    )
    levels = lottery.find(
        net,
        source,
        how,
        key=jax.random.key(settings.seed),
        plan=plan,
        replicates=settings.replicates,
        validation=settings_.validation(settings, source),
        rewind="end" if settings.rewind == "end" else how.snapshot or 0,
        reset=settings_.resets(settings),
        score=settings.score,
        score_at=settings.score_at,
        score_batch=settings.score_batch,
        one_shot=settings.one_shot,
        trainer=settings_.trainer(settings, net, how),
        keep=keeper,
    )
    with directory.create(), progress:
        found = list(levels)
        running.finish(
            directory,
            keeper.pieces,
            config.as_dict(settings),
            title=f"Tickets of {net.name} on {source.name}",
            notes=source.notes,
        )
    return found
