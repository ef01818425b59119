"""The pitch tracker's recipe: its labels are what it renders, and it measures recordings."""

import csv
import dataclasses
import functools
import json
from argparse import Namespace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from flax import nnx
from helpers import noise, quick_jit, sine
from scipy import signal

from ddspx import core
from ddspx.models.pitch import (
    PitchConfig,
    PitchTracker,
    load_pitch_tracker,
    save_pitch_tracker,
)

EXAMPLE = Path(__file__).parents[2] / "examples" / "train_pitch"


@pytest.fixture
def sounds(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLE))
    import sounds

    return sounds


@pytest.fixture
def inventions(sounds):
    import inventions

    return inventions


def clip(inventions, **changes):
    """A clean tone of 300 Hz with a rest, without anything around it."""
    frames, bands = inventions.N_CONTROLS, np.ones(inventions.N_BANDS)
    sounding = (np.arange(frames) < 150) | (np.arange(frames) > 250)
    harmonics = np.zeros((frames, inventions.N_HARMONICS))
    harmonics[:, :5] = 0.2 * sounding[:, None]
    quiet = {"snr_db": 70.0, "reverb_s": 0.3, "reverb_db": -200.0, "bleed_db": -200.0}
    none = dict.fromkeys(("codec_db", "offset", "drive", "is_copied"), 0.0)
    controls = {
        "f0_hz": np.full(frames, 300.0),
        "played_hz": np.full(frames, 300.0),
        "harmonics": harmonics,
        "sounding": sounding * 1.0,
        "noise": np.zeros((frames, inventions.N_BANDS)),
        "background": np.ones((frames, inventions.N_BANDS)),
        "recorded": np.zeros(inventions.N_SAMPLES),
        "equalizer": bands,
        "line": bands,
        "hum_hz": 50.0,
        "hum": np.zeros(inventions.N_HUM),
        "level_db": -20.0,
    }
    return inventions.Controls(**controls | quiet | none | changes)


def test_labels_equal_the_rendered_pitch(sounds, inventions):
    """Pitch, voicing and weights are as drawn, to the frame, whatever lies in the rest."""
    hum = 0.1 * np.ones(inventions.N_HUM)
    silent = {"harmonics": np.zeros((inventions.N_CONTROLS, inventions.N_HARMONICS))}
    clips = [
        clip(inventions),
        clip(inventions, reverb_db=0.0, reverb_s=1.0),
        clip(inventions, bleed_db=-30.0),  # of the clip before
        clip(inventions, hum=hum),
        clip(inventions, sounding=0 * hum[0] * np.ones(inventions.N_CONTROLS), **silent),
    ]
    render = jax.jit(functools.partial(sounds.render, hop_length=256))
    audio, labels = render(jax.random.key(0), sounds.stack(clips))
    voiced, weight = np.asarray(labels.is_voiced), np.asarray(labels.voicing_weight)
    assert voiced[:4, 4:74].all() and voiced[:4, 126:-4].all()
    # The rest is certain, though the room rings on, something hums, or another clip plays.
    assert not voiced[:, 76:124].any() and not voiced[4].any()
    np.testing.assert_array_equal(weight[:4, 76:124], 1)
    np.testing.assert_array_equal(weight[4], 1)
    np.testing.assert_array_equal(labels.pitch_weight[0][4:74], 1)
    np.testing.assert_allclose(labels.f0_hz, 300.0, rtol=1e-5)
    rms = np.asarray(core.rms(audio, hop_length=256, win_length=512))
    assert np.all(rms[0, 80:120] < 1e-6 * rms[0].max())
    assert np.all(rms[1:4, 80:85] > 1e-3 * rms[1:4].max(1, keepdims=True))
    spectrum = np.abs(np.fft.rfft(np.asarray(audio)[0][:16_000] * np.hanning(16_000)))
    assert np.argmax(spectrum[250:350]) == 50


def test_every_drawn_clip_is_audible_and_finite(sounds, inventions):
    rng = np.random.default_rng(0)
    noises = [noise(8000)]
    clips = sounds.stack([inventions.invent(rng, noises) for _ in range(5)])
    render = jax.jit(functools.partial(sounds.render, hop_length=160))
    shares = []
    for seed in range(2):
        audio, labels = render(jax.random.key(seed), clips)
        assert np.isfinite(audio).all() and labels.f0_hz.shape == (5, 321)
        assert np.all(np.sqrt(np.mean(np.square(audio), axis=-1)) > 1e-4)
        lowest, highest = inventions.LOWEST_HZ, inventions.HIGHEST_HZ
        assert np.all((labels.f0_hz > lowest - 1) & (labels.f0_hz < highest + 1))
        shares.append([float(np.mean(np.asarray(x, float))) for x in labels[1:]])
    voiced, of_pitch, of_voicing = np.mean(shares, axis=0)
    assert 0.2 < voiced < 0.9 and of_pitch > 0.2 and of_voicing > 0.7


