"""The z of audio in blocks equals the z of the whole sound."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers import noise

from ddspx.features import _encoding, blockwise_z
from ddspx.nn import FrontendConfig, ZEncoder, ZEncoderConfig

RATE, HOP = 8000, 80


@cache
def encoder(**changes) -> ZEncoder:
    listening = FrontendConfig.mfcc(sample_rate=RATE, hop_length=HOP, n_bands=20, **changes)
    return ZEncoder(ZEncoderConfig(listening, rnn_channels=8, z_size=3), rngs=nnx.Rngs(0))


@pytest.mark.parametrize("n_samples", [1, 79, 80, 12_345, 16_000])
def test_blocks_equal_the_whole(n_samples, monkeypatch):
    # Chunks of 160 frames, so that there are some.
    monkeypatch.setattr(_encoding, "_CHUNK_SECONDS", 0.4)
    model, audio = encoder(n_fft=512), noise(2, n_samples).astype(np.float32)
    whole = jax.jit(lambda x: nnx.merge(*nnx.split(model))(x))(jnp.asarray(audio))
    z = blockwise_z(model, [audio])
    assert z.shape == (2, 1 + n_samples // HOP, 3) and z.dtype == np.float32
    np.testing.assert_allclose(z, whole, atol=1e-4)
    cuts = np.sort(np.random.default_rng(1).integers(0, n_samples + 1, 7))
    np.testing.assert_array_equal(blockwise_z(model, np.split(audio, cuts, axis=-1)), z)


def test_one_compilation_serves_every_length():
    model = encoder()
    blockwise_z(model, [noise(10_000)])
    before = _encoding._chunk_z._cache_size()
    for n_samples in (1, 20_000, 50_001):
        blockwise_z(model, [noise(n_samples)])
    assert _encoding._chunk_z._cache_size() == before


def test_an_encoder_that_needs_the_whole_sound_is_given_all_of_it():
    model, audio = encoder(normalize=True), noise(2, 4000).astype(np.float32)
    z = blockwise_z(model, np.split(audio, [100, 2500], axis=-1))
    np.testing.assert_allclose(z, model(jnp.asarray(audio)), atol=1e-4)
    with pytest.raises(ValueError, match="`blocks` must hold at least one block"):
        blockwise_z(model, [])


def test_no_block_is_refused():
    with pytest.raises(ValueError, match="`blocks` must hold at least one block"):
        blockwise_z(encoder(), [])
