"""The settings of a search, which every other binary begins from."""

from collections.abc import Collection, Sequence
import dataclasses
import functools
import re

from absl import flags

from ltjax import models
from ltjax.command import config
from ltjax.command.config import setting
from ltjax.core import pruning, trees
from ltjax.data import AUGMENTATIONS, DATASETS, NORMALIZATIONS, parse_classes
from ltjax.lottery import RESETS
from ltjax.training import optimizers, population
from ltjax.training.recipe import MEASURES

SEED = "[0, 4294967295]"
"""Seeds: what a key keeps of one without 64 bits."""

_duration = functools.partial(setting, unit="it or ep", check=config.duration)
_span = functools.partial(setting, unit="it or ep", check=config.span)
_outside = functools.partial(setting, identity=False)  # Cannot change a result.


def validation_share(text: str) -> float:
    """A number of examples (at least 1, or 0), or a share below 1, of `10%`."""
    if not text.endswith("%"):
        return config.whole(text)
    share = config.numbers("[0, 100)")(text[:-1])
    if len(share) != 1:
        raise ValueError(f"a percentage is one number, as 10%; got {text!r}")
    return share[0] / 100


def model_size(text: str) -> None:
    """Refuses widths that no machine has; what a name means, `models` knows."""
    widths = re.findall(r"\d+", text)
    if len(widths) > 1000 or any(len(width) > 6 for width in widths):
        raise ValueError("a network has at most 1,000 hidden layers of at most 999,999 units")


def check_width(text: str) -> None:
    """Refuses what is no width of a layer."""
    if config.whole(text) < 1:
        raise ValueError(f"widths of layers are at least 1, as 100; got {text!r}")
    model_size(text)


def check_classes(text: str) -> None:
    """Refuses what is neither empty, for all, nor a list of classes."""
    if text:
        _ = parse_classes(text)


def check_rewind(text: str) -> None:
    """Refuses what is neither `end` nor a duration."""
    if text != "end":
        config.duration(text)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FindTicket(config.Settings):
    """A search for winning tickets."""

    data: str = setting(
        "digits", f"One of {', '.join(DATASETS)}, or another TFDS image classification."
    )
    classes: str = setting(
        "", "Classes to keep, as 0-4 or 0,2,7; empty for all.", check=check_classes
    )
    half: str = setting(
        "", "a or b: one of two stratified halves of the training split.", choices=("a", "b")
    )
    normalize: str = setting(
        "own",
        "Mean and sd of the pixels: own, unit, mnist, cifar10, ...",
        choices=NORMALIZATIONS,
    )
    augment: str = setting(
        "none",
        "Augmentation on the device: none, flip, crop, crop_flip.",
        choices=AUGMENTATIONS,
    )
    window: int = setting(
        0,
        "Side of the square that networks see: a random one in training, the central one else; "
        "0: all of the image.",
        unit="pixels",
    )
    model: str = setting(
        "lenet-300-100",
        f"Network: lenet-W-W, mlp-W-W..., {', '.join(models.MODELS)}.",
        check=model_size,
    )
    init: str = setting(
        "", "Initialization, as truncated_normal:0.1, glorot_normal, he_normal; empty: the model's."
    )
    padding: str = setting(
        "", "Of convolutions, SAME or VALID; empty: the model's.", choices=("SAME", "VALID")
    )
    optimizer: str = setting("adam", "sgd or adam.", choices=optimizers.OPTIMIZERS)
    learning_rate: float = setting(
        1.2e-3, "Learning rate at the start of the schedule.", within="(0, 1e38]"
    )
    schedule: str = setting(
        "constant",
        "constant, step (divided by 10 at milestones), cosine.",
        choices=optimizers.SCHEDULES,
    )
    milestones: tuple[str, ...] = setting(
        (),
        "Durations at which `step` drops, as 80ep,120ep; empty: 1/2 and 3/4 of the length.",
        check=config.duration,
    )
    warmup: str = _duration("0", "Linear warm-up of the learning rate.")
    momentum: float = setting(0.0, "Momentum of sgd; b1 of adam (0: 0.9).", within="[0, 1)")
    nesterov: bool = setting(False, "Nesterov's form of the momentum of sgd.")
    weight_decay: float = setting(0.0, "Coefficient of the weight decay.")
    decay: str = setting(
        "l2",
        "l2 (coupled: added to the gradient) or decoupled (AdamW).",
        choices=optimizers.DECAYS,
        acts=(lambda s: s.weight_decay, "without weight_decay"),
    )
    batch_size: int = setting(60, "Examples a step.", unit="examples", within="[1, 2147483647]")
    length: str = _span("30ep", "Length of one training.")
    evaluate_every: str = _span("1ep", "Between evaluations.")
    validation: str = setting(
        "10%",
        "Held out of the training split: a number of examples or a percentage.",
        check=validation_share,
    )
    patience: int = setting(
        0, "Evaluations without a better validation result before it stops; 0: never."
    )
    measure: str = setting(
        "accuracy",
        "What the best evaluation is judged by: accuracy or loss.",
        choices=MEASURES,
    )
    keep: str = setting(
        "last",
        "Weights that are pruned and kept as theta_S: last or best.",
        choices=("last", "best"),
    )
    rate: float = setting(
        0.2,
        "Share of the remaining weights pruned in a round.",
        within="[0, 1)",
        acts=(lambda s: s.rates or not s.densities, "beside densities without rates"),
    )
    rates: str = setting(
        "",
        "Other rates by kind of layer or pattern, as conv=0.1,output=0.1,dense_0/*=0.3.",
        check=config.pairs,
    )
    scope: str = setting(
        "layerwise",
        "Rank weights within layers (layerwise) or over all (global).",
        choices=pruning.SCOPES,
    )
    score: str = setting(
        "magnitude", f"One of {', '.join(pruning.SCORES)}.", choices=pruning.SCORES
    )
    score_at: str = setting(
        "end",
        "Score theta_S (end) or the weights a level starts from (start).",
        choices=("end", "start"),
    )
    score_batch: int = setting(
        0,
        "Examples for scores with gradients; 0: the batch size.",
        acts=(lambda s: s.score not in ("magnitude", "random"), "on a score that sees no data"),
    )
    levels: int = setting(
        10,
        "Rounds of pruning after the dense network.",
        within="[0, 1000]",
        acts=(lambda s: not s.densities, "beside densities, which are one a level"),
    )
    densities: str = setting(
        "",
        "Target densities instead of rounds, as 0.5,0.2,0.1.",
        check=config.numbers("(0, 1]"),
    )
    one_shot: bool = setting(False, "Prune every level from the dense network.")
    rewind: str = setting(
        "0", "Rewind to: 0, a duration as 500it or 1ep, or end.", check=check_rewind
    )
    reset: tuple[str, ...] = setting(
        RESETS,
        "What each round sets back to the rewind point; `none` continues (Han).",
        choices=(*RESETS, "none"),
    )
    replicates: int = setting(5, "Independent searches, trained side by side.", within="[1, 10000]")
    seed: int = setting(0, "Everything random comes from it.", within=SEED)
    data_dir: str = _outside("", "Prepared TFDS data; empty: TFDS's own place.", check=config.path)
    out: str = _outside("runs", "Directory of all runs.", check=config.path)
    devices: int = _outside(0, "Devices to spread over; 0: all (cores, on a CPU).")
    layout: str = _outside(
        "auto",
        "Members of one device by map or vmap; auto chooses.",
        choices=("auto", *population.LAYOUTS),
    )
    save_seconds: float = _outside(60.0, "Between saves inside a level.", unit="seconds")
    dry_run: bool = _outside(False, "Print the plan and stop; nothing is made.")

    def __post_init__(self) -> None:
        """Refuses settings that contradict each other."""
        super().__post_init__()
        if self.nesterov and (self.optimizer != "sgd" or not self.momentum):
            raise ValueError(
                "nesterov is a form of the momentum of sgd; give optimizer=sgd and a momentum "
                f"above 0 with it; got {self.optimizer}, {self.momentum:g}"
            )
        if self.milestones and self.schedule != "step":
            raise ValueError(
                f"milestones belong to schedule=step; got schedule={self.schedule}; drop one"
            )
        if not self.reset or ("none" in self.reset and len(self.reset) > 1):
            raise ValueError(f"reset is none or some of the others; got {','.join(self.reset)!r}")
        if not validation_share(self.validation) and (self.patience or self.keep == "best"):
            raise ValueError("patience and keep=best need a validation set; got validation=0")


