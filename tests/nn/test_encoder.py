import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers import noise

from ddspx.nn import (
    FftPath,
    FrontendConfig,
    GammatoneFilters,
    LogCompression,
    PcenCompression,
    ZEncoder,
    ZEncoderConfig,
)

LISTENING = {"sample_rate": 8000, "hop_length": 80, "n_fft": 256, "win_length": 200, "n_bands": 12}
AUDIO = jnp.asarray(0.1 * noise(2, 1600), jnp.float32)


def encoder(**changes) -> ZEncoder:
    config = ZEncoderConfig(FrontendConfig(**LISTENING | changes), rnn_channels=8, z_size=3)
    return ZEncoder(config, rngs=nnx.Rngs(0))


def test_z_is_the_dense_layer_over_the_gru_over_normalized_frames():
    model = encoder()
    model.scale[...] = jnp.linspace(0.5, 2.0, 12, dtype=jnp.float32)
    model.shift[...] = jnp.linspace(-1.0, 1.0, 12, dtype=jnp.float32)
    features = np.asarray(model.frontend(AUDIO), np.float64)
    deviation = np.sqrt(features.var(-1, keepdims=True) + 1e-5)
    normal = (features - features.mean(-1, keepdims=True)) / deviation
    states, _ = model.gru(
        jnp.asarray(normal * np.asarray(model.scale[...]) + np.asarray(model.shift[...]))
    )
    kernel, bias = (np.asarray(x[...], np.float64) for x in (model.dense.kernel, model.dense.bias))
    z = model(AUDIO)
    assert z.shape == (2, 21, 3) and z.dtype == jnp.float32
    np.testing.assert_allclose(z, np.asarray(states) @ kernel + bias, atol=1e-4)


def test_normalize_normalizes_over_time_as_ddsp_does():
    model = encoder(normalize=True)
    features = model.frontend(AUDIO)
    np.testing.assert_allclose(np.asarray(features).std(-2), 1, atol=1e-3)
    np.testing.assert_array_equal(model(AUDIO), model.dense(model.gru(features)[0]))


def test_a_louder_sound_has_the_same_z():
    # With a logarithm, the level only shifts all bands, and the normalization removes it.
    model = encoder(compression=LogCompression(1e-12))
    np.testing.assert_allclose(model(4 * AUDIO), model(AUDIO), atol=1e-4)


def test_a_frame_depends_on_no_sample_after_its_window():
    model = encoder()
    listen = jax.jit(lambda audio: nnx.merge(*nnx.split(model))(audio))
    early, late = listen(AUDIO), listen(AUDIO.at[:, 800:].set(0.3))
    first = 10 - model.margin_frames()
    np.testing.assert_allclose(late[:, : first + 1], early[:, : first + 1], atol=1e-5)
    assert np.abs(late[:, 10] - early[:, 10]).max() > 1e-3


def test_consecutive_windows_equal_the_whole():
    model, hop = encoder(), encoder().config.hop_length
    margin, whole = model.margin_frames(), model(AUDIO)
    padded = jnp.pad(AUDIO, ((0, 0), (margin * hop, (margin + 1) * hop)))
    state, parts = model.init(batch_shape=(2,)), []
    for first, last in ((0, 8), (8, whole.shape[1])):
        state, z = model.step(state, padded[:, first * hop : (last + 2 * margin) * hop])
        parts.append(z)
    np.testing.assert_allclose(jnp.concatenate(parts, 1), whole, atol=1e-6)


@pytest.mark.parametrize("n_mfcc", [None, 5])
def test_gradients_reach_everything_and_stay_finite_in_silence(n_mfcc):
    filters = GammatoneFilters(trainable=("centers", "bandwidths", "gains"))
    model = encoder(filters=filters, n_mfcc=n_mfcc)
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    @jax.jit
    def gradients(audio):
        return jax.grad(lambda p: jnp.sum(nnx.merge(graph, p, rest)(audio) ** 2))(params)

    for path, gradient in nnx.to_flat_state(gradients(AUDIO)):
        assert np.isfinite(gradient[...]).all() and np.abs(gradient[...]).max() > 0, path
    for path, gradient in nnx.to_flat_state(gradients(0 * AUDIO)):
        assert np.isfinite(gradient[...]).all(), path


@pytest.mark.parametrize(
    "changes",
    [
        {"normalize": True},
        {"compression": PcenCompression()},
        {"filters": GammatoneFilters(path=FftPath())},
    ],
)
def test_an_encoder_that_needs_the_whole_sound_has_no_margin(changes):
    model = encoder(**changes)
    assert np.isfinite(model(AUDIO)).all()
    assert model.margin_frames() is None
    with pytest.raises(ValueError, match="cannot encode a sound in blocks: its front-end needs"):
        model.step(model.init(batch_shape=(2,)), AUDIO)


def test_sizes_below_one_are_refused():
    with pytest.raises(ValueError, match="`z_size` must be at least 1, got 0"):
        ZEncoderConfig(FrontendConfig(), rnn_channels=8, z_size=0)
