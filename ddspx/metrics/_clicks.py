"""Clicks: samples that the sound around them does not explain."""

import numpy as np

from ddspx._checks import positive_int
from ddspx._typing import Float

# A tone of 32 harmonics is predicted by 64 taps, fitted to some of its periods.
_ORDER = 64
_FRAME_S = 0.064
# The neighbourhood that a click stands out of, and what belongs to the click itself.
_AROUND_S, _ITSELF_S = 0.04, 0.003
# White noise of this power, under the sound, keeps the prediction of silence and of pure tones
# from being exact: an error below -80 dB of full scale is not heard.
_FLOOR = 1e-8
_LEAST, _LEAST_BESIDE = 1e-3, 1e-2


def click_times(
    audio: Float[np.ndarray, " samples"], *, sample_rate: int, threshold_db: float = 15.0
) -> Float[np.ndarray, " clicks"]:
    r"""When a sound clicks: where its prediction fails suddenly and for an instant alone.

    Every 32 ms a linear predictor of order 64 is fitted to 64 ms of sound. Of a sample, e is what
    is left by the best of three: its own, which a click spoils, and those before and after it,
    which have not heard it. A click is a sample n whose e is the largest within 3 ms and stands out
    of what comes before and after it, up to 40 ms away:

    .. math:: |e[n]| > 10^{T / 20} \max_{3\,\mathrm{ms} < |i| < 40\,\mathrm{ms}} |e[n + i]|

    The onset of a note is no click, because the note goes on; nor are the pulses of a voice,
    which return. What is 40 dB below the peaks around it, or 60 dB below full scale, is not heard.

    Args:
      audio: linear amplitude, full scale 1.0.
      sample_rate: samples per second.
      threshold_db: T, how far a click stands out.

    Returns:
      Seconds, in order.

    Raises:
      TypeError: `sample_rate` is not an int.
      ValueError: `sample_rate` is not positive.

    Example:
      >>> import numpy as np
      >>> from ddspx import metrics
      >>> tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
      >>> cut = np.where(np.arange(16000) < 8009, tone, 0.0)
      >>> metrics.click_times(tone, sample_rate=16000).size
      0
      >>> metrics.click_times(cut, sample_rate=16000).round(3).tolist()
      [0.501]

    References:
      Godsill and Rayner, *Digital Audio Restoration*, 1998, chapter 5, detect clicks by the
      prediction error against its own deviation, in which every pulse of a voice is one.
    """
    sample_rate = positive_int("sample_rate", sample_rate)
    audio = np.asarray(audio, np.float64)
    error = _prediction_error(audio, sample_rate)
    around, itself = (max(1, round(s * sample_rate)) for s in (_AROUND_S, _ITSELF_S))
    largest = _window_maximum(error, itself)
    # The two neighbourhoods are windows of their own, shifted past the click.
    half = (around - itself) // 2
    side = np.pad(_window_maximum(error, half), half + itself + 1)
    before, after = side[: error.size], side[2 * (half + itself + 1) :]
    limit = 10 ** (threshold_db / 20) * np.maximum(before, after)
    heard = np.maximum(_LEAST, _LEAST_BESIDE * _window_maximum(np.abs(audio), around))
    clicks = (error == largest) & (error > limit) & (error > heard)
    # The ends of a recording have one side, and are cut anywhere.
    clicks[:around] = clicks[max(0, error.size - around) :] = False
    return np.flatnonzero(clicks) / sample_rate


def _prediction_error(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """The least that three linear predictors, fitted frame by frame, leave of every sample."""
    hop = max(_ORDER, round(_FRAME_S * sample_rate / 2))
    n_hops = -(-audio.size // hop)
    # Frame i is hop i and half a hop on either side, so those of hops i - 2 and i + 2 touch it not.
    padded = np.pad(audio, (hop, 2 * hop + n_hops * hop - audio.size))
    frames = np.lib.stride_tricks.sliding_window_view(padded, 2 * hop)[hop // 2 :: hop][:n_hops]
    spectrum = np.fft.rfft(frames * np.hanning(2 * hop), 4 * hop)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[:, : _ORDER + 1] / (2 * hop)
    correlation[:, 0] += _FLOOR
    lags = np.abs(np.subtract.outer(np.arange(_ORDER), np.arange(_ORDER)))
    taps = np.linalg.solve(correlation[:, lags], correlation[:, 1:, None])[..., 0]
    history = np.lib.stride_tricks.sliding_window_view(padded, hop + _ORDER)
    history = history[hop - _ORDER :: hop][:n_hops]
    # Newest first, as taps are counted.
    past = np.lib.stride_tricks.sliding_window_view(history[:, :-1], _ORDER, axis=1)[..., ::-1]
    errors = [
        np.abs(history[:, _ORDER:] - np.einsum("hnt,ht->hn", past, taps[chosen]))
        for chosen in np.clip(np.arange(n_hops) + np.array([[-2], [0], [2]]), 0, n_hops - 1)
    ]
    return np.min(errors, axis=0).reshape(-1)[: audio.size]


def _window_maximum(values: np.ndarray, reach: int) -> np.ndarray:
    """The largest of the values up to `reach` away on either side, by doubling windows."""
    length = 2 * reach + 1
    best, covered = np.pad(values, reach), 1
    while covered < length:
        step = min(covered, length - covered)
        best = np.maximum(best[: best.size - step], best[step:])
        covered += step
    return best
