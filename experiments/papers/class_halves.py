r"""Van Soelen & Sheppard, Using Winning Lottery Tickets in Transfer Learning (paper 000).

    python -m experiments.class_halves --preset=quick --data_dir=DIR
    python -m experiments.class_halves --experiments=000-II,000-III --data_dir=DIR
    python -m experiments.class_halves --list --data_dir=DIR

Tickets of five classes of CIFAR-10 trained on the other five. Each split of the classes is a
replicate: all splits and densities of an arm are one population. The paper states no length.
Hours on two cores: --list measures them. Result: not yet run at length at this version, so there
is no page. The splits are in class_halves_splits, the paired tests in class_halves_pairs.
"""

from collections.abc import Sequence
import dataclasses
import functools
import itertools
import math
from typing import Any

from experiments.papers import published
from experiments.papers.claims import Claim, claim, near, not_compared, same
from experiments.papers.class_halves_pairs import (
    Pair,
    arms_against_density,
    every_arm,
    every_split,
    gaps,
    later,
    paired_tests,
    significant,
    t_value,
    turning_note,
)
from experiments.papers.class_halves_splits import (
    FIGURES,
    FIRST,
    REDRAWN,
    SECOND,
    TABLES,
    TICKET,
    Halves,
    Split,
    Splits,
    facts,
    named,
    read,
    split_table,
)
from experiments.papers.drawing import accuracy_against_step
from experiments.papers.paper import Figure, Paper, figure
from experiments.papers.published import Entry
from experiments.papers.series import NOT_TRAINED, Series
from experiments.papers.settings import PaperSettings
from experiments.papers.statistics import Condition, final, fraction
from experiments.papers.trainings import Cut, Retrained, Search
from ltjax.command import config
from ltjax.command.config import setting
from ltjax.lottery import arms

PUBLISHED = published.beside(__file__)

_SEEDS = 1000  # From seed to seed, so that the dense networks of one are not those of another.


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassHalves(PaperSettings):
    """What only this paper has; the preset `paper` says the rest."""

    size: int = setting(
        28,
        "Images are cropped to this size, or padded; 0 leaves them.",
        unit="pixels",
        within="[0, 512]",
    )
    random_crop: bool = setting(
        False, "Train on random crops, test on the centre (the option of reading 0.1)."
    )
    splits: int = setting(
        10, "Splits of the classes of each table; two make pairs to test.", within="[2, 1000]"
    )
    halves: str = setting(
        "", "Splits of your own for both tables, as 0-4/5-9;0,2,4,6,8/1,3,5,7,9; empty: below."
    )
    named_splits: bool = setting(True, "The splits of the figures come first (CIFAR-10 only).")
    same_splits: bool = setting(False, "Table III on the splits of Table II.")
    prune_biases: bool = setting(
        False, "Biases are pruned too, in all rows; S3, which compares both ways, is left out."
    )
    share_dense: bool = setting(
        False, "One dense network a split instead of one for each density (reading 0.10)."
    )
    extra_splits: int = setting(10, "Splits of what goes beyond the paper.", within="[2, 1000]")

    def __post_init__(self) -> None:
        """Refuses what no figure could be made of."""
        super().__post_init__()
        if self.random_crop and not self.size:
            raise ValueError("random_crop needs the size of the crops; got size 0; give it")
        if self.extra_splits > self.splits:
            raise ValueError(
                f"extra_splits lies in 2..{self.splits} (splits); got {self.extra_splits}"
            )
        try:
            own = read(self.halves)
        except ValueError as error:
            raise ValueError(f"halves: {error}") from error
        if own and len(own) != self.splits:
            raise ValueError(
                f"halves gives {len(own)} splits and splits is {self.splits}; make them equal"
            )
        chain = (1.0, *self.cuts, 0.0)
        if len(chain) < 3 or any(not below < above for above, below in itertools.pairwise(chain)):
            raise ValueError(
                f"densities fall from below 1 and stay above 0, as 0.5,0.1; got {self.densities!r}"
            )

    @property
    def cuts(self) -> tuple[float, ...]:
        """Densities of the one-shot tickets."""
        return config.floats(self.densities)

    @functools.cached_property
    def chosen(self) -> Splits:
        """The splits of both tables."""
        own, figures = read(self.halves), ((), ())
        if self.named_splits and self.data == "cifar10" and not own:
            ii, iii = (
                tuple(dict.fromkeys(named(PUBLISHED, entry) for entry in FIGURES[table]))
                for table in TABLES
            )
            figures = (ii, iii)
        return Splits(self.splits, self.seed, own, figures, self.same_splits)

    def halves_of(self, table: str, which: str, count: int = 0) -> Halves:
        """One half of the splits of a table, or of the first of them."""
        table = TICKET if self.chosen.one_set else table
        size = 0 if self.random_crop else self.size
        return Halves(self.chosen, table, which, count or self.splits, size)

    def search(self, source: Halves, *, own_seed: int = 0, **changes: Any) -> Search:
        """Dense networks of one half of each split, that tickets are cut from."""
        biases = changes.pop("biases", False) or self.prune_biases
        find = self.find(
            **{
                "levels": 0,
                "densities": "",
                "rates": f"output={self.rate!r}" + f",bias={self.rate!r}" * biases,
                "window": self.size if self.random_crop else 0,
                "seed": _SEEDS * self.seed + own_seed,
                "replicates": source.count,
                **changes,
            }
        )
        return Search(find=find, source=source)

    def moved(self, label: str, search: Search, arm: str = "theta_0") -> Series:
        """One-shot tickets (the levels of an iterative search) trained on the other half."""
        assert isinstance(search.source, Halves)
        cut = None if search.levels else Cut(densities=self.cuts)
        made = Retrained(search=search, arm=arm, cut=cut, on=search.source.other)
        return Series(label=label, trainings=made)

    def dense(self, source: Halves, number: int) -> Series:
        """Dense networks beside the tickets of density `number`: own runs, or one for all."""
        own_seed = 1 + (0 if self.share_dense else number)
        return Series(label="dense", trainings=self.search(source, own_seed=own_seed))

    def pairs(self, label: str, series: Series) -> list[Pair]:
        """Tickets beside dense networks on the same halves, by density."""
        assert isinstance(series.trainings, Retrained)
        on = series.trainings.on
        assert isinstance(on, Halves)
        return [
            Pair(density, final(self.dense(on, n).dense), final(series.round(n)), ("dense", label))
            for n, density in enumerate(self.cuts, 1)
        ]


