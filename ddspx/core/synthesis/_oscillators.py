"""Oscillators: banks of sinusoids with a frequency and an amplitude at every sample."""

import jax
import jax.numpy as jnp

from ddspx._checks import at_least_ndim, broadcast_batch, floats, same_shape, same_size, size
from ddspx._typing import Array, ArrayLike, Float
from ddspx.core._numerics import safe_divide, with_ndim
from ddspx.core.synthesis._phase import cumulative_phase, has_pitch


def remove_above_nyquist(
    amplitudes: Float[ArrayLike, "*batch sinusoids"],
    frequencies_hz: Float[ArrayLike, "*batch sinusoids"],
    *,
    sample_rate: int,
) -> Float[Array, "*batch sinusoids"]:
    r"""Silences sinusoids at or above Nyquist, and those without a pitch.

    .. math:: a'_k = a_k \text{ if } 0 < |f_k| < f_s / 2 \text{ else } 0

    Args:
      amplitudes: linear peak amplitudes, at any rate.
      frequencies_hz: the frequency of each, in Hz, of the same shape and of either sign. 0, NaN and
        infinity mean "no pitch".
      sample_rate: samples per second. Static.

    Returns:
      Amplitudes in their dtype.

    Raises:
      TypeError: `sample_rate` is not an int, or an array is neither float32 nor float64.
      ValueError: `sample_rate` is not positive.

    Properties:
      Differentiable in `amplitudes`; silenced sinusoids get zero gradient. Static:
      `sample_rate`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> f = jnp.array([3999.0, 4000.0, 0.0])
      >>> core.remove_above_nyquist(jnp.ones(3), f, sample_rate=8000).tolist()
      [1.0, 0.0, 0.0]

    References:
      DDSP's function of this name keeps sinusoids at 0 Hz, which are a constant offset.
    """
    size("sample_rate", sample_rate)
    amplitudes, frequencies_hz = floats(amplitudes=amplitudes, frequencies_hz=frequencies_hz)
    magnitude_hz = jnp.abs(frequencies_hz)
    return jnp.where((magnitude_hz > 0) & (magnitude_hz < sample_rate / 2), amplitudes, 0)


def normalize_harmonics(
    harmonic_distribution: Float[ArrayLike, "*batch harmonics"],
    f0_hz: Float[ArrayLike, "*batch"],
    *,
    sample_rate: int,
) -> Float[Array, "*batch harmonics"]:
    r"""Distribution over the harmonics below Nyquist, adding up to 1.

    .. math:: d'_k = m_k d_k \Big/ \sum_j m_j d_j, \qquad m_k = [0 < k |f_0| < f_s / 2]

    In a frame without a pitch (0 Hz, NaN, infinite) all weights become 0. If the weights below
    Nyquist add up to less than 1e-7, they are divided by 1e-7 instead, so that the distribution
    fades to zeros without a jump.

    Args:
      harmonic_distribution: non-negative weights of harmonics 1, 2, ... of each frame.
      f0_hz: fundamental of each frame, in Hz, of either sign.
      sample_rate: samples per second. Static.

    Returns:
      The distribution in its dtype; all zeros where nothing lies below Nyquist.

    Raises:
      TypeError: `sample_rate` is not an int, or an array is neither float32 nor float64.
      ValueError: `sample_rate` is not positive, or the shapes do not agree.

    Properties:
      Differentiable in `harmonic_distribution`. Static: `sample_rate`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> weights = jnp.array([1.0, 3.0, 5.0])
      >>> core.normalize_harmonics(weights, jnp.array(1500.0), sample_rate=8000).tolist()
      [0.25, 0.75, 0.0]
    """
    harmonic_distribution, f0_hz = floats(harmonic_distribution=harmonic_distribution, f0_hz=f0_hz)
    at_least_ndim("harmonic_distribution", harmonic_distribution.shape, 1, "(*batch, harmonics)")
    same_shape(
        f0_hz=f0_hz.shape, **{"harmonic_distribution[..., 0]": harmonic_distribution.shape[:-1]}
    )
    frequencies_hz = harmonic_frequencies(f0_hz, harmonic_distribution.shape[-1])
    audible = remove_above_nyquist(harmonic_distribution, frequencies_hz, sample_rate=sample_rate)
    return safe_divide(audible, jnp.sum(audible, -1, keepdims=True))


