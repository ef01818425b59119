"""Synthesis: controls on the frame rule to audio."""

from ddspx._exports import public_names as _public_names
from ddspx.core.synthesis._envelopes import adsr as adsr
from ddspx.core.synthesis._exponentials import (
    exponential_bank as exponential_bank,
    exponential_basis as exponential_basis,
    poles_to_hz as poles_to_hz,
)
from ddspx.core.synthesis._harmonic import (
    HarmonicState as HarmonicState,
    harmonic_synthesis as harmonic_synthesis,
    harmonic_synthesis_init as harmonic_synthesis_init,
    harmonic_synthesis_step as harmonic_synthesis_step,
)
from ddspx.core.synthesis._noise import (
    NoiseState as NoiseState,
    filtered_noise as filtered_noise,
    filtered_noise_init as filtered_noise_init,
    filtered_noise_step as filtered_noise_step,
    white_noise as white_noise,
)
from ddspx.core.synthesis._oscillators import (
    normalize_harmonics as normalize_harmonics,
    oscillator_bank as oscillator_bank,
    remove_above_nyquist as remove_above_nyquist,
)
from ddspx.core.synthesis._phase import (
    Phase as Phase,
    advance_phase as advance_phase,
    cumulative_phase as cumulative_phase,
)
from ddspx.core.synthesis._sinusoidal import (
    SinusoidalState as SinusoidalState,
    harmonic_to_sinusoidal as harmonic_to_sinusoidal,
    sinusoidal_synthesis as sinusoidal_synthesis,
    sinusoidal_synthesis_init as sinusoidal_synthesis_init,
    sinusoidal_synthesis_step as sinusoidal_synthesis_step,
    sinusoidal_to_harmonic as sinusoidal_to_harmonic,
)
from ddspx.core.synthesis._waveforms import (
    pulse as pulse,
    sawtooth as sawtooth,
    square as square,
    triangle as triangle,
)
from ddspx.core.synthesis._wavetable import (
    WavetableState as WavetableState,
    harmonic_distribution_to_wavetable as harmonic_distribution_to_wavetable,
    linear_lookup as linear_lookup,
    wavetable_synthesis as wavetable_synthesis,
    wavetable_synthesis_init as wavetable_synthesis_init,
    wavetable_synthesis_step as wavetable_synthesis_step,
)

__all__ = _public_names(globals())
