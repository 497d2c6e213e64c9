"""Local paths as users give them, and files that are there whole or not at all."""

from collections.abc import Callable
import os
import pathlib
import re
import secrets
from typing import BinaryIO

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # pathlib makes one slash of two.


def local(path: str | os.PathLike[str], what: str = "path") -> pathlib.Path:
    """The local path that `path` means, with a leading `~` expanded.

    Args:
      path: a path, as given by a user or by a flag.
      what: the noun for it in messages, for instance the name of a flag.

    Raises:
      ValueError: where it is empty or no path, has a scheme such as `gs://`, or names the home
        directory of nobody.
    """
    try:
        text = os.fsdecode(path)
    except (TypeError, UnicodeEncodeError) as error:
        raise ValueError(f"{what} must be a path; got {path!r}") from error
    if not text or "\0" in text:
        raise ValueError(f"{what} must name a file or directory; got {text!r}")
    if found := _SCHEME.match(text):
        raise ValueError(
            f"{what} {text!r} is not local, and ltjax reads and writes local files alone; give a "
            f"directory of this machine, and copy from or to {found[0]}/ with its own tool"
        )
    try:
        return pathlib.Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{what} {text!r} names the home directory of nobody") from error


def write_whole(path: pathlib.Path, content: str | bytes | Callable[[BinaryIO], None]) -> None:
    """Writes a file so that it is there whole or not at all, also after a kill.

    A kill may leave a file `.NAME.*.part` beside it.

    Args:
      path: the file; an earlier one is replaced.
      content: what it holds, or what writes that to an open file.

    Raises:
      OSError: where it cannot be written; an earlier file is left as it was.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # A full disk does not say where.
        raise
    finally:
        part.unlink(missing_ok=True)
