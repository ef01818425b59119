"""The timbre autoencoder: from pitch and loudness to the sound of one instrument."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from ddspx import core
from ddspx._typing import Array, ArrayLike, Float, Key
from ddspx.models.autoencoder.config import AutoencoderConfig
from ddspx.nn import Decoder, Encoder, Reverb, Synthesizer


class DryState(NamedTuple):
    """Where a stream of `Autoencoder.dry_step` stands, at a block's first frame.

    Attributes:
      decoder: its state before that frame.
      synthesizer: its state.
    """

    decoder: Any
    synthesizer: Any


class AutoencoderState(NamedTuple):
    """Where a stream of `Autoencoder.step` stands, at a block's first frame.

    Attributes:
      dry: of the sound before the room.
      room: what the reverb still rings with; None where there is no reverb.
    """

    dry: DryState
    room: core.ReverbState | None


class Autoencoder(nnx.Module):
    """Pitch and loudness in, audio out: a decoder that plays a synthesizer in a room.

    The decoder turns `f0_hz` and `loudness_db` of every frame into the numbers that the synthesizer
    wants, which makes controls of them and plays these; the trained reverb comes last. Its config
    holds the parts' configs: a decoder, a synthesizer or an encoder of your own takes the place of
    one that ships.

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
        grid = {"sample_rate": config.sample_rate, "hop_length": config.hop_length}
        inputs = (1, 1) if config.encoder is None else (1, 1, config.encoder.z_size)
        self.decoder: Decoder = config.decoder.build(
            inputs, config.synthesizer.n_outputs, rngs=rngs
        )
        self.synthesizer: Synthesizer = config.synthesizer.build(**grid, rngs=rngs)
        self.reverb = Reverb(config.reverb_length, rngs=rngs) if config.reverb_length else None
        self.encoder: Encoder | None = (
            None if config.encoder is None else config.encoder.build(rngs=rngs)
        )

        for name in ("decoder", "synthesizer", "encoder"):
            _check_hashable(name, getattr(self, name))

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
        *,
        z: Float[ArrayLike, "*batch frames z"] | None = None,
    ) -> Any:
        """What the synthesizer is told to play.

        Args:
          f0_hz: pitch in Hz; 0, NaN or infinite where there is none.
          loudness_db: as `core.loudness_db` measures it.
          z: from `encode`, for the same frames; None where the model has no encoder.

        Returns:
          The synthesizer's controls: `nn.HarmonicNoiseControls` of a `nn.HarmonicNoise`.

        Raises:
          ValueError: the tracks do not have the same frames, or `z` is missing, of another size,
            or given to a model without an encoder.
        """
        outputs = self.decoder(self._inputs(f0_hz, loudness_db, z))
        return self.synthesizer.controls(outputs, f0_hz)

    def __call__(
        self,
        key: Key,
        f0_hz: Float[ArrayLike, "*batch frames"],
        loudness_db: Float[ArrayLike, "*batch frames"],
        *,
        z: Float[ArrayLike, "*batch frames z"] | None = None,
        n_samples: int | None = None,
    ) -> Float[Array, "*batch samples"]:
        """Plays the controls, then adds the room.

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
        controls = self.controls(f0_hz, loudness_db, z=z)
        dry = self.synthesizer(key, controls, n_samples=n_samples)
        return dry if self.reverb is None else self.reverb(dry)

    def init(self, key: Key, *, batch_shape: tuple[int, ...] = ()) -> AutoencoderState:
        """The start of a stream of `step`, with the `key` of `__call__`."""
        room = None
        if self.reverb is not None:
            room = core.convolution_reverb_init(
                self.reverb.impulse_response, batch_shape=batch_shape
            )
        return AutoencoderState(self.dry_init(key, batch_shape=batch_shape), room)

    def step(
        self,
        state: AutoencoderState,
        f0_hz: Float[ArrayLike, "*batch frames"],
        loudness_db: Float[ArrayLike, "*batch frames"],
        *,
        z: Float[ArrayLike, "*batch frames z"] | None = None,
        lookahead: bool = False,
        n_samples: int | None = None,
    ) -> tuple[AutoencoderState, Float[Array, "*batch samples"]]:
        """The next block of a sound of any length, in memory of the block's size.

        Frames a to b, both included, give samples ``a * hop_length`` up to, not including,
        ``b * hop_length``; the next block begins with frame b again. Blocks of any sizes put
        together equal `__call__` on all frames, to rounding.

        Args:
          state: from `init` or the block before.
          f0_hz: pitch in Hz; 0 where there is none. Its first frame is the last of the block
            before.
          loudness_db: as `core.loudness_db` measures it, for the same frames.
          z: from `encode`, for the same frames; None where the model has no encoder.
          lookahead: whether the tracks hold frame b + 1 as well, by which what is about to reach
            Nyquist fades before it, as it does in `__call__`; False in the last block. Static.
          n_samples: as in `__call__`; only the last block may have more than its hops. Static.

        Returns:
          The state at frame b, and the audio.

        Raises:
          ValueError: as `__call__`.
        """
        dry, audio = self.dry_step(
            state.dry, f0_hz, loudness_db, z=z, lookahead=lookahead, n_samples=n_samples
        )
        room = state.room
        if self.reverb is not None and room is not None:
            room, audio = core.convolution_reverb_step(room, audio, self.reverb.impulse_response)
        return AutoencoderState(dry, room), audio

    def dry_init(self, key: Key, *, batch_shape: tuple[int, ...] = ()) -> DryState:
        """The start of a stream of `dry_step`, with the `key` of `__call__`."""
        return DryState(
            self.decoder.init(batch_shape=batch_shape),
            self.synthesizer.init(key, batch_shape=batch_shape),
        )

    def dry_step(
        self,
        state: DryState,
        f0_hz: Float[ArrayLike, "*batch frames"],
        loudness_db: Float[ArrayLike, "*batch frames"],
        *,
        z: Float[ArrayLike, "*batch frames z"] | None = None,
        lookahead: bool = False,
        n_samples: int | None = None,
    ) -> tuple[DryState, Float[Array, "*batch samples"]]:
        """`step` without the room, for whoever puts something between the two."""
        f0_hz = jnp.asarray(f0_hz)
        inputs = self._inputs(f0_hz, loudness_db, z)
        last = f0_hz.shape[-1] - 1 - lookahead
        decoder, parts = state.decoder, []
        if last > 0:
            decoder, outputs = self.decoder.step(decoder, [x[..., :last, :] for x in inputs])
            parts.append(outputs)
        # The next block decodes the last frame again, from the state before it.
        parts.append(self.decoder.step(decoder, [x[..., last:, :] for x in inputs])[1])
        controls = self.synthesizer.controls(jnp.concatenate(parts, axis=-2), f0_hz)
        following, axis = None, f0_hz.ndim - 1
        if lookahead:
            controls, following = (
                jax.tree.map(lambda x, s=s: x[(slice(None),) * axis + (s,)], controls)
                for s in (slice(None, -1), slice(-1, None))
            )
        synthesizer, audio = self.synthesizer.step(
            state.synthesizer, controls, next_controls=following, n_samples=n_samples
        )
        return DryState(decoder, synthesizer), audio

    def _inputs(self, f0_hz, loudness_db, z):
        """What the decoder is told of every frame."""
        f0_hz, loudness_db = jnp.asarray(f0_hz), jnp.asarray(loudness_db)
        if f0_hz.shape != loudness_db.shape:
            raise ValueError(
                "`f0_hz` and `loudness_db` must have the same shape, got "
                f"{f0_hz.shape} and {loudness_db.shape}."
            )
        self._check_z(z, f0_hz.shape)
        loudness = loudness_db / 80.0 + 1.0
        # No pitch is 0 Hz to the decoder: what is not finite would stay in its state for ever.
        pitch_hz = jnp.where(jnp.isfinite(f0_hz), jnp.abs(f0_hz), 0)
        pitch = core.hz_to_midi(pitch_hz) / 127.0
        return (loudness[..., None], pitch[..., None], *([] if z is None else [jnp.asarray(z)]))

    def _check_z(self, z, frames):
        """Refuses a `z` that is not the decoder's."""
        if self.config.encoder is None:
            if z is not None:
                raise ValueError("`z` must be None: this model has no encoder.")
            return
        wanted, shape = (*frames, self.config.encoder.z_size), None if z is None else jnp.shape(z)
        if shape != wanted:
            raise ValueError(
                f"`z` must have the shape {wanted}, got {shape}; "
                "`encode` makes it of a sound as long as the tracks."
            )


def require_autoencoder(model: Any, what_else: str) -> None:
    """Refuses a subclass, of which the methods that it overrides would be left out."""
    if type(model) is not Autoencoder:
        raise TypeError(
            f"`model` must be an Autoencoder, got a {type(model).__name__}, {what_else}; bring "
            "what is yours as a synthesizer, decoder or encoder, whose config the "
            "AutoencoderConfig holds."
        )


def _check_hashable(name: str, part: Any) -> None:
    """Refuses a part that could not be a static argument of a compiled function."""
    try:
        hash(nnx.split(part)[0] if isinstance(part, nnx.Module) else part)
    except TypeError as error:
        raise TypeError(
            f"The {name} {type(part).__name__} must be hashable, for functions are compiled for it "
            f"({error}); let its attributes be numbers, strings, tuples and frozen dataclasses."
        ) from error
