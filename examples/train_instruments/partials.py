"""The partials of a steady note, found in its spectrum by SciPy alone."""

from typing import NamedTuple

import numpy as np
import scipy.signal
from phrases import SAMPLE_RATE

# Partials above this are lost in the slope of the resampling to `SAMPLE_RATE`.
HIGHEST_HZ = 0.475 * SAMPLE_RATE


class Spectrum(NamedTuple):
    """Welch's spectrum: the power of a sinusoid at each frequency."""

    frequency_hz: np.ndarray
    power: np.ndarray


def spectrum(audio: np.ndarray) -> Spectrum:
    """The spectrum of a steady sound, with side lobes below -90 dB."""
    options = {"fs": SAMPLE_RATE, "window": "blackmanharris", "nperseg": 4096, "noverlap": 3072}
    return Spectrum(*scipy.signal.welch(audio, scaling="spectrum", **options))


def partial_powers(found: Spectrum, f0_hz: float, n_partials: int) -> np.ndarray:
    """The highest power near each of the first multiples of `f0_hz`; 0 above `HIGHEST_HZ`."""
    powers = np.zeros(n_partials)
    for k in range(1, n_partials + 1):
        if k * f0_hz <= HIGHEST_HZ:
            near = np.abs(found.frequency_hz - k * f0_hz) < 0.03 * k * f0_hz + 4
            powers[k - 1] = found.power[near].max()
    return powers
