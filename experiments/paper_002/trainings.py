"""What the tables and figures of paper 002 need trained; equal rows are trained once."""

import dataclasses

from experiments.paper_002.settings import MultipleTickets
from experiments.reproduce.lab import Lab, Task
from experiments.reproduce.retrainings import AtStart
from experiments.reproduce.searches import Search
from experiments.settings import FindTicket

FC, CONV = TASKS = ("fc", "conv")


def base_settings(settings: MultipleTickets, task: str) -> FindTicket:
    """What all trainings of one network share, as the settings of a search."""
    fc = task == FC
    return settings.as_search(
        data=settings.fc_data if fc else settings.conv_data,
        normalize=settings.fc_normalize if fc else settings.conv_normalize,
        padding="" if fc else settings.padding,
        optimizer="adam",
        learning_rate=settings.fc_learning_rate if fc else settings.conv_learning_rate,
        batch_size=settings.batch_size,
        length=settings.fc_length if fc else settings.conv_length,
        evaluate_every=settings.evaluate_every,
        validation=settings.validation,
        patience=settings.patience,
        keep="best",
    )


def make_lab(settings: MultipleTickets) -> Lab:
    """The lab of the paper: a task for each network."""
    return Lab({task: Task(base_settings(settings, task)) for task in TASKS})


@dataclasses.dataclass(frozen=True)
class Trainings:
    """The works of one network."""

    settings: MultipleTickets
    task: str

    @property
    def model(self) -> str:
        """Name of the network."""
        return self.settings.fc_model if self.task == FC else self.settings.conv_model

    @property
    def lth(self) -> Search:
        """The search of the paper's LTH."""
        return Search(
            task=self.task,
            model=self.model,
            init=self.settings.init,
            levels=self.settings.levels,
            rate=0.2,
            output_rate=0.1,
            conv_rate=0.1 if self.task == CONV else None,
            seed=self.settings.seed,
            replicates=self.settings.replicates,
        )

    @property
    def flips(self) -> tuple[Search, ...]:
        """LTH_flip 1 and 2: level 0 is the flipped mask, which counts as the first round."""
        rounds = self.settings.levels
        return tuple(
            dataclasses.replace(self.lth, flip=after, levels=rounds - 1)
            for after in map(int, self.settings.flips.split(","))
            if after <= rounds
        )

    @property
    def snip(self) -> AtStart:
        """SNIP at the counts of each round's ticket."""
        score = "snip_signed" if self.settings.signed else "snip"
        return AtStart(search=self.lth, score=score, counts=self.settings.snip_counts)

    @property
    def iterative_snip(self) -> AtStart:
        """SNIP round by round, at the per-layer rates of the LTH (readings 2.5, 2.19)."""
        score = "snip_signed" if self.settings.signed else "snip"
        return AtStart(
            search=self.lth,
            score=score,
            counts="layers",
            cuts=0,
            same_batch=self.settings.same_batch,
            first=min(7, self.settings.levels),
        )

    @property
    def others(self) -> dict[str, AtStart]:
        """What the paper did not try, at the same totals."""
        if not self.settings.extra_scores:
            return {}
        return {
            "GraSP": AtStart(search=self.lth, score="grasp"),
            "SynFlow": AtStart(search=self.lth, score="synflow", cuts=100),
            "random (ERK)": AtStart(search=self.lth, score="random", counts="erk"),
        }
