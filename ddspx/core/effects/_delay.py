"""Delays that vary in time: echoes, chorus, flanger and vibrato."""

import math
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from ddspx._checks import (
    at_least_ndim,
    broadcast_batch,
    floats,
    one_of,
    positive_int,
    same_size,
    size,
)
from ddspx._typing import Array, ArrayLike, Float
from ddspx.core._framing import overlapping_blocks
from ddspx.core._lookup import PLACES_AT_ONCE, weighted_sums
from ddspx.core._numerics import with_ndim

Interpolation = Literal["linear", "cubic"]
# Cubic interpolation reads one sample more on each side than the two around the delay.
_REACH = 2


class DelayState(NamedTuple):
    """State of a delay line.

    Attributes:
      past: the latest input, oldest first: ``max_delay + 2`` samples.
    """

    past: Float[Array, "*batch past"]


def variable_delay(
    audio: Float[ArrayLike, "*batch samples"],
    delay_samples: Float[ArrayLike, "*delay_batch samples"],
    *,
    max_delay: int,
    interpolation: Interpolation = "linear",
) -> Float[Array, "*out_batch samples"]:
    r"""Delays a signal by a delay that has its own value at every sample.

    .. math:: y[n] = x(n - d[n])

    where x is silent before its first sample. Between samples x is interpolated linearly, or with
    ``cubic`` by the Catmull-Rom spline, which attenuates high frequencies less: at a delay of half
    a sample, a tone at a quarter of the sample rate loses 3.0 dB with ``linear`` and 1.1 dB with
    ``cubic``.

    Args:
      audio: any signal.
      delay_samples: delay at each sample of the output, in samples, whole or not. Values are
        clipped to the range from 0 (with ``cubic`` 1, because it needs one sample after) to
        `max_delay`.
      max_delay: longest delay, in samples, itself included. Static.
      interpolation: ``linear`` or ``cubic``. Static.

    Returns:
      Audio of the input's length and dtype.

    Raises:
      TypeError: `max_delay` is not an int, or an array is neither float32 nor float64.
      ValueError: `max_delay` is not positive, `interpolation` is unknown, or the samples or
        batch axes of the arrays do not fit.

    Properties:
      Causal. Linear in `audio`; differentiable in both, in both modes. The derivative by the
      delay is minus the slope of the interpolation, and zero where the delay is out of bounds.
      Memory is a few arrays of the size of the audio. :func:`variable_delay_step` gives the same
      in pieces. Static: `max_delay`, `interpolation`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> audio, delay = jnp.array([0.0, 4.0, 8.0, 0.0]), jnp.array([0.0, 0.25, 1.0, 1.5])
      >>> core.variable_delay(audio, delay, max_delay=2).tolist()
      [0.0, 3.0, 4.0, 6.0]

    References:
      DDSP's ``variable_length_delay`` computes weights of all `max_length` samples for each output
      sample, wraps to a delay of 0 where the delay reaches its maximum, and has a maximum one
      sample shorter than documented.
    """
    audio, delay_samples = floats(audio=audio, delay_samples=delay_samples)
    at_least_ndim("audio", audio.shape, 1, "(*batch, samples)")
    max_delay = positive_int("max_delay", max_delay)
    silence = DelayState(jnp.zeros((max_delay + _REACH,), audio.dtype))
    return variable_delay_step(
        silence, audio, delay_samples, max_delay=max_delay, interpolation=interpolation
    )[1]


def variable_delay_init(
    *, max_delay: int, batch_shape: tuple[int, ...] = (), dtype: DTypeLike = jnp.float32
) -> DelayState:
    """An empty delay line, before the first block of :func:`variable_delay_step`.

    Args:
      max_delay: longest delay, in samples. Static.
      batch_shape: batch axes of the audio to come. Static.
      dtype: of the audio to come. Static.

    Returns:
      The state of a stream.

    Raises:
      TypeError: `max_delay` is not an int.
      ValueError: `max_delay` is not positive.

    Example:
      >>> from ddspx import core
      >>> core.variable_delay_init(max_delay=2).past.tolist()
      [0.0, 0.0, 0.0, 0.0]
    """
    length = positive_int("max_delay", max_delay) + _REACH
    return DelayState(jnp.zeros((*batch_shape, length), dtype))


