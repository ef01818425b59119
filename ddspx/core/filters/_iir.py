"""Recursive filters: biquad designs, cascades of sections and all-pole filters, in parallel.

A recursive filter is a linear recurrence. One with fixed coefficients is run by `_linear_filter`,
and one whose coefficients vary in time by `_time_varying`.
"""

import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

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
from ddspx.core._framing import n_frames
from ddspx.core._numerics import varying_alike, with_ndim
from ddspx.core.filters._linear_filter import LinearFilter, run_linear_filter
from ddspx.core.filters._sections import (
    Section,
    about_a_point,
    about_both,
    about_point,
    nearest_point,
)
from ddspx.core.filters._time_varying import moving_sections

BiquadKind = Literal[
    "lowpass", "highpass", "bandpass", "notch", "allpass", "peak", "low_shelf", "high_shelf"
]
_KINDS = (
    "lowpass",
    "highpass",
    "bandpass",
    "notch",
    "allpass",
    "peak",
    "low_shelf",
    "high_shelf",
)
_BUTTERWORTH = math.sqrt(0.5)


def biquad(
    frequency_hz: Float[ArrayLike, "*batch"] | float,
    *,
    kind: BiquadKind,
    sample_rate: int,
    q: Float[ArrayLike, "*q_batch"] | float = _BUTTERWORTH,
    gain_db: Float[ArrayLike, "*gain_batch"] | float = 0.0,
) -> Float[Array, "*out_batch 6"]:
    r"""Second-order section with a frequency in Hz, a quality and, for some kinds, a gain in dB.

    With :math:`\omega = 2 \pi f / f_s`, :math:`\alpha = \sin \omega / 2Q` and
    :math:`A = 10^{g / 40}`, divided by the denominator's first coefficient:

    - ``lowpass``: :math:`b = \tfrac12 (1 - \cos \omega) (1, 2, 1)`,
      :math:`a = (1 + \alpha, -2 \cos \omega, 1 - \alpha)`; ``highpass``:
      :math:`b = \tfrac12 (1 + \cos \omega) (1, -2, 1)`, the same a;
    - ``bandpass`` (0 dB at its peak): :math:`b = (\alpha, 0, -\alpha)`; ``notch``:
      :math:`b = (1, -2 \cos \omega, 1)`; ``allpass``: b is a reversed;
    - ``peak``: :math:`b, a = (1 \pm \alpha A^{\pm 1}, -2 \cos \omega, 1 \mp \alpha A^{\pm 1})`;
    - ``low_shelf``, ``high_shelf``: gain g below or above, half of it in dB at the frequency.

    Args:
      frequency_hz: cutoff, centre or corner, in Hz, above 0 and below half of `sample_rate`.
      kind: one of the eight names. Static.
      sample_rate: samples per second. Static.
      q: quality, above 0: centre over bandwidth; the default is Butterworth's, which has no peak.
      gain_db: gain of ``peak`` and the shelves; the other kinds ignore it.

    Returns:
      ``(b0, b1, b2, 1, a1, a2)``, SciPy's order of a second-order section; several, stacked
      along the axis before the last, are the `sos` of :func:`sos_filter`.

    Raises:
      TypeError: `sample_rate` is not an int, or an array is neither float32 nor float64.
      ValueError: `kind` is unknown.

    Properties:
      Differentiable in `frequency_hz`, `q` and `gain_db`. Poles lie inside the unit circle for
      every frequency between 0 and Nyquist and every positive q. Coefficients in float32 give a
      frequency within 1 % if it is at least ``sample_rate / 1500``; for lower ones, design and
      filter in float64. The gain of a ``lowpass`` at 0 Hz, of a ``highpass`` at Nyquist and of a
      ``bandpass`` at its peak is 1 even there. Static: `kind`, `sample_rate`.

    Example:
      >>> from ddspx import core
      >>> section = core.biquad(1000.0, kind="lowpass", sample_rate=8000)
      >>> [round(v, 3) for v in section.tolist()]
      [0.098, 0.195, 0.098, 1.0, -0.943, 0.333]

    References:
      Bristow-Johnson, `Cookbook formulae for audio equalizer biquad filter coefficients
      <https://www.w3.org/TR/audio-eq-cookbook/>`_; bilinear transform with the frequency
      prewarped, so it is exact.
    """
    one_of("kind", kind, _KINDS)
    size("sample_rate", sample_rate)
    frequency_hz, q, gain_db = jnp.broadcast_arrays(
        *floats(frequency_hz=frequency_hz, q=q, gain_db=gain_db)
    )
    omega = 2 * jnp.pi * frequency_hz / sample_rate
    cosine, alpha = jnp.cos(omega), jnp.sin(omega) / (2 * q)
    amplitude = jnp.exp(gain_db * (math.log(10) / 40))
    b, a = (), (1 + alpha, -2 * cosine, 1 - alpha)
    if kind == "peak":
        up, down = alpha * amplitude, alpha / amplitude
        b, a = (1 + up, -2 * cosine, 1 - up), (1 + down, -2 * cosine, 1 - down)
    elif kind in ("low_shelf", "high_shelf"):
        b, a = _shelf(amplitude, cosine, alpha, 1.0 if kind == "low_shelf" else -1.0)
    # The 1 is not computed as a[0] / a[0], because a compiler may multiply by a rounded reciprocal.
    one, b = jnp.ones_like(alpha), [number / a[0] for number in b]
    a1, a2 = _within_stability(a[1] / a[0], a[2] / a[0])
    if not b:
        # The numerator is computed from the rounded denominator, which has few exact digits at low
        # frequencies. So rounding does not change the gain at 0 Hz, at Nyquist or at the peak.
        low, high, band = ((1 + a1) + a2) / 4, ((1 - a1) + a2) / 4, (1 - a2) / 2
        b = {
            "lowpass": (low, 2 * low, low),
            "highpass": (high, -2 * high, high),
            "bandpass": (band, 0 * band, -band),
            "notch": (one - band, a1, one - band),
            "allpass": (a2, a1, one),
        }[kind]
    return jnp.stack([*b, one, a1, a2], axis=-1)


