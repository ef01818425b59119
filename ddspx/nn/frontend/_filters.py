"""The configs of the filter families: what is specific to each, and which parts are trained."""

import dataclasses
from typing import ClassVar, Literal

from ddspx._checks import size
from ddspx.nn.frontend._checks import check_class, check_flag, check_n_taps, check_parts
from ddspx.nn.frontend._paths import (
    FftPath,
    LeafFftPath,
    RecurrentPath,
    SpectNetFftPath,
    StftPath,
)

_STFT, _FFT, _LEAF_FFT, _SPECTNET_FFT = StftPath(), FftPath(), LeafFftPath(), SpectNetFftPath()
_CENTERS_AND_GAINS = ("centers", "gains")
_CENTERS_AND_WIDTHS = ("centers", "bandwidths")
_ALL = ("centers", "bandwidths", "gains")


@dataclasses.dataclass(frozen=True)
class TriangularFilters:
    """Triangles on a power spectrum, each from one neighbouring centre to the other (mel).

    Attributes:
      trainable: the parts that are `nnx.Param`: any of ``centers`` and ``gains``.

    Raises:
      ValueError: `trainable` names another part.
    """

    trainable: tuple[Literal["centers", "gains"], ...] = ("centers",)
    path: ClassVar[StftPath] = _STFT

    def __post_init__(self):
        check_parts(self, _CENTERS_AND_GAINS)


@dataclasses.dataclass(frozen=True)
class GammatoneFilters:
    """Gammatones, the shape of the ear's filters, with ordered centres.

    Attributes:
      trainable: the parts that are `nnx.Param`: any of ``centers``, ``bandwidths`` and ``gains``.
      order: number of poles.
      path: how energies are computed: `StftPath`, `FftPath` or `RecurrentPath`.

    Raises:
      TypeError: `order` is not an int, or `path` of another class.
      ValueError: `order` is below 1, or `trainable` names another part.

    Example:
      >>> from ddspx.nn import GammatoneFilters, RecurrentPath
      >>> GammatoneFilters(trainable=("gains",), path=RecurrentPath()).order
      4
    """

    trainable: tuple[Literal["centers", "bandwidths", "gains"], ...] = ("centers", "bandwidths")
    order: int = 4
    path: StftPath | FftPath | RecurrentPath = _STFT

    def __post_init__(self):
        check_parts(self, _ALL)
        size("order", self.order)
        check_class("path", self.path, StftPath | FftPath | RecurrentPath)


@dataclasses.dataclass(frozen=True)
class GaborFilters:
    """Gabor filters, which are Gaussians in frequency, with ordered centres.

    Attributes:
      trainable: the parts that are `nnx.Param`: any of ``centers``, ``bandwidths`` and ``gains``.
      path: how energies are computed: `StftPath` or `FftPath`.

    Raises:
      TypeError: `path` is of another class.
      ValueError: `trainable` names another part.
    """

    trainable: tuple[Literal["centers", "bandwidths", "gains"], ...] = ("centers", "bandwidths")
    path: StftPath | FftPath = _STFT

    def __post_init__(self):
        check_parts(self, _ALL)
        check_class("path", self.path, StftPath | FftPath)


@dataclasses.dataclass(frozen=True)
class SincFilters:
    """Windowed sincs, which are rectangles in frequency, with ordered centres.

    Attributes:
      trainable: the parts that are `nnx.Param`: any of ``centers``, ``bandwidths`` and ``gains``.
      n_taps: length of the filters; odd.
      path: how energies are computed: `StftPath` or `FftPath`.

    Raises:
      TypeError: `n_taps` is not an int, or `path` of another class.
      ValueError: `n_taps` is below 1 or even, or `trainable` names another part.
    """

    trainable: tuple[Literal["centers", "bandwidths", "gains"], ...] = ("centers", "bandwidths")
    n_taps: int = 401
    path: StftPath | FftPath = _STFT

    def __post_init__(self):
        check_parts(self, _ALL)
        check_n_taps(self.n_taps)
        check_class("path", self.path, StftPath | FftPath)


