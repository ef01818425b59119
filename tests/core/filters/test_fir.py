from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft
import scipy.signal
from helpers import (
    DTYPES,
    assert_close,
    assert_finite_grads,
    assert_trees_close,
    check_dtypes,
    check_grads,
    check_transformations,
    noise,
    sine,
)

from ddspx import core
from ddspx.core._fourier import next_fast_length
from ddspx.core.filters import _crossfade_by_products

# (samples, hop_length, bands, win_length): even and odd windows, lengths between two frames,
# a filter longer than a hop and longer than the signal, the fewest bands, hop 1.
VARYING = [
    (40, 8, 5, None),
    (43, 8, 9, 7),
    (43, 4, 9, 16),
    (16, 16, 3, 2),
    (17, 5, 2, None),
    (5, 8, 9, 1),
    (9, 1, 4, 5),
]
# One compilation each instead of one for every operation.
fft_convolve = jax.jit(core.fft_convolve, static_argnames=("mode", "hop_length"))
frequency_filter = jax.jit(core.frequency_filter, static_argnames=("hop_length", "win_length"))

EACH_VARYING = pytest.mark.parametrize(("samples", "hop_length", "bands", "win_length"), VARYING)


def impulse_response_by_loop(magnitudes, win_length=None):
    """Taps by their lag, from the symmetric spectrum of all N = 2 (bands - 1) bins."""
    spectrum = np.concatenate([magnitudes, magnitudes[-2:0:-1]])
    length = len(spectrum)
    win_length = win_length or length
    taps = {}
    for lag in range(-length, length + 1):
        if 2 * abs(lag) < win_length:
            cosines = np.cos(2 * np.pi * np.arange(length) * lag / length)
            hann = 0.5 + 0.5 * np.cos(2 * np.pi * lag / win_length)
            taps[lag] = hann * (spectrum * cosines).sum() / length
    return taps


def filter_by_loop(audio, magnitudes, hop_length, win_length):
    filters = [impulse_response_by_loop(frame, win_length) for frame in magnitudes]
    filters.append(filters[-1])
    output = np.zeros(len(audio))
    for n in range(len(audio)):
        frame, sample = divmod(n, hop_length)
        fade = 0.5 - 0.5 * np.cos(np.pi * sample / hop_length)
        for lag, tap in filters[frame].items():
            if 0 <= n - lag < len(audio):
                faded = (1 - fade) * tap + fade * filters[frame + 1][lag]
                output[n] += faded * audio[n - lag]
    return output


# Values


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
# 10 + 7 - 1 = 16 is a power of two: there DDSP's "valid" has no samples at all.
@pytest.mark.parametrize(("samples", "taps"), [(10, 7), (7, 10), (5, 5), (9, 2), (4, 1), (1, 1)])
def test_fft_convolve_equals_that_of_scipy(samples, taps, mode):
    audio, response = noise(samples), noise(taps, seed=1)
    for dtype in DTYPES:
        x, h = audio.astype(dtype), response.astype(dtype)
        y = fft_convolve(jnp.asarray(x), jnp.asarray(h), mode=mode)
        assert_close(y, scipy.signal.convolve(x.astype(float), h.astype(float), mode), scale=4.0)


@pytest.mark.parametrize(
    ("audio_shape", "response_shape"),
    [((2, 3, 8), (4,)), ((8,), (2, 3, 4)), ((2, 1, 8), (3, 4)), ((3, 8), (3, 4))],
)
def test_fft_convolve_broadcasts_the_batch_axes(audio_shape, response_shape):
    audio, response = noise(*audio_shape), noise(*response_shape, seed=1)
    batch = np.broadcast_shapes(audio_shape[:-1], response_shape[:-1])
    x = np.broadcast_to(audio, (*batch, 8)).reshape(-1, 8)
    h = np.broadcast_to(response, (*batch, 4)).reshape(-1, 4)
    expected = np.stack([np.convolve(a, b) for a, b in zip(x, h, strict=True)])
    dtype = DTYPES[-1]
    y = fft_convolve(jnp.asarray(audio, dtype), jnp.asarray(response, dtype), mode="full")
    assert_close(y, expected.reshape(*batch, 11), scale=4.0)


