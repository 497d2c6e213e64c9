"""The settings of a search as one dataclass, and what is built from them."""

import dataclasses
import itertools
import os
import re
from typing import Any, TypeVar

import jax

from ltjax import data as data_
from ltjax import models
from ltjax.command import config
from ltjax.command.config import setting
from ltjax.core import keys, pruning, trees
from ltjax.core.types import Key, Pixels
from ltjax.data import Dataset, Parts
from ltjax.lottery import RESETS
from ltjax.models import Network
from ltjax.training import Recipe, Trainer, optimizers, population
from ltjax.training.recipe import MEASURES

SEED = "[0, 4294967295]"  # What a key keeps of it without 64 bits.


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


def check_classes(text: str) -> None:
    """Refuses what is neither empty, for all, nor a list of classes."""
    if text:
        _ = data_.parse_classes(text)


def check_rewind(text: str) -> None:
    """Refuses what is neither `end` nor a duration."""
    if text != "end":
        config.duration(text)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FindTicket(config.Settings):
    """A search for winning tickets."""

    data: str = setting(
        "digits", f"One of {', '.join(data_.DATASETS)}, or another TFDS image classification."
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
        choices=data_.NORMALIZATIONS,
    )
    augment: str = setting(
        "none",
        "Augmentation on the device: none, flip, crop, crop_flip.",
        choices=data_.AUGMENTATIONS,
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
    warmup: str = setting(
        "0", "Linear warm-up of the learning rate.", unit="it or ep", check=config.duration
    )
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
    length: str = setting("30ep", "Length of one training.", unit="it or ep", check=config.span)
    evaluate_every: str = setting("1ep", "Between evaluations.", unit="it or ep", check=config.span)
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
    data_dir: str = setting(
        "", "Prepared TFDS data; empty: TFDS's own place.", identity=False, check=config.path
    )
    out: str = setting("runs", "Directory of all runs.", identity=False, check=config.path)
    devices: int = setting(0, "Devices to spread over; 0: all (cores, on a CPU).", identity=False)
    layout: str = setting(
        "auto",
        "Members of one device by map or vmap; auto chooses.",
        identity=False,
        choices=("auto", *population.LAYOUTS),
    )
    save_seconds: float = setting(
        60.0, "Between saves inside a level.", unit="seconds", identity=False
    )
    dry_run: bool = setting(False, "Print the plan and stop; nothing is made.", identity=False)

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

T = TypeVar("T", bound=FindTicket)


def use_devices(devices: int) -> None:
    """Gives a CPU as many host devices, or as cores for 0; must come before any use of jax.

    Raises:
      ValueError: where there are not as many devices, or cores.
    """
    cores = len(os.sched_getaffinity(0))
    jax.config.update("jax_num_cpu_devices", min(devices or cores, cores))
    _ = chosen_devices(devices)


def chosen_devices(devices: int) -> list[Any]:
    """The devices to spread over.

    Raises:
      ValueError: where there are not as many.
    """
    available = jax.devices()
    if devices > len(available):
        raise ValueError(f"devices={devices}, but there are {len(available)}; give 0 for all")
    return available[: devices or None]


def dataset(
    settings: FindTicket, *, shape: tuple[int, int, int] | None = None, named: str = "data"
) -> Dataset:
    """The data set with its classes, half, shape (as it comes by default) and normalization.

    Raises:
      ValueError: where there is none such; it speaks of the flag `named` (`data` or `target`).
    """
    try:
        loaded = data_.load(settings.data, data_dir=settings.data_dir or None)
    except ValueError as error:
        raise ValueError(f"{named}: {error}") from error
    prefix = "" if named == "data" else f"{named}_"
    if settings.classes:
        loaded = data_.take_classes(loaded, data_.parse_classes(settings.classes))
        if loaded.classes < 2:
            raise ValueError(
                f"{prefix}classes={settings.classes} is one class, and there is nothing to "
                "tell it from; give two or more"
            )
    if settings.half:
        loaded = data_.halve(loaded, settings.half, seed=0)
    if shape is not None:
        loaded = data_.adapt(loaded, shape)
    return data_.normalize(loaded, settings.normalize)


def network(
    settings: FindTicket, source: Dataset | Parts, *, head_hidden: tuple[int, ...] = ()
) -> Network:
    """The network for images and classes of `source`, or for windows of the images."""
    side = settings.window
    made = models.make(
        settings.model,
        input_shape=(side, side, source.shape[-1]) if side else source.shape,
        classes=source.classes,
        init=settings.init,
        padding=settings.padding,
        head_hidden=head_hidden,
    )
    return models.central(made, source.shape) if side else made


def validation(settings: FindTicket, source: Dataset | Parts) -> int:
    """Number of examples held out of the training split.

    Raises:
      ValueError: where it leaves nothing to train on.
    """
    found, examples = validation_share(settings.validation), source.examples
    if "%" in settings.validation:
        found = round(found * examples)
    if found >= examples:
        raise ValueError(
            f"validation={settings.validation} leaves nothing of the {examples:,} training "
            f"examples of {source.name}; lower it"
        )
    return int(found)


def recipe(
    settings: FindTicket,
    net: Network,
    source: Dataset | Parts,
    *,
    frozen: frozenset[str] = frozenset(),
    frozen_statistics: bool = False,
) -> Recipe:
    """How each network is trained on `source`."""
    examples = source.examples - validation(settings, source)
    batch = settings.batch_size
    if not 1 <= batch <= examples:
        raise ValueError(
            f"batch_size {batch} must lie in 1..{examples}, the training examples of "
            f"{source.name} beside validation={settings.validation}; lower it"
        )

    def steps(name: str, text: str) -> int:
        try:
            return config.steps(text, examples=examples, batch=batch)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error

    length, warmup = steps("length", settings.length), steps("warmup", settings.warmup)
    if warmup > length:
        raise ValueError(
            f"warmup={settings.warmup} is {warmup:,} steps and the length {length:,}, so that the "
            "learning rate is never reached; lower it"
        )
    milestones = [steps("milestones", m) for m in settings.milestones]
    chain = [0, *milestones, length]
    if milestones and any(not a < b for a, b in itertools.pairwise(chain)):
        raise ValueError(
            f"milestones rise, above 0 and below the length of {length:,} steps; got "
            f"{','.join(settings.milestones)}, steps {', '.join(map(str, milestones))}"
        )
    return Recipe(
        optimizer=optimizers.make(
            settings.optimizer,
            momentum=settings.momentum,
            nesterov=settings.nesterov,
            weight_decay=settings.weight_decay,
            decay=settings.decay,
        ),
        schedule=optimizers.schedule(
            settings.schedule,
            settings.learning_rate,
            steps=length,
            milestones=milestones,
            warmup=warmup,
        ),
        batch_size=batch,
        steps=length,
        every=min(length, max(1, steps("evaluate_every", settings.evaluate_every))),
        patience=settings.patience,
        measure=settings.measure,
        keep=settings.keep,
        augment=_augment(settings),
        frozen=frozen,
        frozen_statistics=frozen_statistics,
        block=100 if has_convolutions(net) else 500,
    )


def _augment(settings: FindTicket) -> data_.AugmentFn | None:
    """What happens to the images of a batch: a window is cut, then they are augmented."""
    augment = trees.lookup(data_.AUGMENTATIONS, settings.augment, "augmentation")
    if not settings.window:
        return None if settings.augment == "none" else augment
    size = (settings.window, settings.window)

    def cut(key: Key, images: Pixels) -> Pixels:
        cut_out = data_.window(keys.derive(key, "window"), images, size=size)
        return augment(keys.derive(key, "augment"), cut_out)

    return cut


def rewind(settings: FindTicket, examples: int) -> int | str:
    """The step to which rounds rewind, or `end`; `examples` are those that train."""
    if settings.rewind == "end":
        return "end"
    return config.steps(settings.rewind, examples=examples, batch=settings.batch_size)


def has_convolutions(net: Network) -> bool:
    """Whether a network has convolutions, which decides layout and blocks."""
    kinds = trees.kinds(net.shapes().params, head=net.head)
    return "conv" in kinds.values()


def trainer(settings: FindTicket, net: Network, how: Recipe) -> Trainer:
    """The compiled trainer, over the devices and in the layout of the settings."""
    layout = settings.layout
    if layout == "auto":
        layout = population.choose_layout(jax.default_backend(), convolutions=has_convolutions(net))
    return Trainer(net, how, devices=chosen_devices(settings.devices), layout=layout)


def plan(settings: FindTicket, net: Network) -> pruning.Plan:
    """What each level keeps."""
    return pruning.plan(
        net.shapes().params,
        rate=settings.rate,
        levels=settings.levels,
        rates=config.pairs(settings.rates),
        densities=config.floats(settings.densities),
        scope=settings.scope,
        head=net.head,
    )


def resets(settings: FindTicket) -> tuple[str, ...]:
    """What each round sets back."""
    return () if settings.reset == ("none",) else settings.reset


def override(settings: T, values: dict[str, str]) -> T:
    """Settings with some fields replaced, given as text.

    Raises:
      ValueError: an unknown field, or a value of another type.
    """
    fields = {f.name: f for f in dataclasses.fields(settings)}
    changed: dict[str, Any] = {}
    for name, text in values.items():
        default = trees.lookup(fields, name, "setting").default
        changed[name] = _parse(name, text, type(default))
    return dataclasses.replace(settings, **changed)


def _parse(name: str, text: str, kind: type) -> Any:
    if kind is tuple:
        return tuple(text.split("+")) if text else ()
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{name} is true or false; got {text!r}")
        return text.lower() == "true"
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"{name} is a number ({kind.__name__}); got {text!r}") from None
