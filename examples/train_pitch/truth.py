"""Recordings whose pitch others have measured or labelled.

Each function gives the sounds of one set. Every sound has its reference in the form of
`mir_eval.melody`: times in seconds and pitch in Hz, which is 0 where there is no pitch.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

# Frames of the laryngograph, in seconds; the first is at the end of the first step.
SPEECH_STEP_S = 0.015
# The lags of the trackers and all choices are made on these; the others are reported.
CHOSEN_ON = 25
CHOSEN, HELD_OUT = "speech, chosen on", "speech, held out"
# A frame of a labelled note is sounding above this share of the note's highest level.
SOUNDING, NOTE_S, STEP_S = 0.06, 3, 0.01
SAXOPHONES = ("soprano_sax", "alto_sax", "tenor_sax", "baritone_sax")


class Sound(NamedTuple):
    """A sound and its reference pitch."""

    name: str
    audio: np.ndarray
    sample_rate: int
    time_s: np.ndarray
    f0_hz: np.ndarray


def singing(data: Path) -> Iterator[tuple[str, Sound]]:
    """A quiet song, with the pitch that its annotators corrected by ear."""
    table = np.loadtxt(data / "pitch_truth" / "vocadito_1_f0.csv", delimiter=",")
    for path in sorted((data / "sources").glob("vocadito_1*.flac")):
        yield "singing", Sound(path.stem, *soundfile.read(path), *table.T)


def speech(data: Path) -> Iterator[tuple[str, Sound]]:
    """Sentences, with the pitch of the vocal folds by a laryngograph."""
    paths = sorted((data / "pitch_truth" / "speech_rl").glob("*.flac"))
    for i, path in enumerate(paths):
        # Like mir_eval, at 0 s what the first frame says.
        f0_hz = np.loadtxt(path.with_suffix(".f0"))
        f0_hz = np.concatenate([f0_hz[:1], f0_hz])
        time_s = SPEECH_STEP_S * np.arange(len(f0_hz))
        name = CHOSEN if i < CHOSEN_ON else HELD_OUT
        yield name, Sound(path.stem, *soundfile.read(path), time_s, f0_hz)


def saxophone_notes(data: Path) -> Iterator[tuple[str, Sound]]:
    """Single notes with labels; only frames that sound are scored."""
    for row in labelled_notes(data):
        audio, sample_rate = first_seconds(data, row)
        sounds = is_sounding(audio, round(STEP_S * sample_rate))
        time_s = STEP_S * np.flatnonzero(sounds)
        f0_hz = np.full(len(time_s), midi_to_hz(float(row["midi"])))
        yield "saxophone notes", Sound(Path(row["file"]).stem, audio, sample_rate, time_s, f0_hz)


def labelled_notes(data: Path) -> list[dict[str, str]]:
    """Every third of the saxophones' labelled notes that were kept out of the training."""
    with open(data / "solo_notes" / "metadata.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["library"] == "mtg_solo_sax"]
    rows = [row for row in rows if round(float(row["midi"])) % 3 == 0 and row["label_ok"] == "1"]
    found = []
    for instrument in SAXOPHONES:
        found += [row for row in rows if row["instrument"] == instrument][::3]
    return found


def first_seconds(data: Path, row: dict[str, str]) -> tuple[np.ndarray, int]:
    """The first seconds of a note, padded with silence."""
    audio, sample_rate = soundfile.read(data / "solo_notes" / row["file"])
    audio = audio[: NOTE_S * sample_rate]
    return np.pad(audio, (0, NOTE_S * sample_rate - len(audio))), sample_rate


def is_sounding(audio: np.ndarray, hop_length: int) -> np.ndarray:
    """Whether each frame of a note sounds."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(audio, 512), 1024)[::hop_length]
    level = np.sqrt(np.mean(frames**2, axis=-1))
    return level > SOUNDING * level.max()


def midi_to_hz(midi: float) -> float:
    """Frequency of a MIDI note."""
    return 440 * 2 ** ((midi - 69) / 12)


def write(folder: Path, name: str, audio: np.ndarray, sample_rate: int) -> None:
    """Writes samples unrounded, as the trackers read them."""
    soundfile.write(folder / f"{name}.wav", audio, sample_rate, subtype="FLOAT")


def store(folder: Path, set_name: str, sound: Sound) -> None:
    """Writes a sound of a set, and its reference."""
    write(folder, f"{set_name}.{sound.name}", sound.audio, sound.sample_rate)
    np.savez(folder / f"{set_name}.{sound.name}.truth.npz", time_s=sound.time_s, f0_hz=sound.f0_hz)
