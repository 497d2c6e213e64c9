"""What every binary does around its work: the run directory, the plan, the report."""

from collections.abc import Mapping, Sequence
import sys
from typing import Any

import jax

from experiments import memory
from experiments.settings import FindTicket
from ltjax import report
from ltjax.command import config, paths
from ltjax.command.progress import Progress
from ltjax.core import pruning
from ltjax.data import Dataset
from ltjax.models import Network
from ltjax.statistics import analysis
from ltjax.storage import run_directory as rundir
from ltjax.storage.journal import Journal
from ltjax.storage.run_directory import RunDirectory
from ltjax.training import records as results
from ltjax.training.step import Recipe

_VERSION = 2
"""Of the meaning of the settings; raised where the same ones give other results."""


def run_dir(settings: FindTicket, *, prefix: str, exclude: Sequence[str] = ()) -> RunDirectory:
    """The directory of a run; touches no disk."""
    return RunDirectory(
        settings.out,
        config.run_id(settings, prefix=prefix, version=_VERSION, exclude=exclude),
        config.as_dict(settings, identity_only=True),
        rundir.provenance(settings.seed),
    )


def describe_training(
    net: Network, source: Dataset, how: Recipe, *, members: int, trainings: int
) -> str:
    """Lines of a plan: the network, its parameters, the trainings, steps and memory."""
    spread = min(len(jax.devices()), members)
    total = memory.of_training(net, source, how, members=members)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(net.shapes().params))
    return "\n".join(
        [
            f"  {net.name} on {source.name} {list(source.shape)}: {parameters:,} parameters",
            f"  {len(source.train.labels):,} training and {len(source.test.labels):,} test "
            f"examples, {source.classes} classes (of {list(source.label_map)})",
            f"  {trainings:,} trainings of {how.steps:,} steps of {how.batch_size} examples, "
            f"{members} side by side on {spread} device(s), an evaluation every {how.every:,}",
            f"  memory: about {total / 2**20:,.0f} MiB for members, optimizer and images",
        ]
    )


def describe_plan(plan: pruning.Plan) -> str:
    """Lines of a plan: what each level keeps."""
    size = plan.kept(0)
    rows = [
        f"  level {i:2d}  nominal {d:7.4f}  kept {plan.kept(i):>10,} of {size:,} prunable  "
        f"density {plan.density(i):.4f} (of all kernels {plan.density(i, of='kernels'):.4f}, "
        f"of all parameters {plan.density(i, of='total'):.4f})"
        for i, d in enumerate(plan.nominal)
    ]
    rows += [f"  left dense: {name} ({count:,} weights)" for name, count in plan.dense.items()]
    empty = [
        f"  warning: level {i} keeps nothing of {', '.join(group)}"
        for i, counts in enumerate(plan.counts)
        for group, count in zip(plan.groups, counts, strict=True)
        if count == 0
    ]
    return "\n".join(rows + empty)


def keeper(
    run: RunDirectory, settings: FindTicket, *, label: str, steps: int, pieces: int
) -> tuple[Progress, Journal]:
    """What shows and keeps the pieces of a run; touches no disk before its first piece."""
    progress = Progress(steps * pieces, unit="step", label=label)
    return progress, Journal(run, progress, steps=steps, every=settings.save_seconds)


def finish(
    run: RunDirectory,
    pieces: Sequence[str],
    settings: Mapping[str, Any],
    *,
    title: str,
    notes: Sequence[str],
) -> None:
    """Writes records, figures and report, and marks the run as complete."""
    records = run.write_records(pieces)
    drawn = report.figures(records)
    if drawn:
        run.figures.mkdir(exist_ok=True)
    for name, figure in drawn.items():
        paths.write_whole(run.figures / f"{name}.png", report.png(figure))
        paths.write_whole(run.figures / f"{name}.svg", report.svg(figure))
    page = report.page(
        records,
        settings=settings,
        provenance=run.latest_provenance(),
        notes=notes,
        title=title,
        drawn=drawn,
    )
    paths.write_whole(run.report, page)
    run.finish(pieces)


def is_whole(run: RunDirectory) -> bool:
    """Whether a run is finished and still has what it wrote; on standard error what it lacks.

    Raises:
      ValueError: where the directory is not of this run.
    """
    run.check()
    faults = run.faults() if run.finished else []
    for fault in faults:
        print(f"note: {fault}; what is missing is computed again", file=sys.stderr)
    return run.finished and not faults


def answer(run: RunDirectory) -> int:
    """Prints the result of a finished run; the exit code is 1 where a training failed."""
    records = results.loads(run.records_file.read_text())
    print(report.table(records))
    print(f"report: {run.report}")
    failed = analysis.failures(records)
    for line in [*failed, *analysis.cut_layers(records)]:
        print(f"warning: {line}", file=sys.stderr)
    return 1 if failed else 0
