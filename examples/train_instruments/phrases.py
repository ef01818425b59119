"""Phrases made of single notes, so that an instrument also learns transitions between notes.

Sample libraries have one steady note for every key or every third key. A model that is trained only
on them has no slides, vibrato, swells, or transitions from note to note. This module joins notes,
resamples them to vary their pitch, and varies their level. Resampling shifts the formants too, but
for up to two or three semitones the timbre stays natural.
"""

from typing import NamedTuple

import numpy as np
import soxr

SAMPLE_RATE = 16_000
# Sound is interpolated at four times the sample rate, where the error of a cubic through four
# points is below -70 dB up to 8 kHz.
OVERSAMPLING = 4
PHRASE_S = 40.0
# A note that is played louder also sounds brighter, but one that is amplified does not. So swells
# are small, or an instrument would play its loud tones at every level.
SWELL_DB = 2.0
# A note is amplified up to this peak. If a whole phrase were lowered instead, all its tones would
# be too bright for their level.
PEAK = 0.98


class Note(NamedTuple):
    """A recorded note: its MIDI number, and its samples at four times the sample rate."""

    midi: float
    audio: np.ndarray


def note(midi: float, audio: np.ndarray, sample_rate: int = SAMPLE_RATE) -> Note:
    """Makes a `Note` from a recorded note."""
    # The interpolation of `tape` needs sound without what is above the Nyquist of the phrases.
    if sample_rate != SAMPLE_RATE:
        audio = soxr.resample(audio, sample_rate, SAMPLE_RATE, quality="HQ")
    return Note(midi, soxr.resample(audio, SAMPLE_RATE, OVERSAMPLING * SAMPLE_RATE, quality="HQ"))


def phrase(rng: np.random.Generator, notes: list[Note], *, reach: float, plain: bool) -> np.ndarray:
    """About `PHRASE_S` seconds of joined notes.

    Args:
      rng: draws the notes and how they are played.
      notes: the notes to choose from.
      reach: how far a note may be shifted, in semitones: half the distance of adjacent notes.
      plain: whether notes are only joined, without changes of pitch and level; for the valid and
        test splits.

    Returns:
      Audio at `SAMPLE_RATE`, peak at most `PEAK`.
    """
    if all(len(n.audio) < OVERSAMPLING * SAMPLE_RATE // 2 for n in notes):
        raise SystemExit("A phrase needs a note of half a second, and none is as long.")
    midis = np.array([n.midi for n in notes])
    parts, at, here, overlap_s = [], 0.0, rng.choice(midis), -1.0
    while at < PHRASE_S:
        here = np.clip(here + rng.normal(0, 4), midis.min(), midis.max())
        near = np.flatnonzero(np.abs(midis - here) <= max(1.0, np.abs(midis - here).min() + 0.01))
        chosen = notes[rng.choice(near)]
        # Only a note that follows another one without a rest may lack its attack.
        begin = rng.uniform(0.05, 0.3) if overlap_s > 0 and rng.random() < 0.4 else 0.0
        longest = len(chosen.audio) / OVERSAMPLING / SAMPLE_RATE - begin
        lasting = min(longest, rng.choice([0.15, 0.3, 0.6, 1.2, 2.5]) * rng.uniform(0.8, 1.5))
        if lasting < 0.12:
            continue
        if plain:
            semitones = level_db = np.zeros(round(lasting * SAMPLE_RATE))
        else:
            semitones, level_db = moved(rng, lasting, reach), swell(rng, lasting)
        played = tape(chosen.audio, begin, semitones)
        time_s = np.arange(len(played)) / SAMPLE_RATE
        # A note that is cut off fades out like a released note.
        fade_in, fade_out = 0.03 if begin else 0.002, rng.uniform(0.03, 0.1)
        edge = np.minimum(time_s / fade_in, (time_s[-1] - time_s) / fade_out)
        played = played * np.sin(np.pi / 2 * np.clip(edge, 0, 1)) ** 2
        most_db = 20 * np.log10(PEAK / np.maximum(np.abs(played).max(), 1e-9))
        played = played * 10 ** (np.minimum(level_db, most_db)[: len(played)] / 20)
        parts.append((at, played))
        overlap_s = rng.uniform(0.02, 0.05) if rng.random() < 0.7 else -rng.uniform(0.1, 0.5)
        at += len(played) / SAMPLE_RATE - overlap_s
    audio = np.zeros(round((at + 1) * SAMPLE_RATE))
    for start, played in parts:
        first = round(start * SAMPLE_RATE)
        audio[first : first + len(played)] += played
    return (audio * min(1.0, PEAK / np.abs(audio).max())).astype(np.float32)


def moved(rng: np.random.Generator, lasting: float, reach: float) -> np.ndarray:
    """The pitch shift of a note at each sample, in semitones: tuning, vibrato, slides."""
    time_s = np.arange(round(lasting * SAMPLE_RATE)) / SAMPLE_RATE
    semitones = np.full(len(time_s), rng.uniform(-reach, reach))
    if rng.random() < 0.35:
        depth, rate = rng.uniform(0.1, 0.45), rng.uniform(4, 7)
        grows = np.clip(time_s / rng.uniform(0.1, 0.6), 0, 1)
        semitones += depth * grows * np.sin(2 * np.pi * rate * time_s + rng.uniform(0, 6))
    if rng.random() < 0.3:
        semitones += rng.uniform(-2, 2) * np.exp(-time_s / rng.uniform(0.03, 0.15))
    if rng.random() < 0.15:
        semitones += rng.uniform(-2, 2) * (time_s / time_s[-1]) ** 2
    return semitones


def swell(rng: np.random.Generator, lasting: float) -> np.ndarray:
    """The level of a note at each sample in dB, around 0."""
    anchors = rng.normal(0, SWELL_DB, size=2 + int(lasting))
    if rng.random() < 0.2:
        anchors[-1] -= rng.uniform(6, 20)
    time = np.linspace(0, 1, round(lasting * SAMPLE_RATE))
    return np.interp(time, np.linspace(0, 1, len(anchors)), anchors)


def tape(audio: np.ndarray, begin_s: float, semitones: np.ndarray) -> np.ndarray:
    """Resamples `audio` from `begin_s` on, so that it is `semitones` higher, until it ends."""
    position = begin_s * OVERSAMPLING * SAMPLE_RATE + OVERSAMPLING * np.cumsum(
        2 ** (semitones / 12)
    )
    position = position[(position > 1) & (position < len(audio) - 2)]
    index = position.astype(int)
    t = position - index
    a, b, c, d = (audio[index + i] for i in (-1, 0, 1, 2))
    # Catmull-Rom through the four neighbours.
    return b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
