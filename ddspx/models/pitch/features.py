"""The input features of the pitch tracker's network: harmonics and periodicity per bin of pitch."""

import math
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from ddspx import core
from ddspx._typing import Array, ArrayLike, Float
from ddspx.models.pitch.config import PitchConfig

# Multiples of a candidate's pitch at which the spectrum of each window is read. The fractions show
# harmonics that a candidate which is an octave, a fifth or a twelfth too high does not explain.
_MULTIPLES = ((1, 2, 3, 4), (1 / 3, 1 / 2, 1, 3 / 2, 2, 3, 4, 5, 6, 8))
N_FEATURES = sum(len(multiples) + 1 for multiples in _MULTIPLES)
# The mean square that counts as silence: an RMS of -120 dB, below the rounding errors of 16 bits.
SILENCE = 1e-12
# The power of a band, over that of the frame, that counts as empty: -80 dB.
_EMPTY = 1e-8
# Lags at which the window overlaps itself by less than this share are not used.
LEAST_OVERLAP = 0.1
# Number of frames over which an offset is averaged, about 0.3 s, so that low-frequency rumble does
# not count as an offset.
OFFSET_FRAMES = 16
# An offset is removed if its power is above this share of the frame's power. Weaker ones are
# harmless.
_OFFSET_POWER = 0.1


def pitch_features(
    audio: Float[ArrayLike, "batch samples"], config: PitchConfig
) -> Float[Array, "batch frames bins features"]:
    r"""Evidence for every bin of pitch :math:`f`, from a short and a long window.

    .. math:: 1 + \tfrac14 \log_{10}\Bigl(\frac{P(m f)}{P} + 10^{-8}\Bigr) \quad\text{and}\quad
        \frac{r(1/f)}{P}

    with the power :math:`P(\cdot)` in a band as wide as a bin, the power :math:`P` of the whole
    frame, and the autocorrelation r, which is divided by that of the window. The autocorrelation is
    the cosine transform of the power spectrum, so it is exact between samples too. The features do
    not depend on the level, down to an RMS of -120 dB.

    A constant offset c is removed as well. It is estimated as the mean of the 16 frames up to this
    one, but is never larger than that of the frame itself. The share
    :math:`c^4 / (c^4 + (P / 10)^2)` of it is removed: almost all of a strong offset, and almost
    nothing of a weak one.

    Args:
      audio: linear amplitude, at `config.sample_rate`.
      config: windows and bins.

    Returns:
      For each frame and bin: the levels at four multiples and the autocorrelation in the short
      window, then the levels at ten multiples and the autocorrelation in the long one. Levels lie
      between -1 and 1, correlations between about -1 and 1. In silence, levels are -1 and
      correlations 0.

    Properties:
      Differentiable in `audio`; the gradient is finite, and zero in silence. Static: `config`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx.models.pitch import PitchConfig, pitch_features
      >>> pitch_features(jnp.zeros((1, 512)), PitchConfig()).shape
      (1, 3, 224, 16)

    References:
      Boersma, `Accurate short-term analysis of the fundamental frequency and the
      harmonics-to-noise ratio of a sampled sound
      <https://www.fon.hum.uva.nl/paul/papers/Proceedings_1993.pdf>`_, 1993, also divides by the
      autocorrelation of the window.
    """
    return features_of(power_spectra(audio, config), config)


def power_spectra(
    audio: Float[ArrayLike, "*batch samples"], config: PitchConfig
) -> list[Float[Array, "*batch frames _"]]:
    """Squared magnitudes of the frames in the short and in the long window, without the offset.

    The offset of a frame is estimated from the `OFFSET_FRAMES` frames up to it.
    """
    spectra, windows = [], []
    for win_length in config.win_lengths:
        # Zero-padded by a third or more, so that the autocorrelation does not wrap around at the
        # longest lag that is used.
        n_fft = 2 ** math.ceil(math.log2(win_length * 4 / 3))
        sizes = {"n_fft": n_fft, "win_length": win_length}
        spectra.append(core.stft(audio, hop_length=config.hop_length, **sizes))
        windows.append(jnp.asarray(_window_spectrum(**sizes), spectra[-1].dtype))
    offset = _offset(audio, spectra[-1], windows[-1], config)
    power = []
    for spectrum, window in zip(spectra, windows, strict=True):
        centred = _without_offset(spectrum, offset, window)
        power.append(centred.real**2 + centred.imag**2)
    return power


def _without_offset(spectrum, offset, window):
    """Subtracts the spectrum of the offset from that of the frames."""
    return spectrum - offset[..., None] * window.reshape((1,) * (spectrum.ndim - 1) + (-1,))


