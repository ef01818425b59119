"""What the embeddings of a model of any instrument hold: linear probes, and a picture."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ddspx.instruments import AnyInstrument, embed
from ddspx.io import AudioError, Batch, evaluation_batches, training_batches
from ddspx.metrics import VOICED

STRETCHES = 40
LEVELS_DB = (-20.0, 0.0)


class Embeddings(NamedTuple):
    """Embeddings of stretches, and what is known of each."""

    z: np.ndarray
    instrument: np.ndarray
    midi: np.ndarray
    gain_db: np.ndarray
    loudness_db: np.ndarray


def embeddings(base: AnyInstrument, datasets: dict[str, Path], split: str) -> Embeddings:
    """The embeddings of stretches of several datasets, each played at a random level."""
    rng, rows = np.random.default_rng(0), []
    for name, dataset in datasets.items():
        if split == "train":
            batches = [next(training_batches(dataset, batch_size=STRETCHES, seed=1))]
        else:
            batches = list(evaluation_batches(dataset, split=split, batch_size=STRETCHES))
        for batch in batches:
            for i in range(len(batch.audio)):
                gain_db, voiced = rng.uniform(*LEVELS_DB), voiced_frames(batch, i)
                try:
                    z = embed(base.model, batch.audio[i] * 10 ** (gain_db / 20))
                except AudioError:
                    continue
                midi = 69 + 12 * np.log2(batch.f0_hz[i][voiced] / 440)
                loudness_db = batch.loudness_db[i][voiced].mean()
                rows.append((z, name, midi.mean(), gain_db, loudness_db))
    z, names, *numbers = zip(*rows, strict=True)
    return Embeddings(np.stack(z), np.array(names), *map(np.array, numbers))


def voiced_frames(batch: Batch, index: int) -> np.ndarray:
    """Which frames of an example have a pitch; all, if none does."""
    voiced = (batch.f0_confidence[index] >= VOICED) & (batch.f0_hz[index] > 0)
    return voiced if voiced.any() else np.ones_like(voiced)


def instrument_probe(train: Embeddings):
    """A linear classifier of instruments."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    return model.fit(train.z, train.instrument)


def r_squared(train: Embeddings, test: Embeddings, what: str) -> float:
    """How much of a number a linear probe explains within the instruments, on other notes.

    Instruments differ in range, so whoever knows the instrument knows something of the pitch. That
    is no leak; so the mean of each instrument is taken off both the number and the embeddings.
    """
    y, expected = (within(of.instrument, getattr(of, what)) for of in (train, test))
    z, other = (within(of.instrument, of.z) for of in (train, test))
    rest = expected - RidgeCV(np.logspace(-3, 3, 13)).fit(z, y).predict(other)
    return 1 - float(np.sum(rest**2) / np.sum(expected**2))


def within(names: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values without the mean of each instrument."""
    return values - np.stack([values[names == name].mean(axis=0) for name in names])


def print_probe(base: AnyInstrument, known: dict[str, Path], other: dict[str, Path]) -> None:
    """The probes, on the notes of the test split and on libraries that the model never heard.

    Args:
      base: the model.
      known: the datasets of what it was trained on.
      other: datasets of other libraries of the same instruments, by the name of the instrument.
    """
    tested = {name: path for name, path in known.items() if has_test(path)}
    train, test = embeddings(base, known, "train"), embeddings(base, tested, "test")
    probe = instrument_probe(train)
    print(f"\ninstrument, other notes: {np.mean(probe.predict(test.z) == test.instrument):.3f}")
    for name, dataset in other.items():
        for split in ("train", "test"):
            found = probe.predict(embeddings(base, {name: dataset}, split).z)
            counts = dict(zip(*np.unique(found, return_counts=True), strict=True))
            print(f"{name} of another library: {np.mean(found == name):.3f} {counts}")
    for what in ("midi", "gain_db", "loudness_db"):
        print(f"R2 of {what} within the instruments: {r_squared(train, test, what):.3f}")


def has_test(dataset: Path) -> bool:
    """Whether a dataset has a test split."""
    from ddspx.io import read_manifest

    return read_manifest(dataset).splits["test"].n_examples > 0


def plot(of: Embeddings, path: Path) -> None:
    """A picture of the embeddings in two dimensions."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    flat = PCA(2).fit_transform(of.z)
    figure, axes = plt.subplots(figsize=(7, 6), layout="constrained")
    for i, name in enumerate(dict.fromkeys(of.instrument)):
        own = of.instrument == name
        axes.scatter(*flat[own].T, s=18, color=plt.get_cmap("tab20")(i % 20), label=name)
    axes.set(xlabel="first principal component", ylabel="second")
    figure.legend(fontsize=8, loc="outside right upper")
    figure.savefig(path, dpi=120)
    plt.close(figure)
