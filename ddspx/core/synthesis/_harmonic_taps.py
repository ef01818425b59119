"""The frames between which the amplitudes of harmonics are interpolated."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ddspx._choices import UpsamplingMethod
from ddspx._typing import Array, Bool, Float
from ddspx.core._numerics import varying_alike
from ddspx.core._upsampling import interpolation_weights


class Size(NamedTuple):
    """The static parameters of a synthesis."""

    hop_length: int
    sample_rate: int
    method: UpsamplingMethod

    @property
    def offsets(self) -> tuple[int, ...]:
        """The frames of a hop, relative to that at its start."""
        return interpolation_weights(self.hop_length, self.method)[0]

    def weights(self, taps: tuple[Array, ...]) -> Float[Array, "taps hop_length"]:
        """The weights of these frames at each sample of a hop."""
        weights = interpolation_weights(self.hop_length, self.method)[1]
        return varying_alike(jnp.asarray(weights, taps[0].dtype), *taps)[0]


def taps_of(
    products: Float[Array, "*batch frames harmonics"],
    pitched: Bool[Array, "*batch hops"],
    size: Size,
) -> tuple[Float[Array, "*batch hops harmonics"], ...]:
    """The frames between which each hop interpolates.

    The edge frames are repeated outward, and a hop that starts at the last frame holds it. A hop
    without a pitch lies between silent frames, but cubic interpolation also reads the frames beyond
    those, so its taps are masked.
    """
    frames, n_hops = products.shape[-2], pitched.shape[-1]
    first, last = products[..., :1, :], products[..., -1:, :]
    before, after = -size.offsets[0], size.offsets[-1]
    extended = jnp.concatenate([first] * before + [products] + [last] * after, axis=-2)
    n_taps = len(size.offsets)
    taps = [jax.lax.slice_in_dim(extended, t, t + n_hops, axis=-2) for t in range(n_taps)]
    if n_taps > 2:
        held = np.arange(n_hops)[:, None] == frames - 1
        taps = [jnp.where(pitched[..., None], jnp.where(held, last, tap), 0) for tap in taps]
    return tuple(taps)
