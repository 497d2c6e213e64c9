"""The settings of paper 004; the defaults are what it printed (readings 4.1 to 4.28)."""

import dataclasses

from experiments.reproduce.settings import PaperSettings
from ltjax import config, convergence
from ltjax.config import setting

ALL = ",".join(f"{percent / 100:g}" for percent in range(95, 0, -5))
NAMED = "0.9,0.75,0.55,0.4,0.35,0.25,0.15,0.1,0.05"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrankleCarbin(PaperSettings):
    """Frankle & Carbin, first version."""

    data: str = setting("mnist", "Data set of F3 to F16; fashion_mnist for the same on Fashion.")
    learning_rate: float = setting(0.05, "Of SGD.")
    batch_size: int = setting(100, "Examples a step.", unit="examples")
    length: str = setting("50000it", "Length of one training.", unit="it or ep")
    evaluate_every: str = setting("100it", "Between tests.", unit="it or ep")
    init_sd: float = setting(0.1, "Of the truncated normal initialization.")
    validation: str = setting(
        "0", "Held out: a number of examples; the paper judges on the test set."
    )
    normalize: str = setting("unit", "Scale of the pixels: unit for [0, 1], own for mean and sd.")
    trials: int = setting(5, "Trials of F3 to F8 and F16.")
    repeats: int = setting(3, "Draws of each control for each ticket.")
    more_runs: int = setting(5, "Further trials of F9 and F10, which have ten.")
    parameter_trials: int = setting(5, "Trials of F11 to F15.")
    levels: int = setting(21, "Rounds of iterative pruning; 0.8^21 is just under 1 %.")
    size_levels: int = setting(21, "Rounds of F14.")
    rate: float = setting(0.2, "Share pruned in a round; the output layer half of it.")
    densities: str = setting(ALL, "One-shot densities of F3 to F8.")
    parameter_densities: str = setting(ALL, "One-shot densities of F11 to F13.")
    large_sds: str = setting("0.2,0.4,0.8", "Initializations of F11 beside init_sd.")
    small_sds: str = setting("0.05,0.025,0.0125", "Initializations of F12 beside init_sd.")
    sizes: tuple[str, ...] = setting(
        ("300-100", "600-200", "600-300", "900-300", "1200-400"), "Hidden layers of F13 and F14."
    )
    size_sd: float = setting(0.05, "Initialization of F13 and F14.")
    rates: str = setting("0.1,0.5,0.7", "Rates of F15 beside `rate`.")
    shuffle: str = setting(
        "hidden", "Control 2 shuffles the hidden layers, or all with the output layer."
    )
    stop_converged: bool = setting(
        False, "End a training that nothing is pruned from once its convergence is known."
    )
    window: int = setting(1000, "Of the moving average of test accuracy.", unit="steps")
    calm: int = setting(1000, "How long it has to be calm.", unit="steps")
    change: float = setting(0.002, "What it has to change less than.", unit="fraction")
    rule: str = setting("range", "How change is read: range, start or step.")
    floor: float = setting(0.0, "Accuracy below which nothing counts as converged.")
    xor_trials: int = setting(1000, "Networks of each row of F1 and F2.")
    xor_steps: int = setting(10000, "Steps of full-batch descent.", unit="steps")
    xor_rate: float = setting(0.1, "Learning rate of F1 and F2; the paper states none.")
    xor_sd: float = setting(0.1, "Of the truncated normal initialization of F1 and F2.")
    xor_rates: str = setting("0.01,0.05,0.5,1.0", "Other learning rates of F1 and F2.")
    tolerance: float = setting(0.001, "DB: how far on the wrong side of 1/2 still passes.")
    zero_loss: float = setting(0.01, "ZL: loss that counts as zero.", unit="nats")

    def __post_init__(self) -> None:
        """Refuses what no row could be made of."""
        _ = self.criterion, self.control_2

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
        arms = {"hidden": "shuffled_hidden", "all": "shuffled_pairs"}
        if self.shuffle not in arms:
            raise ValueError(f"shuffle is hidden or all; got {self.shuffle!r}")
        return arms[self.shuffle]

    def one_shot(self, *, parameters: bool = False) -> tuple[float, ...]:
        """One-shot densities."""
        return config.floats(self.parameter_densities if parameters else self.densities)


PRESETS = {
    "paper": {},
    "quick": {
        "length": "7500it",
        "trials": 2,
        "repeats": 1,
        "more_runs": 0,
        "parameter_trials": 1,
        "size_levels": 12,
        "densities": NAMED,
        "parameter_densities": "0.75,0.55,0.35,0.25,0.1",
        "sizes": ("300-100", "600-300"),
        "stop_converged": True,
        "xor_rates": "0.5",
    },
}

SHORTENS = frozenset(
    {
        "length",
        "trials",
        "repeats",
        "more_runs",
        "parameter_trials",
        "levels",
        "size_levels",
        "densities",
        "parameter_densities",
        "sizes",
        "large_sds",
        "small_sds",
        "rates",
        "stop_converged",
        "xor_trials",
        "xor_steps",
        "xor_rates",
        "seed",
    }
)
"""Settings that make a run shorter or another draw of the same, but no other experiment."""
