r"""G070, On Multiple Winning Tickets and LTH vs SNIP (paper 002).

    python -m experiments.multiple_tickets --preset=quick --data_dir=DIR
    python -m experiments.multiple_tickets --experiments=002-T2,002-T4,002-T6 --data_dir=DIR
    python -m experiments.multiple_tickets --list --data_dir=DIR

LeNet-300-100 on MNIST and Conv2 on CIFAR-10: tickets, tickets of flipped masks, and SNIP beside
other scores. Hours on two cores: --list measures them. Result: not yet run at length at this
version, so there is no page. What a round says is in multiple_tickets_rounds, how masks meet in
multiple_tickets_masks.
"""

from collections.abc import Mapping
import dataclasses
import functools
import itertools
import math

from experiments.papers import published
from experiments.papers.claims import Claim, claim, near, not_compared, printed_digits, within_share
from experiments.papers.multiple_tickets_masks import falls_by_chance, overlap, overlap_tables
from experiments.papers.multiple_tickets_rounds import (
    TEST,
    TRAIN_LOSS,
    VALIDATION,
    by_round,
    collapse,
    every_round,
    gap,
    gaps_while_training,
    kept,
    percent_kept,
    while_training,
)
from experiments.papers.paper import Figure, Paper, figure
from experiments.papers.published import Entry
from experiments.papers.series import Series
from experiments.papers.settings import PaperSettings
from experiments.papers.statistics import Statistic, best, constant, span, stops
from experiments.papers.trainings import Cut, Retrained, Search
from experiments.settings import PRESETS as NETWORKS
from experiments.settings import overridden
from ltjax import models
from ltjax.command import config
from ltjax.command.config import setting
from ltjax.core import pruning

