"""Augmentation: masks in time and frequency, shifts in time, and mixtures of examples."""

from typing import Literal

import jax
import jax.numpy as jnp

from ddspx._checks import (
    at_least_ndim,
    floats,
    non_negative_int,
    one_of,
    random_key,
    same_size,
)
from ddspx._typing import Array, ArrayLike, Bool, Float, Key
from ddspx.core._numerics import with_ndim


def spec_augment(
    key: Key,
    features: Float[ArrayLike, "*batch frames bands"],
    *,
    n_time_masks: int = 2,
    time_width: int = 40,
    n_frequency_masks: int = 2,
    frequency_width: int = 15,
    mask_value: float | Literal["mean"] = 0.0,
) -> Float[Array, "*batch frames bands"]:
    r"""Masks random stretches of time and of frequency, drawn separately for each example.

    A mask hides w consecutive frames (or bands) from f on, in all bands (or frames):

    .. math:: w \sim U\{0, \dots, W\}, \qquad f \sim U\{0, \dots, N - w\}

    Args:
      key: JAX key.
      features: a spectrogram, usually of logarithmic energies.
      n_time_masks: number of masks in time; they may overlap. Static.
      time_width: greatest width W of one, in frames; at most all are hidden. Static.
      n_frequency_masks: number of masks in frequency. Static.
      frequency_width: greatest width of one, in bands. Static.
      mask_value: value of the masked features: a number in their unit, or ``mean`` for the mean of
        each example. Zero is the mean of normalized features; but for levels in dB whose maximum
        is 0 dB, zero is the loudest. Static.

    Returns:
      The features with masks, of the same shape and dtype.

    Raises:
      TypeError: a size is not an int, or `features` is neither float32 nor float64.
      ValueError: a size is negative, or an axis is missing.

    Properties:
      Width and position of each mask are drawn from separate keys; a width of zero leaves an
      example unchanged, and every frame and band can be hidden. Differentiable in `features`: the
      gradient through masked features is zero, except through the ``mean``. Static: all but `key`
      and `features`.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> masked = core.spec_augment(
      ...     jax.random.key(0), jnp.ones((4, 100, 40)), n_time_masks=1, n_frequency_masks=0
      ... )
      >>> bool((masked == masked[..., :1]).all()), int((masked[..., 0] == 0).sum(-1).max()) <= 40
      (True, True)

    References:
      Park et al., `SpecAugment <https://arxiv.org/abs/1904.08779>`_, Interspeech 2019, without
      time warping. audax draws width and position from one key, so they are correlated; kapre never
      draws a width of zero, and dm_aux never hides the first bin.
    """
    (features,) = floats(features=features)
    at_least_ndim("features", features.shape, 2, "(*batch, frames, bands)")
    if isinstance(mask_value, str):
        one_of("mask_value", mask_value, ("mean",))
    *batch, frames, bands = features.shape
    random_key(key)
    time_key, frequency_key = jax.random.split(key)
    count = non_negative_int("n_time_masks", n_time_masks)
    width = non_negative_int("time_width", time_width)
    hidden = _masks(time_key, (*batch, count), frames, width)[..., :, None]
    count = non_negative_int("n_frequency_masks", n_frequency_masks)
    width = non_negative_int("frequency_width", frequency_width)
    hidden |= _masks(frequency_key, (*batch, count), bands, width)[..., None, :]
    if mask_value == "mean":
        filling = jnp.mean(features, axis=(-2, -1), keepdims=True)
    else:
        filling = jnp.asarray(mask_value, features.dtype)
    return jnp.where(hidden, filling, features)


