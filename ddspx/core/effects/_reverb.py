"""Reverb: causal convolution with a room's impulse response, and synthetic impulse responses."""

import math
import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ddspx._checks import at_least_ndim, broadcast_batch, floats, positive_int, size
from ddspx._typing import Array, ArrayLike, Float, Key
from ddspx.core._numerics import safe_divide, with_ndim
from ddspx.core.filters._fir import fft_convolve
from ddspx.core.filters._streaming_convolution import (
    ConvolutionState,
    fft_convolve_init,
    fft_convolve_step,
)
from ddspx.core.synthesis._noise import filtered_noise, white_noise

# If the response has at least _LEAST_ROOM taps and is more than _MOST_ROOM times as long as the
# sound, the two arguments were probably swapped.
_LEAST_ROOM, _MOST_ROOM = 1024, 4


class ReverbState(NamedTuple):
    """What a room still needs of the past blocks.

    Attributes:
      convolution: the state of its convolution.
    """

    convolution: ConvolutionState


def convolution_reverb(
    audio: Float[ArrayLike, "*batch samples"],
    impulse_response: Float[ArrayLike, "*ir_batch taps"],
    *,
    add_dry: bool = True,
) -> Float[Array, "*out_batch samples"]:
    r"""Reverb by convolution with an impulse response.

    .. math:: y[n] = x[n] + \sum_{k \ge 0} h[k]\, x[n - k]

    Args:
      audio: the dry sound; the sound before it counts as silence.
      impulse_response: the room, used as given. If `add_dry` is set and the response holds the
        direct sound too, its first tap should be zero. Its batch axes broadcast against those of
        `audio`; one without batch axes is shared by all.
      add_dry: adds the dry sound; False for the wet sound alone. Static.

    Returns:
      Audio of the input's length and dtype; reverberation after the end is dropped (append
      ``taps - 1`` zeros to hear it). A warning is given if the response is much longer than the
      audio, because the two arguments may be swapped.

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
      DDSP's ``Reverb`` sets the first tap to zero; here that is left to the caller.
    """
    audio, impulse_response = floats(audio=audio, impulse_response=impulse_response)
    at_least_ndim("audio", audio.shape, 1, "(*batch, samples)")
    at_least_ndim("impulse_response", impulse_response.shape, 1, "(*batch, taps)")
    samples, taps = audio.shape[-1], impulse_response.shape[-1]
    if taps >= _LEAST_ROOM and taps > _MOST_ROOM * samples > 0:
        warnings.warn(
            f"`impulse_response` has {taps} taps and `audio` {samples} samples: most of the room "
            "is never heard; pass `audio` as the first argument, and append zeros to it to hear "
            "the whole reverberation.",
            stacklevel=2,
        )
    # Taps beyond the length of the audio do not contribute.
    wet = fft_convolve(audio, impulse_response[..., :samples], mode="full")[..., :samples]
    return _mix(audio, wet, add_dry)


def convolution_reverb_init(
    impulse_response: Float[ArrayLike, "*ir_batch taps"], *, batch_shape: tuple[int, ...] = ()
) -> ReverbState:
    """The state of a silent room, before the first block of :func:`convolution_reverb_step`.

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
      >>> core.convolution_reverb_init(jnp.ones(4), batch_shape=(2,)).convolution.past.shape
      (2, 4)
    """
    return ReverbState(fft_convolve_init(impulse_response, batch_shape=batch_shape))


