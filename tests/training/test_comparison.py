"""Comparisons take the measures of `metrics` of the right sounds, and say what cannot be had."""

import dataclasses
import warnings
from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest
from toy_instrument import toy_model
from training_data import MODEL, write_dataset

from ddspx import features, io, metrics
from ddspx.models.autoencoder import Autoencoder
from ddspx.training import (
    PairMeasures,
    compare_recordings,
    compare_renderings,
    compare_sounds,
)
from ddspx.training._comparison import _vibrato_errors

RATE = 8000
TRACKER = features.conditioning_features
pytestmark = pytest.mark.filterwarnings("ignore:The Frechet distance of")


def note(hz, seconds=0.8, swing_cents=0.0, rate=RATE):
    time_s = np.arange(round(seconds * rate)) / rate
    cents = swing_cents * np.sin(2 * np.pi * 6 * time_s)
    phase = 2 * np.pi * np.cumsum(hz * 2 ** (cents / 1200)) / rate
    tone = sum(np.sin(k * phase) / k for k in (1, 2, 3, 4))
    return (0.2 * tone * np.minimum(1, time_s / 0.02)).astype(np.float32)


def write(folder, name, audio, rate=RATE):
    folder.mkdir(exist_ok=True)
    io.write_audio(folder / name, audio, sample_rate=rate)


