"""Rendering: an instrument plays adjusted controls, block by block."""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import repeat
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from ddspx import core
from ddspx._checks import positive_int, same_size
from ddspx._typing import Array, Float
from ddspx.models.autoencoder import Autoencoder
from ddspx.models.autoencoder.model import require_autoencoder
from ddspx.transfer._adjust import AdjustedControls

# The limiter's threshold. It is below full scale because Vorbis coding and the resampling of a
# player can raise peaks.
CEILING_DB = -0.5
_RELEASE_S, _LOOKAHEAD_S = 0.1, 0.005
# Hops of a block, 4 s at 250 frames per second: long enough for an efficient FFT in the reverb,
# short enough to need little memory.
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
    """Plays adjusted controls on an instrument, block by block.

    The joined blocks do not depend on `block_hops`, up to rounding: phase, recurrent state, noise,
    the tail of the reverb and the state of the limiter are carried from block to block. The gain
    is applied before the reverb, so that the reverb of a note that fades out is still heard. If
    `played` has breath, the instrument's noise plays it, and is added before the reverb.

    Args:
      model: the instrument.
      played: the controls, from :func:`adjust`.
      n_samples: length of the output; it must have as many frames as `played`.
      z: from `features.blockwise_z`, with as many frames; None for a model without an encoder.
      recording: a sound at the model's rate to mix in, in blocks of any sizes; None for the
        instrument alone.
      wet: the instrument's share of the power, from 0 to 1; the recording has the rest.
      reverb: factor of the reverb's level.
      ceiling_db: highest peak, in dB relative to full scale; a limiter enforces it.
      seed: seed of the noise.
      block_hops: hops of a block.

    Yields:
      Blocks of audio in linear amplitude, of about `block_hops` hops each.

    Raises:
      TypeError: `model` is of a subclass of `Autoencoder`.
      ValueError: `n_samples` or `z` do not have the number of frames of `played`, or `z` does not
        fit the model.
    """
    require_autoencoder(model, "whose own __call__ would not be played")
    size = positive_int("block_hops", block_hops) * model.config.hop_length
    frames = played.f0_hz.size
    if core.n_frames(n_samples, hop_length=model.config.hop_length) != frames:
        raise ValueError(
            f"`n_samples` must give the {frames} frames of `played`, got {n_samples}; the number "
            "of frames is 1 + n_samples // hop_length."
        )
    if z is not None:
        same_size("`z` and `played`", len(z), frames, "frames")
    graph, weights = nnx.split(model)
    levels = _Levels(*(jnp.float32(x) for x in (wet, reverb, ceiling_db)))
    dtype = jnp.result_type(played.f0_hz)
    parts = (played,) if played.breath is None else (played, played.breath)
    chain = _signal_chain(model, len(parts), key=jax.random.key(seed), dtype=dtype)
    state = chain.init()
    dry = repeat(None) if recording is None else _rechunked(recording, size)
    # The limiter delays the sound by its look-ahead. So many samples more are played, and as many
    # cut off in front.
    delay = round(_LOOKAHEAD_S * model.config.sample_rate)
    for start, dry_block in zip(range(0, n_samples + delay, size), dry, strict=False):
        # All blocks have one size, so that one program fits all. Beyond the last frame the controls
        # are held, and the audio is silenced. A block gets the first frame of the next block too,
        # because its controls are interpolated towards that frame, and what its decoder hears of
        # later frames.
        first = start // model.config.hop_length
        stop = first + block_hops + 1 + model.lookahead
        indices = np.minimum(np.arange(first, stop), frames - 1)
        voices = tuple(
            _Voice(*(jnp.asarray(track[indices]) for track in controls[:3])) for controls in parts
        )
        block_z = None if z is None else jnp.asarray(z[indices])
        left = max(0, n_samples - start)
        block = _Block(voices, block_z, dry_block, left, max(1, frames - first))
        state, audio = _play_block(graph, weights, state, block, levels)
        samples = np.asarray(audio)[max(0, delay - start) : n_samples + delay - start]
        if samples.size:
            yield samples


