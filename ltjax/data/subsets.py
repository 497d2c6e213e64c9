"""Parts of a data set: some of its classes, half of its examples, the first few."""

from collections.abc import Iterable, Sequence
import dataclasses
import itertools
import operator
import re

import numpy as np

from ltjax.data.dataset import Dataset, Split, permutation, rows_of


def parse_classes(text: str) -> tuple[int, ...]:
    """The classes in a text such as `0-4` or `0,2,5-7`.

    Raises:
      ValueError: where a part is neither a number nor a rising range.
    """
    classes: list[int] = []
    for part in text.split(","):
        first, dash, last = (p.strip() for p in part.partition("-"))
        last = last if dash else first
        numbers = all(re.fullmatch("[0-9]{1,6}", end) for end in (first, last))
        if not numbers or int(first) > int(last):
            raise ValueError(
                f"classes {text!r} have the part {part.strip()!r}; write numbers and rising "
                "ranges, such as 0-4 or 0,2,5-7, of at most six digits"
            )
        classes.extend(range(int(first), int(last) + 1))
    return tuple(classes)


def take_classes(ds: Dataset, classes: Sequence[int]) -> Dataset:
    """Only the examples of `classes`, whose outputs become 0, 1, ... in rising order of class.

    Statistics stay those of `ds`; `normalize` computes them anew.

    Args:
      ds: where to take from.
      classes: numbers of classes as published, in any order.

    Raises:
      ValueError: where `classes` is empty, names a class twice, or one that `ds` lacks.
    """
    chosen = check_classes(ds, classes)
    if chosen == ds.label_map:
        return ds
    new = output_of(ds, chosen)

    def take(split: Split) -> Split:
        images, labels = rows_of(split, np.flatnonzero(new[split.labels] >= 0))
        return Split(images, new[labels])

    train, test = take(ds.train), take(ds.test)
    for part, split in (("training", train), ("test", test)):
        if not split.labels.size:
            raise ValueError(
                f"{ds.name!r} has no {part} example of the classes {_ranges(chosen)}; take others"
            )
    return dataclasses.replace(
        ds,
        train=train,
        test=test,
        classes=len(chosen),
        label_map=chosen,
        class_names=tuple(ds.class_names[ds.label_map.index(c)] for c in chosen),
        notes=(*ds.notes, f"only the classes {_ranges(chosen)}"),
    )


def check_classes(ds: Dataset, classes: Sequence[int]) -> tuple[int, ...]:
    """The classes in rising order.

    Raises:
      ValueError: where `classes` is empty, names a class twice, or one that `ds` lacks.
    """
    has = f"{ds.name!r} has {_ranges(ds.label_map)}"
    try:
        classes = [operator.index(c) for c in classes]  # pyright: ignore[reportArgumentType]
    except TypeError as error:
        raise ValueError(f"classes are whole numbers, as [0, 2, 7]; got {classes!r}") from error
    if not classes:
        raise ValueError(f"no classes to take; name at least one; {has}")
    twice = sorted({c for c in classes if classes.count(c) > 1})
    if twice:
        raise ValueError(f"classes {_ranges(twice)} are named twice; name each once")
    absent = sorted(set(classes) - set(ds.label_map))
    if absent:
        raise ValueError(f"no classes {_ranges(absent)}; {has}")
    return tuple(sorted(classes))


def output_of(ds: Dataset, chosen: Sequence[int]) -> np.ndarray:
    """The new output of each label of `ds`, int32 [classes]; -1 where its class is not chosen."""
    new = np.full(ds.classes, -1, np.int32)
    new[[ds.label_map.index(c) for c in sorted(chosen)]] = np.arange(len(chosen))
    return new


def check_disjoint(first: Iterable[int], second: Iterable[int]) -> None:
    """Refuses two sets of classes that share some.

    Raises:
      ValueError: naming the shared classes.
    """
    shared = sorted(set(first) & set(second))
    if shared:
        raise ValueError(f"classes {_ranges(shared)} are in both sets; give each class to one")


def class_halves(classes: Sequence[int], *, seed: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two random halves of the classes, each sorted; of an odd number the second has one more.

    Raises:
      ValueError: where there are fewer than two classes.
    """
    if len(classes) < 2:
        raise ValueError(f"{len(classes)} classes have no halves; give at least two")
    order = [sorted(classes)[i] for i in permutation(len(classes), seed=seed)]
    middle = len(order) // 2
    return tuple(sorted(order[:middle])), tuple(sorted(order[middle:]))


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
    order = permutation(ds.train.labels.size, seed=seed)
    taken, left_out = [], 0
    for output in range(ds.classes):
        rows = order[ds.train.labels[order] == output]
        half = rows.size // 2
        if half == 0:
            raise ValueError(
                f"class {ds.label_map[output]} of {ds.name!r} has {rows.size} training examples; "
                "a half needs at least two"
            )
        taken.append(rows[:half] if which == "a" else rows[half : 2 * half])
        left_out += rows.size - 2 * half
    odd = f", {left_out} odd examples in neither" if left_out else ""
    return dataclasses.replace(
        ds,
        train=rows_of(ds.train, np.sort(np.concatenate(taken))),
        notes=(*ds.notes, f"half {which} of the training examples of each class, seed {seed}{odd}"),
    )


def limit(ds: Dataset, *, train: int | None = None, test: int | None = None) -> Dataset:
    """The first examples of each split; None keeps all.

    Raises:
      ValueError: where a number is below 1 or above what there is.
    """
    notes = list(ds.notes)
    splits = {}
    for what, n in (("train", train), ("test", test)):
        split = getattr(ds, what)
        if n is None:
            continue
        there = split.labels.size
        if not 1 <= n <= there:
            raise ValueError(
                f"{ds.name!r} has {there} {what} examples; limit them to 1 or more, "
                f"and no more than that; got {n}"
            )
        splits[what] = rows_of(split, slice(n))
        notes.append(f"only the first {n} of {there} {what} examples")
    return dataclasses.replace(ds, **splits, notes=tuple(notes))


def _ranges(classes: Sequence[int]) -> str:
    """Classes as `parse_classes` reads them: `0-4,7`."""
    runs: list[list[int]] = []
    for c in sorted(classes):
        if runs and c == runs[-1][-1] + 1:
            runs[-1].append(c)
        else:
            runs.append([c])
    return ",".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs)
