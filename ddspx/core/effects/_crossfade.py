"""Cross-fade of two sounds."""

from ddspx._checks import at_least_ndim, broadcast_batch, floats, same_size
from ddspx._typing import Array, ArrayLike, Float
from ddspx.core._numerics import safe_sqrt, with_ndim


def crossfade(
    first: Float[ArrayLike, "*batch samples"],
    second: Float[ArrayLike, "*second_batch samples"],
    mix: Float[ArrayLike, "*mix_batch mix_samples"] | float,
) -> Float[Array, "*out_batch samples"]:
    r"""Two sounds mixed at constant power.

    .. math:: y[n] = \sqrt{1 - m[n]}\, x_1[n] + \sqrt{m[n]}\, x_2[n]

    The power of two unrelated sounds, :math:`(1 - m) P_1 + m P_2`, is between theirs.

    Args:
      first: heard alone at mix 0.
      second: heard alone at mix 1; as long as `first`.
      mix: from 0 to 1, at each sample, or on an axis of size 1 for all of them; or one number.

    Returns:
      Audio, in the dtype of the inputs.

    Raises:
      TypeError: an array is neither float32 nor float64.
      ValueError: the samples or batch axes of the arrays do not fit.

    Properties:
      Differentiable in all three. The slope of a root is infinite at 0, that is at mix 0 for
      `second` and at mix 1 for `first`; it is defined as zero there. Keep a mix that is learned
      between these ends (for example by a sigmoid).

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> one, mix = jnp.ones(3), jnp.array([0.0, 0.36, 1.0])
      >>> [round(v, 3) for v in core.crossfade(one, -2 * one, mix).tolist()]
      [1.0, -0.4, -2.0]

    References:
      DDSP's ``Mix`` intends this, but has :math:`1 - \sqrt{1 - m}` as the second weight. At mix 0
      the sound that should be heard alone is silent, and at mix 1 both are heard in full.
    """
    first, second, mix = floats(first=first, second=second, mix=mix)
    mix = mix if mix.ndim else mix[None]
    for name, array in (("first", first), ("second", second), ("mix", mix)):
        at_least_ndim(name, array.shape, 1, "(*batch, samples)")
    same_size("`first` and `second`", first.shape[-1], second.shape[-1], "samples")
    if mix.shape[-1] != 1:
        same_size("`first` and `mix`", first.shape[-1], mix.shape[-1], "samples")
    broadcast_batch(first=first.shape[:-1], second=second.shape[:-1], mix=mix.shape[:-1])
    ndim = max(first.ndim, second.ndim, mix.ndim)
    first, second, mix = (with_ndim(x, ndim) for x in (first, second, mix))
    return safe_sqrt(1 - mix) * first + safe_sqrt(mix) * second
