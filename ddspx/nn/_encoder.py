"""From a sound to what an instrument is told about it beyond pitch and loudness."""

import math

import jax
import jax.numpy as jnp
from flax import nnx

from ddspx._typing import Array, ArrayLike, Float
from ddspx.nn._encoder_config import EncoderConfig
from ddspx.nn._frontend import SpectralFrontend
from ddspx.nn._recurrent import Gru

_EPSILON = 1e-5


class ZEncoder(nnx.Module):
    r"""Audio to a few numbers for each frame: a spectral front-end, a GRU, a dense layer.

    .. math:: z_t = W\, \mathrm{GRU}\Bigl(\gamma\,
        \frac{u_t - \bar u_t}{\sqrt{\mathrm{var}(u_t) + 10^{-5}}} + \beta\Bigr)_t + b

    with the front-end's features :math:`u_t`, and mean and variance over the features of frame
    t. No frame needs a later one, beyond what the window of the front-end reaches into, so that
    z streams: the features of consecutive frames go through `encode` with its state carried.

    Args:
      config: its sizes.
      rngs: draws the initial weights.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from ddspx.nn import EncoderConfig, FrontendConfig, ZEncoder
      >>> config = EncoderConfig(FrontendConfig.mfcc(), rnn_channels=8, z_size=4)
      >>> encoder = ZEncoder(config, rngs=nnx.Rngs(0))
      >>> encoder(jnp.zeros((2, 16000), jnp.float32)).shape
      (2, 101, 4)

    References:
      Engel et al., `DDSP: Differentiable Digital Signal Processing
      <https://arxiv.org/abs/2001.04643>`_, ICLR 2020, appendix B.1. There each coefficient has
      mean 0 and variance 1 over the frames of an example: no frame is known before the last, and
      what stays the same through a note, most of its timbre, is gone. Here it is the frame that
      is normalized, with as many numbers to learn; with `normalize` in the front-end's config it
      is as there, and does not stream.
    """

    def __init__(self, config: EncoderConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.frontend = SpectralFrontend(config.frontend, rngs=rngs)
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
        return self.encode(self.frontend(audio))[0]

    def encode(
        self,
        features: Float[ArrayLike, "*batch frames features"],
        carry: Float[ArrayLike, "*batch state"] | None = None,
    ) -> tuple[Float[Array, "*batch frames z"], Float[Array, "*batch state"]]:
        """The z of what the front-end hears, from the GRU's state `carry` (zeros by default).

        Returns:
          z of every frame, and the state after the last, with which the next frames go on as if
          there had been no cut.
        """
        features = jnp.asarray(features)
        if not self.config.frontend.normalize:
            mean = jnp.mean(features, axis=-1, keepdims=True)
            variance = jnp.mean(jnp.square(features - mean), axis=-1, keepdims=True)
            features = (features - mean) * jax.lax.rsqrt(variance + _EPSILON)
        row = (1,) * (features.ndim - 1) + (-1,)
        scale, shift = (
            weight[...].astype(features.dtype).reshape(row) for weight in (self.scale, self.shift)
        )
        states, carry = self.gru(features * scale + shift, carry)
        return self.dense(states), carry

    @property
    def margin_frames(self) -> int:
        """Frames to either side whose samples a frame of the front-end reaches into.

        Raises:
          ValueError: a frame of the front-end depends on more than its window.
        """
        c = self.config.frontend
        needing = {
            "`normalize`": c.normalize,
            "the `compression` 'pcen'": c.compression == "pcen",
            f"the `path` {c.path!r}": c.path != "stft",
        }
        for what, is_needed in needing.items():
            if is_needed:
                raise ValueError(
                    f"The encoder cannot listen in blocks: {what} of its front-end needs the "
                    "frames of the whole sound; train a model without it."
                )
        return math.ceil(c.n_fft / 2 / c.hop_length)
