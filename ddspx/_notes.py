"""Pitch in notes for what needs no JAX: numbers, and arrays of NumPy.

With gradients, and for frequencies of 0, these are `core.hz_to_midi` and `core.midi_to_hz`.
"""

from typing import Any

_A4_HZ, _A4_MIDI = 440.0, 69.0


def midi_to_hz(midi: Any) -> Any:
    """The frequency of MIDI note numbers, with fractions."""
    return _A4_HZ * 2.0 ** ((midi - _A4_MIDI) / 12.0)


def hz_to_midi(frequency_hz: Any) -> Any:
    """MIDI note numbers, with fractions, of frequencies above 0."""
    # A list of instruments is answered without NumPy, and asks for the inverse alone.
    import numpy as np

    return _A4_MIDI + 12.0 * np.log2(frequency_hz / _A4_HZ)
