"""Interpolation of frame-rate controls to the sample rate, by the frame rule."""

import math
import operator
from functools import lru_cache, reduce
from numbers import Real
from typing import get_args

import jax.numpy as jnp
import numpy as np

from ddspx._checks import at_least_ndim, floats, one_of, positive_int
from ddspx._choices import UpsamplingMethod
from ddspx._typing import Array, ArrayLike, Float
from ddspx.core._framing import n_samples_of

METHODS = get_args(UpsamplingMethod)


def interpolation_weights(
    hop_length: int, method: UpsamplingMethod
) -> tuple[tuple[int, ...], np.ndarray]:
    r"""Weights that interpolate between frames: one column for each sample of a hop.

    .. math:: y[i h + j] = \sum_t w_t[j]\, x[i + o_t], \qquad 0 \le j < h

    with :math:`u = j / h`:

    - ``nearest``: the nearer frame, the later one at half-way;
    - ``linear``: :math:`1 - u, u`;
    - ``hann``: :math:`1 - w, w` with :math:`w = \tfrac12 - \tfrac12 \cos \pi u`;
    - ``cubic``: Keys' kernel with a = -1/2 (the Catmull-Rom spline), on four frames.

    Args:
      hop_length: samples between frames, :math:`h`. Static.
      method: one of the four names. Static.

    Returns:
      The frame offsets :math:`o_t`, and the weights of shape ``(taps, hop_length)``, float64
      and read-only. Each column adds up to 1, and column 0 picks frame :math:`i` alone.

    Raises:
      TypeError: `hop_length` is not a Python int.
      ValueError: `hop_length` is not positive, or `method` is unknown.

    Example:
      >>> from ddspx import core
      >>> offsets, weights = core.interpolation_weights(2, "cubic")
      >>> offsets, weights.tolist()[1]
      ((-1, 0, 1, 2), [1.0, 0.5625])

    References:
      Keys, Cubic convolution interpolation for digital image processing, IEEE Trans. ASSP
      29(6), 1981: only a = -1/2 reproduces quadratics. DDSP inherits TensorFlow's a = -3/4.
      Its ``nearest`` always takes the earlier frame, on average half a hop late.
    """
    one_of("method", method, METHODS)
    return _interpolation_weights(positive_int("hop_length", hop_length), method)


@lru_cache(maxsize=64)
def _interpolation_weights(hop_length: int, method: str) -> tuple[tuple[int, ...], np.ndarray]:
    offsets, weights = _weights_at(np.arange(hop_length) / hop_length, method)
    weights.flags.writeable = False
    return offsets, weights


def _weights_at(u: np.ndarray, method: str) -> tuple[tuple[int, ...], np.ndarray]:
    """Offsets and weights of the frames around points at `u` between two frames, ``0 <= u < 1``."""
    if method == "cubic":
        offsets = (-1, 0, 1, 2)
        weights = np.stack(
            [
                -0.5 * u * (1 - u) ** 2,
                1 + u**2 * (1.5 * u - 2.5),
                0.5 * u * (1 + u * (4 - 3 * u)),
                -0.5 * u**2 * (1 - u),
            ]
        )
    else:
        later = {
            "nearest": (u >= 0.5) * 1.0,
            "linear": u,
            "hann": 0.5 - 0.5 * np.cos(np.pi * u),
        }
        offsets = (0, 1)
        weights = np.stack([1 - later[method], later[method]])
    return offsets, weights


def upsample(
    controls: Float[ArrayLike, "..."],
    *,
    hop_length: int,
    method: UpsamplingMethod,
    n_samples: int | None = None,
    axis: int = -1,
) -> Float[Array, "..."]:
    r"""Controls at every sample from controls at every frame.

    .. math:: y[i h + j] = \sum_t w_t[j]\, x[i + o_t], \qquad 0 \le j < h

    with the weights of :func:`interpolation_weights`, the edge frames repeated outward. The value
    at sample ``i * hop_length`` is exactly that of frame i; the last value is held.

    Args:
      controls: ``(*batch, frames)`` with ``axis=-1`` or ``(*batch, frames, features)`` with
        ``axis=-2``, in any unit.
      hop_length: samples between frames, :math:`h`. Static.
      method: ``nearest``, ``linear``, ``cubic`` (smooth, may overshoot) or ``hann`` (raised
        cosine: smooth, never overshoots). Static.
      n_samples: length of the result, in samples; any length that has this many frames. The
        default is the least, ``(frames - 1) * hop_length``. Static.
      axis: the axis of the frames, -1 or -2. Static.

    Returns:
      ``(*batch, samples)`` or ``(*batch, samples, features)``, in the dtype of `controls`.

    Raises:
      TypeError: a size is not a Python int, or `controls` is neither float32 nor float64.
      ValueError: `method` or `axis` is unknown, an axis is missing, or `n_samples` samples do
        not have this number of frames.

    Properties:
      Linear, and differentiable in `controls`. Memory is that of the result: the samples
      between two frames are a broadcast of those frames. Static: all but `controls`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> f0_hz = jnp.array([100.0, 104.0, 104.0])
      >>> core.upsample(f0_hz, hop_length=4, method="linear", n_samples=10).tolist()
      [100.0, 101.0, 102.0, 103.0, 104.0, 104.0, 104.0, 104.0, 104.0, 104.0]

    References:
      ``hann`` is DDSP's ``window``, the overlap-add of frames under Hann windows two hops long,
      without those windows: DDSP's form holds ``(frames, 2 * hop_length)`` for every feature.
    """
    (controls,) = floats(controls=controls)
    offsets, weights = interpolation_weights(hop_length, method)
    one_of("axis", axis, (-1, -2))
    at_least_ndim("controls", controls.shape, -axis, "(*batch, frames[, features])")
    n_samples = n_samples_of(controls.shape[axis], hop_length=hop_length, n_samples=n_samples)
    features = controls[..., None] if axis == -1 else controls
    samples = _interpolate(features, offsets, weights.astype(controls.dtype))
    tail_length = n_samples - samples.shape[-2]
    if tail_length:
        shape = (*samples.shape[:-2], tail_length, samples.shape[-1])
        tail = jnp.broadcast_to(features[..., -1:, :], shape)
        samples = jnp.concatenate([samples, tail], axis=-2)
    return samples[..., 0] if axis == -1 else samples


