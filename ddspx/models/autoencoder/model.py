"""The timbre autoencoder: from pitch and loudness to the sound of one instrument."""

from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx

from ddspx import core
from ddspx._typing import Array, ArrayLike, Float, Key
from ddspx.models.autoencoder.config import AutoencoderConfig
from ddspx.nn import Reverb, RnnFcDecoder, ZEncoder

# An untrained decoder says about 0; this bias makes that a noise of 2e-5, not of 0.3.
_NOISE_BIAS = -5.0


class HarmonicControls(NamedTuple):
    """What `core.harmonic_synthesis` plays: one row per frame."""

    f0_hz: Float[Array, "*batch frames"]
    amplitudes: Float[Array, "*batch frames"]
    harmonic_distribution: Float[Array, "*batch frames harmonics"]


class NoiseControls(NamedTuple):
    """What `core.filtered_noise` plays: one row per frame."""

    magnitudes: Float[Array, "*batch frames bands"]


class SynthesisState(NamedTuple):
    """Where a stream of `Autoencoder.synthesize_block` stands, at a block's first frame.

    Attributes:
      carry: the decoder's state before that frame.
      harmonics: of the harmonics.
      noise: of the noise.
      room: what the reverb still rings with; None where there is no reverb.
    """

    carry: Float[Array, "*batch state"]
    harmonics: core.HarmonicState
    noise: core.NoiseState
    room: core.ReverbState | None


