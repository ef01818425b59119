"""CREPE with random weights: the network, its convolutions, framing, gradients and decoders."""

import itertools
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers import DTYPES, assert_close, check_dtypes, check_grads, noise, quick_jit, sine
from modules import drawn

from ddspx import core
from ddspx.models.crepe import (
    Crepe,
    CrepeConfig,
    bins_to_hz,
    crepe_activation,
    crepe_pitch,
    decode,
    decode_crepe,
    frames_activation,
    normalize_frames,
    pitch_path,
)
from ddspx.models.crepe.convolution import (
    convolve,
    first_convolve,
    first_kernel_response,
    kernel_response,
)

CENTS = 1997.3794084376191 + np.linspace(0, 7180, 360)


def random_model(multiplier: int = 1) -> Crepe:
    """A small network in which every array matters, and some slopes are negative."""
    rng = np.random.default_rng(1)
    draws = {
        "kernel": lambda shape: rng.normal(0, math.sqrt(2 / math.prod(shape[:-1])), shape),
        "bias": lambda shape: rng.normal(0, 0.3, shape),
        "scale": lambda shape: rng.normal(1, 1, shape),
        "shift": lambda shape: rng.normal(0, 0.3, shape),
        "mean": lambda shape: rng.normal(0, 0.3, shape),
        "variance": lambda shape: rng.uniform(0.5, 2, shape),
    }
    return drawn(
        lambda: Crepe(CrepeConfig(multiplier), rngs=nnx.Rngs(0)),
        lambda name, shape: draws[name](shape),
    )


@pytest.fixture(scope="module")
def model():
    return random_model()


@pytest.fixture(scope="module")
def network(model):
    graph, state = nnx.split(model)
    return quick_jit(lambda state: nnx.merge(graph, state).network())(state)


# One compilation per shape, instead of one per operation.
activation_of = quick_jit(crepe_activation, static_argnames=("hop_length", "chunk_frames"))
frames_activation_of = quick_jit(frames_activation)
decode_of = quick_jit(decode_crepe, static_argnames="decoder")
pitch_of = quick_jit(crepe_pitch, static_argnames=("hop_length", "decoder"))


def direct_convolution(inputs, kernel, stride, left):
    """Keras' convolution of (positions, channels) by its definition, padding "same"."""
    taps = len(kernel)
    outputs = len(inputs) // stride
    padded = np.zeros((left + len(inputs) + taps, inputs.shape[1]))
    padded[left : left + len(inputs)] = inputs
    rows = [np.tensordot(padded[p * stride : p * stride + taps], kernel, 2) for p in range(outputs)]
    return np.stack(rows)


def direct_activation(model, frame):
    """The network of one frame by its definition, in float64."""
    x = np.asarray(frame, np.float64)[:, None]
    for i, block in enumerate(model.blocks):
        kernel, bias, scale, shift, mean, variance = (
            np.asarray(array, np.float64) for array in block.arrays()
        )
        x = direct_convolution(x, kernel, *((1, 31) if i else (4, 254))) + bias
        x = np.maximum(x, 0)
        x = scale * (x - mean) / np.sqrt(variance + 1e-3) + shift
        x = x.reshape(-1, 2, x.shape[-1]).max(axis=1)
    logits = x.ravel() @ np.asarray(model.kernel[...], np.float64) + np.asarray(model.bias[...])
    return 1 / (1 + np.exp(-logits))


# convolutions


@pytest.mark.parametrize("positions", [128, 64, 32, 16, 8])
def test_convolution_by_dft_is_the_convolution(positions):
    inputs, kernel = noise(positions, 3, 2), noise(64, 3, 5, seed=1)
    inputs, kernel = (x.astype(DTYPES[-1]) for x in (inputs, kernel))

    def layer(inputs, kernel):
        return convolve(inputs, kernel_response(kernel, positions))

    even, odd = jax.jit(layer)(inputs, kernel)
    for frame in range(2):
        expected = direct_convolution(inputs[..., frame], kernel, 1, 31)
        assert_close(even[..., frame], expected[::2], scale=100)
        assert_close(odd[..., frame], expected[1::2], scale=100)


def test_first_convolution_by_dft_is_the_convolution():
    frames, kernel = noise(2, 1024).astype(DTYPES[-1]), noise(512, 1, 3, seed=1).astype(DTYPES[-1])
    even, odd = jax.jit(lambda x, k: first_convolve(x, first_kernel_response(k)))(frames, kernel)
    for frame in range(2):
        expected = direct_convolution(frames[frame, :, None], kernel, 4, 254)
        assert_close(even[..., frame], expected[::2], scale=200)
        assert_close(odd[..., frame], expected[1::2], scale=200)


