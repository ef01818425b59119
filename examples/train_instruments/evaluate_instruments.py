"""Measures instruments beside the recordings that they were trained on, by other people's tools.

    python evaluate_instruments.py RECORDINGS [--models violin=FOLDER ...] [--rivals DIR]

It prints three tables. Rooms: the energy of the impulse response in each tenth of a second, and its
reverberation times. Notes: the notes of a split, played again from their pitch and loudness,
and how their spectra differ (Welch's by SciPy, librosa's centroid). Nearest: five recordings that
no instrument was trained on, played by each; the library that the result is nearest to, by the
Frechet distance of librosa's MFCCs, among notes of the same pitch; and what is left one second
after its end.
`--rivals` names a folder with Google's Tone Transfer models, to measure beside ours.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import soundfile
from partials import HIGHEST_HZ, partial_powers, spectrum
from phrases import SAMPLE_RATE
from recipes import NOTES, note_rows

from ddspx import features, metrics
from ddspx.instruments import Instrument, instrument_names, load_instrument, measure_room
from ddspx.transfer import transfer

NOTE_S = 2.5
SOURCES = (
    "sms_sax-phrase",
    "sms_cello-phrase",
    "librosa_solo-trumpet-06",
    "vocadito_1",
    "sms_singing-female",
)
SOURCE_S = 12
TENTH = SAMPLE_RATE // 10
# A library is compared in the frames whose notes are within so many semitones of the played ones,
# or in so many frames of the nearest notes.
REACH, LEAST_FRAMES = 2, 200


class Shape(NamedTuple):
    """The spectrum of a note: what it sounds like apart from its pitch and level."""

    centroid_semitones: float
    tilt_db_per_octave: float
    valley_depth_db: float
    first_harmonic_db: float
    harmonics_db: np.ndarray


def shape(audio: np.ndarray, f0_hz: float) -> Shape:
    """Measures the partials of a steady note, and the valleys between them."""
    found = spectrum(audio)
    orders = np.arange(1, min(40, int(HIGHEST_HZ / f0_hz)) + 1)
    partials_db = in_db(partial_powers(found, f0_hz, len(orders)))
    middles_hz = (orders[:-1] + 0.5) * f0_hz
    between = [np.abs(found.frequency_hz - hz) < 0.1 * f0_hz + 2 for hz in middles_hz]
    valleys_db = np.array([np.median(in_db(found.power[bins])) for bins in between])
    audible = partials_db > partials_db.max() - 50
    tilt = np.polyfit(np.log2(orders[audible]), partials_db[audible], 1)[0]
    depth_db = (partials_db[:-1] + partials_db[1:]) / 2 - valleys_db
    centroid_hz = np.median(librosa.feature.spectral_centroid(y=audio, sr=SAMPLE_RATE, n_fft=2048))
    together_db = 10 * np.log10(np.sum(10 ** (partials_db / 10)))
    relative_db = np.maximum(partials_db - together_db, -60)
    return Shape(
        12 * np.log2(centroid_hz / 440),
        tilt,
        float(np.mean(depth_db[:12][audible[:-1][:12]])),
        relative_db[0],
        relative_db[:20],
    )


def in_db(power: np.ndarray) -> np.ndarray:
    """A power in dB, at least -140."""
    return 10 * np.log10(power + 1e-14)


def library_notes(data: Path, name: str, splits: tuple[str, ...]) -> Iterator[tuple[float, Any]]:
    """Pitch and samples of the notes of an instrument, all of `NOTE_S` seconds."""
    recipe, size = NOTES[name], round(NOTE_S * SAMPLE_RATE)
    for split in splits:
        for row in note_rows(data, recipe, split):
            audio, rate = soundfile.read(data / recipe.folder / row["file"], dtype="float32")
            audio = librosa.resample(audio, orig_sr=rate, target_sr=SAMPLE_RATE)[:size]
            if len(audio) >= SAMPLE_RATE:
                yield float(row["midi"]), np.pad(audio, (0, size - len(audio)))


def compared(
    instrument: Instrument, play: Any, midi: float, audio: np.ndarray
) -> np.ndarray | None:
    """Differences between a note and its rendering, in the order of `note_table`'s columns."""
    model, statistics, _ = instrument
    hop, f0_hz = model.config.hop_length, librosa.midi_to_hz(midi)
    grid = {"sample_rate": SAMPLE_RATE, "hop_length": hop, **statistics.pitch_range_hz}
    heard = features.conditioning_features(audio, **grid)
    played = np.asarray(play(heard.f0_hz, heard.loudness_db))
    loud = np.flatnonzero(heard.loudness_db > heard.loudness_db.max() - 20)
    # The steady part: after the attack, as long as the note is loud.
    first, last = max(loud[0] * hop, round(0.3 * SAMPLE_RATE)), loud[-1] * hop
    if last - first < 4096:
        return None
    theirs, ours = (shape(sound[first:last], f0_hz) for sound in (audio, played))
    again = features.conditioning_features(played, **grid).loudness_db
    frames = slice(first // hop, last // hop)
    return np.array(
        [
            *(b - a for a, b in zip(theirs[:4], ours[:4], strict=True)),
            np.mean(np.abs(theirs.harmonics_db - ours.harmonics_db)),
            np.mean((again - heard.loudness_db)[frames]),
        ]
    )


def note_table(data: Path, name: str, instrument: Instrument, split: str) -> str:
    """Mean differences, and mean absolute differences, over the notes of a split."""
    model, size = instrument.model, round(NOTE_S * SAMPLE_RATE)
    key = jax.random.key(0)
    program = jax.jit(lambda f0_hz, loudness_db: model(key, f0_hz, loudness_db, n_samples=size))

    def play(f0_hz, loudness_db):
        return program(jnp.asarray(f0_hz), jnp.asarray(loudness_db))

    notes = library_notes(data, name, (split,))
    rows = [compared(instrument, play, midi, audio) for midi, audio in notes]
    found = np.array([row for row in rows if row is not None])
    cells = [
        f"{mean:+.2f} ({size:.2f})"
        for mean, size in zip(found.mean(0), np.abs(found).mean(0), strict=True)
    ]
    return f"| {len(found)} | " + " | ".join(cells) + " |"


def rendered(instrument: Instrument, source: Path) -> tuple[np.ndarray, tuple[float, float]]:
    """A recording, played as users play it, with the room; and the range of the played notes."""
    audio, rate = soundfile.read(source, dtype="float32")
    with tempfile.TemporaryDirectory() as folder:
        # A second and a half of silence follows, in which the room rings.
        phrase = np.append(audio[: SOURCE_S * rate], np.zeros(3 * rate // 2, np.float32))
        soundfile.write(f"{folder}/in.wav", phrase, rate)
        played = transfer(f"{folder}/in.wav", f"{folder}/out.wav", to=instrument).played
        audio = soundfile.read(f"{folder}/out.wav", dtype="float32")[0]
    midi = librosa.hz_to_midi(played.f0_hz[played.gain > 0])
    return audio, (np.quantile(midi, 0.05) - REACH, np.quantile(midi, 0.95) + REACH)


def embedding(audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """MFCCs of the frames, without the first, which is the level; and which of them sound."""
    sizes = {"n_fft": 2048, "hop_length": 512}
    mfcc = librosa.feature.mfcc(y=audio, sr=SAMPLE_RATE, n_mfcc=20, n_mels=64, **sizes)[1:]
    rms = librosa.feature.rms(y=audio, frame_length=2048, hop_length=512)[0]
    return mfcc.T, rms > 10 ** (-35 / 20) * rms.max()


def sounding(audio: np.ndarray) -> np.ndarray:
    """The embedding of the frames that sound."""
    vectors, sounds = embedding(audio)
    return vectors[sounds]


def near(library: tuple[np.ndarray, np.ndarray], low: float, high: float) -> np.ndarray:
    """The frames of a library whose notes are in a range, or those of the nearest notes."""
    midi, vectors = library
    distance = np.maximum(low - midi, 0) + np.maximum(midi - high, 0)
    return vectors[distance <= np.sort(distance)[min(len(distance) - 1, LEAST_FRAMES)]]


def left_after(audio: np.ndarray) -> float:
    """The level 1.0 to 1.4 s after the end of a phrase, below that of its loud parts, in dB."""
    tenths = audio[: len(audio) // TENTH * TENTH].reshape(-1, TENTH)
    level_db = 10 * np.log10(np.mean(tenths**2, axis=1) + 1e-20)
    return float(level_db[-4:].max() - np.percentile(level_db, 95))


def library(data: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The pitch and the embedding of each sounding frame of an instrument's recordings."""
    if name == "violin":
        path = data / "violin_bach" / "john-garner_bwv1002_mov8.flac"
        audio, _ = soundfile.read(path, dtype="float32")
        vectors, sounds = embedding(audio)
        f0_hz, confidence = features.track_pitch(
            audio, sample_rate=SAMPLE_RATE, hop_length=512, fmin=185.0
        )
        sounds = sounds & (confidence >= 0.5)
        return librosa.hz_to_midi(f0_hz[sounds]), vectors[sounds]
    notes = [
        (midi, sounding(0.1 * audio / np.abs(audio).max()))
        for midi, audio in library_notes(data, name, ("train", "valid", "test"))
    ]
    midis = np.concatenate([np.full(len(vectors), midi) for midi, vectors in notes])
    return midis, np.concatenate([vectors for _, vectors in notes])


def instruments_of(arguments: argparse.Namespace) -> dict[str, Instrument]:
    """The instruments to measure: those that ship, or others under their names, and the rivals."""
    shelf = {name: name for name in ("violin", *NOTES) if name in instrument_names()}
    shelf |= dict(pair.split("=", 1) for pair in arguments.models)
    found = {name: load_instrument(folder) for name, folder in shelf.items()}
    if arguments.rivals:
        for folder in sorted(path for path in arguments.rivals.iterdir() if path.is_dir()):
            found[f"google {folder.name}"] = load_instrument(folder)
    return found


def print_rooms(instruments: dict[str, Instrument]) -> None:
    """The first table: how the room of each instrument decays."""
    print("| | dB in each tenth of a second | T60, s, 125 Hz to 8 kHz |\n| --- | --- | --- |")
    for name, instrument in instruments.items():
        if (room := measure_room(instrument.model)) is not None:
            taps = np.asarray(instrument.model.reverb.impulse_response)
            tenths = taps[: len(taps) // TENTH * TENTH].reshape(-1, TENTH)
            energy = 10 * np.log10(np.sum(tenths**2, axis=1) + 1e-30)
            print(f"| {name} | {energy.round().astype(int).tolist()} | {np.round(room.t60_s, 2)} |")


def print_notes(instruments: dict[str, Instrument], data: Path, split: str) -> None:
    """The second table: the recorded notes of a split beside those that are played again."""
    print("\n| | notes | centroid | tilt | valleys | first | harmonics | level |")
    print("|" + " --- |" * 8)
    for name, instrument in instruments.items():
        # Google's models take loudness on another scale.
        if name in NOTES:
            print(f"| {name} {note_table(data, name, instrument, split)}", flush=True)


def print_nearest(instruments: dict[str, Instrument], data: Path) -> None:
    """The third table: the library that each instrument is nearest to."""
    libraries = {name: library(data, name) for name in ("violin", *NOTES)}
    print("\n| | source | nearest | own | next | after 1 s, dB |\n|" + " --- |" * 6)
    right = dict.fromkeys(instruments, 0)
    for name, instrument in instruments.items():
        for source in SOURCES:
            path = data / "sources" / f"{source}.flac"
            audio, (low, high) = rendered(instrument, path)
            played = sounding(audio)
            sets = {other: near(of, low, high) for other, of in libraries.items()}
            sets["source"] = sounding(soundfile.read(path, dtype="float32")[0])
            distances = {
                other: metrics.frechet_distance(played, vectors) for other, vectors in sets.items()
            }
            own = name.removeprefix("google ")
            first, second = sorted(distances, key=distances.__getitem__)[:2]
            right[name] += first == own
            cells = first, f"{distances.get(own, np.nan):.0f}", f"{distances[first]:.0f} {second}"
            print(
                f"| {name} | {source} | {' | '.join(cells)} | {left_after(audio):.0f} |", flush=True
            )
    print("\nnearest to their own library:", right, sum(right.values()), len(SOURCES) * len(right))


def main(arguments: argparse.Namespace) -> None:
    """Prints the tables."""
    instruments = instruments_of(arguments)
    print_rooms(instruments)
    print_notes(instruments, arguments.recordings, arguments.split)
    print_nearest(instruments, arguments.recordings)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recordings", type=Path)
    parser.add_argument("--models", nargs="*", default=[], help="NAME=FOLDER, instead of shipped")
    parser.add_argument("--rivals", type=Path, help="a folder of Tone Transfer models")
    parser.add_argument("--split", default="test", help="of the notes; valid to choose by")
    main(parser.parse_args())
