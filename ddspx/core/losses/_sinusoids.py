"""Losses between sets of sinusoids that are not matched one to one."""

import math
from functools import partial

import jax
import jax.numpy as jnp

from ddspx._checks import at_least_ndim, floats, not_empty, positive_int, same_shape, size
from ddspx._typing import Array, ArrayLike, Float
from ddspx.core._numerics import safe_divide
from ddspx.core._units import hz_to_midi

# Amplitudes below this are raised to it, so that every component of a mixture has a logarithm.
_LEAST_AMPLITUDE = 1e-7


def two_way_mismatch_loss(
    f0_hz: Float[ArrayLike, "*batch candidates"],
    frequencies_hz: Float[ArrayLike, "*batch sinusoids"],
    amplitudes: Float[ArrayLike, "*batch sinusoids"],
    *,
    sample_rate: int,
    sinusoids_weight: float = 1.0,
    harmonics_weight: float = 1.0,
    sinusoids_scale: float = 0.5,
    harmonics_scale: float = 0.2,
    n_harmonics: int = 10,
    n_gaussians: int = 30,
    temperature: float = 1.0,
) -> Float[Array, ""]:
    r"""How badly the best of several candidate pitches explains a set of sinusoids.

    .. math::
        \ell = \Bigl\langle \sum_c \sigma_c \ell_c \Bigr\rangle, \qquad
        \sigma = \mathrm{softmax}(-\ell / T), \qquad \ell_c = w_s S_c + w_h H_c

    With G the density of a normal distribution and weights that add up to 1, the two ways are

    .. math::
        S = -\sum_s a_s \ln \frac1J \sum_{j=1}^J G(f_s / f_0;\ j, \Delta_s), \qquad
        H = -\sum_k b_k \ln \sum_s a_s\, G(m(k f_0);\ m(f_s), \Delta_h)

    S is small if every sinusoid lies near a harmonic, and H if every harmonic (with the weight
    :math:`b_k \propto 1/k` below Nyquist) lies near a sinusoid; m is the pitch in semitones. S
    alone is also small for a pitch an octave too low, and H alone for one an octave too high.

    Args:
      f0_hz: candidates for the pitch of each frame, in Hz; below 1 Hz they count as 1 Hz.
      frequencies_hz: frequency of each sinusoid of each frame, in Hz.
      amplitudes: linear amplitude of each.
      sample_rate: samples per second. Static.
      sinusoids_weight: :math:`w_s`. Static, as all that follows.
      harmonics_weight: :math:`w_h`.
      sinusoids_scale: :math:`\Delta_s`, in multiples of the pitch.
      harmonics_scale: :math:`\Delta_h`, in semitones.
      n_harmonics: number of harmonics that are expected among the sinusoids.
      n_gaussians: :math:`J`, number of harmonics that sinusoids may lie near.
      temperature: T of the soft minimum over candidates.

    Returns:
      The loss, a scalar in the dtype of the inputs: the mean over frames.

    Raises:
      TypeError: a size is not an int, or an array is neither float32 nor float64.
      ValueError: a size is not positive, an array is empty, or the shapes do not agree.

    Properties:
      Differentiable in the three arrays. S is 0 in silent frames, and H is 0 for candidates without
      a harmonic below Nyquist. Static: the rest.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> f_hz, a = 200.0 * jnp.arange(1, 13), 1 / jnp.arange(1.0, 13)
      >>> [
      ...     round(float(core.two_way_mismatch_loss(jnp.array([f0]), f_hz, a, sample_rate=16000)))
      ...     for f0 in (100.0, 200.0, 210.0, 400.0)
      ... ]
      [668, 5, 14, 80]

    References:
      Maher and Beauchamp, Fundamental frequency estimation of musical signals using a two-way
      mismatch procedure, JASA 95(4), 1994; as probabilities in DDSP's ``TWMLoss``.
    """
    f0_hz, frequencies_hz, amplitudes = floats(
        f0_hz=f0_hz, frequencies_hz=frequencies_hz, amplitudes=amplitudes
    )
    at_least_ndim("f0_hz", f0_hz.shape, 1, "(*batch, candidates)")
    at_least_ndim("frequencies_hz", frequencies_hz.shape, 1, "(*batch, sinusoids)")
    same_shape(frequencies_hz=frequencies_hz.shape, amplitudes=amplitudes.shape)
    same_shape(
        **{"f0_hz[..., 0]": f0_hz.shape[:-1], "frequencies_hz[..., 0]": frequencies_hz.shape[:-1]}
    )
    not_empty(f0_hz=f0_hz.shape, frequencies_hz=frequencies_hz.shape)
    sample_rate = size("sample_rate", sample_rate)
    n_harmonics = size("n_harmonics", n_harmonics)
    n_gaussians = positive_int("n_gaussians", n_gaussians)
    dtype, lead = f0_hz.dtype, (1,) * f0_hz.ndim
    f0_hz = jnp.maximum(f0_hz, 1)

    # Shape (*batch, candidates, sinusoids): the logarithm of the mean over the Gaussians.
    ratios = frequencies_hz[..., None, :] / f0_hz[..., None]
    integers = jnp.arange(1, n_gaussians + 1, dtype=dtype).reshape(*lead, 1, -1)
    near = _log_mixture(ratios, integers, -math.log(n_gaussians), sinusoids_scale)
    sinusoids = _weighted_mean(-near, amplitudes[..., None, :])

    k = jnp.arange(1, n_harmonics + 1, dtype=dtype).reshape(*lead, -1)
    harmonics_hz = f0_hz[..., None] * k
    found = _log_mixture(
        hz_to_midi(harmonics_hz),
        hz_to_midi(frequencies_hz)[..., None, None, :],
        _log_weights(amplitudes)[..., None, None, :],
        harmonics_scale,
    )
    harmonics = _weighted_mean(-found, jnp.where(harmonics_hz < sample_rate / 2, 1 / k, 0))
    mismatch = sinusoids_weight * sinusoids + harmonics_weight * harmonics
    share = jax.nn.softmax(-mismatch / temperature, axis=-1)
    return jnp.mean(jnp.sum(share * mismatch, axis=-1))


