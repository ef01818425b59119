"""The pitch of frames that have none: interpolated, in a stream too."""

import itertools
from collections.abc import Iterable, Iterator

import numpy as np

# Frames that are filled at once, so that a long gap needs little memory.
_AT_ONCE = 1 << 16


def interpolated_pitch(f0_hz: np.ndarray, fallback_hz: float) -> np.ndarray:
    """Fills gaps (NaN) by linear interpolation in log-frequency; the ends take the nearest pitch.

    A row without any pitch is filled with `fallback_hz`.
    """
    (pitch,) = zip(*stream_interpolated([(f0_hz,)], fallback_hz), strict=True)
    return np.concatenate(pitch, axis=-1)


def stream_interpolated(
    chunks: Iterable[tuple[np.ndarray, ...]], fallback_hz: float
) -> Iterator[tuple[np.ndarray, ...]]:
    """Fills gaps in a pitch that arrives in chunks, to the bit as :func:`interpolated_pitch` does.

    Args:
      chunks: consecutive frames ``(*batch, frames)``: the pitch, and whatever else they have. They
        wait in memory for the next pitch of each row.
      fallback_hz: as in :func:`interpolated_pitch`.
    """
    held: list[tuple[np.ndarray, ...]] = []
    # Of each row, frames that have a pitch, and its logarithm.
    knots: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]] = {}
    first = 0
    for chunk in itertools.chain(chunks, [None]):
        if chunk is not None:
            held.append(chunk)
            if not np.isfinite(chunk[0]).any(axis=-1).all():
                continue
        whole = tuple(np.concatenate(x, axis=-1) for x in zip(*held, strict=True))
        f0_hz, n = whole[0], whole[0].shape[-1]
        for row in np.ndindex(f0_hz.shape[:-1]):
            known = np.flatnonzero(np.isfinite(f0_hz[row]))
            at, log_hz = known + first, np.log(f0_hz[row][known])
            if row in knots:
                at, log_hz = map(np.append, knots[row], (at, log_hz))
            knots[row] = at, log_hz
            if chunk is not None:
                n = min(n, int(at[-1]) + 1 - first)
        for start in range(0, max(1, n), _AT_ONCE):
            part = slice(start, min(start + _AT_ONCE, n))
            pitch = _between(knots, f0_hz[..., part], first + start, fallback_hz)
            yield pitch, *(x[..., part] for x in whole[1:])
        held, first = [tuple(x[..., n:] for x in whole)], first + n
        for row, (at, log_hz) in knots.items():
            last = np.searchsorted(at, first)
            knots[row] = at[max(0, last - 1) : last], log_hz[max(0, last - 1) : last]


def _between(
    knots: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]],
    f0_hz: np.ndarray,
    first: int,
    fallback_hz: float,
) -> np.ndarray:
    pitch = np.full_like(f0_hz, fallback_hz)
    time = np.arange(first, first + f0_hz.shape[-1])
    for row, (at, log_hz) in knots.items():
        if at.size:
            pitch[row] = np.exp(np.interp(time, at, log_hz))
    # Known pitches are copied, as exp(log(x)) would not restore them to the bit.
    return np.where(np.isfinite(f0_hz), f0_hz, pitch)
