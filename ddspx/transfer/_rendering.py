"""An instrument plays what it is asked to, block by block."""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import repeat
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ddspx import core
from ddspx._checks import positive_int, same_size
from ddspx._typing import Array, Float
from ddspx.models.autoencoder import Autoencoder
from ddspx.models.autoencoder.model import require_autoencoder
from ddspx.transfer._adjust import AdjustedControls

# Peaks come down to here, smoothly: Vorbis and a player's resampling add to them.
CEILING_DB = -0.5
_RELEASE_S, _LOOKAHEAD_S = 0.1, 0.005
# 4 s at 250 frames per second: long enough for the reverb's FFT to pay, short to hold.
_BLOCK_HOPS = 1000


def render(
    model: Autoencoder,
    played: AdjustedControls,
    *,
    n_samples: int,
    z: Float[np.ndarray, "frames z"] | None = None,
    recording: Iterable[Float[np.ndarray, " samples"]] | None = None,
    wet: float = 1.0,
    reverb: float = 1.0,
    ceiling_db: float = CEILING_DB,
    seed: int = 0,
    block_hops: int = _BLOCK_HOPS,
) -> Iterator[Float[np.ndarray, " samples"]]:
    """Plays an adjusted sound, block by block.

    The blocks, joined, do not depend on `block_hops` (to rounding): phase, recurrent state, noise,
    the tail of the reverb and the limiter are carried from each to the next. The gain is applied
    before the reverb, so a faded note still rings in the room.

    Args:
      model: the instrument.
      played: from :func:`adjust`.
      n_samples: length of the whole, with as many frames as `played` has.
      z: from `features.blockwise_z`, as many frames; None where the model has no encoder.
      recording: the sound itself at the model's rate, in blocks of any sizes, to be mixed in;
        None for the instrument alone.
      wet: the instrument's part, from 0 to 1; the rest is the recording's, at constant power.
      reverb: factor of the room.
      ceiling_db: highest peak, in dB re full scale; a limiter keeps to it.
      seed: of the noise.
      block_hops: hops of a block.

    Yields:
      Audio in linear amplitude, some `block_hops` hops at a time, then the rest.

    Raises:
      TypeError: `model` is of a class of your own.
      ValueError: `n_samples` samples or `z` do not have this number of frames, or `z` is not what
        the model wants.
    """
    require_autoencoder(model, "whose own __call__ would not be played")
    size = positive_int("block_hops", block_hops) * model.config.hop_length
    frames = played.f0_hz.size
    if core.n_frames(n_samples, hop_length=model.config.hop_length) != frames:
        raise ValueError(
            f"`n_samples` must have the {frames} frames of `played`, got {n_samples}; frames "
            "= 1 + n_samples // hop_length."
        )
    if z is not None:
        same_size("`z` and `played`", len(z), frames, "frames")
    graph, weights = nnx.split(model)
    levels = _Levels(*(jnp.float32(x) for x in (wet, reverb, ceiling_db)))
    state = _studio(model, key=jax.random.key(seed)).init()
    dry = repeat(None) if recording is None else _rechunked(recording, size)
    # The limiter is late by its look-ahead: so many samples more are played, and cut in front.
    late = round(_LOOKAHEAD_S * model.config.sample_rate)
    for start, beside in zip(range(0, n_samples + late, size), dry, strict=False):
        # All blocks have one size, so that one is compiled. Beyond the last frame the tracks are
        # held, and the audio is silenced. One frame more says where the sound goes.
        first = start // model.config.hop_length
        chosen = np.minimum(np.arange(first, first + block_hops + 2), frames - 1)
        f0_hz, loudness_db, gain = (jnp.asarray(track[chosen]) for track in played[:3])
        told = None if z is None else jnp.asarray(z[chosen])
        block = _Block(f0_hz, loudness_db, gain, told, beside, max(0, n_samples - start))
        state, audio = _play_block(graph, weights, state, block, levels)
        samples = np.asarray(audio)[max(0, late - start) : n_samples + late - start]
        if samples.size:
            yield samples


class _Block(NamedTuple):
    """What is played in a block.

    Attributes:
      f0_hz: pitch of its frames, and of the one after them.
      loudness_db: loudness of the same frames.
      gain: factor of the sound before the room, at the same frames.
      z: of the same frames, or None.
      recording: what is mixed in, or None.
      left: how many samples from here on belong to the sound.
    """

    f0_hz: Array
    loudness_db: Array
    gain: Array
    z: Array | None
    recording: np.ndarray | None
    left: Array | int


class _Levels(NamedTuple):
    """Arguments of :func:`render` that are the same in all blocks, and not compiled in."""

    wet: Array
    reverb: Array
    ceiling_db: Array


def _studio(model: Autoencoder, *, key: Array) -> core.Stream:
    """From a `_Block` to its audio: instrument, gain, room, recording, limiter.

    The step is ``step(state, block, block, levels)``. The key of the noise goes into the state.
    """
    rate, hop_length = model.config.sample_rate, model.config.hop_length

    def play(state, block, _, __):
        tracks = block.f0_hz, block.loudness_db
        return model.dry_step(state, *tracks, z=block.z, lookahead=True)

    def with_gain(audio, block, _):
        return audio * core.upsample(block.gain[:-1], hop_length=hop_length, method="hann")

    def mixed(audio, block, levels):
        if block.recording is not None:
            audio = core.crossfade(block.recording, audio, levels.wet[None])
        return jnp.where(jnp.arange(audio.size) < block.left, audio, 0.0)

    def limit(state, audio, _, levels):
        options = {"release_s": _RELEASE_S, "sample_rate": rate, "lookahead_s": _LOOKAHEAD_S}
        return core.limiter_step(state, audio, threshold_db=levels.ceiling_db, **options)

    limiter_init = partial(core.limiter_init, sample_rate=rate, lookahead_s=_LOOKAHEAD_S)
    return core.chain(
        core.Stream(partial(model.dry_init, key), play),
        with_gain,
        *_room(model),
        mixed,
        core.Stream(limiter_init, limit),
    )


def _room(model: Autoencoder) -> list[core.Stream]:
    """The reverb of an instrument that has one."""
    if model.reverb is None:
        return []
    response = model.reverb.impulse_response

    def ring(state, audio, _, levels):
        return core.convolution_reverb_step(state, audio, levels.reverb * response)

    return [core.Stream(partial(core.convolution_reverb_init, response), ring)]


@partial(jax.jit, static_argnums=0)
def _play_block(graph, weights, state, block, levels):
    """One block of :func:`_studio`."""
    stream = _studio(nnx.merge(graph, weights), key=jax.random.key(0))
    return stream.step(state, block, block, levels)


def _rechunked(blocks: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same samples in blocks of one size, with silence after them for ever."""
    held = np.zeros(0, np.float32)
    for block in blocks:
        held = np.concatenate([held, block])
        while held.size >= size:
            yield held[:size]
            held = held[size:]
    yield np.pad(held, (0, size - held.size))
    yield from repeat(np.zeros(size, np.float32))
