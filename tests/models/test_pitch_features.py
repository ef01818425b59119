"""The pitch tracker's features, refinement and decoding, by definition."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import noise, quick_jit
from toy_tracker import (
    DEFAULT,
    DTYPE,
    HOP,
    SMALL,
    cents,
    correlate,
    features,
    refine,
    tone,
    toy_tracker,
)

from ddspx.models.pitch import decode_pitch
from ddspx.models.pitch.limits import has_harmonic, is_within

# Multiples of a bin's pitch in each window, in the order of the features.
MULTIPLES = ((1, 2, 3, 4), (1 / 3, 1 / 2, 1, 3 / 2, 2, 3, 4, 5, 6, 8))

# features


def windowed(audio, centre, win_length):
    """A frame under a periodic Hann window, and the window."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(win_length) / win_length)
    start = centre - win_length // 2
    return audio[start : start + win_length] * window, window


def lagged(x, lags, longest):
    """Autocorrelation of x at fractional lags, by band-limited interpolation."""
    values = np.array([np.dot(x[: len(x) - abs(n)], x[abs(n) :]) for n in range(-longest, longest)])
    return np.sinc(np.asarray(lags)[:, None] - np.arange(-longest, longest)) @ values


def offset_by_definition(audio, centre, config):
    """The share that counts of the mean of 16 frames, of those that lie in the sound."""
    longest, means = max(config.win_lengths), []
    eighth = math.ceil(longest / 8)
    for at in range(centre - 15 * HOP, centre + 1, HOP):
        start = at - longest // 2
        # Every eighth of the window must hold some of the sound.
        if start + eighth > 0 and start + 7 * eighth < len(audio):
            padded = np.pad(audio, longest)
            frame, window = windowed(padded, at + longest, longest)
            means.append(frame.sum() / window.sum())
    frame, window = windowed(audio, centre, longest)
    own = frame.sum() / window.sum()
    c = np.clip(np.mean(means), min(own, 0), max(own, 0))
    power = np.sum((frame - c * window) ** 2) / (window @ window)
    return c * c**4 / (c**4 + (power / 10) ** 2)