def test_subharmonics_lie_halfway_between_the_harmonics(inventions):
    harmonics = np.ones((inventions.N_CONTROLS, inventions.N_HARMONICS))
    rng = np.random.default_rng(0)
    played_hz, lines = inventions._with_subharmonics(
        rng, np.full(inventions.N_CONTROLS, 200.0), harmonics
    )
    np.testing.assert_array_equal(played_hz, 100)
    np.testing.assert_array_equal(lines[:, 1::2], 1)
    assert 0.02 < lines[:, ::2].min() and lines[:, ::2].max() < 0.4


@pytest.fixture
def recipe(sounds, tmp_path, monkeypatch):
    """The training, on two recordings of a tone and in batches of two."""
    import train_pitch

    monkeypatch.setattr(train_pitch, "PHRASES", {"sources": ["tone.flac"]})
    monkeypatch.setattr(train_pitch, "BATCH", 2)
    monkeypatch.setattr(train_pitch, "REPLAYED", 1)
    tone = sine(440.0, 40_000, sample_rate=16_000, amplitude=0.3)
    monkeypatch.setattr(train_pitch, "SPEECH", ["tone.flac"])
    for folder in ("sources", "solo_notes", "esc10"):
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "tone.flac", tone, 16_000)
    with open(tmp_path / "esc10" / "metadata.csv", "w", newline="") as file:
        rows = [("file", "label", "fold"), ("tone.flac", "rain", "1"), ("tone.flac", "rain", "4")]
        csv.writer(file).writerows(rows)
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
    around = recipe.noises(tmp_path, "train")
    # One recording, because the fourth fold is for tests, and babble.
    assert [name for name in around if "/" in name] == ["esc10/tone.flac"]
    assert len(around) == 1 + recipe.BABBLES
    clips = recipe.draw(np.random.default_rng(0), played, list(around.values()))
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


@pytest.mark.slow
def test_calibration_restores_the_log_odds(recipe, sounds):
    """Voicing that is scaled and shifted by hand comes back; the sounds draw the truth from it."""
    model = load_pitch_tracker()
    audio = jnp.asarray(0.1 * noise(4, 8192), jnp.float32)
    voicing = quick_jit(lambda model, audio: model(audio).voicing)
    mean = jnp.asarray(jnp.mean(voicing(model, audio)), jnp.float32)
    model.voicing.bias[...] = model.voicing.bias[...] - mean
    odds = np.asarray(voicing(model, audio))
    rng = np.random.default_rng(0)
    sounding = rng.random((200, *odds.shape)) < 1 / (1 + np.exp(-odds))
    weight = np.ones(odds.shape)
    labels = [sounds.Labels(100 * weight, drawn, weight, weight) for drawn in sounding]
    model.voicing.kernel[...] = model.voicing.kernel[...] / 3
    model.voicing.bias[...] = model.voicing.bias[...] / 3 + 1
    scale, shift = recipe.calibrate(model, [(audio, drawn) for drawn in labels])
    assert scale == pytest.approx(3, rel=0.1) and shift == pytest.approx(-3, rel=0.15)
    np.testing.assert_allclose(voicing(model, audio), odds, atol=0.3)


@pytest.mark.slow
def test_training_makes_a_tracker(recipe, tmp_path, monkeypatch):
    config = PitchConfig(channels=2)
    monkeypatch.setattr(recipe, "PitchConfig", lambda: config)
    out = tmp_path / "results"
    options = {"steps": 2, "learning_rate": 3e-3, "start": None, "seed": 0, "live": False}
    recipe.main(Namespace(recordings=tmp_path, output=str(out), **options))
    assert load_pitch_tracker(folder=out / "model").config == config
    assert (out / "curve.txt").read_text().startswith("2 ")
    provenance = json.loads((out / "model" / "provenance.json").read_text())
    assert (provenance["steps"], provenance["seed"]) == (2, 0)
    assert provenance["started_from"] is None
    assert provenance["notices"] == {"solo_notes": "Recorded by someone."}
    licences = [row["licence"] for row in provenance["sources"]]
    assert licences == ["not stated", "CC0-1.0", "not stated"]


# The comparison with others


