"""Data sets by name as uint8 arrays, their subsets, and the order and changes of examples.

Loading and subsets are NumPy on the host; augmentation and order are JAX, keyed, for use inside a
compiled step.
"""

from ltjax.data.adapt import NORMALIZATIONS, adapt, normalize
from ltjax.data.augment import AUGMENTATIONS, AugmentFn, window
from ltjax.data.dataset import Dataset, Split, make, statistics
from ltjax.data.order import shuffled
from ltjax.data.subsets import (
    Parts,
    check_disjoint,
    class_parts,
    draw_halves,
    halve,
    parse_classes,
    take_classes,
)
from ltjax.data.table import DATASETS, load
from ltjax.data.tfds_source import Tfds

__all__ = [
    "AUGMENTATIONS",
    "DATASETS",
    "NORMALIZATIONS",
    "AugmentFn",
    "Dataset",
    "Parts",
    "Split",
    "Tfds",
    "adapt",
    "check_disjoint",
    "class_parts",
    "draw_halves",
    "halve",
    "load",
    "make",
    "normalize",
    "parse_classes",
    "shuffled",
    "statistics",
    "take_classes",
    "window",
]
