"""What the figures of paper 004 need trained; equal rows are trained once."""

import dataclasses
from typing import Any

from experiments.paper_004.settings import FrankleCarbin
from experiments.paper_004.xor import UnitSearch
from experiments.reproduce.lab import Lab, Task, stop_when_converged
from experiments.reproduce.retrainings import Retrain
from experiments.reproduce.searches import Search, rounds_to
from experiments.settings import FindTicket
from ltjax.command import config

ONE_SHOT_UNITS = (10, 4, 2)
BY_TWO_UNITS = (10, 8, 6, 4, 2)
STRATEGIES = {
    "One-shot Product": ("product", True),
    "Input Magnitude": ("input", False),
    "Output Magnitude": ("output", False),
    "Product": ("product", False),
}
"""Rows of F2: score and whether in one shot."""


def base_settings(settings: FrankleCarbin) -> FindTicket:
    """What all MNIST trainings share, as the settings of a search."""
    return settings.as_search(
        data=settings.data,
        normalize=settings.normalize,
        optimizer="sgd",
        learning_rate=settings.learning_rate,
        batch_size=settings.batch_size,
        length=settings.length,
        evaluate_every=settings.evaluate_every,
        validation=settings.validation,
    )


def make_lab(settings: FrankleCarbin) -> Lab:
    """The lab of the paper; trainings may stop where their convergence is known."""
    task, stop = Task(base_settings(settings)), None
    if settings.stop_converged:
        every = config.steps(settings.evaluate_every, examples=1, batch=1)
        stop = stop_when_converged(
            settings.criterion, every=every, classes=10, held_out=lambda: task.validation > 0
        )
    return Lab({"": task}, stop=stop)


@dataclasses.dataclass(frozen=True)
class Trainings:
    """The searches and retrainings, by what the paper calls them."""

    settings: FrankleCarbin

    def search(self, *, sd: float | None = None, size: str = "300-100", **changes: Any) -> Search:
        """A search with the paper's settings; `changes` are fields of `Search`."""
        s = self.settings
        fields = {
            "levels": 0,
            "replicates": s.replicates,
            "seed": s.seed,
            "rate": s.rate,
            **changes,
        }
        return Search(
            model=f"lenet-{size}",
            init=f"truncated_normal:{s.init_sd if sd is None else sd:g}",
            output_rate=fields["rate"] / 2,
            **fields,
        )

    @property
    def iterative(self) -> Search:
        """The search of F7 and F8."""
        return self.search(levels=self.settings.levels)

    @property
    def one_shot(self) -> Retrain:
        """The tickets of F3."""
        return Retrain(search=self.search(), densities=self.settings.one_shot())

    @property
    def one_shot_controls(self) -> tuple[Retrain, Retrain]:
        """Controls 1 and 2 of the one-shot tickets."""
        return self._controls(self.one_shot)

    @property
    def iterative_controls(self) -> tuple[Retrain, Retrain]:
        """Controls 1 and 2 of each round's ticket (reading 4.11)."""
        return self._controls(Retrain(search=self.iterative))

    def _controls(self, tickets: Retrain) -> tuple[Retrain, Retrain]:
        repeats = self.settings.repeats
        return (
            dataclasses.replace(tickets, arm="redrawn", repeats=repeats),
            dataclasses.replace(tickets, arm=self.settings.control_2, repeats=repeats),
        )

    @property
    def inside(self) -> tuple[Search, ...]:
        """The ten runs of F9 and F10: those of F7, and more with the next seed."""
        s = self.settings
        if not s.more_replicates:
            return (self.iterative,)
        levels = min(s.levels, rounds_to(0.055, s.rate))
        more = self.search(levels=levels, replicates=s.more_replicates, seed=s.seed + 1)
        return (self.iterative, more)

    def by_sd(self, sds: str) -> dict[float, Retrain]:
        """One-shot tickets of several initializations (F11, F12), init_sd first."""
        s = self.settings
        densities = s.one_shot(parameters=True)
        first = {s.init_sd: self.one_shot}
        rest = {
            sd: Retrain(
                search=self.search(sd=sd, replicates=s.parameter_replicates), densities=densities
            )
            for sd in config.floats(sds)
        }
        return first | rest

    def by_size(self, *, iterative: bool) -> dict[str, Search | Retrain]:
        """Networks of several sizes (F13, F14)."""
        s = self.settings
        levels = s.size_levels if iterative else 0
        found: dict[str, Search | Retrain] = {}
        for size in s.sizes:
            search = self.search(
                sd=s.size_sd, size=size, replicates=s.parameter_replicates, levels=levels
            )
            one_shot = Retrain(search=search, densities=s.one_shot(parameters=True))
            found[size] = search if iterative else one_shot
        return found

    @property
    def by_rate(self) -> dict[float, Search]:
        """Iterative pruning at several rates, down to about 5 % (F15)."""
        s = self.settings
        found = {
            rate: self.search(
                rate=rate, levels=rounds_to(0.05, rate), replicates=s.parameter_replicates
            )
            for rate in config.floats(s.rates)
        }
        return dict(sorted({**found, s.rate: self.iterative}.items()))

    @property
    def continued(self) -> Retrain:
        """Masks found by continuing with trained weights, trained from theta_0 (F16)."""
        return Retrain(search=self.search(levels=self.settings.levels, resets=False))

    def xor_random(self, rate: float | None = None) -> dict[int, UnitSearch]:
        """The rows of F1 by number of hidden units."""
        return {n: self._xor((n,), "product", True, rate) for n in BY_TWO_UNITS}

    def xor_pruned(self, rate: float | None = None) -> dict[str, UnitSearch]:
        """The rows of F2 by strategy."""
        return {
            name: self._xor(ONE_SHOT_UNITS if once else BY_TWO_UNITS, score, once, rate)
            for name, (score, once) in STRATEGIES.items()
        }

    @property
    def xor_other_rates(self) -> tuple[float, ...]:
        """Learning rates beside the main one."""
        return config.floats(self.settings.xor_learning_rates)

    def _xor(
        self, chain: tuple[int, ...], score: str, once: bool, rate: float | None
    ) -> UnitSearch:
        s = self.settings
        return UnitSearch(
            units=chain,
            score=score,
            one_shot=once,
            rate=s.xor_learning_rate if rate is None else rate,
            sd=s.xor_sd,
            steps=s.xor_steps,
            trials=s.xor_replicates,
            seed=s.seed,
        )
