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
# Half the peak-to-peak range under which a recording is silence: -80 dB, above the two lowest
# bits of dithered 16-bit silence. Peak to peak, so that a constant offset is silence too.
_SILENCE_PEAK = 1e-4
# Peak above which samples are no audio of full scale 1.0: +60 dB, more than any mix runs over.
_LOUDEST_PEAK = 1e3

# Beyond these rates a header is wrong: whales and quakes are above, no converter is.
_LOWEST_RATE, _HIGHEST_RATE = 100, LARGEST["sample_rate"]
# What the decoder of MPEG needs to begin and to end, in samples; others are exact.
_MPEG_SLACK, _SLACK_S = 4096, 0.01


class AudioError(ValueError):
    """A recording that cannot be used; the message names the path and the fix."""


def read_audio(
    path: str | Path, *, sample_rate: int, min_samples: int = 1
) -> Float[np.ndarray, " samples"]:
    """Reads a whole recording as mono float32 at the rate asked for.

    Every format that libsndfile reads, and files that were joined (Ogg, MP3, FLAC, WAV and
    others, of any rates and channels) from the first to the last. Resampling is band-limited
    (soxr HQ), so nothing above the new Nyquist folds back. ``n`` samples at ``r`` become
    ``n * sample_rate / r``, rounded half up.

    Channels are averaged. Where they cancel each other in a second of sound (the average is 12 dB
    under the loudest channel, and 6 dB under what unlike channels come to), the average, the
    average with those channels inverted that are against the loudest, and each channel alone are
    compared, and what loses the fewest seconds is taken for all of the recording, with a warning.

    A warning (`UserWarning`) says, too, where a header does not know how long the sound is, and
    where less can be decoded than it promises, with both lengths.

    Args:
      path: the recording.
      sample_rate: samples per second of the result.
      min_samples: fewest samples of the result that are of use, for example one frame.

    Returns:
      Samples in linear amplitude, full scale 1.0 (float and lossy files may exceed it).

    Raises:
      AudioError: no such file, a folder, a pipe or a device, not audio, cut short (of Ogg and MP3
        what is there is read, with a warning), a rate below 100 Hz or above 1 MHz, empty or
        shorter than `min_samples`, NaN, Inf or a peak over 1000, or silence from end to end (peak
        under -80 dB), a constant included.
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
      allow_silence: whether silence from end to end is read like any other sound.

    Returns:
      An iterator of mono float32 blocks.

    Raises:
      AudioError: as in :func:`read_audio`. A missing file is reported by the call itself;
        what only the samples show while iterating, shortness and silence after the last
        block.

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
    """How long a recording says it is, in seconds, or None if it says nothing readable.

    Told without decoding it, so it is good enough for a progress bar only.

    Args:
      path: the recording; it need not be one.

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
    """The samples per second that a recording says it has, or None if it says nothing readable.

    Args:
      path: the recording; it need not be one.

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
    """What a file is made of, after a look at whether it is one."""
    if objection := objection_to_reading(path):
        raise AudioError(f"{path} {objection}.")
    with _unreadable_said(path):
        try:
            with path.open("rb") as file:
                return parts_of(Source(file))
        except OSError as error:
            reason = error.strerror
            raise AudioError(f"{path} cannot be read ({reason}); check its rights.") from error


def _headers(path: str | Path) -> list[tuple[int | None, int]]:
    """Samples of each channel and their rate, of each part; none of what is no audio."""
    from ddspx.io._decoding import decoder

    path, found = Path(path), []
    try:
        for part in _parts(path):
            with _unreadable_said(path), decoder(path, part, []) as file:
                found.append((file.promised, file.samplerate))
    except AudioError:
        return []
    return found


@contextmanager
def _unreadable_said(path: Path) -> Iterator[None]:
    """Turns what soundfile raises into an AudioError in a sentence."""
    try:
        yield
    except AudioError:
        raise
    # Anything: TypeError is soundfile's demand for parameters when the suffix is .raw, and what
    # strangers wrote finds other ways.
    except Exception as error:
        reason = getattr(error, "error_string", str(error)).rstrip(".") or "its sound is damaged"
        if not path.stat().st_size:
            reason = "it has no bytes"
        elif "not a regular file" in reason:
            # libsndfile's word for what it has no beginning of.
            reason = "it has no whole block of sound"
        elif "internal error" in reason.lower():
            # Of a rate of 0, among others.
            reason = "its header is damaged, or says what cannot be"
        raise AudioError(
            f"{path} cannot be read as audio ({reason}); "
            "convert it to WAV or FLAC, or check that it is complete."
        ) from error


def _decoded(
    path: Path, parts: list[Part], *, allow_silence: bool
) -> Iterator[tuple[np.ndarray, int]]:
    """Yields (mono float32 block, file's sample rate)."""
    low, high, lengths, complaints, said = np.inf, -np.inf, [], [], {""}
    for part in parts:
        mix, length = _mix(path, part), _Length()
        for block, file in _blocks(path, part, complaints):
            # Only now, as of what cannot be read nothing is read.
            if part.note not in said:
                said.add(part.note)
                warnings.warn(f"{path} {part.note}.", stacklevel=2)
            mono = mix.of(block)
            low, high = min(low, mono.min()), max(high, mono.max())
            length.count(len(mono), part, file.promised, file.samplerate)
            yield mono, file.samplerate
        lengths.append(length)
    if low == np.inf:
        raise AudioError(f"{path} holds no samples; use a recording that is not empty.")
    _warn_of_loss(path, lengths, complaints)
    # Before resampling, which turns the ends of a constant offset into sound.
    if not allow_silence and high < low + 2 * _SILENCE_PEAK:
        what = "silent from end to end (mixed to mono, its peak is under -80 dB)"
        if max(high, -low) > 2 * _SILENCE_PEAK:
            what = f"a constant of {(high + low) / 2:.3g} from end to end, which is no sound"
        raise AudioError(f"{path} is {what}; use a recording with sound in it.")


@dataclasses.dataclass
class _Length:
    """How much of a part there is, and how much it promises, in seconds."""

    found_s: float = 0.0
    promised_s: float = 0.0
    slack_s: float = 0.0

    def count(self, n_samples: int, part: Part, promised: int | None, sample_rate: int) -> None:
        self.found_s += n_samples / sample_rate
        self.promised_s = (promised or 0) / sample_rate
        self.slack_s = _MPEG_SLACK / sample_rate if part.is_mpeg else _SLACK_S


def _warn_of_loss(path: Path, lengths: list[_Length], complaints: list[str]) -> None:
    """Says what was lost in decoding, if anything was."""
    found_s = sum(length.found_s for length in lengths)
    lost_s = sum(max(0.0, length.promised_s - length.found_s) for length in lengths)
    faults = [complaint for complaint in complaints if "error" in complaint.lower()]
    if lost_s > sum(length.slack_s for length in lengths):
        warnings.warn(
            f"{path} decodes to {found_s:.2f} s of the {found_s + lost_s:.2f} s that it promises; "
            "copy or export the recording again if the rest matters.",
            stacklevel=2,
        )
    elif faults:
        warnings.warn(
            f"{path} is damaged in {len(faults)} place{'s'[: len(faults) - 1]}, in which something "
            "else is heard; "
            "copy or export the recording again.",
            stacklevel=2,
        )


def _mix(path: Path, part: Part) -> Mix:
    """How the channels of a part become one; with a warning where the average would not do."""
    from ddspx.io._decoding import decoder

    with _unreadable_said(path), decoder(path, part, []) as file:
        if file.channels == 1:
            return AVERAGE
    mix, lost, still_lost = choose_mix(lambda: (b for b, _ in _blocks(path, part, [], None)))
    if lost:
        instead = "" if mix is AVERAGE else f", so {mix.name}"
        rest = f", of which {still_lost:.0%} is lost all the same" if still_lost else ""
        warnings.warn(
            f"{path} has channels that cancel each other: averaged, {lost:.0%} of its sound would "
            f"be lost{instead}{rest}.",
            stacklevel=2,
        )
    return mix


def _blocks(
    path: Path, part: Part, complaints: list[str], n_samples: int | None = _DECODE_FRAMES
) -> Iterator[tuple[np.ndarray, Any]]:
    """Blocks (samples, channels) of a part, each with its decoder, after a look at the numbers."""
    from ddspx.io._decoding import decoded

    with _unreadable_said(path):
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
    """All at one rate; where the rate changes, a new stream begins."""
    import soxr

    none, stream, rate = np.zeros(0, np.float32), None, sample_rate
    for block, file_rate in decoded:
        if file_rate != rate:
            if stream is not None:
                yield stream.resample_chunk(none, last=True)
            stream, rate = None, file_rate
            if rate != sample_rate:
                stream = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32")
        yield block if stream is None else stream.resample_chunk(block)
    if stream is not None:
        yield stream.resample_chunk(none, last=True)


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
