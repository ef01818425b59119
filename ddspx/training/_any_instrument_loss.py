"""The loss of a model of many instruments: what it renders, and what it hears."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ddspx import core
from ddspx._typing import Array, Float, Key
from ddspx.core._fourier import irfft, rfft
from ddspx.features import LOUDNESS_FFT
from ddspx.io import Batch, MixedBatch
from ddspx.models.autoencoder import Autoencoder, AutoencoderConfig
from ddspx.models.autoencoder.timbres import timbre_encoder
from ddspx.training._augmentation import amplified
from ddspx.training._step import Loss, network_precision, spectral_distance

_LOWEST_OCTAVE_HZ = 62.5
# Of InfoNCE: similarities from -1 to 1 are divided by this.
_TEMPERATURE = 0.1


def any_instrument_loss(
    graphdef: nnx.GraphDef,
    room: nnx.GraphDef,
    *,
    loudness_weight: float,
    embedding_noise: float,
    contrast_weight: float,
    equalization_db: float,
    gain_db: float = 0.0,
    bfloat16: bool = False,
) -> Loss:
    """Makes the loss: the mean spectral distance of each example and its rendering.

    The timbre of an example is the embedding of its reference, which is another stretch of the
    same recordings, so it cannot hold the notes of the example. Noise is added to the embedding:
    so what lies between two instruments is trained too, and the embedding holds few numbers beside
    the timbre. An equalizer of random gains, the same for an example and its reference, makes new
    timbres of a dozen: only who hears the reference knows how the example sounds.

    Args:
      graphdef: of an `Autoencoder` with a `nn.TimbreEncoder`, from ``nnx.split(model, nnx.Param,
        ...)``.
      room: of a reverb, likewise.
      loudness_weight: as in `core.multi_scale_spectral_loss`.
      embedding_noise: standard deviation of the noise; the embedding has a mean square of 1.
      contrast_weight: weight of `contrast`, of the embeddings of the examples and their references.
      equalization_db: as in `AnyInstrumentTrainConfig`.
      gain_db: as in `AutoencoderTrainConfig`.
      bfloat16: as in `AutoencoderTrainConfig`.

    Returns:
      The loss as a function of (params, rest, key, batch); params and rest are dicts with those of
      the ``model`` and of the ``rooms``, whose first axis is that of the datasets.
    """

    def loss(
        params: dict[str, Any], rest: dict[str, Any], key: Key, batch: MixedBatch
    ) -> tuple[Float[Array, ""], Any]:
        model = nnx.merge(graphdef, params["model"], rest["model"])
        noise_key, equalizer_key, key = jax.random.split(key, 3)
        batch = equalized(equalizer_key, batch, equalization_db, model.config)
        if gain_db:
            gain_key, key = jax.random.split(key)
            batch = batch._replace(examples=amplified(gain_key, batch.examples, gain_db))
        with network_precision(bfloat16=bfloat16):
            heard = jnp.concatenate([batch.reference, batch.examples.audio])
            z, other = jnp.split(timbre_encoder(model).embed(heard), 2)
            noise = embedding_noise * jax.random.normal(noise_key, z.shape, z.dtype)
            dry = rendered_dry(model, key, batch.examples, z + noise)
        taps = jax.vmap(lambda *states: nnx.merge(room, *states).impulse_response)(
            params["rooms"], rest["rooms"]
        )
        wet = core.convolution_reverb(
            dry, taps[jnp.asarray(batch.source), : dry.shape[-1]], add_dry=True
        )
        distance = spectral_distance(model.config, batch.examples.audio, wet, loudness_weight)
        return distance + contrast_weight * contrast(z, other), rest

    return loss


def contrast(z: Float[Array, "batch z"], other: Float[Array, "batch z"]) -> Float[Array, ""]:
    r"""How badly embeddings tell which two stretches of a batch belong together (InfoNCE).

    .. math:: -\frac1{2B} \sum_i \ln \frac{e^{s_{ii}}}{\sum_j e^{s_{ij}}}
        + \ln \frac{e^{s_{ii}}}{\sum_j e^{s_{ji}}}, \qquad s_{ij} = \frac{z_i \cdot z'_j}{\tau Z}

    Args:
      z: embeddings of mean square 1.
      other: those of other stretches of the same sounds, in the same order.

    References:
      van den Oord et al., `Representation Learning with Contrastive Predictive Coding
      <https://arxiv.org/abs/1807.03748>`_, 2018.
    """
    similarity = z @ other.T / (_TEMPERATURE * z.shape[-1])
    both = jax.nn.log_softmax(similarity, axis=0) + jax.nn.log_softmax(similarity, axis=1)
    return -jnp.mean(jnp.diagonal(both)) / 2


def equalized(
    key: Key, batch: MixedBatch, deviation_db: float, config: AutoencoderConfig
) -> MixedBatch:
    """Changes the timbre of each example and of its reference by one random equalizer.

    The gains of the octaves are drawn independently, and go from one to the next in a straight line
    over the logarithm of the frequency. The power of the example is kept; its loudness is computed
    again.

    Args:
      key: draws the gains.
      batch: the batch.
      deviation_db: largest standard deviation of the gains. That of an example is drawn between 0
        and this, so that some examples keep their timbre. At 0 the batch stays as it is.
      config: of the model whose loudness is meant.
    """
    if not deviation_db:
        return batch
    audio, reference = jnp.asarray(batch.examples.audio), jnp.asarray(batch.reference)
    octaves = 1 + int(np.log2(config.sample_rate / 2 / _LOWEST_OCTAVE_HZ))
    gains_key, deviation_key = jax.random.split(key)
    shape = (audio.shape[0], 1)
    deviations = deviation_db * jax.random.uniform(deviation_key, shape, audio.dtype)
    gains = deviations * jax.random.normal(gains_key, (audio.shape[0], octaves), audio.dtype)

    def filtered(x: Array) -> Array:
        frequencies = np.fft.rfftfreq(x.shape[-1], 1 / config.sample_rate)
        octave = np.log2(np.maximum(frequencies, _LOWEST_OCTAVE_HZ) / _LOWEST_OCTAVE_HZ)
        distance = np.abs(octave - np.arange(octaves)[:, None])
        weights = jnp.asarray(np.maximum(1 - distance, 0), x.dtype)
        response = 10 ** (gains @ weights / 20)
        return irfft(rfft(x, x.shape[-1]) * response, x.shape[-1])

    def power(x: Array) -> Array:
        return jnp.mean(jnp.square(x), axis=-1, keepdims=True)

    changed = filtered(audio)
    scale = jnp.sqrt(power(audio) / (power(changed) + 1e-12))
    loudness = core.loudness_db(
        scale * changed,
        sample_rate=config.sample_rate,
        hop_length=config.hop_length,
        n_fft=LOUDNESS_FFT,
    )
    examples = batch.examples._replace(audio=scale * changed, loudness_db=loudness)
    return batch._replace(examples=examples, reference=scale * filtered(reference))


def rendered_dry(
    model: Autoencoder, key: Key, batch: Batch, z: Float[Array, "batch z"]
) -> Float[Array, "batch samples"]:
    """The examples as the model plays them, each with its embedding."""
    frames = batch.f0_hz.shape[-1]
    held = jnp.broadcast_to(z[:, None], (z.shape[0], frames, z.shape[-1]))
    n_samples = batch.audio.shape[-1]
    return model(key, batch.f0_hz, batch.loudness_db, z=held, n_samples=n_samples)
