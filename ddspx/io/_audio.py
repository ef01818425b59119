"""Audio files: the one place where recorded data is decoded, resampled and checked.

soundfile and soxr are imported where they are used, so that ``import ddspx.io`` stays light.
"""

import struct
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ddspx._checks import one_of, positive_int
from ddspx._typing import Float
from ddspx.io._files import replacing_file

_DECODE_FRAMES = 1 << 16
# Half the peak-to-peak range under which a recording is silence: -80 dB, above the two lowest
# bits of dithered 16-bit silence. Peak to peak, so that a constant offset is silence too.
_SILENCE_PEAK = 1e-4
# From here on the length in a WAV header means "not known" (SoX, FFmpeg and arecord into a pipe).
_UNKNOWN_LENGTH = 0x7FFFF000

# Peak above which samples are no audio of full scale 1.0: +60 dB, more than any mix runs over.
_LOUDEST_PEAK = 1e3

# 24 bits hold what float32 synthesis produces (noise floor -144 dB), need no dither, and play
# everywhere; float files would carry samples beyond full scale that players then clip.
_SUBTYPES = {".wav": ("WAV", "PCM_24"), ".flac": ("FLAC", "PCM_24"), ".ogg": ("OGG", "VORBIS")}


class AudioError(ValueError):
    """A recording that cannot be used; the message names the path and the fix."""


