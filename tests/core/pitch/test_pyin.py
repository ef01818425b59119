import csv
from functools import partial

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import soundfile
from helpers import assert_close, compiled, noise, sine
from pitch_signals import SMALL, centred_frames, harmonics, normalized, small_audio, vertex
from scipy import stats

from ddspx import core
from ddspx.core.pitch import _pyin

pyin = compiled(core.pyin)

RATE = 16000
LIBROSA = tuple(int(part) for part in librosa.__version__.split(".")[:2])

# Values


def observation_of_frame(x, *, sample_rate, fmin, fmax, bins_per_octave, n_bins):
    """Probability of each bin and, last, outside of them, in loops over thresholds and troughs."""
    low, high = int(sample_rate // fmax), int(np.ceil(sample_rate / fmin))
    n, longest = len(x), len(x) // 2
    padded = np.pad(x, (0, longest + 1))
    d = [np.sum((x - padded[k : k + n]) ** 2) for k in range(longest + 2)]
    curve = normalized(d)
    lags = [i for i in range(2, high + 1) if curve[i - 1] > curve[i] <= curve[i + 1]]
    within = [i for i in lags if i >= low]
    outside = min([curve[i] for i in lags if i < low] + curve[high + 1 :])
    probability = dict.fromkeys(lags, 0.0)
    for step in range(100):
        weight = np.diff(stats.beta.cdf([step / 100, (step + 1) / 100], 2, 18))[0]
        below = [i for i in lags if curve[i] < (step + 1) / 100]
        for rank, i in enumerate(below):
            probability[i] += weight * stats.boltzmann.pmf(rank, 2, len(below))
        deepest = min(within, key=lambda i: curve[i], default=None)
        if not below and deepest is not None and curve[deepest] <= 2 * outside:
            probability[deepest] += 0.01 * weight
    bins = np.zeros(n_bins + 1)
    for i, p in probability.items():
        shift = vertex(*curve[i - 1 : i + 2])
        b = round(bins_per_octave * np.log2(sample_rate / (i + shift) / fmin))
        bins[max(b, 0) if i >= low and b < n_bins else n_bins] += p
    return bins


def dense(n_bins, reach):
    """The matrix of the published model: a triangle within voicing, and a switch of it."""
    i, j = np.indices((n_bins, n_bins))
    glide = np.maximum(1 - np.abs(i - j) / (reach + 1), 0)
    glide /= glide.sum(axis=1, keepdims=True)
    return np.log(np.kron([[0.99, 0.01], [0.01, 0.99]], glide) + np.finfo(float).tiny)


def best_path(log_observation, log_transition):
    score, sources = log_observation[0], []
    for observation in log_observation[1:]:
        candidates = score[:, None] + log_transition
        sources.append(np.argmax(candidates, axis=0))
        score = np.max(candidates, axis=0) + observation
    path = [int(np.argmax(score))]
    for source in sources[::-1]:
        path.append(int(source[path[-1]]))
    return np.array(path[::-1])


# 35.92 octaves per second are 5 semitones in 100 samples, which are 10 bins to either side.
@pytest.mark.parametrize(("hop_length", "reach"), [(100, 10), (400, 44)])
def test_pyin_is_its_definition(hop_length, reach):
    wobble = np.cumsum(320 + 40 * np.sin(np.arange(1200) / 150)) / 8000
    tone = np.sin(2 * np.pi * wobble) + 0.1 * noise(1200)
    audio, bins_per_octave = np.concatenate([tone, np.linspace(1, 2, 1200)]), 48
    n_bins = 1 + int(bins_per_octave * np.log2(5))
    grid = {"bins_per_octave": bins_per_octave, "n_bins": n_bins}
    options = {"sample_rate": 8000, "fmin": 200.0, "fmax": 1000.0}
    frames = centred_frames(audio, 400, hop_length)
    observed = np.array([observation_of_frame(x, **options, **grid) for x in frames])
    pitch, outside = observed[:, :-1], observed[:, -1]
    voiced = np.clip(pitch.sum(axis=1), 0, 1)
    unvoiced = np.repeat(((1 - voiced - outside) / n_bins + outside)[:, None], n_bins, axis=1)
    log_observation = np.log(np.concatenate([pitch, unvoiced], axis=1) + np.finfo(float).tiny)
    path = best_path(log_observation, dense(n_bins, reach))
    sizes = {**SMALL, "hop_length": hop_length, "frame_length": 400}
    track = pyin(jnp.asarray(audio), **sizes, bins_per_octave=48)
    assert_close(track.voiced_probability, voiced, scale=100)
    assert 0 < np.sum(path < n_bins) < len(path)
    np.testing.assert_array_equal(track.is_voiced, path < n_bins)
    assert_close(track.f0_hz, 200 * 2 ** (path % n_bins / 48), scale=1000)


def test_a_pitch_outside_of_the_range_is_not_voiced():
    sounds = np.stack([sine(f, 2400, sample_rate=8000) for f in (1300, 1050, 120, 190, 300)])
    track = pyin(jnp.asarray(sounds), **SMALL, frame_length=400)
    inside = np.s_[:, 3:-3]
    np.testing.assert_array_equal(track.is_voiced[inside][:-1], False)
    np.testing.assert_array_equal(track.is_voiced[inside][-1], True)


@pytest.mark.parametrize("mean", [0.1, 0.15, 0.2])
def test_the_prior_is_a_beta_distribution(mean):
    expected = np.diff(stats.beta.cdf(np.linspace(0, 1, 101), 2, 2 / mean - 2))
    np.testing.assert_allclose(_pyin._threshold_prior(mean), expected, atol=1e-15)


def read(folder, name, seconds):
    audio, sample_rate = soundfile.read(folder / name)
    return audio[: seconds * sample_rate], sample_rate


def librosas(audio, sample_rate, **options):
    return librosa.pyin(audio, sr=sample_rate, fill_na=None, **options)


def is_deepest_at_its_end(x, longest):
    """Whether the normalized difference falls below all its minima at the longest lag."""
    n, padded = len(x), np.pad(x, (0, longest + 1))
    d = normalized([np.sum((x - padded[k : k + n]) ** 2) for k in range(longest + 2)])
    minima = [d[i] for i in range(1, longest) if d[i - 1] > d[i] <= d[i + 1]]
    return d[longest] < min(minima, default=np.inf) and d[longest] > d[longest + 1]


@pytest.mark.skipif(LIBROSA < (0, 11), reason="librosa changed its difference in 0.11")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("sms_sax-phrase", marks=pytest.mark.slow),
        pytest.param("vocadito_1", marks=pytest.mark.slow),
        pytest.param("sms_cello-phrase", marks=pytest.mark.slow),
    ],
)
def test_pyin_equals_that_of_librosa_on_recordings(shared_data, name):
    audio, sample_rate = read(shared_data, f"sources/{name}.flac", 4)
    options = {"hop_length": 160, "fmin": 65.0, "fmax": 2093.0}
    f0_hz, is_voiced, probability = librosas(audio, sample_rate, **options)
    track = pyin(jnp.asarray(audio), sample_rate=sample_rate, **options)
    same = track.is_voiced == is_voiced
    assert np.mean(same) >= 0.995
    # librosa takes the end of the range for a minimum, too.
    frames, longest = centred_frames(audio, 2048, 160), int(np.ceil(sample_rate / 65.0))
    ends = np.array([is_deepest_at_its_end(x, longest) for x in frames])
    assert np.mean(same | ends) >= 0.999
    both = is_voiced & np.asarray(track.is_voiced)
    assert np.mean(np.isclose(track.f0_hz[both], f0_hz[both], rtol=1e-6)) >= 0.999
    # librosa keeps the last candidate of a bin, its difference has a fault at the first lag, and if
    # no minimum is below a threshold, one gets 0.01 even where a pitch below fmin fits better.
    off = np.abs(track.voiced_probability - probability)
    assert np.mean(off <= 1e-4) >= 0.97
    assert np.mean(off <= 0.0101) >= 0.99


