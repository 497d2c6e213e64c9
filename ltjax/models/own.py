"""A user's own Flax Linen module as a network."""

from collections.abc import Collection
from typing import Any
import warnings

from flax import core
from flax import linen as nn
import jax
import jax.numpy as jnp

from ltjax.core import keys
from ltjax.core.types import Images, Key, Logits, Stats, Tree, Variables
from ltjax.models import checks, told
from ltjax.models.network import Network, image_shape


def from_flax(
    module: nn.Module,
    *,
    input_shape: tuple[int, int, int],
    classes: int | None = None,
    head: str = "head",
    name: str | None = None,
) -> Network:
    """Makes a network of a Flax Linen module that maps images [n, h, w, c] to logits [n, classes].

    Whether it trains, the module is told by those arguments of its `__call__` that have a name in
    `told.FLAGS`, else by its attributes of such a name; other arguments keep their defaults. In
    training each collection of random numbers that it asks for by `make_rng` (`dropout`, `noise`,
    ...) gets a key derived of that of `apply`. Refused are modules whose batch normalization never
    moves its statistics in training, and those whose dropout never acts.

    Args:
      module: the module, without its weights.
      input_shape: height, width and channels of one image.
      classes: number of logits; read off the module where left out.
      head: name of the module's layer that computes the logits.
      name: name of the network; that of the module's class where left out.

    Raises:
      ValueError: where the module is not of this kind; nothing has been computed then.
    """
    if not isinstance(module, nn.Module):
        raise ValueError(_stranger(module))
    name = name or type(module).__name__
    input_shape = image_shape(input_shape)
    if classes is not None and classes < 1:
        raise ValueError(f"classes is the number of logits, at least 1; got {classes}")
    own = told.Own(module, name, *told.flags(module, name))

    def draw(key: Key) -> Tree:
        image = jnp.zeros((1, *input_shape), jnp.float32)
        return core.unfreeze(nn.meta.unbox(own.call("init", key, image, train=False)))

    @jax.jit  # Else the module would run, operation by operation, on an image of zeros.
    def init(key: Key) -> Variables:
        # In 64-bit mode some initializers draw doubles.
        tree = jax.tree.map(lambda x: x.astype("float32") if x.dtype == "float64" else x, draw(key))
        return Variables(tree.get("params", {}), tree.get("batch_stats", {}))

    def apply(
        variables: Variables, images: Images, *, train: bool, key: Key | None = None
    ) -> tuple[Logits, Stats]:
        if images.shape[1:] != input_shape or not jnp.issubdtype(images.dtype, jnp.floating):
            raise ValueError(
                f"{name} takes images as floats [n, {', '.join(map(str, input_shape))}]; "
                f"got {images.dtype}{list(images.shape)}"
            )
        rngs = _rngs(drawn, key, name) if train else {}
        if not (train and variables.stats):
            logits = own.run(variables, images, rngs, train=train)
            return logits.astype(jnp.float32), variables.stats
        logits, new = own.run(variables, images, rngs, train=True, mutable=["batch_stats"])
        return logits.astype(jnp.float32), core.unfreeze(new)["batch_stats"]

    network = Network(name, init, apply, input_shape, classes or 0, head)
    variables = checks.check_variables(own, network, draw)
    drawn, count = checks.check_calls(own, variables, input_shape, classes)
    checks.check_head(variables, network, count)
    return network._replace(classes=count)


def _rngs(drawn: Collection[str], key: Key | None, name: str) -> dict[str, Key]:
    if not drawn:
        return {}
    if key is None:
        warnings.warn(
            f"{name} draws random numbers ({', '.join(drawn)}) in training and got no key, so "
            "they are the same at every step; give `apply` a key a step",
            stacklevel=3,
        )
        key = jax.random.key(0)
    return {of: keys.derive(key, f"rng {of}") for of in drawn}


def _stranger(module: Any) -> str:
    """What to do with what is no Linen module."""
    kind = module if isinstance(module, type) else type(module)
    if issubclass(kind, nn.Module):
        return f"from_flax takes a module, not its class; give {kind.__name__}(...)"
    nnx = any(base.__module__.startswith("flax.nnx") for base in kind.__mro__)
    what = f"{kind.__name__} is a Flax NNX module" if nnx else f"{kind.__name__} is no module"
    return (
        f"{what} and from_flax takes Linen ones; make an ltjax.models.Network of it by two "
        "functions, as help(ltjax.models.Network) shows"
    )
