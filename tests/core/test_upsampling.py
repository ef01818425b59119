import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.interpolate
import scipy.signal
from helpers import (
    DTYPES,
    assert_close,
    check_dtypes,
    check_grads,
    check_transformations,
    compiled,
    noise,
)

from ddspx import core

upsample, resample = map(compiled, (core.upsample, core.resample_controls))

METHODS = ("nearest", "linear", "cubic", "hann")
EACH_METHOD = pytest.mark.parametrize("method", METHODS)


def keys_kernel(t, a=-0.5):
    """Keys' piecewise cubic of the distance t, in frames."""
    t = abs(t)
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0


KERNELS = {
    "nearest": lambda t: float(-0.5 < t <= 0.5),
    "linear": lambda t: max(0.0, 1 - abs(t)),
    "cubic": keys_kernel,
    "hann": lambda t: 0.5 + 0.5 * np.cos(np.pi * t) if abs(t) < 1 else 0.0,
}


def upsample_by_loop(frames, hop_length, n_samples, method):
    """y[n] = sum_i kernel(i - n / hop) x[i], edge frames repeated, the last one held."""
    return read_by_loop(frames, [n / hop_length for n in range(n_samples)], method)


def read_by_loop(frames, positions, method):
    out = np.zeros(len(positions))
    for n, position in enumerate(positions):
        if position >= len(frames) - 1:
            out[n] = frames[-1]
            continue
        for i in range(-2, len(frames) + 2):
            neighbour = frames[min(max(i, 0), len(frames) - 1)]
            out[n] += KERNELS[method](i - position) * neighbour
    return out


# Values


