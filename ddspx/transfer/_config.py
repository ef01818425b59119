"""The settings of a transfer that a musician can choose."""

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
        "breath": (0.0, 1.0),
    }
)
"""The lowest and the highest allowed value of each number in a :class:`TransferConfig`."""


@dataclasses.dataclass(frozen=True)
class TransferConfig:
    """The settings of a transfer, with the names, ranges and defaults of DDSP's notebook.

    The last six are not in DDSP.

    Args:
      adjust: whether pitch and loudness are fitted to the instrument. The pitch is moved by whole
        octaves into the instrument's range, if it lies outside, and the loudness gets the dynamics
        of the instrument's recordings. If False, both are played as they are. Only the errors of
        the tracker, in which the pitch leaps away for a moment, are never played.
      threshold: how loud and how confident in its pitch a frame has to be to count as a note, from
        0 to 2. At 0 every frame is a note, at 2 only frames louder than the recording's mean.
      quiet_db: by how many dB the frames that are not notes are attenuated, from 0 to 60.
      autotune: how far the pitch is moved to the nearest note of the scale, from 0 (not at all) to
        1 (onto the note).
      scale: "major", the notes of the major key that fits best, or "chromatic", all semitones.
      pitch_shift: octaves to move the pitch by, from -2 to 2, in addition to those of `adjust`.
      loudness_shift_db: added to the loudness, from -20 to 20 dB.
      smoothing_ms: length of the window that smooths the pitch of a note, from 0 to 200 ms.
      confidence: the least confidence, from 0 to 1, of a pitch that is played.
      follow: how far the difference between the requested loudness of the notes and the loudness
        that the instrument plays is compensated, from 0 (not at all) to 1 (fully).
      wet: the instrument's share of the result's power, from 0 to 1; the recording has the rest.
      reverb: level of the instrument's reverb, from 0 to 2; 1 is the level of its recordings.
      breath: amplitude of breath and consonants, from 0 (not played) to 1 (as loud beside the notes
        as in the recording). The noise of the instrument plays them; its harmonics are silent. A
        note that rings on in the room has no pitch either, but is not played: what follows a note
        is breath only from where its loudness rises by 3 dB, or does not fall for 60 ms. Other
        noise of the recording within 60 dB of its loudest moment is played as breath.

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
    breath: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.adjust, bool):
            raise TypeError(f"`adjust` must be True or False, got {self.adjust!r}.")
        one_of("scale", self.scale, ("major", "chromatic"))
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            number(name, value, least=low, most=high)
            if isinstance(low, int) and not isinstance(value, Integral):
                raise TypeError(f"`{name}` must be a whole number, got {value!r}.")
