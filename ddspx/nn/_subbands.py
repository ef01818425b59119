"""Energies of bands by filters on the whole sound, and the low-pass that they go through."""

import math
from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ddspx import core
from ddspx._typing import Array, Complex, Float
from ddspx.nn._bank import FilterBank, OrderedBank
from ddspx.nn._frontend_config import FrontendConfig
from ddspx.nn._variables import number

# Bands whose signals are in memory at a time.
_TOGETHER = 8
# How much wider a filter may become than it was at first before its energy shows that its signal
# is computed at a lower rate.
_ROOM = 1.5


class Pooling(nnx.Module):
    r"""The low-pass of energies: a Gaussian for each band whose width learns.

    .. math:: p_i[k] \propto e^{-\frac12 (k / w_i)^2}, \qquad \sum_k p_i[k] = 2

    so that a sine has its power, half of its amplitude's square. LEAF's has no unit sum and limits
    the width, which is a part of the half length; SpectNet's is a box of ones.
    """

    def __init__(self, config: FrontendConfig):
        self.config = config
        bands, learn = np.zeros(config.n_bands), "pooling" in config.trainable
        if config.parametrization == "ordered" or config.family == "sinc":
            self.log_widths = number(bands + math.log(0.4), trainable=learn)
        elif config.family == "gabor":
            self.widths = number(bands + 0.4, trainable=learn)

    def kernel(self) -> Float[Array, "bands taps"]:
        """Weights around a frame, an odd number of them."""
        c = self.config
        half = c.win_length // 2
        lags = jnp.arange(-half, half + 1, dtype=jnp.float32)[None] / half
        if (c.family, c.parametrization) == ("gammatone", "published"):
            # A real filter's power has no half in it.
            return jnp.ones((c.n_bands, 2 * half + 1), jnp.float32)
        if (c.family, c.parametrization) == ("gabor", "published"):
            widths = jnp.clip(self.widths[...], 2 / (2 * half + 1), 0.5)
            return jnp.exp(-0.5 * jnp.square(lags / widths[:, None]))
        weights = jnp.exp(-0.5 * jnp.square(lags * jnp.exp(-self.log_widths[...])[:, None]))
        return 2 * weights / jnp.sum(weights, axis=-1, keepdims=True)


def subband_energies(
    audio: Float[Array, "*batch samples"], bank: FilterBank, pooling: Pooling
) -> Float[Array, "*batch frames bands"]:
    r"""Energies of the bands of a whole sound, smoothed, on the frame rule.

    .. math:: E_i[t] = \sum_k p_i[k]\, |(g_i * x)[t h + k]|^2

    Filters and low-pass are products of transforms of the whole sound. The spectrum of a narrow
    band is folded before it is transformed back: at a lower rate the band has the same energy.
    Outside there is silence.

    Lengths and rates are static, with room for bands of half to one and a half times the width
    that they had at first. What rings longer is heard again in the first frames, and of a wider
    band fast beats are heard as slow ones; levels of steady sounds stay right.

    The low-pass is a product of transforms too, so in float32 frames that are some 70 dB below the
    loudest of their band are rounding, of either sign before what is negative counts as zero.

    Args:
      audio: linear amplitude.
      bank: the filters g.
      pooling: the low-pass p.

    Returns:
      Energies.
    """
    c = bank.config
    n_samples = audio.shape[-1]
    n_fft, n_frames = _length(c, n_samples), core.n_frames(n_samples, hop_length=c.hop_length)
    kernels = _kernel_response(pooling.kernel(), n_fft).astype(audio.dtype)
    if c.path == "recurrent":
        gains_db = cast(OrderedBank, bank).gains_db[...]
        rows = bank.centers_hz(), bank.bandwidths_hz(), core.db_to_power(gains_db)
        one = partial(_recursion, audio, n_fft, c)
        energies = _by_band(one, (*(row.astype(audio.dtype) for row in rows), kernels))
    else:
        responses = bank.response(n_fft).astype(jnp.result_type(audio.dtype, jnp.complex64))
        spectrum = jnp.fft.fft(audio, n_fft)
        parts, first = [], 0
        for decimation, last in _groups(c):
            rows = responses[first:last], kernels[first:last]
            parts.append(_by_band(partial(_filtered, spectrum, decimation, c.hop_length), rows))
            first = last
        energies = jnp.concatenate(parts)
    return jnp.moveaxis(energies, 0, -1)[..., :n_frames, :]


