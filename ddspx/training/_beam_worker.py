"""What a worker of Apache Beam calls.

It imports this module, which does not import JAX, so that it first sets how many threads and which
devices JAX uses.
"""

import os
import sys
from typing import Any

from ddspx.io._pool import ENVIRONMENT


def measured(element: tuple[int, str], *, work: str, settings: dict[str, Any]) -> str:
    """Computes the spool of a recording; returns its number and what is known of it, as JSON."""
    if "jax" not in sys.modules:
        os.environ.update(ENVIRONMENT)
    from ddspx.training._beam_spools import spooled_anywhere, to_json
    from ddspx.training._spool import SpoolConfig

    index, path = element
    return to_json(index, spooled_anywhere(path, work, SpoolConfig(**settings)))
