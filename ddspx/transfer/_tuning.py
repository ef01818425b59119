"""How a sound is tuned, and pitch drawn to the notes of a scale."""

import numpy as np

from ddspx._checks import one_of
from ddspx._typing import Bool, Float
from ddspx.transfer._config import Scale

_MAJOR = (0, 2, 4, 5, 7, 9, 11)
# DDSP's grid: cents.
_OFFSETS = np.linspace(-0.5, 0.5, 101)


def tuning_offset(
    f0_midi: Float[np.ndarray, " frames"],
    f0_confidence: Float[np.ndarray, " frames"],
    mask: Bool[np.ndarray, " frames"],
) -> float:
    r"""How much higher than equal temperament at A4 = 440 Hz a sound is tuned.

    Of offsets o from -0.5 to 0.5 in steps of a cent, the one with the least

    .. math::
        \overline{c\, |m - n_o|} + \tfrac{1}{2}\, \overline{c\, [n_o \ne n_o']}, \qquad
        n_o = \mathrm{round}(m - o) + o

    over the frames of `mask`: the distance of the pitch m to the nearest note, and how often that
    note changes from a frame to the next, which costs what being between two notes does; both
    weighted by the confidence c.

    Args:
      f0_midi: pitch as MIDI note numbers, with fractions.
      f0_confidence: from 0 to 1, how sure it is.
      mask: the frames that count: notes. What is not finite does not.

    Returns:
      The offset in semitones, from -0.5 to 0.5; 0.0 without any frame.

    Example:
      >>> import numpy as np
      >>> from ddspx.transfer import tuning_offset
      >>> sharp = np.repeat([60.2, 62.2, 64.2], 50)
      >>> round(tuning_offset(sharp, np.ones(150), np.ones(150, bool)), 2)
      0.2

    References:
      DDSP's ``get_tuning_factor`` divides either cost by its own deviation over the offsets, so
      that one change more in a whole melody can outweigh a quarter of a semitone, and that
      deviation is 0 where nothing changes.
    """
    mask = mask & np.isfinite(f0_midi) & np.isfinite(f0_confidence)
    if not mask.any():
        return 0.0
    pitch, sure = f0_midi[mask], f0_confidence[mask]
    # Frames that follow each other in the sound.
    follows = np.flatnonzero(np.diff(np.flatnonzero(mask)) == 1)

    def cost(offset: float) -> float:
        nearest = np.round(pitch - offset) + offset
        changes = sure[follows] * (nearest[follows] != nearest[follows + 1])
        return np.mean(sure * np.abs(pitch - nearest)) + 0.5 * changes.sum() / pitch.size

    # Of equals the smallest offset.
    return float(min(sorted(_OFFSETS, key=abs), key=cost))


def autotune(
    f0_midi: Float[np.ndarray, " frames"],
    mask: Bool[np.ndarray, " frames"],
    *,
    amount: float,
    tuning: float = 0.0,
    scale: Scale = "major",
) -> Float[np.ndarray, " frames"]:
    """Pitch drawn to the nearest notes of a scale.

    Args:
      f0_midi: pitch as MIDI note numbers, with fractions.
      mask: the frames that decide the key: notes. What is not finite does not.
      amount: from 0, nothing, to 1, onto the notes.
      tuning: how much higher than equal temperament all notes are, in semitones; from
        :func:`tuning_offset`.
      scale: "chromatic", all semitones; "major", the one of twelve major keys whose notes are
        nearest to the frames of `mask` (a minor key is found as its relative major).

    Returns:
      The pitch of all frames.

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
        away = untuned - np.round(untuned)
    else:
        keys = [_from_scale(untuned[mask], key) for key in range(12)]
        key = int(np.argmin([np.mean(np.abs(found)) for found in keys]))
        away = _from_scale(untuned, key)
    return f0_midi - amount * away


def _from_scale(midi: np.ndarray, key: int) -> np.ndarray:
    """Signed distance of each pitch to the nearest note of a major key, in semitones."""
    notes = np.array([*_MAJOR, 12]) + key
    # Between two notes of an octave; the last one is the key note again.
    octave = np.floor((midi - key) / 12) * 12
    above = midi - octave
    nearest = notes[np.argmin(np.abs(above[..., None] - notes), axis=-1)]
    return above - nearest
