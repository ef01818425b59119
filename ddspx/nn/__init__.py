"""Flax NNX modules; a class exists only where it owns a variable."""

from typing import TYPE_CHECKING

from ddspx._exports import lazy
from ddspx._names import NN_NAMES

# The public names of each module in the folder `frontend`.
_FRONTEND = {
    "frontend._compressions": "DecibelCompression LeafPcenCompression Log1pCompression "
    "LogCompression NoCompression PcenCompression",
    "frontend._config": "FrontendConfig",
    "frontend._copy": "copy_frontend",
    "frontend._filters": "FreeFilters GaborFilters GammatoneFilters KapreFilters LeafFilters "
    "SincFilters SincNetFilters SpectNetFilters TriangularFilters",
    "frontend._frontend": "SpectralFrontend displacement_erb",
    "frontend._paths": "FftPath LeafFftPath RecurrentPath SpectNetFftPath StftPath",
}

if TYPE_CHECKING:
    from ddspx.nn import compat as compat
    from ddspx.nn._blocks import Fc as Fc, FcStack as FcStack
    from ddspx.nn._decoder import Decoder as Decoder, RnnFcDecoder as RnnFcDecoder
    from ddspx.nn._decoder_config import (
        DecoderConfig as DecoderConfig,
        DilatedConvDecoderConfig as DilatedConvDecoderConfig,
        RnnFcDecoderConfig as RnnFcDecoderConfig,
    )
    from ddspx.nn._dilated_conv_decoder import (
        CausalConvState as CausalConvState,
        DilatedConvDecoder as DilatedConvDecoder,
        WindowedConvState as WindowedConvState,
    )
    from ddspx.nn._encoder import Encoder as Encoder, ZEncoder as ZEncoder
    from ddspx.nn._encoder_config import (
        DdspMfccConfig as DdspMfccConfig,
        EncoderConfig as EncoderConfig,
        StoredTimbreConfig as StoredTimbreConfig,
        TimbreEncoderConfig as TimbreEncoderConfig,
        ZEncoderConfig as ZEncoderConfig,
    )
    from ddspx.nn._recurrent import Gru as Gru, MinGru as MinGru
    from ddspx.nn._reverb import (
        DecayingReverb as DecayingReverb,
        Reverb as Reverb,
        TapReverb as TapReverb,
    )
    from ddspx.nn._reverb_config import (
        DecayingReverbConfig as DecayingReverbConfig,
        ReverbConfig as ReverbConfig,
        TapReverbConfig as TapReverbConfig,
    )
    from ddspx.nn._sinusoidal_noise import (
        SinusoidalControls as SinusoidalControls,
        SinusoidalNoise as SinusoidalNoise,
        SinusoidalNoiseControls as SinusoidalNoiseControls,
        SinusoidalNoiseState as SinusoidalNoiseState,
    )
    from ddspx.nn._synthesizer_config import (
        HarmonicNoiseConfig as HarmonicNoiseConfig,
        SinusoidalNoiseConfig as SinusoidalNoiseConfig,
        SynthesizerConfig as SynthesizerConfig,
        WavetableNoiseConfig as WavetableNoiseConfig,
    )
    from ddspx.nn._synthesizers import (
        HarmonicControls as HarmonicControls,
        HarmonicNoise as HarmonicNoise,
        HarmonicNoiseControls as HarmonicNoiseControls,
        HarmonicNoiseState as HarmonicNoiseState,
        NoiseControls as NoiseControls,
        Synthesizer as Synthesizer,
    )
    from ddspx.nn._timbre import StoredTimbre as StoredTimbre, TimbreEncoder as TimbreEncoder
    from ddspx.nn._variables import Fixed as Fixed
    from ddspx.nn._wavetable_noise import WavetableNoise as WavetableNoise
    from ddspx.nn.frontend._compressions import (
        DecibelCompression as DecibelCompression,
        LeafPcenCompression as LeafPcenCompression,
        Log1pCompression as Log1pCompression,
        LogCompression as LogCompression,
        NoCompression as NoCompression,
        PcenCompression as PcenCompression,
    )
    from ddspx.nn.frontend._config import FrontendConfig as FrontendConfig
    from ddspx.nn.frontend._copy import copy_frontend as copy_frontend
    from ddspx.nn.frontend._filters import (
        FreeFilters as FreeFilters,
        GaborFilters as GaborFilters,
        GammatoneFilters as GammatoneFilters,
        KapreFilters as KapreFilters,
        LeafFilters as LeafFilters,
        SincFilters as SincFilters,
        SincNetFilters as SincNetFilters,
        SpectNetFilters as SpectNetFilters,
        TriangularFilters as TriangularFilters,
    )
    from ddspx.nn.frontend._frontend import (
        SpectralFrontend as SpectralFrontend,
        displacement_erb as displacement_erb,
    )
    from ddspx.nn.frontend._paths import (
        FftPath as FftPath,
        LeafFftPath as LeafFftPath,
        RecurrentPath as RecurrentPath,
        SpectNetFftPath as SpectNetFftPath,
        StftPath as StftPath,
    )
else:
    __getattr__, __dir__, __all__ = lazy(
        __name__,
        "compat",
        elsewhere={name: f"it is {here}" for name, here in NN_NAMES.items()},
        _blocks="Fc FcStack",
        _decoder="Decoder RnnFcDecoder",
        _decoder_config="DecoderConfig DilatedConvDecoderConfig RnnFcDecoderConfig",
        _dilated_conv_decoder="CausalConvState DilatedConvDecoder WindowedConvState",
        _encoder="Encoder ZEncoder",
        _encoder_config=(
            "DdspMfccConfig EncoderConfig StoredTimbreConfig TimbreEncoderConfig ZEncoderConfig"
        ),
        _recurrent="Gru MinGru",
        _reverb="DecayingReverb Reverb TapReverb",
        _reverb_config="DecayingReverbConfig ReverbConfig TapReverbConfig",
        _sinusoidal_noise=(
            "SinusoidalControls SinusoidalNoise SinusoidalNoiseControls SinusoidalNoiseState"
        ),
        _synthesizer_config=(
            "HarmonicNoiseConfig SinusoidalNoiseConfig SynthesizerConfig WavetableNoiseConfig"
        ),
        _synthesizers=(
            "HarmonicControls HarmonicNoise HarmonicNoiseControls HarmonicNoiseState NoiseControls "
            "Synthesizer"
        ),
        _timbre="StoredTimbre TimbreEncoder",
        _variables="Fixed",
        _wavetable_noise="WavetableNoise",
        **_FRONTEND,
    )
