"""Timbre transfer from file to file, in memory that does not grow with the recording."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ddspx._checks import checked_seed
from ddspx._progress import Progress, no_progress
from ddspx._typing import Float
from ddspx.features import (
    LOUDNESS_LEADS,
    Features,
    LoudnessScale,
    StreamingMethod,
    blockwise_features,
    blockwise_z,
    loudness_of,
    method_of,
    stream_loudness,
)
from ddspx.instruments import Instrument, as_instrument
from ddspx.instruments._hearing import warn_if_unpitched
from ddspx.instruments._mixture import check_is_no_source
from ddspx.io import AudioWriter, stream_audio
from ddspx.models.autoencoder import Autoencoder, AutoencoderConfig
from ddspx.models.autoencoder.model import require_autoencoder
from ddspx.transfer._adjust import AdjustedControls, adjust
from ddspx.transfer._config import TransferConfig
from ddspx.transfer._loudness_matching import match_loudness
from ddspx.transfer._notes import audible_frames, confident_frames
from ddspx.transfer._rendering import render

# The shortest recording: the shortest note, 50 ms, with a little around it.
_SHORTEST_S = 0.064
_DEFAULT = TransferConfig()


class Percentiles(NamedTuple):
    """The 5th, 50th and 95th percentile of a track over the confident frames.

    All three are NaN if there is no such frame.
    """

    low: float
    median: float
    high: float


class TransferReport(NamedTuple):
    """The measurements and the settings of a transfer.

    Attributes:
      n_samples: length of the output, which is the input's length at the output's rate.
      sample_rate: of the model, and therefore of the output.
      hop_length: samples between the frames of `heard` and `played`, the model's.
      confident_share: share of the audible frames (within 60 dB of the loudest) whose pitch has at
        least the confidence `config.confidence`.
      octaves: by how many octaves the pitch was moved.
      source_f0_hz: pitch of the recording.
      source_loudness_db: loudness of the recording.
      played_f0_hz: pitch requested of the instrument.
      played_loudness_db: loudness requested of the instrument, including the gain.
      peak: largest absolute sample of the output; a limiter keeps it below full scale.
      method: the pitch tracker, which is the one the instrument was trained with.
      config: the settings of the transfer.
      heard: features of the recording.
      played: the controls requested of the instrument.
      performance: all that is needed to render the instrument again, for
        :func:`evaluate_transfer`.
    """

    n_samples: int
    sample_rate: int
    hop_length: int
    confident_share: float
    octaves: int
    source_f0_hz: Percentiles
    source_loudness_db: Percentiles
    played_f0_hz: Percentiles
    played_loudness_db: Percentiles
    peak: float
    method: StreamingMethod
    config: TransferConfig
    heard: Features
    played: AdjustedControls
    performance: "Performance"


class Performance(NamedTuple):
    """The inputs of the rendering of an instrument, before the recording was mixed in.

    Attributes:
      to: the instrument.
      played: its controls, with the gain of :func:`match_loudness`.
      z: as in :func:`render`.
      seed: seed of the noise.
    """

    to: Instrument
    played: AdjustedControls
    z: Float[np.ndarray, "frames z"] | None
    seed: int

    def again(
        self, report: TransferReport, *, notes_only: bool = False
    ) -> Iterator[Float[np.ndarray, " samples"]]:
        """Renders the instrument alone, in blocks; with `notes_only` without reverb and breath."""
        return render(
            self.to.model,
            self.played._replace(breath=None) if notes_only else self.played,
            n_samples=report.n_samples,
            z=self.z,
            reverb=0.0 if notes_only else report.config.reverb,
            seed=self.seed,
        )


def transfer(
    recording: str | Path,
    output: str | Path,
    *,
    to: str | Path | Instrument,
    config: TransferConfig = _DEFAULT,
    seed: int = 0,
    progress: Progress = no_progress,
) -> TransferReport:
    """Plays the melody of a recording on an instrument.

    The recording is read in blocks. Only its features and the adjusted controls are kept in
    memory (24 bytes per frame, 22 MB for an hour), and its z if the instrument has an encoder.
    :func:`adjust` makes the controls from the features; z is not adjusted. The instrument plays
    them block by block, carrying its state from block to block. A limiter with a look-ahead of
    5 ms keeps peaks below full scale. The file appears under its name when it is complete.

    Args:
      recording: any sound, in a format that libsndfile reads.
      output: the file to write, ``.wav``, ``.flac`` or ``.ogg``. It has the model's sample rate
        and the duration of the recording.
      to: the result of `instruments.load_instrument`, or what it takes: a model folder, the name
        of a shipped or installed instrument, the folder or archive of a published model, a
        recording of an instrument, or several timbres such as "violin+flute:0.3".
      config: the musician's settings.
      seed: seed of the instrument's noise.
      progress: called with the name of the stage ("listening", "encoding", "rehearsing" or
        "playing"), the seconds of sound that are done, and all seconds, or None if not known.

    Returns:
      The measurements and the settings of the transfer.

    Raises:
      AudioError: the recording is missing, not audio, empty, shorter than 64 ms, silent, or
        contains NaN.
      FileNotFoundError: there is no such model, or one of its files is missing.
      ValueError: a file of the model is damaged or of another version, its encoder needs the
        whole sound at once, an argument is out of range, or `output` is the recording
        or one of the instrument's.
      OSError: the output cannot be written.

    Warns:
      UserWarning: most of the recording has no pitch, and the instrument is silent there.

    Example:
      >>> import tempfile
      >>> from pathlib import Path
      >>> import numpy as np
      >>> from ddspx import io, transfer
      >>> folder = tempfile.TemporaryDirectory()
      >>> sung, played = Path(folder.name, "sung.wav"), Path(folder.name, "played.wav")
      >>> time_s = np.arange(16000) / 16000
      >>> voice = 0.1 * sum(np.sin(2 * np.pi * 440 * k * time_s) / k for k in range(1, 9))
      >>> io.write_audio(sung, voice, sample_rate=16000)
      >>> report = transfer.transfer(
      ...     sung, played, to="violin", config=transfer.TransferConfig(autotune=0.5)
      ... )
      >>> report.octaves, report.n_samples, io.read_audio(played, sample_rate=16000).size
      (0, 16000, 16000)
      >>> folder.cleanup()
    """
    # All checks that do not need the sound are made before it is read.
    if os.path.realpath(output) == os.path.realpath(recording):
        raise ValueError(f"{output} is the recording itself; choose another output.")
    if not isinstance(to, Instrument):
        check_is_no_source(output, to)
    checked_seed(seed)
    instrument = as_instrument(to)
    model, statistics, _ = instrument
    require_autoencoder(model, "whose own __call__ would not be played")
    try:
        # The pitch has to come from the tracker that the instrument was trained with.
        method = method_of(statistics.feature_version)
        scale = loudness_of(statistics.feature_version)
    except ValueError as error:
        name = "given as `to`" if isinstance(to, Instrument) else to
        raise ValueError(f"The model {name} cannot be used: its {error}") from None
    writer = AudioWriter(output, sample_rate=model.config.sample_rate)
    z = _encode(recording, model, progress)
    heard, n_samples = _features(recording, model, method, progress)
    level_db = _level(recording, heard, scale, model.config, fitted=config.adjust)
    played = adjust(
        *heard,
        statistics=statistics,
        frame_rate=model.config.sample_rate / model.config.hop_length,
        config=config,
        level_db=level_db,
    )
    rate, options = model.config.sample_rate, {"n_samples": n_samples, "z": z, "seed": seed}
    options["reverb"] = config.reverb
    heard_db = None if level_db is None else heard.loudness_db
    matched = match_loudness(
        model, played, **options, amount=config.follow, heard_db=heard_db, progress=progress
    )
    dry = None
    if config.wet < 1:
        dry = _blocks(recording, model.config)
    with writer:
        done = 0
        for block in render(model, matched, **options, recording=dry, wet=config.wet):
            writer.write(block)
            done += block.size
            progress("playing", done / rate, n_samples / rate)
    performance = Performance(instrument, matched, z, seed)
    report = _report(
        heard, played, n_samples, model.config, writer.peak, method, config, performance
    )
    warn_if_unpitched(
        str(recording), report.confident_share, "the instrument plays its notes only there"
    )
    return report


def _features(
    recording: str | Path, model: Autoencoder, method: StreamingMethod, progress: Progress
) -> tuple[Features, int]:
    """Computes a recording's features on the model's frames, and its length at the model's rate."""
    config, n_samples = model.config, 0

    def counted() -> Iterator[np.ndarray]:
        nonlocal n_samples
        for block in _reported(_blocks(recording, config), "listening", config, progress):
            n_samples += block.size
            yield block

    features = blockwise_features(
        counted(), sample_rate=config.sample_rate, hop_length=config.hop_length, method=method
    )
    return features, n_samples


