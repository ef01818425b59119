"""Compression of energies, with numbers that learn."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ddspx import core
from ddspx._typing import Array, Float
from ddspx.nn._frontend_config import FrontendConfig
from ddspx.nn._variables import number

# LEAF's energies are at least this.
_LEAF_FLOOR = 1e-5
# So is its bias here: below 0, where nothing keeps it from in the original, a root is NaN.
_LEAST_BIAS = 1e-5


class Compression(nnx.Module):
    """What a config compresses energies with; an identity, or a function of each band.

    With ``log1p`` the logarithm of a factor learns; with ``pcen`` the logits of smoothing, gain
    and power and the logarithm of the bias, so that all stay where they have a meaning. LEAF's
    own are the numbers themselves, which it clips.
    """

    def __init__(self, config: FrontendConfig):
        self.config = config
        learn, bands = "compression" in config.trainable, np.zeros(config.n_bands)
        if config.compression == "log1p":
            self.log_factor = number(bands - math.log(config.floor), trainable=learn)
        elif config.compression == "pcen" and self._is_leafs:
            self.smoothing = number(bands + 0.04, trainable=learn)
            self.gain = number(bands + 0.96, trainable=learn)
            self.bias = number(bands + 2.0, trainable=learn)
            self.root = number(bands + 2.0, trainable=learn)
        elif config.compression == "pcen":
            rates = {"sample_rate": config.sample_rate, "hop_length": config.hop_length}
            # A number also where the module is made within a trace.
            with jax.ensure_compile_time_eval():
                smoothing = float(core.pcen_smoothing(0.4, **rates))
            logit = math.log(smoothing / (1 - smoothing))
            self.smoothing_logit = number(bands + logit, trainable=learn)
            self.gain_logit = number(bands + math.log(0.98 / 0.02), trainable=learn)
            self.log_bias = number(bands + math.log(2.0), trainable=learn)
            self.power_logit = number(bands, trainable=learn)

    def __call__(
        self, energies: Float[Array, "*batch frames bands"]
    ) -> Float[Array, "*batch frames bands"]:
        """Compressed energies; zero or the logarithm of the floor at silence."""
        c = self.config
        if c.compression == "none":
            return energies
        if c.compression == "log":
            return jnp.log(energies + c.floor)
        if c.compression == "db":
            return (10 / math.log(10)) * jnp.log(energies + c.floor)
        if c.compression == "log1p":
            row = (1,) * (energies.ndim - 1) + (-1,)
            factor = jnp.exp(self.log_factor[...]).astype(energies.dtype)
            return jnp.log1p(energies * factor.reshape(row))
        return self._leafs_pcen(energies) if self._is_leafs else self._pcen(energies)

    @property
    def _is_leafs(self) -> bool:
        return (self.config.family, self.config.parametrization) == ("gabor", "published")

    def _pcen(self, energies: Array) -> Array:
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

    def _leafs_pcen(self, energies: Array) -> Array:
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
