"""Losses between the controls of a synthesizer: amplitudes, distributions, pitches."""

from typing import Literal

import jax.numpy as jnp

from ddspx._checks import at_least_ndim, floats, not_empty, one_of, same_shape
from ddspx._typing import Array, ArrayLike, Bool, Float
from ddspx.core._numerics import safe_divide
from ddspx.core._units import hz_to_midi

Norm = Literal["l1", "l2"]


def control_loss(
    target: Float[ArrayLike, "*shape"],
    predicted: Float[ArrayLike, "*shape"],
    *,
    norm: Norm = "l1",
    weights: Float[ArrayLike, "*#shape"] | Bool[ArrayLike, "*#shape"] | None = None,
) -> Float[Array, ""]:
    r"""Weighted mean difference of two sets of controls.

    .. math:: \ell = \frac{\sum_i w_i |t_i - p_i|^q}{\sum_i w_i}, \qquad q = 1 \text{ or } 2

    Args:
      target: values of any control, in any unit.
      predicted: as many values, in the same unit.
      norm: ``l1`` (absolute differences) or ``l2`` (their squares). Static.
      weights: not negative, or a mask; every axis has the size of the controls' or 1, so a mask
        of frames for controls of features is ``mask[..., None]``. None gives equal weights.

    Returns:
      The loss, a scalar in the dtype of the controls; 0 if all weights are 0.

    Raises:
      TypeError: an array is neither float32 nor float64 (the weights may be bool).
      ValueError: `norm` is unknown, the shapes of `target` and `predicted` differ (nothing is
        broadcast) or hold nothing, or `weights` has other axes.

    Properties:
      Differentiable in `target` and `predicted`, and in `weights` of floats; zero gradient where
      target and predicted are equal, or all weights zero. Static: `norm`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> target, predicted = jnp.array([1.0, 2.0, 3.0]), jnp.array([1.5, 2.0, 9.0])
      >>> float(core.control_loss(target, predicted, weights=jnp.array([True, True, False])))
      0.25

    References:
      DDSP's ``mean_difference``, ``ParamLoss`` and ``FilteredNoiseConsistencyLoss``. They divide
      by the number of elements, masked ones included, so a loss there falls with every silent
      frame.
    """
    one_of("norm", norm, ("l1", "l2"))
    target, predicted = floats(target=target, predicted=predicted)
    same_shape(target=target.shape, predicted=predicted.shape)
    not_empty(target=target.shape)
    difference = target - predicted
    distance = jnp.abs(difference) if norm == "l1" else jnp.square(difference)
    if weights is None:
        return jnp.mean(distance)
    weights = jnp.asarray(weights, distance.dtype)
    sizes = zip(weights.shape, distance.shape, strict=False)
    if weights.ndim != distance.ndim or any(w not in (1, size) for w, size in sizes):
        raise ValueError(
            f"`weights` must have the axes of the controls, {distance.shape}, each of that size or "
            f"1, got {weights.shape}; a mask of frames for controls of features is "
            "`mask[..., None]`."
        )
    weights = jnp.broadcast_to(weights, distance.shape)
    return safe_divide(jnp.sum(weights * distance), jnp.sum(weights))


def harmonic_consistency_loss(
    target: tuple[
        Float[ArrayLike, "*batch frames"],
        Float[ArrayLike, "*batch frames harmonics"],
        Float[ArrayLike, "*batch frames"],
    ],
    predicted: tuple[
        Float[ArrayLike, "*batch frames"],
        Float[ArrayLike, "*batch frames harmonics"],
        Float[ArrayLike, "*batch frames"],
    ],
    *,
    amplitude_weight: float = 1.0,
    distribution_weight: float = 1.0,
    f0_weight: float = 1.0,
    amplitude_threshold: float = 1e-4,
    norm: Norm = "l1",
) -> Float[Array, ""]:
    r"""Mean difference of harmonic controls, without the controls of inaudible frames.

    .. math:: \ell = w_A \langle |A - \hat A| \rangle
        + w_d \langle |d - \hat d| \rangle_{A > \theta}
        + w_f \langle |m - \hat m| \rangle_{A > \theta}

    with the amplitude A, the distribution d, the pitch m in semitones, and angles the mean of
    :func:`control_loss`: that of distribution and pitch over the frames whose target is louder
    than the threshold, as in silence both are arbitrary.

    Args:
      target: amplitudes (linear), harmonic distribution, and fundamental in Hz.
      predicted: the same three.
      amplitude_weight: weight of the amplitudes. Static, as all weights.
      distribution_weight: weight of the distribution.
      f0_weight: weight of the pitch, in semitones.
      amplitude_threshold: target amplitude above which a frame is audible, linear. Static.
      norm: ``l1`` or ``l2``, of :func:`control_loss`. Static.

    Returns:
      The loss, a scalar in the dtype of the controls.

    Raises:
      TypeError: an array is neither float32 nor float64.
      ValueError: `norm` is unknown, or the shapes differ or hold nothing.

    Properties:
      Differentiable in all controls. The gradient is zero to distribution and pitch of inaudible
      frames, and to pitches below a thousandth of a Hz. Static: the rest.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> one, flat = jnp.array([1.0, 0.0]), jnp.full((2, 4), 0.25)
      >>> target = (one, flat, jnp.array([440.0, 100.0]))
      >>> predicted = (0.5 * one, flat, jnp.array([220.0, 5000.0]))
      >>> round(float(core.harmonic_consistency_loss(target, predicted)), 3)
      12.25

    References:
      Engel et al., `Self-supervised Pitch Detection by Inverse Audio Synthesis
      <https://openreview.net/forum?id=RlVTYWhsky7>`_, ICML 2020 workshop. DDSP's
      ``HarmonicConsistencyLoss`` divides the masked sums by all frames.
    """
    amplitudes, distribution, f0_hz = floats(
        amplitudes=target[0], harmonic_distribution=target[1], f0_hz=target[2]
    )
    at_least_ndim("harmonic_distribution", distribution.shape, 2, "(*batch, frames, harmonics)")
    frames = {"amplitudes": amplitudes.shape, "f0_hz": f0_hz.shape}
    same_shape(**frames, **{"harmonic_distribution[..., 0]": distribution.shape[:-1]})
    prediction = floats(**{f"predicted[{i}]": control for i, control in enumerate(predicted)})
    for i, (first, second) in enumerate(
        zip((amplitudes, distribution, f0_hz), prediction, strict=True)
    ):
        same_shape(**{f"target[{i}]": first.shape, f"predicted[{i}]": second.shape})
    is_audible = amplitudes > amplitude_threshold
    loss = amplitude_weight * control_loss(amplitudes, prediction[0], norm=norm)
    loss += distribution_weight * control_loss(
        distribution, prediction[1], norm=norm, weights=is_audible[..., None]
    )
    semitones = hz_to_midi(f0_hz), hz_to_midi(prediction[2])
    return loss + f0_weight * control_loss(*semitones, norm=norm, weights=is_audible)
