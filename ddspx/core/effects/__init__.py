"""Effects: audio to audio."""

from ddspx.core.effects._reverb import (
    ReverbState as ReverbState,
    convolution_reverb as convolution_reverb,
    reverb_init as reverb_init,
    reverb_step as reverb_step,
)
