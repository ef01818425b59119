"""Trains the instruments that ship with ddspx, from their recordings to their scores.

    python train_instruments.py RECORDINGS -o results [--instruments violin cello ...]

RECORDINGS holds `violin_bach`, `solo_notes` and `notes_44k`, each with `metadata.csv`; README.md
says where they are from. The violin is trained on two movements of Bach; the others on phrases made
of single notes (phrases.py), beginning with the weights of an instrument that ships. The notes of
the test and valid splits are never in the train split, and are joined as they are.
"""

import argparse
import csv
import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
from phrases import SAMPLE_RATE, Note, note, phrase
from teacher import lessons

from ddspx.instruments import import_instrument, load_instrument
from ddspx.models.autoencoder import AutoencoderConfig, load_autoencoder, save_autoencoder
from ddspx.nn import DecayingReverbConfig
from ddspx.training import AutoencoderTrainConfig, evaluate_autoencoder, prepare, train_autoencoder

# Eight minutes to train on, and a tenth as much each to choose and to measure by.
PHRASES = {"train": 12, "valid": 1, "test": 1}
# The spectral loss hardly sees a level that is 2 dB too low.
LOUDNESS_WEIGHT = 0.2
# The violin was recorded in a large room; the notes of the others are nearly dry.
CHURCH = DecayingReverbConfig(length=24_000, early_length=1600, n_bands=7)
MTG = "Music Technology Group, Universitat Pompeu Fabra (sfzinstruments/MTG.SoloSax)"


class Recipe(NamedTuple):
    """The library of an instrument's notes, their pitch range, licence and attribution.

    `reach` is half the largest distance of adjacent notes of the train split in one dynamic, so
    that every pitch between them is heard in training; at most 3 semitones, which move formants.
    """

    library: str
    fmin: float
    reach: float
    licence: str
    attribution: str
    start: str
    instrument: str = ""
    teacher: str = ""


TONEJS = "nbrosowsky/tonejs-instruments (copy in JamesRyanATX/Harmonicon)"
NOTES = {
    "alto_saxophone": Recipe(
        "weresax",
        start="alto_saxophone",
        instrument="alto_sax",
        fmin=130.0,
        reach=1.0,
        licence="CC0 1.0",
        attribution="karoryfer, weresax (sfzinstruments/karoryfer.weresax)",
    ),
    "tenor_saxophone": Recipe(
        "mtg_solo_sax",
        start="tenor_saxophone",
        instrument="tenor_sax",
        fmin=95.0,
        reach=1.0,
        licence="CC BY 4.0",
        attribution=MTG,
    ),
    "cello": Recipe(
        "bigcat",
        start="cello",
        fmin=60.0,
        reach=3.0,
        licence="CC0 1.0",
        attribution="Kamila Borowiak, cello (sfzinstruments/karoryfer-bigcat.cello)",
    ),
    "flute": Recipe(
        "ixox",
        start="flute",
        fmin=245.0,
        reach=3.0,
        licence="CC BY 4.0",
        attribution="Xavier Hosxe, flute (sfzinstruments/Ixox.Flute)",
    ),
    "tuba": Recipe(
        "wartuba",
        start="tuba",
        fmin=40.0,
        reach=1.0,
        licence="CC0 1.0",
        attribution="karoryfer, war tuba (sfzinstruments/karoryfer.war-tuba)",
    ),
    "trumpet": Recipe(
        "notes_44k",
        start="alto_saxophone",
        fmin=160.0,
        reach=3.0,
        licence="CC BY 3.0",
        attribution=f"trumpet of {TONEJS}",
        teacher="trumpet",
    ),
    "flute2": Recipe(
        "notes_44k",
        start="flute",
        instrument="flute",
        fmin=245.0,
        reach=3.0,
        licence="CC BY 3.0",
        attribution=f"flute of {TONEJS}",
        teacher="flute",
    ),
}