def features_by_definition(audio, centre, config):
    columns = []
    offset = offset_by_definition(audio, centre, config)
    for win_length, multiples in zip(config.win_lengths, MULTIPLES, strict=True):
        frame, window = windowed(audio, centre, win_length)
        frame = frame - offset * window
        n_fft = 2 ** math.ceil(math.log2(4 / 3 * win_length))
        power = np.abs(np.fft.rfft(frame, n_fft)) ** 2
        line_hz = config.sample_rate / n_fft
        width = 2 ** (1 / config.bins_per_octave) - 1
        for multiple in multiples:
            steps = round(config.bins_per_octave * math.log2(multiple))
            levels = []
            for b in range(config.n_bins):
                hz = config.fmin * 2 ** ((b + steps) / config.bins_per_octave)
                distance = np.abs(np.arange(len(power)) * line_hz - hz)
                band = np.maximum(0, 1 - distance / max(hz * width, line_hz)) @ power
                levels.append(1 + np.log10(band / power.sum() + 1e-8) / 4)
            columns.append(levels)
        octaves = np.arange(config.n_bins) / config.bins_per_octave
        lags = config.sample_rate / (config.fmin * 2**octaves)
        own = lagged(window, lags, win_length) / np.dot(window, window)
        # `power.sum()` gives the mean square of the frame.
        repeated = lagged(frame, lags, win_length) / (2 * power.sum() / n_fft)
        columns.append(np.where(own > 0.1, repeated / np.maximum(own, 0.1), 0))
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize("offset", [0, 0.02, -0.3])
def test_features_are_their_definition(offset):
    # The audio has no power near Nyquist, where the interpolation between lags is ambiguous.
    audio = tone(171.3, 1000, config=SMALL) + np.convolve(noise(1000), np.hanning(9), "same") / 30
    audio = audio + offset
    actual = np.asarray(features(jnp.asarray(audio[None], DTYPE), SMALL))[0]
    assert actual.shape == (1 + 1000 // HOP, SMALL.n_bins, 16)
    for frame in (4, 5, 6):
        expected = features_by_definition(audio, frame * HOP, SMALL)
        for column in range(16):
            is_repetition = column in (4, 15)
            np.testing.assert_allclose(
                actual[frame, :, column],
                expected[:, column],
                # The ends of the window wrap around at long lags; float32 rounds empty bands.
                atol=2e-3 if is_repetition else 1e-7 if DTYPE == np.float64 else 3e-3,
                err_msg=f"feature {column}",
            )


@pytest.mark.parametrize("b", [48, 86])
def test_a_harmonic_tone_shows_in_its_bin(b):
    f0_hz = DEFAULT.fmin * 2 ** (b / DEFAULT.bins_per_octave)
    audio = jnp.asarray(tone(f0_hz, 6000)[None], DTYPE)
    frame = np.asarray(features(audio, DEFAULT))[0, 12]
    long = dict(zip(MULTIPLES[1], frame[:, 5:15].T, strict=True))
    # The harmonics have the powers 1, 1/4, 1/9..., in total 1.53; a band gets at least a quarter.
    for multiple in (1, 2, 3, 4, 5, 6, 8):
        share = 1 / multiple**2 / 1.53
        level = 1 + math.log10(share) / 4
        assert level - 0.2 < long[multiple][b] < level + 0.1, multiple
    octave = DEFAULT.bins_per_octave
    # At the true pitch, half of it is empty; an octave above, half of it is the tone.
    assert long[1 / 2][b] < 0.2 and long[1 / 2][b + octave] > 0.8 and long[1][b - octave] < 0.2
    for repetition in (frame[:, 4], frame[:, 15]):
        assert 0.98 < repetition[b] < 1.02
        assert np.abs(repetition[b + 4 : b + octave]).max() < 0.9


# refinement


def test_autocorrelation_is_its_definition():
    audio = np.convolve(noise(2000), np.hanning(9), "same")
    correlation, mean_square = correlate(jnp.asarray(audio, DTYPE), SMALL)
    longest = 0.03 * SMALL.sample_rate
    assert correlation.shape[-1] > 2 * longest * 2 ** (60 / 1200)
    for i in (5, 11):
        frame, window = windowed(audio, i * HOP, 690)
        frame = frame - offset_by_definition(audio, i * HOP, SMALL) * window
        lags = np.arange(correlation.shape[-1]) / 2
        own = lagged(window, lags, 690) / np.dot(window, window)
        expected = lagged(frame, lags, 690) / np.dot(frame, frame) / own
        np.testing.assert_allclose(correlation[i], expected, atol=2e-3)
        np.testing.assert_allclose(
            mean_square[i], np.dot(frame, frame) / np.dot(window, window), rtol=1e-5
        )
    np.testing.assert_allclose(correlation[:, 0], 1, rtol=1e-6)


def test_the_autocorrelation_of_silence_is_zero():
    correlation, mean_square = correlate(jnp.zeros(2000, DTYPE), SMALL)
    assert not np.any(correlation) and not np.any(mean_square)


def test_lags_beyond_the_window_are_not_compared():
    """A window shorter than the longest lag: the division by what it holds must stay bounded."""
    config = dataclasses.replace(DEFAULT, win_lengths=(128, 256))
    f0_hz = 500 * 2 ** np.linspace(0, 1, 5)
    audio = jnp.asarray(np.stack([tone(f, 4097, n_harmonics=3) for f in f0_hz]), DTYPE)
    correlation, _ = correlate(audio, config)
    assert np.abs(correlation).max() < 1.1
    guess = jnp.asarray(f0_hz[:, None] * 2 ** (20 / 1200), DTYPE)
    refined = refine(guess, correlation[:, 8:9], config)
    assert np.abs(cents(refined[:, 0], f0_hz)).max() < 20


def test_refined_pitch_is_exact():
    """Over the whole range, from guesses on either side."""
    f0_hz = 32.5 * 2 ** (np.arange(25) / 4.13)
    assert 2100 > f0_hz[-1] > 1700
    audio = jnp.asarray(np.stack([tone(f, 4097, n_harmonics=20) for f in f0_hz]), DTYPE)
    correlation, _ = correlate(audio, DEFAULT)
    for off in (-30, 0, 30):
        guess = jnp.asarray(f0_hz[:, None] * 2 ** (off / 1200), DTYPE)
        refined = refine(guess, correlation[:, 8:9], DEFAULT)
        error = np.abs(cents(refined[:, 0], f0_hz))
        # The window has only three periods of the lowest pitch, so its harmonics overlap.
        assert error[f0_hz > 40].max() < 0.1 and error.max() < 0.5


def test_a_guess_is_kept_where_no_period_is_found():
    guesses = (DEFAULT.fmin * 2 ** np.linspace(0.1, 6, 17)[None]).astype(DTYPE)
    hiss = noise(16 * 256).astype(DTYPE)
    correlation, _ = correlate(np.stack([hiss, 0 * hiss]), DEFAULT)
    correlation = np.array(correlation)
    guesses = guesses.repeat(2, axis=0)
    # In noise, no peak at lags of lower pitches reaches one half.
    assert np.abs(correlation[0, 4:13, 40:]).max() < 0.5
    correlation[:, :4] = correlation[:, 13:] = correlation[..., :40] = 0
    np.testing.assert_array_equal(refine(guesses, correlation, DEFAULT), guesses)
    # A slope has no peak, even at high correlations.
    slope = np.broadcast_to(
        np.linspace(1, 0.6, correlation.shape[-1], dtype=DTYPE), correlation.shape
    )
    np.testing.assert_array_equal(refine(guesses, slope, DEFAULT), guesses)


def test_refinement_stays_near_its_guess():
    """With a peak everywhere, it moves by 60 cents or 0.4 periods at most, twice."""
    f0_hz = DEFAULT.fmin * 2 ** np.linspace(0, 6.1, 40)
    n_lags = correlate(jnp.zeros(256, DTYPE), DEFAULT)[0].shape[-1]
    ragged = 0.6 + 0.4 * np.random.default_rng(0).uniform(size=(50, 40, n_lags))
    guess = np.broadcast_to(f0_hz.astype(DTYPE), (50, 40))
    refined = np.asarray(refine(guess, jnp.asarray(ragged, DTYPE), DEFAULT), np.float64)
    assert np.mean(refined != guess) > 0.5
    rate, limit, now = 2 * DEFAULT.sample_rate, np.zeros(40), f0_hz
    for longest_s in (0.0075, 0.03):
        periods = np.maximum(1, np.floor(longest_s * f0_hz * 2 ** (-120 / 1200)))
        # The rounding to the grid and the parabola can add 1.5 points.
        reach = np.minimum(periods * (2 ** (60 / 1200) - 1), 0.4) + 1.5 * f0_hz / rate
        limit = limit + 1200 * np.log2(1 / (1 - reach / periods))
    assert (np.abs(cents(refined, now)) <= limit).all()


# decoding


decoded = quick_jit(decode_pitch, static_argnums=1)


def decode(logits):
    return np.asarray(decoded(jnp.asarray(logits, DTYPE), SMALL), np.float64)


def bin_hz(b, config=SMALL):
    return config.fmin * 2 ** (b / config.bins_per_octave)


def test_pitch_is_the_mean_around_the_strongest_bin():
    logits = np.full((3, SMALL.n_bins), -50.0)
    logits[0, 40] = 5
    logits[1, [60, 61, 63]] = np.log([0.5, 0.3, 0.4])  # the last is too far away to count
    logits[2, [0, 1, 119]] = np.log([0.6, 0.2, 0.5])
    expected = [bin_hz(40), bin_hz((0.5 * 60 + 0.3 * 61) / 0.8), bin_hz(0.2 / 0.8)]
    np.testing.assert_allclose(cents(decode(logits), expected), 0, atol=0.01)
    np.testing.assert_allclose(cents(decode(logits[0]), expected[0]), 0, atol=0.01)


def test_pitches_count_within_limits_and_half_a_bin_beyond():
    f0_hz = jnp.asarray([bin_hz(b) for b in (60.4, 60.6, 70, 89.4, 89.6, 119.6)], DTYPE)
    within = is_within(f0_hz, SMALL, fmin=bin_hz(61), fmax=bin_hz(89))
    np.testing.assert_array_equal(within, [False, True, True, True, False, False])


def has_harmonic_by_definition(f0_hz, power, *, sample_rate, fmax):
    """Whether a harmonic up to 0.95 fmax has 1 % of the strongest line above, in loops."""
    line_hz = sample_rate / (2 * (len(power) - 1))
    above = max(p for i, p in enumerate(power) if i * line_hz > 0.95 * fmax)
    found = 0.0
    for k in range(1, 1000):
        if k == 1 or k * f0_hz <= 0.95 * fmax:
            line = min(round(k * f0_hz / line_hz), len(power) - 1)
            found = max(found, *power[max(0, line - 2) : line + 3])
    return found >= 0.01 * above


def test_a_pitch_without_a_harmonic_in_the_spectrum_does_not_count():
    rng = np.random.default_rng(0)
    power = 10 ** rng.uniform(-5, 0, (300, 129))
    # 100 frames without power above the range, 100 with little power below, and 100 with both.
    power[:100, 60:] *= 1e-6
    power[100:200, :60] *= 1e-2
    f0_hz = np.geomspace(60, 1800, 300)[rng.permutation(300)]
    asked = {"sample_rate": 8000, "fmax": 1865.0}
    expected = [
        has_harmonic_by_definition(f, p, **asked) for f, p in zip(f0_hz, power, strict=True)
    ]
    is_there = has_harmonic(
        jnp.asarray(f0_hz, DTYPE), jnp.asarray(power, DTYPE), fmin=60.0, **asked
    )
    assert np.mean(expected[:100]) == 1 and 0 < np.mean(expected[100:200]) < 1
    np.testing.assert_array_equal(is_there, expected)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"fmin": 200.0, "fmax": 200.0}, "`fmin` must be positive and below `fmax`, got 200.0"),
        ({"fmin": 0.0}, "`fmin` must be positive and below `fmax`, got 0.0"),
        ({"fmax": math.inf}, "below `fmax`, got 60.0 and inf Hz"),
        ({"fmax": math.nan}, "below `fmax`, got 60.0 and nan Hz"),
        ({"fmin": 3000.0, "fmax": 3900.0}, "overlap the tracker's range, 60 to 1865 Hz"),
    ],
)
def test_ranges_without_a_pitch_are_refused(options, sentence):
    # It is kept for other tests, so it must not be made in a trace.
    tracker = toy_tracker()
    with pytest.raises(ValueError, match=sentence):
        jax.eval_shape(lambda audio: tracker.track(audio, **options), jnp.zeros(500, DTYPE))


def test_logits_of_another_config_are_refused():
    with pytest.raises(
        ValueError, match="`logits` and `config` must have the same number of bins, got 119"
    ):
        decode(np.zeros(119))
