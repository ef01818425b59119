"""Saving and loading a trained autoencoder as a folder of plain arrays and JSON."""

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

    The files are written to a temporary folder, which is then renamed, so `folder` never holds an
    incomplete model. An earlier model in `folder` is replaced, and its other files are kept. If
    `folder` is not a model folder, nothing is written.

    Args:
      folder: the model folder to make.
      model: the model, with its weights and config.
      statistics: statistics of the recordings that it was trained on.
      provenance: the origin of the model: recordings, their licence and attribution, training.

    Raises:
      TypeError: `model` is of a subclass of `Autoencoder`.
      ValueError: `provenance` is not JSON, a weight is not finite, `folder` exists and is not a
        model folder, or the parts of the model differ from those that its config builds, so that it
        could not be loaded.
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
      folder: path of the folder. `instruments.load_instrument` takes names of instruments as well.
      parts: your own classes of configs, of a synthesizer, decoder or encoder, that the model's
        config holds. The file holds only their names, and ddspx never imports a class by a name
        from a file.

    Returns:
      The model, the statistics of its recordings, and its provenance.

    Raises:
      FileNotFoundError: there is no such folder, or a file of it is missing.
      ValueError: a file is corrupt, or the files belong to different models.

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
            f"There is no model folder {str(folder)!r}; to load an instrument by its name, call "
            "`instruments.load_instrument`."
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
    """Raises an error if loading the saved model would not give the same model."""
    require_autoencoder(model, "which would be loaded as an Autoencoder")
    config = model.config
    own = [type(part) for part in (config.synthesizer, config.decoder, config.encoder) if part]
    try:
        again = AutoencoderConfig.from_json(json.loads(json.dumps(config.to_json())), parts=own)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`model.config` cannot be saved: {error}") from error
    if again != config:
        raise ValueError(
            f"`model.config` is {config}, but would be loaded as {again}; its fields must be what "
            "JSON can hold: numbers, strings, True, False, None, tuples of these."
        )
    built = nnx.eval_shape(lambda: Autoencoder(config, rngs=nnx.Rngs(0)))
    for name in ("decoder", "synthesizer", "reverb", "encoder"):
        actual, expected = (_described(getattr(m, name)) for m in (model, built))
        if actual != expected:
            raise ValueError(
                f"`model.{name}` is not what `model.config` builds: it is a {actual[0].__name__}, "
                f"the config builds a {expected[0].__name__}, and their classes, configs or "
                "variables differ; change the config instead of the model."
            )


def _described(part: Any) -> tuple[type, Any, Any]:
    """The class of a part, its config, and the names and shapes of its variables."""
    if not isinstance(part, nnx.Module):
        return type(part), None, part
    shapes = {name: array.shape for name, array in arrays_by_name(part).items()}
    return type(part), getattr(part, "config", None), shapes
