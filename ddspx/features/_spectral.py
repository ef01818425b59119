"""The spectral features of `core`, for recordings of any length in bounded memory."""

import dataclasses
import math
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from ddspx import core
from ddspx._checks import one_of, size
from ddspx._typing import Array, ArrayLike, Float
from ddspx.features._blocks import windows
from ddspx.features._choices import SpectralKind
from ddspx.features._loudness import LOUDNESS_FFT

_CHUNK_SECONDS = 4.0
# Most values in the frames of a chunk: 16 MB in float32.
_CHUNK_VALUES = 1 << 22
# Silence has a level of -100 dB, as in `core.mfcc`.
_RANGE_DB = 100.0
# The full scale of 32-bit integers, which the parameters of librosa's PCEN are made for.
_PCEN_SCALE = 2.0**31
_PCEN_SECONDS = 0.4


class _Kind(NamedTuple):
    """The name of a feature's array, a label for its values, and the sizes that it depends on."""

    name: str
    label: str
    sizes: tuple[str, ...]


_SPECTRUM = ("n_fft",)
_BANDS = ("n_fft", "n_bands", "fmin", "fmax")
_KINDS: dict[str, _Kind] = {
    "spectrogram": _Kind("spectrogram", "magnitude", _SPECTRUM),
    "mel": _Kind("mel", "power", _BANDS),
    "log-mel": _Kind("log_mel_db", "level (dB)", _BANDS),
    "mfcc": _Kind("mfcc", "coefficient (dB)", (*_BANDS, "n_mfcc")),
    "pcen": _Kind("pcen", "normalized energy", _BANDS),
    "loudness": _Kind("loudness_db", "loudness (dB)", ()),
    "rms": _Kind("rms", "RMS amplitude", _SPECTRUM),
    "centroid": _Kind("centroid_hz", "spectral centroid (Hz)", _SPECTRUM),
    "bandwidth": _Kind("bandwidth_hz", "spectral bandwidth (Hz)", _SPECTRUM),
    "rolloff": _Kind("rolloff_hz", "spectral roll-off (Hz)", _SPECTRUM),
    "flatness": _Kind("flatness", "spectral flatness", _SPECTRUM),
}
_VECTORS = ("spectrogram", "mel", "log-mel", "mfcc", "pcen")


def default_n_fft(sample_rate: int) -> int:
    """Returns the power of two nearest to 64 ms, in samples: a usual length for music."""
    return 1 << max(0, round(math.log2(0.064 * size("sample_rate", sample_rate))))


@dataclasses.dataclass(frozen=True)
class SpectralConfig:
    """Chooses a spectral feature and the sizes of its frames.

    Args:
      kind: ``spectrogram`` (magnitude), ``mel`` (power), ``log-mel`` (dB, at least -100),
        ``mfcc`` (of ``log-mel``), ``pcen`` (of mel magnitudes of audio scaled to 32-bit integers,
        with librosa's parameters), ``loudness`` (A-weighted, the loudness that instruments take,
        whatever `n_fft`), ``rms``, or a descriptor of the spectrum's shape: ``centroid``,
        ``bandwidth``, ``rolloff`` and ``flatness``.
      sample_rate: samples per second.
      hop_length: samples between frames.
      n_fft: length of the Fourier transform and its window, in samples.
      n_bands: mel bands.
      n_mfcc: cepstral coefficients.
      fmin: lower corner of the first band, in Hz.
      fmax: upper corner of the last band, in Hz; None for Nyquist.

    Raises:
      TypeError: a size is not an int.
      ValueError: a size is below 1 or above its limit, the kind is unknown, the range is empty or
        reaches above Nyquist, or there are more coefficients than bands.

    Example:
      >>> from ddspx.features import SpectralConfig
      >>> config = SpectralConfig("mel", sample_rate=16000, hop_length=160, n_fft=1024, n_bands=3)
      >>> config.name, config.frequencies_hz.round().tolist()
      ('mel', [754.0, 1689.0, 3676.0])
    """

    kind: SpectralKind
    _: dataclasses.KW_ONLY
    sample_rate: int
    hop_length: int
    n_fft: int
    n_bands: int = 128
    n_mfcc: int = 20
    fmin: float = 0.0
    fmax: float | None = None

    def __post_init__(self):
        one_of("kind", self.kind, get_args(SpectralKind))
        for name in ("sample_rate", "hop_length", "n_fft", "n_bands", "n_mfcc"):
            size(name, getattr(self, name))
        if "fmin" in self.sizes:
            if self.fmax is not None and self.fmax > self.sample_rate / 2:
                raise ValueError(
                    f"`fmax` must be at most half of `sample_rate`, {self.sample_rate / 2} Hz, "
                    f"got {self.fmax}."
                )
            # Called for its checks: an empty range raises a ValueError.
            core.mel_filterbank(**self.filterbank())
        if self.kind == "mfcc" and self.n_mfcc > self.n_bands:
            raise ValueError(
                f"`n_mfcc` must be at most `n_bands`, {self.n_bands}, got {self.n_mfcc}."
            )

    @property
    def name(self) -> str:
        """The name of the array, with its unit as the suffix."""
        return _KINDS[self.kind].name

    @property
    def label(self) -> str:
        """A label for the values, for the axis of a plot."""
        return _KINDS[self.kind].label

    @property
    def sizes(self) -> tuple[str, ...]:
        """The fields that this kind depends on, beside `sample_rate` and `hop_length`."""
        return _KINDS[self.kind].sizes

    @property
    def frequencies_hz(self) -> Float[np.ndarray, " features"] | None:
        """Frequency of each bin, or centre of each band; None if the kind has neither."""
        if self.kind == "spectrogram":
            return np.fft.rfftfreq(self.n_fft, 1 / self.sample_rate)
        if self.kind in ("mel", "log-mel", "pcen"):
            fmax = self.sample_rate / 2 if self.fmax is None else self.fmax
            ends = {"fmin": self.fmin, "fmax": fmax, "scale": "slaney"}
            return core.frequency_grid(self.n_bands + 2, **ends)[1:-1]
        return None

    @property
    def frame_axis(self) -> int:
        """The axis of the frames: -1 if a frame is a single number, otherwise -2."""
        return -2 if self.kind in _VECTORS else -1

    def filterbank(self) -> dict[str, Any]:
        """The arguments of `core.mel_filterbank`."""
        names = "sample_rate", "n_fft", "fmin", "fmax"
        return {name: getattr(self, name) for name in names} | {"n_mels": self.n_bands}