# the network


@pytest.mark.parametrize(
    ("capacity", "channels"),
    [
        ("tiny", (128, 16, 16, 16, 32, 64)),
        ("small", (256, 32, 32, 32, 64, 128)),
        ("medium", (512, 64, 64, 64, 128, 256)),
        ("large", (768, 96, 96, 96, 192, 384)),
        ("full", (1024, 128, 128, 128, 256, 512)),
    ],
)
def test_capacities_have_the_published_shapes(capacity, channels):
    config = CrepeConfig.of(capacity)
    model = nnx.eval_shape(lambda: Crepe(config, rngs=nnx.Rngs(0)))
    assert config.capacity == capacity
    taps, inputs, total = 512, 1, 0
    for block, outputs in zip(model.blocks, channels, strict=True):
        shapes = {name: x.shape for name, x in nnx.to_pure_dict(nnx.state(block)).items()}
        assert shapes.pop("kernel") == (taps, inputs, outputs)
        assert list(shapes.values()) == [(outputs,)] * 5
        total += taps * inputs * outputs + 5 * outputs
        taps, inputs = 64, outputs
    total += 4 * inputs * 360 + 360
    assert total == sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(nnx.state(model)))
    if capacity == "full":
        assert total == 22_244_328


def test_the_network_equals_its_definition(model, network):
    frames = normalize_frames(jnp.asarray(noise(2, 1024), jnp.float32))
    activation = frames_activation_of(network, frames)
    expected = np.stack([direct_activation(model, frame) for frame in np.asarray(frames)])
    # Random weights saturate many outputs, but not too many for the comparison.
    assert np.mean((expected > 0.01) & (expected < 0.99)) > 0.2
    np.testing.assert_allclose(activation, expected, atol=1e-5)


