"""The experiments: thin binaries over the library."""

import os
import signal
import sys
from typing import NoReturn


def _early(number: int, frame: object) -> NoReturn:
    del frame
    os.write(2, b"interrupted before anything began\n")
    os._exit(128 + number)


if sys.argv[0] == "-m":  # Python is still looking for the binary; `config.run` takes it over.
    for _number in (signal.SIGINT, signal.SIGTERM):
        _ = signal.signal(_number, _early)