def spectral_features(
    audio: Float[ArrayLike, "*batch samples"],
    config: SpectralConfig,
) -> np.ndarray:
    """Computes a spectral feature of a whole signal: :func:`stream_spectral_features` of one block.

    Args:
      audio: linear amplitude at the config's sample rate.
      config: the feature and its sizes.

    Returns:
      float32, ``(*batch, frames, features)``, or ``(*batch, frames)`` if a frame is one number.

    Example:
      >>> import numpy as np
      >>> from ddspx.features import SpectralConfig, spectral_features
      >>> tone = np.sin(2 * np.pi * 440 * np.arange(8000) / 16000)
      >>> config = SpectralConfig("centroid", sample_rate=16000, hop_length=1000, n_fft=1024)
      >>> round(float(spectral_features(tone, config)[4]))
      440
    """
    chunks = stream_spectral_features([np.asarray(audio)], config)
    return np.concatenate(list(chunks), axis=config.frame_axis)


def stream_spectral_features(
    blocks: Iterable[np.ndarray], config: SpectralConfig
) -> Iterator[np.ndarray]:
    """Yields a spectral feature of audio that arrives in blocks, a few seconds at a time.

    Each kind is the function of that name in `core`. A frame's values do not depend on later
    frames: levels in dB are absolute, and not relative to the loudest frame as in
    ``librosa.power_to_db``, because that frame is not known before the end. PCEN's state is
    carried from chunk to chunk.

    Args:
      blocks: consecutive blocks ``(*batch, samples)`` of one signal: at least one, of any sizes.
      config: the feature and its sizes.

    Yields:
      Consecutive frames, float32. Joined, they are what :func:`spectral_features` returns, and the
      sizes of the blocks do not change them. Memory holds one block and a few seconds of audio.

    Raises:
      TypeError: the blocks are not of floating point.
      ValueError: there is no block.
    """
    hop_length = config.hop_length
    seconds = math.ceil(_CHUNK_SECONDS * config.sample_rate / hop_length)
    chunk = max(1, min(seconds, _CHUNK_VALUES // config.n_fft))
    margin = math.ceil(max(config.n_fft, LOUDNESS_FFT) / 2 / hop_length)
    n_frames = partial(core.n_frames, hop_length=hop_length)
    state = None
    cut = {"hop": hop_length, "chunks": (chunk,), "margins": (margin, margin)}
    for window, n in windows(blocks, **cut, n_frames=n_frames):
        if state is None:
            state = jnp.ones((*window.shape[:-1], config.n_bands), jnp.float32)
        state, values = _chunk(config, margin, state, window)
        values = np.asarray(values)
        yield values[..., :n] if config.frame_axis == -1 else values[..., :n, :]


@partial(jax.jit, static_argnums=(0, 1))
def _chunk(config, margin, state, window):
    """Returns PCEN's state after a chunk and the chunk's frames; `window` includes its margins."""
    frames, axis = _frames(config, window), config.frame_axis
    # The frames of both margins are cut off, and the one centred on the end of the window.
    last = frames.shape[axis] - margin - 1
    frames = jax.lax.slice_in_dim(frames, margin, last, axis=axis % frames.ndim)
    if config.kind != "pcen":
        return state, frames
    rates = {"sample_rate": config.sample_rate, "hop_length": config.hop_length}
    smoothing = core.pcen_smoothing(_PCEN_SECONDS, **rates).astype(frames.dtype)
    return core.pcen_step(state, frames, smoothing)


def _frames(config: SpectralConfig, audio: Array) -> Array:
    """Computes the feature of every frame of a window; for ``pcen``, the energies before it."""
    kind, rate, hop_length = config.kind, config.sample_rate, config.hop_length
    if kind == "loudness":
        grid = {"sample_rate": rate, "hop_length": hop_length}
        return core.loudness_db(audio, n_fft=LOUDNESS_FFT, **grid)
    if kind == "rms":
        return core.rms(audio, hop_length=hop_length, win_length=config.n_fft)
    if kind in _VECTORS and kind != "spectrogram":
        scale, power = (_PCEN_SCALE, 1) if kind == "pcen" else (1.0, 2)
        mel = core.mel_spectrogram(
            audio * scale, hop_length=hop_length, power=power, **config.filterbank()
        )
        if kind in ("mel", "pcen"):
            return mel
        levels_db = core.power_to_db(mel, range_db=_RANGE_DB)
        if kind == "log-mel":
            return levels_db
        return core.cepstral_coefficients(levels_db, n_mfcc=config.n_mfcc)
    magnitudes = core.spectrogram(audio, n_fft=config.n_fft, hop_length=hop_length)
    if kind == "centroid":
        return core.spectral_centroid(magnitudes, sample_rate=rate)
    if kind == "bandwidth":
        return core.spectral_bandwidth(magnitudes, sample_rate=rate)
    if kind == "rolloff":
        return core.spectral_rolloff(magnitudes, sample_rate=rate)
    return core.spectral_flatness(magnitudes) if kind == "flatness" else magnitudes
