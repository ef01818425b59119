"""How a transfer followed its source, measured on what the instrument played."""

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

# Blocks that clicks are looked for in, and what they share: a click needs its neighbourhood.
_BLOCK_S, _MARGIN_S = 30.0, 0.5


class TransferQuality(NamedTuple):
    """How well what the instrument plays follows the recording.

    Attributes:
      pitched_share: share of the notes in which the instrument has a sure pitch.
      f0_cents: median distance of the pitch that is heard from the pitch that was asked for, over
        the notes in which the instrument has a sure pitch; NaN without any.
      octave_error_share: share of these frames that are whole octaves off, within half a
        semitone.
      loudness_correlation: Pearson's, of the loudness in dB of the recording and of the
        instrument, over the notes; NaN without any, or for a constant loudness.
      peak: largest absolute sample of the file.
      click_times_s: when it clicks, in seconds; see `metrics.click_times`.
    """

    pitched_share: float
    f0_cents: float
    octave_error_share: float
    loudness_correlation: float
    peak: float
    click_times_s: tuple[float, ...]


def evaluate_transfer(
    output: str | Path, report: TransferReport, *, progress: Progress = no_progress
) -> TransferQuality:
    """Listens to the instrument with the tracker that listened to the recording.

    With `TransferConfig.wet` below 1 the recording is in the file too, in its own octave. The
    instrument then plays once more by itself; peak and clicks are the file's.

    Args:
      output: the file that :func:`transfer` wrote.
      report: what it returned.
      progress: called as the work goes on, with "measuring", the seconds that are done, and of how
        many; the sound is gone through twice.

    Returns:
      The measures.

    Raises:
      AudioError: the file is gone, or not the one that was written.
      FileNotFoundError: with `TransferConfig.wet` below 1, the instrument is gone.
    """
    sample_rate, played = report.sample_rate, report.played

    def watched(sound: Iterator[np.ndarray], gone_through: int) -> Iterator[np.ndarray]:
        done = gone_through * report.n_samples
        for block in sound:
            progress("measuring", done / sample_rate, 2 * report.n_samples / sample_rate)
            yield block
            done += block.size

    file = partial(_blocks, output, sample_rate)
    instrument = report.performance.again(report) if report.config.wet < 1 else file()
    heard = blockwise_features(
        watched(instrument, 0),
        sample_rate=sample_rate,
        hop_length=report.hop_length,
        method=report.method,
    )
    peak, click_times_s = _peak_and_clicks(watched(file(), 1), sample_rate)
    is_heard = heard.f0_confidence >= metrics.VOICED
    sure = (played.notes & is_heard).astype(float)
    return TransferQuality(
        pitched_share=float(is_heard[played.notes].mean()) if played.notes.any() else float("nan"),
        f0_cents=metrics.median_cents_error(played.f0_hz, heard.f0_hz, sure),
        octave_error_share=metrics.octave_error_share(played.f0_hz, heard.f0_hz, sure),
        loudness_correlation=_correlation(
            report.heard.loudness_db[played.notes], heard.loudness_db[played.notes]
        ),
        peak=peak,
        click_times_s=click_times_s,
    )


def _blocks(path: str | Path, sample_rate: int) -> Iterator[np.ndarray]:
    block_length = round(_BLOCK_S * sample_rate)
    return stream_audio(
        path, sample_rate=sample_rate, block_length=block_length, allow_silence=True
    )


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's; NaN where one of them is constant or there is nothing."""
    if not one.size or not (np.ptp(one) > 0 and np.ptp(other) > 0):
        return float("nan")
    return float(np.corrcoef(one, other)[0, 1])


def _peak_and_clicks(
    blocks: Iterator[np.ndarray], sample_rate: int
) -> tuple[float, tuple[float, ...]]:
    """Of a sound in blocks, each heard for clicks with some of what was before it."""
    peak, found = 0.0, list[float]()
    held, start, margin = np.zeros(0, np.float32), 0, round(_MARGIN_S * sample_rate)
    for block in blocks:
        peak = max(peak, float(np.abs(block).max()))
        held = np.concatenate([held, block])
        times_s = start / sample_rate + metrics.click_times(held, sample_rate=sample_rate)
        # Two blocks hear what they share alike, but for some samples.
        found += [t for t in times_s.tolist() if not found or t > found[-1] + 0.01]
        kept = min(held.size, margin)
        start, held = start + held.size - kept, held[held.size - kept :]
    return peak, tuple(found)
