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
from ddspx.models.autoencoder import Autoencoder, SynthesisState
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
      z: from `features.stream_z`, as many frames; None where the model has no encoder.
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
      ValueError: `n_samples` samples or `z` do not have this number of frames, or `z` is not what
        the model wants.
    """
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
    state = _silence(model, jax.random.key(seed))
    mix = _Mix(*(jnp.float32(x) for x in (wet, reverb, ceiling_db)))
    dry = repeat(None) if recording is None else _rechunked(recording, size)
    # The limiter is late by its look-ahead: so many samples more are played, and cut in front.
    late = round(_LOOKAHEAD_S * model.config.sample_rate)
    for start, beside in zip(range(0, n_samples + late, size), dry, strict=False):
        # All blocks have one size, so that one is compiled. Beyond the last frame the tracks are
        # held, and the audio is silenced. One frame more says where pitch goes.
        first = start // model.config.hop_length
        chosen = np.minimum(np.arange(first, first + block_hops + 2), frames - 1)
        tracks = (jnp.asarray(track[chosen]) for track in played[:3])
        told = None if z is None else jnp.asarray(z[chosen])
        left = max(0, n_samples - start)
        state, audio = _play_block(graph, weights, state, *tracks, told, beside, mix, left)
        block = np.asarray(audio)[max(0, late - start) : n_samples + late - start]
        if block.size:
            yield block


class _Mix(NamedTuple):
    """What the desk is set to: arguments of :func:`render`, so that none is compiled in."""

    wet: Array
    reverb: Array
    ceiling_db: Array


class _State(NamedTuple):
    """Where a stream stands between two blocks."""

    synthesis: SynthesisState
    room: core.ReverbState | None
    limiter: core.LimiterState


def _silence(model: Autoencoder, key: Array) -> _State:
    """The instrument and its room before the first block."""
    room = None if model.reverb is None else core.reverb_init(model.reverb.impulse_response)
    limiter = core.limiter_init(sample_rate=model.config.sample_rate, lookahead_s=_LOOKAHEAD_S)
    return _State(_without_room(model).init_state(key), room, limiter)


def _without_room(model: Autoencoder) -> Autoencoder:
    """The same weights without the reverb, which has to come after the gain."""
    dry = nnx.merge(*nnx.split(model))
    dry.reverb = None
    return dry


@partial(jax.jit, static_argnums=0)
def _play_block(graph, weights, state, f0_hz, loudness_db, gain, z, recording, mix, left):
    """One block: the sound before the room, its gain, the room, the recording, the limiter.

    The tracks hold the block's frames and the one after them; `left` samples belong to the sound.
    """
    model = nnx.merge(graph, weights)
    z = None if z is None else z[:-1]
    synthesis, audio = _without_room(model).synthesize_block(
        state.synthesis, f0_hz[:-1], loudness_db[:-1], z=z, next_f0_hz=f0_hz[-1]
    )
    audio = audio * core.upsample(gain[:-1], hop_length=model.config.hop_length, method="hann")
    room = state.room
    if model.reverb is not None:
        response = mix.reverb * model.reverb.impulse_response
        room, audio = core.reverb_step(state.room, audio, response)
    if recording is not None:
        audio = core.crossfade(recording, audio, mix.wet[None])
    audio = jnp.where(jnp.arange(audio.size) < left, audio, 0.0)
    limiter, audio = core.limiter_step(
        state.limiter,
        audio,
        threshold_db=mix.ceiling_db,
        release_s=_RELEASE_S,
        sample_rate=model.config.sample_rate,
        lookahead_s=_LOOKAHEAD_S,
    )
    return _State(synthesis, room, limiter), audio


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
