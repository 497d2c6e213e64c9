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
import functools
from typing import Any

import jax

from experiments import build, find_ticket, running
from experiments.running import Job
from experiments.settings import PRESETS as FIND_PRESETS
from experiments.settings import FindTicket, check_classes, check_width, overridden
from ltjax import data, lottery
from ltjax.command import config, launch
from ltjax.command.config import setting
from ltjax.lottery import Level, Ticket
from ltjax.lottery.arms import CONTROLS, STARTS, check_arms, check_fits, head_of
from ltjax.models import Network
from ltjax.storage import tickets
from ltjax.storage.run_directory import RunDirectory


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransferTicket(FindTicket):
    """A search, and the moving of what it finds."""

    classes: str = config.override(FindTicket, "classes", "0-4")
    rewind: str = config.override(FindTicket, "rewind", "2ep")
    target: str = setting("digits", "Data set to move to.")
    target_classes: str = setting(
        "5-9", "Classes of the target; empty for all.", check=check_classes
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
        choices=("auto", "fresh", "keep"),
    )
    head_hidden: tuple[str, ...] = setting(
        (), "Widths of hidden layers of a fresh head, as 100.", check=check_width
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


def source_settings(settings: TransferTicket) -> FindTicket:
    """The search that belongs to a transfer, without reading anything."""
    return config.from_dict(FindTicket, config.as_dict(settings), what="the transfer")


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
    found = config.from_dict(FindTicket, tickets.settings(settings.ticket), what=settings.ticket)
    own = {name: getattr(found, name) for name in config.as_dict(found, identity_only=True)}
    if "seed" in chosen:
        del own["seed"]
    against = [
        f"{name}={_text(getattr(settings, name))} (the ticket: {_text(value) or 'empty'})"
        for name, value in sorted(own.items())
        if name in chosen and getattr(settings, name) != value
    ]
    if against:
        raise ValueError(
            f"{', '.join(against)}: with --ticket the source is what it was; drop these flags, and "
            "give settings of the training on the target by --on_target=name=value"
        )
    return dataclasses.replace(settings, **own)


def _text(value: Any) -> str:
    return "+".join(value) if isinstance(value, tuple) else str(value)


def target_settings(settings: TransferTicket, source: FindTicket) -> FindTicket:
    """The settings of training on the target.

    Raises:
      ValueError: a setting that has no meaning on the target, or a value that is not its type.
    """
    if settings.target == source.data:
        theirs, ours = (
            frozenset(data.parse_classes(text)) if text else None
            for text in (source.classes, settings.target_classes)
        )
        if ours != theirs:
            if ours is None or theirs is None:
                raise ValueError(
                    "classes and target_classes overlap: one is empty, which means all classes; "
                    "give both"
                )
            data.check_disjoint(theirs, ours)
    moved = dataclasses.replace(
        source,
        data=settings.target,
        classes=settings.target_classes,
        half=settings.target_half,
        # Published statistics belong to the source's data.
        normalize=source.normalize if source.normalize in ("own", "unit") else "own",
    )
    return overridden(moved, settings.on_target, named="on_target", known=_ON_TARGET)


def open_run(settings: TransferTicket) -> RunDirectory:
    """The directory of the transfer with these settings; touches no disk."""
    name = f"transfer-{settings.data}-{settings.target}-{settings.model}"
    return running.open_run(settings, prefix=name)


def job(settings: TransferTicket) -> tuple[Job, str]:
    """The transfer, ready to begin with its search, and the plan of both.

    Raises:
      ValueError: settings that do not fit each other; nothing is computed or written then.
    """
    source = source_settings(settings)
    target = target_settings(settings, source)
    source_data = build.dataset(source)
    source_net = build.network(source, source_data)
    moved = build.dataset(target, shape=source_data.shape, named="target")
    widths = tuple(int(width) for width in settings.head_hidden)
    net = build.network(target, moved, head_hidden=widths)
    trainer = build.trainer(
        target,
        moved,
        net=net,
        freeze=settings.freeze,
        freeze_statistics=settings.freeze_statistics,
    )
    held_out = build.validation(target, moved)
    arms = tuple(dict.fromkeys((*settings.starts, *settings.controls)))
    check_arms(arms, settings.control_start)
    lottery.check(trainer, moved, validation=held_out)
    _check_head(settings, source_net, net)
    if settings.ticket:
        levels = functools.cache(functools.partial(_read, settings.ticket))
        count, plan = len(levels()), ""
    else:
        levels = functools.cache(functools.partial(find_ticket.search, source))
        searched, plan = find_ticket.job(source, source_data)
        count, plan = searched.levels, plan + "\n"
    one = settings.ticket and not tickets.is_run(settings.ticket)
    notes = [f"source {source_data.name}: {note}" for note in source_data.notes]
    notes += [f"target {moved.name}: {note}" for note in moved.notes]
    if net.shapes().params != source_net.shapes().params:
        notes.append("the head was drawn afresh on the target, unpruned; counts leave it out")
    made = Job(
        settings=settings,
        run=open_run(settings),
        does=f"transfer to {moved.name}",
        title=f"Tickets of {net.name}, from {_name(source)} to {_name(target)}",
        notes=notes,
        dataset=moved,
        trainer=trainer,
        members=len(arms) * (1 if one else source.replicates),
        levels=count,
        work=lambda keeper: lottery.transfer(
            levels(),
            trainer,
            moved,
            key=jax.random.key(source.seed),  # Of the search too: purposes differ by name.
            arms=arms,
            base=settings.control_start,
            new_head=settings.head == "fresh" or bool(widths),
            validation=held_out,
            keep=keeper,
        ),
        source=lambda: [record for level in levels() for record in level.records],
    )
    return made, f"{plan}transfer, {', '.join(arms)}:\n{made.plan()}"


def _check_head(settings: TransferTicket, source: Network, target: Network) -> None:
    """Refuses what the target's network cannot take over."""
    ours, theirs = source.shapes(), target.shapes()
    mask = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, bool), ours.params)
    ticket = Ticket(mask=mask, theta_0=ours, theta_k=ours, theta_S=ours, prunable=(), meta={})
    head = head_of(ticket, theirs, head=target.head)
    if settings.head == "keep" and head:
        raise ValueError(
            f"head=keep, but the head has {source.classes} outputs on the source and "
            f"{target.classes} on the target; take auto or fresh"
        )
    check_fits(ticket, theirs, new_head=head)


def _read(ticket: str) -> list[Level]:
    """The levels of a finished search, or one saved ticket with its dense network."""
    if tickets.is_run(ticket):
        return tickets.levels(ticket)
    level = Level.of(tickets.load(ticket))
    return [level.dense, level]


def _name(settings: FindTicket) -> str:
    classes = f" {settings.classes}" if settings.classes else ""
    half = f" half {settings.half}" if settings.half else ""
    return f"{settings.data}{classes}{half}"


def main(settings: TransferTicket, chosen: Collection[str] = ()) -> int:
    """Runs, and returns the exit code; `chosen` are the fields that flags or a preset set."""
    build.use_devices(settings.devices)
    settings = resolve(settings, chosen)
    if settings.dry_run:
        print(job(settings)[1])
        return 0
    if not running.is_whole(run := open_run(settings)):
        _ = job(settings)[0].carry_out()
    return running.answer(run)


if __name__ == "__main__":
    _SETTINGS = config.define_flags(TransferTicket, presets=PRESETS)
    launch.run(lambda: main(_SETTINGS(), _SETTINGS.chosen))
