"""Front-ends that another model has trained, as the beginning of a training."""

from pathlib import Path
from typing import Any

from ddspx.instruments import _library
from ddspx.io._json import json_object
from ddspx.models._config import CONFIG, read_json
from ddspx.models._weights import weights_sha256
from ddspx.models.autoencoder import load_autoencoder
from ddspx.models.spectnet import load_spectnet
from ddspx.nn import SpectralFrontend, copy_frontend


def load_frontend(source: str | Path) -> SpectralFrontend:
    """The trained front-end of a classifier, or of an instrument's encoder.

    Args:
      source: a model folder that `train_classifier`, `train_any_instrument` or `train_autoencoder`
        wrote, or the name of an instrument; "any_instrument" is the model that ships with ddspx.

    Returns:
      The front-end, to train another model from: ``front_end`` of these functions. Its `config`
      belongs into the config of that model (`AutoencoderConfig.with_frontend`,
      `SpectNetConfig.for_recordings`).

    Raises:
      FileNotFoundError: there is no such folder or instrument, or one of its files is missing.
      ValueError: a file is corrupt, or the model has no `nn.SpectralFrontend`.
    """
    shipped = _library.ANY_INSTRUMENT
    is_shipped = str(source) == shipped.name and not Path(source).is_dir()
    folder = shipped if is_shipped else _library.find_instrument(source)
    if "labels" in read_json(folder / CONFIG, json_object):
        return load_spectnet(folder)[0].frontend
    frontend = getattr(load_autoencoder(folder)[0].encoder, "frontend", None)
    if not isinstance(frontend, SpectralFrontend):
        raise ValueError(
            f"{source} has no front-end: it must be a classifier, or an instrument whose encoder "
            "hears with an nn.SpectralFrontend, as those of the presets any_instrument and nsynth."
        )
    return frontend


def begin_with(front_end: SpectralFrontend | None, listener: Any) -> dict[str, Any]:
    """Gives a classifier or an encoder the parameters of a trained front-end.

    Returns:
      The entry of the provenance that describes the front-end; empty if none is given.

    Raises:
      ValueError: the listener has no front-end, or one of another config.
    """
    if front_end is None:
        return {}
    own = getattr(listener, "frontend", None)
    if not isinstance(own, SpectralFrontend):
        raise ValueError(
            "`front_end` needs a model whose encoder hears with an nn.SpectralFrontend, such as "
            "AutoencoderConfig.any_instrument() or nsynth()."
        )
    listener.frontend = copy_frontend(front_end, own)
    return {"front_end": {"weights_sha256": weights_sha256(front_end)}}
