"""Timbre transfer from file to file, in memory that does not grow with the recording."""

import warnings
from collections.abc import Callable, Iterator
from functools import partial
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
from ddspx.transfer._adjust import (
    Playable,
    adjust,
    audible_frames,
    check_options,
    confident_frames,
)

# A note of 50 ms and a little around it: in less there is nothing to play.
_SHORTEST_S = 0.064
# 4 s at 250 frames per second: long enough for the reverb's FFT to pay, short to hold.
_BLOCK_HOPS = 1000
# Under this share of the sounding frames, what has a pitch is not what the sound is about.
_MOSTLY_UNPITCHED = 0.25


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
      peak: largest absolute sample of the output; above 1.0 the file was clipped there.
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
    heard: Features
    played: Playable


Progress = Callable[[str, float, float | None], object]
"""Told what is being done, how far it is, and how far it goes (None: not known yet)."""


def transfer(
    recording: str | Path,
    output: str | Path,
    *,
    to: str | Path,
    octave: int | None = None,
    loudness_shift_db: float = 0.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> TransferReport:
    """Plays a recording on an instrument.

    The recording is read in small pieces, of which the features stay, and what is made of them
    (24 bytes per frame, 22 MB for an hour, and where the instrument has an encoder, its z). They
    are adjusted as :func:`adjust` says, but for z, which is the recording's; and the instrument
    plays them block by block with its state carried over, into a file that appears
    when it is complete.

    Args:
      recording: any sound, in a format that libsndfile reads.
      output: the file to write, ``.wav``, ``.flac`` or ``.ogg``; at the model's sample rate, as
        long as the recording is at that rate.
      to: a model folder, or the name of an instrument that ships with ddspx.
      octave: octaves to move the pitch by; None for the nearest to the instrument's range.
      loudness_shift_db: added to the matched loudness.
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
      UserWarning: most of the recording has no pitch, and the instrument is silent there; or
        the output was clipped.
    """
    # What can be refused without listening is refused first.
    check_options(octave=octave, loudness_shift_db=loudness_shift_db)
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
        octave=octave,
        loudness_shift_db=loudness_shift_db,
    )
    with writer:
        done, total = 0, n_samples / model.config.sample_rate
        for block in synthesise(model, played, z=z, n_samples=n_samples, seed=seed):
            writer.write(block)
            done += block.size
            progress("playing", done / model.config.sample_rate, total)
    report = _report(heard, played, n_samples, model.config, writer.peak)
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
    seed: int = 0,
    block_hops: int = _BLOCK_HOPS,
) -> Iterator[Float[np.ndarray, " samples"]]:
    """Plays an adjusted sound, block by block.

    The blocks, joined, do not depend on `block_hops` (to rounding): phase, recurrent state, noise
    and the tail of the reverb are carried from each to the next. The gain is applied before
    the reverb, so a faded note still rings in the room.

    Args:
      model: the instrument.
      played: from :func:`adjust`.
      n_samples: length of the whole, with as many frames as `played` has.
      z: from `features.stream_z`, as many frames; None where the model has no encoder.
      seed: of the noise.
      block_hops: hops of a block.

    Yields:
      Audio in linear amplitude, `block_hops` hops at a time, then the rest.

    Raises:
      ValueError: `n_samples` samples or `z` do not have this number of frames, or `z` is not what
        the model wants.
    """
    positive_int("block_hops", block_hops)
    hop_length = model.config.hop_length
    frames = played.f0_hz.size
    if core.n_frames(n_samples, hop_length=hop_length) != frames:
        raise ValueError(
            f"`n_samples` must have the {frames} frames of `played`, got {n_samples}; frames "
            "= 1 + n_samples // hop_length."
        )
    if z is not None:
        same_size("`z` and `played`", len(z), frames, "frames")
    graph, weights = nnx.split(model)
    state, room = _silence(model, jax.random.key(seed))
    for start in range(0, n_samples, block_hops * hop_length):
        # All blocks have one size, so that one is compiled. The last holds its last frame, which
        # is what synthesis does beyond it, and is cut. One frame more says where pitch goes.
        first = start // hop_length
        chosen = np.minimum(np.arange(first, first + block_hops + 2), frames - 1)
        tracks = (jnp.asarray(track[chosen]) for track in played[:3])
        told = None if z is None else jnp.asarray(z[chosen])
        state, room, audio = _play_block(graph, weights, state, room, *tracks, told)
        yield np.asarray(audio)[: n_samples - start]


def _silence(model: Autoencoder, key: Array) -> tuple[SynthesisState, core.ReverbState | None]:
    """The instrument and its room before the first block."""
    room = None if model.reverb is None else core.reverb_init(model.reverb.impulse_response)
    return _without_room(model).init_state(key), room


def _without_room(model: Autoencoder) -> Autoencoder:
    """The same weights without the reverb, which has to come after the gain."""
    dry = nnx.merge(*nnx.split(model))
    dry.reverb = None
    return dry


@partial(jax.jit, static_argnums=0)
def _play_block(graph, weights, state, room, f0_hz, loudness_db, gain, z):
    """One block of dry sound, its gain, and the room: the states after it and the audio.

    The tracks hold the block's frames and the one after them.
    """
    model = nnx.merge(graph, weights)
    z = None if z is None else z[:-1]
    state, audio = _without_room(model).synthesise_block(
        state, f0_hz[:-1], loudness_db[:-1], z=z, next_f0_hz=f0_hz[-1]
    )
    audio = audio * core.upsample(gain[:-1], hop_length=model.config.hop_length, method="hann")
    if model.reverb is not None:
        room, audio = core.reverb_step(room, audio, model.reverb.impulse_response)
    return state, room, audio


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
    progress: Progress,
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
        progress(what, sum(sizes) / config.sample_rate, None)
        yield block


def _report(
    heard: Features, played: Playable, n_samples: int, config: AutoencoderConfig, peak: float
) -> TransferReport:
    confident = confident_frames(*heard)
    audible = audible_frames(heard.loudness_db)

    def over_notes(track: np.ndarray) -> Range:
        if not confident.any():
            return Range(*3 * (float("nan"),))
        return Range(*np.percentile(track[confident], (5, 50, 95)).tolist())

    return TransferReport(
        n_samples=n_samples,
        sample_rate=config.sample_rate,
        hop_length=config.hop_length,
        confident_share=float(confident.sum() / audible.sum()),
        octaves=played.octaves,
        source_f0_hz=over_notes(heard.f0_hz),
        source_loudness_db=over_notes(heard.loudness_db),
        played_f0_hz=over_notes(played.f0_hz),
        played_loudness_db=over_notes(played.loudness_db),
        peak=peak,
        heard=heard,
        played=played,
    )
