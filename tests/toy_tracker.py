"""A small pitch tracker, its parts compiled once, and sounds for it."""

import dataclasses
from functools import cache

import numpy as np
from flax import nnx
from helpers import DTYPES, quick_jit
from modules import of_parts

from ddspx.models.pitch import PitchConfig, PitchTracker, pitch_features
from ddspx.models.pitch.features import analyse_whole
from ddspx.models.pitch.refine import autocorrelation, refine_pitch

DTYPE = DTYPES[-1]
DEFAULT = PitchConfig()
# Sizes that do not divide each other, so that nothing is right by chance.
SMALL = PitchConfig(
    sample_rate=8000,
    hop_length=100,
    win_lengths=(300, 690),
    fmin=60.0,
    bins_per_octave=24,
    n_bins=120,
    channels=3,
)
HOP = SMALL.hop_length
LIVE = dataclasses.replace(SMALL, hop_length=80, win_lengths=(160, 360), window_look_ahead=80)

features = quick_jit(pitch_features, static_argnames="config")
refine = quick_jit(refine_pitch, static_argnames="config")


def _correlate(audio, config):
    batch = audio.shape[:-1]
    power = analyse_whole(audio.reshape(-1, audio.shape[-1]), config).power[-1]
    results = autocorrelation(power, config)
    return tuple(x.reshape(*batch, *x.shape[1:]) for x in results)


correlate = quick_jit(_correlate, static_argnames="config")


listen, track, step = map(of_parts, (PitchTracker.__call__, PitchTracker.track, PitchTracker.step))


@cache
def toy_tracker(config: PitchConfig = SMALL) -> PitchTracker:
    """A small network whose voicing is no constant; not to be changed."""
    return nnx.jit(lambda: PitchTracker(config, rngs=nnx.Rngs(0)))()


def tone(f0_hz, n_samples, *, config=DEFAULT, n_harmonics=8, level=0.1):
    """Harmonics that fall by 6 dB an octave, up to 45 % of the rate, in float64."""
    phase = 2 * np.pi * f0_hz * np.arange(n_samples) / config.sample_rate
    heard = range(1, 1 + min(n_harmonics, int(0.45 * config.sample_rate / f0_hz)))
    return level * sum(np.sin(k * phase + k) / k for k in heard)


def cents(f0_hz, expected_hz):
    return 1200 * np.log2(np.asarray(f0_hz, np.float64) / expected_hz)
