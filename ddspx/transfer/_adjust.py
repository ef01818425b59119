"""What a sound's pitch and loudness become, so that an instrument can play them.

Pure NumPy functions on whole tracks: quantiles need all frames, and a track is three numbers
per frame, 3 kB for a second at 250 frames per second.
"""

from typing import NamedTuple

import numpy as np

from ddspx._checks import same_size
from ddspx._notes import hz_to_midi, midi_to_hz
from ddspx._typing import Bool, Float
from ddspx.models.autoencoder import InstrumentStatistics
from ddspx.transfer._config import TransferConfig
from ddspx.transfer._notes import (
    SILENCE_DB,
    confident_frames,
    detect_notes,
    fade,
    note_frames,
    pitch_between_notes,
)
from ddspx.transfer._quantiles import apply_quantile_transform, fit_quantile_transform
from ddspx.transfer._tuning import autotune, tuning_offset

_MAX_OCTAVES = 4
# The share of a tune's frames that may lie outside an instrument's range: slips of the tracker.
_FEW = 0.1
# Semitones from a frame to the next that are another note, or the tracker's slip.
_LEAP = 1.0
# The share of an instrument's loudness that it is asked for; beyond lie single clicks and tails.
_OFTEN_HEARD = (0.01, 0.99)
_DEFAULT = TransferConfig()


class AdjustedControls(NamedTuple):
    """What to ask of an instrument, frame by frame.

    Attributes:
      f0_hz: pitch; between notes it leads from one to the next.
      loudness_db: loudness, within what the instrument was often trained on.
      gain: linear gain of what the instrument then plays: the loudness that lies outside,
        and 0 where there is no pitch to play.
      notes: the frames that are notes: sure enough, loud enough.
      octaves: by how many octaves `f0_hz` was moved.
      tuning: how much higher than A4 = 440 Hz the sound is tuned, in semitones.
    """

    f0_hz: Float[np.ndarray, " frames"]
    loudness_db: Float[np.ndarray, " frames"]
    gain: Float[np.ndarray, " frames"]
    notes: Bool[np.ndarray, " frames"]
    octaves: int
    tuning: float

    @property
    def asked_db(self) -> Float[np.ndarray, " frames"]:
        """The loudness that is asked for by loudness and gain together, from -80 dB on."""
        gain_db = 20 * np.log10(np.maximum(self.gain, 1e-10))
        return np.maximum(self.loudness_db + gain_db, SILENCE_DB)


def adjust(
    f0_hz: Float[np.ndarray, " frames"],
    f0_confidence: Float[np.ndarray, " frames"],
    loudness_db: Float[np.ndarray, " frames"],
    *,
    statistics: InstrumentStatistics,
    frame_rate: float,
    config: TransferConfig = _DEFAULT,
) -> AdjustedControls:
    """Fits a sound's pitch and loudness to an instrument, and to what a musician wants.

    Of the frames whose pitch is sure, those that :func:`detect_notes` finds decide by how many
    octaves the pitch moves to the instrument's range, if it lies outside (:func:`octaves_to`), how
    loudness takes the distribution of the instrument's own notes (:func:`fit_quantile_transform`),
    and what the tuning and the key are (:func:`tuning_offset`, :func:`autotune`). What is no note
    is played up to `quiet_db` softer, the less it is one. Where the sound has no pitch (breath,
    consonants, pauses) the instrument is faded out, and only its room rings on.

    A frame whose pitch, confidence or loudness is not finite is one without a pitch, that makes no
    sound.

    Loudness beyond the instrument's 1st and 99th percentile is played at those and scaled,
    because a network says anything about a loudness it has hardly heard.

    Args:
      f0_hz: pitch of the sound.
      f0_confidence: from 0 to 1, how sure that pitch is.
      loudness_db: as `core.loudness_db` measures it.
      statistics: the instrument's.
      frame_rate: frames per second.
      config: what is wanted.

    Returns:
      What to play.

    Raises:
      ValueError: the tracks differ in length.

    Example:
      >>> import numpy as np
      >>> from ddspx.models.autoencoder import InstrumentStatistics
      >>> from ddspx.transfer import adjust
      >>> violin = InstrumentStatistics(
      ...     sample_rate=16000, hop_length=64, loudness_quantiles=(-40.0, -10.0),
      ...     pitch_midi_min=55.0, pitch_midi_mean=72.0, pitch_midi_max=91.0,
      ...     duration_s=60.0, feature_version="1",
      ... )
      >>> low, louder = np.full(250, 131.0), np.linspace(-60.0, -50.0, 250)
      >>> played = adjust(low, np.ones(250), louder, statistics=violin, frame_rate=250.0)
      >>> played.octaves, round(float(played.f0_hz[0])), round(float(played.loudness_db[-1]), 1)
      (2, 524, -12.0)

    References:
      Steps 5 and 6 of DDSP's timbre-transfer notebook. There the octave is rounded up (down
      from 1.5 octaves on), frames without a note keep a pitch that nobody sang, and the
      adjusted loudness is computed and then not used.
    """
    same_size("`f0_hz` and `f0_confidence`", len(f0_hz), len(f0_confidence), "frames")
    same_size("`f0_hz` and `loudness_db`", len(f0_hz), len(loudness_db), "frames")
    found = detect_notes(
        loudness_db, f0_confidence, frame_rate=frame_rate, threshold=config.threshold
    )
    finite = np.isfinite(f0_hz) & np.isfinite(f0_confidence) & np.isfinite(loudness_db)
    f0_hz, f0_confidence = (np.where(finite, x, 0).astype(x.dtype) for x in (f0_hz, f0_confidence))
    loudness_db = np.where(finite, loudness_db, SILENCE_DB).astype(loudness_db.dtype)
    confident = confident_frames(f0_hz, f0_confidence, loudness_db, confidence=config.confidence)
    pitched = note_frames(confident, frame_rate=frame_rate)
    sure = confident & pitched
    notes = sure & found.mask
    pitch_hz, tuning = _tuned(f0_hz, f0_confidence, sure, notes, frame_rate, config)
    wanted, octaves = loudness_db, 0
    if config.adjust:
        # A recording of which nothing is loud and sure at once is fitted by what is sure.
        fitted = notes if notes.any() else sure
        octaves = octaves_to(pitch_hz[fitted], statistics=statistics)
        quantiles_db = np.asarray(statistics.loudness_quantiles)
        transform = fit_quantile_transform(loudness_db, fitted, quantiles_db)
        wanted = apply_quantile_transform(transform, loudness_db)
    octaves += config.pitch_shift
    wanted = wanted + config.loudness_shift_db
    if config.threshold > 0:
        missing = np.maximum(config.threshold - found.ratio, 0.0) / config.threshold
        wanted = wanted - config.quiet_db * missing
    levels = np.linspace(0, 1, len(statistics.loudness_quantiles))
    lowest, highest = np.interp(_OFTEN_HEARD, levels, statistics.loudness_quantiles)
    played = np.clip(wanted, lowest, highest)
    gain = fade(pitched, frame_rate=frame_rate) * 10 ** ((wanted - played) / 20)
    leading = pitch_between_notes(pitch_hz, sure, loudness_db, frame_rate=frame_rate)
    dtype = f0_hz.dtype
    return AdjustedControls(
        (leading * 2.0**octaves).astype(dtype),
        played.astype(dtype),
        gain.astype(dtype),
        notes,
        octaves,
        tuning,
    )


