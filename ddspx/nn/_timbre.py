"""Timbre embeddings: one vector for a whole recording, computed from it or stored."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from ddspx import core
from ddspx._checks import at_least_ndim, floats
from ddspx._typing import Array, ArrayLike, Float
from ddspx.core._framing import n_frames
from ddspx.core._numerics import with_ndim
from ddspx.nn._encoder_config import StoredTimbreConfig, TimbreEncoderConfig
from ddspx.nn._recurrent import Gru
from ddspx.nn.frontend._frontend import SpectralFrontend

# Added to variances, so that silence stays small and has a gradient.
_EPSILON = 1e-5
# The RMS at which every sound is heard; a power of -120 dB is silence.
_LEVEL, _SILENCE = 0.1, 1e-12


class TimbreEncoder(nnx.Module):
    r"""A recording to one vector, its timbre: a front-end, a GRU, attentive statistics pooling.

    With the energies :math:`E_{ti}` of frame t in band i, their sums :math:`E_t`, the features
    :math:`F_t` of the front-end and :math:`N` for the normalization over the bands of a frame, with
    a trained gain and offset of each band,

    .. math::
        e_t = N\Bigl(\ln \frac{E_t}{\max E}\Bigr), \quad
        h_t = \bigl(\mathrm{GRU}(N(F_t), e_t),\; e_t\bigr), \quad
        \alpha_t = \mathrm{softmax}_t\bigl(V \tanh h_t + a \ln (E_t / \max E)\bigr)

    .. math::
        \mu = \sum_t \alpha_t h_t, \quad \sigma^2 = \sum_t \alpha_t h_t^2 - \mu^2, \quad
        y = W (\mu, \sigma) + b, \quad z = \frac{y}{\sqrt{\frac1Z \sum_i y_i^2}}

    for each channel of h. A compression such as PCEN makes the bands of a steady tone alike, so the
    logarithms stand beside it: their mean is the spectral envelope. V begins at zero and a at 1, so
    that an untrained encoder weighs the frames by their energy, and pauses do not count.

    The level is kept out by construction: every sound is scaled to the same RMS, -20 dB, before the
    front-end hears it. The notes are kept out by training: the stretch that is encoded is never the
    one that is to be rendered.

    Args:
      config: the sizes.
      rngs: draws the initial weights.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from ddspx.nn import FrontendConfig, TimbreEncoder, TimbreEncoderConfig
      >>> config = TimbreEncoderConfig(FrontendConfig.learnable(), 64, channels=16, z_size=8)
      >>> encoder = TimbreEncoder(config, rngs=nnx.Rngs(0))
      >>> audio = jnp.sin(jnp.arange(32000.0))
      >>> encoder.embed(audio).shape, encoder(audio).shape
      ((8,), (501, 8))

    References:
      Okabe et al., `Attentive Statistics Pooling for Deep Speaker Embedding
      <https://arxiv.org/abs/1803.10963>`_, Interspeech 2018.
    """

    def __init__(self, config: TimbreEncoderConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.frontend = SpectralFrontend(config.frontend, rngs=rngs)
        bands, channels = config.frontend.n_bands, config.channels
        inputs, pooled = config.frontend.n_features + bands, channels + bands
        self.scale = nnx.Param(jnp.ones(inputs, jnp.float32))
        self.shift = nnx.Param(jnp.zeros(inputs, jnp.float32))
        self.gru = Gru(inputs, channels, rngs=rngs)
        self.attention = nnx.Param(jnp.zeros((pooled, pooled), jnp.float32))
        self.loudness_weight = nnx.Param(jnp.ones(pooled, jnp.float32))
        self.dense = nnx.Linear(
            2 * pooled,
            config.z_size,
            kernel_init=nnx.initializers.glorot_uniform(),
            rngs=rngs,
        )

    def embed(self, audio: Float[ArrayLike, "*batch samples"]) -> Float[Array, "*batch z"]:
        """The embedding of a whole sound at the front-end's sample rate.

        Raises:
          TypeError: the audio is neither float32 nor float64.
          ValueError: the audio has no axis.
        """
        (audio,) = floats(audio=audio)
        at_least_ndim("audio", audio.shape, 1, "(*batch, samples)")
        power = jnp.mean(jnp.square(audio), axis=-1, keepdims=True)
        energies = self.frontend.energies(_LEVEL * audio * jax.lax.rsqrt(power + _SILENCE))
        level = jnp.sum(energies, axis=-1, keepdims=True)
        loudest = jnp.max(level, axis=-2, keepdims=True)
        # Of silence, all frames count alike.
        scale = jnp.where(loudest > 0, loudest, 1)
        features = self.frontend.features(energies), core.safe_log(energies / scale, eps=1e-8)
        # Without it XLA for CUDA (jax 0.10) may fuse both with the join, and fail to compile that.
        normalized = jax.lax.optimization_barrier([_normalized(x) for x in features])
        frames = self._trained(jnp.concatenate(normalized, axis=-1))
        envelopes = frames[..., features[0].shape[-1] :]
        states = jnp.concatenate([self.gru(frames)[0], envelopes], axis=-1)
        weights = jax.nn.softmax(self._scores(states, level / scale), axis=-2)
        mean = jnp.sum(weights * states, axis=-2)
        variance = jnp.sum(weights * jnp.square(states), axis=-2) - jnp.square(mean)
        deviation = jnp.sqrt(jax.nn.relu(variance) + _EPSILON)
        y = self.dense(jnp.concatenate([mean, deviation], axis=-1))
        return y * jax.lax.rsqrt(jnp.mean(jnp.square(y), axis=-1, keepdims=True) + _EPSILON)

    def __call__(
        self, audio: Float[ArrayLike, "*batch samples"]
    ) -> Float[Array, "*batch frames z"]:
        """The embedding at each frame of z."""
        frames = n_frames(jnp.shape(audio)[-1], hop_length=self.config.hop_length)
        return held(self.embed(audio), frames)

    def margin_frames(self) -> None:
        """None: the embedding is that of the whole sound."""
        return None

    def init(self, *, batch_shape: tuple[int, ...] = (), dtype: DTypeLike = jnp.float32) -> tuple:
        """Nothing: there is no stream."""
        return ()

    def step(
        self, state: tuple, window: Float[ArrayLike, "*batch samples"]
    ) -> tuple[tuple, Float[Array, "*batch frames z"]]:
        """Raises a ValueError, because the embedding needs the whole sound."""
        raise ValueError(
            "A TimbreEncoder cannot encode a sound in blocks: its embedding is that of the whole "
            "sound; call the encoder with all of it."
        )

    def _trained(self, frames: Array) -> Array:
        """The frames with the trained gain and offset of each band."""
        scale, shift = (x[...].astype(frames.dtype) for x in (self.scale, self.shift))
        return frames * with_ndim(scale, frames.ndim) + with_ndim(shift, frames.ndim)

    def _scores(self, states: Array, relative: Array) -> Array:
        weight = with_ndim(self.loudness_weight[...].astype(states.dtype), states.ndim)
        return jnp.tanh(states) @ self.attention[...] + weight * core.safe_log(relative, eps=1e-6)


class StoredTimbre(nnx.Module):
    """An embedding as a weight of the model: what a recording sounds like, without the recording.

    It takes the place of a `TimbreEncoder` in the model of one instrument. Whatever sound it is
    given, z is the stored embedding, so such a model is played like any other.

    Args:
      config: the sizes.
      rngs: draws an initial embedding of mean square 1.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from ddspx.nn import StoredTimbre, StoredTimbreConfig
      >>> timbre = StoredTimbre(StoredTimbreConfig(16000, 64, z_size=3), rngs=nnx.Rngs(0))
      >>> timbre.embedding[...] = jnp.asarray([1.0, 0.0, -1.0], jnp.float32)
      >>> timbre(jnp.zeros(64, jnp.float32)).tolist()
      [[1.0, 0.0, -1.0], [1.0, 0.0, -1.0]]
    """

    def __init__(self, config: StoredTimbreConfig, *, rngs: nnx.Rngs):
        self.config = config
        drawn = jax.random.normal(rngs.params(), (config.z_size,), jnp.float32)
        self.embedding = nnx.Param(drawn * jax.lax.rsqrt(jnp.mean(jnp.square(drawn))))

    def __call__(
        self, audio: Float[ArrayLike, "*batch samples"]
    ) -> Float[Array, "*batch frames z"]:
        """The embedding at each frame of z."""
        (audio,) = floats(audio=audio)
        at_least_ndim("audio", audio.shape, 1, "(*batch, samples)")
        frames = n_frames(audio.shape[-1], hop_length=self.config.hop_length)
        return self._held(audio, frames)

    def margin_frames(self) -> int:
        """0: no frame depends on the sound."""
        return 0

    def init(self, *, batch_shape: tuple[int, ...] = (), dtype: DTypeLike = jnp.float32) -> tuple:
        """The state of a stream: nothing."""
        return ()

    def step(
        self, state: tuple, window: Float[ArrayLike, "*batch samples"]
    ) -> tuple[tuple, Float[Array, "*batch frames z"]]:
        """The embedding at the next frames."""
        (window,) = floats(audio=window)
        return state, self._held(window, window.shape[-1] // self.config.hop_length)

    def _held(self, audio: Array, frames: int) -> Array:
        embedding = self.embedding[...].astype(audio.dtype)
        return held(jnp.broadcast_to(embedding, (*audio.shape[:-1], embedding.size)), frames)


def held(embedding: Float[Array, "*batch z"], frames: int) -> Float[Array, "*batch frames z"]:
    """The same embedding at every frame."""
    shape = (*embedding.shape[:-1], frames, embedding.shape[-1])
    return jnp.broadcast_to(embedding[..., None, :], shape)


def _normalized(frames: Array) -> Array:
    """Frames of mean 0 and variance 1 over their bands."""
    mean = jnp.mean(frames, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(frames - mean), axis=-1, keepdims=True)
    return (frames - mean) * jax.lax.rsqrt(variance + _EPSILON)
