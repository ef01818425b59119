"""Analysis: audio to features on the frame rule."""

from ddspx._exports import given as _given
from ddspx.core.analysis._augment import mixup as mixup, spec_augment as spec_augment
from ddspx.core.analysis._bandpass import (
    gabor_impulse_response as gabor_impulse_response,
    gabor_response as gabor_response,
    ordered_frequencies as ordered_frequencies,
    sinc_bandpass as sinc_bandpass,
    sinc_response as sinc_response,
    triangular_response as triangular_response,
)
from ddspx.core.analysis._classic import (
    classic_log_mel as classic_log_mel,
    classic_mfcc as classic_mfcc,
)
from ddspx.core.analysis._features import (
    cepstral_coefficients as cepstral_coefficients,
    delta as delta,
    mel_spectrogram as mel_spectrogram,
    mfcc as mfcc,
)
from ddspx.core.analysis._filterbanks import (
    frequency_grid as frequency_grid,
    log_frequency_filterbank as log_frequency_filterbank,
    mel_filterbank as mel_filterbank,
)
from ddspx.core.analysis._gammatone import (
    GammatoneState as GammatoneState,
    gammatone_filter as gammatone_filter,
    gammatone_filter_init as gammatone_filter_init,
    gammatone_filter_step as gammatone_filter_step,
    gammatone_impulse_response as gammatone_impulse_response,
    gammatone_response as gammatone_response,
    spectnet_impulse_response as spectnet_impulse_response,
)
from ddspx.core.analysis._loudness import (
    a_weighting_db as a_weighting_db,
    loudness_db as loudness_db,
    power_db as power_db,
    rms as rms,
)
from ddspx.core.analysis._pcen import (
    pcen as pcen,
    pcen_init as pcen_init,
    pcen_smoothing as pcen_smoothing,
    pcen_step as pcen_step,
)
from ddspx.core.analysis._pitch import (
    PitchPosterior as PitchPosterior,
    pitch_posterior as pitch_posterior,
)
from ddspx.core.analysis._pyin import PitchTrack as PitchTrack, pyin as pyin
from ddspx.core.analysis._shape import (
    spectral_bandwidth as spectral_bandwidth,
    spectral_centroid as spectral_centroid,
    spectral_flatness as spectral_flatness,
    spectral_rolloff as spectral_rolloff,
)
from ddspx.core.analysis._stft import istft as istft, spectrogram as spectrogram, stft as stft
from ddspx.core.analysis._viterbi import (
    PitchTransition as PitchTransition,
    pitch_transition as pitch_transition,
    viterbi as viterbi,
)
from ddspx.core.analysis._yin import yin as yin

__all__ = _given(globals())