def _by_band(function, rows):
    """One band after the other, some of them together; the signals are made anew for gradients."""
    together = jax.vmap(jax.checkpoint(function))
    size = min(_TOGETHER, len(rows[0]))
    whole = len(rows[0]) // size * size
    # `jax.lax.map` with a `batch_size` is the same, but for an empty batch.
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


def _recursion(audio, n_fft, config, center_hz, bandwidth_hz, power, kernel):
    padded = jnp.pad(audio, [(0, 0)] * (audio.ndim - 1) + [(0, n_fft - audio.shape[-1])])
    sizes = {"sample_rate": config.sample_rate, "order": config.order}
    band = core.gammatone_filter(padded, center_hz[None], bandwidth_hz[None], **sizes)[..., 0, :]
    return power * _smoothed(band, kernel, config.hop_length)


def _smoothed(band: Array, kernel: Array, hop_length: int) -> Array:
    energy = jnp.square(band.real) + jnp.square(band.imag)
    spectrum = jnp.fft.rfft(energy)
    row = kernel[: spectrum.shape[-1]].reshape((1,) * (energy.ndim - 1) + (-1,))
    smooth = jnp.fft.irfft(spectrum * row, energy.shape[-1])[..., ::hop_length]
    # Below zero by rounding, where it is silent beside the rest: no logarithm could be taken.
    return jnp.maximum(smooth, 0)


def _kernel_response(kernel: Array, n_fft: int) -> Array:
    """Real, as kernels are symmetric."""
    taps = kernel.shape[-1]
    centred = jnp.roll(jnp.pad(kernel, ((0, 0), (0, n_fft - taps))), -(taps // 2), axis=-1)
    return jnp.fft.rfft(centred).real


def _length(c: FrontendConfig, n_samples: int) -> int:
    """Of the transform: whole frames, room for what rings, no large prime factor."""
    narrowest_hz = float(_first_bandwidths_hz(c).min())
    ringing = c.n_taps if _has_taps(c) else math.ceil(_ROOM * 4 * c.sample_rate / narrowest_hz)
    n_frames = math.ceil((n_samples + ringing + c.win_length) / c.hop_length)
    return c.hop_length * next(n for n in range(n_frames, 2 * n_frames + 8) if _is_smooth(n))


def _is_smooth(n: int) -> bool:
    for prime in (2, 3, 5):
        while n % prime == 0:
            n //= prime
    return n == 1


def _has_taps(c: FrontendConfig) -> bool:
    return c.family == "sinc" or c.parametrization == "published"


def _first_bandwidths_hz(c: FrontendConfig) -> np.ndarray:
    """Of ordered banks, before they learn."""
    ends = {"fmin": c.fmin, "fmax": c.highest_hz, "scale": c.scale}
    centers_hz = core.frequency_grid(c.n_bands + 2, **ends)[1:-1]
    with jax.ensure_compile_time_eval():
        return np.asarray(core.hz_to_erb(jnp.asarray(centers_hz, jnp.float32)), np.float64)


def _groups(c: FrontendConfig) -> list[tuple[int, int]]:
    """Runs of bands with the factor by which their rate is lowered: (factor, end of the run)."""
    if _has_taps(c):
        return [(1, c.n_bands)]
    widths_hz = _first_bandwidths_hz(c)
    # Both sides, down to -80 dB.
    if c.family == "gabor":
        support_hz = 2 * math.sqrt(2 * math.log(1e4) / math.pi) * widths_hz
    else:
        # The beta of `core.gammatone_response`, and where its poles have fallen so far.
        beta = 4 ** (c.order - 1) / (math.pi * math.comb(2 * c.order - 2, c.order - 1))
        support_hz = 2 * beta * math.sqrt(10 ** (8 / c.order) - 1) * widths_hz
    # What folds must lie outside the low-pass too.
    needed_hz = _ROOM * support_hz + 8 * c.sample_rate / c.win_length
    possible = [d for d in (1, 2, 4, 8, 16, 32, 64) if c.hop_length % d == 0]
    factors = [max([d for d in possible if c.sample_rate / d >= hz] or [1]) for hz in needed_hz]
    ends = [i + 1 for i in range(c.n_bands) if i + 1 == c.n_bands or factors[i + 1] != factors[i]]
    return [(factors[end - 1], end) for end in ends]
