"""The experiments: thin binaries over the library."""

import os
import signal
import sys
from typing import NoReturn


def _early(number: int, frame: object) -> NoReturn:
    del number, frame
    os.write(2, b"interrupted before anything began\n")
    os._exit(130)


if sys.argv[0] == "-m":  # Python is still looking for the binary; `config.run` takes it over.
    _ = signal.signal(signal.SIGINT, _early)
