"""Analysis: audio to features on the frame rule."""

from ddspx.core.analysis._filterbanks import mel_filterbank as mel_filterbank
from ddspx.core.analysis._loudness import (
    a_weighting_db as a_weighting_db,
    loudness_db as loudness_db,
    power_db as power_db,
    rms as rms,
)
from ddspx.core.analysis._pitch import (
    PitchPosterior as PitchPosterior,
    PitchTransition as PitchTransition,
    pitch_posterior as pitch_posterior,
    pitch_transition as pitch_transition,
    viterbi as viterbi,
    yin as yin,
)
from ddspx.core.analysis._stft import istft as istft, spectrogram as spectrogram, stft as stft
