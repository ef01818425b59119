from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    DTYPES,
    ORDERS,
    assert_close,
    assert_finite_grads,
    check_dtypes,
    check_grads,
    noise,
    sine,
)

from ddspx import core

SAMPLE_RATE = 1000
compressor = jax.jit(core.compressor, static_argnames="sample_rate")
compressor_step = jax.jit(core.compressor_step, static_argnames="sample_rate")
SIZES = ("sample_rate", "lookahead_s")
limiter = jax.jit(core.limiter, static_argnames=SIZES)
limiter_step = jax.jit(core.limiter_step, static_argnames=SIZES)

SETTINGS = {
    "threshold_db": -20.0,
    "ratio": 4.0,
    "attack_s": 0.003,
    "release_s": 0.02,
    "knee_db": 8.0,
    "makeup_db": 3.0,
}
LIMITS = {"threshold_db": -6.0, "release_s": 0.01, "sample_rate": SAMPLE_RATE, "lookahead_s": 0.005}


def pole(time_constant_s):
    return np.exp(-1 / (time_constant_s * SAMPLE_RATE)) if time_constant_s else 0.0


def released(target, release_s):
    output, last, a = [], 0.0, pole(release_s)
    for c in target:
        last = max(c, a * last + (1 - a) * c)
        output.append(last)
    return np.array(output)


def compress_by_loop(audio, threshold_db, ratio, attack_s, release_s, knee_db, makeup_db):
    target = []
    for x in audio:
        over = 20 * np.log10(max(abs(x), 1e-5)) - threshold_db
        if 2 * over <= -knee_db:
            bent = 0.0
        elif 2 * abs(over) < knee_db:
            bent = (over + knee_db / 2) ** 2 / (2 * knee_db)
        else:
            bent = over
        target.append((1 - 1 / ratio) * bent)
    smooth, a, output = 0.0, pole(attack_s), []
    for x, r in zip(audio, released(target, release_s), strict=True):
        smooth = a * smooth + (1 - a) * r
        output.append(10 ** ((makeup_db - smooth) / 20) * x)
    return np.array(output)


def limit_by_loop(audio, threshold_db, release_s, ahead):
    limit = 10 ** (threshold_db / 20)
    padded = np.concatenate([audio, np.zeros(2 * ahead)])
    target = [max(0.0, np.log(max(abs(x), 1e-5) / limit)) for x in padded]
    r = released(target, release_s)
    highest = [r[max(m - ahead, 0) : m + 1].max() for m in range(len(r))]
    output = []
    for n, x in enumerate(audio):
        mean = sum(highest[n + ahead - i] for i in range(ahead + 1) if n + ahead >= i)
        output.append(np.exp(-mean / (ahead + 1)) * x)
    return np.array(output)


# values


@pytest.mark.parametrize("changed", [{}, {"knee_db": 0.0, "attack_s": 0.0}, {"release_s": 0.0}])
def test_compressor_is_its_definition(changed):
    audio = noise(150) * np.repeat([0.02, 1.0, 0.1], 50)
    settings = SETTINGS | changed
    for dtype in DTYPES:
        y = compressor(audio.astype(dtype), **settings, sample_rate=SAMPLE_RATE)
        expected = compress_by_loop(audio.astype(dtype).astype(float), **settings)
        np.testing.assert_allclose(y, expected, rtol=3e-5 if dtype == np.float32 else 1e-11)


@pytest.mark.parametrize("ahead", [0, 1, 5, 12])
@pytest.mark.parametrize("release_s", [0.0, 0.01])
def test_limiter_is_its_definition(ahead, release_s):
    audio = noise(120) * np.repeat([0.2, 1.5, 0.2], 40)
    for dtype in DTYPES:
        y = limiter(
            audio.astype(dtype),
            threshold_db=-6.0,
            release_s=release_s,
            sample_rate=SAMPLE_RATE,
            lookahead_s=ahead / SAMPLE_RATE,
        )
        expected = limit_by_loop(audio.astype(dtype).astype(float), -6.0, release_s, ahead)
        np.testing.assert_allclose(y, expected, rtol=2e-5 if dtype == np.float32 else 1e-11)


# physics


