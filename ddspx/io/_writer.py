"""Writing audio files: mono, with 24 bits, and never leaving a partial file.

soundfile is imported where it is used, so that ``import ddspx.io`` stays light.
"""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType

import numpy as np

from ddspx._checks import one_of, size
from ddspx._typing import Num
from ddspx.io._files import native_name
from ddspx.io._replacing import replacing_file

# 24 bits hold what float32 synthesis produces (noise floor -144 dB), need no dither, and play
# everywhere; float files would carry samples beyond full scale that players then clip.
_SUBTYPES = {".wav": ("WAV", "PCM_24"), ".flac": ("FLAC", "PCM_24"), ".ogg": ("OGG", "VORBIS")}
_FULL_SCALE = 2.0**23
# Longer audio is written in slices, because libsndfile's Vorbis encoder allocates stack memory in
# proportion to the samples of one write.
_SLICE = 1 << 16
# For each integer type that WAV files hold: the value of silence, and full scale.
_PCM = {
    np.dtype(np.uint8): (128, 2.0**7),
    np.dtype(np.int16): (0, 2.0**15),
    np.dtype(np.int32): (0, 2.0**31),
}
# The annotation allows any number of axes, so that `write` itself can explain that it takes one.
_Samples = Num[np.ndarray, "..."]


class AudioWriter:
    """Writes a mono audio file block by block; the file appears when it is complete.

    The format follows the suffix: ``.wav`` and ``.flac`` with 24 bits, ``.ogg`` as Vorbis.
    Samples beyond full scale are clipped, never wrapped, and a warning says by how much.
    Samples that 24 bits can represent, such as those of 16-bit recordings, are read back from
    ``.wav`` and ``.flac`` without any change.
    Used as a context manager: an error inside the ``with`` block leaves no file behind.

    Args:
      path: the file to write. An existing file is replaced when the new one is complete.
      sample_rate: samples per second.

    Attributes:
      peak: the largest absolute sample so far, before clipping.

    Raises:
      ValueError: the suffix is not one of the three. From `write`: a sample is NaN or infinite, or
        the audio has more than one axis.
      TypeError: from `write`: the samples are neither floats nor PCM.
      OSError: the file cannot be created, written (for example on a full disk) or completed.

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
        self._sample_rate = size("sample_rate", sample_rate)
        one_of("suffix of the output file", self._path.suffix.lower(), _SUBTYPES)
        self._stack = ExitStack()
        self.peak = 0.0
        self._count = 0

    def __enter__(self) -> "AudioWriter":
        import soundfile

        container, subtype = _SUBTYPES[self._path.suffix.lower()]
        with self._readable_errors(), ExitStack() as stack:
            temporary = stack.enter_context(replacing_file(self._path))
            stack.push(partial(self._check_end, temporary))
            self._file = stack.enter_context(
                soundfile.SoundFile(
                    native_name(temporary), "w", self._sample_rate, 1, subtype, format=container
                )
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._readable_errors():
            self._stack.__exit__(exc_type, exc, traceback)
        if exc is None and self.peak > 1.0:
            excess_db = 20 * np.log10(self.peak)
            warnings.warn(
                f"{self._path} was clipped: its peak is {excess_db:.1f} dB over full scale; "
                "lower the level and write it again.",
                stacklevel=2,
            )

    def write(self, audio: _Samples) -> None:
        """Appends samples: floats of full scale 1.0, or PCM of NumPy (uint8, int16, int32)."""
        levels = self._levels(audio)
        peak = float(np.abs(levels).max(initial=0.0))
        if not np.isfinite(peak):
            raise ValueError(
                f"`audio` for {self._path} holds NaN or infinite samples; nothing was written."
            )
        self.peak = max(self.peak, peak)
        # Converted to integers here, because libsndfile scales floats by 2**23 - 1, not by 2**23.
        steps = np.clip(np.rint(levels * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1)
        samples = steps.astype(np.int32) << 8
        with self._readable_errors():
            for start in range(0, samples.size, _SLICE):
                self._file.write(samples[start : start + _SLICE])
        self._count += samples.size

    def _check_end(self, temporary: Path, failed: type[BaseException] | None, *_: object) -> None:
        """Reads the last sample, because libsndfile reports no error of the writes at the end."""
        import soundfile

        if failed is None and self._count:
            with soundfile.SoundFile(native_name(temporary)) as file:
                if file.frames == self._count:
                    file.seek(self._count - 1)
                    if len(file.read(1)) == 1:
                        return
            raise OSError(
                f"{self._path} cannot be written (its end is missing); free space on its disk, or "
                "choose another output."
            )

    def _levels(self, audio: _Samples) -> np.ndarray:
        """The samples in linear amplitude, as float64."""
        if audio.ndim != 1:
            raise ValueError(
                f"`audio` for {self._path} must be mono, of shape (samples,), got {audio.shape}; "
                "mix its channels first, for example with `.mean` along their axis."
            )
        if audio.dtype.kind == "f":
            return audio.astype(np.float64)
        if audio.dtype not in _PCM:
            raise TypeError(
                f"`audio` for {self._path} must be of floats, or PCM as uint8, int16 or int32, got "
                f"{audio.dtype}; divide it by its full scale."
            )
        offset, scale = _PCM[audio.dtype]
        return (audio.astype(np.float64) - offset) / scale

    @contextmanager
    def _readable_errors(self) -> Iterator[None]:
        """Turns soundfile's RuntimeErrors into an OSError with an explanation."""
        import soundfile

        try:
            yield
        except soundfile.SoundFileError as error:
            reason = getattr(error, "error_string", str(error)).rstrip(".")
            raise OSError(
                f"{self._path} cannot be written ({reason}); check that its folder can be "
                "written to and that the disk is not full."
            ) from error


def write_audio(path: str | Path, audio: _Samples, *, sample_rate: int) -> None:
    """Writes mono audio to a file, with the format and clipping of :class:`AudioWriter`.

    Args:
      path: the file; its suffix (``.wav``, ``.flac``, ``.ogg``) chooses the format.
      audio: samples in linear amplitude, full scale 1.0; or integer PCM (uint8 with silence at
        128, int16, int32).
      sample_rate: samples per second.

    Raises:
      ValueError, TypeError, OSError: as :class:`AudioWriter`.
    """
    with AudioWriter(path, sample_rate=sample_rate) as writer:
        writer.write(np.asarray(audio))
