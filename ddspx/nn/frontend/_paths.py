"""How band energies are computed: from a short-time spectrum, or by filtering the whole sound."""

import dataclasses

from ddspx.nn.frontend._checks import check_flag


@dataclasses.dataclass(frozen=True)
class StftPath:
    """Energies from the bins of a short-time spectrum; its window takes the place of a low-pass."""


@dataclasses.dataclass(frozen=True)
class FftPath:
    """Energies by filtering the whole sound with FFTs, smoothed by a Gaussian low-pass.

    The error is at most 1e-4 of the loudest frame of a band, as long as bandwidths stay between
    half and one and a half times their initial values.

    Attributes:
      trainable: whether the widths of the low-pass are trained, one for each band.
    """

    trainable: bool = False

    def __post_init__(self):
        check_flag("trainable", self.trainable)


@dataclasses.dataclass(frozen=True)
class RecurrentPath:
    """Like `FftPath`, but with recursive filters; only gammatones have them.

    Attributes:
      trainable: whether the widths of the low-pass are trained, one for each band.
    """

    trainable: bool = False

    def __post_init__(self):
        check_flag("trainable", self.trainable)


@dataclasses.dataclass(frozen=True)
class LeafFftPath:
    """Like `FftPath`, with LEAF's low-pass: a Gaussian of height 1, whose width is clipped.

    Attributes:
      trainable: whether the widths of the low-pass are trained, one for each band.
    """

    trainable: bool = True

    def __post_init__(self):
        check_flag("trainable", self.trainable)


@dataclasses.dataclass(frozen=True)
class SpectNetFftPath:
    """Like `FftPath`, with SpectNet's low-pass: a box of ones, which is not trainable."""
