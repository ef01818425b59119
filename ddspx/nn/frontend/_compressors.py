"""Compressions of band energies, some with trainable parameters."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ddspx import core
from ddspx._typing import Array, Float
from ddspx.nn._variables import number
from ddspx.nn.frontend._compressions import (
    DecibelCompression,
    LeafPcenCompression,
    Log1pCompression,
    LogCompression,
    NoCompression,
    PcenCompression,
)
from ddspx.nn.frontend._config import FrontendConfig

# The lower limit of the energies in LEAF.
_LEAF_FLOOR = 1e-5
# The lower limit of the bias. LEAF has none, and below 0 its root is NaN.
_LEAST_BIAS = 1e-5

Energies = Float[Array, "*batch frames bands"]


class Identity(nnx.Module):
    """No compression."""

    def __init__(self, config: FrontendConfig, compression: NoCompression):
        self.config = compression

    def __call__(self, energies: Energies) -> Energies:
        """Returns the energies unchanged."""
        return energies


class Log(nnx.Module):
    """The natural logarithm."""

    def __init__(self, config: FrontendConfig, compression: LogCompression):
        self.config = compression

    def __call__(self, energies: Energies) -> Energies:
        """Compressed energies; silence gives the logarithm of the floor."""
        return jnp.log(energies + self.config.floor)


class Decibel(nnx.Module):
    """Levels in dB."""

    def __init__(self, config: FrontendConfig, compression: DecibelCompression):
        self.config = compression

    def __call__(self, energies: Energies) -> Energies:
        """Compressed energies; silence gives the level of the floor."""
        return (10 / math.log(10)) * jnp.log(energies + self.config.floor)


class Log1p(nnx.Module):
    """The logarithm of 1 + factor * energy; the parameter is the logarithm of the factor."""

    def __init__(self, config: FrontendConfig, compression: Log1pCompression):
        log_factor = np.zeros(config.n_bands) - math.log(compression.floor)
        self.log_factor = number(log_factor, trainable=compression.trainable)

    def __call__(self, energies: Energies) -> Energies:
        """Compressed energies; silence gives 0."""
        row = (1,) * (energies.ndim - 1) + (-1,)
        factor = jnp.exp(self.log_factor[...]).astype(energies.dtype)
        return jnp.log1p(energies * factor.reshape(row))


class Pcen(nnx.Module):
    """PCEN of each band.

    The parameters are the logits of smoothing, gain and power and the logarithm of the bias. So
    training keeps the first three between 0 and 1, and the bias positive.
    """

    def __init__(self, config: FrontendConfig, compression: PcenCompression):
        self.config = compression
        learn, bands = compression.trainable, np.zeros(config.n_bands)
        rates = {"sample_rate": config.sample_rate, "hop_length": config.hop_length}
        # Makes `smoothing` a number even if the module is built while JAX traces a function.
        with jax.ensure_compile_time_eval():
            smoothing = float(core.pcen_smoothing(0.4, **rates))
        logit = math.log(smoothing / (1 - smoothing))
        self.smoothing_logit = number(bands + logit, trainable=learn)
        self.gain_logit = number(bands + math.log(0.98 / 0.02), trainable=learn)
        self.log_bias = number(bands + math.log(2.0), trainable=learn)
        self.power_logit = number(bands, trainable=learn)

    def __call__(self, energies: Energies) -> Energies:
        """Compressed energies; silence gives 0."""

        def cast(values: Array) -> Array:
            return values.astype(energies.dtype)

        return core.pcen(
            energies,
            cast(jax.nn.sigmoid(self.smoothing_logit[...])),
            gain=cast(jax.nn.sigmoid(self.gain_logit[...])),
            bias=cast(jnp.exp(self.log_bias[...])),
            power=cast(jax.nn.sigmoid(self.power_logit[...])),
            eps=self.config.floor,
            initial="first",
        )


class LeafPcen(nnx.Module):
    """LEAF's PCEN, which trains its coefficients directly and clips them."""

    def __init__(self, config: FrontendConfig, compression: LeafPcenCompression):
        self.config = compression
        learn, bands = compression.trainable, np.zeros(config.n_bands)
        self.smoothing = number(bands + 0.04, trainable=learn)
        self.gain = number(bands + 0.96, trainable=learn)
        self.bias = number(bands + 2.0, trainable=learn)
        self.root = number(bands + 2.0, trainable=learn)

    def __call__(self, energies: Energies) -> Energies:
        """Compressed energies."""
        numbers = {
            "gain": jnp.minimum(self.gain[...], 1),
            "bias": jnp.maximum(self.bias[...], _LEAST_BIAS),
            "power": 1 / jnp.maximum(self.root[...], 1),
        }
        return core.pcen(
            jnp.maximum(energies, _LEAF_FLOOR),
            jnp.clip(self.smoothing[...], 0, 1).astype(energies.dtype),
            **{name: x.astype(energies.dtype) for name, x in numbers.items()},
            eps=self.config.floor,
            initial="first",
        )


Compressor = Identity | Log | Decibel | Log1p | Pcen | LeafPcen
_COMPRESSORS: dict[type, Callable[[FrontendConfig, Any], Compressor]] = {
    NoCompression: Identity,
    LogCompression: Log,
    DecibelCompression: Decibel,
    Log1pCompression: Log1p,
    PcenCompression: Pcen,
    LeafPcenCompression: LeafPcen,
}


def compressor(config: FrontendConfig) -> Compressor:
    """Builds the compression of a config, with its initial parameters."""
    return _COMPRESSORS[type(config.compression)](config, config.compression)
