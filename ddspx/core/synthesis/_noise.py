"""Noise: white, and shaped by a filter that changes from frame to frame."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ddspx._checks import at_least_ndim, floats, positive_int, random_key
from ddspx._typing import Array, ArrayLike, Float, Key, UInt
from ddspx.core._framing import n_samples_of
from ddspx.core.filters._fir import crossfade_reach, crossfaded_filter, hold_last_frame


class NoiseState(NamedTuple):
    """State of a stream of filtered noise.

    Attributes:
      key: the key of the whole stream.
      frame: index of the frame that the next block begins with.
    """

    key: Key
    frame: UInt[Array, ""]


def white_noise(
    key: Key, shape: tuple[int, ...], *, dtype: jnp.dtype | type = jnp.float32
) -> Float[Array, "..."]:
    r"""Independent samples, uniform in (-1, 1).

    They have mean 0, variance 1/3 and a flat spectrum.

    Args:
      key: JAX random key.
      shape: shape of the result, ``(*batch, samples)`` for audio. Static.
      dtype: float32 or float64. Static.

    Returns:
      The noise. Its values are the same in either dtype: multiples of :math:`2^{-24}`, symmetric
      around 0, excluding -1 and 1.

    Raises:
      TypeError: `shape` is not a tuple of ints.

    Properties:
      Deterministic given `key`. Static: `shape`, `dtype`.

    Example:
      >>> import jax
      >>> from ddspx import core
      >>> noise = core.white_noise(jax.random.key(0), (2, 10000))
      >>> round(float((noise**2).mean()), 2)
      0.33
    """
    # Signed 24-bit integers plus one half: exact in float32, which represents halves below 2**23.
    random_key(key)
    steps = jax.lax.bitcast_convert_type(jax.random.bits(key, shape, jnp.uint32), jnp.int32) >> 8
    return (steps.astype(dtype) + 0.5) * 2.0**-23


def filtered_noise(
    key: Key,
    magnitudes: Float[ArrayLike, "*batch frames bands"],
    *,
    hop_length: int,
    n_samples: int | None = None,
    win_length: int | None = None,
) -> Float[Array, "*batch samples"]:
    r"""White noise through a filter with given magnitudes in each frame.

    .. math:: y[n] = \sum_k h_n[k]\, x[n - k], \qquad x \sim U(-1, 1)

    with :math:`h_n` the zero-phase filters of the two frames around sample n, faded into each
    other as in :func:`frequency_filter`: magnitudes that are flat over frequency give
    ``upsample(m, method="hann") * x``. The noise :math:`x` has no beginning and no end, so the
    result has no edges: it is a section of an endless sound.

    Args:
      key: JAX random key.
      magnitudes: gain at ``linspace(0, sample_rate / 2, bands)``; 2 bands or more. Each batch
        element has its own noise.
      hop_length: samples between frames. Static.
      n_samples: length of the result, in samples; any length that has this many frames. The
        default is the least, ``(frames - 1) * hop_length``. Static.
      win_length: see :func:`frequency_impulse_response`. Static.

    Returns:
      Audio, in the dtype of `magnitudes`. If all magnitudes are m, its power is :math:`m^2 / 3`.

    Raises:
      TypeError: a size is not a Python int.
      ValueError: `n_samples` samples do not have this number of frames, there are fewer than 2
        bands, or `win_length` is out of range.

    Properties:
      Linear, and differentiable, in `magnitudes`. Deterministic given `key`: the white noise of
      hop i comes from ``fold_in(key, i)`` whatever the length, so a longer signal begins with
      the shorter one, and :func:`filtered_noise_step` gives the same result block by block. (For
      keys of JAX's default implementation, threefry; draws of ``rbg`` keys depend on their
      neighbours under vmap.) Static: `hop_length`, `n_samples`, `win_length`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from ddspx import core
      >>> silence_then_noise = jnp.array([0.0, 0.0, 1.0, 1.0])[:, None] * jnp.ones(9)[None]
      >>> y = core.filtered_noise(jax.random.key(0), silence_then_noise, hop_length=16)
      >>> y.shape, round(float(jnp.abs(y[:16]).max()), 3), bool(jnp.abs(y[32:]).max() > 0.5)
      ((48,), 0.0, True)

    References:
      Engel et al., `DDSP: Differentiable Digital Signal Processing
      <https://arxiv.org/abs/2001.04643>`_, ICLR 2020, section 3.4. DDSP draws unseeded noise
      and switches filters at the edges of frames.
    """
    _, audio = filtered_noise_step(
        filtered_noise_init(key),
        magnitudes,
        hop_length=hop_length,
        n_samples=n_samples,
        win_length=win_length,
    )
    return audio


def filtered_noise_init(key: Key) -> NoiseState:
    """Start of a stream of :func:`filtered_noise_step`.

    Args:
      key: JAX random key, as for :func:`filtered_noise`.

    Returns:
      The state before frame 0.

    Example:
      >>> import jax
      >>> from ddspx import core
      >>> int(core.filtered_noise_init(jax.random.key(0)).frame)
      0
    """
    random_key(key)
    # The key is copied, so that donating the state does not invalidate the caller's key.
    return NoiseState(jnp.copy(key), jnp.zeros((), jnp.uint32))


def filtered_noise_step(
    state: NoiseState,
    magnitudes: Float[ArrayLike, "*batch frames bands"],
    *,
    hop_length: int,
    n_samples: int | None = None,
    win_length: int | None = None,
) -> tuple[NoiseState, Float[Array, "*batch samples"]]:
    r"""Next block of :func:`filtered_noise`: from its first frame up to its last.

    Given frames a to b, both included, it returns samples ``a * hop_length`` up to, not
    including, ``b * hop_length``. The next block begins with frame b again. There is no latency
    and no tail: the noise that the filters read before and after the block is drawn from the key.

    Args:
      state: from :func:`filtered_noise_init` or the step before.
      magnitudes: frames a to b; the first is the last of the block before.
      hop_length: samples between frames, the same in all steps. Static.
      n_samples: see :func:`filtered_noise`; only the last block may hold its last frame.
        Static.
      win_length: see :func:`frequency_impulse_response`. Static.

    Returns:
      The state at frame b, and the audio.

    Raises:
      TypeError: a size is not a Python int.
      ValueError: as :func:`filtered_noise`.

    Properties:
      Concatenated blocks of any sizes equal :func:`filtered_noise` of all frames (up to
      rounding). Differentiable in `magnitudes`. Static: all but `state` and `magnitudes`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from ddspx import core
      >>> magnitudes, key = jnp.ones((5, 9)), jax.random.key(0)
      >>> state = core.filtered_noise_init(key)
      >>> state, head = core.filtered_noise_step(state, magnitudes[:3], hop_length=16)
      >>> state, tail = core.filtered_noise_step(state, magnitudes[2:], hop_length=16)
      >>> offline = core.filtered_noise(key, magnitudes, hop_length=16)
      >>> bool(jnp.allclose(jnp.concatenate([head, tail]), offline, atol=1e-5))
      True
    """
    (magnitudes,) = floats(magnitudes=magnitudes)
    at_least_ndim("magnitudes", magnitudes.shape, 2, "(*batch, frames, bands)")
    hop_length = positive_int("hop_length", hop_length)
    *batch, frames, _ = magnitudes.shape
    n_samples = n_samples_of(frames, hop_length=hop_length, n_samples=n_samples)
    magnitudes = hold_last_frame(magnitudes, n_samples, hop_length)
    hops = magnitudes.shape[-2] - 1
    around = crossfade_reach(magnitudes.shape, hop_length, win_length)
    # Modulo 2**32, so that hops before frame 0 have indices too.
    indices = state.frame - jnp.uint32(around) + jnp.arange(hops + 2 * around, dtype=jnp.uint32)

    def draw(index: Array) -> Array:
        key = jax.random.fold_in(state.key, index)
        return white_noise(key, (*batch, hop_length), dtype=magnitudes.dtype)

    noise = jax.vmap(draw, out_axes=-2)(indices)
    audio = crossfaded_filter(noise, magnitudes, win_length)
    state = NoiseState(state.key, state.frame + jnp.uint32(frames - 1))
    return state, audio[..., :n_samples]
