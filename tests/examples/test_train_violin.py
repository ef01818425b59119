"""The violin's recipe runs from end to end, on sound that is no violin."""

import runpy
import sys
from pathlib import Path

import pytest
from helpers import sine

from ddspx import io
from ddspx.models.autoencoder import load_autoencoder

RECIPE = Path(__file__).parents[2] / "examples" / "train_violin" / "train_violin.py"


@pytest.mark.slow
def test_one_step_of_the_recipe_makes_an_instrument_like_the_shipped_one(
    tmp_path, monkeypatch, capsys
):
    pytest.importorskip("array_record", reason="the train extra is not installed")
    pytest.importorskip("grain", reason="the train extra is not installed")
    tone = sine(440.0, 40 * 16_000, sample_rate=16_000, amplitude=0.3)
    io.write_audio(tmp_path / "tone.wav", tone, sample_rate=16_000)
    arguments = [str(tmp_path / "tone.wav"), "-o", str(tmp_path / "results"), "--steps", "1"]
    monkeypatch.setattr(sys, "argv", [str(RECIPE), *arguments])
    runpy.run_path(str(RECIPE), run_name="__main__")
    ours, statistics, provenance = load_autoencoder(tmp_path / "results" / "violin")
    shipped, expected, theirs = load_autoencoder("violin")
    assert ours.config == shipped.config
    assert statistics.pitch_range_hz == expected.pitch_range_hz
    assert provenance["data"]["prepared"] == theirs["data"]["prepared"]
    assert provenance["training"] == theirs["training"] | {"steps": 1}
    rows = [line.split()[0] for line in capsys.readouterr().out.splitlines() if "spectral" in line]
    assert rows == ["model", "untrained", "additive"]
