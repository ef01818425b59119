"""An instrument that is as loud as it is asked to be."""

from collections.abc import Iterator

import numpy as np

from ddspx._progress import Progress, no_progress
from ddspx._typing import Float
from ddspx.features import SpectralConfig, stream_spectral_features
from ddspx.models.autoencoder import Autoencoder
from ddspx.transfer._adjust import AdjustedControls
from ddspx.transfer._rendering import render

# What no music reaches: the rehearsal is not limited, or its level would be the limiter's.
_NO_CEILING_DB = 80.0
# A correction beyond it would be of something that this instrument cannot do there.
_MOST_DB = 12.0
_SMOOTHING_S = 0.06


def match_loudness(
    model: Autoencoder,
    played: AdjustedControls,
    *,
    n_samples: int,
    z: Float[np.ndarray, "frames z"] | None = None,
    reverb: float = 1.0,
    amount: float = 1.0,
    seed: int = 0,
    progress: Progress = no_progress,
) -> AdjustedControls:
    """What to ask of an instrument so that its notes are as loud as `played` asks.

    A decoder answers a loudness with about that loudness: some dB off, more for a pitch or a
    dynamic that its recordings lack, and the room adds what was played before. So the instrument
    plays once, its loudness is measured on the notes, and the gain makes up for what is missing,
    by at most 12 dB, averaged over 60 ms and led in a straight line from note to note.

    Args:
      model: the instrument.
      played: from :func:`adjust`.
      n_samples: as in :func:`render`.
      z: as in :func:`render`.
      reverb: as in :func:`render`.
      amount: how much is made up for, from 0 to 1.
      seed: of the noise.
      progress: told "rehearsing", the seconds that have been played, and of how many.

    Returns:
      `played` with another gain.

    Raises:
      ValueError: as :func:`render`.
    """
    if not played.notes.any():
        return played
    sample_rate, hop_length = model.config.sample_rate, model.config.hop_length

    def rehearsal() -> Iterator[np.ndarray]:
        done = 0
        for block in render(
            model,
            played,
            n_samples=n_samples,
            z=z,
            reverb=reverb,
            ceiling_db=_NO_CEILING_DB,
            seed=seed,
        ):
            yield block
            done += block.size
            progress("rehearsing", done / sample_rate, n_samples / sample_rate)

    loudness = SpectralConfig("loudness", sample_rate=sample_rate, hop_length=hop_length, n_fft=1)
    heard_db = np.concatenate(list(stream_spectral_features(rehearsal(), loudness)))
    notes = np.flatnonzero(played.notes)
    missing_db = np.clip((played.asked_db - heard_db)[notes], -_MOST_DB, _MOST_DB)
    everywhere_db = np.interp(np.arange(played.notes.size), notes, missing_db)
    reach = round(_SMOOTHING_S / 2 * sample_rate / hop_length)
    window = np.hanning(2 * reach + 3)[1:-1]
    padded_db = np.pad(everywhere_db, reach, mode="edge")
    smooth_db = np.convolve(padded_db, window / window.sum(), mode="valid")
    gain = played.gain * 10 ** (amount * smooth_db / 20)
    return played._replace(gain=gain.astype(played.gain.dtype))
