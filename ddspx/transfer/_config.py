"""What a musician decides about a transfer."""

import dataclasses
from numbers import Integral
from types import MappingProxyType
from typing import Literal

from ddspx._checks import number, one_of

Scale = Literal["major", "chromatic"]

RANGES = MappingProxyType(
    {
        "threshold": (0.0, 2.0),
        "quiet_db": (0.0, 60.0),
        "autotune": (0.0, 1.0),
        "pitch_shift": (-2, 2),
        "loudness_shift_db": (-20.0, 20.0),
        "smoothing_ms": (0.0, 200.0),
        "confidence": (0.0, 1.0),
        "follow": (0.0, 1.0),
        "wet": (0.0, 1.0),
        "reverb": (0.0, 2.0),
    }
)
"""The lowest and highest value of each number in a :class:`TransferConfig`."""


@dataclasses.dataclass(frozen=True)
class TransferConfig:
    """The controls of a transfer, with the names, ranges and defaults of DDSP's notebook.

    The last five are not in it.

    Args:
      adjust: whether pitch and loudness are fitted to the instrument: whole octaves to its range
        where the tune does not fit as it is, and the dynamics of its recordings. Without, both
        are played as they are.
      threshold: how loud and sure a note has to be, from 0 to 2. At 0 everything is a note, at
        2 only what is louder than the recording's mean.
      quiet_db: by how many dB what is no note is attenuated, from 0 to 60.
      autotune: how far the pitch is drawn to the notes of the scale, from 0 to 1, all the way.
      scale: "major", the key that fits best, or "chromatic", all semitones.
      pitch_shift: octaves to move the pitch by, from -2 to 2, beside those of `adjust`.
      loudness_shift_db: added to the loudness, from -20 to 20 dB.
      smoothing_ms: length of the window that the pitch of a note is averaged in, from 0 to 200.
      confidence: how sure a pitch has to be, from 0 to 1, to be played at all.
      follow: how closely the notes keep to the loudness that is asked for, from 0, as the
        instrument answers, to 1, all that it is off made up for.
      wet: the instrument's part of the result's power, from 0 to 1; the rest is the recording.
      reverb: how much of the instrument's room is heard, from 0 to 2; 1 is as it was recorded.

    Raises:
      TypeError: a field has another type.
      ValueError: a field is out of range.

    Example:
      >>> from ddspx.transfer import TransferConfig
      >>> TransferConfig(autotune=0.7, reverb=0.0).quiet_db
      20.0
    """

    adjust: bool = True
    threshold: float = 1.0
    quiet_db: float = 20.0
    autotune: float = 0.0
    scale: Scale = "major"
    pitch_shift: int = 0
    loudness_shift_db: float = 0.0
    smoothing_ms: float = 0.0
    confidence: float = 0.5
    follow: float = 1.0
    wet: float = 1.0
    reverb: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.adjust, bool):
            raise TypeError(f"`adjust` must be True or False, got {self.adjust!r}.")
        one_of("scale", self.scale, ("major", "chromatic"))
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            number(name, value, least=low, most=high)
            if isinstance(low, int) and not isinstance(value, Integral):
                raise TypeError(f"`{name}` must be a whole number, got {value!r}.")
