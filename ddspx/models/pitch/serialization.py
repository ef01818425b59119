"""Saving and loading a trained pitch tracker as a folder of plain arrays and JSON."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flax import nnx

from ddspx.models._config import CONFIG, WEIGHTS, read_json
from ddspx.models._weights import save_model, with_weights
from ddspx.models.pitch.config import PitchConfig
from ddspx.models.pitch.model import PitchTracker

_SHIPPED = Path(__file__).parent / "weights"
_SHIPPED_LIVE = Path(__file__).parent / "weights_live"


def save_pitch_tracker(
    folder: str | Path, model: PitchTracker, *, provenance: Mapping[str, Any]
) -> None:
    """Writes a model as `weights.safetensors`, its config and its provenance.

    The files are written to a temporary folder, which is then renamed, so `folder` never holds an
    incomplete model.

    Args:
      folder: the model folder to make, or to replace.
      model: the model, with its weights and config.
      provenance: the origin of the model: recordings, their licence and attribution, training.

    Raises:
      ValueError: `provenance` is not JSON, a weight is not finite, or `folder` exists and is
        not a model folder.
    """
    save_model(folder, model, model.config.to_json(), keep_others=False, provenance=provenance)


def load_pitch_tracker(*, folder: str | Path | None = None, live: bool = False) -> PitchTracker:
    """Reads a trained tracker.

    Args:
      folder: a model folder; by default the tracker that ships with ddspx.
      live: take the live one of the two trackers that ship, which looks ahead by 10 ms only.

    Returns:
      The tracker, in float32.

    Raises:
      FileNotFoundError: the weights or the config are missing.
      ValueError: a file is corrupt, the weights do not fit the config, or both `folder` and `live`
        are given.

    Example:
      >>> from ddspx.models.pitch import load_pitch_tracker
      >>> tracker = load_pitch_tracker()
      >>> 1000 * tracker.look_ahead / tracker.config.sample_rate
      160.0
    """
    if folder is not None and live:
        raise ValueError("`live` selects a tracker that ships with ddspx; leave out `folder`.")
    shipped = _SHIPPED_LIVE if live else _SHIPPED
    folder = shipped if folder is None else Path(folder)
    config = read_json(folder / CONFIG, PitchConfig.from_json)
    return with_weights(lambda: PitchTracker(config, rngs=nnx.Rngs(0)), folder / WEIGHTS)
