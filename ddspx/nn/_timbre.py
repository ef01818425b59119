"""Timbre embeddings: one vector for a whole recording, computed from it or stored."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from ddspx import core
from ddspx._checks import at_least_ndim, floats
from ddspx._typing import Array, ArrayLike, Float
from ddspx.core._framing import n_frames
from ddspx.nn._encoder_config import StoredTimbreConfig, TimbreEncoderConfig
from ddspx.nn._recurrent import Gru
from ddspx.nn.frontend._frontend import SpectralFrontend

# Added to variances, so that silence stays small and has a gradient.
_EPSILON = 1e-5


class TimbreEncoder(nnx.Module):
    r"""A recording to one vector, its timbre: a front-end, a GRU, attentive statistics pooling.

    With the states :math:`h_t` of a GRU over the features of the front-end, each of which is
    normalized over the bands of its frame, the energies :math:`E_t` of the frames and a softmax
    over the frames,

    .. math::
        \alpha_t = \mathrm{softmax}_t\bigl(V \tanh h_t + a \ln (E_t / \max E)\bigr), \quad
        \mu = \sum_t \alpha_t h_t, \quad \sigma^2 = \sum_t \alpha_t h_t^2 - \mu^2

    .. math:: y = W (\mu, \sigma) + b, \qquad z = y \Big/ \sqrt{\frac1Z \sum_i y_i^2}

    for each channel of the state. V begins at zero and a at 1, so that an untrained encoder weighs
    the frames by their energy, and pauses do not count.

    The level is kept out by construction: a gain cancels in the normalization of the frames and in
    the ratio of energies, if the front-end compresses by a logarithm or by a PCEN whose start is
    over. The notes are kept out by training: the stretch that is encoded is never the one that is
    to be rendered.

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
        features, channels = config.frontend.n_features, config.channels
        self.scale = nnx.Param(jnp.ones(features, jnp.float32))
        self.shift = nnx.Param(jnp.zeros(features, jnp.float32))
        self.gru = Gru(features, channels, rngs=rngs)
        self.attention = nnx.Param(jnp.zeros((channels, channels), jnp.float32))
        self.loudness_weight = nnx.Param(jnp.ones(channels, jnp.float32))
        self.dense = nnx.Linear(
            2 * channels,
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
        energies = self.frontend.energies(audio)
        states = self.gru(self._normalized(self.frontend.features(energies)))[0]
        weights = jax.nn.softmax(self._scores(states, energies), axis=-2)
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

    def _normalized(self, features: Array) -> Array:
        mean = jnp.mean(features, axis=-1, keepdims=True)
        variance = jnp.mean(jnp.square(features - mean), axis=-1, keepdims=True)
        row = (1,) * (features.ndim - 1) + (-1,)
        scale, shift = (
            weight[...].astype(features.dtype).reshape(row) for weight in (self.scale, self.shift)
        )
        return (features - mean) * jax.lax.rsqrt(variance + _EPSILON) * scale + shift

    def _scores(self, states: Array, energies: Array) -> Array:
        level = jnp.sum(energies, axis=-1, keepdims=True)
        loudest = jnp.max(level, axis=-2, keepdims=True)
        # Of silence, all frames count alike.
        relative = core.safe_log(level / jnp.where(loudest > 0, loudest, 1), eps=1e-6)
        row = (1,) * (states.ndim - 1) + (-1,)
        loudness_weight = self.loudness_weight[...].astype(states.dtype).reshape(row)
        return jnp.tanh(states) @ self.attention[...] + loudness_weight * relative


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
