"""The decoder of dilated convolutions: its definition in NumPy, and streams of blocks."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from modules import drawn, of_parts

from ddspx.nn import DilatedConvDecoderConfig

CAUSAL = DilatedConvDecoderConfig(channels=6, stacks=2, layers_per_stack=3, in_padding=(-0.5, 0.0))
WINDOWED = dataclasses.replace(CAUSAL, causal=False, window_frames=40, overlap_frames=12)


def decoder_of(config):
    rng = np.random.default_rng(1)
    return drawn(
        lambda: config.build((1, 1), 5, rngs=nnx.Rngs(0)),
        lambda name, shape: rng.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]) or 1),
    )


def tracks(n_frames, *batch):
    rng = np.random.default_rng(2)
    inputs = rng.uniform(-0.5, 0.5, (2, *batch, n_frames, 1)).astype(np.float32)
    return inputs[0], inputs[1]


# One program for each shape.
whole = of_parts(lambda decoder, inputs: decoder(inputs))


def convolved(x, conv, dilation, before, padding=0.0):
    kernel, bias = (np.asarray(v[...], np.float64) for v in (conv.kernel, conv.bias))
    reach = (len(kernel) - 1) * dilation
    extended = np.full((len(x) + reach, x.shape[1]), padding, np.float64)
    extended[before * reach // 2 :][: len(x)] = x
    return sum(extended[i * dilation :][: len(x)] @ w for i, w in enumerate(kernel)) + bias


def decoded(decoder, inputs, *, causal):
    """The definition, for one window."""
    before, axes = (2, (1,)) if causal else (1, (0, 1))
    x = np.concatenate(inputs, axis=-1)
    x = convolved(x, decoder.conv, 1, before, padding=decoder.config.in_padding)
    for layer, dilation in zip(decoder.layers, (1, 2, 4, 1, 2, 4), strict=True):
        u = convolved(np.maximum(x, 0), layer.conv, dilation, before)
        u -= u.mean(axis=axes, keepdims=True)
        u /= np.sqrt((u**2).mean(axis=axes, keepdims=True) + 1e-5)
        x = x + u * np.asarray(layer.scale[...]) + np.asarray(layer.shift[...])
    return x @ np.asarray(decoder.dense.kernel[...]) + np.asarray(decoder.dense.bias[...])


def windows(decoder, inputs, n_frames):
    """The definition of windows of 40 frames that fade into one another over 12."""
    total = np.zeros((n_frames, 5))
    starts = [0, *(s for s in range(28, n_frames, 28) if n_frames - s > 12)]
    for start in starts:
        part = [x[start : start + 40] for x in inputs]
        at = np.arange(len(part[0]))
        weight = np.ones(len(at))
        if start > 0:
            weight *= np.clip((at + 0.5) / 12, 0, 1)
        if start < starts[-1]:
            weight *= np.clip((40 - at - 0.5) / 12, 0, 1)
        total[start : start + 40] += weight[:, None] * decoded(decoder, part, causal=False)
    return total


@pytest.mark.parametrize("n_frames", [1, 23, 41, 97])
def test_outputs_are_those_of_the_definition(n_frames):
    inputs = tracks(n_frames)
    causal, windowed = decoder_of(CAUSAL), decoder_of(WINDOWED)
    expected = decoded(causal, inputs, causal=True), windows(windowed, inputs, n_frames)
    for decoder, outputs in zip((causal, windowed), expected, strict=True):
        np.testing.assert_allclose(whole(decoder, inputs), outputs, atol=2e-5)
    assert (causal.lookahead, windowed.lookahead) == (0, 40)


def test_a_causal_decoder_hears_nothing_of_later_frames():
    decoder, (loudness, pitch) = decoder_of(CAUSAL), tracks(30)
    later = np.where(np.arange(30)[:, None] < 20, loudness, 9.0)
    changed = whole(decoder, (later, pitch)) != whole(decoder, (loudness, pitch))
    assert not changed[:20].any() and changed[20].all()


@pytest.mark.parametrize("size", [1, 7, 50])
@pytest.mark.parametrize("config", [CAUSAL, WINDOWED])
def test_blocks_of_a_stream_equal_the_whole(config, size):
    """All blocks have one shape, and the count of frames says where the sound ends."""
    n_frames = 97
    decoder, inputs = decoder_of(config), tracks(n_frames, 2)
    step = jax.jit(
        lambda state, block, n: decoder.step(state, block, lookahead=decoder.lookahead, n_frames=n)
    )
    state, outputs = decoder.init(batch_shape=(2,)), []
    # Two blocks come after the end.
    for start in range(0, n_frames + 2 * size, size):
        frames = np.minimum(np.arange(start, start + size + decoder.lookahead), n_frames - 1)
        n_left = n_frames - start if size == 7 else max(0, n_frames - start)
        state, block = step(state, [x[:, frames] for x in inputs], jnp.int32(n_left))
        outputs.append(block)
    joined = np.concatenate(outputs, axis=-2)
    np.testing.assert_allclose(joined[:, :n_frames], whole(decoder, inputs), atol=1e-5)
    # Beyond the end, a decoder that hears the end holds its outputs.
    if not config.causal:
        held = np.broadcast_to(joined[:, n_frames - 1 : n_frames], joined[:, n_frames:].shape)
        np.testing.assert_array_equal(joined[:, n_frames:], held)
        assert state.position == n_frames
        silence = np.zeros((2, size + 40, 1), np.float32)
        _, none = step(decoder.init(batch_shape=(2,)), [silence, silence], jnp.int32(0))
        assert not none.any()


@pytest.mark.parametrize("config", [CAUSAL, WINDOWED])
def test_gradients_are_finite_and_reach_all_weights(config):
    decoder = decoder_of(config)
    graph, weights = nnx.split(decoder)

    def energy(weights, inputs):
        return jnp.sum(nnx.merge(graph, weights)(inputs) ** 2)

    silence = 2 * (np.zeros((60, 1), np.float32),)
    gradient = jax.jit(jax.grad(energy))
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradient(weights, silence)))
    for g in jax.tree.leaves(gradient(weights, tracks(60))):
        assert np.isfinite(g).all() and np.abs(g).max() > 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kernel_size": 4}, "`kernel_size` must be odd, got 4"),
        ({"layers_per_stack": 17}, "`layers_per_stack` must be at most 16"),
        ({"overlap_frames": 21}, "`overlap_frames` must be at most half of `window_frames`, 40"),
        ({"channels": 0}, "`channels` must be"),
    ],
)
def test_sizes_are_checked(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        dataclasses.replace(WINDOWED, **change)


def test_inputs_are_checked():
    with pytest.raises(ValueError, match="in_padding` and `in_features`"):
        CAUSAL.build((1, 1, 4), 5, rngs=nnx.Rngs(0))
    decoder = decoder_of(CAUSAL)
    with pytest.raises(ValueError, match="inputs"):
        decoder(tracks(9)[:1])
    with pytest.raises(ValueError, match="frames"):
        decoder((tracks(9)[0], tracks(8)[1]))


def test_a_decoder_that_hears_later_frames_refuses_a_block_without_them():
    decoder, inputs = decoder_of(WINDOWED), tracks(50)
    state = decoder.init()
    for wrong, sentence in {
        (0, None): "`lookahead` must be at least 40, .* got 0; .* of the 50 given frames",
        (39, None): "`lookahead` must be at least 40, .* got 39",
        (39, 51): "`lookahead` must be at least 40, .* got 39",
        (-1, None): "`lookahead` must be at least 0, got -1",
    }.items():
        lookahead, n_frames = wrong
        with pytest.raises(ValueError, match=sentence):
            decoder.step(state, inputs, lookahead=lookahead, n_frames=n_frames)
    # The sound may end before it has so many frames more.
    _, outputs = decoder.step(state, inputs, lookahead=9, n_frames=50)
    np.testing.assert_allclose(outputs, whole(decoder, inputs)[:41], atol=1e-5)
    _, outputs = decoder_of(CAUSAL).step(decoder_of(CAUSAL).init(), inputs)
    assert outputs.shape == (50, 5)
