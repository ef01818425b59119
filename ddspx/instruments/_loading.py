"""Loading an instrument by its name or its folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ddspx.instruments._library import find_instrument
from ddspx.models.autoencoder import Autoencoder, InstrumentStatistics, load_autoencoder


class Instrument(NamedTuple):
    """A trained model with its statistics and provenance.

    Attributes:
      model: the network.
      statistics: loudness and pitch of the recordings that it was trained on.
      provenance: the origin of the model.
    """

    model: Autoencoder
    statistics: InstrumentStatistics
    provenance: dict[str, Any]


def load_instrument(source: str | Path, *, parts: Sequence[type] = ()) -> Instrument:
    """Reads an instrument of ddspx or of the user, or any model folder.

    Args:
      source: the path of a model folder, or a name from `instrument_names`. An existing folder
        takes precedence over a name.
      parts: as in `models.autoencoder.load_autoencoder`.

    Returns:
      The model, the statistics of its recordings, and its provenance.

    Raises:
      FileNotFoundError: there is no such folder or instrument, or one of its files is missing.
      ValueError: a file is corrupt, or the files belong to different models.

    Example:
      >>> from ddspx.instruments import load_instrument
      >>> violin = load_instrument("violin")
      >>> violin.model.config.sample_rate, round(violin.statistics.pitch_midi_min)
      (16000, 55)
    """
    return Instrument(*load_autoencoder(find_instrument(source), parts=parts))


def as_instrument(source: str | Path | Instrument, *, parts: Sequence[type] = ()) -> Instrument:
    """Returns `source` if it is an instrument, and loads its name or folder otherwise."""
    return source if isinstance(source, Instrument) else load_instrument(source, parts=parts)
