"""The input features of the pitch tracker's network, for whole sounds and for streams."""

import math
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from ddspx import core
from ddspx._typing import Array, ArrayLike, Float
from ddspx.models.pitch.config import PitchConfig

# Multiples of a candidate's pitch at which the spectrum of each window is read. The fractions show
# harmonics that a candidate which is an octave, a fifth or a twelfth too high does not explain.
_MULTIPLES = ((1, 2, 3, 4), (1 / 3, 1 / 2, 1, 3 / 2, 2, 3, 4, 5, 6, 8))
N_FEATURES = sum(len(multiples) + 1 for multiples in _MULTIPLES)
# The mean square that counts as silence: an RMS of -120 dB, below the rounding errors of 16 bits.
SILENCE = 1e-12
# The variance that counts as silence where levels are compared: 60 dB below the softest sound.
_QUIETEST = 1e-18
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
# The level of a frame is compared with the loudest one of this time before it, so that what rings
# on after a note, or hums beside it, is known to be softer than the note.
_MEMORY_S = 2.0
# Differences of level are cut at this many bels (60 dB).
_DEEPEST = 6.0
# Upper ends, in Hz, of the broad bands whose shares of the power tell hum, vowels and hisses apart.
_BROAD_HZ = (120, 400, 1200, 3000, 5500, math.inf)
# The share of a broad band that counts as empty: -40 dB.
_EMPTY_BROAD = 1e-4
N_SURROUNDINGS = 1 + len(_BROAD_HZ)


class FrameState(NamedTuple):
    """The state of a stream of :func:`analyse`: what later frames need of the past.

    Attributes:
      audio: the last samples, those of the long window but one hop.
      offsets: the mean of each of the last frames, and whether it counts.
      levels: the logarithm of the power of each frame of the last two seconds.
    """

    audio: Float[Array, "batch samples"]
    offsets: Float[Array, "batch frames 2"]
    levels: Float[Array, "batch frames"]


