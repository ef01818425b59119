"""Band-limited conversion between sample rates."""

import math
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

from ddspx._checks import at_least_ndim, floats, positive_int
from ddspx._typing import Array, ArrayLike, Float
from ddspx.core._framing import overlapping_blocks

# A Kaiser window with 110 dB of attenuation. With 64 zero crossings on each side its transition
# band is 0.111 of the lower Nyquist frequency wide, and ends at that frequency.
_ATTENUATION_DB = 110.0
_ZERO_CROSSINGS = 64
_TRANSITION = (_ATTENUATION_DB - 7.95) / (2.285 * 2 * _ZERO_CROSSINGS * np.pi)
_MOST_PHASES = 4096


def resample(
    audio: Float[ArrayLike, "*batch samples"], *, orig_rate: int, target_rate: int
) -> Float[Array, "*batch resampled"]:
    r"""Audio at another sample rate, without aliasing and without delay.

    .. math:: y[n] = \sum_k h\Bigl(\frac{n R}{R'} - k\Bigr) x[k], \qquad
        h(t) = c \operatorname{sinc}(c t)\, w\Bigl(\frac{c t}{64}\Bigr)

    with R the old rate, R' the new one, :math:`c = 0.944 \min(1, R' / R)` and w a Kaiser window:
    flat to 0.889 of the lower Nyquist frequency, and 110 dB down from that frequency on.

    Args:
      audio: signal at `orig_rate`; outside of it the signal counts as zero.
      orig_rate: samples per second of `audio`. Static.
      target_rate: samples per second of the result. Their ratio in lowest terms must have
        numbers up to 4096. Static.

    Returns:
      ``ceil(samples * target_rate / orig_rate)`` samples, in the dtype of `audio`; sample n is
      the sound at time ``n / target_rate``.

    Raises:
      TypeError: a rate is not an int, or `audio` is neither float32 nor float64.
      ValueError: a rate is not positive, or a term of their ratio exceeds 4096.

    Properties:
      Linear, and differentiable, in `audio`. Computed as one product of overlapping sections
      with a matrix of filters. It needs about twice the memory of the audio and, for each sample at
      the higher rate, about 250 multiplications, or as many as the smaller term of the ratio if
      that is more. Static: the rates.

    Example:
      >>> import jax.numpy as jnp
      >>> import numpy as np
      >>> from ddspx import core
      >>> tone = jnp.asarray(np.sin(2 * np.pi * 440 * np.arange(44100) / 44100))
      >>> audio = core.resample(tone, orig_rate=44100, target_rate=16000)
      >>> expected = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
      >>> audio.shape, round(float(abs(audio - expected)[500:-500].max()), 4)
      ((16000,), 0.0)

    References:
      Smith, `Digital Audio Resampling <https://ccrma.stanford.edu/~jos/resample/>`_. DDSP prepares
      its data with linear interpolation, which aliases.
    """
    (audio,) = floats(audio=audio)
    at_least_ndim("audio", audio.shape, 1, "(*batch, samples)")
    orig_rate = positive_int("orig_rate", orig_rate)
    target_rate = positive_int("target_rate", target_rate)
    divisor = math.gcd(orig_rate, target_rate)
    down, up = orig_rate // divisor, target_rate // divisor
    if max(down, up) > _MOST_PHASES:
        raise ValueError(
            f"`orig_rate` and `target_rate` must have a ratio of numbers up to {_MOST_PHASES}, got "
            f"{orig_rate}/{target_rate} = {down}/{up}; round the rates to a common factor."
        )
    if up == down:
        return audio
    samples = audio.shape[-1]
    n_samples = -(-samples * up // down)
    before, down, filters = _filters(down, up)
    per_section = filters.shape[1]
    count = max(1, -(-n_samples // per_section))
    segments = overlapping_blocks(audio, before, count, len(filters), down)
    out = jnp.matmul(
        segments, jnp.asarray(filters.astype(audio.dtype)), precision=jax.lax.Precision.HIGHEST
    )
    return out.reshape(*audio.shape[:-1], count * per_section)[..., :n_samples]


@lru_cache(maxsize=16)
def _filters(down: int, up: int) -> tuple[int, int, np.ndarray]:
    """Samples before a section, its hop, and filters ``(length, outputs)``, one for each output.

    A section has as many periods of the ratio as the filters are long. Shorter sections would share
    more samples with their neighbours, and longer ones would hold more zeros in the filters.
    """
    cutoff = min(1, up / down) * (1 - _TRANSITION / 2)
    reach = math.ceil(_ZERO_CROSSINGS / cutoff)
    periods = max(1, round(2 * reach / down))
    down, up = periods * down, periods * up
    source = np.arange(-reach, down + reach + 1)[:, None]
    lags = np.arange(up) * (down / up) - source
    taper = np.sqrt(np.maximum(1 - (lags * cutoff / _ZERO_CROSSINGS) ** 2, 0))
    beta = 0.1102 * (_ATTENUATION_DB - 8.7)
    inside = np.abs(lags) * cutoff < _ZERO_CROSSINGS
    taps = np.sinc(cutoff * lags) * np.i0(beta * taper) * inside
    return reach, down, taps / taps.sum(0)
