"""Checks that a dataset fits a model, and the statistics of its recordings."""

from pathlib import Path

import numpy as np

from ddspx._notes import hz_to_midi
from ddspx._typing import Bool, Float
from ddspx.features import Features, StreamingMethod, feature_version, loudness_of, method_of
from ddspx.io import AudioError, DatasetError, Manifest, training_batches
from ddspx.metrics import VOICED
from ddspx.models.autoencoder import AutoencoderConfig, InstrumentStatistics

_HEARD_STRETCHES = 16


def check_dataset(manifest: Manifest, model: AutoencoderConfig) -> None:
    """Raises a ValueError unless a dataset has a model's rates and features of a known version."""
    for name in ("sample_rate", "hop_length"):
        prepared, expected = getattr(manifest, name), getattr(model, name)
        if prepared != expected:
            raise ValueError(
                f"The dataset was prepared with `{name}` {prepared} and the model has {expected}; "
                f"prepare the recordings again with {expected}, or use a model with {prepared}."
            )
    # This ddspx must be able to compute the features of the training in use, too.
    try:
        method_of(manifest.feature_version)
    except ValueError as error:
        raise ValueError(f"The dataset cannot be used: its {error}") from None


def same_features(version: str, other: str) -> bool:
    """Tells whether a model that was trained on features of one version can use the other's."""
    try:
        return (method_of(version), loudness_of(version)) == (method_of(other), loudness_of(other))
    except ValueError:
        return False


def dataset_statistics(dataset: str | Path, manifest: Manifest) -> InstrumentStatistics:
    """Returns the statistics in a dataset's manifest; raises a DatasetError if damaged."""
    try:
        return InstrumentStatistics.from_json(manifest.statistics)
    except (TypeError, ValueError) as error:
        raise DatasetError(
            f"{dataset} has damaged statistics ({error}); prepare the dataset again."
        ) from error


def stretches_to_hear(dataset: str | Path) -> Float[np.ndarray, "stretches samples"]:
    """Returns the stretches of the train split whose mean embedding stands for a dataset."""
    return next(training_batches(dataset, batch_size=_HEARD_STRETCHES, seed=0)).audio


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
      >>> from ddspx.training import instrument_statistics
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
