"""Settings: a frozen dataclass whose fields are the flags of a binary and the name of its run.

One field made by `setting` is one flag, one line of `--help`, one rule for its values and one part
of the run id. A problem that a user can repair is a ValueError or an OSError; `run` prints it as
one line.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
import errno
import functools
import hashlib
import json
import math
import os
import re
import signal
import sys
from typing import Any, Generic, NoReturn, TypeVar, cast, get_type_hints

from absl import app, flags, logging

from ltjax.command.readers import duration, floats, inside, numbers, pairs, path, span, steps, whole
from ltjax.core import trees

__all__ = [
    "Flags",
    "Settings",
    "as_dict",
    "as_typed",
    "define_flags",
    "describe",
    "duration",
    "floats",
    "from_dict",
    "inside",
    "is_full",
    "numbers",
    "pairs",
    "path",
    "run",
    "run_id",
    "setting",
    "span",
    "steps",
    "whole",
]

flags.disclaim_key_flags()  # --help lists the flags under the binary, not under this file.

T = TypeVar("T")

_DEFINE: Mapping[Any, Callable[..., flags.FlagHolder]] = {
    str: flags.DEFINE_string,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    bool: flags.DEFINE_bool,
    tuple[str, ...]: flags.DEFINE_list,
}


_WITHIN: Mapping[type, str] = {int: "[0, 2147483647]", float: "[0, 1e38]"}
"""Where numbers lie if nothing else is said: what 32 bits hold, and not below 0."""


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
    if isinstance(default, int | float) and not isinstance(default, bool):
        within = within or _WITHIN[type(default)]
    metadata = {"help": help, "unit": unit, "identity": identity, "within": within}
    metadata |= {"choices": choices, "check": check, "alias": alias, "acts": acts}
    return dataclasses.field(default=default, metadata=metadata)


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
    if kind == tuple[str, ...]:
        fits = isinstance(value, tuple) and all(isinstance(part, str) for part in value)
    else:
        fits = type(value) is kind
    if not fits:
        raise ValueError(f"{name} is {_NOUN[kind]}; got {value!r}")
    if rule["within"] and not inside(cast(float, value), rule["within"]):
        raise ValueError(f"{name} lies in {rule['within']}; got {value}")
    if isinstance(value, tuple) and rule["choices"] and len({*value}) < len(value):
        raise ValueError(f"{name} names something twice; got {','.join(value)}; give each once")
    for part in (value,) if isinstance(value, str) else value if isinstance(value, tuple) else ():
        choices = tuple(rule["choices"])
        if choices and part not in choices and (part or field.default):
            raise ValueError(trees.unknown(part, choices, name))
        if rule["check"] is not None and (part or field.default):
            try:
                rule["check"](part)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error


_NOUN: Mapping[Any, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple[str, ...]: "a list of texts",
}


class Flags(Generic[T]):
    """The flags of a binary, declared: called after parsing, it gives the settings.

    Args:
      cls: frozen dataclass of fields made by `setting`; inherited fields count.
      flag_values: where to declare them; tests pass their own.
      presets: named sets of field values, chosen by `--preset`. A flag on the command line wins
        over the preset, the preset over the default.
    """

    def __init__(
        self,
        cls: type[T],
        flag_values: flags.FlagValues,
        presets: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self._cls, self._kinds, self._values = cls, _kinds(cls), flag_values
        self._holders: dict[str, list[flags.FlagHolder]] = {}
        for field in dataclasses.fields(cast(Any, cls)):
            default = list(field.default) if isinstance(field.default, tuple) else field.default
            define, alias = _DEFINE[self._kinds[field.name]], field.metadata["alias"]
            held = define(field.name, default, _help(field), flag_values=flag_values)
            self._holders[field.name] = [held]
            if alias:
                other = flags.DEFINE_alias(alias, field.name, flag_values=flag_values)
                self._holders[field.name].append(other)
        self._presets = {
            preset: {name: _typed(self._kinds[name], value) for name, value in row.items()}
            for preset, row in presets.items()
        }
        self._preset = None
        if presets:
            text = f"A set of settings: {', '.join(presets)}. Flags beside it win over it."
            self._preset = flags.DEFINE_string("preset", "", text, flag_values=flag_values)

    def __call__(self) -> T:
        """The settings.

        Raises:
          ValueError: where there is no such preset, both names of a flag are given, or a value
            breaks the rule of its field.
        """
        values = {}
        for name, (holder, *others) in self._holders.items():
            for alias in (other.name for other in others):
                if 0 < self._values[alias].present < self._values[name].present:
                    raise ValueError(f"{name} and {alias} are one flag; give one of them")
            use_row = name in self._row and name not in self.given
            values[name] = self._row[name] if use_row else _typed(self._kinds[name], holder.value)
        made = self._cls(**values)
        for field in dataclasses.fields(cast(Any, made)):
            acts, differs = field.metadata["acts"], values[field.name] != field.default
            if acts is not None and field.name in self.given and differs and not acts[0](made):
                raise ValueError(f"{field.name} has no effect {acts[1]}; drop it")
        return made

    @property
    def given(self) -> frozenset[str]:
        """The fields whose flags stand on the command line."""
        return frozenset(
            name for name, held in self._holders.items() if any(h.present for h in held)
        )

    @property
    def chosen(self) -> frozenset[str]:
        """The fields that the command line or the chosen preset sets."""
        return self.given | self._row.keys()

    @property
    def _row(self) -> Mapping[str, Any]:
        chosen = self._preset.value if self._preset is not None else ""
        return trees.lookup(self._presets, chosen, "preset") if chosen else {}


def define_flags(
    cls: type[T],
    flag_values: flags.FlagValues = flags.FLAGS,
    *,
    presets: Mapping[str, Mapping[str, Any]] | None = None,
) -> Flags[T]:
    """Declares a flag for each field of `cls`; see `Flags`."""
    return Flags(cls, flag_values, presets or {})


def _help(field: dataclasses.Field) -> str:
    parts = [field.metadata["unit"]]
    if field.metadata["within"] not in _WITHIN.values():
        parts.append(field.metadata["within"])
    if field.metadata["alias"]:
        parts.append(f"also --{field.metadata['alias']}")
    text = "; ".join(filter(None, parts))
    return field.metadata["help"] + (f" [{text}]" if text else "")


def _typed(kind: Any, value: Any) -> Any:
    if kind == tuple[str, ...]:
        return tuple(value)
    if kind is float:
        return float(value)
    assert type(value) is kind, f"{value!r} is no {kind.__name__}"
    return value


def from_dict(cls: type[T], values: Any, *, what: str) -> T:
    """Settings from what `as_dict` gave, perhaps of another version or of another program.

    Args:
      cls: the settings class.
      values: as JSON reads them.
      what: where they come from, for messages.

    Raises:
      ValueError: where they are no settings of this class, or break the rule of a field.
    """
    fields = {field.name for field in dataclasses.fields(cast(Any, cls))}
    if not isinstance(values, Mapping) or not fields & values.keys():
        raise ValueError(f"{what} holds no settings of {cls.__name__}; give another")
    known = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in fields}
    try:
        return cls(**known)
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


def describe(settings: Any) -> str:
    """One line a setting; a star marks those that differ from their default."""
    lines = []
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        star = "*" if value != field.default else " "
        text = ",".join(value) if isinstance(value, tuple) else str(value)
        lines.append(f"{star} {field.name} = {text} {field.metadata['unit']}".rstrip())
    return "\n".join(lines)


def run_id(settings: Any, *, prefix: str, version: int = 1, exclude: Sequence[str] = ()) -> str:
    """A stable name: the prefix and a hash of the settings that differ from their defaults.

    A new field whose default changes nothing renames no run. Where a default changes, or the
    same settings give other results, raise `version`.

    Args:
      settings: an instance of a settings class, whose name is part of the id.
      prefix: readable part of the name.
      version: number of the meaning of the settings.
      exclude: further fields that cannot change a result.
    """
    differing = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        value = float(value) if isinstance(field.default, float) else value
        if field.metadata["identity"] and field.name not in exclude and value != field.default:
            differing[field.name] = _plain(value)
    named = {"class": type(settings).__name__, "version": version, "fields": differing}
    text = json.dumps(named, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return f"{prefix}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def run(
    main: Callable[[], int | None] | Callable[[Sequence[str]], int | None],
    *,
    arguments: str = "",
    again: str = "the same command goes on where it stopped",
    ending: Callable[[], None] = lambda: None,
) -> None:
    """Runs a binary: parses the flags, calls `main`, exits with what it returns.

    With `arguments` (what they are, for messages) the binary needs at least one argument beside
    its flags, and `main` takes them.

    A bad flag, a ValueError and an OSError become one line on standard error and exit code 2;
    LTJAX_DEBUG=1 in the environment shows the traceback too. Ctrl-C and SIGTERM end the process at
    once, after `ending`, with one line that ends with `again` and the exit codes of a shell, 130
    and 143: what is on the disk is whole at every moment, and an exception is lost where it comes
    up in a callback (of the garbage collector, in the middle of a compilation). Any other exception
    is a fault of the program and keeps its traceback.
    """

    def stop(number: int, frame: Any) -> NoReturn:
        del frame
        try:
            ending()
            start = "\n" if os.isatty(2) else ""  # Below a bar.
            _ = os.write(2, f"{start}interrupted; {again}\n".encode())
        finally:
            os._exit(128 + number)

    def guarded(argv: Sequence[str]) -> int | None:
        given = list(argv[1:])
        if arguments and not given:
            _fail(f"give {arguments} (--help says more)")
        if given and not arguments:
            _fail(f"unexpected argument {argv[1]!r}; settings are flags, as --name=value")
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.FATAL)  # Orbax logs 50 lines a checkpoint.
        for number in (signal.SIGINT, signal.SIGTERM):
            _ = signal.signal(number, stop)
        try:
            return cast(Callable[..., int | None], main)(*([given] if arguments else []))
        except (ValueError, OSError) as error:
            if os.environ.get("LTJAX_DEBUG") == "1":
                raise
            more = f"; make room, and {again}" if is_full(error) and again not in str(error) else ""
            _fail(as_typed(str(error) or type(error).__name__) + more)

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            cast(Any, stream).reconfigure(errors="backslashreplace")  # A locale may lack letters.
    app.run(guarded, flags_parser=_parse)


def as_typed(message: str, flag_values: flags.FlagValues = flags.FLAGS) -> str:
    """A message with the names that the command line has for the flags it speaks of."""
    for name in flag_values:
        of = re.fullmatch(r"Alias for --(\w+)\.", flag_values[name].help or "")
        if of and flag_values[of[1]].present == flag_values[name].present > 0:
            message = re.sub(rf"\b{of[1]}\b", name, message)
    return message


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or one behind it, says that a disk or a quota is full.

    TensorStore and orbax raise a ValueError or a RuntimeError with the system's words in it.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if any(os.strerror(number) in str(error) for number in (errno.ENOSPC, errno.EDQUOT)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _parse(argv: Sequence[str]) -> list[str]:
    try:
        return flags.FLAGS(argv)
    except (flags.Error, ValueError) as error:  # absl raises both.
        _fail(f"{error} (--help lists the flags)")


def _fail(message: str) -> NoReturn:
    print("error:", " ".join(message.split()), file=sys.stderr)
    sys.exit(2)
