"""What the pitch tracker's network sees: harmonics and repetition on one axis of pitch."""

import math
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from ddspx import core
from ddspx._typing import Array, ArrayLike, Float
from ddspx.models.pitch.config import PitchConfig

# Multiples of a candidate's pitch at which each window's spectrum is looked at. The fractions
# show what a candidate an octave, a fifth or a twelfth too high would leave unexplained.
_MULTIPLES = ((1, 2, 3, 4), (1 / 3, 1 / 2, 1, 3 / 2, 2, 3, 4, 5, 6, 8))
N_FEATURES = sum(len(multiples) + 1 for multiples in _MULTIPLES)
# Mean square at which sound fades into silence: an rms of -120 dB, under 16 bits' rounding.
SILENCE = 1e-12
# A band this far below the frame's power, 80 dB, is empty.
_EMPTY = 1e-8
# Share of the window that a lag must still compare.
LEAST_OVERLAP = 0.1
# Frames that an offset is averaged over, some 0.3 s: rumble is none.
OFFSET_FRAMES = 16
# Share of the frame's power from which on an offset is taken out: less does no harm.
_OFFSET_POWER = 0.1


def pitch_features(
    audio: Float[ArrayLike, "batch samples"], config: PitchConfig
) -> Float[Array, "batch frames bins features"]:
    r"""Evidence for every bin of pitch :math:`f`, from a short and a long window.

    .. math:: 1 + \tfrac14 \log_{10}\Bigl(\frac{P(m f)}{P} + 10^{-8}\Bigr) \quad\text{and}\quad
        \frac{r(1/f)}{P}

    with :math:`P(\cdot)` the power in a band as wide as a bin, :math:`P` that of the whole frame,
    and r the autocorrelation, less what the window does to it: the cosine transform of the
    power spectrum, exact between samples. Level cancels, down to an rms of -120 dB. So does a
    constant offset c: the mean of the 16 frames up to this one, but no more than its own. The
    share :math:`c^4 / (c^4 + (P / 10)^2)` of it is taken out, so all of one that would be heard,
    and next to nothing of others.

    Args:
      audio: linear amplitude, at `config.sample_rate`.
      config: windows and bins.

    Returns:
      For each frame and bin: four multiples and the autocorrelation in the short window, ten
      multiples and the autocorrelation in the long one. Levels lie between -1 and 1,
      correlations between about -1 and 1; all of silence is -1 and 0.

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
      <https://www.fon.hum.uva.nl/paul/papers/Proceedings_1993.pdf>`_, 1993, divides the window's
      autocorrelation out in the same way.
    """
    return features_of(power_spectra(audio, config), config)


def power_spectra(
    audio: Float[ArrayLike, "*batch samples"], config: PitchConfig
) -> list[Float[Array, "*batch frames _"]]:
    """Squared magnitudes of the frames in the short and in the long window, without an offset.

    A frame's offset is known from the `OFFSET_FRAMES` up to it.
    """
    spectra, windows = [], []
    for win_length in config.win_lengths:
        # Room for the longest lag that is used: the autocorrelation must not wrap around.
        n_fft = 2 ** math.ceil(math.log2(win_length * 4 / 3))
        sizes = {"n_fft": n_fft, "win_length": win_length}
        spectra.append(core.stft(audio, hop_length=config.hop_length, **sizes))
        windows.append(jnp.asarray(_window_spectrum(**sizes), spectra[-1].dtype))
    offset = _offset(audio, spectra[-1], windows[-1], config)
    power = []
    for spectrum, window in zip(spectra, windows, strict=True):
        rest = _without(spectrum, offset, window)
        power.append(rest.real**2 + rest.imag**2)
    return power


def _without(spectrum, offset, window):
    """The spectrum of frames, less that of their offset."""
    return spectrum - offset[..., None] * window.reshape((1,) * (spectrum.ndim - 1) + (-1,))


