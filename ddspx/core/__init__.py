"""The functional core: pure functions on JAX arrays, safe under jit, vmap and grad.

Harmonics of one pitch:
  HarmonicState, harmonic_synthesis, harmonic_synthesis_init, harmonic_synthesis_step.

Free sinusoids:
  SinusoidalState, harmonic_to_sinusoidal, sinusoidal_synthesis, sinusoidal_synthesis_init,
  sinusoidal_synthesis_step, sinusoidal_to_harmonic.

Wavetables:
  WavetableState, harmonic_distribution_to_wavetable, linear_lookup, wavetable_synthesis,
  wavetable_synthesis_init, wavetable_synthesis_step.

Classic waveforms:
  pulse, sawtooth, square, triangle.

Noise:
  NoiseState, filtered_noise, filtered_noise_init, filtered_noise_step, white_noise.

Phase and oscillators:
  normalize_harmonics, oscillator_bank, remove_above_nyquist, Phase, advance_phase,
  cumulative_phase.

Envelopes:
  adsr.

Filters:
  fft_convolve, ConvolutionState, fft_convolve_init, fft_convolve_step, frequency_filter,
  frequency_impulse_response, sinc_highpass, sinc_lowpass.

Recursive filters:
  BiquadKind, allpole, allpole_init, allpole_step, biquad, one_pole, reflection_to_allpole,
  sos_filter, sos_filter_init, sos_filter_step, stable_biquad.

Rooms, delays and cross-fades:
  crossfade, DelayState, modulated_delay, variable_delay, variable_delay_init,
  variable_delay_step, ReverbState, convolution_reverb, exponential_reverb_ir,
  filtered_noise_reverb_ir, decay_to_t60, convolution_reverb_init, convolution_reverb_step.

Dynamics:
  CompressorState, LimiterState, compressor, compressor_init, compressor_step, limiter,
  limiter_init, limiter_step.

Sample rates:
  resample.

Spectra and their features:
  textbook_log_mel, textbook_mfcc, cepstral_coefficients, delta, mel_spectrogram, mfcc, istft,
  spectrogram, stft.

The shape of a spectrum:
  spectral_bandwidth, spectral_centroid, spectral_flatness, spectral_rolloff.

Loudness and level:
  a_weighting_db, loudness_db, power_db, rms.

Filters of bands:
  gabor_impulse_response, gabor_response, ordered_frequencies, sinc_bandpass, sinc_response,
  triangular_response, frequency_grid, log_frequency_filterbank, mel_filterbank, GammatoneState,
  gammatone_filter, gammatone_filter_init, gammatone_filter_step, gammatone_impulse_response,
  gammatone_response, spectnet_impulse_response.

Gain control of each band:
  pcen, pcen_init, pcen_smoothing, pcen_step.

Pitch:
  PitchPosterior, pitch_posterior, PyinTrack, pyin, PitchTransition, pitch_transition, viterbi,
  yin.

Augmentation:
  mixup, spec_augment, time_shift.

Losses:
  control_loss, harmonic_consistency_loss, complex_spectral_loss, mel_spectral_loss, phase_loss,
  spectral_convergence_loss, kde_consistency_loss, two_way_mismatch_loss, wasserstein_loss,
  multi_scale_spectral_loss.

Finding frequencies by gradient:
  exponential_bank, exponential_basis, poles_to_hz.

Units:
  amplitude_to_db, bark_to_hz, db_to_amplitude, db_to_power, hz_to_bark, hz_to_erb, hz_to_mel,
  hz_to_midi, hz_to_unit, mel_to_hz, midi_to_hz, midi_to_unit, power_to_db, unit_to_hz,
  unit_to_midi.

Scaling of the inputs and outputs of networks:
  exp_sigmoid, frequencies_critical_bands, frequencies_sigmoid, frequencies_softmax,
  mu_law_decode, mu_law_encode, soft_limit, sym_exp_sigmoid.

Composition of streams:
  Stream, chain.

Frames and windows:
  frame, hann_window, n_frames, overlap_add.

Frame rate to sample rate:
  interpolation_weights, resample_controls, upsample.

Numerics without NaN:
  safe_divide, safe_log, safe_sqrt.

Types of string options:
  FrequencyScale, UpsamplingMethod.
"""

