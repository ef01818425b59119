"""Reverberation time of an impulse response, by octaves."""

from typing import NamedTuple

import numpy as np
import scipy.signal

from ddspx._checks import size
from ddspx._typing import ArrayLike, Float

_CENTRES_HZ = (125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)
# ISO 3382: a line through the decay from 5 to 35 dB below the start, or to 25 dB where the
# response holds no more.
_START_DB, _ENDS_DB = -5.0, (-35.0, -25.0)
# Energy that is missing after the end of the response bends the curve; its last part is not used.
_UNUSED_SHARE = 0.05
# The least product of bandwidth and reverberation time, for a filter that runs backwards (Jacobsen
# and Rindel, Journal of Sound and Vibration 117, 1987).
_LEAST_PRODUCT = 4.0
# The largest share of the decay's variance that a line may leave; ISO 3382 calls 0.01 suspicious.
_MOST_BENT = 0.04


class Reverberation(NamedTuple):
    """The reverberation of a room by octaves.

    Attributes:
      bands_hz: the centres of the octaves.
      t60_s: the reverberation time of each octave in seconds; NaN where the response does not fall
        by 25 dB, or not evenly: a response that rings on and is cut off has no such time; and
        where it is shorter than a filter of the octave can tell, 5.7 periods of its centre.
      level_db: the energy of the whole response, in dB of the direct sound.
    """

    bands_hz: tuple[float, ...]
    t60_s: tuple[float, ...]
    level_db: float


def reverberation(
    impulse_response: Float[ArrayLike, " taps"], *, sample_rate: int
) -> Reverberation:
    r"""Measures how long a room rings in each octave, from its impulse response.

    The response is filtered by octaves and its energy is integrated from the end (Schroeder):

    .. math:: D(t) = 10 \log_{10} \frac{\int_t^\infty h^2}{\int_0^\infty h^2}

    A line through D from -5 to -35 dB, extrapolated to 60 dB, gives the reverberation time
    (ISO 3382-1, T30); where the response does not fall by so much, from -5 to -25 dB (T20).

    Args:
      impulse_response: the response without the direct sound, such as `nn.Reverb` has.
      sample_rate: samples per second.

    Returns:
      The times of the octaves from 125 Hz up to Nyquist, and the level.

    Raises:
      TypeError: `sample_rate` is not an int.
      ValueError: the response is not one-dimensional, is empty, or is not finite.

    Example:
      >>> import jax
      >>> from ddspx import core, metrics
      >>> room = core.exponential_reverb_ir(
      ...     jax.random.key(0), 0.5, n_samples=16000, sample_rate=16000
      ... )
      >>> found = metrics.reverberation(room, sample_rate=16000)
      >>> found.bands_hz[3], abs(found.t60_s[3] - 0.5) < 0.05
      (1000.0, True)

    References:
      Schroeder, `New Method of Measuring Reverberation Time
      <https://doi.org/10.1121/1.1909343>`_, JASA 37 (1965). ISO 3382-1:2009.
    """
    taps = np.asarray(impulse_response, np.float64)
    sample_rate = size("sample_rate", sample_rate)
    if taps.ndim != 1 or not taps.size or not np.all(np.isfinite(taps)):
        raise ValueError(
            "`impulse_response` must be one axis of finite taps, got an array of the shape "
            f"{taps.shape}."
        )
    bands = [centre for centre in _CENTRES_HZ if centre * 2**-0.5 < sample_rate / 2]
    with np.errstate(divide="ignore"):
        level_db = float(10 * np.log10(np.sum(taps**2)))
    times = [_t60(_octave(taps, centre, sample_rate), sample_rate) for centre in bands]
    least = [_LEAST_PRODUCT / (centre * (2**0.5 - 2**-0.5)) for centre in bands]
    told = (t if t >= shortest else np.nan for t, shortest in zip(times, least, strict=True))
    return Reverberation(tuple(bands), tuple(told), level_db)


def _octave(taps: np.ndarray, centre: float, sample_rate: int) -> np.ndarray:
    """The part of the response in the octave around `centre`; the highest may end at Nyquist."""
    low, high = centre * 2**-0.5, centre * 2**0.5
    # A filter that reaches almost to Nyquist would be no filter at its upper end.
    band, kind = ((low, high), "bandpass") if high < 0.49 * sample_rate else (low, "highpass")
    sections = scipy.signal.butter(3, band, btype=kind, fs=sample_rate, output="sos")
    # Filtered backwards, so that the filter rings before the response and not after it.
    rest = np.zeros(sample_rate // 10)
    backwards = np.concatenate([rest, taps[::-1], rest])
    return np.asarray(scipy.signal.sosfilt(sections, backwards))[::-1]


def _t60(taps: np.ndarray, sample_rate: int) -> float:
    """The time in which a response falls by 60 dB; NaN where it does not fall evenly."""
    left = np.cumsum(taps[::-1] ** 2)[::-1]
    if not left[0] > 0:
        return np.nan
    usable = left[: round(len(left) * (1 - _UNUSED_SHARE))]
    decay_db = 10 * np.log10(np.maximum(usable / left[0], 1e-30))
    for end_db in _ENDS_DB:
        if decay_db[-1] <= end_db:
            first, last = (int(np.argmax(decay_db <= db)) for db in (_START_DB, end_db))
            fitted = slice(first, max(last, first + 1) + 1)
            time_s = np.arange(len(decay_db)) / sample_rate
            line = np.polyfit(time_s[fitted], decay_db[fitted], 1)
            left_db = decay_db[fitted] - np.polyval(line, time_s[fitted])
            if np.var(left_db) <= _MOST_BENT * np.var(decay_db[fitted]):
                return float(-60 / line[0])
    return np.nan