@pytest.fixture(autouse=True, scope="module")
def quick_tracker():
    """Counts zeros in place of the tracker, which takes half a minute to compile here."""

    def track(audio, *, sample_rate, hop_length):
        frames = np.ones(1 + audio.size // hop_length, np.float32)
        zeros = np.count_nonzero(np.diff(audio > 0))
        loudness = np.maximum(-80, 10 * np.log10(np.mean(audio**2) + 1e-12))
        f0_hz = max(1, zeros) * sample_rate / audio.size / 2
        return features.Features(f0_hz * frames, (zeros > 0) * frames, loudness * frames)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ddspx.features.conditioning_features", track)
        yield


def spectrum(audio, *, sample_rate):
    """An embedding: two numbers for each of ten stretches."""
    return np.log(np.abs(np.fft.rfft(audio[:5500].reshape(10, 550)))[:, 20:22] + 1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Three pairs, with a recording more on either side, in a sub-folder and of other endings."""
    target, predicted = (tmp_path_factory.mktemp(name) for name in ("target", "predicted"))
    for i, hz in enumerate((220, 330, 440)):
        write(target / "a", f"{i}.wav", note(hz))
        write(predicted / "a", f"{i}.flac", note(hz * 2 ** (30 / 1200), 0.7))
    write(target, "extra.wav", note(500))
    write(predicted, "other.wav", note(600))
    return target, predicted


@pytest.fixture(scope="module")
def compared(folders):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return compare_recordings(
            *folders, sample_rate=RATE, embeddings={"spectrum": spectrum}, seed=3
        )


# Values


def test_a_pair_has_the_measures_of_its_common_part():
    first, second = note(220, 1.6, 50), 0.5 * note(233, 1.5)
    measures = compare_sounds(first, second, sample_rate=RATE)
    pair = first[: second.size], second
    assert measures.aligned_distortion_db == metrics.mel_cepstral_distortion_db(
        first, second, sample_rate=RATE, aligned=True
    )
    assert measures.mel_cepstral_distortion_db == metrics.mel_cepstral_distortion_db(
        *pair, sample_rate=RATE
    )
    assert measures.log_spectral_distance_db == metrics.log_spectral_distance_db(*pair)
    assert measures.stft_distance == metrics.multi_resolution_stft_distance(*pair).total
    levels_db = [10 * np.log10(np.mean(np.square(audio, dtype=float))) for audio in pair]
    assert measures.loudness_l1_db == pytest.approx(abs(levels_db[0] - levels_db[1]), abs=1e-3)
    assert measures.f0_error_cents == pytest.approx(1200 * np.log2(233 / 220), abs=10)
    assert measures.raw_pitch_accuracy == 0
    assert measures.vibrato_extent_error_cents == 0 and np.isnan(measures.vibrato_rate_error_hz)
    times = [metrics.onset_times(audio, sample_rate=RATE) for audio in pair]
    assert measures.onset_f1 == metrics.onset_scores(*times).f1


def test_a_held_note_without_vibrato_has_an_extent_of_0():
    still, swinging, short = (
        metrics.Vibrato(*numbers)
        for numbers in ((np.nan, np.nan, 0.0), (5.5, 40.0, 0.5), (np.nan, np.nan, np.nan))
    )
    np.testing.assert_equal(_vibrato_errors(swinging, still), (np.nan, 40.0))
    np.testing.assert_equal(_vibrato_errors(still, still), (np.nan, 0.0))
    np.testing.assert_equal(_vibrato_errors(swinging, short), (np.nan, np.nan))
    assert _vibrato_errors(swinging, metrics.Vibrato(5.0, 45.0, 1.0)) == (0.5, 5.0)


@pytest.mark.slow
def test_pitch_loudness_and_vibrato_are_those_of_the_tracker(monkeypatch):
    monkeypatch.setattr(features, "conditioning_features", TRACKER)
    measures = compare_sounds(note(220, 1.6, 50), 0.5 * note(233, 1.6, 50), sample_rate=RATE)
    assert measures.loudness_l1_db == pytest.approx(6.02, abs=0.6)
    assert measures.f0_error_cents == pytest.approx(1200 * np.log2(233 / 220), abs=10)
    assert measures.vibrato_rate_error_hz < 0.2 and measures.vibrato_extent_error_cents < 5


def test_silence_is_compared_as_far_as_it_can_be():
    silence, tone = np.zeros(4000, np.float32), note(220, 0.5)
    undefined = ("f0_error_cents", "vibrato_rate_error_hz", "vibrato_extent_error_cents")
    for pair in ((silence, tone), (tone, silence), (silence, silence)):
        measures = compare_sounds(*pair, sample_rate=RATE)._asdict()
        for name in undefined:
            assert np.isnan(measures.pop(name))
        measures.pop("raw_pitch_accuracy"), measures.pop("onset_f1")
        assert np.isfinite(list(measures.values())).all()


def test_recordings_of_the_same_name_are_pairs(folders, compared):
    assert (compared.n_target, compared.n_predicted) == (4, 4)
    assert list(compared.pairs) == ["a/0", "a/1", "a/2"]
    target, predicted = folders
    sounds = (
        io.read_audio(path, sample_rate=RATE)
        for path in (target / "a" / "1.wav", predicted / "a" / "1.flac")
    )
    expected = compare_sounds(*sounds, sample_rate=RATE)
    np.testing.assert_array_equal(compared.pairs["a/1"], expected)
    for name in PairMeasures._fields:
        values = np.array([getattr(pair, name) for pair in compared.pairs.values()])
        if np.isfinite(values).all():
            assert compared.measures[name].value == pytest.approx(values.mean())
    assert compared.measures["f0_error_cents"].value == pytest.approx(30, abs=10)


def test_all_recordings_are_compared_as_sets(folders, compared):
    points = [
        [spectrum(io.read_audio(path, sample_rate=RATE), sample_rate=RATE) for path in files]
        for files in map(io.files_below, folders)
    ]
    (found,) = compared.sets
    together = np.concatenate(points[0])
    bandwidth = np.median(
        [np.linalg.norm(a - b) for i, a in enumerate(together) for b in together[:i]]
    )
    assert found[:4] == ("spectrum", 40, 40, 2)
    for distance, interval in (
        (metrics.frechet_distance, found.frechet),
        (partial(metrics.kernel_distance, bandwidth=bandwidth), found.kernel),
    ):
        expected = metrics.distance_interval(distance, *points, seed=3)
        np.testing.assert_allclose(interval, expected)


def test_without_common_names_only_sets_are_compared(tmp_path):
    for folder, names in (("one", "ab"), ("two", "cd")):
        for name in names:
            write(tmp_path / folder, f"{name}.wav", note(220 if name in "ac" else 330))
    found = compare_recordings(tmp_path / "one", tmp_path / "two", sample_rate=RATE)
    assert found.pairs == found.measures == {}
    assert found.sets[0].embedding == "MFCC" and found.sets[0].n_features == 24
    # Two single files are a pair; each is one piece, which has no covariance.
    files = tmp_path / "one" / "a.wav", tmp_path / "two" / "c.wav"
    with pytest.warns(UserWarning, match="no distance by MFCC, because 1 and 1 points are too few"):
        found = compare_recordings(*files, sample_rate=RATE)
    assert found.pairs["a"].log_spectral_distance_db == 0
    assert np.isnan(found.sets[0].frechet).all() and np.isnan(found.sets[0].kernel).all()


class OctaveUp(Autoencoder):
    """An instrument that plays everything an octave too high."""

    def __call__(self, key, f0_hz, loudness_db, *, z=None, n_samples=None):
        del key, loudness_db, z, n_samples
        cycles = jnp.cumsum(jnp.repeat(2 * f0_hz, MODEL.hop_length) / MODEL.sample_rate)
        return 0.1 * jnp.sin(2 * jnp.pi * cycles)


def test_renderings_are_compared_with_the_split_and_with_recordings(tmp_path, folders):
    pytest.importorskip("grain", reason="the train extra is not installed")
    dataset = write_dataset(tmp_path / "set", {"train": 1, "test": 1})
    model = toy_model(dataclasses.replace(MODEL), OctaveUp)
    options = {"embeddings": {"spectrum": lambda audio, **_: audio[:300].reshape(-1, 2)}}
    found = compare_renderings(model, dataset, folders[0], **options)
    assert list(found.pairs) == ["test 1", "test 2"]
    assert found.measures["f0_error_cents"].value == pytest.approx(1200, abs=20)
    assert (found.n_target, found.n_predicted) == (4, 2)
    assert found.sets[0][1:4] == (600, 300, 2) and found.sets[0].kernel.value > 0
    with pytest.raises(ValueError, match="has no example"):
        compare_renderings(model, dataset, folders[0], split="valid")


# Boundary errors


def test_what_cannot_be_read_is_reported_and_left_out(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        write(folder, "a.wav", note(220))
        write(folder, "b.wav", note(330))
        write(folder, "c.wav", note(440))
    (two / "b.wav").write_text("words")
    io.write_audio(one / "c.wav", np.zeros(4000), sample_rate=RATE)
    with pytest.raises(io.AudioError, match=r"b\.wav"):
        compare_recordings(two, two, sample_rate=RATE)
    reported = []
    found = compare_recordings(
        one,
        two,
        sample_rate=RATE,
        embeddings={"spectrum": spectrum},
        report=lambda path, error: reported.append((path, str(error))),
    )
    assert list(found.pairs) == ["a"] and (found.n_target, found.n_predicted) == (2, 2)
    assert [path for path, _ in reported] == [two / "b.wav", one / "c.wav"]
    assert "silent" in reported[1][1]


@pytest.mark.parametrize("step", ["read", "embed", "compare"])
def test_an_error_of_any_kind_is_of_the_recording_that_caused_it(tmp_path, monkeypatch, step):
    folders = tmp_path / "one", tmp_path / "two"
    for folder in folders:
        for name, hz in zip("abc", (220, 330, 440), strict=True):
            write(folder, f"{name}.wav", note(hz, 0.1))
    bad = folders[1] / "b.wav"
    read_audio, heard = io.read_audio, []

    def read(path, **options):
        heard.append(path)
        if step == "read" and path == bad:
            raise MemoryError("no room")
        return read_audio(path, **options)

    def embed(audio, **_):
        if step == "embed" and heard[-1] == bad:
            raise IndexError("no room")
        return audio[:40].reshape(-1, 2)

    def compare(*_, **__):
        if step == "compare" and heard[-1] == bad:
            raise ZeroDivisionError("no room")
        return PairMeasures(*np.arange(10.0))

    monkeypatch.setattr(io, "read_audio", read)
    monkeypatch.setattr("ddspx.training._comparison.compare_sounds", compare)
    reported, options = [], {"sample_rate": RATE, "embeddings": {"points": embed}}
    found = compare_recordings(
        *folders, **options, report=lambda path, error: reported.append((path, str(error)))
    )
    assert reported == [(bad, "no room")] and list(found.pairs) == ["a", "c"]
    assert (found.n_target, found.n_predicted) == (3, 2) and found.sets[0].n_predicted == 40
    with pytest.raises((MemoryError, IndexError, ZeroDivisionError), match="no room"):
        compare_recordings(*folders, **options)


def test_a_lower_rate_gives_a_warning(tmp_path):
    write(tmp_path / "one", "a.wav", note(220), rate=RATE)
    write(tmp_path / "two", "a.wav", note(220, rate=2 * RATE), rate=2 * RATE)
    with pytest.warns(UserWarning, match=r"1 recordings have a lower sample rate than 16000 Hz"):
        compare_recordings(tmp_path / "one", tmp_path / "two", embeddings={"spectrum": spectrum})


def test_folders_that_cannot_be_compared_are_refused(tmp_path):
    one, two, empty = (tmp_path / name for name in ("one", "two", "empty"))
    empty.mkdir()
    write(one, "a.wav", note(220))
    write(two, "a.wav", note(220))
    write(two, "a.flac", note(220))
    with pytest.raises(ValueError, match=r"a\.wav have the same name without their endings"):
        compare_recordings(one, two)
    with pytest.raises(ValueError, match="empty holds no recording"):
        compare_recordings(one, empty)
    with pytest.raises(ValueError, match="nowhere is not there; name a folder"):
        compare_recordings(tmp_path / "nowhere", one)
    (one / "a.wav").write_text("words")
    with pytest.raises(ValueError, match="`target` holds no recording that can be used"):
        compare_recordings(one, one, report=lambda path, error: None)
    with pytest.raises(ValueError, match="`target` must be finite"):
        compare_sounds(np.full(10, np.nan, np.float32), np.ones(10, np.float32), sample_rate=RATE)


def test_long_sounds_are_not_aligned(monkeypatch):
    monkeypatch.setattr("ddspx.training._comparison._LONGEST_ALIGNED_S", 0.4)
    measures = compare_sounds(note(220), note(220), sample_rate=RATE)
    assert np.isnan(measures.aligned_distortion_db) and measures.mel_cepstral_distortion_db == 0
