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

    def weights(self, products: Array) -> Float[Array, "taps hop_length"]:
        """The weights of these frames at each sample of a hop."""
        weights = interpolation_weights(self.hop_length, self.method)[1]
        return varying_alike(jnp.asarray(weights, products.dtype), products)[0]


def with_edges(
    products: Float[Array, "*batch frames harmonics"], size: Size
) -> Float[Array, "*batch more_frames harmonics"]:
    """The frames, with those at the edges repeated outward, as far as hops reach."""
    first, last = products[..., :1, :], products[..., -1:, :]
    before, after = -size.offsets[0], size.offsets[-1]
    return jnp.concatenate([first] * before + [products] + [last] * after, axis=-2)


def tap(
    frames: Float[Array, "*batch frames harmonics"],
    pitched: Bool[Array, "*batch hops"],
    number: int | Array,
    size: Size,
) -> Float[Array, "*batch hops harmonics"]:
    """The frame of this number for each hop, from those of `with_edges`.

    A hop that starts at the last frame holds it. A hop without a pitch lies between silent frames,
    but cubic interpolation also reads the frames beyond those, so its taps are masked.
    """
    n_hops, n_taps = pitched.shape[-1], len(size.offsets)
    taken = jax.lax.dynamic_slice_in_dim(frames, number, n_hops, axis=-2)
    if n_taps == 2:
        return taken
    held = np.arange(n_hops)[:, None] == frames.shape[-2] - n_taps
    taken = jnp.where(held, frames[..., -1:, :], taken)
    return jnp.where(pitched[..., None], taken, 0)