def kde_consistency_loss(
    target_frequencies_hz: Float[ArrayLike, "*batch targets"],
    target_amplitudes: Float[ArrayLike, "*batch targets"],
    predicted_frequencies_hz: Float[ArrayLike, "*batch sinusoids"],
    predicted_amplitudes: Float[ArrayLike, "*batch sinusoids"],
    *,
    target_weight: float = 1.0,
    predicted_weight: float = 1.0,
    mean_amplitude_weight: float = 1.0,
    target_scale: float = 0.1,
    predicted_scale: float = 0.1,
) -> Float[Array, ""]:
    r"""How improbable two sets of sinusoids are under each other's density of pitch.

    .. math::
        \ell = \langle w_t N(t \mid p, \Delta_p) + w_p N(p \mid t, \Delta_t)
        + w_a |\bar a_t - \bar a_p| \rangle, \qquad
        N(x \mid y, \Delta) = -\sum_i x_i \ln \sum_j y_j\, G(m_i;\ m_j, \Delta)

    with amplitudes that add up to 1 in each frame, the pitch m in semitones, the density G of a
    normal distribution, and the mean amplitude :math:`\bar a`.

    Args:
      target_frequencies_hz: frequency of each sinusoid of each frame, in Hz.
      target_amplitudes: linear amplitude of each.
      predicted_frequencies_hz: frequencies of another set, of any number.
      predicted_amplitudes: linear amplitude of each.
      target_weight: :math:`w_t`. Static, as all that follows.
      predicted_weight: :math:`w_p`.
      mean_amplitude_weight: :math:`w_a`.
      target_scale: :math:`\Delta_t`, width of the density around each target, in semitones.
      predicted_scale: :math:`\Delta_p`, that around each prediction.

    Returns:
      The loss, a scalar in the dtype of the inputs: the mean over frames. It may be negative.

    Raises:
      TypeError: an array is neither float32 nor float64.
      ValueError: an array has no axis or is empty, or the shapes do not agree.

    Properties:
      Differentiable in all arrays. If a set is silent, its own N is 0, and its sinusoids have equal
      weights in the N of the other set. Static: the rest.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> f_hz, a = jnp.array([440.0, 880.0]), jnp.array([0.5, 0.1])
      >>> [round(float(core.kde_consistency_loss(f_hz, a, c * f_hz, a)), 1) for c in (1.0, 1.01)]
      [-1.9, 1.1]

    References:
      DDSP's ``KDEConsistencyLoss``.
    """
    target_hz, target, predicted_hz, predicted = _checked_sets(
        target_frequencies_hz=target_frequencies_hz,
        target_amplitudes=target_amplitudes,
        predicted_frequencies_hz=predicted_frequencies_hz,
        predicted_amplitudes=predicted_amplitudes,
    )
    predicted_set = hz_to_midi(predicted_hz), predicted
    target_set = hz_to_midi(target_hz), target

    def improbability(of: tuple[Array, Array], under: tuple[Array, Array], scale: float) -> Array:
        (midi, amplitudes), (centres, weights) = of, under
        logs = _log_weights(weights)[..., None, :]
        return _weighted_mean(-_log_mixture(midi, centres[..., None, :], logs, scale), amplitudes)

    loss = target_weight * improbability(target_set, predicted_set, predicted_scale)
    loss += predicted_weight * improbability(predicted_set, target_set, target_scale)
    level = jnp.abs(jnp.mean(target, axis=-1) - jnp.mean(predicted, axis=-1))
    return jnp.mean(loss + mean_amplitude_weight * level)


