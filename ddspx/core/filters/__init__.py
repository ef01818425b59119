"""Filters: by FFT, by recurrence, and from one sample rate to another."""

from ddspx._exports import public_names as _public_names
from ddspx.core.filters._fir import (
    fft_convolve as fft_convolve,
    frequency_filter as frequency_filter,
    frequency_impulse_response as frequency_impulse_response,
    sinc_highpass as sinc_highpass,
    sinc_lowpass as sinc_lowpass,
)
from ddspx.core.filters._iir import (
    BiquadKind as BiquadKind,
    allpole as allpole,
    allpole_init as allpole_init,
    allpole_step as allpole_step,
    biquad as biquad,
    one_pole as one_pole,
    reflection_to_allpole as reflection_to_allpole,
    sos_filter as sos_filter,
    sos_filter_init as sos_filter_init,
    sos_filter_step as sos_filter_step,
    stable_biquad as stable_biquad,
)
from ddspx.core.filters._resampling import resample as resample
from ddspx.core.filters._streaming_convolution import (
    ConvolutionState as ConvolutionState,
    fft_convolve_init as fft_convolve_init,
    fft_convolve_step as fft_convolve_step,
)

__all__ = _public_names(globals())
