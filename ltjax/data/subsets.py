"""Subsets: some classes of a data set, other ones for each replicate, half of its examples."""

from collections.abc import Iterable, Sequence
import dataclasses
import itertools
import operator
import re
from typing import NamedTuple

import numpy as np

from ltjax.data.dataset import Dataset, Examples, Split, permutation, rows_of, shuffled_by_class


def parse_classes(text: str) -> tuple[int, ...]:
    """The classes in a text such as `0-4` or `0,2,5-7`.

    Raises:
      ValueError: where a part is neither a number nor a rising range.
    """
    classes: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*([0-9]{1,6})\s*(?:-\s*([0-9]{1,6})\s*)?", part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if first > last:
            raise ValueError(
                f"classes {text!r} have the part {part.strip()!r}; write numbers and rising "
                "ranges, such as 0-4 or 0,2,5-7, of at most six digits"
            )
        classes.extend(range(first, last + 1))
    return tuple(classes)


class _Chosen(NamedTuple):
    """Some classes of a data set.

    Attributes:
      classes: as published, in rising order, which is that of their outputs.
      outputs: int32, the output of each label of the data set; -1 where its class is not chosen.
      train_rows: int32, the training examples of these classes.
      test_rows: int32, the test examples.
    """

    classes: tuple[int, ...]
    outputs: np.ndarray
    train_rows: np.ndarray
    test_rows: np.ndarray


def _choose(ds: Dataset, classes: Sequence[int]) -> _Chosen:
    has = f"{ds.name!r} has {_ranges(ds.label_map)}"
    try:
        classes = [operator.index(c) for c in classes]
    except TypeError as error:
        raise ValueError(f"classes are whole numbers, as [0, 2, 7]; got {classes!r}") from error
    if not classes:
        raise ValueError(f"no classes to take; name at least one; {has}")
    if twice := {c for c in classes if classes.count(c) > 1}:
        raise ValueError(f"classes {_ranges(twice)} are named twice; name each once")
    if absent := set(classes) - set(ds.label_map):
        raise ValueError(f"no classes {_ranges(absent)}; {has}")
    chosen = tuple(sorted(classes))
    outputs = np.full(ds.classes, -1, np.int32)
    outputs[[ds.label_map.index(c) for c in chosen]] = np.arange(len(chosen))
    rows = []
    for part, split in (("training", ds.train), ("test", ds.test)):
        rows.append(np.flatnonzero(outputs[split.labels] >= 0).astype(np.int32))
        if not rows[-1].size:
            raise ValueError(
                f"{ds.name!r} has no {part} example of the classes {_ranges(chosen)}; take others"
            )
    return _Chosen(chosen, outputs, *rows)


