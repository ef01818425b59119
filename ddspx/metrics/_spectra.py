"""Distances between the spectra of two recordings, as papers report them."""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from ddspx import core
from ddspx._checks import number, positive_int
from ddspx.metrics._sounds import cepstra, in_blocks, mel_levels, one_pair, one_sound, peak_of

# n_fft, hop_length and win_length of each resolution.
_RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))
_LEAST_POWER, _LEAST_MAGNITUDE = 1e-10, 1e-4


class StftDistance(NamedTuple):
    """The two parts of :func:`multi_resolution_stft_distance`; papers report their sum, `total`."""

    spectral_convergence: float
    log_magnitude: float

    @property
    def total(self) -> float:
        """The sum of both parts."""
        return self.spectral_convergence + self.log_magnitude


def mel_cepstral_distortion_db(
    target: NDArray[np.floating],
    predicted: NDArray[np.floating],
    *,
    sample_rate: int,
    n_mfcc: int = 25,
    aligned: bool = False,
) -> float:
    r"""Mel-cepstral distortion (MCD): how far the shapes of two spectra are apart, in decibels.

    .. math:: \Bigl\langle \frac{10}{\ln 10} \sqrt{2 \sum_{k=1}^{K} (c_k[i] - c'_k[i])^2}
        \Bigr\rangle, \qquad
        c_k[i] = \frac1M \sum_{m=0}^{M-1} \ln S[i, m] \cos \frac{\pi k (2 m + 1)}{2 M}

    with the power S in M = 80 mel bands every 10 ms (see :func:`ddspx.core.mel_spectrogram`),
    limited to 80 dB under the loudest, and the mean over frames. As the logarithm is
    :math:`c_0 + 2 \sum_k c_k \cos(\dots)`, this is the root mean square over the bands of the
    difference of smoothed levels in dB, without their mean: :math:`c_0` is left out, so that a gain
    has no distortion.

    Args:
      target: one recording of shape ``(samples,)``, linear amplitude.
      predicted: another one, of the same length unless they are aligned.
      sample_rate: samples per second of both.
      n_mfcc: K + 1: how many coefficients, with the zeroth, which is computed but not compared.
      aligned: whether the frames are first aligned by dynamic time warping: of all paths from the
        first to the last pair of frames, by steps of one frame in either sound or both, the one
        with the smallest sum counts; the result is its mean. The time is that of all pairs of
        frames: about a second for half a minute of sound, and twenty for two minutes.

    Returns:
      The distortion in dB; 0 for sounds that differ in gain alone.

    Raises:
      TypeError: a size is not an int, or a recording is not of floating point.
      ValueError: a recording is empty, not finite or has several axes, the lengths differ while
        `aligned` is False, or `n_mfcc` is not from 2 to 80.

    Example:
      >>> import numpy as np
      >>> from ddspx import metrics
      >>> noise = np.random.default_rng(0).normal(size=8000)
      >>> dull = np.convolve(noise, [0.5, 0.5])[:8000]
      >>> metrics.mel_cepstral_distortion_db(noise, 0.1 * noise, sample_rate=16000) < 0.01
      True
      >>> 2 < metrics.mel_cepstral_distortion_db(noise, dull, sample_rate=16000) < 6
      True

    References:
      Kubichek, `Mel-cepstral distance measure for objective speech quality assessment
      <https://doi.org/10.1109/PACRIM.1993.407206>`_, 1993. The formula is common to all who report
      it, and the cepstrum is not: of mel bands here as there, of a smooth envelope (WORLD, SPTK's
      mel-generalized cepstrum of order 24) in much of the work on voices. Compare figures of one
      definition only.
    """
    number("n_mfcc", positive_int("n_mfcc", n_mfcc), least=2, most=80)
    if aligned:
        pair = one_sound("target", target), one_sound("predicted", predicted)
    else:
        pair = one_pair(target, predicted)
    levels = [mel_levels(audio, sample_rate) for audio in pair]
    # The orthonormal transform of dB over the root of M is the formula's distance.
    first, second = (cepstra(x)[:, 1:n_mfcc] / np.sqrt(x.shape[1]) for x in levels)
    if aligned:
        return _mean_on_best_path(first, second)
    return float(np.mean(np.linalg.norm(first - second, axis=1)))