class _Voice(NamedTuple):
    """The controls of the instrument's notes, or of its breath, in a block.

    Attributes:
      f0_hz: pitch of the frames of the block, and of those after them that the model hears.
      loudness_db: loudness of the same frames.
      gain: gain of the sound before the reverb, at the same frames.
    """

    f0_hz: Array
    loudness_db: Array
    gain: Array


class _Block(NamedTuple):
    """The controls of a block.

    Attributes:
      voices: the controls of the notes, and of the breath if there is one.
      z: z of the same frames, or None.
      recording: the samples to mix in, or None.
      left: how many samples there are from the start of the block to the end of the sound.
      n_frames: how many frames there are.
    """

    voices: tuple[_Voice, ...]
    z: Array | None
    recording: np.ndarray | None
    left: Array | int
    n_frames: Array | int


class _Levels(NamedTuple):
    """Arguments of :func:`render` that are the same in all blocks.

    They are traced, so that other values do not need another compilation.
    """

    wet: Array
    reverb: Array
    ceiling_db: Array


def _signal_chain(
    model: Autoencoder, n_voices: int, *, key: Array, dtype: DTypeLike = jnp.float32
) -> core.Stream:
    """Returns the stream from a `_Block` to its audio: instrument, reverb, mix, limiter.

    The step is ``step(state, block, block, levels)``. The key of the noise is in the state, whose
    dtype is that of the controls.
    """
    rate, hop_length = model.config.sample_rate, model.config.hop_length

    def start():
        # The notes have the same noise with and without breath, and the breath has another.
        keys = (key, *(jax.random.fold_in(key, i) for i in range(1, n_voices)))
        return tuple(model.dry_init(voice_key, dtype=dtype) for voice_key in keys)

    def play(states, block, _, __):
        after, audio = [], 0.0
        # The second voice, if there is one, is the breath.
        for state, voice, is_breath in zip(states, block.voices, (False, True), strict=False):
            ahead = {"lookahead": model.lookahead, "n_frames": block.n_frames}
            state, dry = model.dry_step(state, *voice[:2], z=block.z, **ahead, noise_only=is_breath)
            gain = core.upsample(
                voice.gain[: -model.lookahead], hop_length=hop_length, method="hann"
            )
            audio += dry * gain
            after.append(state)
        return tuple(after), audio

    def mixed(audio, block, levels):
        if block.recording is not None:
            audio = core.crossfade(block.recording, audio, levels.wet[None])
        return jnp.where(jnp.arange(audio.size) < block.left, audio, 0.0)

    def limit(state, audio, _, levels):
        options = {"release_s": _RELEASE_S, "sample_rate": rate, "lookahead_s": _LOOKAHEAD_S}
        return core.limiter_step(state, audio, threshold_db=levels.ceiling_db, **options)

    limiter_init = partial(
        core.limiter_init, sample_rate=rate, lookahead_s=_LOOKAHEAD_S, dtype=dtype
    )
    return core.chain(
        core.Stream(start, play),
        *_room(model, dtype),
        mixed,
        core.Stream(limiter_init, limit),
    )


def _room(model: Autoencoder, dtype: DTypeLike) -> list[core.Stream]:
    """Returns the reverb of an instrument as a stream in a list, which is empty if it has none."""
    if model.reverb is None:
        return []
    response = model.reverb.impulse_response

    def ring(state, audio, _, levels):
        return core.convolution_reverb_step(state, audio, levels.reverb * response)

    return [core.Stream(partial(core.convolution_reverb_init, response.astype(dtype)), ring)]


@partial(jax.jit, static_argnums=0)
def _play_block(graph, weights, state, block, levels):
    """Computes one block of :func:`_signal_chain`."""
    model = nnx.merge(graph, weights)
    stream = _signal_chain(model, len(block.voices), key=jax.random.key(0))
    return stream.step(state, block, block, levels)


def _rechunked(blocks: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Yields the same samples in blocks of one size, then blocks of silence without end."""
    pending = np.zeros(0, np.float32)
    for block in blocks:
        pending = np.concatenate([pending, block])
        while pending.size >= size:
            yield pending[:size]
            pending = pending[size:]
    yield np.pad(pending, (0, size - pending.size))
    yield from repeat(np.zeros(size, np.float32))
