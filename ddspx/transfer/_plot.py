"""Plots a recording and the output of a transfer, side by side."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ddspx._text import printable
from ddspx._typing import Float
from ddspx.io import stream_audio
from ddspx.plot import Sound, plot_sounds
from ddspx.transfer._adjust import AdjustedControls
from ddspx.transfer._transfer import TransferReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_transfer(recording: str | Path, output: str | Path, report: TransferReport) -> "Figure":
    """Draws the spectrograms of recording and output, with their pitch and loudness.

    The frequency axis is labelled with notes. Pitch and loudness of the recording are those that
    were measured in it, and those of the output are the ones requested of the instrument; they
    come from `report`, and are not measured again. Frames that are notes are shaded. The files are
    read in blocks.

    Args:
      recording: the recording that was given to :func:`transfer`.
      output: the file that it wrote.
      report: the report that it returned.

    Returns:
      A matplotlib figure.

    Raises:
      AudioError: one of the files is missing, or has been replaced by another sound.
      ModuleNotFoundError: matplotlib or librosa is not installed.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> import numpy as np
      >>> from ddspx import io, transfer
      >>> folder = tempfile.TemporaryDirectory()
      >>> sung, played = Path(folder.name, "sung.wav"), Path(folder.name, "played.wav")
      >>> voice = 0.3 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
      >>> io.write_audio(sung, voice, sample_rate=16000)
      >>> report = transfer.transfer(sung, played, to="violin")
      >>> figure = transfer.plot_transfer(sung, played, report)
      >>> len(figure.axes)
      4
      >>> folder.cleanup()
    """
    tracks = {recording: report.heard, output: _requested(report.played)}
    sounds = [
        Sound(
            printable(Path(path).name),
            stream_audio(
                path, sample_rate=report.sample_rate, block_length=1 << 16, allow_silence=True
            ),
            *features,
            n_samples=report.n_samples,
            notes=report.played.notes,
        )
        for path, features in tracks.items()
    ]
    rates = {"sample_rate": report.sample_rate, "hop_length": report.hop_length}
    return plot_sounds(sounds, **rates, y_axis="fft_note")


def _requested(played: AdjustedControls) -> tuple[Float[np.ndarray, " frames"], ...]:
    """Returns the requested pitch, a confidence that is 1 where it sounds, and loudness."""
    asked_db = played.asked_db
    if played.breath is not None:
        asked_db = np.maximum(asked_db, played.breath.asked_db)
    return played.f0_hz, (played.gain > 0).astype(np.float32), asked_db
