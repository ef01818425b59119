"""Synthesizers: from what a decoder puts out for each frame to controls, and to audio."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
from flax import nnx

from ddspx import core
from ddspx._typing import Array, ArrayLike, Float, Key
from ddspx.nn._synthesizer_config import HarmonicNoiseConfig

# An untrained decoder puts out about 0; this bias makes that a noise of 2e-5, not of 0.3.
_NOISE_BIAS = -5.0


@runtime_checkable
class Synthesizer(Protocol):
    """What turns the outputs of a decoder into sound: yours is as good as those that ship.

    A config builds it (`SynthesizerConfig`), an `AutoencoderConfig` holds the config, and
    `models.autoencoder.Autoencoder` plays it, whole in training and block by block in transfer.
    It may be a plain frozen object, or an `nnx.Module` where it has something to learn.

    Controls and states are trees of arrays of your own (NamedTuples); every array of the controls
    has the axes ``(*batch, frames)`` or ``(*batch, frames, features)``.
    """

    def controls(
        self,
        outputs: Float[ArrayLike, "*batch frames outputs"],
        f0_hz: Float[ArrayLike, "*batch frames"],
    ) -> Any:
        """What is played: of the decoder's unbounded outputs, and of the pitch.

        Frame by frame: the controls of a frame depend on its own outputs and pitch alone.
        """
        ...

    def __call__(
        self, key: Key, controls: Any, *, n_samples: int | None = None
    ) -> Float[Array, "*batch samples"]:
        """Audio of all frames, ``(frames - 1) * hop_length`` samples or as many as `n_samples`."""
        ...

    def init(self, key: Key, *, batch_shape: tuple[int, ...] = ()) -> Any:
        """The start of a stream of `step`, which draws the noise that `__call__` draws of `key`."""
        ...

    def step(
        self,
        state: Any,
        controls: Any,
        *,
        next_controls: Any | None = None,
        n_samples: int | None = None,
    ) -> tuple[Any, Float[Array, "*batch samples"]]:
        """The next block: frames a to b, both included, give the samples from frame a up to b.

        The next block begins with frame b again, and the blocks put together equal `__call__`.

        Args:
          state: from `init` or the step before.
          controls: of frames a to b.
          next_controls: of frame b + 1 alone, an axis of frames of size 1; None after the last
            frame.
          n_samples: as in `__call__`; only the last block may hold its last frame. Static.
        """
        ...


class HarmonicControls(NamedTuple):
    """What `core.harmonic_synthesis` plays: one row per frame."""

    f0_hz: Float[Array, "*batch frames"]
    amplitudes: Float[Array, "*batch frames"]
    harmonic_distribution: Float[Array, "*batch frames harmonics"]


class NoiseControls(NamedTuple):
    """What `core.filtered_noise` plays: one row per frame."""

    magnitudes: Float[Array, "*batch frames bands"]


class HarmonicNoiseControls(NamedTuple):
    """What a `HarmonicNoise` plays."""

    harmonic: HarmonicControls
    noise: NoiseControls


class HarmonicNoiseState(NamedTuple):
    """Where a stream of a `HarmonicNoise` stands, at a block's first frame."""

    harmonic: core.HarmonicState
    noise: core.NoiseState


class HarmonicNoise(nnx.Module):
    r"""Harmonics of the pitch, and filtered noise: DDSP's synthesizer of musical instruments.

    Of the outputs o of a frame, with :math:`\sigma` = `core.exp_sigmoid`,

    .. math:: A = \sigma(o_0), \qquad d_k = \sigma(o_k) \Big/ \sum_j \sigma(o_j), \qquad
        H_b = \sigma(o_{K + b} - 5)

    where the sum goes over the harmonics below Nyquist (`core.normalize_harmonics`). The audio is
    `core.harmonic_synthesis` of A and d at the pitch plus `core.filtered_noise` of H.

    Args:
      config: its sizes.
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
        """The controls; the distribution sums to 1 over the harmonics below Nyquist."""
        outputs, f0_hz = jnp.asarray(outputs), jnp.asarray(f0_hz)
        split = 1 + self.config.n_harmonics
        bounded = core.exp_sigmoid(outputs[..., :split])
        distribution = core.normalize_harmonics(
            bounded[..., 1:], f0_hz, sample_rate=self.sample_rate
        )
        harmonic = HarmonicControls(f0_hz, bounded[..., 0], distribution)
        return HarmonicNoiseControls(harmonic, noise_controls(outputs[..., split:]))

    def __call__(
        self, key: Key, controls: HarmonicNoiseControls, *, n_samples: int | None = None
    ) -> Float[Array, "*batch samples"]:
        """Harmonics plus noise of all frames."""
        harmonics = core.harmonic_synthesis(
            *controls.harmonic,
            hop_length=self.hop_length,
            sample_rate=self.sample_rate,
            n_samples=n_samples,
            amplitude_upsampling=self.config.amplitude_upsampling,
        )
        return harmonics + core.filtered_noise(
            key, *controls.noise, hop_length=self.hop_length, n_samples=n_samples
        )

    def init(self, key: Key, *, batch_shape: tuple[int, ...] = ()) -> HarmonicNoiseState:
        """The start of a stream of `step`, with the `key` of `__call__`."""
        return HarmonicNoiseState(
            core.harmonic_synthesis_init(batch_shape=batch_shape), core.filtered_noise_init(key)
        )

    def step(
        self,
        state: HarmonicNoiseState,
        controls: HarmonicNoiseControls,
        *,
        next_controls: HarmonicNoiseControls | None = None,
        n_samples: int | None = None,
    ) -> tuple[HarmonicNoiseState, Float[Array, "*batch samples"]]:
        """The next block; a harmonic that reaches Nyquist in the next frame fades before it."""
        following = None if next_controls is None else next_controls.harmonic.f0_hz[..., 0]
        harmonic, tones = core.harmonic_synthesis_step(
            state.harmonic,
            *controls.harmonic,
            hop_length=self.hop_length,
            sample_rate=self.sample_rate,
            next_f0_hz=following,
            n_samples=n_samples,
            amplitude_upsampling=self.config.amplitude_upsampling,
        )
        noise, breath = core.filtered_noise_step(
            state.noise, *controls.noise, hop_length=self.hop_length, n_samples=n_samples
        )
        return HarmonicNoiseState(harmonic, noise), tones + breath


def noise_controls(outputs: Float[Array, "*batch frames bands"]) -> NoiseControls:
    """The bands of a noise filter, of a decoder's outputs."""
    return NoiseControls(core.exp_sigmoid(outputs + _NOISE_BIAS))