PRESETS = {
    "lenet-mnist": {
        "data": "mnist",
        "rates": "output=0.1",
        "length": "25ep",
        "evaluate_every": "500it",
        "validation": "5000",
        "normalize": "mnist",
    },
    "conv2-cifar10": {
        "data": "cifar10",
        "model": "conv2",
        "learning_rate": 2e-4,
        "rates": "conv=0.1,output=0.1",
        "length": "25ep",
        "evaluate_every": "500it",
        "validation": "5000",
        "normalize": "cifar10",
    },
    "resnet20-cifar10": {
        "data": "cifar10",
        "model": "resnet20",
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "batch_size": 128,
        "length": "160ep",
        "schedule": "step",
        "milestones": ("80ep", "120ep"),
        "augment": "crop_flip",
        "scope": "global",
        "rewind": "1ep",
        "validation": "5000",
        "normalize": "cifar10",
    },
}


def overridden(
    settings: FindTicket, parts: Sequence[str], *, named: str, known: Collection[str] = ()
) -> FindTicket:
    """The settings of a search with some of them given as `name=value`.

    Args:
      settings: what holds where nothing is given.
      parts: what is given; + stands for , in lists.
      named: the flag that they come from.
      known: names that may be given; all by default.

    Raises:
      ValueError: an unknown name, one that is given twice, or a value that breaks its rule.
    """
    if not parts:
        return settings
    values, fields = flags.FlagValues(), {f.name: f for f in dataclasses.fields(FindTicket)}
    plain = {"settings": config.as_dict(settings)}
    read = config.define_flags(FindTicket, values, presets=plain, default="settings")
    given = dict[str, str]()
    for part in parts:
        name, equals, text = part.partition("=")
        if name not in (known or fields) or not equals:
            wrong = trees.unknown(name, known or fields, "setting")
            raise ValueError(f"{named} takes name=value; {wrong}")
        if name in given:
            raise ValueError(f"{named} gives {name} twice; give it once")
        listed = isinstance(fields[name].default, tuple)
        given[name] = text.replace("+", ",") if listed else text
    try:
        _ = values([named, *(f"--{name}={text}" for name, text in given.items())])
        return read()
    except (ValueError, flags.Error) as error:
        raise ValueError(f"{named}: {error}") from error
