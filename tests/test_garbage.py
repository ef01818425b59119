"""Whatever stands in the place of an argument, the answer is a result or a sentence about it."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ddspx import _explain, core


def answers(script, *arguments, cache):
    """What a script counted and found, run by itself."""
    pytest.importorskip("hypothesis", reason="hypothesis is not installed")
    place = os.environ.get("JAX_COMPILATION_CACHE_DIR", str(cache))
    environment = {
        "JAX_COMPILATION_CACHE_DIR": place,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name(script), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout)
    print(script, *arguments, result["calls"])
    return result


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "functions", "each"),
    # The first is what `--first-case` runs; the core takes five minutes.
    [("io", 20, 9), ("features", 12, 9), ("nn", 34, 3), ("metrics", 29, 9), ("core", 150, 1)],
)
def test_public_functions_answer_anything(package, functions, each, tmp_path):
    """Each argument of each function that has an example, with what is not meant for it."""
    result = answers("garbage.py", package, "0", str(each), cache=tmp_path)
    assert result["found"] == {} and result["functions"] >= functions
    assert result["calls"]["sentence"] > functions


@pytest.mark.slow
def test_commands_answer_spoilt_files(tmp_path):
    result = answers("garbage_files.py", "0", "150", cache=tmp_path)
    assert result["found"] == {} and len(result["calls"]) >= 8
    assert sum(kinds.get("sentence", 0) for kinds in result["calls"].values()) > 50


# Without the types that are checked in tests before a function is called.
DECODE = _explain.answering(inspect.unwrap(core.mu_law_decode), "ddspx.core", "mu_law_decode")
DIVIDE = _explain.answering(inspect.unwrap(core.safe_divide), "ddspx.core", "safe_divide")


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        (None, r"^core.mu_law_decode: `encoded` must be an array of numbers, got None\.$"),
        ("a.wav", "`encoded` must be an array of numbers, got 'a.wav'"),
        (np.array(["a"]), "`encoded` must be an array of numbers, got an array of <U1"),
        ([[1.0], [1.0, 2.0]], r"`encoded` must be an array, got a list; make one with jnp.asarray"),
    ],
)
def test_a_failure_elsewhere_becomes_a_sentence(encoded, expected):
    with pytest.raises((TypeError, ValueError), match=expected) as caught:
        DECODE(encoded)
    assert caught.value.__cause__ is not None
    assert DECODE(np.float32(0)) == 0


def test_shapes_that_do_not_fit_are_listed():
    with pytest.raises(
        (TypeError, ValueError),
        match=r"^core.safe_divide .*`numerator` float32 \(2,\), `denominator` float32 \(3,\)",
    ):
        DIVIDE(np.ones(2, np.float32), np.ones(3, np.float32))


def test_the_errors_of_others_are_theirs():
    """What a function of the caller raises, and what ddspx says itself, passes unchanged."""

    def mine(*_):
        raise ValueError("mine")

    mine.__module__ = "ddspx.core.mine"
    with pytest.raises(ValueError, match=r"^mine$"):
        _explain.answering(mine, "ddspx.core", "mine")(1)
    with pytest.raises(ValueError, match=r"^`hop_length` must be at least 1, got 0.$"):
        core.n_frames(8, hop_length=0)
    with pytest.raises(ValueError, match="`n_samples` must be at most 2147483647, got 2147483648"):
        core.n_frames(2**31, hop_length=1)
