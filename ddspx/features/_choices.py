"""The pitch trackers, the kinds of spectral features, and the default range of pitch."""

from typing import Literal

StreamingMethod = Literal["ddspx", "yin"]
PitchMethod = Literal["ddspx", "yin", "pyin", "crepe", "crepe-tiny"]
SpectralKind = Literal[
    "spectrogram",
    "mel",
    "log-mel",
    "mfcc",
    "pcen",
    "loudness",
    "rms",
    "centroid",
    "bandwidth",
    "rolloff",
    "flatness",
]

FMIN = 32.703
"""Lowest pitch that is searched for by default, in Hz: C1, below the double bass's E1."""

FMAX = 2093.0
"""Highest pitch that is searched for by default, in Hz: C7."""
