import csv

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import soundfile
from helpers import compiled, noise

from ddspx import core, features, metrics
from ddspx.features import _gaps, _range, _yin
from ddspx.models.pitch import load_pitch_tracker

RATE, HOP = 16000, 64


METHODS = pytest.mark.parametrize("method", ["ddspx", "yin"])


def track(audio, sample_rate=RATE, hop_length=HOP, **options):
    return features.track_pitch(audio, sample_rate=sample_rate, hop_length=hop_length, **options)


def voice(f0_hz, n_harmonics=6, sample_rate=RATE):
    """A sound of harmonics k with amplitude 1 / k on a pitch given at each sample."""
    phase = 2 * np.pi * np.cumsum(np.asarray(f0_hz) / sample_rate, axis=-1)
    return sum(np.sin(k * phase + k * k) / k for k in range(1, n_harmonics + 1))


def at_frames(f0_hz, hop_length=HOP):
    """Pitch at each frame from pitch at each sample, which are `n * hop_length` and one more."""
    return np.concatenate([f0_hz[..., ::hop_length], f0_hz[..., -1:]], axis=-1)


def cents(f0_hz, target_hz):
    return np.abs(1200 * np.log2(f0_hz / target_hz))


# Physics


@METHODS
@pytest.mark.parametrize(
    ("sample_rate", "hop_length"),
    [(44100, 441), pytest.param(16000, 256, marks=pytest.mark.slow)],
)
def test_a_tone_has_its_pitch(sample_rate, hop_length, method):
    tones_hz = np.array([40.0, 65.4, 110.0, 196.0, 440.0, 659.3, 1046.5, 1760.0, 2000.0])
    samples = np.broadcast_to(tones_hz[:, None], (tones_hz.size, sample_rate // 2))
    n_harmonics = 3
    audio = voice(samples, n_harmonics, sample_rate)
    f0_hz, confidence = track(audio, sample_rate, hop_length, method=method)
    # At an end half of the network's long window, 48 ms, is silence.
    edge = 6 if method == "ddspx" else 4
    inner = slice(edge, -edge)
    error = cents(f0_hz, tones_hz[:, None])[:, inner]
    assert np.all(np.median(error, axis=-1) < 5)
    assert np.max(error) < 10
    assert np.min(confidence[:, inner]) > 0.85


@METHODS
@pytest.mark.parametrize("sample_rate", [2000, pytest.param(4000, marks=pytest.mark.slow)])
def test_a_low_rate_lowers_the_highest_pitch(sample_rate, method):
    tone = voice(np.full(sample_rate, 110.0), 3, sample_rate)
    f0_hz, confidence = track(tone, sample_rate, sample_rate // 100, method=method)
    assert np.max(cents(f0_hz, 110.0)[4:-4]) < 10
    assert np.min(confidence[4:-4]) > 0.9


@METHODS
def test_glides_and_vibrato_are_followed(method):
    time_s = np.arange(2 * RATE) / RATE
    up, down = 110 * 2 ** (1.5 * time_s), 1320 * 2 ** (-time_s)
    vibrato = 440 * 2 ** (0.5 / 12 * np.sin(2 * np.pi * 6 * time_s))
    truth = np.stack([up, down, vibrato])
    f0_hz, confidence = track(voice(truth), method=method)
    # A frame averages: of a vibrato of 6 Hz, 50 cents each way, it misses a ninth.
    # At an end half of the network's long window, 48 ms, is silence.
    error = cents(f0_hz, at_frames(truth))[:, 12:-12]
    assert np.all(np.median(error, axis=-1) < 5)
    assert np.max(error) < 10
    assert np.min(confidence[:, 8:-8]) > 0.5


@METHODS
def test_the_track_follows_notes_and_bridges_rests(method):
    rest, note = np.zeros(RATE // 2), RATE // 2
    low, high = voice(np.full(note, 220.0)), voice(np.full(note, 880.0))
    f0_hz, confidence = track(np.concatenate([rest, low, high, rest, low, rest]), method=method)
    frames = RATE // 2 // HOP
    edge = 9
    part = [slice(i * frames + edge, (i + 1) * frames - edge) for i in range(6)]
    for i, hz in ((1, 220), (2, 880), (4, 220)):
        assert np.max(cents(f0_hz[part[i]], hz)) < 5
        assert np.min(confidence[part[i]]) > 0.8
    for i in (0, 3, 5):
        assert np.max(confidence[part[i]]) < 0.05
    assert np.max(cents(f0_hz[part[0]], 220)) < 20
    assert np.max(cents(f0_hz[part[5]], 220)) < 20
    # A straight line in log-frequency, from the one note down to the other.
    middle = np.log2(f0_hz[part[3]])
    np.testing.assert_allclose(np.diff(middle, 2), 0, atol=1e-5)
    assert np.all(np.diff(middle) < 0)


@METHODS
def test_the_level_does_not_change_the_pitch(method):
    audio = voice(np.full(RATE, 300.0)) + 0.3 * noise(RATE)
    levels = np.array([1.0, 1e-4, 100.0])
    f0_hz, confidence = track(levels[:, None] * audio, method=method)
    np.testing.assert_allclose(f0_hz[1:], f0_hz[[0, 0]], rtol=1e-4)
    np.testing.assert_allclose(confidence[1:], confidence[[0, 0]], atol=2e-3)


@METHODS
def test_noise_and_silence_have_no_pitch_and_finite_features(method):
    n_samples = 4 * RATE
    coloured = np.cumsum(noise(n_samples, seed=1))
    coloured = coloured - np.convolve(coloured, np.ones(200) / 200, mode="same")
    heard = features.conditioning_features(
        np.stack([np.zeros(n_samples), noise(n_samples), coloured]),
        sample_rate=RATE,
        hop_length=HOP,
        method=method,
    )
    for values in heard:
        assert values.dtype == np.float32
        assert np.all(np.isfinite(values))
    np.testing.assert_array_equal(heard.f0_confidence[0], 0)
    assert np.mean(heard.f0_confidence[1:] >= metrics.VOICED) < 0.02
    np.testing.assert_allclose(heard.loudness_db[0], -80, rtol=1e-6)
    assert np.all(heard.f0_hz > 0)


# One path for whole and streamed audio


def melody(n_samples):
    """Notes and rests of odd lengths, with noise: many decisions that could come out otherwise."""
    rng = np.random.default_rng(3)
    pieces = []
    while sum(map(len, pieces)) < n_samples:
        n, hz = rng.integers(1500, 6000), 110 * 2 ** rng.uniform(0, 3)
        pieces += [voice(np.full(n, hz)), np.zeros(rng.integers(0, 2500))]
    return np.concatenate(pieces)[:n_samples] + 0.4 * noise(n_samples)


@METHODS
def test_a_stream_gives_the_same_numbers_as_the_whole(method):
    audio = melody(6 * RATE + 33)
    options = {"sample_rate": RATE, "hop_length": HOP, "method": method}
    whole = features.conditioning_features(audio, **options)
    # A sound of this length is computed in a shorter chunk.
    short = features.conditioning_features(audio[:5000], **options)
    for sizes in ([7, 0, 64, 30000, 1], [80_000], [1000] * 90, [4999]):
        for sound, expected in ((audio, whole), (audio[:5000], short)):
            blocks = np.split(sound, np.cumsum(sizes))
            streamed = features.blockwise_features(iter(blocks), **options)
            for a, b in zip(streamed, expected, strict=True):
                np.testing.assert_array_equal(a, b)
            tracked = features.blockwise_pitch(iter(blocks), **options)
            np.testing.assert_array_equal(tracked, expected[:2])
    # The size of the chunks changes no more than the rounding.
    longer = features.conditioning_features(np.append(audio[:5000], np.zeros(30_000)), **options)
    short, longer = (features.Features(*(x[:60] for x in of)) for of in (short, longer))
    np.testing.assert_allclose(short.loudness_db, longer.loudness_db, rtol=1e-4, atol=1e-4)
    for a, b in zip(short[:2], longer[:2], strict=True):
        # It may tip a candidate of YIN in one frame.
        assert np.sum(~np.isclose(a, b, rtol=1e-4, atol=1e-4)) <= (method == "yin")


def test_a_stream_of_features_comes_with_the_sound():
    """Pitch and loudness go on together, so memory holds seconds however long the sound is."""
    seconds, read_s, behind_s = 30, 0, []

    def blocks():
        nonlocal read_s
        for second in np.split(melody(seconds * RATE), seconds):
            read_s += 1
            yield second

    n_frames = 0
    for chunk in features.stream_features(blocks(), sample_rate=RATE, hop_length=HOP):
        n_frames += chunk.f0_hz.size
        behind_s.append(read_s - n_frames * HOP / RATE)
    assert n_frames == 1 + seconds * RATE // HOP
    assert max(behind_s) < 12 and len(behind_s) > 4


def test_the_pitch_of_a_gap_is_the_same_in_a_stream(rng):
    f0_hz = rng.uniform(50, 500, (2, 400)).astype(np.float32)
    f0_hz[:, :30] = f0_hz[0, 100:280] = f0_hz[1, 390:] = np.nan
    f0_hz[rng.random(f0_hz.shape) < 0.4] = np.nan
    for fallback, sound in ((80.0, f0_hz), (80.0, np.full_like(f0_hz, np.nan)), (80.0, f0_hz[0])):
        whole = _gaps.interpolated_pitch(sound, fallback)
        for row, filled in zip(np.atleast_2d(sound), np.atleast_2d(whole), strict=True):
            known = np.flatnonzero(np.isfinite(row))
            expected = np.full(row.size, np.log(fallback))
            if known.size:
                expected = np.interp(np.arange(row.size), known, np.log(row[known]))
            np.testing.assert_allclose(filled, np.exp(expected), rtol=1e-6)
        cuts = np.sort(rng.integers(0, 400, 15))
        parts = zip(np.split(sound, cuts, axis=-1), np.split(2 * sound, cuts, axis=-1), strict=True)
        pitch, others = zip(*_gaps.stream_interpolated(parts, fallback), strict=True)
        np.testing.assert_array_equal(np.concatenate(pitch, axis=-1), whole)
        np.testing.assert_array_equal(np.concatenate(others, axis=-1), 2 * sound)


@METHODS
def test_examples_of_a_batch_are_independent(method):
    audio = melody(3 * RATE)
    options = {"sample_rate": RATE, "hop_length": HOP, "method": method}
    batch = np.stack([audio, audio[::-1], 0.1 * audio]).reshape(3, 1, -1)
    together = features.conditioning_features(batch, **options)
    for i in range(3):
        alone = features.conditioning_features(batch[i, 0], **options)
        # Rounding may tip a candidate of a noisy frame over to its neighbour.
        assert np.mean(cents(together.f0_hz[i, 0], alone.f0_hz) < 0.1) > 0.99
        certainty = together.f0_confidence[i, 0], alone.f0_confidence
        assert np.mean(np.isclose(*certainty, atol=1e-4)) > 0.99


@pytest.mark.parametrize(
    ("sample_rate", "hop_length"),
    [
        (44100, 441),
        pytest.param(16000, 100, marks=pytest.mark.slow),
        pytest.param(11025, 64, marks=pytest.mark.slow),
    ],
)
def test_the_frames_of_the_network_are_at_their_times(sample_rate, hop_length):
    """Against the network on the whole sound, at its own rate and frames, without chunks."""
    seconds = 18
    f0_hz = 220 * 2 ** np.sin(np.arange(seconds * sample_rate) / sample_rate)
    audio = voice(f0_hz, 4, sample_rate) + 0.1 * noise(len(f0_hz))
    heard, confidence = track(audio, sample_rate, hop_length, method="ddspx")
    tracker = load_pitch_tracker()
    at_16k = core.resample(jnp.asarray(audio, jnp.float32), orig_rate=sample_rate, target_rate=RATE)
    fmin, fmax = features.pitch_range("ddspx", sample_rate=RATE)
    listen = jax.jit(lambda audio: tracker.track(audio, fmin=fmin, fmax=fmax))
    expected, certainty = listen(at_16k)
    time = np.arange(len(heard)) * hop_length / sample_rate
    own_time = np.arange(len(expected)) * tracker.config.hop_length / RATE
    # A glide of an octave a second bends little from one frame to the next.
    inner = (time > 0.1) & (time < seconds - 0.1)
    expected = np.exp(np.interp(time, own_time, np.log(expected)))
    assert np.max(cents(heard, expected)[inner]) < 0.05
    voicing = np.interp(time, own_time, certainty)
    np.testing.assert_allclose(confidence[inner], voicing[inner], atol=1e-4)


def test_frames_and_loudness_follow_the_frame_rule(monkeypatch):
    traced = []
    loudness_db = core.loudness_db
    monkeypatch.setattr(
        core, "loudness_db", lambda *a, **k: traced.append(1) or loudness_db(*a, **k)
    )
    hop_length = 200
    for n_samples in (0, 1, 199, 200, 5000, 40_000, 40_001):
        audio = noise(n_samples)
        heard = features.conditioning_features(audio, sample_rate=RATE, hop_length=hop_length)
        frames = core.n_frames(n_samples, hop_length=hop_length)
        assert all(values.shape == (frames,) for values in heard)
        assert all(np.all(np.isfinite(values)) for values in heard)
    # One compilation served every length.
    assert len(traced) == 1
    expected = compiled(loudness_db)(audio, sample_rate=RATE, hop_length=hop_length)
    np.testing.assert_allclose(heard.loudness_db, expected, atol=1e-3)


# Recordings


def read(path, seconds=None):
    audio, sample_rate = soundfile.read(path)
    assert sample_rate == RATE
    return audio if seconds is None else audio[: int(seconds * RATE)]


@METHODS
def test_notes_of_a_violin_in_a_reverberant_room_have_the_right_pitch(shared_data, method):
    audio = read(shared_data / "violin_bach/john-garner_bwv1002_mov6.flac", 20)
    f0_hz, confidence = track(audio, method=method)
    notes = np.loadtxt(
        shared_data / "violin_bach/scores/john-garner_bwv1002_mov6.csv", delimiter=",", skiprows=1
    )
    right, pitched = [], []
    for start_s, end_s, midi in notes[notes[:, 1] < 20]:
        frames = slice(int((start_s + 0.04) * RATE / HOP), int((end_s - 0.02) * RATE / HOP))
        semitones = librosa.hz_to_midi(np.median(f0_hz[frames])) - midi
        right.append(abs(semitones) < 0.8)
        pitched.append(np.median(confidence[frames]) >= metrics.VOICED)
    assert np.mean(right) > 0.93
    assert np.mean(pitched) > 0.95


@pytest.mark.slow
@METHODS
def test_single_notes_of_other_instruments_have_the_right_pitch(shared_data, method):
    with (shared_data / "solo_notes/metadata.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["label_ok"] == "1"]
    audio, target = [], []
    for row in rows[::40]:
        note = read(shared_data / "solo_notes" / row["file"], 1.2)[RATE // 5 :]
        if len(note) == RATE:
            audio.append(note)
            target.append(float(librosa.midi_to_hz(float(row["midi"]))))
    f0_hz, confidence = track(np.stack(audio), hop_length=160, method=method)
    target_hz = np.broadcast_to(np.array(target)[:, None], f0_hz.shape)
    everywhere = np.ones_like(confidence)
    assert len(audio) > 10
    assert metrics.raw_pitch_accuracy(target_hz, f0_hz, everywhere, cents=80.0) > 0.97
    assert metrics.octave_error_share(target_hz, f0_hz, everywhere) < 0.01
    assert np.mean(confidence >= metrics.VOICED) > 0.95


# pYIN is no truth: where notes meet, the network and it part by an octave a little more often, and
# pYIN calls the ring of the room voiced.
@pytest.mark.slow
@pytest.mark.parametrize(("method", "most_octaves"), [("yin", 0.01), ("ddspx", 0.015)])
@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("sms_sax-phrase-short", 0.97),
        ("sms_cello-phrase", 0.98),
        ("sms_singing-female", 0.98),
        ("mtg_tenor_sax_d_minor", 0.97),
    ],
)
def test_phrases_agree_with_pyin(shared_data, name, least, method, most_octaves):
    audio = read(shared_data / f"sources/{name}.flac", 6)
    expected, is_voiced, _ = librosa.pyin(
        audio, sr=RATE, hop_length=HOP, fmin=40, fmax=2000, frame_length=1024, fill_na=100.0
    )
    f0_hz, confidence = track(audio, method=method)
    assert metrics.raw_pitch_accuracy(expected, f0_hz, is_voiced.astype(float)) > least
    octaves = metrics.octave_error_share(expected, f0_hz, is_voiced.astype(float))
    assert octaves < most_octaves
    assert np.mean(confidence[is_voiced] >= metrics.VOICED) > (0.95 if method == "yin" else 0.8)


# Last, because it makes programs anew that the tests above share.


def test_chunks_do_not_change_the_path(monkeypatch):
    audio = melody(5 * RATE)
    options = {"sample_rate": RATE, "hop_length": HOP, "method": "yin"}
    chunked = features.conditioning_features(audio, **options)
    # One chunk of all the audio: nothing is decided before everything is known.
    monkeypatch.setattr(_yin, "_LOOK_AHEAD_SECONDS", 6.0)
    _yin._observe.clear_cache()
    _yin._decide.clear_cache()
    at_once = features.conditioning_features(audio, **options)
    monkeypatch.undo()
    _yin._observe.clear_cache()
    _yin._decide.clear_cache()
    # Rounding may tip a candidate of a noisy frame.
    for a, b in zip(chunked[:2], at_once[:2], strict=True):
        assert np.sum(~np.isclose(a, b, rtol=1e-4, atol=1e-4)) <= 2
    np.testing.assert_allclose(chunked.loudness_db, at_once.loudness_db, atol=1e-3)


# Boundary


def test_unusable_audio_is_refused():
    with pytest.raises(ValueError, match="`blocks` must hold at least one block"):
        features.blockwise_features([], sample_rate=RATE, hop_length=HOP)
    with pytest.raises(ValueError, match=r"`audio` must have shape \(\*batch, samples\)"):
        features.blockwise_features([np.zeros(())], sample_rate=RATE, hop_length=HOP)
    with pytest.raises(ValueError, match=r"at most half of `sample_rate`, 2000.0 Hz, got .* 2093"):
        track(np.zeros(100), sample_rate=4000, fmax=2093.0)
    with pytest.raises(ValueError, match=r"must be above 0 and below .* got -1.0"):
        track(np.zeros(100), fmin=-1.0)
    with pytest.raises(ValueError, match=r"within 30 to [0-9]+ Hz.*use the method 'yin'"):
        track(np.zeros(100), fmin=20.0)
    with pytest.raises(ValueError, match="`hop_length` must be at least 1"):
        track(np.zeros(100), hop_length=0)


# Ranges and versions


@pytest.mark.parametrize(
    ("method", "fmin", "fmax"),
    [
        ("ddspx", "C1", "C8"),
        ("ddspx-live", "B1", "C8"),
        ("yin", "C1", "C7"),
        ("pyin", "C2", "C7"),
        ("crepe", "C1", None),
        ("crepe-tiny", "C1", None),
    ],
)
def test_each_tracker_has_its_range(method, fmin, fmax):
    """The notes; of CREPE, up to its highest bin; of a network, no more than it hears."""
    low, high = features.DEFAULT_RANGES_HZ[method]
    assert low == pytest.approx(librosa.note_to_hz(fmin), rel=1e-4)
    assert high == pytest.approx(librosa.note_to_hz(fmax) if fmax else 2005.5, rel=1e-4)
    if method in ("ddspx", "ddspx-live"):
        heard = load_pitch_tracker(live=method == "ddspx-live").config
        assert heard.fmin <= low and high <= heard.fmax
    assert features.pitch_range(method, sample_rate=RATE) == (low, high)
    assert features.pitch_range(method, sample_rate=3000) == (low, 1500)
    given = {"fmin": 100.0, "fmax": 900.0}
    assert features.pitch_range(method, sample_rate=RATE, **given) == (100, 900)
    with pytest.raises(ValueError, match="`fmin` must be above 0 and below `fmax`"):
        features.pitch_range(method, sample_rate=RATE, fmin=900.0, fmax=100.0)


def test_a_network_lowers_the_default_range_to_its_own(monkeypatch):
    monkeypatch.setattr(_range, "network_range", lambda method: (60.0, 2000.0))
    assert features.pitch_range("ddspx", sample_rate=RATE) == (60, 2000)
    assert features.pitch_range("yin", sample_rate=RATE) == (32.703, 2093)
    with pytest.raises(ValueError, match=r"within 60 to 2000 Hz, the range of the tracker 'ddspx'"):
        features.pitch_range("ddspx", sample_rate=RATE, fmax=2100.0)


def test_features_that_mean_the_same_follow_each_other():
    assert features.method_of(features.feature_version("yin")) == "yin"
    assert features.feature_version("ddspx") == "ddspx-pitch-3/loudness-a-512-1"
    for version in (3, 2):
        assert features.method_of(f"ddspx-pitch-{version}/loudness-a-512-1") == "ddspx"
    for version in (
        "ddspx-pitch-1/loudness-a-512-1",
        "ddspx-pitch-4/loudness-a-512-1",
        "",
        "ddspx",
    ):
        with pytest.raises(ValueError, match=r"features of version '.*' cannot be computed.*again"):
            features.method_of(version)
