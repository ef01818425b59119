"""The range of an instrument: the octave of a tune, and of what would lie outside of the range."""

import math

import numpy as np

from ddspx._notes import hz_to_midi, midi_to_hz
from ddspx._typing import Bool, Float
from ddspx.metrics._squeaks import REST_S
from ddspx.models.autoencoder import InstrumentStatistics
from ddspx.transfer._notes import without_short_runs

_MAX_OCTAVES = 4
# The share of a tune's frames that may lie outside an instrument's range without moving the tune,
# because a tracker makes some errors.
_FEW = 0.1
# Semitones beyond the percentiles of an instrument's pitch that it still plays: its recordings hold
# a few notes there, and a note at the limit has its vibrato.
_TOLERANCE = 1.0
# A phrase ends at a rest, and at a leap of about an octave, after which the melody is in another
# register. So an octave error of a tracker is a phrase of its own.
_WIDE_LEAP = 11.0
# Vibrato, ornaments and the slides to a note leave the range for a shorter time than this.
_MOMENT_S = 0.1


def octaves_to(f0_hz: Float[np.ndarray, " notes"], *, statistics: InstrumentStatistics) -> int:
    """Returns by how many octaves, at most 4 up or down, to move a tune into an instrument's range.

    The range is from the 1st to the 99th percentile of the instrument's pitch, and a semitone more
    on either side. A tune of which at most a tenth of the frames lie outside is not moved. Any
    other is moved so that the sum of two costs is smallest: the mean distance in semitones by which
    its frames lie beyond the percentiles, and a sixth of the distance between its median and the
    mean of the instrument's pitch.

    Args:
      f0_hz: pitch of the notes, frame by frame; a pitch that is not positive and finite is ignored.
      statistics: the instrument's statistics.

    Returns:
      The number of octaves; 0 if there is no pitch.

    Example:
      >>> import numpy as np
      >>> from ddspx.instruments import load_instrument
      >>> from ddspx.transfer import octaves_to
      >>> _, violin, _ = load_instrument("violin")
      >>> octaves_to(np.array([110.0, 123.5, 130.8]), statistics=violin)
      2
    """
    f0_hz = f0_hz[(f0_hz > 0) & np.isfinite(f0_hz)]
    if f0_hz.size == 0:
        return 0
    midi = hz_to_midi(f0_hz)
    low, high = statistics.pitch_midi_min, statistics.pitch_midi_max
    if np.mean((midi < low - _TOLERANCE) | (midi > high + _TOLERANCE)) <= _FEW:
        return 0

    def cost(octaves: int) -> float:
        moved = midi + 12 * octaves
        outside = np.mean(np.maximum(np.maximum(low - moved, moved - high), 0.0))
        return float(outside + abs(np.median(moved) - statistics.pitch_midi_mean) / 6)

    # Sorted, because `min` takes the first of equals, which is the smallest move then.
    return min(sorted(range(-_MAX_OCTAVES, _MAX_OCTAVES + 1), key=abs), key=cost)


def into_range(
    f0_hz: Float[np.ndarray, " frames"],
    tonal: Bool[np.ndarray, " frames"],
    *,
    octaves: int,
    statistics: InstrumentStatistics,
    frame_rate: float,
) -> Float[np.ndarray, " frames"]:
    """Moves what lies outside an instrument's range into it, and keeps a phrase whole if it can.

    A phrase that leaves the range, as :func:`octaves_to` defines it, is moved by the fewest octaves
    that bring all of it inside, so that its intervals stay what they are. If it is too wide for
    that, only the stretches outside the range are moved, each by octaves. The pitch is held at the
    limit of the range where it leaves the range for at most 0.1 s, in a vibrato, an ornament, or a
    slide to a note. An instrument whose range is narrower than an octave cannot play all notes: a
    note that has no octave inside is moved by the fewest octaves that bring it nearest to the
    range.

    Args:
      f0_hz: pitch of the tune, in its own octave.
      tonal: the frames with a pitch; the others are not changed.
      octaves: by how many octaves the whole tune is moved afterwards.
      statistics: the instrument's statistics.
      frame_rate: frames per second.

    Returns:
      The new pitch, before the whole tune is moved.
    """
    low = statistics.pitch_midi_min - _TOLERANCE - 12 * octaves
    high = statistics.pitch_midi_max + _TOLERANCE - 12 * octaves
    limits_hz = midi_to_hz(low), midi_to_hz(high)
    moved_hz = f0_hz.copy()
    frames = np.flatnonzero(tonal)
    midi = hz_to_midi(f0_hz[frames])
    is_end = (np.diff(frames) > REST_S * frame_rate) | (np.abs(np.diff(midi)) >= _WIDE_LEAP)
    for phrase in np.split(np.arange(frames.size), np.flatnonzero(is_end) + 1):
        # A phrase that lies outside as a whole is no moment, however short it is.
        moment = min(_MOMENT_S * frame_rate, phrase.size / 2)
        moves = _moves(midi[phrase], low, high, moment)
        pitch_hz = f0_hz[frames[phrase]] * 2.0**moves
        if high - low >= 12 or not _outside(midi[phrase] + 12 * moves, low, high, moment).any():
            pitch_hz = np.clip(pitch_hz, *limits_hz)
        moved_hz[frames[phrase]] = pitch_hz
    return moved_hz


def _moves(midi: np.ndarray, low: float, high: float, moment: float) -> np.ndarray:
    """Returns by how many octaves to move each frame of a phrase."""
    for octaves in sorted(range(-_MAX_OCTAVES, _MAX_OCTAVES + 1), key=abs):
        if not _outside(midi + 12 * octaves, low, high, moment).any():
            return np.full(midi.size, octaves)
    moves = np.zeros(midi.size, int)
    for is_outside in (_outside(midi, low, np.inf, moment), _outside(midi, -np.inf, high, moment)):
        ends = np.flatnonzero(np.diff(is_outside)) + 1
        for stretch in np.split(np.arange(midi.size), ends):
            if is_outside[stretch[0]]:
                moves[stretch] = _nearest_octaves(float(np.median(midi[stretch])), low, high)
    return moves


def _nearest_octaves(midi: float, low: float, high: float) -> int:
    """Returns the fewest octaves that bring a pitch into a range, or else nearest to it."""

    def distance(octaves: int) -> float:
        moved = midi + 12 * octaves
        # Rounded, so that equal distances are equal.
        return round(max(low - moved, moved - high, 0.0), 3)

    nearest = (0, math.ceil((low - midi) / 12), math.floor((high - midi) / 12))
    return min(sorted(nearest, key=abs), key=distance)


def _outside(midi: np.ndarray, low: float, high: float, moment: float) -> np.ndarray:
    """Returns the frames outside a range, without moments and with the moments between them."""
    outside = (midi < low) | (midi > high)
    return without_short_runs(without_short_runs(outside, True, moment), False, moment)
