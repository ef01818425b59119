"""Adjusts the pitch and the loudness of a sound to an instrument.

These are pure NumPy functions on whole tracks, because quantiles need all frames. Whole tracks fit
into memory: they have three numbers per frame, 3 kB for a second at 250 frames per second.
"""

from typing import NamedTuple

import numpy as np

from ddspx._checks import same_size
from ddspx._notes import hz_to_midi, midi_to_hz
from ddspx._typing import Bool, Float
from ddspx.metrics._squeaks import sounding_frames, squeaking_frames
from ddspx.models.autoencoder import InstrumentStatistics
from ddspx.transfer._config import TransferConfig
from ddspx.transfer._notes import (
    SILENCE_DB,
    audible_frames,
    confident_frames,
    detect_notes,
    fade,
    held_back,
    note_frames,
    pitch_between_notes,
    ringing_frames,
)
from ddspx.transfer._quantiles import apply_quantile_transform, fit_quantile_transform
from ddspx.transfer._range import into_range, octaves_to
from ddspx.transfer._tuning import autotune, tuning_offset

# Semitones between one frame and the next from which on they belong to different notes.
_LEAP = 1.0
# The quantiles of an instrument's loudness that limit the loudness requested of it. Beyond them
# there are only single clicks and the tails of notes, too few to train on.
_LOUDNESS_RANGE = (0.01, 0.99)
# Breath is requested at least at this quantile of an instrument's loudness, and turned down: in its
# softest sounds an instrument may have no noise at all.
_SOFTEST_BREATH = 0.5
_DEFAULT = TransferConfig()


class AdjustedControls(NamedTuple):
    """The controls that an instrument plays, frame by frame.

    Attributes:
      f0_hz: pitch; between notes it leads from one note to the next.
      loudness_db: loudness, within the range that the instrument was mostly trained on.
      gain: linear gain of the instrument's sound. It adds the part of the loudness that lies
        outside that range, and is 0 in frames without a pitch to play.
      notes: the frames that are notes, which have a confident pitch and are loud enough.
      octaves: by how many octaves the tune was moved.
      tuning: how much higher than A4 = 440 Hz the sound is tuned, in semitones.
      refitted_share: share of the frames of `notes` that were moved by other octaves than the tune,
        or held at the limit of the instrument's range, because they would lie outside it.
      breath: the controls of the instrument's noise, without a pitch. Its `notes` are the frames
        that sound, have no pitch, and are not a note that rings on. None if the setting `breath`
        is 0.
    """

    f0_hz: Float[np.ndarray, " frames"]
    loudness_db: Float[np.ndarray, " frames"]
    gain: Float[np.ndarray, " frames"]
    notes: Bool[np.ndarray, " frames"]
    octaves: int
    tuning: float
    refitted_share: float = 0.0
    breath: "AdjustedControls | None" = None

    @property
    def asked_db(self) -> Float[np.ndarray, " frames"]:
        """The loudness requested by `loudness_db` and `gain` together, at least -80 dB.

        Scales of other instruments reach lower; there, it is at least `loudness_db`.
        """
        gain_db = 20 * np.log10(np.maximum(self.gain, 1e-10))
        return np.maximum(self.loudness_db + gain_db, np.minimum(self.loudness_db, SILENCE_DB))


