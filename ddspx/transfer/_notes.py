"""Detects the notes of a sound, fades at their ends, and fills in the pitch between them."""

from typing import NamedTuple

import numpy as np

from ddspx._checks import same_size
from ddspx._typing import Bool, Float
from ddspx.metrics import VOICED

# The floor of `core.loudness_db`.
SILENCE_DB = -80.0
# Frames this far below the loudest are pauses. The hum of a room may have a pitch there.
_PAUSE_DB = 60.0
# DDSP's numbers: the confidence at the threshold of a note, and the time over which the confidence
# is averaged on either side.
_CONFIDENCE, _SMOOTHING_S = 0.7, 0.08

# A shorter gap does not end a note: it is a consonant. A shorter run of pitched frames is not a
# note: noise has such moments. The fade is long enough to make no audible click.
_LONGEST_GAP_S = 0.06
_SHORTEST_NOTE_S = 0.05
_FADE_S = 0.03
# What follows a note is no longer its ringing if it rises so much, or is so long on one level.
_RISE_DB, _PLATEAU_S = 3.0, 0.06
# Semitones up to which the pitch slides over a gap between two notes; with more it jumps.
_SLIDE = 2.0


class NoteDetection(NamedTuple):
    """The frames that are notes.

    Attributes:
      mask: True for frames of notes.
      ratio: how loud and confident each frame is; notes are the frames that reach the threshold.
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
    r"""Detects the frames that are loud and have a confident pitch.

    A frame is a note if the ratio r is at least `threshold`:

    .. math:: r = \frac{\max(\langle c^2 \rangle_-, \langle c^2 \rangle_+)\; l}{0.7^2\; \bar l}

    Here :math:`l = L + 80` dB is the loudness above silence, :math:`\bar l` its mean over the
    frames within 60 dB of the loudest, and c the confidence, whose square is averaged over the
    80 ms before (:math:`-`) and the 80 ms after (:math:`+`) the frame. A frame whose loudness or
    confidence is not finite has r = 0, is not a note, and is left out of all means.

    Args:
      loudness_db: A-weighted loudness as `core.loudness_db` computes it.
      f0_confidence: confidence in the pitch, from 0 to 1.
      frame_rate: frames per second.
      threshold: at 0 every frame is a note, at 2 only frames that are louder than the mean.

    Returns:
      The mask of the notes and the ratio r; both are empty if there are no frames.

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
      DDSP's ``detect_notes``. There the mean is over all frames, so that more frames become notes
      if there is silence around the sound. The confidence is averaged with zeros beyond both ends
      of the sound and across both ends of a note, which lowers it for a tenth of a second there.
      The window is 40 frames at any frame rate.
    """
    same_size("`loudness_db` and `f0_confidence`", len(loudness_db), len(f0_confidence), "frames")
    finite = np.isfinite(loudness_db) & np.isfinite(f0_confidence)
    above = np.where(finite, np.maximum(loudness_db.astype(np.float64) - SILENCE_DB, 0.0), 0.0)
    audible = finite & audible_frames(loudness_db)
    mean = above.sum(where=audible) / max(1, audible.sum())
    squares = np.where(finite, f0_confidence.astype(np.float64) ** 2, 0.0)
    reach = max(1, round(_SMOOTHING_S * frame_rate))
    frame = np.arange(len(squares))
    start, end = np.maximum(frame + 1 - reach, 0), np.minimum(frame + reach, len(squares))
    sums, counts = (np.concatenate([[0.0], np.cumsum(x)]) for x in (squares, finite))
    # Both averages include the frame itself, so a finite frame has a count of at least 1. For the
    # other frames the count is only kept from being 0.
    before = (sums[frame + 1] - sums[start]) / np.maximum(counts[frame + 1] - counts[start], 1)
    after = (sums[end] - sums[frame]) / np.maximum(counts[end] - counts[frame], 1)
    least = np.finfo(np.float64).tiny
    ratio = np.maximum(before, after) * above / max(_CONFIDENCE**2 * mean, least)
    return NoteDetection(finite & (ratio >= threshold), ratio)


def audible_frames(loudness_db: Float[np.ndarray, " frames"]) -> Bool[np.ndarray, " frames"]:
    """Returns the frames within 60 dB of the loudest; frames that are not finite are not."""
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
    """Returns the frames that are audible and have a pitch of at least this confidence."""
    pitched = (f0_confidence >= confidence) & (f0_hz > 0) & np.isfinite(f0_hz)
    return pitched & audible_frames(loudness_db)


def note_frames(
    confident: Bool[np.ndarray, " frames"], *, frame_rate: float
) -> Bool[np.ndarray, " frames"]:
    """Returns the confident frames with gaps of up to 60 ms closed and runs up to 50 ms dropped."""
    closed = without_short_runs(confident, False, _LONGEST_GAP_S * frame_rate)
    return without_short_runs(closed, True, _SHORTEST_NOTE_S * frame_rate)


def fade(notes: Bool[np.ndarray, " frames"], *, frame_rate: float) -> Float[np.ndarray, " frames"]:
    """Returns a gain of 1 in notes that falls to 0 within 30 ms on either side, as a cosine."""
    distance = np.abs(np.arange(notes.size) - _nearest(notes)) / max(1.0, _FADE_S * frame_rate)
    return 0.5 + 0.5 * np.cos(np.pi * np.minimum(distance, 1.0))


def held_back(
    loudness_db: Float[np.ndarray, " frames"], notes: Bool[np.ndarray, " frames"]
) -> Float[np.ndarray, " frames"]:
    """Limits loudness outside of notes to that of the nearest frame of a note.

    Otherwise a note would swell in its fade with the consonant that follows or precedes it.
    """
    if not notes.any():
        return loudness_db
    return np.where(
        notes, loudness_db, np.minimum(loudness_db, loudness_db[_nearest(notes).astype(int)])
    )


def ringing_frames(
    loudness_db: Float[np.ndarray, " frames"],
    notes: Bool[np.ndarray, " frames"],
    *,
    frame_rate: float,
) -> Bool[np.ndarray, " frames"]:
    """Returns the frames from the end of a note to where its ringing in a room or a string ends.

    It ends where the loudness rises 3 dB above the lowest since the note, or does not become lower
    for 60 ms. A room fluctuates by less while it decays, and a consonant or a breath does one or
    the other.
    """
    ringing = np.zeros_like(notes)
    ahead = round(_PLATEAU_S * frame_rate)
    for gap in np.split(np.arange(notes.size), np.flatnonzero(np.diff(notes)) + 1)[1:]:
        if notes[gap[0]]:
            continue
        lowest_db = np.minimum.accumulate(loudness_db[gap[0] - 1 : gap[-1] + 1])[1:]
        falls = loudness_db[gap] <= lowest_db + _RISE_DB
        falls[: -ahead or None] &= lowest_db[ahead:] < lowest_db[: -ahead or None]
        ringing[gap] = np.logical_and.accumulate(falls)
    return ringing


def pitch_between_notes(
    f0_hz: Float[np.ndarray, " frames"],
    tonal: Bool[np.ndarray, " frames"],
    loudness_db: Float[np.ndarray, " frames"],
    *,
    frame_rate: float,
) -> Float[np.ndarray, " frames"]:
    """Replaces the pitch of frames that are not tonal, where the tracker's pitch is arbitrary.

    Over a gap of up to 60 ms, which the instrument plays, the pitch slides from one note to the
    next, linearly in log-frequency, if they are at most two semitones apart; otherwise it jumps at
    the softest frame. Over a longer gap each note keeps its last sure pitch until it has faded out,
    and its first one while it fades in. The pitch jumps at the softest frame in between. It is held
    before the first tonal frame and after the last. If there is no tonal frame, the pitch is not
    changed.
    """
    frames = np.flatnonzero(tonal)
    if frames.size == 0:
        return f0_hz
    octaves = np.log2(f0_hz[frames])
    whole = np.interp(np.arange(f0_hz.size), frames, octaves)
    fading = round(_FADE_S * frame_rate)
    gaps = np.diff(frames) - 1
    is_rest = gaps > _LONGEST_GAP_S * frame_rate
    is_jump = is_rest | ((gaps > 0) & (np.abs(np.diff(octaves)) > _SLIDE / 12))
    for i in np.flatnonzero(is_jump):
        first, last = frames[i] + 1, frames[i + 1]
        # The frames where the next note may begin, its first sure frame included.
        inside = slice(first, last + 1)
        if is_rest[i]:
            inside = slice(first + fading, max(last - fading, first + fading + 1))
        softest = inside.start + int(np.argmin(loudness_db[inside]))
        whole[first:softest], whole[softest:last] = octaves[i], octaves[i + 1]
    return 2.0**whole


def without_short_runs(
    mask: Bool[np.ndarray, " frames"], value: bool, n_frames: float
) -> Bool[np.ndarray, " frames"]:
    """Flips the runs of `value` in a mask that are at most `n_frames` long."""
    starts = np.flatnonzero(np.diff(mask, prepend=~mask[:1]))
    lengths = np.diff(starts, append=mask.size)
    flip = (mask[starts] == value) & (lengths <= n_frames)
    return np.repeat(mask[starts] ^ flip, lengths)


def _nearest(mask: np.ndarray) -> np.ndarray:
    """Returns the index of the true frame that is nearest to each frame; infinite without any."""
    index = np.arange(mask.size, dtype=np.float64)
    before = np.maximum.accumulate(np.where(mask, index, -np.inf))
    after = np.minimum.accumulate(np.where(mask, index, np.inf)[::-1])[::-1]
    return np.where(index - before <= after - index, before, after)
