"""The range in which pitch is searched for, and whether the pitch of a sound lies in it."""

import math
from typing import get_args

from ddspx import core
from ddspx._checks import LARGEST, one_of, positive_int, size
from ddspx._typing import Array, Bool, Float
from ddspx.features._choices import DEFAULT_RANGES_HZ, PitchMethod
from ddspx.features._network import network_range
from ddspx.models.pitch.limits import has_harmonic

# The trackers without a network test all candidates up to this pitch, in Hz, whatever their range.
_TESTED_HZ = 2093.0


def checked_grid(sample_rate: int, hop_length: int) -> tuple[int, int]:
    """Checks rate and hop. The hop is limited because chunks are counted in frames."""
    sample_rate = size("sample_rate", sample_rate)
    hop_length = positive_int("hop_length", hop_length)
    if hop_length > sample_rate:
        raise ValueError(
            f"`hop_length` must be at most one second, {sample_rate} samples, got {hop_length}; "
            "use a shorter hop and keep every n-th frame."
        )
    return sample_rate, hop_length


def pitch_range(
    method: PitchMethod,
    *,
    sample_rate: int,
    fmin: float | None = None,
    fmax: float | None = None,
) -> tuple[float, float]:
    """Returns the range of pitch that a tracker searches: the limits given, or its defaults.

    Args:
      method: the tracker, see :func:`track_pitch`.
      sample_rate: samples per second.
      fmin: lowest pitch, in Hz; by default that of `DEFAULT_RANGES_HZ`.
      fmax: highest pitch, in Hz, at most half of `sample_rate`; by default that of
        `DEFAULT_RANGES_HZ`, or half of `sample_rate` if that is lower. Neither default exceeds the
        range of the tracker's network.

    Returns:
      The lowest and the highest pitch, in Hz.

    Raises:
      TypeError: `sample_rate` is not a Python int.
      ValueError: `method` is unknown, or the range is empty, exceeds half of `sample_rate`, or, for
        "ddspx" and "ddspx-live", the range of the network.

    Example:
      >>> from ddspx import features
      >>> features.pitch_range("pyin", sample_rate=16000)
      (65.406, 2093.0)
      >>> features.pitch_range("yin", sample_rate=3000, fmin=50.0)
      (50.0, 1500.0)
    """
    one_of("method", method, get_args(PitchMethod))
    nyquist_hz = size("sample_rate", sample_rate) / 2
    lowest, highest = DEFAULT_RANGES_HZ[method]
    heard = None
    if method == "ddspx" or method == "ddspx-live":
        heard = network_range(method)
        lowest, highest = max(lowest, heard[0]), min(highest, heard[1])
    fmin = lowest if fmin is None else float(fmin)
    fmax = min(highest, nyquist_hz) if fmax is None else float(fmax)
    if not 0 < fmin < fmax <= nyquist_hz:
        raise ValueError(
            f"`fmin` must be above 0 and below `fmax`, and `fmax` at most half of `sample_rate`, "
            f"{nyquist_hz} Hz, got {fmin} and {fmax}."
        )
    if heard is not None and (fmin < heard[0] or fmax > heard[1]):
        raise ValueError(
            f"`fmin` and `fmax` must be within {heard[0]:.0f} to {heard[1]:.0f} Hz, the range of "
            f"the tracker {method!r}, got {fmin} and {fmax}; use the method 'yin'."
        )
    # A tracker's frame must hold a few periods of the lowest pitch, and a frame has a largest size.
    if sample_rate / fmin > LARGEST["n_fft"]:
        raise ValueError(
            f"`fmin` must be at least {sample_rate / LARGEST['n_fft']:.3g} Hz at {sample_rate} "
            f"samples per second, got {fmin}."
        )
    return fmin, fmax


def frame_power(
    audio: Float[Array, "*batch samples"], *, frame_length: int, hop_length: int
) -> Float[Array, "*batch frames lines"]:
    """Computes the power spectra of a tracker's frames, for :func:`is_within_range`."""
    n_fft = 2 ** math.ceil(math.log2(frame_length))
    return core.spectrogram(
        audio, n_fft=n_fft, win_length=frame_length, hop_length=hop_length, power=2
    )


def is_within_range(
    f0_hz: Float[Array, "*batch frames"],
    power: Float[Array, "*batch frames lines"],
    *,
    sample_rate: int,
    fmin: float,
    fmax: float,
) -> Bool[Array, "*batch frames"]:
    """Tells whether a pitch that a tracker found in its range is the pitch of the sound.

    A tone above the range also repeats after several of its own periods, and a tracker that does
    not search above the range takes these for one period of a lower pitch. Tones between `fmax`
    and `_TESTED_HZ` need no test here, because the trackers search there too.
    """
    highest = min(max(fmax, _TESTED_HZ), sample_rate / 2)
    return has_harmonic(f0_hz, power, sample_rate=sample_rate, fmin=fmin, fmax=highest)
