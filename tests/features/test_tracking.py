"""pYIN and CREPE, which look at the whole sound, and the errors that all trackers share."""

from functools import partial

import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import soundfile
import soxr
from flax import nnx
from helpers import noise, quick_jit, sine

from ddspx import core, features
from ddspx.features import _crepe, _pyin
from ddspx.features._blocks import by_rows
from ddspx.metrics import VOICED
from ddspx.models.crepe import Crepe, CrepeConfig, crepe_activation, decode_crepe

RATE, HOP = 16000, 64


def track(audio, sample_rate=RATE, hop_length=HOP, **options):
    return features.track_pitch(audio, sample_rate=sample_rate, hop_length=hop_length, **options)


@pytest.fixture(scope="module")
def network():
    return quick_jit(lambda: Crepe(CrepeConfig(1), rngs=nnx.Rngs(0)).network())()


@pytest.fixture
def tiny_crepe(network, monkeypatch):
    """Random weights where CREPE's would be, and small chunks of 16 frames."""
    monkeypatch.setattr(_crepe, "_network", lambda *_: network)
    monkeypatch.setattr(_crepe, "_CHUNK", 16)
    _crepe._activate.clear_cache()
    yield network
    _crepe._activate.clear_cache()


def test_crepe_is_compiled_for_each_size_of_chunk_and_keeps_to_the_frame_rule_and_the_range(
    tiny_crepe,
):
    for samples in (9000, 1, 14_000):
        audio = noise(2, samples)
        f0_hz, confidence = track(audio, 44100, 441, method="crepe-tiny", fmin=200.0, fmax=900.0)
        assert f0_hz.shape == confidence.shape == (2, 1 + samples // 441)
        assert f0_hz.dtype == confidence.dtype == np.float32
        assert np.all((f0_hz > 195) & (f0_hz < 925))
    # A program for the longest chunks, and one for the shortest.
    assert _crepe._activate._cache_size() == 2


@pytest.mark.parametrize(("sample_rate", "hop_length"), [(16000, 150), (8000, 77)])
def test_crepe_in_blocks_gives_the_path_through_the_whole(sample_rate, hop_length, tiny_crepe):
    """Notes and noise in 151 frames, ten chunks, of which some are decided late."""
    samples = 22_600 * sample_rate // 16_000
    notes = np.concatenate(
        [sine(f, samples // 4, sample_rate=sample_rate) for f in (220, 700, 330, 1500)]
    )
    audio = np.stack([notes + 0.1 * noise(samples), noise(samples)]).astype(np.float32)
    grid = {"sample_rate": sample_rate, "hop_length": hop_length}
    options = {"capacity": "tiny", "fmin": 36.1, "fmax": 900.0}
    blocks = np.split(audio, [3, 10_000, 10_001], axis=-1)
    parts = list(_crepe.stream_crepe(blocks, **grid, **options))
    f0_hz, confidence = (np.concatenate(x, axis=-1) for x in zip(*parts, strict=True))
    plan = _crepe.CrepePlan.of(sample_rate, hop_length, 36.1, 900.0)
    heard = jnp.asarray(audio)
    if sample_rate != 16_000:
        heard = core.resample(heard, orig_rate=sample_rate, target_rate=16_000)
    activate = quick_jit(crepe_activation, static_argnames="hop_length")
    activation = np.array(activate(tiny_crepe, heard, hop_length=plan.hop_length))
    decode = quick_jit(decode_crepe, static_argnames="decoder")
    expected = decode(jnp.asarray(activation), decoder="viterbi")
    assert f0_hz.shape == expected[0].shape and f0_hz.shape[-1] > 8 * plan.chunks[-1]
    # The resampling filter rings beyond both ends of the sound.
    edge = 1 if sample_rate == 16_000 else 8
    np.testing.assert_allclose(f0_hz, expected[0], rtol=1e-4 if edge == 1 else 1e-2)
    inside = np.s_[..., edge:-edge]
    np.testing.assert_allclose(f0_hz[inside], expected[0][inside], rtol=1e-4)
    # The path is that of all bins; under half of one below the range a pitch counts.
    lowest = 36.1 / 2 ** (1 / 120)
    counts = np.asarray(expected[0]) >= lowest
    assert 0.05 < np.mean(counts) < 0.95
    told = (np.abs(f0_hz / lowest - 1) > 1e-4)[inside]
    sure = np.where(counts, expected[1], 0)[inside]
    np.testing.assert_allclose(confidence[inside][told], sure[told], atol=1e-4)


def test_crepe_yields_frames_once_later_sound_cannot_change_them(tiny_crepe):
    """Of a steady tone the chunks are given out while it lasts, so memory does not grow."""
    given = 0

    def blocks():
        nonlocal given
        for block in np.split(sine(440, 48_000, sample_rate=RATE), 30):
            given += 1
            yield block

    options = {"capacity": "tiny", "fmin": 40.0, "fmax": 1900.0}
    stream = _crepe.stream_crepe(blocks(), sample_rate=RATE, hop_length=160, **options)
    at = [given for _ in stream]
    assert len(at) == 19 and at[0] < 15 and at[9] < 25


def test_a_range_outside_that_of_crepe_is_refused(tiny_crepe):
    for fmin, fmax in ((2100.0, 4000.0), (20.0, 25.0)):
        with pytest.raises(ValueError, match="overlap the 32 to 2005 Hz that CREPE detects"):
            track(noise(1000), method="crepe-tiny", fmin=fmin, fmax=fmax)


# pYIN


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(_pyin, "_CHUNK", 8)
    _pyin._programs.cache_clear()
    yield
    _pyin._programs.cache_clear()


@pytest.mark.slow
def test_pyin_in_blocks_is_pyin_and_compiled_for_each_size(small_blocks):
    options = {"sample_rate": 8000, "hop_length": 100, "fmin": 100.0, "fmax": 900.0}
    glide = np.sin(2 * np.pi * np.cumsum(np.geomspace(150, 600, 9000)) / 8000)
    audio = np.stack([glide, glide[::-1]]) * (np.arange(9000) % 3000 > 600) + 0.1 * noise(2, 9000)
    audio = audio.astype(np.float32)
    pyin = quick_jit(partial(core.pyin, **options, frame_length=512))
    for samples in (7950, 0, 50):
        f0_hz, confidence = track(audio[:, :samples], **options, method="pyin")
        whole = pyin(audio[:, :samples])
        is_voiced = np.asarray(whole.is_voiced)
        np.testing.assert_array_equal(confidence >= VOICED, is_voiced)
        np.testing.assert_allclose(f0_hz[is_voiced], whole.f0_hz[is_voiced], rtol=1e-6)
        sure = np.where(is_voiced, 1 + whole.voiced_probability, whole.voiced_probability) / 2
        np.testing.assert_allclose(confidence, sure, atol=1e-4)
    assert samples == 50 or 0.2 < is_voiced.mean() < 0.9
    _, scores_after, path_through = _pyin._programs(8000, 100, 100.0, 900.0)
    # A program for the longest chunks, and one for the shortest.
    assert (scores_after._cache_size(), path_through._cache_size()) == (1, 2)


@pytest.mark.parametrize(
    ("sample_rate", "frame_length", "start_s"),
    [(16000, 1024, 3), pytest.param(22050, 2048, 8, marks=pytest.mark.slow)],
)
def test_pyin_at_its_defaults_is_librosas(sample_rate, frame_length, start_s, shared_data):
    """From C2 to C7; at 22.05 kHz in frames of 2048 samples, which is librosa's default."""
    cut = {"start": start_s * RATE, "stop": (start_s + 2) * RATE}
    audio, rate = soundfile.read(shared_data / "sources/vocadito_1.flac", **cut)
    audio, hop_length = soxr.resample(audio, rate, sample_rate), sample_rate // 100
    limits = {"fmin": librosa.note_to_hz("C2"), "fmax": librosa.note_to_hz("C7")}
    grid = {"frame_length": frame_length, "hop_length": hop_length}
    expected, is_voiced, _ = librosa.pyin(audio, sr=sample_rate, **limits, **grid, fill_na=None)
    f0_hz, confidence = track(audio, sample_rate, hop_length, method="pyin")
    same = (confidence >= VOICED) == is_voiced
    assert np.mean(same) >= 0.995 and 0.2 < np.mean(is_voiced) < 0.95
    both = same & is_voiced
    # C2 is rounded to 65.406 Hz.
    np.testing.assert_allclose(f0_hz[both], expected[both], rtol=1e-4)


# Sounds whose pitch lies outside the range


def tones(*sounds, n=RATE // 2):
    """Pairs of a pitch and how many harmonics, in faint noise."""
    rows = [sum(sine(k * f, n, sample_rate=RATE) / k for k in range(1, h + 1)) for f, h in sounds]
    return 0.2 * np.stack(rows) + 1e-3 * noise(n)


@pytest.mark.parametrize(
    "method",
    # tests/core/pitch has a quick test of these two.
    ["ddspx", *(pytest.param(name, marks=pytest.mark.slow) for name in ("yin", "pyin"))],
)
def test_a_pitch_outside_of_the_range_has_a_low_confidence(method):
    """Sines and tones above and below the range of pitch, and two tones within it."""
    sounds = [(3000, 1), (2190, 1), (2300, 3), (4000, 2), (6000, 1), (7000, 1), (440, 6)]
    _, confidence = track(tones(*sounds), hop_length=160, method=method, fmax=2093.0)
    inside = np.s_[:, 10:-10]
    assert np.max(confidence[:-1][inside]) < VOICED
    assert np.min(confidence[-1:][inside]) > 0.9
    sounds = [(110, 20), (190, 20), (150, 1), (1500, 3), (950, 1), (950, 8), (300, 6), (880, 3)]
    f0_hz, confidence = track(tones(*sounds), hop_length=160, method=method, fmin=200.0, fmax=900.0)
    assert np.max(confidence[:-2][inside]) < VOICED
    assert np.min(confidence[-2:][inside]) > 0.75
    error = 1200 * np.log2(f0_hz[-2:] / np.array([[300], [880]]))[inside]
    assert np.max(np.abs(error)) < (10 if method != "pyin" else 30)


def test_a_pitch_under_a_loud_whistle_is_kept():
    """At -18 dB beside a line above the tracker's range a pitch counts, at -22 dB it does not."""
    whistle = sine(6000, RATE // 2, sample_rate=RATE)
    tone = sum(sine(200 * k, RATE // 2, sample_rate=RATE) for k in range(1, 9))
    audio = np.stack([whistle + 10 ** (db / 20) * tone for db in (-18, -22)])
    f0_hz, confidence = track(0.1 * audio, hop_length=160, fmax=2093.0)
    assert np.min(confidence[0, 10:-10]) > VOICED and np.max(confidence[1, 10:-10]) == 0
    np.testing.assert_allclose(f0_hz[0, 10:-10], 200, rtol=1e-2)


# Boundary


@pytest.mark.parametrize("method", ["ddspx", "yin", "pyin", "crepe-tiny"])
def test_a_hop_of_more_than_a_second_is_refused(method):
    with pytest.raises(ValueError, match="at most one second, 16000 samples, got 16001; use a"):
        track(np.zeros(100), hop_length=16_001, method=method)
    with pytest.raises(ValueError, match="`hop_length` must be at most one second"):
        features.blockwise_features([np.zeros(100)], sample_rate=RATE, hop_length=16_001)


@pytest.mark.parametrize("method", ["yin", "pyin", "crepe-tiny"])
def test_no_blocks_are_refused(method, tiny_crepe):
    with pytest.raises(ValueError, match="`blocks` must hold at least one block of audio"):
        features.blockwise_pitch([], sample_rate=RATE, hop_length=HOP, method=method)


def test_integer_audio_is_refused():
    loud = (30_000 * np.sin(np.arange(1000))).astype(np.int16)
    with pytest.raises(TypeError, match=r"of floating point, got int16; divide .* 32768"):
        features.blockwise_features([loud], sample_rate=RATE, hop_length=HOP)
    # The annotation says the same, where it is checked.
    with pytest.raises(TypeError, match=r"int16|i16"):
        track(loud, method="pyin")


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("listen", [features.track_pitch, features.conditioning_features])
def test_channels_that_come_last_are_refused(listen, channels):
    fix = r"remove .* `audio\[..., 0\]`" if channels == 1 else r"mean over channels with `.mean"
    with pytest.raises(ValueError, match=rf"`audio` must have shape .* \(48000, .*{fix}"):
        listen(np.zeros((48_000, channels)), sample_rate=RATE, hop_length=HOP)


@pytest.mark.parametrize("method", ["ddspx", "yin", "pyin"])
def test_audio_that_is_not_finite_is_refused(method):
    audio = np.zeros((2, 3000))
    audio[1, 1234] = np.nan
    with pytest.raises(ValueError, match="`audio` must be finite, got nan at sample 1234; replace"):
        track(audio, method=method)


def test_sounds_of_a_batch_of_any_size_are_tracked_one_by_one(tiny_crepe):
    audio = noise(3, 1, 3000)
    for method in ("ddspx", "crepe-tiny"):
        f0_hz, confidence = track(audio, method=method)
        alone = track(audio[2, 0], method=method)
        np.testing.assert_array_equal((f0_hz[2, 0], confidence[2, 0]), alone)
        none = track(np.zeros((0, 3000), np.float32), method=method)
        assert none[0].shape == none[1].shape == (0, 1 + 3000 // HOP)
    assert _crepe._activate._cache_size() == 1


@pytest.mark.parametrize("batch", [(), (3,), (2, 0)])
def test_a_state_may_be_empty(batch):
    """That of the live tracker holds no frames that wait for later ones."""
    state, block = np.zeros((*batch, 0, 4)), noise(*batch, 5)
    state, twice = by_rows(lambda state, x: (state, 2 * x), state, block, batch=batch)
    assert state.shape == (*batch, 0, 4)
    np.testing.assert_allclose(twice, 2 * block)


@pytest.mark.parametrize("method", ["ddspx", "crepe-tiny"])
def test_a_rate_that_cannot_be_converted_is_refused_by_its_name(method, tiny_crepe):
    with pytest.raises(
        ValueError, match=r"`sample_rate` must have .* got 44101; .* the method 'yin'"
    ):
        track(np.zeros(100), sample_rate=44101, method=method)
