"""Loading an instrument by its name or its folder."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ddspx.instruments._library import find_instrument, named_instrument
from ddspx.models._config import CONFIG, WEIGHTS
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
    """Reads an instrument of ddspx or of the user, any model folder, or what can be imported.

    What `import_instrument` takes, a published model or an archive, is imported into a temporary
    folder, which is deleted again. To play such a model often, import it once.

    Args:
      source: the path of a model folder, a name from `instrument_names`, or the path of a folder or
        archive that `import_instrument` takes. An existing folder takes precedence over a name,
        and a name over a file.
      parts: as in `models.autoencoder.load_autoencoder`.

    Returns:
      The model, the statistics of its recordings, and its provenance.

    Raises:
      FileNotFoundError: there is no such folder or instrument, or one of its files is missing.
      ValueError: a file is corrupt, the files belong to different models, or those of a folder or
        an archive are not of a kind that can be imported.

    Example:
      >>> from ddspx.instruments import load_instrument
      >>> violin = load_instrument("violin")
      >>> violin.model.config.sample_rate, round(violin.statistics.pitch_midi_min)
      (16000, 55)
    """
    if not _needs_import(source):
        return Instrument(*load_autoencoder(find_instrument(source), parts=parts))
    # Imported here, because an import measures the room by a module that loads instruments.
    from ddspx.instruments._import import import_instrument

    with tempfile.TemporaryDirectory() as place:
        folder = import_instrument(source, name="imported", folder=place)
        return Instrument(*load_autoencoder(folder, parts=parts))


def as_instrument(source: str | Path | Instrument, *, parts: Sequence[type] = ()) -> Instrument:
    """Returns `source` if it is an instrument, and loads its name or folder otherwise."""
    return source if isinstance(source, Instrument) else load_instrument(source, parts=parts)


def _needs_import(source: str | Path) -> bool:
    """Whether `source` is an archive, or a folder without the files of a model of ddspx."""
    path = Path(source)
    if path.is_dir():
        return not any((path / name).exists() for name in (CONFIG, WEIGHTS))
    return path.is_file() and named_instrument(str(source)) is None