def _level(
    recording: str | Path,
    heard: Features,
    scale: LoudnessScale,
    config: AutoencoderConfig,
    *,
    fitted: bool,
) -> Float[np.ndarray, " frames"] | None:
    """Computes the loudness for an instrument that takes it on another scale; None for ours.

    What is fitted to the instrument's distribution may be on any scale. It is on ours, because the
    mean of decibels over the bins says more about noise than about dynamics. But the instrument has
    learned to be late: the loudness that it knows is that of the sound to come.
    """
    if scale == "ddspx":
        return None
    rates = {"sample_rate": config.sample_rate, "hop_length": config.hop_length}
    if not fitted:
        return np.concatenate(
            list(stream_loudness(_blocks(recording, config), **rates, scale=scale))
        )
    ahead = LOUDNESS_LEADS[scale] // config.hop_length
    padded_db = np.pad(heard.loudness_db, (0, ahead), mode="edge")
    # Of what follows, the loudest part decides: a rise is known early, a fall is not.
    return np.lib.stride_tricks.sliding_window_view(padded_db, ahead + 1).max(axis=-1)


def _encode(
    recording: str | Path, model: Autoencoder, progress: Progress
) -> Float[np.ndarray, "frames z"] | None:
    """Computes the z of a recording; None if the model has no encoder."""
    if model.encoder is None:
        return None
    config = model.config
    blocks = _reported(_blocks(recording, config), "encoding", config, progress)
    return blockwise_z(model.encoder, blocks)


