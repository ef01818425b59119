"""Pitch, confidence, loudness and spectral features of audio: the inputs of the models."""

from typing import TYPE_CHECKING

from ddspx._exports import lazy

if TYPE_CHECKING:
    from ddspx.features._choices import (
        DEFAULT_RANGES_HZ as DEFAULT_RANGES_HZ,
        LoudnessScale as LoudnessScale,
        PitchMethod as PitchMethod,
        SpectralKind as SpectralKind,
        StreamingMethod as StreamingMethod,
    )
    from ddspx.features._conditioning import (
        Features as Features,
        blockwise_features as blockwise_features,
        conditioning_features as conditioning_features,
        feature_version as feature_version,
        loudness_of as loudness_of,
        method_of as method_of,
        stream_features as stream_features,
    )
    from ddspx.features._encoding import blockwise_z as blockwise_z
    from ddspx.features._loudness import (
        LOUDNESS_FFT as LOUDNESS_FFT,
        LOUDNESS_FLOORS_DB as LOUDNESS_FLOORS_DB,
        LOUDNESS_LEADS as LOUDNESS_LEADS,
        stream_loudness as stream_loudness,
    )
    from ddspx.features._range import pitch_range as pitch_range
    from ddspx.features._spectral import (
        SpectralConfig as SpectralConfig,
        default_n_fft as default_n_fft,
        spectral_features as spectral_features,
        stream_spectral_features as stream_spectral_features,
    )
    from ddspx.features._tracking import (
        blockwise_pitch as blockwise_pitch,
        track_pitch as track_pitch,
    )
else:
    __getattr__, __dir__, __all__ = lazy(
        __name__,
        _choices="DEFAULT_RANGES_HZ LoudnessScale PitchMethod SpectralKind StreamingMethod",
        _conditioning=(
            "Features blockwise_features conditioning_features feature_version loudness_of "
            "method_of stream_features"
        ),
        _encoding="blockwise_z",
        _loudness="LOUDNESS_FFT LOUDNESS_FLOORS_DB LOUDNESS_LEADS stream_loudness",
        _range="pitch_range",
        _spectral="SpectralConfig default_n_fft spectral_features stream_spectral_features",
        _tracking="blockwise_pitch track_pitch",
    )