def prepare_violin(data: Path, dataset: Path) -> None:
    """The dataset of two movements; the end of each is held out.

    The lowest note of a violin is 196 Hz. Lower pitches are excluded, so that the tracker cannot
    find a note an octave too low in the reverberation of the room.
    """
    movements = [data / "violin_bach" / f"john-garner_bwv1002_mov{i}.flac" for i in (6, 8)]
    prepare(
        movements,
        dataset,
        hop_length=128,
        fmin=185.0,
        licence="CC BY 3.0",
        attribution="John Garner (violin), J. S. Bach, BWV 1002, via Musopen and the Bach Violin "
        "Dataset",
    )


def prepare_notes(data: Path, name: str, dataset: Path, teachers: Path | None) -> None:
    """Phrases of an instrument's notes, written beside the dataset and prepared like recordings.

    An instrument with a teacher learns from a third as much of what the teacher plays, too.
    """
    recipe, folder = NOTES[name], dataset.parent / "phrases"
    for seed, (split, count) in enumerate(PHRASES.items()):
        # A split of its own seed stays the same when another one is changed.
        rng = np.random.default_rng(seed)
        (folder / split).mkdir(parents=True, exist_ok=True)
        notes = read_notes(data, name, split)
        for i in range(count):
            audio = phrase(rng, notes, reach=recipe.reach, plain=split != "train")
            soundfile.write(folder / split / f"{i:02}.flac", audio, SAMPLE_RATE)
    licence, attribution = recipe.licence, recipe.attribution
    if recipe.teacher:
        if teachers is None:
            raise SystemExit(f"The {name} needs --teachers, the folder of Tone Transfer models.")
        target = import_instrument(teachers / recipe.teacher, folder=folder, overwrite=True)
        teacher, notes = load_instrument(target), read_notes(data, name, "train")
        for split, recordings in performances(data, folder).items():
            for i, audio in enumerate(lessons(recordings, teacher, notes)):
                soundfile.write(folder / split / f"taught_{i}.flac", audio, SAMPLE_RATE)
        licence += "; Apache-2.0 (teacher)"
        attribution += f"; taught by the {recipe.teacher} of Google's Tone Transfer"
    prepare(
        [folder / "train"],
        dataset,
        valid=[folder / "valid"],
        test=[folder / "test"],
        hop_length=128,
        fmin=recipe.fmin,
        licence=licence,
        attribution=attribution,
    )


def performances(data: Path, folder: Path) -> dict[str, list[Path]]:
    """What the violinist plays: pitch and dynamics to learn, and those at the end to choose by."""
    found: dict[str, list[Path]] = {"train": [], "valid": []}
    for movement in (6, 8):
        path = data / "violin_bach" / f"john-garner_bwv1002_mov{movement}.flac"
        audio, rate = soundfile.read(path)
        for split, part in zip(found, np.split(audio, [round(0.8 * len(audio))]), strict=True):
            found[split].append(folder / f"{split}_{movement}.flac")
            soundfile.write(found[split][-1], part, rate)
    return found


def note_rows(data: Path, name: str, split: str) -> list[dict[str, str]]:
    """The rows of the table for the notes of a split whose label is correct.

    The table of `notes_44k` has no splits: of the notes by pitch, each eighth one is to choose by,
    and each fourth one to measure by. Its file names are an octave or two off.
    """
    recipe = NOTES[name]
    instrument = recipe.instrument or name
    if recipe.library == "notes_44k":
        with open(data / recipe.library / "metadata.csv") as file:
            rows = [row for row in csv.DictReader(file) if row["instrument"] == instrument]
        rows.sort(key=lambda row: float(row["midi_yin"]))
        test, valid = rows[3::4], rows[5::8]
        train = [row for row in rows if row not in test + valid]
        chosen = {"train": train, "valid": valid, "test": test}[split]
        return [row | {"midi": row["midi_yin"]} for row in chosen]
    with open(data / "solo_notes" / "metadata.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    own_rows = [
        row for row in rows if (row["instrument"], row["library"]) == (instrument, recipe.library)
    ]
    return [row for row in own_rows if row["label_ok"] == "1"]