class Analysis(NamedTuple):
    """The spectra of some frames, and the level of each compared with what was before.

    Attributes:
      power: squared magnitudes in the short and in the long window, without the offset.
      surroundings: level over that of the loudest of the last two seconds, from -3 (60 dB softer)
        to 0, and the logarithmic shares of six broad bands, from -1 to 1.
    """

    power: tuple[Float[Array, "batch frames _"], ...]
    surroundings: Float[Array, "batch frames values"]


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
      (1, 3, 176, 16)

    References:
      Boersma, `Accurate short-term analysis of the fundamental frequency and the
      harmonics-to-noise ratio of a sampled sound
      <https://www.fon.hum.uva.nl/paul/papers/Proceedings_1993.pdf>`_, 1993, also divides by the
      autocorrelation of the window.
    """
    return features_of(analyse_whole(audio, config).power, config)


def analyse_whole(audio: Float[ArrayLike, "batch samples"], config: PitchConfig) -> Analysis:
    """Spectra and levels of every frame of a sound, on the frame rule, with silence around it."""
    audio = jnp.asarray(audio)
    state = silent_frames(config, audio.shape[0], audio.dtype)
    late = -(-config.window_end // config.hop_length) - 1
    _, analysis = analyse(state, padded(audio, late, config), config)
    return jax.tree.map(lambda x: x[:, late:], analysis)


def padded(audio: Array, late: int, config: PitchConfig) -> Array:
    """Adds silence until all frames of a sound are complete, `late` hops after the frame's own."""
    hop = config.hop_length
    after = (audio.shape[-1] // hop + 1 + late) * hop - audio.shape[-1]
    return jnp.pad(audio, [(0, 0)] * (audio.ndim - 1) + [(0, after)])


def silent_frames(config: PitchConfig, batch: int, dtype: DTypeLike) -> FrameState:
    """The state of a stream that has been silent so far."""
    memory = round(_MEMORY_S * config.sample_rate / config.hop_length)
    # Blocks end with a hop; the last window in them ends up to one hop earlier.
    unread = -config.window_end % config.hop_length
    return FrameState(
        jnp.zeros((batch, max(config.win_lengths) - config.hop_length + unread), dtype),
        jnp.zeros((batch, OFFSET_FRAMES - 1, 2), dtype),
        jnp.full((batch, memory), math.log10(_QUIETEST), dtype),
    )


def analyse(
    state: FrameState, block: Float[Array, "batch samples"], config: PitchConfig
) -> tuple[FrameState, Analysis]:
    """Spectra and levels of the frames whose long window ends in one of the hops of a block."""
    audio = jnp.concatenate([state.audio, block], axis=-1)
    count = block.shape[-1] // config.hop_length
    frames = _long_windows(audio, count, config)
    offsets, offset = _offset(state.offsets, frames)
    windows = [_cut(frames, win_length, config) for win_length in config.win_lengths]
    power = tuple(_power(window - offset[..., None]) for window in windows)
    levels = jnp.concatenate([state.levels, _level(windows[0])], axis=1)
    loudest = _over_frames(levels, jax.lax.max, -jnp.inf, 1 + state.levels.shape[1])
    softer = jnp.maximum(levels[:, -count:] - loudest, -_DEEPEST) * (3 / _DEEPEST)
    surroundings = jnp.concatenate([softer[..., None], _shares(power[0], config)], axis=-1)
    state = FrameState(audio[:, count * config.hop_length :], offsets[:, count:], levels[:, count:])
    return state, Analysis(power, surroundings)


def _long_windows(audio, count, config):
    """The samples of the long windows of `count` frames, without their window function."""
    longest, hop = max(config.win_lengths), config.hop_length
    per_window = -(-longest // hop)
    length = (per_window - 1 + count) * hop
    grid = jnp.pad(audio, ((0, 0), (0, max(0, length - audio.shape[-1]))))[:, :length]
    grid = grid.reshape(len(audio), per_window - 1 + count, hop)
    return jnp.concatenate([grid[:, i : i + count] for i in range(per_window)], axis=-1)[
        ..., :longest
    ]


def _cut(frames, win_length, config):
    """The part of the long windows that a window covers: live ones end, others centre together."""
    first = (frames.shape[-1] - win_length) // (1 if config.is_live else 2)
    return frames[..., first : first + win_length]


def _power(frames):
    """Squared magnitudes of frames under a Hann window."""
    win_length = frames.shape[-1]
    window = jnp.asarray(core.hann_window(win_length), frames.dtype)
    spectrum = jnp.fft.rfft(frames * window.reshape(1, 1, -1), n=fft_length(win_length))
    return spectrum.real**2 + spectrum.imag**2


def _shares(power, config):
    """The logarithmic shares of the broad bands, from -1 to 1."""
    power = power * _power_scale(config.win_lengths[0])
    bands = power @ jnp.asarray(_broad_bands(config), power.dtype)
    shares = bands / (power.sum(axis=-1, keepdims=True) + SILENCE)
    return 1 + jnp.log10(shares + _EMPTY_BROAD) / 2


def _level(frames):
    """The logarithm of the variance of the samples that are not digital silence.

    A recording with an offset begins with a step, which is louder than all that follows, but which
    has no variance.
    """
    window = jnp.asarray(core.hann_window(frames.shape[-1]), frames.dtype)
    heard = jnp.where(frames != 0, window.reshape(1, 1, -1), 0)
    mean = jnp.sum(heard * frames, axis=-1) / (jnp.sum(heard, axis=-1) + 1e-6)
    square = jnp.sum((heard * (frames - mean[..., None])) ** 2, axis=-1)
    return jnp.log10(square / (0.375 * frames.shape[-1]) + _QUIETEST)


def _offset(history, frames):
    """The history with these frames, and their constant offset: almost 0 where it is weak."""
    longest = frames.shape[-1]
    window = core.hann_window(longest)
    mean = frames @ jnp.asarray(window / window.sum(), frames.dtype)
    # Only frames whose whole window lies within sound count: silence would lower their mean.
    pieces = jnp.pad(frames != 0, ((0, 0), (0, 0), (0, -longest % 8)), constant_values=True)
    pieces = pieces.reshape(*frames.shape[:2], 8, -(-longest // 8))
    is_inside = jnp.all(jnp.any(pieces, axis=-1), axis=-1)
    weight = is_inside.astype(frames.dtype)
    history = jnp.concatenate([history, jnp.stack([mean * weight, weight], axis=-1)], axis=1)
    sums = _over_frames(history, jax.lax.add, 0.0, OFFSET_FRAMES)
    offset = sums[..., 0] / jnp.maximum(sums[..., 1], 1)
    # At most the mean of the frame itself, which is 0 after the end of the sound.
    offset = jnp.clip(offset, jnp.minimum(mean, 0), jnp.maximum(mean, 0))
    square = window**2
    power = (frames - offset[..., None]) ** 2 @ jnp.asarray(square / square.sum(), frames.dtype)
    ratio = offset**2 / (_OFFSET_POWER * (power + SILENCE))
    share = jnp.minimum(ratio, 1e6) ** 2
    return history, offset * share / (1 + share)


def _over_frames(x, combine, start, count):
    """Combines each frame, from the `count`-th on, with the `count` - 1 frames before it."""
    size = (1, count) + (1,) * (x.ndim - 2)
    return jax.lax.reduce_window(
        x, np.asarray(start, x.dtype), combine, size, (1,) * x.ndim, "VALID"
    )


def features_of(
    spectra: tuple[Float[Array, "batch frames _"], ...], config: PitchConfig
) -> Float[Array, "batch frames bins features"]:
    """:func:`pitch_features` from the spectra of :func:`analyse`."""
    features = []
    for win_length, power, multiples in zip(config.win_lengths, spectra, _MULTIPLES, strict=True):
        power = power * _power_scale(win_length)
        power = power / (power.sum(axis=-1, keepdims=True) + SILENCE)
        bands, lags = (jnp.asarray(matrix, power.dtype) for matrix in _matrices(config, win_length))
        levels = jnp.log10(power @ bands + _EMPTY) / 4 + 1
        for multiple in multiples:
            start = round(config.bins_per_octave * math.log2(multiple)) - _lowest(config)
            features.append(levels[..., start : start + config.n_bins])
        features.append(power @ lags)
    return jnp.stack(features, axis=-1)


def fft_length(win_length: int) -> int:
    """Length of the Fourier transform of a window."""
    # Zero-padded by a third or more, so that the autocorrelation does not wrap around at the
    # longest lag that is used.
    return 2 ** math.ceil(math.log2(win_length * 4 / 3))


def _power_scale(win_length: int) -> float:
    """The factor from the sum of a frame's squared magnitudes to the power of the audio."""
    # 0.375 is the mean square of the Hann window.
    return 2 / fft_length(win_length) / win_length / 0.375


def _lowest(config: PitchConfig) -> int:
    """The bin of the lowest frequency that is read, counted from `fmin`."""
    return round(config.bins_per_octave * math.log2(min(map(min, _MULTIPLES))))


@cache
def _broad_bands(config: PitchConfig) -> np.ndarray:
    """One for each line of the short window that lies in each of the broad bands."""
    n_fft = fft_length(config.win_lengths[0])
    hz = np.arange(n_fft // 2 + 1) * config.sample_rate / n_fft
    band = np.searchsorted(_BROAD_HZ, hz, side="right")
    return (band[:, None] == np.arange(len(_BROAD_HZ))).astype(np.float64)


@cache
def _matrices(config: PitchConfig, win_length: int) -> tuple[np.ndarray, np.ndarray]:
    """The matrices from a power spectrum to logarithmic bands, and to autocorrelation at lags."""
    n_fft = fft_length(win_length)
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
