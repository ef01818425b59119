"""Audio to what a model listens to: pitch, its confidence, and loudness, on the frame rule."""

from ddspx.features._conditioning import (
    FMAX as FMAX,
    FMIN as FMIN,
    LOUDNESS_FFT as LOUDNESS_FFT,
    Features as Features,
    StreamingMethod as StreamingMethod,
    conditioning_features as conditioning_features,
    default_fmax as default_fmax,
    feature_version as feature_version,
    method_of as method_of,
    stream_features as stream_features,
)
from ddspx.features._encoding import stream_z as stream_z
from ddspx.features._spectral import (
    SpectralConfig as SpectralConfig,
    SpectralKind as SpectralKind,
    default_n_fft as default_n_fft,
    spectral_features as spectral_features,
    stream_spectral_features as stream_spectral_features,
)
from ddspx.features._tracking import (
    PitchMethod as PitchMethod,
    stream_pitch as stream_pitch,
    track_pitch as track_pitch,
)
