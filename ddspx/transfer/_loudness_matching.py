"""Compensates the difference between the requested loudness and an instrument's own."""

from collections.abc import Iterator

import numpy as np

from ddspx._progress import Progress, no_progress
from ddspx._typing import Float
from ddspx.features import SpectralConfig, stream_spectral_features
from ddspx.models.autoencoder import Autoencoder
from ddspx.transfer._adjust import AdjustedControls
from ddspx.transfer._rendering import render

# A ceiling that no music reaches: the level is measured without the effect of the limiter.
_NO_CEILING_DB = 80.0
# A larger difference than this is not fully compensated: the instrument cannot play that loudness
# at that pitch.
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
    """Changes the gain so that the instrument's notes are as loud as `played` requests.

    A decoder does not play the requested loudness exactly. It is off by a few dB, by more at a
    pitch or a dynamic that its recordings lack, and the reverb adds the sound of earlier notes.
    The instrument is therefore rendered once, and its loudness is measured on the notes. The gain
    compensates the difference by at most 12 dB, smoothed over 60 ms and interpolated linearly
    between notes.

    Args:
      model: the instrument.
      played: the controls, from :func:`adjust`.
      n_samples: as in :func:`render`.
      z: as in :func:`render`.
      reverb: as in :func:`render`.
      amount: the share of the difference that is compensated, from 0 to 1.
      seed: seed of the noise.
      progress: called with "rehearsing", the seconds that have been rendered, and all seconds.

    Returns:
      `played` with a new gain.

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
    measured_db = np.concatenate(list(stream_spectral_features(rehearsal(), loudness)))
    notes = np.flatnonzero(played.notes)
    difference_db = np.clip((played.asked_db - measured_db)[notes], -_MOST_DB, _MOST_DB)
    everywhere_db = np.interp(np.arange(played.notes.size), notes, difference_db)
    reach = round(_SMOOTHING_S / 2 * sample_rate / hop_length)
    window = np.hanning(2 * reach + 3)[1:-1]
    padded_db = np.pad(everywhere_db, reach, mode="edge")
    smooth_db = np.convolve(padded_db, window / window.sum(), mode="valid")
    gain = played.gain * 10 ** (amount * smooth_db / 20)
    return played._replace(gain=gain.astype(played.gain.dtype))
