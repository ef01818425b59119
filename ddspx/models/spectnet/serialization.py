"""Saving and loading a trained classifier as a folder of plain arrays and JSON."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flax import nnx

from ddspx.io._json import json_facts
from ddspx.io._replacing import is_folder
from ddspx.models._config import CONFIG, PROVENANCE, WEIGHTS, read_json
from ddspx.models._weights import save_model, with_weights
from ddspx.models.spectnet.config import SpectNetConfig
from ddspx.models.spectnet.model import SpectNet


def save_spectnet(folder: str | Path, model: SpectNet, *, provenance: Mapping[str, Any]) -> None:
    """Writes a model as `weights.safetensors`, its config and its provenance.

    The files are written to a temporary folder, which is then renamed, so `folder` never holds an
    incomplete model. An earlier model in `folder` is replaced, and its other files are kept. If
    `folder` is not a model folder, nothing is written.

    Args:
      folder: the model folder to make.
      model: the model, with its weights, batch statistics and config.
      provenance: the origin of the model: recordings, their licence and attribution, training.

    Raises:
      ValueError: `provenance` is not JSON, a weight is not finite, or `folder` exists and is
        not a model folder.
    """
    save_model(folder, model, model.config.to_json(), keep_others=True, provenance=provenance)


def load_spectnet(folder: str | Path) -> tuple[SpectNet, dict[str, Any]]:
    """Reads a model folder.

    Args:
      folder: a folder that `save_spectnet` wrote.

    Returns:
      The model and its provenance.

    Raises:
      FileNotFoundError: there is no such folder, or a file of it is missing.
      ValueError: a file is corrupt, or the weights do not fit the config.
    """
    folder = Path(folder)
    if not is_folder(folder):
        raise FileNotFoundError(
            f"There is no model folder {folder}; give one that `ddspx classify train` wrote."
        )
    config = read_json(folder / CONFIG, SpectNetConfig.from_json)
    provenance = read_json(folder / PROVENANCE, json_facts)
    model = with_weights(lambda: SpectNet(config, rngs=nnx.Rngs(0)), folder / WEIGHTS)
    return model, provenance
