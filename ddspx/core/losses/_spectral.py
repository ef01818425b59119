"""Losses between spectrograms at several resolutions."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from ddspx._checks import at_least_ndim, floats, sizes
from ddspx._typing import Array, ArrayLike, Float
from ddspx.core._framing import hann_window, n_frames
from ddspx.core._numerics import safe_log, safe_sqrt
from ddspx.core.analysis._loudness import loudness_db
from ddspx.core.losses._loss_by_products import loss_by_products

_LOG_EPS = 1e-5
_TILE_SAMPLES = 65536


class _Weights(NamedTuple):
    """Weights of the terms that need spectra at several resolutions."""

    mag: float
    logmag: float
    delta_time: float
    delta_freq: float
    cumsum_freq: float


def multi_scale_spectral_loss(
    target: Float[ArrayLike, "*batch samples"],
    predicted: Float[ArrayLike, "*batch samples"],
    *,
    n_ffts: int | Sequence[int] = (2048, 1024, 512, 256, 128, 64),
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
      n_ffts: lengths of the Fourier transforms, in samples, each divisible by 4; or one.
        Static.
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
      Differentiable in `target` and `predicted`, in forward and reverse mode and to any order.
      Gradients are finite everywhere: zero if both sounds are silent; where a difference is zero
      up to rounding, between the slopes on its two sides. Reverse mode computes the gradient
      together with the value and keeps only the gradient. Static: all but the audio.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> tone = jnp.sin(jnp.arange(4000) * 0.1)
      >>> round(float(core.multi_scale_spectral_loss(tone, 0.5 * tone)), 1)
      6.3

    References:
      Engel et al., `DDSP: Differentiable Digital Signal Processing
      <https://arxiv.org/abs/2001.04643>`_, ICLR 2020, section 4.2.1; there the loss of a
      trained model on solo instruments is about 4.5 to 5. Differences from DDSP's
      ``SpectralLoss``, whose values this keeps to about 1 % on music and noise: frames are
      centred, where DDSP's start at each hop, which gives the first samples almost no weight;
      the logarithm has a floor, where DDSP's replaces only zeros and lets 1e-12 weigh more than
      silence; `logmag_weight` is 1, as in all of DDSP's recipes; the loudness knows its sample
      rate. DDSP's `weights` argument, which no spectrogram of several sizes can satisfy, is
      left out: weigh losses of single examples under ``jax.vmap`` instead.
    """
    target, predicted = checked_pair(target, predicted)
    n_ffts = checked_n_ffts(n_ffts)
    weights = _Weights(
        mag_weight, logmag_weight, delta_time_weight, delta_freq_weight, cumsum_freq_weight
    )
    loss = _spectral_loss(target, predicted, n_ffts, weights)
    if loudness_weight:
        if sample_rate is None:
            raise ValueError("`sample_rate` must be given where `loudness_weight` is not 0.")
        first, second = (
            loudness_db(audio, sample_rate=sample_rate, hop_length=512, n_fft=2048)
            for audio in (target, predicted)
        )
        loss += loudness_weight * jnp.mean(jnp.abs(first - second))
    return loss


