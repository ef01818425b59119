"""A recording and what an instrument made of it, side by side."""

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
    """Draws the spectrograms of both sounds, with the pitch and loudness that belong to them.

    Their axis of frequency is in notes.

    Of the recording these are what was heard, of the output what the instrument was asked for.
    What was found to be a note is shaded. Nothing is measured again; the files are read in blocks.

    Args:
      recording: what was given to :func:`transfer`.
      output: what it wrote.
      report: what it returned.

    Returns:
      A matplotlib figure.

    Raises:
      AudioError: one of the files is gone or another one.
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
    tracks = {recording: report.heard, output: _asked(report.played)}
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


def _asked(played: AdjustedControls) -> tuple[Float[np.ndarray, " frames"], ...]:
    """Pitch, whether there is a note, and loudness, frame by frame."""
    return played.f0_hz, (played.gain > 0).astype(np.float32), played.asked_db
