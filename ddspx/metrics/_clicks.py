"""Clicks: samples that the sound around them does not explain."""

import numpy as np

from ddspx._checks import positive_int
from ddspx._typing import Float

# A tone is predicted by two taps for each of its harmonics, fitted to some of its periods.
_ORDER_S, _LARGEST_ORDER = 0.008, 128
_FRAME_S = 0.096
# White noise of this power, under the sound, keeps the prediction of silence and of pure tones
# from being exact: an error below -80 dB of full scale is not heard.
_FLOOR = 1e-8
_LEAST, _LEAST_BESIDE = 1e-3, 5e-2
# What belongs to a click beside the taps that it rings in; how many stretches on either side it
# stands out of, and how many of them may be as large: another click, not the pulses of a voice.
_ITSELF_S, _REACH, _OTHERS = 0.001, 6, 2
# A note that begins at once is not predicted either, but is no sharper than it will be.
_SHARPER = 1.2
_AROUND_S = 0.05
_BLOCK_S = 20.0


def click_times(
    audio: Float[np.ndarray, " samples"], *, sample_rate: int, threshold_db: float = 15.0
) -> Float[np.ndarray, " clicks"]:
    r"""When a sound clicks: where its prediction fails suddenly and for an instant alone.

    Every 48 ms a linear predictor with taps over 8 ms is fitted to 96 ms of sound. Of a sample, e
    is what is left by the best of three: its own, which a click spoils, and those before and after
    it, which have not heard it; and this forward and backward in time, because a sound that is cut
    off is predicted by the silence after it. The sound is divided into stretches as long as a click
    rings, some 9 ms at most, and a click is the largest e of one that stands out of the six
    on either side, less the next ones and the two largest, which may be another click:

    .. math:: e > 10^{T / 20}\, e_{(3)}

    Nor is the second difference of the sound as large in three of them. So the onset of a note is
    no click, because the note goes on; nor are the pulses of a voice, which return, and neither is
    what clicks as often, or is softer than such pulses. What is 26 dB below
    the peaks around it, or 60 dB below full scale, is not heard. The first and last 50 ms are not
    judged: recordings are cut anywhere.

    Args:
      audio: linear amplitude, full scale 1.0, without NaN or Inf.
      sample_rate: samples per second.
      threshold_db: T, how far a click stands out.

    Returns:
      Seconds, in order, exact to some milliseconds. Memory holds some seconds beside the sound.

    Raises:
      TypeError: `sample_rate` is not an int.
      ValueError: `sample_rate` is not positive, or `audio` has more than one axis.

    Example:
      >>> import numpy as np
      >>> from ddspx import metrics
      >>> tone = 0.3 * np.cos(2 * np.pi * 440 * np.arange(16000) / 16000)
      >>> cut = np.where(np.arange(16000) < 8001, tone, 0.0)
      >>> metrics.click_times(tone, sample_rate=16000).size
      0
      >>> metrics.click_times(cut, sample_rate=16000).round(3).tolist()
      [0.5]

    References:
      Godsill and Rayner, *Digital Audio Restoration*, 1998, chapter 5, detect clicks by the
      prediction error against its own deviation, in which every pulse of a voice is one.
    """
    sample_rate = positive_int("sample_rate", sample_rate)
    if np.ndim(audio) != 1:
        raise ValueError(f"`audio` must have one axis, got {np.ndim(audio)}; pass one channel.")
    audio = np.asarray(audio, np.float64)
    size, margin = (round(s * sample_rate) for s in (_BLOCK_S, 4 * _FRAME_S))
    found: list[float] = []
    for start in range(0, audio.size, size):
        first = max(0, start - margin)
        heard = audio[first : start + size + margin]
        at = _in_block(heard, sample_rate, threshold_db) + first
        # Those of the margins are the neighbours'.
        found += at[(at >= start) & (at < start + size)].tolist()
    edge = round(_AROUND_S * sample_rate)
    inside = [at for at in found if edge <= at < audio.size - edge]
    return np.asarray(inside, np.float64) / sample_rate


