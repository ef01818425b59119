"""What the measures of recordings share: checks, and spectra in blocks of one size."""

from collections.abc import Callable, Iterator
from functools import partial

import jax
import numpy as np

from ddspx import core
from ddspx._checks import size
from ddspx._typing import Float

HOP_S = 0.01
"""Distance between the frames of cepstra and onsets, in seconds."""

_N_MELS, _WINDOW_S = 80, 0.06
_RANGE_DB = 80.0
_BLOCK_LENGTH = 1 << 15


def one_sound(name: str, audio: object) -> np.ndarray:
    """Returns one recording as an array; raises an error that names it if it is no such thing."""
    samples = np.asarray(audio)
    if not np.issubdtype(samples.dtype, np.floating):
        raise TypeError(
            f"`{name}` must be of floating point, got {samples.dtype}; divide integer audio by its "
            "full scale, 32768 for int16."
        )
    if samples.ndim != 1 or not samples.size:
        raise ValueError(
            f"`{name}` must be one recording of shape (samples,) with at least one sample, got "
            f"{samples.shape}; measure one recording, and one channel, at a time."
        )
    if not np.isfinite(samples).all():
        at = int(np.flatnonzero(~np.isfinite(samples))[0])
        raise ValueError(
            f"`{name}` must be finite, got {samples[at]} at sample {at}; replace it by 0 "
            "(np.nan_to_num), or cut it out."
        )
    return samples


def one_pair(target: object, predicted: object) -> tuple[np.ndarray, np.ndarray]:
    """Returns two recordings of equal length as arrays, by :func:`one_sound`."""
    pair = one_sound("target", target), one_sound("predicted", predicted)
    if pair[0].size != pair[1].size:
        raise ValueError(
            "`target` and `predicted` must have the same number of samples, got "
            f"{pair[0].size} and {pair[1].size}; crop both to the shorter length."
        )
    return pair


def peak_of(audio: np.ndarray) -> np.float64:
    """The largest magnitude, 1 for silence; powers of ``audio / peak`` fit float32 at any gain."""
    return np.float64(max(audio.max(), -audio.min())) or np.float64(1)


def in_blocks(
    compute: Callable[[np.ndarray], jax.Array],
    audio: np.ndarray,
    *,
    hop_length: int,
    n_fft: int,
) -> Iterator[np.ndarray]:
    """Yields the frames of a sound in blocks, so that neither memory nor programs depend on length.

    Args:
      compute: from samples to frames, by the frame rule, where a frame depends on the `n_fft`
        samples around it.
      audio: one recording.
      hop_length: distance between the frames, in samples.
      n_fft: how much sound a frame describes.

    Yields:
      Rows of ``compute(audio)``, in turn.
    """
    count = core.n_frames(audio.size, hop_length=hop_length)
    margin = -(-n_fft // (2 * hop_length))
    size = max(1, _BLOCK_LENGTH // hop_length)
    for first in range(0, count, size):
        start, end = (first - margin) * hop_length, (first + size + margin) * hop_length
        block = audio[max(0, start) : end]
        before = max(0, -start)
        block = np.pad(block, (before, end - start - before - block.size))
        yield np.asarray(compute(block))[margin : margin + min(size, count - first)]


def mel_levels(audio: np.ndarray, sample_rate: int) -> Float[np.ndarray, "frames bands"]:
    """Power in 80 mel bands every 10 ms, in dB under the loudest, at least -80; 0 for silence."""
    sample_rate = size("sample_rate", sample_rate)
    n_fft, hop_length = sizes_of(sample_rate)
    peak = peak_of(audio)

    def compute(block: np.ndarray) -> jax.Array:
        return _mel(block / peak, sample_rate=sample_rate, n_fft=n_fft, hop_length=hop_length)

    blocks = in_blocks(compute, audio, hop_length=hop_length, n_fft=n_fft)
    power = np.concatenate([block.astype(np.float64) for block in blocks])
    loudest = power.max()
    if not loudest:
        return np.zeros_like(power)
    return 10 * np.log10(np.maximum(power / loudest, 10 ** (-_RANGE_DB / 10)))


def sizes_of(sample_rate: int) -> tuple[int, int]:
    """Length of the frames of :func:`mel_levels`, 46 to 64 ms, and their distance, in samples."""
    return 2 ** round(np.log2(max(4.0, _WINDOW_S * sample_rate))), max(
        1, round(HOP_S * sample_rate)
    )


def cepstra(levels: Float[np.ndarray, "frames bands"]) -> Float[np.ndarray, "frames bands"]:
    """Orthonormal cosine transform of each frame: cepstral coefficients in dB."""
    from scipy.fft import dct

    return np.asarray(dct(levels, axis=-1, norm="ortho"))


@partial(jax.jit, static_argnames=("sample_rate", "n_fft", "hop_length"))
def _mel(audio: jax.Array, sample_rate: int, n_fft: int, hop_length: int) -> jax.Array:
    """Jitted :func:`ddspx.core.mel_spectrogram` of 80 bands."""
    return core.mel_spectrogram(
        audio, sample_rate=sample_rate, n_fft=n_fft, hop_length=hop_length, n_mels=_N_MELS
    )
