"""The statistics of an instrument's recordings."""

import numpy as np

from ddspx._notes import hz_to_midi
from ddspx._typing import Bool
from ddspx.features import Features, StreamingMethod, feature_version
from ddspx.io import AudioError
from ddspx.metrics import VOICED
from ddspx.models.autoencoder.config import InstrumentStatistics


def instrument_statistics(
    tracks: Features, *, sample_rate: int, hop_length: int, method: StreamingMethod = "ddspx"
) -> InstrumentStatistics:
    """Computes the distributions of loudness and pitch of an instrument's recordings.

    They are stored in the model folder, and a transfer fits its recording to them.

    Args:
      tracks: from `features.conditioning_features`, of all recordings, one after the other.
      sample_rate: samples per second of the recordings.
      hop_length: samples between the frames of the tracks.
      method: the pitch tracker that made them.

    Returns:
      Percentiles of loudness and pitch over the frames that have a pitch.

    Raises:
      AudioError: no frame has a pitch.

    Example:
      >>> import numpy as np
      >>> from ddspx.features import Features
      >>> from ddspx.instruments import instrument_statistics
      >>> frames = np.ones(250)
      >>> tracks = Features(440 * frames, frames, -30 * frames)
      >>> statistics = instrument_statistics(tracks, sample_rate=16000, hop_length=64)
      >>> statistics.pitch_midi_mean, statistics.duration_s
      (69.0, 1.0)
    """
    voiced = is_voiced(tracks)
    if not voiced.any():
        raise AudioError(
            "no pitch was found in the recordings; training an instrument needs monophonic, "
            "pitched sound."
        )
    f0_hz, loudness_db = (
        np.asarray(x, np.float64)[voiced] for x in (tracks.f0_hz, tracks.loudness_db)
    )
    midi = hz_to_midi(f0_hz)
    low, high = np.percentile(midi, [1, 99])
    return InstrumentStatistics(
        sample_rate=sample_rate,
        hop_length=hop_length,
        loudness_quantiles=tuple(np.quantile(loudness_db, np.linspace(0, 1, 101))),
        pitch_midi_min=low,
        pitch_midi_mean=float(np.clip(midi.mean(), low, high)),
        pitch_midi_max=high,
        duration_s=voiced.size * hop_length / sample_rate,
        feature_version=feature_version(method),
    )


def is_voiced(tracks: Features) -> Bool[np.ndarray, " frames"]:
    """Returns which frames have a pitch."""
    return (np.asarray(tracks.f0_confidence) >= VOICED) & (np.asarray(tracks.f0_hz) > 0)
