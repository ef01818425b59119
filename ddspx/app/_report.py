"""The rows of the page's report: the measures of a transfer in a musician's words."""

import math
from typing import NamedTuple

from ddspx._notes import hz_to_midi
from ddspx.instruments import note_name
from ddspx.transfer import Percentiles, TransferQuality, TransferReport

_NONE = "none"


class Row(NamedTuple):
    """A row of the report: the name of a measure, its value, and what the value means."""

    what: str
    value: str
    meaning: str = ""


def minutes(seconds: float) -> str:
    """Returns a duration in words, in seconds or rounded to minutes."""
    if seconds < 60:
        return f"{seconds:.1f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else "1 minute"


def report_rows(report: TransferReport, quality: TransferQuality) -> tuple[Row, ...]:
    """Returns the rows of the report of a transfer."""
    moved = "not moved"
    if report.octaves:
        way = "up" if report.octaves > 0 else "down"
        plural = "s" if abs(report.octaves) > 1 else ""
        moved = f"{abs(report.octaves)} octave{plural} {way}"
    return (
        Row("Length", minutes(report.n_samples / report.sample_rate)),
        Row("Heard", _notes(report.source_f0_hz), "most of your notes"),
        Row("Played", _notes(report.played_f0_hz), moved),
        Row(
            "Clear pitch",
            f"{100 * report.confident_share:.0f} %",
            "of the sound; only that is played",
        ),
        Row("In tune", _number(quality.f0_cents, "{:.1f} cents off"), _tuning(quality.f0_cents)),
        Row(
            "Wrong octave",
            _number(100 * quality.octave_error_share, "{:.1f} %"),
            "of the notes",
        ),
        Row(
            "Your dynamics",
            _number(quality.loudness_correlation, "{:.2f}"),
            "1 is followed exactly, 0 not at all",
        ),
        Row("Loudest point", _peak(quality.peak), "0 dB is full scale"),
        Row("Clicks", str(len(quality.click_times_s) or "none")),
        Row("Squeaks", str(len(quality.squeak_times_s) or "none")),
    )


def _notes(pitch: Percentiles) -> str:
    if math.isnan(pitch.median):
        return _NONE
    low, high = (note_name(hz_to_midi(hz)) for hz in (pitch.low, pitch.high))
    return low if low == high else f"{low} to {high}"


def _number(value: float, form: str) -> str:
    return _NONE if math.isnan(value) else form.format(value)


def _tuning(cents: float) -> str:
    if math.isnan(cents):
        return "nothing was clear enough to measure"
    # Trained listeners hear a difference of five cents, everybody one of a quarter of a semitone.
    return next(
        words
        for limit, words in (
            (5, "not to be heard"),
            (25, "heard by a trained ear"),
            (math.inf, "heard by anybody"),
        )
        if cents <= limit
    )


def _peak(peak: float) -> str:
    return _NONE if peak <= 0 else f"{20 * math.log10(peak):.1f} dB"
