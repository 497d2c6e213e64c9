"""What settings are built into: data, network, recipe, trainer and plan."""

from collections.abc import Collection
import itertools
import os
from typing import Any

import jax

from experiments.settings import FindTicket, validation_share
from ltjax import data, models
from ltjax.command import config
from ltjax.core import keys, pruning, trees
from ltjax.core.types import Key, Pixels
from ltjax.data import Dataset, Parts
from ltjax.models import Network
from ltjax.training import Recipe, Trainer, optimizers, population


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
        loaded = data.load(settings.data, data_dir=settings.data_dir or None)
    except ValueError as error:
        raise ValueError(f"{named}: {error}") from error
    prefix = "" if named == "data" else f"{named}_"
    if settings.classes:
        loaded = data.take_classes(loaded, data.parse_classes(settings.classes))
        if loaded.classes < 2:
            raise ValueError(
                f"{prefix}classes={settings.classes} is one class, and there is nothing to "
                "tell it from; give two or more"
            )
    if settings.half:
        loaded = data.halve(loaded, settings.half, seed=0)
    if shape is not None:
        loaded = data.adapt(loaded, shape)
    return data.normalize(loaded, settings.normalize)


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
    freeze: Collection[str] = (),
    freeze_statistics: bool = False,
) -> Recipe:
    """How each network is trained on `source`.

    Args:
      settings: the settings.
      net: what is trained.
      source: the data.
      freeze: kinds or patterns of parameters that stay as they are.
      freeze_statistics: use the running statistics unmoved.

    Raises:
      ValueError: settings that do not fit the data, the network or each other.
    """
    kinds = trees.kinds(net.shapes().params, head=net.head)
    frozen = frozenset(name for pattern in freeze for name in trees.select(pattern, kinds))
    if frozen == kinds.keys():
        raise ValueError(
            f"freeze={','.join(freeze)} leaves nothing to train; freeze fewer parameters"
        )
    if freeze_statistics and not jax.tree.leaves(net.shapes().stats):
        raise ValueError(f"freeze_statistics has no effect on {net.name}, which has none; drop it")
    examples, batch = source.examples - validation(settings, source), settings.batch_size
    if not batch <= examples:
        raise ValueError(
            f"batch_size {batch} must lie in 1..{examples}, the training examples of "
            f"{source.name} beside validation={settings.validation}; lower it"
        )
    length = _steps(settings, "length", source)
    warmup = _steps(settings, "warmup", source)
    if warmup > length:
        raise ValueError(
            f"warmup={settings.warmup} is {warmup:,} steps and the length {length:,}, so that the "
            "learning rate is never reached; lower it"
        )
    milestones = [_steps(settings, "milestones", source, text) for text in settings.milestones]
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
        every=min(length, max(1, _steps(settings, "evaluate_every", source))),
        patience=settings.patience,
        measure=settings.measure,
        keep=settings.keep,
        augment=_augment(settings),
        frozen=frozen,
        frozen_statistics=freeze_statistics,
        block=100 if has_convolutions(net) else 500,
    )


def rewind(settings: FindTicket, source: Dataset | Parts) -> int | str:
    """The step to which rounds rewind, or `end`."""
    return "end" if settings.rewind == "end" else _steps(settings, "rewind", source)


def _steps(settings: FindTicket, name: str, source: Dataset | Parts, text: str = "") -> int:
    """The steps of the duration that the setting `name` gives, or of `text`, one of its parts."""
    examples = source.examples - validation(settings, source)
    try:
        text = text or getattr(settings, name)
        return config.steps(text, examples=examples, batch=settings.batch_size)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _augment(settings: FindTicket) -> data.AugmentFn | None:
    """What happens to the images of a batch: a window is cut, then they are augmented."""
    augment = trees.lookup(data.AUGMENTATIONS, settings.augment, "augmentation")
    if not settings.window:
        return None if settings.augment == "none" else augment
    size = (settings.window, settings.window)

    def cut(key: Key, images: Pixels) -> Pixels:
        cut_out = data.window(keys.derive(key, "window"), images, size=size)
        return augment(keys.derive(key, "augment"), cut_out)

    return cut


def has_convolutions(net: Network) -> bool:
    """Whether a network has convolutions, which decides layout and blocks."""
    kinds = trees.kinds(net.shapes().params, head=net.head)
    return "conv" in kinds.values()


def trainer(
    settings: FindTicket,
    source: Dataset | Parts,
    *,
    net: Network | None = None,
    how: Recipe | None = None,
    freeze: Collection[str] = (),
    freeze_statistics: bool = False,
) -> Trainer:
    """A network and how it is trained on `source`, over the devices and in the layout asked for.

    Args:
      settings: the settings.
      source: the data.
      net: the network, where it is made already; otherwise `network` makes it.
      how: the recipe, where it is made already: networks of one `apply` that are trained by one
        recipe share what is compiled.
      freeze: see `recipe`.
      freeze_statistics: see `recipe`.
    """
    net = net or network(settings, source)
    how = how or recipe(settings, net, source, freeze=freeze, freeze_statistics=freeze_statistics)
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
