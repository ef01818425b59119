"""The low-pass filters that smooth the energies of the bands of a whole sound."""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from ddspx._typing import Array, Float
from ddspx.nn._variables import number
from ddspx.nn.frontend._config import FrontendConfig
from ddspx.nn.frontend._paths import FftPath, LeafFftPath, RecurrentPath, SpectNetFftPath


class GaussianPooling(nnx.Module):
    r"""A Gaussian for each band, whose width can be trained.

    .. math:: p_i[k] \propto e^{-\frac12 (k / w_i)^2}, \qquad \sum_k p_i[k] = 2

    The sum is 2 so that a sine of amplitude A has the energy :math:`A^2 / 2`: the complex filters
    pass half of its amplitude.
    """

    def __init__(self, config: FrontendConfig, path: FftPath | RecurrentPath):
        self.config = config
        log_widths = np.zeros(config.n_bands) + math.log(0.4)
        self.log_widths = number(log_widths, trainable=path.trainable)

    def kernel(self) -> Float[Array, "bands taps"]:
        """Weights of the samples around a frame; their number is odd."""
        rates = jnp.exp(-self.log_widths[...])[:, None]
        weights = jnp.exp(-0.5 * jnp.square(_lags(self.config) * rates))
        return 2 * weights / jnp.sum(weights, axis=-1, keepdims=True)


class LeafPooling(nnx.Module):
    """LEAF's Gaussian of height 1; its width is a fraction of half its length, and is clipped."""

    def __init__(self, config: FrontendConfig, path: LeafFftPath):
        self.config = config
        self.widths = number(np.zeros(config.n_bands) + 0.4, trainable=path.trainable)

    def kernel(self) -> Float[Array, "bands taps"]:
        """Weights of the samples around a frame; their number is odd."""
        lags = _lags(self.config)
        widths = jnp.clip(self.widths[...], 2 / lags.shape[-1], 0.5)
        return jnp.exp(-0.5 * jnp.square(lags / widths[:, None]))


class BoxPooling(nnx.Module):
    """SpectNet's sum over the window. SpectNet's filters are real, so no factor of 2 is needed."""

    def __init__(self, config: FrontendConfig, path: SpectNetFftPath):
        self.config = config

    def kernel(self) -> Float[Array, "bands taps"]:
        """Weights of the samples around a frame; their number is odd."""
        return jnp.ones((self.config.n_bands, _lags(self.config).shape[-1]), jnp.float32)


Pooling = GaussianPooling | LeafPooling | BoxPooling
_POOLINGS: dict[type, Callable[[FrontendConfig, Any], Pooling]] = {
    FftPath: GaussianPooling,
    RecurrentPath: GaussianPooling,
    LeafFftPath: LeafPooling,
    SpectNetFftPath: BoxPooling,
}


def pooling(config: FrontendConfig) -> Pooling:
    """Builds the low-pass of the path of a config, which must not be a `StftPath`."""
    path = config.filters.path
    return _POOLINGS[type(path)](config, path)


def _lags(config: FrontendConfig) -> Array:
    """Lags over the length of the low-pass, scaled to the range from -1 to 1."""
    half = config.win_length // 2
    return jnp.arange(-half, half + 1, dtype=jnp.float32)[None] / half
