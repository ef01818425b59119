"""Phrases of a published model, whose spectrum is corrected to that of real notes.

Notes that were recorded one by one say how an instrument sounds at each pitch, but hold neither
transitions nor many dynamics. A published model that was trained on performances holds both, and
its spectrum may be far from the notes. So the model plays real performances, and each harmonic gets
the mean difference, in dB, between the recorded notes and the model's notes of the same pitch.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import soundfile
from partials import partial_powers, spectrum
from phrases import OVERSAMPLING, SAMPLE_RATE, Note

from ddspx import core, features
from ddspx.instruments import Instrument
from ddspx.transfer import adjust

# Differences beyond this are those of harmonics that one of the two does not have.
MOST_DB = 30.0
NOTE_S = 2.0


def corrections(teacher: Instrument, notes: list[Note]) -> tuple[np.ndarray, np.ndarray]:
    """MIDI numbers of the notes, and what each harmonic of the teacher lacks there, in dB."""
    rows = []
    for played in sorted(notes, key=lambda note: note.midi):
        audio = played.audio[::OVERSAMPLING][: round(NOTE_S * SAMPLE_RATE)].astype(np.float32)
        n_frames = core.n_frames(len(audio), hop_length=teacher.model.config.hop_length)
        harmonic, _ = teacher.model.controls(
            jnp.full(n_frames, 440 * 2 ** ((played.midi - 69) / 12), jnp.float32),
            jnp.full(n_frames, middle_db(teacher), jnp.float32),
        )
        # In the middle, far from the ends, the teacher's network plays a steady note.
        distribution = np.asarray(harmonic.harmonic_distribution)
        taught = distribution[len(distribution) // 2]
        real = harmonics_of(audio, played.midi, len(taught))
        difference = 20 * np.log10((real + 1e-6) / (taught + 1e-6))
        rows.append(np.clip(difference, -MOST_DB, MOST_DB) * (taught > 0))
    return np.array(sorted(note.midi for note in notes)), np.array(rows)


def features_of(audio: np.ndarray, teacher: Instrument) -> features.Features:
    """Pitch and loudness on the frames of the teacher."""
    config = teacher.model.config
    grid = {"sample_rate": config.sample_rate, "hop_length": config.hop_length}
    return features.conditioning_features(audio, **grid)


def middle_db(teacher: Instrument) -> float:
    """A loud note of the teacher: the third quartile of its loudness."""
    return float(np.quantile(teacher.statistics.loudness_quantiles, 0.75))


def harmonics_of(audio: np.ndarray, midi: float, n_harmonics: int) -> np.ndarray:
    """Amplitudes of the harmonics of a note after its attack; their sum is 1."""
    steady, f0_hz = audio[round(0.2 * SAMPLE_RATE) :], 440 * 2 ** ((midi - 69) / 12)
    amplitudes = np.sqrt(partial_powers(spectrum(steady), f0_hz, n_harmonics))
    return amplitudes / amplitudes.sum()


def lessons(recordings: list[Path], teacher: Instrument, notes: list[Note]) -> list[np.ndarray]:
    """The recordings, played by the teacher with the spectrum of the notes.

    Args:
      recordings: performances at `SAMPLE_RATE`, of any instrument.
      teacher: an imported model with harmonics and noise.
      notes: recorded notes of the instrument.

    Returns:
      Audio at `SAMPLE_RATE`, peak at most 0.9.
    """
    midis, missing_db = corrections(teacher, notes)
    model, found = teacher.model, []
    for path in recordings:
        audio, _ = soundfile.read(path, dtype="float32")
        heard = features_of(audio, teacher)
        played = adjust(
            *heard,
            statistics=teacher.statistics,
            frame_rate=SAMPLE_RATE / model.config.hop_length,
        )
        harmonic, noise = model.controls(jnp.asarray(played.f0_hz), jnp.asarray(played.loudness_db))
        midi = np.asarray(core.hz_to_midi(jnp.maximum(harmonic.f0_hz, 20.0)))
        db = np.stack([np.interp(midi, midis, column) for column in missing_db.T], axis=-1)
        weighted = harmonic.harmonic_distribution * 10 ** (jnp.asarray(db, jnp.float32) / 20)
        weighted = weighted / jnp.maximum(weighted.sum(-1, keepdims=True), 1e-9)
        corrected = harmonic._replace(
            amplitudes=harmonic.amplitudes * jnp.asarray(played.gain),
            harmonic_distribution=weighted,
        )
        magnitudes = noise.magnitudes * jnp.asarray(played.gain)[:, None]
        sound = core.harmonic_synthesis(
            *corrected, hop_length=model.config.hop_length, sample_rate=SAMPLE_RATE
        ) + core.filtered_noise(jax.random.key(0), magnitudes, hop_length=model.config.hop_length)
        found.append(np.asarray(sound * (0.9 / jnp.abs(sound).max())))
    return found
