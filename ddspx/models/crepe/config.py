"""The sizes of CREPE: five published capacities of one network."""

import dataclasses
from typing import Literal, get_args

from ddspx._checks import one_of, size

SAMPLE_RATE = 16_000
"""Sample rate of the network, in Hz; audio at another rate must be resampled to it."""

FRAME_LENGTH = 1024
"""Samples of the frame from which one pitch is estimated: 64 ms."""

N_BINS = 360
"""Bins of the activation, 20 cents apart from 31.7 Hz."""

Capacity = Literal["tiny", "small", "medium", "large", "full"]

_MULTIPLIERS = dict(zip(get_args(Capacity), (4, 8, 16, 24, 32), strict=True))


@dataclasses.dataclass(frozen=True)
class CrepeConfig:
    """The size of a `Crepe`; immutable and hashable.

    Args:
      multiplier: the six layers have 32, 4, 4, 4, 8 and 16 times as many channels.

    Raises:
      TypeError: `multiplier` is not an int.
      ValueError: `multiplier` is below 1.

    Example:
      >>> from ddspx.models.crepe import CrepeConfig
      >>> CrepeConfig.of("full").channels
      (1024, 128, 128, 128, 256, 512)
      >>> CrepeConfig(4).capacity
      'tiny'
    """

    multiplier: int

    def __post_init__(self):
        size("multiplier", self.multiplier)

    @classmethod
    def of(cls, capacity: Capacity) -> "CrepeConfig":
        """The config of the published network of that name."""
        one_of("capacity", capacity, tuple(_MULTIPLIERS))
        return cls(_MULTIPLIERS[capacity])

    @property
    def channels(self) -> tuple[int, ...]:
        """Output channels of the six convolutions."""
        return tuple(self.multiplier * factor for factor in (32, 4, 4, 4, 8, 16))

    @property
    def capacity(self) -> str:
        """The published name, or "unpublished x" and the multiplier."""
        names = {multiplier: name for name, multiplier in _MULTIPLIERS.items()}
        return names.get(self.multiplier, f"unpublished x{self.multiplier}")
