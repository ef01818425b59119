"""The pitch and the voicing that the trackers find in recordings which others annotated."""

from typing import NamedTuple

import numpy as np
import pytest
import soundfile
from mir_eval import melody

from ddspx import features
from ddspx.metrics import VOICED

# The laryngograph's frames, the first at the end of one step, and how much later it is than the
# tracker, found on sentences that are not scored here.
STEP_S, LAG_S = 0.015, 0.014


class Bars(NamedTuple):
    """The least share of right pitch, the most false alarms, the least overall accuracy."""

    pitch: float
    false_alarms: float
    overall: float


BARS = {
    "singing, live": Bars(0.96, 0.05, 0.945),
    "singing": Bars(0.985, 0.05, 0.96),
    "five sentences": Bars(0.86, 0.04, 0.915),
    "25 sentences": Bars(0.865, 0.04, 0.92),
}


def scores(path, reference, *, lag_s=0.0, method="ddspx") -> Bars:
    """Pitch within 50 cents, false alarms and overall accuracy of one recording, by mir_eval."""
    audio, sample_rate = soundfile.read(path, dtype="float32")
    hop_length = sample_rate // 100
    rates = {"sample_rate": sample_rate, "hop_length": hop_length}
    f0_hz, confidence = features.track_pitch(audio, **rates, method=method)
    time_s = lag_s + np.arange(len(f0_hz)) * hop_length / sample_rate
    # A negative frequency is that of an unvoiced frame.
    found = melody.evaluate(*reference, time_s, np.where(confidence >= VOICED, f0_hz, -f0_hz))
    names = ("Raw Pitch Accuracy", "Voicing False Alarm", "Overall Accuracy")
    return Bars(*(float(found[name]) for name in names))


def assert_reached(found: Bars, bars: Bars) -> None:
    print(found)
    assert found.pitch >= bars.pitch, found
    assert found.false_alarms <= bars.false_alarms, found
    assert found.overall >= bars.overall, found


@pytest.mark.parametrize(
    ("method", "name"), [("ddspx", "singing"), ("ddspx-live", "singing, live")]
)
def test_singing(shared_data, method, name):
    table = np.loadtxt(shared_data / "pitch_truth" / "vocadito_1_f0.csv", delimiter=",")
    found = scores(shared_data / "sources" / "vocadito_1.flac", table.T, method=method)
    assert_reached(found, BARS[name])


@pytest.mark.parametrize(
    "count", [5, pytest.param(25, marks=pytest.mark.slow)], ids=["5 files", "25 files"]
)
def test_speech(shared_data, count):
    """The second half of the sentences, by name: the tracker was chosen on the first half."""
    paths = sorted((shared_data / "pitch_truth" / "speech_rl").glob("*.flac"))
    rows = []
    for path in paths[25:][:count]:
        f0_hz = np.loadtxt(path.with_suffix(".f0"))
        rows.append(scores(path, (STEP_S * (1 + np.arange(len(f0_hz))), f0_hz), lag_s=LAG_S))
    bars = BARS["five sentences" if count == 5 else "25 sentences"]
    assert_reached(Bars(*np.mean(rows, axis=0)), bars)
