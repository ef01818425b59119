"""The melody in the repository is what its script renders."""

import runpy
import sys
from pathlib import Path

import numpy as np

from ddspx import io
from ddspx.features import conditioning_features

MELODY = Path(__file__).parents[2] / "examples" / "melody"


def test_the_script_reproduces_the_committed_recording(tmp_path, monkeypatch):
    output = tmp_path / "melody.flac"
    monkeypatch.setattr(sys, "argv", ["make_melody.py", str(output)])
    runpy.run_path(str(MELODY / "make_melody.py"), run_name="__main__")
    rendered = io.read_audio(output, sample_rate=16_000)
    committed = io.read_audio(MELODY / "melody.flac", sample_rate=16_000)
    np.testing.assert_allclose(rendered, committed, atol=1e-4)


def test_the_melody_is_clearly_pitched_and_spans_an_octave():
    audio = io.read_audio(MELODY / "melody.flac", sample_rate=16_000)
    features = conditioning_features(audio, sample_rate=16_000, hop_length=64)
    sure = features.f0_confidence > 0.5
    assert sure.mean() > 0.8
    low, high = np.percentile(features.f0_hz[sure], [5, 95])
    assert 280.0 < low < 310.0 and 560.0 < high < 610.0
    assert np.ptp(np.percentile(features.loudness_db[sure], [5, 95])) > 10.0
