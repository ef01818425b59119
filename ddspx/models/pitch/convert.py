"""A trained pitch tracker as a folder: plain arrays and JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flax import nnx

from ddspx.models._weights import finite_weights, require_file, with_weights
from ddspx.models.pitch.config import PitchConfig
from ddspx.models.pitch.model import PitchTracker

_SHIPPED = Path(__file__).parent / "weights"
_WEIGHTS = "weights.safetensors"
_CONFIG = "config.json"
_PROVENANCE = "provenance.json"


def save_pitch_tracker(
    folder: str | Path, model: PitchTracker, *, provenance: Mapping[str, Any]
) -> None:
    """Writes a model as `weights.safetensors`, its config and where it comes from.

    They are written to a temporary folder that is then renamed, so `folder` is never half a
    model.

    Args:
      folder: the model folder to make, or to replace.
      model: its weights and config.
      provenance: recordings, their licence and attribution, training.

    Raises:
      ValueError: `provenance` is not JSON, a weight is not finite, or `folder` exists and is
        not a model folder.
    """
    from safetensors.numpy import save_file

    from ddspx.io import replacing_folder

    folder = Path(folder)
    if folder.exists() and not (folder / _CONFIG).is_file() and any(folder.iterdir()):
        raise ValueError(f"{folder} exists and is not a model folder; choose another `folder`.")
    tensors = finite_weights(model)
    try:
        texts = {
            name: json.dumps(fields, indent=2, allow_nan=False) + "\n"
            for name, fields in (
                (_CONFIG, model.config.to_json()),
                (_PROVENANCE, dict(provenance)),
            )
        }
    except (TypeError, ValueError) as error:
        raise ValueError(f"`provenance` must be something JSON can hold: {error}.") from error
    with replacing_folder(folder, overwrite=True) as staged:
        save_file(tensors, staged / _WEIGHTS)
        for name, text in texts.items():
            (staged / name).write_text(text, encoding="utf-8")


def load_pitch_tracker(*, folder: str | Path | None = None) -> PitchTracker:
    """Reads a trained tracker.

    Args:
      folder: a model folder; by default that of the tracker that ships with ddspx.

    Returns:
      The tracker, in float32.

    Raises:
      FileNotFoundError: its weights or config are missing.
      ValueError: a file is corrupt, or the files do not fit each other.

    Example:
      >>> from ddspx.models.pitch import load_pitch_tracker
      >>> tracker = load_pitch_tracker()
      >>> 1000 * tracker.look_ahead / tracker.config.sample_rate
      64.0
    """
    folder = _SHIPPED if folder is None else Path(folder)
    path = folder / _CONFIG
    require_file(path)
    try:
        config = PitchConfig.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is not usable: {error}") from error
    return with_weights(lambda: PitchTracker(config, rngs=nnx.Rngs(0)), folder / _WEIGHTS)
