"""Audio files: the one place where recorded data is decoded, resampled and checked.

soundfile and soxr are imported where they are used, so that ``import ddspx.io`` stays light.
"""

import dataclasses
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ddspx._checks import LARGEST, positive_int, size
from ddspx._typing import Float
from ddspx.io._containers import parts_of
from ddspx.io._files import objection_to_reading
from ddspx.io._mixing import AVERAGE, Mix, choose_mix
from ddspx.io._parts import Part, Source

_DECODE_FRAMES = 1 << 16
# A recording is silence if half its peak-to-peak range is below this: -80 dB, which is above the
# two lowest bits of dithered 16-bit silence. The range is used, not the peak, so that a constant
# offset is silence too.
_SILENCE_PEAK = 1e-4
# Samples above this peak cannot be audio of full scale 1.0: +60 dB is more than any mix exceeds it.
_LOUDEST_PEAK = 1e3

# A rate outside this range means that the header is wrong. Recordings of whales and earthquakes are
# inside it, and no converter is faster.
_LOWEST_RATE, _HIGHEST_RATE = 100, LARGEST["sample_rate"]
# How much shorter than declared the decoded sound may be without a warning. MPEG decoders lose
# samples at the start and the end; other decoders are exact.
_MPEG_SLACK, _SLACK_S = 4096, 0.01


class AudioError(ValueError):
    """A recording that cannot be used; the message names the path and the fix."""


def read_audio(
    path: str | Path, *, sample_rate: int, min_samples: int = 1
) -> Float[np.ndarray, " samples"]:
    """Reads a whole recording as mono float32 at a given sample rate.

    It reads every format that libsndfile reads. Of a file that was joined from several (Ogg, MP3,
    FLAC, WAV and others, of any rates and channels), it reads all, which libsndfile does not.
    Resampling is band-limited (soxr HQ), so nothing above the new Nyquist frequency is aliased.
    ``n`` samples at the rate ``r`` become ``n * sample_rate / r``, rounded half up.

    Channels are averaged, unless they cancel each other in some second of sound: there the average
    is 12 dB below the loudest channel, and 6 dB below the average of uncorrelated channels. Then
    the average, the average after inverting the channels that correlate negatively with the
    loudest, and each channel alone are compared. The one that loses the fewest seconds is used for
    the whole recording, with a warning.

    A `UserWarning` is also given if the header does not declare the length of the sound, and if
    less can be decoded than it declares, with both lengths.

    Args:
      path: the recording.
      sample_rate: samples per second of the result.
      min_samples: smallest length of the result that is accepted, for example one frame.

    Returns:
      Samples in linear amplitude, full scale 1.0 (float and lossy files may exceed it).

    Raises:
      AudioError: the file does not exist, is a folder, a pipe or a device, is not audio, or is cut
        short (Ogg and MP3 are read as far as they go, with a warning); its rate is below 100 Hz or
        above 1 MHz; it is empty or shorter than `min_samples`; it holds NaN, Inf or a peak over
        1000; or it is silent from end to end (peak under -80 dB) or constant.
      ValueError: `sample_rate` is above 1 MHz.

    Example:
      >>> import numpy as np, tempfile
      >>> from ddspx import io
      >>> tone = np.sin(2 * np.pi * 440 * np.arange(44100) / 44100)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     io.write_audio(f"{folder}/tone.flac", tone, sample_rate=44100)
      ...     audio = io.read_audio(f"{folder}/tone.flac", sample_rate=16000)
      >>> audio.shape, str(audio.dtype)
      ((16000,), 'float32')
    """
    blocks = stream_audio(
        path, sample_rate=sample_rate, block_length=_DECODE_FRAMES, min_samples=min_samples
    )
    return np.concatenate(list(blocks))


def stream_audio(
    path: str | Path,
    *,
    sample_rate: int,
    block_length: int,
    min_samples: int = 1,
    allow_silence: bool = False,
) -> Iterator[Float[np.ndarray, " samples"]]:
    """Reads a recording in blocks, in memory that does not grow with its duration.

    The blocks, joined, are bit for bit what :func:`read_audio` returns.

    Args:
      path: the recording.
      sample_rate: samples per second of the blocks.
      block_length: samples per block; the last may be shorter, none is empty.
      min_samples: as in :func:`read_audio`.
      allow_silence: whether a recording that is silent from end to end is accepted.

    Returns:
      An iterator of mono float32 blocks.

    Raises:
      AudioError: as in :func:`read_audio`. The call itself raises the errors that the headers show,
        for example of a missing file. The iterator raises the others: those of samples at the
        block that holds them, and those of shortness and silence after the last block.

    Example:
      >>> import numpy as np, tempfile
      >>> from ddspx import io
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     io.write_audio(f"{folder}/a.wav", np.linspace(-1, 1, 2500), sample_rate=8000)
      ...     blocks = io.stream_audio(f"{folder}/a.wav", sample_rate=8000, block_length=1000)
      ...     [len(block) for block in blocks]
      [1000, 1000, 500]
    """
    size("sample_rate", sample_rate)
    positive_int("block_length", block_length)
    path = Path(path)
    parts = _parts(path)
    if missing := sum(part.missing for part in parts):
        raise AudioError(
            f"{path} is cut short: its header promises {missing} bytes of sound that are not "
            "there; copy or export the recording again."
        )
    decoded = _decoded(path, parts, allow_silence=allow_silence)
    return _rebatched(
        _checked(path, _resampled(decoded, sample_rate), sample_rate, min_samples), block_length
    )


