"""Settings: a frozen dataclass whose fields are the flags of a binary and the name of its run.

One field made by `setting` is one flag, one line of `--help`, one rule for its values and one part
of the run id.
"""

from collections.abc import Callable, Iterable, Mapping
import dataclasses
import functools
import hashlib
import json
import math
from typing import Any, Generic, NamedTuple, TypeVar, cast, get_type_hints

from absl import flags

from ltjax.command.readers import duration, floats, inside, numbers, pairs, path, span, steps, whole
from ltjax.core import trees

__all__ = [
    "Flags",
    "Settings",
    "as_dict",
    "define_flags",
    "duration",
    "floats",
    "from_dict",
    "numbers",
    "override",
    "pairs",
    "path",
    "preset",
    "run_id",
    "setting",
    "span",
    "steps",
    "whole",
]

flags.disclaim_key_flags()  # --help lists the flags under the binary, not under this file.

T = TypeVar("T")


class _Kind(NamedTuple):
    """What the values of a field are: in messages, as a flag, and where numbers lie by default."""

    noun: str
    define: Callable[..., flags.FlagHolder]
    within: str = ""


_KINDS: Mapping[Any, _Kind] = {
    str: _Kind("a text", flags.DEFINE_string),
    int: _Kind("a whole number", flags.DEFINE_integer, "[0, 2147483647]"),
    float: _Kind("a number", flags.DEFINE_float, "[0, 1e38]"),
    bool: _Kind("true or false", flags.DEFINE_bool),
    tuple[str, ...]: _Kind("a list of texts", flags.DEFINE_list),
}

Presets = Mapping[str, Mapping[str, Any]]
"""Named sets of field values."""


def setting(
    default: Any,
    help: str,
    *,
    unit: str = "",
    identity: bool = True,
    within: str = "",
    choices: Iterable[str] = (),
    check: Callable[[str], Any] | None = None,
    alias: str = "",
    acts: tuple[Callable[[Any], Any], str] | None = None,
) -> Any:
    """A dataclass field that becomes a flag.

    Args:
      default: value without the flag; str, int, float, bool or a tuple of str.
      help: a sentence for `--help`.
      unit: what the number counts, for instance `steps`.
      identity: False for what cannot change a result (a path, a device): it stays out of the
        run id.
      within: the interval of a number, as `[0, 1)`; by default no number is
        negative, infinite or beyond 32 bits.
      choices: all values of a text, or of each part of a tuple; read when a value is checked, so
        that a table may still grow. An empty text is one where it is the default.
      check: raises a ValueError for what a text, or a part of a tuple, must not be.
      alias: another name of the flag, which an earlier version gave it.
      acts: with which settings the field has an effect, and when it has none, as `beside x`; a
        flag without one is refused.
    """
    if not within and type(default) in _KINDS:
        within = _KINDS[type(default)].within
    metadata = {"help": help, "unit": unit, "identity": identity, "within": within}
    metadata |= {"choices": choices, "check": check, "alias": alias, "acts": acts}
    return dataclasses.field(default=default, metadata=metadata)


def override(cls: type, name: str, default: Any, **changes: Any) -> Any:
    """A field of `cls` again, for a class that inherits it, with another default.

    Args:
      cls: the settings class that has the field.
      name: of the field.
      default: value without the flag.
      changes: other arguments of `setting`; the rest stays as it was.
    """
    (field,) = (field for field in dataclasses.fields(cls) if field.name == name)
    return setting(default, **{**field.metadata, **changes})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """The base of settings: an object whose fields break their rules cannot be made."""

    def __post_init__(self) -> None:
        """Holds every field against the rule that stands beside it.

        Raises:
          ValueError: naming the first flag that breaks its rule, its value and the rule.
        """
        kinds = _kinds(type(self))
        for field in dataclasses.fields(self):
            _check(field, kinds[field.name], getattr(self, field.name))


_kinds = functools.cache(get_type_hints)


def _check(field: dataclasses.Field, kind: Any, value: Any) -> None:
    name, rule = field.name, field.metadata
    if kind is float and type(value) is int:
        value = float(value) if abs(value) < 2**1000 else math.inf
    parts = value if isinstance(value, tuple) else (value,)
    fits = type(value) is kind
    if kind == tuple[str, ...]:
        fits = parts is value and all(isinstance(part, str) for part in parts)
    if not fits:
        raise ValueError(f"{name} is {_KINDS[kind].noun}; got {value!r}")
    if rule["within"] and not inside(cast(float, value), rule["within"]):
        raise ValueError(f"{name} lies in {rule['within']}; got {value}")
    choices = tuple(rule["choices"])
    if choices and parts is value and len({*parts}) < len(parts):
        raise ValueError(f"{name} names something twice; got {','.join(parts)}; give each once")
    for part in parts:
        if part == "" and not field.default:
            continue
        if choices and part not in choices:
            raise ValueError(trees.unknown(part, choices, name))
        if rule["check"] is not None:
            try:
                rule["check"](part)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error


