"""A user's own Flax Linen module as a network, and all that can be wrong with one."""

from collections.abc import Callable, Collection, Iterator, Sequence
import contextlib
import dataclasses
import inspect
import math
import re
from typing import Any, NamedTuple
import warnings

from flax import core, errors
from flax import linen as nn
import jax
from jax.interpreters import partial_eval
import jax.numpy as jnp
import numpy as np

from ltjax.core import keys, trees
from ltjax.core.types import Images, Key, Logits, Stats, Tree, Variables
from ltjax.models.network import Network, image_shape

FLAGS = {
    "train": True,
    "training": True,
    "is_training": True,
    "deterministic": False,
    "use_running_average": False,
}
"""Names by which a module is told whether it trains, and the value that says that it does."""

_A_FLAG = f"an argument `train` (or {', '.join(list(FLAGS)[1:])})"


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
    `FLAGS`, else by its attributes of such a name; other arguments keep their defaults. In
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
    own = _Own(module, name, *_flags(module, name))

    def draw(key: Key) -> Tree:
        image = jnp.zeros((1, *input_shape), jnp.float32)
        return core.unfreeze(nn.meta.unbox(own.call("init", key, image, train=False)))

    @jax.jit  # Else the module would run, operation by operation, on an image of zeros.
    def init(key: Key) -> Variables:
        tree = jax.tree.map(_single, draw(key))
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
    variables = _check_variables(own, network, draw)
    images = jax.ShapeDtypeStruct((2, *input_shape), jnp.float32)
    drawn, count = _check_calls(own, variables, images, classes)
    _check_head(variables, network, count)
    return network._replace(classes=count)


class _Own(NamedTuple):
    """A module, and the arguments and the attributes that tell it whether it trains."""

    module: nn.Module
    name: str
    arguments: Sequence[str]
    attributes: Sequence[str]

    def call(self, method: str, *args: Any, train: bool, **rest: Any) -> Any:
        """`module.init` or `module.apply`, told whether it trains."""
        set_: Any = {flag: train == FLAGS[flag] for flag in self.attributes}
        module = self.module.clone(**set_) if set_ else self.module
        told = {flag: train == FLAGS[flag] for flag in self.arguments}
        return getattr(module, method)(*args, **told, **rest)

    def run(
        self, variables: Variables, images: Images, rngs: dict[str, Key], **settings: Any
    ) -> Any:
        """`module.apply`; `settings` are `train`, `mutable` and further arguments of the module."""
        tree = {"params": variables.params}
        if variables.stats:
            tree["batch_stats"] = variables.stats
        return self.call("apply", tree, images, rngs=rngs, **settings)


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


def _single(leaf: jax.Array) -> jax.Array:
    """Doubles, as some initializers draw them in 64-bit mode, as float32."""
    return leaf.astype(jnp.float32) if leaf.dtype == jnp.float64 else leaf


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


def _parameters(module: nn.Module) -> list[inspect.Parameter]:
    """The parameters of `__call__` behind the images."""
    return list(inspect.signature(module.__call__).parameters.values())[1:]


def _flags(module: nn.Module, name: str) -> tuple[list[str], list[str]]:
    """The arguments, else the attributes, that say whether the module trains.

    Raises:
      ValueError: where the module has an argument that nobody can know.
    """
    any_keyword = False
    for p in _parameters(module):
        any_keyword |= p.kind is p.VAR_KEYWORD
        given = p.name in FLAGS and p.kind is not p.POSITIONAL_ONLY
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) or given:
            continue
        if p.default is p.empty or p.name in FLAGS:
            raise ValueError(
                f"{name} has an argument `{p.name}` that nobody gives it; give it a default, or, "
                f"where it says whether the module trains, make it {_A_FLAG}"
            )
    arguments = [p.name for p in _parameters(module) if p.name in FLAGS]
    fields = [f.name for f in dataclasses.fields(module) if f.name in FLAGS and not arguments]
    attributes = [f for f in fields if isinstance(getattr(module, f), bool | None)]
    # A Sequential hands keywords to its first layer only.
    if any_keyword and not (arguments or attributes or isinstance(module, nn.Sequential)):
        raise ValueError(
            f"{name} takes any keyword, so nobody can know which one says whether it trains; "
            f"give its __call__ {_A_FLAG}"
        )
    return arguments, attributes


@contextlib.contextmanager
def _in_one_sentence(what: str) -> Iterator[None]:
    """Turns any error of a module into one sentence; keeps it as the cause where it helps."""
    try:
        yield
    except Exception as error:
        text = " ".join(str(error).split(" (https://")[0].split())[:300]
        if "constructor" in text and "at call time" in text:  # As `flax.linen.merge_param` says.
            text += f" Set it in one place: from {_A_FLAG} of __call__"
        known = isinstance(error, errors.FlaxError | ValueError)
        raise ValueError(f"{what}: {type(error).__name__}: {text}") from (None if known else error)


