"""Settings: a frozen dataclass whose fields are the flags of a binary and the name of its run.

One field made by `setting` is one flag, one line of `--help` and one part of the run id. A
problem that a user can repair is a ValueError or an OSError; `run` prints it as one line.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import fractions
import hashlib
import json
import math
import os
import re
import sys
from typing import Any, NoReturn, TypeVar, cast, get_type_hints

from absl import app, flags, logging

from ltjax import trees

flags.disclaim_key_flags()  # --help lists the flags under the binary, not under this file.

T = TypeVar("T")

_DEFINE: Mapping[Any, Callable[..., flags.FlagHolder]] = {
    str: flags.DEFINE_string,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    bool: flags.DEFINE_bool,
    tuple[str, ...]: flags.DEFINE_list,
}


def setting(default: Any, help: str, *, unit: str = "", identity: bool = True) -> Any:
    """A dataclass field that becomes a flag.

    Args:
      default: value without the flag; str, int, float, bool or a tuple of str.
      help: a sentence for `--help`.
      unit: what the number counts, for instance `steps`.
      identity: False for what cannot change a result (a path, a device): it stays out of the
        run id.
    """
    metadata = {"help": help, "unit": unit, "identity": identity}
    return dataclasses.field(default=default, metadata=metadata)


def define_flags(
    cls: type[T],
    flag_values: flags.FlagValues = flags.FLAGS,
    *,
    presets: Mapping[str, Mapping[str, Any]] | None = None,
) -> Callable[[], T]:
    """Declares a flag for each field of `cls`; returns what reads the settings back.

    Args:
      cls: frozen dataclass of fields made by `setting`; inherited fields count.
      flag_values: where to declare them; tests pass their own.
      presets: named sets of field values, chosen by `--preset`. A flag on the command line wins
        over the preset, the preset over the default.

    Raises:
      ValueError: from the returned function, where there is no such preset.
    """
    kinds = get_type_hints(cls)
    holders = {}
    for field in dataclasses.fields(cast(Any, cls)):
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        define = _DEFINE[kinds[field.name]]
        holders[field.name] = define(field.name, default, _help(field), flag_values=flag_values)
    rows = {
        preset: {name: _typed(kinds[name], value) for name, value in row.items()}
        for preset, row in (presets or {}).items()
    }
    preset_holder = None
    if rows:
        text = f"A set of settings: {', '.join(rows)}. Flags beside it win over it."
        preset_holder = flags.DEFINE_string("preset", "", text, flag_values=flag_values)

    def read() -> T:
        chosen = preset_holder.value if preset_holder is not None else ""
        row = trees.lookup(rows, chosen, "preset") if chosen else {}
        values = {}
        for name, holder in holders.items():
            use_row = name in row and not holder.present
            values[name] = row[name] if use_row else _typed(kinds[name], holder.value)
        return cls(**values)

    return read


def _help(field: dataclasses.Field) -> str:
    unit = field.metadata["unit"]
    return field.metadata["help"] + (f" [{unit}]" if unit else "")


def _typed(kind: Any, value: Any) -> Any:
    if kind == tuple[str, ...]:
        return tuple(value)
    if kind is float:
        return float(value)
    assert type(value) is kind, f"{value!r} is no {kind.__name__}"
    return value


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


def steps(text: str, *, examples: int, batch: int) -> int:
    """The number of steps in a duration: `50000it` (steps), `160ep` (epochs), or `0`.

    Batches straddle epochs and none is dropped, so `e` epochs are ceil(e * examples / batch)
    steps; `e` may be a decimal fraction.

    Args:
      text: the duration.
      examples: number of training examples.
      batch: examples in a batch.

    Raises:
      ValueError: where the unit is missing or the number is not one.
    """
    if batch < 1 or examples < 1:
        raise ValueError(f"batch and examples are at least 1; got {batch} and {examples}")
    if text == "0":
        return 0
    if match := re.fullmatch(r"([0-9]+)it", text):
        return int(match[1])
    if match := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)ep", text):
        return math.ceil(fractions.Fraction(match[1]) * examples / batch)
    raise ValueError(
        f"a duration is 0, or a number and its unit, as 50000it or 160ep; got {text!r}"
    )


def pairs(text: str) -> dict[str, float]:
    """Reads `conv=0.1,dense=0.2`; an empty text is an empty dict.

    Raises:
      ValueError: where a part is not a name, `=` and a finite number, or a name comes twice.
    """
    found = {}
    for part in text.split(",") if text else []:
        name, equals, number = (piece.strip() for piece in part.partition("="))
        if not name or not equals:
            raise ValueError(
                f"expected name=number, as conv=0.1,dense=0.2; got {part!r} in {text!r}"
            )
        if name in found:
            raise ValueError(f"{name!r} is given twice in {text!r}; give it once")
        found[name] = _number(number, text)
    return found


def floats(text: str) -> tuple[float, ...]:
    """Reads `1.0,0.5`; an empty text is an empty tuple.

    Raises:
      ValueError: where a part is not a finite number.
    """
    return tuple(_number(part, text) for part in text.split(",")) if text else ()


def _number(part: str, text: str) -> float:
    try:
        number = float(part)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"expected a finite number, as 0.5; got {part!r} in {text!r}")
    return number


def run(
    main: Callable[[], int | None] | Callable[[Sequence[str]], int | None],
    *,
    arguments: str = "",
) -> None:
    """Runs a binary: parses the flags, calls `main`, exits with what it returns.

    With `arguments` (what they are, for messages) the binary needs at least one argument beside
    its flags, and `main` takes them.

    A bad flag, a ValueError and an OSError become one line on standard error and exit code 2;
    LTJAX_DEBUG=1 in the environment shows the traceback too. Any other exception is a fault of
    the program and keeps its traceback.
    """

    def guarded(argv: Sequence[str]) -> int | None:
        given = list(argv[1:])
        if arguments and not given:
            _fail(f"give {arguments} (--help says more)")
        if given and not arguments:
            _fail(f"unexpected argument {argv[1]!r}; settings are flags, as --name=value")
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)  # Orbax logs 50 lines a checkpoint.
        try:
            return cast(Callable[..., int | None], main)(*([given] if arguments else []))
        except (ValueError, OSError) as error:
            if os.environ.get("LTJAX_DEBUG") == "1":
                raise
            _fail(str(error) or type(error).__name__)

    app.run(guarded, flags_parser=_parse)


def _parse(argv: Sequence[str]) -> list[str]:
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        _fail(f"{error} (--help lists the flags)")


def _fail(message: str) -> NoReturn:
    print("error:", " ".join(message.split()), file=sys.stderr)
    sys.exit(2)
