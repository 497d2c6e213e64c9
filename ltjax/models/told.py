"""A Linen module of a user's, and how it is told whether it trains."""

from collections.abc import Sequence
import dataclasses
import inspect
from typing import Any, NamedTuple

from flax import linen as nn

from ltjax.core.types import Images, Key, Variables

FLAGS = {
    "train": True,
    "training": True,
    "is_training": True,
    "deterministic": False,
    "use_running_average": False,
}
"""Names by which a module is told whether it trains, and the value that says that it does."""

A_FLAG = f"an argument `train` (or {', '.join(list(FLAGS)[1:])})"


class Own(NamedTuple):
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


def parameters(module: nn.Module) -> list[inspect.Parameter]:
    """The parameters of `__call__` behind the images."""
    return list(inspect.signature(module.__call__).parameters.values())[1:]


def flags(module: nn.Module, name: str) -> tuple[list[str], list[str]]:
    """The arguments, else the attributes, that say whether the module trains.

    Raises:
      ValueError: where the module has an argument that nobody can know.
    """
    for p in parameters(module):
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            continue
        told = p.kind is not p.POSITIONAL_ONLY if p.name in FLAGS else p.default is not p.empty
        if not told:
            raise ValueError(
                f"{name} has an argument `{p.name}` that nobody gives it; give it a default, or, "
                f"where it says whether the module trains, make it {A_FLAG}"
            )
    arguments = [p.name for p in parameters(module) if p.name in FLAGS]
    fields = [f.name for f in dataclasses.fields(module) if f.name in FLAGS and not arguments]
    attributes = [f for f in fields if isinstance(getattr(module, f), bool | None)]
    any_keyword = any(p.kind is p.VAR_KEYWORD for p in parameters(module))
    # A Sequential hands keywords to its first layer only.
    if any_keyword and not (arguments or attributes or isinstance(module, nn.Sequential)):
        raise ValueError(
            f"{name} takes any keyword, so nobody can know which one says whether it trains; "
            f"give its __call__ {A_FLAG}"
        )
    return arguments, attributes