@pytest.fixture
def evaluation(sounds):
    import played_again

    return played_again


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
    clean, noisy = (soundfile.read(tmp_path / f"{name}.{level}.wav")[0] for level in (None, 10))
    ratio = np.mean(clean**2) / np.mean((noisy - clean) ** 2)
    assert 10 * np.log10(ratio) == pytest.approx(10, abs=0.2)


def test_frames_on_which_three_of_four_trackers_agree_are_used(evaluation, tmp_path):
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


def test_leaps_between_frames_are_not_interpolated(evaluation, tmp_path):
    path = tmp_path / "track.npz"
    np.savez(
        path, time_s=[0.0, 0.04, 0.08], f0_hz=[220.0, 440.0, 450.0], confidence=[0.0, 1.0, 1.0]
    )
    f0_hz, confidence = evaluation.track_at_frames(path, 9)
    np.testing.assert_allclose(f0_hz[:5], [220, 220, 220, 440, 440])
    np.testing.assert_allclose(f0_hz[6], np.sqrt(440 * 450))
    np.testing.assert_allclose(confidence[:5], [0, 0.25, 0.5, 0.75, 1])


def test_scores_are_what_mir_eval_says(sounds):
    """Of 100 frames, 60 have a pitch: 15 of them are an octave off and 12 are called unvoiced."""
    import scores

    frame = np.arange(100)
    truth = 0.01 * frame, np.where(frame < 60, 220.0, 0.0)
    confidence = np.where((frame >= 12) & (frame < 70), 0.9, 0.1)
    track = scores.Track(truth[0], np.where(frame < 15, 440.0, 221.0), confidence)
    found = scores.score(truth, track, 0.5)
    expected = {"pitch": 45 / 60, "recall": 48 / 60, "false_alarms": 10 / 40, "overall": 75 / 100}
    assert found == pytest.approx(expected)
    assert scores.score(truth, track, 0.95)["recall"] == 0
    silent = scores.score((truth[0], 0 * truth[1]), track, 0.5)
    assert np.isnan([silent["pitch"], silent["recall"]]).all()
    assert silent["false_alarms"] == pytest.approx(0.58)
    # A reference that begins later is scored from there.
    late = scores.score((truth[0][5:60], truth[1][5:60]), track, 0.5)
    assert late["pitch"] == pytest.approx(45 / 55) and np.isnan(late["false_alarms"])
    is_voiced, sure = scores.confidences(truth, track)
    np.testing.assert_array_equal(is_voiced, frame < 60)
    np.testing.assert_allclose(sure, confidence)


def test_a_lag_is_found(sounds, tmp_path):
    import scores

    time_s = np.arange(0, 1, 0.005)
    f0_hz = 200 * 2.0 ** np.sin(2 * np.pi * 2 * time_s)
    early = {"time_s": time_s - 0.012, "f0_hz": f0_hz, "confidence": np.ones(len(time_s))}
    np.savez(tmp_path / "track.npz", **early)
    lag_s = scores.best_lag([(time_s[:180], f0_hz[:180])], [tmp_path / "track.npz"])
    assert lag_s == pytest.approx(0.012, abs=1e-3)


def test_the_table_of_scores_has_intervals_over_files(sounds):
    import scores

    def row(x):
        return {"pitch": x, "recall": np.nan, "false_alarms": x / 10, "overall": 1.0}

    rows = {"a": [row(x) for x in (0.8, 0.9, 1.0)]}
    # The least and the greatest of 27 equally probable draws are more than 2.5 % each.
    assert scores.interval([0.8, 0.9, 1.0]) == pytest.approx((0.8, 1.0))
    *_, line = scores.table({"notes": rows | {"b": rows["a"][:1]}}).splitlines()
    ends = "1.000 [1.000, 1.000] | .800 / - / .080 / 1.000 |"
    assert line == f"| notes | 3 | .900 [.800, 1.000] / - / .090 / {ends}"


@pytest.fixture
def short(sounds, monkeypatch):
    """The hard sounds, of a second and a half each."""
    import stress

    monkeypatch.setattr(stress, "SECONDS", 1.5)
    return stress


