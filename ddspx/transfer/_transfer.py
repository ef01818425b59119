"""Timbre transfer from file to file, in memory that does not grow with the recording."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ddspx import core
from ddspx._checks import positive_int, same_size
from ddspx._typing import Array, Float
from ddspx.features import Features, StreamingMethod, method_of, stream_features, stream_z
from ddspx.io import AudioWriter, stream_audio
from ddspx.models.autoencoder import (
    Autoencoder,
    AutoencoderConfig,
    SynthesisState,
    load_autoencoder,
)
from ddspx.transfer._adjust import Playable, adjust
from ddspx.transfer._config import TransferConfig
from ddspx.transfer._notes import audible_frames, confident_frames

# A note of 50 ms and a little around it: in less there is nothing to play.
_SHORTEST_S = 0.064
# 4 s at 250 frames per second: long enough for the reverb's FFT to pay, short to hold.
_BLOCK_HOPS = 1000
# Under this share of the sounding frames, what has a pitch is not what the sound is about.
_MOSTLY_UNPITCHED = 0.25
# Peaks come down to here, smoothly: Vorbis and a player's resampling add to them.
_CEILING_DB, _RELEASE_S, _LOOKAHEAD_S = -0.5, 0.1, 0.005
_DEFAULT = TransferConfig()


class Range(NamedTuple):
    """The 5th, 50th and 95th percentile of a track over the confident frames.

    All three are NaN where there is no such frame.
    """

    low: float
    median: float
    high: float


class TransferReport(NamedTuple):
    """What a transfer heard and did.

    Attributes:
      n_samples: length of the output, which is the input's at the output's rate.
      sample_rate: the model's, and so the output's.
      hop_length: the model's; what was heard and played is counted on its frames.
      confident_share: share of the sounding frames (within 60 dB of the loudest) with a sure
        pitch.
      octaves: by how many octaves the pitch was moved.
      source_f0_hz: pitch of the recording.
      source_loudness_db: loudness of the recording.
      played_f0_hz: pitch asked of the instrument.
      played_loudness_db: loudness asked of the instrument.
      peak: largest absolute sample of the output; a limiter holds it below full scale.
      method: the pitch tracker that listened, the instrument's.
      config: what was wanted.
      heard: features of the recording.
      played: what the instrument was asked for.
    """

    n_samples: int
    sample_rate: int
    hop_length: int
    confident_share: float
    octaves: int
    source_f0_hz: Range
    source_loudness_db: Range
    played_f0_hz: Range
    played_loudness_db: Range
    peak: float
    method: StreamingMethod
    config: TransferConfig
    heard: Features
    played: Playable


Progress = Callable[[str, float, float | None], object]
"""Told what is being done, how far it is, and how far it goes (None: not known yet)."""


def transfer(
    recording: str | Path,
    output: str | Path,
    *,
    to: str | Path,
    config: TransferConfig = _DEFAULT,
    seed: int = 0,
    progress: Progress | None = None,
) -> TransferReport:
    """Plays a recording on an instrument.

    The recording is read in small pieces, of which the features stay, and what is made of them
    (24 bytes per frame, 22 MB for an hour, and where the instrument has an encoder, its z). They
    are adjusted as :func:`adjust` says, but for z, which is the recording's; and the instrument
    plays them block by block with its state carried over, into a file that appears
    when it is complete. A limiter with 5 ms of look-ahead keeps peaks below full scale.

    Args:
      recording: any sound, in a format that libsndfile reads.
      output: the file to write, ``.wav``, ``.flac`` or ``.ogg``; at the model's sample rate, as
        long as the recording is at that rate.
      to: a model folder, or the name of an instrument that ships with ddspx.
      config: what a musician decides.
      seed: of the instrument's noise.
      progress: called as the work goes on, with "listening", "encoding" or "playing", the seconds
        of sound that are done, and of how many.

    Returns:
      What was heard and done.

    Raises:
      AudioError: the recording is missing, not audio, empty, shorter than 64 ms, silent, or
        holds NaN.
      FileNotFoundError: there is no such model, or a file of it is missing.
      ValueError: a file of the model is corrupt or of another version, its encoder needs the
        whole sound at once, an argument is out of range, or `output` is the recording.
      OSError: the output cannot be written.

    Warns:
      UserWarning: most of the recording has no pitch, and the instrument is silent there.
    """
    # What can be refused without listening is refused first.
    if Path(output).resolve() == Path(recording).resolve():
        raise ValueError(f"{output} is the recording itself; choose another output.")
    progress = progress or (lambda what, done, total: None)
    model, statistics, _ = load_autoencoder(to)
    try:
        # An instrument listens with the tracker that it was trained with.
        method = method_of(statistics.feature_version)
    except ValueError as error:
        raise ValueError(f"The model {to} cannot be used: its {error}") from None
    writer = AudioWriter(output, sample_rate=model.config.sample_rate)
    z = _encode(recording, model, progress)
    heard, n_samples = _listen(recording, model, method, progress)
    played = adjust(
        *heard,
        statistics=statistics,
        frame_rate=model.config.sample_rate / model.config.hop_length,
        config=config,
    )
    dry = None
    if config.wet < 1:
        dry = _blocks(recording, model.config, None, "playing", [])
    with writer:
        done, total = 0, n_samples / model.config.sample_rate
        for block in synthesise(
            model,
            played,
            z=z,
            n_samples=n_samples,
            recording=dry,
            wet=config.wet,
            reverb=config.reverb,
            seed=seed,
        ):
            writer.write(block)
            done += block.size
            progress("playing", done / model.config.sample_rate, total)
    report = _report(heard, played, n_samples, model.config, writer.peak, method, config)
    if report.confident_share < _MOSTLY_UNPITCHED:
        warnings.warn(
            f"{recording} is mostly unpitched: only {report.confident_share:.0%} of its "
            "sounding frames have a sure pitch, and the instrument plays those alone; use a "
            "recording of one voice or instrument.",
            stacklevel=2,
        )
    return report


def synthesise(
    model: Autoencoder,
    played: Playable,
    *,
    n_samples: int,
    z: Float[np.ndarray, "frames z"] | None = None,
    recording: Iterable[Float[np.ndarray, " samples"]] | None = None,
    wet: float = 1.0,
    reverb: float = 1.0,
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
      wet: the instrument's part, from 0 to 1; the rest is the recording's.
      reverb: factor of the room.
      seed: of the noise.
      block_hops: hops of a block.

    Yields:
      Audio in linear amplitude, at most -0.5 dB, some `block_hops` hops at a time, then the rest.

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
    mix = jnp.asarray([wet, reverb], jnp.float32)
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
    synthesis, audio = _without_room(model).synthesise_block(
        state.synthesis, f0_hz[:-1], loudness_db[:-1], z=z, next_f0_hz=f0_hz[-1]
    )
    audio = audio * core.upsample(gain[:-1], hop_length=model.config.hop_length, method="hann")
    room = state.room
    if model.reverb is not None:
        response = mix[1] * model.reverb.impulse_response
        room, audio = core.reverb_step(state.room, audio, response)
    if recording is not None:
        audio = mix[0] * audio + (1 - mix[0]) * recording
    audio = jnp.where(jnp.arange(audio.size) < left, audio, 0.0)
    limiter, audio = core.limiter_step(
        state.limiter,
        audio,
        threshold_db=_CEILING_DB,
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


def _listen(
    recording: str | Path, model: Autoencoder, method: StreamingMethod, progress: Progress
) -> tuple[Features, int]:
    """The features of a recording on the model's frames, and its length at the model's rate."""
    config, sizes = model.config, []
    features = stream_features(
        _blocks(recording, config, progress, "listening", sizes),
        sample_rate=config.sample_rate,
        hop_length=config.hop_length,
        method=method,
    )
    return features, sum(sizes)


def _encode(
    recording: str | Path, model: Autoencoder, progress: Progress
) -> Float[np.ndarray, "frames z"] | None:
    """The z of a recording, if the model has an encoder."""
    if model.encoder is None:
        return None
    return stream_z(model.encoder, _blocks(recording, model.config, progress, "encoding", []))


def _blocks(
    recording: str | Path,
    config: AutoencoderConfig,
    progress: Progress | None,
    what: str,
    sizes: list[int],
) -> Iterator[np.ndarray]:
    """A recording at the model's rate; the sizes of its blocks are noted as they are read."""
    for block in stream_audio(
        recording,
        sample_rate=config.sample_rate,
        block_length=1 << 16,
        min_samples=round(_SHORTEST_S * config.sample_rate),
    ):
        sizes.append(block.size)
        if progress is not None:
            progress(what, sum(sizes) / config.sample_rate, None)
        yield block


def _report(
    heard: Features,
    played: Playable,
    n_samples: int,
    model: AutoencoderConfig,
    peak: float,
    method: StreamingMethod,
    config: TransferConfig,
) -> TransferReport:
    confident = confident_frames(*heard)
    audible = audible_frames(heard.loudness_db)

    def over_notes(track: np.ndarray) -> Range:
        if not confident.any():
            return Range(*3 * (float("nan"),))
        return Range(*np.percentile(track[confident], (5, 50, 95)).tolist())

    return TransferReport(
        n_samples=n_samples,
        sample_rate=model.sample_rate,
        hop_length=model.hop_length,
        confident_share=float(confident.sum() / audible.sum()),
        octaves=played.octaves,
        source_f0_hz=over_notes(heard.f0_hz),
        source_loudness_db=over_notes(heard.loudness_db),
        played_f0_hz=over_notes(played.f0_hz),
        played_loudness_db=over_notes(played.loudness_db),
        peak=peak,
        method=method,
        config=config,
        heard=heard,
        played=played,
    )