def _in_block(audio: np.ndarray, sample_rate: int, threshold_db: float) -> np.ndarray:
    """The samples at which a block clicks, found forward or backward."""
    order = min(_LARGEST_ORDER, round(_ORDER_S * sample_rate))
    stretch = order + round(_ITSELF_S * sample_rate)
    found = []
    for turned in (audio, audio[::-1]):
        error = _prediction_error(turned, sample_rate, order)
        at = _prominent(turned, error, stretch, threshold_db)
        found.append(at if turned is audio else audio.size - 1 - at)
    both = np.sort(np.concatenate(found))
    # The two directions say the same click a few samples apart.
    return both[np.diff(both, prepend=-2 * stretch) > stretch] if both.size else both


def _prominent(
    audio: np.ndarray, error: np.ndarray, stretch: int, threshold_db: float
) -> np.ndarray:
    """The samples that stand out of what is around them."""
    bend = np.abs(np.diff(audio, 2, prepend=audio[:1], append=audio[-1:]))
    loudest, largest, sharpest = (_stretch_maxima(x, stretch) for x in (np.abs(audio), error, bend))
    around, peaks = _neighbours(largest), _neighbours(loudest).max(axis=1)
    is_click = (
        (largest > 10 ** (threshold_db / 20) * _third(around))
        & (largest > np.maximum(_LEAST, _LEAST_BESIDE * peaks))
        & (largest >= around[:, _REACH - 1])
        & (largest >= around[:, _REACH + 1])
        & (sharpest > _SHARPER * _third(_neighbours(sharpest)))
    )
    padded = np.pad(error, (0, -error.size % stretch)).reshape(-1, stretch)
    return np.flatnonzero(is_click) * stretch + padded[is_click].argmax(axis=1)


def _neighbours(maxima: np.ndarray) -> np.ndarray:
    """Of each stretch, itself and those around it."""
    return np.lib.stride_tricks.sliding_window_view(np.pad(maxima, _REACH), 2 * _REACH + 1)


def _third(around: np.ndarray) -> np.ndarray:
    """The third largest of the neighbours that are not the next ones."""
    others = np.delete(around, [_REACH - 1, _REACH, _REACH + 1], axis=1)
    return np.partition(others, -1 - _OTHERS, axis=1)[:, -1 - _OTHERS]


def _stretch_maxima(values: np.ndarray, stretch: int) -> np.ndarray:
    return np.pad(values, (0, -values.size % stretch)).reshape(-1, stretch).max(axis=1)


def _prediction_error(audio: np.ndarray, sample_rate: int, order: int) -> np.ndarray:
    """The least that three linear predictors, fitted frame by frame, leave of every sample."""
    hop = max(order, round(_FRAME_S * sample_rate / 2))
    n_hops = -(-audio.size // hop)
    # Frame i is hop i and half a hop on either side, so those of hops i - 2 and i + 2 touch it not.
    padded = np.pad(audio, (hop, 2 * hop + n_hops * hop - audio.size))
    frames = np.lib.stride_tricks.sliding_window_view(padded, 2 * hop)[hop // 2 :: hop][:n_hops]
    spectrum = np.fft.rfft(frames * np.hanning(2 * hop), 4 * hop)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[:, : order + 1] / (2 * hop)
    correlation[:, 0] += _FLOOR
    lags = np.abs(np.subtract.outer(np.arange(order), np.arange(order)))
    taps = np.linalg.solve(correlation[:, lags], correlation[:, 1:, None])[..., 0]
    history = np.lib.stride_tricks.sliding_window_view(padded, hop + order)
    history = history[hop - order :: hop][:n_hops]
    # By FFT: a sample's prediction is the convolution of what came before with the taps.
    n_fft = 1 << (hop + 2 * order).bit_length()
    past = np.fft.rfft(history, n_fft)
    errors = []
    for chosen in np.clip(np.arange(n_hops) + np.array([[-2], [0], [2]]), 0, n_hops - 1):
        kernel = np.fft.rfft(np.pad(taps[chosen], ((0, 0), (1, 0))), n_fft)
        predicted = np.fft.irfft(past * kernel, n_fft)[:, order : order + hop]
        errors.append(np.abs(history[:, order:] - predicted))
    return np.min(errors, axis=0).reshape(-1)[: audio.size]
