r"""Steps per second of masked training, beside a lean PyTorch loop on the same work.

    python -m experiments.benchmark
    python -m experiments.benchmark --models=lenet-300-100 --rounds=9 --out=bench.json

Contestants, each in processes of its own, all on the CPU: PyTorch with all cores as threads;
PyTorch as one process a core, side by side, their speeds added; one member of ours; a population
of ours, spread over as many host devices as cores. They take turns, `--rounds` times; a number is
the median over the rounds with the range behind it, a ratio the median of the ratios within a
round, above 1 where we are faster. Steps are timed without evaluations; the share of an epoch
that an evaluation of 15,000 images (test and validation set) takes is the last column. Memory is
the peak of a contestant's processes, compilation included. Compilation is the first leg less a
later one.

The default takes about five minutes on two cores and wants them for itself: PyTorch's threads
wait for each other, so other work on the machine slows it most. PyTorch is an extra:
`pip install 'ltjax[bench]'`; without it there are no ratios.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
from typing import Any

from experiments.benchmark_work import WORKS, Work
from ltjax.command import config, launch, paths
from ltjax.command.config import setting

_JUDGED = 15_000  # Test and validation images of one evaluation.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Benchmark(config.Settings):
    """What is measured, and for how long."""

    models: tuple[str, ...] = setting(
        ("lenet-300-100", "conv2", "conv2-same", "lrn2", "resnet20"),
        "Rows to measure: lenet-300-100, conv2 (VALID convolutions), conv2-same, lrn2, resnet20.",
        choices=WORKS,
    )
    rounds: int = setting(5, "Turns of each contestant.", within="[1, 10000]")
    seconds: float = setting(
        2.0, "Length of a turn, at least one leg.", unit="seconds", within="(0, 86400]"
    )
    members: int = setting(
        0,
        "Size of the population; 0: 16 for lenet-300-100, 4 for the others.",
        within="[0, 10000]",
    )
    steps: int = setting(0, "Steps of a leg, at least 3; 0: 500 for lenet-300-100, 6 to 10 else.")
    out: str = setting("", "JSON file for all measurements; empty for none.", check=config.path)
    dry_run: bool = setting(False, "Print what would be measured and stop.")

    def __post_init__(self) -> None:
        """Refuses what could not be measured."""
        super().__post_init__()
        if not self.models:
            raise ValueError(f"models names at least one row: {', '.join(WORKS)}")
        if self.steps in (1, 2):
            raise ValueError(f"steps is 0 or at least 3; got {self.steps}")


_RUNNING: list[subprocess.Popen[str]] = []


def end_children() -> None:
    """Kills what still measures; for the way out of an interrupt."""
    for child in _RUNNING:
        child.kill()


def close() -> None:
    """Ends all contestants."""
    end_children()
    while _RUNNING:
        _ = _RUNNING.pop().communicate()


class Contestant:
    """A child process, or several that work side by side, ready to measure.

    Args:
      name: what the table calls it.
      command: what each process runs.
      processes: how many.

    Raises:
      OSError: where one ends before it is ready.
    """

    def __init__(self, name: str, command: Sequence[str], processes: int = 1) -> None:
        self.name = name
        self.rounds: list[dict[str, float]] = []
        self._children = [
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,  # Ctrl-C is for the parent, who ends them.
            )
            for _ in range(processes)
        ]
        _RUNNING.extend(self._children)
        self.ready = self._answers()[0]

    def measure(self, seconds: float) -> None:
        """Takes one turn.

        Raises:
          OSError: where a process has ended.
          ValueError: where the time is too short to tell a step.
        """
        for child in self._children:
            assert child.stdin is not None
            print(seconds, file=child.stdin, flush=True)
        answers = self._answers()
        if min(answer["step"] for answer in answers) <= 0:
            raise ValueError(f"the legs of {self.name} are too short to be timed; raise --steps")
        # Speeds of processes side by side add up, and so does their memory.
        step = 1 / sum(1 / answer["step"] for answer in answers)
        memory = sum(answer["memory"] for answer in answers)
        self.rounds.append({**answers[0], "step": step, "memory": memory})

    def _answers(self) -> list[dict[str, Any]]:
        lines = [child.stdout.readline() if child.stdout else "" for child in self._children]
        if not all(lines):
            raise OSError(f"{self.name} ended early; what it said stands above")
        return [json.loads(line) for line in lines]


def compete(
    work: Work, *, rounds: int, seconds: float, cores: int, torch: bool
) -> list[Contestant]:
    """Lets all contestants take turns; PyTorch's come first.

    Raises:
      OSError: where a contestant dies.
      RuntimeError: where their networks differ in the number of parameters.
    """

    def start(name: str, module: str, processes: int = 1, **changes: int) -> Contestant:
        argument = json.dumps(dataclasses.asdict(dataclasses.replace(work, **changes)))
        return Contestant(
            name, [sys.executable, "-m", f"experiments.{module}", argument], processes
        )

    try:
        ran = []  # One after the other, so that compile times are their own.
        if torch:
            ran.append(start(f"PyTorch, {cores} threads", "benchmark_torch", threads=cores))
            ran.append(start(f"PyTorch, {cores} processes", "benchmark_torch", cores))
        ran.append(start("ltjax, 1 member", "benchmark_jax", members=1))
        ran.append(start(f"ltjax, {work.members} members", "benchmark_jax"))
        if len({c.ready["parameters"] for c in ran}) != 1:
            counts = ", ".join(f"{c.name}: {c.ready['parameters']}" for c in ran)
            raise RuntimeError(f"the contestants train different networks ({counts})")
        for _ in range(rounds):
            for contestant in ran:
                contestant.measure(seconds)
        return ran
    finally:
        close()


def rows(name: str, work: Work, ran: Sequence[Contestant], *, torch: bool) -> list[dict[str, Any]]:
    """One row of results a contestant; times in seconds, memory in MiB."""

    def ratio(peer: int, contestant: Contestant) -> float | None:
        if not torch:
            return None
        pairs = zip(ran[peer].rounds, contestant.rounds, strict=True)
        return statistics.median(theirs["step"] / own["step"] for theirs, own in pairs)

    made = []
    for contestant in ran:
        rounds, entry = contestant.rounds, contestant.ready.get("entry")
        steps = [r["step"] for r in rounds]
        step, share = statistics.median(steps), None
        if entry is not None:
            entry = max(entry - min(r["entry"] for r in rounds), 0.0)
            judging = _JUDGED * statistics.median(r["evaluated_image"] for r in rounds)
            share = judging / (judging + work.images / work.batch_size * step)
        made.append(
            {
                "work": name,
                "contestant": contestant.name,
                "parameters": contestant.ready["parameters"],
                "step": step,
                "step_range": (min(steps), max(steps)),
                "to_pytorch": ratio(0, contestant),
                "to_processes": ratio(1, contestant),
                "compile": entry,
                "memory": max(r["memory"] for r in rounds),
                "evaluation_share": share,
                "rounds": rounds,
            }
        )
    return made


HEAD = (
    "work | contestant | per member-step | steps/s | to PyTorch | to its processes | "
    "compile | peak memory | evaluation"
)


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = [f"| {HEAD} |", "|" + " --- |" * (HEAD.count("|") + 1)]
    for row in found:
        low, high = row["step_range"]
        cells = [
            row["work"],
            row["contestant"],
            f"{_time(row['step'])} ({_time(low)} - {_time(high)})",
            f"{1 / row['step']:,.{0 if row['step'] < 0.01 else 1}f}",
            *("" if row[k] is None else f"{row[k]:.2f}" for k in ("to_pytorch", "to_processes")),
            "" if row["compile"] is None else f"{row['compile']:.1f} s",
            f"{row['memory']:,.0f} MiB",
            "" if row["evaluation_share"] is None else f"{row['evaluation_share']:.1%}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:,.0f} µs" if seconds < 0.01 else f"{seconds * 1e3:,.1f} ms"


def works(settings: Benchmark) -> dict[str, Work]:
    """What is measured, by name.

    Raises:
      ValueError: where there is no directory for the file.
    """
    if settings.out and not paths.local(settings.out, "out").resolve().parent.is_dir():
        raise ValueError(f"out lies in no directory: {settings.out}; make it first")
    sizes = {"members": settings.members, "steps": settings.steps}
    changed = {name: value for name, value in sizes.items() if value}
    return {name: dataclasses.replace(WORKS[name], **changed) for name in settings.models}


def run(settings: Benchmark) -> list[dict[str, Any]]:
    """Measures everything, prints the table, writes the file.

    Raises:
      ValueError: settings that do not hold; nothing has been measured then.
    """
    chosen = works(settings)
    torch = importlib.util.find_spec("torch") is not None
    cores = len(os.sched_getaffinity(0))
    found: list[dict[str, Any]] = []
    for name, work in chosen.items():
        print(f"{name}: {settings.rounds} rounds ...", file=sys.stderr, flush=True)
        ran = compete(
            work, rounds=settings.rounds, seconds=settings.seconds, cores=cores, torch=torch
        )
        found += rows(name, work, ran, torch=torch)
    where = {"machine": platform.machine(), "cores": cores, "python": platform.python_version()}
    for package in ("jax", "jaxlib", "flax", "optax", *(("torch",) if torch else ())):
        where[package] = importlib.metadata.version(package)
    print(table(found))
    print("\n" + ", ".join(f"{key} {value}" for key, value in where.items()))
    if not torch:
        print("PyTorch is not installed; for the comparison: pip install 'ltjax[bench]'")
    if settings.out:
        told = {"settings": config.as_dict(settings), "machine": where, "rows": found}
        paths.write_whole(paths.local(settings.out, "out"), json.dumps(told, indent=1) + "\n")
    return found


def main(settings: Benchmark) -> int:
    """Runs, and returns the exit code."""
    if not settings.dry_run:
        _ = run(settings)
        return 0
    for name, work in works(settings).items():
        print(f"{name}: {settings.rounds} rounds of {settings.seconds:g} s; {work}")
    return 0


if __name__ == "__main__":
    _SETTINGS = config.define_flags(Benchmark)
    launch.run(lambda: main(_SETTINGS()), again="the same command starts anew", ending=end_children)
