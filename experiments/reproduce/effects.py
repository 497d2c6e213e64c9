"""What a setting acts on."""

from collections.abc import Collection, Sequence
from typing import Any

from experiments.reproduce.rows import Experiment, Paper
from ltjax import config


def without_effect(
    paper: Paper, settings: Any, rows: Sequence[Experiment], given: Collection[str]
) -> list[str]:
    """Fields that were given a value of their own and act on none of the chosen experiments."""
    return [
        name
        for name in config.as_dict(settings, identity_only=True)
        if name in given
        and getattr(settings, name) != getattr(paper.settings(), name)
        and not any(row.depends(name) for row in rows)
    ]