# Types of string options
from ddspx._choices import (
    FrequencyScale as FrequencyScale,
    UpsamplingMethod as UpsamplingMethod,
)
from ddspx._explain import answer as _answer
from ddspx._exports import public_names as _public_names
from ddspx._names import CORE_HINTS as _HINTS, CORE_NAMES as _NAMES

# Augmentation of features
from ddspx.core._augmentation import (
    mixup as mixup,
    spec_augment as spec_augment,
    time_shift as time_shift,
)

# Frames and windows
from ddspx.core._framing import (
    frame as frame,
    hann_window as hann_window,
    n_frames as n_frames,
    overlap_add as overlap_add,
)

# Numerics
from ddspx.core._numerics import (
    safe_divide as safe_divide,
    safe_log as safe_log,
    safe_sqrt as safe_sqrt,
)

# Scaling of network outputs and inputs
from ddspx.core._scaling import (
    exp_sigmoid as exp_sigmoid,
    frequencies_critical_bands as frequencies_critical_bands,
    frequencies_sigmoid as frequencies_sigmoid,
    frequencies_softmax as frequencies_softmax,
    mu_law_decode as mu_law_decode,
    mu_law_encode as mu_law_encode,
    soft_limit as soft_limit,
    sym_exp_sigmoid as sym_exp_sigmoid,
)

# Streams
from ddspx.core._streams import Stream as Stream, chain as chain

# Units
from ddspx.core._units import (
    amplitude_to_db as amplitude_to_db,
    bark_to_hz as bark_to_hz,
    db_to_amplitude as db_to_amplitude,
    db_to_power as db_to_power,
    hz_to_bark as hz_to_bark,
    hz_to_erb as hz_to_erb,
    hz_to_mel as hz_to_mel,
    hz_to_midi as hz_to_midi,
    hz_to_unit as hz_to_unit,
    mel_to_hz as mel_to_hz,
    midi_to_hz as midi_to_hz,
    midi_to_unit as midi_to_unit,
    power_to_db as power_to_db,
    unit_to_hz as unit_to_hz,
    unit_to_midi as unit_to_midi,
)

# From one frame rate to another, and to the sample rate
from ddspx.core._upsampling import (
    interpolation_weights as interpolation_weights,
    resample_controls as resample_controls,
    upsample as upsample,
)
from ddspx.core.analysis._loudness import (
    a_weighting_db as a_weighting_db,
    loudness_db as loudness_db,
    power_db as power_db,
    rms as rms,
)
from ddspx.core.analysis._mel import (
    cepstral_coefficients as cepstral_coefficients,
    delta as delta,
    mel_spectrogram as mel_spectrogram,
    mfcc as mfcc,
)

# Gain control of each band
from ddspx.core.analysis._pcen import (
    pcen as pcen,
    pcen_init as pcen_init,
    pcen_smoothing as pcen_smoothing,
    pcen_step as pcen_step,
)

# The shape of a spectrum
from ddspx.core.analysis._spectral_descriptors import (
    spectral_bandwidth as spectral_bandwidth,
    spectral_centroid as spectral_centroid,
    spectral_flatness as spectral_flatness,
    spectral_rolloff as spectral_rolloff,
)
from ddspx.core.analysis._stft import istft as istft, spectrogram as spectrogram, stft as stft

# Features of a spectrum
from ddspx.core.analysis._textbook_mfcc import (
    textbook_log_mel as textbook_log_mel,
    textbook_mfcc as textbook_mfcc,
)

# Filters of bands
from ddspx.core.bands._bandpass import (
    gabor_impulse_response as gabor_impulse_response,
    gabor_response as gabor_response,
    ordered_frequencies as ordered_frequencies,
    sinc_bandpass as sinc_bandpass,
    sinc_response as sinc_response,
    triangular_response as triangular_response,
)

# Spectra and loudness
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

# Effects
from ddspx.core.effects._crossfade import crossfade as crossfade
from ddspx.core.effects._delay import (
    DelayState as DelayState,
    modulated_delay as modulated_delay,
    variable_delay as variable_delay,
    variable_delay_init as variable_delay_init,
    variable_delay_step as variable_delay_step,
)
from ddspx.core.effects._dynamics import (
    CompressorState as CompressorState,
    LimiterState as LimiterState,
    compressor as compressor,
    compressor_init as compressor_init,
    compressor_step as compressor_step,
    limiter as limiter,
    limiter_init as limiter_init,
    limiter_step as limiter_step,
)
from ddspx.core.effects._reverb import (
    ReverbState as ReverbState,
    convolution_reverb as convolution_reverb,
    convolution_reverb_init as convolution_reverb_init,
    convolution_reverb_step as convolution_reverb_step,
    decay_to_t60 as decay_to_t60,
    exponential_reverb_ir as exponential_reverb_ir,
    filtered_noise_reverb_ir as filtered_noise_reverb_ir,
)

