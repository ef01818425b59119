"""Free sinusoids from frame-rate controls, and conversions to and from harmonics of a pitch."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from ddspx._checks import (
    at_least_ndim,
    broadcast_batch,
    floats,
    one_of,
    same_shape,
    same_size,
    size,
)
from ddspx._choices import UpsamplingMethod
from ddspx._typing import Array, ArrayLike, Float
from ddspx.core._framing import n_samples_of
from ddspx.core._numerics import safe_divide, varying_alike
from ddspx.core._upsampling import METHODS, interpolation_weights, upsample
from ddspx.core.synthesis._frame_phase import gliding_phase, hops_of, linear_cycles
from ddspx.core.synthesis._oscillators import (
    harmonic_frequencies,
    highest_within_reach,
    normalize_harmonics,
    remove_above_nyquist,
)
from ddspx.core.synthesis._phase import (
    Phase,
    advance_phase,
    check_rates,
    has_pitch,
    initial_phase_of,
)

# Sinusoids that a GPU or a TPU computes at once. The derivative needs memory for each of them, and
# each round costs launches of kernels.
_AT_ONCE = 16
# Pitches below this, in Hz, mean "no pitch".
_LEAST_HZ = 1e-3


def sinusoidal_synthesis(
    frequencies_hz: Float[ArrayLike, "*batch frames sinusoids"],
    amplitudes: Float[ArrayLike, "*amplitude_batch frames sinusoids"],
    *,
    hop_length: int,
    sample_rate: int,
    n_samples: int | None = None,
    amplitude_upsampling: UpsamplingMethod = "hann",
    initial_phase: Phase | Float[ArrayLike, "*phase_batch sinusoids"] | None = None,
) -> Float[Array, "*out_batch samples"]:
    r"""Sum of free sinusoids, from frame-rate controls.

    .. math:: y[n] = \sum_k A_k[n] \sin\Bigl(\phi_k + 2\pi \sum_{m \le n} f_k[m] / f_s\Bigr)

    :math:`f_k` is linear between frames, and :math:`A_k` interpolated by `amplitude_upsampling`. A
    sinusoid is silent at and above Nyquist: its amplitude is set to 0 in every frame that
    influences a hop in which its frequency reaches Nyquist, so it fades out in the hop before
    instead of clicking. In a frame without a pitch (0 Hz, NaN, infinite) it is silent, and the hops
    beside that frame keep the pitch of their other frame.

    Args:
      frequencies_hz: frequency of each sinusoid at each frame, in Hz; of either sign.
      amplitudes: linear amplitude of each at each frame.
      hop_length: samples between frames, below 2**16. Static.
      sample_rate: samples per second; ``(hop_length + 1) * sample_rate`` below 2**31. Static.
      n_samples: length of the result; any length that has this many frames (after the last one
        everything is held). The default is ``(frames - 1) * hop_length``. Static.
      amplitude_upsampling: ``nearest``, ``linear``, ``cubic`` or ``hann``. Static.
      initial_phase: phase of each before the first sample: radians, or the Phase in the state that
        :func:`sinusoidal_synthesis_step` returned, or None for zero.

    Returns:
      Audio in linear amplitude, in the dtype of the inputs.

    Raises:
      TypeError: a size is not an int, or an array is neither float32 nor float64.
      ValueError: a size is not positive, `n_samples` samples do not have this number of frames,
        the two arrays differ in frames or sinusoids, or their batch axes do not broadcast.

    Properties:
      Differentiable in `frequencies_hz`, `amplitudes` and an `initial_phase` in radians, in forward
      and reverse mode and to any order. It needs memory for a few arrays of the size of the audio
      for any number of sinusoids, also in the gradient: they are added one after the other, and the
      backward pass computes them again. The phase is summed in fixed point and does not drift.
      :func:`sinusoidal_synthesis_step` gives the same result block by block. For the harmonics of
      one pitch :func:`harmonic_synthesis` is several times faster. Static: the rest.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> f_hz = jnp.array([[1000.0, 2000.0]] * 3)
      >>> y = core.sinusoidal_synthesis(f_hz, jnp.ones((3, 2)), hop_length=4, sample_rate=8000)
      >>> [round(v, 3) for v in y.tolist()[:3]]
      [1.707, 1.0, -0.293]

    References:
      DDSP's ``synths.Sinusoidal`` without its scaling, which is left to the caller. DDSP sums the
      phase in float32, stores every sinusoid at every sample, and switches them off abruptly.
    """
    return _synthesize(
        *_checked_controls(frequencies_hz, amplitudes),
        initial_phase,
        None,
        n_samples,
        hop_length=hop_length,
        sample_rate=sample_rate,
        method=amplitude_upsampling,
    )


class SinusoidalState(NamedTuple):
    """State of a stream of :func:`sinusoidal_synthesis_step`.

    Attributes:
      phase: phase of each sinusoid at the frame that the blocks share.
      previous_frequencies_hz: frequencies of the frame before that one, in Hz; 0 if there is none.
    """

    phase: Phase
    previous_frequencies_hz: Float[Array, "*batch sinusoids"]


def sinusoidal_synthesis_init(
    *, n_sinusoids: int, batch_shape: tuple[int, ...] = (), dtype: DTypeLike = jnp.float32
) -> SinusoidalState:
    """Start of a stream of :func:`sinusoidal_synthesis_step`, at phase zero.

    Args:
      n_sinusoids: number of sinusoids. Static.
      batch_shape: batch axes of the controls. Static.
      dtype: of the controls. Static.

    Returns:
      The state before frame 0. For other phases at the start replace its `phase`.

    Raises:
      TypeError: `n_sinusoids` is not an int.
      ValueError: `n_sinusoids` is not positive.

    Example:
      >>> from ddspx import core
      >>> core.sinusoidal_synthesis_init(n_sinusoids=3).previous_frequencies_hz.tolist()
      [0.0, 0.0, 0.0]
    """
    shape = (*batch_shape, size("n_sinusoids", n_sinusoids))
    return SinusoidalState(initial_phase_of(None, shape), jnp.zeros(shape, dtype))


def sinusoidal_synthesis_step(
    state: SinusoidalState,
    frequencies_hz: Float[ArrayLike, "*batch frames sinusoids"],
    amplitudes: Float[ArrayLike, "*amplitude_batch frames sinusoids"],
    *,
    hop_length: int,
    sample_rate: int,
    next_frequencies_hz: Float[ArrayLike, "*next_batch sinusoids"] | None = None,
    n_samples: int | None = None,
    amplitude_upsampling: UpsamplingMethod = "hann",
) -> tuple[SinusoidalState, Float[Array, "*out_batch samples"]]:
    """Next block of :func:`sinusoidal_synthesis`: from its first frame up to its last.

    Given frames a to b, both included, it returns samples ``a * hop_length`` up to, not
    including, ``b * hop_length``. The next block begins with frame b again.

    Args:
      state: from :func:`sinusoidal_synthesis_init` or the step before.
      frequencies_hz: frequency of each sinusoid at frames a to b, in Hz.
      amplitudes: linear amplitude of each at each.
      hop_length: samples between frames, the same in all steps. Static.
      sample_rate: samples per second, the same in all steps. Static.
      next_frequencies_hz: frequencies of frame b + 1, if they are known: a sinusoid that reaches
        Nyquist there is silent at frame b. Without them, such a sinusoid stops abruptly between the
        blocks. None for the last block.
      n_samples: see :func:`sinusoidal_synthesis`; only the last block may hold its last frame.
        Static.
      amplitude_upsampling: ``nearest``, ``linear`` or ``hann``; ``cubic`` would need frames of
        the next block. Static.

    Returns:
      The state at frame b, and the audio.

    Raises:
      TypeError: as :func:`sinusoidal_synthesis`.
      ValueError: as :func:`sinusoidal_synthesis`, or `amplitude_upsampling` is ``cubic``.

    Properties:
      Concatenated blocks of any sizes equal :func:`sinusoidal_synthesis` of all frames,
      up to rounding; the phase is the same to the bit. Differentiable as that is, within the block.
      Static: the sizes and the method.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> rates = {"hop_length": 16, "sample_rate": 16000}
      >>> f_hz, one = jnp.linspace(200.0, 900.0, 10).reshape(5, 2), jnp.ones((5, 2))
      >>> state, head = core.sinusoidal_synthesis_step(
      ...     core.sinusoidal_synthesis_init(n_sinusoids=2), f_hz[:3], one[:3], **rates
      ... )
      >>> state, tail = core.sinusoidal_synthesis_step(state, f_hz[2:], one[2:], **rates)
      >>> offline = core.sinusoidal_synthesis(f_hz, one, **rates)
      >>> bool(jnp.allclose(jnp.concatenate([head, tail]), offline, atol=1e-5))
      True
    """
    one_of("amplitude_upsampling", amplitude_upsampling, ("nearest", "linear", "hann"))
    frequencies_hz, amplitudes = _checked_controls(frequencies_hz, amplitudes)
    before = jnp.broadcast_to(state.previous_frequencies_hz, frequencies_hz[..., 0, :].shape)
    before = before.astype(frequencies_hz.dtype)
    after = jnp.zeros_like(before) if next_frequencies_hz is None else next_frequencies_hz
    rates = {"hop_length": hop_length, "sample_rate": sample_rate}
    audio = _synthesize(
        frequencies_hz,
        amplitudes,
        state.phase,
        (before, jnp.broadcast_to(after, before.shape)),
        n_samples,
        **rates,
        method=amplitude_upsampling,
    )
    each_hz = jnp.moveaxis(frequencies_hz, -2, -1)
    phase = advance_phase(each_hz, **rates, initial_phase=state.phase)
    previous = jnp.concatenate([before[..., None], each_hz], axis=-1)[..., -2]
    return SinusoidalState(phase, previous), audio


def _checked_controls(frequencies_hz: ArrayLike, amplitudes: ArrayLike) -> tuple[Array, Array]:
    """Checks the two arrays and broadcasts them to one shape and dtype."""
    frequencies_hz, amplitudes = floats(frequencies_hz=frequencies_hz, amplitudes=amplitudes)
    axes = "(*batch, frames, sinusoids)"
    at_least_ndim("frequencies_hz", frequencies_hz.shape, 2, axes)
    at_least_ndim("amplitudes", amplitudes.shape, 2, axes)
    names = "`frequencies_hz` and `amplitudes`"
    same_size(names, frequencies_hz.shape[-2], amplitudes.shape[-2], "frames")
    same_size(names, frequencies_hz.shape[-1], amplitudes.shape[-1], "sinusoids")
    batch = broadcast_batch(
        frequencies_hz=frequencies_hz.shape[:-2], amplitudes=amplitudes.shape[:-2]
    )
    shape = (*batch, *frequencies_hz.shape[-2:])
    return jnp.broadcast_to(frequencies_hz, shape), jnp.broadcast_to(amplitudes, shape)


def _synthesize(
    frequencies_hz: Array,
    amplitudes: Array,
    initial_phase: Phase | ArrayLike | None,
    neighbours_hz: tuple[Array, Array] | None,
    n_samples: int | None,
    *,
    hop_length: int,
    sample_rate: int,
    method: UpsamplingMethod,
) -> Array:
    """Audio from the two controls, whose axes agree.

    `neighbours_hz` are the frequencies before the first frame and after the last if these frames
    are a block of a longer sound (0 if there is no such frame).
    """
    check_rates(hop_length=hop_length, sample_rate=sample_rate)
    one_of("amplitude_upsampling", method, METHODS)
    *batch, frames, n_sinusoids = frequencies_hz.shape
    samples = n_samples_of(frames, hop_length=hop_length, n_samples=n_samples)
    offsets, _ = interpolation_weights(hop_length, method)

    def sinusoid(
        f_hz: Array,
        amplitude: Array,
        start: Phase | Array | None,
        neighbours_hz: tuple[Array, Array] | None,
    ) -> Array:
        highest = highest_within_reach(f_hz, offsets, neighbours_hz=neighbours_hz)
        amplitude = remove_above_nyquist(amplitude, highest, sample_rate=sample_rate)
        envelope = upsample(amplitude, hop_length=hop_length, method=method, n_samples=samples)
        ends = hops_of(f_hz, -(-samples // hop_length))
        if len(offsets) > 2:
            # A hop without a pitch lies between silent frames, but cubic interpolation also reads
            # the frames beyond those.
            pitched = jnp.repeat(ends[0] != 0, hop_length, axis=-1)[..., :samples]
            envelope = jnp.where(pitched, envelope, 0)
        # The value is that of `exact`, which does not drift, and the derivative that of `moving`:
        # within a scan JAX loses second derivatives of hand-written rules.
        sizes = (hop_length, sample_rate, samples, True)
        exact = gliding_phase(jax.lax.stop_gradient(f_hz), *sizes, initial_phase=start)
        moving = linear_cycles(*ends, *sizes)
        cycles = exact + (moving - jax.lax.stop_gradient(moving))
        return envelope * jnp.sin(2 * jnp.pi * cycles)

    def each(x: Array) -> Array:
        return jnp.moveaxis(x, -1, 0)

    if initial_phase is not None:
        initial_phase = jax.tree.map(
            lambda x: jnp.broadcast_to(x, (*batch, n_sinusoids)), initial_phase
        )
    controls = frequencies_hz, amplitudes, initial_phase, neighbours_hz
    controls = varying_alike(*jax.tree.map(each, controls))
    silence = jnp.zeros_like(controls[0], shape=(*batch, samples))
    at_once = min(_AT_ONCE, len(controls[0]))
    one, several = (partial(_sum_in_rounds, sinusoid, size=size) for size in (1, at_once))
    return jax.lax.platform_dependent(silence, controls, cpu=one, default=several)


def _sum_in_rounds(
    sinusoid: Callable[..., Array], silence: Array, controls: tuple, *, size: int
) -> Array:
    """The sum of all sinusoids, of which each round computes `size`."""
    n_rounds = -(-len(controls[0]) // size)

    def rounds(x: Array) -> Array:
        # A sinusoid of 0 Hz is silent.
        fill = [(0, n_rounds * size - len(x))] + [(0, 0)] * (x.ndim - 1)
        return jnp.pad(x, fill).reshape(n_rounds, size, *x.shape[1:])

    @jax.checkpoint
    def add(total: Array, controls: tuple) -> tuple[Array, None]:
        return total + jnp.sum(jax.vmap(sinusoid)(*controls), axis=0), None

    return jax.lax.scan(add, silence, jax.tree.map(rounds, controls))[0]


def harmonic_to_sinusoidal(
    amplitudes: Float[ArrayLike, "*batch"],
    harmonic_distribution: Float[ArrayLike, "*batch harmonics"],
    f0_hz: Float[ArrayLike, "*batch"],
    *,
    sample_rate: int,
) -> tuple[Float[Array, "*batch harmonics"], Float[Array, "*batch harmonics"]]:
    r"""Converts the harmonics of a pitch to sinusoids.

    .. math:: f_k = k f_0, \qquad a_k = A\, d'_k

    with :math:`d'` the distribution below Nyquist, adding up to 1 (:func:`normalize_harmonics`).

    Args:
      amplitudes: linear amplitude of each frame.
      harmonic_distribution: non-negative weights of harmonics 1, 2, ... of each frame.
      f0_hz: fundamental of each frame, in Hz.
      sample_rate: samples per second. Static.

    Returns:
      First the frequencies in Hz, then the amplitudes, in the order of
      :func:`sinusoidal_synthesis`. Sinusoids at and above Nyquist have amplitude 0. In a frame
      without a pitch (0 Hz, NaN, infinite) all amplitudes and frequencies are 0.

    Raises:
      TypeError: `sample_rate` is not an int, or an array is neither float32 nor float64.
      ValueError: `sample_rate` is not positive.

    Properties:
      Differentiable in all arrays. Static: `sample_rate`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> weights = jnp.array([1.0, 3.0, 5.0])
      >>> controls = core.harmonic_to_sinusoidal(
      ...     jnp.array(0.8), weights, jnp.array(1500.0), sample_rate=8000
      ... )
      >>> [[round(v, 3) for v in control.tolist()] for control in controls]
      [[1500.0, 3000.0, 4500.0], [0.2, 0.6, 0.0]]

    References:
      DDSP's function of this name, which returns the amplitudes first.
    """
    amplitudes, distribution, f0_hz = floats(
        amplitudes=amplitudes, harmonic_distribution=harmonic_distribution, f0_hz=f0_hz
    )
    same_shape(amplitudes=amplitudes.shape, f0_hz=f0_hz.shape)
    distribution = normalize_harmonics(distribution, f0_hz, sample_rate=sample_rate)
    pitch_hz = jnp.where(has_pitch(f0_hz), f0_hz, 0)
    frequencies_hz = harmonic_frequencies(pitch_hz, distribution.shape[-1])
    return frequencies_hz, amplitudes[..., None] * distribution


def sinusoidal_to_harmonic(
    frequencies_hz: Float[ArrayLike, "*batch sinusoids"],
    amplitudes: Float[ArrayLike, "*batch sinusoids"],
    f0_hz: Float[ArrayLike, "*batch"],
    *,
    sample_rate: int,
    n_harmonics: int = 100,
    harmonic_width: float = 0.1,
    normalize: bool = False,
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch harmonics"]]:
    r"""Converts free sinusoids to the nearest harmonics of a pitch.

    .. math:: w_{ks} = \exp -\Bigl(\frac{f_s / f_0 - k}{\Delta}\Bigr)^2, \qquad
        h_k = \sum_s w_{ks} a_s, \qquad A = \sum_k h_k, \qquad d_k = h_k / A

    so a sinusoid contributes to a harmonic if it lies within about :math:`\Delta f_0` of it.

    Args:
      frequencies_hz: frequency of each sinusoid of each frame, in Hz; sinusoids without a frequency
        (0 Hz, NaN, infinite) are ignored.
      amplitudes: linear amplitude of each.
      f0_hz: fundamental of each frame, in Hz; values below a thousandth, NaN and infinity mean "no
        pitch", and give an amplitude of 0.
      sample_rate: samples per second; harmonics at and above Nyquist get weight 0. Static.
      n_harmonics: number of harmonics of the result. Static.
      harmonic_width: :math:`\Delta`, as a share of the fundamental. Static.
      normalize: divide by :math:`\sum_s w_{ks}` where that exceeds 1, so that many sinusoids on
        one harmonic give their weighted mean and not their sum. Static.

    Returns:
      First the amplitude of each frame, then its harmonic distribution, which adds up to 1 or is
      all zeros in silence.

    Raises:
      TypeError: a size is not an int, or an array is neither float32 nor float64.
      ValueError: a size or `harmonic_width` is not positive.

    Properties:
      Differentiable in all arrays, without storing the weights of all pairs. The inverse of
      :func:`harmonic_to_sinusoidal` if `harmonic_width` is at most 0.2. Static: the rest.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> amplitude, distribution = core.sinusoidal_to_harmonic(
      ...     jnp.array([200.0, 404.0, 750.0]), jnp.array([0.3, 0.1, 0.9]), jnp.array(200.0),
      ...     sample_rate=8000, n_harmonics=3,
      ... )
      >>> round(float(amplitude), 3), [round(v, 3) for v in distribution.tolist()]
      (0.396, [0.757, 0.243, 0.0])

    References:
      DDSP's function of this name, which divides by a pitch of zero.
    """
    frequencies_hz, amplitudes, f0_hz = floats(
        frequencies_hz=frequencies_hz, amplitudes=amplitudes, f0_hz=f0_hz
    )
    n_harmonics = size("n_harmonics", n_harmonics)
    size("sample_rate", sample_rate)
    at_least_ndim("frequencies_hz", frequencies_hz.shape, 1, "(*batch, sinusoids)")
    same_shape(frequencies_hz=frequencies_hz.shape, amplitudes=amplitudes.shape)
    same_shape(f0_hz=f0_hz.shape, **{"frequencies_hz[..., 0]": frequencies_hz.shape[:-1]})
    if not harmonic_width > 0:
        raise ValueError(f"`harmonic_width` must be positive, got {harmonic_width}.")

    # Under `checkpoint` the weights of all pairs are not stored: the fused loop that computes them
    # sums them, and the gradient computes them again.
    @jax.checkpoint
    def sums(ratios: Array, amplitudes: Array) -> tuple[Array, Array]:
        harmonics = jnp.arange(1, n_harmonics + 1, dtype=ratios.dtype)
        harmonics = harmonics.reshape(*(1,) * (ratios.ndim - 1), -1, 1)
        weights = jnp.exp(-jnp.square((ratios[..., None, :] - harmonics) / harmonic_width))
        return jnp.sum(weights * amplitudes[..., None, :], -1), jnp.sum(weights, -1)

    voiced = has_pitch(f0_hz) & (jnp.abs(f0_hz) >= _LEAST_HZ)
    present = has_pitch(frequencies_hz)
    # A ratio of 0 is far from every harmonic.
    ratios = (
        jnp.where(voiced[..., None] & present, frequencies_hz, 0)
        / jnp.where(voiced, f0_hz, 1)[..., None]
    )
    harmonics, weights = sums(ratios, jnp.where(present, amplitudes, 0))
    if normalize:
        harmonics = harmonics / jnp.maximum(weights, 1)
    harmonics = remove_above_nyquist(
        harmonics, harmonic_frequencies(f0_hz, n_harmonics), sample_rate=sample_rate
    )
    harmonics = jnp.where(voiced[..., None], harmonics, 0)
    total = jnp.sum(harmonics, -1)
    return total, safe_divide(harmonics, total[..., None])
