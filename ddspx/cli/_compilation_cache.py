"""JAX's cache of compiled programs on disk, which makes the next command start faster."""

import os

from ddspx._folders import cache_folder


def keep_programs() -> None:
    """Makes JAX cache compiled programs in the user's cache, on Linux ``~/.cache/ddspx/jax``.

    If JAX_COMPILATION_CACHE_DIR is set, it is left as it is. If the folder cannot be written to,
    nothing is cached.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        folder = cache_folder() / "jax"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return
    if os.access(folder, os.W_OK):
        # JAX reads these variables when it is imported. Setting them does not import it, which some
        # commands never do.
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
        # By default JAX caches programs that take a second or more to compile; most take less.
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
