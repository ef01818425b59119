"""Banks of filters that learn: their numbers, and what those are as filters."""

import math
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ddspx import core
from ddspx._typing import Array, Complex, Float
from ddspx.nn._frontend_config import FrontendConfig
from ddspx.nn._variables import number

# LEAF's least and greatest width of a filter, in samples over those of 1 / pi and of all taps.
_HALF_WIDTH = math.sqrt(2 * math.log(2)) / math.pi
# SincNet's lowest corner and narrowest band, in Hz.
_LEAST_HZ = 50.0
# What multiplies a bandwidth of SpectNet's (in the exponent) for one that is equivalent.
_ERB_PER_BETA = 1 / 1.0186


def bank(config: FrontendConfig) -> "Bank":
    """The bank that a config asks for: `centers_hz`, `bandwidths_hz`, `power_response`."""
    if config.family == "free":
        return FreeBank(config)
    if config.parametrization == "ordered":
        return OrderedBank(config)
    return {"gammatone": SpectNetBank, "gabor": LeafBank, "sinc": SincNetBank}[config.family](
        config
    )


@runtime_checkable
class Bank(Protocol):
    """What banks share: centres and bandwidths in Hz, and what they pass of a spectrum."""

    config: FrontendConfig

    def centers_hz(self) -> Float[Array, " bands"]:
        """Centre of each band, in Hz."""
        ...

    def bandwidths_hz(self) -> Float[Array, " bands"]:
        """Equivalent rectangular bandwidth of each band, in Hz."""
        ...

    def power_response(self, n_fft: int) -> Float[Array, "bands bins"]:
        """What passes of the power at the bins from 0 Hz to Nyquist, of both signs together."""
        ...


@runtime_checkable
class FilterBank(Bank, Protocol):
    """A bank of linear filters, which has a phase too."""

    def response(self, n_fft: int) -> Complex[Array, "bands bins"]:
        """Frequency response at all bins of a transform, those of negative frequencies too."""
        ...


