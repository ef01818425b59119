"""The pitch tracker's recipe: its labels are what it renders, and it measures recordings."""

import csv
import json
from argparse import Namespace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from helpers import noise, quick_jit, sine

from ddspx import core
from ddspx.models.pitch import PitchConfig, load_pitch_tracker

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
    audio, labels = jax.jit(sounds.render)(jax.random.key(0), sounds.stack([clip] * 8))
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


@pytest.fixture
def recipe(sounds, tmp_path, monkeypatch):
    """The training, on two recordings of a tone and in batches of two."""
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
        writer.writerow(["file", "instrument", "midi", "split", "licence", "source_repo", "commit"])
        for split in ("train", "valid"):
            writer.writerow(["tone.flac", "flute", "69.0", split, "CC0-1.0", "someone/flute", "c0"])
    (tmp_path / "solo_notes" / "LICENCES.md").write_text("Recorded by someone.")
    return train_pitch


def test_recordings_are_measured_and_drawn_from(recipe, sounds, tmp_path):
    found = recipe.recordings(tmp_path, "train")
    assert list(found) == ["sources/tone.flac", "solo_notes/tone.flac"]
    played = list(found.values())
    for measured in played:
        inner = slice(20, -20)
        np.testing.assert_allclose(measured.f0_hz[inner], 440, rtol=1e-3)
        np.testing.assert_allclose(measured.harmonics[inner, 0], 0.3, rtol=0.05)
        assert measured.harmonics[inner, 1:].max() < 1e-3
    clips = recipe.draw(np.random.default_rng(0), played)
    assert clips.f0_hz.shape == (2, sounds.N_CONTROLS)
    assert clips.harmonics.dtype == np.float32


def test_the_sources_are_named_as_their_folders_name_them(recipe, tmp_path):
    said = recipe.sources(tmp_path, ["sources/tone.flac", "solo_notes/tone.flac"])
    keys = ("folder", "licence", "source_repo", "commit", "recordings")
    rows = [
        ("solo_notes", "CC0-1.0", "someone/flute", "c0", 1),
        ("sources", "not stated", "not stated", "not stated", 1),
    ]
    assert said["sources"] == [dict(zip(keys, row, strict=True)) for row in rows]
    assert said["notices"] == {"solo_notes": "Recorded by someone."}


def test_the_voicing_is_moved_to_the_fewest_mistakes(recipe, sounds):
    """Between what a network says of a tone and of silence, wherever that was."""
    model = load_pitch_tracker()
    model.voicing.bias[...] = model.voicing.bias[...] + 2.5
    time_s = np.arange(8192) / 16_000
    tone = sum(np.sin(2 * np.pi * 200 * k * time_s) / k for k in range(1, 6))
    audio = jnp.asarray(np.stack([0.1 * tone, 1e-3 * noise(8192)]), jnp.float32)
    pitched = np.broadcast_to([[True], [False]], (2, 33))
    scored = np.broadcast_to(np.arange(33) % 32 > 5, (2, 33)).astype(float)
    labels = sounds.Labels(np.full((2, 33), 200.0), pitched, scored, scored)
    recipe.calibrate(model, [(audio, labels)])
    said = np.asarray(quick_jit(lambda audio: model(audio).voicing)(audio)) > 0
    assert (said == pitched)[scored > 0].all()


@pytest.mark.slow
def test_training_makes_a_tracker(recipe, tmp_path, monkeypatch):
    config = PitchConfig(channels=2)
    monkeypatch.setattr(recipe, "PitchConfig", lambda: config)
    out = tmp_path / "results"
    options = {"steps": 2, "learning_rate": 3e-3, "start": None, "seed": 0}
    recipe.main(Namespace(recordings=tmp_path, output=str(out), **options))
    assert load_pitch_tracker(folder=out / "model").config == config
    assert (out / "curve.txt").read_text().startswith("2 ")
    provenance = json.loads((out / "model" / "provenance.json").read_text())
    assert (provenance["steps"], provenance["seed"]) == (2, 0)
    assert provenance["started_from"] is None
    assert provenance["notices"] == {"solo_notes": "Recorded by someone."}
    assert [row["licence"] for row in provenance["sources"]] == ["CC0-1.0", "not stated"]


