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
    pitch_posterior as pitch_posterior,
)
from ddspx.core.analysis._pyin import PitchTrack as PitchTrack, pyin as pyin
from ddspx.core.analysis._stft import istft as istft, spectrogram as spectrogram, stft as stft
from ddspx.core.analysis._viterbi import (
    PitchTransition as PitchTransition,
    pitch_transition as pitch_transition,
    viterbi as viterbi,
)
from ddspx.core.analysis._yin import yin as yin