@dataclasses.dataclass(frozen=True)
class FreeFilters:
    """A free weight for each bin of a power spectrum, initially triangles.

    The response is the absolute value of the weights.

    Attributes:
      trainable: whether the weights are `nnx.Param`.

    Raises:
      ValueError: `trainable` is neither True nor False.
    """

    trainable: bool = True
    path: ClassVar[StftPath] = _STFT

    def __post_init__(self):
        check_flag("trainable", self.trainable)


@dataclasses.dataclass(frozen=True)
class SpectNetFilters:
    """SpectNet's gammatones: centres and bandwidths in Hz and amplitudes, none of them limited.

    Attributes:
      trainable: the parts that are `nnx.Param`: any of ``centers``, ``bandwidths`` and ``gains``.
      order: number of poles.
      n_taps: length of the filters; odd.
      fill_gaps: whether the initial filters are at least as wide as the distance between their
        centres, with unchanged gain; all published filters are 98 Hz wide.
      path: how energies are computed: `StftPath` or `SpectNetFftPath`.

    Raises:
      TypeError: `order` or `n_taps` is not an int, or `path` of another class.
      ValueError: `order` is below 1, `n_taps` is below 1 or even, or `trainable` names another
        part.
    """

    trainable: tuple[Literal["centers", "bandwidths", "gains"], ...] = (
        "centers",
        "bandwidths",
        "gains",
    )
    order: int = 4
    n_taps: int = 401
    fill_gaps: bool = False
    path: StftPath | SpectNetFftPath = _SPECTNET_FFT

    def __post_init__(self):
        check_parts(self, _ALL)
        size("order", self.order)
        check_n_taps(self.n_taps)
        check_flag("fill_gaps", self.fill_gaps)
        check_class("path", self.path, StftPath | SpectNetFftPath)


@dataclasses.dataclass(frozen=True)
class LeafFilters:
    """LEAF's Gabor filters: centres in radians per sample, widths in samples, clipped as in LEAF.

    Attributes:
      trainable: the parts that are `nnx.Param`: any of ``centers`` and ``bandwidths``.
      n_taps: length of the filters; odd.
      path: how energies are computed: `StftPath` or `LeafFftPath`.

    Raises:
      TypeError: `n_taps` is not an int, or `path` of another class.
      ValueError: `n_taps` is below 1 or even, or `trainable` names another part.
    """

    trainable: tuple[Literal["centers", "bandwidths"], ...] = ("centers", "bandwidths")
    n_taps: int = 401
    path: StftPath | LeafFftPath = _LEAF_FFT

    def __post_init__(self):
        check_parts(self, _CENTERS_AND_WIDTHS)
        check_n_taps(self.n_taps)
        check_class("path", self.path, StftPath | LeafFftPath)


@dataclasses.dataclass(frozen=True)
class SincNetFilters:
    """SincNet's filters: low corners and widths in Hz, as distances from their minimum.

    The distances are the absolute values of the parameters.

    Attributes:
      trainable: the parts that are `nnx.Param`: any of ``centers`` (the low corners) and
        ``bandwidths``.
      n_taps: length of the filters; odd.
      path: how energies are computed: `StftPath` or `FftPath`.

    Raises:
      TypeError: `n_taps` is not an int, or `path` of another class.
      ValueError: `n_taps` is below 1 or even, or `trainable` names another part.
    """

    trainable: tuple[Literal["centers", "bandwidths"], ...] = ("centers", "bandwidths")
    n_taps: int = 251
    path: StftPath | FftPath = _FFT

    def __post_init__(self):
        check_parts(self, _CENTERS_AND_WIDTHS)
        check_n_taps(self.n_taps)
        check_class("path", self.path, StftPath | FftPath)


@dataclasses.dataclass(frozen=True)
class KapreFilters(FreeFilters):
    """kapre's weights: like `FreeFilters`, but applied to the squared magnitudes without scale.

    `nn.compat.kapre_filterbank` makes such a front-end from kapre's arguments.
    """


Filters = (
    TriangularFilters
    | GammatoneFilters
    | GaborFilters
    | SincFilters
    | FreeFilters
    | SpectNetFilters
    | LeafFilters
    | SincNetFilters
    | KapreFilters
)
# Filters with a finite impulse response, of `n_taps` samples.
FiltersWithTaps = SincFilters | SpectNetFilters | LeafFilters | SincNetFilters
