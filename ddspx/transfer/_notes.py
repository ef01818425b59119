"""Which frames of a sound are notes, and what happens at their edges."""

from typing import NamedTuple

import numpy as np

from ddspx._checks import same_size
from ddspx._typing import Bool, Float
from ddspx.metrics import VOICED

# The floor of `core.loudness_db`.
SILENCE_DB = -80.0
# Frames this far under the loudest are pauses: the pitch of a room is not a note.
_PAUSE_DB = 60.0
# DDSP's numbers: how sure a note is at the threshold, and over how long that is averaged on
# either side.
_SURE, _SMOOTHING_S = 0.7, 0.08

# A consonant does not end a note, a pitched instant in a noise does not begin one, and a note
# fades over a time in which no click is heard.
_LONGEST_GAP_S = 0.06
_SHORTEST_NOTE_S = 0.05
_FADE_S = 0.03
# Within so many semitones a gap is slid over; further, the pitch leaps.
_SLIDE = 2.0


class NoteDetection(NamedTuple):
    """Which frames are notes.

    Attributes:
      mask: the frames that are.
      ratio: how loud and sure each frame is; 1 at a threshold of 1.
    """

    mask: Bool[np.ndarray, " frames"]
    ratio: Float[np.ndarray, " frames"]


def detect_notes(
    loudness_db: Float[np.ndarray, " frames"],
    f0_confidence: Float[np.ndarray, " frames"],
    *,
    frame_rate: float,
    threshold: float = 1.0,
) -> NoteDetection:
    r"""Frames that are loud and whose pitch is sure.

    With the loudness over silence :math:`l = L + 80` dB, its mean :math:`\bar l` over the frames
    within 60 dB of the loudest, the confidence c, and the larger of the averages of its square over
    the 80 ms before and the 80 ms after,

    .. math:: r = \frac{\max(\langle c^2 \rangle_-, \langle c^2 \rangle_+)\; l}{0.7^2\; \bar l}

    and a frame is a note where r is at least `threshold`. A frame with a number that is not finite
    is no note, has r = 0, and counts in no mean.

    Args:
      loudness_db: as `core.loudness_db` measures it.
      f0_confidence: from 0 to 1, how sure the pitch is.
      frame_rate: frames per second.
      threshold: at 0 everything is a note, at 2 only what is louder than the mean.

    Returns:
      The notes, and the ratio r; of no frames, none.

    Raises:
      ValueError: the tracks differ in length.

    Example:
      >>> import numpy as np
      >>> from ddspx.transfer import detect_notes
      >>> loudness_db = np.array([-20.0, -20.0, -75.0, -20.0])
      >>> confidence = np.array([1.0, 1.0, 1.0, 0.1])
      >>> detect_notes(loudness_db, confidence, frame_rate=5.0).mask
      array([ True,  True, False, False])

    References:
      DDSP's ``detect_notes``. There the mean is over all frames, so that silence around a sound
      makes more of it a note; the average fades the beginning and the end of the sound, and the
      first and last tenth of a second of every note; and its window is 40 frames at any rate.
    """
    same_size("`loudness_db` and `f0_confidence`", len(loudness_db), len(f0_confidence), "frames")
    finite = np.isfinite(loudness_db) & np.isfinite(f0_confidence)
    above = np.where(finite, np.maximum(loudness_db.astype(np.float64) - SILENCE_DB, 0.0), 0.0)
    audible = finite & audible_frames(loudness_db)
    mean = above.sum(where=audible) / max(1, audible.sum())
    sure = np.where(finite, f0_confidence.astype(np.float64) ** 2, 0.0)
    reach = max(1, round(_SMOOTHING_S * frame_rate))
    here = np.arange(len(sure))
    since, until = np.maximum(here + 1 - reach, 0), np.minimum(here + reach, len(sure))
    sums, counts = (np.concatenate([[0.0], np.cumsum(x)]) for x in (sure, finite))
    # A finite frame is on both sides of itself; the others are no notes whatever the mean.
    before = (sums[here + 1] - sums[since]) / np.maximum(counts[here + 1] - counts[since], 1)
    after = (sums[until] - sums[here]) / np.maximum(counts[until] - counts[here], 1)
    ratio = np.maximum(before, after) * above / max(_SURE**2 * mean, np.finfo(np.float64).tiny)
    return NoteDetection(finite & (ratio >= threshold), ratio)


