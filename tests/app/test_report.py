"""Numbers of a report in words."""

import math

import pytest

from ddspx.app._report import minutes, report_rows
from ddspx.transfer import Percentiles, TransferQuality, TransferReport

NAN = Percentiles(*3 * (math.nan,))


def rows_of(**changes):
    """Returns the rows of a report that has only the fields shown."""

    shown = {
        "n_samples": 131_072,
        "sample_rate": 16_000,
        "confident_share": 0.934,
        "octaves": -2,
        "source_f0_hz": Percentiles(220.0, 300.0, 440.0),
        "played_f0_hz": Percentiles(55.0, 75.0, 110.0),
    }
    measured = TransferQuality(0.99, 7.3, 0.012, 0.914, 0.5, (1.0, 2.5), (3.0,))._asdict()
    for name, value in changes.items():
        (measured if name in measured else shown)[name] = value
    report = TransferReport(**dict.fromkeys(TransferReport._fields) | shown)
    return {row.what: row[1:] for row in report_rows(report, TransferQuality(**measured))}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(8.19, "8.2 seconds"), (60.0, "1 minute"), (89.0, "1 minute"), (194.0, "3 minutes")],
)
def test_durations_are_written_in_words(seconds, words):
    assert minutes(seconds) == words


def test_the_report_has_a_row_for_each_measure():
    assert rows_of() == {
        "Length": ("8.2 seconds", ""),
        "Heard": ("A3 to A4", "most of your notes"),
        "Played": ("A1 to A2", "2 octaves down"),
        "Clear pitch": ("93 %", "of the sound; only that is played"),
        "In tune": ("7.3 cents off", "heard by a trained ear"),
        "Wrong octave": ("1.2 %", "of the notes"),
        "Your dynamics": ("0.91", "1 is followed exactly, 0 not at all"),
        "Loudest point": ("-6.0 dB", "0 dB is full scale"),
        "Clicks": ("2", ""),
        "Squeaks": ("1", ""),
    }


def test_a_report_without_pitch_has_no_numbers():
    rows = rows_of(
        source_f0_hz=NAN,
        played_f0_hz=NAN,
        octaves=0,
        confident_share=0.0,
        pitched_share=math.nan,
        f0_cents=math.nan,
        octave_error_share=math.nan,
        loudness_correlation=math.nan,
        peak=0.0,
        click_times_s=(),
        squeak_times_s=(),
    )
    assert "nan" not in str(rows)
    assert rows["Heard"][0] == rows["Loudest point"][0] == rows["Clicks"][0] == "none"
    assert rows["Squeaks"][0] == "none"


@pytest.mark.parametrize(
    ("cents", "words"), [(4.9, "not to be heard"), (24.0, "trained"), (26.0, "anybody")]
)
def test_the_report_judges_the_tuning(cents, words):
    assert words in rows_of(f0_cents=cents)["In tune"][1]
