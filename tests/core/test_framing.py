import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import scipy.signal
from helpers import (
    DTYPES,
    assert_close,
    check_grads,
    compiled,
    noise,
)

from ddspx import core

frame, overlap_add = map(compiled, (core.frame, core.overlap_add))

# (samples, frame_length, hop_length): 75 % overlap, no divisor, odd, no overlap, gaps, hop 1,
# a frame longer than the signal, one frame.
SIZES = [
    (24, 8, 2),
    (23, 7, 3),
    (20, 10, 4),
    (17, 5, 5),
    (19, 4, 6),
    (6, 3, 1),
    (5, 12, 2),
    (3, 4, 8),
    # More hops in a frame than are written out.
    (9, 70, 2),
]
EACH_SIZE = pytest.mark.parametrize(("samples", "frame_length", "hop_length"), SIZES)


def frame_by_loop(audio, frame_length, hop_length):
    frames = np.zeros((1 + len(audio) // hop_length, frame_length))
    for i in range(len(frames)):
        for j in range(frame_length):
            n = i * hop_length + j - frame_length // 2
            if 0 <= n < len(audio):
                frames[i, j] = audio[n]
    return frames


def overlap_add_by_loop(frames, hop_length, n_samples):
    audio = np.zeros(n_samples)
    for i, row in enumerate(frames):
        for j, value in enumerate(row):
            n = i * hop_length + j - len(row) // 2
            if 0 <= n < n_samples:
                audio[n] += value
    return audio


# Values


@pytest.mark.parametrize("hop_length", [1, 2, 3, 64])
def test_n_frames_counts_the_centres_within_the_signal(hop_length):
    for samples in (0, 1, 2, 63, 64, 65, 128):
        centres = range(0, samples + 1, hop_length)
        assert core.n_frames(samples, hop_length=hop_length) == len(centres)


@EACH_SIZE
@pytest.mark.parametrize("dtype", DTYPES)
def test_frame_is_its_definition(samples, frame_length, hop_length, dtype):
    audio = noise(samples).astype(dtype)
    actual = frame(jnp.asarray(audio), frame_length=frame_length, hop_length=hop_length)
    np.testing.assert_array_equal(actual, frame_by_loop(audio, frame_length, hop_length))


@EACH_SIZE
@pytest.mark.parametrize("dtype", DTYPES)
def test_overlap_add_is_its_definition(samples, frame_length, hop_length, dtype):
    frames = noise(1 + samples // hop_length, frame_length).astype(dtype)
    for n_samples in (None, samples):
        length = (len(frames) - 1) * hop_length if n_samples is None else n_samples
        actual = overlap_add(jnp.asarray(frames), hop_length=hop_length, n_samples=n_samples)
        assert_close(actual, overlap_add_by_loop(frames, hop_length, length), scale=4)


@pytest.mark.parametrize("win_length", [1, 2, 5, 16, 63])
def test_hann_window_is_scipys_periodic_one(win_length):
    expected = scipy.signal.get_window("hann", win_length, fftbins=True)
    window = core.hann_window(win_length)
    np.testing.assert_allclose(window, expected if win_length > 1 else [0.0], atol=1e-15)


def test_librosa_gives_the_same_frames_of_the_padded_signal():
    audio = noise(64)
    padded = np.pad(audio, 8)
    expected = librosa.util.frame(padded, frame_length=16, hop_length=4, axis=0)
    actual = frame(jnp.asarray(audio), frame_length=16, hop_length=4)
    assert_close(actual, expected)


# Physics


@pytest.mark.parametrize("frame_length", [6, 7])
def test_the_sample_of_a_frame_sits_at_its_middle(frame_length):
    audio = np.arange(1.0, 14.0)
    frames = frame(jnp.asarray(audio), frame_length=frame_length, hop_length=3)
    np.testing.assert_array_equal(frames[:, frame_length // 2], [1, 4, 7, 10, 13])


@pytest.mark.parametrize(("win_length", "hop_length"), [(8, 4), (8, 2), (9, 3), (12, 2)])
def test_hann_windowed_frames_add_up_to_the_signal(win_length, hop_length):
    samples = 5 * hop_length + 1
    audio = noise(samples)
    frames = frame(jnp.asarray(audio), frame_length=win_length, hop_length=hop_length)
    window = jnp.asarray(core.hann_window(win_length, dtype=frames.dtype))
    rebuilt = overlap_add(frames * window[None], hop_length=hop_length, n_samples=samples)
    # Frames centred outside the signal do not exist, so its ends lack their share; up to the
    # last centre every sample more than half a window inside has all of them.
    gain = win_length / (2 * hop_length)
    inside = slice(win_length // 2 - hop_length + 1, -(win_length // 2) or None)
    assert_close(np.asarray(rebuilt)[inside], gain * audio[inside], scale=4)


@EACH_SIZE
def test_overlap_add_is_the_adjoint_of_frame(samples, frame_length, hop_length):
    audio = jnp.asarray(noise(samples))
    frames, pull_back = jax.vjp(
        lambda x: core.frame(x, frame_length=frame_length, hop_length=hop_length), audio
    )
    cotangent = jnp.asarray(noise(*frames.shape, seed=1))
    (adjoint,) = pull_back(cotangent)
    added = core.overlap_add(cotangent, hop_length=hop_length, n_samples=samples)
    assert_close(added, adjoint, scale=4)


@EACH_SIZE
def test_framing_compiles_without_gather_or_scatter(samples, frame_length, hop_length):
    def there_and_back(x):
        frames = core.frame(x, frame_length=frame_length, hop_length=hop_length)
        return core.overlap_add(frames, hop_length=hop_length, n_samples=samples)

    text = jax.jit(jax.grad(lambda x: there_and_back(x).sum())).lower(jnp.ones(samples))
    assert "gather" not in text.as_text()
    assert "scatter" not in text.as_text()


# Gradients


def test_gradients_match_differences():
    def there_and_back(x):
        frames = core.frame(x, frame_length=5, hop_length=2) ** 2
        return frames, core.overlap_add(frames, hop_length=2, n_samples=9)

    check_grads(there_and_back, noise(9))


# Constants


def test_hann_window_is_a_cached_constant():
    window = core.hann_window(8, dtype=np.float32)
    assert window.dtype == np.float32
    assert window is core.hann_window(8, dtype=np.float32)
    with pytest.raises(ValueError, match="read-only"):
        window[0] = 1.0


# Boundary errors


def test_sizes_must_be_positive_ints():
    audio = jnp.zeros(8)
    with pytest.raises(ValueError, match="`hop_length` must be at least 1"):
        core.n_frames(8, hop_length=0)
    with pytest.raises(ValueError, match="`n_samples` must be at least 0, got -1"):
        core.n_frames(-1, hop_length=2)
    with pytest.raises(ValueError, match="`hop_length` must be at least 1"):
        core.frame(audio, frame_length=4, hop_length=0)
    with pytest.raises(ValueError, match="`frame_length` must be at least 1"):
        core.frame(audio, frame_length=0, hop_length=2)
    with pytest.raises(ValueError, match="`hop_length` must be at least 1"):
        core.overlap_add(jnp.zeros((3, 4)), hop_length=-1)
    with pytest.raises(ValueError, match="`win_length` must be at least 1"):
        core.hann_window(0)


@pytest.mark.parametrize("n_samples", [3, 6])
def test_n_samples_must_have_this_many_frames(n_samples):
    with pytest.raises(ValueError, match=r"`n_samples` must be from 4 to 5 for 3 frames"):
        core.overlap_add(jnp.zeros((3, 4)), hop_length=2, n_samples=n_samples)