def checked_pair(target: ArrayLike, predicted: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """Checks both and returns them as (batch, samples) of one float dtype."""
    target, predicted = floats(target=target, predicted=predicted)
    at_least_ndim("target", target.shape, 1, "(*batch, samples)")
    if target.shape != predicted.shape or target.size == 0:
        raise ValueError(
            "`target` and `predicted` must have the same shape and at least one sample, got "
            f"{target.shape} and {predicted.shape}; crop both to the shorter length."
        )
    samples = target.shape[-1]
    return target.reshape(-1, samples), predicted.reshape(-1, samples)


def checked_n_ffts(n_ffts: int | Sequence[int]) -> tuple[int, ...]:
    """Checks the lengths of the transforms and returns them as a tuple."""
    n_ffts = sizes("n_ffts", n_ffts)
    if any(n_fft % 4 for n_fft in n_ffts):
        raise ValueError(
            f"`n_ffts` must be one or more multiples of 4 (the hop is a quarter), got {n_ffts}."
        )
    return n_ffts


@partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _spectral_loss(
    target: jax.Array, predicted: jax.Array, n_ffts: tuple[int, ...], weights: _Weights
) -> jax.Array:
    """The spectral terms of the loss, for audio of shape (batch, samples)."""
    return _value_and_gradients(target, predicted, n_ffts, weights, ())[0]


@partial(_spectral_loss.defjvp, symbolic_zeros=True)
def _spectral_loss_jvp(n_ffts, weights, primals, tangents):
    """Computes value and gradient in one pass over the resolutions.

    So the spectra of one resolution are freed before the next, and reverse mode keeps only the
    gradient, which is as large as the audio.
    """
    argnums = [i for i, tangent in enumerate(tangents) if not isinstance(tangent, SymbolicZero)]
    value, gradients = _value_and_gradients(*primals, n_ffts, weights, tuple(argnums))
    products = (
        jnp.sum(gradient * tangents[i]) for i, gradient in zip(argnums, gradients, strict=True)
    )
    return value, sum(products, jnp.zeros_like(value))


@partial(jax.jit, static_argnums=(2, 3, 4))
def _value_and_gradients(
    target: jax.Array,
    predicted: jax.Array,
    n_ffts: tuple[int, ...],
    weights: _Weights,
    argnums: tuple[int, ...],
) -> tuple[jax.Array, list[jax.Array]]:
    """The spectral terms, and their gradients in `argnums`: target (0) and predicted (1).

    A CPU processes a few seconds of audio at a time. Their spectra stay in its cache, and the
    allocator reuses buffers of this size, while it maps and zeroes larger ones at every call. This
    halves the time on 8 x 4 s. A GPU is fastest with the whole batch at once. A TPU takes the whole
    batch, but a short time of it.
    """
    batch, samples = target.shape
    fitting = [size for size in range(1, batch + 1) if batch % size == 0]
    size = max(size for size in fitting if size == 1 or size * samples <= _TILE_SAMPLES)
    whole = partial(_tile_value_and_gradients, n_ffts=n_ffts, weights=weights, argnums=argnums)

    def tiled(pair: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, list[jax.Array]]:
        tiles = [audio.reshape(-1, size, samples) for audio in pair]
        values, gradients = jax.lax.map(whole, tuple(tiles))
        share = size / batch
        return jnp.mean(values), [share * g.reshape(batch, samples) for g in gradients]

    by_products = partial(
        loss_by_products,
        n_ffts=n_ffts,
        distance=partial(_distance, weights=weights, steps=partial(jnp.diff, axis=1)),
        argnums=argnums,
        # Differences from frame to frame would cross the borders of short times.
        in_parts=not weights.delta_time,
    )
    on_a_cpu = whole if size == batch else tiled
    return jax.lax.platform_dependent(
        (target, predicted), cpu=on_a_cpu, tpu=by_products, default=whole
    )


def _tile_value_and_gradients(
    pair: tuple[jax.Array, jax.Array],
    *,
    n_ffts: tuple[int, ...],
    weights: _Weights,
    argnums: tuple[int, ...],
) -> tuple[jax.Array, list[jax.Array]]:
    """Computes :func:`_value_and_gradients` for one tile of the batch."""
    samples = pair[0].shape[-1]
    loss = jnp.zeros((), pair[0].dtype)
    gradients = [jnp.zeros_like(pair[i]) for i in argnums]
    for n_fft in n_ffts:
        spectra = [_spectra(audio, n_fft) for audio in pair]
        term, pullback = jax.vjp(partial(_distance, weights=weights), *spectra)
        loss += term
        cotangents = pullback(jnp.ones_like(term))
        gradients = [
            gradient + _spectra_transpose(cotangents[i], n_fft, samples)
            for i, gradient in zip(argnums, gradients, strict=True)
        ]
    return loss, gradients


def _frame_steps(frames: jax.Array) -> jax.Array:
    """Frame i + 1 minus frame i, for frames in the order of :func:`_spectra`."""
    sets = jnp.split(frames, np.cumsum(_set_sizes(frames.shape[1]))[:-1], axis=1)
    following = [*sets[1:], sets[0][:, 1:]]
    steps = [b - a[:, : b.shape[1]] for a, b in zip(sets, following, strict=True)]
    return jnp.concatenate(steps, axis=1)


def _distance(
    target: jax.Array,
    predicted: jax.Array,
    *,
    weights: _Weights,
    steps: Callable[[jax.Array], jax.Array] = _frame_steps,
) -> jax.Array:
    """Weighted mean differences of two sets of spectra, whose order of frames `steps` knows."""
    first, second = (
        safe_sqrt(jnp.square(spectra.real) + jnp.square(spectra.imag))
        for spectra in (target, predicted)
    )
    difference = first - second
    loss = jnp.zeros((), difference.dtype)
    if weights.mag:
        loss += weights.mag * jnp.mean(jnp.abs(difference))
    if weights.logmag:
        logs = safe_log(first, eps=_LOG_EPS) - safe_log(second, eps=_LOG_EPS)
        loss += weights.logmag * jnp.mean(jnp.abs(logs))
    if weights.delta_time:
        changes = steps(difference)
        loss += weights.delta_time * jnp.sum(jnp.abs(changes)) / max(changes.size, 1)
    if weights.delta_freq:
        loss += weights.delta_freq * jnp.mean(jnp.abs(jnp.diff(difference)))
    if weights.cumsum_freq:
        loss += weights.cumsum_freq * jnp.mean(jnp.abs(jnp.cumsum(difference, axis=-1)))
    return loss


def _spectra(audio: jax.Array, n_fft: int) -> jax.Array:
    """Spectra of the centred frames at a hop of a quarter, in the order 0, 4, 8, ..., 1, 5, ...

    Frames four hops apart are adjacent without overlap, so each of the four sets is a reshaped
    slice of the audio, and no gather is needed. The order does not matter to a mean over frames.
    The sets are concatenated for one transform, in the fused loop that applies the window: on
    2 x 4 s in six sizes that takes 5.8 ms, where four transforms take 8.4 ms.
    """
    batch, samples = audio.shape
    hop = n_fft // 4
    padded = jnp.pad(audio, ((0, 0), (n_fft // 2, n_fft // 2)))
    sets = [
        padded[:, i * hop : i * hop + count * n_fft].reshape(batch, count, n_fft)
        for i, count in enumerate(_set_sizes(n_frames(samples, hop_length=hop)))
    ]
    window = hann_window(n_fft, dtype=audio.dtype)
    return jnp.fft.rfft(jnp.concatenate(sets, axis=1) * window[None, None])


def _spectra_transpose(cotangents: jax.Array, n_fft: int, samples: int) -> jax.Array:
    """Transpose of :func:`_spectra`, by one real inverse transform.

    JAX before 0.8 transposes a real transform into a complex one of twice the work. The
    conjugate is JAX's convention for cotangents of complex numbers; the inverse divides by the
    length and counts all bins but the first and the last twice.
    """
    batch, frames, bins = cotangents.shape
    hop = n_fft // 4
    scale = np.full(bins, n_fft / 2)
    scale[[0, -1]] = n_fft
    scaled = jnp.conj(cotangents) * scale.astype(cotangents.real.dtype)[None, None]
    window = hann_window(n_fft, dtype=cotangents.real.dtype)
    segments = jnp.fft.irfft(scaled, n_fft) * window[None, None]
    sizes = _set_sizes(frames)
    audio = jnp.zeros((batch, samples), segments.dtype)
    for i, part in enumerate(jnp.split(segments, np.cumsum(sizes)[:-1], axis=1)):
        left, length = i * hop - n_fft // 2, sizes[i] * n_fft
        edges = [(0, 0, 0), (left, samples - left - length, 0)]
        zero = jnp.zeros((), segments.dtype)
        audio += jax.lax.pad(part.reshape(batch, length), zero, edges)
    return audio


def _set_sizes(frames: int) -> list[int]:
    """How many of the first `frames` integers are 0, 1, 2 and 3 modulo 4."""
    return [(frames + 3 - i) // 4 for i in range(4)]