# Filters
from ddspx.core.filters._fir import (
    fft_convolve as fft_convolve,
    frequency_filter as frequency_filter,
    frequency_impulse_response as frequency_impulse_response,
    sinc_highpass as sinc_highpass,
    sinc_lowpass as sinc_lowpass,
)

# Recursive filters
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

# Sample rates
from ddspx.core.filters._resampling import resample as resample
from ddspx.core.filters._streaming_convolution import (
    ConvolutionState as ConvolutionState,
    fft_convolve_init as fft_convolve_init,
    fft_convolve_step as fft_convolve_step,
)

# Losses
from ddspx.core.losses._controls import (
    control_loss as control_loss,
    harmonic_consistency_loss as harmonic_consistency_loss,
)
from ddspx.core.losses._sinusoids import (
    kde_consistency_loss as kde_consistency_loss,
    two_way_mismatch_loss as two_way_mismatch_loss,
    wasserstein_loss as wasserstein_loss,
)
from ddspx.core.losses._spectral import multi_scale_spectral_loss as multi_scale_spectral_loss
from ddspx.core.losses._stft_losses import (
    complex_spectral_loss as complex_spectral_loss,
    mel_spectral_loss as mel_spectral_loss,
    phase_loss as phase_loss,
    spectral_convergence_loss as spectral_convergence_loss,
)

# Pitch
from ddspx.core.pitch._posterior import (
    PitchPosterior as PitchPosterior,
    pitch_posterior as pitch_posterior,
)
from ddspx.core.pitch._pyin import PyinTrack as PyinTrack, pyin as pyin
from ddspx.core.pitch._viterbi import (
    PitchTransition as PitchTransition,
    pitch_transition as pitch_transition,
    viterbi as viterbi,
)
from ddspx.core.pitch._yin import yin as yin

# Envelopes
from ddspx.core.synthesis._envelopes import adsr as adsr

# A surrogate for finding frequencies by gradient descent
from ddspx.core.synthesis._exponentials import (
    exponential_bank as exponential_bank,
    exponential_basis as exponential_basis,
    poles_to_hz as poles_to_hz,
)

# Harmonics of one pitch
from ddspx.core.synthesis._harmonic import (
    HarmonicState as HarmonicState,
    harmonic_synthesis as harmonic_synthesis,
    harmonic_synthesis_init as harmonic_synthesis_init,
    harmonic_synthesis_step as harmonic_synthesis_step,
)

# Noise
from ddspx.core.synthesis._noise import (
    NoiseState as NoiseState,
    filtered_noise as filtered_noise,
    filtered_noise_init as filtered_noise_init,
    filtered_noise_step as filtered_noise_step,
    white_noise as white_noise,
)

# Oscillators
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

# Free sinusoids
from ddspx.core.synthesis._sinusoidal import (
    SinusoidalState as SinusoidalState,
    harmonic_to_sinusoidal as harmonic_to_sinusoidal,
    sinusoidal_synthesis as sinusoidal_synthesis,
    sinusoidal_synthesis_init as sinusoidal_synthesis_init,
    sinusoidal_synthesis_step as sinusoidal_synthesis_step,
    sinusoidal_to_harmonic as sinusoidal_to_harmonic,
)

# Classic waveforms
from ddspx.core.synthesis._waveforms import (
    pulse as pulse,
    sawtooth as sawtooth,
    square as square,
    triangle as triangle,
)

# Wavetables
from ddspx.core.synthesis._wavetable import (
    WavetableState as WavetableState,
    harmonic_distribution_to_wavetable as harmonic_distribution_to_wavetable,
    linear_lookup as linear_lookup,
    wavetable_synthesis as wavetable_synthesis,
    wavetable_synthesis_init as wavetable_synthesis_init,
    wavetable_synthesis_step as wavetable_synthesis_step,
)

__all__ = _public_names(globals())
_answer(globals(), names=_NAMES, hints=_HINTS)