def convolution_reverb_step(
    state: ReverbState,
    audio: Float[ArrayLike, "*batch samples"],
    impulse_response: Float[ArrayLike, "*ir_batch taps"],
    *,
    add_dry: bool = True,
) -> tuple[ReverbState, Float[Array, "*out_batch samples"]]:
    """Next block of :func:`convolution_reverb`, without latency.

    Args:
      state: from :func:`convolution_reverb_init` or the step before.
      audio: the next block of dry sound, of any size.
      impulse_response: the room, the same in all steps.
      add_dry: as in :func:`convolution_reverb`. Static.

    Returns:
      The state after the block, and a block of the input's length.

    Raises:
      TypeError: an array is neither float32 nor float64.
      ValueError: an input is empty, an axis is missing, or the batch axes do not broadcast.

    Properties:
      Concatenated blocks of any sizes equal :func:`convolution_reverb` of the whole input (up to
      rounding). Differentiable in all arrays. Static: `add_dry`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> echo = jnp.array([0.0, 0.0, 0.5])
      >>> state = core.convolution_reverb_init(echo)
      >>> state, first = core.convolution_reverb_step(state, jnp.array([1.0, 2.0]), echo)
      >>> state, second = core.convolution_reverb_step(state, jnp.array([0.0, 0.0, 0.0]), echo)
      >>> [round(abs(v), 3) for v in [*first.tolist(), *second.tolist()]]
      [1.0, 2.0, 0.5, 1.0, 0.0]
    """
    audio, impulse_response = floats(audio=audio, impulse_response=impulse_response)
    convolution, wet = fft_convolve_step(state.convolution, audio, impulse_response)
    return ReverbState(convolution), _mix(audio, wet, add_dry)


def exponential_reverb_ir(
    key: Key,
    t60_s: Float[ArrayLike, "*batch"] | float,
    *,
    n_samples: int,
    sample_rate: int,
    gain: Float[ArrayLike, "*gain_batch"] | float = 1.0,
) -> Float[Array, "*out_batch samples"]:
    r"""Impulse response of a room that dies away evenly: decaying white noise.

    .. math:: h[n] = g\, 10^{-3 n / (T_{60} f_s)}\, x[n], \qquad x \sim U(-1, 1), \quad h[0] = 0

    Args:
      key: JAX random key.
      t60_s: reverberation time: after it, in seconds, the level has fallen by 60 dB.
      n_samples: length of the response, in samples; after `t60_s` its level is negligible. Static.
      sample_rate: samples per second. Static.
      gain: amplitude at the start, linear. White noise gets through the room with nearly
        :math:`g^2 f_s T_{60} / 41.4` times its power.

    Returns:
      A response for :func:`convolution_reverb`, in the dtype of the arguments. Its first tap is
      zero, so that the dry sound comes only from `add_dry`. Each element of the batch has its own
      noise.

    Raises:
      TypeError: a size is not an int, or an array is neither float32 nor float64.
      ValueError: a size is not positive, or the batch axes do not broadcast.

    Properties:
      Differentiable in `t60_s` and `gain`, at a reverberation time of 0 too. Deterministic given
      `key`. Static: the sizes.

    Example:
      >>> import jax
      >>> from ddspx import core
      >>> room = core.exponential_reverb_ir(
      ...     jax.random.key(0), 0.5, n_samples=8000, sample_rate=16000
      ... )
      >>> room.shape, float(room[0]), bool(abs(room[-100:]).max() < 1.1e-3)
      ((8000,), 0.0, True)

    References:
      DDSP's ``ExpDecayReverb`` draws new noise at every call, without a seed, and has a rate of
      decay per length of the response, so that a longer response is a larger room;
      :func:`decay_to_t60` translates it.
    """
    t60_s, gain = floats(t60_s=t60_s, gain=gain)
    n_samples = positive_int("n_samples", n_samples)
    sample_rate = size("sample_rate", sample_rate)
    batch = broadcast_batch(t60_s=t60_s.shape, gain=gain.shape)
    t60_s, gain = (jnp.broadcast_to(array, batch)[..., None] for array in (t60_s, gain))
    noise = white_noise(key, (*batch, n_samples), dtype=t60_s.dtype)
    time_s = jnp.arange(n_samples).astype(t60_s.dtype) / sample_rate
    time_s = jnp.broadcast_to(time_s, noise.shape)
    decay = jnp.exp(-math.log(1e3) * safe_divide(time_s, t60_s))
    return _without_first_tap(gain * decay * noise)


