import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from flax import nnx
from helpers import assert_close

from ddspx import metrics
from ddspx.nn import DecayingReverb, DecayingReverbConfig, TapReverb, TapReverbConfig

SAMPLE_RATE = 16_000


def test_the_response_to_an_impulse_is_the_impulse_and_then_the_taps(rng):
    reverb = TapReverb(TapReverbConfig(6), rngs=nnx.Rngs(0))
    taps = rng.normal(size=6).astype(np.float32)
    reverb.taps[...] = jnp.asarray(taps)
    impulse = jnp.zeros((2, 9), jnp.float32).at[:, 1].set(1.0)
    expected = np.zeros((2, 9))
    expected[:, 1] = 1.0
    expected[:, 2:7] = taps[1:]
    assert_close(reverb(impulse), expected, scale=4)


def test_only_the_masked_tap_has_no_gradient(rng):
    reverb = TapReverb(TapReverbConfig(6), rngs=nnx.Rngs(0))
    audio = jnp.asarray(rng.normal(size=20), jnp.float32)
    graph, state = nnx.split(reverb)
    gradient = jax.grad(lambda s: jnp.sum(nnx.merge(graph, s)(audio) ** 2))(state)
    taps = np.asarray(jax.tree.leaves(gradient)[0])
    assert taps[0] == 0
    assert np.all(np.abs(taps[1:]) > 0)


def test_a_room_may_be_longer_than_the_sound(rng):
    # A warning of a response that is longer than the audio would be an error in tests.
    reverb = TapReverb(TapReverbConfig(4000), rngs=nnx.Rngs(0))
    audio = jnp.asarray(rng.normal(size=300), jnp.float32)
    padded = jnp.pad(audio, (0, 4000))
    assert_close(reverb(audio), np.asarray(reverb(padded))[:300], scale=4)


def decaying(rng, length=8000, early_length=400):
    """A decaying reverb with random parameters, and its response."""
    config = DecayingReverbConfig(length, early_length)
    reverb = DecayingReverb(config, sample_rate=SAMPLE_RATE, rngs=nnx.Rngs(0))
    reverb.levels[...] = jnp.asarray(rng.uniform(-0.1, 0.1, 7), jnp.float32)
    reverb.times[...] = jnp.asarray(rng.uniform(-0.05, 0.4, 7), jnp.float32)
    reverb.early[...] = jnp.asarray(0.01 * rng.normal(size=early_length), jnp.float32)
    return reverb, np.asarray(reverb.impulse_response, np.float64)


def test_octaves_of_equal_level_and_time_are_one_decaying_noise():
    reverb = DecayingReverb(DecayingReverbConfig(), sample_rate=SAMPLE_RATE, rngs=nnx.Rngs(0))
    signs = 2.0 * scipy.signal.max_len_seq(14, length=16_014)[0][14:] - 1
    time_s, t60_s = np.arange(16_000) / SAMPLE_RATE, 0.2
    gain = np.sqrt(6 * np.log(10) / (SAMPLE_RATE * t60_s)) * 10 ** (-30 / 20)
    expected = gain * 10 ** (-3 * time_s / t60_s) * signs
    expected[0] = 0
    response = np.asarray(reverb.impulse_response, np.float64)
    early = 0.1 * np.asarray(reverb.early[...]) * np.cos(np.pi / 2 * np.arange(800) / 800) ** 2
    response[1:800] -= early[1:]
    np.testing.assert_allclose(response, expected, atol=1e-5 * gain)


def test_each_octave_rings_as_long_as_its_time_says(rng):
    """Measured as ISO 3382 does, by filters and integration, on the response alone."""
    reverb, _ = decaying(rng, length=16_000, early_length=1)
    times = jnp.linspace(0.3, -0.05, 7)
    reverb.times[...] = times.astype(jnp.float32)
    found = metrics.reverberation(reverb.impulse_response, sample_rate=SAMPLE_RATE)
    # An octave around 250, 500, ... Hz holds half of two octaves that end or begin there.
    t60_s, measured = np.asarray(reverb.t60_s, np.float64), np.asarray(found.t60_s[1:6])
    assert np.all((measured < 1.1 * t60_s[1:6]) & (measured > 0.9 * t60_s[2:7]))
    assert t60_s[0] > 5 * t60_s[-1]


def test_a_room_decays_whatever_its_parameters_are(rng):
    for _ in range(8):
        _, response = decaying(rng)
        energy = np.sum(response.reshape(-1, 800) ** 2, axis=1)
        assert np.all(np.diff(10 * np.log10(energy)) < 0)
        assert energy[-1] < 1e-6 * energy[0]
    reverb, _ = decaying(rng)
    # However far training moves them, the times stay in bounds.
    reverb.times[...] = jnp.full(7, 1e3, jnp.float32)
    np.testing.assert_allclose(reverb.t60_s, 0.75 * 0.5, rtol=1e-5)


def test_a_decaying_room_learns_from_every_parameter(rng):
    reverb, _ = decaying(rng)
    audio = jnp.asarray(rng.normal(size=9000), jnp.float32)
    target = jnp.asarray(rng.normal(size=9000), jnp.float32)
    graph, state = nnx.split(reverb)
    gradient = jax.grad(lambda s: jnp.mean((nnx.merge(graph, s)(audio) - target) ** 2))(state)
    early = np.asarray(gradient["early"][...])
    assert early[0] == 0 and np.all(np.abs(early[1:-1]) > 0)
    for name in ("levels", "times"):
        values = np.asarray(gradient[name][...])
        assert np.all(np.isfinite(values) & (np.abs(values) > 0))


def test_early_taps_lie_within_the_response():
    with pytest.raises(ValueError, match="`early_length` must be at most `length`, 100, got 101"):
        DecayingReverbConfig(100, 101)
    with pytest.raises(ValueError, match="`n_bands` must be at most 16, got 17"):
        DecayingReverbConfig(n_bands=17)
    for length in (1, 2, 3):
        config = DecayingReverbConfig(length, 1, n_bands=1)
        reverb = DecayingReverb(config, sample_rate=SAMPLE_RATE, rngs=nnx.Rngs(0))
        assert np.all(np.isfinite(reverb.impulse_response))
