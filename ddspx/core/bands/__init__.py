"""Bands of an ear or of a network: their centres and bandwidths, and the filters made of them."""

from ddspx._exports import public_names as _public_names
from ddspx.core.bands._bandpass import (
    gabor_impulse_response as gabor_impulse_response,
    gabor_response as gabor_response,
    ordered_frequencies as ordered_frequencies,
    sinc_bandpass as sinc_bandpass,
    sinc_response as sinc_response,
    triangular_response as triangular_response,
)
from ddspx.core.bands._filterbanks import (
    frequency_grid as frequency_grid,
    log_frequency_filterbank as log_frequency_filterbank,
    mel_filterbank as mel_filterbank,
)
from ddspx.core.bands._gammatone import (
    GammatoneState as GammatoneState,
    gammatone_filter as gammatone_filter,
    gammatone_filter_init as gammatone_filter_init,
    gammatone_filter_step as gammatone_filter_step,
    gammatone_impulse_response as gammatone_impulse_response,
    gammatone_response as gammatone_response,
    spectnet_impulse_response as spectnet_impulse_response,
)

__all__ = _public_names(globals())
