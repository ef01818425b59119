"""The page's example recording: a synthesized hummed phrase."""

from pathlib import Path

import numpy as np

from ddspx._notes import midi_to_hz
from ddspx.io import write_audio

_SAMPLE_RATE = 16_000
_HOP_LENGTH = 64
_FRAME_RATE = _SAMPLE_RATE / _HOP_LENGTH
# MIDI note, seconds, level in dB; the note None is a pause.
_TUNE = (
    (None, 0.1, 0),
    (57, 0.5, -8),
    (62, 0.5, -5),
    (64, 0.5, -3),
    (66, 1.1, 0),
    (None, 0.25, 0),
    (64, 0.4, -6),
    (62, 0.4, -8),
    (59, 0.5, -9),
    (57, 1.2, -6),
    (None, 0.4, 0),
)
_HARMONICS_DB = (0, -4, -14, -18, -24, -30, -36, -42)


def write_example(path: Path) -> None:
    """Writes the phrase, six seconds of humming, as a WAV file."""
    counts = [round(seconds * _FRAME_RATE) for _, seconds, _ in _TUNE]
    midi = np.array([note or np.nan for note, *_ in _TUNE], np.float64)
    sings = np.repeat(np.isfinite(midi).astype(float), counts)
    # A pause keeps the pitch of the note before it; the first pause has that of the first note.
    midi[0] = midi[1]
    for i in np.flatnonzero(np.isnan(midi)):
        midi[i] = midi[i - 1]
    since = np.concatenate([np.arange(count) / _FRAME_RATE for count in counts])
    vibrato = 0.35 * np.clip((since - 0.25) / 0.3, 0, 1) * np.sin(2 * np.pi * 5.3 * since)
    f0_hz = midi_to_hz(_smooth(np.repeat(midi, counts), 0.1) + vibrato)
    level_db = _smooth(np.repeat([float(level) for *_, level in _TUNE], counts), 0.12)
    amplitudes = 0.3 * _smooth(sings, 0.07) * 10 ** (level_db / 20)
    # NumPy takes a few milliseconds for this, while `core.harmonic_synthesis` would have to be
    # compiled first.
    positions = np.arange(f0_hz.size * _HOP_LENGTH) / _HOP_LENGTH
    frames = np.arange(f0_hz.size)
    phase = 2 * np.pi * np.cumsum(np.interp(positions, frames, f0_hz)) / _SAMPLE_RATE
    shares = 10 ** (np.array(_HARMONICS_DB) / 20)
    hum = sum(share * np.sin(k * phase) for k, share in enumerate(shares / shares.sum(), start=1))
    audio = np.interp(positions, frames, amplitudes) * hum
    write_audio(path, audio, sample_rate=_SAMPLE_RATE)


def _smooth(track: np.ndarray, seconds: float) -> np.ndarray:
    """Smooths a track with a raised cosine: a singer changes pitch and level gradually."""
    window = np.hanning(round(seconds * _FRAME_RATE) | 1)
    padded = np.pad(track, window.size // 2, mode="edge")
    return np.convolve(padded, window / window.sum(), "valid")