def _within_stability(a1: Array, a2: Array) -> tuple[Array, Array]:
    """Clips a1 and a2 to the triangle of stable sections.

    Rounding can move sections near its edge out of it: in float32, those with a frequency within
    some hertz of 0 Hz or Nyquist.
    """
    margin = float(jnp.finfo(a2.dtype).eps)
    a2 = jnp.clip(a2, margin - 1, 1 - margin)
    bound = (1 + a2) * (1 - margin)
    return jnp.clip(a1, -bound, bound), a2


def one_pole(
    time_constant_s: Float[ArrayLike, "*batch"] | float, *, sample_rate: int
) -> Float[Array, "*batch 6"]:
    r"""Section that smooths exponentially: :math:`y[n] = p\, y[n-1] + (1 - p)\, x[n]`.

    .. math:: p = e^{-1 / \tau f_s}

    Args:
      time_constant_s: time :math:`\tau`, in seconds, in which the output reaches 63 % of a step;
        0 does not smooth.
      sample_rate: samples per second. Static.

    Returns:
      A section for :func:`sos_filter`, see :func:`biquad`. Its gain at 0 Hz is 1. In float32 a time
      of 100 000 samples is accurate to half a percent; beyond 30 million samples the output stays
      constant.

    Raises:
      TypeError: `sample_rate` is not an int, or the array is neither float32 nor float64.

    Properties:
      Differentiable in `time_constant_s`, with a gradient of zero at 0. Static: `sample_rate`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> section = core.one_pole(0.001, sample_rate=1000)
      >>> steps = core.sos_filter(jnp.ones(3), section[None])
      >>> [round(v, 3) for v in steps.tolist()]
      [0.632, 0.865, 0.95]
    """
    size("sample_rate", sample_rate)
    (time_constant_s,) = floats(time_constant_s=time_constant_s)
    # Below a thousandth of a sample the pole is 0 in every float type, and the slope of 1 / t would
    # overflow.
    samples = time_constant_s * sample_rate
    moves = samples > 1e-3
    rate = 1 / jnp.where(moves, samples, 1)
    pole = jnp.where(moves, jnp.exp(-rate), 0)
    zero, one = jnp.zeros_like(pole), jnp.ones_like(pole)
    # 1 minus the rounded pole, so that the gain at 0 Hz is 1 even for the longest times.
    return jnp.stack([1 - pole, zero, zero, one, -pole, zero], axis=-1)