class OrderedBank(nnx.Module):
    r"""Centres that keep their order, and bandwidths as factors of the ear's.

    .. math:: c = s^{-1}(\textstyle\sum \mathrm{softmax}\,\gamma), \qquad
        B_i = e^{\theta_i} \mathrm{ERB}(c_i), \qquad g_i \text{ in dB}
    """

    def __init__(self, config: FrontendConfig):
        self.config = config
        zeros, learn = np.zeros(config.n_bands), config.trainable
        self.gaps = number(np.zeros(config.n_bands + 1), trainable="centers" in learn)
        if config.family != "triangular":
            self.log_bandwidths = number(zeros, trainable="bandwidths" in learn)
        self.gains_db = number(zeros, trainable="gains" in learn)

    def centers_hz(self) -> Float[Array, " bands"]:
        """Centre of each band, in Hz."""
        c = self.config
        ends = {"fmin": c.fmin, "fmax": c.highest_hz, "scale": c.scale}
        return core.ordered_frequencies(self.gaps[...], **ends)

    def bandwidths_hz(self) -> Float[Array, " bands"]:
        """Equivalent rectangular bandwidth of each band, in Hz."""
        if self.config.family == "triangular":
            corners = self._corners(self.centers_hz())
            return (corners[2:] - corners[:-2]) / 2
        if self.config.family == "sinc":
            return _sinc_bandwidths_hz(self.config, self._widths_hz())
        return self._widths_hz()

    def response(self, n_fft: int) -> Complex[Array, "bands bins"]:
        """Frequency response at all bins, those of negative frequencies too."""
        c, bands = self.config, (self.centers_hz(), self._widths_hz())
        bins = _bins_hz(c.sample_rate, n_fft)
        if c.family == "gammatone":
            response = core.gammatone_response(
                bins, *bands, sample_rate=c.sample_rate, order=c.order
            )
        elif c.family == "gabor":
            response = core.gabor_response(bins, *bands).astype(jnp.complex64)
        else:
            response = _sinc_response(c, *bands, n_fft, unit=True)
        return response * core.db_to_amplitude(self.gains_db[...])[:, None]

    def power_response(self, n_fft: int) -> Float[Array, "bands bins"]:
        """What passes of the power at the bins from 0 Hz to Nyquist, of both signs together."""
        if self.config.family != "triangular":
            return _power(self.response(n_fft))
        bins = _bins_hz(self.config.sample_rate, n_fft)[: n_fft // 2 + 1]
        power = core.triangular_response(jnp.abs(bins), self._corners(self.centers_hz()))
        return power * core.db_to_power(self.gains_db[...])[:, None]

    def _widths_hz(self) -> Array:
        return core.hz_to_erb(self.centers_hz()) * jnp.exp(self.log_bandwidths[...])

    def _corners(self, centers_hz: Array) -> Array:
        ends = jnp.asarray([self.config.fmin, self.config.highest_hz], centers_hz.dtype)
        return jnp.concatenate([ends[:1], centers_hz, ends[1:]])


class SpectNetBank(nnx.Module):
    """SpectNet's numbers: centres and bandwidths in Hz, amplitudes, none of them limited."""

    def __init__(self, config: FrontendConfig):
        self.config = config
        ends = {"fmin": config.fmin, "fmax": config.highest_hz, "scale": config.scale}
        grid = core.frequency_grid(max(2, config.n_bands), **ends)[: config.n_bands]
        learn, ones = config.trainable, np.ones(config.n_bands)
        self.frequencies_hz = number(grid, trainable="centers" in learn)
        betas_hz, amplitudes = 100 * ones, 1e4 * ones
        if config.fill_gaps and config.n_bands > 1:
            betas_hz = np.maximum(betas_hz, np.gradient(grid) / _ERB_PER_BETA)
            # The gain at a centre is a (n - 1)! fs / (2 (2 pi beta)^n).
            amplitudes *= (betas_hz / 100) ** config.order * 1000 / config.sample_rate
        self.betas_hz = number(betas_hz, trainable="bandwidths" in learn)
        self.amplitudes = number(amplitudes, trainable="gains" in learn)

    def centers_hz(self) -> Float[Array, " bands"]:
        """Centre of each band, in Hz."""
        return self.frequencies_hz[...]

    def bandwidths_hz(self) -> Float[Array, " bands"]:
        """Equivalent rectangular bandwidth of each band, in Hz."""
        return _ERB_PER_BETA * self.betas_hz[...]

    def response(self, n_fft: int) -> Complex[Array, "bands bins"]:
        """Frequency response at all bins, those of negative frequencies too."""
        c = self.config
        numbers = self.frequencies_hz[...], self.betas_hz[...], self.amplitudes[...]
        sizes = {"sample_rate": c.sample_rate, "n_taps": c.n_taps, "order": c.order}
        taps = core.spectnet_impulse_response(*numbers, **sizes)
        # Its layer correlates: the filters run backward in time.
        return jnp.conj(_taps_response(taps, n_fft, middle=0))

    def power_response(self, n_fft: int) -> Float[Array, "bands bins"]:
        """What passes of the power at the bins from 0 Hz to Nyquist, of both signs together."""
        return _power(self.response(n_fft))


class LeafBank(nnx.Module):
    """LEAF's numbers: centres in radians a sample and widths in samples, with its limits."""

    def __init__(self, config: FrontendConfig):
        self.config = config
        c, learn = config, config.trainable
        grid = core.frequency_grid(c.n_bands + 2, fmin=c.fmin, fmax=c.highest_hz, scale=c.scale)
        centers = 2 * math.pi * grid[1:-1] / c.sample_rate
        self.centers_rad = number(centers, trainable="centers" in learn)
        widths = c.sample_rate / 2 / (grid[2:] - grid[:-2])
        self.widths = number(widths, trainable="bandwidths" in learn)

    def centers_hz(self) -> Float[Array, " bands"]:
        """Centre of each band, in Hz."""
        rate = self.config.sample_rate / (2 * math.pi)
        return rate * jnp.clip(self.centers_rad[...], 0, math.pi)

    def bandwidths_hz(self) -> Float[Array, " bands"]:
        """Equivalent rectangular bandwidth of each band, in Hz."""
        limits = 4 * _HALF_WIDTH, self.config.n_taps * _HALF_WIDTH
        widths = jnp.clip(self.widths[...], *limits)
        return self.config.sample_rate / (2 * math.sqrt(math.pi)) / widths

    def response(self, n_fft: int) -> Complex[Array, "bands bins"]:
        """Frequency response at all bins, those of negative frequencies too."""
        c = self.config
        taps = core.gabor_impulse_response(
            self.centers_hz(),
            self.bandwidths_hz(),
            sample_rate=c.sample_rate,
            win_length=c.n_taps,
        )
        return _taps_response(taps, n_fft, middle=c.n_taps // 2)

    def power_response(self, n_fft: int) -> Float[Array, "bands bins"]:
        """What passes of the power at the bins from 0 Hz to Nyquist, of both signs together."""
        return _power(self.response(n_fft))


class SincNetBank(nnx.Module):
    """SincNet's numbers: low corners and widths in Hz over the least ones, by their moduli."""

    def __init__(self, config: FrontendConfig):
        self.config = config
        c, learn = config, config.trainable
        grid = core.frequency_grid(c.n_bands + 1, fmin=c.fmin, fmax=c.highest_hz, scale=c.scale)
        # As in LEAF's copy, the least ones are added again.
        self.low_hz = number(grid[:-1], trainable="centers" in learn)
        self.band_hz = number(np.diff(grid), trainable="bandwidths" in learn)

    def centers_hz(self) -> Float[Array, " bands"]:
        """Centre of each band, in Hz."""
        low_hz, high_hz = self._corners()
        return (low_hz + high_hz) / 2

    def bandwidths_hz(self) -> Float[Array, " bands"]:
        """Equivalent rectangular bandwidth of each band, in Hz."""
        return _sinc_bandwidths_hz(self.config, self._widths_hz())

    def response(self, n_fft: int) -> Complex[Array, "bands bins"]:
        """Frequency response at all bins, those of negative frequencies too."""
        bands = self.centers_hz(), self._widths_hz()
        return _sinc_response(self.config, *bands, n_fft, unit=False)

    def power_response(self, n_fft: int) -> Float[Array, "bands bins"]:
        """What passes of the power at the bins from 0 Hz to Nyquist, of both signs together."""
        return _power(self.response(n_fft))

    def _widths_hz(self) -> Array:
        low_hz, high_hz = self._corners()
        return high_hz - low_hz

    def _corners(self) -> tuple[Array, Array]:
        low_hz = _LEAST_HZ + jnp.abs(self.low_hz[...])
        high_hz = low_hz + _LEAST_HZ + jnp.abs(self.band_hz[...])
        return low_hz, jnp.clip(high_hz, _LEAST_HZ, self.config.sample_rate / 2)


class FreeBank(nnx.Module):
    """Any weights on the bins of a power spectrum, of which the moduli count.

    As published, by kapre, they are on the bare power of the bins.
    """

    def __init__(self, config: FrontendConfig):
        self.config = config
        ends = {"fmin": config.fmin, "fmax": config.highest_hz, "scale": config.scale}
        corners = core.frequency_grid(config.n_bands + 2, **ends)
        bins = np.fft.rfftfreq(config.n_fft, 1 / config.sample_rate)
        arrays = (jnp.asarray(values, jnp.float32) for values in (bins, corners))
        # Numbers also where the module is made within a trace.
        with jax.ensure_compile_time_eval():
            weights = np.asarray(core.triangular_response(*arrays))
        self.weights = number(weights, trainable="weights" in config.trainable)

    def centers_hz(self) -> Float[Array, " bands"]:
        """Centre of gravity of each band's weights, in Hz."""
        power, bins = self._power_and_bins()
        return power @ bins

    def bandwidths_hz(self) -> Float[Array, " bands"]:
        """Width of the rectangle with the area and the height of each band's weights, in Hz.

        Of a band without weights it is 0.
        """
        power, _ = self._power_and_bins()
        peak = jnp.max(power, axis=-1)
        bin_hz = self.config.sample_rate / self.config.n_fft
        return jnp.where(peak > 0, bin_hz / jnp.where(peak > 0, peak, 1), 0)

    def power_response(self, n_fft: int) -> Float[Array, "bands bins"]:
        """The moduli of the weights; `n_fft` is that of the config."""
        if n_fft != self.config.n_fft:
            raise ValueError(
                f"`n_fft` must be that of the config, {self.config.n_fft}, got {n_fft}: free "
                "weights are on its bins alone."
            )
        weights = self.weights[...]
        # The gradient at 0 is 1, where that of `abs` is 0: a weight of zero can begin to grow.
        power = jnp.where(weights >= 0, weights, -weights)
        return power / bin_power(self.config) if self._is_kapres else power

    @property
    def _is_kapres(self) -> bool:
        return self.config.parametrization == "published"

    def _power_and_bins(self) -> tuple[Array, Array]:
        power = self.power_response(self.config.n_fft)
        bins = jnp.abs(_bins_hz(self.config.sample_rate, self.config.n_fft))
        total = jnp.sum(power, axis=-1, keepdims=True)
        return core.safe_divide(power, total), bins[: power.shape[-1]]


def bin_power(config: FrontendConfig) -> Float[Array, "1 bins"]:
    """What turns the power of a windowed frame's bins into that of both signs of frequency."""
    window = core.hann_window(config.win_length, dtype=np.float64)
    power = np.full((1, config.n_fft // 2 + 1), 2 / (config.n_fft * np.sum(np.square(window))))
    power[:, 0] /= 2
    if config.n_fft % 2 == 0:
        power[:, -1] /= 2
    return jnp.asarray(power, jnp.float32)


def _power(response: Array) -> Array:
    """Of both signs of frequency together, from 0 Hz to Nyquist."""
    power = jnp.square(response.real) + jnp.square(response.imag)
    negative = jnp.roll(power[:, ::-1], 1, axis=-1)
    return (power + negative)[:, : power.shape[-1] // 2 + 1]


def _bins_hz(sample_rate: int, n_fft: int) -> Array:
    return jnp.asarray(np.fft.fftfreq(n_fft, 1 / sample_rate), jnp.float32)


def _sinc_lowpass(c: FrontendConfig, widths_hz: Array) -> Array:
    """Real taps of the bands, moved to 0 Hz: from minus to plus half of the width."""
    half = widths_hz / 2
    return core.sinc_bandpass(-half, half, sample_rate=c.sample_rate, win_length=c.n_taps)


def _sinc_bandwidths_hz(c: FrontendConfig, widths_hz: Array) -> Array:
    """Equivalent rectangular bandwidths, by Parseval: few taps are wider than asked for."""
    low_pass = _sinc_lowpass(c, widths_hz)
    peak = jnp.square(jnp.sum(low_pass, axis=-1))
    return c.sample_rate * core.safe_divide(jnp.sum(jnp.square(low_pass), axis=-1), peak)


def _sinc_response(
    c: FrontendConfig, centers_hz: Array, widths_hz: Array, n_fft: int, *, unit: bool
) -> Array:
    """Of the windowed sinc of each band's width, moved to its centre.

    A band that is narrower than the taps can resolve has less than 1 there, unless it is `unit`.
    """
    low_pass = _sinc_lowpass(c, widths_hz)
    if unit:
        low_pass = 2 * low_pass / jnp.sum(low_pass, axis=-1, keepdims=True)
    lags = np.arange(c.n_taps, dtype=np.float32) - c.n_taps // 2
    angle = (2 * math.pi / c.sample_rate) * centers_hz[:, None] * lags[None]
    taps = jax.lax.complex(low_pass * jnp.cos(angle), low_pass * jnp.sin(angle))
    return _taps_response(taps / 2, n_fft, middle=c.n_taps // 2)


def _taps_response(taps: Array, n_fft: int, *, middle: int) -> Array:
    """The spectrum of taps at the bins, without the delay of the middle one."""
    bands, n_taps = taps.shape
    # Taps that are a transform apart have the same phase at its bins.
    folded = jnp.pad(taps, ((0, 0), (0, -n_taps % n_fft))).reshape(bands, -1, n_fft).sum(1)
    return jnp.fft.fft(jnp.roll(folded, -middle, axis=-1), n_fft)
