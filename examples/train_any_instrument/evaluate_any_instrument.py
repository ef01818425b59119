"""Measures a model of any instrument: those it knows, others, what is between, and embeddings.

    python evaluate_any_instrument.py RECORDINGS RESULTS [--model NAME] [--unknown cello ...]

RESULTS is the output of train_any_instrument.py, with its datasets. Unknown instruments are those
that the model was trained without. They are heard in phrases of the train split's notes, joined as
they are, and measured on the test split. All losses are the spectral loss of `evaluate_autoencoder`
on the same examples, beside the instruments that ship with ddspx as models of their own.
"""

import argparse
import contextlib
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "train_instruments"))

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import soundfile
from embeddings import embeddings, plot, print_probe
from evaluate_instruments import SOURCES, library, near, rendered, shape, sounding
from phrases import SAMPLE_RATE, phrase
from recipes import MORE_NOTES, NOTES, read_notes
from rich.console import Console
from train_any_instrument import prepared

from ddspx import metrics
from ddspx.instruments import (
    AnyInstrument,
    interpolate,
    load_any_instrument,
    load_instrument,
    recorded_timbre,
)
from ddspx.models.autoencoder import Autoencoder, with_timbre
from ddspx.training import AdaptationConfig, adapt, evaluate_autoencoder

SHELF = ("violin", *NOTES)
LONGEST = 120 * SAMPLE_RATE
PAIRS = (("violin", "flute"), ("cello", "trumpet"), ("tuba", "tenor_saxophone"))