def octaves_to(f0_hz: Float[np.ndarray, " notes"], *, statistics: InstrumentStatistics) -> int:
    """Whole octaves, up to 4 either way, that bring a pitch into an instrument's range.

    A tune that fits as it is stays there: at most a tenth of its frames lie outside of the first to
    the 99th percentile of the instrument's pitch. Others move to where, in semitones, how far the
    frames lie outside on average, and a sixth of how far their median is from the instrument's
    mean, are least together.

    Args:
      f0_hz: pitch of the notes, frame by frame; what is not positive and finite does not count.
      statistics: the instrument's.

    Returns:
      The octaves; 0 for no pitch at all.

    Example:
      >>> import numpy as np
      >>> from ddspx.instruments import load_instrument

      >>> from ddspx.transfer import octaves_to
      >>> _, violin, _ = load_instrument("violin")
      >>> octaves_to(np.array([110.0, 123.5, 130.8]), statistics=violin)
      2
    """
    f0_hz = f0_hz[(f0_hz > 0) & np.isfinite(f0_hz)]
    if f0_hz.size == 0:
        return 0
    midi = hz_to_midi(f0_hz)
    low, high = statistics.pitch_midi_min, statistics.pitch_midi_max
    # A note's own cents at a limit lie within.
    if np.mean((midi < low - 0.5) | (midi > high + 0.5)) <= _FEW:
        return 0

    def cost(octaves: int) -> float:
        moved = midi + 12 * octaves
        outside = np.mean(np.maximum(np.maximum(low - moved, moved - high), 0.0))
        return float(outside + abs(np.median(moved) - statistics.pitch_midi_mean) / 6)

    # From the middle, so that of equals the smallest move is taken.
    return min(sorted(range(-_MAX_OCTAVES, _MAX_OCTAVES + 1), key=abs), key=cost)


def _tuned(
    f0_hz: np.ndarray,
    f0_confidence: np.ndarray,
    sure: np.ndarray,
    notes: np.ndarray,
    frame_rate: float,
    config: TransferConfig,
) -> tuple[np.ndarray, float]:
    """Pitch after smoothing and autotune, and the tuning; as it was where it is not sure."""
    pitch_hz = f0_hz.astype(np.float64)
    if not sure.any():
        return pitch_hz, 0.0
    midi = np.zeros_like(pitch_hz)
    midi[sure] = hz_to_midi(pitch_hz[sure])
    if config.smoothing_ms > 0:
        midi = _smoothed(midi, sure, config.smoothing_ms * 1e-3 * frame_rate)
    decisive = notes if notes.any() else sure
    tuning = tuning_offset(midi, f0_confidence, decisive)
    if config.autotune > 0:
        midi = autotune(midi, decisive, amount=config.autotune, tuning=tuning, scale=config.scale)
    if config.smoothing_ms > 0 or config.autotune > 0:
        pitch_hz = np.where(sure, midi_to_hz(midi), pitch_hz)
    return pitch_hz, tuning


def _smoothed(midi: np.ndarray, sure: np.ndarray, n_frames: float) -> np.ndarray:
    """Mean under a Hann window of that many frames, within a note: up to a leap or a gap."""
    reach = int(n_frames / 2)
    at = np.arange(-reach, reach + 1)
    window = np.cos(np.pi * at / max(n_frames, 1.0)) ** 2
    smooth = midi.copy()
    frames = np.flatnonzero(sure)
    ends = (np.diff(frames) > 1) | (np.abs(np.diff(midi[frames])) > _LEAP)
    for note in np.split(frames, np.flatnonzero(ends) + 1):
        total = np.convolve(midi[note], window)[reach : reach + note.size]
        smooth[note] = total / np.convolve(np.ones(note.size), window)[reach : reach + note.size]
    return smooth