PRESETS = {
    "paper": {
        "data": "cifar10",
        "model": "lrn2",
        "padding": "SAME",
        "init": "he_normal",
        "normalize": "cifar10",
        "optimizer": "sgd",
        "learning_rate": 0.01,
        "batch_size": 256,
        "length": "100ep",
        "evaluate_every": "2ep",
        "rewind": "1ep",
        "validation": "0",
        "densities": "0.75,0.5,0.25,0.1",
    },
    "quick": {
        "length": "80it",
        "evaluate_every": "40it",
        "rewind": "40it",
        "same_splits": True,
        "share_dense": True,
        "extra_splits": 2,
    },
}

SMALLEST = 0.9
"""Points: the smallest difference that the tables call significant (.804 against .813)."""

PRINTED = (0.75, 0.5, 0.25, 0.1)
NESTED = tuple(tuple(1 - d for d in PRINTED[count:]) for count in range(len(PRINTED) + 1))
"""What could be significant, where that begins at some sparsity."""

_T = near(1.0, "(a standard error of a t-value, in the direction of the printed means)")
_AHEAD = "dense ahead with p < 0.05 at 25 and 10 % density, and p above it at all others"
_NAMES = {TICKET: "ticket", REDRAWN: "redrawn"}
_SHOWN = {TICKET: "winning tickets", REDRAWN: "the tickets' masks with redrawn weights"}
_SIGN = (
    "t of dense minus sparse; the paper prints absolute values (reading 0.9), and ours agrees only "
    "in the direction of the means of its row"
)
_OTHER_SPLITS = (
    "the two tables have other splits and are not compared (reading 0.11); --same_splits does"
)


def figures(s: ClassHalves) -> tuple[Figure, ...]:
    """Tables II and III, F2 to F11, and what goes beyond the paper: X1 to X3, S3."""
    source = s.halves_of(TICKET, FIRST)
    ticket = s.moved("ticket", s.search(source))
    redrawn = s.moved("redrawn", s.search(s.halves_of(REDRAWN, FIRST)), "redrawn")
    series = {TICKET: ticket, REDRAWN: redrawn}
    pairs = {table: s.pairs(_NAMES[table], series[table]) for table in TABLES}
    words = {TICKET: _words_of_ii(s, ticket, pairs[TICKET]),
             REDRAWN: _words_of_iii(s, pairs[TICKET], pairs[REDRAWN])}  # fmt: skip
    tables = [
        figure(
            f"000-{table}",
            f"{_SHOWN[table]} of one half of the classes, trained on the other, against dense "
            "networks",
            gaps(pairs[table], f"Dense minus {_NAMES[table]}, split by split", _printed(table)),
            every_split(s.dense(s.halves_of(table, SECOND), 1), series[table], s.cuts,
                        f"Learning curves of every split: {_SHOWN[table]} on the second halves, "
                        "and dense networks"),
            _cells(s, table, pairs[table], series[table]),
            words[table],
            split_table(),
            paired_tests(f"Table {table}: paired tests over the splits", pairs[table],
                         "Final test accuracy. t and p: paired t-test; interval by Student's t; "
                         "Holm's correction over the densities."),
        )
        for table in TABLES
    ]  # fmt: skip
    curves = [
        _curves(s, table, entry, series[table]) for table in TABLES for entry in FIGURES[table]
    ]
    curves.sort(key=lambda f: int(f.id.rpartition("F")[2]))
    return (*tables, *curves, *_beyond(s))


