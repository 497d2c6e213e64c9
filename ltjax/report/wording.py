"""Wording: how the numbers of a report are written, and its sentences."""

from collections.abc import Iterable, Sequence
import math

from ltjax.statistics import analysis
from ltjax.statistics.analysis import Row, Verdict
from ltjax.training.records import OWN_DENSE

_JUDGES = {
    "validation": "The best evaluation was chosen on the validation set.",
    "test": "The best evaluation was chosen on the test set itself, which flatters accuracies.",
    "last": "Nothing chose a best evaluation: it is the last one.",
}


def percent(fraction: float) -> str:
    """A fraction in percent, without the sign: two decimals, more where they would be 0."""
    if math.isnan(fraction):
        return "-"
    if 0 < abs(fraction) < 0.0005:
        return f"{100 * fraction:.2g}"
    return f"{100 * fraction:.2f}"


def count(number: float) -> str:
    """A whole number with thousands separated; a mean is rounded."""
    return "-" if math.isnan(number) else f"{number:,.0f}"


def title(rows: Sequence[Row]) -> str:
    """What the results of a phase are, what chose them, and of how many weights.

    Args:
      rows: the rows of one phase.
    """
    judged = judges(n for r in rows for n in r.judged_on)
    return (
        "Test accuracy in percent, mean and standard deviation; steps to the best evaluation; the "
        f"paired verdict. A star: a winning ticket. {judged} {sizes(rows)}"
    ).rstrip()


def judges(names: Iterable[str]) -> str:
    """One sentence for each row of `results.JUDGES`: what it chose."""
    return " ".join(_JUDGES[name] for name in sorted(set(names)))


def sizes(rows: Sequence[Row]) -> str:
    """Says of how many weights the kept ones are, where that is the same in every row."""
    every = {(r.prunable, r.kernels, r.total) for r in rows}
    if len(every) > 1:
        return ""
    prunable, kernels, total = map(count, every.pop())
    text = f"Kept: of {prunable} prunable weights, of {total} parameters in all."
    if not rows[0].dense:
        return text
    dense = ", ".join(f"{name} ({count(size)})" for name, size in rows[0].dense.items())
    return f"{text} All kernels: {kernels} weights. Left dense: {dense}."


def failed(rows: Sequence[Row]) -> str:
    """Says how many trainings failed; empty where none did."""
    lost, every = (sum(n) for n in zip(*((r.failed, r.failed + r.n) for r in rows), strict=True))
    return f"{lost} of {every} trainings failed and are in no line." if lost else ""


def gain(verdict: Verdict) -> str:
    """The mean gain over the pairs in points, with its interval where there is one."""
    if verdict.gain is None:
        return "-"
    value, low, high = (round(100 * x, 2) + 0.0 for x in verdict.gain[:3])  # No -0.00.
    return f"{value:+.2f}" if math.isnan(low) else f"{value:+.2f} ({low:+.2f} to {high:+.2f})"


def word(verdict: Verdict) -> str:
    """The paired verdict, with the pairs that a failure decided."""
    said = verdict.word or f"{'one' if verdict.pairs else 'no'} pair"
    failed = {"failed": verdict.lost, "failed in both": verdict.tied, "failed there": verdict.won}
    return ", ".join([said, *(f"{n} {where}" for where, n in failed.items() if n)])


def has_verdicts(verdicts: Sequence[Verdict]) -> bool:
    """Whether some verdict says more than that replicates are wanting."""
    return any(v.word for v in verdicts)


def summary(rows: Sequence[Row]) -> list[str]:
    """One sentence for each arm with a dense network of its own: down to which density it wins."""
    sentences = []
    for phase in analysis.phases(rows):
        there = [r for r in rows if r.phase == phase]
        for arm in analysis.arms(r for r in there if r.level == 0 and r.arm in OWN_DENSE):
            where = "" if arm == "ticket" else f" from {arm}"
            sentences.append(f"On the {phase}{where}: {_found(there, arm)}.")
    return sentences


def _found(rows: Sequence[Row], arm: str) -> str:
    verdicts = analysis.winning(rows, arm)
    if not verdicts:
        return "nothing to judge, for want of a trained dense network or a pruned level"
    wins = [v for v in verdicts if v.wins]
    levels = f"{len(wins)} of {len(verdicts)} pruned level{'s'[: len(verdicts) > 1]}"
    found = "no winning ticket"
    if wins:
        last = min(wins, key=lambda v: v.row.density).row
        found = f"winning ticket down to density {percent(last.density)} %"
        levels = (
            f"level {last.level}: {count(last.kept)} of {count(last.prunable)} weights; {levels}"
        )
    return f"{found} ({levels}){_paired(verdicts)}"


def _paired(verdicts: Sequence[Verdict]) -> str:
    """How many levels have which verdict, and how many lost a replicate."""
    if not has_verdicts(verdicts):
        return "; paired verdicts need two replicates that trained"
    said = [v.word for v in verdicts]
    numbers = ", ".join(f"{w} at {said.count(w)}" for w in ("wins", "matches", "loses"))
    failed = sum(v.row.failed > 0 for v in verdicts)
    lost = f"; {failed} with failed replicates" if failed else ""
    return f"; by the paired 95 % interval it {numbers}{lost}"