PUBLISHED = published.beside(__file__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MultipleTickets(PaperSettings):
    """What only this paper has (readings 2.1 to 2.19); the preset `paper` says the rest."""

    fc: tuple[str, ...] = setting(
        (), "Settings of LeNet-300-100 alone, as data=fashion_mnist,length=1000it."
    )
    conv: tuple[str, ...] = setting((), "Settings of Conv2 alone, as padding=SAME,length=60it.")
    flips: str = setting("7,8", "Rounds whose masks are flipped (LTH_flip 1 and 2), to `levels`.")
    extra_scores: bool = setting(
        True, "GraSP, SynFlow and random pruning (Erdos-Renyi-kernel) beside SNIP."
    )
    same_batch: bool = setting(False, "Iterative SNIP rates on one batch at every step.")
    signed: bool = setting(False, "SNIP without the absolute value, as printed (reading 2.3).")
    snip_counts: str = setting(
        "total",
        "SNIP keeps the ticket's total, or its count in each of its layers (layers).",
        choices=("total", "layers"),
    )

    def __post_init__(self) -> None:
        """Refuses what no figure could be made of."""
        super().__post_init__()
        try:
            rounds = [config.whole(text) for text in self.flips.split(",")]
        except ValueError as error:
            raise ValueError(f"flips are rounds, as 7,8: {error}") from error
        if min(rounds) < 1 or max(rounds) > self.levels or len({*rounds}) < len(rounds):
            raise ValueError(
                f"flips are different rounds of 1..{self.levels} (levels); got {self.flips!r}"
            )
        for network in ("fc", "conv"):
            _ = self.search(network)

    def search(self, network: str) -> Search:
        """The search of the paper's LTH with one of its networks."""
        preset, rates = {
            "fc": ("lenet-mnist", f"output={self.rate / 2!r}"),
            "conv": ("conv2-cifar10", f"conv={self.rate / 2!r},output={self.rate / 2!r}"),
        }[network]
        own = {"padding": "VALID"} if network == "conv" else {}  # Reading 2.1.
        shared = {"rates": self.rates or rates, "evaluate_every": self.evaluate_every}
        shared["validation"] = self.validation
        base = self.find(**{**NETWORKS[preset], "model": _MODELS[network], **own, **shared})
        return Search(find=overridden(base, getattr(self, network), named=network))


_MODELS = {"fc": "lenet-300-100", "conv": "conv2"}

PRESETS = {
    "paper": {
        "init": "glorot_normal",
        "optimizer": "adam",
        "batch_size": 60,
        "evaluate_every": "500it",
        "validation": "5000",
        "patience": 4,
        "keep": "best",
        "levels": 10,
        "replicates": 2,
    },
    "quick": {"fc": ("length=1000it",), "conv": ("length=60it",), "evaluate_every": "100it"},
}

STEPS = near(250.0, "iterations (half an evaluation, what a printed mean of two can tell)")
"""Within two evaluations 47 % of the other cells of Table 2 agree, within one 28 %."""

OVERLAP = within_share(0.05)

MISPRINTS = {
    "002-0068": "no mean of two multiples of 500",
    "002-0069": "Table 6 gives 64.06",
    "002-0078": "the counts give 32.87",
    "002-0087": "the counts give 16.88",
    "002-0114": "Table 7 gives 21.30",
}
"""Reading 2.14."""


@dataclasses.dataclass(frozen=True)
class Network:
    """The series of one network.

    Attributes:
      settings: of the paper.
      key: `fc` or `conv`.
      name: in captions.
    """

    settings: MultipleTickets
    key: str
    name: str

    @functools.cached_property
    def search(self) -> Search:
        """Its search."""
        return self.settings.search(self.key)

    @property
    def rounds(self) -> range:
        """All rounds of pruning."""
        return range(1, self.settings.levels + 1)

    @property
    def lth(self) -> Series:
        """The paper's LTH."""
        return Series(label="LTH", trainings=self.search)

    @property
    def flips(self) -> list[Series]:
        """LTH_flip 1 and 2: level 0 is the flipped mask, which counts as the first round (2.8)."""
        find = dataclasses.replace(self.search.find, levels=self.settings.levels - 1)
        return [
            Series(label=f"LTH_flip {i}", trainings=Search(find=find, flip=int(after)), first=1)
            for i, after in enumerate(self.settings.flips.split(","), 1)
        ]

    def at_start(self, label: str, **cut: object) -> Series:
        """Masks pruned before training, at the counts of each round's ticket."""
        made = Cut(at="start", **cut)  # type: ignore[arg-type]
        return Series(label=label, trainings=Retrained(search=self.search, cut=made))

    @property
    def snip(self) -> Series:
        """SNIP, at the counts of each round's ticket."""
        return self.at_start("SNIP", score=self._score, counts=self.settings.snip_counts)

    @property
    def iterative_snip(self) -> Series:
        """SNIP round by round, at the per-layer rates of the LTH (readings 2.5, 2.19)."""
        return self.at_start(
            "iterative SNIP", score=self._score, cuts=0, same_batch=self.settings.same_batch,
            first=min(7, self.settings.levels),
        )  # fmt: skip

    @property
    def _score(self) -> str:
        return "snip_signed" if self.settings.signed else "snip"

    @property
    def scores(self) -> list[Series]:
        """LTH, SNIP and what the paper did not try, at the same totals."""
        found = [self.lth, self.snip, self.iterative_snip]
        if self.settings.extra_scores:
            found += [
                self.at_start("GraSP", score="grasp", counts="total"),
                self.at_start("SynFlow", score="synflow", counts="total", cuts=100),
                self.at_start("random (ERK)", score="random", counts="erk"),
            ]
        return found

    def weights(self, layers: str = "") -> int:
        """Prunable weights, or those of the layers whose names begin so."""
        find, shape = self.search.find, {"fc": (28, 28, 1), "conv": (32, 32, 3)}[self.key]
        padding = find.padding if self.key == "conv" else ""
        named = _sizes(find.model, shape, padding).items()
        return sum(size for name, size in named if name.startswith(layers))


@functools.cache
def _sizes(model: str, shape: tuple[int, int, int], padding: str) -> dict[str, int]:
    """Prunable weights by layer."""
    network = models.make(model, input_shape=shape, classes=10, padding=padding)
    plan = pruning.plan(network.shapes().params, rate=0.2, levels=0)
    return {name: size for (name, *_), size in zip(plan.groups, plan.sizes, strict=True)}


def figures(s: MultipleTickets) -> tuple[Figure, ...]:
    """T1 to T7, F1 to F8, and what section 6.2 says (S6)."""
    fc, conv = Network(s, "fc", "LeNet-300-100"), Network(s, "conv", "Conv2")
    ids = {
        fc: ("F1", "T2", "F3", "T4", "F5", "T6", "F7"),
        conv: ("F2", "T3", "F4", "T5", "F6", "T7", "F8"),
    }
    made = [_counts(fc, conv), _both(fc, conv)]
    for net, (*names,) in ids.items():
        parts = (_lth, _flips_table, _flips, _snip_table, _scores, _overlap, _iterative_snip)
        made += [make(net, name) for make, name in zip(parts, names, strict=True)]
    return tuple(sorted(made, key=lambda f: ("TFS".index(f.id[4]), int(f.id[5:]))))


def _counts(fc: Network, conv: Network) -> Figure:
    def weights(net: Network, layers: str = "") -> Statistic:
        count = net.weights(layers)
        words = f"weights of {net.name} {layers}".strip()
        found = constant(words, count, axis=span(1e3, 1e8, log=True), text=f"{count:,}")
        find = net.search.find
        return dataclasses.replace(found, depends=(find.model, find.padding))

    return figure(
        "002-T1", "numbers of weights",
        claim("002-0001", weights(fc), printed_digits()),
        claim("002-0002", weights(conv), printed_digits(),
              remark="Table 1 counts SAME convolutions, Tables 5 and 7 VALID ones (reading 2.1)"),
        claim("002-0003", weights(conv, "conv"), printed_digits()),
    )  # fmt: skip


def _lth(net: Network, id: str) -> Figure:
    return figure(
        f"002-{id}", f"LTH on {net.name}: accuracy per prune round",
        by_round(net.lth, caption=f"LTH on {net.name}, round by round"),
        while_training(
            {f"round {n}" if n else "dense": net.lth.rounds([n]) for n in (0, *net.rounds)},
            [TEST],
            caption=f"Test accuracy of {net.name} while training, by prune round",
        ),
        every_round(net.lth),
    )  # fmt: skip


def _cells(net: Network, table: str, series: Mapping[str, Series]) -> list[Claim]:
    """Early-stopping iterations of a table, by method and round."""

    def one(e: Entry) -> Claim:
        number = e.setting.get("prune_iteration") or e.setting["matched_to_lth_iteration"]
        if e.id in MISPRINTS:
            return not_compared(e.id, f"misprint (reading 2.14): {MISPRINTS[e.id]}")
        if e.metric == "weights_remaining_pct":
            return claim(e.id, percent_kept(net.lth.round(number)), near(0.006))
        if (found := series.get(e.setting["method"].partition(" (")[0])) is None:
            return claim(e.id)
        return claim(e.id, stops(found.round(number)).mean(), STEPS)

    return [one(e) for e in PUBLISHED.table(f"Table {table[1:]}")]


def _flips_table(net: Network, id: str) -> Figure:
    every = [net.lth, *net.flips]
    return figure(
        f"002-{id}", f"early-stopping iterations of LTH and its flips on {net.name}",
        _cells(net, id, {series.label: series for series in every}),
        every_round(*every),
    )  # fmt: skip


def _flips(net: Network, id: str) -> Figure:
    limits = (-0.5, 0.5) if net.key == "fc" else (-math.inf, -2.0)
    lth, every = net.lth.rounds(net.rounds), [net.lth, *net.flips]
    conditions = [
        condition
        for flip in net.flips
        for condition in (
            (best(flip.rounds(net.rounds)) - best(lth)).inside(*limits),
            (stops(flip.rounds(net.rounds)) - stops(lth)).above(0),
        )
    ]
    return figure(
        f"002-{id}", f"LTH and its flips on {net.name}, round by round",
        while_training(
            {series.label: series.rounds(net.rounds) for series in every},
            [TEST, VALIDATION, TRAIN_LOSS],
            caption=f"LTH and its flips on {net.name} while training: mean over the rounds and "
            "seeds, as long as most of them still train",
        ),
        by_round(*every, caption=f"LTH and its flips on {net.name}"),
        claim("002-0185" if net.key == "fc" else "002-0186",
              *(conditions if len(net.flips) > 1 else ()),
              remark="by Table 2 itself the flips take 1.3 times the iterations"
              if net.key == "fc" else ""),
    )  # fmt: skip


def _snip_table(net: Network, id: str) -> Figure:
    lth, snip = net.lth, net.snip
    words: list[Claim] = []
    if net.key == "fc":
        twice = stops(snip.round(1)) - 2 * stops(lth.round(1))
        words = [
            not_compared("002-0184", "rounded; Table 4 gives 21.07 (reading 2.10)"),
            claim("002-0188", twice.above(0)),
        ]
    return figure(
        f"002-{id}", f"early-stopping iterations of LTH and SNIP on {net.name}",
        _cells(net, id, {"LTH": lth, "SNIP": snip}),
        words,
        every_round(lth, snip),
    )  # fmt: skip


def _scores(net: Network, id: str) -> Figure:
    return figure(
        f"002-{id}", f"LTH, SNIP and other scores on {net.name}, round by round",
        gaps_while_training(
            net.lth, net.snip, net.rounds,
            caption=f"LTH minus SNIP on {net.name} while training, by round: mean over the seeds",
        ),
        by_round(*net.scores, caption=f"LTH and pruning before training on {net.name}, at equal "
                 "numbers of weights"),
        every_round(*net.scores),
        collapse(*net.scores),
    )  # fmt: skip


def _overlap(net: Network, id: str) -> Figure:
    def one(e: Entry) -> Claim:
        number = e.setting["lth_iteration"]
        if e.metric == "kept":
            return claim(e.id, kept(net.lth.round(number)), near(0.5, "weights"))
        if net.key == "conv" and number <= 3:
            why = "misprint: in rows 1 to 3 of Table 7 both masks are one (reading 2.13)"
            return not_compared(e.id, why)
        picks = {"mask_overlap": "both", "mask_difference": "only_first"}
        return claim(e.id, overlap(net.lth, net.snip, number, picks[e.metric]).mean(), OVERLAP)

    return figure(
        f"002-{id}", f"how the masks of LTH and SNIP meet on {net.name}",
        map(one, PUBLISHED.table(f"Table {id[1:]}")),
        overlap_tables(net.lth, net.snip, net.rounds),
    )  # fmt: skip


def _iterative_snip(net: Network, id: str) -> Figure:
    snip, iterative = net.snip, net.iterative_snip
    numbers = iterative.trainings.levels
    said = "the paper contradicts itself here (reading 2.16); the curves are shown"
    return figure(
        f"002-{id}", f"SNIP against iterative SNIP on {net.name}, from round 7",
        gaps_while_training(
            snip, iterative, numbers,
            caption=f"SNIP minus iterative SNIP on {net.name} while training",
        ),
        [not_compared(name, said) for name in ("002-0191", "002-0193")] if net.key == "fc" else
        [claim("002-0192",
               gap(snip, iterative, numbers, TRAIN_LOSS).above(0),
               gap(snip, iterative, numbers, VALIDATION).above(-0.5),
               gap(snip, iterative, numbers, TEST, after=0.75).below(0))],
        collapse(iterative),
    )  # fmt: skip


def _both(fc: Network, conv: Network) -> Figure:
    """Lags, convergence and overlap of SNIP beside LTH; each has to hold on both networks."""
    both, last = (fc, conv), fc.settings.levels

    def ahead(net: Network, number: int) -> tuple:
        return best(net.lth.round(number)), best(net.snip.round(number))

    lags = [
        condition
        for net in both
        for lth, snip in [ahead(net, last)]
        for first, first_snip in [ahead(net, 1)]
        for condition in (
            (lth - snip).above(0), (lth.minus(snip) - first.minus(first_snip)).above(0)
        )
    ]  # fmt: skip
    return figure(
        "002-S6", "LTH beside SNIP on both networks: what section 6.2 says",
        claim("002-0187", *lags),
        claim("002-0189", *(
            (stops(net.snip.rounds(net.rounds)) - stops(net.lth.rounds(net.rounds))).above(0)
            for net in both
        )),
        claim("002-0190", *(
            (overlap(net.lth, net.snip, a, "both") - overlap(net.lth, net.snip, b, "both")).above(0)
            for net in both for a, b in itertools.pairwise(net.rounds)
        ), by_chance=falls_by_chance(
               PUBLISHED, {"Table 6": fc.weights(), "Table 7": conv.weights()}),
           remark="random masks of these counts do the same (reading 2.15): see the tables of T6 "
           "and T7"),
    )  # fmt: skip


PAPER = Paper(
    published=PUBLISHED,
    settings=MultipleTickets,
    presets=PRESETS,
    figures=figures,
    version=5,
    shortens=frozenset({"extra_scores"}),
)
