"""An instrument by its name, or by its folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ddspx.instruments._library import find_instrument
from ddspx.models.autoencoder import Autoencoder, InstrumentStatistics, load_autoencoder


class Instrument(NamedTuple):
    """A trained model, and what is known of it.

    Attributes:
      model: the network.
      statistics: how loud and how high its recordings are.
      provenance: where it comes from.
    """

    model: Autoencoder
    statistics: InstrumentStatistics
    provenance: dict[str, Any]


def load_instrument(source: str | Path, *, parts: Sequence[type] = ()) -> Instrument:
    """Reads an instrument: one that ships, the user's own, or any model folder.

    Args:
      source: the path of a model folder, or a name from `instrument_names`. A folder of that
        path comes first.
      parts: as in `models.autoencoder.load_autoencoder`.

    Returns:
      The model, the statistics of its recordings, and where it comes from.

    Raises:
      FileNotFoundError: there is no such folder or instrument, or a file of it is missing.
      ValueError: a file is corrupt, or the files do not fit each other.

    Example:
      >>> from ddspx.instruments import load_instrument
      >>> violin = load_instrument("violin")
      >>> violin.model.config.sample_rate, round(violin.statistics.pitch_midi_min)
      (16000, 55)
    """
    return Instrument(*load_autoencoder(find_instrument(source), parts=parts))


def as_instrument(source: str | Path | Instrument) -> Instrument:
    """The instrument that is given, or else the one of this name or folder."""
    return source if isinstance(source, Instrument) else load_instrument(source)
