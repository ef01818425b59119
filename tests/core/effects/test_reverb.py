from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    DTYPES,
    assert_close,
    assert_finite_grads,
    check_dtypes,
    check_grads,
    noise,
)

from ddspx import core

# One compilation each instead of one for every operation.
convolution_reverb = jax.jit(core.convolution_reverb, static_argnames="add_dry")
reverb_step = jax.jit(core.convolution_reverb_step, static_argnames="add_dry")
exponential_reverb_ir = jax.jit(
    core.exponential_reverb_ir, static_argnames=("n_samples", "sample_rate")
)


def reverb_by_loop(audio, response, add_dry):
    output = audio.copy() if add_dry else np.zeros(len(audio))
    for n in range(len(audio)):
        for k in range(min(n + 1, len(response))):
            output[n] += response[k] * audio[n - k]
    return output


# Values


@pytest.mark.parametrize("add_dry", [True, False])
@pytest.mark.parametrize(("samples", "taps"), [(20, 6), (6, 20), (7, 7), (5, 1), (1, 3)])
def test_the_reverb_equals_its_definition(samples, taps, add_dry):
    audio, response = noise(samples), noise(taps, seed=1)
    expected = reverb_by_loop(audio, response, add_dry)
    for dtype in DTYPES:
        x, h = jnp.asarray(audio, dtype), jnp.asarray(response, dtype)
        assert_close(convolution_reverb(x, h, add_dry=add_dry), expected, scale=4.0)


# Physics


def test_the_reverb_of_an_impulse_is_the_impulse_response():
    response = noise(30)
    y = convolution_reverb(jnp.zeros(50).at[10].set(1.0), jnp.asarray(response))
    expected = np.concatenate([np.zeros(10), response, np.zeros(10)])
    expected[10] += 1.0
    assert_close(y, expected, scale=4.0)


def test_the_reverb_is_causal():
    audio, response = jnp.asarray(noise(40)), jnp.asarray(noise(25, seed=1))
    later = audio.at[20:].set(100.0)
    before, after = (convolution_reverb(x, response)[:20] for x in (audio, later))
    assert_close(after, before, scale=100.0)


# Streaming


@pytest.mark.parametrize("add_dry", [True, False])
@pytest.mark.parametrize("taps", [1, 2, 9, 100])
def test_blocks_of_any_size_equal_the_whole(taps, add_dry):
    audio, response = jnp.asarray(noise(2, 60)), jnp.asarray(noise(taps, seed=1))
    state, blocks = core.convolution_reverb_init(response, batch_shape=(2,)), []
    for start, stop in [(0, 1), (1, 17), (17, 18), (18, 50), (50, 60)]:
        block = audio[:, start:stop]
        state, out = reverb_step(state, block, response, add_dry=add_dry)
        blocks.append(out)
    whole = convolution_reverb(audio, response, add_dry=add_dry)
    assert_close(jnp.concatenate(blocks, -1), whole, scale=16.0)


def test_one_sound_streams_through_a_batch_of_rooms():
    audio, rooms = jnp.asarray(noise(20)), jnp.asarray(noise(3, 6, seed=1))
    state, head = reverb_step(core.convolution_reverb_init(rooms), audio[:9], rooms)
    _, tail = reverb_step(state, audio[9:], rooms)
    whole = convolution_reverb(audio, rooms)
    assert_close(jnp.concatenate([head, tail], -1), whole, scale=4.0)


# Gradients


def test_reverb_gradients():
    check_grads(core.convolution_reverb, noise(2, 8), noise(4))


def test_gradients_pass_through_the_state():
    def two_blocks(audio, response):
        state, head = reverb_step(core.convolution_reverb_init(response), audio[:3], response)
        return head, reverb_step(state, audio[3:], response)

    check_grads(two_blocks, noise(8), noise(4))


# Dtypes


def test_reverb_keeps_the_dtype():
    check_dtypes(core.convolution_reverb, noise(10), noise(4))
    check_dtypes(
        lambda x, h: reverb_step(core.convolution_reverb_init(h), x, h), noise(10), noise(4, seed=1)
    )


# Boundaries


def test_wrong_arguments_of_a_reverb_are_refused():
    x = jnp.ones(4)
    with pytest.raises(ValueError, match=r"`impulse_response.shape\[-1\]` must be at least 1"):
        core.convolution_reverb(x, x[:0])
    with pytest.raises(ValueError, match=r"`audio.shape\[-1\]` must be at least 1"):
        core.convolution_reverb(x[:0], x)
    with pytest.raises(ValueError, match=r"`impulse_response.shape\[-1\]` must be at least 1"):
        core.convolution_reverb_init(x[:0])


# Responses


