import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers import noise

from ddspx.models._config import from_json, to_json
from ddspx.nn import (
    DdspMfccConfig,
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
    np.testing.assert_allclose(jnp.concatenate(parts, 1), whole, atol=1e-5)


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


DDSP = {"n_fft": 256, "mfcc_hop_length": 192, "n_bands": 20, "n_mfcc": 6}


def ddsp_mfcc(audio, config):
    """The definition: frames from their sample on, TensorFlow's triangles, log of magnitudes."""
    n_frames = -(-len(audio) // config.mfcc_hop_length)
    padded = np.pad(audio.astype(np.float64), (0, config.n_fft))
    frames = [padded[i * config.mfcc_hop_length :][: config.n_fft] for i in range(n_frames)]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(config.n_fft) / config.n_fft)
    magnitudes = np.abs(np.fft.rfft(np.stack(frames) * window))
    mel = 2595 * np.log10(1 + np.fft.rfftfreq(config.n_fft, 1 / 16_000) / 700)
    ends = 2595 * np.log10(1 + np.array([20.0, 8000.0]) / 700)
    corners = np.linspace(*ends, config.n_bands + 2)
    bands = np.zeros((n_frames, config.n_bands))
    for band, (low, middle, high) in enumerate(
        zip(corners, corners[1:], corners[2:], strict=False)
    ):
        for k in range(1, len(mel)):
            weight = min((mel[k] - low) / (middle - low), (high - mel[k]) / (high - middle))
            bands[:, band] += max(0, weight) * magnitudes[:, k]
    levels = np.log(np.where(bands > 0, bands, 1e-5))
    m = np.arange(config.n_bands)
    rows = [np.cos(np.pi * n * (2 * m + 1) / (2 * config.n_bands)) for n in range(config.n_mfcc)]
    return levels @ np.stack(rows, axis=1) * np.sqrt(2 / config.n_bands)


def test_the_encoder_of_ddsp_normalizes_over_the_sound_and_interpolates():
    config = DdspMfccConfig(**DDSP)
    model = ZEncoder(ZEncoderConfig(config, rnn_channels=4, z_size=2), rngs=nnx.Rngs(0))
    audio = np.stack([0.1 * noise(1600), 0.3 * noise(1600)]).astype(np.float32)
    audio[:, 900:] = 0
    mfcc = np.stack([ddsp_mfcc(one, config) for one in audio])
    np.testing.assert_allclose(model.frontend(audio), mfcc, atol=1e-3)
    deviation = np.sqrt(mfcc.var(axis=1, keepdims=True) + 1e-5)
    normal = (mfcc - mfcc.mean(axis=1, keepdims=True)) / deviation
    slow = model.dense(model.gru(jnp.asarray(normal, jnp.float32))[0])
    z = model(audio)
    assert z.shape == (2, 26, 2) and model.margin_frames() is None
    time = np.minimum(np.arange(26) / 3, 8)
    for row, column in np.ndindex(2, 2):
        expected = np.interp(time, np.arange(9), slow[row, :, column])
        np.testing.assert_allclose(z[row, :, column], expected, atol=1e-4)


def test_the_encoder_of_ddsp_is_saved_and_older_configs_load():
    for frontend in (DdspMfccConfig(), FrontendConfig(**LISTENING)):
        config = ZEncoderConfig(frontend, rnn_channels=4, z_size=2)
        fields = to_json(config)
        assert from_json(ZEncoderConfig, fields) == config
    del fields["frontend"]["kind"]
    assert from_json(ZEncoderConfig, fields) == config


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"mfcc_hop_length": 100}, "`mfcc_hop_length` must be a multiple of `hop_length`, 64"),
        ({"n_mfcc": 129}, "`n_mfcc` must be at most `n_bands`, 128"),
        ({"fmax": 9000.0}, "`fmax` must be at most half of `sample_rate`"),
        ({"n_fft": 0}, "`n_fft` must be at least 1"),
    ],
)
def test_sizes_of_the_encoder_of_ddsp(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        DdspMfccConfig(**changes)
