"""What a search and a transfer do around their work: plan, pieces, report, answer."""

from collections.abc import Callable, Iterator, Sequence
import dataclasses
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
from ltjax.lottery import Keeper
from ltjax.statistics import analysis
from ltjax.storage.journal import Journal
from ltjax.storage.run_directory import RunDirectory, provenance
from ltjax.training import Trainer
from ltjax.training.records import Record, loads

_VERSION = 2
"""Of the meaning of the settings; raised where the same ones give other results."""


def open_run(settings: FindTicket, *, prefix: str) -> RunDirectory:
    """The directory of a run; touches no disk."""
    return RunDirectory(
        settings.out,
        config.run_id(settings, prefix=prefix, version=_VERSION),
        config.as_dict(settings, identity_only=True),
        provenance(settings.seed),
    )


@dataclasses.dataclass(frozen=True)
class Job:
    """A run that is ready to begin: its settings are checked, and nothing is computed.

    Attributes:
      settings: of the run.
      run: its directory.
      does: what it does, as `find on mnist`.
      title: of the report.
      notes: of the report.
      dataset: what is trained on.
      trainer: what is trained, and how.
      members: networks side by side.
      levels: populations of them, one after the other.
      work: trains them, each as a piece of a keeper; it is checked where it is made.
      source: after the work, the records of a search that the report begins with.

    Raises:
      ValueError: where the members do not fit in memory.
    """

    settings: FindTicket
    run: RunDirectory
    does: str
    title: str
    notes: Sequence[str]
    dataset: Dataset
    trainer: Trainer
    members: int
    levels: int
    work: Callable[[Keeper], Iterator[Any]]
    source: Callable[[], list[Record]] = list

    def __post_init__(self) -> None:
        """Refuses what cannot fit."""
        name = self.trainer.network.name
        memory.check(self._memory, f"{self.members} networks {name} side by side")

    @property
    def _memory(self) -> int:
        net, how = self.trainer.network, self.trainer.recipe
        return memory.of_training(net, self.dataset, how, members=self.members)

    def plan(self) -> str:
        """Lines on the network, its parameters, the trainings, steps and memory."""
        data, net, how = self.dataset, self.trainer.network, self.trainer.recipe
        spread = min(len(jax.devices()), self.members)
        parameters = sum(leaf.size for leaf in jax.tree.leaves(net.shapes().params))
        return (
            f"  {net.name} on {data.name} {list(data.shape)}: {parameters:,} parameters\n"
            f"  {len(data.train.labels):,} training and {len(data.test.labels):,} test "
            f"examples, {data.classes} classes (of {list(data.label_map)})\n"
            f"  {self.members * self.levels:,} trainings of {how.steps:,} steps of "
            f"{how.batch_size} examples, {self.members} side by side on {spread} device(s), an "
            f"evaluation every {how.every:,}\n"
            f"  memory: about {self._memory / 2**20:,.0f} MiB for members, optimizer and images"
        )

    def carry_out(self) -> list[Any]:
        """Does what is missing of the work, and reports; gives what the work yielded."""
        steps = self.trainer.recipe.steps
        progress = Progress(steps * self.levels, unit="step", label=self.does)
        keeper = Journal(self.run, progress, steps=steps, every=self.settings.save_seconds)
        work = self.work(keeper)
        with self.run.create(), progress:
            done, pieces = list(work), keeper.pieces
            if source := self.source():
                self.run.finish_piece("source", source)
                pieces = ["source", *pieces]
            self._finish(pieces)
        return done

    def _finish(self, pieces: Sequence[str]) -> None:
        run = self.run
        run.write_records(pieces)
        records = run.all_records(pieces)
        drawn = report.figures(records)
        if drawn:
            run.figures.mkdir(exist_ok=True)
        for name, figure in drawn.items():
            paths.write_whole(run.figures / f"{name}.png", report.png(figure))
            paths.write_whole(run.figures / f"{name}.svg", report.svg(figure))
        page = report.run_page(
            records,
            settings=config.as_dict(self.settings),
            provenance=run.latest_provenance(),
            notes=self.notes,
            title=self.title,
            drawn=drawn,
        )
        paths.write_whole(run.report, page)
        run.finish(pieces)


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
    records = loads(run.records_file.read_text())
    print(report.table(records))
    print(f"report: {run.report}")
    failed = analysis.failures(records)
    for line in [*failed, *analysis.cut_layers(records)]:
        print(f"warning: {line}", file=sys.stderr)
    return 1 if failed else 0
