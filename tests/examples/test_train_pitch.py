"""The pitch tracker's recipe: its labels are what it renders, and it measures recordings."""

import csv
from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile
from helpers import sine

from ddspx import core

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


def test_recordings_are_measured_and_drawn_from(sounds, tmp_path, monkeypatch):
    import train_pitch

    monkeypatch.setattr(train_pitch, "PHRASES", {"sources": ["tone.flac"]})
    monkeypatch.setattr(train_pitch, "BATCH", 2)
    monkeypatch.setattr(train_pitch, "REPLAYED", 1)
    tone = sine(440.0, 40_000, sample_rate=16_000, amplitude=0.3)
    for folder in ("sources", "solo_notes"):
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "tone.flac", tone, 16_000)
    with open(tmp_path / "solo_notes" / "metadata.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "instrument", "midi", "split"])
        writer.writerows([["tone.flac", "flute", "69.0", split] for split in ("train", "valid")])
    played = train_pitch.recordings(tmp_path, "train")
    assert len(played) == 2
    for measured in played:
        inner = slice(20, -20)
        np.testing.assert_allclose(measured.f0_hz[inner], 440, rtol=1e-3)
        np.testing.assert_allclose(measured.harmonics[inner, 0], 0.3, rtol=0.05)
        assert measured.harmonics[inner, 1:].max() < 1e-3
    clips = train_pitch.draw(np.random.default_rng(0), played)
    assert clips.f0_hz.shape == (2, sounds.N_CONTROLS)
    assert clips.harmonics.dtype == np.float32
