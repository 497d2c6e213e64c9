"""Words: how the numbers of a report are written."""

from collections.abc import Sequence
import math

from ltjax import analysis
from ltjax.analysis import Row


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


def mean_sd(mean: float, sd: float, *, sign: str) -> str:
    """Mean and standard deviation of fractions, in percent; no deviation where it is NaN."""
    return percent(mean) if math.isnan(sd) else f"{percent(mean)} {sign}{100 * sd:.2f}"


def summary(rows: Sequence[Row]) -> list[str]:
    """One sentence for each start point with a dense network: down to which density it wins."""
    sentences = []
    for phase in analysis.phases(rows):
        there = [r for r in rows if r.phase == phase]
        for arm in analysis.arms(there):
            has_dense = any(r.arm == arm and r.level == 0 for r in there)
            if arm in analysis.START_POINTS and has_dense:
                sentences.append(f"{_where(phase, arm)}: {_found(there, arm)}.")
    return sentences


def _where(phase: str, arm: str) -> str:
    return f"On the {phase}" if arm == "ticket" else f"On the {phase} from {arm}"


def _found(rows: Sequence[Row], arm: str) -> str:
    verdicts = analysis.winning(rows, arm)
    if not verdicts:
        return "nothing to judge, for want of a trained dense network or a pruned level"
    wins = [v for v in verdicts if v.wins]
    levels = f"{len(wins)} of {len(verdicts)} pruned level{'s'[: len(verdicts) > 1]}"
    if not wins:
        return f"no winning ticket ({levels})"
    last = min(wins, key=lambda v: v.row.density).row
    return (
        f"winning ticket down to density {percent(last.density)} % "
        f"(level {last.level}: {count(last.kept)} of {count(last.prunable)} weights; {levels})"
    )
