"""What is heard in recordings that are to be an instrument: pitch, and reasons to doubt them."""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ddspx._typing import Bool, Float
from ddspx.features import Features, StreamingMethod, blockwise_features
from ddspx.instruments._statistics import is_voiced
from ddspx.io import AudioError

_SHORTEST_S = 3.0
# What is encoded at once: the length of the stretches that the model of any instrument is trained
# with.
_STRETCH_S = 4.0
# Frames this far below the loudest are pauses, and so is digital silence.
_PAUSE_DB, _SILENCE_DB = 60.0, -79.0
# With a smaller share of pitched frames among the audible ones, a recording is hardly a melody.
_MOSTLY_UNPITCHED = 0.25
# A second voice is looked for where the pitch is steady: within a semitone over a window, which is
# long enough to keep the harmonics of low notes apart. Up to the tenth harmonic, nothing but
# harmonics is to be within 10 dB of the strongest of them. In recordings of one instrument, that
# fails in up to a tenth of the windows, and in a fourth where strings ring on in a church; with
# two voices, it fails in two of five windows or more.
_WINDOW_S, _STEP_S, _STEADY_S = 0.128, 0.05, 1.0
_HARMONICS, _WITHIN_DB, _OFTEN = 10, 10.0, 1 / 3

Blocks = Callable[[], Iterable[np.ndarray]]
"""Starts reading a recording: consecutive blocks of samples."""


class Heard(NamedTuple):
    """What was heard in a recording, or in several.

    Attributes:
      duration_s: the duration.
      sounding_s: how much of it is no pause.
      pitched_s: how much of it has a pitch.
      steady_s: how much of it has a steady pitch, beside which a second voice is looked for.
      doubled_s: how much of that has something else about as strong as the harmonics of the pitch.
    """

    duration_s: float
    sounding_s: float
    pitched_s: float
    steady_s: float
    doubled_s: float


