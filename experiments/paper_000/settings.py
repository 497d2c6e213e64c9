"""The settings of paper 000; what it states is the default, and what it does not is said so."""

import dataclasses
import itertools

from experiments.reproduce.settings import PaperSettings
from experiments.settings import model_size, validation_share
from ltjax import data as data_
from ltjax.command import config
from ltjax.command.config import setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassHalves(PaperSettings):
    """Van Soelen & Sheppard: tickets moved between halves of the classes."""

    data: str = setting("cifar10", "Data set whose classes are halved.")
    model: str = setting("lrn2", "The network of Table I.", check=model_size)
    size: int = setting(
        28,
        "Images are cropped to this size, or padded; 0 leaves them.",
        unit="pixels",
        within="[0, 512]",
    )
    random_crop: bool = setting(
        False, "Train on random crops, test on the centre (the option of reading 0.1)."
    )
    padding: str = setting(
        "SAME", "Of the pools; VALID is the other reading (0.2).", choices=("SAME", "VALID")
    )
    init: str = setting("he_normal", "Initialization; the paper states none.")
    normalize: str = setting(
        "cifar10",
        "Mean and sd of the pixels; the paper states none.",
        choices=data_.NORMALIZATIONS,
    )
    learning_rate: float = setting(0.01, "Of SGD.", within="(0, 1e38]")
    batch_size: int = setting(256, "Examples a step.", unit="examples", within="[1, 2147483647]")
    length: str = setting(
        "100ep",
        "Length of one training; the paper states none.",
        unit="it or ep",
        check=config.span,
    )
    evaluate_every: str = setting("2ep", "Between tests.", unit="it or ep", check=config.span)
    rewind: str = setting(
        "1ep",
        "Step k of theta_k, of the rows beyond the paper.",
        unit="it or ep",
        check=config.duration,
    )
    validation: str = setting(
        "0", "Held out; the paper judges on the test set.", check=validation_share
    )
    splits: int = setting(
        10, "Splits of the classes of each table; two make pairs to test.", within="[2, 1000]"
    )
    halves: str = setting(
        "", "Splits of your own for both tables, as 0-4/5-9;0,2,4,6,8/1,3,5,7,9; empty: below."
    )
    named_splits: bool = setting(True, "The splits of the figures come first (CIFAR-10 only).")
    same_splits: bool = setting(False, "Table III on the splits of Table II.")
    prune_biases: bool = setting(
        False, "Biases are pruned too, in all rows; S3, which compares both ways, is left out."
    )
    share_dense: bool = setting(
        False, "One dense network a split instead of one for each density (reading 0.10)."
    )
    extra_splits: int = setting(10, "Splits of the rows beyond the paper.", within="[2, 1000]")
    densities: str = setting(
        "0.75,0.5,0.25,0.1", "Kept in each layer, in one shot.", check=config.numbers("(0, 1)")
    )

    def __post_init__(self) -> None:
        """Refuses what no row could be made of."""
        super().__post_init__()
        if self.random_crop and not self.size:
            raise ValueError("random_crop needs the size of the crops; got size 0; give it")
        if self.extra_splits > self.splits:
            raise ValueError(
                f"extra_splits lies in 2..{self.splits} (splits); got {self.extra_splits}"
            )
        try:
            own = self.own_halves
        except ValueError as error:
            raise ValueError(f"halves: {error}") from error
        if own and len(own) != self.splits:
            raise ValueError(
                f"halves gives {len(own)} splits and splits is {self.splits}; make them equal"
            )
        chain = (1.0, *self.one_shot, 0.0)
        if len(chain) < 3 or any(not below < above for above, below in itertools.pairwise(chain)):
            raise ValueError(
                f"densities fall from below 1 and stay above 0, as 0.5,0.1; got {self.densities!r}"
            )

    @property
    def own_halves(self) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """The splits that `halves` gives, classes in rising order.

        Raises:
          ValueError: where one cannot be read or comes twice, or its halves overlap or differ in
            size.
        """
        made = []
        for text in filter(None, self.halves.split(";")):
            parts = [tuple(sorted(data_.parse_classes(p))) for p in text.split("/")]
            if len(parts) != 2 or len(parts[0]) != len(parts[1]):
                raise ValueError(
                    f"a split is two halves of equally many classes, as 0-4/5-9; got {text!r}"
                )
            data_.check_disjoint(*parts)
            if (parts[0], parts[1]) in made:
                raise ValueError(f"the split {text!r} is given twice; give each once")
            made.append((parts[0], parts[1]))
        return made

    @property
    def classes(self) -> tuple:
        """What the halves of the classes, and the images, come from beside the data."""
        named = self.named_splits and self.data == "cifar10"
        drawn = self.own_halves or (named, self.same_splits, self.splits, self.seed)
        return self.size, drawn

    @property
    def one_set(self) -> bool:
        """Whether both tables have the same splits, so that they may be compared."""
        return self.same_splits or bool(self.halves)

    @property
    def one_shot(self) -> tuple[float, ...]:
        """Densities of the one-shot tickets."""
        return config.floats(self.densities)


PRESETS = {
    "paper": {},
    "quick": {
        "length": "80it",
        "evaluate_every": "40it",
        "rewind": "40it",
        "same_splits": True,
        "share_dense": True,
        "extra_splits": 2,
    },
}

SHORTENS = frozenset(
    {
        "length",
        "evaluate_every",
        "rewind",
        "splits",
        "named_splits",
        "same_splits",
        "share_dense",
        "extra_splits",
        "densities",
        "seed",
    }
)
"""Settings that make a run shorter or another draw of the same, but no other experiment."""
