"""Banks of free weights on the bins of a power spectrum."""

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
    """Any weights on the bins of a power spectrum, of which the moduli count."""

    def __init__(self, config: FrontendConfig, filters: FreeFilters):
        self.config = config
        corners = core.frequency_grid(config.n_bands + 2, **band_range(config))
        bins = np.fft.rfftfreq(config.n_fft, 1 / config.sample_rate)
        arrays = (jnp.asarray(values, jnp.float32) for values in (bins, corners))
        # Numbers also where the module is made within a trace.
        with jax.ensure_compile_time_eval():
            weights = np.asarray(core.triangular_response(*arrays))
        self.weights = number(weights, trainable=filters.trainable)

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
        return jnp.where(weights >= 0, weights, -weights)

    def _power_and_bins(self) -> tuple[Array, Array]:
        power = self.power_response(self.config.n_fft)
        bins = jnp.abs(bins_hz(self.config.sample_rate, self.config.n_fft))
        total = jnp.sum(power, axis=-1, keepdims=True)
        return core.safe_divide(power, total), bins[: power.shape[-1]]


class KapreBank(FreeBank):
    """kapre's: the weights are on the bare power of the bins."""

    def power_response(self, n_fft: int) -> Float[Array, "bands bins"]:
        """The moduli of the weights over what turns the bare power into that of a sound."""
        return super().power_response(n_fft) / bin_power(self.config)
