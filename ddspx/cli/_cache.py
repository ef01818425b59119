"""Compiled programs outlive the process, so that the next command starts sooner."""

import os
from pathlib import Path

import jax


def keep_programs() -> None:
    """Has JAX keep what it compiles in ``~/.cache/ddspx/jax`` (XDG_CACHE_HOME is respected).

    Whoever has set JAX_COMPILATION_CACHE_DIR has decided; where the folder cannot be written to,
    nothing is kept.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    root = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = (Path(root) if root else Path.home() / ".cache") / "ddspx" / "jax"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return
    if os.access(folder, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(folder))
        # Most of the programs take less than the second from which JAX keeps them otherwise.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