def moving_by_loop(audio, filters, hop_length):
    """Each sample of the audio through the two filters around it, faded into each other."""
    samples, taps = len(audio), filters.shape[-1]
    output = np.zeros(samples + taps - 1)
    for m in range(samples):
        i, j = divmod(m, hop_length)
        fade = 0.5 - 0.5 * np.cos(np.pi * j / hop_length)
        later = filters[min(i + 1, len(filters) - 1)]
        output[m : m + taps] += ((1 - fade) * filters[i] + fade * later) * audio[m]
    return output


# Between two frames and on one, filters longer than a hop, than the signal, and than 32 hops.
@pytest.mark.parametrize(
    ("samples", "hop_length", "taps"), [(23, 5, 8), (20, 5, 3), (7, 8, 12), (9, 1, 40), (3, 4, 1)]
)
def test_a_moving_convolution_is_its_definition(samples, hop_length, taps):
    audio = noise(2, samples)
    filters = noise(2, 1 + samples // hop_length, taps, seed=1)
    full = [moving_by_loop(*both, hop_length) for both in zip(audio, filters, strict=True)]
    same = np.array(full)[:, (taps - 1) // 2 :][:, :samples]
    for mode, expected in [("full", full), ("same", same)]:
        y = fft_convolve(audio, filters, mode=mode, hop_length=hop_length)
        assert_close(y, expected, scale=10)
    shared = fft_convolve(audio, filters[1], mode="valid", hop_length=hop_length)
    short = min(samples, taps) - 1
    assert_close(shared[1], full[1][short : short + abs(samples - taps) + 1], scale=10)


def test_constant_filters_equal_one_filter():
    audio, taps = noise(21), noise(9, seed=1)
    moving = fft_convolve(audio, np.tile(taps, (6, 1)), mode="full", hop_length=4)
    assert_close(moving, np.convolve(audio, taps), scale=4)


def test_a_moving_convolution_equals_that_of_ddsp_at_the_frames():
    """It cuts the audio into a piece for each filter, convolves these and adds them up."""
    hop_length, filters = 8, noise(4, 5, seed=1)
    audio = np.zeros(31)
    # Only the samples at frames, where nothing is faded.
    audio[::hop_length] = noise(4)
    expected = np.zeros(35)
    for i, taps in enumerate(filters):
        piece = audio[i * hop_length : (i + 1) * hop_length]
        expected[i * hop_length :][: len(piece) + 4] += np.convolve(piece, taps)
    assert_close(fft_convolve(audio, filters, mode="full", hop_length=hop_length), expected)


def test_a_moving_cutoff_passes_frequencies_below_it():
    """A tone of 1 kHz under a cutoff that falls through it; without delay, without a click."""
    frames, hop_length = 41, 100
    cutoffs_hz = np.linspace(1800.0, 200.0, frames)
    tone = sine(1000, (frames - 1) * hop_length, sample_rate=8000)
    low, high = (
        fft_convolve(
            tone,
            design(jnp.asarray(cutoffs_hz), sample_rate=8000, win_length=129),
            mode="same",
            hop_length=hop_length,
        )
        for design in (core.sinc_lowpass, core.sinc_highpass)
    )
    # 1 kHz is in the middle; the transition is 200 Hz wide, 5 frames.
    before, after = slice(300, 1500), slice(2500, 3700)
    np.testing.assert_allclose(low[before], tone[before], atol=5e-3)
    np.testing.assert_allclose(low[after], 0, atol=5e-3)
    np.testing.assert_allclose(np.asarray(low) + high, tone, atol=1e-5)


def test_fft_length_is_the_next_5_smooth_one():
    lengths = range(1, 2000)
    assert [next_fast_length(n) for n in lengths] == [
        scipy.fft.next_fast_len(n, real=True) for n in lengths
    ]


@pytest.mark.parametrize(
    ("bands", "win_length"), [(2, None), (2, 1), (3, 4), (6, 7), (17, None), (17, 6)]
)
def test_impulse_response_is_the_windowed_inverse_dft(bands, win_length):
    magnitudes = noise(bands)
    expected = list(impulse_response_by_loop(magnitudes, win_length).values())
    for dtype in DTYPES:
        taps = core.frequency_impulse_response(
            jnp.asarray(magnitudes, dtype), win_length=win_length
        )
        assert_close(taps, expected)


@EACH_VARYING
def test_frequency_filter_is_its_definition(samples, hop_length, bands, win_length):
    audio = noise(samples)
    magnitudes = noise(core.n_frames(samples, hop_length=hop_length), bands, seed=1)
    expected = filter_by_loop(audio, magnitudes, hop_length, win_length)
    for dtype in DTYPES:
        y = frequency_filter(
            jnp.asarray(audio, dtype),
            jnp.asarray(magnitudes, dtype),
            hop_length=hop_length,
            win_length=win_length,
        )
        assert_close(y, expected, scale=4.0)


def test_a_tpu_filters_by_products(monkeypatch):
    """All cases in one program, with the gradients, which are those of a CPU."""
    cases = [
        (noise(core.n_frames(samples, hop_length=hop), bands, seed=1), noise(2, samples), hop, win)
        for samples, hop, bands, win in VARYING
    ]

    def run(arrays):
        def total(arrays):
            each = zip(arrays, cases, strict=True)
            outs = [
                core.frequency_filter(y, x, hop_length=hop, win_length=win)
                for (x, y), (_, _, hop, win) in each
            ]
            return sum(jnp.sum(jnp.sin(out)) for out in outs), outs

        return jax.grad(total, has_aux=True)(arrays)

    arrays = [tuple(jnp.asarray(x) for x in case[:2]) for case in cases]
    on_cpu = jax.jit(run)(arrays)
    programs = []

    def on_tpu(*arguments, tpu, **_):
        programs.append(tpu)
        return tpu(*arguments)

    monkeypatch.setattr(jax.lax, "platform_dependent", on_tpu)
    # Of the long cases one example after the other, of the short ones all at once.
    monkeypatch.setattr(_crossfade_by_products, "_SHORT", 6)
    # Another function, because JAX keeps the program that it traced.
    gradients, outs = jax.jit(lambda arrays: run(arrays))(arrays)
    assert len(programs) == len(cases)
    assert_trees_close(gradients, on_cpu[0], scale=100.0)
    for (magnitudes, audio, hop, win), out in zip(cases, outs, strict=True):
        expected = [filter_by_loop(row, magnitudes, hop, win) for row in audio]
        assert_close(out, np.stack(expected), scale=4.0)


@pytest.mark.parametrize(("samples", "hop_length", "bands", "win_length"), VARYING[1:4])
def test_a_constant_filter_equals_the_static_one(samples, hop_length, bands, win_length):
    audio, magnitudes = jnp.asarray(noise(2, samples)), jnp.asarray(noise(bands, seed=1))
    frames = jnp.broadcast_to(magnitudes, (core.n_frames(samples, hop_length=hop_length), bands))
    varying = frequency_filter(audio, frames, hop_length=hop_length, win_length=win_length)
    static = frequency_filter(audio, magnitudes, win_length=win_length)
    assert_close(varying, static, scale=8.0)


# Physics


@pytest.mark.parametrize("win_length", [None, 128, 127, 33, 32, 2])
def test_flat_magnitudes_are_one_tap_in_the_middle(win_length):
    # DDSP's window is a sample beside the peak, whose gain it lowers to 0.99 at 33 taps.
    taps = core.frequency_impulse_response(jnp.full(65, 3.0), win_length=win_length)
    expected = np.zeros(taps.shape)
    expected[len(taps) // 2] = 3.0
    assert_close(taps, expected)


@pytest.mark.parametrize("hop_length", [None, 100])
@pytest.mark.parametrize("win_length", [None, 33])
def test_an_impulse_and_a_step_stay_at_their_sample(win_length, hop_length):
    # DDSP is two samples late with its default window.
    magnitudes = 1 / (1 + np.arange(65.0))
    if hop_length:
        magnitudes = np.broadcast_to(magnitudes, (core.n_frames(400, hop_length=hop_length), 65))
    audio = np.zeros((2, 400))
    audio[0, 201] = 1.0
    audio[1, 201:] = 1.0
    impulse, step = frequency_filter(
        jnp.asarray(audio), jnp.asarray(magnitudes), hop_length=hop_length, win_length=win_length
    )
    assert int(jnp.argmax(impulse)) == 201
    assert_close(impulse[202:264], impulse[139:201][::-1])
    # Steepest into sample 201, and as far below half its height before as above it after.
    assert int(jnp.argmax(jnp.diff(step))) == 200
    height = float(step[300])
    assert_close(step[201:264] + step[138:201][::-1], np.full(63, height))


def test_a_tone_gets_the_gain_of_its_band():
    # Linear magnitudes, which the window's smoothing over frequency leaves as they are.
    audio = sine(1000.0, 400, sample_rate=16000)
    magnitudes = jnp.linspace(2.0, 0.0, 65)
    y = frequency_filter(jnp.asarray(audio), magnitudes)
    assert_close(y[100:-100], 1.75 * audio[100:-100], scale=4.0)


def test_each_frame_acts_alone_at_its_sample():
    magnitudes, audio = noise(5, 9), jnp.asarray(noise(32, seed=1))
    y = frequency_filter(audio, jnp.asarray(magnitudes), hop_length=8)
    for frame in range(4):
        alone = frequency_filter(audio, jnp.asarray(magnitudes[frame]))
        assert_close(y[8 * frame], alone[8 * frame], scale=4.0)


def test_a_change_of_filter_makes_no_click():
    # From all-pass to a twentieth, on a constant: the step between samples is that of the fade.
    magnitudes = jnp.concatenate([jnp.ones((2, 33)), jnp.full((3, 33), 0.05)])
    y = frequency_filter(jnp.ones(256), magnitudes, hop_length=64)
    assert float(jnp.abs(jnp.diff(y)).max()) < 1.01 * 0.95 * np.pi / 2 / 64


# Gradients


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_convolution_gradients(mode):
    check_grads(lambda x, h: core.fft_convolve(x, h, mode=mode), noise(2, 7), noise(3), order=1)


def test_moving_convolution_gradients():
    run = partial(core.fft_convolve, mode="full", hop_length=1)
    check_grads(run, noise(3), noise(4, 40), order=1)


@pytest.mark.parametrize("hop_length", [None, 4])
def test_filter_gradients(hop_length):
    magnitudes = noise(5) if hop_length is None else noise(3, 5)
    check_grads(lambda x, m: frequency_filter(x, m, hop_length=hop_length), noise(10), magnitudes)


# Transformations


@pytest.mark.parametrize("hop_length", [None, 4])
def test_filter_under_transformations(hop_length):
    magnitudes = noise(2, 5) if hop_length is None else noise(2, 4, 5)
    check_transformations(
        lambda x, m: frequency_filter(x, m, hop_length=hop_length),
        noise(2, 13),
        magnitudes,
        scale=4.0,
    )


def test_one_filter_serves_a_whole_batch():
    audio, magnitudes = jnp.asarray(noise(2, 3, 13)), jnp.asarray(noise(4, 5))
    together = frequency_filter(audio, magnitudes, hop_length=4)
    alone = frequency_filter(audio[1, 2], magnitudes, hop_length=4)
    assert_close(together[1, 2], alone, scale=4.0)


# Dtypes


@pytest.mark.parametrize("hop_length", [None, 4])
def test_filters_keep_the_dtype(hop_length):
    magnitudes = noise(5) if hop_length is None else noise(3, 5)
    check_dtypes(lambda x, m: frequency_filter(x, m, hop_length=hop_length), noise(10), magnitudes)


# Boundaries


def test_wrong_arguments_of_convolution_are_refused():
    x = jnp.ones(4)
    with pytest.raises(ValueError, match=r"`audio.shape\[-1\]` must be at least 1"):
        core.fft_convolve(x[:0], x, mode="full")
    with pytest.raises(ValueError, match=r"`impulse_response.shape\[-1\]` must be at least 1"):
        core.fft_convolve(x, x[:0], mode="full")
    with pytest.raises(ValueError, match="`impulse_response` without `hop_length`"):
        core.fft_convolve(jnp.ones((2, 4)), jnp.ones((2, 3, 5)), mode="full")
    with pytest.raises(ValueError, match="same number of frames, got 2 and 3"):
        core.fft_convolve(x, jnp.ones((2, 5)), mode="full", hop_length=2)
    with pytest.raises(ValueError, match=r"`impulse_response` must have shape .*frames, taps"):
        core.fft_convolve(x, x, mode="full", hop_length=2)


def test_wrong_arguments_of_filters_are_refused():
    audio, magnitudes = jnp.ones(16), jnp.ones((5, 9))
    with pytest.raises(ValueError, match="`magnitudes` without `hop_length`"):
        core.frequency_filter(jnp.ones((4, 16)), magnitudes)
    with pytest.raises(ValueError, match="same number of frames, got 4 and 5"):
        core.frequency_filter(audio, magnitudes[:4], hop_length=4)
    with pytest.raises(ValueError, match="`magnitudes` must have at least 2 bands"):
        core.frequency_impulse_response(jnp.ones(1))
    with pytest.raises(ValueError, match=r"`win_length` must be at most .* = 16, got 17"):
        core.frequency_impulse_response(magnitudes, win_length=17)
    with pytest.raises(ValueError, match="`win_length` must be at least 1"):
        core.frequency_impulse_response(magnitudes, win_length=0)
    with pytest.raises(TypeError, match="`hop_length` must be a Python int"):
        core.frequency_filter(audio, magnitudes, hop_length=True)


# Windowed sincs and streams


@pytest.mark.parametrize("cutoff_hz", [500.0, 3000.0])
def test_sinc_filters_pass_one_side_of_their_cutoff(cutoff_hz):
    low, high = (
        np.asarray(design(cutoff_hz, sample_rate=16000, win_length=257))
        for design in (core.sinc_lowpass, core.sinc_highpass)
    )
    lags = np.arange(257) - 128
    hz = np.array([0.0, cutoff_hz - 150, cutoff_hz, cutoff_hz + 150, 8000.0])
    turns = np.exp(-2j * np.pi * np.outer(hz / 16000, lags))
    below, above = (np.abs(turns @ taps) for taps in (low, high))
    np.testing.assert_allclose(below, [1, 1, 0.5, 0, 0], atol=4e-3)
    np.testing.assert_allclose(above, [0, 0, 0.5, 1, 1], atol=4e-3)


def test_sinc_filters_are_windowed_sincs(rng):
    cutoffs = rng.uniform(100, 3000, 2)
    taps = core.sinc_lowpass(jnp.asarray(cutoffs), sample_rate=8000, win_length=9)
    k = np.arange(-4, 5)
    for row, cutoff_hz in zip(taps, cutoffs, strict=True):
        expected = np.sinc(2 * cutoff_hz / 8000 * k) * (0.54 + 0.46 * np.cos(2 * np.pi * k / 9))
        assert_close(row, expected / expected.sum())
    design = partial(core.sinc_highpass, sample_rate=8000, win_length=9)
    check_grads(lambda cutoff: design(1000 * cutoff), np.array([0.3, 1.7]))
    assert_finite_grads(design, np.array([0.0, 4000.0]))
    with pytest.raises(ValueError, match="`win_length` must be odd, got 8"):
        core.sinc_lowpass(100.0, sample_rate=8000, win_length=8)