def resample_controls(
    controls: Float[ArrayLike, "..."],
    *,
    n_frames: int,
    method: UpsamplingMethod,
    step: float | None = None,
    axis: int = -1,
) -> Float[Array, "..."]:
    r"""Controls at another frame rate, at any ratio.

    .. math:: y[m] = \sum_t w_t(u)\, x[i + o_t], \qquad i + u = m s, \quad 0 \le u < 1

    with the weights of :func:`interpolation_weights` at u, the edge frames repeated outward: after
    the last frame its value is held. So ``step=1 / hop_length`` is :func:`upsample`.

    Args:
      controls: ``(*batch, frames)`` with ``axis=-1`` or ``(*batch, frames, features)`` with
        ``axis=-2``, in any unit.
      n_frames: frames of the result. Static.
      method: ``nearest``, ``linear``, ``cubic`` (smooth, may overshoot) or ``hann`` (raised
        cosine: smooth, never overshoots). Static.
      step: frames of `controls` from each frame of the result to the next, :math:`s`. From one hop
        and sample rate to another it is ``(new_hop / new_rate) / (old_hop / old_rate)``;
        ``(frames - 1) / (n_frames - 1)`` puts the last frame on the last. The default, ``frames /
        n_frames``, takes both for the same stretch of time. Static.
      axis: the axis of the frames, -1 or -2. Static.

    Returns:
      ``(*batch, n_frames)`` or ``(*batch, n_frames, features)``, in the dtype of `controls`.

    Raises:
      TypeError: `n_frames` is not an int, `step` is not a number, or `controls` is neither float32
        nor float64.
      ValueError: `method` or `axis` is unknown, an axis is missing or empty, or a size or `step`
        is not positive.

    Properties:
      Linear, and differentiable in `controls`. Frames are not averaged: if the result has fewer
      frames, those between the read positions have no influence. Static: all but `controls`.

    Example:
      >>> import jax.numpy as jnp
      >>> from ddspx import core
      >>> f0_hz = jnp.array([100.0, 104.0, 108.0, 108.0])
      >>> core.resample_controls(f0_hz, n_frames=8, method="linear").tolist()
      [100.0, 102.0, 104.0, 106.0, 108.0, 108.0, 108.0, 108.0]

    References:
      DDSP's ``resample``: the default is its ``add_endpoint=True``, the last frame on the last its
      ``add_endpoint=False``, ``hann`` its ``window``, which there needs a whole ratio. Its cubic
      has TensorFlow's a = -3/4.
    """
    (controls,) = floats(controls=controls)
    one_of("method", method, METHODS)
    one_of("axis", axis, (-1, -2))
    at_least_ndim("controls", controls.shape, -axis, "(*batch, frames[, features])")
    frames = positive_int(f"controls.shape[{axis}]", controls.shape[axis])
    numbers = np.arange(positive_int("n_frames", n_frames))
    if step is None:
        position = numbers * frames / n_frames
    elif isinstance(step, Real) and 0 < step < math.inf:
        position = numbers * float(step)
    else:
        kind = ValueError if isinstance(step, Real) else TypeError
        raise kind(f"`step` must be a positive number of frames, got {step!r}; it is static.")
    position = np.minimum(position, frames - 1)
    before = np.floor(position).astype(np.int64)
    offsets, weights = _weights_at(position - before, method)
    features = controls[..., None] if axis == -1 else controls
    columns = weights.reshape(-1, *(1,) * (features.ndim - 2), len(numbers), 1)
    taps = [
        jnp.take(features, np.clip(before + offset, 0, frames - 1), axis=-2) * column
        for offset, column in zip(offsets, columns.astype(controls.dtype), strict=True)
    ]
    out = reduce(operator.add, taps)
    return out[..., 0] if axis == -1 else out


def _interpolate(x: Array, offsets: tuple[int, ...], weights: np.ndarray) -> Array:
    """Interpolates (*batch, frames, features) over the intervals between its frames."""
    *batch, frames, features = x.shape
    hop_length = weights.shape[-1]
    before, after = -offsets[0], offsets[-1] - 1
    if before or after:
        x = jnp.concatenate([x[..., :1, :]] * before + [x] + [x[..., -1:, :]] * after, axis=-2)
    columns = weights.reshape(-1, *(1,) * len(batch), 1, hop_length, 1)
    starts = [before + offset for offset in offsets]
    spans = [x[..., start : start + frames - 1, :] for start in starts]
    taps = [jnp.expand_dims(span, -2) * column for span, column in zip(spans, columns, strict=True)]
    blocks = reduce(operator.add, taps)
    return blocks.reshape(*batch, (frames - 1) * hop_length, features)