def stable_biquad(logits: Float[ArrayLike, "*batch 5"]) -> Float[Array, "*batch 6"]:
    r"""A stable section from any five real numbers, for networks to learn directly.

    .. math:: a_1 = 2 \tanh u, \qquad a_2 = |a_1| - 1 + (2 - |a_1|)\, \sigma(v)

    These are exactly the points inside the triangle :math:`|a_1| < 1 + a_2,\ a_2 < 1` of stable
    sections.

    Args:
      logits: :math:`b_0, b_1, b_2`, which are used unchanged, then u and v.

    Returns:
      A section for :func:`sos_filter`, see :func:`biquad`.

    Raises:
      TypeError: `logits` is neither float32 nor float64.
      ValueError: the last axis does not hold 5.

    Properties:
      Differentiable; at :math:`u = 0` the slope of the modulus is taken as zero.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> core.stable_biquad(jnp.array([1.0, 0.0, 0.0, 0.0, 0.0])).tolist()
      [1.0, 0.0, 0.0, 1.0, 0.0, 0.0]

    References:
      Nercessian, Sarroff and Werner, `Lightweight and interpretable neural modeling of an audio
      distortion effect using hyperconditioned differentiable biquads
      <https://arxiv.org/abs/2103.08709>`_, ICASSP 2021.
    """
    (logits,) = floats(logits=logits)
    at_least_ndim("logits", logits.shape, 1, "(*batch, 5)")
    same_size("`logits` and a section's logits", logits.shape[-1], 5, "numbers")
    a1 = 2 * jnp.tanh(logits[..., 3])
    modulus = jnp.abs(a1)
    a1, a2 = _within_stability(a1, modulus - 1 + (2 - modulus) * jax.nn.sigmoid(logits[..., 4]))
    return jnp.stack([*jnp.unstack(logits[..., :3], axis=-1), jnp.ones_like(a1), a1, a2], axis=-1)


def reflection_to_allpole(
    reflection: Float[ArrayLike, "*batch order"],
) -> Float[Array, "*batch order"]:
    r"""Coefficients of an all-pole filter from its reflection coefficients (step-up recursion).

    .. math:: a^{(m)}_i = a^{(m-1)}_i + k_m a^{(m-1)}_{m-i}, \qquad a^{(m)}_m = k_m

    Args:
      reflection: :math:`k_1, \dots, k_p`. The filter is stable if and only if all are between -1
        and 1 (apply tanh to the outputs of a network).

    Returns:
      :math:`a_1, \dots, a_p` for :func:`allpole`.

    Raises:
      TypeError: `reflection` is neither float32 nor float64.

    Properties:
      Differentiable.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> core.reflection_to_allpole(jnp.array([0.5, 0.25])).tolist()
      [0.625, 0.25]

    References:
      Markel and Gray, Linear Prediction of Speech, 1976, section 5.
    """
    (reflection,) = floats(reflection=reflection)
    at_least_ndim("reflection", reflection.shape, 1, "(*batch, order)")
    coefficients = reflection[..., :0]
    for k in jnp.split(reflection, reflection.shape[-1], axis=-1):
        coefficients = jnp.concatenate([coefficients + k * coefficients[..., ::-1], k], axis=-1)
    return coefficients


