"""What a sound's pitch and loudness become, so that an instrument can play them.

Pure NumPy functions on whole tracks: quantiles need all frames, and a track is three numbers
per frame, 3 kB for a second at 250 frames per second.
"""

import math
from typing import NamedTuple

import numpy as np

from ddspx._checks import same_size
from ddspx._typing import Bool, Float
from ddspx.metrics import VOICED
from ddspx.models.autoencoder import InstrumentStatistics

# Frames this far under the loudest are pauses: the pitch of a room is not a note.
_PAUSE_DB = 60.0

# A consonant does not end a note, a pitched instant in a noise does not begin one, and a note
# fades over a time in which no click is heard.
_LONGEST_GAP_S = 0.06
_SHORTEST_NOTE_S = 0.05
_FADE_S = 0.03

# How much dynamics may be widened: a tone held steady within 0.1 dB stays within 0.3 dB.
_MAX_SLOPE = 3.0
_MAX_OCTAVES = 4
_MAX_SHIFT_DB = 100.0

# The share of an instrument's loudness that it is asked for; beyond lie single clicks and tails.
_OFTEN_HEARD = (0.01, 0.99)


class Playable(NamedTuple):
    """What to ask of an instrument, frame by frame.

    Attributes:
      f0_hz: pitch; between notes it leads from one to the next.
      loudness_db: loudness, within what the instrument was often trained on.
      gain: linear gain of what the instrument then plays: the loudness that lies outside,
        and 0 where there is no note.
      octaves: by how many octaves `f0_hz` was moved.
    """

    f0_hz: Float[np.ndarray, " frames"]
    loudness_db: Float[np.ndarray, " frames"]
    gain: Float[np.ndarray, " frames"]
    octaves: int


def adjust(
    f0_hz: Float[np.ndarray, " frames"],
    f0_confidence: Float[np.ndarray, " frames"],
    loudness_db: Float[np.ndarray, " frames"],
    *,
    statistics: InstrumentStatistics,
    frame_rate: float,
    octave: int | None = None,
    loudness_shift_db: float = 0.0,
) -> Playable:
    """Fits a sound's pitch and loudness to an instrument.

    The pitch moves by whole octaves to the instrument's range, the loudness takes the
    distribution that the instrument's own has over its notes, then the shift in dB is added.
    Loudness beyond the instrument's 1st and 99th percentile is played at those and scaled,
    because a network says anything about a loudness it has hardly heard. Where the sound has no
    pitch (breath, consonants, pauses) the instrument is faded out, and only its room rings on.

    Args:
      f0_hz: pitch of the sound.
      f0_confidence: from 0 to 1, how sure that pitch is.
      loudness_db: as `core.loudness_db` measures it.
      statistics: the instrument's.
      frame_rate: frames per second.
      octave: octaves to move the pitch by; None for the nearest to the instrument's mean.
      loudness_shift_db: added to the matched loudness.

    Returns:
      What to play.

    Raises:
      ValueError: the tracks differ in length, `octave` is beyond 4 either way, or
        `loudness_shift_db` beyond 100.

    Example:
      >>> import numpy as np
      >>> from ddspx.models.autoencoder import InstrumentStatistics
      >>> from ddspx.transfer import adjust
      >>> violin = InstrumentStatistics(
      ...     sample_rate=16000, hop_length=64, loudness_quantiles=(-40.0, -10.0),
      ...     pitch_midi_min=55.0, pitch_midi_mean=72.0, pitch_midi_max=91.0,
      ...     duration_s=60.0, feature_version="1",
      ... )
      >>> low, louder = np.full(250, 131.0), np.linspace(-60.0, -50.0, 250)
      >>> played = adjust(low, np.ones(250), louder, statistics=violin, frame_rate=250.0)
      >>> played.octaves, round(float(played.f0_hz[0])), played.loudness_db[-1].item()
      (2, 524, -10.3)

    References:
      Steps 5 and 6 of DDSP's timbre-transfer notebook. There the octave is rounded up (down
      from 1.5 octaves on), frames without a note keep their pitch and lose 20 dB, and the
      adjusted loudness is computed and then not used; here the nearest octave is taken.
    """
    same_size("`f0_hz` and `f0_confidence`", len(f0_hz), len(f0_confidence), "frames")
    same_size("`f0_hz` and `loudness_db`", len(f0_hz), len(loudness_db), "frames")
    check_options(octave=octave, loudness_shift_db=loudness_shift_db)
    confident = confident_frames(f0_hz, f0_confidence, loudness_db)
    notes = note_frames(confident, frame_rate=frame_rate)
    sure = confident & notes
    if octave is None:
        octave = octaves_to(f0_hz[sure], pitch_midi_mean=statistics.pitch_midi_mean)
    quantiles = np.asarray(statistics.loudness_quantiles)
    wanted = match_loudness(loudness_db, sure, quantiles) + loudness_shift_db
    levels = np.linspace(0, 1, len(quantiles))
    lowest, highest = np.interp(_OFTEN_HEARD, levels, quantiles)
    played = np.clip(wanted, lowest, highest)
    gain = fade(notes, frame_rate=frame_rate) * 10 ** ((wanted - played) / 20)
    dtype = f0_hz.dtype
    return Playable(
        (bridged(f0_hz, sure) * 2.0**octave).astype(dtype),
        played.astype(dtype),
        gain.astype(dtype),
        octave,
    )


