"""Launching a binary: flags to an exit code; what a user can repair is one line, no traceback.

Such a problem is a ValueError or an OSError, wherever it comes up.
"""

from collections.abc import Callable, Sequence
import errno
import os
import re
import signal
import sys
from typing import Any, NoReturn, cast

from absl import app, flags, logging


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
