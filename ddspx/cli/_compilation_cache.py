"""Compiled programs outlive the process, so that the next command starts sooner."""

import os

from ddspx._folders import cache_folder


def keep_programs() -> None:
    """Has JAX keep what it compiles in ``jax`` in the user's cache, ``~/.cache/ddspx`` on Linux.

    Whoever has set JAX_COMPILATION_CACHE_DIR has decided; where the folder cannot be written to,
    nothing is kept.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        folder = cache_folder() / "jax"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return
    if os.access(folder, os.W_OK):
        # JAX reads these when it is imported, which not every command has it be.
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
        # Most of the programs take less than the second from which JAX keeps them otherwise.
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
