"""Further losses over several resolutions: spectral convergence, complex spectra, phase and mel."""

from collections.abc import Callable, Sequence
from functools import partial
from numbers import Integral
from typing import Literal

import jax
import jax.numpy as jnp

from ddspx._checks import one_of, size, sizes
from ddspx._typing import Array, ArrayLike, Float
from ddspx.core._numerics import safe_divide, safe_log, safe_sqrt
from ddspx.core.analysis._stft import spectrogram, stft
from ddspx.core.bands._filterbanks import mel_filterbank
from ddspx.core.losses._spectral import checked_n_ffts, checked_pair

PhaseKind = Literal["phase", "instantaneous_frequency", "group_delay"]
# The phase of audio below this level, -100 dB, is ignored.
_LEAST_LEVEL = 1e-5
_N_FFTS = (2048, 1024, 512, 256, 128, 64)


def spectral_convergence_loss(
    target: Float[ArrayLike, "*batch samples"],
    predicted: Float[ArrayLike, "*batch samples"],
    *,
    n_ffts: int | Sequence[int] = _N_FFTS,
) -> Float[Array, ""]:
    r"""Difference of magnitude spectrograms, relative to the target's.

    .. math:: \ell = \Bigl\langle \frac{\lVert S_N - Y_N \rVert}{\lVert S_N \rVert} \Bigr\rangle

    with the magnitude :func:`spectrogram` S of the target and Y of the prediction for `n_fft` N at
    a hop of N / 4, the root of the sum of squares over frames and bins, and the mean over batch
    and resolutions. Loud bins dominate the loss. It does not depend on the level of the audio.

    Args:
      target: linear amplitude.
      predicted: linear amplitude, of the shape of `target`.
      n_ffts: lengths of the Fourier transforms, in samples, each divisible by 4; or one. Static.

    Returns:
      The loss, a scalar in the dtype of the inputs; 1 for a silent prediction.

    Raises:
      TypeError: a length is not an int, or an array is neither float32 nor float64.
      ValueError: the shapes differ, the audio is empty, or an `n_fft` is not a positive multiple
        of 4.

    Properties:
      Differentiable in `target` and `predicted`; zero gradient where they are equal. A silent
      target counts as one with a norm of 1e-7. Static: `n_ffts`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> audio = jnp.sin(jnp.arange(256.0))
      >>> round(float(core.spectral_convergence_loss(audio, 0.75 * audio, n_ffts=(64, 32))), 3)
      0.25

    References:
      Arık, Jun and Diamos, `Fast Spectrogram Inversion using Multi-head Convolutional Neural
      Networks <https://arxiv.org/abs/1808.06719>`_, IEEE Signal Processing Letters 26(1), 2019.
      auraloss takes both norms over the whole batch, so the loudest example decides.
    """
    pair = checked_pair(target, predicted)
    return _mean_over(_convergence, pair, tuple((n_fft,) for n_fft in checked_n_ffts(n_ffts)))


