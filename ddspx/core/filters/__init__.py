"""Filters: FIR by FFT, designed from frequency responses."""
