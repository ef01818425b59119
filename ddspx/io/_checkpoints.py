"""Checkpoints of a training run: a pytree of arrays and a JSON object, stored by orbax.

A checkpoint is written into a temporary folder, with the SHA-256 digests of its files, and renamed
when all of it is on the disk. So a run that is killed, or whose disk is full, leaves complete
checkpoints only. Nothing is pickled: arrays are stored as arrays, facts as JSON. The digests are
compared before orbax reads any file, because orbax reads a damaged file in background tasks, which
print their errors at arbitrary times.
"""

import errno
import gc
import json
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from ddspx._checks import non_negative_int, positive_int
from ddspx.io._files import is_utf8, sha256_of_file
from ddspx.io._json import read_json
from ddspx.io._replacing import replacing_folder, write_errors

if TYPE_CHECKING:
    from orbax.checkpoint import CheckpointManager

_DIGESTS = "sha256.json"


class Checkpoint(NamedTuple):
    """The contents of a checkpoint."""

    step: int
    arrays: Any
    facts: dict[str, Any]


def save_checkpoint(
    folder: str | Path,
    step: int,
    arrays: Any,
    facts: Mapping[str, Any],
    *,
    keep: int = 3,
    also_keep: Collection[int] = (),
    overwrite: bool = False,
) -> None:
    """Writes one checkpoint and deletes the oldest, so that `keep` of them remain.

    Nothing is deleted before the new one is complete and on the disk.

    Args:
      folder: folder of the checkpoints of one run; it is created if it does not exist.
      step: number of steps taken, at least 0; it names the checkpoint.
      arrays: pytree of arrays. Convert typed random keys by `jax.random.key_data`.
      facts: a mapping that can be stored as JSON.
      keep: how many checkpoints stay on disk.
      also_keep: steps of older checkpoints that stay as well.
      overwrite: whether a checkpoint of the same step is replaced.

    Raises:
      TypeError: `step` or `keep` is not an int, or a leaf of `arrays` is not an array.
      ValueError: `facts` cannot be stored as JSON, `step` is negative or exists already, or `keep`
        is below 1.
      OSError: the checkpoint cannot be written, because the disk is full, for example. Those before
        it are as they were.

    Example:
      >>> import tempfile
      >>> import jax.numpy as jnp
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     save_checkpoint(folder, 3, {"w": jnp.ones(2)}, {"loss": 0.5})
      ...     step, arrays, facts = restore_checkpoint(folder, {"w": jnp.zeros(2)})
      >>> step, arrays["w"].tolist(), facts
      (3, [1.0, 1.0], {'loss': 0.5})
    """
    try:
        json.dumps(dict(facts), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`facts` must be something JSON can hold: {error}.") from error
    step, keep = non_negative_int("step", step), positive_int("keep", keep)
    _check_arrays("arrays", arrays)
    written = Path(folder) / str(step)
    if written.exists() and not overwrite:
        raise ValueError(
            f"`step` {step} is in {folder} already; delete {written} to write it anew."
        )
    with replacing_folder(written, overwrite=True) as staged:
        _write(staged, step, arrays, dict(facts))
        digests = json.dumps(digests_of(staged), indent=1) + "\n"
        (staged / _DIGESTS).write_text(digests, encoding="utf-8")
    older = [other for other in checkpoint_steps(folder) if other < step]
    for other in set(older[: max(0, len(older) + 1 - keep)]).difference(also_keep):
        checkpoint = Path(folder) / str(other)
        with write_errors(checkpoint):
            # Without its digests it does not count any more, even if the deletion is interrupted.
            (checkpoint / _DIGESTS).unlink(missing_ok=True)
            shutil.rmtree(checkpoint)


def _write(staged: Path, step: int, arrays: Any, facts: dict[str, Any]) -> None:
    """Writes what orbax reads as one checkpoint; an error of the system becomes an OSError."""
    import orbax.checkpoint as ocp

    failure = None
    parts = {"arrays": ocp.args.StandardSave(arrays), "facts": ocp.args.JsonSave(facts)}
    with _silent():
        try:
            with _manager(staged) as manager:
                manager.save(step, args=ocp.args.Composite(**parts), force=True)
        except Exception as error:
            failure = _error_of_the_system(error, staged)
            if failure is None:
                raise
        if failure is not None:
            # What orbax has begun in parallel ends in an error of its own when it is collected, so
            # the traceback, which holds it, is not kept.
            gc.collect()
            raise failure
    for path in (staged / str(step)).iterdir():
        path.rename(staged / path.name)
    (staged / str(step)).rmdir()


def _error_of_the_system(error: Exception, staged: Path) -> OSError | None:
    """The error of the system that orbax met; None if it met another."""
    if isinstance(error, OSError):
        fields = (error.errno, error.strerror, error.filename or str(staged))
        return OSError(*fields) if error.errno else OSError(str(error))
    # What writes arrays is not Python, and gives errors of the system as text.
    found = re.search(r"os_error_code='(\d+)'", str(error))
    numbers = [int(found[1])] if found else [errno.ENOSPC, errno.EDQUOT, errno.EFBIG]
    for number in numbers:
        if found or os.strerror(number) in str(error):
            return OSError(number, os.strerror(number), str(staged))
    return None


@contextmanager
def _silent() -> Iterator[None]:
    """Keeps orbax from printing the tracebacks of errors that it raises as well."""
    logger = logging.getLogger("absl")
    before = logger.disabled, sys.unraisablehook
    logger.disabled, sys.unraisablehook = True, lambda _: None
    try:
        yield
    finally:
        logger.disabled, sys.unraisablehook = before


def latest_checkpoint(folder: str | Path) -> int | None:
    """The step of the newest complete checkpoint in `folder`, or None if there is none.

    Its files are not compared with their digests, as `restore_checkpoint` does.
    """
    complete = [
        step for step in checkpoint_steps(folder) if (Path(folder) / str(step) / _DIGESTS).is_file()
    ]
    return max(complete, default=None)


def whole_checkpoint(
    folder: str | Path, *, report: Callable[[int, str], object] = lambda step, damage: None
) -> int | None:
    """The step of the newest checkpoint whose files are as they were written; None without one.

    Args:
      folder: the folder that was given to `save_checkpoint`.
      report: called with the step and the damage of every newer one.
    """
    for step in reversed(checkpoint_steps(folder)):
        damage = _damage(Path(folder) / str(step))
        if damage is None:
            return step
        report(step, damage)
    return None


def checkpoint_facts(folder: str | Path, step: int) -> dict[str, Any]:
    """The facts of a checkpoint, without its arrays; it must be whole."""
    return read_json(Path(folder) / str(step) / "facts" / "metadata")


def restore_checkpoint(folder: str | Path, like: Any, *, step: int | None = None) -> Checkpoint:
    """Restores a checkpoint exactly as it was saved.

    Args:
      folder: the folder that was given to `save_checkpoint`.
      like: pytree of arrays with the structure, shapes, dtypes and device placement to restore to;
        its values are not used.
      step: step of the checkpoint; by default the newest of those whose files are as they were
        written.

    Returns:
      The checkpoint, with `arrays` in the structure of `like`.

    Raises:
      TypeError: `step` is not an int, or a leaf of `like` is not an array.
      ValueError: the checkpoint does not exist, one of its files was changed since it was written,
        or its arrays differ from those of `like` in name, shape or dtype. Arrays are never cast,
        cropped or padded to fit.
    """
    import orbax.checkpoint as ocp

    folder, damages = Path(folder), {}
    if step is None:
        step = whole_checkpoint(folder, report=lambda *damage: damages.update([damage]))
        if step is None and damages:
            newest = max(damages)
            raise _unusable(folder / str(newest), damages[newest])
        if step is None:
            raise ValueError(f"There is no checkpoint in {folder}.")
        checkpoint = folder / str(step)
    else:
        checkpoint = folder / str(non_negative_int("step", step))
        if not checkpoint.is_dir():
            raise ValueError(
                f"There is no checkpoint of step {step} in {folder}, whose newest is "
                f"{latest_checkpoint(folder)}."
            )
        if damage := _damage(checkpoint):
            raise _unusable(checkpoint, damage)
    _check_arrays("like", like)
    template = jax.tree.map(_kind, like)
    # Checked here, because orbax would cast the arrays to the dtypes of the template.
    if misfit := _by_orbax(checkpoint, lambda: _misfit(checkpoint, template)):
        raise ValueError(
            f"The checkpoint {checkpoint} cannot be restored into `like`: {misfit}; give `like` "
            "the names, shapes and dtypes that were saved."
        )

    def restore() -> Any:
        arrays, facts = ocp.args.StandardRestore(template), ocp.args.JsonRestore()
        with _manager(folder) as manager:
            return manager.restore(step, args=ocp.args.Composite(arrays=arrays, facts=facts))

    restored = _by_orbax(checkpoint, restore)
    return Checkpoint(step, restored["arrays"], restored["facts"])


def _kind(array: Any) -> Any:
    """What an array is restored as: on the devices of `array`, or as one of NumPy."""
    if isinstance(array, np.ndarray):
        return array
    place = getattr(array, "sharding", None)
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=place)


