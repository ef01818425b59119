"""Wavetable synthesis: one period, read at the pitch."""

import jax.numpy as jnp

from ddspx._checks import at_least_ndim, broadcast_batch, floats, positive_int, same_size
from ddspx._typing import Array, ArrayLike, Float, Int
from ddspx.core._framing import n_frames, n_samples_of
from ddspx.core._upsampling import interpolation_weights, upsample
from ddspx.core.synthesis._frame_phase import gliding_phase
from ddspx.core.synthesis._oscillators import highest_within_reach, remove_above_nyquist
from ddspx.core.synthesis._phase import check_rates


def wavetable_synthesis(
    f0_hz: Float[ArrayLike, "*batch frames"],
    amplitudes: Float[ArrayLike, "*amplitude_batch frames"],
    wavetables: Float[ArrayLike, "*table_batch table"],
    *,
    hop_length: int,
    sample_rate: int,
    n_samples: int | None = None,
) -> Float[Array, "*out_batch samples"]:
    r"""One period of sound, read over and over at a gliding pitch.

    .. math::
        y[n] = A[n]\, T_n(\phi[n]), \qquad \phi[n] = \sum_{m < n} f_0[m] / f_s \pmod 1

    :math:`T_n(\phi)` is linear between the two entries around :math:`L \phi` of a table of length
    :math:`L`, the first entry following the last. :math:`f_0` is linear between frames, A
    interpolates `amplitudes` by raised cosines (``hann``), and tables that change from frame to
    frame are cross-faded linearly. After the last frame everything is held. A frame without a pitch
    (0 Hz, NaN, infinite) is silent, and the hops beside it keep the pitch of their other frame: a
    note begins and ends at its own pitch. A pitch at or above Nyquist is silent too.

    Nothing else is filtered: a table whose harmonics reach Nyquist at the pitch it is read with
    aliases, so leave out harmonics from ``sample_rate / (2 * f0_hz)`` on
    (:func:`normalize_harmonics` before :func:`harmonic_distribution_to_wavetable` does). Linear
    reading makes harmonic k quieter by :math:`(\pi k / L)^2 / 3` and adds images around
    :math:`L f_0` that are quieter than it by :math:`(k / L)^2`: at L = 2048, -84 dB and less up
    to k = 16, -60 dB at k = 64.

    Args:
      f0_hz: fundamental at each frame, in Hz; a negative one reads the table backwards.
      amplitudes: linear gain at each frame.
      wavetables: one period, as it is heard: ``(*batch, table)``, or ``(*batch, frames, table)``
        where it changes, which it does if it has one axis more than ``(*batch, frames)`` of the
        two above. ``(table,)`` serves a whole batch, ``(1, frames, table)`` too.
      hop_length: samples between frames, below 2**16. Static.
      sample_rate: samples per second; ``(hop_length + 1) * sample_rate`` below 2**31. Static.
      n_samples: length of the result; any length that has this many frames. The default is
        ``(frames - 1) * hop_length``. Static.

    Returns:
      Audio in linear amplitude, in the dtype of the inputs.

    Raises:
      TypeError: a size is not an int, or an array neither float32 nor float64.
      ValueError: a size is not positive, `n_samples` samples do not have this number of frames,
        the frames of the arrays differ, or their batch axes do not broadcast.

    Properties:
      Differentiable in the three arrays, in both modes; linear in `amplitudes` and `wavetables`.
      The slope in the phase is that between two entries. Memory is a few arrays of the size of
      the audio. The phase is summed in fixed point and does not drift. Static: the rest.

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
      DDSP's function of this name weighs all entries of the table for each sample (0.5 GB for
      four seconds), and its ``Wavetable`` puts the table through a sigmoid, which leaves it
      positive.
    """
    f0_hz, amplitudes, wavetables = floats(
        f0_hz=f0_hz, amplitudes=amplitudes, wavetables=wavetables
    )
    check_rates(hop_length=hop_length, sample_rate=sample_rate)
    at_least_ndim("f0_hz", f0_hz.shape, 1, "(*batch, frames)")
    at_least_ndim("amplitudes", amplitudes.shape, 1, "(*batch, frames)")
    at_least_ndim("wavetables", wavetables.shape, 1, "(*batch, table)")
    positive_int("wavetables.shape[-1]", wavetables.shape[-1])
    frames = f0_hz.shape[-1]
    same_size("`f0_hz` and `amplitudes`", frames, amplitudes.shape[-1], "frames")
    changing = wavetables.ndim > max(f0_hz.ndim, amplitudes.ndim)
    if changing:
        same_size("`f0_hz` and `wavetables`", frames, wavetables.shape[-2], "frames")
    table_batch = wavetables.shape[: -2 if changing else -1]
    controls = {"f0_hz": f0_hz.shape[:-1], "amplitudes": amplitudes.shape[:-1]}
    broadcast_batch(**controls, wavetables=table_batch)
    n_samples = n_samples_of(frames, hop_length=hop_length, n_samples=n_samples)
    highest = highest_within_reach(f0_hz, interpolation_weights(hop_length, "hann")[0])
    amplitudes, highest = (
        jnp.broadcast_to(x, (*broadcast_batch(**controls), frames)) for x in (amplitudes, highest)
    )
    amplitudes = remove_above_nyquist(amplitudes, highest, sample_rate=sample_rate)
    gain = upsample(amplitudes, hop_length=hop_length, method="hann", n_samples=n_samples)
    cycles = gliding_phase(f0_hz, hop_length, sample_rate, n_samples, False)
    sound = _look_up(cycles, wavetables, hop_length if changing else None)
    return _with_ndim(gain, sound.ndim) * _with_ndim(sound, gain.ndim)


