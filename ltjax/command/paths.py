"""Paths as users give them: `~` is the home directory, and nothing but this machine is written."""

import os
import pathlib
import re

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
