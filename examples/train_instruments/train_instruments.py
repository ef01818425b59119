"""Trains the instruments that ship with ddspx, from their recordings to their scores.

    python train_instruments.py RECORDINGS -o results [--instruments violin cello ...]

RECORDINGS holds `violin_bach` and `solo_notes`, each with its `metadata.csv`; README.md says where
they are from. The violin is trained on two movements of Bach; the others on phrases made of single
notes (phrases.py), beginning with the weights of the violin that ships. The notes of the test and
valid splits are never in the train split, and are joined as they are.
"""

import argparse
import csv
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
from phrases import SAMPLE_RATE, Note, note, phrase

from ddspx.models.autoencoder import AutoencoderConfig, load_autoencoder, save_autoencoder
from ddspx.training import AutoencoderTrainConfig, evaluate_autoencoder, prepare, train_autoencoder

# Eight minutes to train on, and a tenth as much each to choose and to measure by.
PHRASES = {"train": 12, "valid": 1, "test": 1}
MTG = "Music Technology Group, Universitat Pompeu Fabra (sfzinstruments/MTG.SoloSax)"


class Recipe(NamedTuple):
    """The library of an instrument's notes, their pitch range, licence and attribution."""

    library: str
    fmin: float
    reach: float
    licence: str
    attribution: str


NOTES = {
    "alto_sax": Recipe(
        "weresax",
        fmin=130.0,
        reach=0.7,
        licence="CC0 1.0",
        attribution="karoryfer, weresax (sfzinstruments/karoryfer.weresax)",
    ),
    "tenor_sax": Recipe(
        "mtg_solo_sax",
        fmin=95.0,
        reach=0.7,
        licence="CC BY 4.0",
        attribution=MTG,
    ),
    "cello": Recipe(
        "bigcat",
        fmin=60.0,
        reach=1.7,
        licence="CC0 1.0",
        attribution="Kamila Borowiak, cello (sfzinstruments/karoryfer-bigcat.cello)",
    ),
    "flute": Recipe(
        "ixox",
        fmin=245.0,
        reach=1.5,
        licence="CC BY 4.0",
        attribution="Xavier Hosxe, flute (sfzinstruments/Ixox.Flute)",
    ),
    "tuba": Recipe(
        "wartuba",
        fmin=40.0,
        reach=1.0,
        licence="CC0 1.0",
        attribution="karoryfer, war tuba (sfzinstruments/karoryfer.war-tuba)",
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


def prepare_notes(data: Path, name: str, dataset: Path) -> None:
    """Phrases of an instrument's notes, written beside the dataset and prepared like recordings."""
    recipe, folder, rng = NOTES[name], dataset.parent / "phrases", np.random.default_rng(0)
    for split, count in PHRASES.items():
        (folder / split).mkdir(parents=True, exist_ok=True)
        notes = read_notes(data, name, split)
        for i in range(count):
            audio = phrase(rng, notes, reach=recipe.reach, plain=split != "train")
            soundfile.write(folder / split / f"{i:02}.flac", audio, SAMPLE_RATE)
    prepare(
        [folder / "train"],
        dataset,
        valid=[folder / "valid"],
        test=[folder / "test"],
        hop_length=128,
        fmin=recipe.fmin,
        licence=recipe.licence,
        attribution=recipe.attribution,
    )


def note_rows(data: Path, name: str, split: str) -> list[dict[str, str]]:
    """The rows of the table for the notes of a split whose label is correct."""
    with open(data / "solo_notes" / "metadata.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    of = name, NOTES[name].library
    own_rows = [row for row in rows if (row["instrument"], row["library"]) == of]
    return [row for row in own_rows if row["label_ok"] == "1"]


def read_notes(data: Path, name: str, split: str) -> list[Note]:
    """The notes of a split."""
    found = []
    for row in note_rows(data, name, split):
        audio, sample_rate = soundfile.read(data / "solo_notes" / row["file"])
        if sample_rate != SAMPLE_RATE or audio.ndim != 1:
            raise SystemExit(f"{row['file']} must be mono at {SAMPLE_RATE} Hz.")
        found.append(note(float(row["midi"]), audio))
    return found


def main(arguments: argparse.Namespace) -> None:
    """Trains each instrument in turn; existing results are kept."""
    model = AutoencoderConfig.small(sample_rate=SAMPLE_RATE, hop_length=128)
    for name in arguments.instruments:
        folder = arguments.output / name
        dataset, instrument = folder / "dataset", folder / name
        folder.mkdir(parents=True, exist_ok=True)
        if not dataset.exists():
            if name == "violin":
                prepare_violin(arguments.recordings, dataset)
            else:
                prepare_notes(arguments.recordings, name, dataset)
        # The learning rate falls fast, because a few minutes of music are soon overfitted. The
        # valid split chooses the weights. After an interruption the same command continues.
        config = AutoencoderTrainConfig(
            steps=arguments.steps,
            batch_size=8,
            learning_rate=1e-3,
            decay_rate=0.98,
            decay_steps=max(1, arguments.steps // 60),
            evaluate_every=max(1, arguments.steps // 10),
        )
        start = None if name == "violin" else arguments.start
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
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--start", default="violin", help="what all but the violin begin with")
    main(parser.parse_args())
