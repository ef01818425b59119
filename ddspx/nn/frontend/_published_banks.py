"""Filter banks with the parameters and limits of the published SpectNet, LEAF and SincNet."""

import math

import jax.numpy as jnp
import numpy as np
from flax import nnx

from ddspx import core
from ddspx._typing import Array, Complex, Float
from ddspx.nn._variables import number
from ddspx.nn.frontend._config import FrontendConfig
from ddspx.nn.frontend._filters import LeafFilters, SincNetFilters, SpectNetFilters
from ddspx.nn.frontend._responses import (
    band_range,
    power_of,
    sinc_bandwidths_hz,
    sinc_response,
    taps_response,
)

# LEAF clips the width of a filter, in samples, to between 4 and `n_taps` times this.
_HALF_WIDTH = math.sqrt(2 * math.log(2)) / math.pi
# SincNet's lowest corner and narrowest band, in Hz.
_LEAST_HZ = 50.0
# The equivalent rectangular bandwidth of a SpectNet filter, over its decay parameter beta.
_ERB_PER_BETA = 1 / 1.0186


class SpectNetBank(nnx.Module):
    """SpectNet's parameters: centres and bandwidths in Hz and amplitudes, none of them limited."""

    def __init__(self, config: FrontendConfig, filters: SpectNetFilters):
        self.config, self.filters = config, filters
        grid = core.frequency_grid(max(2, config.n_bands), **band_range(config))[: config.n_bands]
        learn, ones = filters.trainable, np.ones(config.n_bands)
        self.frequencies_hz = number(grid, trainable="centers" in learn)
        betas_hz, amplitudes = 100 * ones, 1e4 * ones
        if filters.fill_gaps and config.n_bands > 1:
            betas_hz = np.maximum(betas_hz, np.gradient(grid) / _ERB_PER_BETA)
            # The gain at a centre is a (n - 1)! fs / (2 (2 pi beta)^n).
            amplitudes *= (betas_hz / 100) ** filters.order * 1000 / config.sample_rate
        self.betas_hz = number(betas_hz, trainable="bandwidths" in learn)
        self.amplitudes = number(amplitudes, trainable="gains" in learn)

    def centers_hz(self) -> Float[Array, " bands"]:
        """Centre of each band, in Hz."""
        return self.frequencies_hz[...]

    def bandwidths_hz(self) -> Float[Array, " bands"]:
        """Equivalent rectangular bandwidth of each band, in Hz."""
        return _ERB_PER_BETA * self.betas_hz[...]

    def response(self, n_fft: int) -> Complex[Array, "bands bins"]:
        """Frequency response at all bins, including the negative frequencies."""
        filters, numbers = self.filters, (self.frequencies_hz, self.betas_hz, self.amplitudes)
        taps = core.spectnet_impulse_response(
            *(x[...] for x in numbers),
            sample_rate=self.config.sample_rate,
            n_taps=filters.n_taps,
            order=filters.order,
        )
        # SpectNet's layer correlates instead of convolving: its filters are reversed in time.
        return jnp.conj(taps_response(taps, n_fft, middle=0))

    def power_response(self, n_fft: int) -> Float[Array, "bands bins"]:
        """Power gain at the bins from 0 Hz to Nyquist; positive and negative frequencies added."""
        return power_of(self.response(n_fft))


class LeafBank(nnx.Module):
    """LEAF's parameters: centres in radians per sample and widths in samples, both clipped."""

    def __init__(self, config: FrontendConfig, filters: LeafFilters):
        self.config, self.filters = config, filters
        c, learn = config, filters.trainable
        grid = core.frequency_grid(c.n_bands + 2, **band_range(c))
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
        limits = 4 * _HALF_WIDTH, self.filters.n_taps * _HALF_WIDTH
        widths = jnp.clip(self.widths[...], *limits)
        return self.config.sample_rate / (2 * math.sqrt(math.pi)) / widths

    def response(self, n_fft: int) -> Complex[Array, "bands bins"]:
        """Frequency response at all bins, including the negative frequencies."""
        n_taps = self.filters.n_taps
        taps = core.gabor_impulse_response(
            self.centers_hz(),
            self.bandwidths_hz(),
            sample_rate=self.config.sample_rate,
            win_length=n_taps,
        )
        return taps_response(taps, n_fft, middle=n_taps // 2)

    def power_response(self, n_fft: int) -> Float[Array, "bands bins"]:
        """Power gain at the bins from 0 Hz to Nyquist; positive and negative frequencies added."""
        return power_of(self.response(n_fft))


class SincNetBank(nnx.Module):
    """SincNet's parameters: low corners and widths in Hz, above a minimum of 50 Hz.

    The absolute values of the parameters are added to the minimum.
    """

    def __init__(self, config: FrontendConfig, filters: SincNetFilters):
        self.config, self.filters = config, filters
        c, learn = config, filters.trainable
        grid = core.frequency_grid(c.n_bands + 1, **band_range(c))
        # As in LEAF's implementation of SincNet, the minimum is added on top of these values.
        self.low_hz = number(grid[:-1], trainable="centers" in learn)
        self.band_hz = number(np.diff(grid), trainable="bandwidths" in learn)

    def centers_hz(self) -> Float[Array, " bands"]:
        """Centre of each band, in Hz."""
        low_hz, high_hz = self._corners()
        return (low_hz + high_hz) / 2

    def bandwidths_hz(self) -> Float[Array, " bands"]:
        """Equivalent rectangular bandwidth of each band, in Hz."""
        sizes = self.config.sample_rate, self.filters.n_taps
        return sinc_bandwidths_hz(*sizes, self._widths_hz())

    def response(self, n_fft: int) -> Complex[Array, "bands bins"]:
        """Frequency response at all bins, including the negative frequencies."""
        sizes = self.config.sample_rate, self.filters.n_taps
        bands = self.centers_hz(), self._widths_hz()
        return sinc_response(*sizes, *bands, n_fft, unit=False)

    def power_response(self, n_fft: int) -> Float[Array, "bands bins"]:
        """Power gain at the bins from 0 Hz to Nyquist; positive and negative frequencies added."""
        return power_of(self.response(n_fft))

    def _widths_hz(self) -> Array:
        low_hz, high_hz = self._corners()
        return high_hz - low_hz

    def _corners(self) -> tuple[Array, Array]:
        low_hz = _LEAST_HZ + jnp.abs(self.low_hz[...])
        high_hz = low_hz + _LEAST_HZ + jnp.abs(self.band_hz[...])
        return low_hz, jnp.clip(high_hz, _LEAST_HZ, self.config.sample_rate / 2)
