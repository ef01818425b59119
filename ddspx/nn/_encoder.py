"""Encoders: networks from a sound to z, a description of it beyond pitch and loudness."""

import math
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from ddspx._typing import Array, ArrayLike, Float
from ddspx.nn._ddsp_mfcc import DdspMfcc
from ddspx.nn._encoder_config import DdspMfccConfig, EncoderConfig, ZEncoderConfig
from ddspx.nn._recurrent import Gru
from ddspx.nn.frontend._compressions import PcenCompression
from ddspx.nn.frontend._frontend import SpectralFrontend
from ddspx.nn.frontend._paths import StftPath

_EPSILON = 1e-5


@runtime_checkable
class Encoder(Protocol):
    """A network that describes a sound by z, a few numbers per frame beside pitch and loudness.

    A config (`EncoderConfig`) builds it. An encoder is an `nnx.Module`; the state of its stream is
    any tree of arrays.
    """

    @property
    def config(self) -> EncoderConfig:
        """The sizes of this encoder."""
        ...

    def margin_frames(self) -> int | None:
        """Number of frames before and after a frame whose samples z of that frame depends on.

        None if z depends on the whole sound, as an average over it does. The sound is then encoded
        at once, so a transfer needs memory for all of it, and `step` is never called.
        """
        ...

    def __call__(
        self, audio: Float[ArrayLike, "*batch samples"]
    ) -> Float[Array, "*batch frames z"]:
        """The z of a whole sound, on the frame rule."""
        ...

    def init(self, *, batch_shape: tuple[int, ...] = (), dtype: DTypeLike = jnp.float32) -> Any:
        """The state before the first frame, for audio of these batch axes and this dtype."""
        ...

    def step(
        self, state: Any, window: Float[ArrayLike, "*batch samples"]
    ) -> tuple[Any, Float[Array, "*batch frames z"]]:
        """Encodes the next frames: returns the new state and their z.

        For n frames, `window` holds ``(n + 2 * margin_frames) * hop_length`` samples: it begins
        `margin_frames` before the first frame and ends `margin_frames` after the last.
        """
        ...


class ZEncoder(nnx.Module):
    r"""Audio to a few numbers for each frame: a spectral front-end, a GRU, a dense layer.

    .. math:: z_t = W\, \mathrm{GRU}\Bigl(\gamma\,
        \frac{u_t - \bar u_t}{\sqrt{\mathrm{var}(u_t) + 10^{-5}}} + \beta\Bigr)_t + b

    with the front-end's features :math:`u_t`, and mean and variance over the features of frame
    t. A frame depends on later samples only as far as the window of the front-end reaches, so the
    encoder can stream.

    Args:
      config: its sizes.
      rngs: draws the initial weights.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from ddspx.nn import ZEncoderConfig, FrontendConfig, ZEncoder
      >>> config = ZEncoderConfig(FrontendConfig.mfcc(), rnn_channels=8, z_size=4)
      >>> encoder = ZEncoder(config, rngs=nnx.Rngs(0))
      >>> encoder(jnp.zeros((2, 16000), jnp.float32)).shape
      (2, 101, 4)

    References:
      Engel et al., `DDSP: Differentiable Digital Signal Processing
      <https://arxiv.org/abs/2001.04643>`_, ICLR 2020, appendix B.1. DDSP normalizes each
      coefficient to mean 0 and variance 1 over the frames of an example. That needs the whole
      example, and it removes everything that is constant through a note, which is most of its
      timbre. This encoder normalizes the coefficients of each frame instead, with the same number
      of parameters. With `normalize` in the front-end's config it works as DDSP's, and cannot
      stream; with a `DdspMfccConfig` it computes exactly what DDSP's does.
    """

    def __init__(self, config: ZEncoderConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.frontend: SpectralFrontend | DdspMfcc = (
            DdspMfcc(config.frontend)
            if isinstance(config.frontend, DdspMfccConfig)
            else SpectralFrontend(config.frontend, rngs=rngs)
        )
        features = config.frontend.n_features
        self.scale = nnx.Param(jnp.ones(features, jnp.float32))
        self.shift = nnx.Param(jnp.zeros(features, jnp.float32))
        self.gru = Gru(features, config.rnn_channels, rngs=rngs)
        self.dense = nnx.Linear(
            config.rnn_channels,
            config.z_size,
            kernel_init=nnx.initializers.glorot_uniform(),
            rngs=rngs,
        )

    def __call__(
        self, audio: Float[ArrayLike, "*batch samples"]
    ) -> Float[Array, "*batch frames z"]:
        """The z of a whole sound at the front-end's sample rate, on the frame rule."""
        z = self._encode(self.frontend(audio), None)[1]
        if isinstance(self.frontend, DdspMfcc):
            return self.frontend.interpolated(z, jnp.shape(audio)[-1])
        return z

    def init(
        self, *, batch_shape: tuple[int, ...] = (), dtype: DTypeLike = jnp.float32
    ) -> Float[Array, "*batch state"]:
        """The state of the GRU before the first frame: zeros."""
        return jnp.zeros((*batch_shape, self.config.rnn_channels), dtype)

    def step(
        self,
        state: Float[ArrayLike, "*batch state"],
        window: Float[ArrayLike, "*batch samples"],
    ) -> tuple[Float[Array, "*batch state"], Float[Array, "*batch frames z"]]:
        """Encodes the next frames; `window` includes `margin_frames` before and after them.

        Raises:
          ValueError: a frame of the front-end depends on more than its window.
        """
        if (margin := self.margin_frames()) is None:
            raise ValueError(
                "The encoder cannot encode a sound in blocks: its front-end needs the frames of "
                "the whole sound; call the encoder with all of it."
            )
        # On the frame rule the window has one frame more, at its end, which is dropped.
        return self._encode(self.frontend(window)[..., margin : -margin - 1, :], state)

    def _encode(self, features, carry):
        """The GRU's state after the last frame, and z of all frames, from front-end features."""
        frontend = self.config.frontend
        is_ddsp = isinstance(frontend, DdspMfccConfig)
        if is_ddsp or not frontend.normalize:
            axis = -2 if is_ddsp else -1
            mean = jnp.mean(features, axis=axis, keepdims=True)
            variance = jnp.mean(jnp.square(features - mean), axis=axis, keepdims=True)
            features = (features - mean) * jax.lax.rsqrt(variance + _EPSILON)
        row = (1,) * (features.ndim - 1) + (-1,)
        scale, shift = (
            weight[...].astype(features.dtype).reshape(row) for weight in (self.scale, self.shift)
        )
        states, carry = self.gru(features * scale + shift, carry)
        return carry, self.dense(states)

    def margin_frames(self) -> int | None:
        """Number of frames before and after a frame whose samples its window reaches.

        None if a frame depends on more than its window: the front-end is DDSP's, normalizes over
        time, has a PCEN, or filters the whole sound.
        """
        c = self.config.frontend
        if isinstance(c, DdspMfccConfig):
            return None
        needs_whole_sound = (
            c.normalize
            or isinstance(c.compression, PcenCompression)
            or not isinstance(c.filters.path, StftPath)
        )
        return None if needs_whole_sound else math.ceil(c.n_fft / 2 / c.hop_length)
