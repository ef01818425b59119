"""Filter banks with ordered centres: their parameters and frequency responses."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ddspx import core
from ddspx._typing import Array, Complex, Float
from ddspx.nn._variables import number
from ddspx.nn.frontend._config import FrontendConfig
from ddspx.nn.frontend._filters import (
    GaborFilters,
    GammatoneFilters,
    SincFilters,
    TriangularFilters,
)
from ddspx.nn.frontend._responses import (
    band_range,
    bins_hz,
    power_of,
    sinc_bandwidths_hz,
    sinc_response,
)


class OrderedBank(nnx.Module):
    r"""The base of ordered banks: centres that keep their order, and gains.

    .. math:: c = s^{-1}(\sum \mathrm{softmax}\,\gamma), \qquad g_i \text{ in dB}
    """

    def __init__(self, config: FrontendConfig, trainable: tuple[str, ...]):
        self.config = config
        self.gaps = number(np.zeros(config.n_bands + 1), trainable="centers" in trainable)
        self.gains_db = number(np.zeros(config.n_bands), trainable="gains" in trainable)

    def centers_hz(self) -> Float[Array, " bands"]:
        """Centre of each band, in Hz."""
        return core.ordered_frequencies(self.gaps[...], **band_range(self.config))


class TriangularBank(OrderedBank):
    """Triangles on a power spectrum, each from one neighbouring centre to the other."""

    def __init__(self, config: FrontendConfig, filters: TriangularFilters):
        super().__init__(config, filters.trainable)

    def bandwidths_hz(self) -> Float[Array, " bands"]:
        """Equivalent rectangular bandwidth of each band, in Hz."""
        corners = self._corners()
        return (corners[2:] - corners[:-2]) / 2

    def power_response(self, n_fft: int) -> Float[Array, "bands bins"]:
        """Power gain at the bins from 0 Hz to Nyquist; positive and negative frequencies added."""
        bins = bins_hz(self.config.sample_rate, n_fft)[: n_fft // 2 + 1]
        power = core.triangular_response(jnp.abs(bins), self._corners())
        return power * core.db_to_power(self.gains_db[...])[:, None]

    def _corners(self) -> Array:
        centers_hz = self.centers_hz()
        ends = jnp.asarray([self.config.fmin, self.config.highest_hz], centers_hz.dtype)
        return jnp.concatenate([ends[:1], centers_hz, ends[1:]])


class OrderedFilterBank(OrderedBank):
    r"""The base of ordered banks of filters: bandwidths relative to those of the ear.

    .. math:: B_i = e^{\theta_i} \mathrm{ERB}(c_i)
    """

    def __init__(self, config: FrontendConfig, trainable: tuple[str, ...]):
        super().__init__(config, trainable)
        is_learning = "bandwidths" in trainable
        self.log_bandwidths = number(np.zeros(config.n_bands), trainable=is_learning)

    def bandwidths_hz(self) -> Float[Array, " bands"]:
        """Equivalent rectangular bandwidth of each band, in Hz."""
        return self.widths_hz()

    def widths_hz(self) -> Float[Array, " bands"]:
        """The nominal bandwidth of each filter, in Hz."""
        return core.hz_to_erb(self.centers_hz()) * jnp.exp(self.log_bandwidths[...])

    def first_widths_hz(self) -> np.ndarray:
        """The nominal bandwidths before training, in Hz."""
        c = self.config
        centers_hz = core.frequency_grid(c.n_bands + 2, **band_range(c))[1:-1]
        with jax.ensure_compile_time_eval():
            return np.asarray(core.hz_to_erb(jnp.asarray(centers_hz, jnp.float32)), np.float64)

    def with_gains(self, response: Array) -> Array:
        """Multiplies responses, whose gain at the centre is 1, by the gains."""
        return response * core.db_to_amplitude(self.gains_db[...])[:, None]


class GammatoneBank(OrderedFilterBank):
    """Gammatones of any number of poles, `core.gammatone_response`."""

    def __init__(self, config: FrontendConfig, filters: GammatoneFilters):
        super().__init__(config, filters.trainable)
        self.filters = filters

    def response(self, n_fft: int) -> Complex[Array, "bands bins"]:
        """Frequency response at all bins, including the negative frequencies."""
        rate = self.config.sample_rate
        bands = self.centers_hz(), self.widths_hz()
        bins = bins_hz(rate, n_fft)
        return self.with_gains(
            core.gammatone_response(bins, *bands, sample_rate=rate, order=self.filters.order)
        )

    def power_response(self, n_fft: int) -> Float[Array, "bands bins"]:
        """Power gain at the bins from 0 Hz to Nyquist; positive and negative frequencies added."""
        return power_of(self.response(n_fft))

    def first_support_hz(self) -> np.ndarray:
        """The width of each band before training, between the points at -80 dB, in Hz."""
        # At a distance f from the centre, the power gain of `core.gammatone_response` is
        # (1 + (f / (beta B))^2)^-n. It is 1e-8, -80 dB, where 1 + (f / (beta B))^2 = 10^(8 / n).
        n = self.filters.order
        beta = 4 ** (n - 1) / (math.pi * math.comb(2 * n - 2, n - 1))
        return 2 * beta * math.sqrt(10 ** (8 / n) - 1) * self.first_widths_hz()


class GaborBank(OrderedFilterBank):
    """Gaussians in frequency, `core.gabor_response`."""

    def __init__(self, config: FrontendConfig, filters: GaborFilters):
        super().__init__(config, filters.trainable)

    def response(self, n_fft: int) -> Complex[Array, "bands bins"]:
        """Frequency response at all bins, including the negative frequencies."""
        bands = self.centers_hz(), self.widths_hz()
        response = core.gabor_response(bins_hz(self.config.sample_rate, n_fft), *bands)
        return self.with_gains(response.astype(jnp.complex64))

    def power_response(self, n_fft: int) -> Float[Array, "bands bins"]:
        """Power gain at the bins from 0 Hz to Nyquist; positive and negative frequencies added."""
        return power_of(self.response(n_fft))

    def first_support_hz(self) -> np.ndarray:
        """The width of each band before training, between the points at -80 dB, in Hz."""
        return 2 * math.sqrt(2 * math.log(1e4) / math.pi) * self.first_widths_hz()


class SincBank(OrderedFilterBank):
    """Windowed sincs, `core.sinc_bandpass`: rectangles in frequency, with gain 1 at the centre."""

    def __init__(self, config: FrontendConfig, filters: SincFilters):
        super().__init__(config, filters.trainable)
        self.filters = filters

    def bandwidths_hz(self) -> Float[Array, " bands"]:
        """Equivalent rectangular bandwidth of each band, in Hz; wider than nominal for few taps."""
        return sinc_bandwidths_hz(self.config.sample_rate, self.filters.n_taps, self.widths_hz())

    def response(self, n_fft: int) -> Complex[Array, "bands bins"]:
        """Frequency response at all bins, including the negative frequencies."""
        sizes, bands = (
            (self.config.sample_rate, self.filters.n_taps),
            (self.centers_hz(), self.widths_hz()),
        )
        return self.with_gains(sinc_response(*sizes, *bands, n_fft, unit=True))

    def power_response(self, n_fft: int) -> Float[Array, "bands bins"]:
        """Power gain at the bins from 0 Hz to Nyquist; positive and negative frequencies added."""
        return power_of(self.response(n_fft))