def _check_variables(own: _Own, network: Network, draw: Callable[[Key], Tree]) -> Variables:
    """Shapes of the variables, where they are those of a network."""
    name = own.name
    too_small = f"images {network.input_shape} are too small for {name}: no pixel is left"
    with _in_one_sentence(f"{name} draws no weights for images {network.input_shape}"):
        try:
            tree = jax.eval_shape(draw, _a_key())
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


def _trace(own: _Own, variables: Variables, images: Any, *, train: bool, **more: Any) -> _Traced:
    drawn: tuple[str, ...] = ()
    # Intermediates are for those who look; parameters are those of `init`.
    mutable = core.DenyList(("intermediates", "params")) if train else ()

    def call(variables: Variables, images: Images, key: Key) -> Any:
        rngs = dict.fromkeys(drawn, key)
        output, changed = own.run(variables, images, rngs, train=train, mutable=mutable, **more)
        return output, core.unfreeze(changed)

    while True:  # Flax names the missing collection; nothing else knows which ones there are.
        try:
            jaxpr, shapes = jax.make_jaxpr(call, return_shape=True)(variables, images, _a_key())
        except errors.InvalidRngError as error:
            asked = re.search(r'PRNG for "([^"]+)"', str(error))
            if not train or asked is None or asked[1] in drawn:
                raise
            drawn += (asked[1],)
        else:
            output, changed = shapes
            return _Traced(jaxpr.jaxpr, output, changed, drawn)


def _check_calls(
    own: _Own, variables: Variables, images: Any, classes: int | None
) -> tuple[tuple[str, ...], int]:
    """The collections of random numbers that the module asks for, and the number of logits."""
    name, idle, still = own.name, set(), set()
    about = f"{name} fails on images {list(images.shape)}"
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
            f"{_A_FLAG} of __call__ (deterministic=not train), or set its rate to 0"
        )
    for switch, value, turned, more in _switches(own):
        other = None
        with contextlib.suppress(Exception):  # Nobody asked for this value.
            other = _trace(turned, variables, images, train=True, **more)
        if other and {*other.drawn} - {*trained.drawn}:
            raise ValueError(
                f"{name} draws random numbers only where `{switch}` is {value}, which nobody says; "
                f"make it {_A_FLAG}"
            )
    return trained.drawn, classes


def _switches(own: _Own) -> Iterator[tuple[str, bool, _Own, dict[str, bool]]]:
    """Arguments and attributes that are true or false and that nobody sets, turned round."""
    for p in _parameters(own.module):
        if p.name not in FLAGS and isinstance(p.default, bool):
            yield p.name, not p.default, own, {p.name: not p.default}
    for field in dataclasses.fields(own.module):
        value = getattr(own.module, field.name, None)
        if field.init and isinstance(value, bool) and field.name not in own.attributes:
            set_: Any = {field.name: not value}
            yield field.name, not value, own._replace(module=own.module.clone(**set_)), {}


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
        outputs = [k == 1 + i for k in range(1 + count)]
        used = partial_eval.dce_jaxpr(trained.jaxpr, outputs)[1]
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
        rate = getattr(module, "rate" if isinstance(module, nn.Dropout) else "dropout_rate", 0)
        given = kwargs.get("rng") is not None or kwargs.get("dropout_rng") is not None
        if getattr(module, "momentum", None) == 1 and _of_flax(module):
            still.add("/".join(module.path))
        if context.method_name != "__call__" or given or not _acts(module, rate):
            return call(*args, **kwargs)
        before = drawn(module)
        result = call(*args, **kwargs)
        if drawn(module) == before:
            idle.add("/".join(module.path))
        return result

    return watch


def _acts(module: nn.Module, rate: Any) -> bool:
    """Whether it is a layer of Flax itself with a rate at which it has something to draw."""
    return _of_flax(module) and isinstance(rate, float | np.floating) and 0 < float(rate) < 1


def _of_flax(module: nn.Module) -> bool:
    """Whether it is a layer of Flax, or made of one as a class."""
    layers = (kind for kind in type(module).__mro__ if issubclass(kind, nn.Module))
    return any(kind.__module__.startswith("flax.linen.") for kind in layers if kind != nn.Module)


def _check_head(variables: Variables, network: Network, classes: int) -> None:
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


def _a_key() -> Any:
    return jax.eval_shape(lambda: jax.random.key(0))
