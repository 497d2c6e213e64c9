"""The settings of paper 002; the defaults are what it printed (readings 2.1 to 2.19)."""

import dataclasses

from experiments.reproduce.settings import PaperSettings
from experiments.settings import model_size, validation_share
from ltjax import data as data_
from ltjax.command import config
from ltjax.command.config import setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class MultipleTickets(PaperSettings):
    """G070: multiple winning tickets, LTH against SNIP."""

    fc_data: str = setting("mnist", "Data of LeNet-300-100.")
    conv_data: str = setting("cifar10", "Data of Conv2.")
    fc_model: str = setting("lenet-300-100", "The fully connected network.", check=model_size)
    conv_model: str = setting("conv2", "The convolutional network.", check=model_size)
    fc_learning_rate: float = setting(
        1.2e-3, "Of Adam for LeNet-300-100.", within="(0, 1e38]", alias="fc_rate"
    )
    conv_learning_rate: float = setting(
        2e-4, "Of Adam for Conv2.", within="(0, 1e38]", alias="conv_rate"
    )
    init: str = setting("glorot_normal", "Initialization; glorot_uniform is the other reading.")
    padding: str = setting(
        "VALID",
        "Of Conv2; Tables 5 and 7 fit VALID (reading 2.1).",
        choices=("SAME", "VALID"),
    )
    batch_size: int = setting(60, "Examples a step.", unit="examples", within="[1, 2147483647]")
    fc_length: str = setting(
        "25ep", "Budget of one training of LeNet-300-100.", unit="it or ep", check=config.span
    )
    conv_length: str = setting(
        "25ep", "Budget of one training of Conv2.", unit="it or ep", check=config.span
    )
    evaluate_every: str = setting(
        "500it",
        "Between evaluations; a shorter budget has one, at its end.",
        unit="it or ep",
        check=config.span,
    )
    patience: int = setting(4, "Evaluations without a better one before a training stops.")
    validation: str = setting(
        "5000", "Held out of the training split: a number of examples.", check=validation_share
    )
    fc_normalize: str = setting(
        "mnist", "Mean and sd of the pixels of LeNet's data.", choices=data_.NORMALIZATIONS
    )
    conv_normalize: str = setting(
        "cifar10", "Mean and sd of the pixels of Conv2's data.", choices=data_.NORMALIZATIONS
    )
    levels: int = setting(10, "Rounds of pruning.", within="[1, 1000]")
    flips: str = setting(
        "7,8", "Rounds whose masks are flipped (LTH_flip 1 and 2), up to `levels`."
    )
    replicates: int = setting(2, "Seeds; the paper has two.", within="[1, 10000]")
    extra_scores: bool = setting(
        True, "GraSP, SynFlow and random pruning (Erdos-Renyi-kernel) beside SNIP."
    )
    same_batch: bool = setting(False, "Iterative SNIP rates on one batch at every step.")
    signed: bool = setting(False, "SNIP without the absolute value, as printed (reading 2.3).")
    snip_counts: str = setting(
        "total",
        "SNIP keeps the ticket's total, or its count in each of its layers (layers).",
        choices=("total", "layers"),
    )

    def __post_init__(self) -> None:
        """Refuses what no row could be made of."""
        super().__post_init__()
        try:
            rounds = [config.whole(text) for text in self.flips.split(",")]
        except ValueError as error:
            raise ValueError(f"flips are rounds, as 7,8: {error}") from error
        if min(rounds) < 1 or max(rounds) > self.levels or len({*rounds}) < len(rounds):
            raise ValueError(
                f"flips are different rounds of 1..{self.levels} (levels); got {self.flips!r}"
            )


PRESETS = {
    "paper": {},
    "quick": {"fc_length": "1000it", "conv_length": "60it", "evaluate_every": "100it"},
}

SHORTENS = frozenset(
    {
        "fc_length",
        "conv_length",
        "evaluate_every",
        "levels",
        "replicates",
        "extra_scores",
        "seed",
    }
)
"""Settings that make a run shorter or another draw of the same, but no other experiment."""
