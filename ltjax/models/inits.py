"""Distributions that kernels are drawn from; biases start at zero, scales at one."""

from collections.abc import Callable, Mapping
import math
from typing import Any, TypeAlias

from jax.nn import initializers

from ltjax.core import trees

Initializer: TypeAlias = Callable[..., Any]


INITS: Mapping[str, Initializer] = {
    "glorot_normal": initializers.glorot_normal(),
    "glorot_uniform": initializers.glorot_uniform(),
    "he_normal": initializers.he_normal(),
    "he_normal_fan_out": initializers.variance_scaling(2.0, "fan_out", "truncated_normal"),
}
"""Distributions by name; `truncated_normal:SD` is one more, with its number.

The normal ones are cut at two standard deviations and widened so that their variance is the
one of Glorot & Bengio (2010) or He et al. (2015), as in TensorFlow and JAX.
"""


def parse(text: str) -> Initializer:
    """The distribution called `text`: a name in `INITS` or `truncated_normal:SD`.

    SD is the standard deviation before values beyond two of them are redrawn (TensorFlow's
    `truncated_normal`; Frankle & Carbin, 2018); that of the drawn values is 0.88 SD.

    Raises:
      ValueError: where there is no such distribution, or SD is no positive number.
    """
    name, colon, number = text.partition(":")
    if text in INITS:
        return INITS[text]
    if name != "truncated_normal":
        raise ValueError(trees.unknown(text, [*INITS, "truncated_normal:SD"], "initialization"))
    try:
        sd = float(number)
    except ValueError:
        sd = math.nan
    if not (colon and 0 < sd < math.inf):
        raise ValueError(
            f"initialization {text!r} needs a positive standard deviation behind the colon, "
            "for instance truncated_normal:0.1"
        )
    return initializers.truncated_normal(sd, lower=-2.0, upper=2.0)
