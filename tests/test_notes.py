"""Notes and frequencies in NumPy are the core's, and librosa's."""

import numpy as np
import pytest

from ddspx import core
from ddspx._notes import hz_to_midi, midi_to_hz


def test_note_conversions_equal_those_of_core_and_librosa():
    librosa = pytest.importorskip("librosa")
    midi = np.linspace(-20.0, 150.0, 41)
    np.testing.assert_allclose(midi_to_hz(midi), librosa.midi_to_hz(midi), rtol=1e-12)
    np.testing.assert_allclose(midi_to_hz(midi), core.midi_to_hz(midi), rtol=1e-5)
    np.testing.assert_allclose(hz_to_midi(midi_to_hz(midi)), midi, atol=1e-9)
    np.testing.assert_allclose(
        hz_to_midi(np.array([1.0, 55.0, 880.0])), librosa.hz_to_midi([1, 55, 880])
    )
    assert midi_to_hz(69) == 440.0 and type(midi_to_hz(60.5)) is float
