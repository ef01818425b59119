"""Energies of the bands of a whole sound: filters, then a low-pass."""

import math
from functools import partial
from typing import cast

import jax
import jax.numpy as jnp

from ddspx import core
from ddspx._typing import Array, Complex, Float
from ddspx.nn.frontend._banks import FilterBank
from ddspx.nn.frontend._filters import FiltersWithTaps
from ddspx.nn.frontend._ordered_banks import GaborBank, GammatoneBank
from ddspx.nn.frontend._paths import RecurrentPath
from ddspx.nn.frontend._pooling import Pooling

# How many bands are computed at once; only their signals are in memory.
_BANDS_AT_ONCE = 8
# How much wider than initially a filter may become in training, before the lower rate at which its
# signal is computed causes errors in its energy.
_WIDENING = 1.5
# Banks whose filters have an infinite impulse response.
_InfiniteBank = GammatoneBank | GaborBank


def subband_energies(
    audio: Float[Array, "*batch samples"], bank: FilterBank, pooling: Pooling
) -> Float[Array, "*batch frames bands"]:
    r"""Energies of the bands of a whole sound, smoothed, on the frame rule.

    .. math:: E_i[t] = \sum_k p_i[k]\, |(g_i * x)[t h + k]|^2

    Filters and low-pass are applied as products of the Fourier transforms of the whole sound. The
    spectrum of a narrow band is folded before its inverse transform: this decimates the band to a
    lower rate, at which it has the same energy. The sound is taken as silent before its start and
    after its end.

    Lengths and rates are static. They are chosen for bands of half to one and a half times their
    initial width. If a band becomes narrower, its response is longer than the transform and wraps
    around into the first frames. If it becomes wider, fast beats alias to slow ones. In both cases
    the levels of steady sounds stay correct.

    In float32, frames about 70 dB below the loudest frame of their band consist of rounding errors
    of the low-pass; negative ones are set to zero.

    Args:
      audio: linear amplitude.
      bank: the filters g.
      pooling: the low-pass p.

    Returns:
      The energies.
    """
    c = bank.config
    n_samples = audio.shape[-1]
    n_fft, n_frames = _length(bank, n_samples), core.n_frames(n_samples, hop_length=c.hop_length)
    kernels = _kernel_response(pooling.kernel(), n_fft).astype(audio.dtype)
    if isinstance(c.filters.path, RecurrentPath):
        gammatones = cast(GammatoneBank, bank)
        gains = core.db_to_power(gammatones.gains_db[...])
        rows = bank.centers_hz(), bank.bandwidths_hz(), gains
        one = partial(_recursion, audio, n_fft, gammatones)
        energies = _by_band(one, (*(row.astype(audio.dtype) for row in rows), kernels))
    else:
        responses = bank.response(n_fft).astype(jnp.result_type(audio.dtype, jnp.complex64))
        spectrum = jnp.fft.fft(audio, n_fft)
        parts, first = [], 0
        for decimation, last in _groups(bank):
            rows = responses[first:last], kernels[first:last]
            parts.append(_by_band(partial(_filtered, spectrum, decimation, c.hop_length), rows))
            first = last
        energies = jnp.concatenate(parts)
    return jnp.moveaxis(energies, 0, -1)[..., :n_frames, :]


def _by_band(function, rows):
    """Applies `function` to a few bands at a time; gradients recompute the signals of the bands."""
    together = jax.vmap(jax.checkpoint(function))
    size = min(_BANDS_AT_ONCE, len(rows[0]))
    whole = len(rows[0]) // size * size
    # `jax.lax.map(batch_size=)` would do the same, but fails for an empty batch.
    groups = [x[:whole].reshape(whole // size, size, *x.shape[1:]) for x in rows]
    out = jax.lax.map(lambda group: together(*group), groups)
    out = out.reshape(whole, *out.shape[2:])
    if whole == len(rows[0]):
        return out
    return jnp.concatenate([out, together(*(x[whole:] for x in rows))])


def _filtered(
    spectrum: Complex[Array, "*batch bins"],
    decimation: int,
    hop_length: int,
    response: Complex[Array, " bins"],
    kernel: Float[Array, " half_bins"],
) -> Float[Array, "*batch frames"]:
    band = spectrum * response.reshape((1,) * (spectrum.ndim - 1) + (-1,))
    parts = decimation, band.shape[-1] // decimation
    folded = band.reshape(*band.shape[:-1], *parts).sum(-2) / decimation
    return _smoothed(jnp.fft.ifft(folded), kernel, hop_length // decimation)


def _recursion(audio, n_fft, bank, center_hz, bandwidth_hz, power, kernel):
    padded = jnp.pad(audio, [(0, 0)] * (audio.ndim - 1) + [(0, n_fft - audio.shape[-1])])
    sizes = {"sample_rate": bank.config.sample_rate, "order": bank.filters.order}
    band = core.gammatone_filter(padded, center_hz[None], bandwidth_hz[None], **sizes)[..., 0, :]
    return power * _smoothed(band, kernel, bank.config.hop_length)


def _smoothed(band: Array, kernel: Array, hop_length: int) -> Array:
    energy = jnp.square(band.real) + jnp.square(band.imag)
    spectrum = jnp.fft.rfft(energy)
    row = kernel[: spectrum.shape[-1]].reshape((1,) * (energy.ndim - 1) + (-1,))
    smooth = jnp.fft.irfft(spectrum * row, energy.shape[-1])[..., ::hop_length]
    # Rounding can make quiet frames negative, whose logarithm would be NaN.
    return jnp.maximum(smooth, 0)


def _kernel_response(kernel: Array, n_fft: int) -> Array:
    """The spectrum of the low-pass; it is real, because the kernels are symmetric."""
    taps = kernel.shape[-1]
    centred = jnp.roll(jnp.pad(kernel, ((0, 0), (0, n_fft - taps))), -(taps // 2), axis=-1)
    return jnp.fft.rfft(centred).real


def _length(bank: FilterBank, n_samples: int) -> int:
    """Length of the transform: whole frames, room for the filters' decay, small prime factors."""
    c = bank.config
    if isinstance(c.filters, FiltersWithTaps):
        ringing = c.filters.n_taps
    else:
        narrowest_hz = float(cast(_InfiniteBank, bank).first_widths_hz().min())
        ringing = math.ceil(_WIDENING * 4 * c.sample_rate / narrowest_hz)
    n_frames = math.ceil((n_samples + ringing + c.win_length) / c.hop_length)
    return c.hop_length * next(n for n in range(n_frames, 2 * n_frames + 8) if _is_smooth(n))


def _is_smooth(n: int) -> bool:
    for prime in (2, 3, 5):
        while n % prime == 0:
            n //= prime
    return n == 1


def _groups(bank: FilterBank) -> list[tuple[int, int]]:
    """Groups of adjacent bands with the same decimation factor: (factor, end of the group)."""
    c = bank.config
    if isinstance(c.filters, FiltersWithTaps):
        return [(1, c.n_bands)]
    # The bandwidth of the low-pass is added, so that aliases of the energy lie outside of it.
    support_hz = cast(_InfiniteBank, bank).first_support_hz()
    needed_hz = _WIDENING * support_hz + 8 * c.sample_rate / c.win_length
    possible = [d for d in (1, 2, 4, 8, 16, 32, 64) if c.hop_length % d == 0]
    factors = [max([d for d in possible if c.sample_rate / d >= hz] or [1]) for hz in needed_hz]
    ends = [i + 1 for i in range(c.n_bands) if i + 1 == c.n_bands or factors[i + 1] != factors[i]]
    return [(factors[end - 1], end) for end in ends]