def log_spectral_distance_db(
    target: NDArray[np.floating],
    predicted: NDArray[np.floating],
    *,
    n_fft: int = 2048,
    hop_length: int = 512,
    range_db: float = 80.0,
) -> float:
    r"""Log-spectral distance (LSD): root mean square over the bins, in decibels.

    .. math:: \Bigl\langle \sqrt{\bigl\langle (L[i, k] - L'[i, k])^2 \bigr\rangle_k}
        \Bigr\rangle_i, \qquad L[i, k] = 10 \log_{10} \max(|X[i, k]|^2,\ \epsilon)

    with the :func:`ddspx.core.spectrogram` of either sound. The floor :math:`\epsilon` lies
    `range_db` under the loudest bin of the target, so that what nobody hears does not decide; under
    a target of silence it is 1e-10.

    Args:
      target: one recording of shape ``(samples,)``, linear amplitude.
      predicted: another one, of the same length.
      n_fft: length of the Fourier transform, in samples.
      hop_length: distance between frames, in samples.
      range_db: how far below the target's loudest bin levels differ.

    Returns:
      The distance in dB; 0 for equal sounds, and about the size of a gain in dB.

    Raises:
      TypeError: a size is not an int, or a recording is not of floating point.
      ValueError: the lengths differ, a recording is empty, not finite or has several axes, or
        `range_db` is not positive.

    Example:
      >>> import numpy as np
      >>> from ddspx import metrics
      >>> noise = np.random.default_rng(0).normal(size=8000)
      >>> round(metrics.log_spectral_distance_db(noise, 0.5 * noise), 2)
      6.02

    References:
      Gray and Markel, `Distance measures for speech processing
      <https://doi.org/10.1109/TASSP.1976.1162849>`_, 1976. Work on bandwidth extension reports it
      with these sizes, often without the factor of 10, so that 1 is what is 10 here.
    """
    pair = one_pair(target, predicted)
    number("range_db", range_db, above=0)
    sizes = (positive_int("n_fft", n_fft), positive_int("hop_length", hop_length), n_fft)
    peak = peak_of(pair[0])
    loudest = max(float(block.max()) for block in _power(pair[0], sizes, peak))
    least = loudest * 10 ** (-range_db / 10) or _LEAST_POWER
    distances = []
    for powers in zip(*(_power(audio, sizes, peak) for audio in pair), strict=True):
        first, second = (10 * np.log10(np.maximum(power, least)) for power in powers)
        distances.append(np.sqrt(np.mean((first - second) ** 2, axis=1)))
    return float(np.mean(np.concatenate(distances)))


