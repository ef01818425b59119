"""Loading an instrument by its name or its folder."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ddspx.instruments._instrument import Instrument, read_instrument
from ddspx.instruments._library import check_one_instrument, named_instrument
from ddspx.instruments._timbres import is_recording, load_mixture
from ddspx.models._config import CONFIG, WEIGHTS


def load_instrument(source: str | Path, *, parts: Sequence[type] = ()) -> Instrument:
    """Reads an instrument of ddspx or of the user, any model folder, or makes one of a recording.

    What `import_instrument` takes, a published model or an archive, is imported into a temporary
    folder, which is deleted again. To play such a model often, import it once.

    A recording of one instrument is played at once, by the shipped model of any instrument with the
    timbre that it hears in the recording (`recorded_timbre`); `training.adapt` needs minutes and
    comes nearer. Several timbres (`timbre_names`) and recordings are mixed by `interpolate`, if
    they are joined by "+". Each may have a weight from 0 to 1 after a colon, and those without one
    share the rest: "violin+flute:0.3" is 0.7 of the violin. If an instrument and a timbre have the
    same name, "violin" is the instrument, and "violin:1" the timbre.

    Args:
      source: the path of a model folder, a name from `instrument_names`, the path of a folder or
        archive that `import_instrument` takes, a recording, or timbres joined by "+". An existing
        folder takes precedence over a name, a name over a file, and a file over a timbre.
      parts: as in `models.autoencoder.load_autoencoder`.

    Returns:
      The model, the statistics of its recordings, and its provenance.

    Raises:
      FileNotFoundError: there is no such folder, instrument or timbre, one of its files is
        missing, or there is no model of any instrument.
      ValueError: a file is corrupt or has changed since it was saved, the files belong to different
        models, this release cannot compute the features of the model, or the files of a folder or
        an archive are not of a kind that can be imported; a folder is that of a model of any
        instrument; or weights do not add up to 1.
      AudioError: a recording cannot be read, is silent, or less than 3 s of it have a pitch.

    Warns:
      UserWarning: most of a recording has no pitch, or it has more than one voice.

    Example:
      >>> from ddspx.instruments import load_instrument
      >>> violin = load_instrument("violin")
      >>> violin.model.config.sample_rate, round(violin.statistics.pitch_midi_min)
      (16000, 55)
    """
    path, named = Path(source), named_instrument(str(source))
    if not _needs_import(path, named):
        folder = path if os.path.isdir(path) else named
        if folder is None:
            return load_mixture(source)
        check_one_instrument(folder)
        return read_instrument(folder, parts=parts)
    # Imported here, because an import measures the room by a module that loads instruments.
    from ddspx.instruments._import import import_instrument

    with tempfile.TemporaryDirectory() as place:
        folder = import_instrument(source, name="imported", folder=place)
        return read_instrument(folder, parts=parts)


def as_instrument(source: str | Path | Instrument, *, parts: Sequence[type] = ()) -> Instrument:
    """Returns `source` if it is an instrument, and loads it by `load_instrument` otherwise."""
    return source if isinstance(source, Instrument) else load_instrument(source, parts=parts)


def _needs_import(path: Path, named: Path | None) -> bool:
    """Whether a path is that of an archive, or a folder without the files of a model of ddspx."""
    # Not by the methods of `Path`, which raise an error for a name that is too long for a file.
    if os.path.isdir(path):
        return not any((path / name).exists() for name in (CONFIG, WEIGHTS))
    return os.path.isfile(path) and named is None and not is_recording(path)