def hear(
    blocks: Blocks,
    *,
    sample_rate: int,
    hop_length: int,
    method: StreamingMethod = "ddspx",
    each: Callable[[np.ndarray, int], None] = lambda audio, n_pitched: None,
) -> tuple[Heard, Features, Bool[np.ndarray, " frames"]]:
    """Listens to a recording, twice, in memory that grows with its frames alone.

    Args:
      blocks: starts reading the recording.
      sample_rate: samples per second.
      hop_length: samples between frames.
      method: the pitch tracker.
      each: called with each stretch of 4 s and the number of its pitched frames. The last stretch
        overlaps the one before it; a recording that is shorter is one stretch.

    Returns:
      What was heard, the features of all frames, and which of them sound and have a pitch.

    Raises:
      AudioError: the recording cannot be read, or is silent.
    """
    length = max(1, round(_STRETCH_S * sample_rate / hop_length)) * hop_length
    rates = {"sample_rate": sample_rate, "hop_length": hop_length}
    tracks = blockwise_features(blocks(), **rates, method=method)
    sounds = tracks.loudness_db > max(tracks.loudness_db.max() - _PAUSE_DB, _SILENCE_DB)
    is_pitched = is_voiced(tracks) & sounds
    n_steady = n_doubled = done = 0
    for first, audio in _stretches(blocks(), length, hop_length):
        frames = slice(first, first + audio.size // hop_length)
        each(audio, int(is_pitched[frames].sum()))
        f0_hz = np.where(is_pitched[frames], tracks.f0_hz[frames], np.nan)
        f0_hz[: done - first], done = np.nan, frames.stop
        steady, doubled = _second_voice(audio, f0_hz, **rates)
        n_steady, n_doubled = n_steady + steady, n_doubled + doubled
    frame_s = hop_length / sample_rate
    heard = Heard(
        duration_s=frame_s * sounds.size,
        sounding_s=frame_s * int(sounds.sum()),
        pitched_s=frame_s * int(is_pitched.sum()),
        steady_s=_STEP_S * n_steady,
        doubled_s=_STEP_S * n_doubled,
    )
    return heard, tracks, is_pitched


def heard_together(each: Sequence[Heard]) -> Heard:
    """What was heard in several recordings together."""
    return Heard(*map(sum, zip(*each, strict=True)))


def check_heard(heard: Heard, name: str) -> None:
    """Raises an AudioError if too little has a pitch; warns of noise and of a second voice.

    Args:
      heard: from `hear`.
      name: what the messages begin with, such as the path of the recording.
    """
    if heard.pitched_s < _SHORTEST_S:
        raise AudioError(
            f"{name} has too little pitch for an instrument: a clear pitch was found in "
            f"{heard.pitched_s:.1f} s of {heard.duration_s:.1f} s, and {_SHORTEST_S:g} s are "
            "needed; use a longer recording of one voice or pitched instrument."
        )
    warn_if_unpitched(
        name, heard.pitched_s / heard.sounding_s, "the instrument is made of these alone"
    )
    if heard.steady_s >= _STEADY_S and heard.doubled_s > _OFTEN * heard.steady_s:
        warnings.warn(
            f"{name} has more than one voice: in {heard.doubled_s / heard.steady_s:.0%} of its "
            "steady sound, something else is about as loud as the note, and the instrument will "
            "sound like a mixture; use a recording of one note at a time.",
            stacklevel=2,
        )


def warn_if_unpitched(name: str, share: float, consequence: str) -> None:
    """Warns if the share of the audible frames that have a pitch is small."""
    if share < _MOSTLY_UNPITCHED:
        warnings.warn(
            f"{name} is mostly unpitched: only {share:.0%} of its audible frames have a confident "
            f"pitch, and {consequence}; use a recording of one voice or instrument.",
            stacklevel=3,
        )


def _stretches(
    blocks: Iterable[np.ndarray], length: int, hop_length: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields stretches of a length, each with the number of its first frame."""
    rest, before, first = np.zeros(0, np.float32), np.zeros(0, np.float32), 0
    for block in blocks:
        rest = np.concatenate([rest, block])
        while rest.size >= length:
            before, rest = rest[:length], rest[length:]
            yield first // hop_length, before
            first += length
    if not before.size:
        yield 0, rest
    elif (moved := rest.size // hop_length * hop_length) > 0:
        audio = np.concatenate([before, rest])[moved : moved + length]
        yield (first - length + moved) // hop_length, audio


def _second_voice(
    audio: Float[np.ndarray, " samples"],
    f0_hz: Float[np.ndarray, " frames"],
    *,
    sample_rate: int,
    hop_length: int,
) -> tuple[int, int]:
    """The number of windows with a steady pitch (NaN: none), and of those with something else."""
    n_fft = 2 ** round(math.log2(_WINDOW_S * sample_rate))
    half, step = n_fft // 2 // hop_length, max(1, round(_STEP_S * sample_rate / hop_length))
    window, n_steady, n_doubled = np.hanning(n_fft), 0, 0
    frequencies = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
    numbers = np.arange(1, _HARMONICS + 1)[:, None]
    for centre in range(half + 1, f0_hz.size - half - 1, step):
        around = f0_hz[centre - half : centre + half + 1]
        # NaN compares as False.
        if not around.max() < around.min() * 2 ** (1 / 12):
            continue
        start = centre * hop_length - n_fft // 2
        power = np.abs(np.fft.rfft(audio[start : start + n_fft] * window)) ** 2
        harmonics = numbers * np.median(around)
        # The main lobe of the window, but no more than lies between low harmonics (there it has
        # fallen by 20 dB), and what a vibrato smears.
        lobe = np.minimum(3 * sample_rate / n_fft, 0.3 * harmonics[0])
        reach = np.maximum(lobe, 0.03 * harmonics)
        is_harmonic = (np.abs(frequencies - harmonics) <= reach).any(axis=0)
        inside = (frequencies > 60) & (frequencies < harmonics[-1] + 0.5 * harmonics[0])
        other = np.max(power, where=inside & ~is_harmonic, initial=0)
        n_steady += 1
        n_doubled += other > np.max(power, where=is_harmonic, initial=0) / 10 ** (_WITHIN_DB / 10)
    return n_steady, int(n_doubled)
