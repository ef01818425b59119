"""Where pitch is looked for, and whether it is heard there."""

import math

from ddspx import core
from ddspx._checks import LARGEST, positive_int
from ddspx._typing import Array, Bool, Float
from ddspx.features._choices import FMAX
from ddspx.models.pitch.limits import has_harmonic


def default_fmax(sample_rate: int) -> float:
    """The highest pitch that is looked for, in Hz: `FMAX`, or Nyquist where that is lower."""
    return min(FMAX, positive_int("sample_rate", sample_rate) / 2)


def checked_grid(sample_rate: int, hop_length: int) -> tuple[int, int]:
    """The rate and the hop, checked: chunks are counted in frames, and must not be hours."""
    sample_rate = positive_int("sample_rate", sample_rate)
    hop_length = positive_int("hop_length", hop_length)
    if hop_length > sample_rate:
        raise ValueError(
            f"`hop_length` must be at most a second, {sample_rate} samples, got {hop_length}; "
            "take a shorter one and keep one frame in so many."
        )
    return sample_rate, hop_length


def pitch_range(fmin: float, fmax: float | None, sample_rate: int) -> tuple[float, float]:
    """The range of pitch, checked."""
    fmin, fmax = float(fmin), default_fmax(sample_rate) if fmax is None else float(fmax)
    if not 0 < fmin < fmax <= sample_rate / 2:
        raise ValueError(
            f"`fmin` and `fmax` must be rising frequencies up to half of `sample_rate`, "
            f"{sample_rate / 2} Hz, got {fmin} and {fmax}."
        )
    # The frames of a tracker hold a few periods.
    if sample_rate / fmin > LARGEST["n_fft"]:
        raise ValueError(
            f"`fmin` must be at least {sample_rate / LARGEST['n_fft']:.3g} Hz at {sample_rate} "
            f"samples per second, got {fmin}."
        )
    return fmin, fmax


def frame_power(
    audio: Float[Array, "*batch samples"], *, frame_length: int, hop_length: int
) -> Float[Array, "*batch frames lines"]:
    """Power spectra of the frames that a tracker hears, for :func:`is_within_range`."""
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
    """Whether a pitch that a tracker found within its range is that of the sound.

    What lies from the range up to the default one is the tracker's own business: it looks there.
    """
    highest = min(max(fmax, FMAX), sample_rate / 2)
    return has_harmonic(f0_hz, power, sample_rate=sample_rate, fmin=fmin, fmax=highest)
