"""A trained autoencoder as a folder: plain arrays and JSON, written whole or not at all."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flax import nnx

from ddspx.models._config import CONFIG, PROVENANCE, STATISTICS, WEIGHTS, json_object, read_json
from ddspx.models._weights import save_model, with_weights
from ddspx.models.autoencoder.config import AutoencoderConfig, InstrumentStatistics
from ddspx.models.autoencoder.model import Autoencoder


def save_autoencoder(
    folder: str | Path,
    model: Autoencoder,
    *,
    statistics: InstrumentStatistics,
    provenance: Mapping[str, Any],
) -> None:
    """Writes a model as `weights.safetensors` and three JSON files.

    They are written to a temporary folder that is then renamed, so `folder` is never half a
    model. A model that is already there is replaced, and other files beside it stay; a folder
    of something else is left alone.

    Args:
      folder: the model folder to make.
      model: its weights and config.
      statistics: of the recordings that it was trained on.
      provenance: where it comes from: recordings, their licence and attribution, training.

    Raises:
      ValueError: `provenance` is not JSON, a weight is not finite, or `folder` exists and is
        not a model folder.
    """
    save_model(
        folder,
        model,
        model.config.to_json(),
        keep_others=True,
        statistics=statistics.to_json(),
        provenance=provenance,
    )


def load_autoencoder(
    folder: str | Path,
) -> tuple[Autoencoder, InstrumentStatistics, dict[str, Any]]:
    """Reads a model folder that `save_autoencoder` or `training.train_autoencoder` wrote.

    Args:
      folder: its path. `instruments.load_instrument` takes names of instruments, too.

    Returns:
      The model, the statistics of its recordings, and where it comes from.

    Raises:
      FileNotFoundError: there is no such folder, or a file of it is missing.
      ValueError: a file is corrupt, or the files do not fit each other.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"There is no model folder {str(folder)!r}; `instruments.load_instrument` takes the "
            "name of an instrument."
        )
    config = read_json(folder / CONFIG, AutoencoderConfig.from_json)
    statistics = read_json(folder / STATISTICS, InstrumentStatistics.from_json)
    provenance = read_json(folder / PROVENANCE, json_object)
    for name in ("sample_rate", "hop_length"):
        if getattr(config, name) != getattr(statistics, name):
            raise ValueError(
                f"{folder / STATISTICS} has `{name}` {getattr(statistics, name)}, but "
                f"{CONFIG} has {getattr(config, name)}; they belong to different models, so "
                "copy the whole model folder again."
            )
    model = with_weights(lambda: Autoencoder(config, rngs=nnx.Rngs(0)), folder / WEIGHTS)
    return model, statistics, provenance
