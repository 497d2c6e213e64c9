"""What a setting acts on: found by changing it and looking at what there would be to train."""

from collections.abc import Collection, Mapping, Sequence
import dataclasses
from typing import Any

from experiments.papers.paper import Figure, Paper
from ltjax.command import config


def acting(paper: Paper, settings: Any, **other: Any) -> frozenset[str]:
    """Ids of the figures that other values of some fields would make others.

    They do where the names of its pieces, or what else it depends on, differ, and where the paper
    would not have it, or could not.

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
    return frozenset(name for name, made in mine.items() if theirs.get(name) != made)


def without_effect(
    paper: Paper, settings: Any, figures: Sequence[Figure], given: Collection[str]
) -> list[str]:
    """Fields that were given a value of their own and act on none of the chosen figures.

    A value is one's own where the paper or some preset has another; fields that do not name a run
    (where it lies, how it is spread) are never listed.

    Args:
      paper: the paper.
      settings: its settings.
      figures: the chosen ones.
      given: names of the fields that were given.
    """
    chosen = {figure.id for figure in figures}
    return [name for name, acts in _by_field(paper, settings, given).items() if not acts & chosen]


def _by_field(paper: Paper, settings: Any, given: Collection[str]) -> Mapping[str, frozenset[str]]:
    """Ids of the figures that each field given a value of its own acts on."""
    found = {}
    presets = [paper.make(name) for name in paper.presets]
    for name in config.as_dict(settings, identity_only=True):
        mine = getattr(settings, name)
        defaults = {f.name: f.default for f in dataclasses.fields(settings)}
        usual = [value for value in (defaults[name], *(getattr(p, name) for p in presets))
                 if value != mine]  # fmt: skip
        if name in given and usual:
            acts = (acting(paper, settings, **{name: value}) for value in usual)
            found[name] = frozenset().union(*acts)
    return found


def check(paper: Paper, settings: Any, figures: Sequence[Figure], given: Collection[str]) -> None:
    """Refuses flags that act on none of the chosen figures.

    Raises:
      ValueError: naming them, and the figures that they act on.
    """
    by_field, ids = _by_field(paper, settings, given), {figure.id for figure in figures}
    idle = [name for name, acts in by_field.items() if not acts & ids]
    if not idle:
        return
    acts = frozenset().union(*(by_field[name] for name in idle))
    acted = [figure.id for figure in paper.figures(settings) if figure.id in acts]
    chosen = ", ".join(figure.id for figure in figures)
    raise ValueError(
        f"{', '.join(f'--{name}' for name in idle)} has no effect on {chosen}; drop it, or take "
        f"experiments that it acts on: {', '.join(acted) or 'none here'}"
    )


def _made(paper: Paper, settings: Any) -> Mapping[str, Any]:
    """All that acts on each figure, by id."""
    return {figure.id: (figure.pieces, figure.depends) for figure in paper.figures(settings)}