class Heard:
    """Recordings of an instrument that a model is to play: of its train split, high and low.

    What is heard are pieces of two seconds from all over two minutes: of the violin's first
    movement, or of phrases of notes that are joined as they are.
    """

    def __init__(self, data: Path, name: str, count: int = 3) -> None:
        self.sounds = []
        if name == "violin":
            path = data / "violin_bach" / "john-garner_bwv1002_mov6.flac"
            audio, _ = soundfile.read(path, dtype="float32")
            self.sounds = [audio[i * SAMPLE_RATE :][:LONGEST] for i in range(count)]
            return
        notes = read_notes(data, (NOTES | MORE_NOTES)[name], "train")
        for i in range(count):
            rng = np.random.default_rng(100 + i)
            parts = [phrase(rng, notes, reach=1.0, plain=True) for _ in range(3)]
            self.sounds.append(np.concatenate(parts)[:LONGEST])

    def file(self, folder: Path, index: int, seconds: int) -> Path:
        """Some seconds of a recording, as a file."""
        sound, length = self.sounds[index], 2 * SAMPLE_RATE
        starts = np.linspace(0, len(sound) - length, seconds // 2).astype(int)
        fade = np.minimum(1, np.minimum(np.arange(length), np.arange(length)[::-1]) / 160)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{index}_{seconds}.flac"
        pieces = [fade * sound[start : start + length] for start in starts]
        soundfile.write(path, np.concatenate(pieces), SAMPLE_RATE)
        return path


def loss(model: Autoencoder, dataset: Path) -> float:
    """The spectral loss on the test split."""
    return evaluate_autoencoder(model, dataset)[0].spectral_loss.value


def others(name: str) -> list[str]:
    """The other instruments of the shelf."""
    return [other for other in SHELF if other != name]


def print_known(base: AnyInstrument, results: Path) -> None:
    """How each instrument that the model knows sounds, beside a model of its own."""
    print("| known | own model | any instrument | ratio |\n|" + " --- |" * 4)
    for name in SHELF:
        if name in base.timbres:
            dataset, timbre = results / name / "dataset", base.timbres[name]
            own = loss(load_instrument(name).model, dataset)
            ours = loss(with_timbre(base.model, timbre.embedding, reverb=timbre.reverb), dataset)
            print(f"| {name} | {own:.2f} | {ours:.2f} | {ours / own:.3f} |", flush=True)


def adapted(base: AnyInstrument, heard: Heard, folder: Path, index: int, seconds: int) -> Path:
    """The model folder of a recording's adaptation, which is made if it is missing.

    Its steps are those that two free cores take in less than three minutes.
    """
    output = folder / f"{index}_{seconds}"
    with contextlib.redirect_stdout(None):
        adapt(
            [heard.file(folder, index, seconds)],
            output,
            model=base.model,
            room=base.room,
            config=AdaptationConfig(evaluate_every=25),
            origin=base.origin,
            console=Console(quiet=True),
        )
    return output


def print_unknown(
    base: AnyInstrument,
    names: list[str],
    data: Path,
    results: Path,
    seconds: list[int],
    count: int,
) -> None:
    """How instruments sound that the model was trained without, for each recording heard.

    The ratio is that of the mean to the instrument's own model.
    """
    titles = ["own model", "nearest other", "embeddings of 20 s", *(f"{s} s" for s in seconds)]
    print("\n| unknown | " + " | ".join(titles) + " |\n|" + " --- |" * (1 + len(titles)))
    for name in names:
        heard, dataset = Heard(data, name), results / name / "dataset"
        folder = results / f"adapted_{base.name}" / name
        own = loss(load_instrument(name).model, dataset)
        nearest, other = min((loss(load_instrument(o).model, dataset), o) for o in others(name))
        print(f"| {name} | {own:.2f} | {nearest:.2f} {other} |", end="", flush=True)
        timbres = [
            recorded_timbre(heard.file(folder, i, 20), base.model) for i in range(len(heard.sounds))
        ]
        print_ratio(own, [loss(with_timbre(base.model, z.embedding), dataset) for z in timbres])
        for s in seconds:
            models = [adapted(base, heard, folder, i, s) for i in range(count)]
            print_ratio(own, [loss(load_instrument(model).model, dataset) for model in models])
        print(flush=True)


def print_ratio(own: float, losses: list[float]) -> None:
    """Prints a cell: the losses, and their mean beside that of the instrument's own model."""
    cells = " ".join(f"{x:.2f}" for x in losses)
    print(f" {cells} ({np.mean(losses) / own:.3f}) |", end="", flush=True)


def print_nearest(
    base: AnyInstrument, names: list[str], data: Path, results: Path, seconds: list[int]
) -> None:
    """The library that phrases of others are nearest to, if unknown instruments play them."""
    libraries = {name: library(data, name) for name in SHELF}
    print("\n| unknown | heard | nearest in MFCC, of five phrases |\n|" + " --- |" * 3)
    for name in names:
        folder, heard = results / f"adapted_{base.name}" / name, Heard(data, name)
        made: dict[str, Any] = {}
        timbre = recorded_timbre(heard.file(folder, 0, 20), base.model)
        made["at once, 20 s"] = base.instrument(timbre)
        for s in seconds:
            made[f"adapted, {s} s"] = load_instrument(adapted(base, heard, folder, 0, s))
        for how, instrument in made.items():
            found = []
            for source in SOURCES:
                audio, (low, high) = rendered(instrument, data / "sources" / f"{source}.flac")
                distances = {
                    other: metrics.frechet_distance(sounding(audio), near(of, low, high))
                    for other, of in libraries.items()
                }
                found.append(min(distances, key=distances.__getitem__))
            print(f"| {name} | {how} | {found.count(name)} of 5: {', '.join(found)} |", flush=True)


def print_between(base: AnyInstrument) -> None:
    """Centroid, tilt, pitch and clicks of a phrase from one instrument to another."""
    print("\n| | weight | centroid, Hz | tilt, dB per octave | cents | clicks |\n|" + " --- |" * 6)
    size, hop = 3 * SAMPLE_RATE, base.model.config.hop_length
    for first, second in PAIRS:
        for weight in np.linspace(0, 1, 6):
            timbre = interpolate(base.timbres, {first: 1 - weight, second: weight})
            model = with_timbre(base.model, timbre.embedding)
            rows = []
            for midi in (57.0, 62.0, 69.0):
                frames = jnp.full(size // hop + 1, librosa.midi_to_hz(midi), jnp.float32)
                level = jnp.full(frames.shape, -20.0, jnp.float32)
                z = jnp.broadcast_to(jnp.asarray(timbre.embedding), (frames.size, z_size(model)))
                audio = np.asarray(model(jax.random.key(0), frames, level, z=z, n_samples=size))
                steady = audio[SAMPLE_RATE // 2 : -SAMPLE_RATE // 2]
                found = shape(steady, float(frames[0]))
                f0_hz = librosa.yin(steady, fmin=60, fmax=1000, sr=SAMPLE_RATE, frame_length=2048)
                cents = 1200 * np.log2(np.median(f0_hz) / float(frames[0]))
                clicks = metrics.click_times(audio, sample_rate=SAMPLE_RATE).size
                hz = 440 * 2 ** (found.centroid_semitones / 12)
                rows.append([hz, found.tilt_db_per_octave, abs(cents), clicks])
            hz, tilt, cents, clicks = np.mean(rows, axis=0)
            print(
                f"| {first} to {second} | {weight:.1f} | {hz:.0f} | {tilt:.2f} | {cents:.1f} | "
                f"{3 * clicks:.0f} |",
                flush=True,
            )


def z_size(model: Autoencoder) -> int:
    """The number of values of the embedding."""
    return model.encoder.config.z_size


def main(arguments: argparse.Namespace) -> None:
    """Prints the tables."""
    base = load_any_instrument(folder=arguments.results / arguments.model)
    data, results = arguments.recordings, arguments.results
    if known := sorted(base.timbres.keys() & set(arguments.unknown)):
        raise SystemExit(f"{base.name} was trained on {', '.join(known)}; leave it out.")
    if arguments.unknown:
        print_unknown(
            base, arguments.unknown, data, results, arguments.seconds, arguments.adaptations
        )
        print_nearest(base, arguments.unknown, data, results, arguments.seconds)
    else:
        print_known(base, results)
        print_between(base)
        known = {name: results / name / "dataset" for name in base.timbres}
        second = prepared(arguments.recordings, results, "alto_saxophone2", None)
        print_probe(base, known, {"alto_saxophone": second})
        plot(embeddings(base, known, "train"), results / f"{base.name}.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recordings", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--model", default="any_instrument", help="the model's folder in results")
    parser.add_argument("--unknown", nargs="+", default=[], choices=SHELF, metavar="NAME")
    parser.add_argument("--seconds", nargs="+", type=int, default=[10, 20, 60])
    parser.add_argument("--adaptations", type=int, default=3, choices=range(1, 4), help="of each")
    main(parser.parse_args())
