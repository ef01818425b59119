"""Sings `melody.flac` with the library's own synthesizer: a tune on open vowels, 8 seconds.

A voice is a buzz in a pipe: harmonics that fall off by 6 dB per octave, made louder where
the pipe resonates (the formants, which are what makes an "ah" of it), plus a little breath
through the same pipe. The singer slides between notes, adds vibrato to the long ones, breathes
between phrases, and stands in a small room.

    python examples/melody/make_melody.py melody.flac
"""

import argparse
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ddspx import core, io

SAMPLE_RATE = 16_000
HOP_LENGTH = 64
FRAME_RATE = SAMPLE_RATE / HOP_LENGTH
N_HARMONICS = 40
N_BANDS = 65

# Centre and bandwidth of the first four resonances, in Hz, and the gain of each in dB.
VOWELS = {
    "a": ((800, 90, 0), (1200, 110, -5), (2800, 160, -16), (3600, 220, -22)),
    "o": ((450, 70, 0), (850, 90, -8), (2750, 150, -20), (3500, 220, -26)),
    "e": ((500, 70, 0), (1850, 120, -12), (2550, 160, -15), (3500, 220, -22)),
    "u": ((350, 60, 0), (750, 80, -14), (2500, 150, -26), (3400, 220, -32)),
}

# The tune, in D minor: (MIDI note or None for a breath, seconds, vowel, level in dB).
TUNE = (
    (None, 0.15, "a", 0),
    (62, 0.40, "a", -9),
    (65, 0.40, "a", -7),
    (69, 0.85, "o", -3),
    (67, 0.25, "o", -6),
    (65, 0.25, "e", -7),
    (64, 0.70, "e", -8),
    (None, 0.30, "e", 0),
    (65, 0.30, "a", -6),
    (69, 0.30, "a", -4),
    (74, 1.00, "a", 0),
    (72, 0.30, "o", -4),
    (70, 0.30, "o", -6),
    (69, 0.60, "u", -9),
    (None, 0.25, "u", 0),
    (67, 0.35, "e", -8),
    (64, 0.30, "e", -10),
    (62, 0.90, "o", -7),
    (None, 0.30, "o", 0),
)


def smooth(track, seconds):
    """Raised-cosine average over a time: how fast a singer can change anything."""
    window = np.hanning(round(seconds * FRAME_RATE) | 1)[:, None]
    padded = np.pad(track, ((len(window) // 2,) * 2, (0, 0)), mode="edge")
    columns = [np.convolve(column, window[:, 0] / window.sum(), "valid") for column in padded.T]
    return np.stack(columns, axis=1)


def resonance(vowel, frequencies_hz):
    """Gain of the pipe at the given frequencies, at a scale where its loudest is about 1."""
    gain = 0.003
    for centre, bandwidth, level_db in VOWELS[vowel]:
        peak = 1 / (1 + ((frequencies_hz - centre) / bandwidth) ** 2)
        gain = gain + 10 ** (level_db / 20) * peak
    return gain


def score():
    """Pitch (MIDI), level (dB), singing or not, vowel and seconds into the note, per frame."""
    counts = [round(seconds * FRAME_RATE) for _, seconds, _, _ in TUNE]
    notes = [note for note, *_ in TUNE]
    # In a breath, the pitch is already that of the next note; after the last note it stays.
    ahead = [note or after or notes[-2] for note, after in pairwise([*notes, None])]
    midi = np.repeat(np.array(ahead, float), counts)[:, None]
    sings = np.repeat([float(note is not None) for note in notes], counts)[:, None]
    level_db = np.repeat([float(level) for *_, level in TUNE], counts)[:, None]
    vowels = np.repeat([vowel for _, _, vowel, _ in TUNE], counts)
    since = np.concatenate([np.arange(count) / FRAME_RATE for count in counts])[:, None]
    return midi, level_db, sings, vowels, since


def sing():
    """The controls of each frame, and the audio."""
    rng = np.random.default_rng(7)
    midi, level_db, sings, vowels, since = score()
    frames = len(midi)
    time = np.arange(frames)[:, None] / FRAME_RATE

    # Slides of 90 ms, vibrato of 5.5 Hz that sets in after 0.25 s, and a voice's unsteadiness.
    depth = smooth(0.45 * np.clip((since - 0.25) / 0.3, 0, 1), 0.1)
    waver = smooth(rng.standard_normal((frames, 2)), 0.2)
    midi = smooth(midi, 0.09) + depth * np.sin(2 * np.pi * 5.5 * time) + 0.25 * waver[:, :1]
    f0_hz = 440 * 2 ** ((midi[:, 0] - 69) / 12)

    # Each note swells and eases; between phrases the voice stops within 60 ms.
    swell = -4 * np.cos(2 * np.pi * np.clip(since / 0.8, 0, 1)) - 4
    level_db = smooth(level_db + swell, 0.08) + 2 * depth * np.sin(2 * np.pi * 5.5 * time - 1)
    envelope = (smooth(sings, 0.06) * 10 ** (level_db / 20) * (1 + 0.05 * waver[:, 1:]))[:, 0]

    multiples = np.arange(1, N_HARMONICS + 1)
    frequencies_hz = f0_hz[:, None] * multiples
    pipes = {vowel: resonance(vowel, frequencies_hz) for vowel in VOWELS}
    shares = {vowel: smooth((vowels == vowel)[:, None] * 1.0, 0.1) for vowel in VOWELS}
    buzz = (1 + (frequencies_hz / 300) ** 2) ** -0.5
    distribution = buzz * sum(shares[vowel] * pipes[vowel] for vowel in VOWELS)
    distribution /= distribution.sum(axis=1, keepdims=True)

    bands_hz = np.linspace(0, SAMPLE_RATE / 2, N_BANDS)
    breath = sum(shares[vowel] * resonance(vowel, bands_hz)[None] for vowel in VOWELS)
    air = 0.012 * envelope + 0.02 * smooth(1 - sings, 0.25)[:, 0] * smooth(sings, 0.5)[:, 0]
    magnitudes = air[:, None] * (breath + 0.2 * (bands_hz / 4000) ** 2)

    tracks = (f0_hz, 0.5 * envelope, distribution, magnitudes)
    return render(*(jnp.asarray(track, jnp.float32) for track in tracks))


@jax.jit
def render(f0_hz, amplitudes, distribution, magnitudes):
    """The synthesizer: harmonics and breath, in a room."""
    voice = core.harmonic_synthesis(
        f0_hz, amplitudes, distribution, hop_length=HOP_LENGTH, sample_rate=SAMPLE_RATE
    ) + core.filtered_noise(jax.random.key(1), magnitudes, hop_length=HOP_LENGTH)
    return core.convolution_reverb(voice, room())


def room(seconds=0.4):
    """Echoes that decay by 60 dB: noise with an exponential envelope, silent for the first 5 ms."""
    time = jnp.arange(round(seconds * SAMPLE_RATE), dtype=jnp.float32) / SAMPLE_RATE
    echoes = core.white_noise(jax.random.key(2), time.shape)
    return jnp.where(time < 0.005, 0, 0.03 * echoes * 10 ** (-3 * time / seconds))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="the FLAC or WAV file to write")
    audio = np.asarray(sing(), np.float64)
    audio *= 0.5 / np.abs(audio).max()
    # 16 bits are plenty and half the file; FLAC does not store the eight that are zero.
    audio = np.round(audio * 2**15) / 2**15
    io.write_audio(parser.parse_args().output, audio, sample_rate=SAMPLE_RATE)


if __name__ == "__main__":
    main()
