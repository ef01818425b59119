"""Boundary checks shared by the whole package.

Static facts (Python ints, shapes, choices) are checked before first use and reported as one
sentence that names the argument, the value, what is allowed and the fix. Traced values are
never checked here: data is validated once, on the host, in :mod:`ddspx.io`. The checks of arrays
import jax when they are called, so that commands can check numbers and choices without loading it.
"""

import math
import sys
from collections.abc import Collection
from numbers import Integral
from typing import TYPE_CHECKING, Any, get_args

from ddspx._choices import FrequencyScale

if TYPE_CHECKING:
    import jax

# If the last axis has size 1 and the one before it at least this size, the 1 is taken for DDSP's
# trailing axis, not for a batch of signals of one sample.
_LEAST_TIME = 4
# If the last axis has one of these sizes and the one before it at least _LEAST_SAMPLES, the last
# axis is taken for the channels of a file: (samples, channels).
_CHANNELS, _LEAST_SAMPLES = (2, 3, 4, 5, 6, 8), 1024
_FRAMES_HINT = (
    "; one number a frame is (*batch, frames), without a trailing 1 (remove it with `[..., 0]`), "
    "several are (*batch, frames, features), frames before features (`jnp.moveaxis(x, -1, -2)`)"
)


def positive_int(name: str, value: object) -> int:
    """Returns `value` as an int, or raises a TypeError or ValueError that names it."""
    return _int_from(1, name, value)


# No axis of an array is longer: XLA counts its elements in 32 bits.
_LARGEST_INT = 2**31 - 1
# Upper limits of sizes. They are above every known use, and low enough that a typing error or a
# size in somebody else's file cannot fill the memory or keep the machine busy for days.
LARGEST = {
    "sample_rate": 1_000_000,
    "hop_length": 1_000_000,
    "mfcc_hop_length": 1_000_000,
    "n_fft": 65_536,
    "loss_n_ffts": 65_536,
    "win_length": 65_536,
    "win_lengths": 65_536,
    "window_look_ahead": 65_536,
    "n_taps": 65_537,
    "order": 64,
    "n_bands": 1024,
    "n_mfcc": 1024,
    "n_bins": 4096,
    "bins_per_octave": 1200,
    "n_harmonics": 4096,
    "n_sinusoids": 4096,
    "n_wavetables": 4096,
    "n_magnitudes": 4096,
    "channels": 4096,
    "hidden": 65_536,
    "multiplier": 256,
    "segment_frames": 100_000,
    "rnn_channels": 16_384,
    "fc_channels": 16_384,
    "in_features": 2**20,
    "features": 65_536,
    "out_features": 65_536,
    "fc_layers": 32,
    "n_layers": 32,
    "kernel_size": 65,
    "stacks": 16,
    # A dilation of 2^15 frames is two minutes.
    "layers_per_stack": 16,
    "window_frames": 100_000,
    "overlap_frames": 50_000,
    "z_size": 4096,
    "rank": 1024,
    "length": 2**20,
    "batch_size": 65_536,
    "workers": 4096,
    # The optimizer counts steps in 32-bit integers.
    "steps": 10**9,
    "decay_steps": 10**9,
    # All their batches are in memory at once.
    "steps_per_dispatch": 1000,
}


def size(name: str, value: object) -> int:
    """Like :func:`positive_int`, and at most the entry of that name in `LARGEST`."""
    return _int_from(1, name, value, most=LARGEST[name])


def hop_length_of(hop_ms: float, sample_rate: int) -> int:
    """Converts a hop in milliseconds to the nearest number of samples, at least one."""
    samples = hop_ms * size("sample_rate", sample_rate) / 1000
    if not samples >= 0.5:
        raise ValueError(
            f"`hop_ms` must be at least one sample, {1000 / sample_rate:.3g} ms at {sample_rate} "
            f"Hz, got {hop_ms}."
        )
    if hop_ms > 1000:
        raise ValueError(f"`hop_ms` must be at most 1000, a second, got {hop_ms}.")
    return round(samples)


def non_negative_int(name: str, value: object) -> int:
    """Like :func:`positive_int`, but 0 is allowed."""
    return _int_from(0, name, value)


def checked_seed(value: object) -> int:
    """Returns a `seed` as an int from 0 to 2**32 - 1, the range that every generator accepts."""
    number = _int_from(0, "seed", value, most=math.inf)
    if number >= 2**32:
        raise ValueError(f"`seed` must be from 0 to 2**32 - 1, got {number}.")
    return number