def test_hard_pitch_is_what_sounds(short, rng):
    """The phase of a whistle turns as often as its reference says."""
    audio, sample_rate, time_s, f0_hz = short.whistle(2200, 4100)(rng)
    band = signal.butter(4, (1500, 4300), "bandpass", fs=sample_rate, output="sos")
    turns = np.unwrap(np.angle(signal.hilbert(signal.sosfiltfilt(band, audio)))) / (2 * np.pi)
    slope_hz = np.gradient(turns)[:: sample_rate // 200] * sample_rate
    cents = 1200 * np.log2(slope_hz / f0_hz)[10:-10]
    assert abs(np.median(cents)) < 2 and np.quantile(np.abs(cents), 0.9) < 50
    np.testing.assert_allclose(np.diff(time_s), 0.005)


def test_the_tail_of_a_room_has_no_pitch(short, rng):
    """Its reference is silent from the end of each note; there it is 25 to 60 dB weaker."""
    audio, sample_rate, time_s, f0_hz = short.room((0.0, 0.02))(rng)
    at = np.round(time_s * sample_rate).astype(int)
    # The first frame is before all notes.
    after, notes = at[1:][f0_hz[1:] == 0], at[f0_hz > 0]
    level = [short.rms(np.concatenate([audio[i : i + 40] for i in x])) for x in (notes, after)]
    assert 20 < 20 * np.log10(level[0] / level[1]) < 65
    assert set(np.diff(after)) <= {80, *range(1600, 24_000)}


def test_what_has_no_pitch_has_none_anywhere(short, rng):
    for audio, sample_rate, time_s, f0_hz in (
        short.phone_noise(rng),
        short.whistle(4600, 7500, in_range=False)(rng),
    ):
        assert time_s[-1] < len(audio) / sample_rate < time_s[-1] + 0.01
        assert not f0_hz.any() and np.isfinite(audio).all()


def test_babble_is_of_speakers_who_were_not_in_training(short, rng, tmp_path):
    """Each says tones of a frequency of its own: four to six of them, and never one twice."""
    (tmp_path / "fsdd").mkdir()
    rows, lines_hz = [("file", "speaker")], 500 + 100 * np.arange(6)
    for speaker, hz in enumerate(lines_hz):
        tone = sine(float(hz), 4000, sample_rate=8000, amplitude=0.1 + 0.1 * speaker)
        soundfile.write(tmp_path / "fsdd" / f"{speaker}.flac", tone, 8000)
        rows.append((f"{speaker}.flac", speaker))
    with open(tmp_path / "fsdd" / "metadata.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    audio, sample_rate, time_s, f0_hz = short.babble(rng, tmp_path)
    assert len(audio) == 24_000 and time_s[-1] == pytest.approx(1.495) and not f0_hz.any()
    assert short.rms(audio) == pytest.approx(0.1)
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(len(audio))))
    level_db = 20 * np.log10(spectrum[np.round(lines_hz * 24_000 / sample_rate).astype(int)])
    sounding = level_db > level_db.max() - 20
    assert 4 <= sounding.sum() <= 6
    assert np.ptp(level_db[sounding]) < 8


class Count(nnx.Module):
    """Counts its steps, of which each must be 10 ms; a tracker takes seconds to compile."""

    config = PitchConfig.live()

    def init(self):
        return jnp.zeros(())

    def step(self, state, block):
        assert block.shape == (160,)
        return state + 1, (state, block)


def test_the_time_of_a_live_step_is_measured(sounds, monkeypatch):
    import speed

    monkeypatch.setattr(speed, "load_pitch_tracker", lambda live: Count())
    monkeypatch.setattr(speed, "STEPS", 3)
    steps = speed.live_steps(np.asarray(noise(441), np.float32), 44_100)
    assert np.shape(steps) == (3, 2) and np.min(steps) > 0
    text = speed.report_delays({"a step": [(0.002, 0.001), (0.002, 0.001), (0.009, 0.003)]})
    assert text.splitlines()[2] == "| a step | 3 | 2.00 | 8.86 | 9.00 | 2.96 |"


def test_the_processor_time_is_a_median_of_turns(sounds):
    import speed

    text = speed.report({"ddspx": [0.02, 0.01, 0.09], "yin": [0.5]}, 10.0)
    assert text.splitlines()[2:] == ["| ddspx | 20 | 10 to 90 |", "| yin | 500 | 500 to 500 |"]


@pytest.fixture
def results(sounds, tmp_path):
    """A part of the comparison: a sound in every set of the pictures, and what two trackers say."""
    import pictures
    import truth

    time_s = 0.01 * np.arange(100)
    f0_hz = np.where(time_s < 0.6, 220.0, 0.0)
    for set_name, part in pictures.CURVES.items():
        folder = tmp_path / part
        sound = truth.Sound("a", 0.1 * noise(16_000), 16_000, time_s, f0_hz)
        # The first is sure of 0.6 to 0.7 s too, the other hears an octave above.
        for tracker, found_hz, end_s in (("ddspx", 220.0, 0.7), ("swift_f0", 440.0, 0.6)):
            (folder / tracker).mkdir(parents=True, exist_ok=True)
            track = {"time_s": time_s, "f0_hz": np.full(100, found_hz)}
            track["confidence"] = np.where(time_s < end_s - 0.005, 0.95, 0.05)
            np.savez(folder / tracker / f"{set_name}.a.npz", **track)
        truth.store(folder, set_name, sound)
        (folder / "lags.json").write_text('{"ddspx": 0.0, "swift_f0": 0.0}')
    return tmp_path