def _offset(audio, spectrum, window, config):
    """The constant offset of each frame; almost 0 where it is weak compared with the sound."""
    mean = spectrum[..., 0].real / window[0].real
    # Only frames whose whole window lies within sound count: silence would lower their mean.
    count, hop, around = mean.shape[-1], config.hop_length, half_window(config)
    before, after = around * hop, (count + around) * hop - audio.shape[-1]
    pad = [(0, 0)] * (audio.ndim - 1) + [(before, after)]
    padded = jnp.pad(audio != 0, pad)
    blocks = padded.reshape(*audio.shape[:-1], padded.shape[-1] // hop, hop)
    is_sound = jnp.any(blocks, axis=-1)
    is_inside = is_sound[..., :count]
    for block in range(1, 2 * around):
        is_inside = is_inside & is_sound[..., block : block + count]
    weights = is_inside.astype(mean.dtype)
    offset = _sum_up_to(mean * weights) / jnp.maximum(_sum_up_to(weights), 1)
    # At most the mean of the frame itself, which is 0 after the end of the sound.
    offset = jnp.clip(offset, jnp.minimum(mean, 0), jnp.maximum(mean, 0))
    centred = _without_offset(spectrum, offset, window)
    power = jnp.sum(centred.real**2 + centred.imag**2, axis=-1)
    power = power * _power_scale(2 * (spectrum.shape[-1] - 1), max(config.win_lengths))
    ratio = offset**2 / (_OFFSET_POWER * (power + SILENCE))
    square = jnp.minimum(ratio, 1e6) ** 2
    return offset * square / (1 + square)


def _sum_up_to(x):
    """Sums over each frame and the frames before it, `OFFSET_FRAMES` in total."""
    size = (1,) * (x.ndim - 1) + (OFFSET_FRAMES,)
    pad = ((0, 0),) * (x.ndim - 1) + ((OFFSET_FRAMES - 1, 0),)
    return jax.lax.reduce_window(x, 0.0, jax.lax.add, size, (1,) * x.ndim, pad)


def half_window(config: PitchConfig) -> int:
    """Half of the long window in hops, rounded up."""
    return -(-(max(config.win_lengths) // 2) // config.hop_length)


@cache
def _window_spectrum(n_fft: int, win_length: int) -> np.ndarray:
    """The spectrum of a frame of a constant 1."""
    margin = n_fft - win_length
    return np.fft.rfft(np.pad(core.hann_window(win_length), (margin // 2, margin - margin // 2)))


def features_of(
    spectra: list[Float[Array, "batch frames _"]], config: PitchConfig
) -> Float[Array, "batch frames bins features"]:
    """:func:`pitch_features` from the spectra that :func:`power_spectra` returns."""
    features = []
    for win_length, power, multiples in zip(config.win_lengths, spectra, _MULTIPLES, strict=True):
        n_fft = 2 * (power.shape[-1] - 1)
        power = power * _power_scale(n_fft, win_length)
        power = power / (power.sum(axis=-1, keepdims=True) + SILENCE)
        bands, lags = (
            jnp.asarray(matrix, power.dtype) for matrix in _matrices(config, win_length, n_fft)
        )
        levels = jnp.log10(power @ bands + _EMPTY) / 4 + 1
        for multiple in multiples:
            start = round(config.bins_per_octave * math.log2(multiple)) - _lowest(config)
            features.append(levels[..., start : start + config.n_bins])
        features.append(power @ lags)
    return jnp.stack(features, axis=-1)


def _power_scale(n_fft: int, win_length: int) -> float:
    """The factor from the sum of a frame's squared magnitudes to the power of the audio."""
    # 0.375 is the mean square of the Hann window.
    return 2 / n_fft / win_length / 0.375


def _lowest(config: PitchConfig) -> int:
    """The bin of the lowest frequency that is read, counted from `fmin`."""
    return round(config.bins_per_octave * math.log2(min(map(min, _MULTIPLES))))


@cache
def _matrices(config: PitchConfig, win_length: int, n_fft: int) -> tuple[np.ndarray, np.ndarray]:
    """The matrices from a power spectrum to logarithmic bands, and to autocorrelation at lags."""
    bins = np.arange(n_fft // 2 + 1)
    hz = bins * config.sample_rate / n_fft
    step = 1 / config.bins_per_octave
    highest = config.n_bins + round(math.log2(max(map(max, _MULTIPLES))) / step)
    grid = config.fmin * 2 ** (step * np.arange(_lowest(config), highest))
    # Triangles as wide as a bin of pitch, or as a bin of the spectrum where that is wider.
    width = np.maximum(grid * (2**step - 1), config.sample_rate / n_fft)
    bands = np.maximum(0, 1 - np.abs(hz[:, None] - grid) / width)

    lag = config.sample_rate / (config.fmin * 2 ** (step * np.arange(config.n_bins)))
    # The autocorrelation of the window is the share of the window that contributes at each lag.
    window = np.hanning(win_length + 1)[:-1]
    own = np.abs(np.fft.rfft(window, 2 * n_fft)) ** 2 * np.r_[1, np.full(n_fft - 1, 2), 1]
    angles = np.pi * np.arange(n_fft + 1)[:, None] * lag / n_fft
    overlap = own @ np.cos(angles) / own.sum()
    ends = np.r_[0.5, np.ones(n_fft // 2 - 1), 0.5]
    lags = ends[:, None] * np.cos(2 * np.pi * bins[:, None] * lag / n_fft)
    return bands, np.where(overlap > LEAST_OVERLAP, lags / np.maximum(overlap, LEAST_OVERLAP), 0)
