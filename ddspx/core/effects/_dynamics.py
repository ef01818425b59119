"""Dynamics: compressor and limiter, computed in parallel over time."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from ddspx._checks import at_least_ndim, broadcast_batch, floats, non_negative_int, size
from ddspx._typing import Array, ArrayLike, Float
from ddspx.core._numerics import safe_divide, safe_log
from ddspx.core.filters._iir import one_pole, sos_filter_step
from ddspx.core.filters._recurrence import recurrence

_DB = 20 / math.log(10)
"""Decibels in a factor of e."""


class CompressorState(NamedTuple):
    """State of a compressor.

    Attributes:
      released_db: gain reduction after the release stage, in dB, at the last sample.
      attack: state of the smoothing filter of the attack.
    """

    released_db: Float[Array, "*batch"]
    attack: Float[Array, "*batch 1 3"]


def compressor(
    audio: Float[ArrayLike, "*batch samples"],
    *,
    threshold_db: Float[ArrayLike, "*threshold_batch"] | float,
    ratio: Float[ArrayLike, "*ratio_batch"] | float,
    attack_s: Float[ArrayLike, "*attack_batch"] | float,
    release_s: Float[ArrayLike, "*release_batch"] | float,
    sample_rate: int,
    knee_db: Float[ArrayLike, "*knee_batch"] | float = 6.0,
    makeup_db: Float[ArrayLike, "*makeup_batch"] | float = 0.0,
) -> Float[Array, "*out_batch samples"]:
    r"""Compressor: above a threshold, the level of the output rises more slowly than the input's.

    With :math:`L[n] = 20 \log_{10} |x[n]|`, :math:`o = L - T` and the knee W, in dB:

    .. math::
        c[n] &= (1 - 1/R) \begin{cases} 0 & 2 o \le -W \\
            (o + W/2)^2 / 2W & 2 |o| < W \\ o & 2 o \ge W \end{cases} \\
        r[n] &= \max(c[n],\ \alpha_R\, r[n-1] + (1 - \alpha_R)\, c[n]) \\
        s[n] &= \alpha_A\, s[n-1] + (1 - \alpha_A)\, r[n] \\
        y[n] &= 10^{(M - s[n]) / 20}\, x[n], \qquad \alpha = e^{-1 / \tau f_s}

    Args:
      audio: any signal.
      threshold_db: level T above which it compresses, in dB re full scale (a peak of 1.0 is 0 dB).
      ratio: R, how many dB more input give one dB more output above the threshold; 1 has no effect.
      attack_s: time in which the reduction reaches 63 % of a rise, in seconds; 0 is immediate.
      release_s: time in which it completes 63 % of a fall, before the smoothing of the attack.
      sample_rate: samples per second. Static.
      knee_db: width W of the bend around the threshold, in dB; with 0 it is a corner.
      makeup_db: gain M of the output, in dB.

    Returns:
      Audio of the input's length, in the common dtype. The parameters are one number for each
      example: their shapes broadcast against the batch axes of `audio`.

    Raises:
      TypeError: `sample_rate` is not an int, or an array is neither float32 nor float64.
      ValueError: `sample_rate` is not positive, or the batch axes do not broadcast.

    Properties:
      Differentiable in `audio` and all parameters, in forward and reverse mode, with corners where
      the maximum switches between its arguments; levels below -100 dB count as -100 dB, with zero
      gradient. Causal, without delay. Nothing runs sample by sample: the release is a recurrence of
      maps that compose,
      the attack a filter. :func:`compressor_step` gives the same result block by block. Static:
      `sample_rate`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> y = core.compressor(
      ...     jnp.array([0.01, 1.0, -1.0]), threshold_db=-20.0, ratio=2.0, attack_s=0.0,
      ...     release_s=0.1, sample_rate=16000,
      ... )
      >>> [round(v, 3) for v in y.tolist()]
      [0.01, 0.316, -0.316]

    References:
      Giannoulis, Massberg and Reiss, Digital dynamic range compressor design, JAES 60(6), 2012:
      the feed-forward design with the smooth decoupled detector in the log domain. The level of a
      sine is detected at its peaks, with ripple between them if the release is short.
    """
    return compressor_step(
        None,
        audio,
        threshold_db=threshold_db,
        ratio=ratio,
        attack_s=attack_s,
        release_s=release_s,
        sample_rate=sample_rate,
        knee_db=knee_db,
        makeup_db=makeup_db,
    )[1]


def compressor_init(
    *, batch_shape: tuple[int, ...] = (), dtype: DTypeLike = jnp.float32
) -> CompressorState:
    """The state at rest, before the first block of :func:`compressor_step`.

    Args:
      batch_shape: batch axes of the output, those of the audio and the parameters. Static.
      dtype: of the audio. Static.

    Returns:
      The state of a stream: no reduction.

    Example:
      >>> from ddspx import core
      >>> core.compressor_init(batch_shape=(2,)).released_db.tolist()
      [0.0, 0.0]
    """
    zeros = jnp.zeros(batch_shape, dtype)
    return CompressorState(zeros, jnp.zeros((*batch_shape, 1, 3), dtype))


def compressor_step(
    state: CompressorState | None,
    audio: Float[ArrayLike, "*batch samples"],
    *,
    threshold_db: Float[ArrayLike, "*threshold_batch"] | float,
    ratio: Float[ArrayLike, "*ratio_batch"] | float,
    attack_s: Float[ArrayLike, "*attack_batch"] | float,
    release_s: Float[ArrayLike, "*release_batch"] | float,
    sample_rate: int,
    knee_db: Float[ArrayLike, "*knee_batch"] | float = 6.0,
    makeup_db: Float[ArrayLike, "*makeup_batch"] | float = 0.0,
) -> tuple[CompressorState, Float[Array, "*out_batch samples"]]:
    """Next block of :func:`compressor`, without latency.

    Args:
      state: from :func:`compressor_init` or the step before; None means the state at rest.
      audio: the next block, of any size.
      threshold_db: see :func:`compressor`.
      ratio: see :func:`compressor`.
      attack_s: see :func:`compressor`.
      release_s: see :func:`compressor`.
      sample_rate: samples per second. Static.
      knee_db: see :func:`compressor`.
      makeup_db: see :func:`compressor`.

    Returns:
      The state after the block, and a block of the input's length.

    Raises:
      TypeError: as :func:`compressor`.
      ValueError: as :func:`compressor`.

    Properties:
      Concatenated blocks of any sizes equal :func:`compressor` of the whole input (up to rounding).
      Differentiable in all arrays. Static: `sample_rate`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> settings = {"threshold_db": -20.0, "ratio": 2.0, "attack_s": 0.0, "release_s": 0.1}
      >>> state = core.compressor_init()
      >>> for _ in range(2):
      ...     state, y = core.compressor_step(state, jnp.ones(1), sample_rate=16000, **settings)
      >>> round(float(y[0]), 3)
      0.316
    """
    parameters = {
        "threshold_db": threshold_db,
        "ratio": ratio,
        "attack_s": attack_s,
        "release_s": release_s,
        "knee_db": knee_db,
        "makeup_db": makeup_db,
    }
    audio, *values = floats(audio=audio, **parameters)
    at_least_ndim("audio", audio.shape, 1, "(*batch, samples)", is_block=state is not None)
    sample_rate = size("sample_rate", sample_rate)
    shapes = {name: value.shape for name, value in zip(parameters, values, strict=True)}
    batch = broadcast_batch(audio=audio.shape[:-1], **shapes)
    audio = jnp.broadcast_to(audio, (*batch, audio.shape[-1]))
    threshold, ratio, attack, release, knee, makeup = (
        jnp.broadcast_to(value, batch) for value in values
    )
    if state is None:
        state = compressor_init(batch_shape=batch, dtype=audio.dtype)
    released = jnp.broadcast_to(state.released_db.astype(audio.dtype), batch)
    over_db = _DB * safe_log(jnp.abs(audio)) - threshold[..., None]
    target_db = (1 - 1 / ratio[..., None]) * _above(over_db, knee[..., None])
    released_db, end = _release(released, target_db, release, sample_rate)
    section = one_pole(attack, sample_rate=sample_rate)[..., None, :]
    smooth, reduction_db = sos_filter_step(state.attack, released_db, section)
    gain = jnp.exp((makeup[..., None] - reduction_db) / _DB)
    return CompressorState(end, smooth), gain * audio


class LimiterState(NamedTuple):
    """State of a limiter.

    Attributes:
      past: the input samples that were not output yet, as many as the look-ahead has.
      released: natural logarithm of the gain reduction after the release stage, for the last
        ``2 * lookahead + 1`` samples.
    """

    past: Float[Array, "*batch lookahead"]
    released: Float[Array, "*batch twice"]


def limiter(
    audio: Float[ArrayLike, "*batch samples"],
    *,
    threshold_db: Float[ArrayLike, "*threshold_batch"] | float,
    release_s: Float[ArrayLike, "*release_batch"] | float,
    sample_rate: int,
    lookahead_s: float = 0.005,
) -> Float[Array, "*out_batch samples"]:
    r"""Limiter: keeps every sample at or below a threshold.

    With the look-ahead of A samples and :math:`c[n] = \max(0, \ln |x[n]| - \ln t)`:

    .. math::
        r[n] &= \max(c[n],\ \alpha\, r[n-1] + (1 - \alpha)\, c[n]),
            \qquad \alpha = e^{-1 / \tau f_s} \\
        s[n] &= \frac{1}{A + 1} \sum_{i=0}^{A}\ \max_{0 \le j \le A} r[n + A - i - j],
            \qquad y[n] = e^{-s[n]}\, x[n]

    Each of the A + 1 maxima includes r[n], so their mean is not below :math:`c[n]`. The gain falls
    before a peak along a straight line in dB, and has fallen far enough when the peak comes. It
    stays there for another A samples, and then returns by the release.

    Args:
      audio: any signal.
      threshold_db: highest peak of the output, in dB re full scale (1.0 is 0 dB).
      release_s: time in which the gain returns by 63 %, in seconds; 0 is immediate.
      sample_rate: samples per second. Static.
      lookahead_s: time in which the gain falls before a peak, in seconds. 0 clips every peak
        by itself, which distorts. Static.

    Returns:
      Audio of the input's length, in the common dtype, without delay, because the gain is computed
      from later samples. :func:`limiter_step` cannot read later samples, so its output is delayed
      by the look-ahead. The parameters are one number for each example: their shapes broadcast
      against the batch axes of `audio`.

    Raises:
      TypeError: `sample_rate` is not an int, or an array is neither float32 nor float64.
      ValueError: `sample_rate` is not positive, `lookahead_s` is negative, or the batch axes do
        not broadcast.

    Properties:
      No sample of the output is above the threshold; rounding errors above it are clipped, and the
      derivative ignores the clipping. Differentiable in `audio`, `threshold_db` and `release_s`, in
      forward and reverse mode, with corners where a maximum switches between its arguments. Nothing
      runs sample by sample. Peaks between the samples can be higher. Static: `sample_rate`,
      `lookahead_s`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> click = jnp.array([0.5, 0.5, 2.0, 0.5, 0.5, 0.5])
      >>> y = core.limiter(
      ...     click, threshold_db=0.0, release_s=0.0, sample_rate=1000, lookahead_s=0.001
      ... )
      >>> [round(v, 3) for v in y.tolist()]
      [0.5, 0.354, 1.0, 0.354, 0.5, 0.5]
    """
    audio, threshold, release = floats(audio=audio, threshold_db=threshold_db, release_s=release_s)
    at_least_ndim("audio", audio.shape, 1, "(*batch, samples)")
    batch = broadcast_batch(
        audio=audio.shape[:-1], threshold_db=threshold.shape, release_s=release.shape
    )
    lookahead = _samples_ahead(lookahead_s, sample_rate)
    state = limiter_init(
        sample_rate=sample_rate, lookahead_s=lookahead_s, batch_shape=batch, dtype=audio.dtype
    )
    late = limiter_step(
        state,
        jnp.pad(audio, [(0, 0)] * (audio.ndim - 1) + [(0, lookahead)]),
        threshold_db=threshold,
        release_s=release,
        sample_rate=sample_rate,
        lookahead_s=lookahead_s,
    )[1]
    return late[..., lookahead:]


def limiter_init(
    *,
    sample_rate: int,
    lookahead_s: float = 0.005,
    batch_shape: tuple[int, ...] = (),
    dtype: DTypeLike = jnp.float32,
) -> LimiterState:
    """The state after silence, before the first block of :func:`limiter_step`.

    Args:
      sample_rate: samples per second. Static.
      lookahead_s: see :func:`limiter`. Static.
      batch_shape: batch axes of the output, those of the audio and the parameters. Static.
      dtype: of the audio. Static.

    Returns:
      The state of a stream.

    Raises:
      TypeError: `sample_rate` is not an int.
      ValueError: `sample_rate` is not positive, or `lookahead_s` is negative.

    Example:
      >>> from ddspx import core
      >>> core.limiter_init(sample_rate=1000, lookahead_s=0.003).past.tolist()
      [0.0, 0.0, 0.0]
    """
    lookahead = _samples_ahead(lookahead_s, sample_rate)
    return LimiterState(
        jnp.zeros((*batch_shape, lookahead), dtype),
        jnp.zeros((*batch_shape, 2 * lookahead + 1), dtype),
    )


def limiter_step(
    state: LimiterState,
    audio: Float[ArrayLike, "*batch samples"],
    *,
    threshold_db: Float[ArrayLike, "*threshold_batch"] | float,
    release_s: Float[ArrayLike, "*release_batch"] | float,
    sample_rate: int,
    lookahead_s: float = 0.005,
) -> tuple[LimiterState, Float[Array, "*out_batch samples"]]:
    """Next block of :func:`limiter`, delayed by the look-ahead.

    Args:
      state: from :func:`limiter_init` or the step before.
      audio: the next block, of any size.
      threshold_db: see :func:`limiter`.
      release_s: see :func:`limiter`.
      sample_rate: samples per second, the same in all steps. Static.
      lookahead_s: see :func:`limiter`; the same in all steps. Static.

    Returns:
      The state after the block, and a block of the input's length, delayed by
      ``round(lookahead_s * sample_rate)`` samples.

    Raises:
      TypeError: as :func:`limiter`.
      ValueError: as :func:`limiter`.

    Properties:
      Concatenated blocks of any sizes equal :func:`limiter` after as many zeros as samples of
      look-ahead (up to rounding). Differentiable in all arrays. Static: the rest.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> settings = {"sample_rate": 1000, "lookahead_s": 0.001}
      >>> state = core.limiter_init(**settings)
      >>> state, y = core.limiter_step(
      ...     state, jnp.array([2.0, 0.5]), threshold_db=0.0, release_s=0.0, **settings
      ... )
      >>> [round(v, 3) for v in y.tolist()]
      [0.0, 1.0]
    """
    audio, threshold, release = floats(audio=audio, threshold_db=threshold_db, release_s=release_s)
    at_least_ndim("audio", audio.shape, 1, "(*batch, samples)", is_block=True)
    lookahead = _samples_ahead(lookahead_s, sample_rate)
    batch = broadcast_batch(
        audio=audio.shape[:-1], threshold_db=threshold.shape, release_s=release.shape
    )
    samples = audio.shape[-1]
    audio = jnp.broadcast_to(audio, (*batch, samples))
    threshold, release = (jnp.broadcast_to(value, batch) for value in (threshold, release))
    past, released = (
        jnp.broadcast_to(part.astype(audio.dtype), (*batch, part.shape[-1])) for part in state
    )
    line = jnp.concatenate([past, audio], axis=-1)
    over = safe_log(jnp.abs(audio)) - threshold[..., None] / _DB
    target = jnp.maximum(over, 0)
    later, _ = _release(released[..., -1], target, release, sample_rate)
    released = jnp.concatenate([released, later], axis=-1)
    highest = _windows(released[..., 1:], lookahead + 1, jnp.maximum)
    reduction = _windows(highest, lookahead + 1, jnp.add) / (lookahead + 1)
    sound = jnp.exp(-reduction) * line[..., :samples]
    limit = jnp.exp(threshold / _DB)[..., None]
    sound = sound + jax.lax.stop_gradient(jnp.clip(sound, -limit, limit) - sound)
    return LimiterState(line[..., samples:], released[..., samples:]), sound


def _samples_ahead(lookahead_s: float, sample_rate: int) -> int:
    sample_rate = size("sample_rate", sample_rate)
    return non_negative_int("lookahead_s * sample_rate", round(lookahead_s * sample_rate))


def _above(over_db: Array, knee_db: Array) -> Array:
    """``max(over_db, 0)`` with a knee: around 0 the corner is replaced by a parabola."""
    in_knee = jnp.clip(over_db + knee_db / 2, 0, knee_db)
    return safe_divide(in_knee**2, 2 * knee_db) + jnp.maximum(over_db - knee_db / 2, 0)


def _release(
    start: Array, target: Array, release_s: Array, sample_rate: int
) -> tuple[Array, Array]:
    r""":math:`r[n] = \max(c[n], \alpha r[n-1] + (1 - \alpha) c[n])`, and its last value.

    Each step is a map :math:`r \mapsto \max(p, q + a r)`, and the composition of such maps has the
    same form.
    """
    if target.shape[-1] == 0:
        return target, start
    section = one_pole(release_s, sample_rate=sample_rate)
    fall, minus_pole = section[..., 0], section[..., 4]
    fall, rate = (jnp.broadcast_to(x[..., None], target.shape) for x in (fall, -minus_pole))

    def compose(earlier, later):
        (p, q, a), (above, offset, slope) = earlier, later
        return jnp.maximum(above, offset + slope * p), offset + slope * q, slope * a

    def apply(step, state):
        p, q, a = step
        return jnp.maximum(p, q + a * state)

    released = recurrence(compose, apply, (target, fall * target, rate), start)
    return released, released[..., -1]


def _windows(x: Array, length: int, combine: Callable[[Array, Array], Array]) -> Array:
    """Sum or maximum over each `length` samples, by doubling, which avoids cancellation."""
    total, offset, power = None, 0, x
    n = x.shape[-1] - length + 1
    for bit in range(length.bit_length()):
        if bit:
            half = 1 << (bit - 1)
            power = combine(power[..., :-half], power[..., half:])
        if length >> bit & 1:
            part = power[..., offset : offset + n]
            total = part if total is None else combine(total, part)
            offset += 1 << bit
    return x if total is None else total
