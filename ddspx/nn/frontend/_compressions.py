"""The configs of compressions, which map band energies to features."""

import dataclasses

from ddspx.nn.frontend._checks import check_flag, check_floor


@dataclasses.dataclass(frozen=True)
class NoCompression:
    """No compression: the features are the energies."""


@dataclasses.dataclass(frozen=True)
class LogCompression:
    r"""The natural logarithm, :math:`\log(E + \epsilon)`.

    Attributes:
      floor: the energy that counts as silence, :math:`\epsilon`. A sine of amplitude 1 has the
        energy 0.5.

    Raises:
      TypeError: `floor` is not a number.
      ValueError: `floor` is not from 1e-30 to 1e30.
    """

    floor: float = 1e-10

    def __post_init__(self):
        check_floor(self.floor)


@dataclasses.dataclass(frozen=True)
class DecibelCompression:
    r"""Levels in dB, :math:`10 \log_{10}(E + \epsilon)`.

    Attributes:
      floor: the energy that counts as silence, :math:`\epsilon`. A sine of amplitude 1 has the
        energy 0.5.

    Raises:
      TypeError: `floor` is not a number.
      ValueError: `floor` is not from 1e-30 to 1e30.
    """

    floor: float = 1e-10

    def __post_init__(self):
        check_floor(self.floor)


@dataclasses.dataclass(frozen=True)
class Log1pCompression:
    r"""A logarithm that is 0 in silence, :math:`\log(1 + g_i E_i)`.

    Attributes:
      floor: the energy that counts as silence. The initial factors :math:`g_i` are its reciprocal.
        A sine of amplitude 1 has the energy 0.5.
      trainable: whether the factors are trained, one for each band.

    Raises:
      TypeError: `floor` is not a number.
      ValueError: `floor` is not from 1e-30 to 1e30, or `trainable` is neither True nor False.
    """

    floor: float = 1e-10
    trainable: bool = False

    def __post_init__(self):
        check_floor(self.floor)
        check_flag("trainable", self.trainable)


@dataclasses.dataclass(frozen=True)
class PcenCompression:
    """Per-channel energy normalization, `core.pcen`: divides energies by a running mean of them.

    Attributes:
      floor: the energy that counts as silence, added to the running mean. A sine of amplitude 1
        has the energy 0.5.
      trainable: whether smoothing, gain, bias and power are trained, one of each for each band.

    Raises:
      TypeError: `floor` is not a number.
      ValueError: `floor` is not from 1e-30 to 1e30, or `trainable` is neither True nor False.
    """

    floor: float = 1e-10
    trainable: bool = False

    def __post_init__(self):
        check_floor(self.floor)
        check_flag("trainable", self.trainable)


@dataclasses.dataclass(frozen=True)
class LeafPcenCompression(PcenCompression):
    """LEAF's PCEN: the same initial values, parametrization and limits as in LEAF.

    Attributes:
      floor: the energy that counts as silence, added to the running mean. A sine of amplitude 1
        has the energy 0.5.
      trainable: whether smoothing, gain, bias and root are trained, one of each for each band.
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
