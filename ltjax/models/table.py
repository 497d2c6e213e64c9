"""Networks by name."""

from collections.abc import Callable
import functools
import re
from typing import Any, NamedTuple

from flax import linen as nn

from ltjax.core import trees
from ltjax.models import inits, nets
from ltjax.models.network import Network
from ltjax.models.own import from_flax


class Row(NamedTuple):
    """How to build one network.

    Attributes:
      build: makes the module of `classes`, `kernel_init`, `head_hidden` and, where it has
        paddings, `padding`.
      paddings: of its convolutions, that one may ask for; the first is the default. Empty for a
        network without convolutions.
      init: the default initialization.
    """

    build: Callable[..., nn.Module]
    paddings: tuple[str, ...] = ()
    init: str = "glorot_normal"


def _row(
    net: Callable[..., nn.Module], *paddings: str, init: str = "glorot_normal", **own: Any
) -> Row:
    return Row(functools.partial(net, **own), paddings, init)


def _mlp(*widths: int) -> Row:
    return _row(nets.Mlp, widths=widths)


_conv_net = functools.partial(_row, nets.ConvNet)
_lrn_net = functools.partial(_row, nets.LrnNet, "SAME", "VALID")
_resnet = functools.partial(_row, nets.ResNet, "SAME", init="he_normal")

MODELS: dict[str, Row] = {
    "lenet-300-100": _mlp(300, 100),
    # VALID: 3,317,952 weights on CIFAR-10, as the tables of the report on multiple tickets need;
    # SAME: 4,300,992, as Frankle & Carbin print.
    "conv2": _conv_net("VALID", "SAME", pairs=(64,), widths=(256, 256)),
    "conv4": _conv_net("SAME", "VALID", pairs=(64, 128), widths=(256, 256)),
    "conv6": _conv_net("SAME", "VALID", pairs=(64, 128, 256), widths=(256, 256)),
    "resnet20": _resnet(channels=(16, 32, 64), blocks=3),
    # Table I of paper 000; the padding is that of its pools.
    "lrn2": _lrn_net(channels=64, size=5, widths=(384, 192)),
    "mlp-tiny": _mlp(8),  # This and the following are for tests.
    "conv-tiny": _conv_net("SAME", "VALID", pairs=(4,), widths=(8,)),
    "resnet-tiny": _resnet(channels=(4, 8), blocks=1),
    "lrn-tiny": _lrn_net(channels=4, size=3, widths=(8,)),
}
"""Networks by name; a row added here is one more, in flags too. Besides these, `lenet-` or `mlp-`
and any widths of hidden layers."""


def row(name: str) -> Row:
    """The row of `name`; a fully connected network is made of its widths.

    Raises:
      ValueError: where there is no such network.
    """
    if name in MODELS:
        return MODELS[name]
    found = re.fullmatch(r"(?:lenet|mlp)-([\d-]+)", name)
    if found is None:
        raise ValueError(trees.unknown(name, [*MODELS, "lenet-WIDTHS", "mlp-WIDTHS"], "model"))
    widths = found[1].split("-")
    if not all(width.isdecimal() and int(width) > 0 for width in widths):
        raise ValueError(
            f"model {name!r} needs one width of at least 1 a hidden layer, for instance mlp-300-100"
        )
    return _mlp(*map(int, widths))


def make(
    name: str,
    *,
    input_shape: tuple[int, int, int],
    classes: int,
    init: str = "",
    padding: str = "",
    head_hidden: tuple[int, ...] = (),
) -> Network:
    """The network called `name`.

    Args:
      name: a name in `MODELS`, or `lenet-` or `mlp-` and widths: `mlp-64-32`.
      input_shape: height, width and channels of one image.
      classes: number of logits.
      init: how kernels are drawn (`inits.parse`); empty for the network's default.
      padding: `SAME` or `VALID` convolutions; empty for the network's default.
      head_hidden: widths of further dense layers with ReLU (`head_hidden_0`, ...) before the head.

    Raises:
      ValueError: where a setting is not there or does not fit the network.
    """
    chosen = row(name)
    if any(width < 1 for width in head_hidden):
        raise ValueError(f"head_hidden are widths of layers, each at least 1; got {head_hidden}")
    settings = {
        "classes": classes,
        "kernel_init": inits.parse(init or chosen.init),
        "head_hidden": tuple(head_hidden),
    }
    if chosen.paddings:
        settings["padding"] = padding or chosen.paddings[0]
    if padding and padding not in chosen.paddings:
        offers = " or ".join(chosen.paddings) or "none, it has no convolutions"
        raise ValueError(f"model {name} has no padding {padding!r}; it takes {offers}")
    return from_flax(chosen.build(**settings), input_shape=input_shape, classes=classes, name=name)