def declared_duration_s(path: str | Path) -> float | None:
    """The duration that a recording's header declares, in seconds, or None if it cannot be read.

    Nothing is decoded, so the duration may be wrong; it is meant for progress bars.

    Args:
      path: the recording; any other file or folder gives None.

    Example:
      >>> import numpy as np, tempfile
      >>> from ddspx import io
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     io.write_audio(f"{folder}/a.wav", np.zeros(4000), sample_rate=8000)
      ...     io.declared_duration_s(f"{folder}/a.wav"), io.declared_duration_s(folder)
      (0.5, None)
    """
    headers = _headers(path)
    if not headers or any(n_samples is None for n_samples, _ in headers):
        return None
    return math.fsum(n_samples / rate for n_samples, rate in headers if n_samples is not None)


def declared_sample_rate(path: str | Path) -> int | None:
    """The sample rate that a recording's header declares, or None if it cannot be read.

    Args:
      path: the recording; any other file or folder gives None.

    Example:
      >>> import numpy as np, tempfile
      >>> from ddspx import io
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     io.write_audio(f"{folder}/a.wav", np.zeros(4000), sample_rate=8000)
      ...     io.declared_sample_rate(f"{folder}/a.wav"), io.declared_sample_rate(folder)
      (8000, None)
    """
    headers = _headers(path)
    return headers[0][1] if headers else None


def _parts(path: Path) -> list[Part]:
    """The parts of an audio file, or an AudioError if it cannot be read."""
    if objection := objection_to_reading(path):
        raise AudioError(f"{path} {objection}.")
    with _readable_errors(path):
        try:
            with path.open("rb") as file:
                return parts_of(Source(file))
        except OSError as error:
            reason = error.strerror
            raise AudioError(f"{path} cannot be read ({reason}); check its rights.") from error


def _headers(path: str | Path) -> list[tuple[int | None, int]]:
    """Declared samples per channel and sample rate of each part; empty if it is not audio."""
    from ddspx.io._decoding import decoder

    path, found = Path(path), []
    try:
        for part in _parts(path):
            with _readable_errors(path), decoder(path, part, []) as file:
                found.append((file.declared_samples, file.samplerate))
    except AudioError:
        return []
    return found


@contextmanager
def _readable_errors(path: Path) -> Iterator[None]:
    """Turns errors of soundfile into an AudioError with an explanation."""
    try:
        yield
    except AudioError:
        raise
    # Every exception is caught: soundfile raises a TypeError for a .raw file, because it requires
    # the format as arguments, and damaged files cause exceptions of other types.
    except Exception as error:
        reason = getattr(error, "error_string", str(error)).rstrip(".") or "its sound is damaged"
        if not path.stat().st_size:
            reason = "it has no bytes"
        elif "not a regular file" in reason:
            # libsndfile says this of files that end before their first block of sound.
            reason = "it has no whole block of sound"
        elif "internal error" in reason.lower():
            # libsndfile says this of a sample rate of 0, for example.
            reason = "its header is damaged, or holds impossible values"
        raise AudioError(
            f"{path} cannot be read as audio ({reason}); "
            "convert it to WAV or FLAC, or check that it is complete."
        ) from error


def _decoded(
    path: Path, parts: list[Part], *, allow_silence: bool
) -> Iterator[tuple[np.ndarray, int]]:
    """Yields (mono float32 block, sample rate of its part)."""
    low, high, lengths, complaints, warned_notes = np.inf, -np.inf, [], [], {""}
    for part in parts:
        mix, length = _mix(path, part), _Length()
        for block, file in _blocks(path, part, complaints):
            # The warning waits for the first block: it would be wrong of a part that cannot be
            # decoded at all.
            if part.note not in warned_notes:
                warned_notes.add(part.note)
                warnings.warn(f"{path} {part.note}.", stacklevel=2)
            mono = mix.of(block)
            low, high = min(low, mono.min()), max(high, mono.max())
            length.count(len(mono), part, file.declared_samples, file.samplerate)
            yield mono, file.samplerate
        lengths.append(length)
    if low == np.inf:
        raise AudioError(f"{path} holds no samples; use a recording that is not empty.")
    _warn_of_loss(path, lengths, complaints)
    # Silence is checked before resampling, because that turns the ends of a constant offset into
    # sound.
    if not allow_silence and high < low + 2 * _SILENCE_PEAK:
        fault = "silent from end to end (mixed to mono, its peak is under -80 dB)"
        if max(high, -low) > 2 * _SILENCE_PEAK:
            fault = f"a constant of {(high + low) / 2:.3g} from end to end, which is no sound"
        raise AudioError(f"{path} is {fault}; use a recording with sound in it.")