class Autoencoder(nnx.Module):
    """Pitch and loudness in, audio out: a decoder that plays a synthesizer in a room.

    The decoder turns every frame of `f0_hz` and `loudness_db` into an overall amplitude, a
    distribution over harmonics and the bands of a noise filter. The audio is the sum of
    `core.harmonic_synthesis` and `core.filtered_noise`, then the trained reverb.

    A model with an encoder is told a third thing, `z`, which `encode` makes of a sound: of the
    recording that is to be played again in training, of any sound in use.

    Args:
      config: its sizes.
      rngs: draws the initial weights.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from flax import nnx
      >>> from ddspx.models.autoencoder import Autoencoder, AutoencoderConfig
      >>> model = Autoencoder(AutoencoderConfig.tiny(), rngs=nnx.Rngs(0))
      >>> f0_hz = jnp.full(26, 440.0, jnp.float32)
      >>> loudness_db = jnp.full(26, -30.0, jnp.float32)
      >>> model(jax.random.key(0), f0_hz, loudness_db).shape
      (1600,)

    References:
      Engel et al., `DDSP: Differentiable Digital Signal Processing
      <https://arxiv.org/abs/2001.04643>`_, ICLR 2020. As there, except that frames are
      centred (frame i is sample i * hop_length, in training and in use), that length is
      free, and that the noise is drawn from a key.
    """

    def __init__(self, config: AutoencoderConfig, *, rngs: nnx.Rngs):
        self.config = config
        heard = (1, 1) if config.encoder is None else (1, 1, config.encoder.z_size)
        self.decoder = RnnFcDecoder(
            heard,
            config.n_outputs,
            rnn_channels=config.rnn_channels,
            fc_channels=config.fc_channels,
            fc_layers=config.fc_layers,
            rngs=rngs,
        )
        self.reverb = Reverb(config.reverb_length, rngs=rngs) if config.reverb_length else None
        self.encoder = None if config.encoder is None else ZEncoder(config.encoder, rngs=rngs)

    def encode(
        self, audio: Float[ArrayLike, "*batch samples"]
    ) -> Float[Array, "*batch frames z"] | None:
        """The z of a sound: what `z` is to be in the other methods.

        Args:
          audio: linear amplitude at the model's sample rate.

        Returns:
          z on the frames of pitch and loudness; None for a model without an encoder.
        """
        return None if self.encoder is None else self.encoder(audio)

    def controls(
        self,
        f0_hz: Float[ArrayLike, "*batch frames"],
        loudness_db: Float[ArrayLike, "*batch frames"],
        carry: Float[ArrayLike, "*batch state"] | None = None,
        *,
        z: Float[ArrayLike, "*batch frames z"] | None = None,
    ) -> tuple[HarmonicControls, NoiseControls, Float[Array, "*batch state"]]:
        """What the synthesizers are told to play.

        Args:
          f0_hz: pitch in Hz; 0, NaN or infinite where there is none.
          loudness_db: as `core.loudness_db` measures it.
          carry: the decoder's state before the first frame; zeros by default.
          z: from `encode`, for the same frames; None where the model has no encoder.

        Returns:
          The controls of the harmonics (the distribution sums to 1 over those below
          Nyquist), those of the noise, and the state after the last frame.

        Raises:
          ValueError: the tracks do not have the same frames, or `z` is missing, of another size,
            or given to a model without an encoder.
        """
        harmonic, noise, states = self._decode(f0_hz, loudness_db, z, carry)
        return harmonic, noise, states[..., -1, :]

    def __call__(
        self,
        key: Key,
        f0_hz: Float[ArrayLike, "*batch frames"],
        loudness_db: Float[ArrayLike, "*batch frames"],
        *,
        z: Float[ArrayLike, "*batch frames z"] | None = None,
        n_samples: int | None = None,
    ) -> Float[Array, "*batch samples"]:
        """Plays the controls: harmonics plus noise, then reverb.

        Args:
          key: draws the noise.
          f0_hz: pitch in Hz; 0 where there is none.
          loudness_db: as `core.loudness_db` measures it.
          z: from `encode`, for the same frames; None where the model has no encoder.
          n_samples: length of the audio, from `(frames - 1) * hop_length` (the default) up
            to one hop more. Static.

        Returns:
          Audio in linear amplitude.

        Raises:
          ValueError: as `controls`, or `n_samples` has another number of frames.
        """
        harmonic, noise, _ = self._decode(f0_hz, loudness_db, z, None)
        hop_length = self.config.hop_length
        dry = core.harmonic_synthesis(
            *harmonic,
            hop_length=hop_length,
            sample_rate=self.config.sample_rate,
            n_samples=n_samples,
            amplitude_upsampling=self.config.amplitude_upsampling,
        )
        dry += core.filtered_noise(key, *noise, hop_length=hop_length, n_samples=n_samples)
        return dry if self.reverb is None else self.reverb(dry)

    def init_state(self, key: Key, *, batch_shape: tuple[int, ...] = ()) -> SynthesisState:
        """The start of a stream of `synthesize_block`, with the `key` of `__call__`."""
        carry = jnp.zeros((*batch_shape, self.config.rnn_channels), jnp.float32)
        room = None
        if self.reverb is not None:
            room = core.reverb_init(self.reverb.impulse_response, batch_shape=batch_shape)
        return SynthesisState(
            carry,
            core.harmonic_synthesis_init(batch_shape=batch_shape),
            core.filtered_noise_init(key),
            room,
        )

    def synthesize_block(
        self,
        state: SynthesisState,
        f0_hz: Float[ArrayLike, "*batch frames"],
        loudness_db: Float[ArrayLike, "*batch frames"],
        *,
        z: Float[ArrayLike, "*batch frames z"] | None = None,
        next_f0_hz: Float[ArrayLike, "*batch"] | None = None,
        n_samples: int | None = None,
    ) -> tuple[SynthesisState, Float[Array, "*batch samples"]]:
        """The next block of a sound of any length, in memory of the block's size.

        Frames a to b, both included, give samples ``a * hop_length`` up to, not including,
        ``b * hop_length``; the next block begins with frame b again. Blocks of any sizes put
        together equal `__call__` on all frames, to rounding.

        Args:
          state: from `init_state` or the block before.
          f0_hz: pitch in Hz; 0 where there is none. Its first frame is the last of the block
            before.
          loudness_db: as `core.loudness_db` measures it, for the same frames.
          z: from `encode`, for the same frames; None where the model has no encoder.
          next_f0_hz: pitch of the frame after these, in Hz, where it is known: a harmonic that
            is about to reach Nyquist fades before it. 0, the default, where there is none.
          n_samples: as in `__call__`; only the last block may have more than its hops. Static.

        Returns:
          The state at frame b, and the audio.

        Raises:
          ValueError: as `__call__`.
        """
        harmonic, noise, states = self._decode(f0_hz, loudness_db, z, state.carry)
        hop_length = self.config.hop_length
        harmonics, tones = core.harmonic_synthesis_step(
            state.harmonics,
            *harmonic,
            hop_length=hop_length,
            sample_rate=self.config.sample_rate,
            next_f0_hz=next_f0_hz,
            n_samples=n_samples,
            amplitude_upsampling=self.config.amplitude_upsampling,
        )
        noise_state, breath = core.filtered_noise_step(
            state.noise, *noise, hop_length=hop_length, n_samples=n_samples
        )
        room, audio = state.room, tones + breath
        if self.reverb is not None and room is not None:
            room, audio = core.reverb_step(room, audio, self.reverb.impulse_response)
        # The next block decodes the last frame again, from the state that it was decoded from.
        carry = jnp.concatenate([state.carry[..., None, :], states], axis=-2)[..., -2, :]
        return SynthesisState(carry, harmonics, noise_state, room), audio

    def _decode(self, f0_hz, loudness_db, z, carry):
        """The controls, and the decoder's state after every frame."""
        if f0_hz.shape != loudness_db.shape:
            raise ValueError(
                "`f0_hz` and `loudness_db` must have the same shape, got "
                f"{f0_hz.shape} and {loudness_db.shape}."
            )
        self._check_z(z, f0_hz.shape)
        loudness = loudness_db / 80.0 + 1.0
        # The decoder hears no pitch as 0 Hz: what is not finite would stay in its state for ever.
        pitch_hz = jnp.where(jnp.isfinite(f0_hz), jnp.abs(f0_hz), 0)
        pitch = core.hz_to_midi(pitch_hz) / 127.0
        heard = (loudness[..., None], pitch[..., None], *([] if z is None else [z]))
        outputs, states = self.decoder(heard, carry)
        split = 1 + self.config.n_harmonics
        bounded = core.exp_sigmoid(outputs[..., :split])
        distribution = core.normalize_harmonics(
            bounded[..., 1:], f0_hz, sample_rate=self.config.sample_rate
        )
        harmonic = HarmonicControls(f0_hz, bounded[..., 0], distribution)
        noise = NoiseControls(core.exp_sigmoid(outputs[..., split:] + _NOISE_BIAS))
        return harmonic, noise, states

    def _check_z(self, z, frames):
        """Refuses a `z` that is not the decoder's."""
        if self.config.encoder is None:
            if z is not None:
                raise ValueError("`z` must be None: this model has no encoder.")
            return
        wanted = (*frames, self.config.encoder.z_size)
        if z is None or z.shape != wanted:
            raise ValueError(
                f"`z` must have the shape {wanted}, got {None if z is None else z.shape}; "
                "`encode` makes it of a sound as long as the tracks."
            )
