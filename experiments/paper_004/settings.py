"""The settings of paper 004; the defaults are what it printed (readings 4.1 to 4.28)."""

import dataclasses

from experiments.papers import convergence
from experiments.reproduce.settings import PaperSettings
from experiments.settings import model_size, validation_share
from ltjax import data as data_
from ltjax.command import config
from ltjax.command.config import setting

ALL = ",".join(f"{percent / 100:g}" for percent in range(95, 0, -5))
NAMED = "0.9,0.75,0.55,0.4,0.35,0.25,0.15,0.1,0.05"

_COUNT = "[1, 10000]"


def _size(text: str) -> None:
    for width in text.split("-"):
        if config.whole(width) < 1:
            raise ValueError(f"widths of layers are at least 1, as 300-100; got {text!r}")
    model_size(text)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrankleCarbin(PaperSettings):
    """Frankle & Carbin, first version."""

    data: str = setting("mnist", "Data set of F3 to F16; fashion_mnist for the same on Fashion.")
    learning_rate: float = setting(0.05, "Of SGD.", within="(0, 1e38]")
    batch_size: int = setting(100, "Examples a step.", unit="examples", within="[1, 2147483647]")
    length: str = setting("50000it", "Length of one training.", unit="it or ep", check=config.span)
    evaluate_every: str = setting("100it", "Between tests.", unit="it or ep", check=config.span)
    init_sd: float = setting(0.1, "Of the truncated normal initialization.", within="(0, 1e38]")
    validation: str = setting(
        "0",
        "Held out: a number of examples; the paper judges on the test set.",
        check=validation_share,
    )
    normalize: str = setting(
        "unit",
        "Scale of the pixels: unit for [0, 1], own for mean and sd.",
        choices=data_.NORMALIZATIONS,
    )
    replicates: int = setting(5, "Trials of F3 to F8 and F16.", within=_COUNT, alias="trials")
    repeats: int = setting(3, "Draws of each control for each ticket.", within=_COUNT)
    more_replicates: int = setting(
        5, "Further trials of F9 and F10, which have ten.", within="[0, 10000]", alias="more_runs"
    )
    parameter_replicates: int = setting(
        5, "Trials of F11 to F15.", within=_COUNT, alias="parameter_trials"
    )
    levels: int = setting(
        21, "Rounds of iterative pruning; 0.8^21 is just under 1 %.", within="[1, 1000]"
    )
    size_levels: int = setting(21, "Rounds of F14.", within="[1, 1000]")
    rate: float = setting(
        0.2, "Share pruned in a round; the output layer half of it.", within="(0, 1)"
    )
    densities: str = setting(ALL, "One-shot densities of F3 to F8.", check=config.numbers("(0, 1)"))
    parameter_densities: str = setting(
        ALL, "One-shot densities of F11 to F13.", check=config.numbers("(0, 1)")
    )
    large_sds: str = setting(
        "0.2,0.4,0.8", "Initializations of F11 beside init_sd.", check=config.numbers("(0, 1e38]")
    )
    small_sds: str = setting(
        "0.05,0.025,0.0125",
        "Initializations of F12 beside init_sd.",
        check=config.numbers("(0, 1e38]"),
    )
    sizes: tuple[str, ...] = setting(
        ("300-100", "600-200", "600-300", "900-300", "1200-400"),
        "Hidden layers of F13 and F14.",
        check=_size,
    )
    size_sd: float = setting(0.05, "Initialization of F13 and F14.", within="(0, 1e38]")
    rates: str = setting(
        "0.1,0.5,0.7", "Rates of F15 beside `rate`.", check=config.numbers("(0, 1)")
    )
    shuffle: str = setting(
        "hidden",
        "Control 2 shuffles the hidden layers, or all with the output layer.",
        choices=("hidden", "all"),
    )
    stop_converged: bool = setting(
        False, "End a training that nothing is pruned from once its convergence is known."
    )
    window: int = setting(
        1000, "Of the moving average of test accuracy.", unit="steps", within="[1, 2147483647]"
    )
    calm: int = setting(1000, "How long it has to be calm.", unit="steps")
    change: float = setting(
        0.002, "What it has to change less than.", unit="fraction", within="(0, 1]"
    )
    rule: str = setting(
        "range", "How change is read: range, start or step.", choices=convergence.RULES
    )
    floor: float = setting(
        0.0, "Accuracy below which nothing counts as converged.", within="[0, 1]"
    )
    xor_replicates: int = setting(
        1000, "Networks of each row of F1 and F2.", within="[1, 1000000]", alias="xor_trials"
    )
    xor_steps: int = setting(
        10000, "Steps of full-batch descent.", unit="steps", within="[1, 2147483647]"
    )
    xor_learning_rate: float = setting(
        0.1, "Of F1 and F2; the paper states none.", within="(0, 1e38]", alias="xor_rate"
    )
    xor_sd: float = setting(
        0.1, "Of the truncated normal initialization of F1 and F2.", within="(0, 1e38]"
    )
    xor_learning_rates: str = setting(
        "0.01,0.05,0.5,1.0",
        "Other learning rates of F1 and F2.",
        check=config.numbers("(0, 1e38]"),
        alias="xor_rates",
    )
    tolerance: float = setting(
        0.001, "DB: how far on the wrong side of 1/2 still passes.", within="[0, 0.5]"
    )
    zero_loss: float = setting(0.01, "ZL: loss that counts as zero.", unit="nats")

    def __post_init__(self) -> None:
        """Refuses what no row could be made of."""
        super().__post_init__()
        for name in ("sizes", "densities", "parameter_densities"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty, and its experiments would have nothing to show")

    @property
    def criterion(self) -> convergence.Settings:
        """What counts as converged."""
        return convergence.Settings(
            window=self.window,
            calm=self.calm,
            change=self.change,
            rule=self.rule,
            floor=self.floor,
        )

    @property
    def judged(self) -> tuple[convergence.Settings, bool]:
        """What acts on the lines of F3 to F16 beside their trainings."""
        return self.criterion, self.stop_converged

    @property
    def control_2(self) -> str:
        """The arm that control 2 is."""
        return {"hidden": "shuffled_hidden", "all": "shuffled_pairs"}[self.shuffle]

    def one_shot(self, *, parameters: bool = False) -> tuple[float, ...]:
        """One-shot densities."""
        return config.floats(self.parameter_densities if parameters else self.densities)


PRESETS = {
    "paper": {},
    "quick": {
        "length": "7500it",
        "replicates": 2,
        "repeats": 1,
        "more_replicates": 0,
        "parameter_replicates": 1,
        "size_levels": 12,
        "densities": NAMED,
        "parameter_densities": "0.75,0.55,0.35,0.25,0.1",
        "sizes": ("300-100", "600-300"),
        "stop_converged": True,
        "xor_learning_rates": "0.5",
    },
}

SHORTENS = frozenset(
    {
        "length",
        "replicates",
        "repeats",
        "more_replicates",
        "parameter_replicates",
        "levels",
        "size_levels",
        "densities",
        "parameter_densities",
        "sizes",
        "large_sds",
        "small_sds",
        "rates",
        "stop_converged",
        "xor_replicates",
        "xor_steps",
        "xor_learning_rates",
        "seed",
    }
)
"""Settings that make a run shorter or another draw of the same, but no other experiment."""
