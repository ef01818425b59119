"""Saving and loading the arrays of a module as a safetensors file, with checks of each array."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ddspx.models._config import CONFIG, WEIGHTS, check_digest, require_file, write_digests

Model = TypeVar("Model", bound=nnx.Module)

_DIGEST = "arrays_sha256"
FOLDER_AGAIN = "copy the whole model folder again"


def finite_weights(model: nnx.Module) -> dict[str, np.ndarray]:
    """All variables as NumPy arrays by dotted name.

    Raises:
      ValueError: a weight is not finite.
    """
    arrays = {name: np.asarray(array) for name, array in arrays_by_name(model).items()}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(
                f"The weight `{name}` is not finite; the training diverged, so save an "
                "earlier checkpoint."
            )
    return arrays


def model_texts(
    folder: Path, config: Mapping[str, Any], **extra_files: Mapping[str, Any]
) -> dict[str, str]:
    """The text of each JSON file of a model folder, by file name; `extra_files` has `provenance`.

    Raises:
      ValueError: fields cannot be written as JSON, or `folder` exists and is not a model folder.
    """
    if folder.exists() and not (folder / CONFIG).is_file() and any(folder.iterdir()):
        raise ValueError(f"{folder} exists and is not a model folder; choose another `folder`.")
    files = {CONFIG: config} | {f"{name}.json": fields for name, fields in extra_files.items()}
    try:
        return {
            name: json.dumps(dict(fields), indent=2, allow_nan=False) + "\n"
            for name, fields in files.items()
        }
    except (TypeError, ValueError) as error:
        raise ValueError(f"`provenance` must be something JSON can hold: {error}.") from error


def save_model(
    folder: str | Path,
    model: nnx.Module,
    config: Mapping[str, Any],
    *,
    keep_others: bool,
    **extra_files: Mapping[str, Any],
) -> None:
    """Writes a model folder, completely or not at all: weights, and a JSON file per mapping.

    `sha256.json` binds those that the model consists of, see `check_digest`.

    Args:
      folder: the model folder to make, or to replace.
      model: the module whose variables are saved.
      config: the fields of its config.
      keep_others: if `folder` exists, whether to keep its other files.
      extra_files: further JSON files by name without suffix; `provenance` is one of them.

    Raises:
      ValueError: see `model_texts` and `finite_weights`.
    """
    from safetensors.numpy import save

    from ddspx.io import replacing_folder

    folder = Path(folder)
    texts = model_texts(folder, config, **extra_files)
    arrays = finite_weights(model)
    with replacing_folder(folder, overwrite=True) as staged:
        if keep_others and folder.exists():
            shutil.copytree(folder, staged, dirs_exist_ok=True)
        # `save_file` would make a file that only its owner can read.
        (staged / WEIGHTS).write_bytes(save(arrays))
        for name, text in texts.items():
            (staged / name).write_text(text, encoding="utf-8")
        write_digests(staged)


def with_weights(build: Callable[[], Model], path: Path) -> Model:
    """The model that `build` makes, with the weights of a file in a model folder.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is corrupt or has changed since it was saved, or its arrays do not fit
        the model.
    """
    require_file(path)
    model = with_arrays(build, read_arrays(path), path, FOLDER_AGAIN)
    check_digest(path)
    return model


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file.

    Raises:
      ValueError: the file is corrupt, holds arrays of a dtype that NumPy does not have, or has
        changed since `bound_to_itself` wrote it.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.numpy import load_file

    try:
        arrays = load_file(path)
        with safe_open(path, "numpy") as file:
            saved = (file.metadata() or {}).get(_DIGEST)
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise ValueError(
            f"{path} is not a readable safetensors file ({error}); copy it again."
        ) from error
    if saved not in (None, arrays_sha256(arrays)):
        raise ValueError(
            f"{path} is not as it was saved: the SHA-256 of its arrays differs from that in its "
            "header; copy it again."
        )
    return arrays


def with_arrays(
    build: Callable[[], Model], arrays: Mapping[str, np.ndarray], path: Path, again: str
) -> Model:
    """The model that `build` makes, with the given arrays in its variables.

    Args:
      build: makes the model; it is only traced, so no weights are drawn.
      arrays: the arrays by dotted name.
      path: the file that they were read from, for error messages.
      again: the advice in error messages, if the arrays do not fit.

    Raises:
      ValueError: an array is missing, unknown, of another shape or dtype, or not finite.
    """
    model = nnx.eval_shape(build)
    expected = {name: array.shape for name, array in arrays_by_name(model).items()}
    if missing := sorted(set(expected) - set(arrays)):
        raise ValueError(f"{path} lacks the array `{missing[0]}`; {again}.")
    if unknown := sorted(set(arrays) - set(expected)):
        raise ValueError(f"{path} holds the unknown array `{unknown[0]}`; {again}.")
    for name, array in arrays.items():
        if array.shape != expected[name] or array.dtype != np.float32:
            raise ValueError(
                f"{path} holds `{name}` as {array.dtype} {array.shape}, not as float32 "
                f"{expected[name]}; {again}."
            )
        if not np.isfinite(array).all():
            raise ValueError(f"{path} holds a `{name}` that is not finite; {again}.")
    graph, state = nnx.split(model)
    flat, tree = jax.tree.flatten_with_path(nnx.to_pure_dict(state))
    leaves = [jnp.asarray(arrays[_name(keys)]) for keys, _ in flat]
    nnx.replace_by_pure_dict(state, tree.unflatten(leaves))
    return nnx.merge(graph, state)


def arrays_by_name(model: nnx.Module) -> dict[str, Any]:
    """All variables by dotted name: arrays, or shapes for an abstract model."""
    pure = nnx.to_pure_dict(nnx.state(model))
    return {_name(keys): array for keys, array in jax.tree.flatten_with_path(pure)[0]}


def weights_sha256(model: nnx.Module) -> str:
    """The SHA-256 of all variables, in the order of their names."""
    return arrays_sha256(arrays_by_name(model))


def arrays_sha256(arrays: Mapping[str, Any]) -> str:
    """The SHA-256 of arrays, in the order of their names."""
    digest = hashlib.sha256()
    for _, array in sorted(arrays.items()):
        digest.update(np.asarray(array).tobytes())
    return digest.hexdigest()


def bound_to_itself(arrays: dict[str, np.ndarray]) -> bytes:
    """A safetensors file of its own, outside of a model folder, with a SHA-256 of its arrays."""
    from safetensors.numpy import save

    return save(arrays, metadata={_DIGEST: arrays_sha256(arrays)})


def _name(keys) -> str:
    return ".".join(str(key.key) for key in keys)
