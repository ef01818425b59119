"""Flax NNX modules; a class exists only where it owns a variable."""

from typing import TYPE_CHECKING

from ddspx._exports import lazy
from ddspx._names import NN_NAMES

if TYPE_CHECKING:
    from ddspx.nn import compat as compat
    from ddspx.nn._blocks import Fc as Fc, FcStack as FcStack
    from ddspx.nn._decoder import Decoder as Decoder, RnnFcDecoder as RnnFcDecoder
    from ddspx.nn._decoder_config import (
        DecoderConfig as DecoderConfig,
        RnnFcDecoderConfig as RnnFcDecoderConfig,
    )
    from ddspx.nn._encoder import Encoder as Encoder, ZEncoder as ZEncoder
    from ddspx.nn._encoder_config import (
        EncoderConfig as EncoderConfig,
        ZEncoderConfig as ZEncoderConfig,
    )
    from ddspx.nn._frontend import (
        SpectralFrontend as SpectralFrontend,
        displacement_erb as displacement_erb,
    )
    from ddspx.nn._frontend_config import FrontendConfig as FrontendConfig
    from ddspx.nn._frontend_state import copy_frontend as copy_frontend
    from ddspx.nn._recurrent import Gru as Gru
    from ddspx.nn._reverb import Reverb as Reverb
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
    from ddspx.nn._variables import Fixed as Fixed
    from ddspx.nn._wavetable_noise import WavetableNoise as WavetableNoise
else:
    __getattr__, __dir__, __all__ = lazy(
        __name__,
        "compat",
        elsewhere={name: f"it is {here}" for name, here in NN_NAMES.items()},
        _blocks="Fc FcStack",
        _decoder="Decoder RnnFcDecoder",
        _decoder_config="DecoderConfig RnnFcDecoderConfig",
        _encoder="Encoder ZEncoder",
        _encoder_config="EncoderConfig ZEncoderConfig",
        _frontend="SpectralFrontend displacement_erb",
        _frontend_config="FrontendConfig",
        _frontend_state="copy_frontend",
        _recurrent="Gru",
        _reverb="Reverb",
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
        _variables="Fixed",
        _wavetable_noise="WavetableNoise",
    )
