"""Synthesis of the harmonics of one pitch, with a hand-written derivative."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from ddspx._checks import at_least_ndim, broadcast_batch, floats, one_of, positive_int, same_size
from ddspx._choices import UpsamplingMethod
from ddspx._typing import Array, ArrayLike, Float
from ddspx.core._framing import n_samples_of
from ddspx.core._numerics import linear_map, varying_alike, with_ndim
from ddspx.core._upsampling import METHODS
from ddspx.core.synthesis import _harmonic_recurrence, _harmonic_sines
from ddspx.core.synthesis._frame_phase import gliding_cycles, hops_of, linear_cycles
from ddspx.core.synthesis._harmonic_taps import Size, taps_of
from ddspx.core.synthesis._oscillators import (
    harmonic_frequencies,
    highest_within_reach,
    remove_above_nyquist,
)
from ddspx.core.synthesis._phase import (
    Phase,
    advance_phase,
    check_rates,
    initial_phase_of,
    radians_of,
    to_float_cycles,
)


def harmonic_synthesis(
    f0_hz: Float[ArrayLike, "*batch frames"],
    amplitudes: Float[ArrayLike, "*amplitude_batch frames"],
    harmonic_distribution: Float[ArrayLike, "*distribution_batch frames harmonics"],
    *,
    hop_length: int,
    sample_rate: int,
    n_samples: int | None = None,
    amplitude_upsampling: UpsamplingMethod = "hann",
    initial_phase: Phase | Float[ArrayLike, "*phase_batch"] | None = None,
) -> Float[Array, "*out_batch samples"]:
    r"""Harmonics of one gliding pitch, from frame-rate controls.

    .. math::
        y[n] = \sum_{k=1}^{K} A_k[n] \sin(k \phi[n]), \qquad
        \phi[n] = \phi_0 + 2\pi \sum_{m \le n} f_0[m] / f_s

    :math:`f_0` is linear between frames and :math:`A_k` interpolates the product
    ``amplitudes * harmonic_distribution[..., k - 1]`` as given, without normalization. A harmonic
    is silent at and above Nyquist: its amplitude is set to 0 in every frame that influences a hop
    in which :math:`k |f_0|` reaches Nyquist, so it fades out in the hop before instead of clicking.
    A frame without a pitch (0 Hz, NaN, infinite) is silent, and the hops beside it keep the pitch
    of their other frame: a note begins and ends at its own pitch.

    All harmonics share :math:`\phi`, so a CPU computes them by a recurrence instead of a sine for
    each: :math:`\sin (k+4)\phi = 2 \cos 4\phi \sin k\phi - \sin (k-4)\phi`. A GPU or TPU computes
    the sines, in one kernel with their sum. The results are equal up to rounding.

    Args:
      f0_hz: fundamental at each frame, in Hz; the phase of a negative one runs backwards.
      amplitudes: linear amplitude at each frame.
      harmonic_distribution: weight of harmonics 1, 2, ... at each frame.
      hop_length: samples between frames, below 2**16. Static.
      sample_rate: samples per second; ``(hop_length + 1) * sample_rate`` below 2**31. Static.
      n_samples: length of the result; any length that has this many frames (after the last one
        everything is held). The default is ``(frames - 1) * hop_length``. Static.
      amplitude_upsampling: ``nearest``, ``linear``, ``cubic`` or ``hann``. Static.
      initial_phase: phase before the first sample: radians, or the Phase that
        :func:`advance_phase` returned for the block before, or None for zero.

    Returns:
      Audio in linear amplitude, in the dtype of the inputs.

    Raises:
      TypeError: a size is not an int, or an array is neither float32 nor float64.
      ValueError: a size is not positive, `n_samples` samples do not have this number of frames,
        the frames of the three arrays differ, or their batch axes do not broadcast.

    Properties:
      Differentiable in the three arrays and in an `initial_phase` in radians, in forward and
      reverse mode and to any order: the first derivative is written by hand. Value and first
      derivative need memory for a few arrays of the size of the audio; a second derivative needs
      one for each harmonic. The batch axes broadcast. The phase is summed in fixed point
      and does not drift. :func:`harmonic_synthesis_step` gives the same result block by block.
      Static: the rest.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> f0_hz, amplitudes = jnp.full(3, 1000.0), jnp.ones(3)
      >>> odd = jnp.tile(jnp.array([1.0, 0.0, 0.5]), (3, 1))
      >>> y = core.harmonic_synthesis(f0_hz, amplitudes, odd, hop_length=4, sample_rate=8000)
      >>> [round(v, 3) for v in y.tolist()[:3]]
      [1.061, 0.5, 1.061]

    References:
      Engel et al., `DDSP <https://arxiv.org/abs/2001.04643>`_, ICLR 2020, section 3.2. The
      recurrence is Goertzel's in Reinsch's form, stable near :math:`\phi = 0`. DDSP silences
      harmonics sample by sample, which clicks when a glide crosses Nyquist.
    """
    return _synthesize(
        _checked_controls(f0_hz, amplitudes, harmonic_distribution),
        initial_phase,
        None,
        n_samples,
        hop_length=hop_length,
        sample_rate=sample_rate,
        method=amplitude_upsampling,
    )


class HarmonicState(NamedTuple):
    """State of a stream of :func:`harmonic_synthesis_step`.

    Attributes:
      phase: phase of the fundamental at the frame that the blocks share.
      previous_f0_hz: pitch of the frame before that one, in Hz; 0 if there is none.
    """

    phase: Phase
    previous_f0_hz: Float[Array, "*batch"]


def harmonic_synthesis_init(
    *, batch_shape: tuple[int, ...] = (), dtype: DTypeLike = jnp.float32
) -> HarmonicState:
    """Start of a stream of :func:`harmonic_synthesis_step`, at phase zero.

    Args:
      batch_shape: batch axes of the controls. Static.
      dtype: of the controls. Static.

    Returns:
      The state before frame 0.

    Example:
      >>> from ddspx import core
      >>> core.harmonic_synthesis_init(batch_shape=(2,)).previous_f0_hz.tolist()
      [0.0, 0.0]
    """
    return HarmonicState(initial_phase_of(None, batch_shape), jnp.zeros(batch_shape, dtype))


def harmonic_synthesis_step(
    state: HarmonicState,
    f0_hz: Float[ArrayLike, "*batch frames"],
    amplitudes: Float[ArrayLike, "*amplitude_batch frames"],
    harmonic_distribution: Float[ArrayLike, "*distribution_batch frames harmonics"],
    *,
    hop_length: int,
    sample_rate: int,
    next_f0_hz: Float[ArrayLike, "*next_batch"] | None = None,
    n_samples: int | None = None,
    amplitude_upsampling: UpsamplingMethod = "hann",
) -> tuple[HarmonicState, Float[Array, "*out_batch samples"]]:
    """Next block of :func:`harmonic_synthesis`: from its first frame up to its last.

    Given frames a to b, both included, it returns samples ``a * hop_length`` up to, not
    including, ``b * hop_length``. The next block begins with frame b again.

    Args:
      state: from :func:`harmonic_synthesis_init` or the step before.
      f0_hz: fundamental at frames a to b, in Hz.
      amplitudes: linear amplitude at each.
      harmonic_distribution: weight of harmonics 1, 2, ... at each.
      hop_length: samples between frames, the same in all steps. Static.
      sample_rate: samples per second, the same in all steps. Static.
      next_f0_hz: pitch of frame b + 1, if it is known: a harmonic that reaches Nyquist there is
        silent at frame b. Without it, such a harmonic stops abruptly between the blocks. None for
        the last block.
      n_samples: see :func:`harmonic_synthesis`; only the last block may hold its last frame.
        Static.
      amplitude_upsampling: ``nearest``, ``linear`` or ``hann``; ``cubic`` would need frames of
        the next block. Static.

    Returns:
      The state at frame b, and the audio.

    Raises:
      TypeError: as :func:`harmonic_synthesis`.
      ValueError: as :func:`harmonic_synthesis`, or `amplitude_upsampling` is ``cubic``.

    Properties:
      Concatenated blocks of any sizes equal :func:`harmonic_synthesis` of all frames,
      up to rounding; the phase is the same to the bit. Differentiable as that is, within the block.
      Static: the sizes and the method.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> rates = {"hop_length": 16, "sample_rate": 16000}
      >>> f0_hz, one, bank = jnp.linspace(200.0, 400.0, 5), jnp.ones(5), jnp.ones((5, 3))
      >>> state, head = core.harmonic_synthesis_step(
      ...     core.harmonic_synthesis_init(), f0_hz[:3], one[:3], bank[:3], **rates
      ... )
      >>> state, tail = core.harmonic_synthesis_step(
      ...     state, f0_hz[2:], one[2:], bank[2:], **rates
      ... )
      >>> offline = core.harmonic_synthesis(f0_hz, one, bank, **rates)
      >>> bool(jnp.allclose(jnp.concatenate([head, tail]), offline, atol=1e-5))
      True
    """
    one_of("amplitude_upsampling", amplitude_upsampling, ("nearest", "linear", "hann"))
    f0_hz, products = _checked_controls(f0_hz, amplitudes, harmonic_distribution, is_block=True)
    before = jnp.broadcast_to(state.previous_f0_hz, f0_hz.shape[:-1]).astype(f0_hz.dtype)
    after = jnp.zeros_like(before) if next_f0_hz is None else next_f0_hz
    rates = {"hop_length": hop_length, "sample_rate": sample_rate}
    audio = _synthesize(
        (f0_hz, products),
        state.phase,
        (before, jnp.broadcast_to(after, before.shape)),
        n_samples,
        **rates,
        method=amplitude_upsampling,
    )
    phase = advance_phase(f0_hz, **rates, initial_phase=state.phase)
    previous = jnp.concatenate([before[..., None], f0_hz], axis=-1)[..., -2]
    return HarmonicState(phase, previous), audio


def _synthesize(
    controls: tuple[Array, Array],
    initial_phase: Phase | ArrayLike | None,
    neighbours_hz: tuple[Array, Array] | None,
    n_samples: int | None,
    *,
    hop_length: int,
    sample_rate: int,
    method: UpsamplingMethod,
) -> Array:
    """Audio from the pitch and the product of amplitudes and distribution.

    `neighbours_hz` are the pitches before the first frame and after the last if these frames are a
    block of a longer sound (0 if there is no such frame).
    """
    check_rates(hop_length=hop_length, sample_rate=sample_rate)
    one_of("amplitude_upsampling", method, METHODS)
    f0_hz, products = controls
    *batch, frames = f0_hz.shape
    n_samples = n_samples_of(frames, hop_length=hop_length, n_samples=n_samples)
    n_hops = -(-n_samples // hop_length)
    size = Size(hop_length, sample_rate, method)
    highest = highest_within_reach(f0_hz, size.offsets, neighbours_hz=neighbours_hz)
    harmonics_hz = harmonic_frequencies(highest, products.shape[-1])
    products = remove_above_nyquist(products, harmonics_hz, sample_rate=sample_rate)
    ends = hops_of(f0_hz, n_hops)
    taps = taps_of(products, ends[0] != 0, size)
    start = initial_phase_of(initial_phase, tuple(batch))
    radians = radians_of(initial_phase, tuple(batch), f0_hz.dtype)
    hops = jnp.asarray(_harmonics(*varying_alike(ends, taps, radians, start), size))
    return hops.reshape(*batch, n_hops * hop_length)[..., :n_samples]


def _checked_controls(
    f0_hz: ArrayLike,
    amplitudes: ArrayLike,
    harmonic_distribution: ArrayLike,
    *,
    is_block: bool = False,
) -> tuple[Array, Array]:
    """Checks the controls; returns the pitch and the amplitudes of all harmonics."""
    f0_hz, amplitudes, distribution = floats(
        f0_hz=f0_hz, amplitudes=amplitudes, harmonic_distribution=harmonic_distribution
    )
    for name, array in (("f0_hz", f0_hz), ("amplitudes", amplitudes)):
        at_least_ndim(name, array.shape, 1, "(*batch, frames)", is_block=is_block)
    at_least_ndim("harmonic_distribution", distribution.shape, 2, "(*batch, frames, harmonics)")
    frames, n_harmonics = distribution.shape[-2:]
    positive_int("harmonic_distribution.shape[-1]", n_harmonics)
    same_size("`f0_hz` and `amplitudes`", f0_hz.shape[-1], amplitudes.shape[-1], "frames")
    same_size("`f0_hz` and `harmonic_distribution`", f0_hz.shape[-1], frames, "frames")
    batch = broadcast_batch(
        f0_hz=f0_hz.shape[:-1],
        amplitudes=amplitudes.shape[:-1],
        harmonic_distribution=distribution.shape[:-2],
    )
    products = jnp.broadcast_to(amplitudes[..., None] * distribution, (*batch, frames, n_harmonics))
    return jnp.broadcast_to(f0_hz, (*batch, frames)), products


@partial(jax.custom_jvp, nondiff_argnums=(4,))
def _harmonics(
    ends: tuple[Array, Array], taps: tuple[Array, ...], radians: Array, start: Phase, size: Size
) -> Array:
    """The sum of harmonics, ``(*batch, hops, hop_length)``.

    `start` holds the initial phase with `radians` included; `radians` is passed for its derivative.
    """
    return _sum_of_harmonics(_cycles(ends, start, size), taps, size.weights(taps))


@_harmonics.defjvp
def _harmonics_jvp(size, primals, tangents):
    """Written by hand, because JAX's transpose of the recurrence would store all harmonics."""
    ends, taps, radians, start = primals
    cycles, weights = _cycles(ends, start, size), size.weights(taps)
    n_harmonics, dtype = taps[0].shape[-1], taps[0].dtype
    phase = 2 * jnp.pi * to_float_cycles(cycles, dtype)
    # The value is that of the fixed point, which does not drift, and the derivative that of
    # `moving`.
    moving = _linear_radians(ends, radians, size)
    phase = phase + (moving - jax.lax.stop_gradient(moving))

    def definition(along):
        harmonics = partial(_harmonics_by_definition, weights=weights)
        return jax.jvp(harmonics, (phase, taps), (along[0], along[1:]))[1]

    def forward(along):
        slope = _sum_of_harmonics(cycles, taps, weights, slope=True)
        return along[0] * slope + _sum_of_harmonics(cycles, along[1:], weights)

    def backward(cotangent):
        slope = _sum_of_harmonics(cycles, taps, weights, slope=True)
        return cotangent * slope, *_taps_adjoint(cycles, cotangent, weights, n_harmonics)

    # The value is computed by `_harmonics`, so that it has this rule in higher derivatives too.
    audio = _harmonics(ends, taps, radians, start, size)
    along = _linear_radians(tangents[0], tangents[2], size), *tangents[1]
    return audio, linear_map(definition, forward, backward, along, audio)


