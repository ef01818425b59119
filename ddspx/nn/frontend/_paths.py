"""How the energies of bands are computed: on a short-time spectrum, or by filters on the sound."""

import dataclasses

from ddspx.nn.frontend._checks import check_flag


@dataclasses.dataclass(frozen=True)
class StftPath:
    """Energies from the bins of a short-time spectrum, whose window is the low-pass."""


@dataclasses.dataclass(frozen=True)
class FftPath:
    """Energies by filters on the whole sound, as products of transforms, and a Gaussian low-pass.

    Energies are exact to 1e-4 of the loudest frame of a band, while bandwidths stay within half to
    one and a half times what they were at first.

    Attributes:
      trainable: whether the widths of the low-pass learn, one for each band.
    """

    trainable: bool = False

    def __post_init__(self):
        check_flag("trainable", self.trainable)


@dataclasses.dataclass(frozen=True)
class RecurrentPath:
    """Like `FftPath`, but the filters are recursions: gammatones alone are.

    Attributes:
      trainable: whether the widths of the low-pass learn, one for each band.
    """

    trainable: bool = False

    def __post_init__(self):
        check_flag("trainable", self.trainable)


@dataclasses.dataclass(frozen=True)
class LeafFftPath:
    """Like `FftPath`, with LEAF's low-pass: a Gaussian of no unit sum, whose width is limited.

    Attributes:
      trainable: whether the widths of the low-pass learn, one for each band.
    """

    trainable: bool = True

    def __post_init__(self):
        check_flag("trainable", self.trainable)


@dataclasses.dataclass(frozen=True)
class SpectNetFftPath:
    """Like `FftPath`, with SpectNet's low-pass: a box of ones, of which nothing learns."""