def _by_orbax(checkpoint: Path, read: Callable[[], Any]) -> Any:
    """Calls `read`, and turns any error into a ValueError about the checkpoint."""
    try:
        return read()
    except Exception as error:  # orbax raises anything, down to a bare Exception
        reason = (str(error).strip().splitlines() or [""])[0]
        raise _unusable(checkpoint, f"{type(error).__name__}: {reason[:160]}") from error


def _check_arrays(name: str, tree: Any) -> None:
    """Raises a TypeError if a leaf is not an array; Python numbers are not arrays."""
    for path, leaf in _leaves(tree):
        if not hasattr(leaf, "dtype"):
            raise TypeError(
                f"`{name}` must hold arrays, got {leaf!r} as `{path}`; make an array of it with "
                "np.asarray, or put it into `facts`."
            )


def _misfit(checkpoint: Path, template: Any) -> str | None:
    """Describes the first difference from `template` in names, shapes and dtypes, or None."""
    import orbax.checkpoint as ocp
    from etils import epath

    with _in_utf8(checkpoint / "arrays") as arrays:
        metadata = ocp.StandardCheckpointHandler().metadata(epath.Path(arrays))
    stored, expected = (
        {name: f"{np.dtype(a.dtype)} {a.shape}" for name, a in _leaves(tree) if hasattr(a, "shape")}
        for tree in (getattr(metadata, "tree", metadata), template)
    )
    for name in expected | stored:
        stored_kind, expected_kind = (kinds.get(name, "nothing") for kinds in (stored, expected))
        if stored_kind != expected_kind:
            return f"it holds `{name}` as {stored_kind}, and `like` as {expected_kind}"
    return None


