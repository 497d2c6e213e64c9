"""Compares finished or half-finished reproductions with their papers.

    python -m experiments.report runs
    python -m experiments.report runs/paper-004-0123abcd --out=report

Arguments are directories of runs, or directories that hold some. Writes one self-contained
report.html with every figure in the paper's form, every published number beside ours and a verdict
for each, and the figures as PNG and SVG; prints the verdicts by experiment. Trains nothing.
"""

from collections.abc import Sequence
import dataclasses

from absl import flags

from experiments.papers import page, reproduce
from ltjax.command import config, launch, paths


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report(config.Settings):
    """Where the report goes."""

    out: str = config.setting(
        "",
        "Directory of the report; empty: the first argument's.",
        identity=False,
        check=config.path,
        alias="to",
    )
    dry_run: bool = config.setting(
        False, "Print which runs go where and stop; nothing is made.", identity=False
    )


def main(settings: Report, runs: Sequence[str]) -> int:
    """Writes the report, and returns the exit code."""
    named = [path for name in runs for path in reproduce.runs_in(paths.local(name, "run"))]
    found = list({path.resolve(): path for path in named}.values())  # Once, however it is named.
    where = paths.local(settings.out or runs[0], "out")
    if settings.dry_run:
        print("\n".join(f"would report {path}" for path in found))
        print(f"would write {where / 'report.html'}")
    else:
        print(page.write([reproduce.read(path) for path in found], where))
    return 0


if __name__ == "__main__":
    _SETTINGS = config.define_flags(Report)
    flags.FLAGS.set_gnu_getopt(True)  # Flags may follow the directories.
    launch.run(
        lambda runs: main(_SETTINGS(), runs),
        arguments="directories of runs",
        again="the same command starts anew",
    )
