r"""Finds winning tickets by iterative magnitude pruning, several replicates at once.

    python -m experiments.find_ticket
    python -m experiments.find_ticket --preset=lenet-mnist --data_dir=DIR

Trains the dense network, prunes a share of its weights, rewinds the rest, trains again, and so
on for `--levels` rounds (Frankle & Carbin); every choice in this is a flag. Prints a table (a
star marks a winning ticket: mean accuracy at least the dense mean, best evaluation no later) and
writes settings, records, tickets, figures and report.html to a directory named by the settings.
A killed run goes on with the same command; a finished one answers at once. `--dry_run` prints
the plan. The default takes under a minute on two cores.
"""

import functools
import sys

import jax

from experiments import build, running
from experiments.running import Job
from experiments.settings import PRESETS, FindTicket
from ltjax import lottery
from ltjax.command import config, launch
from ltjax.data import Dataset
from ltjax.lottery import Level
from ltjax.storage import tickets
from ltjax.storage.run_directory import RunDirectory


def open_run(settings: FindTicket) -> RunDirectory:
    """The directory of the search with these settings; touches no disk."""
    return running.open_run(settings, prefix=f"find-{settings.data}-{settings.model}")


def job(settings: FindTicket, source: Dataset | None = None) -> tuple[Job, str]:
    """The search, ready to begin, and its plan; `source` are its data, where they are read.

    Raises:
      ValueError: settings that do not fit each other; nothing is computed or written then.
    """
    source = source or build.dataset(settings)
    trainer = build.trainer(settings, source)
    plan = build.plan(settings, trainer.network)
    work = functools.partial(
        lottery.find,
        trainer,
        source,
        key=jax.random.key(settings.seed),
        plan=plan,
        replicates=settings.replicates,
        validation=build.validation(settings, source),
        rewind=build.rewind(settings, source),
        reset=build.resets(settings),
        score=settings.score,
        score_at=settings.score_at,
        score_batch=settings.score_batch,
        one_shot=settings.one_shot,
    )
    made = Job(
        settings=settings,
        run=open_run(settings),
        does=f"find on {source.name}",
        title=f"Tickets of {trainer.network.name} on {source.name}",
        notes=source.notes,
        dataset=source,
        trainer=trainer,
        members=settings.replicates,
        levels=plan.levels + 1,
        work=lambda keeper: work(keep=keeper),
    )
    _ = work()  # Checked, and not begun.
    return made, f"search on {source.name}:\n{made.plan()}\n{running.describe_plan(plan)}"


def search(settings: FindTicket) -> list[Level]:
    """Runs or resumes a search, or reads a finished one.

    Raises:
      ValueError: as `job`.
    """
    run = open_run(settings)
    if running.is_whole(run):
        try:
            return tickets.levels(run.path)
        except ValueError as error:  # A damaged ticket, which only its reading finds.
            print(f"note: {error}; what is missing is computed again", file=sys.stderr)
    return job(settings)[0].carry_out()


def main(settings: FindTicket) -> int:
    """Runs, and returns the exit code."""
    build.use_devices(settings.devices)
    if settings.dry_run:
        print(job(settings)[1])
        return 0
    _ = search(settings)
    return running.answer(open_run(settings))


if __name__ == "__main__":
    _SETTINGS = config.define_flags(FindTicket, presets=PRESETS)
    launch.run(lambda: main(_SETTINGS()))