def test_a_part_is_scored_beside_an_earlier_run(results):
    import evaluate_pitch

    first = evaluate_pitch.report(results / "stress", None)
    assert "| hum | 1 | 1.000 / 1.000 / .250 / .900 | .000 / 1.000 / .000 / .400 |" in first
    later = evaluate_pitch.report(results / "stress", results)
    assert "| set | files | ddspx before | ddspx | swift-f0 (0.9) | swift-f0 (0.5) |" in later


def test_every_tracker_of_ddspx_has_a_column_and_one_for_an_earlier_run(sounds):
    import evaluate_pitch

    by_column = {name: [] for name in evaluate_pitch.COLUMNS}
    shown = evaluate_pitch.with_earlier({"hum": by_column}, {"hum": by_column})["hum"]
    ours = ["ddspx", "ddspx-live", "ddspx yin", "ddspx pyin"]
    assert list(shown) == [f"{name} before" for name in ours] + list(by_column)
    assert len(evaluate_pitch.METHODS) == len(ours)


@pytest.mark.parametrize("is_live", [False, True])
def test_a_model_takes_the_place_of_the_one_of_its_kind(sounds, tmp_path, monkeypatch, is_live):
    import evaluate_pitch

    from ddspx.models.pitch import serialization

    for name in ("_SHIPPED", "_SHIPPED_LIVE"):  # so that they come back
        monkeypatch.setattr(serialization, name, getattr(serialization, name))
    kind = PitchConfig.live() if is_live else PitchConfig()
    config = dataclasses.replace(kind, channels=1)
    save_pitch_tracker(tmp_path / "model", PitchTracker(config, rngs=nnx.Rngs(0)), provenance={})
    evaluate_pitch.use_model(tmp_path / "model")
    assert load_pitch_tracker(live=is_live).config == config
    assert load_pitch_tracker(live=not is_live).config.channels > 1


def test_sounds_that_are_not_complete_are_made_again(sounds, tmp_path, monkeypatch):
    import evaluate_pitch
    import truth

    made = [
        ("hum", truth.Sound(name, 0.1 * noise(800), 16_000, *np.zeros((2, 1)))) for name in "ab"
    ]

    def interrupted(data):
        yield made[0]
        raise KeyboardInterrupt

    folder = tmp_path / "results" / "stress"
    monkeypatch.setitem(evaluate_pitch.MAKERS, "stress", (interrupted,))
    with pytest.raises(KeyboardInterrupt):
        evaluate_pitch.make_sounds("stress", tmp_path, folder)
    assert not folder.exists()
    monkeypatch.setitem(evaluate_pitch.MAKERS, "stress", (lambda data: made,))
    evaluate_pitch.make_sounds("stress", tmp_path, folder)
    # They are complete, so nothing is made.
    monkeypatch.setitem(evaluate_pitch.MAKERS, "stress", (interrupted,))
    evaluate_pitch.make_sounds("stress", tmp_path, folder)
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"hum.{name}{end}" for name in "ab" for end in (".truth.npz", ".wav")]
    assert list(folder.parent.iterdir()) == [folder]


def test_pictures_show_recall_and_reliability(results, monkeypatch):
    import pictures

    figure = pictures.draw_roc(results)
    _, dot = figure.axes[0].lines[:2]
    np.testing.assert_allclose(dot.get_xydata(), [[0.25, 1.0]])
    reliability = pictures.draw_reliability(results)
    # In the bin above 0.9, 60 of 70 frames have a pitch; below 0.1, none of 30.
    np.testing.assert_allclose(
        reliability.axes[0].lines[0].get_xydata(), [[0.05, 0], [0.95, 60 / 70]]
    )
    monkeypatch.setattr(pictures, "EXCERPTS", {"song": ("singing.a", 0.1, 0.8, (100, 900))})
    above, below = pictures.draw_excerpt(results, "song").axes[:2]
    assert [line.get_label() for line in above.lines] == ["reference", "swift-f0 (0.9)", "ddspx"]
    assert below.get_xlim() == (0.1, 0.8)
    pictures.plt.close("all")
