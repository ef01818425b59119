"""The room of an instrument: its measures, and its impulse response as a file."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from ddspx import metrics
from ddspx.instruments._instrument import Instrument
from ddspx.instruments._loading import as_instrument
from ddspx.instruments._mixture import check_is_no_source
from ddspx.models.autoencoder import Autoencoder


def measure_room(model: Autoencoder) -> metrics.Reverberation | None:
    """Measures how long the trained reverb of a model rings; None for a model without one.

    Example:
      >>> from ddspx.instruments import load_instrument, measure_room
      >>> room = measure_room(load_instrument("violin").model)
      >>> room.bands_hz[3], 0.5 < room.t60_s[3] < 1.5
      (1000.0, True)
    """
    if model.reverb is None:
        return None
    taps = np.asarray(model.reverb.impulse_response)
    return metrics.reverberation(taps, sample_rate=model.config.sample_rate)


def room_facts(model: Autoencoder) -> dict[str, Any]:
    """The entry of a provenance that `describe_instrument` reads: empty without a reverb."""
    if (room := measure_room(model)) is None:
        return {}
    plain = {
        "bands_hz": list(room.bands_hz),
        "t60_s": [round(t60_s, 3) if math.isfinite(t60_s) else None for t60_s in room.t60_s],
        "level_db": round(room.level_db, 1) if math.isfinite(room.level_db) else None,
    }
    return {"room": plain}


def export_room(source: str | Path | Instrument, path: str | Path) -> Path:
    """Writes the impulse response of an instrument's room as a sound file, for any other program.

    The response is that of the reverb alone, as its level is in the instrument; its first sample,
    where the direct sound would be, is zero. So a convolution adds it to a dry sound.

    Args:
      source: the instrument: a name, the path of a model folder, or the result of
        `load_instrument`.
      path: the file; its suffix (``.wav``, ``.flac``, ``.ogg``) chooses the format.

    Returns:
      The file.

    Raises:
      FileNotFoundError: there is no such instrument.
      ValueError: the instrument has no reverb, the suffix is another one, or `path` is a recording
        of the instrument.
      OSError: the file cannot be written.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> from ddspx import io
      >>> from ddspx.instruments import export_room
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     room = export_room("violin", Path(folder) / "room.wav")
      ...     float(io.read_audio(room, sample_rate=16000)[0])
      0.0
    """
    from ddspx.io import write_audio

    if not isinstance(source, Instrument):
        check_is_no_source(path, source)
    instrument = as_instrument(source)
    if instrument.model.reverb is None:
        name = "This instrument" if isinstance(source, Instrument) else f"The instrument {source}"
        raise ValueError(f"{name} has no reverb, so there is no impulse response to write.")
    taps = np.asarray(instrument.model.reverb.impulse_response)
    write_audio(path, taps, sample_rate=instrument.model.config.sample_rate)
    return Path(path)
