"""Vibrato: how fast and how far the pitch of held notes swings."""

from typing import NamedTuple

import numpy as np

from ddspx._checks import number, same_size
from ddspx._typing import Float
from ddspx.metrics._pitch import VOICED

_WINDOW_S, _STEP_S = 0.6, 0.1
_RATES_HZ = np.arange(4.0, 9.01, 0.1)
# A slow change of pitch, as of a glide, is a polynomial of this degree in a window.
_DEGREE = 2
_LEAST_SHARE, _LEAST_CENTS = 0.75, 10.0
# The fastest change within a note: vibrato of a semitone to either side and 8 Hz has 5000.
_FASTEST_CENTS_PER_S = 5000.0


class Vibrato(NamedTuple):
    """The vibrato of a recording.

    Attributes:
      rate_hz: median rate, in cycles a second; NaN without vibrato.
      extent_cents: median extent, from the middle to either end, in cents; NaN without vibrato.
      share: share of the held notes, by duration, that have vibrato; NaN without held notes.
    """

    rate_hz: float
    extent_cents: float
    share: float


def vibrato(
    f0_hz: Float[np.ndarray, " frames"],
    confidence: Float[np.ndarray, " frames"],
    *,
    frame_rate: float,
    threshold: float = VOICED,
) -> Vibrato:
    r"""Rate and extent of the vibrato in a track of pitch.

    Every 100 ms, in windows of 600 ms within a note, the pitch in cents is fitted by

    .. math:: p(t) \approx a_0 + a_1 t + a_2 t^2 + b \cos 2 \pi r t + c \sin 2 \pi r t

    by least squares, for rates r of 4 to 9 Hz. A window has vibrato if the best sinusoid explains
    three quarters of the variance that the polynomial leaves, at a rate inside of that range, and
    if its extent :math:`\sqrt{b^2 + c^2}` is 10 cents or more. A window lies within a note if all
    its frames have a pitch, which moves by less than 5000 cents a second.

    Args:
      f0_hz: pitch of each frame, in Hz; one that is not positive and finite is no pitch.
      confidence: confidence in the pitch, from 0 to 1.
      frame_rate: frames per second, at least 20.
      threshold: confidence from which a frame has a pitch.

    Returns:
      Medians over the windows with vibrato, and the share of these windows.

    Raises:
      TypeError: a number is not one.
      ValueError: the tracks differ in length, or a number is out of range.

    Example:
      >>> import numpy as np
      >>> from ddspx import metrics
      >>> time_s = np.arange(200) / 100
      >>> f0_hz = 440 * 2 ** (50 / 1200 * np.sin(2 * np.pi * 5.5 * time_s))
      >>> found = metrics.vibrato(f0_hz, np.ones(200), frame_rate=100.0)
      >>> round(found.rate_hz, 1), round(found.extent_cents), found.share
      (5.5, 50, 1.0)

    References:
      Prame, `Vibrato extent and intonation in professional Western lyric singing
      <https://doi.org/10.1121/1.419735>`_, 1997, for the terms; there the extent is half the
      distance of neighbouring extremes.
    """
    same_size("`f0_hz` and `confidence`", len(f0_hz), len(confidence), "frames")
    frame_rate = number("frame_rate", frame_rate, least=20)
    number("threshold", threshold, least=0, most=1)
    track, sure = np.asarray(f0_hz, np.float64), np.asarray(confidence) >= threshold
    pitched = sure & np.isfinite(track) & (track > 0)
    cents = 1200 * np.log2(np.where(pitched, track, 1.0))
    windows = _held(cents, pitched, frame_rate)
    if not len(windows):
        return Vibrato(np.nan, np.nan, np.nan)
    rates, extents, shares = _best_sinusoids(windows, frame_rate)
    inside = (rates > _RATES_HZ[0]) & (rates < _RATES_HZ[-1])
    found = inside & (shares >= _LEAST_SHARE) & (extents >= _LEAST_CENTS)
    if not found.any():
        return Vibrato(np.nan, np.nan, 0.0)
    return Vibrato(
        float(np.median(rates[found])), float(np.median(extents[found])), float(found.mean())
    )


def _held(cents: np.ndarray, pitched: np.ndarray, frame_rate: float) -> np.ndarray:
    """The windows that lie within a note, as rows."""
    size, step = round(_WINDOW_S * frame_rate), max(1, round(_STEP_S * frame_rate))
    if cents.size < size:
        return np.zeros((0, size))
    views = np.lib.stride_tricks.sliding_window_view
    windows, are_pitched = (views(x, size)[::step] for x in (cents, pitched))
    steady = np.abs(np.diff(windows, axis=1)).max(axis=1) < _FASTEST_CENTS_PER_S / frame_rate
    return windows[are_pitched.all(axis=1) & steady]


def _best_sinusoids(
    windows: np.ndarray, frame_rate: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rate, extent and explained share of the variance of the best sinusoid of each window."""
    size = windows.shape[1]
    time_s = (np.arange(size) - (size - 1) / 2) / frame_rate
    trend, _ = np.linalg.qr((time_s[:, None] / _WINDOW_S) ** np.arange(_DEGREE + 1))
    left = windows - windows @ trend @ trend.T
    power = np.maximum(np.sum(left**2, axis=1), 1e-9)
    explained, extents = [], []
    for rate_hz in _RATES_HZ:
        angles = 2 * np.pi * rate_hz * time_s
        waves = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        basis, weights = np.linalg.qr(waves - trend @ (trend.T @ waves))
        parts = left @ basis
        explained.append(np.sum(parts**2, axis=1) / power)
        extents.append(np.linalg.norm(np.linalg.solve(weights, parts.T), axis=0))
    shares, extents = np.array(explained), np.array(extents)
    best, rows = shares.argmax(axis=0), np.arange(len(windows))
    # The maximum of the parabola through the best rate and its neighbours.
    middle = np.clip(best, 1, len(_RATES_HZ) - 2)
    low, peak, high = (shares[middle + offset, rows] for offset in (-1, 0, 1))
    bend = np.minimum(low - 2 * peak + high, -1e-12)
    offsets = np.where(best == middle, np.clip(0.5 * (low - high) / bend, -0.5, 0.5), 0.0)
    rates = _RATES_HZ[best] + offsets * (_RATES_HZ[1] - _RATES_HZ[0])
    return rates, extents[best, rows], shares[best, rows]