def sos_filter(
    audio: Float[ArrayLike, "*batch samples"],
    sos: Float[ArrayLike, "*filter_batch sections 6"],
    *,
    hop_length: int | None = None,
) -> Float[Array, "*out_batch samples"]:
    r"""Cascade of second-order sections, with fixed or time-varying coefficients.

    .. math:: y[n] = b_0 x[n] + b_1 x[n-1] + b_2 x[n-2] - a_1 y[n-1] - a_2 y[n-2]

    for each section in turn, from rest.

    Args:
      audio: any signal.
      sos: sections as SciPy writes them, ``(b0, b1, b2, 1, a1, a2)``: ``(*batch, sections, 6)``
        for a filter that does not change, ``(*batch, frames, sections, 6)`` with `hop_length`.
        All sections must be stable; see :func:`biquad` and :func:`stable_biquad`. The batch axes
        broadcast against those of `audio`.
      hop_length: samples between frames; there must be ``n_frames(samples)`` of them.
        Coefficients are linear between frames, which keeps stable sections stable. None, the
        default, for a filter that does not change. Static.

    Returns:
      Audio of the input's length and dtype.

    Raises:
      TypeError: `hop_length` is not an int, or an array is neither float32 nor float64.
      ValueError: the last axis of `sos` is not 6, the number of frames differs from that of
        `audio`, or the batch axes do not broadcast.

    Properties:
      Linear in `audio`; differentiable in both, in forward and reverse mode and to any order.
      Static: `hop_length`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> decay = jnp.array([[1.0, 0.0, 0.0, 1.0, -0.5, 0.0]])
      >>> impulse = jnp.array([1.0, 0.0, 0.0, 0.0])
      >>> [round(v, 3) for v in core.sos_filter(impulse, decay).tolist()]
      [1.0, 0.5, 0.25, 0.125]

    References:
      ``scipy.signal.sosfilt``. In float32 this is up to two orders of magnitude more accurate than
      SciPy for low and narrow filters, because the state is stored in another form. When
      coefficients change, the state of the transposed direct form stays, as in most hardware.
    """
    return sos_filter_step(None, audio, sos, hop_length=hop_length)[1]


def sos_filter_init(
    sos: Float[ArrayLike, "*filter_batch sections 6"], *, batch_shape: tuple[int, ...] = ()
) -> Float[Array, "*out_batch sections 3"]:
    """The state at rest, before the first block of :func:`sos_filter_step`.

    Args:
      sos: the sections, without a frames axis.
      batch_shape: batch axes of the audio to come, broadcast with those of `sos`. Static.

    Returns:
      The state: three numbers for each section, in the dtype of `sos`. They are the first of
      SciPy's two numbers ``zi``, the sum of the two, and the first minus the second. If a filter is
      low and narrow, the two nearly cancel, so in float32 their sum has to be stored too.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> core.sos_filter_init(jnp.ones((4, 6)), batch_shape=(2,)).shape
      (2, 4, 3)
    """
    (sos,) = floats(sos=sos)
    at_least_ndim("sos", sos.shape, 2, "(*batch, sections, 6)")
    batch = broadcast_batch(batch_shape=tuple(batch_shape), sos=sos.shape[:-2])
    return jnp.zeros((*batch, sos.shape[-2], 3), sos.dtype)


def sos_filter_step(
    state: Float[ArrayLike, "*state_batch sections 3"] | None,
    audio: Float[ArrayLike, "*batch samples"],
    sos: Float[ArrayLike, "*filter_batch sections 6"],
    *,
    hop_length: int | None = None,
) -> tuple[Float[Array, "*out_batch sections 3"], Float[Array, "*out_batch samples"]]:
    """Next block of :func:`sos_filter`, without latency.

    Args:
      state: from :func:`sos_filter_init` or the step before; None means the state at rest.
      audio: the next block, of any size. With `hop_length`, its size must be a multiple of that,
        except in the last block.
      sos: as in :func:`sos_filter`. With `hop_length`, frames a to b of the block, both
        included; the next block begins with frame b again.
      hop_length: as in :func:`sos_filter`. Static.

    Returns:
      The state after the block, and a block of the input's length.

    Raises:
      TypeError: as :func:`sos_filter`.
      ValueError: as :func:`sos_filter`.

    Properties:
      Concatenated blocks of any sizes equal :func:`sos_filter` of the whole input (up to rounding).
      Differentiable in all arrays. Static: `hop_length`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> decay = jnp.array([[1.0, 0.0, 0.0, 1.0, -0.5, 0.0]])
      >>> state = core.sos_filter_init(decay)
      >>> state, first = core.sos_filter_step(state, jnp.array([1.0, 0.0]), decay)
      >>> state, second = core.sos_filter_step(state, jnp.array([0.0, 0.0]), decay)
      >>> [round(v, 3) for v in [*first.tolist(), *second.tolist()]]
      [1.0, 0.5, 0.25, 0.125]
    """
    audio, sos = floats(audio=audio, sos=sos)
    at_least_ndim("audio", audio.shape, 1, "(*batch, samples)", is_block=state is not None)
    at_least_ndim("sos", sos.shape, 2, "(*batch, sections, 6)")
    same_size("`sos` and a section", sos.shape[-1], 6, "coefficients")
    sections, filter_batch = sos.shape[-2], sos.shape[:-2]
    if hop_length is not None:
        at_least_ndim("sos", sos.shape, 3, "(*batch, frames, sections, 6)")
        frames = n_frames(audio.shape[-1], hop_length=hop_length)
        same_size("`sos` and `audio`", sos.shape[-3], frames, "frames")
        filter_batch = sos.shape[:-3]
    batch = broadcast_batch(audio=audio.shape[:-1], sos=filter_batch)
    audio = jnp.broadcast_to(audio, (*batch, audio.shape[-1]))
    if state is None:
        state = jnp.zeros((sections, 3), audio.dtype)
    state = jnp.broadcast_to(jnp.asarray(state, audio.dtype), (*batch, sections, 3))
    entering, audio, sos = varying_alike(state, audio, sos)
    if hop_length is not None:
        return moving_sections(entering, audio, sos, hop_length)
    sign = nearest_point(sos[..., 4])
    cascade = _cascade(about_a_point(sos, sign))
    sign = with_ndim(sign, len(batch) + 1)
    entering = about_point(entering, sign).reshape(*batch, 2 * sections)
    state, audio = run_linear_filter(cascade, entering, audio)
    return about_both(state.reshape(*batch, sections, 2), sign), audio


