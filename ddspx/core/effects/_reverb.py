"""Reverb: causal convolution with the impulse response of a room."""

from typing import NamedTuple

import jax.numpy as jnp

from ddspx._checks import at_least_ndim, floats, positive_int
from ddspx._typing import Array, Float
from ddspx.core.filters._fir import fft_convolve


class ReverbState(NamedTuple):
    """What a room still rings with.

    Attributes:
      tail: the ``taps - 1`` wet samples to come if silence followed.
    """

    tail: Float[Array, "*batch tail"]


def convolution_reverb(
    audio: Float[Array, "*batch samples"],
    impulse_response: Float[Array, "*ir_batch taps"],
    *,
    add_dry: bool = True,
) -> Float[Array, "*out_batch samples"]:
    r"""Reverb by convolution with an impulse response.

    .. math:: y[n] = x[n] + \sum_{k \ge 0} h[k]\, x[n - k]

    Args:
      audio: the dry sound; silence is taken to come before it.
      impulse_response: the room, all of it used as given: where the dry sound is added and the
        response holds it too, its first tap should be zero. Its batch axes broadcast against
        those of `audio`; one without batch axes is shared by all.
      add_dry: adds the dry sound; False for the wet sound alone. Static.

    Returns:
      Audio of the input's length and dtype; what rings on after the end is dropped (append
      ``taps - 1`` zeros to hear it).

    Raises:
      TypeError: an array is neither float32 nor float64.
      ValueError: an input is empty, an axis is missing, or the batch axes do not broadcast.

    Properties:
      Linear, and differentiable, in both inputs. Causal: sample n does not depend on later
      ones.
      Static: `add_dry`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> audio, echo = jnp.array([1.0, 0.0, 0.0, 2.0]), jnp.array([0.0, 0.0, 0.5])
      >>> [round(abs(v), 3) for v in core.convolution_reverb(audio, echo).tolist()]
      [1.0, 0.0, 0.5, 2.0]

    References:
      DDSP's ``Reverb`` sets the first tap to zero inside; here that belongs to whoever owns the
      taps.
    """
    audio, impulse_response = floats(audio=audio, impulse_response=impulse_response)
    at_least_ndim("audio", audio.shape, 1, "(*batch, samples)")
    at_least_ndim("impulse_response", impulse_response.shape, 1, "(*batch, taps)")
    samples = audio.shape[-1]
    # Taps later than the audio is long never sound within it.
    wet = fft_convolve(audio, impulse_response[..., :samples], mode="full")[..., :samples]
    return _mix(audio, wet, add_dry)


def reverb_init(
    impulse_response: Float[Array, "*ir_batch taps"], *, batch_shape: tuple[int, ...] = ()
) -> ReverbState:
    """Silence in the room, before the first block of :func:`reverb_step`.

    Args:
      impulse_response: the room.
      batch_shape: batch axes of the audio to come, broadcast with those of the room. Static.

    Returns:
      The state of a stream, in the dtype of the response.

    Raises:
      TypeError: `impulse_response` is neither float32 nor float64.
      ValueError: `impulse_response` is empty or has no axis.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> core.reverb_init(jnp.ones(4), batch_shape=(2,)).tail.shape
      (2, 3)
    """
    (impulse_response,) = floats(impulse_response=impulse_response)
    at_least_ndim("impulse_response", impulse_response.shape, 1, "(*batch, taps)")
    *ir_batch, taps = impulse_response.shape
    positive_int("impulse_response.shape[-1]", taps)
    shape = (*jnp.broadcast_shapes(tuple(batch_shape), tuple(ir_batch)), taps - 1)
    return ReverbState(jnp.zeros(shape, impulse_response.dtype))


def reverb_step(
    state: ReverbState,
    audio: Float[Array, "*batch samples"],
    impulse_response: Float[Array, "*ir_batch taps"],
    *,
    add_dry: bool = True,
) -> tuple[ReverbState, Float[Array, "*out_batch samples"]]:
    """Next block of :func:`convolution_reverb`, without latency.

    Args:
      state: from :func:`reverb_init` or the step before.
      audio: the next block of dry sound, of any size.
      impulse_response: the room, the same in all steps.
      add_dry: as in :func:`convolution_reverb`. Static.

    Returns:
      The state after the block, and a block of the input's length.

    Raises:
      TypeError: an array is neither float32 nor float64.
      ValueError: an input is empty, an axis is missing, or the batch axes do not broadcast.

    Properties:
      Blocks of any sizes put together equal :func:`convolution_reverb` of all (to rounding).
      Differentiable in all arrays. Static: `add_dry`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> echo = jnp.array([0.0, 0.0, 0.5])
      >>> state = core.reverb_init(echo)
      >>> state, first = core.reverb_step(state, jnp.array([1.0, 2.0]), echo)
      >>> state, second = core.reverb_step(state, jnp.array([0.0, 0.0, 0.0]), echo)
      >>> [round(abs(v), 3) for v in [*first.tolist(), *second.tolist()]]
      [1.0, 2.0, 0.5, 1.0, 0.0]
    """
    audio, impulse_response = floats(audio=audio, impulse_response=impulse_response)
    at_least_ndim("audio", audio.shape, 1, "(*batch, samples)")
    samples = audio.shape[-1]
    wet = fft_convolve(audio, impulse_response, mode="full")
    edges = [(0, 0)] * (state.tail.ndim - 1) + [(0, samples)]
    wet = wet + jnp.pad(state.tail, edges)
    return ReverbState(wet[..., samples:]), _mix(audio, wet[..., :samples], add_dry)


def _mix(audio: Array, wet: Array, add_dry: bool) -> Array:
    """Adds the dry sound, with as many axes as the wet one."""
    if not add_dry:
        return wet
    return audio.reshape((1,) * (wet.ndim - audio.ndim) + audio.shape) + wet