def _convergence(first: Array, second: Array, n_fft: int) -> Array:
    """Computes :func:`spectral_convergence_loss` at one resolution."""
    sizes = {"n_fft": n_fft, "hop_length": n_fft // 4}
    target, predicted = spectrogram(first, **sizes), spectrogram(second, **sizes)
    return jnp.mean(safe_divide(_norm(target - predicted), _norm(target)))


def complex_spectral_loss(
    target: Float[ArrayLike, "*batch samples"],
    predicted: Float[ArrayLike, "*batch samples"],
    *,
    n_ffts: int | Sequence[int] = _N_FFTS,
) -> Float[Array, ""]:
    r"""Mean distance of complex spectra, phase and magnitude together.

    .. math:: \ell = \langle |X_N - Y_N| \rangle

    with :func:`stft` X of the target and Y of the prediction for `n_fft` N at a hop of N / 4, and
    the mean over batch, frames, bins and resolutions.

    Args:
      target: linear amplitude.
      predicted: linear amplitude, of the shape of `target`.
      n_ffts: lengths of the Fourier transforms, in samples, each divisible by 4; or one. Static.

    Returns:
      The loss, a scalar in the dtype of the inputs.

    Raises:
      TypeError: a length is not an int, or an array is neither float32 nor float64.
      ValueError: the shapes differ, the audio is empty, or an `n_fft` is not a positive multiple
        of 4.

    Properties:
      Differentiable in `target` and `predicted`; zero gradient where they are equal. One transform
      for both, as it is linear. Static: `n_ffts`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> audio = jnp.sin(jnp.arange(256.0))
      >>> loss = core.complex_spectral_loss(audio, -audio, n_ffts=(64,))
      >>> mean = core.spectrogram(audio, n_fft=64, hop_length=16).mean()
      >>> round(float(loss / mean), 3)
      2.0

    References:
      Because of the modulus the loss is invariant to a common rotation of all phases, which a sum
      of absolute real and imaginary parts is not.
    """
    pair = checked_pair(target, predicted)
    return _mean_over(_complex_distance, pair, tuple((n_fft,) for n_fft in checked_n_ffts(n_ffts)))


def _complex_distance(first: Array, second: Array, n_fft: int) -> Array:
    """Computes :func:`complex_spectral_loss` at one resolution."""
    return jnp.mean(spectrogram(first - second, n_fft=n_fft, hop_length=n_fft // 4))


def phase_loss(
    target: Float[ArrayLike, "*batch samples"],
    predicted: Float[ArrayLike, "*batch samples"],
    *,
    n_ffts: int | Sequence[int] = _N_FFTS,
    kind: PhaseKind = "instantaneous_frequency",
) -> Float[Array, ""]:
    r"""Mean of one minus the cosine of phase differences, weighted by magnitude.

    .. math:: \ell = \Bigl\langle 1 - \frac{\Re \sum_{ik} P_{ik} \bar Q_{ik}}
        {\sum_{ik} |P_{ik}| |Q_{ik}|} \Bigr\rangle

    where P is computed from the spectrum X of the target, and Q in the same way from that of the
    prediction:

    - ``phase``: :math:`P_{ik} = X[i, k]`;
    - ``instantaneous_frequency``: :math:`P_{ik} = X[i + 1, k] \bar X[i, k]`, whose angle is the
      advance of phase from frame to frame;
    - ``group_delay``: :math:`P_{ik} = X[i, k + 1] \bar X[i, k]`, whose angle is the advance of
      phase from bin to bin, which tells at what time within its frame the sound is.

    The last two are invariant to a common rotation of all phases. The cosine is that of the angle
    between P and Q, so no phase has to be unwrapped, and silent bins have no weight.

    Args:
      target: linear amplitude.
      predicted: linear amplitude, of the shape of `target`.
      n_ffts: lengths of the Fourier transforms, in samples, each divisible by 4; or one. Static.
      kind: quantity that is compared, one of the three above. Static.

    Returns:
      The loss, from 0 to 2, a scalar in the dtype of the inputs: the mean over batch and
      resolutions.

    Raises:
      TypeError: a length is not an int, or an array is neither float32 nor float64.
      ValueError: the shapes differ, the audio is empty, an `n_fft` is not a positive multiple of
        4, or `kind` is unknown.

    Properties:
      Differentiable in `target` and `predicted`, with finite gradients in silence, where the loss
      is 0. It does not depend on the level of either sound above -100 dB. Static: `n_ffts`, `kind`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> audio = jnp.sin(0.7 * jnp.arange(256.0))
      >>> [
      ...     abs(round(float(core.phase_loss(audio, -0.5 * audio, n_ffts=(64,), kind=kind)), 3))
      ...     for kind in ("phase", "instantaneous_frequency", "group_delay")
      ... ]
      [2.0, 0.0, 0.0]

    References:
      Takamichi et al., `Phase reconstruction from amplitude spectrograms based on
      von-Mises-distribution deep neural network <https://arxiv.org/abs/1807.03474>`_, IWAENC 2018:
      the negative cosine, of phase and of group delay. The weights by magnitude are ours.
    """
    one_of("kind", kind, ("phase", "instantaneous_frequency", "group_delay"))
    pair = checked_pair(target, predicted)
    return _mean_over(_phase, pair, tuple((n_fft, kind) for n_fft in checked_n_ffts(n_ffts)))


def _phase(first: Array, second: Array, n_fft: int, kind: PhaseKind) -> Array:
    """Computes :func:`phase_loss` at one resolution."""

    def phasors(audio: Array) -> tuple[Array, Array]:
        # Scaled to a level of 1, because fourth powers of quiet audio would underflow.
        level = safe_sqrt(jnp.mean(jnp.square(audio), axis=-1, keepdims=True))
        audio = safe_divide(audio, level, eps=_LEAST_LEVEL)
        spectrum = stft(audio, n_fft=n_fft, hop_length=n_fft // 4)
        if kind == "instantaneous_frequency":
            spectrum = spectrum[..., 1:, :] * spectrum[..., :-1, :].conj()
        elif kind == "group_delay":
            spectrum = spectrum[..., 1:] * spectrum[..., :-1].conj()
        return spectrum, safe_sqrt(jnp.square(spectrum.real) + jnp.square(spectrum.imag))

    (p, p_size), (q, q_size) = phasors(first), phasors(second)
    sizes = jnp.sum(p_size * q_size, axis=(-2, -1))
    cosines = jnp.sum(p.real * q.real + p.imag * q.imag, axis=(-2, -1))
    return jnp.mean(safe_divide(sizes - cosines, sizes))


def mel_spectral_loss(
    target: Float[ArrayLike, "*batch samples"],
    predicted: Float[ArrayLike, "*batch samples"],
    *,
    sample_rate: int,
    n_ffts: int | Sequence[int] = _N_FFTS,
    n_mels: int | Sequence[int] | None = None,
    fmin: float = 0.0,
    fmax: float | None = None,
    mag_weight: float = 0.0,
    logmag_weight: float = 1.0,
) -> Float[Array, ""]:
    r"""Mean absolute difference of mel spectrograms at several resolutions.

    .. math:: \ell = \langle w_1 |S_N - Y_N| + w_2 |\ln S_N - \ln Y_N| \rangle

    with the magnitude :func:`spectrogram` for `n_fft` N at a hop of N / 4 through
    :func:`mel_filterbank` (Slaney's scale, triangles of height 1), logarithms floored at 1e-5, and
    the mean over batch, frames, filters and resolutions.

    Args:
      target: linear amplitude.
      predicted: linear amplitude, of the shape of `target`.
      sample_rate: samples per second. Static.
      n_ffts: lengths of the Fourier transforms, in samples, each divisible by 4; or one. Static.
      n_mels: number of filters for each of `n_ffts`, or one int for all; the default is 5 for
        every 32 samples, at least 1. Static.
      fmin: lower end of the filters, in Hz. Static.
      fmax: upper end, in Hz; the default is Nyquist. Static.
      mag_weight: :math:`w_1`. Static, as all weights; a term of weight 0 is not computed.
      logmag_weight: :math:`w_2`.

    Returns:
      The loss, a scalar in the dtype of the inputs.

    Raises:
      TypeError: a length is not an int, or an array is neither float32 nor float64.
      ValueError: the shapes differ, the audio is empty, an `n_fft` is not a positive multiple of
        4, there are not as many `n_mels`, or not ``0 <= fmin < fmax``.

    Properties:
      Differentiable in `target` and `predicted`; zero gradient where they are equal and, of the
      logarithm, below its floor. Static: all but the audio.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> audio = jnp.sin(0.7 * jnp.arange(512.0))
      >>> loss = core.mel_spectral_loss(audio, 0.5 * audio, sample_rate=16000, n_ffts=(256,))
      >>> round(float(loss), 3)
      0.693

    References:
      Kumar et al., `High-Fidelity Audio Compression with Improved RVQGAN
      <https://arxiv.org/abs/2306.06546>`_, NeurIPS 2023: the resolutions, down to 5 filters for
      32 samples, and the logarithm alone. There it is base 10 and resolutions are summed.
    """
    pair = checked_pair(target, predicted)
    n_ffts = checked_n_ffts(n_ffts)
    counts = _checked_n_mels(n_mels, n_ffts)
    options = size("sample_rate", sample_rate), fmin, fmax, mag_weight, logmag_weight
    resolutions = tuple((*sizes, *options) for sizes in zip(n_ffts, counts, strict=True))
    return _mean_over(_mel_distance, pair, resolutions)


def _mel_distance(
    first: Array,
    second: Array,
    n_fft: int,
    n_mels: int,
    sample_rate: int,
    fmin: float,
    fmax: float | None,
    mag_weight: float,
    logmag_weight: float,
) -> Array:
    """Computes :func:`mel_spectral_loss` at one resolution."""
    filters = mel_filterbank(
        n_mels=n_mels,
        n_fft=n_fft,
        sample_rate=sample_rate,
        fmin=fmin,
        fmax=fmax,
        norm=None,
        dtype=first.dtype,
    )
    mels = [
        jnp.matmul(
            spectrogram(audio, n_fft=n_fft, hop_length=n_fft // 4), filters.T, precision="highest"
        )
        for audio in (first, second)
    ]
    total = jnp.zeros((), first.dtype)
    if mag_weight:
        total += mag_weight * jnp.mean(jnp.abs(mels[0] - mels[1]))
    if logmag_weight:
        logs = safe_log(mels[0]) - safe_log(mels[1])
        total += logmag_weight * jnp.mean(jnp.abs(logs))
    return total


def _checked_n_mels(n_mels: int | Sequence[int] | None, n_ffts: tuple[int, ...]) -> tuple[int, ...]:
    """The number of filters for each of `n_ffts`; see :func:`mel_spectral_loss`."""
    if n_mels is None:
        return tuple(max(1, 5 * n_fft // 32) for n_fft in n_ffts)
    counts = sizes("n_mels", n_mels)
    if isinstance(n_mels, Integral):
        return counts * len(n_ffts)
    if len(counts) != len(n_ffts):
        raise ValueError(
            f"`n_mels` must have one number for each of {len(n_ffts)} `n_ffts`, or be one int for "
            f"all, got {counts}."
        )
    return counts


# Compiled as a whole, because JAX does not keep a choice of platforms that runs outside of `jit`.
@partial(jax.jit, static_argnums=(0, 2))
def _mean_over(
    loss: Callable[..., Array], pair: tuple[Array, Array], resolutions: tuple[tuple, ...]
) -> Array:
    """Mean over resolutions of a loss between sounds of shape (batch, samples).

    A TPU takes one example after the other: its spectra stay in the chip, and the program compiles
    in a third of the time.
    """

    def whole(first: Array, second: Array) -> Array:
        losses = [loss(first, second, *resolution) for resolution in resolutions]
        return jnp.mean(jnp.stack(losses))

    return jax.lax.platform_dependent(*pair, tpu=partial(one_by_one, whole), default=whole)


def one_by_one(
    loss: Callable[[Array, Array], Array],
    first: Float[Array, "batch samples"],
    second: Float[Array, "batch samples"],
) -> Float[Array, ""]:
    """The mean of a loss over examples, in a loop."""
    one = jax.checkpoint(lambda pair: loss(pair[0][None], pair[1][None]))
    return jnp.mean(jax.lax.map(one, (first, second)))


def _norm(spectra: Array) -> Array:
    """Root of the sum of squares over frames and bins."""
    return safe_sqrt(jnp.sum(jnp.square(spectra), axis=(-2, -1)))