def decay_to_t60(
    decay: Float[ArrayLike, "*shape"] | float, *, n_samples: int, sample_rate: int
) -> Float[Array, "*shape"]:
    r"""Reverberation time of DDSP's parameter of decay.

    .. math:: T_{60} = \frac{\ln 1000}{2 + e^d} \cdot \frac{N - 1}{f_s}

    after which DDSP's envelope :math:`e^{-(2 + e^d)\, n / (N - 1)}` has fallen by 60 dB.

    Args:
      decay: DDSP's parameter d, any number; larger values give shorter rooms. DDSP initializes it
        to 4.
      n_samples: length of DDSP's response, in samples, to which its decay is relative. Static.
      sample_rate: samples per second. Static.

    Returns:
      The reverberation time in seconds, for :func:`exponential_reverb_ir`.

    Raises:
      TypeError: a size is not an int, or `decay` is neither float32 nor float64.
      ValueError: a size is not positive.

    Properties:
      Differentiable, at any number. At most ``3.45 * (n_samples - 1) / sample_rate``. Static: the
      sizes.

    Example:
      >>> from ddspx import core
      >>> round(float(core.decay_to_t60(4.0, n_samples=48000, sample_rate=16000)), 3)
      0.366

    References:
      DDSP's ``effects.ExpDecayReverb``.
    """
    (decay,) = floats(decay=decay)
    n_samples = positive_int("n_samples", n_samples)
    sample_rate = size("sample_rate", sample_rate)
    # 1 / (2 + e^d) without the overflow of e^d.
    per_length = jax.nn.sigmoid(math.log(2) - decay) / 2
    return (math.log(1e3) * (n_samples - 1) / sample_rate) * per_length


def filtered_noise_reverb_ir(
    key: Key,
    magnitudes: Float[ArrayLike, "*batch frames bands"],
    *,
    hop_length: int,
    n_samples: int | None = None,
    win_length: int | None = None,
) -> Float[Array, "*batch samples"]:
    """Impulse response of a room whose colour changes as it dies away: filtered noise.

    It is :func:`filtered_noise` with the first tap set to zero, so that the dry sound comes only
    from `add_dry` of :func:`convolution_reverb`.

    Args:
      key: JAX random key.
      magnitudes: gain of each band at each frame, see :func:`filtered_noise`; for a room they
        fall from frame to frame.
      hop_length: samples between frames. Static.
      n_samples: length of the response, see :func:`filtered_noise`. Static.
      win_length: see :func:`frequency_impulse_response`. Static.

    Returns:
      A response for :func:`convolution_reverb`, in the dtype of `magnitudes`. Each element of
      the batch has its own noise.

    Raises:
      TypeError: as :func:`filtered_noise`.
      ValueError: as :func:`filtered_noise`.

    Properties:
      Linear, and differentiable, in `magnitudes`. Deterministic given `key`. Static: the rest.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from ddspx import core
      >>> magnitudes = jnp.exp(-jnp.arange(6.0))[:, None] * jnp.ones((1, 9))
      >>> room = core.filtered_noise_reverb_ir(jax.random.key(0), magnitudes, hop_length=100)
      >>> room.shape, float(room[0])
      ((500,), 0.0)

    References:
      DDSP's ``FilteredNoiseReverb`` draws new noise at every call, without a seed: its response
      differs each time.
    """
    audio = filtered_noise(
        key, magnitudes, hop_length=hop_length, n_samples=n_samples, win_length=win_length
    )
    return _without_first_tap(audio)


def _without_first_tap(impulse_response: Array) -> Array:
    """Sets the first tap to zero, which is the direct sound."""
    taps = with_ndim(jnp.arange(impulse_response.shape[-1]), impulse_response.ndim)
    return jnp.where(taps == 0, 0, impulse_response)


def _mix(audio: Array, wet: Array, add_dry: bool) -> Array:
    """Adds the dry sound if `add_dry` is set, after giving it as many axes as the wet sound."""
    if not add_dry:
        return wet
    return with_ndim(audio, wet.ndim) + wet
