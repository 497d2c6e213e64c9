r"""Moves winning tickets to other data, beside their controls and the dense network.

    python -m experiments.transfer_ticket
    python -m experiments.transfer_ticket --data=mnist --classes= --target=fashion_mnist \
        --target_classes= --data_dir=DIR
    python -m experiments.transfer_ticket --ticket=runs/find-... --target=fashion_mnist

Finds tickets on the source (or takes a finished search by its directory, or one saved ticket by
its path) and trains them on the target from each start point: theta_0 (initial), theta_k (after
k steps, `--rewind`) and theta_S (trained on the source). Controls, each breaking one thing:
`redrawn` (fresh values, same mask), `shuffled_pairs` ((mask, value) pairs permuted inside each
layer), `shuffled_mask` (mask permuted inside each layer, values in place) and
`shuffled_globally` (mask permuted over all layers, fresh values).

A ticket wins at a density where its mean accuracy is at least that of the dense network from the
same start point and its best evaluation comes, in the mean, no later. Prints the table and writes
the report. By default: the embedded digits, classes 0-4 to classes 5-9, under two minutes on two
cores.
"""

from collections.abc import Collection
import dataclasses
from typing import Any

import jax

from experiments import memory, running, search
from experiments import settings as settings_
from experiments.settings import PRESETS as FIND_PRESETS
from experiments.settings import FindTicket
from ltjax import data as data_
from ltjax import lottery
from ltjax.command import config
from ltjax.command.config import setting
from ltjax.core import trees
from ltjax.data import Dataset
from ltjax.lottery import Found
from ltjax.lottery import arms as arms_
from ltjax.lottery.arms import CONTROLS, STARTS
from ltjax.lottery.ticket import Ticket
from ltjax.models import Network
from ltjax.storage import tickets as storage
from ltjax.storage.run_directory import RunDirectory
from ltjax.training.step import Recipe

HEADS = ("auto", "fresh", "keep")


def _width(text: str) -> None:
    if config.whole(text) < 1:
        raise ValueError(f"widths of layers are at least 1, as 100; got {text!r}")
    settings_.model_size(text)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransferTicket(FindTicket):
    """A search, and the moving of what it finds."""

    classes: str = setting(
        "0-4",
        "Classes of the source, as 0-4 or 0,2,7; empty for all.",
        check=settings_.check_classes,
    )
    rewind: str = setting(
        "2ep",
        "Rewind to: 0, a duration as 500it or 1ep, or end.",
        check=settings_.check_rewind,
    )
    target: str = setting("digits", "Data set to move to.")
    target_classes: str = setting(
        "5-9", "Classes of the target; empty for all.", check=settings_.check_classes
    )
    target_half: str = setting(
        "", "a or b: one of two stratified halves of the target.", choices=("a", "b")
    )
    on_target: tuple[str, ...] = setting(
        (),
        "Settings that differ on the target, as length=20ep,learning_rate=0.01 (those of data, "
        "training and evaluation; + for , in lists).",
    )
    starts: tuple[str, ...] = setting(
        STARTS, "Start points: theta_0, theta_k, theta_S.", choices=STARTS
    )
    controls: tuple[str, ...] = setting(
        ("redrawn", "shuffled_pairs", "shuffled_mask", "shuffled_globally"),
        f"Controls, of {', '.join(CONTROLS)}; empty for none.",
        choices=CONTROLS,
    )
    control_start: str = setting(
        "theta_0",
        "Start point whose values the controls keep.",
        choices=STARTS,
        acts=(lambda s: s.controls, "without controls"),
    )
    head: str = setting(
        "auto",
        "Output layer on the target: fresh, keep, or auto (fresh where classes differ).",
        choices=HEADS,
    )
    head_hidden: tuple[str, ...] = setting(
        (), "Widths of hidden layers of a fresh head, as 100.", check=_width
    )
    freeze: tuple[str, ...] = setting(
        (), "Kinds or patterns of parameters that stay as they are on the target, as conv,norm."
    )
    freeze_statistics: bool = setting(False, "Use the running statistics of the source unmoved.")
    ticket: str = setting(
        "",
        "Directory of a finished search, or path of a saved ticket, instead of a search; its own "
        "settings are the source's, and flags may not contradict them.",
        check=config.path,
    )

    def __post_init__(self) -> None:
        """Refuses settings that contradict each other."""
        super().__post_init__()
        if not self.starts:
            raise ValueError(f"starts is empty; give some of {', '.join(STARTS)}")
        if self.head == "keep" and self.head_hidden:
            raise ValueError("head=keep, and head_hidden are layers of a fresh head; drop one")


