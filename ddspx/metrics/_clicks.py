"""Clicks: samples that cannot be predicted from the sound around them."""

import numpy as np

from ddspx._checks import size
from ddspx._typing import Float

# Order of the predictor, as a duration: a tone needs two taps for each of its harmonics. The taps
# are fitted to frames that hold several periods of the tone.
_ORDER_S, _LARGEST_ORDER = 0.008, 128
_FRAME_S = 0.096
# Power of the white noise that the fit assumes under the sound. It keeps the prediction of silence
# and of pure tones from becoming exact, because errors below -80 dB of full scale are inaudible.
_FLOOR = 1e-8
# Smallest audible prediction error: absolute, and relative to the peaks around it.
_LEAST_ERROR, _LEAST_ERROR_TO_PEAK = 1e-3, 5e-2
# Duration of a click before it rings in the taps of the predictor.
_CLICK_S = 0.001
# A click must stand out from this many stretches on either side. The few largest of them are left
# out, because they may hold another click; the pulses of a voice are more numerous than that.
_N_NEIGHBOURS, _N_LARGER_NEIGHBOURS = 6, 2
# The sudden onset of a note is not predicted either, but it is not sharper than the note that
# follows. A click must exceed the sharpness of its neighbours by this factor.
_SHARPNESS_RATIO = 1.2
_EDGE_S = 0.05
_BLOCK_S = 20.0


def click_times(
    audio: Float[np.ndarray, " samples"], *, sample_rate: int, threshold_db: float = 15.0
) -> Float[np.ndarray, " clicks"]:
    r"""Times of clicks: instants at which linear prediction of the sound suddenly fails.

    Every 48 ms a linear predictor with taps over 8 ms is fitted to 96 ms of sound. The error e of a
    sample is the smallest that three predictors leave: that of its own frame, whose fit a click
    disturbs, and those of the frames before and after, whose fit does not include the sample. The
    search runs forward and backward in time, because a sound that is cut off is found only
    backward: forward, the predictor fitted to the silence after the cut leaves no error. The sound
    is divided into stretches as long as a click rings in the predictor, about 9 ms. The largest e
    of a stretch is a click if it exceeds, by T decibels, the third largest :math:`e_{(3)}` of the
    stretches around it (six on either side without the adjacent ones; the two largest may hold
    another click):

    .. math:: e > 10^{T / 20}\, e_{(3)}

    The second difference of the sound must exceed its own third largest value there too. Therefore
    the onset of a note is not a click, because the note goes on. The pulses of a voice are not
    clicks, because they return; clicks that return as often, or that are softer than such pulses,
    are not found either. Errors 26 dB below the peaks around them, or 60 dB below full scale, are
    ignored as inaudible. The first and last 50 ms are not searched, because recordings are cut
    anywhere.

    Args:
      audio: linear amplitude, full scale 1.0, without NaN or Inf.
      sample_rate: samples per second.
      threshold_db: T, how far a click stands out.

    Returns:
      Times in seconds, ascending, accurate to a few milliseconds. The search works on blocks of
      20 seconds, so the memory it needs beside the sound does not grow with the duration.

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
      Godsill and Rayner, *Digital Audio Restoration*, 1998, chapter 5, compare the prediction error
      with its own standard deviation; by that rule every pulse of a voice is a click.
    """
    sample_rate = size("sample_rate", sample_rate)
    if np.ndim(audio) != 1:
        raise ValueError(f"`audio` must have one axis, got {np.ndim(audio)}; pass one channel.")
    audio = np.asarray(audio, np.float64)
    length, margin = (round(s * sample_rate) for s in (_BLOCK_S, 4 * _FRAME_S))
    found: list[float] = []
    for start in range(0, audio.size, length):
        first = max(0, start - margin)
        block = audio[first : start + length + margin]
        at = _in_block(block, sample_rate, threshold_db) + first
        # Clicks in the margins belong to the neighbouring blocks.
        found += at[(at >= start) & (at < start + length)].tolist()
    edge = round(_EDGE_S * sample_rate)
    inside = [at for at in found if edge <= at < audio.size - edge]
    return np.asarray(inside, np.float64) / sample_rate


