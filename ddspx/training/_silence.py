"""Silence, which is cut out of recordings."""

from collections.abc import Iterable

import numpy as np

from ddspx.metrics import VOICED

# A frame is silent if its loudness is this far below the loudest frame's; the second number is
# for frames with a pitch, which soft notes have and background noise has not.
_SILENCE_DB, _VOICED_SILENCE_DB = 40.0, 60.0
# Only longer silence is cut out, because shorter pauses belong to the music. The margin on either
# side of the sound keeps the attack and the decay of notes.
_SILENCE_S = 1.0
_MARGIN_S = 0.2


def sounding_stretches(
    loud: Iterable[np.ndarray], *, example: int, sample_rate: int, hop_length: int
) -> list[tuple[int, int]]:
    """Finds the stretches (first hop, last hop) that are not silent, each an example or longer.

    Args:
      loud: whether each frame of a recording is loud, in consecutive chunks.
      example: hops of an example.
      sample_rate: samples per second.
      hop_length: samples of a hop.
    """
    gap, margin = (round(s * sample_rate / hop_length) for s in (_SILENCE_S, _MARGIN_S))
    return stretches_around(loud, example=example, gap=gap, margin=margin)


def is_loud(confidence: np.ndarray, loudness_db: np.ndarray, peak_db: np.floating) -> np.ndarray:
    """Whether frames are not silent, in a recording whose loudest frame is at `peak_db`."""
    below_db = np.where(confidence >= VOICED, _VOICED_SILENCE_DB, _SILENCE_DB)
    return loudness_db > peak_db - below_db


def stretches_around(
    loud: Iterable[np.ndarray], *, example: int, gap: int, margin: int
) -> list[tuple[int, int]]:
    """Finds stretches (first hop, last hop) around the loud frames, each at least `example` long.

    Pauses of up to `gap` hops are kept. A stretch that is shorter than an example is widened into
    the recorded silence around it, rather than padded with zeros.
    """
    first_loud, last_loud, n_frames = _runs(loud, gap)
    n_hops = n_frames - 1
    if n_hops < example or not first_loud:
        return []
    firsts, lasts = np.array(first_loud) - margin, np.array(last_loud) + margin
    missing = np.maximum(example - (lasts - firsts), 0)
    firsts = np.clip(firsts - missing // 2, 0, n_hops - example)
    lasts = np.minimum(np.maximum(lasts + (missing + 1) // 2, firsts + example), n_hops)
    merged: list[tuple[int, int]] = []
    for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def _runs(loud: Iterable[np.ndarray], gap: int) -> tuple[list[int], list[int], int]:
    """The first and the last loud frame of each run with pauses of up to `gap`; all frames."""
    firsts: list[int] = []
    lasts: list[int] = []
    n_frames = 0
    for chunk in loud:
        frames = np.flatnonzero(chunk) + n_frames
        n_frames += len(chunk)
        if not frames.size:
            continue
        breaks = np.flatnonzero(np.diff(frames) > gap)
        begun, ended = frames[np.r_[0, breaks + 1]].tolist(), frames[np.r_[breaks, -1]].tolist()
        if lasts and begun[0] - lasts[-1] <= gap:
            lasts.pop()
            begun = begun[1:]
        firsts += begun
        lasts += ended
    return firsts, lasts, n_frames
