"""The parameters of a module as a safetensors file, checked name by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

Model = TypeVar("Model", bound=nnx.Module)

_MISMATCH = "it does not fit the config beside it, so copy the whole model folder again."


def finite_weights(model: nnx.Module) -> dict[str, np.ndarray]:
    """The parameters by dotted name, as a file holds them.

    Raises:
      ValueError: a weight is not finite.
    """
    tensors = {name: np.asarray(array) for name, array in _weights(model).items()}
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise ValueError(
                f"The weight `{name}` is not finite; the training diverged, so save an "
                "earlier checkpoint."
            )
    return tensors


def with_weights(build: Callable[[], Model], path: Path) -> Model:
    """What `build` returns, with the weights of a safetensors file.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is corrupt, or its tensors are not those of the model.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    require_file(path)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(
            f"{path} is not a readable safetensors file ({error}); copy it again."
        ) from error
    model = nnx.eval_shape(build)
    expected = {name: array.shape for name, array in _weights(model).items()}
    if missing := sorted(set(expected) - set(tensors)):
        raise ValueError(f"{path} lacks the tensor `{missing[0]}`; {_MISMATCH}")
    if unknown := sorted(set(tensors) - set(expected)):
        raise ValueError(f"{path} holds the unknown tensor `{unknown[0]}`; {_MISMATCH}")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name] or tensor.dtype != np.float32:
            raise ValueError(
                f"{path} holds `{name}` as {tensor.dtype} {tensor.shape}, not as float32 "
                f"{expected[name]}; {_MISMATCH}"
            )
        if not np.isfinite(tensor).all():
            raise ValueError(f"{path} holds a `{name}` that is not finite; copy it again.")
    graph, params = nnx.split(model, nnx.Param)
    flat, tree = jax.tree.flatten_with_path(nnx.to_pure_dict(params))
    arrays = [jnp.asarray(tensors[_name(keys)]) for keys, _ in flat]
    nnx.replace_by_pure_dict(params, tree.unflatten(arrays))
    return nnx.merge(graph, params)


def require_file(path: Path) -> None:
    """Refuses a model folder that lacks a file."""
    if not path.is_file():
        raise FileNotFoundError(
            f"The model folder {path.parent} lacks {path.name}; copy the whole folder again."
        )


def _weights(model: nnx.Module) -> dict[str, Any]:
    """The parameters by dotted name: arrays, or shapes for an abstract model."""
    pure = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    return {_name(keys): array for keys, array in jax.tree.flatten_with_path(pure)[0]}


def _name(keys) -> str:
    return ".".join(str(key.key) for key in keys)