def read_audio(
    path: str | Path, *, sample_rate: int, min_samples: int = 1
) -> Float[np.ndarray, " samples"]:
    """Reads a whole recording as mono float32 at the rate asked for.

    Every format that libsndfile reads; channels are averaged; resampling is band-limited
    (soxr HQ), so nothing above the new Nyquist folds back. ``n`` samples at ``r`` become
    ``n * sample_rate / r``, rounded half up.

    Args:
      path: the recording.
      sample_rate: samples per second of the result.
      min_samples: fewest samples of the result that are of use, for example one frame.

    Returns:
      Samples in linear amplitude, full scale 1.0 (float and lossy files may exceed it).

    Raises:
      AudioError: no such file, a folder, not audio, cut short (of Ogg and MP3 what is there is
        read: they do not say how long they were), empty or shorter than `min_samples`, NaN, Inf
        or a peak over 1000, or silence from end to end (peak under -80 dB).

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
    positive_int("sample_rate", sample_rate)
    positive_int("block_length", block_length)
    path = Path(path)
    if path.is_dir():
        raise AudioError(f"{path} is a folder, not a recording; name an audio file inside it.")
    if not path.is_file():
        raise AudioError(f"{path} does not exist; check the name and the folder.")
    try:
        missing = _missing_bytes(path)
    except OSError as error:
        raise AudioError(f"{path} cannot be read ({error.strerror}); check its rights.") from error
    if missing:
        raise AudioError(
            f"{path} is cut short: its header promises {missing} bytes of sound that are not "
            "there; copy or export the recording again."
        )
    decoded = _decoded(path, allow_silence=allow_silence)
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
    info = _declared(path)
    return None if info is None else info.duration


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
    info = _declared(path)
    return None if info is None else info.samplerate


def _declared(path: str | Path) -> Any:
    """What soundfile knows of a file without decoding it, or None."""
    import soundfile

    try:
        return soundfile.info(path)
    # TypeError: as in _decoded.
    except (soundfile.SoundFileError, TypeError):
        return None


def _missing_bytes(path: Path) -> int:
    """How much of the samples that a WAV or AIFF file declares lies beyond its end.

    libsndfile reads such a file as if it were meant to be shorter; of other formats it says
    itself what is wrong.
    """
    n_bytes = path.stat().st_size
    with path.open("rb") as file:
        length_of = {b"RIFF": "<I", b"FORM": ">I"}.get(file.read(12)[:4])
        while length_of and len(chunk := file.read(8)) == 8:
            (length,) = struct.unpack(length_of, chunk[4:])
            if chunk[:4] in (b"data", b"SSND"):
                # What is written to a pipe declares the largest length there is.
                return 0 if length >= _UNKNOWN_LENGTH else max(0, file.tell() + length - n_bytes)
            file.seek(length + length % 2, 1)
    return 0


def _decoded(path: Path, *, allow_silence: bool) -> Iterator[tuple[np.ndarray, int]]:
    """Yields (mono float32 block, file's sample rate)."""
    import soundfile

    low, high = np.inf, -np.inf
    try:
        with soundfile.SoundFile(path) as file:
            while len(block := file.read(_DECODE_FRAMES, dtype="float32", always_2d=True)):
                if not np.isfinite(block).all():
                    raise AudioError(
                        f"{path} holds NaN or infinite samples; export the recording again."
                    )
                if (peak := np.abs(block).max()) > _LOUDEST_PEAK:
                    raise AudioError(
                        f"{path} holds a sample of {peak:.3g}, and full scale is 1.0; export the "
                        "recording again with samples from -1 to 1."
                    )
                mono = block.mean(axis=1)
                low, high = min(low, mono.min()), max(high, mono.max())
                yield mono, file.samplerate
    # TypeError: soundfile's demand for parameters when the suffix is .raw.
    except (soundfile.SoundFileError, TypeError) as error:
        reason = getattr(error, "error_string", str(error)).rstrip(".")
        raise AudioError(
            f"{path} cannot be read as audio ({reason}); "
            "convert it to WAV or FLAC, or check that it is complete."
        ) from error
    # Before resampling, which turns the ends of a constant offset into sound.
    if not allow_silence and -np.inf < high < low + 2 * _SILENCE_PEAK:
        raise AudioError(
            f"{path} is silent from end to end (mixed to mono, its peak is under -80 dB); "
            "use a recording with sound in it."
        )


def _resampled(decoded: Iterator[tuple[np.ndarray, int]], sample_rate: int) -> Iterator[np.ndarray]:
    import soxr

    stream = None
    for block, file_rate in decoded:
        if file_rate == sample_rate:
            yield block
            continue
        if stream is None:
            stream = soxr.ResampleStream(file_rate, sample_rate, 1, dtype="float32")
        yield stream.resample_chunk(block)
    if stream is not None:
        yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def _checked(
    path: Path, blocks: Iterator[np.ndarray], sample_rate: int, min_samples: int
) -> Iterator[np.ndarray]:
    n_samples = 0
    for block in blocks:
        if block.size:
            n_samples += block.size
            yield block
    if n_samples == 0:
        raise AudioError(f"{path} holds no samples; use a recording that is not empty.")
    if n_samples < min_samples:
        raise AudioError(
            f"{path} is too short: {n_samples} samples at {sample_rate} Hz where at least "
            f"{min_samples} ({min_samples / sample_rate:.3g} s) are needed; "
            "use a longer recording."
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


class AudioWriter:
    """Writes a mono audio file block by block; the file appears when it is complete.

    The format follows the suffix: ``.wav`` and ``.flac`` with 24 bits, ``.ogg`` as Vorbis.
    Samples beyond full scale are clipped, never wrapped, and a warning says by how much.
    Used as a context manager: an error inside the ``with`` block leaves no file behind.

    Args:
      path: the file to write. An earlier one is replaced when the new one is complete.
      sample_rate: samples per second.

    Attributes:
      peak: the largest absolute sample so far, before clipping.

    Raises:
      ValueError: the suffix is not one of the three; from `write`, a NaN or infinite sample.
      OSError: the file cannot be made, written (a full disk) or completed.

    Example:
      >>> import numpy as np, tempfile
      >>> from ddspx import io
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     with io.AudioWriter(f"{folder}/a.wav", sample_rate=8000) as writer:
      ...         for _ in range(3):
      ...             writer.write(np.linspace(-0.5, 0.5, 100))
      ...     len(io.read_audio(f"{folder}/a.wav", sample_rate=8000, min_samples=300))
      300
    """

    def __init__(self, path: str | Path, *, sample_rate: int) -> None:
        self._path = Path(path)
        self._sample_rate = positive_int("sample_rate", sample_rate)
        one_of("suffix of the output file", self._path.suffix.lower(), _SUBTYPES)
        self._stack = ExitStack()
        self.peak = 0.0

    def __enter__(self) -> "AudioWriter":
        import soundfile

        container, subtype = _SUBTYPES[self._path.suffix.lower()]
        with self._saying_so(), ExitStack() as stack:
            temporary = stack.enter_context(replacing_file(self._path))
            self._file = stack.enter_context(
                soundfile.SoundFile(temporary, "w", self._sample_rate, 1, subtype, format=container)
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._saying_so():
            self._stack.__exit__(exc_type, exc, traceback)
        if exc is None and self.peak > 1.0:
            excess_db = 20 * np.log10(self.peak)
            warnings.warn(
                f"{self._path} was clipped: its peak is {excess_db:.1f} dB over full scale; "
                "lower the level and write it again.",
                stacklevel=2,
            )

    def write(self, audio: Float[np.ndarray, " samples"]) -> None:
        """Appends samples in linear amplitude (full scale 1.0, any float dtype)."""
        peak = float(np.abs(audio).max(initial=0.0))
        if not np.isfinite(peak):
            raise ValueError(
                f"`audio` for {self._path} holds NaN or infinite samples; nothing was written."
            )
        self.peak = max(self.peak, peak)
        clipped = np.clip(audio, -1.0, 1.0)
        # Slices, because libsndfile's Vorbis encoder needs stack for every sample of a write.
        with self._saying_so():
            for start in range(0, clipped.size, _DECODE_FRAMES):
                self._file.write(clipped[start : start + _DECODE_FRAMES])

    @contextmanager
    def _saying_so(self) -> Iterator[None]:
        """Turns soundfile's errors, which are RuntimeErrors, into an OSError in a sentence."""
        import soundfile

        try:
            yield
        except soundfile.SoundFileError as error:
            reason = getattr(error, "error_string", str(error)).rstrip(".")
            raise OSError(
                f"{self._path} cannot be written ({reason}); check that its folder can be "
                "written to and that the disk is not full."
            ) from error


def write_audio(
    path: str | Path, audio: Float[np.ndarray, " samples"], *, sample_rate: int
) -> None:
    """Writes mono audio as one complete file; format and clipping as :class:`AudioWriter`.

    Args:
      path: the file; its suffix (``.wav``, ``.flac``, ``.ogg``) chooses the format.
      audio: samples in linear amplitude, full scale 1.0.
      sample_rate: samples per second.

    Raises:
      ValueError, OSError: as :class:`AudioWriter`.
    """
    with AudioWriter(path, sample_rate=sample_rate) as writer:
        writer.write(np.asarray(audio))
