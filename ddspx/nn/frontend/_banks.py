"""What all banks of filters are to a front-end, and which one a config asks for."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from ddspx._typing import Array, Complex, Float
from ddspx.nn.frontend._config import FrontendConfig
from ddspx.nn.frontend._filters import (
    FreeFilters,
    GaborFilters,
    GammatoneFilters,
    KapreFilters,
    LeafFilters,
    SincFilters,
    SincNetFilters,
    SpectNetFilters,
    TriangularFilters,
)
from ddspx.nn.frontend._free_banks import FreeBank, KapreBank
from ddspx.nn.frontend._ordered_banks import GaborBank, GammatoneBank, SincBank, TriangularBank
from ddspx.nn.frontend._published_banks import LeafBank, SincNetBank, SpectNetBank


@runtime_checkable
class Bank(Protocol):
    """What banks share: centres and bandwidths in Hz, and what they pass of a spectrum."""

    config: FrontendConfig

    def centers_hz(self) -> Float[Array, " bands"]:
        """Centre of each band, in Hz."""
        ...

    def bandwidths_hz(self) -> Float[Array, " bands"]:
        """Equivalent rectangular bandwidth of each band, in Hz."""
        ...

    def power_response(self, n_fft: int) -> Float[Array, "bands bins"]:
        """What passes of the power at the bins from 0 Hz to Nyquist, of both signs together."""
        ...


@runtime_checkable
class FilterBank(Bank, Protocol):
    """A bank of linear filters, which has a phase too."""

    def response(self, n_fft: int) -> Complex[Array, "bands bins"]:
        """Frequency response at all bins of a transform, those of negative frequencies too."""
        ...


_BANKS: dict[type, Callable[[FrontendConfig, Any], Bank]] = {
    TriangularFilters: TriangularBank,
    GammatoneFilters: GammatoneBank,
    GaborFilters: GaborBank,
    SincFilters: SincBank,
    FreeFilters: FreeBank,
    SpectNetFilters: SpectNetBank,
    LeafFilters: LeafBank,
    SincNetFilters: SincNetBank,
    KapreFilters: KapreBank,
}


def bank(config: FrontendConfig) -> Bank:
    """The bank that a config asks for, at first."""
    return _BANKS[type(config.filters)](config, config.filters)
