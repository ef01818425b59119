"""Losses: scalar training objectives."""

from ddspx._exports import public_names as _public_names
from ddspx.core.losses._controls import (
    control_loss as control_loss,
    harmonic_consistency_loss as harmonic_consistency_loss,
)
from ddspx.core.losses._sinusoids import (
    kde_consistency_loss as kde_consistency_loss,
    two_way_mismatch_loss as two_way_mismatch_loss,
    wasserstein_loss as wasserstein_loss,
)
from ddspx.core.losses._spectral import multi_scale_spectral_loss as multi_scale_spectral_loss
from ddspx.core.losses._stft_losses import (
    complex_spectral_loss as complex_spectral_loss,
    mel_spectral_loss as mel_spectral_loss,
    phase_loss as phase_loss,
    spectral_convergence_loss as spectral_convergence_loss,
)

__all__ = _public_names(globals())
