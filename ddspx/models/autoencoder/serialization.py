"""A trained autoencoder as a folder: plain arrays and JSON, written whole or not at all."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from flax import nnx

from ddspx.io._json import json_object
from ddspx.models._config import CONFIG, PROVENANCE, STATISTICS, WEIGHTS, read_json
from ddspx.models._weights import arrays_by_name, save_model, with_weights
from ddspx.models.autoencoder.config import AutoencoderConfig, InstrumentStatistics
from ddspx.models.autoencoder.model import Autoencoder, require_autoencoder


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
      TypeError: `model` is of a class of your own.
      ValueError: `provenance` is not JSON, a weight is not finite, `folder` exists and is not a
        model folder, or the model is another than its config describes: it could not be loaded.
    """
    _check_loads_back(model)
    save_model(
        folder,
        model,
        model.config.to_json(),
        keep_others=True,
        statistics=statistics.to_json(),
        provenance=provenance,
    )


def load_autoencoder(
    folder: str | Path, *, parts: Sequence[type] = ()
) -> tuple[Autoencoder, InstrumentStatistics, dict[str, Any]]:
    """Reads a model folder that `save_autoencoder` or `training.train_autoencoder` wrote.

    Args:
      folder: its path. `instruments.load_instrument` takes names of instruments, too.
      parts: the classes of the configs of your own that the model's config holds: of a synthesizer,
        a decoder or an encoder. A file only says their names, and nothing is imported by these.

    Returns:
      The model, the statistics of its recordings, and where it comes from.

    Raises:
      FileNotFoundError: there is no such folder, or a file of it is missing.
      ValueError: a file is corrupt, or the files do not fit each other.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> from ddspx.instruments import load_instrument
      >>> from ddspx.models.autoencoder import load_autoencoder, save_autoencoder
      >>> model, statistics, provenance = load_instrument("flute")
      >>> folder = tempfile.TemporaryDirectory()
      >>> copy = Path(folder.name, "my-flute")
      >>> save_autoencoder(copy, model, statistics=statistics, provenance=provenance)
      >>> loaded, statistics, provenance = load_autoencoder(copy)
      >>> loaded.config == model.config, round(statistics.pitch_midi_mean)
      (True, 74)
      >>> folder.cleanup()
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"There is no model folder {str(folder)!r}; `instruments.load_instrument` takes the "
            "name of an instrument."
        )
    config = read_json(folder / CONFIG, partial(AutoencoderConfig.from_json, parts=parts))
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


def _check_loads_back(model: Autoencoder) -> None:
    """Refuses a model that would be another one when it is loaded."""
    require_autoencoder(model, "which would be loaded as an Autoencoder")
    config = model.config
    own = [type(part) for part in (config.synthesizer, config.decoder, config.encoder) if part]
    try:
        again = AutoencoderConfig.from_json(json.loads(json.dumps(config.to_json())), parts=own)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`model.config` cannot be saved: {error}") from error
    if again != config:
        raise ValueError(
            f"`model.config` is {config}, and would be loaded as {again}; let its fields be what "
            "JSON can hold: numbers, strings, True, False, None, tuples of these."
        )
    built = nnx.eval_shape(lambda: Autoencoder(config, rngs=nnx.Rngs(0)))
    for name in ("decoder", "synthesizer", "reverb", "encoder"):
        ours, theirs = (_described(getattr(m, name)) for m in (model, built))
        if ours != theirs:
            raise ValueError(
                f"`model.{name}` is not what `model.config` builds: it is a {ours[0].__name__}, "
                f"the config makes a {theirs[0].__name__}, and their classes, configs or variables "
                "differ; change the config in place of the model."
            )


def _described(part: Any) -> tuple[type, Any, Any]:
    """The class of a part, its config, and the names and shapes of its variables."""
    if not isinstance(part, nnx.Module):
        return type(part), None, part
    shapes = {name: array.shape for name, array in arrays_by_name(part).items()}
    return type(part), getattr(part, "config", None), shapes
