"""The pitch tracker's recipe: its labels are what it renders, and one step makes a model."""

import csv
import runpy
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile
from helpers import sine

from ddspx import core
from ddspx.models.pitch import load_pitch_tracker

EXAMPLE = Path(__file__).parents[2] / "examples" / "train_pitch"


@pytest.fixture
def sounds(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLE))
    import sounds

    return sounds


def test_labels_say_what_is_rendered(sounds):
    """A clean voice with a rest: pitch, voicing and weights are as drawn, to the frame."""
    frames = sounds.N_CONTROLS
    f0_hz = np.full(frames, 300.0)
    on = (np.arange(frames) < 150) | (np.arange(frames) > 250)
    harmonics = np.zeros((frames, sounds.N_HARMONICS))
    harmonics[:, :5] = 0.2 * on[:, None]
    bands = np.ones((frames, sounds.N_BANDS))
    clip = sounds.Controls(
        f0_hz, harmonics, 0 * bands, bands, 70.0, bands[0], 0.3, -200.0, -20.0, 0.0
    )
    audio, labels = jax.jit(sounds.render)(jax.random.key(0), sounds.stack([clip]))
    voiced = np.asarray(labels.is_voiced)[0]
    assert voiced[4:72].all() and voiced[129:-4].all()
    assert not voiced[80:120].any()
    np.testing.assert_array_equal(labels.voicing_weight[0][80:120], 1)
    np.testing.assert_array_equal(labels.pitch_weight[0][4:72], 1)
    np.testing.assert_allclose(labels.f0_hz, 300.0)
    rms = np.asarray(core.rms(audio, hop_length=256, win_length=512))[0]
    assert np.all(rms[80:120] < 1e-6 * rms.max())
    spectrum = np.abs(np.fft.rfft(np.asarray(audio)[0][:16_000] * np.hanning(16_000)))
    assert np.argmax(spectrum[250:350]) == 50


def test_every_drawn_clip_is_audible_and_finite(sounds):
    rng = np.random.default_rng(0)
    clips = sounds.stack([sounds.invent(rng) for _ in range(8)])
    audio, labels = jax.jit(sounds.render)(jax.random.key(0), clips)
    assert np.isfinite(audio).all()
    assert np.all(np.sqrt(np.mean(np.square(audio), axis=-1)) > 1e-4)
    assert np.all((labels.f0_hz >= sounds.LOWEST_HZ) & (labels.f0_hz <= sounds.HIGHEST_HZ + 1))
    shares = [float(np.mean(np.asarray(x, float))) for x in labels[1:]]
    assert 0.3 < shares[0] < 0.9 and min(shares[1:]) > 0.3


@pytest.mark.slow
def test_one_step_of_the_recipe_makes_a_tracker(sounds, tmp_path, monkeypatch):
    data = tmp_path / "data"
    recipe = runpy.run_path(str(EXAMPLE / "train_pitch.py"))
    tone = sine(440.0, 40_000, sample_rate=16_000, amplitude=0.3)
    for folder, files in recipe["PHRASES"].items():
        (data / folder).mkdir(parents=True)
        for file in files:
            soundfile.write(data / folder / file, tone, 16_000)
    (data / "solo_notes").mkdir()
    soundfile.write(data / "solo_notes" / "note.flac", tone, 16_000)
    with open(data / "solo_notes" / "metadata.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "instrument", "midi", "split"])
        writer.writerows([["note.flac", "flute", "69.0", split] for split in ("train", "valid")])
    out = tmp_path / "results"
    arguments = ["train_pitch.py", str(data), "-o", str(out), "--steps", "1"]
    monkeypatch.setattr(sys, "argv", arguments)
    runpy.run_path(str(EXAMPLE / "train_pitch.py"), run_name="__main__")
    made, shipped = load_pitch_tracker(folder=out / "model"), load_pitch_tracker()
    assert made.config == shipped.config
    assert "valid" in (out / "curve.txt").read_text()
