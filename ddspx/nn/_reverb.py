"""A reverb whose impulse response is learned from the recordings."""

import jax
import jax.numpy as jnp
from flax import nnx

from ddspx import core
from ddspx._checks import positive_int
from ddspx._typing import Array, ArrayLike, Float


class Reverb(nnx.Module):
    r"""Reverb with a trainable impulse response, the same for every example.

    .. math:: y[n] = x[n] + \sum_{k \ge 1} h[k]\, x[n - k]

    The dry sound passes unchanged, and `h[0]` is always zero. So the response describes only the
    room, and the synthesizer alone sets the level of the direct sound.

    Args:
      length: taps of the impulse response, in samples. Static.
      rngs: draws the initial response, Gaussian with a standard deviation of 1e-6: the reverb is
        almost silent at first, but every tap has a gradient.

    Raises:
      TypeError: `length` is not an int.
      ValueError: `length` is below 1.

    Example:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from ddspx.nn import Reverb
      >>> reverb = Reverb(100, rngs=nnx.Rngs(0))
      >>> audio = jnp.ones(400, jnp.float32)
      >>> bool(jnp.allclose(reverb(audio), audio, atol=1e-3))
      True

    References:
      Engel et al., `DDSP: Differentiable Digital Signal Processing
      <https://arxiv.org/abs/2001.04643>`_, ICLR 2020, section 3.6.
    """

    def __init__(self, length: int, *, rngs: nnx.Rngs):
        self.length = positive_int("length", length)
        self.taps = nnx.Param(1e-6 * jax.random.normal(rngs.params(), (self.length,), jnp.float32))

    @property
    def impulse_response(self) -> Float[Array, " taps"]:
        """The trained taps, with the first one set to zero."""
        return self.taps[...].at[0].set(0.0)

    def __call__(self, audio: Float[ArrayLike, "*batch samples"]) -> Float[Array, "*batch samples"]:
        """Adds the reverb to dry audio; the output is as long as the input."""
        # Taps beyond the length of the audio do not reach the output. They are cut off because
        # `convolution_reverb` warns of a response that is much longer than the audio.
        taps = self.impulse_response[: max(1, jnp.shape(audio)[-1])]
        return core.convolution_reverb(audio, taps, add_dry=True)
