"""Parts of one data set that are trained on side by side, each by a replicate of its own.

The images lie on the device once. What differs between the parts is rows and outputs, which are
data of a member, so one compiled program trains on all of them.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np

from ltjax.data.dataset import Dataset, Split
from ltjax.data.subsets import check_classes, output_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parts:
    """Some classes of a data set for each replicate.

    Attributes:
      whole: where the examples lie, with its own labels; its statistics normalize all parts.
      train_rows: int32 [parts, n], rows of its training split.
      test_rows: int32 [parts, t], rows of its test split; -1 fills up parts that have fewer.
      outputs: int32 [parts, whole.classes], the output of each label of the whole; labels that
        a part lacks never come up.
      label_maps: the class of each output, by part.
    """

    whole: Dataset
    train_rows: np.ndarray
    test_rows: np.ndarray
    outputs: np.ndarray
    label_maps: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        """Number of parts."""
        return len(self.label_maps)

    @property
    def name(self) -> str:
        """The name of the whole."""
        return self.whole.name

    @property
    def train(self) -> Split:
        """The training split of the whole."""
        return self.whole.train

    @property
    def test(self) -> Split:
        """The test split of the whole."""
        return self.whole.test

    @property
    def mean(self) -> tuple[float, ...]:
        """Of the pixels of the whole."""
        return self.whole.mean

    @property
    def std(self) -> tuple[float, ...]:
        """Of the pixels of the whole."""
        return self.whole.std

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        return self.whole.shape

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
      ValueError: where there are no parts, they differ in their number of classes, or one names a
        class twice or one that `ds` lacks.
    """
    if not classes:
        raise ValueError("no parts; name the classes of at least one")
    if len({len(part) for part in classes}) != 1:
        sizes = ", ".join(str(len(part)) for part in classes)
        raise ValueError(
            f"parts of {sizes} classes cannot share one network; give each as many classes"
        )
    maps = tuple(check_classes(ds, part) for part in classes)
    outputs = np.stack([output_of(ds, part) for part in maps])
    train, test = (
        [np.flatnonzero(new[split.labels] >= 0).astype(np.int32) for new in outputs]
        for split in (ds.train, ds.test)
    )
    fewest, most = min(map(len, train)), max(map(len, test))
    return Parts(
        whole=ds,
        train_rows=np.stack([rows[:fewest] for rows in train]),
        test_rows=np.stack(
            [np.pad(rows, (0, most - len(rows)), constant_values=-1) for rows in test]
        ),
        outputs=np.maximum(outputs, 0),
        label_maps=maps,
    )
