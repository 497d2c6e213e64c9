"""What the papers printed: every number and every worded claim, as data with its source.

The numbers stand in `published.json`, collected from the papers with the sentence that each comes
from; nothing here is computed.
"""

from collections.abc import Iterable, Mapping
import dataclasses
import functools
from importlib import resources
import json
from typing import Any

from ltjax.core import trees


@dataclasses.dataclass(frozen=True, kw_only=True)
class Published:
    """One published number or worded claim.

    Attributes:
      id: as `004-0058`; the number before the hyphen is the paper.
      paper: short name of the paper, a key of `papers()`.
      table_or_figure: where it stands.
      setting: what it was measured with, by name.
      metric: what it measures.
      value: a number, a pair of numbers, or words.
      spread_or_p: what was printed beside it, or None.
      unit: unit of `value`.
      kind: `table`, `text_number`, `statement` (worded only) or `setting_stated`.
      quote: the sentence or the cell that it comes from.
      note: a check or a misprint found when it was collected; no part of the paper.
    """

    id: str
    paper: str
    table_or_figure: str
    setting: Mapping[str, Any]
    metric: str
    value: Any
    spread_or_p: Any
    unit: str | None
    kind: str
    quote: str
    note: str | None


@functools.cache
def _file() -> dict[str, Any]:
    file = resources.files("experiments.reproduce") / "published.json"
    return json.loads(file.read_text(encoding="utf-8"))


def papers() -> dict[str, str]:
    """Authors and titles by the short name of each paper."""
    return dict(_file()["papers"])


@functools.cache
def _entries() -> dict[str, Published]:
    return {e["id"]: Published(**e) for e in _file()["entries"]}


def entries(paper: str) -> list[Published]:
    """All entries of one paper, in its order.

    Raises:
      ValueError: where there is no such paper.
    """
    _ = trees.lookup(papers(), paper, "paper")
    return [e for e in _entries().values() if e.paper == paper]


def entry(name: str) -> Published:
    """One entry by its id.

    Raises:
      ValueError: where nothing of this id was published; near ids are named.
    """
    return trees.lookup(_entries(), name, "published entry")


def missing(names: Iterable[str]) -> list[str]:
    """Those of `names` that are no ids of entries."""
    return [n for n in names if n not in _entries()]
