"""Effects: audio to audio."""

from ddspx._exports import public_names as _public_names
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

__all__ = _public_names(globals())
