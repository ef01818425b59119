"""Losses: scalar training objectives."""

from ddspx.core.losses._spectral import multi_scale_spectral_loss as multi_scale_spectral_loss