def variable_delay_step(
    state: DelayState,
    audio: Float[ArrayLike, "*batch samples"],
    delay_samples: Float[ArrayLike, "*delay_batch samples"],
    *,
    max_delay: int,
    interpolation: Interpolation = "linear",
) -> tuple[DelayState, Float[Array, "*out_batch samples"]]:
    """Next block of :func:`variable_delay`, without latency.

    Args:
      state: from :func:`variable_delay_init` or the step before.
      audio: the next block, of any size.
      delay_samples: delay at each of its samples, in samples.
      max_delay: longest delay, in samples, the same in all steps. Static.
      interpolation: ``linear`` or ``cubic``. Static.

    Returns:
      The state after the block, and a block of the input's length.

    Raises:
      TypeError: as :func:`variable_delay`.
      ValueError: as :func:`variable_delay`, or `state` was made for another `max_delay`.

    Properties:
      Concatenated blocks of any sizes equal :func:`variable_delay` of the whole input.
      Differentiable in all arrays. Static: `max_delay`, `interpolation`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> state = core.variable_delay_init(max_delay=2)
      >>> two = jnp.full(2, 2.0)
      >>> state, first = core.variable_delay_step(state, jnp.array([1.0, 2.0]), two, max_delay=2)
      >>> state, second = core.variable_delay_step(state, jnp.array([0.0, 0.0]), two, max_delay=2)
      >>> [*first.tolist(), *second.tolist()]
      [0.0, 0.0, 1.0, 2.0]
    """
    audio, delay_samples = floats(audio=audio, delay_samples=delay_samples)
    at_least_ndim("audio", audio.shape, 1, "(*batch, samples)", is_block=True)
    at_least_ndim("delay_samples", delay_samples.shape, 1, "(*batch, samples)", is_block=True)
    one_of("interpolation", interpolation, ("linear", "cubic"))
    samples = audio.shape[-1]
    length = positive_int("max_delay", max_delay) + _REACH
    same_size("`audio` and `delay_samples`", samples, delay_samples.shape[-1], "samples")
    same_size("`state.past` and `max_delay` + 2", state.past.shape[-1], length, "samples")
    batch = broadcast_batch(audio=audio.shape[:-1], delay_samples=delay_samples.shape[:-1])
    past = jnp.broadcast_to(state.past.astype(audio.dtype), (*audio.shape[:-1], length))
    line = jnp.concatenate([past, audio], axis=-1)
    least = 0 if interpolation == "linear" else 1
    delay = jnp.clip(jnp.broadcast_to(delay_samples, (*batch, samples)), least, max_delay)
    sound = _read(jnp.broadcast_to(line, (*batch, length + samples)), delay, interpolation)
    return DelayState(line[..., samples:]), sound


