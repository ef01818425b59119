"""A synthesizer for instruments with a few timbres: learned wavetables and noise."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from ddspx import core
from ddspx._typing import Array, ArrayLike, Float, Key
from ddspx.nn._synthesizer_config import HarmonicNoiseConfig, WavetableNoiseConfig
from ddspx.nn._synthesizers import (
    HarmonicControls,
    HarmonicNoise,
    HarmonicNoiseControls,
    HarmonicNoiseState,
    noise_controls,
)


class WavetableNoise(nnx.Module):
    r"""A few learned wavetables, mixed differently in every frame, and filtered noise.

    A table is stored as the amplitudes of its harmonics, :math:`T_{wk} = \sigma(\theta_{wk})` with
    :math:`\sigma` = `core.exp_sigmoid` and the learned parameters :math:`\theta`. From the decoder
    outputs o of a frame, the amplitude A and the harmonic distribution d are

    .. math:: A = \sigma(o_0), \qquad d_k = \sum_w \mathrm{softmax}(o_1, \ldots, o_W)_w\, T_{wk}

    and d is then normalized over the harmonics below Nyquist. The audio is the mixture of the
    tables, read at the pitch, plus `core.filtered_noise`, whose bands are the remaining outputs, as
    in `HarmonicNoise`.

    Harmonics that would alias at the pitch of a frame are left out, so `core.harmonic_synthesis`
    plays the tables. It sounds like tables of infinite length, and it takes half the time and a
    quarter of the memory of reading tables of 512 entries that change in every frame.
    `wavetables` returns the tables themselves.

    Args:
      config: the sizes.
      sample_rate: samples per second. Static.
      hop_length: samples between frames. Static.
      rngs: draws the initial tables, whose harmonics k have random amplitudes around 1/k.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from flax import nnx
      >>> from ddspx.nn import WavetableNoise, WavetableNoiseConfig
      >>> config = WavetableNoiseConfig(n_wavetables=3, n_harmonics=8, n_magnitudes=5)
      >>> rates = {"sample_rate": 16000, "hop_length": 64}
      >>> synthesizer = WavetableNoise(config, **rates, rngs=nnx.Rngs(0))
      >>> outputs = jnp.zeros((26, config.n_outputs), jnp.float32)
      >>> controls = synthesizer.controls(outputs, jnp.full(26, 440.0, jnp.float32))
      >>> synthesizer(jax.random.key(0), controls).shape
      (1600,)
      >>> synthesizer.wavetables(64).shape
      (3, 64)

    References:
      Shan et al., `Differentiable Wavetable Synthesis <https://arxiv.org/abs/2111.10003>`_, ICASSP
      2022. There each sample of a table is a parameter, and tables alias at a high pitch.
    """

    def __init__(
        self,
        config: WavetableNoiseConfig,
        *,
        sample_rate: int,
        hop_length: int,
        rngs: nnx.Rngs,
    ):
        self.config, self.sample_rate = config, sample_rate
        self.player = HarmonicNoise(
            HarmonicNoiseConfig(config.n_harmonics, config.n_magnitudes),
            sample_rate=sample_rate,
            hop_length=hop_length,
        )
        shape = (config.n_wavetables, config.n_harmonics)
        slope = jnp.log(jnp.arange(1, config.n_harmonics + 1, dtype=jnp.float32))
        drawn = jax.random.normal(rngs.params(), shape, jnp.float32)
        self.tables = nnx.Param(drawn - slope[None])

    def wavetables(self, table_length: int = 2048) -> Float[Array, "tables entries"]:
        """One period of each table, for `core.wavetable_synthesis`, for a file or for a plot.

        Raises:
          ValueError: `table_length` is not more than twice the number of harmonics.
        """
        harmonics = core.exp_sigmoid(self.tables[...])
        return core.harmonic_distribution_to_wavetable(harmonics, table_length=table_length)

    def controls(
        self,
        outputs: Float[ArrayLike, "*batch frames outputs"],
        f0_hz: Float[ArrayLike, "*batch frames"],
    ) -> HarmonicNoiseControls:
        """The controls: the harmonics of the mixture of tables, and the noise bands."""
        outputs, f0_hz = jnp.asarray(outputs), jnp.asarray(f0_hz)
        split = 1 + self.config.n_wavetables
        shares = jax.nn.softmax(outputs[..., 1:split], axis=-1)
        distribution = core.normalize_harmonics(
            shares @ core.exp_sigmoid(self.tables[...]).astype(shares.dtype),
            f0_hz,
            sample_rate=self.sample_rate,
        )
        harmonic = HarmonicControls(f0_hz, core.exp_sigmoid(outputs[..., 0]), distribution)
        return HarmonicNoiseControls(harmonic, noise_controls(outputs[..., split:]))

    def __call__(
        self, key: Key, controls: HarmonicNoiseControls, *, n_samples: int | None = None
    ) -> Float[Array, "*batch samples"]:
        """The audio of all frames: tables plus noise."""
        return self.player(key, controls, n_samples=n_samples)

    def init(
        self, key: Key, *, batch_shape: tuple[int, ...] = (), dtype: DTypeLike = jnp.float32
    ) -> HarmonicNoiseState:
        """The state with which a stream of `step` begins, for the `key` of `__call__`."""
        return self.player.init(key, batch_shape=batch_shape, dtype=dtype)

    def step(
        self,
        state: HarmonicNoiseState,
        controls: HarmonicNoiseControls,
        *,
        next_controls: HarmonicNoiseControls | None = None,
        n_samples: int | None = None,
    ) -> tuple[HarmonicNoiseState, Float[Array, "*batch samples"]]:
        """Plays the next block, as `HarmonicNoise.step` does."""
        return self.player.step(state, controls, next_controls=next_controls, n_samples=n_samples)
