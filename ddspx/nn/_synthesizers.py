"""Synthesizers: from the outputs of a decoder to controls, and from controls to audio."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from ddspx import core
from ddspx._typing import Array, ArrayLike, Float, Key
from ddspx.nn._synthesizer_config import HarmonicNoiseConfig

# The outputs of an untrained decoder are about 0. With this bias the noise then has an amplitude
# of 2e-5; without it, of 0.3.
_NOISE_BIAS = -5.0


@runtime_checkable
class Synthesizer(Protocol):
    """The interface of a synthesizer, which turns the outputs of a decoder into sound.

    Your own synthesizer works wherever those of ddspx do. A config (`SynthesizerConfig`) builds it,
    an `AutoencoderConfig` holds that config, and `models.autoencoder.Autoencoder` plays it: whole
    sounds in training, block by block in transfer. A synthesizer with parameters to learn is an
    `nnx.Module`; one without may be any immutable object.

    Controls and states are trees of arrays (NamedTuples) that you define. Every array of the
    controls has the axes ``(*batch, frames)`` or ``(*batch, frames, features)``.
    """

    def controls(
        self,
        outputs: Float[ArrayLike, "*batch frames outputs"],
        f0_hz: Float[ArrayLike, "*batch frames"],
    ) -> Any:
        """Computes the controls from the decoder's unbounded outputs and the pitch.

        The controls of a frame must depend only on the outputs and the pitch of that frame. A frame
        of 0 Hz has no pitch: only what needs none, such as noise, may be heard there. A transfer
        plays breath and consonants by such frames; a synthesizer without noise plays silence then.
        """
        ...

    def __call__(
        self, key: Key, controls: Any, *, n_samples: int | None = None
    ) -> Float[Array, "*batch samples"]:
        """The audio of all frames: `n_samples`, by default ``(frames - 1) * hop_length``."""
        ...

    def init(
        self, key: Key, *, batch_shape: tuple[int, ...] = (), dtype: DTypeLike = jnp.float32
    ) -> Any:
        """The initial state of a stream, which draws the same noise from `key` as `__call__`.

        Args:
          key: draws the noise.
          batch_shape: batch axes of the controls. Static.
          dtype: of the controls. Static.
        """
        ...

    def step(
        self,
        state: Any,
        controls: Any,
        *,
        next_controls: Any | None = None,
        n_samples: int | None = None,
    ) -> tuple[Any, Float[Array, "*batch samples"]]:
        """Plays the next block: frames a to b inclusive give the samples from frame a up to b.

        The following block begins with frame b again. The blocks, concatenated, equal `__call__`.

        Args:
          state: from `init` or the previous step.
          controls: the controls of frames a to b.
          next_controls: the controls of frame b + 1 only, with a frame axis of size 1; None in the
            last block.
          n_samples: length of this block; only the last block may be longer than its hops, as in
            `__call__`. Static.
        """
        ...


class HarmonicControls(NamedTuple):
    """The inputs of `core.harmonic_synthesis`: one row per frame."""

    f0_hz: Float[Array, "*batch frames"]
    amplitudes: Float[Array, "*batch frames"]
    harmonic_distribution: Float[Array, "*batch frames harmonics"]


class NoiseControls(NamedTuple):
    """The inputs of `core.filtered_noise`: one row per frame."""

    magnitudes: Float[Array, "*batch frames bands"]


class HarmonicNoiseControls(NamedTuple):
    """The controls of a `HarmonicNoise`."""

    harmonic: HarmonicControls
    noise: NoiseControls


class HarmonicNoiseState(NamedTuple):
    """The state of a stream of a `HarmonicNoise`, at the first frame of a block."""

    harmonic: core.HarmonicState
    noise: core.NoiseState


class HarmonicNoise(nnx.Module):
    r"""Harmonics of the pitch plus filtered noise: DDSP's synthesizer of musical instruments.

    From the decoder outputs o of a frame, with :math:`\sigma` = `core.exp_sigmoid`, the amplitude
    A, the harmonic distribution d and the magnitudes H of the noise bands are

    .. math:: A = \sigma(o_0), \qquad d_k = \sigma(o_k) \Big/ \sum_j \sigma(o_j), \qquad
        H_b = \sigma(o_{K + b} - 5)

    where the sum runs over the harmonics below Nyquist (`core.normalize_harmonics`), or over all of
    them without `normalize_below_nyquist`. The audio is
    `core.harmonic_synthesis` of A and d at the pitch plus `core.filtered_noise` of H.

    Args:
      config: the sizes.
      sample_rate: samples per second. Static.
      hop_length: samples between frames. Static.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from ddspx.nn import HarmonicNoise, HarmonicNoiseConfig
      >>> synthesizer = HarmonicNoise(
      ...     HarmonicNoiseConfig(n_harmonics=8, n_magnitudes=5), sample_rate=16000, hop_length=64
      ... )
      >>> outputs = jnp.zeros((26, synthesizer.config.n_outputs), jnp.float32)
      >>> controls = synthesizer.controls(outputs, jnp.full(26, 440.0, jnp.float32))
      >>> synthesizer(jax.random.key(0), controls).shape
      (1600,)

    References:
      Engel et al., `DDSP: Differentiable Digital Signal Processing
      <https://arxiv.org/abs/2001.04643>`_, ICLR 2020, section 3.
    """

    def __init__(self, config: HarmonicNoiseConfig, *, sample_rate: int, hop_length: int):
        self.config = config
        self.sample_rate, self.hop_length = sample_rate, hop_length

    def controls(
        self,
        outputs: Float[ArrayLike, "*batch frames outputs"],
        f0_hz: Float[ArrayLike, "*batch frames"],
    ) -> HarmonicNoiseControls:
        """The controls; see `normalize_below_nyquist` for the sum of the distribution."""
        outputs, f0_hz = jnp.asarray(outputs), jnp.asarray(f0_hz)
        split = 1 + self.config.n_harmonics
        bounded = core.exp_sigmoid(outputs[..., :split])
        weights = bounded[..., 1:]
        distribution = core.normalize_harmonics(weights, f0_hz, sample_rate=self.sample_rate)
        if not self.config.normalize_below_nyquist:
            # Where the harmonic is audible, over the sum of all weights.
            shares = core.safe_divide(weights, jnp.sum(weights, axis=-1, keepdims=True))
            distribution = jnp.where(distribution > 0, shares, 0)
        harmonic = HarmonicControls(f0_hz, bounded[..., 0], distribution)
        return HarmonicNoiseControls(harmonic, noise_controls(outputs[..., split:]))

    def __call__(
        self, key: Key, controls: HarmonicNoiseControls, *, n_samples: int | None = None
    ) -> Float[Array, "*batch samples"]:
        """The audio of all frames: harmonics plus noise."""
        sizes = {"hop_length": self.hop_length, "n_samples": n_samples}
        harmonics = core.harmonic_synthesis(
            *controls.harmonic,
            sample_rate=self.sample_rate,
            amplitude_upsampling=self.config.amplitude_upsampling,
            **sizes,
        )
        return plus_noise(harmonics, key, controls.noise, **sizes)

    def init(
        self, key: Key, *, batch_shape: tuple[int, ...] = (), dtype: DTypeLike = jnp.float32
    ) -> HarmonicNoiseState:
        """The state with which a stream of `step` begins, for the `key` of `__call__`."""
        harmonic = core.harmonic_synthesis_init(batch_shape=batch_shape, dtype=dtype)
        return HarmonicNoiseState(harmonic, core.filtered_noise_init(key))

    def step(
        self,
        state: HarmonicNoiseState,
        controls: HarmonicNoiseControls,
        *,
        next_controls: HarmonicNoiseControls | None = None,
        n_samples: int | None = None,
    ) -> tuple[HarmonicNoiseState, Float[Array, "*batch samples"]]:
        """Plays the next block; a harmonic fades out before the frame where it reaches Nyquist."""
        following = None if next_controls is None else next_controls.harmonic.f0_hz[..., 0]
        sizes = {"hop_length": self.hop_length, "n_samples": n_samples}
        harmonic, harmonics = core.harmonic_synthesis_step(
            state.harmonic,
            *controls.harmonic,
            sample_rate=self.sample_rate,
            next_f0_hz=following,
            amplitude_upsampling=self.config.amplitude_upsampling,
            **sizes,
        )
        noise, audio = plus_noise_step(harmonics, state.noise, controls.noise, **sizes)
        return HarmonicNoiseState(harmonic, noise), audio


def noise_controls(outputs: Float[Array, "*batch frames bands"]) -> NoiseControls:
    """The magnitudes of the noise bands, from the outputs of a decoder."""
    return NoiseControls(core.exp_sigmoid(outputs + _NOISE_BIAS))


def plus_noise(
    tones: Float[Array, "*batch samples"], key: Key, controls: NoiseControls, **sizes: Any
) -> Float[Array, "*batch samples"]:
    """The tones of a whole sound plus its noise."""
    return tones + core.filtered_noise(key, *controls, **sizes)


def plus_noise_step(
    tones: Float[Array, "*batch samples"],
    state: core.NoiseState,
    controls: NoiseControls,
    **sizes: Any,
) -> tuple[core.NoiseState, Float[Array, "*batch samples"]]:
    """The tones of a block plus its noise, after the new state of the noise."""
    state, noise = core.filtered_noise_step(state, *controls, **sizes)
    return state, tones + noise
