"""Maps between the inputs and outputs of networks and physical ranges."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from ddspx._checks import at_least_ndim, floats, number, one_of, positive_int
from ddspx._typing import Array, ArrayLike, Float, Int
from ddspx.core._numerics import with_ndim
from ddspx.core._units import (
    bark_to_hz,
    hz_to_bark,
    hz_to_erb,
    hz_to_mel,
    mel_to_hz,
    unit_to_hz,
)


def exp_sigmoid(
    x: Float[ArrayLike, "*shape"],
    *,
    exponent: float = 10.0,
    max_value: float = 2.0,
    threshold: float = 1e-7,
) -> Float[Array, "*shape"]:
    r"""Positive, bounded amplitudes from unbounded network outputs.

    .. math:: y = y_\mathrm{max}\, \sigma(x)^{\ln e} + \theta

    with :math:`e` the `exponent`. Far below zero it falls as :math:`e^{x}`, so that equal steps
    of `x` are equal steps in dB; far above it saturates.

    Args:
      x: network outputs.
      exponent: the slope far below zero, as the factor by which :math:`y` falls when
        :math:`x` falls by 1; more than 1. Static.
      max_value: the upper bound, less `threshold`, in linear amplitude. Static.
      threshold: the lower bound, in linear amplitude; it keeps a gradient alive in sums that
        are normalized. Static.

    Returns:
      Values in [threshold, max_value + threshold], in the dtype of `x`.

    Raises:
      TypeError: `x` is neither float32 nor float64.
      ValueError: `exponent` is not greater than 1, or not finite.

    Properties:
      Differentiable in `x`, with a finite gradient for every finite `x`: the power is taken in
      the logarithm, where nothing overflows.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> [round(v, 4) for v in core.exp_sigmoid(jnp.array([-5.0, 0.0, 5.0])).tolist()]
      [0.0, 0.4054, 1.9693]

    References:
      Engel et al., `DDSP: Differentiable Digital Signal Processing
      <https://arxiv.org/abs/2001.04643>`_, ICLR 2020, appendix B.5.
    """
    if not 1 < exponent < math.inf:
        raise ValueError(f"`exponent` must be greater than 1 and finite, got {exponent}.")
    (x,) = floats(x=x)
    power = math.log(exponent)
    return max_value * jnp.exp(power * jax.nn.log_sigmoid(x)) + threshold


def sym_exp_sigmoid(x: Float[ArrayLike, "*shape"], *, width: float = 8.0) -> Float[Array, "*shape"]:
    r"""Amplitudes that are small near zero and grow with the magnitude of a network output.

    .. math:: y = \mathrm{exp\_sigmoid}(w (|x| / 2 - 1))

    Args:
      x: network outputs.
      width: :math:`w`, how fast the valley around zero rises; positive. Static.

    Returns:
      Values in (0, 2], in the dtype of `x`.

    Raises:
      TypeError: `x` is neither float32 nor float64.
      ValueError: `width` is not positive.

    Properties:
      Differentiable in `x`; zero gradient at 0, where two slopes meet.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> [round(v, 3) for v in core.sym_exp_sigmoid(jnp.array([-2.0, 0.0, 2.0])).tolist()]
      [0.405, 0.0, 0.405]
    """
    if not width > 0:
        raise ValueError(f"`width` must be positive, got {width}.")
    (x,) = floats(x=x)
    return exp_sigmoid(width * (jnp.abs(x) / 2 - 1))


def soft_limit(
    x: Float[ArrayLike, "*shape"], *, minimum: float = 0.0, maximum: float = 1.0, width: float = 1.0
) -> Float[Array, "*shape"]:
    r"""Values bent into a range, nearly unchanged within it.

    .. math:: y = a + w\, s\Bigl(\frac{x - a}{w}\Bigr) - w\, s\Bigl(\frac{x - b}{w}\Bigr),
        \qquad s(t) = \ln(1 + e^t)

    Args:
      x: any values.
      minimum: lower bound :math:`a`. Static.
      maximum: upper bound :math:`b`; above `minimum`. Static.
      width: of the bend at either bound, in the unit of `x`; positive. Static.

    Returns:
      Values in [minimum, maximum], in the dtype of `x`.

    Raises:
      TypeError: `x` is neither float32 nor float64.
      ValueError: `maximum` is not above `minimum`, or `width` is not positive.

    Properties:
      Differentiable in `x`, with a positive slope of less than 1 (zero where it underflows).

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> x = jnp.array([-5.0, 20.0, 50.0, 1e9])
      >>> [round(v, 2) for v in core.soft_limit(x, minimum=20.0, maximum=100.0).tolist()]
      [20.0, 20.69, 50.0, 100.0]

    References:
      DDSP's function of this name moves all values up by a lower bound that is not zero.
    """
    if not minimum < maximum:
        raise ValueError(f"`minimum` must be below `maximum` ({maximum}), got {minimum}.")
    if not width > 0:
        raise ValueError(f"`width` must be positive, got {width}.")
    (x,) = floats(x=x)
    above, below = (x - minimum) / width, (x - maximum) / width
    # By s(t) = t + s(-t) there are two forms. Each is used where it takes no difference of large
    # numbers.
    left = minimum + width * (jax.nn.softplus(above) - jax.nn.softplus(below))
    right = maximum + width * (jax.nn.softplus(-above) - jax.nn.softplus(-below))
    return jnp.where(x < (minimum + maximum) / 2, left, right)


def frequencies_softmax(
    x: Float[ArrayLike, "*batch outputs"], *, depth: int, fmin: float, fmax: float
) -> Float[Array, "*batch sinusoids"]:
    r"""Frequencies as the mean of a distribution over steps of pitch.

    .. math:: f_k = f_\mathrm{min} (f_\mathrm{max} / f_\mathrm{min})^{u_k}, \qquad
        u_k = \sum_{d=0}^{D-1} \mathrm{softmax}(x_k)_d\, \frac{d}{D - 1}

    Args:
      x: network outputs, ``depth`` in succession for each sinusoid.
      depth: :math:`D`, steps from `fmin` to `fmax`; at least 2. Static.
      fmin: lowest frequency, in Hz; above 0. Static.
      fmax: highest frequency, in Hz. Static.

    Returns:
      Frequencies in Hz, ``outputs / depth`` of them, in the dtype of `x`.

    Raises:
      TypeError: `depth` is not an int, or `x` is neither float32 nor float64.
      ValueError: `depth` is below 2 or does not divide the outputs, or not ``0 < fmin < fmax``.

    Properties:
      Differentiable in `x`. Static: the rest.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> f_hz = core.frequencies_softmax(jnp.zeros(6), depth=3, fmin=20.0, fmax=8000.0)
      >>> [round(v, 2) for v in f_hz.tolist()]
      [400.0, 400.0]

    References:
      DDSP's function of this name, whose default of one step gives its lower end for any input.
    """
    depth = positive_int("depth", depth)
    outputs = _by_sinusoid(x, depth)
    if depth < 2:
        raise ValueError(f"`depth` must be at least 2 (one step is no choice), got {depth}.")
    steps = np.linspace(0, 1, depth).astype(outputs.dtype)
    unit = jnp.sum(jax.nn.softmax(outputs, axis=-1) * with_ndim(steps, outputs.ndim), axis=-1)
    return unit_to_hz(unit, fmin=fmin, fmax=fmax)


def frequencies_sigmoid(
    x: Float[ArrayLike, "*batch outputs"],
    *,
    fmin: float,
    fmax: float,
    depth: int = 1,
    depth_scale: float = 10.0,
) -> Float[Array, "*batch sinusoids"]:
    r"""Frequencies from sigmoids, coarse and then finer.

    .. math:: f_k = f_\mathrm{min} (f_\mathrm{max} / f_\mathrm{min})^{u_k}, \qquad
        u_k = \sum_{d=0}^{D-1} \sigma(x_{kd})\, s^{-d} \Big/ \sum_{d=0}^{D-1} s^{-d}

    Args:
      x: network outputs, ``depth`` in succession for each sinusoid.
      fmin: lowest frequency, in Hz; above 0. Static.
      fmax: highest frequency, in Hz. Static.
      depth: :math:`D`, outputs for each sinusoid. Static.
      depth_scale: :math:`s`, the factor by which each output is finer than the one before;
        positive. Static.

    Returns:
      Frequencies in Hz, ``outputs / depth`` of them, in the dtype of `x`.

    Raises:
      TypeError: `depth` is not an int, or `x` is neither float32 nor float64.
      ValueError: `depth` is not positive or does not divide the outputs, `depth_scale` is not
        positive, or not ``0 < fmin < fmax``.

    Properties:
      Differentiable in `x`. Static: the rest.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> x = jnp.array([-50.0, 0.0, 50.0])
      >>> [round(v, 1) for v in core.frequencies_sigmoid(x, fmin=20.0, fmax=8000.0).tolist()]
      [20.0, 400.0, 8000.0]

    References:
      DDSP's function of this name adds frequencies instead of pitches, and for each of the `depth`
      outputs adds 8.18 Hz in place of a lower end of 0 Hz, so its range is not the documented one.
    """
    outputs = _by_sinusoid(x, depth)
    weights = _depth_weights(depth, depth_scale)
    weights = (weights / weights.sum()).astype(outputs.dtype)
    unit = jnp.sum(jax.nn.sigmoid(outputs) * with_ndim(weights, outputs.ndim), axis=-1)
    return unit_to_hz(unit, fmin=fmin, fmax=fmax)


def frequencies_critical_bands(
    x: Float[ArrayLike, "*batch outputs"],
    *,
    fmin: float,
    fmax: float,
    depth: int = 1,
    depth_scale: float = 10.0,
    bandwidth_scale: float = 1.0,
    scale: Literal["bark", "mel"] = "bark",
) -> Float[Array, "*batch sinusoids"]:
    r"""Frequencies, each within its own band; the bands are equally spaced on a scale of hearing.

    .. math:: f_k = \mathrm{limit}\Bigl(c_k + b\, B(c_k) \sum_{d=0}^{D-1} s^{-d} \tanh x_{kd}\Bigr)

    with centres :math:`c_k` from `fmin` to `fmax` at equal steps of the scale, the bandwidth
    :math:`B` of :func:`hz_to_erb`, and :func:`soft_limit` to that range.

    Args:
      x: network outputs, ``depth`` in succession for each sinusoid.
      fmin: lowest frequency, in Hz; at least 0. Static.
      fmax: highest frequency, in Hz. Static.
      depth: :math:`D`, outputs for each sinusoid. Static.
      depth_scale: :math:`s`, by which each is finer than the one before; positive. Static.
      bandwidth_scale: :math:`b`, in bandwidths. Static.
      scale: ``bark`` or ``mel`` (HTK's). Static.

    Returns:
      Frequencies in Hz, ``outputs / depth`` of them, in the dtype of `x`.

    Raises:
      TypeError: `depth` is not an int, or `x` is neither float32 nor float64.
      ValueError: `depth` is not positive or does not divide the outputs, `depth_scale` is not
        positive, `scale` is unknown, or not ``0 <= fmin < fmax``.

    Properties:
      Differentiable in `x`. Static: the rest.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> f_hz = core.frequencies_critical_bands(jnp.zeros(5), fmin=20.0, fmax=8000.0)
      >>> [round(v) for v in f_hz.tolist()]
      [21, 516, 1343, 3001, 7999]

    References:
      DDSP's function of this name.
    """
    outputs = _by_sinusoid(x, depth)
    one_of("scale", scale, ("bark", "mel"))
    if not 0 <= fmin < fmax:
        raise ValueError(f"`fmin` must be at least 0 and below `fmax` ({fmax}), got {fmin}.")
    forth, back = (hz_to_bark, bark_to_hz) if scale == "bark" else (hz_to_mel, mel_to_hz)
    low, high = forth(jnp.asarray([fmin, fmax], outputs.dtype))
    centres = back(jnp.linspace(low, high, outputs.shape[-2]))
    weights = _depth_weights(depth, depth_scale).astype(outputs.dtype)
    deviation = jnp.sum(jnp.tanh(outputs) * with_ndim(weights, outputs.ndim), axis=-1)
    bandwidths = with_ndim(bandwidth_scale * hz_to_erb(centres), deviation.ndim)
    hz = jnp.asarray(with_ndim(centres, deviation.ndim) + bandwidths * deviation)
    return soft_limit(hz, minimum=fmin, maximum=fmax)


def mu_law_encode(
    audio: Float[ArrayLike, "*shape"], *, mu: int = 255, quantize: bool = False
) -> Float[Array, "*shape"] | Int[Array, "*shape"]:
    r"""Mu-law companding: fine steps for quiet samples, coarse ones for loud.

    .. math:: y = \operatorname{sgn}(x) \frac{\ln(1 + \mu |x|)}{\ln(1 + \mu)}

    Args:
      audio: linear amplitude, in [-1, 1].
      mu: strength :math:`\mu` of the companding, and one less than the number of levels. Static.
      quantize: give levels, the whole numbers from ``-(mu + 1) / 2`` to ``(mu - 1) / 2``, of
        which 0 is silence; amplitudes beyond 1 get the outermost. Static.

    Returns:
      Companded amplitude in [-1, 1], in the dtype of the input; with `quantize` levels, int32.

    Raises:
      TypeError: `mu` is not an int, or `audio` is neither float32 nor float64.
      ValueError: `mu` is not positive, or even with `quantize`.

    Properties:
      Differentiable, with slope :math:`\mu / \ln(1 + \mu)` at zero; levels have no gradient.
      Static: `mu`, `quantize`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> audio = jnp.array([-1.0, 0.0, 0.01])
      >>> [round(v, 3) for v in core.mu_law_encode(audio).tolist()]
      [-1.0, 0.0, 0.228]
      >>> core.mu_law_encode(audio, quantize=True).tolist()
      [-128, 0, 29]

    References:
      ITU-T G.711's continuous curve. ``librosa.mu_compress``. torchaudio's levels are from 0 to
      `mu`, and none of them is silence; add ``(mu + 1) // 2`` for class numbers.
    """
    (audio,) = floats(audio=audio)
    mu = positive_int("mu", mu)
    negative = audio < 0
    # Not by sign and abs, because their gradients at zero are zero.
    size = jnp.log1p(mu * jnp.where(negative, -audio, audio)) / math.log1p(mu)
    companded = jnp.where(negative, -size, size)
    if not quantize:
        return companded
    if mu % 2 == 0:
        raise ValueError(f"`mu` must be odd for an even number of levels, got {mu}; take 255.")
    half = (mu + 1) // 2
    # Level k stands for companded values from (2 k - 1) / mu, excluded, to (2 k + 1) / mu. Full
    # scale is set exactly, because the rounded logarithms may miss it.
    companded = jnp.where(jnp.abs(audio) >= 1, jnp.sign(audio), companded)
    level = jnp.ceil((companded + 1) * (mu / 2)) - half
    return jnp.clip(level, -half, half - 1).astype(jnp.int32)


def mu_law_decode(
    encoded: Float[ArrayLike, "*shape"] | Int[ArrayLike, "*shape"], *, mu: int = 255
) -> Float[Array, "*shape"]:
    r"""The inverse of :func:`mu_law_encode`.

    .. math:: x = \operatorname{sgn}(y) \frac{(1 + \mu)^{|y|} - 1}{\mu}

    Args:
      encoded: companded amplitude in [-1, 1]; or, as integers, levels k, which stand for
        :math:`y = 2 k / (\mu + 1)`.
      mu: as in :func:`mu_law_encode`. Static.

    Returns:
      Linear amplitude, in the dtype of the input, or for levels in JAX's default float.

    Raises:
      TypeError: `mu` is not an int, or `encoded` is neither floats nor integers.
      ValueError: `mu` is not positive.

    Properties:
      Differentiable in companded amplitudes. Static: `mu`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> [round(v, 4) for v in core.mu_law_decode(jnp.array([-128, 0, 29])).tolist()]
      [-1.0, 0.0, 0.0099]

    References:
      ``librosa.mu_expand``.
    """
    encoded, mu = jnp.asarray(encoded), positive_int("mu", mu)
    if jnp.issubdtype(encoded.dtype, jnp.integer):
        encoded = encoded * (2 / (mu + 1))
    (encoded,) = floats(encoded=encoded)
    negative = encoded < 0
    size = jnp.expm1(math.log1p(mu) * jnp.where(negative, -encoded, encoded)) / mu
    return jnp.where(negative, -size, size)


def _by_sinusoid(x: ArrayLike, depth: int) -> Array:
    """``(*batch, sinusoids, depth)``: the network outputs of each sinusoid."""
    (x,) = floats(x=x)
    at_least_ndim("x", x.shape, 1, "(*batch, outputs)")
    depth = positive_int("depth", depth)
    if x.shape[-1] % depth:
        raise ValueError(
            f"`depth` must divide the number of outputs, {x.shape[-1]}, got {depth}; each sinusoid "
            "needs `depth` outputs."
        )
    return x.reshape(*x.shape[:-1], x.shape[-1] // depth, depth)


def _depth_weights(depth: int, depth_scale: float) -> np.ndarray:
    return number("depth_scale", depth_scale, above=0) ** -np.arange(depth)
