"""The pitch trackers and their ranges, scales of loudness, and kinds of spectral features."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

NetworkMethod = Literal["ddspx", "ddspx-live"]
StreamingMethod = Literal["ddspx", "ddspx-live", "yin"]
PitchMethod = Literal["ddspx", "ddspx-live", "yin", "pyin", "crepe", "crepe-tiny"]
LoudnessScale = Literal["ddspx", "ddsp-2", "ddsp-pytorch", "power"]
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

_RANGES_HZ: dict[PitchMethod, tuple[float, float]] = {
    # C1, below the double bass's E1, to the piano's highest note, C8.
    "ddspx": (32.703, 4186.01),
    # B1, of which its window holds almost three periods, to C8.
    "ddspx-live": (61.735, 4186.01),
    # C1 to C7.
    "yin": (32.703, 2093.0),
    # C2 to C7, which the documentation of librosa recommends for pYIN.
    "pyin": (65.406, 2093.0),
    # C1 to CREPE's highest bin.
    "crepe": (32.703, 2005.5),
    "crepe-tiny": (32.703, 2005.5),
}
DEFAULT_RANGES_HZ: Mapping[PitchMethod, tuple[float, float]] = MappingProxyType(_RANGES_HZ)
"""Lowest and highest pitch that each tracker searches for by default, in Hz.

:func:`pitch_range` lowers the highest to half of the sample rate, and limits both to the range of
a tracker that is a network.
"""