def test_a_decay_is_noise_that_falls_by_60_db_in_its_time(key):
    t60_s, gain = jnp.array([0.05, 0.2]), jnp.array([1.0, 0.3])
    room = exponential_reverb_ir(key, t60_s, gain=gain, n_samples=400, sample_rate=1000)
    dry = np.asarray(core.white_noise(key, (2, 400), dtype=room.dtype))
    n = np.arange(400)
    expected = np.asarray(gain)[:, None] * 10 ** (-3 * n / np.asarray(t60_s)[:, None] / 1000) * dry
    expected[:, 0] = 0
    assert_close(room, expected)
    # The same key gives the same response, and another key gives another.
    again = exponential_reverb_ir(key, t60_s, gain=gain, n_samples=400, sample_rate=1000)
    np.testing.assert_array_equal(again, room)
    other = exponential_reverb_ir(
        jax.random.key(1), t60_s, gain=gain, n_samples=400, sample_rate=1000
    )
    assert np.abs(other - room).max() > 0.1


def test_the_decay_of_ddsp_has_this_reverberation_time():
    """Its envelope is exp(-(2 + e^decay) t), t from 0 to 1 over the response."""
    decay, n = np.array([-30.0, 0.0, 4.0, 7.0]), np.arange(1000)
    t60_s = core.decay_to_t60(jnp.asarray(decay), n_samples=1000, sample_rate=500)
    expected = np.exp(-(2 + np.exp(decay))[:, None] * np.linspace(0, 1, 1000))
    envelope = 10 ** (-3 * n / np.asarray(t60_s)[:, None] / 500)
    np.testing.assert_allclose(envelope, expected, rtol=1e-3 if t60_s.dtype == np.float32 else 1e-9)
    run = partial(core.decay_to_t60, n_samples=1000, sample_rate=500)
    check_grads(run, decay)
    assert_finite_grads(run, np.array([-1e30, -100.0, 100.0, 1e30]))
    with pytest.raises(ValueError, match="`n_samples` must be at least 1, got 0"):
        core.decay_to_t60(4.0, n_samples=0, sample_rate=500)


def test_a_decay_has_the_documented_power(key):
    room = exponential_reverb_ir(key, 1.0, gain=0.5, n_samples=20000, sample_rate=16000)
    np.testing.assert_allclose((room**2).sum(), 0.25 * 16000 / 41.4, rtol=0.05)


def test_noise_rooms_are_filtered_noise_after_the_dry_sound(key):
    magnitudes = jnp.asarray(np.exp(-np.arange(5.0))[:, None] * np.ones((1, 9)))
    room = core.filtered_noise_reverb_ir(key, magnitudes, hop_length=16, n_samples=70)
    expected = core.filtered_noise(key, magnitudes, hop_length=16, n_samples=70)
    assert room[0] == 0
    assert_close(room[1:], expected[1:])


def test_response_gradients(key):
    def room(t60_s, gain):
        return core.exponential_reverb_ir(key, t60_s, gain=gain, n_samples=20, sample_rate=100)

    check_grads(room, np.array([0.1, 0.4]), np.array([1.0, 0.2]))
    assert_finite_grads(room, np.array([0.0, 1e-30, 1e30]), np.zeros(3))
    check_grads(lambda m: core.filtered_noise_reverb_ir(key, m, hop_length=4), noise(3, 5), order=1)


def test_response_transformations_and_dtypes(key):
    keys, times = jax.random.split(key, 2), jnp.array([0.1, 0.4])

    def room(key, t60_s):
        return core.exponential_reverb_ir(key, t60_s, n_samples=20, sample_rate=100)

    one_by_one = jnp.stack([room(k, t) for k, t in zip(keys, times, strict=True)])
    assert_close(jax.jit(jax.vmap(room))(keys, times), one_by_one)
    check_dtypes(lambda t: room(key, t), np.array([0.2]))
    check_dtypes(lambda m: core.filtered_noise_reverb_ir(key, m, hop_length=4), noise(3, 5))


def test_wrong_arguments_of_responses_are_refused(key):
    with pytest.raises(ValueError, match="`n_samples` must be at least 1, got 0"):
        core.exponential_reverb_ir(key, 1.0, n_samples=0, sample_rate=8000)
    with pytest.raises(ValueError, match="the batch axes must be equal or broadcast"):
        core.exponential_reverb_ir(
            key, jnp.ones(2), gain=jnp.ones(3), n_samples=9, sample_rate=8000
        )


def test_exchanged_sound_and_room_give_a_warning():
    with pytest.warns(UserWarning, match="`impulse_response` has 2000 taps and `audio` 100 samp"):
        core.convolution_reverb(jnp.ones(100), jnp.ones(2000))