@EACH_METHOD
@pytest.mark.parametrize(("count", "hop_length"), [(5, 4), (4, 3), (2, 5), (6, 1), (1, 4)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_upsample_is_its_definition(method, count, hop_length, dtype):
    frames = noise(count).astype(dtype)
    shortest = (count - 1) * hop_length
    for n_samples in {shortest, shortest + hop_length - 1}:
        actual = upsample(
            jnp.asarray(frames), hop_length=hop_length, method=method, n_samples=n_samples
        )
        expected = upsample_by_loop(frames, hop_length, n_samples, method)
        assert_close(actual, expected, scale=2)


# To more frames and to fewer, by ratios that are whole and are not, to one, and of one.
@EACH_METHOD
@pytest.mark.parametrize(("count", "n_frames"), [(5, 13), (7, 3), (4, 8), (3, 1), (1, 4)])
def test_any_ratio_interpolates_between_the_frames(method, count, n_frames):
    frames = noise(2, count)
    m = np.arange(n_frames)
    # Both for the same stretch of time, the last frame on the last, and from 44.1 kHz to 16 kHz.
    steps = {None: count / n_frames, 0.7346938775510204: 0.7346938775510204}
    if n_frames > 1 and count > 1:
        steps[(count - 1) / (n_frames - 1)] = (count - 1) / (n_frames - 1)
    for step, between in steps.items():
        actual = resample(jnp.asarray(frames), n_frames=n_frames, method=method, step=step)
        for row, values in zip(actual, frames, strict=True):
            assert_close(row, read_by_loop(values, m * between, method), scale=2)


@EACH_METHOD
def test_resampling_to_every_sample_equals_upsampling(method):
    frames = jnp.asarray(noise(5, 2))
    actual = resample(frames, n_frames=32, step=1 / 8, method=method, axis=-2)
    assert_close(actual, upsample(frames, hop_length=8, method=method, axis=-2), 2)


def test_linear_is_numpys_interpolation():
    frames = noise(6)
    expected = np.interp(np.arange(44) / 8, np.arange(6), frames)
    actual = upsample(jnp.asarray(frames), hop_length=8, method="linear", n_samples=44)
    assert_close(actual, expected)


def test_hann_is_the_overlap_add_of_windowed_frames():
    # DDSP's 'window': every frame under a periodic Hann window of two hops, added at its place.
    frames, hop_length = noise(5), 6
    window = scipy.signal.get_window("hann", 2 * hop_length)
    total = np.zeros(6 * hop_length)
    for i, value in enumerate(frames):
        total[i * hop_length : (i + 2) * hop_length] += value * window
    expected = total[hop_length : 5 * hop_length]
    actual = upsample(jnp.asarray(frames), hop_length=hop_length, method="hann")
    assert_close(actual, expected)


def test_cubic_is_scipys_hermite_spline_with_central_slopes():
    frames = noise(7)
    slopes = np.gradient(frames)
    spline = scipy.interpolate.CubicHermiteSpline(np.arange(7), frames, slopes)
    actual = upsample(jnp.asarray(frames), hop_length=5, method="cubic")
    inner = slice(5, -5)
    assert_close(np.asarray(actual)[inner], spline(np.arange(30) / 5)[inner], scale=2)


@EACH_METHOD
@pytest.mark.parametrize("hop_length", [1, 2, 7])
def test_weights_add_up_to_one_and_start_at_the_frame(method, hop_length):
    offsets, weights = core.interpolation_weights(hop_length, method)
    assert weights.shape == (len(offsets), hop_length)
    np.testing.assert_allclose(weights.sum(axis=0), 1.0, atol=1e-15)
    np.testing.assert_array_equal(weights[:, 0], np.array(offsets) == 0)


# Physics


@EACH_METHOD
def test_a_frame_is_heard_exactly_at_its_sample_and_the_last_is_held(method):
    frames = noise(5)
    x = jnp.asarray(frames)
    y = np.asarray(upsample(x, hop_length=7, method=method, n_samples=34))
    np.testing.assert_array_equal(y[::7], np.asarray(x))
    np.testing.assert_array_equal(y[28:], np.asarray(x)[-1])


@EACH_METHOD
def test_a_constant_stays_constant(method):
    y = upsample(jnp.full(4, 0.7), hop_length=9, method=method)
    assert_close(y, 0.7)


@pytest.mark.parametrize(("method", "degree"), [("linear", 1), ("cubic", 2)])
def test_polynomials_are_reproduced_between_inner_frames(method, degree):
    frames = np.arange(8.0) ** degree - 3.0
    y = np.asarray(upsample(jnp.asarray(frames), hop_length=4, method=method))
    expected = (np.arange(28) / 4) ** degree - 3.0
    assert_close(y[4:-4], expected[4:-4], scale=50)


@pytest.mark.parametrize("method", ["nearest", "linear", "hann"])
def test_between_two_frames_nothing_overshoots(method):
    frames = noise(9)
    y = np.asarray(upsample(jnp.asarray(frames), hop_length=6, method=method))
    rows = y.reshape(8, 6)
    low, high = np.minimum(frames[:-1], frames[1:]), np.maximum(frames[:-1], frames[1:])
    assert (rows >= low[:, None] - 1e-6).all()
    assert (rows <= high[:, None] + 1e-6).all()


@EACH_METHOD
def test_compiled_memory_is_the_result(method):
    def upsample(x):
        return core.upsample(x, hop_length=64, method=method, axis=-2)

    controls = jnp.ones((2, 51, 8), jnp.float32)
    compiled = jax.jit(upsample).lower(controls).compile()
    temporaries = compiled.memory_analysis().temp_size_in_bytes
    assert temporaries <= 0.2 * upsample(controls).nbytes
    assert "gather" not in jax.jit(upsample).lower(controls).as_text()


# Gradients


def test_gradients_match_differences():
    def squared(x):
        return [
            core.upsample(x, hop_length=3, method=method, n_samples=11) ** 2 for method in METHODS
        ]

    check_grads(squared, noise(4))


# Transformations and dtypes


@EACH_METHOD
def test_features_are_upsampled_one_by_one(method):
    x = jnp.asarray(noise(2, 4, 3))
    together = core.upsample(x, hop_length=5, method=method, axis=-2, n_samples=17)
    alone = core.upsample(
        jnp.swapaxes(x, -1, -2), hop_length=5, method=method, axis=-1, n_samples=17
    )
    assert_close(together, np.swapaxes(alone, -1, -2))


@pytest.mark.parametrize("axis", [-1, -2])
def test_transformations_and_dtypes(axis):
    def upsample(x):
        return [
            core.upsample(x, hop_length=3, method=method, n_samples=10, axis=axis)
            for method in METHODS
        ]

    shape = (4,) if axis == -1 else (4, 2)
    check_transformations(upsample, noise(3, *shape))
    check_dtypes(upsample, noise(*shape))


# Boundary errors


def test_impossible_resampling_is_refused():
    frames, resample = jnp.ones(4), core.resample_controls
    with pytest.raises(ValueError, match="`n_frames` must be at least 1, got 0"):
        resample(frames, n_frames=0, method="linear")
    for step in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="`step` must be a positive number of frames, got"):
            resample(frames, n_frames=3, method="linear", step=step)
    with pytest.raises(ValueError, match=r"`controls.shape\[-1\]` must be at least 1"):
        resample(frames[:0], n_frames=3, method="linear")
    with pytest.raises(ValueError, match="`method` must be one of"):
        resample.__wrapped__(frames, n_frames=3, method="window")


def test_unknown_choices_are_refused():
    # Under pytest the type checker refuses the name before our own check does.
    with pytest.raises((ValueError, TypeError), match="method"):
        core.upsample(jnp.zeros(3), hop_length=2, method="spline")  # type: ignore
    with pytest.raises(ValueError, match="`axis` must be one of -1, -2, got 0"):
        core.upsample(jnp.zeros(3), hop_length=2, method="linear", axis=0)
    with pytest.raises(ValueError, match=r"`controls` must have shape"):
        core.upsample(jnp.zeros(3), hop_length=2, method="linear", axis=-2)
    with pytest.raises(ValueError, match="`hop_length` must be at least 1"):
        core.upsample(jnp.zeros(3), hop_length=0, method="linear")
    with pytest.raises(ValueError, match="must have at least one frame"):
        core.upsample(jnp.zeros(0), hop_length=2, method="linear")


@pytest.mark.parametrize("n_samples", [0, 3, 6, 64])
def test_n_samples_must_have_this_many_frames(n_samples):
    with pytest.raises(ValueError, match=r"`n_samples` must be from 4 to 5 for 3 frames"):
        core.upsample(jnp.zeros(3), hop_length=2, method="hann", n_samples=n_samples)
