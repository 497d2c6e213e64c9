"""All that can be wrong with a user's module, found by tracing it: nothing is computed."""

from collections.abc import Callable, Collection, Iterator
import contextlib
import dataclasses
import math
import re
from typing import Any, NamedTuple

from flax import core, errors
from flax import linen as nn
import jax
from jax.interpreters import partial_eval
import jax.numpy as jnp
import numpy as np

from ltjax.core import trees
from ltjax.core.types import Images, Key, Tree, Variables
from ltjax.models.network import Network, a_key
from ltjax.models.told import A_FLAG, FLAGS, Own, parameters


@contextlib.contextmanager
def _in_one_sentence(what: str) -> Iterator[None]:
    """Turns any error of a module into one sentence; keeps it as the cause where it helps."""
    try:
        yield
    except Exception as error:
        text = " ".join(str(error).split(" (https://")[0].split())[:300]
        if "constructor" in text and "at call time" in text:  # As `flax.linen.merge_param` says.
            text += f" Set it in one place: from {A_FLAG} of __call__"
        known = isinstance(error, errors.FlaxError | ValueError)
        raise ValueError(f"{what}: {type(error).__name__}: {text}") from (None if known else error)


def check_variables(own: Own, network: Network, draw: Callable[[Key], Tree]) -> Variables:
    """Shapes of the variables, where they are those of a network."""
    name = own.name
    too_small = f"images {network.input_shape} are too small for {name}: no pixel is left"
    with _in_one_sentence(f"{name} draws no weights for images {network.input_shape}"):
        try:
            tree = jax.eval_shape(draw, a_key())
        except ZeroDivisionError:  # An initializer that divides by the number of inputs.
            tree = None
    if tree is None or not all(math.prod(p.shape) for p in jax.tree.leaves(tree.get("params"))):
        raise ValueError(too_small)
    _refuse_collections(tree, name)
    paths, leaves = zip(*jax.tree.leaves_with_path(tree), strict=True)
    names = trees.names(tree)
    for leaf_name, path, leaf in zip(names, paths, leaves, strict=True):
        if not all(isinstance(getattr(key, "key", None), str) for key in path):
            raise ValueError(
                f"{leaf_name} of {name} does not lie in dicts by name; declare each array by a "
                "`self.param` of its own"
            )
        if names.count(leaf_name) > 1:  # Flax has names with `/`, as those of WeightNorm.
            raise ValueError(f"two leaves of {name} are called {leaf_name}; rename one")
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise ValueError(f"{leaf_name} of {name} is {leaf.dtype}; what is trained is floats")
    variables = network.shapes()
    if variables.stats and not (own.arguments or own.attributes):
        raise ValueError(
            f"{name} has running statistics but no argument `train`; "
            "add one to __call__ and give BatchNorm use_running_average=not train"
        )
    return variables


def _refuse_collections(tree: Collection[str], name: str) -> None:
    if extra := sorted({*tree} - {"params", "batch_stats"}):
        raise ValueError(
            f"{name} has variables {', '.join(extra)}; a network may have params and batch_stats "
            "only, and a loss that a module sows would be ignored"
        )


class _Traced(NamedTuple):
    """A call of a module that computed nothing.

    Attributes:
      jaxpr: of (variables, images, key) -> (output, changed collections).
      output: shapes of what the module returns.
      changed: shapes of the collections that it may change.
      drawn: the collections of random numbers that it asked for.
    """

    jaxpr: Any
    output: Any
    changed: Any
    drawn: tuple[str, ...]


def _trace(own: Own, variables: Variables, images: Any, *, train: bool, **more: Any) -> _Traced:
    drawn: tuple[str, ...] = ()
    # Intermediates are for those who look; parameters are those of `init`.
    mutable = core.DenyList(("intermediates", "params")) if train else ()

    def call(variables: Variables, images: Images, key: Key) -> Any:
        rngs = dict.fromkeys(drawn, key)
        output, changed = own.run(variables, images, rngs, train=train, mutable=mutable, **more)
        return output, core.unfreeze(changed)

    while True:  # Flax names the missing collection; nothing else knows which ones there are.
        try:
            jaxpr, shapes = jax.make_jaxpr(call, return_shape=True)(variables, images, a_key())
        except errors.InvalidRngError as error:
            asked = re.search(r'PRNG for "([^"]+)"', str(error))
            if not train or asked is None or asked[1] in drawn:
                raise
            drawn += (asked[1],)
        else:
            output, changed = shapes
            return _Traced(jaxpr.jaxpr, output, changed, drawn)


