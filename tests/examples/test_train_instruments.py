"""Phrases keep the notes that they are made of, and the recipe runs from end to end."""

import csv
import importlib
import importlib.util
import runpy
import sys
import types
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import sine

from ddspx import core, features, io, metrics
from ddspx.instruments import instrument_names, load_instrument
from ddspx.nn import HarmonicControls, NoiseControls

EXAMPLE = Path(__file__).parents[2] / "examples" / "train_instruments"
RATE = 16_000


@pytest.fixture(scope="module")
def phrases():
    spec = importlib.util.spec_from_file_location("phrases", EXAMPLE / "phrases.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tone(midi, seconds=3.0):
    time_s = np.arange(round(seconds * RATE)) / RATE
    f0_hz = 440 * 2 ** ((midi - 69) / 12)
    return 0.2 * sum(np.sin(2 * np.pi * k * f0_hz * time_s) / k for k in range(1, 8))


@pytest.mark.parametrize("semitones", [-1.5, 0.0, 0.7])
def test_the_tape_effect_shifts_a_tone_as_given_and_adds_nothing(phrases, semitones):
    source = phrases.note(69.0, sine(440.0, 3 * RATE, sample_rate=RATE, amplitude=0.5))
    moved = phrases.tape(source.audio, 0.5, np.full(RATE, semitones))
    spectrum = np.abs(np.fft.rfft(moved * np.blackman(len(moved))))
    found_hz = np.argmax(spectrum) * RATE / len(moved)
    assert abs(found_hz - 440 * 2 ** (semitones / 12)) < 1.0
    around = slice(int(0.9 * np.argmax(spectrum)), int(1.1 * np.argmax(spectrum)))
    rest = spectrum.copy()
    rest[around] = 0
    assert rest.max() < 1e-3 * spectrum.max()


def test_plain_phrases_join_notes_without_clicks(phrases):
    notes = [phrases.note(midi, tone(midi)) for midi in (57.0, 60.0, 64.0)]
    audio = phrases.phrase(np.random.default_rng(0), notes, reach=0.0, plain=True)
    assert len(audio) >= phrases.PHRASE_S * RATE and np.abs(audio).max() <= 0.9
    heard = features.conditioning_features(audio, sample_rate=RATE, hop_length=128)
    sure = heard.f0_confidence > 0.9
    midi = 69 + 12 * np.log2(heard.f0_hz[sure] / 440)
    distance = np.abs(midi[:, None] - np.array([57.0, 60.0, 64.0])).min(axis=1)
    assert sure.mean() > 0.6 and np.mean(distance < 0.1) > 0.95
    assert metrics.click_times(audio, sample_rate=RATE).size == 0


def test_training_phrases_cover_pitches_between_the_notes(phrases):
    notes = [phrases.note(midi, tone(midi)) for midi in (57.0, 60.0)]
    audio = phrases.phrase(np.random.default_rng(0), notes, reach=1.5, plain=False)
    heard = features.conditioning_features(audio, sample_rate=RATE, hop_length=128)
    midi = 69 + 12 * np.log2(heard.f0_hz[heard.f0_confidence > 0.9] / 440)
    assert np.histogram(midi, bins=np.arange(55.5, 62.0))[0].min() > 0.02 * midi.size
    assert np.std(heard.loudness_db[heard.f0_confidence > 0.9]) > 2.0


def test_training_phrases_keep_the_levels_of_the_notes(phrases):
    """What sounds like a loud note is as loud, however many of them a phrase amplifies."""
    notes = [phrases.note(57.0, 3.0 * tone(57.0)), phrases.note(69.0, 0.3 * tone(69.0))]
    levels_db = []
    for plain in (True, False):
        audio = phrases.phrase(np.random.default_rng(1), notes, reach=0.3, plain=plain)
        heard = features.conditioning_features(audio, sample_rate=RATE, hop_length=128)
        midi = 69 + 12 * np.log2(heard.f0_hz / 440)
        levels_db.append([np.median(heard.loudness_db[np.abs(midi - n.midi) < 1.0]) for n in notes])
    np.testing.assert_allclose(levels_db[1], levels_db[0], atol=2.5)


@pytest.mark.slow
def test_one_step_of_the_recipe_makes_an_instrument_like_the_shipped_one(
    tmp_path, monkeypatch, capsys
):
    pytest.importorskip("grain", reason="the train extra is not installed")
    data = tmp_path / "data"
    (data / "solo_notes" / "flute").mkdir(parents=True)
    columns = ["file", "instrument", "library", "midi", "label_ok", "split"]
    columns += ["source_repo", "commit"]
    with open(data / "solo_notes" / "metadata.csv", "w", newline="") as file:
        table = csv.DictWriter(file, columns)
        table.writeheader()
        for split, midi in (("train", 69.0), ("train", 74.0), ("valid", 72.0), ("test", 71.0)):
            name = f"flute/{midi}.flac"
            io.write_audio(data / "solo_notes" / name, tone(midi), sample_rate=RATE)
            row = name, "flute", "ixox", midi, 1, split, "somebody/flute", "abc"
            table.writerow(dict(zip(columns, row, strict=True)))
    monkeypatch.syspath_prepend(EXAMPLE)
    recipe = str(EXAMPLE / "train_instruments.py")
    arguments = [data, "-o", tmp_path / "out", "--instruments", "flute", "--steps", "1"]
    arguments += ["--start", "violin"]
    monkeypatch.setattr(sys, "argv", [recipe, *map(str, arguments)])
    runpy.run_path(recipe, run_name="__main__")
    ours, statistics, provenance = load_instrument(tmp_path / "out" / "flute" / "flute")
    shipped, expected, theirs = load_instrument("flute")
    assert ours.config == shipped.config
    assert statistics.pitch_range_hz == expected.pitch_range_hz
    assert provenance["data"]["prepared"] == theirs["data"]["prepared"]
    assert provenance["data"]["licence"] == theirs["data"]["licence"]
    assert provenance["scores"].keys() == theirs["scores"].keys()
    assert provenance["phrases"]["notes"]["test"] == ["flute/71.0.flac"]
    names = [source["name"].split("/")[0] for source in provenance["data"]["sources"]]
    assert len(names) == 14
    rows = [line.split()[0] for line in capsys.readouterr().out.splitlines() if "spectral" in line]
    assert rows[:3] == ["model", "untrained", "additive"]


@pytest.fixture
def recipe(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLE)
    modules = [importlib.import_module(name) for name in ("recipes", "teacher")]
    yield modules
    for name in ("recipes", "teacher", "phrases"):
        sys.modules.pop(name, None)


def test_notes_without_splits_are_divided_by_pitch(recipe, shared_data):
    module, _ = recipe
    for name, counts in (("trumpet", (8, 1, 2)), ("flute2", (7, 1, 2))):
        rows = [
            module.note_rows(shared_data, module.NOTES[name], split)
            for split in ("train", "valid", "test")
        ]
        assert tuple(map(len, rows)) == counts
        files = [row["file"] for split in rows for row in split]
        assert len(set(files)) == sum(counts)
        # The pitch is the measured one: the names of the files are an octave or two off.
        midi = [float(row["midi"]) for row in rows[0]]
        assert midi == sorted(midi) and 50 < midi[0] and midi[-1] < 97


def test_each_recipe_begins_with_an_instrument_that_ships(recipe):
    assert {of.start for of in recipe[0].NOTES.values()} <= set(instrument_names())
    assert {"violin", *recipe[0].NOTES} == set(instrument_names())


class Teacher:
    """A model that plays harmonics of 1 / k at every pitch, and no noise."""

    config = types.SimpleNamespace(sample_rate=RATE, hop_length=64)

    def controls(self, f0_hz, loudness_db):
        distribution = jnp.ones((len(f0_hz), 8)) / jnp.arange(1.0, 9.0)[None]
        distribution = core.normalize_harmonics(distribution, f0_hz, sample_rate=RATE)
        harmonic = HarmonicControls(f0_hz, 10 ** (loudness_db / 20), distribution)
        return harmonic, NoiseControls(jnp.zeros((len(f0_hz), 5)))


def test_a_teacher_plays_with_the_spectrum_of_the_notes(recipe, phrases, tmp_path):
    """Notes of harmonics 1 / k^2: so loud are the harmonics of what the teacher plays."""
    _, module = recipe
    time_s = np.arange(2 * RATE) / RATE
    notes = []
    for midi in (57.0, 69.0):
        f0_hz = 440 * 2 ** ((midi - 69) / 12)
        sound = sum(np.sin(2 * np.pi * k * f0_hz * time_s) / k**2 for k in range(1, 9))
        notes.append(phrases.note(midi, 0.2 * sound))
    statistics = load_instrument("violin").statistics
    melody = sum(np.sin(2 * np.pi * k * 330 * time_s) for k in range(1, 6))
    io.write_audio(tmp_path / "melody.wav", 0.1 * melody, sample_rate=RATE)
    taught = types.SimpleNamespace(model=Teacher(), statistics=statistics)
    (played,) = module.lessons([tmp_path / "melody.wav"], taught, notes)
    assert abs(np.abs(played).max() - 0.9) < 1e-3
    harmonics = module.harmonics_of(played, 64.02, 8)
    expected = 1 / np.arange(1, 9) ** 2
    np.testing.assert_allclose(harmonics, expected / expected.sum(), rtol=0.1, atol=2e-3)