def linear_lookup(
    cycles: Float[ArrayLike, "*batch samples"],
    wavetables: Float[ArrayLike, "*table_batch table"],
    *,
    hop_length: int | None = None,
) -> Float[Array, "*out_batch samples"]:
    r"""A table of one period, read at a phase that is given: phase distortion, FM, any oscillator.

    .. math:: y[n] = T_n(\phi[n] \bmod 1)

    :math:`T_n(\phi)` is linear between the two entries around :math:`L \phi` of a table of length
    :math:`L`, the first entry following the last. :func:`wavetable_synthesis` reads at the phase
    of a pitch, and keeps it exact however long the sound is.

    Args:
      cycles: phase at each sample, in cycles of the table; what exceeds one wraps, of either sign.
        (:func:`cumulative_phase` has radians: ``2 * pi`` of them are a cycle.)
      wavetables: one period, as it is heard: ``(*batch, table)``, or ``(*batch, frames, table)``
        with `hop_length`. The batch axes broadcast against those of `cycles`.
      hop_length: samples between frames, which are cross-faded linearly; there must be
        ``n_frames(samples)`` of them. None, the default, for a table that does not change. Static.

    Returns:
      The table at each sample, in the dtype of the inputs.

    Raises:
      TypeError: `hop_length` is not an int, or an array neither float32 nor float64.
      ValueError: an axis is missing, the table is empty, the number of frames differs from that of
        the samples, or the batch axes do not broadcast.

    Properties:
      Differentiable in both arrays, in both modes; linear in `wavetables`. The slope in the phase
      is that between two entries. Two entries are read for each sample, four where the table
      changes. Static: `hop_length`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> triangle = jnp.array([0.0, 1.0, 0.0, -1.0])
      >>> core.linear_lookup(jnp.array([0.0, 0.125, 0.25, 0.875, -0.25]), triangle).tolist()
      [0.0, 0.5, 1.0, -0.5, -1.0]

    References:
      DDSP's function of this name weighs all entries of the table for each sample, and takes a
      phase from 0 to 1.
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
    # Whole turns dropped, however many: what is read is within half a table of the entry 0.
    return _look_up(cycles - jnp.round(cycles), wavetables, hop_length)


def harmonic_distribution_to_wavetable(
    harmonic_distribution: Float[ArrayLike, "*batch harmonics"], *, table_length: int = 2048
) -> Float[Array, "*batch table"]:
    r"""One period of a sum of harmonics.

    .. math:: T[m] = \sum_{k=1}^{K} d_k \sin(2 \pi k m / L)

    Args:
      harmonic_distribution: amplitude of harmonics 1, 2, ...; fewer than half of
        `table_length`. All of them are in the table whatever the pitch it is read with: silence
        those that would reach Nyquist first, see :func:`normalize_harmonics`.
      table_length: number of entries, :math:`L`. Static.

    Returns:
      Tables for :func:`wavetable_synthesis`, which then sounds like :func:`harmonic_synthesis`
      with this distribution, in the dtype of the distribution.

    Raises:
      TypeError: `table_length` is not an int, or the array neither float32 nor float64.
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
    return jnp.fft.irfft(sines, table_length, axis=-1).astype(distribution.dtype)


def _look_up(cycles: Array, wavetables: Array, hop_length: int | None) -> Array:
    """The table, or with `hop_length` those of the frames, at a phase of half a turn at most."""
    if hop_length is None:
        return _read(wavetables, cycles, jnp.zeros(1, jnp.int32), wavetables.shape[-1])
    return _read_changing(wavetables, cycles, hop_length)


def _read_changing(wavetables: Array, cycles: Array, hop_length: int) -> Array:
    """The tables of the two frames around each sample, cross-faded."""
    frames, length = wavetables.shape[-2:]
    flat = wavetables.reshape(*wavetables.shape[:-2], frames * length)
    hop, sample = jnp.divmod(jnp.arange(cycles.shape[-1], dtype=jnp.int32), hop_length)
    fade = sample.astype(cycles.dtype) / hop_length
    earlier = _read(flat, cycles, hop * length, length)
    later = _read(flat, cycles, jnp.minimum(hop + 1, frames - 1) * length, length)
    fade = fade.reshape(*(1,) * (earlier.ndim - 1), -1)
    return (1 - fade) * earlier + fade * later


def _read(tables: Array, cycles: Array, offset: Array, length: int) -> Array:
    """Table of `length` that starts at `offset` for each sample, linear between entries."""
    position = cycles * length
    whole = jnp.floor(position)
    rest = position - whole
    entry = whole.astype(jnp.int32)
    offset = offset.reshape(*(1,) * (cycles.ndim - 1), -1)
    before = _take(tables, offset + jnp.mod(entry, length))
    after = _take(tables, offset + jnp.mod(entry + 1, length))
    rest = _with_ndim(rest, before.ndim)
    return before + rest * (after - before)


def _take(tables: Array, index: Int[Array, "..."]) -> Array:
    """``tables[..., index]`` with batch axes that broadcast."""
    if tables.size == tables.shape[-1]:
        taken = jnp.take(tables.reshape(-1), index, mode="clip")
        return _with_ndim(taken, tables.ndim)
    batch = jnp.broadcast_shapes(tables.shape[:-1], index.shape[:-1])
    index = jnp.broadcast_to(index, (*batch, index.shape[-1]))
    tables = jnp.broadcast_to(tables, (*batch, tables.shape[-1]))
    return jnp.take_along_axis(tables, index, axis=-1, mode="clip")


def _with_ndim(array: Array, ndim: int) -> Array:
    """More leading axes, of size one, up to `ndim`."""
    return array.reshape((1,) * (ndim - array.ndim) + array.shape)
