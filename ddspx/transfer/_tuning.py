"""The tuning of a sound, and autotune to the notes of a scale."""

import numpy as np

from ddspx._checks import one_of
from ddspx._typing import Bool, Float
from ddspx.transfer._config import Scale

_MAJOR = (0, 2, 4, 5, 7, 9, 11)
# DDSP's grid of offsets, in steps of one cent.
_OFFSETS = np.linspace(-0.5, 0.5, 101)


def tuning_offset(
    f0_midi: Float[np.ndarray, " frames"],
    f0_confidence: Float[np.ndarray, " frames"],
    mask: Bool[np.ndarray, " frames"],
) -> float:
    r"""Estimates how much higher than equal temperament at A4 = 440 Hz a sound is tuned.

    The result is the offset o, from -0.5 to 0.5 semitones in steps of a cent, that minimizes

    .. math::
        \overline{c\, |m - n_o|} + \tfrac{1}{2}\, \overline{c\, [n_o \ne n_o']}, \qquad
        n_o = \mathrm{round}(m - o) + o

    over the frames of `mask`. The first term is the distance of the pitch m to the nearest note.
    The second counts how often that note changes from one frame to the next; a change costs as
    much as a frame halfway between two notes. Both are weighted by the confidence c.

    Args:
      f0_midi: pitch as MIDI note numbers, with fractions.
      f0_confidence: confidence in the pitch, from 0 to 1.
      mask: the frames to use, usually the notes; frames that are not finite are ignored.

    Returns:
      The offset in semitones, from -0.5 to 0.5; 0.0 if there is no frame.

    Example:
      >>> import numpy as np
      >>> from ddspx.transfer import tuning_offset
      >>> sharp = np.repeat([60.2, 62.2, 64.2], 50)
      >>> round(tuning_offset(sharp, np.ones(150), np.ones(150, bool)), 2)
      0.2

    References:
      DDSP's ``get_tuning_factor`` divides each cost by its standard deviation over the offsets.
      One more change in a whole melody can then outweigh a quarter of a semitone, and the
      deviation is 0 if the number of changes is the same for all offsets.
    """
    mask = mask & np.isfinite(f0_midi) & np.isfinite(f0_confidence)
    if not mask.any():
        return 0.0
    pitch, confidence = f0_midi[mask], f0_confidence[mask]
    # Indices of frames whose successor in the sound is also in the mask.
    follows = np.flatnonzero(np.diff(np.flatnonzero(mask)) == 1)

    def cost(offset: float) -> float:
        nearest = np.round(pitch - offset) + offset
        changes = confidence[follows] * (nearest[follows] != nearest[follows + 1])
        return np.mean(confidence * np.abs(pitch - nearest)) + 0.5 * changes.sum() / pitch.size

    # Sorted, because `min` takes the first of equals, which is the smallest offset then.
    return float(min(sorted(_OFFSETS, key=abs), key=cost))


def autotune(
    f0_midi: Float[np.ndarray, " frames"],
    mask: Bool[np.ndarray, " frames"],
    *,
    amount: float,
    tuning: float = 0.0,
    scale: Scale = "major",
) -> Float[np.ndarray, " frames"]:
    """Moves the pitch towards the nearest notes of a scale.

    Args:
      f0_midi: pitch as MIDI note numbers, with fractions.
      mask: the frames that decide the key, usually the notes; frames that are not finite are
        ignored.
      amount: how far the pitch is moved, from 0 (not at all) to 1 (onto the note).
      tuning: how much higher than equal temperament all notes are, in semitones; from
        :func:`tuning_offset`.
      scale: "chromatic", all semitones; "major", the one of twelve major keys whose notes are
        nearest to the frames of `mask` (a minor key is found as its relative major).

    Returns:
      The new pitch of all frames.

    Raises:
      ValueError: `scale` is unknown.

    Example:
      >>> import numpy as np
      >>> from ddspx.transfer import autotune
      >>> sung = np.array([60.3, 62.1, 63.8])
      >>> autotune(sung, np.ones(3, bool), amount=1.0, scale="chromatic").tolist()
      [60.0, 62.0, 64.0]

    References:
      DDSP's ``auto_tune``, whose major keys ignore the tuning.
    """
    one_of("scale", scale, ("major", "chromatic"))
    mask = mask & np.isfinite(f0_midi)
    untuned = f0_midi - tuning
    if scale == "chromatic" or not mask.any():
        distance = untuned - np.round(untuned)
    else:
        distances = [_from_scale(untuned[mask], key) for key in range(12)]
        key = int(np.argmin([np.mean(np.abs(x)) for x in distances]))
        distance = _from_scale(untuned, key)
    return f0_midi - amount * distance


def _from_scale(midi: np.ndarray, key: int) -> np.ndarray:
    """Returns each pitch's signed distance to the nearest note of a major key, in semitones."""
    # The notes of one octave, with the key note again at its upper end.
    notes = np.array([*_MAJOR, 12]) + key
    octave = np.floor((midi - key) / 12) * 12
    above = midi - octave
    nearest = notes[np.argmin(np.abs(above[..., None] - notes), axis=-1)]
    return above - nearest
