"""Names for the trees and arrays that the package passes around.

The law of the code base stands here: a mask has the structure and the leaf shapes of the
parameters, and is boolean. This is the only file with jaxtyping strings.
"""
# pyright: reportUndefinedVariable=false, reportInvalidTypeForm=false, reportGeneralTypeIssues=false

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import jax
from jaxtyping import Bool, Float, Int, PyTree, UInt8
import numpy as np

if TYPE_CHECKING:
    Array: TypeAlias = jax.Array
else:  # Tests check the law at run time, where trees of the host are trees too.
    Array: TypeAlias = jax.Array | np.ndarray

Key: TypeAlias = jax.Array
"""A typed key, as `jax.random.key` makes it."""

Scalar: TypeAlias = Float[Array, ""]
Images: TypeAlias = Float[Array, "batch height width channels"]
Pixels: TypeAlias = UInt8[Array, "n height width channels"]
Labels: TypeAlias = Int[Array, " n"]
Logits: TypeAlias = Float[Array, "batch classes"]

Params: TypeAlias = PyTree[Float[Array, " ?*leaf"], " Net"]
"""Nested dicts of float32 arrays, for instance `{"dense_0": {"kernel": ..., "bias": ...}}`."""

Scores: TypeAlias = PyTree[Float[Array, " ?*leaf"], " Net"]
"""One number a weight; the lowest are pruned first."""

Mask: TypeAlias = PyTree[Bool[Array, " ?*leaf"], " Net"]
"""True keeps a weight. A leaf that must not be pruned is all True."""

Stats: TypeAlias = PyTree[Float[Array, "..."]]
"""Running statistics of batch normalization; an empty dict for a network without."""

Tree: TypeAlias = Any
"""Any pytree of arrays."""

LossFn: TypeAlias = Callable[[Params], Scalar]


class Variables(NamedTuple):
    """Everything that a network learns: parameters and running statistics."""

    params: Params
    stats: Stats
