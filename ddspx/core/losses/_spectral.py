"""Losses between spectrograms at several resolutions."""

import jax
import jax.numpy as jnp

from ddspx._checks import at_least_ndim, positive_int
from ddspx._typing import Array, Float
from ddspx.core._framing import hann_window, n_frames
from ddspx.core._numerics import safe_log, safe_sqrt
from ddspx.core.analysis._loudness import loudness_db

_LOG_EPS = 1e-5


def multi_scale_spectral_loss(
    target: Float[Array, "*batch samples"],
    predicted: Float[Array, "*batch samples"],
    *,
    n_ffts: tuple[int, ...] = (2048, 1024, 512, 256, 128, 64),
    mag_weight: float = 1.0,
    logmag_weight: float = 1.0,
    delta_time_weight: float = 0.0,
    delta_freq_weight: float = 0.0,
    cumsum_freq_weight: float = 0.0,
    loudness_weight: float = 0.0,
    sample_rate: int | None = None,
) -> Float[Array, ""]:
    r"""Mean absolute difference of spectrograms, summed over several resolutions.

    .. math:: \ell = \sum_N \langle w_1 |S_N - Y_N| + w_2 |\ln S_N - \ln Y_N| \rangle

    with :math:`S_N, Y_N` the magnitude :func:`spectrogram` of target and predicted for `n_fft`
    N at a hop of N / 4, logarithms floored at 1e-5, and angles the mean over batch, frames and
    bins. The other weights add the same mean of the differences between neighbouring frames
    and between neighbouring bins, of the running sum over bins, and of :func:`loudness_db`.

    Args:
      target: linear amplitude.
      predicted: linear amplitude, of the shape of `target`.
      n_ffts: lengths of the Fourier transforms, in samples, each divisible by 4. Static.
      mag_weight: weight of the magnitudes. Static, as all weights; a term of weight 0 is not
        computed.
      logmag_weight: weight of the natural logarithm of the magnitudes.
      delta_time_weight: weight of the magnitudes' difference from frame to frame.
      delta_freq_weight: weight of the magnitudes' difference from bin to bin.
      cumsum_freq_weight: weight of the magnitudes' running sum over bins.
      loudness_weight: weight of the loudness in dB (`n_fft` 2048, hop 512).
      sample_rate: samples per second; needed for the loudness only. Static.

    Returns:
      The loss, a scalar in the dtype of the inputs.

    Raises:
      TypeError: a length is not an int.
      ValueError: the shapes differ, the audio is empty, an `n_fft` is not a positive multiple
        of 4, or `sample_rate` is missing where `loudness_weight` is not 0.

    Properties:
      Differentiable in `target` and `predicted`, with finite gradients for silence on either
      side and for equal inputs. Static: all but the audio.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> tone = jnp.sin(jnp.arange(4000) * 0.1)
      >>> round(float(core.multi_scale_spectral_loss(tone, 0.5 * tone)), 1)
      6.3

    References:
      Engel et al., `DDSP <https://arxiv.org/abs/2001.04643>`_, ICLR 2020, section 4.2.1.
    """
    at_least_ndim("target", target.shape, 1, "(*batch, samples)")
    if target.shape != predicted.shape or target.size == 0:
        raise ValueError(
            "`target` and `predicted` must have the same shape and at least one sample, got "
            f"{target.shape} and {predicted.shape}; crop both to the shorter length."
        )
    samples = target.shape[-1]
    target = jnp.asarray(target).reshape(-1, samples)
    predicted = jnp.asarray(predicted).reshape(-1, samples)
    loss = jnp.zeros((), predicted.dtype)
    for n_fft in n_ffts:
        if positive_int("n_ffts", n_fft) % 4:
            raise ValueError(
                f"`n_ffts` must be multiples of 4 (the hop is a quarter), got {n_fft}."
            )
        ours = _magnitudes(predicted, n_fft)
        theirs = _magnitudes(target, n_fft)
        differences = [a - b for a, b in zip(theirs, ours, strict=True)]
        if mag_weight:
            loss += mag_weight * _mean_abs(differences)
        if logmag_weight:
            logs = [
                safe_log(a, eps=_LOG_EPS) - safe_log(b, eps=_LOG_EPS)
                for a, b in zip(theirs, ours, strict=True)
            ]
            loss += logmag_weight * _mean_abs(logs)
        if delta_time_weight:
            loss += delta_time_weight * _mean_abs(_next_frame_differences(differences))
        if delta_freq_weight:
            loss += delta_freq_weight * _mean_abs([jnp.diff(d) for d in differences])
        if cumsum_freq_weight:
            loss += cumsum_freq_weight * _mean_abs([jnp.cumsum(d, -1) for d in differences])
    if loudness_weight:
        if sample_rate is None:
            raise ValueError("`sample_rate` must be given where `loudness_weight` is not 0.")
        first, second = (
            loudness_db(audio, sample_rate=sample_rate, hop_length=512, n_fft=2048)
            for audio in (target, predicted)
        )
        loss += loudness_weight * jnp.mean(jnp.abs(first - second))
    return loss


def _magnitudes(audio: jax.Array, n_fft: int) -> list[jax.Array]:
    """Magnitudes of the frames 0, 4, 8, ..., of 1, 5, 9, ..., of 2, 6, ... and of 3, 7, ...

    Frames four hops apart touch without overlap, so each set is one reshaped slice of the audio:
    no frame is gathered, and a loss over all frames is the sum over the sets.
    """
    hop = n_fft // 4
    frames = n_frames(audio.shape[-1], hop_length=hop)
    padded = jnp.pad(audio, ((0, 0), (n_fft // 2, n_fft // 2)))
    window = hann_window(n_fft, dtype=audio.dtype)[None, None]
    sets = []
    for first in range(min(4, frames)):
        count = (frames - first + 3) // 4
        part = padded[:, first * hop : first * hop + count * n_fft]
        spectrum = jnp.fft.rfft(part.reshape(-1, count, n_fft) * window)
        sets.append(safe_sqrt(spectrum.real**2 + spectrum.imag**2))
    return sets


def _next_frame_differences(sets: list[jax.Array]) -> list[jax.Array]:
    """Frame i + 1 minus frame i, for frames held as :func:`_magnitudes` gives them."""
    following = [*sets[1:], sets[0][:, 1:]] if len(sets) == 4 else sets[1:]
    return [b - a[:, : b.shape[1]] for a, b in zip(sets, following, strict=False)]


def _mean_abs(parts: list[jax.Array]) -> jax.Array:
    """Mean absolute value over all parts; zero where there is nothing to average."""
    size = sum(part.size for part in parts)
    return sum((jnp.sum(jnp.abs(part)) for part in parts), jnp.zeros(())) / max(size, 1)
