"""Filters: FIR by FFT, designed from frequency responses."""

from ddspx.core.filters._fir import (
    fft_convolve as fft_convolve,
    frequency_filter as frequency_filter,
    frequency_impulse_response as frequency_impulse_response,
)