def check_options(*, octave: int | None, loudness_shift_db: float) -> None:
    """Raises a ValueError if an option of :func:`adjust` is out of range."""
    if octave is not None and abs(octave) > _MAX_OCTAVES:
        raise ValueError(f"`octave` must be from -{_MAX_OCTAVES} to {_MAX_OCTAVES}, got {octave}.")
    if not abs(loudness_shift_db) <= _MAX_SHIFT_DB:
        raise ValueError(
            f"`loudness_shift_db` must be from -{_MAX_SHIFT_DB:.0f} to {_MAX_SHIFT_DB:.0f}, got "
            f"{loudness_shift_db}."
        )


def audible_frames(loudness_db: Float[np.ndarray, " frames"]) -> Bool[np.ndarray, " frames"]:
    """Frames that are no pause: within 60 dB of the loudest."""
    return loudness_db > loudness_db.max() - _PAUSE_DB


def confident_frames(
    f0_hz: Float[np.ndarray, " frames"],
    f0_confidence: Float[np.ndarray, " frames"],
    loudness_db: Float[np.ndarray, " frames"],
) -> Bool[np.ndarray, " frames"]:
    """Frames that sound and whose pitch is sure."""
    return (f0_confidence >= VOICED) & (f0_hz > 0) & audible_frames(loudness_db)


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


def octaves_to(f0_hz: Float[np.ndarray, " notes"], *, pitch_midi_mean: float) -> int:
    """Whole octaves that bring the median pitch nearest to a mean; 0 for no pitch at all."""
    if f0_hz.size == 0:
        return 0
    median = 69 + 12 * math.log2(np.median(f0_hz) / 440)
    octaves = round((pitch_midi_mean - median) / 12)
    return max(-_MAX_OCTAVES, min(_MAX_OCTAVES, octaves))


def match_loudness(
    loudness_db: Float[np.ndarray, " frames"],
    notes: Bool[np.ndarray, " frames"],
    quantiles: Float[np.ndarray, " quantiles"],
) -> Float[np.ndarray, " frames"]:
    """Loudness mapped so that the notes take an instrument's distribution.

    The map is monotone and piecewise linear: the notes' own quantiles to `quantiles`. It is
    continued with slope 1 below and above the notes, and is nowhere steeper than 3 (built up
    from the median then): matching would make the unevenness of a steady tone into dynamics.

    Args:
      loudness_db: of all frames.
      notes: the frames whose distribution counts. If there is none, nothing is changed.
      quantiles: of the instrument's loudness, equally spaced from 0 to 1.

    Returns:
      The loudness of all frames.
    """
    if not notes.any():
        return loudness_db
    own = np.quantile(loudness_db[notes], np.linspace(0, 1, len(quantiles)))
    rises = np.minimum(np.diff(quantiles), _MAX_SLOPE * np.diff(own))
    matched = np.concatenate([[0.0], np.cumsum(rises)])
    matched += np.median(quantiles) - np.median(matched)
    # interp wants its points increasing; where the sound's quantiles coincide one will do.
    own, first = np.unique(own, return_index=True)
    inside = np.clip(loudness_db, own[0], own[-1])
    return np.interp(inside, own, matched[first]) + (loudness_db - inside)


def bridged(
    f0_hz: Float[np.ndarray, " frames"], sure: Bool[np.ndarray, " frames"]
) -> Float[np.ndarray, " frames"]:
    """Pitch with what is not sure replaced: geometric from one note to the next, held outside.

    Without any sure frame the pitch stays as it is.
    """
    frames = np.flatnonzero(sure)
    if frames.size == 0:
        return f0_hz
    return np.exp(np.interp(np.arange(f0_hz.size), frames, np.log(f0_hz[frames])))


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
