"""The timbre autoencoder: a network from pitch and loudness to the sound of one instrument."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from ddspx import core
from ddspx._typing import Array, ArrayLike, Float, Int, Key
from ddspx.models.autoencoder.config import AutoencoderConfig
from ddspx.nn import Decoder, Encoder, Fixed, Reverb, Synthesizer
from ddspx.nn._decoder import check_lookahead


class DryState(NamedTuple):
    """The state of a stream of `Autoencoder.dry_step`, at the first frame of a block.

    Attributes:
      decoder: the state of the decoder before that frame.
      synthesizer: the state of the synthesizer.
    """

    decoder: Any
    synthesizer: Any


class AutoencoderState(NamedTuple):
    """The state of a stream of `Autoencoder.step`, at the first frame of a block.

    Attributes:
      dry: the state of `dry_step`, before the reverb.
      room: the state of the reverb; None for a model without reverb.
    """

    dry: DryState
    room: core.ReverbState | None


class Autoencoder(nnx.Module):
    """From pitch and loudness to audio: a decoder controls a synthesizer; a reverb follows.

    The decoder turns `f0_hz` and `loudness_db` of each frame into the numbers that the synthesizer
    needs. The synthesizer turns these into controls, and plays them. A trained reverb comes last.
    The config holds the configs of the parts, so your own decoder, synthesizer or encoder can
    replace one of ddspx.

    A model with an encoder has a third input, `z`, which `encode` computes from a sound: in
    training from the recording that the model learns to reproduce, otherwise from any sound.

    Args:
      config: the configs of the parts.
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
      <https://arxiv.org/abs/2001.04643>`_, ICLR 2020. Three things differ: frames are centred
      (frame i is at sample i * hop_length, in training and in use), sounds can have any length,
      and the noise is drawn from a key.
    """

    def __init__(self, config: AutoencoderConfig, *, rngs: nnx.Rngs):
        self.config = config
        grid = {"sample_rate": config.sample_rate, "hop_length": config.hop_length}
        inputs = (1, 1) if config.encoder is None else (1, 1, config.encoder.z_size)
        self.decoder: Decoder = config.decoder.build(
            inputs, config.synthesizer.n_outputs, rngs=rngs
        )
        self.synthesizer: Synthesizer = config.synthesizer.build(**grid, rngs=rngs)
        self.reverb: Reverb | None = (
            None
            if config.reverb is None
            else config.reverb.build(sample_rate=config.sample_rate, rngs=rngs)
        )
        self.encoder: Encoder | None = (
            None if config.encoder is None else config.encoder.build(rngs=rngs)
        )
        for name, protocol in _PROTOCOLS.items():
            _check_part(name, getattr(self, name), protocol)

    @property
    def lookahead(self) -> int:
        """How many frames after a block `step` needs: 1 if the decoder is causal, or more."""
        return 1 + getattr(self.decoder, "lookahead", 0)

    def encode(
        self, audio: Float[ArrayLike, "*batch samples"]
    ) -> Float[Array, "*batch frames z"] | None:
        """Computes z from a sound, for the argument `z` of the other methods.

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
        """The controls of the synthesizer.

        Args:
          f0_hz: pitch in Hz; 0, NaN or infinite where there is no pitch.
          loudness_db: as `core.loudness_db` measures it.
          z: from `encode`, for the same frames; None where the model has no encoder.

        Returns:
          The controls; for `nn.HarmonicNoise` they are `nn.HarmonicNoiseControls`.

        Raises:
          ValueError: `f0_hz` and `loudness_db` differ in shape, or `z` is missing, has the wrong
            shape, or is given to a model without an encoder.
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
        """Plays the controls, then adds the reverb.

        Args:
          key: draws the noise.
          f0_hz: pitch in Hz; 0 where there is no pitch.
          loudness_db: as `core.loudness_db` measures it.
          z: from `encode`, for the same frames; None where the model has no encoder.
          n_samples: length of the audio; by default `(frames - 1) * hop_length`. It must give the
            same number of frames, so it is less than one hop longer than that. Static.

        Returns:
          Audio in linear amplitude.

        Raises:
          ValueError: as for `controls`, or `n_samples` has another number of frames.
        """
        controls = self.controls(f0_hz, loudness_db, z=z)
        dry = self.synthesizer(key, controls, n_samples=n_samples)
        return dry if self.reverb is None else self.reverb(dry)

    def init(
        self, key: Key, *, batch_shape: tuple[int, ...] = (), dtype: DTypeLike = jnp.float32
    ) -> AutoencoderState:
        """The state with which a stream of `step` begins.

        Args:
          key: draws the noise, as in `__call__`.
          batch_shape: batch axes of pitch and loudness. Static.
          dtype: of pitch and loudness. Static.

        Returns:
          The state before frame 0.
        """
        room = None
        if self.reverb is not None:
            response = self.reverb.impulse_response.astype(dtype)
            room = core.convolution_reverb_init(response, batch_shape=batch_shape)
        return AutoencoderState(self.dry_init(key, batch_shape=batch_shape, dtype=dtype), room)

    def step(
        self,
        state: AutoencoderState,
        f0_hz: Float[ArrayLike, "*batch frames"],
        loudness_db: Float[ArrayLike, "*batch frames"],
        *,
        z: Float[ArrayLike, "*batch frames z"] | None = None,
        lookahead: int = 0,
        n_frames: Int[ArrayLike, ""] | int | None = None,
        n_samples: int | None = None,
    ) -> tuple[AutoencoderState, Float[Array, "*batch samples"]]:
        """Plays the next block of a sound; the memory depends only on the size of the block.

        Frames a to b inclusive give samples ``a * hop_length`` up to, but not including,
        ``b * hop_length``. The next block begins with frame b again. The concatenated blocks, of
        any sizes, equal `__call__` on all frames, up to rounding.

        Args:
          state: from `init` or the previous block.
          f0_hz: pitch in Hz; 0 where there is no pitch. Its first frame is the last frame of the
            previous block.
          loudness_db: as `core.loudness_db` measures it, for the same frames.
          z: from `encode`, for the same frames; None where the model has no encoder.
          lookahead: how many frames after frame b `f0_hz`, `loudness_db` and `z` hold. With
            frame b + 1, a partial that reaches Nyquist there fades out before it, as it does in
            `__call__`. With a decoder that is not causal it must be `self.lookahead`, or all that
            the sound has, and `n_frames` must say so. 0 in the last block. Static.
          n_frames: how many of all these frames belong to the sound, if it ends within them, for a
            decoder that is not causal. By default the sound goes on after them.
          n_samples: length of this block; only the last block may be longer than its hops, as in
            `__call__`. Static.

        Returns:
          The state at frame b, and the audio.

        Raises:
          ValueError: as for `__call__`; or `lookahead` is negative, or too small for a decoder that
            is not causal, and `n_frames` does not say that the sound ends within the given frames.
        """
        dry, audio = self.dry_step(
            state.dry,
            f0_hz,
            loudness_db,
            z=z,
            lookahead=lookahead,
            n_frames=n_frames,
            n_samples=n_samples,
        )
        room = state.room
        # A block of one frame, before the last, has no samples.
        if self.reverb is not None and room is not None and audio.shape[-1]:
            room, audio = core.convolution_reverb_step(room, audio, self.reverb.impulse_response)
        return AutoencoderState(dry, room), audio

    def dry_init(
        self, key: Key, *, batch_shape: tuple[int, ...] = (), dtype: DTypeLike = jnp.float32
    ) -> DryState:
        """The state with which a stream of `dry_step` begins; the arguments are those of `init`."""
        return DryState(
            self.decoder.init(batch_shape=batch_shape, dtype=dtype),
            self.synthesizer.init(key, batch_shape=batch_shape, dtype=dtype),
        )

    def dry_step(
        self,
        state: DryState,
        f0_hz: Float[ArrayLike, "*batch frames"],
        loudness_db: Float[ArrayLike, "*batch frames"],
        *,
        z: Float[ArrayLike, "*batch frames z"] | None = None,
        lookahead: int = 0,
        n_frames: Int[ArrayLike, ""] | int | None = None,
        n_samples: int | None = None,
        noise_only: bool = False,
    ) -> tuple[DryState, Float[Array, "*batch samples"]]:
        """`step` without the reverb, for programs that process the dry sound first.

        With `noise_only` the decoder gets `f0_hz`, but the synthesizer gets no pitch, 0 Hz. So
        only the part of the sound is played that needs no pitch, the noise. Static.
        """
        f0_hz = jnp.asarray(f0_hz)
        inputs = self._inputs(f0_hz, loudness_db, z)
        n_given, has_next = f0_hz.shape[-1], lookahead > 0
        last = n_given - 1 - lookahead
        if last < 0:
            raise ValueError(
                f"`f0_hz` must have at least {1 + lookahead} frames, got {n_given}; {lookahead} of "
                "them are the `lookahead`."
            )
        needed = self.lookahead if self.lookahead > 1 else 0
        check_lookahead(lookahead, needed=needed, n_given=n_given, n_frames=n_frames)
        n_frames = n_given if n_frames is None else n_frames
        decoder, parts = state.decoder, []
        if last > 0:
            decoder, outputs = self._decoded(decoder, inputs, 0, last, n_frames)
            parts.append(outputs)
        # The last frame is decoded separately and its new state dropped: the next block begins with
        # the same frame, so it needs the state before it.
        stop = last + 1 + has_next
        parts.append(self._decoded(decoder, inputs, last, stop, n_frames)[1])
        pitch_hz = (jnp.zeros_like(f0_hz) if noise_only else f0_hz)[..., :stop]
        controls = self.synthesizer.controls(jnp.concatenate(parts, axis=-2), pitch_hz)
        following, axis = None, f0_hz.ndim - 1
        if has_next:
            controls, following = (
                jax.tree.map(lambda x, s=s: x[(slice(None),) * axis + (s,)], controls)
                for s in (slice(None, -1), slice(-1, None))
            )
        synthesizer, audio = self.synthesizer.step(
            state.synthesizer, controls, next_controls=following, n_samples=n_samples
        )
        return DryState(decoder, synthesizer), audio

    def _decoded(self, state, inputs, start, stop, n_frames):
        """The state and the outputs after the frames from `start` to `stop` of the inputs."""
        if self.lookahead == 1:
            return self.decoder.step(state, [x[..., start:stop, :] for x in inputs])
        n_left = inputs[0].shape[-2] - stop
        ahead: dict[str, Any] = {"lookahead": n_left, "n_frames": n_frames - start}
        return self.decoder.step(state, [x[..., start:, :] for x in inputs], **ahead)

    def _inputs(self, f0_hz, loudness_db, z):
        """The inputs of the decoder for each frame: scaled loudness, scaled pitch, and z."""
        f0_hz, loudness_db = jnp.asarray(f0_hz), jnp.asarray(loudness_db)
        if f0_hz.shape != loudness_db.shape:
            raise ValueError(
                "`f0_hz` and `loudness_db` must have the same shape, got "
                f"{f0_hz.shape} and {loudness_db.shape}."
            )
        self._check_z(z, f0_hz.shape)
        loudness = loudness_db / 80.0 + 1.0
        # For the decoder, "no pitch" is 0 Hz: its recurrent state would keep a NaN forever.
        pitch_hz = jnp.where(jnp.isfinite(f0_hz), jnp.abs(f0_hz), 0)
        is_midi = self.config.pitch_scale == "midi"
        pitch = core.hz_to_midi(pitch_hz) / 127.0 if is_midi else pitch_hz / 1000.0
        return (loudness[..., None], pitch[..., None], *([] if z is None else [jnp.asarray(z)]))

    def _check_z(self, z, frames):
        """Raises a ValueError unless `z` has the shape that the decoder needs."""
        if self.config.encoder is None:
            if z is not None:
                raise ValueError("`z` must be None: this model has no encoder.")
            return
        expected_shape = (*frames, self.config.encoder.z_size)
        shape = None if z is None else jnp.shape(z)
        if shape != expected_shape:
            raise ValueError(
                f"`z` must have the shape {expected_shape}, got {shape}; `encode` computes it from "
                "a sound with the same number of frames."
            )


def require_autoencoder(model: Any, consequence: str) -> None:
    """Raises a TypeError for a subclass, because its overridden methods would be ignored."""
    if type(model) is not Autoencoder:
        raise TypeError(
            f"`model` must be an Autoencoder, got a {type(model).__name__}, {consequence}; instead "
            "of a subclass, write your own synthesizer, decoder, reverb or encoder, and give its "
            "config to the AutoencoderConfig."
        )


_PROTOCOLS = {
    "decoder": Decoder,
    "synthesizer": Synthesizer,
    "reverb": Reverb,
    "encoder": Encoder,
}


def _check_part(name: str, part: Any, protocol: Any) -> None:
    """Raises an error for a part that could not be compiled, trained or streamed."""
    if name in ("encoder", "reverb") and part is None:
        return
    class_name = type(part).__name__
    if not isinstance(part, protocol):
        members = ", ".join(m for m in vars(protocol) if not m.startswith("_") or m == "__call__")
        raise TypeError(f"The {name} must have {members} (nn.{protocol.__name__}), got {part!r}.")
    try:
        hash(nnx.split(part)[0] if isinstance(part, nnx.Module) else part)
    except TypeError as error:
        raise TypeError(
            f"The {name} {class_name} must be hashable, because functions are compiled for it "
            f"({error}); its attributes may be numbers, strings, tuples and frozen dataclasses."
        ) from error
    if not isinstance(part, nnx.Module):
        return
    for path, variable in nnx.to_flat_state(nnx.state(part)):
        if not isinstance(variable, (nnx.Param, Fixed)):
            raise ValueError(
                f"The {name} {class_name} has a {type(variable).__name__}, "
                f"`{'.'.join(map(str, path))}`, which training does not update; let it have "
                "nnx.Param and nn.Fixed alone (LayerNorm instead of BatchNorm, no Dropout)."
            )
