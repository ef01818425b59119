"""A synthesizer for bells, bars and stiff strings: inharmonic partials and noise."""

from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from ddspx import core
from ddspx._typing import Array, ArrayLike, Float, Key
from ddspx.nn._synthesizer_config import SinusoidalNoiseConfig
from ddspx.nn._synthesizers import (
    NoiseControls,
    noise_controls,
    plus_noise,
    plus_noise_step,
)


class SinusoidalControls(NamedTuple):
    """The inputs of `core.sinusoidal_synthesis`: one row per frame."""

    frequencies_hz: Float[Array, "*batch frames sinusoids"]
    amplitudes: Float[Array, "*batch frames sinusoids"]


class SinusoidalNoiseControls(NamedTuple):
    """The controls of a `SinusoidalNoise`."""

    sinusoidal: SinusoidalControls
    noise: NoiseControls


class SinusoidalNoiseState(NamedTuple):
    """The state of a stream of a `SinusoidalNoise`, at the first frame of a block."""

    sinusoidal: core.SinusoidalState
    noise: core.NoiseState


class SinusoidalNoise(nnx.Module):
    r"""Free partials around the harmonics, and filtered noise: for bells, bars and stiff strings.

    From the decoder outputs o of a frame, with :math:`\sigma` = `core.exp_sigmoid` and the spread
    s, the frequencies f and amplitudes a of the partials are

    .. math:: f_k = \bigl(k + s \tanh(o_{K + k})\bigr) f_0, \qquad A = \sigma(o_0), \qquad
        a_k = A\, \sigma(o_k) \Big/ \sum_j \sigma(o_j)

    where the sum runs over the partials below Nyquist. The audio is `core.sinusoidal_synthesis` of
    f and a plus `core.filtered_noise`, whose bands are the remaining outputs, as in
    `HarmonicNoise`. The outputs of an untrained decoder are about 0, so training begins with
    partials at the harmonics.

    Args:
      config: the sizes.
      sample_rate: samples per second. Static.
      hop_length: samples between frames. Static.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from ddspx.nn import SinusoidalNoise, SinusoidalNoiseConfig
      >>> config = SinusoidalNoiseConfig(n_sinusoids=3, n_magnitudes=5)
      >>> synthesizer = SinusoidalNoise(config, sample_rate=16000, hop_length=64)
      >>> outputs = jnp.zeros((26, config.n_outputs), jnp.float32).at[:, 5].set(1.0)
      >>> controls = synthesizer.controls(outputs, jnp.full(26, 440.0, jnp.float32))
      >>> [round(v) for v in controls.sinusoidal.frequencies_hz[0].tolist()]
      [440, 1048, 1320]
      >>> synthesizer(jax.random.key(0), controls).shape
      (1600,)

    References:
      The partials of DDSP's ``synths.Sinusoidal`` are independent of the pitch, so what it has
      learned at one pitch does not carry over to another.
    """

    def __init__(self, config: SinusoidalNoiseConfig, *, sample_rate: int, hop_length: int):
        self.config = config
        self.sample_rate, self.hop_length = sample_rate, hop_length

    def controls(
        self,
        outputs: Float[ArrayLike, "*batch frames outputs"],
        f0_hz: Float[ArrayLike, "*batch frames"],
    ) -> SinusoidalNoiseControls:
        """The controls; the amplitudes of the partials below Nyquist sum to A in each frame."""
        outputs, f0_hz = jnp.asarray(outputs), jnp.asarray(f0_hz)
        count = self.config.n_sinusoids
        bounded = core.exp_sigmoid(outputs[..., : 1 + count])
        # A pitch that is not finite means "no pitch". It is replaced by 0 Hz, which means the same,
        # because the gradient would be NaN otherwise.
        pitch_hz = jnp.where(jnp.isfinite(f0_hz), f0_hz, 0)
        moved = self.config.spread * jnp.tanh(outputs[..., 1 + count : 1 + 2 * count])
        harmonics = jnp.broadcast_to(jnp.arange(1, count + 1, dtype=moved.dtype), moved.shape)
        frequencies_hz = pitch_hz[..., None] * (harmonics + moved)
        audible = core.remove_above_nyquist(
            bounded[..., 1:], frequencies_hz, sample_rate=self.sample_rate
        )
        shares = core.safe_divide(audible, jnp.sum(audible, -1, keepdims=True))
        sinusoidal = SinusoidalControls(frequencies_hz, bounded[..., :1] * shares)
        return SinusoidalNoiseControls(sinusoidal, noise_controls(outputs[..., 1 + 2 * count :]))

    def __call__(
        self, key: Key, controls: SinusoidalNoiseControls, *, n_samples: int | None = None
    ) -> Float[Array, "*batch samples"]:
        """The audio of all frames: partials plus noise."""
        sizes = {"hop_length": self.hop_length, "n_samples": n_samples}
        partials = core.sinusoidal_synthesis(
            *controls.sinusoidal,
            sample_rate=self.sample_rate,
            amplitude_upsampling=self.config.amplitude_upsampling,
            **sizes,
        )
        return plus_noise(partials, key, controls.noise, **sizes)

    def init(
        self, key: Key, *, batch_shape: tuple[int, ...] = (), dtype: DTypeLike = jnp.float32
    ) -> SinusoidalNoiseState:
        """The state with which a stream of `step` begins, for the `key` of `__call__`."""
        sinusoidal = core.sinusoidal_synthesis_init(
            n_sinusoids=self.config.n_sinusoids, batch_shape=batch_shape, dtype=dtype
        )
        return SinusoidalNoiseState(sinusoidal, core.filtered_noise_init(key))

    def step(
        self,
        state: SinusoidalNoiseState,
        controls: SinusoidalNoiseControls,
        *,
        next_controls: SinusoidalNoiseControls | None = None,
        n_samples: int | None = None,
    ) -> tuple[SinusoidalNoiseState, Float[Array, "*batch samples"]]:
        """Plays the next block; a partial fades out before the frame where it reaches Nyquist."""
        following = None
        if next_controls is not None:
            following = next_controls.sinusoidal.frequencies_hz[..., 0, :]
        sizes = {"hop_length": self.hop_length, "n_samples": n_samples}
        sinusoidal, partials = core.sinusoidal_synthesis_step(
            state.sinusoidal,
            *controls.sinusoidal,
            sample_rate=self.sample_rate,
            next_frequencies_hz=following,
            amplitude_upsampling=self.config.amplitude_upsampling,
            **sizes,
        )
        noise, audio = plus_noise_step(partials, state.noise, controls.noise, **sizes)
        return SinusoidalNoiseState(sinusoidal, noise), audio