def _offset(audio, spectrum, window, config):
    """The constant that each frame is lifted by; next to none where it is weak beside the sound."""
    mean = spectrum[..., 0].real / window[0].real
    # Only frames in the midst of sound tell it: into others the silence beside it is mixed.
    count, hop, around = mean.shape[-1], config.hop_length, half_window(config)
    before, after = around * hop, (count + around) * hop - audio.shape[-1]
    pad = [(0, 0)] * (audio.ndim - 1) + [(before, after)]
    padded = jnp.pad(audio != 0, pad)
    blocks = padded.reshape(*audio.shape[:-1], padded.shape[-1] // hop, hop)
    is_sound = jnp.any(blocks, axis=-1)
    tells = is_sound[..., :count]
    for block in range(1, 2 * around):
        tells = tells & is_sound[..., block : block + count]
    tells = tells.astype(mean.dtype)
    offset = _sum_up_to(mean * tells) / jnp.maximum(_sum_up_to(tells), 1)
    # Never more than the frame itself shows: after the sound's end it shows none.
    offset = jnp.clip(offset, jnp.minimum(mean, 0), jnp.maximum(mean, 0))
    rest = _without(spectrum, offset, window)
    power = jnp.sum(rest.real**2 + rest.imag**2, axis=-1)
    power = power * _power_scale(2 * (spectrum.shape[-1] - 1), max(config.win_lengths))
    ratio = offset**2 / (_OFFSET_POWER * (power + SILENCE))
    square = jnp.minimum(ratio, 1e6) ** 2
    return offset * square / (1 + square)


def _sum_up_to(x):
    """Sums over each frame and those before it, `OFFSET_FRAMES` in all."""
    size = (1,) * (x.ndim - 1) + (OFFSET_FRAMES,)
    pad = ((0, 0),) * (x.ndim - 1) + ((OFFSET_FRAMES - 1, 0),)
    return jax.lax.reduce_window(x, 0.0, jax.lax.add, size, (1,) * x.ndim, pad)


def half_window(config: PitchConfig) -> int:
    """Hops that half of the long window spans."""
    return -(-(max(config.win_lengths) // 2) // config.hop_length)


@cache
def _window_spectrum(n_fft: int, win_length: int) -> np.ndarray:
    """What the transform of a frame makes of a constant 1."""
    margin = n_fft - win_length
    return np.fft.rfft(np.pad(core.hann_window(win_length), (margin // 2, margin - margin // 2)))


def features_of(
    spectra: list[Float[Array, "batch frames _"]], config: PitchConfig
) -> Float[Array, "batch frames bins features"]:
    """:func:`pitch_features` of what :func:`power_spectra` returns."""
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
    """From the sum of a spectrum's squares to the power of the audio, whatever the window."""
    # 3/8 is the mean of its square.
    return 2 / n_fft / win_length / 0.375


def _lowest(config: PitchConfig) -> int:
    """Bin of the lowest frequency that is looked at, counted from `fmin`."""
    return round(config.bins_per_octave * math.log2(min(map(min, _MULTIPLES))))


@cache
def _matrices(config: PitchConfig, win_length: int, n_fft: int) -> tuple[np.ndarray, np.ndarray]:
    """From a power spectrum to bands on a logarithmic axis, and to autocorrelation at lags."""
    bins = np.arange(n_fft // 2 + 1)
    hz = bins * config.sample_rate / n_fft
    step = 1 / config.bins_per_octave
    highest = config.n_bins + round(math.log2(max(map(max, _MULTIPLES))) / step)
    grid = config.fmin * 2 ** (step * np.arange(_lowest(config), highest))
    # Triangles as wide as a bin of pitch, or as a line of the spectrum where that is wider.
    width = np.maximum(grid * (2**step - 1), config.sample_rate / n_fft)
    bands = np.maximum(0, 1 - np.abs(hz[:, None] - grid) / width)

    lag = config.sample_rate / (config.fmin * 2 ** (step * np.arange(config.n_bins)))
    # The window's own autocorrelation says how much of the sound a lag still compares.
    window = np.hanning(win_length + 1)[:-1]
    own = np.abs(np.fft.rfft(window, 2 * n_fft)) ** 2 * np.r_[1, np.full(n_fft - 1, 2), 1]
    angles = np.pi * np.arange(n_fft + 1)[:, None] * lag / n_fft
    overlap = own @ np.cos(angles) / own.sum()
    ends = np.r_[0.5, np.ones(n_fft // 2 - 1), 0.5]
    lags = ends[:, None] * np.cos(2 * np.pi * bins[:, None] * lag / n_fft)
    return bands, np.where(overlap > LEAST_OVERLAP, lags / np.maximum(overlap, LEAST_OVERLAP), 0)
