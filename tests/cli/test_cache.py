"""What one command compiles, the next one finds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bad_recordings import ENVIRONMENT
from toy_instrument import SAMPLE_RATE, tone

from ddspx import io


@pytest.fixture
def run(tmp_path):
    """Runs a command that compiles something, as its own process."""
    io.write_audio(tmp_path / "tone.wav", tone(0.5), sample_rate=SAMPLE_RATE)

    def call(**environment):
        command = [sys.executable, "-m", "ddspx.cli", "features", tmp_path / "tone.wav"]
        options = ["--kind", "rms", "-o", tmp_path / "out"]
        inherited = {k: v for k, v in ENVIRONMENT.items() if not k.startswith("JAX_")}
        return subprocess.run(
            [str(part) for part in (*command, *options)],
            env=inherited | environment,
            capture_output=True,
            text=True,
            check=True,
        )

    return call


def programs(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*-cache")}


def test_programs_are_kept_and_found_again(run, tmp_path):
    run(XDG_CACHE_HOME=str(tmp_path / "cache"))
    first = programs(tmp_path / "cache" / "ddspx" / "jax")
    assert first
    again = run(XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert programs(tmp_path / "cache" / "ddspx" / "jax") == first
    assert again.stderr == ""


def test_a_folder_of_ones_own_is_respected(run, tmp_path):
    own = str(tmp_path / "own")
    run(XDG_CACHE_HOME=str(tmp_path / "cache"), JAX_COMPILATION_CACHE_DIR=own)
    assert not (tmp_path / "cache").exists()


@pytest.mark.skipif(os.name == "nt", reason="files stand in the way of folders elsewhere too")
def test_without_a_place_nothing_is_kept_and_all_goes_on(run, tmp_path):
    (tmp_path / "file").touch()
    assert run(XDG_CACHE_HOME=str(tmp_path / "file")).stderr == ""