def _sparsity(e: Entry) -> float:
    return e.setting.get("sparsity", e.setting.get("sparsity_of_paired_run"))


def _printed(table: str) -> dict[float, float]:
    """Published difference of means, dense minus sparse, by density."""
    found: dict[float, float] = {}
    for e in PUBLISHED.table(f"TABLE {table}"):
        if e.metric.startswith("top1"):
            sign = 1 if e.setting["network"] == "dense" else -1
            density = round(1 - _sparsity(e), 6)
            found[density] = found.get(density, 0.0) + sign * e.value
    return found


def _cells(s: ClassHalves, table: str, pairs: Sequence[Pair], series: Series) -> list[Claim]:
    """Means and t-values of a table, each within a standard error of what is printed."""
    entries = [e for e in PUBLISHED.table(f"TABLE {table}") if e.kind == "table"]
    # Dense networks of each row differ by their seeds alone (reading 0.10).
    wholes = frozenset(e.id for e in entries if e.setting.get("network") == "dense")

    def one(e: Entry) -> Claim:
        density = 1 - _sparsity(e)
        found = [(n, p) for n, p in enumerate(pairs, 1) if abs(p.density - density) < 1e-9]
        if not found:
            return claim(e.id)
        ((number, pair),) = found
        if e.metric == "t_value":
            direction = math.copysign(1, _printed(table)[round(density, 6)])
            return claim(e.id, t_value(pair, direction), _T, remark=_SIGN)
        error = round(e.spread_or_p["std"] / e.setting["splits"] ** 0.5, 4)
        rule = near(error, "(the standard error of the printed mean over its splits)")
        if e.id in wholes:
            dense = s.dense(s.halves_of(table, SECOND), number).dense
            return claim(e.id, fraction(dense).mean(), rule, again=wholes)
        return claim(e.id, fraction(series.round(number)).mean(), rule)

    return [one(e) for e in entries]


def _words_of_ii(s: ClassHalves, ticket: Series, pairs: Sequence[Pair]) -> list[Claim]:
    assert isinstance(ticket.trainings, Retrained)
    on = ticket.trainings.on
    assert isinstance(on, Halves)
    beside = [(ticket.round(n), s.dense(on, n).dense) for n in range(1, len(pairs) + 1)]
    return [
        claim("000-0025", significant(pairs, PRINTED, NESTED), same(_AHEAD)),
        claim("000-0027", *(p.loss.above(-SMALLEST) for p in pairs),
              remark=f"{SMALLEST} points: the smallest difference that it calls significant"),
        claim("000-0028", *(p.loss.below(3) for p in pairs), later(beside).above(0)),
        claim("000-0032", *(p.loss.below(5) for p in pairs if p.density == 0.1)),
    ]  # fmt: skip


def _words_of_iii(s: ClassHalves, ticket: Sequence[Pair], redrawn: Sequence[Pair]) -> list[Claim]:
    compared = same("dense ahead with p < 0.05 at 50, 25 and 10 % density, and p above it at 75 %")
    first = claim("000-0026", significant(redrawn, PRINTED, NESTED), compared)
    if not s.chosen.one_set:
        return [first, *(not_compared(id, _OTHER_SPLITS) for id in ("000-0029", "000-0030"))]
    grown = [pairs[-1].gap.minus(pairs[0].gap) for pairs in (redrawn, ticket)]
    weak = (a.gap - b.gap for a, b in zip(ticket, redrawn, strict=True))
    return [
        first,
        claim("000-0029", *(each.inside(-2, 2) for each in weak)),
        claim("000-0030", (grown[0] - grown[1]).above(0),
              remark="the paper's own tables say the reverse (reading 0.15)"),
    ]  # fmt: skip


