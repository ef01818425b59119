"""Evaluation measures; NumPy in, numbers out."""

from ddspx.metrics._audio import (
    loudness_l1_db as loudness_l1_db,
    spectral_distance as spectral_distance,
)