def take_classes(ds: Dataset, classes: Sequence[int]) -> Dataset:
    """Only the examples of `classes`, whose outputs become 0, 1, ... in rising order of class.

    Statistics stay those of `ds`; `normalize` computes them anew.

    Args:
      ds: where to take from.
      classes: numbers of classes as published, in any order.

    Raises:
      ValueError: where `classes` is empty, names a class twice, one that `ds` lacks, or only such
        as have no examples in one of the splits.
    """
    chosen = _choose(ds, classes)
    if chosen.classes == ds.label_map:
        return ds
    train, test = (
        Split(split.images[rows], chosen.outputs[split.labels[rows]])
        for split, rows in ((ds.train, chosen.train_rows), (ds.test, chosen.test_rows))
    )
    return dataclasses.replace(
        ds,
        train=train,
        test=test,
        label_map=chosen.classes,
        class_names=tuple(ds.class_names[ds.label_map.index(c)] for c in chosen.classes),
        notes=(*ds.notes, f"only the classes {_ranges(chosen.classes)}"),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parts(Examples):
    """Parts of one data set that are trained on side by side, each by a replicate of its own.

    The images lie on the device once. What differs between the parts is rows and outputs, which
    are data of a member, so one compiled program trains on all of them.

    Attributes:
      train_rows: int32 [parts, n], rows of the training split.
      test_rows: int32 [parts, t], rows of the test split; -1 fills up parts that have fewer.
      outputs: int32 [parts, labels], the output of each label; labels that a part lacks never
        come up.
      label_maps: the class of each output, by part.
    """

    train_rows: np.ndarray
    test_rows: np.ndarray
    outputs: np.ndarray
    label_maps: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        """Number of parts."""
        return len(self.label_maps)

    @property
    def classes(self) -> int:
        """Number of outputs of each part."""
        return len(self.label_maps[0])

    @property
    def examples(self) -> int:
        """Training examples of each part."""
        return self.train_rows.shape[1]

    def take(self, numbers: Sequence[int]) -> "Parts":
        """Only these parts, in this order; a number may come twice."""
        chosen = list(numbers)
        return dataclasses.replace(
            self,
            train_rows=self.train_rows[chosen],
            test_rows=self.test_rows[chosen],
            outputs=self.outputs[chosen],
            label_maps=tuple(self.label_maps[i] for i in chosen),
        )


def class_parts(ds: Dataset, classes: Sequence[Sequence[int]]) -> Parts:
    """Parts made of some classes each, with outputs 0, 1, ... in rising order of class.

    Each part has the examples that `take_classes` would leave. Where the parts differ in their
    number of training examples, all have as many as the smallest: its first ones in order.

    Args:
      ds: where to take from.
      classes: numbers of classes as published, by part; equally many each.

    Raises:
      ValueError: where there are no parts, they differ in their number of classes, or one is not
        as `take_classes` wants it.
    """
    if not classes:
        raise ValueError("no parts; name the classes of at least one")
    if len({len(part) for part in classes}) != 1:
        sizes = ", ".join(str(len(part)) for part in classes)
        raise ValueError(
            f"parts of {sizes} classes cannot share one network; give each as many classes"
        )
    chosen = [_choose(ds, part) for part in classes]
    fewest = min(part.train_rows.size for part in chosen)
    most = max(part.test_rows.size for part in chosen)
    return Parts(
        **{field.name: getattr(ds, field.name) for field in dataclasses.fields(Examples)},
        train_rows=np.stack([part.train_rows[:fewest] for part in chosen]),
        test_rows=np.stack(
            [
                np.pad(part.test_rows, (0, most - part.test_rows.size), constant_values=-1)
                for part in chosen
            ]
        ),
        outputs=np.maximum([part.outputs for part in chosen], 0),
        label_maps=tuple(part.classes for part in chosen),
    )


def check_disjoint(first: Iterable[int], second: Iterable[int]) -> None:
    """Refuses two sets of classes that share some.

    Raises:
      ValueError: naming the shared classes.
    """
    if shared := set(first) & set(second):
        raise ValueError(f"classes {_ranges(shared)} are in both sets; give each class to one")


def draw_halves(
    classes: Sequence[int], count: int, *, seed: int, without: Iterable[Sequence[int]] = ()
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Random ordered halves of the classes, none twice (paper 000, reading 0.14).

    A split and the same with its halves exchanged are two. More splits leave the first as they
    are.

    Args:
      classes: an even number of them.
      count: how many splits.
      seed: of the drawing.
      without: first halves that are not to be drawn.

    Raises:
      ValueError: where the number of classes is odd or 0, or there are not so many halves.
    """
    every = sorted(classes)
    if len(every) < 2 or len(every) % 2:
        raise ValueError(f"{len(every)} classes have no equal halves; give an even number")
    barred = {tuple(sorted(half)) for half in without}
    halves = list(itertools.combinations(every, len(every) // 2))
    order = permutation(len(halves), seed=seed)
    drawn = [halves[i] for i in order if halves[i] not in barred]
    if not 0 <= count <= len(drawn):
        raise ValueError(
            f"{len(every)} classes have {len(drawn)} halves to draw; got a count of {count}"
        )
    return [(first, tuple(c for c in every if c not in first)) for first in drawn[:count]]


def halve(ds: Dataset, which: str, *, seed: int) -> Dataset:
    """Half of the training examples of each class; the test examples are all kept.

    The halves `a` and `b` of one seed are disjoint and equally large in each class; the odd
    example of a class is in neither (Morcos et al., 2019, https://arxiv.org/abs/1906.02773,
    split CIFAR-10 so). Statistics stay those of `ds`; `normalize` computes them anew.

    Args:
      ds: where to take from.
      which: `a` or `b`.
      seed: decides which examples go where.

    Raises:
      ValueError: where `which` is another name, or a class has fewer than two examples.
    """
    if which not in ("a", "b"):
        raise ValueError(f"no half {which!r}; there are: a, b")
    rows = shuffled_by_class(ds.train.labels, seed=seed)
    taken, left_out = [], 0
    for output, of_class in enumerate(ds.label_map):
        mine = rows.get(output, ())
        half = len(mine) // 2
        if half == 0:
            raise ValueError(
                f"class {of_class} of {ds.name!r} has {len(mine)} training examples; "
                "a half needs at least two"
            )
        taken.append(mine[:half] if which == "a" else mine[half : 2 * half])
        left_out += len(mine) - 2 * half
    odd = f", {left_out} odd examples in neither" if left_out else ""
    return dataclasses.replace(
        ds,
        train=rows_of(ds.train, np.sort(np.concatenate(taken))),
        notes=(*ds.notes, f"half {which} of the training examples of each class, seed {seed}{odd}"),
    )


def _ranges(classes: Iterable[int]) -> str:
    """Classes as `parse_classes` reads them: `0-4,7`."""
    numbered = enumerate(sorted(classes))
    runs = ([c for _, c in run] for _, run in itertools.groupby(numbered, lambda x: x[1] - x[0]))
    return ",".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs)