def time_shift(
    key: Key,
    audio: Float[ArrayLike, "*batch samples"],
    *,
    max_shift: int,
    fill: Literal["zeros", "wrap"] = "zeros",
) -> Float[Array, "*batch samples"]:
    r"""Moves each example earlier or later, by a number of samples drawn for each.

    .. math:: y[n] = x[n - d], \qquad d \sim U\{-D, \dots, D\}

    Args:
      key: JAX key.
      audio: examples.
      max_shift: greatest shift D, in samples; at most all of them. Static.
      fill: content of the samples that become free at one end: ``zeros``, or with ``wrap`` the
        samples that were moved out at the other end. Static.

    Returns:
      The examples, moved; the same shape and dtype.

    Raises:
      TypeError: `max_shift` is not an int, or `audio` is neither float32 nor float64.
      ValueError: `max_shift` is negative or more than the samples, `fill` is unknown, or the axis
        is missing.

    Properties:
      Linear in `audio`. Static: `max_shift`, `fill`.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> ramp = jnp.arange(5.0)
      >>> moved = core.time_shift(jax.random.key(0), ramp, max_shift=2, fill="wrap")
      >>> sorted(moved.tolist())
      [0.0, 1.0, 2.0, 3.0, 4.0]

    References:
      SpectNet shifts by a tenth of a segment. Its PyTorch code shifts along the axis of channels,
      which has size one, so it has no effect.
    """
    (audio,) = floats(audio=audio)
    at_least_ndim("audio", audio.shape, 1, "(*batch, samples)")
    *batch, n_samples = audio.shape
    if non_negative_int("max_shift", max_shift) > n_samples:
        raise ValueError(
            f"`max_shift` must be at most the number of samples, {n_samples}, got {max_shift}."
        )
    one_of("fill", fill, ("zeros", "wrap"))
    random_key(key)
    shifts = jax.random.randint(key, (*batch, 1), -max_shift, max_shift + 1)
    source = with_ndim(jnp.arange(n_samples), len(batch) + 1) - shifts
    moved = jnp.take_along_axis(audio, source % n_samples, axis=-1)
    if fill == "wrap":
        return moved
    inside = (source >= 0) & (source < n_samples)
    return jnp.where(inside, moved, jnp.zeros((), audio.dtype))


def mixup(
    key: Key,
    examples: Float[ArrayLike, "batch ..."],
    labels: Float[ArrayLike, "batch classes"],
    *,
    alpha: float = 0.2,
) -> tuple[Float[Array, "batch ..."], Float[Array, "batch classes"]]:
    r"""Mixes each example of a batch with another, and the labels in the same proportion.

    .. math:: x'_i = \lambda_i x_i + (1 - \lambda_i) x_{\pi(i)}, \qquad
        \lambda_i \sim \operatorname{Beta}(\alpha, \alpha)

    with a random permutation :math:`\pi` of the batch.

    Args:
      key: JAX key.
      examples: audio or features; the first axis is the batch.
      labels: probability of each class, ``jax.nn.one_hot`` of its number.
      alpha: parameter of the distribution, above 0: near 0 hardly anything is mixed, at 1 every
        proportion is as likely. Static.

    Returns:
      The mixtures and their labels, in the dtypes of the inputs.

    Raises:
      TypeError: an array is neither float32 nor float64.
      ValueError: the sizes of the batch differ, or `alpha` is not positive.

    Properties:
      Each example has its own weight. Linear in `examples` and in `labels`. Static: `alpha`.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> labels = jax.nn.one_hot(jnp.array([0, 1]), 2)
      >>> mixed, mixed_labels = core.mixup(jax.random.key(0), labels, labels, alpha=1.0)
      >>> bool((mixed == mixed_labels).all()), mixed_labels.sum(-1).tolist()
      (True, [1.0, 1.0])

    References:
      Zhang, Cisse, Dauphin and Lopez-Paz, `mixup: Beyond empirical risk minimization
      <https://arxiv.org/abs/1710.09412>`_, ICLR 2018, whose code has one weight for a whole batch.
    """
    (examples,), (labels,) = floats(examples=examples), floats(labels=labels)
    at_least_ndim("examples", examples.shape, 1, "(batch, ...)")
    at_least_ndim("labels", labels.shape, 2, "(batch, classes)")
    same_size("`examples` and `labels`", len(examples), len(labels), "examples")
    if not alpha > 0:
        raise ValueError(f"`alpha` must be above 0, got {alpha}.")
    random_key(key)
    weight_key, partner_key = jax.random.split(key)
    # Always drawn in float32, so that a key gives the same mixture for every dtype.
    weights = jax.random.beta(weight_key, alpha, alpha, (len(examples),), jnp.float32)
    partners = jax.random.permutation(partner_key, len(examples))

    def mixed(x: Array) -> Array:
        own = weights.reshape(-1, *(1,) * (x.ndim - 1)).astype(x.dtype)
        return own * x + (1 - own) * x[partners]

    return mixed(examples), mixed(labels)


def _masks(key: Key, shape: tuple[int, ...], size: int, width: int) -> Bool[Array, "*batch size"]:
    """Whether any mask covers an index; the last axis of `shape` counts the masks of an example."""
    width_key, start_key = jax.random.split(key)
    widths = jax.random.randint(width_key, shape, 0, min(width, size) + 1)
    starts = jax.random.randint(start_key, shape, 0, size + 1 - widths)
    index = with_ndim(jnp.arange(size), len(shape) + 1)
    inside = (index >= starts[..., None]) & (index < (starts + widths)[..., None])
    return jnp.any(inside, axis=-2)
