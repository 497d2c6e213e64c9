r"""Finds winning tickets by iterative magnitude pruning, several replicates at once.

    python -m experiments.find_ticket
    python -m experiments.find_ticket --preset=lenet-mnist --data_dir=DIR

Trains the dense network, prunes a share of its weights, rewinds the rest, trains again, and so
on for `--levels` rounds (Frankle & Carbin); every choice in this is a flag. Prints a table (a
star marks a winning ticket: mean accuracy at least the dense mean, best evaluation no later) and
writes settings, records, tickets, figures and report.html to a directory named by the settings.
A killed run goes on with the same command; a finished one answers at once. `--dry_run` prints
the plan. The default takes half a minute on two cores.
"""

import jax

from experiments import running
from experiments import settings as settings_
from experiments.settings import PRESETS, FindTicket
from ltjax import config, lottery, storage
from ltjax.lottery import Found
from ltjax.rundir import RunDir

_SETTINGS = config.define_flags(FindTicket, presets=PRESETS)


def open_run(settings: FindTicket) -> RunDir:
    """The directory of the search with these settings; touches no disk."""
    return running.run_dir(settings, prefix=f"find-{settings.data}-{settings.model}")


def print_plan(settings: FindTicket) -> int:
    """Prints what a search would do; returns its number of levels."""
    source = settings_.dataset(settings)
    net = settings_.network(settings, source)
    how = settings_.recipe(settings, net, source)
    plan = settings_.plan(settings, net)
    count = settings.replicates
    trainings = count * (plan.levels + 1)
    print(f"search on {source.name}:")
    print(running.describe_training(net, source, how, members=count, trainings=trainings))
    print(running.describe_plan(plan))
    return plan.levels + 1


def search(settings: FindTicket) -> list[Found]:
    """Runs or resumes a search, or reads a finished one.

    Raises:
      ValueError: settings that do not fit each other; nothing is computed or written then.
    """
    run = open_run(settings)
    if run.finished:
        return storage.levels(run.path)
    source = settings_.dataset(settings)
    net = settings_.network(settings, source)
    how = settings_.recipe(settings, net, source)
    plan = settings_.plan(settings, net)
    progress, keeper = running.keeper(
        run, settings, label=f"find on {source.name}", steps=how.steps, pieces=plan.levels + 1
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
    with run.create(), progress:
        found = list(levels)
        running.finish(
            run,
            keeper.pieces,
            config.as_dict(settings),
            title=f"Tickets of {net.name} on {source.name}",
            notes=source.notes,
        )
    return found


def main() -> int:
    """Parses the flags and runs."""
    settings = _SETTINGS()
    settings_.use_devices(settings)
    if settings.dry_run:
        return print_plan(settings) and 0
    _ = search(settings)
    return running.answer(open_run(settings))


if __name__ == "__main__":
    config.run(main)