# The comparison with others


@pytest.fixture
def evaluation(sounds):
    import evaluate_pitch

    return evaluate_pitch


FRAMES = 101
VOICED = np.arange(FRAMES) < 60


def write_track(folder, tracker, name, f0_hz, confidence):
    (folder / tracker).mkdir(exist_ok=True)
    for level in ("None", "20", "10", "0"):
        np.savez(
            folder / tracker / f"{name}.{level}.npz",
            time_s=np.arange(FRAMES) * 0.01,
            f0_hz=f0_hz,
            confidence=confidence,
            seconds=0.5,
        )


def test_the_report_counts_what_is_right(evaluation, tmp_path):
    name, f0_hz = "replayed.singing.a", np.full(FRAMES, 220.0)
    truth = evaluation.Truth(f0_hz, VOICED, VOICED, np.ones(FRAMES, bool))
    evaluation.save(tmp_path, name, sine(220, 16_000, sample_rate=16_000), truth)
    write_track(tmp_path, "ddspx", name, f0_hz, VOICED.astype(float))
    # An octave too high in a fifth of the notes; below its threshold in the others' second half.
    octave = np.where(np.arange(FRAMES) < 12, 440.0, 220.0)
    sure = np.where(np.arange(FRAMES) < 30, 0.95, 0.8)
    write_track(tmp_path, "swift_f0", name, octave, sure)
    *_, row = [
        x for x in evaluation.report(tmp_path, ["ddspx", "swift_f0"]).splitlines() if "0 dB" in x
    ]
    right = "100.0 [100.0, 100.0] / 0.0 / 100.0 / 0.0 / 0.0"
    other = "80.0 [80.0, 80.0] / 20.0 / 50.0 / 0.0 / 0.0"
    assert row == f"| singing (1) | 0 dB | {right} | {other} |"
    assert evaluation.speed(tmp_path, ["ddspx"]) == "ddspx: 5.000 s for 10 s of sound"
    clean, noisy = (np.load(tmp_path / f"{name}.{level}.npy") for level in (None, 10))
    ratio = np.mean(clean**2) / np.mean((noisy - clean) ** 2)
    assert 10 * np.log10(ratio) == pytest.approx(10, abs=0.2)


def test_what_three_of_four_say_is_agreed_upon(evaluation, tmp_path):
    name, rivals = "agreed.singing.a", ["swift_f0", "crepe_tiny", "crepe_full", "pyin"]
    evaluation.save(tmp_path, name, np.ones(16_000), None)
    # They part on the pitch in the first tenth, and on there being one in the last tenth.
    frame = np.arange(FRAMES)
    for i, rival in enumerate(rivals):
        f0_hz = np.where(frame < 10, 200.0 * 1.5**i, 220.0 * (1.5 if i == 3 else 1.001**i))
        write_track(tmp_path, rival, name, f0_hz, np.where(frame < (91 if i < 2 else 60), 1.0, 0.0))
    truth = evaluation.truth_of(tmp_path, name, rivals)
    np.testing.assert_array_equal(truth.is_voiced, (frame >= 10) & (frame < 60))
    assert np.abs(1200 * np.log2(truth.f0_hz[truth.is_voiced] / 220)).max() < 4
    np.testing.assert_array_equal(truth.scores_pitch, truth.is_voiced)
    np.testing.assert_array_equal(truth.scores_voicing, truth.is_voiced | (frame >= 91))


def test_between_frames_a_leap_is_not_bridged(evaluation, tmp_path):
    path = tmp_path / "track.npz"
    np.savez(
        path, time_s=[0.0, 0.04, 0.08], f0_hz=[220.0, 440.0, 450.0], confidence=[0.0, 1.0, 1.0]
    )
    f0_hz, confidence = evaluation.track_at_frames(path, 9)
    np.testing.assert_allclose(f0_hz[:5], [220, 220, 220, 440, 440])
    np.testing.assert_allclose(f0_hz[6], np.sqrt(440 * 450))
    np.testing.assert_allclose(confidence[:5], [0, 0.25, 0.5, 0.75, 1])
