import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from helpers import DTYPES, assert_close, assert_finite_grads, check_grads, noise

from ddspx import core

HOP = 16

# One compilation each instead of one for every operation.
SIZES = ("hop_length", "n_samples", "win_length")
frequency_filter = jax.jit(core.frequency_filter, static_argnames=("hop_length", "win_length"))
filtered_noise = jax.jit(core.filtered_noise, static_argnames=SIZES)
filtered_noise_step = jax.jit(core.filtered_noise_step, static_argnames=SIZES)


def white(key, first_hop, n_hops, batch=(), hop_length=HOP):
    """The noise before the filter, in float64: hop i comes from fold_in(key, i)."""
    hops = [
        core.white_noise(jax.random.fold_in(key, np.uint32(i % 2**32)), (*batch, hop_length))
        for i in range(first_hop, first_hop + n_hops)
    ]
    return np.concatenate(hops, -1).astype(np.float64)


# Values


def test_white_noise_is_uniform_and_centred(key):
    x = np.asarray(core.white_noise(key, (200_000,)), np.float64)
    # Five standard errors.
    assert abs(x.mean()) < 5 * np.sqrt(1 / 3 / len(x))
    assert abs((x**2).mean() - 1 / 3) < 5 * np.sqrt(4 / 45 / len(x))
    assert np.abs(x).max() < 1
    counts, _ = np.histogram(x, 64, (-1, 1))
    assert np.abs(counts - len(x) / 64).max() < 5 * np.sqrt(len(x) / 64)


def test_white_noise_is_the_same_in_every_dtype(key):
    reference = np.asarray(core.white_noise(key, (3, 100)), np.float64)
    for dtype in DTYPES:
        x = core.white_noise(key, (3, 100), dtype=dtype)
        assert x.dtype == dtype
        np.testing.assert_array_equal(np.asarray(x, np.float64), reference)