def wasserstein_loss(
    target_frequencies_hz: Float[ArrayLike, "*batch targets"],
    target_amplitudes: Float[ArrayLike, "*batch targets"],
    predicted_frequencies_hz: Float[ArrayLike, "*batch sinusoids"],
    predicted_amplitudes: Float[ArrayLike, "*batch sinusoids"],
    *,
    midi: bool = True,
) -> Float[Array, ""]:
    r"""How far amplitude has to be moved in frequency to make one set of sinusoids equal another.

    .. math:: \ell = \Bigl\langle \int |F_t(x) - F_p(x)|\, dx \Bigr\rangle

    with F the share of a frame's amplitude at or below x: the Wasserstein distance of order 1.

    Args:
      target_frequencies_hz: frequency of each sinusoid of each frame, in Hz.
      target_amplitudes: linear amplitude of each, not negative.
      predicted_frequencies_hz: frequencies of another set, of any number.
      predicted_amplitudes: linear amplitude of each, not negative.
      midi: x is the pitch in semitones; if not, the frequency in Hz. Static.

    Returns:
      The mean over frames, in semitones or Hz, a scalar in the dtype of the inputs. A frame in
      which either set is silent (less than 1e-7 in all) counts as 0.

    Raises:
      TypeError: an array is neither float32 nor float64.
      ValueError: an array has no axis or is empty, or the shapes do not agree.

    Properties:
      Differentiable in all arrays; zero gradient for equal sets and for silent frames. The
      gradient in a frequency does not vanish with distance, as that of spectra does. Static:
      `midi`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> target, predicted = jnp.array([440.0, 880.0]), jnp.array([440.0, 440.0, 1760.0])
      >>> loss = core.wasserstein_loss(target, jnp.ones(2), predicted, jnp.array([1.0, 0.0, 1.0]))
      >>> round(float(loss), 3)
      6.0

    References:
      Equals ``scipy.stats.wasserstein_distance`` with weights. DDSP's loss of this name does not
      use its normalized amplitudes, and is 0 for frequencies in Hz.
    """
    target_hz, target, predicted_hz, predicted = _checked_sets(
        target_frequencies_hz=target_frequencies_hz,
        target_amplitudes=target_amplitudes,
        predicted_frequencies_hz=predicted_frequencies_hz,
        predicted_amplitudes=predicted_amplitudes,
    )
    places = jnp.concatenate([target_hz, predicted_hz], axis=-1)
    places = hz_to_midi(places) if midi else places
    totals = [jnp.sum(a, axis=-1, keepdims=True) for a in (target, predicted)]
    steps = jnp.concatenate(
        [safe_divide(target, totals[0]), -safe_divide(predicted, totals[1])], axis=-1
    )
    order = jnp.argsort(places, axis=-1)
    places, steps = (jnp.take_along_axis(x, order, axis=-1) for x in (places, steps))
    excess = jnp.cumsum(steps, axis=-1)[..., :-1]
    distance = jnp.sum(jnp.abs(excess) * jnp.diff(places, axis=-1), axis=-1)
    both = jnp.minimum(*totals)[..., 0] >= _LEAST_AMPLITUDE
    return jnp.mean(jnp.where(both, distance, 0))


def _checked_sets(**arrays: ArrayLike) -> list[Array]:
    """Checks that each set has one shape, and that both sets have the same batch axes."""
    out = floats(**arrays)
    shapes = {name: array.shape for name, array in zip(arrays, out, strict=True)}
    names = list(shapes)
    for name in names:
        at_least_ndim(name, shapes[name], 1, "(*batch, sinusoids)")
    for pair in (names[:2], names[2:]):
        same_shape(**{name: shapes[name] for name in pair})
    same_shape(**{f"{name}[..., 0]": shapes[name][:-1] for name in names[::2]})
    not_empty(**shapes)
    return out


# Under `checkpoint` the differences of all pairs are not stored: the fused loop that computes them
# sums them, and the gradient computes them again.
@partial(jax.checkpoint, static_argnums=3)
def _log_mixture(points: Array, centres: Array, log_weights: Array | float, scale: float) -> Array:
    """Logarithm of a Gaussian mixture's density; its components are the last axis of `centres`."""
    squares = jnp.square((points[..., None] - centres) / scale)
    height = math.log(scale * math.sqrt(2 * math.pi))
    return jax.nn.logsumexp(log_weights - 0.5 * squares - height, axis=-1)


def _log_weights(amplitudes: Array) -> Array:
    """Logarithms of the amplitudes' shares in their sum; silence counts as 1e-7 of full scale."""
    logs = jnp.log(jnp.maximum(amplitudes, _LEAST_AMPLITUDE))
    return logs - jax.nn.logsumexp(logs, axis=-1, keepdims=True)


def _weighted_mean(values: Array, weights: Array) -> Array:
    return safe_divide(jnp.sum(weights * values, axis=-1), jnp.sum(weights, axis=-1))
