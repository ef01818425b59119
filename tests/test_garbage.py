"""Whatever stands in the place of an argument, the answer is a result or a sentence about it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from ddspx import _explain, core
from ddspx._typing import Array, ArrayLike, Float


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
@pytest.mark.parametrize("package", ["core", "nn", "features", "io", "metrics"])
def test_public_functions_answer_anything(package, tmp_path):
    """From the examples of the docstrings, with one argument exchanged."""
    result = answers("garbage.py", package, "0", "150", cache=tmp_path)
    assert result["found"] == {} and result["functions"] >= 10
    assert result["calls"]["sentence"] > 20


@pytest.mark.slow
def test_commands_answer_spoilt_files(tmp_path):
    result = answers("garbage_files.py", "0", "150", cache=tmp_path)
    assert result["found"] == {} and len(result["calls"]) >= 8
    assert sum(kinds.get("sentence", 0) for kinds in result["calls"].values()) > 50


def total(audio: Float[ArrayLike, " samples"], *, n_bins: int) -> Float[Array, " bins"]:
    """A function that checks nothing itself."""
    return jnp.sum(audio) + jnp.reshape(jnp.arange(6.0), (n_bins, 2))[:, 0]


total.__module__ = "ddspx.core.total"
ANSWERING = _explain.answering(total, "ddspx.core", "total")


@pytest.mark.parametrize(
    ("audio", "n_bins", "expected"),
    [
        (None, 3, r"^core.total: `audio` must be an array of numbers, got None\.$"),
        ([1.0], 3, r"^core.total: `audio` must be an array, got a list; make one with jnp.asarray"),
        ("a.wav", 3, "`audio` must be an array of numbers, got 'a.wav'"),
        (np.array(["a"]), 3, "`audio` must be an array of numbers, got an array of <U1"),
        (
            np.ones(2, np.float32),
            4,
            r"together.*`audio` float32 \(2,\), `n_bins` 4 \(Type",
        ),
        (np.ones(2, np.float32), "x", r"`n_bins` 'x' \(TypeError: "),
    ],
)
def test_a_failure_elsewhere_becomes_a_sentence(audio, n_bins, expected):
    with pytest.raises((TypeError, ValueError), match=expected) as caught:
        ANSWERING(audio, n_bins=n_bins)
    assert caught.value.__cause__ is not None
    assert ANSWERING(np.ones(2, np.float32), n_bins=3).tolist() == [2.0, 4.0, 6.0]


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