def _leaves(tree: Any) -> list[tuple[str, Any]]:
    """The leaves of a pytree, with paths that do not depend on the types of the containers."""
    return [
        (".".join(jax.tree_util.keystr((key,)).strip("[].'\"") for key in path), leaf)
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    ]


@contextmanager
def _manager(folder: str | Path) -> Iterator["CheckpointManager"]:
    """Orbax's manager of `folder`; it writes synchronously, and deletes nothing."""
    import orbax.checkpoint as ocp

    # Of several processes each reads alone, and one alone writes; none waits for another.
    alone = jax.process_index()
    processes = ocp.options.MultiprocessingOptions(primary_host=alone, active_processes={alone})
    options = ocp.CheckpointManagerOptions(
        enable_async_checkpointing=False, create=False, multiprocessing_options=processes
    )
    with _in_utf8(folder) as place, ocp.CheckpointManager(place, options=options) as manager:
        yield manager


@contextmanager
def _in_utf8(folder: str | Path) -> Iterator[Path]:
    """`folder`, or a link to it if its path is not UTF-8, which orbax does not accept."""
    folder = Path(folder).resolve()
    if is_utf8(str(folder)):
        yield folder
        return
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as elsewhere:
        link = Path(elsewhere, "checkpoints")
        link.symlink_to(folder)
        yield link


def digests_of(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file in a folder, by its path relative to the folder."""
    digests = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digests[path.relative_to(folder).as_posix()] = sha256_of_file(path)
    return digests


def _damage(checkpoint: Path) -> str | None:
    """Says which file is missing or was changed since the checkpoint was written, or None."""
    path = checkpoint / _DIGESTS
    if not path.is_file():
        return f"{_DIGESTS} is missing"
    try:
        written = dict(read_json(path))
    except (ValueError, TypeError):
        return f"{_DIGESTS} is not as it was written"
    found = digests_of(checkpoint)
    changed = (name for name, digest in written.items() if found.get(name) != digest)
    return next((f"{name} is not as it was written" for name in changed), None)


def checkpoint_steps(folder: str | Path) -> list[int]:
    """The steps of all checkpoints, damaged ones too, in ascending order."""
    if not Path(folder).is_dir():
        return []
    names = (path.name for path in Path(folder).iterdir() if path.is_dir())
    return sorted(int(name) for name in names if name.isdecimal() and str(int(name)) == name)


def _unusable(checkpoint: Path, reason: str) -> ValueError:
    return ValueError(
        f"The checkpoint {checkpoint} cannot be restored; delete that folder to go on from an "
        f"older one. ({reason})"
    )
