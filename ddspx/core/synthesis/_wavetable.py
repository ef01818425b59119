"""Wavetable synthesis: a table of one period, read repeatedly at a given pitch."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from ddspx._checks import at_least_ndim, broadcast_batch, floats, positive_int, same_size
from ddspx._typing import Array, ArrayLike, Float, Int
from ddspx.core._fourier import irfft, irfft_of_frames, rfft_of_frames
from ddspx.core._framing import n_frames, n_samples_of, overlapping_blocks
from ddspx.core._lookup import PLACES_AT_ONCE, weighted_sums
from ddspx.core._numerics import with_ndim
from ddspx.core._upsampling import interpolation_weights, upsample
from ddspx.core.synthesis._frame_phase import gliding_phase
from ddspx.core.synthesis._oscillators import (
    bound_hz,
    harmonic_frequencies,
    highest_within_reach,
    remove_above_nyquist,
)
from ddspx.core.synthesis._phase import Phase, advance_phase, check_rates, initial_phase_of

# How many times longer a band-limited table is than the given one. So even its highest harmonics
# have eight entries in a period instead of two, and their images are at -34 dB.
_OVERSAMPLING = 4


def wavetable_synthesis(
    f0_hz: Float[ArrayLike, "*batch frames"],
    amplitudes: Float[ArrayLike, "*amplitude_batch frames"],
    wavetables: Float[ArrayLike, "*table_batch table"],
    *,
    hop_length: int,
    sample_rate: int,
    n_samples: int | None = None,
    band_limited: bool = False,
    initial_phase: Phase | Float[ArrayLike, "*phase_batch"] | None = None,
) -> Float[Array, "*out_batch samples"]:
    r"""A table of one period of sound, read repeatedly at a gliding pitch.

    .. math::
        y[n] = A[n]\, T_n(\phi[n]), \qquad \phi[n] = \phi_0 + \sum_{m < n} f_0[m] / f_s \pmod 1

    :math:`T_n(\phi)` is linear between the two entries around :math:`L \phi` of a table of length
    :math:`L`, the first entry following the last. :math:`f_0` is linear between frames, A
    interpolates `amplitudes` by raised cosines (``hann``), and tables that change from frame to
    frame are cross-faded linearly. After the last frame everything is held. A frame without a pitch
    (0 Hz, NaN, infinite) is silent, and the hops beside it keep the pitch of their other frame: a
    note begins and ends at its own pitch. A pitch at or above Nyquist is silent too.

    If harmonics of the table reach Nyquist at the pitch at which it is read, they alias. With
    `band_limited` they do not: harmonics of each frame's table that reach Nyquist in the hops
    beside the frame are removed, as in :func:`harmonic_synthesis`, and the rest is read from a
    table four times as long.

    Linear interpolation between L entries reduces harmonic k by the factor
    :math:`1 - (\pi k / L)^2 / 3`, and adds images around :math:`L f_0` whose amplitude relative to
    it is :math:`(k / L)^2`: at L = 2048, at most -84 dB up to k = 16, and -60 dB at k = 64. With
    `band_limited` the table is four times as long, and the reduction is compensated: in a sawtooth
    of 256 entries all images and aliases are below -72 dB at any pitch.

    Args:
      f0_hz: fundamental at each frame, in Hz; a negative one reads the table backwards.
      amplitudes: linear gain at each frame.
      wavetables: samples of one period: ``(*batch, table)`` for a constant table, or
        ``(*batch, frames, table)`` for one at each frame. An array with more axes than both
        arguments above counts as the latter. ``(table,)`` and ``(1, frames, table)`` serve a whole
        batch.
      hop_length: samples between frames, below 2**16. Static.
      sample_rate: samples per second; ``(hop_length + 1) * sample_rate`` below 2**31. Static.
      n_samples: length of the result; any length that has this many frames. The default is
        ``(frames - 1) * hop_length``. Static.
      band_limited: silence each harmonic of the table where it reaches Nyquist. Static.
      initial_phase: phase of the first sample: radians, of which :math:`2\pi` are one period, or
        the Phase in the state that :func:`wavetable_synthesis_step` returned, or None for zero.

    Returns:
      Audio in linear amplitude, in the dtype of the inputs.

    Raises:
      TypeError: a size is not an int, or an array is neither float32 nor float64.
      ValueError: a size is not positive, `n_samples` samples do not have this number of frames,
        the frames of the arrays differ, or their batch axes do not broadcast.

    Properties:
      Differentiable in the three arrays and in an `initial_phase` in radians, in forward and
      reverse mode; linear in `amplitudes` and `wavetables`. The slope in the phase is that between
      two entries. It needs memory for a few arrays of the size of the audio, and with
      `band_limited` for four times the tables of all frames. The phase is summed in fixed point and
      does not drift. :func:`wavetable_synthesis_step` gives the same result block by block. Static:
      the rest.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> f0_hz, amplitudes = jnp.full(2, 1000.0), jnp.ones(2)
      >>> triangle = jnp.array([0.0, 1.0, 0.0, -1.0])
      >>> y = core.wavetable_synthesis(
      ...     f0_hz, amplitudes, triangle, hop_length=8, sample_rate=8000
      ... )
      >>> y.tolist()
      [0.0, 0.5, 1.0, 0.5, 0.0, -0.5, -1.0, -0.5]

    References:
      DDSP's function of this name computes weights of all entries of the table for each sample
      (0.5 GB for four seconds), and its ``Wavetable`` applies a sigmoid to the table, which makes
      it positive.
    """
    return _synthesize(
        _checked_controls(f0_hz, amplitudes, wavetables, is_shared=initial_phase is None),
        initial_phase,
        None,
        n_samples,
        hop_length=hop_length,
        sample_rate=sample_rate,
        band_limited=band_limited,
    )


class WavetableState(NamedTuple):
    """State of a stream of :func:`wavetable_synthesis_step`.

    Attributes:
      phase: phase in the table at the frame that the blocks share.
      previous_f0_hz: pitch of the frame before that one, in Hz; 0 if there is none.
    """

    phase: Phase
    previous_f0_hz: Float[Array, "*batch"]


def wavetable_synthesis_init(
    *, batch_shape: tuple[int, ...] = (), dtype: DTypeLike = jnp.float32
) -> WavetableState:
    """Start of a stream of :func:`wavetable_synthesis_step`, at the first entry of the table.

    Args:
      batch_shape: batch axes of the controls and tables. Static.
      dtype: of the controls. Static.

    Returns:
      The state before frame 0.

    Example:
      >>> from ddspx import core
      >>> core.wavetable_synthesis_init(batch_shape=(2,)).previous_f0_hz.tolist()
      [0.0, 0.0]
    """
    return WavetableState(initial_phase_of(None, batch_shape), jnp.zeros(batch_shape, dtype))


def wavetable_synthesis_step(
    state: WavetableState,
    f0_hz: Float[ArrayLike, "*batch frames"],
    amplitudes: Float[ArrayLike, "*amplitude_batch frames"],
    wavetables: Float[ArrayLike, "*table_batch table"],
    *,
    hop_length: int,
    sample_rate: int,
    next_f0_hz: Float[ArrayLike, "*next_batch"] | None = None,
    n_samples: int | None = None,
    band_limited: bool = False,
) -> tuple[WavetableState, Float[Array, "*out_batch samples"]]:
    """Next block of :func:`wavetable_synthesis`: from its first frame up to its last.

    Given frames a to b, both included, it returns samples ``a * hop_length`` up to, not
    including, ``b * hop_length``. The next block begins with frame b again.

    Args:
      state: from :func:`wavetable_synthesis_init` or the step before.
      f0_hz: fundamental at frames a to b, in Hz.
      amplitudes: linear gain at each.
      wavetables: one period, or one at each of these frames, see :func:`wavetable_synthesis`.
      hop_length: samples between frames, the same in all steps. Static.
      sample_rate: samples per second, the same in all steps. Static.
      next_f0_hz: pitch of frame b + 1, if it is known: if that reaches Nyquist, frame b is silent.
        Without it, such a sound stops abruptly between the blocks. None for the last block.
      n_samples: see :func:`wavetable_synthesis`; only the last block may hold its last frame.
        Static.
      band_limited: see :func:`wavetable_synthesis`; the same in all steps. Static.

    Returns:
      The state at frame b, and the audio.

    Raises:
      TypeError: as :func:`wavetable_synthesis`.
      ValueError: as :func:`wavetable_synthesis`.

    Properties:
      Concatenated blocks of any sizes equal :func:`wavetable_synthesis` of all frames,
      up to rounding; the phase is the same to the bit. Differentiable as that is, within the block.
      Static: the sizes.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> rates = {"hop_length": 16, "sample_rate": 16000}
      >>> f0_hz, one, table = jnp.linspace(200.0, 400.0, 5), jnp.ones(5), jnp.arange(8.0)
      >>> state, head = core.wavetable_synthesis_step(
      ...     core.wavetable_synthesis_init(), f0_hz[:3], one[:3], table, **rates
      ... )
      >>> state, tail = core.wavetable_synthesis_step(state, f0_hz[2:], one[2:], table, **rates)
      >>> offline = core.wavetable_synthesis(f0_hz, one, table, **rates)
      >>> bool(jnp.allclose(jnp.concatenate([head, tail]), offline, atol=1e-5))
      True
    """
    controls = _checked_controls(f0_hz, amplitudes, wavetables, is_shared=False, is_block=True)
    f0_hz = controls.f0_hz
    before = jnp.broadcast_to(state.previous_f0_hz, f0_hz.shape[:-1]).astype(f0_hz.dtype)
    after = jnp.zeros_like(before) if next_f0_hz is None else next_f0_hz
    rates = {"hop_length": hop_length, "sample_rate": sample_rate}
    neighbours_hz = before, jnp.broadcast_to(after, before.shape)
    audio = _synthesize(
        controls, state.phase, neighbours_hz, n_samples, **rates, band_limited=band_limited
    )
    phase = advance_phase(f0_hz, **rates, initial_phase=state.phase)
    previous = jnp.concatenate([before[..., None], f0_hz], axis=-1)[..., -2]
    return WavetableState(phase, previous), audio


class _Controls(NamedTuple):
    """The checked controls of wavetable synthesis, of one dtype."""

    f0_hz: Array
    amplitudes: Array
    wavetables: Array
    is_changing: bool
    """Whether there is a table for each frame."""


def _checked_controls(
    f0_hz: ArrayLike,
    amplitudes: ArrayLike,
    wavetables: ArrayLike,
    *,
    is_shared: bool,
    is_block: bool = False,
) -> _Controls:
    """Checks the controls. Unless `is_shared`, `f0_hz` is broadcast to the common batch."""
    f0_hz, amplitudes, wavetables = floats(
        f0_hz=f0_hz, amplitudes=amplitudes, wavetables=wavetables
    )
    for name, array in (("f0_hz", f0_hz), ("amplitudes", amplitudes)):
        at_least_ndim(name, array.shape, 1, "(*batch, frames)", is_block=is_block)
    at_least_ndim("wavetables", wavetables.shape, 1, "(*batch, table)")
    positive_int("wavetables.shape[-1]", wavetables.shape[-1])
    frames = f0_hz.shape[-1]
    same_size("`f0_hz` and `amplitudes`", frames, amplitudes.shape[-1], "frames")
    is_changing = wavetables.ndim > max(f0_hz.ndim, amplitudes.ndim)
    if is_changing:
        same_size("`f0_hz` and `wavetables`", frames, wavetables.shape[-2], "frames")
    batch = broadcast_batch(
        f0_hz=f0_hz.shape[:-1],
        amplitudes=amplitudes.shape[:-1],
        wavetables=wavetables.shape[: -2 if is_changing else -1],
    )
    if not is_shared:
        f0_hz = jnp.broadcast_to(f0_hz, (*batch, frames))
    return _Controls(f0_hz, amplitudes, wavetables, is_changing)


def _synthesize(
    controls: _Controls,
    initial_phase: Phase | ArrayLike | None,
    neighbours_hz: tuple[Array, Array] | None,
    n_samples: int | None,
    *,
    hop_length: int,
    sample_rate: int,
    band_limited: bool,
) -> Array:
    """Audio from the controls.

    `neighbours_hz` are the pitches before the first frame and after the last if these frames are a
    block of a longer sound (0 if there is no such frame).
    """
    check_rates(hop_length=hop_length, sample_rate=sample_rate)
    f0_hz, amplitudes, wavetables, is_changing = controls
    frames = f0_hz.shape[-1]
    n_samples = n_samples_of(frames, hop_length=hop_length, n_samples=n_samples)
    offsets, _ = interpolation_weights(hop_length, "hann")
    highest = highest_within_reach(f0_hz, offsets, neighbours_hz=neighbours_hz)
    shape = jnp.broadcast_shapes(amplitudes.shape, highest.shape)
    amplitudes, highest = (jnp.broadcast_to(x, shape) for x in (amplitudes, highest))
    amplitudes = remove_above_nyquist(amplitudes, highest, sample_rate=sample_rate)
    gain = upsample(amplitudes, hop_length=hop_length, method="hann", n_samples=n_samples)
    cycles = gliding_phase(
        f0_hz, hop_length, sample_rate, n_samples, False, initial_phase=initial_phase
    )
    if band_limited:
        bound = bound_hz(f0_hz, offsets, neighbours_hz=neighbours_hz)
        wavetables = wavetables if is_changing else wavetables[..., None, :]
        wavetables, is_changing = _below_nyquist(wavetables, bound, sample_rate), True
    sound = _look_up(cycles, wavetables, hop_length if is_changing else None)
    return with_ndim(gain, sound.ndim) * with_ndim(sound, gain.ndim)


def linear_lookup(
    cycles: Float[ArrayLike, "*batch samples"],
    wavetables: Float[ArrayLike, "*table_batch table"],
    *,
    hop_length: int | None = None,
) -> Float[Array, "*out_batch samples"]:
    r"""A table of one period, read at a given phase, for phase distortion, FM or any oscillator.

    .. math:: y[n] = T_n(\phi[n] \bmod 1)

    :math:`T_n(\phi)` is linear between the two entries around :math:`L \phi` of a table of length
    :math:`L`, the first entry following the last. :func:`wavetable_synthesis` computes the phase
    from a pitch, exactly in sounds of any length.

    Args:
      cycles: phase at each sample, in cycles of the table; whole cycles of either sign are ignored.
        (:func:`cumulative_phase` gives radians; a cycle is ``2 * pi`` of them.)
      wavetables: samples of one period: ``(*batch, table)``, or ``(*batch, frames, table)`` with
        `hop_length`. The batch axes broadcast against those of `cycles`.
      hop_length: samples between frames, which are cross-faded linearly; there must be
        ``n_frames(samples)`` of them. None, the default, for a table that does not change. Static.

    Returns:
      The table at each sample, in the dtype of the inputs.

    Raises:
      TypeError: `hop_length` is not an int, or an array is neither float32 nor float64.
      ValueError: an axis is missing, the table is empty, the number of frames differs from that of
        the samples, or the batch axes do not broadcast.

    Properties:
      Differentiable in both arrays, in forward and reverse mode; linear in `wavetables`. The slope
      in the phase is that between two entries. Each sample reads two entries, or four if the table
      changes. Static: `hop_length`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> triangle = jnp.array([0.0, 1.0, 0.0, -1.0])
      >>> core.linear_lookup(jnp.array([0.0, 0.125, 0.25, 0.875, -0.25]), triangle).tolist()
      [0.0, 0.5, 1.0, -0.5, -1.0]

    References:
      DDSP's function of this name computes weights of all entries of the table for each sample, and
      requires a phase from 0 to 1.
    """
    cycles, wavetables = floats(cycles=cycles, wavetables=wavetables)
    at_least_ndim("cycles", cycles.shape, 1, "(*batch, samples)")
    axes = "(*batch, table)" if hop_length is None else "(*batch, frames, table)"
    at_least_ndim("wavetables", wavetables.shape, 1 if hop_length is None else 2, axes)
    positive_int("wavetables.shape[-1]", wavetables.shape[-1])
    if hop_length is None:
        broadcast_batch(
            cycles=cycles.shape[:-1], **{"wavetables` without `hop_length": wavetables.shape[:-1]}
        )
    else:
        broadcast_batch(cycles=cycles.shape[:-1], wavetables=wavetables.shape[:-2])
        frames = n_frames(cycles.shape[-1], hop_length=hop_length)
        same_size("`cycles` and `wavetables`", frames, wavetables.shape[-2], "frames")
    # Whole cycles are removed, so that the position is within half a table of entry 0.
    return _look_up(cycles - jnp.round(cycles), wavetables, hop_length)


def harmonic_distribution_to_wavetable(
    harmonic_distribution: Float[ArrayLike, "*batch harmonics"], *, table_length: int = 2048
) -> Float[Array, "*batch table"]:
    r"""One period of a sum of harmonics.

    .. math:: T[m] = \sum_{k=1}^{K} d_k \sin(2 \pi k m / L)

    Args:
      harmonic_distribution: amplitude of harmonics 1, 2, ...; fewer than half of `table_length`.
        The table holds all of them, even those that reach Nyquist at the pitch at which it is read:
        remove these first, see :func:`normalize_harmonics`.
      table_length: number of entries, :math:`L`. Static.

    Returns:
      Tables for :func:`wavetable_synthesis`, which then sounds like :func:`harmonic_synthesis`
      with this distribution, in the dtype of the distribution.

    Raises:
      TypeError: `table_length` is not an int, or the array is neither float32 nor float64.
      ValueError: there are `table_length` / 2 harmonics or more.

    Properties:
      Linear and differentiable. Static: `table_length`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> table = core.harmonic_distribution_to_wavetable(jnp.array([2.0]), table_length=4)
      >>> [abs(round(v, 3)) for v in table.tolist()]
      [0.0, 2.0, 0.0, 2.0]

    References:
      DDSP's tables start in cosine phase, and so differ from its harmonic synthesis, whose
      harmonics are sines.
    """
    (distribution,) = floats(harmonic_distribution=harmonic_distribution)
    at_least_ndim("harmonic_distribution", distribution.shape, 1, "(*batch, harmonics)")
    table_length = positive_int("table_length", table_length)
    n_harmonics = distribution.shape[-1]
    if 2 * n_harmonics >= table_length:
        raise ValueError(
            f"`table_length` must be more than twice the number of harmonics, got {table_length} "
            f"for {n_harmonics}; use a longer table."
        )
    fill = table_length // 2 - n_harmonics
    bins = jnp.pad(distribution, [(0, 0)] * (distribution.ndim - 1) + [(1, fill)])
    sines = jnp.zeros_like(bins) - 1j * bins * (table_length / 2)
    return irfft(sines, table_length)


def _below_nyquist(wavetables: Array, highest_hz: Array, sample_rate: int) -> Array:
    """Removes the harmonics of each frame's table that reach Nyquist at its highest frequency.

    The tables have a frames axis, of size one if all frames share a table. The result is
    `_OVERSAMPLING` times as long, and its harmonics are raised by as much as linear interpolation
    will reduce them.
    """
    length = wavetables.shape[-1]
    # The bin at half of an even length is left out: only its cosine is known.
    spectrum = rfft_of_frames(wavetables, length)[..., : (length + 1) // 2]
    audible = harmonic_frequencies(highest_hz, spectrum.shape[-1] - 1) < sample_rate / 2
    audible = jnp.pad(audible, [(0, 0)] * highest_hz.ndim + [(1, 0)], constant_values=True)
    ndim = max(audible.ndim, spectrum.ndim)
    limited = jnp.where(with_ndim(audible, ndim), with_ndim(spectrum, ndim), 0)
    longer = _OVERSAMPLING * length
    gain = _OVERSAMPLING / np.sinc(np.arange(spectrum.shape[-1]) / longer) ** 2
    limited = limited * with_ndim(gain, ndim).astype(wavetables.dtype)
    # The bins from half of the given table's length on are zero.
    fill = longer // 2 + 1 - limited.shape[-1]
    limited = jnp.pad(limited, [(0, 0)] * (ndim - 1) + [(0, fill)])
    return irfft_of_frames(limited, longer)


# Compiled as a whole, because JAX does not keep a choice of platforms that runs outside of `jit`.
@partial(jax.jit, static_argnums=2)
def _look_up(cycles: Array, wavetables: Array, hop_length: int | None) -> Array:
    """Reads the table, or with `hop_length` those of the frames, at phases within half a cycle."""
    return jax.lax.platform_dependent(
        cycles,
        wavetables,
        tpu=partial(look_up_by_products, hop_length=hop_length),
        default=partial(look_up_by_gathers, hop_length=hop_length),
    )


def look_up_by_gathers(cycles: Array, wavetables: Array, *, hop_length: int | None) -> Array:
    """Computes :func:`_look_up` on a CPU and a GPU."""
    if hop_length is None:
        return _read(wavetables, cycles, jnp.zeros(1, jnp.int32), wavetables.shape[-1])
    frames, length = wavetables.shape[-2:]
    flat = wavetables.reshape(*wavetables.shape[:-2], frames * length)
    hop, sample = jnp.divmod(jnp.arange(cycles.shape[-1], dtype=jnp.int32), hop_length)
    fade = sample.astype(cycles.dtype) / hop_length
    earlier = _read(flat, cycles, hop * length, length)
    later = _read(flat, cycles, jnp.minimum(hop + 1, frames - 1) * length, length)
    fade = with_ndim(fade, earlier.ndim)
    return (1 - fade) * earlier + fade * later


def look_up_by_products(cycles: Array, wavetables: Array, *, hop_length: int | None) -> Array:
    """Computes :func:`_look_up` on a TPU.

    Each frame's table is read once, for the hop before it and for the one after it.
    """
    samples = cycles.shape[-1]
    ndim = max(cycles.ndim, wavetables.ndim - (hop_length is not None))
    cycles = with_ndim(cycles, ndim)
    if hop_length is None:
        size = max(1, min(samples, PLACES_AT_ONCE))
        blocks = overlapping_blocks(cycles, 0, -(-samples // size), size, size)
        sound = _read_blocks(with_ndim(wavetables[..., None, :], ndim + 1), blocks)
    else:
        frames = wavetables.shape[-2]
        sides = overlapping_blocks(cycles, hop_length, frames, 2 * hop_length, hop_length)
        sides = _read_blocks(with_ndim(wavetables, ndim + 1), sides)
        earlier = sides[..., hop_length:]
        later = jnp.concatenate([sides[..., 1:, :hop_length], earlier[..., -1:, :]], axis=-2)
        fade = jnp.arange(hop_length, dtype=cycles.dtype) / hop_length
        fade = with_ndim(fade, ndim + 1)
        sound = (1 - fade) * earlier + fade * later
    return sound.reshape(*sound.shape[:-2], sound.shape[-2] * sound.shape[-1])[..., :samples]


def _read_blocks(tables: Array, cycles: Array) -> Array:
    """Reads in each block of samples its own table, or the same one in all."""
    entry, rest = _entries(cycles, tables.shape[-1])
    return weighted_sums(tables, entry, [1 - rest, rest])


def _read(tables: Array, cycles: Array, offset: Array, length: int) -> Array:
    """Reads, for each sample, the table of `length` entries at `offset`, linear between entries."""
    entry, rest = _entries(cycles, length)
    offset = with_ndim(offset, cycles.ndim)
    before = _take(tables, offset + entry)
    after = _take(tables, offset + jnp.mod(entry + 1, length))
    rest = with_ndim(rest, before.ndim)
    return before + rest * (after - before)


def _entries(cycles: Array, length: int) -> tuple[Array, Array]:
    """The entry at or before each phase, and how far the phase is on the way to the next."""
    position = cycles * length
    whole = jnp.floor(position)
    return jnp.mod(whole.astype(jnp.int32), length), position - whole


def _take(tables: Array, index: Int[Array, "..."]) -> Array:
    """``tables[..., index]`` with batch axes that broadcast."""
    if tables.size == tables.shape[-1]:
        taken = jnp.take(tables.reshape(-1), index, mode="clip")
        return with_ndim(taken, tables.ndim)
    batch = jnp.broadcast_shapes(tables.shape[:-1], index.shape[:-1])
    index = jnp.broadcast_to(index, (*batch, index.shape[-1]))
    tables = jnp.broadcast_to(tables, (*batch, tables.shape[-1]))
    return jnp.take_along_axis(tables, index, axis=-1, mode="clip")
