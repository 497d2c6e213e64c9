"""Convergence: when a curve of test accuracy calms down (paper 004, footnote 5).

"The moment at which the 1000-iteration moving average of test accuracy changed by less than 0.002
for 1000 consecutive iterations." A *mean* at step t is that of the tests in (t - window, t]. What
"changed" is measured against is a rule, a row of `RULES`.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import itertools
import statistics

from ltjax.core import trees
from ltjax.training.records import Record

_TIE = 1e-9
"""A change by exactly the limit is not less than it, whichever way its sum was rounded."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What counts as calm.

    Attributes:
      window: length of the moving average, in steps.
      calm: how long the mean has to stay, in steps.
      change: what the mean has to change less than, as a fraction of the test set.
      rule: a row of `RULES`.
      floor: accuracy below which nothing counts as converged, in [0, 1].
    """

    window: int = 1000
    calm: int = 1000
    change: float = 0.002
    rule: str = "range"
    floor: float = 0.0

    def __post_init__(self) -> None:
        """Refuses what no curve could be judged by."""
        _ = trees.lookup(RULES, self.rule, "convergence rule")
        if self.window < 1 or self.calm < 0 or not self.change > 0:
            raise ValueError(
                "window must be at least 1, calm at least 0 and change above 0; got "
                f"{self.window}, {self.calm}, {self.change}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Convergence:
    """Where a curve converged.

    Attributes:
      step: the first step after which the mean stays calm; None where it never does.
      accuracy: the test at that step, in [0, 1].
      mean: the moving average there.
      gain: accuracy of the last test minus `accuracy`.
      near_chance: whether the accuracy lies below twice that of guessing, as where a network
        never left its start: it is calm, but has learned nothing.
    """

    step: int | None
    accuracy: float | None = None
    mean: float | None = None
    gain: float | None = None
    near_chance: bool = False


def stays_in_range(means: Sequence[float], change: float) -> bool:
    """The largest and the smallest mean of the calm time differ by less than `change`."""
    return max(means) - min(means) < change - _TIE


def moves_slowly(means: Sequence[float], change: float) -> bool:
    """Each mean differs from the one before by less than `change`: the loose reading."""
    return all(abs(b - a) < change - _TIE for a, b in itertools.pairwise(means))


def stays_near_start(means: Sequence[float], change: float) -> bool:
    """Each mean of the calm time differs from the first by less than `change`."""
    return all(abs(m - means[0]) < change - _TIE for m in means)


RULES: Mapping[str, Callable[[Sequence[float], float], bool]] = {
    "range": stays_in_range,  # Reading 4.1.
    "start": stays_near_start,
    "step": moves_slowly,
}


def moving_means(
    steps: Sequence[int], accuracy: Sequence[float | None], *, window: int
) -> list[float | None]:
    """The mean of the tests in (t - window, t] at each step t.

    None where the window is not full: before its first end, where an evaluation is missing, and
    where an accuracy is None. Evaluations beyond the regular ones take part.
    """
    full = max(1, window // distance(steps))
    means: list[float | None] = []
    first = 0
    for i, step in enumerate(steps):
        while steps[first] <= step - window:
            first += 1
        tests = [a for a in accuracy[first : i + 1] if a is not None]
        whole = len(tests) == i + 1 - first and len(tests) >= full
        means.append(statistics.fmean(tests) if whole else None)
    return means


def distance(steps: Sequence[int]) -> int:
    """The regular distance between evaluations."""
    distances = [b - a for a, b in itertools.pairwise(steps)]
    return int(statistics.median(distances)) if distances else 1


def converged(
    steps: Sequence[int],
    accuracy: Sequence[float | None],
    *,
    settings: Settings | None = None,
    classes: int = 10,
) -> Convergence:
    """Where a curve converges.

    Args:
      steps: the evaluated steps, rising.
      accuracy: test accuracy at each, in [0, 1].
      settings: what counts as calm; paper 004's by default.
      classes: number of classes, for what guessing would reach.

    Raises:
      ValueError: steps that do not rise, or not one accuracy a step.
    """
    how = settings or Settings()
    if len(steps) != len(accuracy):
        raise ValueError(f"there are {len(steps)} steps and {len(accuracy)} accuracies; pair them")
    if any(b <= a for a, b in itertools.pairwise(steps)):
        raise ValueError(f"steps must rise; got {list(steps[:5])}...")
    means = moving_means(steps, accuracy, window=how.window)
    for i, step in enumerate(steps):
        test, mean = accuracy[i], means[i]
        if mean is None or test is None or test < how.floor:
            continue
        if (calm := _calm_time(steps, means, i, how.calm)) is None:
            continue
        if RULES[how.rule](calm, how.change):
            last = next(a for a in reversed(accuracy) if a is not None)
            return Convergence(
                step=step,
                accuracy=test,
                mean=mean,
                gain=last - test,
                near_chance=test < 2 / classes,
            )
    return Convergence(step=None)


def _calm_time(
    steps: Sequence[int], means: Sequence[float | None], i: int, calm: int
) -> list[float] | None:
    """The means in [t, t + calm]; None where the curve ends before, or an evaluation is missing."""
    if steps[-1] < steps[i] + calm:
        return None
    found: list[float] = []
    for step, mean in zip(steps[i:], means[i:], strict=True):
        if step > steps[i] + calm:
            break
        if mean is None:
            return None
        found.append(mean)
    return found if len(found) > calm // distance(steps) else None


def of_record(record: Record, how: Settings, *, classes: int = 10) -> Convergence:
    """Where a training converged, by its held-out examples, or the test set where it has none.

    Accuracy and gain are those on the test set (reading 4.21).
    """
    judged = record.validation_accuracy or record.test_accuracy
    found = converged(record.steps, judged, settings=how, classes=classes)
    if found.step is None or not record.validation_accuracy:
        return found
    accuracy = record.test_accuracy[record.steps.index(found.step)]
    return dataclasses.replace(found, accuracy=accuracy, gain=record.final_accuracy - accuracy)