def read_notes(data: Path, name: str, split: str) -> list[Note]:
    """The notes of a split."""
    library = NOTES[name].library
    folder, found = data / (library if library == "notes_44k" else "solo_notes"), []
    for row in note_rows(data, name, split):
        audio, sample_rate = soundfile.read(folder / row["file"])
        if audio.ndim != 1:
            raise SystemExit(f"{row['file']} must be mono.")
        found.append(note(float(row["midi"]), audio, sample_rate))
    return found


def main(arguments: argparse.Namespace) -> None:
    """Trains each instrument in turn; existing results are kept."""
    small = AutoencoderConfig.small(sample_rate=SAMPLE_RATE, hop_length=128)
    for name in arguments.instruments:
        model = dataclasses.replace(small, reverb=CHURCH) if name == "violin" else small
        folder = arguments.output / name
        dataset, instrument = folder / "dataset", folder / name
        folder.mkdir(parents=True, exist_ok=True)
        if not dataset.exists():
            if name == "violin":
                prepare_violin(arguments.recordings, dataset)
            else:
                prepare_notes(arguments.recordings, name, dataset, arguments.teachers)
        # The learning rate falls fast, because a few minutes of music are soon overfitted. The
        # valid split chooses the weights. After an interruption the same command continues.
        config = AutoencoderTrainConfig(
            steps=arguments.steps,
            batch_size=8,
            learning_rate=arguments.learning_rate,
            decay_rate=0.96,
            decay_steps=max(1, arguments.steps // 60),
            evaluate_every=max(1, arguments.steps // 10),
            loudness_weight=LOUDNESS_WEIGHT,
        )
        start = arguments.start or ("violin" if name == "violin" else NOTES[name].start)
        result = train_autoencoder(dataset, instrument, model=model, config=config, start=start)
        print(f"{name}: ended at step {result.step}; kept are the weights of {result.best}")
        measure(
            instrument, dataset, {} if name == "violin" else made_of(arguments.recordings, name)
        )


def made_of(data: Path, name: str) -> dict[str, Any]:
    """The notes from which the phrases of an instrument were made."""
    rows = {split: note_rows(data, name, split) for split in PHRASES}
    sources = {f"{row['source_repo']} at {row['commit']}" for of in rows.values() for row in of}
    files = {split: [row["file"] for row in of] for split, of in rows.items()}
    return {"phrases": {"made_by": "phrases.py", "sources": sorted(sources), "notes": files}}


def measure(instrument: Path, dataset: Path, facts: dict[str, Any]) -> None:
    """Computes scores on the test split, which is not used in training, and stores them."""
    network, statistics, provenance = load_autoencoder(instrument)
    rows = evaluate_autoencoder(
        network, dataset, split="test", statistics=statistics, baselines=True
    )
    for row in rows:
        print(row.name, *(f"{name} {getattr(row, name).value:.2f}" for name in row._fields[2:]))
    found = {name: getattr(rows[0], name).value for name in rows[0]._fields[2:]}
    scores = {"split": "test", "n_examples": rows[0].n_examples, **found}
    save_autoencoder(
        instrument,
        network,
        statistics=statistics,
        provenance=provenance | facts | {"scores": scores},
    )
    print(json.dumps(scores, indent=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recordings", type=Path)
    parser.add_argument("-o", "--output", required=True, type=Path, help="folder for all results")
    parser.add_argument("--instruments", nargs="+", default=["violin", *NOTES])
    parser.add_argument("--teachers", type=Path, help="a folder of Google's Tone Transfer models")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--start", help="what to begin with, instead of the recipe's instrument")
    main(parser.parse_args())
