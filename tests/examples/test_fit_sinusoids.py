"""The example finds sinusoids where the plain loss does not."""

import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "fit_sinusoids" / "fit_sinusoids.py"


@pytest.mark.slow
def test_poles_find_partials_that_angles_do_not_find(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--partials", "2", "--seeds", "10"])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    poles, angles = capsys.readouterr().out.splitlines()
    assert poles == "2 partials, complex poles: 100% of 10"
    assert angles == "2 partials, plain angles: 0% of 10"
