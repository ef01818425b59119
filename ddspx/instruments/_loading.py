"""An instrument by its name, or by its folder."""

from pathlib import Path
from typing import Any

from ddspx.instruments._library import find_instrument
from ddspx.models.autoencoder import Autoencoder, InstrumentStatistics, load_autoencoder


def load_instrument(
    source: str | Path,
) -> tuple[Autoencoder, InstrumentStatistics, dict[str, Any]]:
    """Reads an instrument: one that ships, the user's own, or any model folder.

    Args:
      source: the path of a model folder, or a name from `instrument_names`. A folder of that
        path comes first.

    Returns:
      The model, the statistics of its recordings, and where it comes from.

    Raises:
      FileNotFoundError: there is no such folder or instrument, or a file of it is missing.
      ValueError: a file is corrupt, or the files do not fit each other.

    Example:
      >>> from ddspx.instruments import load_instrument
      >>> violin, statistics, provenance = load_instrument("violin")
      >>> violin.config.sample_rate, round(statistics.pitch_midi_min)
      (16000, 56)
    """
    return load_autoencoder(find_instrument(source))