def _curves(s: ClassHalves, table: str, entry: str, series: Series) -> Figure:
    """Learning curves of one split."""
    e, split = PUBLISHED[entry], named(PUBLISHED, entry)
    sources, targets = (", ".join(e.value[f"data_set_{i}"]) for i in (1, 2))
    number = _number_of(s, table, split)
    trials = () if number is None else (number,)
    held = NOT_TRAINED
    if number is not None:
        held = f"a setting, not a result: split {number + 1} of {s.splits} here"
    dense = s.dense(s.halves_of(table, SECOND), 1)
    return figure(
        f"000-{e.table_or_figure.replace('Fig. ', 'F')}",
        f"learning curves of one split: {_SHOWN[table]} on {targets}",
        accuracy_against_step(
            {"dense": dense.only(*trials, label="dense").dense}
            | {f"{100 * d:g} % kept": series.only(*trials, label="").round(n)
               for n, d in enumerate(s.cuts, 1)},
            caption=f"Test accuracy on {targets}, with {_SHOWN[table]} of networks trained on "
            f"{sources}",
        ),
        not_compared(entry, held),
    )  # fmt: skip


def _number_of(s: ClassHalves, table: str, split: Split) -> int | None:
    """Which split of a table this is."""
    every = s.chosen.of(range(10))[table] if s.data == "cifar10" else []
    return every.index(split) if split in every else None


ARMS = (*arms.STARTS, "redrawn", "shuffled_pairs", "shuffled_mask", "shuffled_globally")
"""Start points and the four controls."""


def _beyond(s: ClassHalves) -> list[Figure]:
    """Other starts and controls, the other direction, iterative, biases pruned."""

    def source(count: int = s.extra_splits, which: str = FIRST) -> Halves:
        return s.halves_of(TICKET, which, count)

    named = {
        arm: s.moved(
            arm,
            s.search(source(s.splits if arm in ("theta_0", "redrawn") else s.extra_splits)),
            arm,
        )
        for arm in ARMS
    }
    theta_0 = named["theta_0"]
    back = s.moved("ticket", s.search(source(which=SECOND)))
    iterative = s.moved("iterative", s.search(source(), densities=s.densities, rewind="0"))
    wholes = [s.dense(source(s.splits).other, n) for n in range(1, len(s.cuts) + 1)]

    def beside(first: Series, second: Series, names: tuple[str, str]) -> list[Pair]:
        return [
            Pair(d, final(second.round(n)), final(first.round(n)), (names[1], names[0]))
            for n, d in enumerate(s.cuts, 1)
        ]

    matters = beside(named["redrawn"], theta_0, ("redrawn", "theta_0"))
    other_way = s.pairs("ticket", back)
    made = [
        figure(
            "000-X1", "both tables on the same splits, with theta_k, theta_S and all controls",
            arms_against_density(named, wholes, s.cuts,
                                 "Tickets of one half of the classes on the other, by start point "
                                 f"and control: mean and standard error over {s.extra_splits} "
                                 "splits"),
            paired_tests("Does the initial value matter? theta_0 against redrawn values, the same "
                         "masks", matters, lambda results: "On the same splits and batches: "
                         f"{turning_note(results, matters)}."),
            split_table(),
            every_arm(named, s.cuts),
        ),
        figure(
            "000-X2", "the other direction of each split: tickets of Data Set 2 on Data Set 1",
            gaps(other_way, "Dense minus ticket, in the other direction"),
            paired_tests("The other direction", other_way,
                         "Tickets of Data Set 2, trained on Data Set 1."),
        ),
        figure(
            "000-X3", "iterative tickets beside one-shot ones",
            arms_against_density({"one-shot": theta_0, "iterative": iterative}, wholes, s.cuts,
                                 "One-shot and iterative tickets of one half of the classes on the "
                                 "other"),
            paired_tests("Iterative minus one-shot",
                         beside(theta_0, iterative, ("one-shot", "iterative")),
                         "On the splits that both have."),
        ),
    ]  # fmt: skip
    if not s.prune_biases:
        biases = s.moved("with biases", s.search(source(), biases=True))
        both = beside(biases, theta_0, ("with biases", "without"))
        within: list[Condition] = [p.loss.inside(-SMALLEST, SMALLEST) for p in both]
        made.append(
            figure(
                "000-S3",
                "tickets whose biases are pruned too, as section III says of other experiments",
                gaps(both, "Accuracy without minus with pruned biases, split by split"),
                claim("000-0031", *within),
                paired_tests("Biases pruned too", both, ""),
            )
        )
    return made


PAPER = Paper(
    published=PUBLISHED,
    settings=ClassHalves,
    presets=PRESETS,
    figures=figures,
    version=3,
    shortens=frozenset({"splits", "named_splits", "same_splits", "share_dense", "extra_splits"}),
    facts=facts,
)