def allpole(
    audio: Float[ArrayLike, "*batch samples"], coefficients: Float[ArrayLike, "*filter_batch order"]
) -> Float[Array, "*out_batch samples"]:
    r"""All-pole filter, from rest, for example from an excitation to a vowel.

    .. math:: y[n] = x[n] - \sum_{k=1}^{p} a_k\, y[n - k]

    Args:
      audio: any signal.
      coefficients: :math:`a_1, \dots, a_p`, of a stable filter; see
        :func:`reflection_to_allpole`. The batch axes broadcast against those of `audio`.

    Returns:
      Audio of the input's length and dtype.

    Raises:
      TypeError: an array is neither float32 nor float64.
      ValueError: an axis is missing, or the batch axes do not broadcast.

    Properties:
      Linear in `audio`; differentiable in both, in forward and reverse mode and to any order.
      The coefficients of a direct form lose digits if many poles lie close together. In float32,
      poles all over the band (linear prediction) are safe, but a few formants far below Nyquist are
      not: with four of them below 3.5 kHz the error is 1 % of the peak at 16 kHz, and the filter is
      unstable at 44.1 kHz. Use float64 there, or a cascade of sections, see :func:`sos_filter`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> impulse = jnp.array([1.0, 0.0, 0.0, 0.0])
      >>> [round(v, 3) for v in core.allpole(impulse, jnp.array([-0.5, 0.25])).tolist()]
      [1.0, 0.5, 0.0, -0.125]

    References:
      ``scipy.signal.lfilter([1], [1, *coefficients], audio)``.
    """
    return allpole_step(None, audio, coefficients)[1]


def allpole_init(
    coefficients: Float[ArrayLike, "*filter_batch order"], *, batch_shape: tuple[int, ...] = ()
) -> Float[Array, "*out_batch order"]:
    """The state at rest, before the first block of :func:`allpole_step`.

    Args:
      coefficients: of the filter.
      batch_shape: batch axes of the audio to come, broadcast with those of the filter. Static.

    Returns:
      The state: the last outputs, newest first, in the dtype of the coefficients.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> core.allpole_init(jnp.ones(3)).tolist()
      [0.0, 0.0, 0.0]
    """
    (coefficients,) = floats(coefficients=coefficients)
    at_least_ndim("coefficients", coefficients.shape, 1, "(*batch, order)")
    shapes = {"batch_shape": tuple(batch_shape), "coefficients": coefficients.shape[:-1]}
    return jnp.zeros((*broadcast_batch(**shapes), coefficients.shape[-1]), coefficients.dtype)


