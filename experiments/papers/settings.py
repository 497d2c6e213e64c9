"""The settings that every paper has: those of a search, and which figures are wanted.

A paper's class adds the few fields that only the paper has; what it says of all others is its
preset `paper`, which holds where nothing else is given.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any

from experiments.settings import FindTicket
from ltjax.command import config
from ltjax.command.config import setting

_OWN = {f.name for f in dataclasses.fields(FindTicket)}

SHORTENS = frozenset(
    {"length", "evaluate_every", "replicates", "levels", "densities", "rewind", "seed"}
)
"""Settings that make the run of any paper shorter, or another draw of the same."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PaperSettings(FindTicket):
    """A search's settings, and which figures of the paper are wanted."""

    # A paper may multiply it, to keep apart what has seeds of its own.
    seed: int = config.override(FindTicket, "seed", 0, within="[0, 4000000]")
    experiments: tuple[str, ...] = setting(
        (), "Figures and tables, as 004-F7,004-F8; empty for all.", identity=False
    )
    list: bool = setting(
        False, "List the figures with an estimate of the time here, and stop.", identity=False
    )
    claims: bool = setting(
        False, "Print every claim with its rule and its chance, and stop.", identity=False
    )

    def find(self, **changes: Any) -> FindTicket:
        """The settings of a search, with some of them changed."""
        mine = {name: getattr(self, name) for name in _OWN}
        return FindTicket(**{**mine, **changes})


Presets = Mapping[str, Mapping[str, Any]]
