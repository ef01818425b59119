"""Analysis: audio to spectra and features of them, on the frame rule."""

from ddspx._exports import public_names as _public_names
from ddspx.core.analysis._loudness import (
    a_weighting_db as a_weighting_db,
    loudness_db as loudness_db,
    power_db as power_db,
    rms as rms,
)
from ddspx.core.analysis._mel import (
    cepstral_coefficients as cepstral_coefficients,
    delta as delta,
    mel_spectrogram as mel_spectrogram,
    mfcc as mfcc,
)
from ddspx.core.analysis._pcen import (
    pcen as pcen,
    pcen_init as pcen_init,
    pcen_smoothing as pcen_smoothing,
    pcen_step as pcen_step,
)
from ddspx.core.analysis._spectral_descriptors import (
    spectral_bandwidth as spectral_bandwidth,
    spectral_centroid as spectral_centroid,
    spectral_flatness as spectral_flatness,
    spectral_rolloff as spectral_rolloff,
)
from ddspx.core.analysis._stft import istft as istft, spectrogram as spectrogram, stft as stft
from ddspx.core.analysis._textbook_mfcc import (
    textbook_log_mel as textbook_log_mel,
    textbook_mfcc as textbook_mfcc,
)

__all__ = _public_names(globals())
