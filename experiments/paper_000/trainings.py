"""What the tables and figures of paper 000 need trained; equal rows are trained once."""

from collections.abc import Sequence
import dataclasses
import functools

from experiments import build
from experiments.paper_000.settings import ClassHalves
from experiments.paper_000.splits import (
    FIRST,
    REDRAWN,
    SECOND,
    TABLES,
    TICKET,
    all_halves,
    splits,
    task_name,
)
from experiments.reproduce.lab import Lab, Task
from experiments.reproduce.retrainings import Retrain
from experiments.reproduce.searches import Search
from experiments.settings import FindTicket
from ltjax.data import Dataset, Parts

_SEEDS = 1000  # From seed to seed, so that the dense networks of one are not those of another.
_RATE = 0.2  # Of an iterative search; its levels are given as densities, alike in all layers.


def base_settings(settings: ClassHalves) -> FindTicket:
    """What all trainings share, as the settings of a search."""
    return settings.as_search(
        data=settings.data,
        normalize=settings.normalize,
        padding=settings.padding,
        optimizer="sgd",
        learning_rate=settings.learning_rate,
        batch_size=settings.batch_size,
        length=settings.length,
        evaluate_every=settings.evaluate_every,
        validation=settings.validation,
        rewind=settings.rewind,
        window=settings.size if settings.random_crop else 0,
    )


def make_lab(settings: ClassHalves) -> Lab:
    """The lab of the paper: both halves of each set of splits, all with one compiled trainer."""
    base = base_settings(settings)

    @functools.cache
    def whole() -> Dataset:
        channels = build.dataset(base).shape[-1]
        cut = settings.size and not settings.random_crop
        shape = (settings.size, settings.size, channels) if cut else None
        return build.dataset(base, shape=shape)

    @functools.cache
    def halves() -> dict[tuple[str, str], Parts]:
        return all_halves(whole(), splits(settings, whole().label_map))

    def load(table: str, count: int, which: str) -> Parts:
        return halves()[table, which].take(range(count))

    made: dict[str, Task] = {}
    like = None
    for table in TABLES:
        for count in {settings.splits, settings.extra_splits}:
            for which in (FIRST, SECOND):
                name = task_name(settings, table, count, which)
                made[name] = like = Task(
                    base, load=functools.partial(load, table, count, which), like=like
                )
    return Lab(made)


@dataclasses.dataclass(frozen=True)
class Trainings:
    """The searches on one half and what is trained on the other, by what the paper calls them."""

    settings: ClassHalves

    def source(
        self, table: str, *, count: int = 0, half: str = FIRST, biases: bool = False,
        densities: Sequence[float] = (),
    ) -> Search:  # fmt: skip
        """Dense networks of one half of each split, that tickets are cut from.

        Args:
          table: whose splits.
          count: of splits; all for 0.
          half: that they are trained on.
          biases: biases are to be pruned too.
          densities: of an iterative search from there.
        """
        s = self.settings
        return Search(
            task=task_name(s, table, count or s.splits, half),
            model=s.model,
            init=s.init,
            rate=_RATE,
            output_rate=_RATE,
            levels=len(densities),
            densities=tuple(densities),
            biases=biases or s.prune_biases,
            seed=_SEEDS * s.seed,
            replicates=count or s.splits,
        )

    def moved(self, search: Search, arm: str = "theta_0") -> Retrain:
        """One-shot tickets (the levels of an iterative search) trained on the other half."""
        half = SECOND if search.task.endswith(FIRST) else FIRST
        on = f"{search.task.rpartition('_')[0]}_{half}"
        densities = () if search.levels else self.settings.one_shot
        return Retrain(search=search, arm=arm, densities=densities, on=on)

    def dense(self, table: str, number: int, *, count: int = 0, half: str = SECOND) -> Search:
        """Dense networks beside the tickets of density `number`: own runs, or one for all."""
        search = self.source(table, count=count, half=half)
        own = 1 + (0 if self.settings.share_dense else number)
        return dataclasses.replace(search, seed=search.seed + own)

    @property
    def ticket(self) -> Retrain:
        """The tickets of Table II."""
        return self.moved(self.source(TICKET))

    @property
    def redrawn(self) -> Retrain:
        """The redrawn networks of Table III."""
        return self.moved(self.source(REDRAWN), "redrawn")

    def arm(self, name: str) -> Retrain:
        """A start point or control on the splits of Table II: all of them, or the extra ones."""
        full = name in ("theta_0", "redrawn")
        count = self.settings.splits if full else self.settings.extra_splits
        return self.moved(self.source(TICKET, count=count), name)

    @property
    def back(self) -> Retrain:
        """Tickets of the second halves, moved to the first."""
        return self.moved(self.source(TICKET, count=self.settings.extra_splits, half=SECOND))

    @property
    def iterative(self) -> Retrain:
        """Tickets found iteratively at the same densities."""
        s = self.settings
        return self.moved(self.source(TICKET, count=s.extra_splits, densities=s.one_shot))

    @property
    def with_biases(self) -> Retrain:
        """Tickets whose biases are pruned too."""
        return self.moved(self.source(TICKET, count=self.settings.extra_splits, biases=True))
