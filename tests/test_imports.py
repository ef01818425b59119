"""What importing the package costs, in a process of its own."""

import json
import subprocess
import sys

import pytest

HEAVY = (
    *("librosa", "numba", "soundfile", "soxr", "matplotlib", "safetensors", "optax", "orbax"),
    *("grain", "array_record", "tensorboardX", "tensorflow", "torch", "scipy.signal", "sklearn"),
    *("tyro", "rich", "gradio", "fastapi", "uvicorn"),
)


def loaded_by(statement):
    """Names of the modules in memory after a statement, less those flax and jax bring along."""
    program = f"import flax.nnx, jax, json, sys; before = set(sys.modules); {statement}; "
    program += "print(json.dumps(sorted(set(sys.modules) - before)))"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(json.loads(run.stdout))


@pytest.mark.parametrize(
    "module", ["ddspx", "ddspx.io", "ddspx.features", "ddspx.app", "ddspx.cli"]
)
def test_importing_is_light(module):
    loaded = loaded_by(f"import {module}")
    assert module in loaded
    assert not loaded.intersection(HEAVY)


def test_the_library_does_not_load_what_builds_on_it():
    loaded = loaded_by("import ddspx")
    assert {"ddspx.core", "ddspx.nn", "ddspx.models", "ddspx.metrics"} <= loaded
    for name in ("io", "features", "training", "transfer", "app", "cli", "plot"):
        assert f"ddspx.{name}" not in loaded
