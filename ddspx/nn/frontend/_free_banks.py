"""Filter banks with a free weight for each bin of a power spectrum."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ddspx import core
from ddspx._typing import Array, Float
from ddspx.nn._variables import number
from ddspx.nn.frontend._config import FrontendConfig
from ddspx.nn.frontend._filters import FreeFilters
from ddspx.nn.frontend._responses import band_range, bin_power, bins_hz


class FreeBank(nnx.Module):
    """A free weight for each bin of a power spectrum; the response is its absolute value."""

    def __init__(self, config: FrontendConfig, filters: FreeFilters):
        self.config = config
        corners = core.frequency_grid(config.n_bands + 2, **band_range(config))
        bins = np.fft.rfftfreq(config.n_fft, 1 / config.sample_rate)
        arrays = (jnp.asarray(values, jnp.float32) for values in (bins, corners))
        # Makes `weights` NumPy numbers even if the module is built while JAX traces a function.
        with jax.ensure_compile_time_eval():
            weights = np.asarray(core.triangular_response(*arrays))
        self.weights = number(weights, trainable=filters.trainable)

    def centers_hz(self) -> Float[Array, " bands"]:
        """Centre of gravity of each band's weights, in Hz."""
        power, bins = self._power_and_bins()
        return power @ bins

    def bandwidths_hz(self) -> Float[Array, " bands"]:
        """Equivalent rectangular bandwidth of each band, in Hz; 0 if all its weights are 0.

        It is the width of the rectangle with the same area and height as the weights.
        """
        power, _ = self._power_and_bins()
        peak = jnp.max(power, axis=-1)
        bin_hz = self.config.sample_rate / self.config.n_fft
        return jnp.where(peak > 0, bin_hz / jnp.where(peak > 0, peak, 1), 0)

    def power_response(self, n_fft: int) -> Float[Array, "bands bins"]:
        """The absolute values of the weights; `n_fft` must be that of the config."""
        if n_fft != self.config.n_fft:
            raise ValueError(
                f"`n_fft` must be that of the config, {self.config.n_fft}, got {n_fft}: free "
                "weights are defined only on the bins of that transform."
            )
        weights = self.weights[...]
        # Unlike `abs`, this has a gradient of 1 at 0, so that weights of 0 can be trained.
        return jnp.where(weights >= 0, weights, -weights)

    def _power_and_bins(self) -> tuple[Array, Array]:
        power = self.power_response(self.config.n_fft)
        bins = jnp.abs(bins_hz(self.config.sample_rate, self.config.n_fft))
        total = jnp.sum(power, axis=-1, keepdims=True)
        return core.safe_divide(power, total), bins[: power.shape[-1]]


class KapreBank(FreeBank):
    """kapre's weights, which are applied to the squared magnitudes of the bins without scale."""

    def power_response(self, n_fft: int) -> Float[Array, "bands bins"]:
        """The absolute values of the weights, over the scale from squared magnitudes to power."""
        return super().power_response(n_fft) / bin_power(self.config)