def modulated_delay(
    audio: Float[ArrayLike, "*batch samples"],
    modulation: Float[ArrayLike, "*modulation_batch samples"],
    *,
    sample_rate: int,
    center_ms: float = 15.0,
    depth_ms: float = 10.0,
    gain: Float[ArrayLike, "*gain_shape"] | float = 1.0,
    add_dry: bool = True,
    interpolation: Interpolation = "linear",
) -> Float[Array, "*out_batch samples"]:
    r"""A delay that swings around a centre: chorus, flanger or vibrato.

    .. math:: y[n] = x[n] + g[n]\, x(n - d[n]), \qquad d[n] = (c + D\, m[n])\, f_s / 1000

    Usual settings, with m a slow sine: a chorus has c = 15 and D = 10 ms, a flanger c = 1.5 and
    D = 1.5 ms, a vibrato c = 3 and D = 3 ms and no dry sound. A sine of f Hz changes the pitch of a
    vibrato by the factor :math:`1 \pm 2\pi f D / 1000`.

    Args:
      audio: any signal.
      modulation: position of the delay at each sample, -1 to 1.
      sample_rate: samples per second. Static.
      center_ms: delay at modulation 0, in ms. Static.
      depth_ms: largest deviation from it, in ms: the delay spans ``center_ms - depth_ms`` to
        ``center_ms + depth_ms``. Static.
      gain: of the delayed sound, linear: one number, or one at each sample as `modulation` has.
        One for each example has a samples axis of size 1, ``gain[:, None]``.
      add_dry: adds the sound itself; False for the delayed sound alone. Static.
      interpolation: see :func:`variable_delay`. Static.

    Returns:
      Audio of the input's length and dtype.

    Raises:
      TypeError: `sample_rate` is not an int, or an array is neither float32 nor float64.
      ValueError: `depth_ms` is negative or larger than `center_ms`, or the samples or batch
        axes of the arrays do not fit.

    Properties:
      Differentiable in `audio`, `modulation` and `gain`; see :func:`variable_delay`. It has no step
      function: for a stream, compute d and call :func:`variable_delay_step`, whose delay line is
      the only state. Static: the rest.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> click, still = jnp.array([1.0, 0.0, 0.0, 0.0]), jnp.array([0.0, 0.0, 0.0, 1.0])
      >>> y = core.modulated_delay(click, still, sample_rate=1000, center_ms=2.0, depth_ms=1.0)
      >>> y.tolist()
      [1.0, 0.0, 1.0, 1.0]

    References:
      DDSP's ``ModDelay`` documents a delay of centre plus or minus depth, but its delay goes from
      the centre to centre plus depth, where it wraps to a delay of 0.
    """
    audio, modulation, gain = floats(audio=audio, modulation=modulation, gain=gain)
    size("sample_rate", sample_rate)
    at_least_ndim("audio", audio.shape, 1, "(*batch, samples)")
    at_least_ndim("modulation", modulation.shape, 1, "(*batch, samples)")
    if not 0 <= depth_ms <= center_ms:
        raise ValueError(
            f"`depth_ms` must be from 0 to `center_ms` ({center_ms}), got {depth_ms}; "
            "a delay cannot be negative."
        )
    samples = audio.shape[-1]
    if gain.ndim and gain.shape[-1] not in (1, samples):
        raise ValueError(
            f"`gain` must be one number, or have a last axis of {samples} samples like `audio` or "
            f"of size 1, got shape {gain.shape}; pass one gain for each example as "
            "`gain[:, None]`."
        )
    broadcast_batch(audio=audio.shape[:-1], modulation=modulation.shape[:-1], gain=gain.shape[:-1])
    per_ms = sample_rate / 1000
    wet = variable_delay(
        audio,
        (center_ms + depth_ms * modulation) * per_ms,
        max_delay=max(1, math.ceil((center_ms + depth_ms) * per_ms)),
        interpolation=interpolation,
    )
    ndim = max(wet.ndim, gain.ndim)
    wet = with_ndim(gain, ndim) * with_ndim(wet, ndim)
    return with_ndim(audio, ndim) + wet if add_dry else wet


# Compiled as a whole, because JAX does not keep a choice of platforms that runs outside of `jit`.
@partial(jax.jit, static_argnums=2)
def _read(line: Array, delay: Array, interpolation: Interpolation) -> Array:
    """Reads the line, interpolated, `delay` samples before each of its last samples."""
    return jax.lax.platform_dependent(
        line,
        delay,
        tpu=partial(read_by_products, interpolation=interpolation),
        default=partial(read_by_gathers, interpolation=interpolation),
    )


def read_by_gathers(line: Array, delay: Array, *, interpolation: Interpolation) -> Array:
    """Computes :func:`_read` on a CPU and a GPU."""
    here = jnp.arange(line.shape[-1] - delay.shape[-1], line.shape[-1], dtype=jnp.int32)
    first, weights = _places(delay, here, interpolation)
    taps = (
        weight * jnp.take_along_axis(line, first + i, axis=-1, mode="clip")
        for i, weight in enumerate(weights)
    )
    return sum(taps, jnp.zeros_like(delay))


def read_by_products(line: Array, delay: Array, *, interpolation: Interpolation) -> Array:
    """Computes :func:`_read` on a TPU: each block of samples reads its part of the line."""
    samples, past = delay.shape[-1], line.shape[-1] - delay.shape[-1]
    size = max(1, min(samples, max(PLACES_AT_ONCE, past)))
    count = -(-samples // size)
    parts = overlapping_blocks(line, 0, count, past + size, size)
    delay = overlapping_blocks(delay, 0, count, size, size)
    here = jnp.arange(past, past + size, dtype=jnp.int32)
    sums = weighted_sums(parts, *_places(delay, here, interpolation))
    return sums.reshape(*sums.shape[:-2], count * size)[..., :samples]


def _places(delay: Array, here: Array, interpolation: Interpolation) -> tuple[Array, list[Array]]:
    """The first sample that is read of the line, and the weights of it and those after it."""
    whole = jnp.floor(delay)
    u = delay - whole
    index = with_ndim(here, delay.ndim) - whole.astype(jnp.int32)
    if interpolation == "linear":
        return index - 1, [u, 1 - u]
    weights = [
        -0.5 * u**2 * (1 - u),
        0.5 * u * (1 + u * (4 - 3 * u)),
        1 + u**2 * (1.5 * u - 2.5),
        -0.5 * u * (1 - u) ** 2,
    ]
    return index - 2, weights