PRESETS = {
    **{name: {**row, "classes": "", "target_classes": ""} for name, row in FIND_PRESETS.items()},
    "mnist-to-fashion": {
        **FIND_PRESETS["lenet-mnist"],
        "classes": "",
        "target": "fashion_mnist",
        "target_classes": "",
        "levels": 12,
    },
}
_ON_TARGET = (
    *("normalize", "augment", "optimizer", "learning_rate", "schedule", "milestones", "warmup"),
    *("momentum", "nesterov", "weight_decay", "decay", "batch_size", "length", "evaluate_every"),
    *("validation", "patience", "measure", "init"),
)


_OF_SOURCE = frozenset(
    field.name for field in dataclasses.fields(FindTicket) if field.metadata["identity"]
) - {"seed"}


def source_settings(settings: TransferTicket) -> FindTicket:
    """The search that belongs to a transfer, without reading anything."""
    names = [field.name for field in dataclasses.fields(FindTicket)]
    return FindTicket(**{name: getattr(settings, name) for name in names})


def resolve(settings: TransferTicket, chosen: Collection[str] = ()) -> TransferTicket:
    """The settings with those that its ticket was found with; the same where it names none.

    The seed is the transfer's own where it is chosen: another draw of its orders and controls.

    Args:
      settings: as given.
      chosen: fields that were set by flags or a preset.

    Raises:
      ValueError: where there is no such ticket, or a chosen field says something else than it.
    """
    if not settings.ticket:
        return settings
    found = config.from_dict(FindTicket, storage.settings(settings.ticket), what=settings.ticket)
    own = {name: getattr(found, name) for name in _OF_SOURCE}
    against = [
        f"{name}={_text(getattr(settings, name))} (the ticket: {_text(own[name]) or 'empty'})"
        for name in sorted(_OF_SOURCE & set(chosen))
        if getattr(settings, name) != own[name]
    ]
    if against:
        raise ValueError(
            f"{', '.join(against)}: with --ticket the source is what it was; drop these flags, and "
            "give settings of the training on the target by --on_target=name=value"
        )
    if "seed" not in chosen:
        own["seed"] = found.seed
    return dataclasses.replace(settings, **own)


def _text(value: Any) -> str:
    return "+".join(value) if isinstance(value, tuple) else str(value)


def target_settings(settings: TransferTicket, source: FindTicket) -> FindTicket:
    """The settings of training on the target.

    Raises:
      ValueError: a setting that has no meaning on the target, or a value that is not its type.
    """
    changes = {}
    for part in settings.on_target:
        name, equals, text = part.partition("=")
        if name not in _ON_TARGET or not equals:
            raise ValueError(
                f"on_target takes name=value; {trees.unknown(name, _ON_TARGET, 'setting')}"
            )
        if name in changes:
            raise ValueError(f"on_target gives {name} twice; give it once")
        changes[name] = text
    same_data = settings.target == source.data
    if same_data and not _same_classes(settings.target_classes, source.classes):
        data_.check_disjoint(
            *(_classes(text) for text in (source.classes, settings.target_classes))
        )
    moved = dataclasses.replace(
        source,
        data=settings.target,
        classes=settings.target_classes,
        half=settings.target_half,
        # Published statistics belong to the source's data.
        normalize=source.normalize if source.normalize in ("own", "unit") else "own",
    )
    try:
        return settings_.override(moved, changes)
    except ValueError as error:
        raise ValueError(f"on_target: {error}") from error


def _same_classes(*texts: str) -> bool:
    """Whether lists of classes, empty for all, are the same classes."""
    return len({frozenset(data_.parse_classes(text)) if text else None for text in texts}) == 1


def _classes(text: str) -> tuple[int, ...]:
    if not text:
        raise ValueError(
            "classes and target_classes overlap: one is empty, which means all classes; give both"
        )
    return data_.parse_classes(text)


def target_network(settings: TransferTicket, target: FindTicket, moved: Dataset) -> Network:
    """The network on the target."""
    widths = tuple(int(width) for width in settings.head_hidden)
    return settings_.network(target, moved, head_hidden=widths)


def target_recipe(
    settings: TransferTicket, target: FindTicket, net: Network, moved: Dataset
) -> Recipe:
    """How tickets are trained on the target."""
    kinds = trees.kinds(net.shapes().params, head=net.head)
    frozen = {name for pattern in settings.freeze for name in trees.select(pattern, kinds)}
    if frozen == kinds.keys():
        raise ValueError(
            f"freeze={','.join(settings.freeze)} leaves nothing to train; freeze fewer parameters"
        )
    if settings.freeze_statistics and not jax.tree.leaves(net.shapes().stats):
        raise ValueError(f"freeze_statistics has no effect on {net.name}, which has none; drop it")
    return settings_.recipe(
        target,
        net,
        moved,
        frozen=frozenset(frozen),
        frozen_statistics=settings.freeze_statistics,
        rewinds=False,
    )


def open_run(settings: TransferTicket) -> RunDirectory:
    """The directory of the transfer with these settings; touches no disk."""
    name = f"transfer-{settings.data}-{settings.target}-{settings.model}"
    return running.run_dir(settings, prefix=name)


