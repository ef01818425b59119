"""Loudness on the scales that instruments take: that of ddspx, and those of models of DDSP."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np

from ddspx import core
from ddspx._checks import one_of
from ddspx._typing import Array, ArrayLike, Float
from ddspx.features._blocks import by_rows, windows
from ddspx.features._choices import LoudnessScale
from ddspx.features._range import checked_grid

LOUDNESS_FFT = 512
"""Length of the frames that loudness is computed on, in samples."""

_FLOORS_DB: dict[LoudnessScale, float] = {
    "ddspx": -80.0,
    "ddsp-2": -120.0,
    "ddsp-pytorch": -140.0,
    "power": -80.0,
}
LOUDNESS_FLOORS_DB: Mapping[LoudnessScale, float] = MappingProxyType(_FLOORS_DB)
"""What silence reads on each scale of loudness, in dB."""

_LEADS: dict[LoudnessScale, int] = {"ddspx": 0, "ddsp-2": 1024, "ddsp-pytorch": 0, "power": 0}
LOUDNESS_LEADS: Mapping[LoudnessScale, int] = MappingProxyType(_LEADS)
"""By how many samples the middle of what a frame describes is later than the frame."""

_DDSP_FFT, _DDSP_REFERENCE_DB = 2048, 20.7
_CHUNK_SECONDS = 2.0
# The length of the frames of power: 1024 samples at 16 kHz.
_POWER_SECONDS = 0.064


def stream_loudness(
    blocks: Iterable[np.ndarray],
    *,
    sample_rate: int,
    hop_length: int,
    scale: LoudnessScale = "ddspx",
) -> Iterator[Float[np.ndarray, "*batch frames"]]:
    r"""Loudness of audio that arrives in blocks, on the scale that an instrument takes.

    ``ddspx`` is `core.loudness_db` with frames of :data:`LOUDNESS_FFT` samples. ``ddsp-2`` is the
    loudness of DDSP up to version 2, which averages decibels over the bins:

    .. math:: L[i] = \frac1K \sum_{k=0}^{K-1} \max\bigl(20 \log_{10} |X[i, k]| + A(f_k) - 20.7,\;
        -120\bigr)

    where X is the spectrum of the samples from ``i * hop_length`` on, under a Hann window of 2048
    samples, K = 1025 and A is `core.a_weighting_db`. A frame does not describe the sound
    around its sample, but the sound that follows it. ``ddsp-pytorch`` is the loudness of
    ddsp_pytorch, in decibels:

    .. math:: L[i] = \frac{20}{K} \sum_{k=0}^{K-1} \log_{10} \bigl(|X[i, k]| + 10^{-7}\bigr)

    with the same window, but around the sample. There natural logarithms are averaged, to which
    the A-weighting is added in decibels, so that it adds the same constant to every frame. The
    constant is left out here; the import of a model takes it into account. ``power`` is
    `core.power_db` with frames of 64 ms, as DDSP's models for plugins take it.

    Args:
      blocks: consecutive blocks ``(*batch, samples)`` of one signal: at least one, of any sizes.
      sample_rate: samples per second.
      hop_length: samples between frames, at most one second's.
      scale: the scale, from :func:`loudness_of`.

    Yields:
      The loudness of one chunk of frames after the other, in dB; together they are
      ``core.n_frames(samples, hop_length=hop_length)`` frames, whatever the sizes of the blocks.

    Raises:
      TypeError: a size is not a Python int, or the audio not of floating point.
      ValueError: there is no block, `hop_length` is longer than a second, `scale` is unknown, or a
        sample is not finite.

    Properties:
      Runs on the host, chunk by chunk. It cannot be used under jit, vmap or grad.

    Example:
      >>> import numpy as np
      >>> from ddspx import features
      >>> tone = np.sin(2 * np.pi * 440 * np.arange(8000) / 16000)
      >>> grid = {"sample_rate": 16000, "hop_length": 1000}
      >>> for scale in ("ddspx", "ddsp-2"):
      ...     (loudness_db,) = features.stream_loudness([tone], **grid, scale=scale)
      ...     print(round(float(loudness_db[4]), 1))
      15.7
      -111.4

    References:
      ``compute_loudness`` in DDSP 0.1 to 2.0 (``n_fft=2048, range_db=120, ref_db=20.7``),
      ``compute_power`` in DDSP 3, and ``extract_loudness`` in ddsp_pytorch.
    """
    sample_rate, hop_length = checked_grid(sample_rate, hop_length)
    one_of("scale", scale, get_args(LoudnessScale))
    chunk = max(64, 1 + math.ceil(_CHUNK_SECONDS * sample_rate / hop_length))
    before, after = (math.ceil(reach / hop_length) for reach in _reach(scale, sample_rate))
    n_frames = partial(core.n_frames, hop_length=hop_length)
    # One size of chunks: two seconds cost a millisecond.
    cut = {"hop": hop_length, "chunks": (chunk,), "margins": (before, after)}
    measure = _MEASURES[scale]
    for window, n in windows(blocks, **cut, n_frames=n_frames):
        run = partial(measure, sample_rate=sample_rate, hop_length=hop_length)
        loudness_db = by_rows(run, window, batch=window.shape[:-1])
        yield loudness_db[..., before : before + n]


def _reach(scale: LoudnessScale, sample_rate: int) -> tuple[int, int]:
    """The samples before and after that of a frame that its loudness depends on."""
    if scale == "ddsp-2":
        return 0, _DDSP_FFT
    lengths = {"ddspx": LOUDNESS_FFT, "ddsp-pytorch": _DDSP_FFT}
    length = lengths.get(scale, _power_length(sample_rate))
    return -(-length // 2), -(-length // 2)


def _power_length(sample_rate: int) -> int:
    return max(1, round(_POWER_SECONDS * sample_rate))


@partial(jax.jit, static_argnames=("sample_rate", "hop_length"))
def _loudness_db(audio: ArrayLike, sample_rate: int, hop_length: int) -> Array:
    rates = {"sample_rate": sample_rate, "hop_length": hop_length}
    return core.loudness_db(audio, n_fft=LOUDNESS_FFT, **rates)


@partial(jax.jit, static_argnames=("sample_rate", "hop_length"))
def _ddsp_loudness_db(audio: Array, sample_rate: int, hop_length: int) -> Array:
    # Frames are centred, so the audio is delayed by half a frame up to whole hops.
    half = _DDSP_FFT // 2
    late = math.ceil(half / hop_length)
    delayed = jnp.pad(audio, (late * hop_length - half, 0))
    power = core.spectrogram(delayed, n_fft=_DDSP_FFT, hop_length=hop_length, power=2)[late:]
    weights_db = core.a_weighting_db(np.fft.rfftfreq(_DDSP_FFT, 1 / sample_rate))
    # Far below the floor, and no denormal number.
    bins_db = 10 * jnp.log10(jnp.maximum(power, 1e-30)) + weights_db.astype(power.dtype)[None]
    return jnp.maximum(bins_db - _DDSP_REFERENCE_DB, LOUDNESS_FLOORS_DB["ddsp-2"]).mean(axis=-1)


@partial(jax.jit, static_argnames=("sample_rate", "hop_length"))
def _mean_level_db(audio: Array, sample_rate: int, hop_length: int) -> Array:
    del sample_rate  # no frequency is weighted
    magnitudes = core.spectrogram(audio, n_fft=_DDSP_FFT, hop_length=hop_length)
    return (20 * jnp.log10(magnitudes + 1e-7)).mean(axis=-1)


@partial(jax.jit, static_argnames=("sample_rate", "hop_length"))
def _power_db(audio: ArrayLike, sample_rate: int, hop_length: int) -> Array:
    return core.power_db(audio, hop_length=hop_length, win_length=_power_length(sample_rate))


_MEASURES: dict[LoudnessScale, Callable[..., Array]] = {
    "ddspx": _loudness_db,
    "ddsp-2": _ddsp_loudness_db,
    "ddsp-pytorch": _mean_level_db,
    "power": _power_db,
}
