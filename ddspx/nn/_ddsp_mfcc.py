"""The front-end of DDSP's encoder, as published."""

import math
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ddspx import core
from ddspx._checks import at_least_ndim, floats
from ddspx._typing import Array, ArrayLike, Float
from ddspx.core._framing import overlapping_blocks
from ddspx.nn._encoder_config import DdspMfccConfig

# What takes the place of a band without any energy; smaller energies than that stay.
_NO_ENERGY = 1e-5


class DdspMfcc(nnx.Module):
    """Audio to the MFCCs that DDSP's encoder listens to; it has no variables."""

    def __init__(self, config: DdspMfccConfig):
        self.config = config

    def __call__(
        self, audio: Float[ArrayLike, "*batch samples"]
    ) -> Float[Array, "*batch frames features"]:
        """The coefficients; frame i is of the samples from ``i * mfcc_hop_length`` on.

        There are as many frames as begin within the sound.
        """
        (audio,), c = floats(audio=audio), self.config
        at_least_ndim("audio", audio.shape, 1, "(*batch, samples)")
        n_frames = max(1, math.ceil(audio.shape[-1] / c.mfcc_hop_length))
        frames = overlapping_blocks(audio, 0, n_frames, c.n_fft, c.mfcc_hop_length)
        window = core.hann_window(c.n_fft, dtype=np.float64).astype(audio.dtype)
        spectrum = jnp.fft.rfft(frames * window.reshape((1,) * audio.ndim + (-1,)))
        magnitudes = core.safe_sqrt(jnp.square(spectrum.real) + jnp.square(spectrum.imag))
        triangles = _triangles(c).astype(audio.dtype)
        bands = jnp.matmul(magnitudes, triangles.T, precision=jax.lax.Precision.HIGHEST)
        levels = jnp.log(jnp.where(bands > 0, bands, _NO_ENERGY))
        coefficients = core.cepstral_coefficients(levels, n_mfcc=c.n_mfcc)
        # TensorFlow does not scale the zeroth row of the cosine transform.
        return coefficients.at[..., 0].multiply(math.sqrt(2))

    def interpolated(
        self, z: Float[Array, "*batch frames z"], n_samples: int
    ) -> Float[Array, "*batch outputs z"]:
        """Values of z on the frame rule, from those at the frames of the coefficients."""
        factor = self.config.mfcc_hop_length // self.config.hop_length
        frames = np.arange(core.n_frames(n_samples, hop_length=self.config.hop_length))
        last = z.shape[-2] - 1
        before, after = (np.minimum(frames // factor + k, last) for k in (0, 1))
        share = ((frames % factor) / factor).astype(z.dtype)[:, None]
        share = share.reshape((1,) * (z.ndim - 2) + share.shape)
        return z[..., before, :] * (1 - share) + z[..., after, :] * share


@lru_cache(maxsize=4)
def _triangles(config: DdspMfccConfig) -> np.ndarray:
    """Triangles of height 1 that are linear in mel, bands by bins; the bin of 0 Hz is in none."""
    bins = _mel(np.fft.rfftfreq(config.n_fft, 1 / config.sample_rate))
    low, high = _mel(np.array([config.fmin, config.fmax]))
    corners = np.linspace(low, high, config.n_bands + 2)[:, None]
    rising = (bins - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - bins) / (corners[2:] - corners[1:-1])
    triangles = np.maximum(0, np.minimum(rising, falling))
    triangles[:, 0] = 0
    return triangles


def _mel(frequencies_hz: np.ndarray) -> np.ndarray:
    return 1127 * np.log1p(frequencies_hz / 700)