# Physics


@pytest.mark.slow
def test_labelled_saxophone_notes_have_the_right_pitch(shared_data):
    with open(shared_data / "solo_notes" / "metadata.csv", encoding="utf-8") as file:
        notes = [row for row in csv.DictReader(file) if row["library"] == "mtg_solo_sax"][::12]
    track = jax.jit(
        lambda x: core.pyin(x, sample_rate=RATE, hop_length=160, fmin=65.0, fmax=2093.0)
    )
    errors = []
    for note in notes:
        audio, sample_rate = read(shared_data / "solo_notes", note["file"], 2)
        assert sample_rate == RATE
        played = track(jnp.asarray(np.pad(audio, (0, 2 * RATE - len(audio)))))
        midi = 69 + 12 * np.log2(np.asarray(played.f0_hz) / 440)
        errors.append(100 * (midi - float(note["midi"]))[np.asarray(played.is_voiced)])
    cents = np.abs(np.concatenate(errors))
    assert len(notes) >= 5
    assert np.mean(cents < 50) > 0.95
    assert np.median(cents) < 8


@pytest.mark.parametrize("f0_hz", [20.0, 440.0, 4000.0])
def test_tones_from_20_hz_to_4_khz(f0_hz):
    audio = jnp.asarray(harmonics(f0_hz, 22050, sample_rate=44100))
    track = pyin(
        audio, sample_rate=44100, hop_length=4410, fmin=19.0, fmax=4200.0, frame_length=8192
    )
    # Half a bin, and what the parabola adds at 11 samples a period.
    assert np.max(np.abs(1200 * np.log2(track.f0_hz[1:-1] / f0_hz))) < 13
    assert np.all(track.is_voiced[1:-1])


