"""What a network is outside this package: two pure functions and its shapes."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from ltjax.core.types import Images, Key, Logits, Stats, Variables


class Apply(Protocol):
    """Computes logits.

    With `train` it normalizes by the batch and returns the running statistics that follow, and
    dropout and other noise act, drawn from `key`; else it normalizes by the running statistics,
    returns them as they were, and draws nothing. A network that draws nothing ignores `key`.
    """

    def __call__(  # noqa: D102
        self, variables: Variables, images: Images, *, train: bool, key: Key | None = None
    ) -> tuple[Logits, Stats]: ...


class Network(NamedTuple):
    """A network without its weights.

    `from_flax` makes one of a Linen module. Any two functions make another, for instance of a
    class `Net` of Flax NNX (with a layer `head`):

        def init(key):
            _, params, stats, _ = nnx.split(Net(nnx.Rngs(key)), nnx.Param, nnx.BatchStat, ...)
            return Variables(nnx.to_pure_dict(params), nnx.to_pure_dict(stats))


        def apply(variables, images, *, train, key=None):
            net = Net(nnx.Rngs(jax.random.key(0) if key is None else key))
            nnx.update(net, variables.params)
            nnx.update(net, variables.stats)
            net.train() if train else net.eval()
            logits = net(images)
            return logits, nnx.to_pure_dict(nnx.state(net, nnx.BatchStat))


        network = models.Network("net", init, apply, input_shape=(28, 28, 1), classes=10)

    Attributes:
      name: what records and messages call it.
      init: draws the weights, and the running statistics of a network that has not trained.
      apply: logits in float32, and running statistics.
      input_shape: height, width and channels of one image.
      classes: number of logits.
      head: name of the module that computes the logits.
    """

    name: str
    init: Callable[[Key], Variables]
    apply: Apply
    input_shape: tuple[int, int, int]
    classes: int
    head: str = "head"

    def shapes(self) -> Variables:
        """Shapes and dtypes of the variables; computes and allocates nothing."""
        return jax.eval_shape(self.init, a_key())


def sigmoid(network: Network) -> Network:
    """A network of one logit z as a network of two classes, with logits (0, z).

    Its softmax is the sigmoid of z, and its cross-entropy that of one sigmoid unit.

    Raises:
      ValueError: where the network has another number of logits.
    """
    if network.classes != 1:
        raise ValueError(f"a sigmoid output has one logit; {network.name} has {network.classes}")

    def apply(
        variables: Variables, images: Images, *, train: bool, key: Key | None = None
    ) -> tuple[Logits, Stats]:
        logit, stats = network.apply(variables, images, train=train, key=key)
        return jnp.concatenate([jnp.zeros_like(logit), logit], axis=-1), stats

    return network._replace(apply=apply, classes=2)


def central(network: Network, input_shape: tuple[int, int, int]) -> Network:
    """A network that sees the centre of images of another shape.

    Images as the network itself takes them, as a random window cuts them in training, are taken
    too.

    Args:
      network: for images no larger.
      input_shape: height, width and channels of the images.

    Raises:
      ValueError: where the network does not fit into such images.
    """
    seen, shape = network.input_shape, image_shape(input_shape)
    if shape[2] != seen[2] or any(a > b for a, b in zip(seen, shape, strict=True)):
        raise ValueError(
            f"a window of {list(seen)} does not fit in images of {list(shape)}; take a smaller one"
        )

    def apply(
        variables: Variables, images: Images, *, train: bool, key: Key | None = None
    ) -> tuple[Logits, Stats]:
        top, left = (
            (size - kept) // 2 for size, kept in zip(images.shape[1:3], seen, strict=False)
        )
        images = images[:, top : top + seen[0], left : left + seen[1]]
        return network.apply(variables, images, train=train, key=key)

    return network._replace(apply=apply, input_shape=shape)


def a_key() -> Any:
    """The shape of a key, to trace with."""
    return jax.eval_shape(lambda: jax.random.key(0))


def image_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """`shape` where it is that of an image.

    Raises:
      ValueError: where it is not height, width and channels.
    """
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"input_shape is (height, width, channels), each at least 1; got {shape}")
    height, width, channels = (int(size) for size in shape)
    return height, width, channels
