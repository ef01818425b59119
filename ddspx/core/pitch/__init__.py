"""Pitch of monophonic sound: trackers, and decoding of their posteriors."""

from ddspx._exports import public_names as _public_names
from ddspx.core.pitch._posterior import (
    PitchPosterior as PitchPosterior,
    pitch_posterior as pitch_posterior,
)
from ddspx.core.pitch._pyin import PyinTrack as PyinTrack, pyin as pyin
from ddspx.core.pitch._viterbi import (
    PitchTransition as PitchTransition,
    pitch_transition as pitch_transition,
    viterbi as viterbi,
)
from ddspx.core.pitch._yin import yin as yin

__all__ = _public_names(globals())