def sizes(name: str, value: Any) -> tuple[int, ...]:
    """Returns positive ints as a tuple, from one int or from a list, tuple or array of ints."""
    values = value.tolist() if hasattr(value, "tolist") else value  # NumPy and JAX arrays
    values = values if isinstance(values, list | tuple) else (values,)
    if not values:
        raise ValueError(f"`{name}` must be one size or more, got {value!r}.")
    return tuple(positive_int(name, one) for one in values)


def number(
    name: str,
    value: object,
    *,
    least: float | int = -math.inf,
    most: float | int = math.inf,
    above: float | int | None = None,
    below: float | int | None = None,
) -> float:
    """Returns a finite number as a float, or raises a TypeError or ValueError that names it.

    `least` and `most` are inclusive bounds; `above` and `below` replace them by exclusive ones.
    """
    found = python_number(value)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise TypeError(f"`{name}` must be a number, got {value!r}.")
    is_low = found < least if above is None else found <= above
    is_high = found > most if below is None else found >= below
    # Not by math.isfinite, which raises an error for ints that exceed the range of floats.
    if is_low or is_high or not abs(found) <= sys.float_info.max:
        raise ValueError(f"`{name}` must be {_range(least, most, above, below)}, got {value}.")
    return float(found)


def _range(
    least: float | int, most: float | int, above: float | int | None, below: float | int | None
) -> str:
    """Describes the range of allowed values, for an error message."""
    has_end = below is not None or most < math.inf
    end = f"at most {most:g}" if below is None else f"below {below:g}"
    if above is not None:
        return f"above {above:g} and {end}" if has_end else f"finite and above {above:g}"
    if least == -math.inf:
        return f"finite and {end}" if has_end else "finite"
    end = f"{most:g}" if below is None else end
    return f"from {least:g} to {end}" if has_end else f"finite and at least {least:g}"


def python_number(value: Any) -> Any:
    """Converts a NumPy scalar to a Python number; returns any other value unchanged."""
    is_scalar = type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0
    return value.item() if is_scalar else value


def _int_from(least: int, name: str, value: object, *, most: float | int = _LARGEST_INT) -> int:
    value = python_number(value)
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(
            f"`{name}` must be a Python int, got {value!r} ({type(value).__name__}); sizes and "
            "rates are static, so convert it with int() outside jit, and where jax.jit is handed "
            "it, name it in static_argnames."
        )
    if value < least:
        raise ValueError(f"`{name}` must be at least {least}, got {value}.")
    if int(value) > most:
        raise ValueError(f"`{name}` must be at most {most}, got {value}.")
    return int(value)


def one_of(name: str, value: object, allowed: Collection[object]) -> None:
    """Raises a ValueError unless `value` equals an option, in type too (True is not 1)."""
    kinds = ((option, type(option)) for option in allowed)
    if not any(_is_kind(value, kind) and value == option for option, kind in kinds):
        options = ", ".join(repr(option) for option in allowed)
        raise ValueError(f"`{name}` must be one of {options}, got {value!r}.")


def _is_kind(value: object, kind: type) -> bool:
    return isinstance(value, kind) and (kind is bool) == isinstance(value, bool)


def at_least_ndim(
    name: str, shape: tuple[int, ...], ndim: int, axes: str, *, is_block: bool = False
) -> None:
    """Raises a ValueError unless `shape` has at least `ndim` axes, described by `axes`.

    If the last of `axes` is samples or frames, the last axis must also look like time. Blocks of a
    stream (`is_block`) are exempt, because a block may hold a single sample or frame.
    """
    if len(shape) < ndim:
        raise ValueError(
            f"`{name}` must have shape {axes}, got {shape}; add the missing axis "
            f"(for example with `[{'..., ' if shape else ''}None]`)."
        )
    last = axes.strip("()").split(", ")[-1]
    if last in ("samples", "frames") and not is_block:
        _check_time_is_last(name, shape, last)


def _check_time_is_last(name: str, shape: tuple[int, ...], axis: str) -> None:
    """Raises a ValueError if time seems not to be the last axis; symbolic sizes are not checked."""
    if len(shape) < 2 or not all(isinstance(size, int) for size in shape[-2:]):
        return
    time, last = shape[-2:]
    if last == 1 and time >= _LEAST_TIME:
        raise ValueError(
            f"`{name}` must have shape (*batch, {axis}), got {shape}: the last axis is 1 and the "
            f"{axis} seem to come before it; remove the trailing axis with `{name}[..., 0]`."
        )
    if axis == "samples" and last in _CHANNELS and time >= _LEAST_SAMPLES:
        raise ValueError(
            f"`{name}` must have shape (*batch, samples), got {shape}, which looks like (samples, "
            f"channels); put time last with `jnp.moveaxis({name}, -1, -2)`, or take the mean over "
            "channels with `.mean(-1)`."
        )