def check_calls(
    own: Own, variables: Variables, shape: tuple[int, int, int], classes: int | None
) -> tuple[tuple[str, ...], int]:
    """Refuses a module that is no network when it is called.

    Args:
      own: the module.
      variables: their shapes.
      shape: height, width and channels of an image.
      classes: number of logits, where it is known.

    Returns:
      The collections of random numbers that training asks for, and the number of logits.

    Raises:
      ValueError: as said.
    """
    name, idle, still = own.name, set(), set()
    about = f"{name} fails on images {[2, *shape]}"
    images = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    with _in_one_sentence(f"{about} with train=False; it must draw and change nothing then"):
        evaluated = _trace(own, variables, images, train=False)
    classes = _check_logits(evaluated.output, name, classes)
    with _in_one_sentence(f"{about} with train=True"), nn.intercept_methods(_watch(idle, still)):
        trained = _trace(own, variables, images, train=True)
    _ = _check_logits(trained.output, name, classes)
    if still:
        raise ValueError(
            f"{name} never moves its statistics in training: {', '.join(sorted(still - {''}))} "
            "keeps a share of 1 of the old ones; give it a momentum below 1"
        )
    _check_statistics(trained, variables, name)
    if idle:
        raise ValueError(
            f"{name} would train without dropout: {', '.join(sorted(idle))} never acts; tell it by "
            f"{A_FLAG} of __call__ (deterministic=not train), or set its rate to 0"
        )
    # Arguments and attributes that are true or false and that nobody sets, turned round.
    turned: list[tuple[str, bool, Own, dict[str, bool]]] = [
        (p.name, not p.default, own, {p.name: not p.default})
        for p in parameters(own.module)
        if p.name not in FLAGS and isinstance(p.default, bool)
    ]
    for field in dataclasses.fields(own.module):
        value = getattr(own.module, field.name, None)
        if field.init and isinstance(value, bool) and field.name not in own.attributes:
            set_: Any = {field.name: not value}
            other = own._replace(module=own.module.clone(**set_))
            turned.append((field.name, not value, other, {}))
    for switch, value, other, more in turned:
        drawn: Collection[str] = ()
        with contextlib.suppress(Exception):  # Nobody asked for this value.
            drawn = _trace(other, variables, images, train=True, **more).drawn
        if {*drawn} - {*trained.drawn}:
            raise ValueError(
                f"{name} draws random numbers only where `{switch}` is {value}, which nobody says; "
                f"make it {A_FLAG}"
            )
    return trained.drawn, classes


def _check_logits(output: Any, name: str, classes: int | None) -> int:
    """The number of logits."""
    if not isinstance(output, jax.ShapeDtypeStruct):
        raise ValueError(
            f"{name} returns a {type(output).__name__}; a network returns its logits alone, "
            "[n, classes]: drop the rest, for instance in a module around it"
        )
    shape, wanted = output.shape, (2, classes or (0, *output.shape)[-1])
    if shape != wanted or 0 in shape:
        raise ValueError(
            f"{name} maps images [2, ...] to {list(shape)}; "
            f"it must be [2, {classes or 'classes'}], one logit a class"
        )
    if not jnp.issubdtype(output.dtype, jnp.floating):
        raise ValueError(f"{name} returns {output.dtype}; logits are floats")
    return wanted[1]


def _check_statistics(trained: _Traced, variables: Variables, name: str) -> None:
    """Refuses statistics that training leaves as they are, or gives another form."""
    _refuse_collections(trained.changed, name)
    with _in_one_sentence(f"{name} changes the form of its statistics in training"):
        trees.check_same_layout(
            trained.changed.get("batch_stats", {}), variables.stats, what="statistics that follow"
        )
    # In order: parameters, statistics, the image and the key; the logits, the statistics.
    first, count = (len(jax.tree.leaves(part)) for part in variables)
    still = []
    for i, leaf in enumerate(trees.names(variables.stats)):
        wanted = [k == 1 + i for k in range(1 + count)]
        used = partial_eval.dce_jaxpr(trained.jaxpr, wanted)[1]
        if not any(used[:first] + used[first + count :]):
            still.append(leaf)
    if still:
        raise ValueError(
            f"{name} never moves its statistics {', '.join(still)} in training; pass the flag on "
            "to that layer (use_running_average=not train), or leave the layer out"
        )


def _watch(idle: set[str], still: set[str]) -> Callable[..., Any]:
    """Notes dropouts (and attentions with one) that draw nothing, and norms of momentum 1."""

    def drawn(module: Any) -> int:  # By itself: layers within it have counters of their own.
        return sum(n for n in module.scope.rng_counters.values() if isinstance(n, int))

    def watch(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        module: Any = context.module
        kinds = (kind for kind in type(module).__mro__ if issubclass(kind, nn.Module))
        of_flax = any(k.__module__.startswith("flax.linen.") for k in kinds if k != nn.Module)
        if of_flax and getattr(module, "momentum", None) == 1:
            still.add("/".join(module.path))
        rate = getattr(module, "rate" if isinstance(module, nn.Dropout) else "dropout_rate", 0)
        acts = isinstance(rate, float | np.floating) and 0 < float(rate) < 1
        given = kwargs.get("rng") is not None or kwargs.get("dropout_rng") is not None
        if not (of_flax and acts) or given or context.method_name != "__call__":
            return call(*args, **kwargs)
        before = drawn(module)
        result = call(*args, **kwargs)
        if drawn(module) == before:
            idle.add("/".join(module.path))
        return result

    return watch


def check_head(variables: Variables, network: Network, classes: int) -> None:
    """Refuses a name of the head that is not that of the layer that computes the logits."""
    kinds = trees.kinds(variables.params, head=network.head)
    shapes = dict(zip(kinds, jax.tree.leaves(variables.params), strict=True))
    widths = [shapes[leaf].shape[-1] for leaf, kind in kinds.items() if kind == "output"]
    modules = sorted({leaf.rpartition("/")[0] for leaf in kinds})
    if not widths:
        raise ValueError(
            f"head {network.head!r} names no module of {network.name} with a kernel; "
            f"there are: {', '.join(modules)}; pass the one that computes the logits as head="
        )
    if classes not in widths:
        raise ValueError(
            f"head {network.head!r} of {network.name} computes {widths[0]} values, not the "
            f"{classes} logits; pass the one that does as head=, of {', '.join(modules)}"
        )
