"""Oscillators: banks of sinusoids with a frequency and an amplitude at every sample."""

import jax.numpy as jnp

from ddspx._checks import at_least_ndim, broadcast_batch, floats, positive_int, same_size
from ddspx._typing import Array, Float
from ddspx.core._numerics import safe_divide
from ddspx.core.synthesis._phase import cumulative_phase


def remove_above_nyquist(
    amplitudes: Float[Array, "*batch sinusoids"],
    frequencies_hz: Float[Array, "*batch sinusoids"],
    *,
    sample_rate: int,
) -> Float[Array, "*batch sinusoids"]:
    r"""Amplitudes with every sinusoid at or above Nyquist silenced.

    .. math:: a'_k = a_k \text{ if } |f_k| < f_s / 2 \text{ else } 0

    Args:
      amplitudes: linear peak amplitudes, at any rate.
      frequencies_hz: the frequency of each, in Hz, of the same shape; of either sign.
      sample_rate: samples per second. Static.

    Returns:
      Amplitudes in their dtype.

    Raises:
      TypeError: `sample_rate` is not an int, or an array neither float32 nor float64.
      ValueError: `sample_rate` is not positive.

    Properties:
      Differentiable in `amplitudes`; silenced sinusoids get zero gradient. Static:
      `sample_rate`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> f = jnp.array([3999.0, 4000.0])
      >>> core.remove_above_nyquist(jnp.ones(2), f, sample_rate=8000).tolist()
      [1.0, 0.0]
    """
    positive_int("sample_rate", sample_rate)
    amplitudes, frequencies_hz = floats(amplitudes=amplitudes, frequencies_hz=frequencies_hz)
    return jnp.where(jnp.abs(frequencies_hz) < sample_rate / 2, amplitudes, 0)


def normalize_harmonics(
    harmonic_distribution: Float[Array, "*batch harmonics"],
    f0_hz: Float[Array, "*batch"],
    *,
    sample_rate: int,
) -> Float[Array, "*batch harmonics"]:
    r"""Distribution over the harmonics below Nyquist, adding up to 1.

    .. math:: d'_k = m_k d_k \Big/ \sum_j m_j d_j, \qquad m_k = [k f_0 < f_s / 2]

    A frame whose audible weights add up to less than 1e-7 is as good as silent: it is divided
    by 1e-7 instead, so that it fades to zeros without a jump.

    Args:
      harmonic_distribution: non-negative weights of harmonics 1, 2, ... of each frame.
      f0_hz: fundamental of each frame, in Hz.
      sample_rate: samples per second. Static.

    Returns:
      The distribution in its dtype; all zeros where nothing lies below Nyquist.

    Raises:
      TypeError: `sample_rate` is not an int, or an array neither float32 nor float64.
      ValueError: `sample_rate` is not positive.

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
    frequencies_hz = harmonic_frequencies(f0_hz, harmonic_distribution.shape[-1])
    audible = remove_above_nyquist(harmonic_distribution, frequencies_hz, sample_rate=sample_rate)
    return safe_divide(audible, jnp.sum(audible, -1, keepdims=True))


def oscillator_bank(
    frequencies_hz: Float[Array, "*batch samples sinusoids"],
    amplitudes: Float[Array, "*batch samples sinusoids"],
    *,
    sample_rate: int,
) -> Float[Array, "*batch samples"]:
    r"""Sum of sinusoids whose frequency and amplitude are given at every sample.

    .. math:: y[n] = \sum_k a_k[n] \sin\Bigl(2\pi \sum_{m \le n} f_k[m] / f_s\Bigr)

    Sinusoids are silent while at or above Nyquist, so the output never aliases.

    Args:
      frequencies_hz: instantaneous frequency of each sinusoid, in Hz.
      amplitudes: linear peak amplitude of each sinusoid (1.0 is full scale).
      sample_rate: samples per second. Static.

    Returns:
      Audio in linear amplitude, in the dtype of the inputs.

    Raises:
      TypeError: `sample_rate` is not an int, or an array neither float32 nor float64.
      ValueError: `sample_rate` is not positive, or an axis is missing or differs.

    Properties:
      Differentiable in both arrays. The phase does not drift: it is summed in fixed point.
      Memory is that of the inputs; for harmonics of one pitch :func:`harmonic_synthesis` needs
      hundreds of times less. Static: `sample_rate`.

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
    return jnp.sum(audible * jnp.sin(phase), axis=-1)


def harmonic_frequencies(f0_hz: Array, n_harmonics: int) -> Array:
    """``(..., harmonics)``: the integer multiples of ``f0_hz``."""
    harmonics = jnp.arange(1, n_harmonics + 1, dtype=f0_hz.dtype)
    return f0_hz[..., None] * harmonics.reshape(*(1,) * f0_hz.ndim, -1)
