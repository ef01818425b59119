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
    check_transformations,
)

from ddspx import core

GRID = {"n_frames": 60, "hop_length": 64, "sample_rate": 1280}  # 50 ms frames, 3 s
NAMES = ("attack_s", "decay_s", "sustain", "release_s")
NOTE = (0.33, 1.57, 0.4, 0.5, 0.6, 0.7)


@partial(jax.jit, static_argnames=("shape", "n_frames", "hop_length", "sample_rate"))
def adsr(on, off, attack, decay, sustain, release, shape="linear", **grid):
    values = dict(zip(NAMES, (attack, decay, sustain, release), strict=True))
    return core.adsr(on, off, **values, **(grid or GRID), shape=shape)


def definition(on, off, attack, decay, sustain, release, shape):
    def bent(u):
        return u if shape == "linear" else (1 - np.exp(-5 * u)) / (1 - np.exp(-5))

    def held(t):
        if t <= on:
            return 0.0
        if t < on + attack:
            return bent((t - on) / attack)
        if t < on + attack + decay:
            return 1 - (1 - sustain) * bent((t - on - attack) / decay)
        return sustain

    envelope = []
    for i in range(GRID["n_frames"]):
        t = i * GRID["hop_length"] / GRID["sample_rate"]
        if t <= off:
            envelope.append(held(t))
        elif t < off + release:
            envelope.append(held(off) * (1 - bent((t - off) / release)))
        else:
            envelope.append(0.0)
    return np.array(envelope)


# values


@pytest.mark.parametrize("shape", ["linear", "exponential"])
@pytest.mark.parametrize(
    "note",
    [
        NOTE,
        (0.33, 0.61, 0.4, 0.5, 0.6, 0.7),  # released in the attack
        (0.33, 0.91, 0.4, 0.5, 0.6, 0.7),  # released in the decay
        (-0.4, 9.0, 0.6, 0.2, 0.3, 0.1),  # begins before the first frame and does not end
        (1.01, 0.99, 0.2, 0.2, 0.5, 0.5),  # ends before it begins
        (0.33, 1.57, 0.0, 0.0, 0.6, 0.0),  # jumps
    ],
)
def test_results_equal_the_definition(note, shape):
    expected = definition(*note, shape)
    for dtype in DTYPES:
        envelope = adsr(*(jnp.asarray(x, dtype) for x in note), shape=shape)
        assert envelope.dtype == dtype
        assert_close(envelope, expected, scale=4)


# physics


@pytest.mark.parametrize("shape", ["linear", "exponential"])
def test_the_corners_of_the_envelope_are_at_their_times(shape):
    # At 1 kHz: on 0.1, peak 0.3, sustain from 0.6, off 0.8, silent from 1.2.
    grid = {"n_frames": 1400, "hop_length": 1, "sample_rate": 1000}
    envelope = np.asarray(adsr(0.1, 0.8, 0.2, 0.3, 0.25, 0.4, shape=shape, **grid))
    for n, level in [(100, 0.0), (300, 1.0), (600, 0.25), (800, 0.25), (1200, 0.0)]:
        np.testing.assert_allclose(envelope[n], level, atol=1e-5)
    slopes = np.sign(np.round(np.diff(envelope), 5))
    for start, stop, sign in [
        (0, 100, 0),
        (100, 300, 1),
        (300, 600, -1),
        (600, 800, 0),
        (800, 1200, -1),
        (1200, 1399, 0),
    ]:
        assert (slopes[start:stop] == sign).all(), (start, shape)
    half_way = 0.5 if shape == "linear" else 1 / (1 + np.exp(-2.5))
    np.testing.assert_allclose(envelope[200], half_way, atol=1e-5)
    np.testing.assert_allclose(envelope[450], 1 - 0.75 * half_way, atol=1e-5)
    np.testing.assert_allclose(envelope[1000], 0.25 * (1 - half_way), atol=1e-5)


def test_a_jump_comes_just_after_its_time():
    grid = {"n_frames": 8, "hop_length": 1, "sample_rate": 1}
    envelope = adsr(2.0, 5.0, 0.0, 0.0, 0.5, 0.0, **grid)
    assert envelope.tolist() == [0, 0, 0, 0.5, 0.5, 0.5, 0, 0]


def test_frames_and_samples_agree():
    frames = adsr(*NOTE, n_frames=10, hop_length=16, sample_rate=80)
    samples = adsr(*NOTE, n_frames=160, hop_length=1, sample_rate=80)
    assert_close(samples[::16], frames)


def test_notes_are_a_batch_that_broadcasts():
    on, off = jnp.array([0.1, 1.0, 2.0]), jnp.array([0.8, 1.5, 2.5])
    release = jnp.array([[0.2], [0.4]])
    together = adsr(on, off, 0.1, 0.2, 0.5, release)
    assert together.shape == (2, 3, GRID["n_frames"])
    assert_close(together[1, 2], adsr(2.0, 2.5, 0.1, 0.2, 0.5, 0.4))


# gradients


@pytest.mark.parametrize("shape", ["linear", "exponential"])
def test_gradients_equal_differences(shape):
    # No frame lies at a corner.
    check_grads(partial(adsr, shape=shape), *NOTE, rtol=1e-4)


def test_a_longer_attack_lowers_the_attack():
    slope = jax.grad(lambda attack: adsr(0.0, 2.0, attack, 0.5, 0.5, 0.5)[4])(0.8)
    np.testing.assert_allclose(slope, -0.2 / 0.8**2, rtol=1e-5)  # of 0.2 / attack


@pytest.mark.parametrize("shape", ["linear", "exponential"])
def test_gradients_are_finite_at_singular_points(shape):
    # Segments of no length, at frames and between them, and notes of no length.
    on = np.array([0.0, 0.5, 0.52, 0.5, 1e-30])
    off = np.array([0.5, 0.5, 0.52, 0.2, 1e-30])
    for length in (0.0, 1e-30, 1e-8):
        segments = (np.full(5, length),) * 2 + (np.zeros(5), np.full(5, length))
        assert_finite_grads(partial(adsr, shape=shape), on, off, *segments)


# transformations and dtypes


def test_transformations(rng):
    args = rng.uniform(0.1, 1, (6, 3))
    check_transformations(partial(adsr, shape="exponential"), *args, scale=2)


def test_results_keep_the_dtype():
    check_dtypes(adsr, *NOTE)


# boundary


def test_wrong_arguments_are_refused():
    values = dict.fromkeys(NAMES, 0.1)
    with pytest.raises(ValueError, match="`n_frames` must be at least 1, got 0"):
        core.adsr(0.0, 1.0, **values, **(GRID | {"n_frames": 0}))
    with pytest.raises(ValueError, match="the batch axes must be equal or broadcast"):
        core.adsr(jnp.ones(2), jnp.ones(3), **values, **GRID)