@dataclasses.dataclass
class _Length:
    """Decoded and declared length of a part, and the tolerated difference, in seconds."""

    decoded_s: float = 0.0
    declared_s: float = 0.0
    slack_s: float = 0.0

    def count(self, n_samples: int, part: Part, declared: int | None, sample_rate: int) -> None:
        self.decoded_s += n_samples / sample_rate
        self.declared_s = (declared or 0) / sample_rate
        self.slack_s = _MPEG_SLACK / sample_rate if part.is_mpeg else _SLACK_S


def _warn_of_loss(path: Path, lengths: list[_Length], complaints: list[str]) -> None:
    """Warns if less was decoded than declared, or if the decoder reported errors."""
    decoded_s = sum(length.decoded_s for length in lengths)
    lost_s = sum(max(0.0, length.declared_s - length.decoded_s) for length in lengths)
    faults = [complaint for complaint in complaints if "error" in complaint.lower()]
    if lost_s > sum(length.slack_s for length in lengths):
        warnings.warn(
            f"{path} decodes to {decoded_s:.2f} s of the {decoded_s + lost_s:.2f} s that it "
            "promises; copy or export the recording again if the rest matters.",
            stacklevel=2,
        )
    elif faults:
        warnings.warn(
            f"{path} is damaged in {len(faults)} place{'s'[: len(faults) - 1]}, where the sound is "
            "wrong; copy or export the recording again.",
            stacklevel=2,
        )


def _mix(path: Path, part: Part) -> Mix:
    """Chooses the mix of a part's channels to one, and warns if the average would lose sound."""
    from ddspx.io._decoding import decoder

    with _readable_errors(path), decoder(path, part, []) as file:
        if file.channels == 1:
            return AVERAGE
    mix, lost, still_lost = choose_mix(lambda: (b for b, _ in _blocks(path, part, [], None)))
    if lost:
        instead = "" if mix is AVERAGE else f", so {mix.name}"
        rest = f"; {still_lost:.0%} is still lost" if still_lost else ""
        warnings.warn(
            f"{path} has channels that cancel each other: averaged, {lost:.0%} of its sound would "
            f"be lost{instead}{rest}.",
            stacklevel=2,
        )
    return mix


def _blocks(
    path: Path, part: Part, complaints: list[str], n_samples: int | None = _DECODE_FRAMES
) -> Iterator[tuple[np.ndarray, Any]]:
    """Yields blocks (samples, channels) of a part, each with its decoder, and checks them."""
    from ddspx.io._decoding import decoded

    with _readable_errors(path):
        for block, file in decoded(path, part, complaints, n_samples):
            if not _LOWEST_RATE <= file.samplerate <= _HIGHEST_RATE:
                raise AudioError(
                    f"{path} says that it has {file.samplerate} samples per second, which must be "
                    f"wrong; export it with its true rate, from {_LOWEST_RATE} to {_HIGHEST_RATE}."
                )
            if not np.isfinite(block).all():
                raise AudioError(
                    f"{path} holds NaN or infinite samples; export the recording again."
                )
            if (peak := np.abs(block).max()) > _LOUDEST_PEAK:
                raise AudioError(
                    f"{path} holds a sample of {peak:.3g}, and full scale is 1.0; export the "
                    "recording again with samples from -1 to 1."
                )
            yield block, file


def _resampled(decoded: Iterator[tuple[np.ndarray, int]], sample_rate: int) -> Iterator[np.ndarray]:
    """Resamples blocks to one rate; at a change of the input rate a new resampler begins."""
    import soxr

    empty, stream, rate = np.zeros(0, np.float32), None, sample_rate
    for block, file_rate in decoded:
        if file_rate != rate:
            if stream is not None:
                yield stream.resample_chunk(empty, last=True)
            stream, rate = None, file_rate
            if rate != sample_rate:
                stream = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32")
        yield block if stream is None else stream.resample_chunk(block)
    if stream is not None:
        yield stream.resample_chunk(empty, last=True)


def _checked(
    path: Path, blocks: Iterator[np.ndarray], sample_rate: int, min_samples: int
) -> Iterator[np.ndarray]:
    n_samples, least = 0, max(1, min_samples)
    for block in blocks:
        if block.size:
            n_samples += block.size
            yield block
    if n_samples < least:
        raise AudioError(
            f"{path} is too short: {n_samples} samples at {sample_rate} Hz where at least "
            f"{least} ({least / sample_rate:.3g} s) are needed; use a longer recording."
        )


def _rebatched(blocks: Iterator[np.ndarray], block_length: int) -> Iterator[np.ndarray]:
    pending, n_pending = [], 0
    for block in blocks:
        pending.append(block)
        n_pending += block.size
        if n_pending < block_length:
            continue
        joined = np.concatenate(pending)
        n_whole = n_pending // block_length * block_length
        yield from joined[:n_whole].reshape(-1, block_length)
        pending, n_pending = [joined[n_whole:]], n_pending - n_whole
    if n_pending:
        yield np.concatenate(pending)
