"""Squeaks: moments at which a pitch leaps far away from a sound and back."""

import numpy as np

from ddspx._checks import number, same_size
from ddspx._typing import Bool, Float
from ddspx.metrics._pitch import VOICED

# A rest of this length ends a phrase.
REST_S = 0.3
# The fastest players reach about sixteen notes a second, and a chord that is broken or a tongue
# that flutters about twice as many. What is still shorter is no note.
_SHORT_S, _SHORTEST_S = 0.06, 0.03
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
    r"""Times of squeaks: sounds of under 60 ms whose pitch leaps away from the notes around them.

    The frames that sound have a pitch and are not much softer than the notes. With the confidence c
    and the loudness L they are

    .. math:: c \ge \mathrm{threshold}, \qquad L \ge Q_{95} - \mathrm{depth\_db} - 10

    where :math:`Q_{95}` is the loudness that 5 % of the frames with a pitch exceed. In their order,
    and whatever pauses lie between them, they form a run as long as the pitch changes by at most
    300 cents from one to the next. Between two runs the pitch leaps by more than 300 cents. Which
    runs are wrong depends on how long their frames last together:

    - Under 30 ms a run is no note, and is wrong wherever there is a leap. The shortest runs are
      taken out first, what they separated is joined if it is one run then, and the search is
      repeated. A wrong frame in a note is then one squeak, and the two parts of the note are none.
    - Of those that are left, a run under 60 ms is wrong if it is alone: if both its neighbours are
      longer, or at either end of a phrase its only one. A phrase ends at a rest of more than 0.3 s.
      Two or more such runs in a row are a fast passage, and a note that is a phrase by itself leaps
      nowhere. Both are music.

    A wrong run is a squeak if one of its frames is within `depth_db` of :math:`Q_{95}`. The 10 dB
    more are for its attack and decay. A single grace note of under 60 ms that is more than 300
    cents away from the notes around it counts as a squeak, because nothing tells them apart.

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
    sizes = _run_sizes(cents)
    while sizes.size > 1 and sizes.min() / frame_rate < _SHORTEST_S:
        kept = np.repeat(sizes > sizes.min(), sizes)
        frames, cents = frames[kept], cents[kept]
        sizes = _run_sizes(cents)
    left = np.zeros(sounding.size, bool)
    rests = np.flatnonzero(np.diff(frames) > REST_S * frame_rate) + 1
    for phrase in np.split(np.arange(frames.size), rests):
        sizes = _run_sizes(cents[phrase])
        is_short = sizes / frame_rate < _SHORT_S
        # The neighbours of the first and the last run are as long as they need to be.
        beside = np.pad(is_short, 1)
        is_alone = is_short & ~beside[:-2] & ~beside[2:] & (sizes.size > 1)
        left[frames[phrase]] = np.repeat(~is_alone, sizes)
    return sounding & ~left


def _run_sizes(cents: Float[np.ndarray, " frames"]) -> np.ndarray:
    """Returns the numbers of frames between one leap of the pitch and the next."""
    leaps = np.flatnonzero(np.abs(np.diff(cents)) > _LEAP_CENTS) + 1
    return np.diff(leaps, prepend=0, append=cents.size)
