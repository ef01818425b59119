"""Checkpoints of a training run: a pytree of arrays and a JSON object, stored by orbax.

A checkpoint is written under a temporary name and then renamed, so a run that is killed leaves
complete checkpoints only. Nothing is pickled: arrays are stored as arrays, facts as JSON. The
SHA-256 digests of all files are stored with them and compared before orbax reads any file, because
orbax reads a damaged file in background tasks, which print their errors at arbitrary times.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from ddspx._checks import non_negative_int, positive_int
from ddspx.io._files import is_utf8
from ddspx.io._json import read_json
from ddspx.io._replacing import replacing_file

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
) -> None:
    """Writes one checkpoint and deletes the oldest, so that `keep` of them remain.

    Args:
      folder: folder of the checkpoints of one run; it is created if it does not exist.
      step: number of steps taken, at least 0; it names the checkpoint.
      arrays: pytree of arrays. Convert typed random keys by `jax.random.key_data`.
      facts: a mapping that can be stored as JSON.
      keep: how many checkpoints stay on disk.

    Raises:
      TypeError: `step` or `keep` is not an int, or a leaf of `arrays` is not an array.
      ValueError: `facts` cannot be stored as JSON, `step` is negative or exists already, or `keep`
        is below 1.

    Example:
      >>> import tempfile
      >>> import jax.numpy as jnp
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     save_checkpoint(folder, 3, {"w": jnp.ones(2)}, {"loss": 0.5})
      ...     step, arrays, facts = restore_checkpoint(folder, {"w": jnp.zeros(2)})
      >>> step, arrays["w"].tolist(), facts
      (3, [1.0, 1.0], {'loss': 0.5})
    """
    import orbax.checkpoint as ocp

    try:
        json.dumps(dict(facts), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`facts` must be something JSON can hold: {error}.") from error
    step, keep = non_negative_int("step", step), positive_int("keep", keep)
    _check_arrays("arrays", arrays)
    written = Path(folder) / str(step)
    if written.exists():
        raise ValueError(
            f"`step` {step} is in {folder} already; delete {written} to write it anew."
        )
    with _manager(folder, keep=keep) as manager:
        manager.save(
            step,
            args=ocp.args.Composite(
                arrays=ocp.args.StandardSave(arrays), facts=ocp.args.JsonSave(dict(facts))
            ),
            force=True,
        )
    with replacing_file(written / _DIGESTS) as temporary:
        temporary.write_text(json.dumps(_digests(written), indent=1) + "\n", encoding="utf-8")


def latest_checkpoint(folder: str | Path) -> int | None:
    """The step of the newest complete checkpoint in `folder`, or None if there is none."""
    import orbax.checkpoint as ocp

    if not Path(folder).is_dir():
        return None
    return max(ocp.utils.checkpoint_steps(Path(folder)), default=None)


def restore_checkpoint(folder: str | Path, like: Any, *, step: int | None = None) -> Checkpoint:
    """Restores a checkpoint exactly as it was saved.

    Args:
      folder: the folder that was given to `save_checkpoint`.
      like: pytree of arrays with the structure, shapes, dtypes and device placement to restore to;
        its values are not used.
      step: step of the checkpoint; by default the newest.

    Returns:
      The checkpoint, with `arrays` in the structure of `like`.

    Raises:
      TypeError: `step` is not an int, or a leaf of `like` is not an array.
      ValueError: the checkpoint does not exist, one of its files was changed since it was written,
        or its arrays differ from those of `like` in name, shape or dtype. Arrays are never cast,
        cropped or padded to fit.
    """
    import orbax.checkpoint as ocp

    folder = Path(folder)
    step = latest_checkpoint(folder) if step is None else non_negative_int("step", step)
    if step is None:
        raise ValueError(f"There is no checkpoint in {folder}.")
    _check_arrays("like", like)
    checkpoint = folder / str(step)
    if not checkpoint.is_dir():
        raise ValueError(
            f"There is no checkpoint of step {step} in {folder}, whose newest is "
            f"{latest_checkpoint(folder)}."
        )
    if damaged := _damaged_file(checkpoint):
        raise _unusable(checkpoint, f"{damaged} is not as it was written")
    template = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=getattr(a, "sharding", None)),
        like,
    )
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
def _manager(folder: str | Path, *, keep: int | None = None) -> Iterator["CheckpointManager"]:
    """Orbax's manager of `folder`; it writes synchronously, so a saved checkpoint is on disk."""
    import orbax.checkpoint as ocp

    options = ocp.CheckpointManagerOptions(
        max_to_keep=keep, enable_async_checkpointing=False, create=keep is not None
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


def _digests(checkpoint: Path) -> dict[str, str]:
    """The SHA-256 of every file of a checkpoint, by its path relative to the checkpoint."""
    digests = {}
    for path in sorted(checkpoint.rglob("*")):
        if path.is_file() and path.name != _DIGESTS:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            digests[path.relative_to(checkpoint).as_posix()] = digest
    return digests


def _damaged_file(checkpoint: Path) -> str | None:
    """The first file that is missing or was changed since the checkpoint was written, or None."""
    path = checkpoint / _DIGESTS
    # A run that was killed just after orbax's rename leaves a complete checkpoint without digests.
    if not path.is_file():
        return None
    try:
        written = dict(read_json(path))
    except (ValueError, TypeError):
        return _DIGESTS
    found = _digests(checkpoint)
    return next((name for name, digest in written.items() if found.get(name) != digest), None)


def _unusable(checkpoint: Path, reason: str) -> ValueError:
    return ValueError(
        f"The checkpoint {checkpoint} cannot be restored; delete that folder to go on from an "
        f"older one. ({reason})"
    )
