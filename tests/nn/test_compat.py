import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
from flax import nnx
from helpers import noise

from ddspx import core
from ddspx.nn.compat import kapre_filterbank

AUDIO = 0.1 * noise(2, 4000)


def heard(init, **changes):
    """The bare power of the bins, and what a bank makes of it."""
    bank = kapre_filterbank(12, False, sr=8000, init=init, n_dft=256, rngs=nnx.Rngs(0), **changes)
    power = np.asarray(core.spectrogram(jnp.asarray(AUDIO), n_fft=256, hop_length=128, power=2))
    return power, np.asarray(bank(jnp.asarray(AUDIO)))


def test_the_mel_filterbank_is_librosas_matrix_on_the_power():
    power, bands = heard("mel")
    matrix = librosa.filters.mel(sr=8000, n_fft=256, n_mels=12, norm="slaney")
    np.testing.assert_allclose(bands, power @ matrix.T, rtol=1e-4)


def test_the_log_filterbank_has_centres_at_equal_intervals():
    bank = kapre_filterbank(
        24, False, sr=8000, init="log", fmin=220.0, n_dft=8192, n_hop=4096, rngs=nnx.Rngs(0)
    )
    expected = 220 * 2 ** (np.arange(24) / 12)
    np.testing.assert_allclose(bank.centers_hz(), expected, atol=1.0)


def test_the_log_filterbank_is_the_matrix_of_core_on_the_power():
    power, bands = heard("log", fmin=220.0)
    matrix = core.log_frequency_filterbank(n_bands=12, n_fft=256, sample_rate=8000, fmin=220.0)
    np.testing.assert_allclose(bands, power @ matrix.T, rtol=1e-4)


def test_the_linear_filterbank_has_equal_triangles_of_area_one():
    power, bands = heard("linear")
    bins, step = np.arange(129) * 8000 / 256, 4000 / 13
    centers = step * np.arange(1, 13)[:, None]
    matrix = np.maximum(0, 1 - np.abs(bins - centers) / step) / step
    np.testing.assert_allclose(bands, power @ matrix.T, rtol=1e-4)


def test_random_weights_are_drawn_between_0_and_1_from_the_key():
    banks = [
        kapre_filterbank(12, True, sr=8000, init="uni_random", n_dft=256, rngs=nnx.Rngs(seed))
        for seed in (0, 0, 1)
    ]
    first, again, other = (np.asarray(bank.bank.weights[...]) for bank in banks)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1
    assert first.min() >= 0


@pytest.mark.parametrize("init", ["mel", "log", "linear", "uni_random"])
def test_weights_are_trainable_only_on_request(init):
    changes = {"sr": 8000, "init": init, "n_dft": 256, "rngs": nnx.Rngs(0)}
    assert not jax.tree.leaves(nnx.state(kapre_filterbank(8, False, **changes), nnx.Param))
    model = kapre_filterbank(8, True, **changes)
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    audio = jnp.asarray(AUDIO, jnp.float32)
    loss = lambda p: jnp.mean((nnx.merge(graph, p, rest)(audio) - 1) ** 2)  # noqa: E731
    (gradient,) = jax.tree.leaves(jax.jit(jax.grad(loss))(params))
    # Weights of zero have a gradient too.
    assert (np.abs(gradient) > 0).all()
    # The weights have the size of kapre's, so that usual learning rates suit them.
    (weights,) = jax.tree.leaves(params)
    assert np.max(weights) <= 1.01


def test_other_initialisers_are_refused():
    with pytest.raises(ValueError, match="`init` must be one of 'mel', 'log', 'linear'"):
        kapre_filterbank.__wrapped__(8, True, sr=8000, init="bark", rngs=nnx.Rngs(0))


@pytest.mark.parametrize("image_data_format", ["channels_first", "channels_last"])
def test_on_images_the_layer_is_a_matrix_product(image_data_format):
    settings = {"sr": 8000, "n_dft": 256, "rngs": nnx.Rngs(0)}
    layer = kapre_filterbank(12, False, image_data_format=image_data_format, **settings)
    power = core.spectrogram(jnp.asarray(AUDIO), n_fft=256, hop_length=128, power=2)
    expected = np.asarray(kapre_filterbank(12, False, **settings)(jnp.asarray(AUDIO)))
    # One example with two channels; frequencies come before frames.
    image, bands = np.swapaxes(power, -1, -2)[None], np.swapaxes(expected, -1, -2)[None]
    if image_data_format == "channels_last":
        image, bands = np.moveaxis(image, 1, -1), np.moveaxis(bands, 1, -1)
    np.testing.assert_allclose(layer(jnp.asarray(image)), bands, rtol=1e-5)
    with pytest.raises(ValueError, match=r"`image` must have 129 frequencies.*got the shape"):
        layer(jnp.asarray(np.swapaxes(image, 1, 2)[..., :5, :]))
    with pytest.raises(ValueError, match="looks like spectrogram images of 129 frequencies"):
        kapre_filterbank(12, False, **settings)(jnp.asarray(image))


def test_the_weights_on_images_learn():
    layer = kapre_filterbank(
        4, True, sr=8000, n_dft=16, image_data_format="channels_last", rngs=nnx.Rngs(0)
    )
    (weights,) = jax.tree.leaves(nnx.state(layer, nnx.Param))
    assert weights.shape == (4, 9)


def test_without_a_sample_rate_only_random_weights_are_possible():
    bank = kapre_filterbank(4, True, init="uni_random", n_dft=16, rngs=nnx.Rngs(0))
    assert bank(jnp.zeros((2, 64), jnp.float32)).shape == (2, 9, 4)
    for init in ("mel", "log", "linear"):
        with pytest.raises(ValueError, match=f"`sr` must be given with init {init!r}"):
            kapre_filterbank(4, True, init=init, n_dft=16, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`image_data_format` must be one of None"):
        kapre_filterbank.__wrapped__(
            4, True, sr=8000, image_data_format="default", rngs=nnx.Rngs(0)
        )


def test_images_of_integers_are_refused(monkeypatch):
    """Weights of their type would be zeros."""
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    bank = kapre_filterbank(4, True, sr=16000, image_data_format="channels_last", rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match="`image` must be float32 or float64, got int16"):
        bank(jnp.ones((257, 5, 1), jnp.int16))
