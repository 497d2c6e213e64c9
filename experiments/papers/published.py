"""What a paper printed: every number and every worded claim, as data with its source.

The numbers of a paper lie beside it, in a JSON file of its name, collected with the sentence or the
cell that each comes from; nothing here is computed.
"""

from collections.abc import Iterable, Mapping
import dataclasses
import json
import pathlib
from typing import Any

from ltjax.core import trees


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One published number or worded claim.

    Attributes:
      id: as `004-0058`; the number before the hyphen is the paper.
      table_or_figure: where it stands.
      metric: what it measures.
      value: a number, a pair of numbers, or words.
      setting: what it was measured with, by name.
      spread_or_p: what was printed beside it, or None.
      unit: unit of `value`.
      kind: `table`, `text_number`, `statement` (worded only) or `setting_stated`.
      quote: the sentence or the cell that it comes from.
      note: a check or a misprint found when it was collected; no part of the paper.
    """

    id: str
    table_or_figure: str
    metric: str
    value: Any
    setting: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    spread_or_p: Any = None
    unit: str | None = None
    kind: str = "text_number"
    quote: str | None = None
    note: str | None = None


@dataclasses.dataclass(frozen=True)
class Published:
    """All that a paper printed.

    Attributes:
      id: short name of the paper, as 004.
      title: authors and title.
      entries: in the order of the paper.
    """

    id: str
    title: str
    entries: tuple[Entry, ...]

    def __getitem__(self, name: str) -> Entry:
        """One entry by its id.

        Raises:
          ValueError: where nothing of this id was published; near ids are named.
        """
        return trees.lookup({e.id: e for e in self.entries}, name, "published entry")

    def table(self, name: str) -> list[Entry]:
        """The entries of one table or figure."""
        return [e for e in self.entries if e.table_or_figure == name]

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that are no ids of entries."""
        known = {e.id for e in self.entries}
        return [n for n in names if n not in known]


def beside(module: str) -> Published:
    """The numbers in the JSON file beside a module of its name (`published.beside(__file__)`)."""
    found = json.loads(pathlib.Path(module).with_suffix(".json").read_text(encoding="utf-8"))
    return Published(found["id"], found["title"], tuple(Entry(**e) for e in found["entries"]))
