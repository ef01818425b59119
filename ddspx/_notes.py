"""Conversions between Hz and MIDI notes without JAX, for numbers and NumPy arrays.

`core.hz_to_midi` and `core.midi_to_hz` are differentiable, and also accept a frequency of 0.
"""

from typing import Any

_A4_HZ, _A4_MIDI = 440.0, 69.0


def midi_to_hz(midi: Any) -> Any:
    """Converts MIDI note numbers, which may be fractional, to Hz."""
    return _A4_HZ * 2.0 ** ((midi - _A4_MIDI) / 12.0)


def hz_to_midi(frequency_hz: Any) -> Any:
    """Converts frequencies above 0, in Hz, to fractional MIDI note numbers."""
    # Imported here, because the list of instruments uses only the inverse and starts without NumPy.
    import numpy as np

    return _A4_MIDI + 12.0 * np.log2(frequency_hz / _A4_HZ)
