"""Whether what was heard is a tune at all."""

import numpy as np

from ddspx._notes import hz_to_midi
from ddspx._typing import Bool
from ddspx.features import Features
from ddspx.metrics import VOICED

# Frames this far under the loudest are its echo, its breath or its background.
_SOUNDING_DB = 40.0
# A note stays within a semitone for so long, vibrato counted in; a voice that speaks glides on.
_HELD_S, _HELD_SEMITONES = 0.15, 1.0
# Of the sounding time. The least of 75 pieces of tunes has 0.47, of 117 single notes 0.85; of 54
# sentences all but two have less than this, and of 84 noises all.
_LEAST_HELD = 0.4


def tune_hint(heard: Features, *, frame_rate: float) -> str | None:
    """What to say where a sound holds too few notes to be a tune; None for a tune."""
    share = held_share(heard, frame_rate=frame_rate)
    if share >= _LEAST_HELD:
        return None
    return (
        f"This does not sound like a tune: it holds a note for {share:.0%} of its time, as speech "
        "or drums do. Sing or play one note at a time, and let it last."
    )


def held_share(heard: Features, *, frame_rate: float) -> float:
    """Of the frames within 40 dB of the loudest, the share in which a note is held.

    That is a stretch of 150 ms with a sure pitch that stays within a semitone.
    """
    sounding = heard.loudness_db > heard.loudness_db.max() - _SOUNDING_DB
    return float((_held(heard, frame_rate) & sounding).sum() / sounding.sum())


def _held(heard: Features, frame_rate: float) -> Bool[np.ndarray, " frames"]:
    sure = (heard.f0_confidence >= VOICED) & (heard.f0_hz > 0)
    midi = np.where(sure, hz_to_midi(np.where(sure, heard.f0_hz, 1.0)), np.nan)
    size = max(2, round(_HELD_S * frame_rate))
    if midi.size < size:
        return np.zeros(midi.size, bool)
    stretches = np.lib.stride_tricks.sliding_window_view(midi, size)
    # NaN, which is not less than anything, ends a stretch.
    steady = stretches.max(axis=1) - stretches.min(axis=1) < _HELD_SEMITONES
    within = np.convolve(steady, np.ones(size, int))
    return within > 0
