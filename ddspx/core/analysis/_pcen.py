"""Per-channel energy normalization: automatic gain control and compression of each band."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from ddspx._checks import at_least_ndim, broadcast_batch, floats, one_of, positive_int, size
from ddspx._typing import Array, ArrayLike, Float
from ddspx.core._numerics import varying_alike, with_ndim
from ddspx.core.filters._recurrence import composed


def pcen_smoothing(
    time_constant_s: Float[ArrayLike, "*shape"] | float, *, sample_rate: int, hop_length: int
) -> Float[Array, "*shape"]:
    r"""Smoothing coefficient of :func:`pcen` with a time constant.

    .. math:: s = \frac{\sqrt{1 + 4 T^2} - 1}{2 T^2} = \frac{2}{1 + \sqrt{1 + 4 T^2}},
        \qquad T = \tau f_s / h

    Args:
      time_constant_s: time constant :math:`\tau`, in seconds; 0 does not smooth.
      sample_rate: samples per second. Static.
      hop_length: samples between frames. Static.

    Returns:
      The coefficient, from 1 (no smoothing) towards 0.

    Raises:
      TypeError: a size is not an int, or the array is neither float32 nor float64.
      ValueError: a size is not positive, or `time_constant_s` a negative number.

    Properties:
      Differentiable, 0 included. Static: `sample_rate`, `hop_length`.

    Example:
      >>> from ddspx import core
      >>> round(float(core.pcen_smoothing(0.4, sample_rate=16000, hop_length=160)), 5)
      0.02469

    References:
      ``librosa.pcen``, in a form that neither cancels for long times nor divides by zero.
    """
    frame_rate = size("sample_rate", sample_rate) / positive_int("hop_length", hop_length)
    if isinstance(time_constant_s, int | float) and not time_constant_s >= 0:
        raise ValueError(f"`time_constant_s` must be at least 0, got {time_constant_s}.")
    (time_constant_s,) = floats(time_constant_s=time_constant_s)
    return 2 / (1 + jnp.sqrt(1 + 4 * jnp.square(time_constant_s * frame_rate)))


def pcen(
    energies: Float[ArrayLike, "*batch frames bands"],
    smoothing: Float[ArrayLike, "*smoothing_shape"] | float,
    *,
    gain: Float[ArrayLike, "*gain_shape"] | float = 0.98,
    bias: Float[ArrayLike, "*bias_shape"] | float = 2.0,
    power: Float[ArrayLike, "*power_shape"] | float = 0.5,
    eps: float = 1e-6,
    initial: Literal["one", "first", "zero"] = "one",
) -> Float[Array, "*out_batch frames bands"]:
    r"""Per-channel energy normalization: each band relative to its recent past, compressed.

    .. math:: M_t = (1 - s)\, M_{t-1} + s\, E_t, \qquad
        y_t = \Bigl(\frac{E_t}{(\varepsilon + M_t)^\alpha} + \delta\Bigr)^r - \delta^r

    Args:
      energies: energy of each band, linear: a mel spectrogram of magnitude or power. Negative
        ones count as 0.
      smoothing: smoothing coefficient :math:`s`, from 0 to 1; see :func:`pcen_smoothing`. It and
        the next three are one number each, or ``(*batch, bands)`` with axes that broadcast, for
        example to be learned.
      gain: :math:`\alpha`, from 0 (no normalization) to 1 (independent of loudness).
      bias: :math:`\delta`, above 0.
      power: :math:`r`, above 0: 1 does not compress.
      eps: energy :math:`\varepsilon` that counts as silence. Static.
      initial: what :math:`M_{-1}` is, see :func:`pcen_init`. Static.

    Returns:
      Normalized energies, of the shape and in the dtype of the input; zero at silence.

    Raises:
      TypeError: an array is neither float32 nor float64.
      ValueError: a number is out of range (`bias`, `power` and `eps` above 0, `smoothing` from 0 to
        1, `gain` at least 0), `initial` is unknown, or the axes do not broadcast.

    Properties:
      Differentiable in all arrays, silence included: the power is taken as
      :math:`\delta^r \operatorname{expm1}(r \operatorname{log1p}(\cdot / \delta))`, and the
      quotient as an exponential. On a CPU the recurrence takes about :math:`2 \sqrt F` steps for F
      frames, without a power of :math:`1 - s` in a denominator, so that nothing overflows in a long
      recording. :func:`pcen_step` gives the same result block by block. Static: `eps`, `initial`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> smoothing = core.pcen_smoothing(0.4, sample_rate=16000, hop_length=160)
      >>> y = core.pcen(jnp.ones((3, 1)), smoothing, initial="first")
      >>> [round(v, 3) for v in y[:, 0].tolist()]
      [0.318, 0.318, 0.318]

    References:
      Wang et al., `Trainable frontend for robust and far-field keyword spotting
      <https://arxiv.org/abs/1607.05666>`_, 2017; Lostanlen et al., IEEE Signal Processing
      Letters 26(1), 2019. ``librosa.pcen`` begins from ones (its ``power=0`` means ``log1p``, which
      is not the limit for small powers). LEAF begins from the first frame, with ``smoothing=0.04,
      gain=0.96, eps=1e-12``, and its parameter is 1/r. librosa's defaults are meant for audio
      scaled to 32-bit integers, :math:`2^{31}`.
    """
    state = pcen_init(energies, initial=initial)
    return pcen_step(state, energies, smoothing, gain=gain, bias=bias, power=power, eps=eps)[1]


def pcen_init(
    energies: Float[ArrayLike, "*batch frames bands"],
    *,
    initial: Literal["one", "first", "zero"] = "one",
) -> Float[Array, "*batch bands"]:
    """State before the first block of :func:`pcen_step`.

    Args:
      energies: the first block, of one frame or more.
      initial: the assumed past: a constant energy of 1 (``one``, librosa), the energy of the first
        frame (``first``, LEAF), or silence (``zero``). Static.

    Returns:
      Smoothed energy of each band. Any other array of this shape is a valid state too, for example
      the state at the end of another recording.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> core.pcen_init(jnp.array([[3.0, 5.0], [4.0, 6.0]]), initial="first").tolist()
      [3.0, 5.0]
    """
    (energies,) = floats(energies=energies)
    at_least_ndim("energies", energies.shape, 2, "(*batch, frames, bands)")
    one_of("initial", initial, ("one", "first", "zero"))
    if initial == "first":
        positive_int("energies.shape[-2]", energies.shape[-2])
        return energies[..., 0, :]
    shape = (*energies.shape[:-2], energies.shape[-1])
    return jnp.full(shape, 1 if initial == "one" else 0, energies.dtype)


def pcen_step(
    state: Float[ArrayLike, "*state_shape"],
    energies: Float[ArrayLike, "*batch frames bands"],
    smoothing: Float[ArrayLike, "*smoothing_shape"] | float,
    *,
    gain: Float[ArrayLike, "*gain_shape"] | float = 0.98,
    bias: Float[ArrayLike, "*bias_shape"] | float = 2.0,
    power: Float[ArrayLike, "*power_shape"] | float = 0.5,
    eps: float = 1e-6,
) -> tuple[Float[Array, "*out_batch bands"], Float[Array, "*out_batch frames bands"]]:
    """Next block of :func:`pcen`, without latency.

    Args:
      state: from :func:`pcen_init` or the step before.
      energies: the next block, of any number of frames.
      smoothing: as in :func:`pcen`.
      gain: as in :func:`pcen`.
      bias: as in :func:`pcen`.
      power: as in :func:`pcen`.
      eps: as in :func:`pcen`. Static.

    Returns:
      The smoothed energies after the block, and a block of the input's length.

    Raises:
      TypeError: as :func:`pcen`.
      ValueError: as :func:`pcen`.

    Properties:
      Concatenated blocks of any sizes equal :func:`pcen` of the whole input (up to rounding).
      Differentiable in all arrays.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> energies = jnp.ones((2, 1))
      >>> state = core.pcen_init(energies, initial="zero")
      >>> state, _ = core.pcen_step(state, energies, 0.5)
      >>> state.tolist()
      [0.75]
    """
    _check_numbers(smoothing=smoothing, gain=gain, bias=bias, power=power, eps=eps)
    state, energies, *parameters = floats(
        state=state, energies=energies, smoothing=smoothing, gain=gain, bias=bias, power=power
    )
    at_least_ndim("energies", energies.shape, 2, "(*batch, frames, bands)")
    *batch, frames, bands = energies.shape
    names = ("state", "smoothing", "gain", "bias", "power")
    shapes = (array.shape for array in (state, *parameters))
    *batch, bands = broadcast_batch(
        energies=(*batch, bands), **dict(zip(names, shapes, strict=True))
    )
    state = jnp.broadcast_to(state, (*batch, bands))
    # Rounding may give an energy below 0, whose power would be NaN.
    energies = jnp.where(energies < 0, 0, energies)
    energies = jnp.broadcast_to(energies, (*batch, frames, bands))
    if frames == 0:
        return state, energies
    smoothing, gain, bias, power = (with_ndim(p, state.ndim)[..., None, :] for p in parameters)
    recent = _recurrence(1 - smoothing, smoothing * energies, state)
    ratio = energies * jnp.exp(-gain * jnp.log(recent + eps))
    compressed = bias**power * jnp.expm1(power * jnp.log1p(ratio / bias))
    return recent[..., -1, :], compressed


def _check_numbers(
    *, smoothing: object, gain: object, bias: object, power: object, eps: object
) -> None:
    """Raises a ValueError for a number, as opposed to an array, that is out of range or NaN."""
    for name, value in (("bias", bias), ("power", power), ("eps", eps)):
        if isinstance(value, int | float) and not 0 < value < math.inf:
            raise ValueError(f"`{name}` must be above 0 and finite, got {value}.")
    if isinstance(smoothing, int | float) and not 0 <= smoothing <= 1:
        raise ValueError(
            f"`smoothing` must be from 0 to 1, got {smoothing}; compute it from a time constant in "
            "seconds with `pcen_smoothing`."
        )
    if isinstance(gain, int | float) and not 0 <= gain < math.inf:
        raise ValueError(f"`gain` must be at least 0 and finite, got {gain}.")


def _recurrence(decay: Array, inputs: Array, state: Array) -> Array:
    r"""States :math:`m_t = d\, m_{t-1} + v_t`, of shape ``(*batch, frames, bands)``."""
    arrays = varying_alike(decay, inputs, state)
    return jax.lax.platform_dependent(*arrays, cpu=in_loops, default=by_doubling)


def by_doubling(decay: Array, inputs: Array, state: Array) -> Array:
    """The recurrence on a GPU or a TPU, where each step of a loop has a cost of its own."""

    def compose(earlier: tuple[Array, Array], later: tuple[Array, Array]) -> tuple[Array, Array]:
        return earlier[0] * later[0], later[0] * earlier[1] + later[1]

    slopes = jnp.broadcast_to(decay, inputs.shape)
    slopes, offsets = composed(compose, (slopes, inputs), axis=-2)
    return slopes * state[..., None, :] + offsets


def in_loops(decay: Array, inputs: Array, state: Array) -> Array:
    r"""The recurrence on a CPU, in two loops of :math:`\sqrt F` steps.

    One loop runs through all blocks at once, each from a state of zero. The other computes the
    state at the start of each block, whose contribution decays by powers of d. Because d is the
    same for all frames, no maps have to be composed and stored, unlike in `filters._recurrence`.
    ``jax.lax.associative_scan`` takes as long to run and, with the gradient, up to six seconds to
    compile, where this takes one.
    """
    *batch, frames, bands = inputs.shape
    length = math.isqrt(frames - 1) + 1
    n_blocks = -(-frames // length)
    fill = [(0, 0)] * len(batch) + [(0, n_blocks * length - frames), (0, 0)]
    blocks = jnp.pad(inputs, fill).reshape(*batch, n_blocks, length, bands)
    whole = (decay**length)[..., 0, :]

    def smooth(state: Array, v: Array) -> tuple[Array, Array]:
        state = decay * state + v
        return state, state

    def cross(state: Array, end: Array) -> tuple[Array, Array]:
        return whole * state + end, state

    rest = jnp.zeros_like(blocks[..., 0, :])
    ends, inside = jax.lax.scan(smooth, rest, jnp.moveaxis(blocks, -2, 0))
    _, entering = jax.lax.scan(cross, state, jnp.moveaxis(ends, -2, 0))
    ages = np.arange(1, length + 1).reshape(length, *(1,) * (len(batch) + 2))
    states = inside + decay[None] ** ages * jnp.moveaxis(entering, 0, -2)[None]
    return jnp.moveaxis(states, 0, -2).reshape(*batch, n_blocks * length, bands)[..., :frames, :]
