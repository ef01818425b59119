"""The statistics of an instrument's recordings."""

from collections.abc import Callable, Iterable

import numpy as np

from ddspx._notes import hz_to_midi
from ddspx._typing import Bool
from ddspx.features import Features, StreamingMethod, feature_version
from ddspx.instruments._ranks import RankedFloats
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
    rates = {"sample_rate": sample_rate, "hop_length": hop_length}
    statistics, _ = streamed_statistics(lambda: [tracks], **rates, method=method)
    return statistics


def streamed_statistics(
    tracks: Callable[[], Iterable[Features]],
    *,
    sample_rate: int,
    hop_length: int,
    method: StreamingMethod = "ddspx",
) -> tuple[InstrumentStatistics, float]:
    """Computes :func:`instrument_statistics` of tracks that come in parts, in bounded memory.

    Args:
      tracks: gives the parts, in any order; it is called twice.
      sample_rate: samples per second of the recordings.
      hop_length: samples between the frames of the tracks.
      method: the pitch tracker that made them.

    Returns:
      The statistics, and the share of the frames that have a pitch.

    Raises:
      AudioError: no frame has a pitch.
    """
    pitch, loudness = RankedFloats(), RankedFloats()
    n_frames, sum_midi = 0, 0.0
    for part in tracks():
        f0_hz, loudness_db = _voiced(part)
        n_frames += part.f0_hz.size
        sum_midi += hz_to_midi(f0_hz.astype(np.float64)).sum()
        pitch.count(f0_hz)
        loudness.count(loudness_db)
    if not pitch.size:
        raise AudioError(
            "no pitch was found in the recordings; training an instrument needs monophonic, "
            "pitched sound."
        )
    pitch.look_for([0.01, 0.99])
    loudness.look_for(np.linspace(0, 1, 101))
    for part in tracks():
        f0_hz, loudness_db = _voiced(part)
        pitch.look_at(f0_hz)
        loudness.look_at(loudness_db)
    low, high = pitch.quantiles(hz_to_midi)
    statistics = InstrumentStatistics(
        sample_rate=sample_rate,
        hop_length=hop_length,
        loudness_quantiles=tuple(loudness.quantiles()),
        pitch_midi_min=low,
        pitch_midi_mean=float(np.clip(sum_midi / pitch.size, low, high)),
        pitch_midi_max=high,
        duration_s=n_frames * hop_length / sample_rate,
        feature_version=feature_version(method),
    )
    return statistics, pitch.size / n_frames


def _voiced(tracks: Features) -> tuple[np.ndarray, np.ndarray]:
    voiced = is_voiced(tracks)
    f0_hz, loudness_db = (np.asarray(x, np.float32) for x in (tracks.f0_hz, tracks.loudness_db))
    return f0_hz[voiced], loudness_db[voiced]


def is_voiced(tracks: Features) -> Bool[np.ndarray, " frames"]:
    """Returns which frames have a pitch."""
    return (np.asarray(tracks.f0_confidence) >= VOICED) & (np.asarray(tracks.f0_hz) > 0)