def adjust(
    f0_hz: Float[np.ndarray, " frames"],
    f0_confidence: Float[np.ndarray, " frames"],
    loudness_db: Float[np.ndarray, " frames"],
    *,
    statistics: InstrumentStatistics,
    frame_rate: float,
    config: TransferConfig = _DEFAULT,
    level_db: Float[np.ndarray, " frames"] | None = None,
) -> AdjustedControls:
    """Adjusts a sound's pitch and loudness to an instrument and to a musician's settings.

    The notes are the frames with a confident pitch that :func:`detect_notes` selects. They decide
    by how many octaves the pitch is moved into the instrument's range (:func:`octaves_to`), how the
    loudness is mapped to the distribution of the instrument's own notes
    (:func:`fit_quantile_transform`), and which tuning and key are used (:func:`tuning_offset`,
    :func:`autotune`). Frames below the threshold of a note are attenuated by up to `quiet_db`, the
    more the further below they are.

    In frames without a pitch (breath, consonants, pauses) the instrument is faded out at the last
    sure pitch of its note, and only its reverb continues. If `breath` is above 0, the instrument's
    noise plays those of these frames that sound, as loud as they are beside the notes, but not a
    note that rings on. A pitch that leaps away from the pitch
    around it for a moment is an error of the tracker (:func:`ddspx.metrics.squeaks`), and such a
    frame counts as one without a pitch.

    Nothing is played outside the instrument's range unless `pitch_shift` or ``adjust=False`` ask
    for it. A phrase that leaves the range by more than a semitone is moved by whole octaves, all of
    it, so that its intervals stay what they are. A phrase ends at a rest of 0.3 s or at a leap of
    about an octave. Only in a phrase that is too wide to fit, the stretches outside the range are
    moved on their own. Where the pitch leaves the range for less than 0.1 s, in a vibrato, an
    ornament or a slide, it is held at the limit. An instrument whose range is narrower than an
    octave plays what does not fit in the octave that is nearest to the range.

    A frame whose pitch, confidence or loudness is not finite counts as silent and without a pitch.

    A loudness beyond the instrument's 1st or 99th percentile is requested as that percentile, and
    a gain makes up the rest, because a network's output is arbitrary at a loudness that was rare
    in its training.

    Args:
      f0_hz: pitch of the sound.
      f0_confidence: confidence in that pitch, from 0 to 1.
      loudness_db: A-weighted loudness as `core.loudness_db` computes it.
      statistics: the instrument's statistics.
      frame_rate: frames per second.
      config: the musician's settings.
      level_db: the loudness that is mapped to the instrument's own, for an instrument that takes
        loudness on another scale (`features.loudness_of`); by default `loudness_db`.

    Returns:
      The controls for the instrument.

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
      Steps 5 and 6 of DDSP's timbre-transfer notebook. There the number of octaves is rounded up
      (down from 1.5 octaves on), frames between notes keep the tracker's arbitrary pitch, and the
      adjusted loudness is computed but not used.
    """
    same_size("`f0_hz` and `f0_confidence`", len(f0_hz), len(f0_confidence), "frames")
    same_size("`f0_hz` and `loudness_db`", len(f0_hz), len(loudness_db), "frames")
    if level_db is not None:
        same_size("`f0_hz` and `level_db`", len(f0_hz), len(level_db), "frames")
    detection = detect_notes(
        loudness_db, f0_confidence, frame_rate=frame_rate, threshold=config.threshold
    )
    finite = np.isfinite(f0_hz) & np.isfinite(f0_confidence) & np.isfinite(loudness_db)
    f0_hz, f0_confidence = (np.where(finite, x, 0).astype(x.dtype) for x in (f0_hz, f0_confidence))
    loudness_db = np.where(finite, loudness_db, SILENCE_DB).astype(loudness_db.dtype)
    level_db = loudness_db if level_db is None else level_db
    confident = confident_frames(f0_hz, f0_confidence, loudness_db, confidence=config.confidence)
    confident &= ~squeaking_frames(f0_hz, confident, frame_rate=frame_rate)
    tonal = confident & note_frames(confident, frame_rate=frame_rate)
    notes = tonal & detection.mask
    pitch_hz, tuning = _tuned(f0_hz, f0_confidence, tonal, notes, frame_rate, config)
    fitted_hz, octaves = pitch_hz, 0
    if config.adjust:
        # If no frame is loud enough for a note, all frames with a confident pitch are fitted.
        fitted = notes if notes.any() else tonal
        octaves = octaves_to(pitch_hz[fitted], statistics=statistics)
        fitted_hz = into_range(
            pitch_hz, tonal, octaves=octaves, statistics=statistics, frame_rate=frame_rate
        )
        quantiles_db = np.asarray(statistics.loudness_quantiles)
        transform = fit_quantile_transform(level_db, fitted, quantiles_db)
        level_db = apply_quantile_transform(transform, level_db)
    level_db = asked_db = level_db + config.loudness_shift_db
    if config.threshold > 0:
        missing = np.maximum(config.threshold - detection.ratio, 0.0) / config.threshold
        asked_db = level_db - config.quiet_db * missing
    tonal = _without_squeaks(fitted_hz, tonal, asked_db, frame_rate)
    notes &= tonal
    pitched = note_frames(tonal, frame_rate=frame_rate)
    asked_db = held_back(asked_db, tonal)
    refitted = np.mean(fitted_hz[notes] != pitch_hz[notes]) if notes.any() else 0.0
    filled_hz = pitch_between_notes(fitted_hz, tonal, loudness_db, frame_rate=frame_rate)
    played_hz = (filled_hz * 2.0 ** (octaves + config.pitch_shift)).astype(f0_hz.dtype)
    played_db, rest = _within(asked_db, _LOUDNESS_RANGE, statistics)
    gain = fade(pitched, frame_rate=frame_rate) * rest
    breath = None
    if config.breath > 0:
        silent = pitched | ringing_frames(loudness_db, pitched, frame_rate=frame_rate)
        noisy = audible_frames(loudness_db) & ~silent
        breath = _breath(played_hz, level_db, noisy, pitched, statistics, frame_rate, config)
    played_db, gain = (track.astype(f0_hz.dtype) for track in (played_db, gain))
    moved = octaves + config.pitch_shift
    return AdjustedControls(
        played_hz, played_db, gain, notes, moved, tuning, float(refitted), breath
    )


