"""The example finds a teacher's filters where published parametrizations stay."""

import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "learn_filterbank" / "learn_filterbank.py"


@pytest.mark.slow
def test_our_filterbank_reaches_the_teacher_and_that_of_spectnet_does_not(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--seeds", "2", "--steps", "400"])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()[2:]]
    found = {name.strip(): (float(before), float(after)) for name, before, after, *_ in rows}
    for name in ("ours, gammatone", "ours, Gabor"):
        before, after = found[name]
        assert before > 0.15
        assert after < 0.05
    before, after = found["SpectNet, SGD 0.1 as published"]
    assert after > 0.9 * before