def _harmonics_by_definition(phase: Array, taps: tuple[Array, ...], *, weights: Array) -> Array:
    """The sum with a sine for each harmonic and sample; JAX derives higher derivatives from it."""
    k = jnp.arange(1, taps[0].shape[-1] + 1, dtype=phase.dtype)
    sines = jnp.sin(with_ndim(k, phase.ndim + 1) * phase[..., None])
    return jnp.einsum("tj,t...k,...jk->...j", weights, jnp.stack(taps), sines)


def _sum_of_harmonics(
    cycles: Array, taps: tuple[Array, ...], weights: Array, *, slope: bool = False
) -> Array:
    r""":math:`\sum_k A_k \sin k\phi`, or its derivative :math:`\sum_k k A_k \cos k\phi`.

    On a CPU sines cost more than memory, so harmonics follow from each other by a recurrence. On a
    GPU and a TPU it is the other way round: there one kernel computes a sine for each.
    """
    return jax.lax.platform_dependent(
        cycles,
        taps,
        weights,
        cpu=partial(_harmonic_recurrence.sum_of_harmonics, slope=slope),
        default=partial(_harmonic_sines.sum_of_harmonics, slope=slope),
    )


def _taps_adjoint(
    cycles: Array, cotangent: Array, weights: Array, n_harmonics: int
) -> tuple[Array, ...]:
    """Cotangent of the taps, given that of `_sum_of_harmonics`."""
    return jax.lax.platform_dependent(
        cycles,
        cotangent,
        weights,
        cpu=partial(_harmonic_recurrence.taps_adjoint, n_harmonics=n_harmonics),
        default=partial(_harmonic_sines.taps_adjoint, n_harmonics=n_harmonics),
    )


def _cycles(ends: tuple[Array, Array], start: Phase, size: Size) -> Array:
    """Phase in cycles in fixed point, ``(*batch, hops, hop_length)``."""
    return gliding_cycles(*ends, start, size.hop_length, size.sample_rate, inclusive=True)


def _linear_radians(ends: tuple[Array, Array], radians: Array, size: Size) -> Array:
    """Phase in floats, ``(*batch, hops, hop_length)``, which is linear in `ends` and `radians`."""
    n_samples = ends[0].shape[-1] * size.hop_length
    cycles = linear_cycles(*ends, size.hop_length, size.sample_rate, n_samples, True)
    cycles = cycles.reshape(*ends[0].shape, size.hop_length)
    return 2 * jnp.pi * cycles + radians[..., None, None]