def _in_block(audio: np.ndarray, sample_rate: int, threshold_db: float) -> np.ndarray:
    """Positions of the clicks in a block, by prediction forward and backward in time."""
    order = min(_LARGEST_ORDER, round(_ORDER_S * sample_rate))
    stretch = order + round(_CLICK_S * sample_rate)
    found = []
    for oriented in (audio, audio[::-1]):
        error = _prediction_error(oriented, sample_rate, order)
        at = _prominent(oriented, error, stretch, threshold_db)
        found.append(at if oriented is audio else audio.size - 1 - at)
    both = np.sort(np.concatenate(found))
    # The two directions find the same click a few samples apart.
    return both[np.diff(both, prepend=-2 * stretch) > stretch] if both.size else both


def _prominent(
    audio: np.ndarray, error: np.ndarray, stretch: int, threshold_db: float
) -> np.ndarray:
    """Positions of prediction errors that stand out from the stretches around them."""
    bend = np.abs(np.diff(audio, 2, prepend=audio[:1], append=audio[-1:]))
    loudest, largest, sharpest = (_stretch_maxima(x, stretch) for x in (np.abs(audio), error, bend))
    around, peaks = _neighbours(largest), _neighbours(loudest).max(axis=1)
    is_click = (
        (largest > 10 ** (threshold_db / 20) * _third(around))
        & (largest > np.maximum(_LEAST_ERROR, _LEAST_ERROR_TO_PEAK * peaks))
        & (largest >= around[:, _N_NEIGHBOURS - 1])
        & (largest >= around[:, _N_NEIGHBOURS + 1])
        & (sharpest > _SHARPNESS_RATIO * _third(_neighbours(sharpest)))
    )
    padded = np.pad(error, (0, -error.size % stretch)).reshape(-1, stretch)
    return np.flatnonzero(is_click) * stretch + padded[is_click].argmax(axis=1)


def _neighbours(maxima: np.ndarray) -> np.ndarray:
    """A row for each stretch: its own maximum in the middle, with those of the neighbours."""
    padded = np.pad(maxima, _N_NEIGHBOURS)
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * _N_NEIGHBOURS + 1)


def _third(around: np.ndarray) -> np.ndarray:
    """The third largest maximum of the neighbours, without the two adjacent ones."""
    adjacent = [_N_NEIGHBOURS - 1, _N_NEIGHBOURS, _N_NEIGHBOURS + 1]
    distant = np.delete(around, adjacent, axis=1)
    index = -1 - _N_LARGER_NEIGHBOURS
    return np.partition(distant, index, axis=1)[:, index]


def _stretch_maxima(values: np.ndarray, stretch: int) -> np.ndarray:
    return np.pad(values, (0, -values.size % stretch)).reshape(-1, stretch).max(axis=1)


def _prediction_error(audio: np.ndarray, sample_rate: int, order: int) -> np.ndarray:
    """The smallest error at each sample of the linear predictors of three frames around it."""
    hop = max(order, round(_FRAME_S * sample_rate / 2))
    n_hops = -(-audio.size // hop)
    # Frame i covers hop i and half a hop on either side, so frames i - 2 and i + 2 do not overlap
    # hop i.
    padded = np.pad(audio, (hop, 2 * hop + n_hops * hop - audio.size))
    frames = np.lib.stride_tricks.sliding_window_view(padded, 2 * hop)[hop // 2 :: hop][:n_hops]
    spectrum = np.fft.rfft(frames * np.hanning(2 * hop), 4 * hop)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[:, : order + 1] / (2 * hop)
    correlation[:, 0] += _FLOOR
    lags = np.abs(np.subtract.outer(np.arange(order), np.arange(order)))
    taps = np.linalg.solve(correlation[:, lags], correlation[:, 1:, None])[..., 0]
    history = np.lib.stride_tricks.sliding_window_view(padded, hop + order)
    history = history[hop - order :: hop][:n_hops]
    # By FFT: the prediction of a sample is the convolution of earlier samples with the taps.
    n_fft = 1 << (hop + 2 * order).bit_length()
    past = np.fft.rfft(history, n_fft)
    errors = []
    for chosen in np.clip(np.arange(n_hops) + np.array([[-2], [0], [2]]), 0, n_hops - 1):
        kernel = np.fft.rfft(np.pad(taps[chosen], ((0, 0), (1, 0))), n_fft)
        predicted = np.fft.irfft(past * kernel, n_fft)[:, order : order + hop]
        errors.append(np.abs(history[:, order:] - predicted))
    return np.min(errors, axis=0).reshape(-1)[: audio.size]
