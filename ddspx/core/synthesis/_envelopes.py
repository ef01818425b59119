"""Envelopes of notes."""

import math
from typing import Literal

import jax.numpy as jnp

from ddspx._checks import broadcast_batch, floats, one_of, positive_int, size
from ddspx._typing import Array, ArrayLike, Float
from ddspx.core._numerics import safe_divide

# Segments shorter than this, in seconds, are jumps.
_SHORTEST_S = 1e-6
# Length of an exponential segment, in time constants.
_BEND = 5.0


def adsr(
    note_on_s: Float[ArrayLike, "*on_batch"] | float,
    note_off_s: Float[ArrayLike, "*off_batch"] | float,
    *,
    attack_s: Float[ArrayLike, "*attack_batch"] | float,
    decay_s: Float[ArrayLike, "*decay_batch"] | float,
    sustain: Float[ArrayLike, "*sustain_batch"] | float,
    release_s: Float[ArrayLike, "*release_batch"] | float,
    n_frames: int,
    hop_length: int,
    sample_rate: int,
    shape: Literal["linear", "exponential"] = "linear",
) -> Float[Array, "*out_batch frames"]:
    r"""Attack, decay, sustain and release of notes, at each frame.

    .. math::
        e(t) &= h(\min(t, t_{off}))\, \bigl[1 - r\bigl((t - t_{off}) / t_R\bigr)\bigr] \\
        h(t) &= r\bigl((t - t_{on}) / t_A\bigr)
          \bigl[1 - (1 - s)\, r\bigl((t - t_{on} - t_A) / t_D\bigr)\bigr]

    at :math:`t = i\, h_{hop} / f_s`, where r rises from 0 at 0 and below to 1 at 1 and above:
    along a line (``linear``), or like the charge of a capacitor,
    :math:`r(u) = (1 - e^{-5u}) / (1 - e^{-5})` (``exponential``). A note that is released before it
    reaches its sustain level falls from its current level.

    Args:
      note_on_s: time of the key going down, in seconds from the first frame.
      note_off_s: time of the key going up; a note that ends before it begins is silent.
      attack_s: time from 0 up to 1, in seconds; not negative. A segment of length 0, here and
        below, is a jump just after its start.
      decay_s: time from 1 to `sustain`, in seconds.
      sustain: level that is held, relative to the peak.
      release_s: time from the level at `note_off_s` to 0, in seconds.
      n_frames: frames of the result. Static.
      hop_length: samples between frames; 1 for an envelope at each sample. Static.
      sample_rate: samples per second. Static.
      shape: ``linear`` or ``exponential``. Static.

    Returns:
      The envelope of each note, in the common dtype. The batch axes of all arguments broadcast. For
      several notes of one voice, make them a batch axis and take the sum (or maximum) over it.

    Raises:
      TypeError: a size is not an int, or an array is neither float32 nor float64.
      ValueError: a size is not positive, `shape` is unknown, or the batch axes do not broadcast.

    Properties:
      Differentiable in all times and in `sustain`, with corners where segments meet; segments
      shorter than a microsecond have zero gradient in their length. Time is in the dtype of the
      arguments: in float32, within 4 microseconds during the first minute. Static: the rest.

    Example:
      >>> from ddspx import core
      >>> envelope = core.adsr(
      ...     0.0, 0.6, attack_s=0.2, decay_s=0.2, sustain=0.5, release_s=0.4,
      ...     n_frames=11, hop_length=1, sample_rate=10,
      ... )
      >>> [round(v, 3) for v in envelope.tolist()]
      [0.0, 0.5, 1.0, 0.75, 0.5, 0.5, 0.5, 0.375, 0.25, 0.125, 0.0]
    """
    arrays = floats(
        note_on_s=note_on_s,
        note_off_s=note_off_s,
        attack_s=attack_s,
        decay_s=decay_s,
        sustain=sustain,
        release_s=release_s,
    )
    names = ("note_on_s", "note_off_s", "attack_s", "decay_s", "sustain", "release_s")
    one_of("shape", shape, ("linear", "exponential"))
    frames = positive_int("n_frames", n_frames)
    hop_length = positive_int("hop_length", hop_length)
    size("sample_rate", sample_rate)
    shapes = {name: array.shape for name, array in zip(names, arrays, strict=True)}
    batch = broadcast_batch(**shapes)
    on, off, attack, decay, level, release = (
        jnp.broadcast_to(array, batch)[..., None] for array in arrays
    )
    time_s = jnp.arange(frames).astype(on.dtype) * (hop_length / sample_rate)
    time_s = time_s.reshape(*(1,) * len(batch), frames)
    pressed_s = jnp.minimum(time_s, off) - on
    drop = (1 - level) * _rise(pressed_s - attack, decay, shape)
    pressed = _rise(pressed_s, attack, shape) * (1 - drop)
    return pressed * (1 - _rise(time_s - off, release, shape))


def _rise(elapsed_s: Array, length_s: Array, shape: str) -> Array:
    """Rises from 0 to 1 within `length_s`."""
    u = jnp.clip(safe_divide(elapsed_s, length_s, eps=_SHORTEST_S), 0, 1)
    if shape == "linear":
        return u
    return jnp.expm1(-_BEND * u) / math.expm1(-_BEND)
