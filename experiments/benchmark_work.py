"""The work that the contestants of the benchmark share, and how a contestant answers.

A *contestant* is a child process that prepares one network, prints one line of JSON, and then
answers each line on its standard input, a number of seconds, with a measurement of about that
length, as one more line of JSON. Processes of their own give each contestant a peak memory and
threads of its own; this module loads neither JAX nor PyTorch, so that none pays for the other.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import json
import resource
import sys
from typing import Any

Measure = Callable[[float], Mapping[str, float]]
"""Seconds that it may take -> a measurement."""

CLASSES = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work:
    """A network and how it is trained.

    Attributes:
      model: a name in `ltjax.models.MODELS`.
      padding: of its convolutions; empty where it has none to choose.
      shape: height, width and channels of an image.
      optimizer: `adam` or `sgd`.
      learning_rate: constant.
      momentum: of sgd.
      batch_size: examples a step.
      images: examples of an epoch; random bytes, for the time does not depend on them.
      members: size of the population.
      steps: steps of a leg, at least 3.
      density: share of the weights of each kernel that live.
      threads: of PyTorch.
    """

    model: str
    padding: str = ""
    shape: Sequence[int] = (32, 32, 3)
    optimizer: str = "adam"
    learning_rate: float = 1.2e-3
    momentum: float = 0.0
    batch_size: int = 60
    images: int = 45_000
    members: int = 4
    steps: int = 10
    density: float = 0.2
    threads: int = 1


WORKS: Mapping[str, Work] = {
    "lenet-300-100": Work(
        model="lenet-300-100", shape=(28, 28, 1), images=55_000, members=16, steps=500
    ),
    "conv2": Work(model="conv2", padding="VALID", learning_rate=2e-4),
    "conv2-same": Work(model="conv2", padding="SAME", learning_rate=2e-4),
    "lrn2": Work(  # Table I of paper 000.
        model="lrn2",
        padding="SAME",
        shape=(28, 28, 3),
        optimizer="sgd",
        learning_rate=0.01,
        batch_size=256,
        images=25_000,
        steps=6,
    ),
    "resnet20": Work(
        model="resnet20", optimizer="sgd", learning_rate=0.1, momentum=0.9, batch_size=128, steps=6
    ),
    # For tests.
    "mlp-tiny": Work(model="mlp-tiny", shape=(4, 4, 1), images=500, members=3, steps=20),
    "resnet-tiny": Work(
        model="resnet-tiny",
        shape=(8, 8, 3),
        optimizer="sgd",
        momentum=0.9,
        images=500,
        members=2,
        steps=5,
    ),
}
"""The rows of the benchmark by name."""


def serve(prepare: Callable[[Work], tuple[Mapping[str, Any], Measure]]) -> None:
    """Answers for the work in the first argument, until the input ends.

    Args:
      prepare: work -> the first answer, and the measurement; the peak memory of the process in
        MiB is added to each.
    """
    ready, measure = prepare(Work(**json.loads(sys.argv[1])))
    print(json.dumps(dict(ready)), flush=True)
    for line in sys.stdin:
        answer = dict(measure(float(line)))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        memory = peak / 2**20 if sys.platform == "darwin" else peak / 2**10  # Bytes; else KiB.
        print(json.dumps({**answer, "memory": memory}), flush=True)