class Flags(Generic[T]):
    """The flags of a binary, declared: called after parsing, it gives the settings."""

    def __init__(
        self, cls: type[T], flag_values: flags.FlagValues, presets: Presets, default: str
    ) -> None:
        self._cls, self._flags, self._presets = cls, flag_values, presets
        for name in presets:  # One that does not fit fails at once.
            _ = _values(cls, presets, name)
        self._base = _values(cls, presets, default)
        for field in dataclasses.fields(cast(Any, cls)):
            define, value = _KINDS[_kinds(cls)[field.name]].define, self._base[field.name]
            _ = define(field.name, _plain(value), _help(field), flag_values=flag_values)
            if alias := field.metadata["alias"]:
                _ = flags.DEFINE_alias(alias, field.name, flag_values=flag_values)
        if presets:
            text = f"A set of settings: {', '.join(presets)}. Flags beside it win over it."
            _ = flags.DEFINE_string("preset", default, text, flag_values=flag_values)

    def __call__(self) -> T:
        """The settings.

        Raises:
          ValueError: where there is no such preset, both names of a flag are given, or a value
            breaks the rule of its field or acts on nothing.
        """
        given = {name: self._flags[name].value for name in self.given}
        made = self._cls(**(self._base | self._row | _typed(self._cls, given)))
        for field in dataclasses.fields(cast(Any, made)):
            name, alias, acts = field.name, field.metadata["alias"], field.metadata["acts"]
            if alias and 0 < self._flags[alias].present < self._flags[name].present:
                raise ValueError(f"{name} and {alias} are one flag; give one of them")
            changed = name in given and getattr(made, name) != self._base[name]
            if acts is not None and changed and not acts[0](made):
                raise ValueError(f"{name} has no effect {acts[1]}; drop it")
        return made

    @property
    def given(self) -> frozenset[str]:
        """The fields whose flags, under either name, stand on the command line."""
        return frozenset(name for name in self._base if self._flags[name].present)

    @property
    def chosen(self) -> frozenset[str]:
        """The fields that the command line, or the preset chosen there, sets."""
        return self.given | self._row.keys()

    @property
    def _row(self) -> dict[str, Any]:
        flag = self._flags["preset"] if self._presets else None
        if flag is None or not flag.present or not flag.value:
            return {}
        return _typed(self._cls, trees.lookup(self._presets, flag.value, "preset"))


def define_flags(
    cls: type[T],
    flag_values: flags.FlagValues = flags.FLAGS,
    *,
    presets: Presets | None = None,
    default: str = "",
) -> Flags[T]:
    """Declares a flag for each field, and `--preset` where there are some.

    A flag on the command line wins over the chosen preset, that one over the default preset, and
    the default preset over the defaults of the class.

    Args:
      cls: frozen dataclass of fields made by `setting`; inherited fields count.
      flag_values: where to declare them; tests pass their own.
      presets: what `--preset` chooses from.
      default: the preset that holds where none is chosen, and under the one that is; empty for
        none. `--help` shows its values.
    """
    return Flags(cls, flag_values, presets or {}, default)


def preset(
    cls: type[T], presets: Presets, name: str = "", *, default: str = "", **changes: Any
) -> T:
    """The settings that `--preset=name` gives, with changes.

    Raises:
      ValueError: where there is no such preset, or a value breaks the rule of its field.
    """
    return cls(**(_values(cls, presets, default, name) | _typed(cls, changes)))


def _values(cls: Any, presets: Presets, *names: str) -> dict[str, Any]:
    """The defaults of the class under the presets named, the later ones on top."""
    values = {field.name: field.default for field in dataclasses.fields(cls)}
    for name in filter(None, names):
        values |= _typed(cls, trees.lookup(presets, name, "preset"))
    return values


def _help(field: dataclasses.Field) -> str:
    rule = field.metadata
    within = "" if rule["within"] in [kind.within for kind in _KINDS.values()] else rule["within"]
    also = rule["alias"] and f"also --{rule['alias']}"
    text = "; ".join(filter(None, (rule["unit"], within, also)))
    return rule["help"] + (f" [{text}]" if text else "")


def _typed(cls: type, row: Mapping[str, Any]) -> dict[str, Any]:
    """Values as their fields have them: lists as tuples, whole numbers as floats where asked."""
    typed = {}
    for name, value in row.items():
        kind = _kinds(cls)[name]
        if kind is float or kind == tuple[str, ...]:
            value = (float if kind is float else tuple)(value)
        assert kind == tuple[str, ...] or type(value) is kind, f"{name}={value!r} is no {kind}"
        typed[name] = value
    return typed


def from_dict(cls: type[T], values: Any, *, what: str) -> T:
    """Settings from what `as_dict` gave, perhaps of another version or of another program.

    Args:
      cls: the settings class.
      values: as JSON reads them.
      what: where they come from, for messages.

    Raises:
      ValueError: where they are no settings of this class, or break the rule of a field.
    """
    known = _kinds(cls).keys() & (values if isinstance(values, Mapping) else ())
    if not known:
        raise ValueError(f"{what} holds no settings of {cls.__name__}; give another")
    found = {name: values[name] for name in known}
    try:
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in found.items()})
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from error


def as_dict(settings: Any, *, identity_only: bool = False) -> dict[str, Any]:
    """The settings as JSON reads them back.

    Args:
      settings: an instance of a settings class.
      identity_only: leave out what cannot change a result.
    """
    return {
        field.name: _plain(getattr(settings, field.name))
        for field in dataclasses.fields(settings)
        if field.metadata["identity"] or not identity_only
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def run_id(settings: Any, *, prefix: str, version: int = 1) -> str:
    """A stable name: the prefix and a hash of the settings that differ from their defaults.

    A new field whose default changes nothing renames no run. Where a default changes, or the
    same settings give other results, raise `version`.

    Args:
      settings: an instance of a settings class, whose name is part of the id.
      prefix: readable part of the name.
      version: number of the meaning of the settings.
    """
    differing = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        value = float(value) if isinstance(field.default, float) else value
        if field.metadata["identity"] and value != field.default:
            differing[field.name] = _plain(value)
    named = {"class": type(settings).__name__, "version": version, "fields": differing}
    text = json.dumps(named, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return f"{prefix}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
