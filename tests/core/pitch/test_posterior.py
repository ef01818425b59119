from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import DTYPES, assert_close, assert_finite_grads, compiled, noise, sine
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

RATE = 16000
posterior_of = compiled(core.pitch_posterior)

# Values


def posterior_of_frame(x, *, sample_rate, fmin, bins_per_octave, n_bins, reach):
    """Log-probability of the states, frequency and aperiodicity of the bins, in loops."""
    longest = 2 * len(x) // 3
    d = [np.mean((x[: len(x) - k] - x[k:]) ** 2) for k in range(longest + 2)]
    curve = normalized(d)
    own = [(1.0, fmin * 2 ** (b / bins_per_octave)) for b in range(n_bins)]
    outside = [-np.inf]

    def handicap(f0_hz):
        return 0.2 * (np.log2(f0_hz / fmin) - (n_bins - 1) / bins_per_octave)

    for k in range(1, longest + 1):
        if curve[k - 1] > curve[k] <= curve[k + 1]:
            shift = vertex(*d[k - 1 : k + 2])
            depth = min(max(value_at(*curve[k - 1 : k + 2], shift), 0), 1)
            f0_hz = sample_rate / (k + shift)
            b = round(bins_per_octave * np.log2(f0_hz / fmin))
            if 0 <= b < n_bins and depth < own[b][0]:
                own[b] = (depth, f0_hz)
            elif not 0 <= b < n_bins and depth < 0.45:
                outside.append(np.log(max(1 - depth, 0.02)) + handicap(f0_hz))

    best = []
    for b in range(n_bins):
        near = range(max(0, b - reach), min(n_bins, b + reach + 1))
        scores = {
            c: np.log(max(1 - own[c][0], 0.02)) + handicap(own[c][1]) - 0.02 * abs(b - c) / reach
            for c in sorted(near, key=lambda c: abs(c - b))
        }
        winner = max(scores, key=scores.get)
        best.append((scores[winner], *own[winner]))
    likeliest = max(best)
    no_pitch = max(handicap(likeliest[2]) + np.log(0.55), *outside)
    scores = np.array([score for score, _, _ in best] + [no_pitch])
    log_probability = scores / 0.1 - np.log(np.sum(np.exp(scores / 0.1)))
    return log_probability, [f for _, _, f in best], [a for _, a, _ in best]


def test_the_posterior_is_its_definition():
    audio, n_bins = small_audio(), 1 + int(60 * np.log2(5))
    expected = [
        posterior_of_frame(
            x, sample_rate=8000, fmin=200.0, bins_per_octave=60, n_bins=n_bins, reach=2
        )
        for x in centred_frames(audio, 160, 100)
    ]
    actual = posterior_of(jnp.asarray(audio), **SMALL, frame_length=160)
    for name, values in zip(actual._fields, zip(*expected, strict=True), strict=True):
        assert_close(getattr(actual, name), np.array(values), scale=1000)


# Physics


def likeliest_hz(posterior):
    """Frequency of the likeliest bin, NaN where no pitch is likelier."""
    state = np.argmax(posterior.log_probability, axis=-1)
    n_bins = posterior.f0_hz.shape[-1]
    picked = np.minimum(state, n_bins - 1)[..., None]
    f0_hz = np.take_along_axis(np.asarray(posterior.f0_hz), picked, axis=-1)[..., 0]
    return np.where(state < n_bins, f0_hz, np.nan)


def posterior_hz(audio, sample_rate=RATE, **options):
    posterior = posterior_of(
        jnp.asarray(audio),
        sample_rate=sample_rate,
        hop_length=sample_rate // 20,
        fmin=32.7,
        fmax=2093.0,
        frame_length=2 * (sample_rate // 31),
        **options,
    )
    return likeliest_hz(posterior)[..., 2:-2]


@pytest.mark.parametrize("sample_rate", [16000, 44100])
def test_a_tone_reads_its_pitch_within_five_cents(sample_rate):
    tones_hz = np.array([41.2, 98.0, 196.0, 440.0, 881.7, 1396.9, 1999.0])
    audio = [harmonics(f, sample_rate // 2, sample_rate=sample_rate) for f in tones_hz]
    f0_hz = posterior_hz(np.stack(audio), sample_rate)
    cents = 1200 * np.log2(f0_hz / tones_hz[:, None])
    assert np.max(np.abs(cents)) < 5
    assert np.median(np.abs(cents)) < 1


def test_level_and_offset_do_not_matter():
    audio = harmonics(233.1, 8000, sample_rate=RATE) + 0.3 * noise(8000)
    plain = posterior_hz(audio)
    for other in (1e-5 * audio, 1e3 * audio, -audio, audio + 20):
        np.testing.assert_allclose(posterior_hz(other), plain, rtol=1e-3)


def test_the_fundamental_may_be_missing():
    audio = harmonics(220.0, 8000, sample_rate=RATE, orders=(2, 3, 4, 5))
    np.testing.assert_allclose(posterior_hz(audio), 220.0, rtol=1e-3)


def test_the_octave_cost_decides_between_a_period_and_its_multiples():
    # Every other period differs a little: the pitch is 220 Hz, but the exact period is of 110 Hz.
    audio = sine(220.0, 8000, sample_rate=RATE) + 0.12 * sine(110.0, 8000, sample_rate=RATE)
    np.testing.assert_allclose(posterior_hz(audio), 220.0, rtol=2e-2)
    np.testing.assert_allclose(posterior_hz(audio, octave_cost=0.005), 110.0, rtol=2e-2)


def test_a_pitch_outside_of_the_range_gives_no_pitch_within():
    sounds = [sine(3000, 8000, sample_rate=RATE), sine(4100, 8000, sample_rate=RATE)]
    assert np.all(np.isnan(posterior_hz(np.stack(sounds) + 0.01 * noise(8000))))


def test_silence_and_noise_have_no_pitch():
    assert np.all(np.isnan(posterior_hz(np.zeros(8000))))
    assert np.all(np.isnan(posterior_hz(noise(8000))))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_constant_counts_as_silence_for_any_rounding_of_its_mean(dtype):
    levels = np.array([1.0, 0.1, 1 / 3, 7.0, 1e-3], dtype)
    audio = jnp.asarray(np.repeat(levels[:, None], 300, axis=1))

    @jax.jit
    @partial(jax.grad, has_aux=True)
    def gradient_of_total(audio):
        posterior = core.pitch_posterior(audio, **SMALL, frame_length=120)
        interior = jax.tree.map(lambda y: y[:, 1:-1], posterior)
        return sum(jnp.sum(y) for y in interior), interior.aperiodicity

    gradient, aperiodicity = gradient_of_total(audio)
    np.testing.assert_array_equal(aperiodicity, 1)
    np.testing.assert_array_equal(gradient, 0)


# Gradients


def test_gradients_are_finite_for_silence_constants_and_high_tones():
    audio = np.stack([np.zeros(300), np.ones(300), sine(2000, 300, sample_rate=8000)])
    assert_finite_grads(partial(core.pitch_posterior, **SMALL, frame_length=120), audio)
