"""The recordings of each instrument, and the datasets that are made of them.

The violin is two movements of Bach; the others are phrases made of single notes (phrases.py). The
notes of the test and valid splits are never in the train split, and are joined as they are.
"""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from phrases import SAMPLE_RATE, Note, note, phrase
from teacher import lessons

from ddspx.instruments import import_instrument, load_instrument
from ddspx.training import prepare

# Eight minutes to train on, and a tenth as much each to choose and to measure by.
PHRASES = {"train": 12, "valid": 1, "test": 1}
MTG = "Music Technology Group, Universitat Pompeu Fabra (sfzinstruments/MTG.SoloSax)"
TONEJS = "nbrosowsky/tonejs-instruments (copy in JamesRyanATX/Harmonicon)"


class Recipe(NamedTuple):
    """The notes of an instrument, their pitch range, licence and attribution.

    `instrument` and `library` are as in the table of the notes. `reach` is half the largest
    distance of adjacent notes of the train split in one dynamic, so that every pitch between them
    is heard in training; at most 3 semitones, which move formants. `start` is the instrument whose
    weights a training begins with.
    """

    instrument: str
    library: str
    fmin: float
    reach: float
    licence: str
    attribution: str
    start: str
    teacher: str = ""

    @property
    def folder(self) -> str:
        """The folder of the notes."""
        return self.library if self.library == "notes_44k" else "solo_notes"


def saxophone(which: str, fmin: float) -> Recipe:
    """One of the four saxophones of one library."""
    start = "tenor_saxophone"
    return Recipe(f"{which}_sax", "mtg_solo_sax", fmin, 1.0, "CC BY 4.0", MTG, start)


WERESAX = "karoryfer, weresax (sfzinstruments/karoryfer.weresax)"
BIGCAT = "Kamila Borowiak, cello (sfzinstruments/karoryfer-bigcat.cello)"
IXOX = "Xavier Hosxe, flute (sfzinstruments/Ixox.Flute)"
WARTUBA = "karoryfer, war tuba (sfzinstruments/karoryfer.war-tuba)"
SMOLKEN = "D. Smolken, double bass (sfzinstruments/dsmolken.double-bass)"
NOTES = {
    "alto_saxophone": Recipe(
        "alto_sax", "weresax", 130.0, 1.0, "CC0 1.0", WERESAX, "alto_saxophone"
    ),
    "tenor_saxophone": saxophone("tenor", 95.0),
    "cello": Recipe("cello", "bigcat", 60.0, 3.0, "CC0 1.0", BIGCAT, "cello"),
    "flute": Recipe("flute", "ixox", 245.0, 3.0, "CC BY 4.0", IXOX, "flute"),
    "tuba": Recipe("tuba", "wartuba", 40.0, 1.0, "CC0 1.0", WARTUBA, "tuba"),
    "trumpet": Recipe(
        "trumpet",
        "notes_44k",
        160.0,
        3.0,
        "CC BY 3.0",
        f"trumpet of {TONEJS}",
        "alto_saxophone",
        teacher="trumpet",
    ),
    "flute2": Recipe(
        "flute",
        "notes_44k",
        245.0,
        3.0,
        "CC BY 3.0",
        f"flute of {TONEJS}",
        "flute",
        teacher="flute",
    ),
}
# A model of any instrument hears these, too.
MORE_NOTES = {
    "soprano_saxophone": saxophone("soprano", 195.0),
    "baritone_saxophone": saxophone("baritone", 60.0),
    "double_bass": Recipe("double_bass", "smolken", 30.0, 2.5, "CC0 1.0", SMOLKEN, "cello"),
}
# What it does not hear: a second alto saxophone, to measure by.
OTHER_NOTES = {"alto_saxophone2": saxophone("alto", 130.0)}


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


def prepare_notes(data: Path, recipe: Recipe, dataset: Path, teachers: Path | None) -> None:
    """Phrases of an instrument's notes, written beside the dataset and prepared like recordings.

    An instrument with a teacher learns from a third as much of what the teacher plays, too.
    """
    folder = dataset.parent / "phrases"
    for seed, (split, count) in enumerate(PHRASES.items()):
        # A split of its own seed stays the same when another one is changed.
        rng = np.random.default_rng(seed)
        (folder / split).mkdir(parents=True, exist_ok=True)
        notes = read_notes(data, recipe, split)
        for i in range(count):
            audio = phrase(rng, notes, reach=recipe.reach, plain=split != "train")
            soundfile.write(folder / split / f"{i:02}.flac", audio, SAMPLE_RATE)
    licence, attribution = recipe.licence, recipe.attribution
    if recipe.teacher:
        if teachers is None:
            raise SystemExit(
                f"The {recipe.instrument} needs --teachers, the folder of Tone Transfer models."
            )
        target = import_instrument(teachers / recipe.teacher, folder=folder, overwrite=True)
        teacher, notes = load_instrument(target), read_notes(data, recipe, "train")
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


def note_rows(data: Path, recipe: Recipe, split: str) -> list[dict[str, str]]:
    """The rows of the table for the notes of a split whose label is correct.

    The table of `notes_44k` has no splits: of the notes by pitch, each eighth one is to choose by,
    and each fourth one to measure by. Its file names are an octave or two off.
    """
    if recipe.library == "notes_44k":
        with open(data / recipe.library / "metadata.csv") as file:
            rows = [row for row in csv.DictReader(file) if row["instrument"] == recipe.instrument]
        rows.sort(key=lambda row: float(row["midi_yin"]))
        test, valid = rows[3::4], rows[5::8]
        train = [row for row in rows if row not in test + valid]
        chosen = {"train": train, "valid": valid, "test": test}[split]
        return [row | {"midi": row["midi_yin"]} for row in chosen]
    with open(data / "solo_notes" / "metadata.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    wanted = {"instrument": recipe.instrument, "library": recipe.library, "label_ok": "1"}
    return [row for row in rows if wanted.items() <= row.items()]


def read_notes(data: Path, recipe: Recipe, split: str) -> list[Note]:
    """The notes of a split."""
    folder, found = data / recipe.folder, []
    for row in note_rows(data, recipe, split):
        audio, sample_rate = soundfile.read(folder / row["file"])
        if audio.ndim != 1:
            raise SystemExit(f"{row['file']} must be mono.")
        found.append(note(float(row["midi"]), audio, sample_rate))
    return found