def audible_frames(loudness_db: Float[np.ndarray, " frames"]) -> Bool[np.ndarray, " frames"]:
    """Frames that are no pause: within 60 dB of the loudest. What is not finite is one."""
    finite = np.isfinite(loudness_db)
    loudest_db = np.max(loudness_db, where=finite, initial=-np.inf)
    return finite & (loudness_db > loudest_db - _PAUSE_DB)


def confident_frames(
    f0_hz: Float[np.ndarray, " frames"],
    f0_confidence: Float[np.ndarray, " frames"],
    loudness_db: Float[np.ndarray, " frames"],
    *,
    confidence: float = VOICED,
) -> Bool[np.ndarray, " frames"]:
    """Frames that sound and whose pitch is sure."""
    pitched = (f0_confidence >= confidence) & (f0_hz > 0) & np.isfinite(f0_hz)
    return pitched & audible_frames(loudness_db)


def note_frames(
    confident: Bool[np.ndarray, " frames"], *, frame_rate: float
) -> Bool[np.ndarray, " frames"]:
    """The confident frames with gaps of up to 60 ms closed and notes under 50 ms dropped."""
    closed = _without_short_runs(confident, False, _LONGEST_GAP_S * frame_rate)
    return _without_short_runs(closed, True, _SHORTEST_NOTE_S * frame_rate)


def fade(notes: Bool[np.ndarray, " frames"], *, frame_rate: float) -> Float[np.ndarray, " frames"]:
    """Gain of 1 in a note, 0 away from it, and a raised cosine over 30 ms on either side."""
    away = _frames_to_nearest(notes) / max(1.0, _FADE_S * frame_rate)
    return 0.5 + 0.5 * np.cos(np.pi * np.minimum(away, 1.0))


def pitch_between_notes(
    f0_hz: Float[np.ndarray, " frames"],
    sure: Bool[np.ndarray, " frames"],
    loudness_db: Float[np.ndarray, " frames"],
    *,
    frame_rate: float,
) -> Float[np.ndarray, " frames"]:
    """Pitch with what is not sure replaced, so that no pitch is heard that nobody sang.

    Between two notes it slides, straight in log-frequency, where they are at most two semitones
    apart. Else it stays, and leaps where the sound between them is softest; while one fades and the
    other has not begun, in a gap long enough for that. It is held at both ends; without any sure
    frame it stays as it is.
    """
    frames = np.flatnonzero(sure)
    if frames.size == 0:
        return f0_hz
    octaves = np.log2(f0_hz[frames])
    whole = np.interp(np.arange(f0_hz.size), frames, octaves)
    fading = round(_FADE_S * frame_rate)
    leaps = (np.diff(frames) > 1) & (np.abs(np.diff(octaves)) > _SLIDE / 12)
    for i in np.flatnonzero(leaps):
        first, last = frames[i] + 1, frames[i + 1]
        inside = slice(first, last)
        if last - first > 2 * fading + 1:
            inside = slice(first + fading, last - fading)
        softest = inside.start + int(np.argmin(loudness_db[inside]))
        whole[first:softest], whole[softest:last] = octaves[i], octaves[i + 1]
    return 2.0**whole


def _without_short_runs(mask: np.ndarray, value: bool, n_frames: float) -> np.ndarray:
    """`mask` with its runs of `value` up to `n_frames` long flipped."""
    starts = np.flatnonzero(np.diff(mask, prepend=~mask[:1]))
    lengths = np.diff(starts, append=mask.size)
    flip = (mask[starts] == value) & (lengths <= n_frames)
    return np.repeat(mask[starts] ^ flip, lengths)


def _frames_to_nearest(mask: np.ndarray) -> np.ndarray:
    """Distance of each frame to the nearest true one, infinite without any."""
    index = np.arange(mask.size, dtype=np.float64)
    before = np.maximum.accumulate(np.where(mask, index, -np.inf))
    after = np.minimum.accumulate(np.where(mask, index, np.inf)[::-1])[::-1]
    return np.minimum(index - before, after - index)
