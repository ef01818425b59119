"""The functional core: pure functions on JAX arrays, safe under jit, vmap and grad."""

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

# Scaling of network outputs
from ddspx.core._scaling import exp_sigmoid as exp_sigmoid

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
    mel_to_hz as mel_to_hz,
    midi_to_hz as midi_to_hz,
    power_to_db as power_to_db,
)

# Frame rate to sample rate
from ddspx.core._upsampling import (
    interpolation_weights as interpolation_weights,
    upsample as upsample,
)
