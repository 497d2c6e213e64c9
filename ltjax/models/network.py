"""What a network is outside this package: two pure functions and its shapes.

A user's own Flax Linen module becomes one through `from_flax`.
"""

from collections.abc import Callable
import inspect
import math
from typing import Any, NamedTuple, Protocol

from flax import core, errors
from flax import linen as nn
import jax
import jax.numpy as jnp

from ltjax import trees
from ltjax.types import Images, Key, Logits, Stats, Variables


class Apply(Protocol):
    """Computes logits.

    With `train` it normalizes by the batch and returns the running statistics that follow; else
    it normalizes by the running statistics and returns them as they were.
    """

    def __call__(  # noqa: D102
        self, variables: Variables, images: Images, *, train: bool
    ) -> tuple[Logits, Stats]: ...


class Network(NamedTuple):
    """A network without its weights.

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
        return jax.eval_shape(self.init, jax.eval_shape(lambda: jax.random.key(0)))


def from_flax(
    module: nn.Module,
    *,
    input_shape: tuple[int, int, int],
    classes: int | None = None,
    head: str = "head",
    name: str | None = None,
) -> Network:
    """Makes a network of a Flax Linen module that maps images [n, h, w, c] to logits [n, classes].

    The module may take an argument `train`, and may have batch normalization (then it must).

    Args:
      module: the module, without its weights.
      input_shape: height, width and channels of one image.
      classes: number of logits; read off the module where left out.
      head: name of the module's layer that computes the logits.
      name: name of the network; that of the module's class where left out.

    Raises:
      ValueError: where the module is not of this kind; nothing has been computed then.
    """
    name = name or type(module).__name__
    input_shape = _image_shape(input_shape)
    if classes is not None and classes < 1:
        raise ValueError(f"classes is the number of logits, at least 1; got {classes}")
    takes_train = _takes_train(module)

    def settings(train: bool) -> dict[str, Any]:
        return {"train": train} if takes_train else {}

    @jax.jit  # Else the module would run, operation by operation, on an image of zeros.
    def init(key: Key) -> Variables:
        image = jnp.zeros((1, *input_shape), jnp.float32)
        tree: Any = core.unfreeze(module.init(key, image, **settings(False)))
        if extra := sorted(set(tree) - {"params", "batch_stats"}):
            raise ValueError(
                f"{name} has variables {', '.join(extra)}; a network may have params and "
                "batch_stats only"
            )
        return Variables(tree.get("params", {}), tree.get("batch_stats", {}))

    def apply(variables: Variables, images: Images, *, train: bool) -> tuple[Logits, Stats]:
        tree: Any = {"params": variables.params}
        if not variables.stats:
            logits: Any = module.apply(tree, images, **settings(train))
            return logits.astype(jnp.float32), variables.stats
        tree["batch_stats"] = variables.stats
        if not train:
            logits = module.apply(tree, images, **settings(False))
            return logits.astype(jnp.float32), variables.stats
        logits, new = module.apply(tree, images, **settings(True), mutable=["batch_stats"])
        return logits.astype(jnp.float32), core.unfreeze(new)["batch_stats"]

    network = Network(name, init, apply, input_shape, classes or 0, head)
    return network._replace(classes=_check(network, takes_train=takes_train, asked=classes))


def sigmoid(network: Network) -> Network:
    """A network of one logit z as a network of two classes, with logits (0, z).

    Its softmax is the sigmoid of z, and its cross-entropy that of one sigmoid unit.

    Raises:
      ValueError: where the network has another number of logits.
    """
    if network.classes != 1:
        raise ValueError(f"a sigmoid output has one logit; {network.name} has {network.classes}")

    def apply(variables: Variables, images: Images, *, train: bool) -> tuple[Logits, Stats]:
        logit, stats = network.apply(variables, images, train=train)
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
    seen, shape = network.input_shape, _image_shape(input_shape)
    if shape[2] != seen[2] or any(a > b for a, b in zip(seen, shape, strict=True)):
        raise ValueError(
            f"a window of {list(seen)} does not fit in images of {list(shape)}; take a smaller one"
        )

    def apply(variables: Variables, images: Images, *, train: bool) -> tuple[Logits, Stats]:
        top, left = (
            (size - kept) // 2 for size, kept in zip(images.shape[1:3], seen, strict=False)
        )
        images = images[:, top : top + seen[0], left : left + seen[1]]
        return network.apply(variables, images, train=train)

    return network._replace(apply=apply, input_shape=shape)


def _image_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"input_shape is (height, width, channels), each at least 1; got {shape}")
    height, width, channels = (int(size) for size in shape)
    return height, width, channels


def _takes_train(module: nn.Module) -> bool:
    return "train" in inspect.signature(module.__call__).parameters


def _check(network: Network, *, takes_train: bool, asked: int | None) -> int:
    """The number of logits, after all that can be wrong with a module was looked for."""
    name = network.name
    too_small = f"images {network.input_shape} are too small for {name}: no pixel is left"
    try:
        variables = network.shapes()
    except ZeroDivisionError as error:  # An initializer that divides by the number of inputs.
        raise ValueError(too_small) from error
    if not all(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables.params)):
        raise ValueError(too_small)
    kinds = trees.kinds(variables.params, head=network.head)
    if "output" not in kinds.values():
        modules = sorted({leaf.rsplit("/", 1)[0] for leaf in kinds})
        raise ValueError(
            f"head {network.head!r} names no module of {name} with a kernel; "
            f"there are: {', '.join(modules)}"
        )
    if variables.stats and not takes_train:
        raise ValueError(
            f"{name} has running statistics but no argument `train`; "
            "add one to __call__ and give BatchNorm use_running_average=not train"
        )
    images = jax.ShapeDtypeStruct((2, *network.input_shape), jnp.float32)
    for train in (False, True):
        try:
            logits, _ = jax.eval_shape(
                lambda v, x, train=train: network.apply(v, x, train=train), variables, images
            )
        except errors.InvalidRngError as error:
            raise ValueError(
                f"{name} draws random numbers (train={train}), for instance in a Dropout; "
                "a network is a pure function of its weights and images"
            ) from error
    wanted = (2, asked or logits.shape[-1])
    if logits.shape != wanted:
        raise ValueError(
            f"{name} maps images [2, ...] to {list(logits.shape)}; "
            f"it must be [2, {asked or 'classes'}], one logit a class"
        )
    return wanted[1]
