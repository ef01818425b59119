"""A dataset of a gliding tone and a model that trains on it in seconds; tests share them."""

import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from helpers import compiled

from ddspx import core, features
from ddspx.io import DatasetWriter, Segment, Source
from ddspx.models.autoencoder import AutoencoderConfig, InstrumentStatistics
from ddspx.nn import HarmonicNoiseConfig, RnnFcDecoderConfig, TapReverbConfig

SAMPLE_RATE, HOP, EXAMPLE_HOPS = 8000, 80, 50
FMIN, FMAX = 100.0, 1000.0
LONGEST_S = 8
loudness_of = compiled(core.loudness_db)
VERSION = features.feature_version("ddspx")
MODEL = AutoencoderConfig(
    sample_rate=SAMPLE_RATE,
    hop_length=HOP,
    synthesizer=HarmonicNoiseConfig(8, 9, amplitude_upsampling="linear"),
    decoder=RnnFcDecoderConfig(rnn_channels=8, fc_channels=8, fc_layers=1),
    reverb=TapReverbConfig(100),
    loss_n_ffts=(256, 64),
)


def small_model(**changes) -> AutoencoderConfig:
    """The model without stacks and without a room."""
    decoder = RnnFcDecoderConfig(rnn_channels=8, fc_channels=8, fc_layers=0)
    changes = {"decoder": decoder, "reverb": None, "loss_n_ffts": (64,), **changes}
    return dataclasses.replace(MODEL, **changes)


def write_dataset(
    folder: Path,
    seconds: dict[str, int],
    *,
    feature_version=VERSION,
    damage=False,
) -> Path:
    """A prepared dataset with so many seconds in each split, in half-second examples.

    With `damage` its loudness is NaN, which `prepare` would never write.
    """
    folder.mkdir(parents=True)
    with DatasetWriter(
        folder, sample_rate=SAMPLE_RATE, hop_length=HOP, example_length=EXAMPLE_HOPS * HOP
    ) as writer:
        for split, duration in seconds.items():
            segment = glide(duration)
            if damage:
                segment.loudness_db[:] = np.nan
            writer.add(split, segment, source=0)
        statistics = InstrumentStatistics(
            sample_rate=SAMPLE_RATE,
            hop_length=HOP,
            loudness_quantiles=(-30.0, -10.0),
            pitch_midi_min=50.0,
            pitch_midi_mean=55.0,
            pitch_midi_max=60.0,
            duration_s=float(seconds["train"]),
            feature_version=feature_version,
            fmin=FMIN,
            fmax=FMAX,
        )
        writer.finish(
            feature_version=feature_version,
            licence="CC0-1.0",
            attribution="a sine",
            sources=(Source("glide.wav", "0" * 64, 10.0, 10.0),),
            statistics=statistics.to_json(),
        )
    return folder


def glide(seconds: int) -> Segment:
    """A tone of two harmonics that glides from 200 to 300 Hz, with its features."""
    n_frames = 1 + seconds * SAMPLE_RATE // HOP
    f0_hz = np.geomspace(200, 300, n_frames)
    phase = 2 * np.pi * np.cumsum(np.repeat(f0_hz[:-1], HOP) / SAMPLE_RATE)
    audio = (0.2 * np.sin(phase) + 0.1 * np.sin(2 * phase)).astype(np.float32)
    # All sounds are padded with silence to one length, so that one program serves all of them.
    padded = jnp.asarray(np.pad(audio, (0, LONGEST_S * SAMPLE_RATE - audio.size)))
    loudness = np.array(loudness_of(padded, sample_rate=SAMPLE_RATE, hop_length=HOP)[:n_frames])
    confidence = np.ones(n_frames, np.float32)
    return Segment(audio, f0_hz.astype(np.float32), confidence, loudness)