def test_steady_levels_follow_the_static_curve():
    # Constant magnitude: the level of every sample is that of the sound.
    levels = np.array([-60.0, -24.0, -20.0, -16.0, -10.0, 0.0])
    audio = 10 ** (levels[:, None] / 20) * np.where(np.arange(400) % 2, 1.0, -1.0)
    settings = SETTINGS | {"makeup_db": 0.0}
    y = compressor(audio, **settings, sample_rate=SAMPLE_RATE)
    out_db = 20 * np.log10(np.abs(y[:, -1]))
    # 4:1 above -16, nothing below -24, and three quarters of 4 ** 2 / 16 = 1 dB at the threshold.
    expected = [-60, -24, -20 - 0.75, -16 - 3, -10 - 7.5, -15]
    np.testing.assert_allclose(out_db, expected, atol=1e-4)


def test_a_sine_is_compressed_by_its_peaks():
    audio = sine(997, 16000, sample_rate=48000)
    y = compressor(
        audio,
        threshold_db=-20.0,
        ratio=2.0,
        attack_s=0.001,
        release_s=0.2,
        knee_db=0.0,
        sample_rate=48000,
    )
    assert abs(20 * np.log10(np.abs(y[-4800:]).max()) + 10) < 0.1


def test_attack_and_release_take_the_given_times():
    # 20 dB over the threshold at an infinite ratio: the reduction goes from 0 to 20 and back.
    tau, loud = 0.05, np.ones(1000)
    audio = np.concatenate([loud, 0.01 * loud])
    settings = {"threshold_db": -20.0, "ratio": 1e9, "knee_db": 0.0, "sample_rate": SAMPLE_RATE}
    y = compressor(audio, **settings, attack_s=tau, release_s=0.0)
    reduction = -20 * np.log10(np.abs(y) / np.abs(audio))
    np.testing.assert_allclose(reduction[49], 20 * (1 - np.exp(-1)), rtol=1e-4)
    y = compressor(audio, **settings, attack_s=0.0, release_s=tau)
    reduction = -20 * np.log10(np.abs(y) / np.abs(audio))
    np.testing.assert_allclose(reduction[:1000], 20, rtol=1e-4)
    np.testing.assert_allclose(reduction[1049], 20 * np.exp(-1), rtol=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threshold_db", [0.0, -12.3])
def test_nothing_is_above_the_limit(dtype, threshold_db):
    clicks = np.zeros(4000)
    clicks[[0, 7, 1000, 1001, 1500, 3999]] = [3, -50, 1, 9, 1e4, -2]
    audio = np.stack([10 * noise(4000), clicks, clicks + 0.1 * noise(4000)]).astype(dtype)
    limit = 10 ** (threshold_db / 20) * (1 + 2 * np.finfo(dtype).eps)
    for release_s, lookahead_s in [(0.0, 0.0), (0.05, 0.0), (0.0, 0.003), (0.02, 0.01)]:
        y = limiter(
            audio,
            threshold_db=threshold_db,
            release_s=release_s,
            sample_rate=8000,
            lookahead_s=lookahead_s,
        )
        assert np.abs(y).max() <= limit
        # A peak of the input comes out at the limit, at its own time.
        assert np.abs(y[1, 1500]) > 0.999 * limit


def test_audio_below_the_limit_is_not_changed():
    audio = 0.4 * np.sin(noise(300))
    np.testing.assert_array_equal(limiter(audio, **LIMITS), audio)


def test_the_gain_falls_linearly_and_recovers_with_the_release_time():
    # A peak of 20 dB over, on a quiet floor that shows the gain.
    audio = np.full(200, 1e-3)
    audio[100] = 10.0
    y = limiter(audio, **(LIMITS | {"threshold_db": 0.0, "lookahead_s": 0.01}))
    gain_db = 20 * np.log10(np.asarray(y) / audio)
    np.testing.assert_allclose(gain_db[:90], 0, atol=1e-9)
    np.testing.assert_allclose(gain_db[89:101], -20 * np.arange(12) / 11, atol=1e-6)
    np.testing.assert_allclose(gain_db[100], -20, atol=1e-6)
    tail = gain_db[130:160]
    np.testing.assert_allclose(tail[1:] / tail[:-1], np.exp(-1 / 10), rtol=1e-6)


# streaming

CUTS = [(0, 1), (1, 8), (8, 9), (9, 60), (60, 120)]


def test_compressed_blocks_equal_the_whole():
    audio = jnp.asarray(noise(2, 120))
    state = core.compressor_init(batch_shape=(2,), dtype=audio.dtype)
    settings, blocks = SETTINGS | {"sample_rate": SAMPLE_RATE}, []
    for start, stop in CUTS:
        state, block = compressor_step(state, audio[:, start:stop], **settings)
        blocks.append(block)
    whole = compressor(audio, **settings)
    np.testing.assert_allclose(np.concatenate(blocks, -1), whole, atol=1e-5)


def test_limited_blocks_equal_the_delayed_whole():
    audio = jnp.asarray(noise(2, 120))
    state = core.limiter_init(
        sample_rate=SAMPLE_RATE, lookahead_s=0.005, batch_shape=(2,), dtype=audio.dtype
    )
    blocks = []
    for start, stop in CUTS:
        state, block = limiter_step(state, audio[:, start:stop], **LIMITS)
        blocks.append(block)
    late = np.concatenate(blocks, -1)
    np.testing.assert_array_equal(late[:, :5], 0)
    np.testing.assert_allclose(late[:, 5:], limiter(audio, **LIMITS)[:, :-5], atol=1e-5)


def test_a_state_without_batch_axes_serves_a_batch():
    audio = jnp.asarray(noise(2, 9), jnp.float32)
    settings = SETTINGS | {"sample_rate": SAMPLE_RATE}
    state, y = compressor_step(core.compressor_init(), audio, **settings)
    assert state.released_db.shape == (2,)
    assert_close(y, compressor(audio, **settings))
    rest = core.limiter_init(sample_rate=SAMPLE_RATE, lookahead_s=0.005)
    state, y = limiter_step(rest, audio, **LIMITS)
    assert state.past.shape == (2, 5)
    assert_close(y[:, 5:], limiter(audio, **LIMITS)[:, :-5])


# gradients


@ORDERS
def test_compressor_gradients(order):
    # Away from the -100 dB and the ends of the knee, where the derivative has a corner.
    audio = np.array([0.05, -0.5, 0.9, 0.011, -0.07, 0.3, 0.02, -0.8])

    def run(audio, *values):
        named = dict(zip(SETTINGS, values, strict=True))
        return core.compressor(audio, **named, sample_rate=SAMPLE_RATE)

    check_grads(run, audio, *SETTINGS.values(), order=order, rtol=1e-4)


@ORDERS
def test_limiter_gradients(order):
    def run(audio, threshold_db, release_s):
        named = LIMITS | {"threshold_db": threshold_db, "release_s": release_s}
        return core.limiter(audio, **(named | {"lookahead_s": 0.003}))

    # A peak that is cut to the limit does not move with its input: that gradient cancels.
    audio = np.array([0.05, -0.3, 0.9, 0.02, -0.07, 1.7, 0.2, -0.8, 0.1])
    check_grads(run, audio, -6.0, 0.01, order=order, rtol=1e-4)


def test_gradients_are_finite_at_singular_points():
    audio = np.stack([np.zeros(8), np.ones(8), np.full(8, 1e-30)])

    def compress(audio, knee_db, time_s):
        named = SETTINGS | {"knee_db": knee_db, "attack_s": time_s, "release_s": time_s}
        return core.compressor(audio, **named, sample_rate=SAMPLE_RATE)

    assert_finite_grads(compress, audio, np.zeros(3), np.zeros(3))
    assert_finite_grads(
        lambda x, t: core.limiter(x, **(LIMITS | {"release_s": t})), audio, np.zeros(3)
    )


# broadcasting


def test_parameters_broadcast_against_the_batch():
    audio, thresholds = noise(30), jnp.array([[-30.0], [-3.0]])
    together = limiter(audio, **(LIMITS | {"threshold_db": thresholds}))
    assert together.shape == (2, 1, 30)
    alone = limiter(audio, **(LIMITS | {"threshold_db": -30.0}))
    np.testing.assert_allclose(together[0, 0], alone, atol=1e-6)
    assert limiter(jnp.zeros((2, 0)), **LIMITS).shape == (2, 0)
    assert compressor(jnp.zeros((2, 0)), **SETTINGS, sample_rate=SAMPLE_RATE).shape == (2, 0)


# dtypes


def test_numbers_do_not_widen_the_audio():
    check_dtypes(partial(compressor, **SETTINGS, sample_rate=SAMPLE_RATE), noise(20))
    check_dtypes(partial(limiter, **LIMITS), noise(20))


# boundary


def test_wrong_arguments_are_refused():
    ones = jnp.ones((2, 8))
    with pytest.raises(ValueError, match="the batch axes must be equal or broadcast"):
        core.compressor(ones, **(SETTINGS | {"ratio": jnp.ones(3)}), sample_rate=SAMPLE_RATE)
    with pytest.raises(ValueError, match=r"`lookahead_s \* sample_rate` must be at least 0"):
        core.limiter(ones, **(LIMITS | {"lookahead_s": -0.1}))
    with pytest.raises(TypeError, match="`sample_rate` must be a Python int"):
        core.limiter(ones, **(LIMITS | {"sample_rate": True}))