def allpole_step(
    state: Float[ArrayLike, "*state_batch order"] | None,
    audio: Float[ArrayLike, "*batch samples"],
    coefficients: Float[ArrayLike, "*filter_batch order"],
) -> tuple[Float[Array, "*out_batch order"], Float[Array, "*out_batch samples"]]:
    """Next block of :func:`allpole`, without latency.

    Args:
      state: from :func:`allpole_init` or the step before; None means the state at rest.
      audio: the next block, of any size.
      coefficients: of the filter.

    Returns:
      The state after the block, and a block of the input's length.

    Raises:
      TypeError: as :func:`allpole`.
      ValueError: as :func:`allpole`.

    Properties:
      Concatenated blocks of any sizes equal :func:`allpole` of the whole input (up to rounding).
      Differentiable in all arrays.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> filter = jnp.array([-0.5])
      >>> state, first = core.allpole_step(core.allpole_init(filter), jnp.ones(1), filter)
      >>> state, second = core.allpole_step(state, jnp.zeros(1), filter)
      >>> [round(v, 3) for v in [*first.tolist(), *second.tolist()]]
      [1.0, 0.5]
    """
    audio, coefficients = floats(audio=audio, coefficients=coefficients)
    at_least_ndim("audio", audio.shape, 1, "(*batch, samples)", is_block=state is not None)
    at_least_ndim("coefficients", coefficients.shape, 1, "(*batch, order)")
    *filter_batch, order = coefficients.shape
    positive_int("coefficients.shape[-1]", order)
    batch = broadcast_batch(audio=audio.shape[:-1], coefficients=tuple(filter_batch))
    audio = jnp.broadcast_to(audio, (*batch, audio.shape[-1]))
    state = jnp.zeros(order) if state is None else jnp.asarray(state)
    entering, audio, coefficients = varying_alike(state.astype(audio.dtype), audio, coefficients)
    rest = jnp.zeros_like(coefficients)
    older = rest[..., :-1][..., None, :] + with_ndim(np.eye(order, order - 1), rest.ndim + 1)
    older = older.astype(audio.dtype)
    filter = LinearFilter(
        diagonal=rest,
        change=jnp.concatenate([-coefficients[..., None], older], axis=-1),
        into=rest.at[..., 0].set(1),
        out=-coefficients,
        through=jnp.ones_like(coefficients[..., 0]),
    )
    return run_linear_filter(filter, jnp.broadcast_to(entering, (*batch, order)), audio)


def _shelf(amplitude: Array, cosine: Array, alpha: Array, side: float) -> tuple[tuple, tuple]:
    """Numerator and denominator of a shelf below (side 1) or above (-1) the frequency."""
    root = 2 * jnp.sqrt(amplitude) * alpha
    more, less, turn = amplitude + 1, amplitude - 1, side * cosine
    b = (
        amplitude * (more - less * turn + root),
        side * 2 * amplitude * (less - more * turn),
        amplitude * (more - less * turn - root),
    )
    a = (more + less * turn + root, -side * 2 * (less + more * turn), more + less * turn - root)
    return b, a


def _cascade(sections: Section) -> LinearFilter:
    """The sections in series; the state is s and t of each."""
    *batch, n_sections = sections.b0.shape
    unit = np.eye(2 * n_sections + 1, dtype=sections.b0.dtype)
    unit = unit.reshape(len(unit), *(1,) * len(batch), len(unit))
    # The input of a section, from each number of the state, and from the input of the filter.
    x = jnp.zeros_like(sections.b0, shape=(*batch, len(unit))) + unit[-1]
    columns = []
    gains = sections.gains()
    for i in range(n_sections):
        sign, d1, d2, b0, g1, g2 = (
            c[..., i, None] for c in (sections.sign, sections.d1, sections.d2, sections.b0, *gains)
        )
        s, t = unit[2 * i], unit[2 * i + 1]
        columns += [sign * (t - d1 * s) + g1 * x, -sign * d2 * s + g2 * x]
        x = b0 * x + s
    changes = jnp.stack(columns, axis=-1)
    diagonal = jnp.repeat(sections.sign, 2, axis=-1)
    return LinearFilter(
        diagonal, changes[..., :-1, :], changes[..., -1, :], x[..., :-1], x[..., -1]
    )