def _reported(
    blocks: Iterator[np.ndarray], stage: str, config: AutoencoderConfig, progress: Progress
) -> Iterator[np.ndarray]:
    """Yields the same blocks, and reports how many seconds have been read."""
    done = 0
    for block in blocks:
        done += block.size
        progress(stage, done / config.sample_rate, None)
        yield block


def _blocks(recording: str | Path, config: AutoencoderConfig) -> Iterator[np.ndarray]:
    """Reads a recording in blocks at the model's rate."""
    return stream_audio(
        recording,
        sample_rate=config.sample_rate,
        block_length=1 << 16,
        min_samples=round(_SHORTEST_S * config.sample_rate),
    )


def _report(
    heard: Features,
    played: AdjustedControls,
    n_samples: int,
    model: AutoencoderConfig,
    peak: float,
    method: StreamingMethod,
    config: TransferConfig,
    performance: Performance,
) -> TransferReport:
    confident = confident_frames(*heard, confidence=config.confidence)
    audible = audible_frames(heard.loudness_db)

    def over_notes(track: np.ndarray) -> Percentiles:
        if not confident.any():
            return Percentiles(*3 * (float("nan"),))
        return Percentiles(*np.percentile(track[confident], (5, 50, 95)).tolist())

    return TransferReport(
        n_samples=n_samples,
        sample_rate=model.sample_rate,
        hop_length=model.hop_length,
        confident_share=float(confident.sum() / audible.sum()),
        octaves=played.octaves,
        source_f0_hz=over_notes(heard.f0_hz),
        source_loudness_db=over_notes(heard.loudness_db),
        played_f0_hz=over_notes(played.f0_hz),
        played_loudness_db=over_notes(played.asked_db),
        peak=peak,
        method=method,
        config=config,
        heard=heard,
        played=played,
        performance=performance,
    )
