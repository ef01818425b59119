"""Saving and loading a trained autoencoder as a folder of plain arrays and JSON."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from ddspx.io._json import json_facts
from ddspx.io._replacing import is_folder
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
    **others: Mapping[str, Any],
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
      others: further JSON files, by name without suffix.

    Raises:
      TypeError: `model` is of a subclass of `Autoencoder`.
      ValueError: `provenance` is not JSON, a weight is not finite or not float32, `statistics` are
        of other rates, `folder` exists and is not a model folder, or the model differs from the one
        that its config builds, so that it could not be loaded.
    """
    check_loads_back(model)
    fix = "compute them from recordings at the model's rates"
    check_rates(model.config, statistics, owner="`statistics`", fix=fix)
    save_model(
        folder,
        model,
        model.config.to_json(),
        keep_others=True,
        statistics=statistics.to_json(),
        provenance=provenance,
        **others,
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
    if not is_folder(folder):
        raise FileNotFoundError(
            f"There is no model folder {str(folder)!r}; to load an instrument by its name, call "
            "`instruments.load_instrument`."
        )
    config = read_json(folder / CONFIG, partial(AutoencoderConfig.from_json, parts=parts))
    statistics = read_json(folder / STATISTICS, InstrumentStatistics.from_json)
    provenance = read_json(folder / PROVENANCE, json_facts)
    fix = "the files are of different models, so copy the whole model folder again"
    check_rates(config, statistics, owner=str(folder / STATISTICS), fix=fix)
    model = with_weights(lambda: Autoencoder(config, rngs=nnx.Rngs(0)), folder / WEIGHTS)
    return model, statistics, provenance


def check_rates(
    config: AutoencoderConfig, statistics: InstrumentStatistics, *, owner: str, fix: str
) -> None:
    """Raises a ValueError unless the statistics have the rates of the model."""
    for name in ("sample_rate", "hop_length"):
        expected, found = getattr(config, name), getattr(statistics, name)
        if found != expected:
            raise ValueError(
                f"{owner} must have the model's `{name}`, {expected}, got {found}; {fix}."
            )


def check_loads_back(model: Autoencoder) -> None:
    """Raises an error if loading the saved model would not give the same model."""
    require_autoencoder(model, "which would be loaded as an Autoencoder")
    config = model.config
    try:
        fields = json.loads(json.dumps(config.to_json()))
        again = AutoencoderConfig.from_json(fields, parts=config.part_classes)
    # A class whose annotations cannot be read raises a NameError.
    except (TypeError, ValueError, NameError, AttributeError) as error:
        raise ValueError(f"`model.config` cannot be saved: {error}") from error
    if again != config:
        raise ValueError(
            f"`model.config` is {config}, but would be loaded as {again}; its fields must be what "
            "JSON can hold: numbers, strings, True, False, None, tuples of these."
        )
    built = nnx.eval_shape(lambda: Autoencoder(config, rngs=nnx.Rngs(0)))
    for name in ("decoder", "synthesizer", "reverb", "encoder"):
        _check_same(f"`model.{name}`", getattr(model, name), getattr(built, name))
    _check_same("`model`", model, built)
    for name, array in arrays_by_name(model).items():
        if array.dtype != np.float32:
            raise ValueError(
                f"The weight `{name}` is {array.dtype}, but a model folder holds float32 alone; "
                "make it `jnp.float32`."
            )


def _check_same(name: str, part: Any, built: Any) -> None:
    """Raises an error unless a part of a model is what the model's config builds."""
    actual, expected = _described(part), _described(built)
    if actual == expected:
        return
    if type(part) is type(built) and not isinstance(part, nnx.Module):
        reason = "two of its class are never equal; make it a frozen dataclass or an nnx.Module"
    elif type(part) is type(built):
        reason = "its attributes or variables differ; change the config instead of the model"
    else:
        reason = f"the config builds a {type(built).__name__}; change the config instead"
    raise ValueError(
        f"{name} is not what `model.config` builds: it is a {type(part).__name__}, and {reason}."
    )


def _described(part: Any) -> tuple[Any, ...]:
    """What of a part is saved by its config: classes, attributes, names and kinds of variables."""
    if not isinstance(part, nnx.Module):
        return type(part), part
    arrays = {name: (x.shape, str(x.dtype)) for name, x in arrays_by_name(part).items()}
    attributes = {
        ".".join(map(str, path)): (
            type(node),
            {name: value for name, value in vars(node).items() if _is_plain(value)},
        )
        for path, node in nnx.iter_graph(part)
        if isinstance(node, nnx.Module)
    }
    return type(part), attributes, arrays


def _is_plain(value: Any) -> bool:
    """Whether an attribute is a value, and no module, variable or function."""
    is_config = dataclasses.is_dataclass(value) and not isinstance(value, (type, nnx.Module))
    return is_config or isinstance(value, (bool, int, float, str, bytes, tuple, type(None)))