def _without_squeaks(
    f0_hz: np.ndarray, tonal: np.ndarray, asked_db: np.ndarray, frame_rate: float
) -> np.ndarray:
    """Returns the tonal frames that belong to notes, and are no squeaks among those that are left.

    Squeaks are searched again after the pitch was adjusted. Of a run that is mostly too soft to be
    heard, a few frames may sound; and autotune or the fit to the range can move a note away from
    its neighbours. What is left of a note may then be too short for one.
    """
    while True:
        kept = tonal & note_frames(tonal, frame_rate=frame_rate)
        sounding = sounding_frames(kept, asked_db)
        kept &= ~squeaking_frames(f0_hz, sounding, frame_rate=frame_rate)
        kept &= ~squeaking_frames(f0_hz, kept, frame_rate=frame_rate)
        if np.array_equal(kept, tonal):
            return kept
        tonal = kept


def _breath(
    f0_hz: np.ndarray,
    asked_db: np.ndarray,
    noisy: np.ndarray,
    pitched: np.ndarray,
    statistics: InstrumentStatistics,
    frame_rate: float,
    config: TransferConfig,
) -> AdjustedControls:
    """Returns the controls of the noise in the frames that are noisy, none of them pitched."""
    levels = (_SOFTEST_BREATH, _LOUDNESS_RANGE[1])
    played_db, rest = _within(asked_db, levels, statistics)
    # It fades in while the note fades out. At either end of what is noisy it fades as well.
    envelope = 1 - fade(pitched, frame_rate=frame_rate)
    envelope *= fade(noisy, frame_rate=frame_rate)
    gain = config.breath * envelope * rest
    played_db, gain = (track.astype(f0_hz.dtype) for track in (played_db, gain))
    return AdjustedControls(f0_hz, played_db, gain, noisy, 0, 0.0)


def _within(
    asked_db: np.ndarray, levels: tuple[float, float], statistics: InstrumentStatistics
) -> tuple[np.ndarray, np.ndarray]:
    """Limits loudness to quantiles of an instrument's own; returns the gain of the rest too."""
    quantiles = np.linspace(0, 1, len(statistics.loudness_quantiles))
    lowest, highest = np.interp(levels, quantiles, statistics.loudness_quantiles)
    played_db = np.clip(asked_db, lowest, highest)
    return played_db, 10 ** ((asked_db - played_db) / 20)


def _tuned(
    f0_hz: np.ndarray,
    f0_confidence: np.ndarray,
    tonal: np.ndarray,
    notes: np.ndarray,
    frame_rate: float,
    config: TransferConfig,
) -> tuple[np.ndarray, float]:
    """Returns the pitch, smoothed and autotuned in tonal frames, and the tuning of the sound."""
    pitch_hz = f0_hz.astype(np.float64)
    if not tonal.any():
        return pitch_hz, 0.0
    midi = np.zeros_like(pitch_hz)
    midi[tonal] = hz_to_midi(pitch_hz[tonal])
    if config.smoothing_ms > 0:
        midi = _smoothed(midi, tonal, config.smoothing_ms * 1e-3 * frame_rate)
    decisive = notes if notes.any() else tonal
    tuning = tuning_offset(midi, f0_confidence, decisive)
    if config.autotune > 0:
        midi = autotune(midi, decisive, amount=config.autotune, tuning=tuning, scale=config.scale)
    if config.smoothing_ms > 0 or config.autotune > 0:
        pitch_hz = np.where(tonal, midi_to_hz(midi), pitch_hz)
    return pitch_hz, tuning


def _smoothed(midi: np.ndarray, tonal: np.ndarray, n_frames: float) -> np.ndarray:
    """Smooths the pitch with a Hann window of `n_frames`, in each note by itself.

    A note ends at a leap of more than a semitone, or at a frame that is not tonal.
    """
    reach = int(n_frames / 2)
    offsets = np.arange(-reach, reach + 1)
    window = np.cos(np.pi * offsets / max(n_frames, 1.0)) ** 2
    smooth = midi.copy()
    frames = np.flatnonzero(tonal)
    ends = (np.diff(frames) > 1) | (np.abs(np.diff(midi[frames])) > _LEAP)
    for note in np.split(frames, np.flatnonzero(ends) + 1):
        total = np.convolve(midi[note], window)[reach : reach + note.size]
        smooth[note] = total / np.convolve(np.ones(note.size), window)[reach : reach + note.size]
    return smooth
