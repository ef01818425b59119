"""Evaluation of a transfer: how well the instrument's sound follows the recording."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ddspx import metrics
from ddspx._progress import Progress, no_progress
from ddspx.features import blockwise_features
from ddspx.io import stream_audio
from ddspx.transfer._transfer import TransferReport

# Clicks are searched for in blocks that overlap by the margin, because a click is found by
# comparison with the sound around it.
_BLOCK_S, _MARGIN_S = 30.0, 0.5


class TransferQuality(NamedTuple):
    """Measures of how well the instrument's sound follows the recording.

    Attributes:
      pitched_share: share of the frames of notes in which the instrument's sound is voiced.
      f0_cents: median absolute difference between the requested pitch and the pitch of the
        instrument's sound, over the voiced frames of notes; NaN if there are none.
      octave_error_share: share of these frames whose pitch is wrong by whole octaves, within half
        a semitone.
      loudness_correlation: Pearson correlation of the loudness in dB of the recording and of the
        instrument, over the frames of notes; NaN if there are none or a loudness is constant.
      peak: largest absolute sample of the file.
      click_times_s: times of clicks, in seconds; see `metrics.click_times`.
      squeak_times_s: times of squeaks of the instrument, in seconds; see `metrics.squeaks`.
    """

    pitched_share: float
    f0_cents: float
    octave_error_share: float
    loudness_correlation: float
    peak: float
    click_times_s: tuple[float, ...]
    squeak_times_s: tuple[float, ...]


def evaluate_transfer(
    output: str | Path, report: TransferReport, *, progress: Progress = no_progress
) -> TransferQuality:
    """Measures a transfer's output with the tracker that was used for the recording.

    If `TransferConfig.wet` is below 1, the file holds the recording as well, whose pitch would be
    measured too. Pitch and loudness are then measured on a second rendering of the instrument
    alone. Peak and clicks are always those of the file. Squeaks are always measured on a rendering
    of the notes alone: in a reverb two notes sound at once, and noise has no pitch to compare with.

    Args:
      output: the file that :func:`transfer` wrote.
      report: the report that it returned.
      progress: called with "measuring", the seconds that are done, and all seconds; the sound is
        processed three times.

    Returns:
      The measures.

    Raises:
      AudioError: the file is missing, or is not the one that was written.
      FileNotFoundError: the instrument is missing.
    """
    sample_rate, played = report.sample_rate, report.played

    def reported(sound: Iterator[np.ndarray], n_passes: int) -> Iterator[np.ndarray]:
        done = n_passes * report.n_samples
        for block in sound:
            progress("measuring", done / sample_rate, 3 * report.n_samples / sample_rate)
            yield block
            done += block.size

    file = partial(_blocks, output, sample_rate)
    instrument = report.performance.again(report) if report.config.wet < 1 else file()
    listen = partial(
        blockwise_features,
        sample_rate=sample_rate,
        hop_length=report.hop_length,
        method=report.method,
    )
    measured = listen(reported(instrument, 0))
    peak, click_times_s = _peak_and_clicks(reported(file(), 1), sample_rate)
    notes = listen(reported(report.performance.again(report, notes_only=True), 2))
    squeaks_s = metrics.squeaks(*notes, frame_rate=sample_rate / report.hop_length)
    is_voiced = measured.f0_confidence >= metrics.VOICED
    confident = (played.notes & is_voiced).astype(float)
    return TransferQuality(
        pitched_share=float(is_voiced[played.notes].mean()) if played.notes.any() else float("nan"),
        f0_cents=metrics.median_cents_error(played.f0_hz, measured.f0_hz, confident),
        octave_error_share=metrics.octave_error_share(played.f0_hz, measured.f0_hz, confident),
        loudness_correlation=_correlation(
            report.heard.loudness_db[played.notes], measured.loudness_db[played.notes]
        ),
        peak=peak,
        click_times_s=click_times_s,
        squeak_times_s=tuple(squeaks_s.tolist()),
    )


def _blocks(path: str | Path, sample_rate: int) -> Iterator[np.ndarray]:
    block_length = round(_BLOCK_S * sample_rate)
    return stream_audio(
        path, sample_rate=sample_rate, block_length=block_length, allow_silence=True
    )


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Computes the Pearson correlation; NaN if one of both is constant or empty."""
    if not one.size or not (np.ptp(one) > 0 and np.ptp(other) > 0):
        return float("nan")
    return float(np.corrcoef(one, other)[0, 1])


def _peak_and_clicks(
    blocks: Iterator[np.ndarray], sample_rate: int
) -> tuple[float, tuple[float, ...]]:
    """Finds the peak and the clicks of a sound in blocks that overlap by the margin."""
    peak, clicks_s = 0.0, list[float]()
    audio, start, margin = np.zeros(0, np.float32), 0, round(_MARGIN_S * sample_rate)
    for block in blocks:
        peak = max(peak, float(np.abs(block).max()))
        audio = np.concatenate([audio, block])
        times_s = start / sample_rate + metrics.click_times(audio, sample_rate=sample_rate)
        # A click in the overlap is found twice, with times that may differ by a few samples.
        clicks_s += [t for t in times_s.tolist() if not clicks_s or t > clicks_s[-1] + 0.01]
        kept = min(audio.size, margin)
        start, audio = start + audio.size - kept, audio[audio.size - kept :]
    return peak, tuple(clicks_s)
