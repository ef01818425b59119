import inspect
from functools import partial

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import soundfile
from helpers import assert_close, assert_finite_grads, check_grads, compiled, noise, sine
from pitch_signals import (
    SMALL,
    centred_frames,
    harmonics,
    normalized,
    small_audio,
    value_at,
    vertex,
)

from ddspx import core

LIBROSA = tuple(int(part) for part in librosa.__version__.split(".")[:2])
RATE = 16000
yin = compiled(core.yin)

# Values


def differences_of(x, method, longest):
    """Difference and normalized difference at the lags 0 to `longest`, in loops."""
    if method == "paper":
        d = [np.mean((x[: len(x) - k] - x[k:]) ** 2) for k in range(longest + 1)]
    else:
        padded = np.pad(x, (0, longest))
        d = [
            sum((padded[m] - padded[m + k]) ** 2 for m in range(len(x))) for k in range(longest + 1)
        ]
    return np.array(d), np.array(normalized(d))


def yin_of_frame(x, sample_rate, fmin, fmax, threshold, method):
    """Frequency and confidence by the definition, in loops."""
    low, high = int(sample_rate // fmax), int(np.ceil(sample_rate / fmin))
    longest = max(high, len(x) // 2)
    difference, beyond = differences_of(x, method, longest + 1)
    whole = beyond[: high + 2]

    def parabola(curve, lag):
        three = curve[lag - 1 : lag + 2]
        return vertex(*three), value_at(*three, vertex(*three))

    lags = list(range(low, high + 1))
    curve = whole[low:-1]
    around = [np.inf, *curve, np.inf]
    troughs = [lag for i, lag in enumerate(lags) if around[i] > curve[i] <= around[i + 2]]
    depths = {lag: parabola(whole, lag)[1] for lag in lags}
    if method == "librosa":
        depths[low], depths[high] = whole[low], whole[high]
        accepted = [lag for lag in troughs if whole[lag] < threshold]
    else:
        accepted = [lag for lag in troughs if depths[lag] < threshold]
    pick = accepted[0] if accepted else low + int(np.argmin(curve))
    shift = parabola(difference if method == "paper" else whole, pick)[0]
    if method == "librosa" and pick in (low, high):
        shift = 0.0
    depth = depths[pick]
    minima = [k for k in range(1, longest + 1) if beyond[k - 1] > beyond[k] <= beyond[k + 1]]
    shorter = [k for k in minima if 2 <= k < low and beyond[k] <= depth + 0.1 * (1 - depth)]
    longer = [k for k in minima if k > high and threshold <= depth > 2 * beyond[k]]
    is_it = pick in minima and not shorter and not longer
    return sample_rate / (pick + shift), min(max(1 - depth, 0), 1) * is_it


@pytest.mark.parametrize("method", ["paper", "librosa"])
@pytest.mark.parametrize("threshold", [0.1, 0.5])
def test_yin_is_its_definition(threshold, method):
    audio = small_audio()
    frames = centred_frames(audio, 120, 100)
    if method == "paper":
        frames = [x - x.mean() for x in frames]
    expected = [yin_of_frame(x, 8000, 200.0, 1000.0, threshold, method) for x in frames]
    options = {"frame_length": 120, "threshold": threshold, "method": method}
    f0_hz, confidence = yin(jnp.asarray(audio), **SMALL, **options)
    assert_close(f0_hz, [f for f, _ in expected], scale=100)
    assert_close(confidence, [c for _, c in expected], scale=100)


def difference_of_librosa(frames, min_period, max_period):
    """The normalized difference of librosa 0.11, without its fault at the first lag.

    It subtracts from d(1) a sum of squares that it has just set to zero in place.
    """
    correlation = librosa.autocorrelate(frames, max_size=max_period + 1, axis=-2)
    head = np.cumsum(frames**2, axis=-2)[:max_period]
    difference = 2 * (correlation[:1] - correlation[1:]) - head
    mean = np.cumsum(difference, axis=-2) / np.arange(1, max_period + 1)[:, None]
    return (difference / (mean + np.finfo(mean.dtype).tiny))[min_period - 1 :]


def check_librosa(monkeypatch, audio, sample_rate, **options):
    """Asserts librosa's frequency: exactly but for its fault, and closely with it."""
    f0_hz, _ = yin(jnp.asarray(audio), sample_rate=sample_rate, method="librosa", **options)
    is_double = f0_hz.dtype == np.float64
    published = librosa.yin(audio, sr=sample_rate, **options)
    # Roundings of float32 may choose another minimum in noise, where none is below the threshold.
    assert np.mean(np.isclose(f0_hz, published, rtol=1e-3)) >= (0.998 if is_double else 0.9)
    name = "librosa.core.pitch._cumulative_mean_normalized_difference"
    monkeypatch.setattr(name, difference_of_librosa)
    if is_double:
        expected = librosa.yin(audio, sr=sample_rate, **options)
        np.testing.assert_allclose(f0_hz, expected, rtol=1e-8)


@pytest.mark.skipif(LIBROSA < (0, 11), reason="librosa changed its difference in 0.11")
@pytest.mark.parametrize(
    ("sample_rate", "frame_length", "fmin", "fmax"),
    [(16000, 2048, 65.0, 2000.0), (44100, 8192, 20.0, 4000.0)],
)
def test_yin_equals_that_of_librosa(monkeypatch, sample_rate, frame_length, fmin, fmax):
    n = sample_rate // 2
    tone = harmonics(171.3, n, sample_rate=sample_rate)
    glide = np.sin(2 * np.pi * np.cumsum(np.geomspace(fmin, fmax, n)) / sample_rate)
    audio = np.concatenate([tone + 0.05 * noise(n), noise(n, seed=1), 1e-4 * glide])
    options = {"hop_length": 1024, "fmin": fmin, "fmax": fmax, "frame_length": frame_length}
    check_librosa(monkeypatch, audio, sample_rate, **options)


@pytest.mark.skipif(LIBROSA < (0, 11), reason="librosa changed its difference in 0.11")
@pytest.mark.parametrize("name", ["vocadito_1", "sms_cello-phrase", "sms_speech-male"])
def test_yin_equals_that_of_librosa_on_recordings(shared_data, monkeypatch, name):
    audio, sample_rate = soundfile.read(shared_data / "sources" / f"{name}.flac")
    options = {"hop_length": 160, "fmin": 20.0, "fmax": 4000.0, "frame_length": 2048}
    check_librosa(monkeypatch, audio[: 10 * sample_rate], sample_rate, **options)


# Physics


@pytest.mark.parametrize("f0_hz", [20.0, 41.2, 440.0, 2000.0, 4000.0])
def test_tones_from_20_hz_to_4_khz(f0_hz):
    audio = jnp.asarray(harmonics(f0_hz, 22050, sample_rate=44100))
    tracked_hz, confidence = yin(
        audio, sample_rate=44100, hop_length=4410, fmin=19.0, fmax=4200.0, frame_length=8192
    )
    # A period of 4 kHz is 11 samples, and a parabola only so much like a cosine.
    assert np.max(np.abs(1200 * np.log2(tracked_hz[1:-1] / f0_hz))) < 8
    assert np.all(confidence[1:-1] > 0.8)


@pytest.mark.parametrize("sample_rate", [16000, 44100])
def test_a_tone_has_its_pitch_where_that_of_librosa_is_cents_off(sample_rate):
    f0_hz = np.geomspace(70, 1500, 12)
    audio = np.sin(2 * np.pi * f0_hz[:, None] * np.arange(sample_rate // 5) / sample_rate)
    options = {"sample_rate": sample_rate, "hop_length": sample_rate // 20}
    off = {}
    for method in ("paper", "librosa"):
        tracked = yin(jnp.asarray(audio), **options, fmin=50.0, fmax=2000.0, method=method)[0]
        off[method] = np.max(np.abs(1200 * np.log2(tracked[:, 2] / f0_hz)))
    assert off["paper"] < 1 < 4 < off["librosa"]


def test_a_constant_does_not_move_the_pitch():
    audio = harmonics(171.3, 4000, sample_rate=RATE)
    options = {"sample_rate": RATE, "hop_length": 1000, "fmin": 60.0, "fmax": 1000.0}
    still, moved = (yin(jnp.asarray(audio + c), **options)[0][2] for c in (0, 50))
    np.testing.assert_allclose(moved, still, rtol=1e-4)


def test_silence_has_no_pitch():
    f0_hz, confidence = yin(
        jnp.zeros(8000), sample_rate=RATE, hop_length=1000, fmin=50.0, fmax=2000.0
    )
    assert np.all(np.isfinite(f0_hz))
    np.testing.assert_array_equal(confidence, 0)


def test_confidence_falls_from_tone_to_noise():
    shares = np.linspace(0, 1, 6)[:, None]
    mixed = (1 - shares) * harmonics(150.0, 8000, sample_rate=RATE) + shares * noise(8000)
    _, confidence = yin(
        jnp.asarray(mixed), sample_rate=RATE, hop_length=1000, fmin=60.0, fmax=1000.0
    )
    middle = np.median(np.asarray(confidence)[:, 2:-2], axis=-1)
    assert np.all(np.diff(middle) < 0)
    assert middle[0] > 0.9
    assert middle[-1] < 0.3


def test_yin_has_a_low_confidence_outside_its_range():
    time_s = np.arange(8000) / 16000
    rates = {"sample_rate": 16000, "hop_length": 2000, "fmin": 100.0, "fmax": 1000.0}
    yin = jax.jit(partial(core.yin, **rates))
    saw = sum(np.sin(2 * np.pi * 95 * k * time_s) / k for k in range(1, 20))
    inside, *outside = (
        yin(jnp.asarray(audio))[1]
        for audio in (*(np.sin(2 * np.pi * f * time_s) for f in (300, 50, 1100, 3000)), saw)
    )
    assert np.all(inside[1:-1] > 0.9)
    assert all(np.all(confidence[1:-1] == 0) for confidence in outside)
    f0_hz, confidence = yin(jnp.zeros(8000))
    assert np.all(f0_hz <= 16000 / 16) and np.all(confidence == 0)


# Gradients


def test_the_gradient_of_yin_is_that_of_the_chosen_minimum():
    audio = harmonics(300.0, 300, sample_rate=8000) + 0.1 * noise(300)

    def f(x):
        return core.yin(x, **SMALL, frame_length=120)

    check_grads(f, audio, order=1)


def test_gradients_are_finite_for_silence_constants_and_high_tones():
    audio = np.stack([np.zeros(300), np.ones(300), sine(2000, 300, sample_rate=8000)])
    assert_finite_grads(partial(core.yin, **SMALL, frame_length=120), audio)


# Boundary


@pytest.mark.parametrize("f", [core.yin, core.pitch_posterior, core.pyin])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fmin": 0.0}, "`fmin` must be above 0 and below `fmax`=1000.0, got 0.0"),
        ({"fmin": 1200.0}, "`fmin` must be above 0 and below `fmax`=1000.0, got 1200.0"),
        ({"fmax": 5000.0}, "`fmax` must be at most half of `sample_rate`=8000, got 5000.0"),
        ({"frame_length": 41}, "`frame_length` must hold a period .* got 41; use 42 samples"),
        ({"hop_length": 0}, "`hop_length` must be at least 1"),
    ],
)
def test_a_range_that_cannot_be_searched_is_refused(f, change, message):
    with pytest.raises(ValueError, match=message):
        f(jnp.zeros(300), **{**SMALL, "frame_length": 120, **change})


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="`method` must be one of 'paper', 'librosa', got 'mpm'"):
        inspect.unwrap(core.yin)(jnp.zeros(300), **SMALL, frame_length=120, method="mpm")
