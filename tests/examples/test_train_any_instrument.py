"""The recipe of the model of any instrument runs, and its probes find what is there."""

import csv
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import sine

from ddspx import io
from ddspx.instruments import load_any_instrument
from ddspx.models.autoencoder import AutoencoderConfig

EXAMPLES = Path(__file__).parents[2] / "examples"
RATE = 16_000
MODULES = ("train_any_instrument", "evaluate_any_instrument", "embeddings", "evaluate_instruments")
SHARED = ("recipes", "teacher", "phrases", "partials")


@pytest.fixture
def module(monkeypatch):
    """Imports a file of the example, and forgets it afterwards."""
    monkeypatch.syspath_prepend(EXAMPLES / "train_any_instrument")
    monkeypatch.syspath_prepend(EXAMPLES / "train_instruments")
    yield importlib.import_module
    for name in (*MODULES, *SHARED):
        sys.modules.pop(name, None)


def stretches(embeddings, seed, *, leak):
    """Embeddings of three instruments, which differ in pitch, with a share of the pitch in them."""
    rng = np.random.default_rng(seed)
    names = np.repeat(["tuba", "cello", "flute"], 200)
    centers = np.repeat(np.random.default_rng(9).normal(size=(3, 4)), 200, axis=0)
    midi = np.repeat([40.0, 55.0, 75.0], 200) + rng.normal(0, 5, 600)
    z = centers + 0.2 * rng.normal(size=(600, 4))
    z[:, 0] += leak * midi
    return embeddings.Embeddings(z, names, midi, rng.uniform(-20, 0, 600), midi)


@pytest.mark.parametrize(("leak", "low", "high"), [(0.0, -0.1, 0.05), (1.0, 0.95, 1.0)])
def test_a_probe_finds_pitch_in_an_embedding_only_if_it_is_there(module, leak, low, high):
    embeddings = module("embeddings")
    train, test = (stretches(embeddings, seed, leak=leak) for seed in (1, 2))
    assert low <= embeddings.r_squared(train, test, "midi") <= high
    assert embeddings.r_squared(train, test, "gain_db") < 0.05
    if not leak:
        probe = embeddings.instrument_probe(train)
        assert np.mean(probe.predict(test.z) == test.instrument) > 0.95


def test_what_is_heard_is_never_of_the_test_split(module, shared_data):
    recipes = module("recipes")
    for recipe in {**recipes.NOTES, **recipes.MORE_NOTES, **recipes.OTHER_NOTES}.values():
        files = [
            {row["file"] for row in recipes.note_rows(shared_data, recipe, split)}
            for split in ("train", "valid", "test")
        ]
        assert all(files) and sum(map(len, files)) == len(set.union(*files))


def test_twenty_seconds_are_heard_from_all_over_the_train_split(module, shared_data, tmp_path):
    heard = module("evaluate_any_instrument").Heard(shared_data, "violin", count=1)
    path = heard.file(tmp_path, 0, 20)
    audio = io.read_audio(path, sample_rate=RATE)
    assert audio.size == 20 * RATE
    movement = shared_data / "violin_bach" / "john-garner_bwv1002_mov6.flac"
    whole = io.read_audio(movement, sample_rate=RATE)[: 120 * RATE]
    for at, start in ((0, 0), (18 * RATE, len(whole) - 2 * RATE)):
        piece, expected = audio[at : at + RATE], whole[start : start + RATE]
        np.testing.assert_allclose(piece[200:], expected[200:], atol=2e-4)


@pytest.mark.slow
def test_the_recipe_trains_a_model_of_the_sizes_that_ship(module, tmp_path, monkeypatch, capsys):
    data = tmp_path / "recordings"
    (data / "solo_notes" / "flute").mkdir(parents=True)
    columns = "file instrument library midi label_ok split source_repo commit".split()
    with open(data / "solo_notes" / "metadata.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(columns)
        for split, midi in (("train", 69.0), ("train", 74.0), ("valid", 72.0), ("test", 71.0)):
            name = f"flute/{midi}.flac"
            hz = 440 * 2 ** ((midi - 69) / 12)
            tone = sine(hz, 3 * RATE, sample_rate=RATE, amplitude=0.3)
            io.write_audio(data / "solo_notes" / name, tone, sample_rate=RATE)
            table.writerow((name, "flute", "ixox", midi, 1, split, "somebody/flute", "abc"))
    train = module("train_any_instrument")
    monkeypatch.setattr(train, "INSTRUMENTS", ("flute",))
    monkeypatch.setattr(train, "OTHER_NOTES", {})
    arguments = train.parse([str(data), "-o", str(tmp_path / "out"), "--steps", "1"])
    train.main(arguments)
    base = load_any_instrument(folder=tmp_path / "out" / "any_instrument")
    assert list(base.timbres) == ["flute"]
    assert base.model.config == AutoencoderConfig.any_instrument(hop_length=128)
    assert base.provenance["training"]["equalization_db"] > 0
    assert "ended at step 1" in capsys.readouterr().out