def same_size(names: str, left: int, right: int, axis: str) -> None:
    """Raises a ValueError unless two arguments agree on the size of an axis."""
    if left != right:
        hint = _FRAMES_HINT if axis == "frames" else ""
        raise ValueError(
            f"{names} must have the same number of {axis}, got {left} and {right}{hint}."
        )


def same_shape(**shapes: tuple[int, ...]) -> None:
    """Raises a ValueError unless all arguments have the same shape; they are not broadcast."""
    first, *other_shapes = shapes.values()
    if all(shape == first for shape in other_shapes):
        return
    names = " and ".join(f"`{name}`" for name in shapes)
    found = " and ".join(str(shape) for shape in shapes.values())
    raise ValueError(
        f"{names} must have the same shape, got {found}; nothing is broadcast here, so remove a "
        "trailing axis of 1 with `[..., 0]`, or broadcast them yourself."
    )


def not_empty(**shapes: tuple[int, ...]) -> None:
    """Raises a ValueError if an array has no elements, because their mean would be undefined."""
    for name, shape in shapes.items():
        if any(size == 0 for size in shape):
            raise ValueError(
                f"`{name}` must hold at least one number, got the shape {shape}; leave an empty "
                "batch out of the loss."
            )


def frequency_range(fmin: float, fmax: float, scale: FrequencyScale) -> None:
    """Raises a ValueError unless the frequency scale is known and defined from `fmin` to `fmax`."""
    one_of("scale", scale, get_args(FrequencyScale))
    if not 0 <= fmin < fmax < math.inf or (scale == "log" and fmin == 0):
        least = "above 0" if scale == "log" else "at least 0"
        raise ValueError(
            f"`fmin` must be {least} and below `fmax` on the scale {scale!r}, got {fmin} and "
            f"{fmax} Hz."
        )


def floats(**arrays: Any) -> "list[jax.Array]":
    """Converts the arguments to arrays of their common dtype, which must be float32 or float64.

    A Python number, unlike an array, may be an int, and does not influence the common dtype.
    """
    import jax.numpy as jnp

    out = [_array(name, array) for name, array in arrays.items()]
    for name, array in zip(arrays, out, strict=True):
        if array.dtype not in (jnp.float32, jnp.float64):
            raise TypeError(
                f"`{name}` must be float32 or float64, got {array.dtype}; convert it with "
                "jnp.asarray(..., jnp.float32) (and divide integer audio by its full scale, 32768 "
                "for int16)."
            )
    dtype = jnp.result_type(*out)
    return [array.astype(dtype) for array in out]


def quantities(**arrays: Any) -> "list[jax.Array]":
    """Like :func:`floats`, but accepts arrays of integers, which become JAX's default float.

    A Python number stays weakly typed: the array that it is combined with decides the dtype.
    """
    import jax.numpy as jnp

    out = {name: _array(name, array) for name, array in arrays.items()}
    for name, array in out.items():
        if jnp.issubdtype(array.dtype, jnp.integer):
            out[name] = array.astype(float)
    common = floats(**out)
    pairs = zip(out.values(), common, strict=True)
    return [array if array.dtype == new.dtype else new for array, new in pairs]


def _array(name: str, value: Any) -> "jax.Array":
    """Converts `value` to an array, or raises a TypeError that names it; ints become floats."""
    import jax.numpy as jnp

    if isinstance(value, Integral) and not isinstance(value, bool):
        value = float(value)
    try:
        return jnp.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"`{name}` must be an array of float32 or float64, and a "
            f"{type(value).__module__}.{type(value).__name__} cannot be converted to one; give a "
            "NumPy or JAX array (for a torch tensor, `.detach().cpu().numpy()`)."
        ) from error


def random_key(key: Any) -> None:
    """Raises a TypeError unless `key` is a JAX random key, typed or raw."""
    import jax
    import jax.numpy as jnp

    dtype = getattr(key, "dtype", None)
    if dtype is not None and (
        jnp.issubdtype(dtype, jax.dtypes.prng_key) or (dtype == jnp.uint32 and key.ndim == 1)
    ):
        return
    found = f"an array of {dtype}" if dtype is not None else f"{key!r} ({type(key).__name__})"
    raise TypeError(
        f"`key` must be a JAX random key, got {found}; make one from a seed with "
        "jax.random.key(0), and pass it as the first argument."
    )


def broadcast_batch(**shapes: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the shape that the arguments' batch axes broadcast to, or raises a ValueError."""
    import jax.numpy as jnp

    try:
        return jnp.broadcast_shapes(*shapes.values())
    except ValueError:
        listed = ", ".join(f"{shape} of `{name}`" for name, shape in shapes.items())
        raise ValueError(
            f"the batch axes must be equal or broadcast, got {listed}; the batch axes come first "
            "in every array."
        ) from None
