"""What can be chosen of features: trackers, kinds, and where pitch is looked for."""

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
"""Lowest pitch looked for by default, in Hz: C1, under the double bass's E1."""

FMAX = 2093.0
"""Highest pitch looked for by default, in Hz: C7."""
