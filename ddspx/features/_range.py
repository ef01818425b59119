"""The range in which pitch is searched for, and whether the pitch of a sound lies in it."""

import math

from ddspx import core
from ddspx._checks import LARGEST, positive_int
from ddspx._typing import Array, Bool, Float
from ddspx.features._choices import FMAX
from ddspx.models.pitch.limits import has_harmonic


def default_fmax(sample_rate: int) -> float:
    """Returns the highest pitch searched for by default, in Hz: the lower of `FMAX` and Nyquist."""
    return min(FMAX, positive_int("sample_rate", sample_rate) / 2)


def checked_grid(sample_rate: int, hop_length: int) -> tuple[int, int]:
    """Checks rate and hop. The hop is limited because chunks are counted in frames."""
    sample_rate = positive_int("sample_rate", sample_rate)
    hop_length = positive_int("hop_length", hop_length)
    if hop_length > sample_rate:
        raise ValueError(
            f"`hop_length` must be at most one second, {sample_rate} samples, got {hop_length}; "
            "use a shorter hop and keep every n-th frame."
        )
    return sample_rate, hop_length


def pitch_range(fmin: float, fmax: float | None, sample_rate: int) -> tuple[float, float]:
    """Checks the range of pitch, and fills in the default of `fmax`."""
    fmin, fmax = float(fmin), default_fmax(sample_rate) if fmax is None else float(fmax)
    if not 0 < fmin < fmax <= sample_rate / 2:
        raise ValueError(
            f"`fmin` must be above 0 and below `fmax`, and `fmax` at most half of `sample_rate`, "
            f"{sample_rate / 2} Hz, got {fmin} and {fmax}."
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
    and the default `FMAX` need no test here, because the trackers search there too.
    """
    highest = min(max(fmax, FMAX), sample_rate / 2)
    return has_harmonic(f0_hz, power, sample_rate=sample_rate, fmin=fmin, fmax=highest)
