"""What energies are compressed with, and whether it learns."""

import dataclasses

from ddspx.nn.frontend._checks import check_flag, check_floor


@dataclasses.dataclass(frozen=True)
class NoCompression:
    """Energies as they are."""


@dataclasses.dataclass(frozen=True)
class LogCompression:
    r"""The natural logarithm, :math:`\log(E + \epsilon)`.

    Attributes:
      floor: the energy that counts as silence, :math:`\epsilon`. A sine of amplitude 1 has 0.5.

    Raises:
      TypeError: `floor` is no number.
      ValueError: `floor` is below 1e-30 or not finite.
    """

    floor: float = 1e-10

    def __post_init__(self):
        check_floor(self.floor)


@dataclasses.dataclass(frozen=True)
class DecibelCompression:
    r"""Levels in dB, :math:`10 \log_{10}(E + \epsilon)`.

    Attributes:
      floor: the energy that counts as silence, :math:`\epsilon`. A sine of amplitude 1 has 0.5.

    Raises:
      TypeError: `floor` is no number.
      ValueError: `floor` is below 1e-30 or not finite.
    """

    floor: float = 1e-10

    def __post_init__(self):
        check_floor(self.floor)


@dataclasses.dataclass(frozen=True)
class Log1pCompression:
    r"""A logarithm that is 0 in silence, :math:`\log(1 + g_i E_i)`.

    Attributes:
      floor: the energy that counts as silence: one over the factors :math:`g_i` at first. A sine of
        amplitude 1 has 0.5.
      trainable: whether the factors learn, one for each band.

    Raises:
      TypeError: `floor` is no number.
      ValueError: `floor` is below 1e-30 or not finite, or `trainable` is neither True nor False.
    """

    floor: float = 1e-10
    trainable: bool = False

    def __post_init__(self):
        check_floor(self.floor)
        check_flag("trainable", self.trainable)


@dataclasses.dataclass(frozen=True)
class PcenCompression:
    """Per-channel energy normalization: energies over those of the recent past, `core.pcen`.

    Attributes:
      floor: the energy that counts as silence, added to the past. A sine of amplitude 1 has 0.5.
      trainable: whether smoothing, gain, bias and power learn, each for each band.

    Raises:
      TypeError: `floor` is no number.
      ValueError: `floor` is below 1e-30 or not finite, or `trainable` is neither True nor False.
    """

    floor: float = 1e-10
    trainable: bool = False

    def __post_init__(self):
        check_floor(self.floor)
        check_flag("trainable", self.trainable)


@dataclasses.dataclass(frozen=True)
class LeafPcenCompression(PcenCompression):
    """LEAF's PCEN: its numbers at first, which learn as they are, with its limits.

    Attributes:
      floor: the energy that counts as silence, added to the past. A sine of amplitude 1 has 0.5.
      trainable: whether smoothing, gain, bias and root learn, each for each band.
    """

    floor: float = 1e-12
    trainable: bool = True


Compression = (
    NoCompression
    | LogCompression
    | DecibelCompression
    | Log1pCompression
    | PcenCompression
    | LeafPcenCompression
)
