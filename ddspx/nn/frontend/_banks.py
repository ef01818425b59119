"""The interface of a filter bank, and the bank that each config builds."""

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
    """The interface of all banks: centres and bandwidths in Hz, and the power response."""

    config: FrontendConfig

    def centers_hz(self) -> Float[Array, " bands"]:
        """Centre of each band, in Hz."""
        ...

    def bandwidths_hz(self) -> Float[Array, " bands"]:
        """Equivalent rectangular bandwidth of each band, in Hz."""
        ...

    def power_response(self, n_fft: int) -> Float[Array, "bands bins"]:
        """Power gain at the bins from 0 Hz to Nyquist; positive and negative frequencies added."""
        ...


@runtime_checkable
class FilterBank(Bank, Protocol):
    """A bank of linear filters, whose frequency response is complex."""

    def response(self, n_fft: int) -> Complex[Array, "bands bins"]:
        """Frequency response at all bins of a transform, including the negative frequencies."""
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
    """Builds the bank of a config, with its initial parameters."""
    return _BANKS[type(config.filters)](config, config.filters)
