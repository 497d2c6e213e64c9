"""What a setting acts on: found by changing it and looking at what there would be to train."""

from collections.abc import Collection, Sequence
import dataclasses
from typing import Any

from experiments.reproduce.rows import Experiment, Paper
from experiments.reproduce.works import Work
from ltjax.command import config


def acting(paper: Paper, settings: Any, **other: Any) -> frozenset[str]:
    """Ids of the experiments that other values of some fields would make others.

    They do where its works, the settings of their tasks, or what else acts on it (`also`) differ,
    and where the paper would not have it, or could not.

    Args:
      paper: the paper.
      settings: its settings.
      other: other values by name of the field.
    """
    mine = _made(paper, settings)
    try:
        theirs = _made(paper, dataclasses.replace(settings, **other))
    except ValueError:  # No such paper could be: the fields hang together.
        return frozenset(mine)
    return frozenset(row for row, made in mine.items() if theirs.get(row) != made)


def without_effect(
    paper: Paper, settings: Any, rows: Sequence[Experiment], given: Collection[str]
) -> list[str]:
    """Fields that were given a value of their own and act on none of the chosen experiments.

    A value is one's own where the default or some preset has another; fields that do not name a
    run (where it lies, how it is spread) are never listed.

    Args:
      paper: the paper.
      settings: its settings.
      rows: the chosen experiments.
      given: names of the fields that were given.
    """
    idle = []
    for name in config.as_dict(settings, identity_only=True):
        mine = getattr(settings, name)
        usual = [getattr(paper.settings(), name)]
        usual += [preset[name] for preset in paper.presets.values() if name in preset]
        usual = [value for value in usual if value != mine]
        if name in given and usual:
            acts = frozenset().union(*(acting(paper, settings, **{name: v}) for v in usual))
            idle += [] if acts & {row.id for row in rows} else [name]
    return idle


def _made(paper: Paper, settings: Any) -> dict[str, Any]:
    """All that acts on each experiment, by id."""
    lab = paper.lab(settings)
    return {
        row.id: (
            row.works,
            [lab.task(name).base for name in _tasks(row.works)],
            row.also,
        )
        for row in paper.experiments(settings)
    }


def _tasks(works: Sequence[Work]) -> list[str]:
    """Names of the tasks that works are trained on."""
    found = []
    for work in works:
        search = getattr(work, "search", work)
        found += [getattr(search, "task", None), getattr(work, "on", None)]
    return sorted({name for name in found if name is not None})
