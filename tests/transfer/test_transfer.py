"""From file to file: length, pitch and level, blocks, memory, and nothing left after an error."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import PEAK_KB
from modules import of_parts
from toy_instrument import HOP, SAMPLE_RATE, save_toy_instrument, tone

import ddspx
from ddspx import core, io
from ddspx.features import conditioning_features
from ddspx.models.autoencoder import Autoencoder, load_autoencoder
from ddspx.transfer import AdjustedControls, TransferConfig, plot_transfer, render, transfer


@pytest.fixture(scope="module")
def instrument(tmp_path_factory):
    return save_toy_instrument(tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("recordings") / "tone.wav"
    io.write_audio(path, tone(1.5), sample_rate=SAMPLE_RATE)
    return path


def played_tracks(rng, frames, gain=1.0):
    """A sound to play: leaps of pitch in which harmonics come and go at Nyquist."""
    midi = np.repeat(rng.uniform(40.0, 100.0, -(-frames // 7)), 7)[:frames]
    return AdjustedControls(
        (440.0 * 2 ** ((midi - 69) / 12)).astype(np.float32),
        rng.uniform(-40.0, -10.0, frames).astype(np.float32),
        np.full(frames, gain, np.float32),
        np.ones(frames, bool),
        0,
        0.0,
    )


# Values


@pytest.mark.parametrize(("rate", "n_input"), [(16_000, 12_345), (44_100, 33_333), (8_000, 6_001)])
def test_the_output_is_as_long_as_the_input_to_the_sample(instrument, tmp_path, rate, n_input):
    source, output = tmp_path / "in.wav", tmp_path / "out.wav"
    io.write_audio(source, tone(1.0, sample_rate=rate)[:n_input], sample_rate=rate)
    report = transfer(source, output, to=instrument)
    heard = io.read_audio(source, sample_rate=SAMPLE_RATE)
    played = io.read_audio(output, sample_rate=SAMPLE_RATE)
    assert report.n_samples == heard.size == played.size
    assert abs(played.size - n_input * SAMPLE_RATE / rate) <= 0.5


@pytest.mark.parametrize(
    ("sample_rate", "hop_length"),
    [
        (44_100, 441),
        pytest.param(4_000, 40, marks=pytest.mark.slow),
        pytest.param(8_000, 32, marks=pytest.mark.slow),
    ],
)
def test_an_instrument_of_any_rate_plays(tmp_path, recording, sample_rate, hop_length):
    rates = {"sample_rate": sample_rate, "hop_length": hop_length}
    instrument = save_toy_instrument(tmp_path / "toy", **rates)
    report = transfer(recording, tmp_path / "out.wav", to=instrument)
    played = io.read_audio(tmp_path / "out.wav", sample_rate=sample_rate)
    assert played.size == report.n_samples == round(1.5 * sample_rate)
    np.testing.assert_allclose(report.source_f0_hz, 220.0, rtol=0.01)
    np.testing.assert_allclose(report.played_f0_hz, 440.0, rtol=0.01)
    assert np.abs(played).max() > 1e-3


def test_the_report_has_the_measured_and_chosen_values(instrument, recording, tmp_path):
    report = transfer(recording, tmp_path / "out.flac", to=instrument)
    assert report.sample_rate == SAMPLE_RATE
    assert report.confident_share > 0.95
    # A3 is an octave under the instrument's mean, A4.
    assert report.octaves == 1
    np.testing.assert_allclose(report.source_f0_hz, 220.0, rtol=0.01)
    np.testing.assert_allclose(report.played_f0_hz, 440.0, rtol=0.01)
    heard = conditioning_features(tone(1.5), sample_rate=SAMPLE_RATE, hop_length=HOP)
    assert abs(report.source_loudness_db.median - np.median(heard.loudness_db)) < 0.5
    assert report.played_loudness_db.low < report.played_loudness_db.high
    audio = io.read_audio(tmp_path / "out.flac", sample_rate=SAMPLE_RATE)
    assert abs(report.peak - np.abs(audio).max()) < 1e-4


def test_progress_goes_from_zero_to_the_duration(instrument, recording, tmp_path):
    told = []
    transfer(recording, tmp_path / "out.wav", to=instrument, progress=lambda *now: told.append(now))
    assert told[0] == ("listening", 1.5, None)
    assert told[-1] == ("playing", 1.5, 1.5)


@pytest.mark.parametrize("name", ["out.wav", "out.ogg"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning:matplotlib.*")
def test_the_picture_shows_the_measured_and_played_controls(instrument, recording, tmp_path, name):
    pytest.importorskip("matplotlib")
    config = TransferConfig(loudness_shift_db=-20.0)
    report = transfer(recording, tmp_path / name, to=instrument, config=config)
    figure = plot_transfer(recording, tmp_path / name, report)
    above, below = figure.axes[:2], figure.axes[2:]
    assert [axes.get_title() for axes in above] == ["tone.wav", name]
    for axes, f0_hz in zip(above, (220.0, 440.0), strict=True):
        np.testing.assert_allclose(np.nanmedian(axes.lines[0].get_ydata()), f0_hz, rtol=0.01)
        levels = axes.collections[0].get_array()
        edges = axes.collections[0].get_coordinates()[:, 0, 1]
        loudest = int(np.argmax(levels.mean(axis=1)))
        assert any(edges[loudest] < k * f0_hz < edges[loudest + 1] for k in range(1, 13))
    heard, asked = (axes.lines[0].get_ydata() for axes in below)
    np.testing.assert_array_equal(heard, report.heard.loudness_db)
    middle = slice(100, 200)
    expected = np.median(
        report.played.loudness_db[middle] + 20 * np.log10(report.played.gain[middle])
    )
    assert abs(np.median(asked[middle]) - expected) < 1e-3
    assert asked.min() >= -80.0


@pytest.mark.filterwarnings("ignore::DeprecationWarning:matplotlib.*", "ignore:.*unpitched")
def test_a_picture_of_a_silent_result_can_be_drawn(instrument, tmp_path, rng):
    pytest.importorskip("matplotlib")
    source, output = tmp_path / "in.wav", tmp_path / "out.wav"
    io.write_audio(source, 0.1 * rng.standard_normal(20_000), sample_rate=SAMPLE_RATE)
    report = transfer(source, output, to=instrument)
    assert report.peak < 1e-4
    figure = plot_transfer(source, output, report)
    assert np.isnan(figure.axes[1].lines[0].get_ydata()).all()


def test_at_gain_one_the_blocks_equal_the_output_of_the_model(instrument, rng):
    model, _, _ = load_autoencoder(instrument)
    n_samples = 130 * HOP + 17
    played = played_tracks(rng, 131)
    play = of_parts(Autoencoder.__call__, static=("n_samples",))
    f0_hz, loudness_db = jnp.asarray(played.f0_hz), jnp.asarray(played.loudness_db)
    whole = play(model, jax.random.key(5), f0_hz, loudness_db, n_samples=n_samples)
    blocks = list(render(model, played, n_samples=n_samples, seed=5, block_hops=50))
    # The first comes after the look-ahead of the limiter, 5 ms.
    assert [block.size for block in blocks] == [50 * HOP - 80, 50 * HOP, 30 * HOP + 17 + 80]
    np.testing.assert_allclose(np.concatenate(blocks), whole, atol=2e-5)


# Physics


def test_at_gain_zero_only_the_reverb_remains(instrument, rng):
    model, _, _ = load_autoencoder(instrument)
    played = played_tracks(rng, 101)
    played.gain[40:] = 0.0
    audio = np.concatenate(list(render(model, played, n_samples=100 * HOP)))
    taps = model.reverb.impulse_response.size
    assert np.abs(audio[: 39 * HOP]).max() > 1e-3
    assert np.abs(audio[41 * HOP : 40 * HOP + taps - 1]).max() > 1e-5
    np.testing.assert_allclose(audio[40 * HOP + taps :], 0.0, atol=1e-6)


def test_a_recording_of_noise_gives_a_warning(instrument, tmp_path, rng):
    io.write_audio(tmp_path / "in.wav", 0.1 * rng.standard_normal(20_000), sample_rate=SAMPLE_RATE)
    with pytest.warns(UserWarning, match="mostly unpitched: only .*% of its audible frames"):
        report = transfer(tmp_path / "in.wav", tmp_path / "out.wav", to=instrument)
    assert report.confident_share < 0.25
    assert (tmp_path / "out.wav").is_file()


# Transformations


def test_blocks_of_any_size_give_the_same_sound(instrument, rng):
    model, _, _ = load_autoencoder(instrument)
    played = played_tracks(rng, 301)
    played.gain[:] = rng.uniform(0.0, 1.0, 301)
    n_samples = 300 * HOP + 63
    # At once in the block of a transfer, which holds 1000 hops, and in several.
    (whole,) = render(model, played, n_samples=n_samples)
    blocks = np.concatenate(list(render(model, played, n_samples=n_samples, block_hops=50)))
    assert whole.size == n_samples
    np.testing.assert_allclose(blocks, whole, atol=2e-5)


@pytest.mark.slow
def test_breath_in_blocks_of_any_size_is_the_same_and_leaves_the_notes_as_they_are(instrument, rng):
    model, _, _ = load_autoencoder(instrument)
    notes = played_tracks(rng, 121)
    notes.gain[40:80] = 0.0
    breath = played_tracks(rng, 121, gain=1000.0)
    breath.gain[:41] = breath.gain[79:] = 0.0
    options = {"n_samples": 120 * HOP + 5, "reverb": 0.0, "ceiling_db": 80.0}
    with_breath = notes._replace(breath=breath)
    whole, blocks = (
        np.concatenate(list(render(model, with_breath, **options, block_hops=hops)))
        for hops in (150, 50)
    )
    alone = np.concatenate(list(render(model, notes, **options, block_hops=50)))
    np.testing.assert_allclose(blocks, whole, atol=2e-5 * np.abs(whole).max())
    gap = slice(40 * HOP, 79 * HOP)
    others = np.delete(np.arange(whole.size), np.r_[gap])
    np.testing.assert_allclose(whole[others], alone[others], atol=2e-5)
    assert np.abs(alone[gap]).max() < 1e-5 and np.abs(whole[gap]).max() > 1e-3
    # Not even the pitch of the breath's own tracks is heard: the synthesizer gets none.
    tune = jnp.asarray(breath.f0_hz), jnp.asarray(breath.loudness_db)
    controls = model.synthesizer.controls(
        model.decoder(model._inputs(*tune, None)), jnp.zeros_like(tune[0])
    )
    # Nor is its noise that of the notes.
    key = jax.random.fold_in(jax.random.key(0), 1)
    noise = core.filtered_noise(key, *controls.noise, hop_length=HOP)
    inside = slice(41 * HOP, 78 * HOP)
    np.testing.assert_allclose(whole[inside], 1000 * noise[inside], rtol=1e-3, atol=1e-4)


def test_a_transfer_is_reproducible_and_the_seed_changes_its_noise(instrument, recording, tmp_path):
    outputs = [tmp_path / f"{name}.flac" for name in "abc"]
    for path, seed in zip(outputs, (0, 0, 1), strict=True):
        transfer(recording, path, to=instrument, seed=seed)
    first, second, other = (path.read_bytes() for path in outputs)
    assert first == second
    assert first != other


PEAK_MEMORY = f"""
import io, sys
from ddspx.transfer import plot_transfer, transfer
report = transfer(sys.argv[1], sys.argv[2], to=sys.argv[3])
plot_transfer(sys.argv[1], sys.argv[2], report).savefig(io.BytesIO())
print({PEAK_KB})
"""


@pytest.mark.slow
@pytest.mark.skipif(find_spec("matplotlib") is None, reason="a picture is drawn, too")
@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_half_an_hour_takes_the_memory_of_half_a_minute(instrument, tmp_path):
    def peak_megabytes(seconds):
        source = tmp_path / f"{seconds}.wav"
        with io.AudioWriter(source, sample_rate=SAMPLE_RATE) as writer:
            for _ in range(seconds // 10):
                writer.write(tone(10.0))
        arguments = [source, tmp_path / "out.wav", instrument]
        run = subprocess.run(
            [sys.executable, "-c", PEAK_MEMORY, *map(str, arguments)],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(ddspx.__file__).parents[1])},
            check=True,
        )
        return int(run.stdout) / 1024

    # The audio alone would be 115 MB as float32, twice over with the result; 11 MB are tracks.
    assert peak_megabytes(1800) - peak_megabytes(30) < 100


# Boundary errors


def test_an_output_that_cannot_be_written_is_refused_before_reading(
    instrument, recording, tmp_path
):
    with pytest.raises(ValueError, match=r"'\.mp3'"):
        transfer(recording, tmp_path / "out.mp3", to=instrument)
    assert not any(tmp_path.iterdir())


def test_the_recording_is_never_the_output(instrument, recording, tmp_path, monkeypatch):
    copy = tmp_path / "in.wav"
    shutil.copy(recording, copy)
    (tmp_path / "link.wav").symlink_to(copy)
    monkeypatch.chdir(tmp_path)
    for output in (copy, "in.wav", "link.wav"):
        with pytest.raises(ValueError, match="is the recording itself; choose another output"):
            transfer(copy, output, to=instrument)
    assert copy.read_bytes() == recording.read_bytes()


def test_features_of_another_version_are_refused(instrument, recording, tmp_path):
    folder = tmp_path / "old"
    shutil.copytree(instrument, folder)
    fields = json.loads((folder / "statistics.json").read_text())
    fields["feature_version"] = "before"
    (folder / "statistics.json").write_text(json.dumps(fields))
    (folder / "sha256.json").unlink()
    with pytest.raises(
        ValueError, match=r"features of version 'before' cannot be computed.*train again"
    ):
        transfer(recording, tmp_path / "out.wav", to=folder)
    assert not (tmp_path / "out.wav").exists()


def test_frames_that_do_not_fit_the_length_are_refused(instrument, rng):
    model, _, _ = load_autoencoder(instrument)
    with pytest.raises(ValueError, match="`n_samples` must give the 11 frames"):
        next(render(model, played_tracks(rng, 11), n_samples=9 * HOP))