@pytest.mark.parametrize(
    ("bands", "win_length", "n_samples", "hop_length"),
    [(9, None, 64, 16), (33, None, 79, 16), (9, 5, 64, 16), (2, None, 16, 4), (65, 128, 9, 3)],
)
def test_filtered_noise_is_filtered_white_noise(key, bands, win_length, n_samples, hop_length):
    frames = core.n_frames(n_samples, hop_length=hop_length)
    magnitudes = jnp.asarray(noise(2, frames, bands))
    y = filtered_noise(
        key, magnitudes, hop_length=hop_length, n_samples=n_samples, win_length=win_length
    )
    # Enough hops around the section for the filter never to reach silence.
    around = -(-bands // hop_length) + 1
    held = ((0, 0), (around, around + 1), (0, 0))
    context = np.pad(np.asarray(magnitudes), held, mode="edge")
    audio = white(key, -around, context.shape[1] - 1, (2,), hop_length)
    filtered = frequency_filter(
        jnp.asarray(audio), jnp.asarray(context), hop_length=hop_length, win_length=win_length
    )
    start = around * hop_length
    assert_close(y, filtered[:, start : start + n_samples], scale=4.0)


# Physics


def test_flat_magnitudes_scale_the_white_noise_by_their_upsampling(key):
    gains = jnp.asarray(np.abs(noise(2, 5)))
    y = filtered_noise(key, jnp.repeat(gains[..., None], 9, -1), hop_length=HOP)
    envelope = core.upsample(gains, hop_length=HOP, method="hann")
    assert_close(y, envelope * white(key, 0, 4, (2,)), scale=2.0)


def test_flat_magnitudes_have_a_third_of_their_square_as_power(key):
    gain = 0.25
    y = filtered_noise(key, jnp.full((4, 251, 65), gain), hop_length=64)
    standard_error = gain**2 * np.sqrt(4 / 45 / y.size)
    assert abs(float((y**2).mean()) - gain**2 / 3) < 5 * standard_error


def test_the_spectrum_follows_the_magnitudes(key):
    # Linear slopes, which the window's smoothing over frequency leaves as they are.
    magnitudes = np.concatenate([np.linspace(0.1, 1, 33), np.linspace(1, 0.1, 33)[1:]])
    y = filtered_noise(key, jnp.broadcast_to(jnp.asarray(magnitudes), (4, 1001, 65)), hop_length=64)
    _, density = scipy.signal.welch(np.asarray(y), fs=2.0, nperseg=128, axis=-1)
    gain = np.sqrt(density.mean(0) * 3)
    # The one-sided density of white noise of power 1/3 up to 1 is 1/3; its own ends count half.
    inner = slice(2, -2)
    assert np.abs(gain[inner] / magnitudes[inner] - 1).max() < 0.06
    assert np.abs(gain[inner] / magnitudes[inner] - 1).mean() < 0.015


def test_noise_of_different_examples_and_hops_is_unrelated(key):
    y = np.asarray(filtered_noise(key, jnp.ones((4, 65, 3)), hop_length=64), np.float64)
    rows = y.reshape(-1, 64)
    correlation = rows @ rows.T / 64 * 3
    np.fill_diagonal(correlation, 0)
    assert np.abs(correlation).max() < 0.75
    assert abs(correlation.sum()) / correlation.size < 0.01


# Streaming


@pytest.mark.parametrize("win_length", [None, 20])
def test_blocks_of_any_size_equal_the_whole(key, win_length):
    magnitudes = jnp.asarray(noise(2, 12, 33))
    kwargs = {"hop_length": HOP, "win_length": win_length}
    whole = filtered_noise(key, magnitudes, n_samples=11 * HOP + 5, **kwargs)
    state, blocks = core.filtered_noise_init(key), []
    for first, last in [(0, 1), (1, 2), (2, 7), (7, 10)]:
        state, block = filtered_noise_step(state, magnitudes[:, first : last + 1], **kwargs)
        assert block.shape == (2, (last - first) * HOP)
        assert int(state.frame) == last
        blocks.append(block)
    _, block = filtered_noise_step(state, magnitudes[:, 10:], n_samples=HOP + 5, **kwargs)
    assert_close(jnp.concatenate([*blocks, block], -1), whole, scale=4.0)


def test_a_longer_signal_begins_with_the_shorter_one(key):
    magnitudes = jnp.asarray(noise(9, 17))
    longer = filtered_noise(key, magnitudes, hop_length=HOP)
    shorter = filtered_noise(key, magnitudes[:4], hop_length=HOP)
    assert_close(longer[: 3 * HOP], shorter, scale=4.0)


def test_a_stream_works_under_scan(key):
    magnitudes = jnp.asarray(noise(9, 17))
    pairs = jnp.stack([magnitudes[:-1], magnitudes[1:]], 1)

    def step(state, pair):
        return core.filtered_noise_step(state, pair, hop_length=HOP)

    _, blocks = jax.lax.scan(step, core.filtered_noise_init(key), pairs)
    assert_close(blocks.reshape(-1), filtered_noise(key, magnitudes, hop_length=HOP), scale=4.0)


def test_one_frame_alone_has_only_what_it_holds(key):
    magnitudes = jnp.asarray(noise(1, 9))
    assert filtered_noise(key, magnitudes, hop_length=HOP).shape == (0,)
    held = filtered_noise(key, magnitudes, hop_length=HOP, n_samples=7)
    longer = filtered_noise(key, jnp.repeat(magnitudes, 2, 0), hop_length=HOP)
    assert_close(held, longer[:7], scale=4.0)


# Gradients


def test_gradients(key):
    check_grads(lambda m: filtered_noise(key, m, hop_length=4), noise(2, 3, 5), order=1)


def test_gradients_are_finite_in_silence(key):
    assert_finite_grads(lambda m: filtered_noise(key, m, hop_length=4), np.zeros((3, 5)))


# Transformations


def test_noise_under_transformations(key):
    keys, magnitudes = jax.random.split(key, 2), jnp.asarray(noise(2, 4, 9))

    def synthesize(key, magnitudes):
        return filtered_noise(key, magnitudes, hop_length=HOP)

    one_by_one = jnp.stack([synthesize(k, m) for k, m in zip(keys, magnitudes, strict=True)])
    assert_close(jax.jit(jax.vmap(synthesize))(keys, magnitudes), one_by_one, scale=4.0)
    raw_key = jax.random.key_data(key)
    together = synthesize(key, magnitudes)
    assert_close(synthesize(raw_key, magnitudes), together, scale=4.0)
    louder = synthesize(key, magnitudes.at[0].multiply(100.0))
    assert_close(louder[1], together[1], scale=4.0)


# Dtypes


def test_noise_keeps_the_dtype_of_the_magnitudes(key):
    signals = [
        filtered_noise(key, jnp.asarray(noise(4, 9), dtype), hop_length=HOP) for dtype in DTYPES
    ]
    for dtype, audio in zip(DTYPES, signals, strict=True):
        assert audio.dtype == dtype
        np.testing.assert_allclose(audio, signals[-1], atol=1e-5)


# Boundaries


def test_wrong_arguments_of_noise_are_refused(key):
    magnitudes = jnp.ones((4, 9))
    with pytest.raises(ValueError, match="`n_samples` must be from 48 to 63"):
        core.filtered_noise(key, magnitudes, hop_length=HOP, n_samples=64)
    with pytest.raises(ValueError, match="`magnitudes` must have at least 2 bands"):
        core.filtered_noise(key, magnitudes[:, :1], hop_length=HOP)
    with pytest.raises(ValueError, match="`win_length` must be at most"):
        core.filtered_noise(key, magnitudes, hop_length=HOP, win_length=17)
    with pytest.raises(TypeError, match="`hop_length` must be a Python int"):
        core.filtered_noise(key, magnitudes, hop_length=True)