def test_frames_are_centred_and_normalized(network, rng):
    hop, samples = 250, 2100
    audio = rng.normal(0.3, 0.1, samples)
    padded = np.pad(audio, 512)
    frames = np.stack([padded[i * hop : i * hop + 1024] for i in range(1 + samples // hop)])
    frames -= frames.mean(axis=1, keepdims=True)
    frames /= frames.std(axis=1, keepdims=True)
    expected = frames_activation_of(network, jnp.asarray(frames, jnp.float32))
    activation = activation_of(network, jnp.asarray(audio, jnp.float32), hop_length=hop)
    np.testing.assert_allclose(activation, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("hop_length", "chunk_frames"), [(100, 1), (100, 7), (1300, 2), (5000, 32)]
)
def test_chunks_of_any_size_are_the_whole(network, hop_length, chunk_frames):
    audio = jnp.asarray(noise(3000), jnp.float32)
    whole = activation_of(network, audio, hop_length=hop_length, chunk_frames=1000)
    assert len(whole) == core.n_frames(3000, hop_length=hop_length)
    parts = activation_of(network, audio, hop_length=hop_length, chunk_frames=chunk_frames)
    np.testing.assert_allclose(parts, whole, atol=1e-5)


def test_examples_of_a_batch_are_independent(network):
    audio = jnp.asarray(noise(2, 3, 2000), jnp.float32)
    track = partial(activation_of, network, hop_length=200, chunk_frames=4)
    together = track(audio)
    assert together.shape == (2, 3, 11, 360)
    for i, j in itertools.product(range(2), range(3)):
        np.testing.assert_allclose(together[i, j], track(audio[i, j]), atol=1e-5)


def test_level_and_offset_do_not_change_the_result(network):
    audio = jnp.asarray(noise(1500), jnp.float32)
    inside = slice(512 // 100 + 1, None)  # frames that see no silence before the sound
    track = partial(activation_of, network, hop_length=100)
    plain, quiet, lifted = (track(x)[inside][:4] for x in (audio, 1e-3 * audio, audio + 1))
    np.testing.assert_allclose(quiet, plain, atol=1e-5)
    np.testing.assert_allclose(lifted, plain, atol=1e-4)


def test_results_keep_the_dtype(network):
    check_dtypes(partial(crepe_activation, network, hop_length=500), noise(1000))
    check_dtypes(partial(crepe_pitch, network, hop_length=500, decoder="viterbi"), noise(1000))


def test_silence_is_normalized_to_silence():
    for level in (0.0, 0.25):
        frames = jnp.full((1, 1024), level, jnp.float32)
        np.testing.assert_array_equal(normalize_frames(frames), np.zeros((1, 1024)))


def test_memory_is_that_of_a_chunk(network):
    def temporaries(seconds):
        audio = jax.ShapeDtypeStruct((seconds * 16_000,), jnp.float32)
        compiled = pitch_of.lower(network, audio, hop_length=160).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    # Beside the arrays of a chunk, there are the framed audio and the result.
    assert temporaries(40) - temporaries(10) < 4 * 4 * 30 * 16_000


# gradients


def test_gradient_in_the_audio(network):
    check_grads(
        lambda audio: crepe_activation(network, audio, hop_length=700, chunk_frames=2)[..., ::40],
        noise(1400),
        order=1,
        modes=("rev",),
        eps=1e-7,
        rtol=2e-3,
        atol=2e-3,
    )


def test_gradient_is_finite_for_silence_and_reaches_the_weights(model):
    arrays, rest = model.network(), jnp.zeros(1100, jnp.float32)

    def total(network, audio):
        f0_hz, confidence = crepe_pitch(network, audio, hop_length=600)
        return jnp.sum(f0_hz) + jnp.sum(confidence)

    gradient = quick_jit(jax.grad(total, argnums=(0, 1)))
    for audio in (rest, jnp.asarray(sine(440, 1100, sample_rate=16_000), jnp.float32)):
        for leaf in jax.tree.leaves(gradient(arrays, audio)):
            assert np.isfinite(np.asarray(leaf)).all()
    for leaf in jax.tree.leaves(gradient(arrays, audio)):
        assert np.abs(np.asarray(leaf)).max() > 0


# decoders


paths = quick_jit(pitch_path, static_argnames="observation")


def random_activation(seed=0, frames=60):
    """A wandering peak over noise, with outliers."""
    rng = np.random.default_rng(seed)
    centre = np.clip(np.cumsum(rng.normal(0, 3, frames)) + 180, 0, 359)
    centre = np.where(rng.uniform(size=frames) < 0.2, rng.uniform(0, 359, frames), centre)
    peak = 0.8 * np.exp(-0.5 * ((np.arange(360) - centre[:, None]) / 2) ** 2)
    return peak + rng.uniform(0, 0.1, (frames, 360))


def local_mean_hz(activation, bins):
    values = []
    for row, b in zip(activation, bins, strict=True):
        near = slice(max(0, b - 4), min(360, b + 5))
        cents = np.sum(row[near] * CENTS[near]) / np.sum(row[near])
        values.append(10 * 2 ** (cents / 1200))
    return np.array(values)


def test_weighted_argmax_is_the_local_mean():
    activation = random_activation(frames=30)
    activation[0, 1], activation[1, 358], activation[2] = 1.5, 1.5, 0
    f0_hz, confidence = decode_of(jnp.asarray(activation, jnp.float32))
    bins = activation.argmax(axis=1)
    expected = local_mean_hz(activation[3:], bins[3:])
    assert np.abs(1200 * np.log2(np.asarray(f0_hz)[3:] / expected)).max() < 0.01
    ends = local_mean_hz(activation[:2], bins[:2])
    assert np.abs(1200 * np.log2(np.asarray(f0_hz)[:2] / ends)).max() < 0.01
    assert_close(confidence, activation.max(axis=1).astype(np.float32))
    np.testing.assert_allclose(f0_hz[2], 10 * 2 ** (CENTS[0] / 1200), rtol=1e-6)


def chain(activation, observation):
    """Log-scores of the chain's moves and of each bin in each frame, by their definitions."""
    distance = np.abs(np.subtract.outer(np.arange(360), np.arange(360)))
    floor = 0 if observation == "argmax" else 1e-5
    moves = np.maximum(12 - distance, floor).astype(float)
    emission = 0.1 * np.eye(360) + 0.9 / 360
    with np.errstate(divide="ignore"):
        log_moves = np.log(moves / moves.sum(axis=1, keepdims=True))
    if observation == "argmax":
        return log_moves, np.log(emission)[activation.argmax(axis=1)]
    return log_moves, activation @ np.log(emission).T


def score_of(path, log_moves, observed):
    return log_moves[path[:-1], path[1:]].sum() + observed[np.arange(len(path)), path].sum()


@pytest.mark.parametrize("observation", ["argmax", "activation"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_path_is_the_most_likely_one(observation, dtype):
    activation = random_activation()
    log_moves, observed = chain(activation, observation)
    best = observed[0]
    for row in observed[1:]:
        best = (best[:, None] + log_moves).max(axis=0) + row
    path = np.asarray(paths(jnp.asarray(activation, dtype), observation=observation))
    # The rounding of the scores, and the approximate leaps at the ends, may cost this much.
    assert score_of(path, log_moves, observed) > best.max() - 0.01
    plain = activation.argmax(axis=1)
    if observation == "argmax":
        assert np.abs(np.diff(path)).max() <= 11
        assert (np.abs(path - plain) > 11).any(), "there are outliers to pass over"


def test_the_highest_of_equal_paths_is_chosen():
    activation = np.zeros((60, 360))
    activation[:57, 100] = activation[59, 120] = 1
    activation[[57, 58], [300, 5]] = 1
    # 20 bins in three steps: 6, 7 and 7 in any order have the same score.
    for dtype in DTYPES:
        path = paths(jnp.asarray(activation, dtype), observation="argmax")
        assert path[55:].tolist() == [100, 100, 107, 114, 120]


def test_paths_of_a_batch_are_independent():
    activation = np.stack([random_activation(seed) for seed in range(2)])
    activation = jnp.asarray(activation, DTYPES[-1])
    together = paths(activation[:, None], observation="argmax")
    for i in range(2):
        alone = paths(activation[i], observation="argmax")
        np.testing.assert_array_equal(together[i, 0], alone)


def test_pitch_is_the_decoded_activation(network):
    audio = jnp.asarray(noise(2, 2500), jnp.float32)
    activation = activation_of(network, audio, hop_length=125)
    for decoder in ("weighted_argmax", "viterbi", "activation_viterbi"):
        pitch = pitch_of(network, audio, hop_length=125, decoder=decoder)
        decoded = decode_of(activation, decoder=decoder)
        for actual, expected in zip(pitch, decoded, strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-4)


def test_a_long_path_is_that_of_the_kept_activation(network, monkeypatch):
    audio = jnp.asarray(noise(2, 2500), jnp.float32)
    activation = activation_of(network, audio, hop_length=125)
    monkeypatch.setattr(decode, "_MOST_KEPT", 20)
    long_pitch = quick_jit(crepe_pitch, static_argnames=("hop_length", "decoder", "chunk_frames"))
    for decoder in ("viterbi", "activation_viterbi"):
        # 21 frames in four chunks of six: the last three frames are padding.
        pitch = long_pitch(network, audio, hop_length=125, decoder=decoder, chunk_frames=6)
        decoded = decode_of(activation, decoder=decoder)
        for actual, expected in zip(pitch, decoded, strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-4)


def test_a_long_path_keeps_a_byte_for_each_bin(network):
    def temporaries(seconds):
        audio = jax.ShapeDtypeStruct((seconds * 16_000,), jnp.float32)
        lowered = pitch_of.lower(network, audio, hop_length=160, decoder="viterbi")
        return lowered.compile().memory_analysis().temp_size_in_bytes

    # 360 bytes of steps per frame, a copy of them, and the framed audio.
    assert temporaries(180) - temporaries(90) < 90 * (100 * 2 * 370 + 4 * 4 * 16_000)


def test_gradient_of_a_long_path_is_that_of_the_kept_one(network, monkeypatch):
    audio = jnp.asarray(noise(1400), jnp.float32)

    def slope():
        pitch = partial(crepe_pitch, hop_length=350, decoder="viterbi", chunk_frames=2)
        return quick_jit(jax.grad(lambda audio: jnp.sum(pitch(network, audio)[0])))(audio)

    kept = slope()
    monkeypatch.setattr(decode, "_MOST_KEPT", 1)
    assert np.abs(np.asarray(kept)).max() > 0
    np.testing.assert_allclose(slope(), kept, rtol=1e-3, atol=1e-4 * np.abs(kept).max())


# errors


def test_errors_name_the_wrong_argument(network):
    audio, activation = jnp.zeros(1000, jnp.float32), jnp.zeros((2, 360), jnp.float32)
    with pytest.raises(ValueError, match="`hop_length` must be at least 1, got 0"):
        crepe_activation(network, audio, hop_length=0)
    with pytest.raises(ValueError, match="`chunk_frames` must be at least 1, got -1"):
        crepe_activation(network, audio, hop_length=10, chunk_frames=-1)
    with pytest.raises(TypeError, match="`audio` must be float32 or float64, got float16"):
        crepe_activation(network, audio.astype(jnp.float16), hop_length=10)
    with pytest.raises(ValueError, match="`frames` must have 1024 samples each, got 512"):
        frames_activation(network, jnp.zeros((1, 512), jnp.float32))
    with pytest.raises(ValueError, match="same number of bins, got 300 and 360"):
        bins_to_hz(activation[:, :300], jnp.zeros(2, jnp.int32))
    with pytest.raises(Exception, match="decoder"):
        decode_crepe(activation, decoder="beam")  # type: ignore
    with pytest.raises(Exception, match="capacity"):
        CrepeConfig.of("huge")  # type: ignore
    with pytest.raises(ValueError, match="`multiplier` must be at least 1"):
        CrepeConfig(0)