def oscillator_bank(
    frequencies_hz: Float[ArrayLike, "*batch samples sinusoids"],
    amplitudes: Float[ArrayLike, "*batch samples sinusoids"],
    *,
    sample_rate: int,
    sum_sinusoids: bool = True,
) -> Float[Array, "*batch samples"] | Float[Array, "*batch samples sinusoids"]:
    r"""Sum of sinusoids whose frequency and amplitude are given at every sample.

    .. math:: y[n] = \sum_k a_k[n] \sin\Bigl(2\pi \sum_{m \le n} f_k[m] / f_s\Bigr)

    Sinusoids are silent while at or above Nyquist, so the output never aliases. At samples without
    a pitch (0 Hz, NaN, infinite) they are silent too, and their phase does not advance.

    Args:
      frequencies_hz: instantaneous frequency of each sinusoid, in Hz, of either sign.
      amplitudes: linear peak amplitude of each sinusoid (1.0 is full scale).
      sample_rate: samples per second. Static.
      sum_sinusoids: False returns each sinusoid by itself, to be mixed in another way. Static.

    Returns:
      Audio in linear amplitude, in the dtype of the inputs: ``(*batch, samples)``, or
      ``(*batch, samples, sinusoids)`` if they are not summed.

    Raises:
      TypeError: `sample_rate` is not an int, or an array is neither float32 nor float64.
      ValueError: `sample_rate` is not positive, or an axis is missing or differs.

    Properties:
      Differentiable in both arrays. The phase does not drift: it is summed in fixed point.
      It needs as much memory as the inputs; for the harmonics of one pitch,
      :func:`harmonic_synthesis` needs hundreds of times less. Static: `sample_rate`,
      `sum_sinusoids`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> f = jnp.full((4, 1), 2000.0)
      >>> y = core.oscillator_bank(f, jnp.ones_like(f), sample_rate=8000)
      >>> [round(v) for v in y.tolist()]
      [1, 0, -1, 0]

    References:
      Engel et al., `DDSP <https://arxiv.org/abs/2001.04643>`_, ICLR 2020, section 3.2.
    """
    frequencies_hz, amplitudes = floats(frequencies_hz=frequencies_hz, amplitudes=amplitudes)
    axes = "(*batch, samples, sinusoids)"
    at_least_ndim("frequencies_hz", frequencies_hz.shape, 2, axes)
    at_least_ndim("amplitudes", amplitudes.shape, 2, axes)
    names = "`frequencies_hz` and `amplitudes`"
    same_size(names, frequencies_hz.shape[-2], amplitudes.shape[-2], "samples")
    same_size(names, frequencies_hz.shape[-1], amplitudes.shape[-1], "sinusoids")
    broadcast_batch(frequencies_hz=frequencies_hz.shape[:-2], amplitudes=amplitudes.shape[:-2])
    phase = cumulative_phase(frequencies_hz, sample_rate=sample_rate, axis=-2)
    audible = remove_above_nyquist(amplitudes, frequencies_hz, sample_rate=sample_rate)
    sinusoids = audible * jnp.sin(phase)
    return jnp.sum(sinusoids, axis=-1) if sum_sinusoids else sinusoids


def highest_within_reach(
    f0_hz: Float[Array, "*batch frames"],
    offsets: tuple[int, ...],
    *,
    neighbours_hz: tuple[Array, Array] | None = None,
) -> Float[Array, "*batch frames"]:
    """Upper bound of the frequency in all hops that read each frame, see :func:`bound_hz`.

    It is infinite for a frame without a pitch. With this bound :func:`remove_above_nyquist`
    silences every frame whose amplitude would reach a part of the sound at or above Nyquist.
    """
    bound = bound_hz(f0_hz, offsets, neighbours_hz=neighbours_hz)
    return jnp.where(has_pitch(f0_hz), bound, jnp.inf)


def bound_hz(
    f0_hz: Float[Array, "*batch frames"],
    offsets: tuple[int, ...],
    *,
    neighbours_hz: tuple[Array, Array] | None = None,
) -> Float[Array, "*batch frames"]:
    """Upper bound of the absolute frequency in all hops whose interpolation reads each frame.

    The pitch of hop i glides between the frames i and i + 1, and its amplitude reads the frames
    i + offset. So frame m is read by the hops m - offset, whose pitch is bounded by the pitches of
    the frames from m - max(offsets) to m - min(offsets) + 1. `neighbours_hz` are the pitches before
    the first frame and after the last, if these frames are a block of a longer sound.
    """
    before, after = offsets[-1], 1 - offsets[0]
    if neighbours_hz is not None:
        first, last = (jnp.asarray(hz, f0_hz.dtype)[..., None] for hz in neighbours_hz)
        f0_hz = jnp.concatenate([first, f0_hz, last], axis=-1)
        before, after = before - 1, after - 1
    lead = f0_hz.ndim - 1
    return jax.lax.reduce_window(
        jax.lax.stop_gradient(jnp.where(has_pitch(f0_hz), jnp.abs(f0_hz), 0)),
        -jnp.inf,
        jax.lax.max,
        (1,) * lead + (offsets[-1] + 2 - offsets[0],),
        (1,) * f0_hz.ndim,
        ((0, 0),) * lead + ((before, after),),
    )


def harmonic_frequencies(f0_hz: Array, n_harmonics: int) -> Array:
    """The integer multiples of ``f0_hz``, along a new last axis."""
    harmonics = jnp.arange(1, n_harmonics + 1, dtype=f0_hz.dtype)
    return f0_hz[..., None] * with_ndim(harmonics, f0_hz.ndim + 1)
