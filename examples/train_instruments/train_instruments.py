"""Trains the instruments that ship with ddspx, from their recordings to their scores.

    python train_instruments.py RECORDINGS -o results [--instruments violin cello ...]

RECORDINGS holds `violin_bach`, `solo_notes` and `notes_44k`, each with `metadata.csv`; README.md
says where they are from. Each training begins with the weights of an instrument that ships.
"""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from phrases import SAMPLE_RATE
from recipes import NOTES, PHRASES, note_rows, prepare_notes, prepare_violin

from ddspx.models.autoencoder import AutoencoderConfig, load_autoencoder, save_autoencoder
from ddspx.nn import DecayingReverbConfig
from ddspx.training import AutoencoderTrainConfig, evaluate_autoencoder, train_autoencoder

# The spectral loss hardly sees a level that is 2 dB too low.
LOUDNESS_WEIGHT = 0.2
# The violin was recorded in a large room; the notes of the others are nearly dry.
CHURCH = DecayingReverbConfig(length=24_000, early_length=1600, n_bands=7)


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
                prepare_notes(arguments.recordings, NOTES[name], dataset, arguments.teachers)
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
    rows = {split: note_rows(data, NOTES[name], split) for split in PHRASES}
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