def multi_resolution_stft_distance(
    target: NDArray[np.floating], predicted: NDArray[np.floating]
) -> StftDistance:
    r"""Multi-resolution STFT distance: spectral convergence and log magnitude.

    .. math:: \Bigl\langle \frac{\lVert S - Y \rVert}{\lVert S \rVert} \Bigr\rangle
        \quad\text{and}\quad \langle |\ln S - \ln Y| \rangle

    with the magnitudes S of the target and Y of the prediction, at least 1e-4, the norm over frames
    and bins, and the mean over three resolutions: 1024, 2048 and 512 points, windows of 600, 1200
    and 240 samples, hops of 120, 240 and 50.

    Args:
      target: one recording of shape ``(samples,)``, linear amplitude.
      predicted: another one, of the same length.

    Returns:
      Both parts; their sum is ``.total``. 0 for equal sounds. The least magnitude is the same for
      soft and for loud sounds, so bring sounds under 0.01 to a usual level first.

    Raises:
      TypeError: a recording is not of floating point.
      ValueError: the lengths differ, or a recording is empty, not finite or has several axes.

    Example:
      >>> import numpy as np
      >>> from ddspx import metrics
      >>> noise = np.random.default_rng(0).normal(size=8000)
      >>> [round(part, 3) for part in metrics.multi_resolution_stft_distance(noise, 0.5 * noise)]
      [0.5, 0.693]

    References:
      Yamamoto, Song and Kim, `Parallel WaveGAN <https://arxiv.org/abs/1910.11480>`_, 2020, and
      ``auraloss.freq.MultiResolutionSTFTLoss`` with its defaults, which reflects the sound at its
      ends where zeros are here. To train with, see :func:`ddspx.core.spectral_convergence_loss` and
      :func:`ddspx.core.multi_scale_spectral_loss`.
    """
    pair = one_pair(target, predicted)
    parts = []
    for sizes in _RESOLUTIONS:
        difference = norm = logs = count = 0.0
        for powers in zip(*(_power(audio, sizes) for audio in pair), strict=True):
            first, second = (np.maximum(np.sqrt(power), _LEAST_MAGNITUDE) for power in powers)
            difference += float(np.sum((first - second) ** 2))
            norm += float(np.sum(first**2))
            logs += float(np.sum(np.abs(np.log(first / second))))
            count += first.size
        parts.append((np.sqrt(difference / norm), logs / count))
    return StftDistance(*(float(part) for part in np.mean(parts, axis=0)))


def _power(
    audio: np.ndarray, sizes: tuple[int, int, int], unit: float | np.float64 = 1.0
) -> Iterator[np.ndarray]:
    """Power spectra of ``audio / unit`` in float64, in blocks of frames."""
    n_fft, hop_length, _ = sizes

    def compute(block: np.ndarray) -> jax.Array:
        return _spectrogram(block / unit, sizes=sizes)

    for block in in_blocks(compute, audio, hop_length=hop_length, n_fft=n_fft):
        yield block.astype(np.float64)


@partial(jax.jit, static_argnames="sizes")
def _spectrogram(audio: jax.Array, sizes: tuple[int, int, int]) -> jax.Array:
    """Jitted :func:`ddspx.core.spectrogram` of power."""
    n_fft, hop_length, win_length = sizes
    return core.spectrogram(
        audio, n_fft=n_fft, hop_length=hop_length, win_length=win_length, power=2
    )


def _mean_on_best_path(first: np.ndarray, second: np.ndarray) -> float:
    """Mean distance of rows along the path of dynamic time warping.

    All pairs whose indices have the same sum are computed at once; they depend on the pairs of the
    two sums before alone. Row i of these is kept at index i + 1.
    """
    n, m = len(first), len(second)
    before, last = np.full((2, n + 1), np.inf)
    lengths_before, lengths_last = np.zeros((2, n + 1))
    before[0] = 0
    for total in range(n + m - 1):
        low, high = max(0, total - m + 1), min(n, total + 1)
        others = second[total - high + 1 : total - low + 1][::-1]
        costs = np.linalg.norm(first[low:high] - others, axis=1)
        # From the pair before in both sounds, in the first, and in the second.
        ways = np.stack([before[low:high], last[low:high], last[low + 1 : high + 1]])
        lengths = np.stack(
            [lengths_before[low:high], lengths_last[low:high], lengths_last[low + 1 : high + 1]]
        )
        best = ways.argmin(axis=0)[None]
        before, last = last, np.full(n + 1, np.inf)
        lengths_before, lengths_last = lengths_last, np.zeros(n + 1)
        last[low + 1 : high + 1] = costs + np.take_along_axis(ways, best, 0)[0]
        lengths_last[low + 1 : high + 1] = 1 + np.take_along_axis(lengths, best, 0)[0]
    return float(last[n] / lengths_last[n])
