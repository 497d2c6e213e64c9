"""Networks by name."""

from collections.abc import Callable
import functools
import re
from typing import NamedTuple

from flax import linen as nn

from ltjax.core import trees
from ltjax.models import inits, nets
from ltjax.models.conv import check as check_formulation
from ltjax.models.network import Network
from ltjax.models.own import from_flax


class Row(NamedTuple):
    """How to build one network.

    Attributes:
      build: makes the module of `classes`, `kernel_init`, `head_hidden` and, where it has
        paddings, `padding` and `formulation`.
      paddings: of its convolutions, that one may ask for; the first is the default. Empty for a
        network without convolutions.
      init: the default initialization.
    """

    build: Callable[..., nn.Module]
    paddings: tuple[str, ...] = ()
    init: str = "glorot_normal"


def _fixed_padding(build: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    def without_padding(*, padding: str, **settings: object) -> nn.Module:
        del padding
        return build(**settings)

    return without_padding


def _resnet(channels: tuple[int, ...], blocks: int) -> Row:
    build = _fixed_padding(functools.partial(nets.ResNet, channels=channels, blocks=blocks))
    return Row(build, ("SAME",), "he_normal")


def _conv_net(pairs: tuple[int, ...], widths: tuple[int, ...], *paddings: str) -> Row:
    return Row(functools.partial(nets.ConvNet, pairs=pairs, widths=widths), paddings)


def _lrn_net(channels: int, size: int, widths: tuple[int, ...]) -> Row:
    build = functools.partial(nets.LrnNet, channels=channels, size=size, widths=widths)
    return Row(build, ("SAME", "VALID"))


def _mlp(*widths: int) -> Row:
    return Row(functools.partial(nets.Mlp, widths=widths))


MODELS: dict[str, Row] = {
    "lenet-300-100": _mlp(300, 100),
    # VALID: 3,317,952 weights on CIFAR-10, as the tables of the report on multiple tickets need;
    # SAME: 4,300,992, as Frankle & Carbin print.
    "conv2": _conv_net((64,), (256, 256), "VALID", "SAME"),
    "conv4": _conv_net((64, 128), (256, 256), "SAME", "VALID"),
    "conv6": _conv_net((64, 128, 256), (256, 256), "SAME", "VALID"),
    "resnet20": _resnet((16, 32, 64), 3),
    # Table I of paper 000; the padding is that of its pools.
    "lrn2": _lrn_net(64, 5, (384, 192)),
    "mlp-tiny": _mlp(8),  # This and the following are for tests.
    "conv-tiny": _conv_net((4,), (8,), "SAME", "VALID"),
    "resnet-tiny": _resnet((4, 8), 1),
    "lrn-tiny": _lrn_net(4, 3, (8,)),
}
"""Networks by name; a row added here is one more, in flags too. Besides these, `lenet-` or `mlp-`
and any widths of hidden layers."""


def row(name: str) -> Row:
    """The row of `name`; a fully connected network is made of its widths.

    Raises:
      ValueError: where there is no such network.
    """
    if name not in MODELS and (found := re.fullmatch(r"(?:lenet|mlp)-([\d-]+)", name)):
        widths = found[1].split("-")
        if not all(width.isdecimal() and int(width) > 0 for width in widths):
            raise ValueError(
                f"model {name!r} needs one width of at least 1 a hidden layer, "
                "for instance mlp-300-100"
            )
        return _mlp(*map(int, widths))
    if name in MODELS:
        return MODELS[name]
    raise ValueError(trees.unknown(name, [*MODELS, "lenet-WIDTHS", "mlp-WIDTHS"], "model"))


def make(
    name: str,
    *,
    input_shape: tuple[int, int, int],
    classes: int,
    init: str = "",
    padding: str = "",
    head_hidden: tuple[int, ...] = (),
    conv: str = "auto",
) -> Network:
    """The network called `name`.

    Args:
      name: a name in `MODELS`, or `lenet-` or `mlp-` and widths: `mlp-64-32`.
      input_shape: height, width and channels of one image.
      classes: number of logits.
      init: how kernels are drawn (`inits.parse`); empty for the network's default.
      padding: `SAME` or `VALID` convolutions; empty for the network's default.
      head_hidden: widths of further dense layers with ReLU (`head_hidden_0`, ...) before the head.
      conv: formulation of the convolutions, a name in `conv.FORMULATIONS` or `auto`.

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
    check_formulation(conv)
    if chosen.paddings:
        settings |= {"padding": padding or chosen.paddings[0], "formulation": conv}
    if padding and padding not in chosen.paddings:
        offers = " or ".join(chosen.paddings) or "none, it has no convolutions"
        raise ValueError(f"model {name} has no padding {padding!r}; it takes {offers}")
    return from_flax(chosen.build(**settings), input_shape=input_shape, classes=classes, name=name)
