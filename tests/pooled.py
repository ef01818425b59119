"""Functions that tests apply to items in spawned processes, which import them from here."""

import os
import signal
import sys
import time
import warnings
from pathlib import Path


def warned_square(x):
    time.sleep(0.2 * (x == 0))
    if x == 3:
        raise FileNotFoundError(2, "no such number", "three")
    warnings.warn(f"squared {x}", UserWarning, stacklevel=1)
    return x * x, os.getpid(), os.environ["NPROC"], os.environ["JAX_PLATFORMS"]


def killed(x):
    os.kill(os.getpid(), signal.SIGKILL)


def noted(folder, x):
    """Writes down that it began and, some time later, that it ended."""
    Path(folder, f"began-{x}-{os.getpid()}").touch()
    time.sleep(3)
    Path(folder, f"ended-{x}").touch()
    return x


if __name__ == "__main__":
    from functools import partial

    from ddspx.io._pool import mapped

    # A process that a shell starts in the background ignores SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        print(list(mapped(partial(noted, sys.argv[1]), range(4), workers=2)))
    except KeyboardInterrupt:
        sys.exit(130)
