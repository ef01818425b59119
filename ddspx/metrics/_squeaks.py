"""Squeaks: moments at which a pitch leaps far away from a sound and back."""

import numpy as np

from ddspx._checks import number, same_size
from ddspx._typing import Bool, Float
from ddspx.metrics._pitch import VOICED

# A shorter run of frames is no note: the fastest players reach about sixteen notes a second.
_SHORTEST_S = 0.06
_LEAP_CENTS = 300.0
# A few frames may be far louder than the notes, so the level of the notes is a high percentile.
_LOUD_PERCENTILE = 95
# The attack and the decay of a sound count as part of it this far below what is heard by itself.
_EDGES_DB = 10.0


def squeaks(
    f0_hz: Float[np.ndarray, " frames"],
    confidence: Float[np.ndarray, " frames"],
    loudness_db: Float[np.ndarray, " frames"],
    *,
    frame_rate: float,
    threshold: float = VOICED,
    depth_db: float = 30.0,
) -> Float[np.ndarray, " squeaks"]:
    r"""Times of squeaks: sounds of under 60 ms whose pitch leaps away from the pitch around them.

    The frames that sound have a pitch and are not much softer than the notes. With the confidence c
    and the loudness L they are

    .. math:: c \ge \mathrm{threshold}, \qquad L \ge Q_{95} - \mathrm{depth\_db} - 10

    where :math:`Q_{95}` is the loudness that 5 % of the frames with a pitch exceed. In their order,
    and whatever pauses lie between them, they form a run as long as the pitch changes by at most
    300 cents from one to the next. A run is wrong if its frames last less than 60 ms together. The
    pitch then leaps by more than 300 cents both into the run and out of it; at the beginning and
    the end of the sound one leap is enough. It is a squeak if one of its frames is within
    `depth_db` of :math:`Q_{95}`. The 10 dB more are for its attack and decay.

    The neighbours of a squeak must be notes and not squeaks themselves. Therefore the shortest runs
    are taken out first, what they separated is joined if it is one run then, and the search is
    repeated until no run is too short. A wrong frame in a note is then one squeak, and the two
    parts of the note are none. If all runs are equally short, none can be told to be wrong.

    Args:
      f0_hz: pitch of each frame, in Hz; frames in which it is not positive and finite, or another
        track is not finite, do not sound.
      confidence: confidence in the pitch, from 0 to 1.
      loudness_db: loudness of each frame, in dB relative to anything.
      frame_rate: frames per second.
      threshold: confidence from which a frame has a pitch.
      depth_db: how far below the loud notes a squeak is still heard, in dB.

    Returns:
      Times of the first frames of the squeaks in seconds, ascending. Wrong runs without another
      sounding frame between them count as one squeak.

    Raises:
      TypeError: a number is not one.
      ValueError: the tracks differ in length, `frame_rate` is not positive, `threshold` is not from
        0 to 1, or `depth_db` is negative.

    Example:
      >>> import numpy as np
      >>> from ddspx import metrics
      >>> f0_hz = np.where(np.arange(100) // 2 == 20, 1604.0, 250.0)
      >>> metrics.squeaks(f0_hz, np.ones(100), np.full(100, -20.0), frame_rate=100.0).tolist()
      [0.4]
    """
    same_size("`f0_hz` and `confidence`", len(f0_hz), len(confidence), "frames")
    same_size("`f0_hz` and `loudness_db`", len(f0_hz), len(loudness_db), "frames")
    frame_rate = number("frame_rate", frame_rate, above=0)
    number("threshold", threshold, least=0, most=1)
    depth_db = number("depth_db", depth_db, least=0)
    finite = np.isfinite(f0_hz) & np.isfinite(loudness_db)
    pitched = finite & (f0_hz > 0) & (confidence >= threshold)
    audible = sounding_frames(pitched, loudness_db, depth_db=depth_db + _EDGES_DB)
    loud = sounding_frames(pitched, loudness_db, depth_db=depth_db)
    wrong = squeaking_frames(f0_hz, audible, frame_rate=frame_rate)
    frames = np.flatnonzero(audible)
    runs = np.split(frames, np.flatnonzero(np.diff(wrong[frames])) + 1)
    heard = [run[0] for run in runs if (wrong & loud)[run].any()]
    return np.array(heard, np.float64) / frame_rate


def sounding_frames(
    pitched: Bool[np.ndarray, " frames"],
    loudness_db: Float[np.ndarray, " frames"],
    *,
    depth_db: float = 30.0,
) -> Bool[np.ndarray, " frames"]:
    """Returns the frames with a pitch that are not far softer than the loudest of these."""
    if not pitched.any():
        return pitched
    loud_db = np.percentile(loudness_db[pitched], _LOUD_PERCENTILE)
    return pitched & (loudness_db >= loud_db - depth_db)


def squeaking_frames(
    f0_hz: Float[np.ndarray, " frames"], sounding: Bool[np.ndarray, " frames"], *, frame_rate: float
) -> Bool[np.ndarray, " frames"]:
    """Returns the sounding frames that belong to squeaks, as :func:`squeaks` defines them.

    The pitch of sounding frames must be positive and finite.
    """
    frames = np.flatnonzero(sounding)
    cents = 1200 * np.log2(f0_hz[frames].astype(np.float64))
    while frames.size:
        leaps = np.abs(np.diff(cents)) > _LEAP_CENTS
        starts = np.concatenate([[0], np.flatnonzero(leaps) + 1])
        sizes = np.diff(starts, append=frames.size)
        if sizes.min() == sizes.max() or sizes.min() / frame_rate >= _SHORTEST_S:
            break
        kept = np.repeat(sizes > sizes.min(), sizes)
        frames, cents = frames[kept], cents[kept]
    left = np.zeros(sounding.size, bool)
    left[frames] = True
    return sounding & ~left