def test_silence_is_unvoiced_and_level_does_not_matter():
    tone = sine(220.0, 8000, sample_rate=RATE)
    sounds = np.stack([np.zeros(8000), noise(8000), tone, 1e-4 * tone, 1e3 * tone])
    track = pyin(jnp.asarray(sounds), sample_rate=RATE, hop_length=1000, fmin=65.0, fmax=1000.0)
    assert np.all(np.isfinite(track.f0_hz))
    assert not np.any(track.is_voiced[0])
    np.testing.assert_array_equal(track.voiced_probability[0], 0)
    # The path may call noise voiced, as the published one does; the frames do not.
    assert np.all(track.voiced_probability[1] < 0.2)
    assert np.all(track.is_voiced[2:])
    np.testing.assert_allclose(track.f0_hz[2:], 220.0, rtol=3.5e-3)


def test_the_path_does_not_follow_a_short_octave_error():
    # For 30 ms every other period is louder, and the octave below is the better period.
    n = 16000
    burst = np.where(np.abs(np.arange(n) - n // 2) < 240, 0.3, 0.0)
    audio = sine(220.0, n, sample_rate=RATE) + burst * sine(110.0, n, sample_rate=RATE)
    track = pyin(
        jnp.asarray(audio),
        sample_rate=RATE,
        hop_length=160,
        fmin=65.0,
        fmax=1000.0,
        frame_length=512,
    )
    assert np.all(np.abs(12 * np.log2(track.f0_hz[5:-5] / 220)) < 1)


# Blocks


@pytest.mark.parametrize(("chunk", "chunks"), [(7, 3), (30, 1)])
def test_blocks_do_not_change_the_track(monkeypatch, chunk, chunks):
    audio = jnp.asarray(np.stack([np.tile(small_audio(seed), 4) for seed in (0, 1)]))
    options = {**SMALL, "hop_length": 50, "frame_length": 120, "bins_per_octave": 24}
    whole = core.pyin(audio, **options)
    monkeypatch.setattr(_pyin, "_CHUNK", chunk)
    monkeypatch.setattr(_pyin, "_CHUNKS_PER_BLOCK", chunks)
    assert _pyin._plan(49).blocks > 1
    for part, expected in zip(core.pyin(audio, **options), whole, strict=True):
        np.testing.assert_allclose(part, expected, rtol=1e-5)


@pytest.mark.parametrize("frames", [1, 512, 513, 8192, 8193, 36001])
def test_a_plan_covers_all_frames_with_little_padding(frames):
    plan = _pyin._plan(frames)
    capacity = plan.blocks * plan.chunks * plan.chunk
    assert plan.chunk <= 512 and plan.chunks <= 16
    assert 0 <= capacity - frames < plan.blocks * plan.chunks + 512


def test_the_program_does_not_grow_with_the_hop():
    def size(hop_length):
        options = {"sample_rate": RATE, "hop_length": hop_length, "fmin": 65.0, "fmax": 2093.0}
        return len(jax.jit(partial(core.pyin, **options)).lower(jnp.zeros(RATE)).as_text())

    # In a second the pitch can move from any bin to any other, in 10 ms to 40 of them.
    assert size(RATE) < 2 * size(160)


# Boundary


@pytest.mark.parametrize("name", ["mean_threshold", "no_trough_probability", "switch_probability"])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_probability_out_of_range_is_refused(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be above 0 and below 1, got {value}"):
        core.pyin(jnp.zeros(300), **SMALL, frame_length=120, **{name: value})
