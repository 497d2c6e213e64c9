"""A paper as a table of figures: what each needs trained, how it is drawn, what it claims."""

from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
import functools
import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

from experiments import papers
from experiments.papers.claims import Claim
from experiments.papers.pieces import Trainings
from experiments.papers.published import Published
from experiments.papers.results import Results
from experiments.papers.settings import SHORTENS, PaperSettings
from experiments.papers.statistics import Expression, merged
from ltjax.command import config
from ltjax.report.document import Fold, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawing(Expression):
    """A picture: `words` is its caption.

    Attributes:
      draw: results -> the picture; None where nothing of it is trained.
    """

    draw: Callable[[Results], "Picture | None"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tables(Expression):
    """Tables beside the verdicts.

    Attributes:
      make: results -> the tables.
    """

    make: Callable[[Results], Sequence[Fold]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure or table of a paper.

    Attributes:
      id: as `004-F7`.
      shows: one sentence.
      needs: the trainings; shared with other figures where they are equal.
      depends: values of the settings that act on it beside its trainings.
      drawings: its pictures.
      claims: what the paper says about it.
      tables: beyond the published numbers.
    """

    id: str
    shows: str
    needs: tuple[Trainings, ...]
    depends: tuple
    drawings: tuple[Drawing, ...]
    claims: tuple[Claim, ...]
    tables: tuple[Tables, ...]

    @property
    def pieces(self) -> list[str]:
        """Names of the pieces of its own trainings."""
        return list(dict.fromkeys(name for each in self.needs for name in each.names()))


def folded(
    *, title: str, heads: Sequence[str], body: Sequence[Sequence[str]], note: str = "",
    shown: bool = False,
) -> Fold:  # fmt: skip
    """A table under its title, open at first where it is `shown`."""
    return Fold(title, [Table(heads, body, note=note)], shown=shown)


Part = Claim | Drawing | Tables


def figure(id: str, shows: str, *parts: Part | Iterable[Part]) -> Figure:
    """A figure of its parts; what it needs and depends on follows from them.

    Args:
      id: as `004-F7`.
      shows: one sentence.
      *parts: drawings, tables and claims (or several claims together), in any order.
    """
    flat: list[Claim | Drawing | Tables] = []
    for part in parts:
        flat += [part] if isinstance(part, Claim | Drawing | Tables) else list(part)
    claims = tuple(p for p in flat if isinstance(p, Claim))
    drawings = tuple(p for p in flat if isinstance(p, Drawing))
    tables = tuple(p for p in flat if isinstance(p, Tables))
    asked = [s for claim in claims for s in claim.expressions]
    needs, depends = merged((*drawings, *tables, *asked))
    return Figure(
        id=id, shows=shows, needs=needs, depends=depends, drawings=drawings, claims=claims,
        tables=tables,
    )  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Paper:
    """A paper to reproduce.

    Attributes:
      published: what it printed, with its id and title.
      settings: class of the settings.
      presets: field values by name; `paper` is the published setting, and holds where nothing else
        is given.
      figures: settings -> the table of its figures.
      version: meaning of the settings; raise it where the same settings give other results.
      shortens: fields of its own whose change only shortens a run; a change of any other field
        that names the run makes it another experiment, not comparable with the paper.
      facts: (settings, shop) -> what the record of a run says beside its settings.
    """

    published: Published
    settings: type[PaperSettings]
    presets: Mapping[str, Mapping[str, Any]]
    figures: Callable[[Any], Sequence[Figure]]
    version: int = 1
    shortens: frozenset[str] = frozenset()
    facts: Callable[..., Mapping[str, Any]] = lambda settings, shop: {}

    @property
    def id(self) -> str:
        """Its short name."""
        return self.published.id

    @property
    def title(self) -> str:
        """Authors and title."""
        return self.published.title

    def make(self, preset: str = "paper", **changes: Any) -> Any:
        """Its settings by a preset, with some fields changed."""
        return config.preset(self.settings, self.presets, preset, default="paper", **changes)

    @functools.cached_property
    def shortening(self) -> frozenset[str]:
        """All fields that only shorten a run."""
        return SHORTENS | self.shortens

    def only_shortens(self, name: str, value: Any) -> bool:
        """Whether a field with this value shortens a run and changes nothing else.

        A list of overrides does where all that it overrides does.
        """
        fields = [part.partition("=") for part in value] if isinstance(value, tuple) else []
        overrides = bool(fields) and all(equal and f in self.shortening for f, equal, _ in fields)
        return name in self.shortening or overrides

    def check(self, settings: Any) -> tuple[Figure, ...]:
        """The figures, refused where their claims name entries that were never published.

        Raises:
          ValueError: with the missing ids.
        """
        made = tuple(self.figures(settings))
        for each in made:
            if lost := self.published.missing(claim.id for claim in each.claims):
                raise ValueError(
                    f"{each.id} is held against {', '.join(lost)}, which the numbers of paper "
                    f"{self.id} lack; correct the figure or add the entry"
                )
        return made


def table() -> dict[str, Paper]:
    """All papers by id: every module beside this one that has a `PAPER`."""
    found = {}
    for module in pkgutil.iter_modules(papers.__path__):
        if module.name != "__main__":
            made = importlib.import_module(f"experiments.papers.{module.name}")
            if isinstance(paper := getattr(made, "PAPER", None), Paper):
                found[paper.id] = paper
    return dict(sorted(found.items()))