def main(settings: TransferTicket, chosen: Collection[str] = ()) -> int:
    """Runs, and returns the exit code; `chosen` are the fields that flags or a preset set."""
    settings_.use_devices(settings.devices)
    settings = resolve(settings, chosen)
    run = open_run(settings)
    if not settings.dry_run and running.is_whole(run):
        return running.answer(run)
    return transfer(settings, run)


def transfer(settings: TransferTicket, run: RunDirectory) -> int:
    """Searches where needed, trains on the target, reports; returns the exit code.

    Raises:
      ValueError: settings that do not fit each other; nothing is computed or written then.
    """
    source = source_settings(settings)
    source_data = settings_.dataset(source)
    source_net = settings_.network(source, source_data)
    target = target_settings(settings, source)
    moved = settings_.dataset(target, shape=source_data.shape, named="target")
    net = target_network(settings, target, moved)
    how = target_recipe(settings, target, net, moved)
    held_out = settings_.validation(target, moved)
    arms = tuple(dict.fromkeys((*settings.starts, *settings.controls)))
    arms_.check_base(arms, settings.control_start)
    members = len(arms) * (
        1 if settings.ticket and not storage.is_run(settings.ticket) else source.replicates
    )
    memory.check(
        memory.of_training(net, moved, how, members=members),
        f"{members} networks {net.name} side by side",
    )
    lottery.check(net, moved, how, validation=held_out)
    _check_head(settings, source_net, net)
    if settings.dry_run:
        return _print_plan(settings, source, net, moved, how, arms, members)
    levels = _levels(settings, source)
    progress, keeper = running.keeper(
        run, settings, label=f"transfer to {moved.name}", steps=how.steps, pieces=len(levels)
    )
    trainings = lottery.transfer(
        levels,
        net,
        moved,
        how,
        key=jax.random.key(source.seed),  # Of the search too: purposes differ by name.
        arms=arms,
        base=settings.control_start,
        new_head=settings.head == "fresh" or bool(settings.head_hidden),
        validation=held_out,
        trainer=settings_.trainer(target, net, how),
        keep=keeper,
    )
    with run.create(), progress:
        for _ in trainings:
            pass
        run.finish_piece("source", [r for level in levels for r in level.records])
        running.finish(
            run,
            ["source", *keeper.pieces],
            config.as_dict(settings),
            title=f"Tickets of {net.name}, from {_name(source)} to {_name(target)}",
            notes=_notes(source_data, moved, net, source_net),
        )
    return running.answer(run)


def _check_head(settings: TransferTicket, source: Network, target: Network) -> None:
    """Refuses what the target's network cannot take over."""
    ours, theirs = source.shapes(), target.shapes()
    mask = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, bool), ours.params)
    ticket = Ticket(mask=mask, theta_0=ours, theta_k=ours, theta_S=ours, prunable=(), meta={})
    head = arms_.new_head(ticket, theirs, head=target.head)
    if settings.head == "keep" and head:
        raise ValueError(
            f"head=keep, but the head has {source.classes} outputs on the source and "
            f"{target.classes} on the target; take auto or fresh"
        )
    arms_.check_fits(ticket, theirs, new_head=head)


def _levels(settings: TransferTicket, source: FindTicket) -> list[Found]:
    """The tickets to move: searched, read from a search, or one saved ticket with its dense."""
    if not settings.ticket:
        return search.run(source)
    if storage.is_run(settings.ticket):
        return storage.levels(settings.ticket)
    ticket = lottery.found(storage.load(settings.ticket))
    return [lottery.dense_of(ticket), ticket]


def _print_plan(
    settings: TransferTicket,
    source: FindTicket,
    net: Network,
    moved: Dataset,
    how: Recipe,
    arms: tuple[str, ...],
    members: int,
) -> int:
    levels = len(_levels(settings, source)) if settings.ticket else search.print_plan(source)
    print(f"transfer, {', '.join(arms)}:")
    print(running.describe_training(net, moved, how, members=members, trainings=members * levels))
    return 0


def _name(settings: FindTicket) -> str:
    classes = f" {settings.classes}" if settings.classes else ""
    half = f" half {settings.half}" if settings.half else ""
    return f"{settings.data}{classes}{half}"


def _notes(source: Dataset, moved: Dataset, net: Network, source_net: Network) -> list[str]:
    notes = [f"source {source.name}: {note}" for note in source.notes]
    notes += [f"target {moved.name}: {note}" for note in moved.notes]
    if net.shapes().params != source_net.shapes().params:
        notes.append("the head was drawn afresh on the target, unpruned; counts leave it out")
    return notes


if __name__ == "__main__":
    _SETTINGS = config.define_flags(TransferTicket, presets=PRESETS)
    config.run(lambda: main(_SETTINGS(), _SETTINGS.chosen))
